//! A part of one variable, by index or by coordinate, with the coordinates that belong to it.
//!
//! Selections, joined by commas: `time=3` one index (kept as a length-1 dimension), `time=0:10` indices 0 to 9,
//! `time=0:` and `time=:10` open ends, `lat=30..60` coordinates from 30 to 60 inclusive, `lat=~30.2` the nearest coordinate.

use std::path::{Path, PathBuf};

use lithify_codec::Region;

use super::Context;
use crate::error::{Error, Result};
use crate::formats;
use crate::location;
use crate::model::{Group, Source, Values, Variable};
use crate::policy;
use crate::zarr::ZarrSource;

/// What is wanted along one dimension.
#[derive(Debug, Clone, PartialEq)]
pub enum Range {
    /// Indices `[start, end)`; `None` is the end of the dimension.
    Index(usize, Option<usize>),
    /// Coordinates between two values, inclusive.
    Between(f64, f64),
    /// The coordinate nearest to a value.
    Nearest(f64),
}

/// A selection: dimension names with what is wanted along them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Selection(pub Vec<(String, Range)>);

impl std::str::FromStr for Selection {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        s.split(',').filter(|p| !p.trim().is_empty()).map(parse_one).collect::<Result<Vec<_>>>().map(Self)
    }
}

fn parse_one(part: &str) -> Result<(String, Range)> {
    let bad = || {
        Error::invalid(
            "a selection is dim=3, dim=0:10 (indices), dim=30..60 (coordinates) or dim=~30.2 (nearest)",
            part,
        )
    };
    let (dim, range) = part.split_once('=').ok_or_else(bad)?;
    let range = range.trim();
    let number = |s: &str| s.trim().parse::<f64>().ok().filter(|v| v.is_finite()).ok_or_else(bad);
    let index = |s: &str| s.trim().parse::<usize>().map_err(|_| bad());
    let range = if let Some((a, b)) = range.split_once("..") {
        Range::Between(number(a)?, number(b)?)
    } else if let Some(v) = range.strip_prefix('~') {
        Range::Nearest(number(v)?)
    } else if let Some((a, b)) = range.split_once(':') {
        let start = if a.trim().is_empty() { 0 } else { index(a)? };
        Range::Index(start, if b.trim().is_empty() { None } else { Some(index(b)?) })
    } else {
        let i = index(range)?;
        Range::Index(i, Some(i + 1))
    };
    Ok((dim.trim().into(), range))
}

/// What an extraction read and wrote.
#[derive(Debug, Clone)]
pub struct Extracted {
    /// The output.
    pub path: PathBuf,
    /// Shape of the part.
    pub shape: Vec<usize>,
    /// Bytes fetched from the store for it, metadata not counted; `None` where the source cannot tell.
    pub bytes_touched: Option<u64>,
    /// All bytes fetched from the store until the part was there, metadata and coordinates included.
    pub bytes_read: Option<u64>,
    /// Compressed bytes of the whole variable; `None` for other files and over a network, where they would have to be listed.
    pub bytes_stored: Option<u64>,
}

/// The first index and the number of indices along each dimension of the variable at `path`.
///
/// # Errors
/// [`Error::Invalid`] for an unknown dimension, an index or coordinate outside, or a coordinate selection without coordinates.
pub fn resolve(source: &dyn Source, path: &str, selection: &Selection) -> Result<Region> {
    let v = source.root().find(path)?.clone();
    let mut region = Region::all(&v.shape);
    for (dim, range) in &selection.0 {
        let Some(d) = v.dims.iter().position(|n| n == dim) else {
            return Err(Error::invalid(format!("{path} has the dimensions {}; there is no", v.dims.join(", ")), dim));
        };
        let n = v.shape[d];
        if selection.0.iter().filter(|(other, _)| other == dim).count() > 1 {
            return Err(Error::invalid("each dimension can be selected once", dim));
        }
        let (start, end) = match *range {
            Range::Index(start, end) => (start, end.unwrap_or(n)),
            Range::Between(a, b) => {
                let (c, period) = coordinate(source, path, dim)?;
                run_between(dim, &c, period, a, b)?
            }
            Range::Nearest(x) => {
                let (c, period) = coordinate(source, path, dim)?;
                // The shorter way round, where there is one.
                let near = |i: usize| match ((c[i] - x).abs(), period) {
                    (d, Some(p)) => (d % p).min(p - d % p),
                    (d, None) => d,
                };
                let i = (0..c.len()).min_by(|a, b| near(*a).total_cmp(&near(*b)));
                let i = i.ok_or_else(|| Error::invalid(format!("{dim} is empty, nothing is nearest to"), x))?;
                (i, i + 1)
            }
        };
        if start >= end || end > n {
            let what = match n {
                0 => format!("{dim} has no indices"),
                _ => format!("{dim} has the indices 0 to {}, and at least one must be selected", n - 1),
            };
            return Err(Error::invalid(what, format!("{start}:{end}")));
        }
        region.start[d] = start;
        region.count[d] = end - start;
    }
    Ok(region)
}

/// The run of indices whose coordinates lie in `[a, b]`; coordinates may rise or fall.
fn between(c: &[f64], a: f64, b: f64) -> Option<(usize, usize)> {
    let inside = |v: &f64| (a..=b).contains(v);
    let first = c.iter().position(inside)?;
    let last = c.iter().rposition(inside)?;
    Some((first, last + 1))
}

/// Like [`between`], for longitudes counted from Greenwich or from the date line alike.
fn run_between(dim: &str, c: &[f64], period: Option<f64>, a: f64, b: f64) -> Result<(usize, usize)> {
    let asked = format!("{a}..{b}");
    let (a, b) = match period {
        // From west to east.
        Some(p) if a > b => (a, b + p),
        _ => (a.min(b), a.max(b)),
    };
    let mut runs: Vec<(usize, usize)> = match period {
        Some(p) => [-p, 0.0, p].iter().filter_map(|shift| between(c, a + shift, b + shift)).collect(),
        None => between(c, a, b).into_iter().collect(),
    };
    runs.sort_unstable();
    // Runs that touch are one; others have a gap that no single part of the array leaves out.
    let mut joined: Vec<(usize, usize)> = Vec::new();
    for run in runs {
        match joined.last_mut() {
            Some(last) if run.0 <= last.1 => last.1 = last.1.max(run.1),
            _ => joined.push(run),
        }
    }
    match joined.as_slice() {
        [one] => Ok(*one),
        [] => Err(Error::invalid(format!("no coordinate of {dim} lies in that range"), asked)),
        parts => {
            let parts: Vec<_> = parts.iter().map(|(i, j)| format!("{dim}={i}:{j}")).collect();
            let what = format!("the range runs over the seam of {dim}; extract {} one by one", parts.join(" and "));
            Err(Error::invalid(what, asked))
        }
    }
}

/// The values of the dimension's coordinate variable, in the variable's group or a parent of it, and the period in which they
/// come again.
fn coordinate(source: &dyn Source, path: &str, dim: &str) -> Result<(Vec<f64>, Option<f64>)> {
    let mut group = path.trim_start_matches('/').rsplit_once('/').map_or("", |(g, _)| g);
    loop {
        let candidate = if group.is_empty() { dim.to_string() } else { format!("{group}/{dim}") };
        if let Ok(v) = source.root().find(&candidate)
            && v.dims.len() == 1
        {
            let affine = policy::affine(v);
            return match source.read(&candidate, &[0], &v.shape)? {
                Values::Numbers(n) => {
                    let values = n.to_f64().into_iter().map(|x| affine.physical(x)).collect();
                    Ok((values, policy::is_longitude(v).then_some(360.0)))
                }
                _ => Err(Error::invalid("the coordinate is text; select by index instead", dim)),
            };
        }
        if group.is_empty() {
            return Err(Error::invalid(
                "the file has no coordinate of that name; select by index (dim=0:10) instead",
                dim,
            ));
        }
        group = group.rsplit_once('/').map_or("", |(g, _)| g);
    }
}

/// The coordinates of a run of indices along a dimension; the indices where there are no coordinates.
pub(super) fn labels(source: &dyn Source, path: &str, dim: &str, start: usize, count: usize) -> Vec<f64> {
    let indices = start..start + count;
    match coordinate(source, path, dim) {
        Ok((c, _)) if c.len() >= indices.end => c[indices].to_vec(),
        _ => indices.map(|i| i as f64).collect(),
    }
}

/// Writes a part of one variable, with its coordinates cut alike, to `out`.
///
/// # Errors
/// As [`resolve`]; whatever reading and writing bring. The output appears whole or not at all.
pub fn extract(
    input: &Path,
    path: &str,
    selection: &Selection,
    out: &Path,
    force: bool,
    context: &Context<'_>,
) -> Result<Extracted> {
    super::check_output(out, force)?;
    let opened = formats::open_any(input)?;
    let (store, source) = (opened.store(), opened.source());
    let path = path.trim_start_matches('/');
    let v = source.root().find(path)?.clone();
    let region = resolve(source, path, selection)?;
    let before = store.map(ZarrSource::bytes_read);
    context.check()?;
    let values = source.read(path, &region.start, &region.count)?;
    let bytes_touched = store.map(|s| s.bytes_read() - before.unwrap_or_default());
    let (mut part, mut copies) = part_of(source.root(), path, &v, &region);
    if location::ends_with(out, "npy") {
        // That format holds one array and no coordinates.
        part.variables.retain(|w| w.name == v.name);
        copies.retain(|(name, _)| name == path);
    }
    let mut sink = formats::create(out)?;
    sink.define(&part)?;
    for (name, r) in copies {
        let values = if name == path { values.clone() } else { source.read(&name, &r.start, &r.count)? };
        let target = name.rsplit('/').next().unwrap_or(&name);
        sink.write(target, &vec![0; r.count.len()], &r.count, &values)?;
    }
    let bytes_read = store.map(ZarrSource::bytes_read);
    // Over a network that would cost more than many a part.
    let bytes_stored = store.filter(|_| !location::is_url(input)).map(|s| s.bytes_stored(path)).transpose()?;
    Ok(Extracted { path: sink.finish()?, shape: region.count, bytes_touched, bytes_read, bytes_stored })
}

/// A flat group with the part of the variable and of every variable that shares its dimensions as a coordinate, and where
/// each of them comes from.
fn part_of(root: &Group, path: &str, v: &Variable, region: &Region) -> (Group, Vec<(String, Region)>) {
    let wanted = policy::companions(path, v);
    let mut part = Group { attrs: root.attrs.clone(), classic: root.classic, ..Group::default() };
    let mut copies: Vec<(String, Region)> = Vec::new();
    for (other, w) in root.walk() {
        let is_dimension = w.dims.len() == 1 && w.dims[0] == w.name;
        let named = wanted.contains(&other) || is_dimension;
        let shares = w.dims.iter().all(|d| v.dims.contains(d));
        let taken = copies.iter().any(|(p, _)| p.rsplit('/').next() == Some(&w.name));
        if other != path && !(named && shares && !taken) {
            continue;
        }
        let mut r = Region::all(&w.shape);
        for (d, name) in w.dims.iter().enumerate() {
            if let Some(k) = v.dims.iter().position(|n| n == name) {
                r.start[d] = region.start[k];
                r.count[d] = region.count[k];
            }
        }
        part.variables.push(Variable { shape: r.count.clone(), chunks: None, ..w.clone() });
        copies.push((other, r));
    }
    for (name, len) in v.dims.iter().zip(&region.count) {
        if !part.dims.iter().any(|d| d.name == *name) {
            part.dims.push(crate::model::Dimension { name: name.clone(), len: *len, unlimited: false });
        }
    }
    (part, copies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_parse() {
        let s: Selection = "time=0:10, lat=30..60,lev=~500,x=3,y=:4".parse().unwrap();
        let want = [
            ("time", Range::Index(0, Some(10))),
            ("lat", Range::Between(30.0, 60.0)),
            ("lev", Range::Nearest(500.0)),
            ("x", Range::Index(3, Some(4))),
            ("y", Range::Index(0, Some(4))),
        ];
        assert_eq!(s.0, want.map(|(d, r)| (d.to_string(), r)));
        for bad in ["time", "time=", "time=a:b", "lat=1..", "=3", "x=-1"] {
            assert!(bad.parse::<Selection>().is_err() || bad == "=3", "{bad}");
        }
        assert_eq!(between(&[90.0, 60.0, 30.0, 0.0], 20.0, 70.0), Some((1, 3)));
        assert_eq!(between(&[1.0, 2.0], 3.0, 4.0), None);
    }

    #[test]
    fn longitudes_go_round() {
        let east: Vec<f64> = (0..36).map(|i| f64::from(i) * 10.0).collect();
        let west: Vec<f64> = (0..36).map(|i| f64::from(i) * 10.0 - 180.0).collect();
        let round = |c: &[f64], a, b| run_between("lon", c, Some(360.0), a, b).ok();
        assert_eq!(round(&east, -30.0, -10.0), Some((33, 36)));
        assert_eq!(round(&east, -10.0, 10.0), None);
        assert_eq!(round(&east, -180.0, 180.0), Some((0, 36)));
        assert_eq!(round(&west, 0.0, 360.0), Some((0, 36)));
        assert_eq!(round(&west, 170.0, 190.0), None);
        assert_eq!(round(&west, 350.0, 10.0), Some((17, 20)));
        assert_eq!(run_between("lat", &[80.0, 0.0, -80.0], None, -90.0, 10.0).ok(), Some((1, 3)));
    }
}
