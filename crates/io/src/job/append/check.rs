//! Whether a file goes on where a store ends. Nothing is written before all of it has been looked at.

use std::cmp::Ordering;

use lithify_codec::{Samples, match_samples};

use super::fit::Fitted;
use crate::error::{Error, Result};
use crate::job::Context;
use crate::job::certificate::{self, checksum, crc_of_crcs};
use crate::job::chunks::chunk_grid;
use crate::model::{AttrValue, DataType, Source, Values, Variable, read_numbers};
use crate::policy;
use crate::zarr::ZarrSource;

/// Where a file is to be put to a store.
pub(super) struct Seam {
    /// Length of the dimension in the store, and what the file adds to it.
    pub(super) old: usize,
    pub(super) added: usize,
    /// The variables that grow, with the position of the dimension.
    pub(super) grow: Vec<(String, usize)>,
}

/// Attributes that say what stored values mean; they are the same on both sides of a seam.
const MEANING: &[&str] =
    &["units", "calendar", "scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned"];

/// Looks at everything that could keep `source` from being appended to `store` along `dim`.
pub(super) fn seam(
    store: &ZarrSource,
    source: &Fitted<'_>,
    dim: &str,
    context: &Context<'_>,
    warn: &mut dyn FnMut(String),
) -> Result<Seam> {
    let all = store.root().walk();
    let mut seam = Seam { old: 0, added: 0, grow: Vec::new() };
    for (path, v) in &all {
        context.check()?;
        let Some(axis) = v.dims.iter().position(|d| d == dim) else { continue };
        let w = match source.root().find(path) {
            Ok(w) => w,
            Err(_) => {
                let what =
                    format!("the file has no variable {path}, which lies along {dim} in the store; add it to the file");
                return Err(Error::invalid(what, names(source)));
            }
        };
        goes_on(store, path, v, w, axis, dim)?;
        let (old, added) = (v.shape[axis], w.shape[axis]);
        if seam.grow.is_empty() {
            (seam.old, seam.added) = (old, added);
        }
        if (seam.old, seam.added) != (old, added) {
            let what =
                format!("{path} is {old} long along {dim} in the store and {added} in the file, other variables are");
            return Err(Error::invalid(what, format!("{} and {}", seam.old, seam.added)));
        }
        seam.grow.push((path.clone(), axis));
    }
    if seam.grow.is_empty() {
        let mut dims: Vec<&str> = all.iter().flat_map(|(_, v)| &v.dims).map(String::as_str).collect();
        dims.sort_unstable();
        dims.dedup();
        return Err(Error::invalid(format!("no variable of the store lies along {dim:?}; there are"), dims.join(", ")));
    }
    if seam.added == 0 {
        return Err(Error::invalid(format!("the file holds nothing along {dim}; there is nothing to append"), 0));
    }
    for (path, v) in all.iter().filter(|(_, v)| v.dims == [dim]) {
        if v.name == dim {
            in_order(store, source, path, v, &seam, warn)?;
        }
    }
    let roles = policy::roles(store.root());
    for (path, v) in all.iter().filter(|(_, v)| !v.dims.iter().any(|d| d == dim)) {
        context.check()?;
        let role = roles.get(path).copied().flatten();
        if let Some(problem) = stands_still(store, source, path, v, context)? {
            // Another grid would make the whole array mean something else; other things are only kept as they are.
            match role {
                Some(role) => {
                    let what =
                        format!("{path}, {role}, {problem}; bring the file to the store's grid, or begin a new store");
                    return Err(Error::invalid(what, v.dims.join(", ")));
                }
                None => warn(format!("{path} {problem}; the store's own is kept")),
            }
        }
    }
    for (path, _) in source.root().walk() {
        if store.root().find(&path).is_err() {
            warn(format!("{path} is not in the store and is left out"));
        }
    }
    Ok(seam)
}

fn names(source: &Fitted<'_>) -> String {
    source.root().walk().iter().map(|(p, _)| p.as_str()).collect::<Vec<_>>().join(", ")
}

/// Whether `w` of the file can follow `v` of the store along dimension `axis`.
fn goes_on(store: &ZarrSource, path: &str, v: &Variable, w: &Variable, axis: usize, dim: &str) -> Result<()> {
    let refuse = |what: String, got: String| Err(Error::invalid(what, got));
    if v.dims.iter().filter(|d| *d == dim).count() > 1 {
        return refuse(format!("{path} has {dim} more than once and cannot grow"), v.dims.join(", "));
    }
    if w.data_type != v.data_type {
        let what = format!("{path} is {} in the store; convert it in the file", type_name(v.data_type));
        return refuse(what, type_name(w.data_type).into());
    }
    if w.dims != v.dims {
        let what =
            format!("{path} has the dimensions [{}] in the store; give it the same in the file", v.dims.join(", "));
        return refuse(what, format!("[{}]", w.dims.join(", ")));
    }
    if let Some(d) = (0..v.shape.len()).find(|&d| d != axis && v.shape[d] != w.shape[d]) {
        let what =
            format!("{path} is {} long along {} in the store; the file must have the same grid", v.shape[d], v.dims[d]);
        return refuse(what, w.shape[d].to_string());
    }
    if let Some((name, [a, b])) = other_meaning(v, w) {
        if let (true, Some((unit, _)), Some((other, _))) =
            (name == "units", a.split_once(" since "), b.split_once(" since "))
            && unit == other
        {
            let what = format!("{path} is counted in {a:?} in the store; count it from the same time in the file");
            return refuse(what, format!("{b:?}"));
        }
        return refuse(format!("{path} has the attribute {name} = {a} in the store; give it the same in the file"), b);
    }
    if store.layout(path).is_none() {
        return Ok(());
    }
    let Some(certificate) = store.certificate(path) else {
        return refuse(format!("{path} has no certificate to continue; compress it again"), path.into());
    };
    if certificate["field"]["n"].as_u64() != Some(v.len() as u64) {
        let what =
            format!("{path} was extended by another writer, of which its certificate says nothing; compress it again");
        return refuse(what, format!("{:?}", v.shape));
    }
    let along = certificate["parts"][0]["dim"].as_str().filter(|d| *d != dim);
    if let Some(other) = along {
        return refuse(format!("{path} has grown along {other} and cannot grow along another dimension"), dim.into());
    }
    let promise =
        certificate::promise(&certificate)?.ok_or_else(|| Error::corrupt(path, "the certificate has no bound"))?;
    if promise.0.iter().any(|b| matches!(b, lithify_codec::Bound::Bytes(_))) {
        let what = format!(
            "{path}: bytes= is a limit for all of a variable, which leaves none for more; compress it with ratio="
        );
        return refuse(what, promise.to_string());
    }
    Ok(())
}

fn type_name(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Number(d) => d.name(),
        DataType::Char => "char",
        DataType::String => "string",
    }
}

/// The first attribute that means something else on both sides, and its values.
fn other_meaning(v: &Variable, w: &Variable) -> Option<(&'static str, [String; 2])> {
    MEANING.iter().find_map(|name| {
        let (a, b) = (v.attr(name), w.attr(name));
        let same = match (a, b) {
            (Some(AttrValue::Numbers(a)), Some(AttrValue::Numbers(b))) => {
                a.len() == b.len() && (0..a.len()).all(|i| a.f64(i).to_bits() == b.f64(i).to_bits())
            }
            _ if *name == "calendar" => calendar(a) == calendar(b),
            (Some(a), Some(b)) => a.as_text().is_some() && a.as_text() == b.as_text(),
            (None, None) => true,
            _ => false,
        };
        (!same).then(|| (*name, [a, b].map(shown)))
    })
}

/// CF's default has two names.
fn calendar(value: Option<&AttrValue>) -> String {
    match value.and_then(AttrValue::as_text).map(str::to_lowercase).as_deref() {
        None | Some("gregorian" | "standard") => "standard".into(),
        Some(other) => other.into(),
    }
}

fn shown(value: Option<&AttrValue>) -> String {
    match value {
        None => "none".into(),
        Some(AttrValue::Numbers(n)) => n.to_f64().iter().map(|v| format!("{v}")).collect::<Vec<_>>().join(" "),
        Some(text) => text.as_text().unwrap_or("text").into(),
    }
}

/// Whether the coordinate goes on in its own direction across the seam.
fn in_order(
    store: &ZarrSource,
    source: &Fitted<'_>,
    path: &str,
    v: &Variable,
    seam: &Seam,
    warn: &mut dyn FnMut(String),
) -> Result<()> {
    let (old, new) = match (store.read(path, &[0], &[seam.old])?, source.read(path, &[0], &[seam.added])?) {
        (Values::Numbers(old), Values::Numbers(new)) => (old, new),
        (Values::Strings(old), Values::Strings(new)) => {
            return match new.iter().find(|label| old.contains(label)) {
                Some(label) => {
                    Err(Error::invalid(format!("{path} has this label already; append only what is new"), label))
                }
                None => Ok(()),
            };
        }
        _ => return Ok(()),
    };
    let direction = match steps(&old).or_else(|| if old.len() < 2 { steps(&new) } else { None }) {
        Some(direction) => direction,
        None if old.len() < 2 && new.len() < 2 => across(&old, &new).unwrap_or(Ordering::Equal),
        None if old.len() < 2 => {
            return Err(Error::invalid(
                format!("{path} must rise or fall all the way in the file; sort it"),
                ends(&new),
            ));
        }
        None => {
            warn(format!("{path} neither rises nor falls in the store, so that its order was not checked"));
            return Ok(());
        }
    };
    let rises = if direction == Ordering::Less { "rises" } else { "falls" };
    let meets = across(&old, &new);
    if !old.is_empty() && (meets != Some(direction) || direction == Ordering::Equal) {
        let affine = policy::affine(v);
        let last = affine.physical(old.f64(old.len() - 1));
        let what = match meets {
            Some(Ordering::Equal) => format!("{path} is {last} in the store already; append only what is new"),
            _ => format!(
                "{path} {rises} to {last} in the store, and the file must go on from there; cut off what is there already"
            ),
        };
        return Err(Error::invalid(what, format!("the file begins at {}", affine.physical(new.f64(0)))));
    }
    if new.len() > 1 && steps(&new) != Some(direction) {
        return Err(Error::invalid(
            format!("{path} {rises} in the store and must do so all the way in the file; sort it"),
            ends(&new),
        ));
    }
    Ok(())
}

/// How each value compares to the next one, if that is the same all the way; `None` for fewer than two.
fn steps(x: &Samples) -> Option<Ordering> {
    match_samples!(x, v => {
        let first = v.first()?.partial_cmp(v.get(1)?).filter(|o| *o != Ordering::Equal)?;
        v.windows(2).all(|w| w[0].partial_cmp(&w[1]) == Some(first)).then_some(first)
    })
}

/// How the last value of one compares to the first one of another of the same type.
fn across(old: &Samples, new: &Samples) -> Option<Ordering> {
    fn typed<T: lithify_codec::Sample + PartialOrd>(old: &[T], new: &Samples) -> Option<Ordering> {
        old.last()?.partial_cmp(T::slice(new)?.first()?)
    }
    match_samples!(old, v => typed(v, new))
}

fn ends(x: &Samples) -> String {
    match x.len() {
        0 => "nothing".into(),
        n => format!("{} to {}", x.f64(0), x.f64(n - 1)),
    }
}

/// What keeps a variable without the dimension from being the same on both sides; `None` if it is.
fn stands_still(
    store: &ZarrSource,
    source: &Fitted<'_>,
    path: &str,
    v: &Variable,
    context: &Context<'_>,
) -> Result<Option<String>> {
    let Ok(w) = source.root().find(path) else { return Ok(Some("is not in the file".into())) };
    if w.data_type != v.data_type || w.shape != v.shape || w.dims != v.dims {
        return Ok(Some("has another type or shape in the file".into()));
    }
    if let Some((name, [a, b])) = other_meaning(v, w) {
        return Ok(Some(format!("has {name} = {b} in the file, {a} in the store")));
    }
    let differs = Some("differs from that in the file".to_string());
    let start = vec![0; v.shape.len()];
    let certificate = store.certificate(path);
    if let (Some(layout), Some(dtype), Some(certificate)) = (store.layout(path), v.dtype(), certificate) {
        // It may have been stored lossy: the checksum says what it was made from.
        let mut crc = 0;
        for at in chunk_grid(&v.shape, &layout.chunk, layout.shard.as_deref()) {
            context.check()?;
            crc = crc_of_crcs(crc, read_numbers(source, path, dtype, &at.start, &at.count)?.crc32c());
        }
        let said = certificate["source"]["checksum"].as_str().map(str::to_string);
        return Ok(differs.filter(|_| said != Some(checksum(crc))));
    }
    let same = match (store.read(path, &start, &v.shape)?, source.read(path, &start, &v.shape)?) {
        // NaN is equal to itself here: bits count.
        (Values::Numbers(a), Values::Numbers(b)) => a.to_le_bytes() == b.to_le_bytes(),
        (a, b) => a == b,
    };
    Ok(differs.filter(|_| !same))
}
