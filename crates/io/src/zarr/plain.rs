//! Variables in codecs that every Zarr reader has: `bytes` or `vlen-utf8`, then `zstd`, or `blosc` where that is clearly smaller,
//! then `crc32c`.

use std::collections::BTreeMap;
use std::sync::Arc;

use lithify_codec::{Samples, block};
use serde_json::{Value, json};
use zarrs::array::codec::api::{ArrayToBytesCodecTraits, CodecOptions};
use zarrs::array::{Array, ArrayBytes, Element};

use super::codec::samples_to_native;
use super::{foreign, metadata};
use crate::error::{Error, Result};
use crate::model::{DataType, Values, Variable, check_block};

/// Chunks hold at most this many bytes, strings counted with [`STRING`].
const MAX_CHUNK: usize = 8 << 20;
/// Guess of the bytes of a string.
const STRING: usize = 32;

/// Takes the index of a chunk and its coded bytes.
pub(super) type Put<'a> = &'a mut dyn FnMut(&[usize], &[u8]) -> Result<()>;

/// A variable being written.
#[derive(Debug)]
pub(super) struct Plain {
    shape: Vec<usize>,
    chunk: Vec<usize>,
    data_type: DataType,
    fill: u64,
    /// Chains of codecs to choose from by the first chunk's size, with their metadata.
    chains: Vec<(Value, Array<()>)>,
    /// Chunks that are not complete yet: padded values, and how many elements are still missing.
    partial: BTreeMap<Vec<usize>, (Values, usize)>,
}

impl Plain {
    /// Metadata and state of a variable.
    pub(super) fn new(path: &str, variable: &Variable) -> Result<(Value, Self)> {
        let size = match variable.data_type {
            DataType::Number(d) => d.size(),
            DataType::Char => 1,
            DataType::String => STRING,
        };
        let chunk = chunk_of(&variable.shape, MAX_CHUNK / size);
        let zstd = json!({"name": "zstd", "configuration": {"level": 5, "checksum": false}});
        let bytes = match variable.data_type {
            DataType::String => json!({"name": "vlen-utf8"}),
            _ if size == 1 => json!({"name": "bytes"}),
            _ => json!({"name": "bytes", "configuration": {"endian": "little"}}),
        };
        let mut chains = vec![json!([bytes, zstd, {"name": "crc32c"}])];
        if variable.dtype().is_some_and(|d| d.size() > 1) {
            let blosc = json!({"cname": "zstd", "clevel": 5, "shuffle": "shuffle", "typesize": size, "blocksize": 0});
            chains.push(json!([bytes, {"name": "blosc", "configuration": blosc}, {"name": "crc32c"}]));
        }
        let open = |codecs: Value| {
            let meta = metadata::array(variable, &chunk, codecs.clone());
            let array = serde_json::from_value(meta).map_err(|e| Error::invalid(path, e))?;
            let array = Array::new_with_metadata(Arc::new(()), "/array", array).map_err(|e| Error::invalid(path, e))?;
            Ok((codecs, array))
        };
        let meta = metadata::array(variable, &chunk, chains[0].clone());
        let plain = Self {
            shape: variable.shape.clone(),
            data_type: variable.data_type,
            fill: metadata::fill_of(variable),
            chains: chains.into_iter().map(open).collect::<Result<_>>()?,
            partial: BTreeMap::new(),
            chunk,
        };
        Ok((meta, plain))
    }

    /// State of a variable that is there and has become longer; `meta` are its metadata.
    pub(super) fn existing(path: &str, variable: &Variable, meta: &Value) -> Result<Self> {
        let codecs = meta["codecs"].clone();
        let grid = meta.pointer("/chunk_grid/configuration/chunk_shape").and_then(foreign::lengths);
        let is_sharded = codecs.pointer("/0/name").is_some_and(|name| name == "sharding_indexed");
        let Some(chunk) = grid.filter(|c| c.len() == variable.shape.len() && !c.contains(&0) && !is_sharded) else {
            return Err(Error::unsupported(path, "only arrays as lithify writes them can be appended to"));
        };
        let array = serde_json::from_value(meta.clone()).map_err(|e| Error::invalid(path, e))?;
        let array = Array::new_with_metadata(Arc::new(()), "/array", array).map_err(|e| Error::invalid(path, e))?;
        Ok(Self {
            shape: variable.shape.clone(),
            data_type: variable.data_type,
            fill: metadata::fill_of(variable),
            chains: vec![(codecs, array)],
            partial: BTreeMap::new(),
            chunk,
        })
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(super) fn chunk(&self) -> &[usize] {
        &self.chunk
    }

    /// Writes the chunks that the block `[start, start + count)` completes; the others wait for the rest.
    pub(super) fn write(
        &mut self,
        path: &str,
        start: &[usize],
        count: &[usize],
        values: &Values,
        put: Put<'_>,
    ) -> Result<()> {
        check_block(path, &self.shape, start, count)?;
        if type_of(values) != self.data_type || len_of(values) != count.iter().product::<usize>() {
            let want = format!("{path} takes a block of shape {count:?} of {:?}", self.data_type);
            return Err(Error::invalid(want, format!("{} of {:?}", len_of(values), type_of(values))));
        }
        if count.contains(&0) {
            return Ok(());
        }
        let n = self.shape.len();
        let first: Vec<usize> = (0..n).map(|d| start[d] / self.chunk[d]).collect();
        let grid: Vec<usize> = (0..n).map(|d| (start[d] + count[d]).div_ceil(self.chunk[d]) - first[d]).collect();
        for (offset, _) in block::grid(&grid, &vec![1; n]) {
            let at: Vec<usize> = (0..n).map(|d| first[d] + offset[d]).collect();
            let origin: Vec<usize> = (0..n).map(|d| at[d] * self.chunk[d]).collect();
            let low: Vec<usize> = (0..n).map(|d| start[d].max(origin[d])).collect();
            let part: Vec<usize> =
                (0..n).map(|d| (start[d] + count[d]).min(origin[d] + self.chunk[d]) - low[d]).collect();
            let extent: usize = (0..n).map(|d| self.chunk[d].min(self.shape[d] - origin[d])).product();
            let all = || (filled(self.data_type, self.chunk.iter().product(), self.fill), extent);
            let (padded, missing) = self.partial.entry(at.clone()).or_insert_with(all);
            let relative = |from: &[usize]| (0..n).map(|d| low[d] - from[d]).collect::<Vec<_>>();
            copy(values, count, &relative(start), padded, &self.chunk, &relative(&origin), &part)?;
            *missing = missing.saturating_sub(part.iter().product());
            if *missing == 0
                && let Some((padded, _)) = self.partial.remove(&at)
            {
                put(&at, &self.encode(path, &padded)?)?;
            }
        }
        Ok(())
    }

    /// Writes the chunks that never were completed, with the fill value where nothing came. Returns the codecs chosen.
    pub(super) fn finish(&mut self, path: &str, put: Put<'_>) -> Result<Option<Value>> {
        for (at, (padded, _)) in std::mem::take(&mut self.partial) {
            put(&at, &self.encode(path, &padded)?)?;
        }
        Ok(self.chains.first().map(|(codecs, _)| codecs.clone()))
    }

    /// Encodes a padded chunk; the first one decides between the chains.
    fn encode(&mut self, path: &str, padded: &Values) -> Result<Vec<u8>> {
        let mut best: Option<(usize, Vec<u8>)> = None;
        for (i, (_, array)) in self.chains.iter().enumerate() {
            let bytes = encode_with(array, &self.chunk, padded).map_err(|e| Error::invalid(path, e))?;
            // A later chain must be clearly better: the first is the simplest.
            if best.as_ref().is_none_or(|(_, b)| bytes.len() * 10 < b.len() * 9) {
                best = Some((i, bytes));
            }
        }
        let (i, bytes) = best.unwrap_or_default();
        if self.chains.len() > 1 {
            self.chains = vec![self.chains.swap_remove(i)];
        }
        Ok(bytes)
    }
}

fn encode_with(
    array: &Array<()>,
    chunk: &[usize],
    padded: &Values,
) -> std::result::Result<Vec<u8>, Box<dyn std::error::Error>> {
    let bytes: ArrayBytes<'_> = match padded {
        Values::Numbers(n) => samples_to_native(n).into(),
        Values::Chars(c) => c.as_slice().into(),
        Values::Strings(s) => String::to_array_bytes(array.data_type(), s)?,
    };
    let shape: Vec<_> = chunk.iter().filter_map(|d| std::num::NonZeroU64::new(*d as u64)).collect();
    let options = CodecOptions::default();
    let coded = array.codecs().encode(bytes, &shape, array.data_type(), array.fill_value(), &options)?;
    Ok(coded.into_owned())
}

/// The whole shape, with the first dimensions cut until at most `limit` elements are left. No length is 0, as Zarr wants it.
fn chunk_of(shape: &[usize], limit: usize) -> Vec<usize> {
    let mut chunk: Vec<usize> = shape.iter().map(|d| (*d).max(1)).collect();
    for d in 0..chunk.len() {
        let rest = chunk[d + 1..].iter().try_fold(1usize, |n, c| n.checked_mul(*c)).unwrap_or(usize::MAX);
        chunk[d] = chunk[d].min((limit / rest).max(1));
    }
    chunk
}

fn type_of(values: &Values) -> DataType {
    match values {
        Values::Numbers(n) => DataType::Number(n.dtype()),
        Values::Chars(_) => DataType::Char,
        Values::Strings(_) => DataType::String,
    }
}

fn len_of(values: &Values) -> usize {
    match values {
        Values::Numbers(n) => n.len(),
        Values::Chars(c) => c.len(),
        Values::Strings(s) => s.len(),
    }
}

fn filled(data_type: DataType, n: usize, fill: u64) -> Values {
    match data_type {
        DataType::Number(d) => Values::Numbers(Samples::filled(d, n, fill)),
        DataType::Char => Values::Chars(vec![0; n]),
        DataType::String => Values::Strings(vec![String::new(); n]),
    }
}

/// Copies a block of shape `part` at `at` of `from` to `to_at` of `to`; the types agree.
fn copy(
    from: &Values,
    shape: &[usize],
    at: &[usize],
    to: &mut Values,
    to_shape: &[usize],
    to_at: &[usize],
    part: &[usize],
) -> Result<()> {
    match (from, to) {
        (Values::Numbers(f), Values::Numbers(t)) => t.paste(to_shape, to_at, &f.crop(shape, at, part), part)?,
        (Values::Chars(f), Values::Chars(t)) => {
            block::paste(t, to_shape, to_at, &block::crop(f, shape, at, part), part);
        }
        (Values::Strings(f), Values::Strings(t)) => {
            // Positions are copied first, since strings are not `Copy`.
            let sources: Vec<usize> = block::crop(&(0..f.len()).collect::<Vec<_>>(), shape, at, part);
            let targets: Vec<usize> = block::crop(&(0..t.len()).collect::<Vec<_>>(), to_shape, to_at, part);
            for (s, t_at) in sources.into_iter().zip(targets) {
                t[t_at] = f[s].clone();
            }
        }
        _ => {}
    }
    Ok(())
}
