//! The value of a variable at any latitude and longitude, also between grid points.
//!
//! # Maths
//! v(p) = sum of w_k (x_k + f(p) - f(k)) over the valid ones of the surrounding grid points k, with the weights w_k of bilinear
//! interpolation, scaled to a sum of 1; f is what the codec of the chunk with k knows between samples ([`lithify_codec::between`]),
//! 0 for most: then v is bilinear. Along other dimensions there is no interpolation.

use std::collections::BTreeMap;
use std::path::Path;

use lithify_codec::block::grid;
use lithify_codec::transform::inr;
use lithify_codec::{Region, Samples};

use super::Context;
use super::select::{Selection, labels, resolve};
use crate::error::{Error, Result};
use crate::formats;
use crate::horizontal::{Between, Horizontal};
use crate::model::{AttrValue, Source, Variable, read_numbers};
use crate::policy;
use crate::zarr::ZarrSource;

/// Degrees north and east.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// -90 to 90.
    pub latitude: f64,
    /// Any turn.
    pub longitude: f64,
}

impl std::str::FromStr for Place {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        let number = |s: &str| s.trim().parse::<f64>().ok().filter(|v| v.is_finite());
        let place = s.split_once(',').and_then(|(a, b)| Some((number(a)?, number(b)?)));
        match place {
            Some((latitude, longitude)) if latitude.abs() <= 90.0 => Ok(Self { latitude, longitude }),
            _ => Err(Error::invalid(
                "a place is LATITUDE,LONGITUDE in degrees north (-90 to 90) and east, as 48.2,16.4",
                s,
            )),
        }
    }
}

/// The values at some places.
#[derive(Debug, Clone)]
pub struct Answers {
    /// The variable's units.
    pub units: String,
    /// The dimensions beside latitude and longitude, with the coordinates (or else indices) of what was selected.
    pub dims: Vec<(String, Vec<f64>)>,
    /// For each place the values along these dimensions, in C order, physical units; NaN where no grid point around is valid.
    pub values: Vec<Vec<f64>>,
    /// Bytes fetched from the store for them, metadata not counted; `None` where the source cannot tell.
    pub bytes_touched: Option<u64>,
}

/// The values of the variable at `path` at some places, for what is selected along its other dimensions.
///
/// # Errors
/// [`Error::Invalid`] for a place outside the grid, for a grid without latitudes and longitudes along two dimensions, and for a selection
/// along these; whatever reading brings.
pub fn at(input: &Path, path: &str, places: &[Place], selection: &Selection, context: &Context<'_>) -> Result<Answers> {
    let opened = formats::open_any(input)?;
    let (store, source) = (opened.store(), opened.source());
    let path = path.trim_start_matches('/');
    let v = source.root().find(path)?.clone();
    let grid = Horizontal::of(source, path)?;
    let across = [grid.latitude.dim, grid.longitude.dim];
    if let Some((dim, _)) = selection.0.iter().find(|(dim, _)| across.iter().any(|&d| v.dims[d] == *dim)) {
        return Err(Error::invalid("--at says where along this dimension; leave it out of --sel", dim));
    }
    let region = resolve(source, path, selection)?;
    let other: Vec<usize> = (0..v.dims.len()).filter(|d| !across.contains(d)).collect();
    let dims = other.iter().map(|&d| {
        let (start, count) = (region.start[d], region.count[d]);
        (v.dims[d].clone(), labels(source, path, &v.dims[d], start, count))
    });
    let dims = dims.collect();
    let found = places.iter().map(|p| locate(&grid, path, *p)).collect::<Result<Vec<_>>>()?;
    let before = store.map(ZarrSource::bytes_read);
    let reading = Reading { source, path, missing: policy::missing_patterns(&v), v: &v, across, region };
    let values = found.iter().map(|f| {
        context.check()?;
        reading.values(*f)
    });
    let values = values.collect::<Result<_>>()?;
    let units = v.attr("units").and_then(AttrValue::as_text).unwrap_or_default().into();
    let bytes_touched = store.map(|s| s.bytes_read() - before.unwrap_or_default());
    Ok(Answers { units, dims, values, bytes_touched })
}

fn locate(grid: &Horizontal, path: &str, p: Place) -> Result<[Between; 2]> {
    let outside = |what: &str, ends: String, x: f64| {
        Error::invalid(format!("the grid of {path} has {what} {ends}; there is no value at"), x)
    };
    let (latitude, longitude) = (&grid.latitude, &grid.longitude);
    Ok([
        latitude.find(p.latitude).ok_or_else(|| outside("latitudes", latitude.ends(), p.latitude))?,
        longitude.find(p.longitude).ok_or_else(|| outside("longitudes", longitude.ends(), p.longitude))?,
    ])
}

/// A grid point beside a place.
#[derive(Debug, Clone, Copy)]
struct Corner {
    /// Its row and column.
    at: [usize; 2],
    /// Where the place lies, counted from there, in rows and columns.
    to: [f64; 2],
    weight: f64,
}

/// A sample at a corner, the so manieth one along the other dimensions.
struct Wanted {
    corner: usize,
    line: usize,
    /// Its indices in the variable.
    at: Vec<usize>,
}

/// The grid points around a place that count.
fn corners(found: [Between; 2]) -> Vec<Corner> {
    let sides = found.map(|b| {
        let first = (b.lines[0], b.part, 1.0 - b.part);
        let second = (b.lines[1], b.part - 1.0, b.part);
        if b.part > 0.0 { vec![first, second] } else { vec![first] }
    });
    let [rows, columns] = &sides;
    let of = |(y, dy, wy): (usize, f64, f64)| {
        columns.iter().map(move |&(x, dx, wx)| Corner { at: [y, x], to: [dy, dx], weight: wy * wx })
    };
    rows.iter().flat_map(|r| of(*r)).collect()
}

/// A variable of which values are wanted at places.
struct Reading<'a> {
    source: &'a dyn Source,
    path: &'a str,
    v: &'a Variable,
    missing: Vec<u64>,
    /// Dimensions of latitude and longitude.
    across: [usize; 2],
    /// What is selected along the others.
    region: Region,
}

impl Reading<'_> {
    fn values(&self, found: [Between; 2]) -> Result<Vec<f64>> {
        let corners = corners(found);
        let samples = self.samples(&corners)?;
        let bends = self.bends(&corners)?;
        let affine = policy::affine(self.v);
        let value = |i: usize| {
            let (mut sum, mut weights) = (0.0, 0.0);
            for (k, corner) in corners.iter().enumerate() {
                let x = samples[k].f64(i);
                if x.is_finite() && !self.missing.contains(&samples[k].bits(i)) {
                    sum += corner.weight * (x + bends[k][i]);
                    weights += corner.weight;
                }
            }
            if weights > 0.0 { affine.physical(sum / weights) } else { f64::NAN }
        };
        Ok((0..self.n()).map(value).collect())
    }

    /// Along the other dimensions.
    fn n(&self) -> usize {
        (0..self.region.count.len()).filter(|d| !self.across.contains(d)).map(|d| self.region.count[d]).product()
    }

    /// What is selected of one row and column, or of two neighbours in each.
    fn block(&self, at: [usize; 2], count: [usize; 2]) -> Region {
        let mut region = self.region.clone();
        for (i, &d) in self.across.iter().enumerate() {
            (region.start[d], region.count[d]) = (at[i], count[i]);
        }
        region
    }

    /// Decoded samples at each corner, along the other dimensions. Neighbours are read together, so that a chunk is decoded once.
    fn samples(&self, corners: &[Corner]) -> Result<Vec<Samples>> {
        let Some(dtype) = self.v.dtype() else {
            return Err(Error::invalid("only numbers have values between grid points", self.path));
        };
        let ends = |axis: usize| {
            let lines = || corners.iter().map(|c| c.at[axis]);
            (lines().min().unwrap_or(0), lines().max().unwrap_or(0))
        };
        let ((top, bottom), (left, right)) = (ends(0), ends(1));
        // Over the seam of the longitudes there are two blocks.
        let blocks = if right - left <= 1 { vec![(left, right - left + 1)] } else { vec![(left, 1), (right, 1)] };
        let read = blocks.into_iter().map(|(left, width)| {
            let region = self.block([top, left], [bottom - top + 1, width]);
            let x = read_numbers(self.source, self.path, dtype, &region.start, &region.count)?;
            Ok((left, width, region.count, x))
        });
        let read = read.collect::<Result<Vec<_>>>()?;
        let of = |c: &Corner| {
            let (left, _, count, x) =
                read.iter().find(|(left, width, ..)| (*left..left + width).contains(&c.at[1])).unwrap_or(&read[0]);
            let mut part = Region { start: vec![0; count.len()], count: count.clone() };
            for (d, from) in self.across.iter().zip([c.at[0] - top, c.at[1] - left]) {
                (part.start[*d], part.count[*d]) = (from, 1);
            }
            x.crop(count, &part.start, &part.count)
        };
        Ok(corners.iter().map(of).collect())
    }

    /// f(p) - f(k) for each corner k, along the other dimensions.
    fn bends(&self, corners: &[Corner]) -> Result<Vec<Vec<f64>>> {
        let mut out = vec![vec![0.0; self.n()]; corners.len()];
        let Some(layout) = self.source.layout(self.path).filter(|_| corners.len() > 1) else { return Ok(out) };
        // Nobody else knows anything between samples; where it is not said who wrote them, the payloads do.
        if layout.configuration["codec"].as_str().is_some_and(|c| !c.starts_with(inr::STAGE.name)) {
            return Ok(out);
        }
        let mut chunks: BTreeMap<Vec<usize>, Vec<Wanted>> = BTreeMap::new();
        for (k, corner) in corners.iter().enumerate() {
            let line = self.block(corner.at, [1, 1]);
            for (i, (at, _)) in grid(&line.count, &vec![1; line.count.len()]).into_iter().enumerate() {
                let at: Vec<usize> = at.iter().zip(&line.start).map(|(a, s)| a + s).collect();
                let chunk = at.iter().zip(&layout.chunk).map(|(a, c)| a / c).collect();
                chunks.entry(chunk).or_default().push(Wanted { corner: k, line: i, at });
            }
        }
        for (chunk, wanted) in chunks {
            let Some(payload) = self.source.payload(self.path, &chunk)? else { continue };
            for part in lithify_codec::parts(&payload)? {
                let inside = |at: &[usize]| -> Option<Vec<f64>> {
                    let shape = &part.header.shape;
                    let from = |d: usize| {
                        at[d].checked_sub(chunk[d] * layout.chunk[d] + part.start[d]).filter(|i| i < &shape[d])
                    };
                    (0..at.len()).map(|d| from(d).map(|i| i as f64)).collect()
                };
                let held: Vec<_> = wanted.iter().filter_map(|w| Some((w, inside(&w.at)?))).collect();
                let shifted = |(w, at): &(&Wanted, Vec<f64>)| {
                    let mut p = at.clone();
                    self.across.iter().zip(corners[w.corner].to).for_each(|(d, to)| p[*d] += to);
                    [at.clone(), p]
                };
                let places: Vec<_> = held.iter().flat_map(shifted).collect();
                let Some(f) = lithify_codec::between(part.payload, &places)? else { continue };
                for ((w, _), f) in held.iter().zip(f.chunks(2)) {
                    out[w.corner][w.line] = f[1] - f[0];
                }
            }
        }
        out.iter_mut().flatten().filter(|b| !b.is_finite()).for_each(|b| *b = 0.0);
        Ok(out)
    }
}
