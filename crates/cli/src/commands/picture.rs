//! `--picture`: a slice of the first lossy variable before and after.

use std::path::Path;

use anyhow::{Result, bail};
use lithify_io::job::compress::Outcome;
use lithify_io::model::{AttrValue, Source, Values, Variable};
use lithify_io::{formats, policy};

use crate::picture::{Panels, draw};
use crate::table::number;

/// Draws the middle slice (over all but the last two dimensions longer than 1) of the first lossy variable, or else of the
/// largest one.
pub fn of_store(source: &dyn Source, store: &Path, outcomes: &[Outcome], picture: &Path) -> Result<()> {
    let data = || outcomes.iter().filter(|o| o.dtype.is_some() && o.raw_bytes > 0);
    let lossy = data().find(|o| !o.promise.is_lossless());
    let Some(o) = lossy.or_else(|| data().max_by_key(|o| o.raw_bytes)) else {
        bail!("there is nothing to draw: the file holds no numbers");
    };
    let v = source.root().find(&o.path)?;
    let mut drawn: Vec<usize> = (0..v.shape.len()).filter(|d| v.shape[*d] > 1).collect();
    drawn.drain(..drawn.len().saturating_sub(2));
    let start: Vec<usize> = (0..v.shape.len()).map(|d| if drawn.contains(&d) { 0 } else { v.shape[d] / 2 }).collect();
    let count: Vec<usize> = (0..v.shape.len()).map(|d| if drawn.contains(&d) { v.shape[d] } else { 1 }).collect();
    let decoded = formats::open(store)?;
    let original = physical(source, &o.path, v, &start, &count)?;
    let back = physical(decoded.as_ref(), &o.path, v, &start, &count)?;
    let x = Side::of(source, &o.path, v, drawn.last().copied());
    let y = Side::of(source, &o.path, v, drawn.len().checked_sub(2).map(|i| drawn[i]));
    let units = v.attr("units").and_then(AttrValue::as_text).unwrap_or_default();
    let outer: Vec<String> =
        (0..v.shape.len()).filter(|d| !drawn.contains(d)).map(|d| format!("{}[{}]", v.dims[d], start[d])).collect();
    let caption = format!(
        "{}, ratio {}, largest error {} {units}, relative norm of the error {}",
        o.promise,
        number(o.raw_bytes as f64 / o.stored_bytes.max(1) as f64),
        number(o.stats.max_abs),
        number(o.stats.l2())
    );
    draw(
        &Panels {
            title: &format!("{} {}", o.path, outer.join(" ")),
            units,
            ny: y.len,
            nx: x.len,
            original: &original,
            decoded: &back,
            y_label: &y.label,
            x_label: &x.label,
            y: y.coordinate.as_deref(),
            x: x.coordinate.as_deref(),
            bound: o.resolved.resolve(&o.stats.field).abs,
            caption: &caption,
            flip_y: y.up,
        },
        picture,
    )
}

/// One side of the picture.
struct Side {
    len: usize,
    label: String,
    coordinate: Option<Vec<f64>>,
    /// Index 0 belongs at the bottom.
    up: bool,
}

impl Side {
    fn of(source: &dyn Source, path: &str, v: &Variable, d: Option<usize>) -> Self {
        let Some(d) = d else { return Self { len: 1, label: String::new(), coordinate: None, up: false } };
        let (dim, len) = (&v.dims[d], v.shape[d]);
        // In the variable's own group first, then in the root.
        let group = path.rsplit_once('/').map(|(g, _)| format!("{g}/{dim}"));
        let found = group.into_iter().chain([dim.clone()]).find_map(|p| source.root().find(&p).ok().map(|w| (p, w)));
        let Some((at, w)) = found.filter(|(_, w)| w.shape == [len]) else {
            return Self { len, label: dim.clone(), coordinate: None, up: dim.to_lowercase().contains("lat") };
        };
        let coordinate = match source.read(&at, &[0], &[len]) {
            Ok(Values::Numbers(c)) => {
                Some(c.to_f64().into_iter().map(|x| policy::affine(w).physical(x)).collect::<Vec<_>>())
            }
            _ => None,
        };
        let text = |name: &str| w.attr(name).and_then(AttrValue::as_text).unwrap_or_default();
        let label = if text("units").is_empty() { dim.clone() } else { format!("{dim} ({})", text("units")) };
        // Pressure and depth grow downwards.
        let down = text("positive") == "down"
            || ["Pa", "hPa", "mbar", "millibar", "millibars", "level"].contains(&text("units"));
        let rising = coordinate.as_ref().is_some_and(|c| c.first() < c.last());
        Self { len, label, coordinate, up: rising != down }
    }
}

/// A block in physical units, missing samples as NaN.
fn physical(source: &dyn Source, path: &str, v: &Variable, start: &[usize], count: &[usize]) -> Result<Vec<f64>> {
    let Values::Numbers(n) = source.read(path, start, count)? else { bail!("{path} is text") };
    let (affine, missing) = (policy::affine(v), policy::missing_patterns(v));
    Ok((0..n.len()).map(|i| if missing.contains(&n.bits(i)) { f64::NAN } else { affine.physical(n.f64(i)) }).collect())
}
