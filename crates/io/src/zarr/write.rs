//! Writing Zarr v3.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lithify_codec::{Samples, block};
use serde_json::{Map, Value, json};
use zarrs::array::codec::api::CodecOptions;
use zarrs::array::{Array, ArrayBytes, Element, codec::api::ArrayToBytesCodecTraits};

use super::codec::samples_to_native;
use super::store::Output;
use super::{Layout, metadata};
use crate::error::{Error, Result};
use crate::model::{DataType, Group, Sink, Values, Variable, check_block};

/// Chunks of variables that are not coded by `lithify` hold at most this many bytes.
const PLAIN_CHUNK: usize = 8 << 20;

/// A Zarr v3 store being written under a temporary name beside its final one. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct ZarrWriter {
    out: Output,
    /// Metadata by node path, the root's under "". Written last: attributes can be added until then.
    nodes: Map<String, Value>,
    arrays: BTreeMap<String, ArrayState>,
}

#[derive(Debug)]
struct ArrayState {
    shape: Vec<usize>,
    chunk: Vec<usize>,
    bytes: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Coded { shard: Option<Vec<usize>>, open: Option<Shard> },
    Plain(Plain),
}

/// A shard being assembled.
#[derive(Debug)]
struct Shard {
    at: Vec<usize>,
    /// Offset and length of each inner chunk in C order; `u64::MAX` twice if absent.
    index: Vec<[u64; 2]>,
    missing: usize,
    bytes: Vec<u8>,
}

/// A variable in codecs that every Zarr reader has.
#[derive(Debug)]
struct Plain {
    data_type: DataType,
    fill: u64,
    /// Chains of codecs to choose from by the first chunk's size, with their metadata.
    chains: Vec<(Value, Array<()>)>,
    /// Chunks that are not complete yet: padded values, and how many elements are still missing.
    partial: BTreeMap<Vec<usize>, (Values, usize)>,
}

impl ZarrWriter {
    /// Starts a store at `path`: a zip file if it ends in `.zip`, else a directory.
    ///
    /// # Errors
    /// [`Error::Io`] if nothing can be written beside `path`.
    pub fn create(path: &Path) -> Result<Self> {
        Ok(Self { out: Output::create(path)?, nodes: Map::new(), arrays: BTreeMap::new() })
    }

    /// Declares everything; called once, first. Variables with a layout are coded by `lithify` and written by
    /// [`ZarrWriter::write_payload`], all others by [`ZarrWriter::write`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for names that Zarr cannot hold, and for layouts of no variable or not of its shape.
    pub fn define(&mut self, root: &Group, layouts: &BTreeMap<String, Layout>) -> Result<()> {
        let mut inferred = root.clone();
        forget_dims(&mut inferred);
        metadata::infer_dims(&mut inferred, &[]);
        self.define_group(root, &inferred, "", layouts)?;
        match layouts.keys().find(|path| !self.arrays.contains_key(*path)) {
            Some(path) => Err(Error::invalid("there is a layout for a variable that does not exist", path)),
            None => Ok(()),
        }
    }

    fn define_group(
        &mut self,
        group: &Group,
        inferred: &Group,
        path: &str,
        layouts: &BTreeMap<String, Layout>,
    ) -> Result<()> {
        self.nodes.insert(path.into(), metadata::group(group, &inferred.dims, path.is_empty()));
        for variable in &group.variables {
            let path = self.child(path, &variable.name)?;
            let (meta, state) = match layouts.get(&path) {
                Some(layout) => {
                    let kind = Kind::Coded { shard: layout.shard.clone(), open: None };
                    (metadata::coded_array(&path, variable, layout)?, ArrayState::new(variable, &layout.chunk, kind))
                }
                None => plain(&path, variable)?,
            };
            self.nodes.insert(path.clone(), meta);
            self.arrays.insert(path, state);
        }
        for (sub, inferred) in group.groups.iter().zip(&inferred.groups) {
            let path = self.child(path, &sub.name)?;
            self.define_group(sub, inferred, &path, layouts)?;
        }
        Ok(())
    }

    /// The path of a new node.
    fn child(&self, parent: &str, name: &str) -> Result<String> {
        if name.is_empty() || name.contains('/') || name.starts_with("__") || name.starts_with('.') {
            return Err(Error::invalid(
                "Zarr allows no empty names, slashes, and names that begin with __ or a dot",
                name,
            ));
        }
        let path = if parent.is_empty() { name.to_string() } else { format!("{parent}/{name}") };
        match self.nodes.contains_key(&path) {
            true => Err(Error::invalid("two variables or groups have the same path", path)),
            false => Ok(path),
        }
    }

    /// Adds or replaces an attribute of a variable or group ("" for the root) any time before [`ZarrWriter::finish`].
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such node.
    pub fn set_attribute(&mut self, path: &str, name: &str, value: Value) -> Result<()> {
        let attributes = self.nodes.get_mut(path).and_then(|n| n.get_mut("attributes")).and_then(Value::as_object_mut);
        attributes.ok_or_else(|| unknown(path))?.insert(name.into(), value);
        Ok(())
    }

    /// Writes the coded bytes of one chunk; `chunk` is its index in the grid of (inner) chunks. Chunks come shard by shard, in
    /// any order within a shard; what never comes reads as the fill value.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the variable has no layout, or no such chunk; [`Error::Io`] if it cannot be written, or was before.
    pub fn write_payload(&mut self, path: &str, chunk: &[usize], payload: Vec<u8>) -> Result<()> {
        let state = self.arrays.get_mut(path).ok_or_else(|| unknown(path))?;
        let grid = state.grid();
        let Kind::Coded { shard, open } = &mut state.kind else {
            return Err(Error::invalid("only variables with a layout take payloads", path));
        };
        if chunk.len() != grid.len() || (0..grid.len()).any(|d| chunk[d] >= grid[d]) {
            return Err(Error::invalid(format!("{path} has a grid of {grid:?} chunks"), format!("{chunk:?}")));
        }
        let Some(shard) = shard else {
            state.bytes += payload.len() as u64;
            return self.out.put(&key(path, chunk), &payload);
        };
        let per: Vec<usize> = shard.iter().zip(&state.chunk).map(|(s, c)| s / c).collect();
        let at: Vec<usize> = chunk.iter().zip(&per).map(|(i, p)| i / p).collect();
        if let Some(other) = open.take_if(|o| o.at != at) {
            state.bytes += other.write(path, &mut self.out)?;
        }
        let current = open.get_or_insert_with(|| Shard {
            index: vec![[u64::MAX; 2]; per.iter().product()],
            missing: (0..per.len()).map(|d| per[d].min(grid[d] - at[d] * per[d])).product(),
            at,
            bytes: Vec::new(),
        });
        let steps = block::strides(&per);
        let inner: usize = (0..per.len()).map(|d| chunk[d] % per[d] * steps[d]).sum();
        if current.index[inner] != [u64::MAX; 2] {
            return Err(Error::invalid(format!("a chunk of {path} is written twice"), format!("{chunk:?}")));
        }
        current.index[inner] = [current.bytes.len() as u64, payload.len() as u64];
        current.bytes.extend(payload);
        current.missing -= 1;
        if let Some(done) = open.take_if(|o| o.missing == 0) {
            state.bytes += done.write(path, &mut self.out)?;
        }
        Ok(())
    }

    /// Writes the block `[start, start + count)` of a variable without a layout. Chunks that a block covers in part wait in
    /// memory for the rest.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the variable has a layout, or if the block does not fit it.
    pub fn write(&mut self, path: &str, start: &[usize], count: &[usize], values: &Values) -> Result<()> {
        let state = self.arrays.get_mut(path).ok_or_else(|| unknown(path))?;
        check_block(path, &state.shape, start, count)?;
        let Kind::Plain(plain) = &mut state.kind else {
            return Err(Error::invalid("variables with a layout take payloads, not values", path));
        };
        if type_of(values) != plain.data_type || len_of(values) != count.iter().product::<usize>() {
            let want = format!("{path} takes a block of shape {count:?} of {:?}", plain.data_type);
            return Err(Error::invalid(want, format!("{} of {:?}", len_of(values), type_of(values))));
        }
        let n = state.shape.len();
        let chunk = &state.chunk;
        let first: Vec<usize> = (0..n).map(|d| start[d] / chunk[d]).collect();
        let grid: Vec<usize> = (0..n)
            .map(|d| if count[d] == 0 { 0 } else { (start[d] + count[d]).div_ceil(chunk[d]) - first[d] })
            .collect();
        for (offset, _) in block::grid(&grid, &vec![1; n]) {
            let at: Vec<usize> = (0..n).map(|d| first[d] + offset[d]).collect();
            let origin: Vec<usize> = (0..n).map(|d| at[d] * chunk[d]).collect();
            let low: Vec<usize> = (0..n).map(|d| start[d].max(origin[d])).collect();
            let part: Vec<usize> = (0..n).map(|d| (start[d] + count[d]).min(origin[d] + chunk[d]) - low[d]).collect();
            let extent: usize = (0..n).map(|d| chunk[d].min(state.shape[d] - origin[d])).product();
            let (padded, missing) = plain
                .partial
                .entry(at.clone())
                .or_insert_with(|| (filled(plain.data_type, chunk.iter().product(), plain.fill), extent));
            let relative = |from: &[usize]| (0..n).map(|d| low[d] - from[d]).collect::<Vec<_>>();
            copy(values, count, &relative(start), padded, chunk, &relative(&origin), &part)?;
            *missing = missing.saturating_sub(part.iter().product());
            if *missing == 0
                && let Some((padded, _)) = plain.partial.remove(&at)
            {
                let bytes = plain.encode(chunk, &padded).map_err(|e| Error::invalid(path, e))?;
                state.bytes += bytes.len() as u64;
                self.out.put(&key(path, &at), &bytes)?;
            }
        }
        Ok(())
    }

    /// Bytes of a variable's chunks written so far, indices of shards included, metadata not.
    pub fn bytes_written(&self, path: &str) -> u64 {
        self.arrays.get(path).map_or(0, |a| a.bytes)
    }

    /// Writes what is left and all metadata, and renames to the final name.
    ///
    /// # Errors
    /// [`Error::Invalid`] if something has that name already; [`Error::Io`].
    pub fn finish(self) -> Result<PathBuf> {
        self.complete()?.finish(false)
    }

    /// Like [`ZarrWriter::finish`], but takes the place of what is there.
    ///
    /// # Errors
    /// [`Error::Io`]; then the old store is still in its place.
    pub fn finish_replacing(self) -> Result<PathBuf> {
        self.complete()?.finish(true)
    }

    fn complete(mut self) -> Result<Output> {
        for (path, state) in &mut self.arrays {
            match &mut state.kind {
                Kind::Coded { open, .. } => {
                    if let Some(shard) = open.take() {
                        shard.write(path, &mut self.out)?;
                    }
                }
                Kind::Plain(plain) => {
                    for (at, (padded, _)) in std::mem::take(&mut plain.partial) {
                        let bytes = plain.encode(&state.chunk, &padded).map_err(|e| Error::invalid(path, e))?;
                        self.out.put(&key(path, &at), &bytes)?;
                    }
                    if let ([(codecs, _), ..], Some(meta)) = (&*plain.chains, self.nodes.get_mut(path)) {
                        meta["codecs"] = codecs.clone();
                    }
                }
            }
        }
        let mut root = self.nodes.shift_remove("").unwrap_or_else(|| json!({}));
        for (path, meta) in &self.nodes {
            self.out.put(&format!("{path}/zarr.json"), &pretty(meta))?;
        }
        root["consolidated_metadata"] = json!({"kind": "inline", "must_understand": false, "metadata": self.nodes});
        self.out.put("zarr.json", &pretty(&root))?;
        Ok(self.out)
    }
}

impl Sink for ZarrWriter {
    fn define(&mut self, root: &Group) -> Result<()> {
        Self::define(self, root, &BTreeMap::new())
    }

    fn write(&mut self, path: &str, start: &[usize], count: &[usize], values: &Values) -> Result<()> {
        Self::write(self, path, start, count, values)
    }

    fn finish(self: Box<Self>) -> Result<PathBuf> {
        Self::finish(*self)
    }
}

impl ArrayState {
    fn new(variable: &Variable, chunk: &[usize], kind: Kind) -> Self {
        Self { shape: variable.shape.clone(), chunk: chunk.to_vec(), bytes: 0, kind }
    }

    /// Chunks along each dimension.
    fn grid(&self) -> Vec<usize> {
        self.shape.iter().zip(&self.chunk).map(|(s, c)| s.div_ceil(*c)).collect()
    }
}

impl Shard {
    /// Payloads, then the index with its checksum.
    fn write(mut self, path: &str, out: &mut Output) -> Result<u64> {
        let index: Vec<u8> = self.index.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
        self.bytes.extend_from_slice(&index);
        self.bytes.extend_from_slice(&crc32c::crc32c(&index).to_le_bytes());
        out.put(&key(path, &self.at), &self.bytes)?;
        Ok(self.bytes.len() as u64)
    }
}

impl Plain {
    /// Encodes a padded chunk; the first one decides between the chains.
    fn encode(&mut self, chunk: &[usize], padded: &Values) -> std::result::Result<Vec<u8>, String> {
        let mut best: Option<(usize, Vec<u8>)> = None;
        for (i, (_, array)) in self.chains.iter().enumerate() {
            let bytes = encode_with(array, chunk, padded).map_err(|e| e.to_string())?;
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

/// Metadata and state of a variable in codecs that every Zarr reader has.
fn plain(path: &str, variable: &Variable) -> Result<(Value, ArrayState)> {
    let size = variable.dtype().map_or(if variable.data_type == DataType::Char { 1 } else { 32 }, |d| d.size());
    let chunk = plain_chunk(&variable.shape, PLAIN_CHUNK / size);
    let zstd = json!({"name": "zstd", "configuration": {"level": 5, "checksum": false}});
    let bytes = match variable.data_type {
        DataType::String => json!({"name": "vlen-utf8"}),
        _ if size == 1 => json!({"name": "bytes"}),
        _ => json!({"name": "bytes", "configuration": {"endian": "little"}}),
    };
    let mut chains = vec![json!([bytes, zstd])];
    if variable.dtype().is_some_and(|d| d.size() > 1) {
        let blosc = json!({"cname": "zstd", "clevel": 5, "shuffle": "shuffle", "typesize": size, "blocksize": 0});
        chains.push(json!([bytes, {"name": "blosc", "configuration": blosc}]));
    }
    let open = |codecs: Value| {
        let meta = metadata::array(variable, &chunk, codecs.clone());
        let array = serde_json::from_value(meta).map_err(|e| Error::invalid(path, e))?;
        let array = Array::new_with_metadata(Arc::new(()), "/array", array).map_err(|e| Error::invalid(path, e))?;
        Ok((codecs, array))
    };
    let meta = metadata::array(variable, &chunk, chains[0].clone());
    let plain = Plain {
        data_type: variable.data_type,
        fill: metadata::fill_of(variable),
        chains: chains.into_iter().map(open).collect::<Result<_>>()?,
        partial: BTreeMap::new(),
    };
    Ok((meta, ArrayState::new(variable, &chunk, Kind::Plain(plain))))
}

/// The whole shape, with the first dimensions cut until at most `limit` elements are left. No length is 0, as Zarr wants it.
fn plain_chunk(shape: &[usize], limit: usize) -> Vec<usize> {
    let mut chunk: Vec<usize> = shape.iter().map(|d| (*d).max(1)).collect();
    for d in 0..chunk.len() {
        let rest = chunk[d + 1..].iter().try_fold(1usize, |n, c| n.checked_mul(*c)).unwrap_or(usize::MAX);
        chunk[d] = chunk[d].min((limit / rest).max(1));
    }
    chunk
}

fn forget_dims(group: &mut Group) {
    group.dims.clear();
    group.groups.iter_mut().for_each(forget_dims);
}

/// Key of a chunk or shard in Zarr's default encoding.
fn key(path: &str, index: &[usize]) -> String {
    index.iter().fold(format!("{path}/c"), |key, i| format!("{key}/{i}"))
}

fn pretty(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

fn unknown(path: &str) -> Error {
    Error::invalid("there is no such variable or group in the output", path)
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
