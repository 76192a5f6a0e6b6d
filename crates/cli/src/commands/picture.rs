//! `--picture`: a slice of the first lossy variable before and after.

use std::path::Path;

use anyhow::{Result, bail};
use lithify_io::job::compress::Outcome;
use lithify_io::model::{AttrValue, Source, Values, Variable};
use lithify_io::policy;
use lithify_io::zarr::ZarrSource;

use crate::picture::{Panels, draw};
use crate::table::number;

/// Draws the middle slice (over all but the last two dimensions) of the first lossy variable, or else of the largest one.
pub fn of_store(source: &dyn Source, store: &Path, outcomes: &[Outcome], picture: &Path) -> Result<()> {
    let data = || outcomes.iter().filter(|o| o.dtype.is_some() && o.raw_bytes > 0);
    let lossy = data().find(|o| !o.promise.is_lossless());
    let Some(o) = lossy.or_else(|| data().max_by_key(|o| o.raw_bytes)) else {
        bail!("there is nothing to draw: the file holds no numbers");
    };
    let v = source.root().find(&o.path)?;
    let d = v.shape.len();
    let start: Vec<usize> = (0..d).map(|i| if i + 2 < d { v.shape[i] / 2 } else { 0 }).collect();
    let count: Vec<usize> = (0..d).map(|i| if i + 2 < d { 1 } else { v.shape[i] }).collect();
    let decoded = ZarrSource::open(store)?;
    let original = physical(source, &o.path, v, &start, &count)?;
    let back = physical(&decoded, &o.path, v, &start, &count)?;
    let (ny, nx) = match d {
        0 => (1, 1),
        1 => (1, v.shape[0]),
        _ => (v.shape[d - 2], v.shape[d - 1]),
    };
    let dim = |i: Option<usize>| i.and_then(|i| v.dims.get(i)).cloned().unwrap_or_default();
    let (y_dim, x_dim) = (dim(d.checked_sub(2)), dim(d.checked_sub(1)));
    let (y, x) = (coordinate(source, &y_dim, ny), coordinate(source, &x_dim, nx));
    let units = v.attr("units").and_then(AttrValue::as_text).unwrap_or_default();
    let outer: Vec<String> = (0..d.saturating_sub(2)).map(|i| format!("{}[{}]", v.dims[i], start[i])).collect();
    let caption = format!(
        "{}, ratio {}, largest error {} {units}, relative norm of the error {}",
        o.promise,
        number(o.raw_bytes as f64 / o.stored_bytes.max(1) as f64),
        number(o.stats.max_abs),
        number(o.stats.l2())
    );
    let rising = y.as_ref().is_some_and(|y| y.len() > 1 && y[0] < y[y.len() - 1]);
    draw(
        &Panels {
            title: &format!("{} {}", o.path, outer.join(" ")),
            units,
            ny,
            nx,
            original: &original,
            decoded: &back,
            y_label: &label(source, &y_dim),
            x_label: &label(source, &x_dim),
            y: y.as_deref(),
            x: x.as_deref(),
            bound: None,
            caption: &caption,
            flip_y: rising,
        },
        picture,
    )
}

/// A block in physical units, missing samples as NaN.
fn physical(source: &dyn Source, path: &str, v: &Variable, start: &[usize], count: &[usize]) -> Result<Vec<f64>> {
    let Values::Numbers(n) = source.read(path, start, count)? else { bail!("{path} is text") };
    let (affine, missing) = (policy::affine(v), policy::missing_patterns(v));
    Ok((0..n.len()).map(|i| if missing.contains(&n.bits(i)) { f64::NAN } else { affine.physical(n.f64(i)) }).collect())
}

/// The values of a dimension's coordinate variable.
fn coordinate(source: &dyn Source, dim: &str, n: usize) -> Option<Vec<f64>> {
    let v = source.root().find(dim).ok().filter(|v| v.shape == [n])?;
    match source.read(dim, &[0], &[n]).ok()? {
        Values::Numbers(c) => Some(c.to_f64().into_iter().map(|x| policy::affine(v).physical(x)).collect()),
        _ => None,
    }
}

/// `lat (degrees_north)`
fn label(source: &dyn Source, dim: &str) -> String {
    let units = source.root().find(dim).ok().and_then(|v| v.attr("units")).and_then(AttrValue::as_text);
    units.map_or_else(|| dim.into(), |u| format!("{dim} ({u})"))
}
