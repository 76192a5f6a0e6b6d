//! GRIB editions 1 and 2, read only.
//!
//! # Algorithm
//! 1. Opening indexes the headers of all messages (`scan`) and lays them out as variables (`cube`, `dataset`).
//! 2. [`Source::read`] decodes the messages that a block touches; the last ones decoded are kept.
//!
//! # Values
//! `Y = (R + X 2^E) / 10^D` in f64, rounded to f32, the variables' type; f64 where X has more than 24 bits. Missing points (bitmap or
//! missing values of complex packing) are NaN.

mod complex;
mod cube;
mod dataset;
mod edition1;
mod edition2;
mod field;
mod grid;
mod level;
mod octets;
mod parameters;
mod projection;
mod scan;
#[cfg(test)]
mod tests;
mod unpack;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lithify_codec::{Dtype, Sample, Samples};

use self::dataset::{Content, Dataset};
use self::field::{Field, Span};
use self::octets::{Parse, Problem, corrupt, located};
use self::scan::Index;
use crate::error::{Error, Result};
use crate::formats::Format;
use crate::model::{Group, Source, Values, check_block};

/// Decoded fields are kept up to this many bytes, so that blocks smaller than a field do not decode it anew each.
const CACHE_BYTES: usize = 64 << 20;

/// The row of the format table.
pub const FORMAT: Format = Format {
    name: "GRIB",
    endings: &["grib", "grb", "grib1", "grb1", "grib2", "grb2", "gb2"],
    detect,
    open,
    create: None,
};

/// Whether a file that starts with `head` is GRIB. A bulletin header or padding may come first.
fn detect(_: &Path, head: &[u8]) -> bool {
    head.windows(8).any(|w| w.starts_with(b"GRIB") && matches!(w[7], 1 | 2))
}

/// Opens a file: reads all headers, no data.
///
/// # Errors
/// [`Error::Io`], [`Error::Corrupt`] or [`Error::Unsupported`], the latter two with the message's number and place.
fn open(path: &Path) -> Result<Box<dyn Source>> {
    let index = scan::index(path)?;
    let dataset = dataset::dataset(&index);
    let file = Mutex::new(File::open(path).map_err(Error::io(path))?);
    Ok(Box::new(Grib { path: path.into(), file, index, dataset, cache: Mutex::new(VecDeque::new()) }))
}

/// An open file.
struct Grib {
    path: PathBuf,
    file: Mutex<File>,
    index: Index,
    dataset: Dataset,
    /// Newest first: index of the field, its values in C order.
    cache: Mutex<VecDeque<(usize, Arc<Samples>)>>,
}

impl Source for Grib {
    fn root(&self) -> &Group {
        &self.dataset.root
    }

    fn read(&self, path: &str, start: &[usize], count: &[usize]) -> Result<Values> {
        let path = path.trim_start_matches('/');
        let variable = self.dataset.root.find(path)?;
        check_block(path, &variable.shape, start, count)?;
        let per_point = |f: &dyn Fn(usize) -> f64| {
            let mut out = Vec::with_capacity(count.iter().product());
            runs(&variable.shape, start, count, |at, n| out.extend((at..at + n).map(f)));
            Samples::F64(out)
        };
        let grid = |at: usize| self.index.grids.all.get(at);
        let values = match self.dataset.contents.get(path) {
            Some(Content::Fields(slots)) => {
                self.block(slots, variable.dtype() == Some(Dtype::F64), &variable.shape, start, count)?
            }
            Some(Content::Stored(all)) => lithify_codec::match_samples!(all, v => {
                let mut out = v.clone();
                out.clear();
                runs(&variable.shape, start, count, |at, n| out.extend(v.get(at..at + n).unwrap_or_default()));
                Sample::wrap(out)
            }),
            Some(Content::Along(axis)) => per_point(&|i| axis.at(i)),
            Some(Content::Latitude(at)) => per_point(&|i| grid(*at).map_or(f64::NAN, |g| g.lat_lon(i).0)),
            Some(Content::Longitude(at)) => per_point(&|i| grid(*at).map_or(f64::NAN, |g| g.lat_lon(i).1)),
            None => return Err(Error::invalid("there is no variable", path)),
        };
        Ok(Values::Numbers(values))
    }

    fn format(&self) -> &'static str {
        let has = |edition| self.index.fields.iter().any(|f| f.edition == edition);
        match (has(1), has(2)) {
            (true, true) => "GRIB1 and GRIB2",
            (true, false) => "GRIB1",
            _ => "GRIB2",
        }
    }

    fn warnings(&self) -> Vec<String> {
        self.dataset.warnings.clone()
    }
}

impl Grib {
    /// A block of fields; the last dimensions are the grid's.
    fn block(
        &self,
        slots: &[Option<usize>],
        wide: bool,
        shape: &[usize],
        start: &[usize],
        count: &[usize],
    ) -> Result<Samples> {
        let rank = slots.iter().flatten().next().and_then(|&i| self.index.fields.get(i));
        let rank = rank.and_then(|f| self.index.grids.all.get(f.grid)).map_or(0, |g| g.shape.len());
        let outer = shape.len().saturating_sub(rank);
        let (mut narrow_out, mut wide_out) = (Vec::new(), Vec::new());
        let (inner_start, inner_count) = (&start[outer..], &count[outer..]);
        let n_inner: usize = inner_count.iter().product();
        let mut wanted = Vec::new();
        runs(&shape[..outer], &start[..outer], &count[..outer], |at, n| wanted.extend(at..at + n));
        for slot in wanted {
            match (slots.get(slot).copied().flatten(), wide) {
                (Some(i), _) => match self.field(i, wide)?.as_ref() {
                    Samples::F32(v) => runs(&shape[outer..], inner_start, inner_count, |at, n| {
                        narrow_out.extend_from_slice(v.get(at..at + n).unwrap_or_default());
                    }),
                    Samples::F64(v) => runs(&shape[outer..], inner_start, inner_count, |at, n| {
                        wide_out.extend_from_slice(v.get(at..at + n).unwrap_or_default());
                    }),
                    _ => {}
                },
                (None, true) => wide_out.resize(wide_out.len() + n_inner, f64::NAN),
                (None, false) => narrow_out.resize(narrow_out.len() + n_inner, f32::NAN),
            }
        }
        Ok(if wide { Samples::F64(wide_out) } else { Samples::F32(narrow_out) })
    }

    /// All values of a field, from the cache or the file.
    fn field(&self, i: usize, wide: bool) -> Result<Arc<Samples>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = cache.iter().position(|(known, _)| *known == i)
            && let Some(hit) = cache.remove(at)
        {
            let values = hit.1.clone();
            cache.push_front(hit);
            return Ok(values);
        }
        drop(cache);
        let Some(field) = self.index.fields.get(i) else { return Err(Error::invalid("there is no field", i)) };
        let values = located(self.decode(field), &self.path, field.message, field.offset)?;
        let values =
            if wide { Samples::F64(values) } else { Samples::F32(values.into_iter().map(|v| v as f32).collect()) };
        let values = Arc::new(values);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.push_front((i, values.clone()));
        let mut bytes = 0;
        cache.retain(|(_, v)| {
            let keep = bytes == 0 || bytes + v.len() * v.dtype().size() <= CACHE_BYTES;
            bytes += v.len() * v.dtype().size();
            keep
        });
        Ok(values)
    }

    /// A field's values in C order, NaN where missing.
    fn decode(&self, field: &Field) -> Parse<Vec<f64>> {
        let Some(grid) = self.index.grids.all.get(field.grid) else { return corrupt("it has no grid") };
        let n = grid.n_points();
        let bitmap = field.bitmap.map(|span| self.bytes(span)).transpose()?;
        let present = |map: &[u8], i: usize| map.get(i / 8).is_some_and(|b| b >> (7 - i % 8) & 1 == 1);
        let n_present = match &bitmap {
            Some(map) if map.len() * 8 < n => {
                return corrupt(format!("a bitmap of {} bytes for {n} points", map.len()));
            }
            Some(map) => (0..n).filter(|&i| present(map, i)).count(),
            None => n,
        };
        let n_coded = field.packing.n_coded.unwrap_or(n_present);
        if n_coded < n_present || n_coded > n {
            return corrupt(format!("{n_coded} values where the grid and the bitmap want {n_present}"));
        }
        let coded = field.packing.unpack(&self.bytes(field.data)?, n_coded)?;
        let values = match bitmap {
            None => coded,
            Some(map) => {
                let mut coded = coded.into_iter();
                (0..n).map(|i| if present(&map, i) { coded.next().unwrap_or(f64::NAN) } else { f64::NAN }).collect()
            }
        };
        Ok(grid.arrange(values))
    }

    fn bytes(&self, span: Span) -> Parse<Vec<u8>> {
        // (*) the index checked that the span lies in the file: the allocation is earned.
        let mut out = vec![0; span.len];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(span.at))
            .and_then(|_| file.read_exact(&mut out))
            .map_err(|e| Problem::Failed(Error::io(&self.path)(e)))?;
        Ok(out)
    }
}

/// Calls `each(first, n)` for every contiguous run of the block `[start, start + count)` of a C-order array.
fn runs(shape: &[usize], start: &[usize], count: &[usize], mut each: impl FnMut(usize, usize)) {
    let Some(last) = shape.len().checked_sub(1) else { return each(0, 1) };
    let n_rows: usize = count[..last].iter().product();
    for row in 0..if count[last] == 0 { 0 } else { n_rows } {
        let (mut rest, mut at, mut stride) = (row, start[last], shape[last]);
        for d in (0..last).rev() {
            at += (start[d] + rest % count[d]) * stride;
            rest /= count[d];
            stride *= shape[d];
        }
        each(at, count[last]);
    }
}
