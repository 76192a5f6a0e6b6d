//! Writing Zarr v3.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lithify_codec::block;
use lithify_codec::learned::Hash;
use serde_json::{Map, Value, json};

use super::attrs::MODEL;
use super::plain::Plain;
use super::store::Output;
use super::{Layout, metadata, shard};
use crate::error::{Error, Result};
use crate::learned;
use crate::model::{Group, Sink, Values};

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
    bytes: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Coded(Coded),
    Plain(Plain),
}

/// A variable coded by `lithify`.
#[derive(Debug)]
struct Coded {
    /// Chunks along each dimension.
    grid: Vec<usize>,
    /// Chunks of a whole shard along each dimension.
    per_shard: Option<Vec<usize>>,
    open: Option<Shard>,
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
                    let meta = metadata::coded_array(&path, variable, layout)?;
                    let chunks = |of: &[usize]| of.iter().zip(&layout.chunk).map(|(s, c)| s.div_ceil(*c)).collect();
                    let per_shard = layout.shard.as_deref().map(chunks);
                    let coded = Coded { grid: chunks(&variable.shape), per_shard, open: None };
                    (meta, ArrayState { bytes: 0, kind: Kind::Coded(coded) })
                }
                None => {
                    let (meta, plain) = Plain::new(&path, variable)?;
                    (meta, ArrayState { bytes: 0, kind: Kind::Plain(plain) })
                }
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

    /// Puts a learned model into the store, once.
    ///
    /// # Errors
    /// [`Error::Codec`] if nobody knows the model; [`Error::Io`].
    pub fn embed(&mut self, hash: Hash) -> Result<()> {
        let path = format!("{}/{hash}", learned::GROUP);
        if !self.nodes.contains_key(&path) {
            let model = lithify_codec::learned::find(hash)?;
            let [group, array] = learned::nodes(model.as_bytes().len());
            self.nodes.insert(learned::GROUP.into(), group);
            self.out.put(&format!("{path}/c/0"), model.as_bytes())?;
            self.nodes.insert(path, array);
        }
        Ok(())
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

    /// Replaces the codec configuration of a variable with a layout, any time before [`ZarrWriter::finish`].
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such variable.
    pub fn set_configuration(&mut self, path: &str, configuration: Value) -> Result<()> {
        let slot = self.nodes.get_mut(path).and_then(metadata::configuration_mut);
        *slot.ok_or_else(|| unknown(path))? = configuration;
        Ok(())
    }

    /// Writes the coded bytes of one chunk; `chunk` is its index in the grid of (inner) chunks. Chunks come shard by shard, in
    /// any order within a shard; what never comes reads as the fill value.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the variable has no layout, or no such chunk; [`Error::Io`] if it cannot be written, or was before.
    pub fn write_payload(&mut self, path: &str, chunk: &[usize], payload: Vec<u8>) -> Result<()> {
        let state = self.arrays.get_mut(path).ok_or_else(|| unknown(path))?;
        let Kind::Coded(Coded { grid, per_shard, open }) = &mut state.kind else {
            return Err(Error::invalid("only variables with a layout take payloads", path));
        };
        if chunk.len() != grid.len() || (0..grid.len()).any(|d| chunk[d] >= grid[d]) {
            return Err(Error::invalid(format!("{path} has a grid of {grid:?} chunks"), format!("{chunk:?}")));
        }
        let Some(per) = per_shard else {
            state.bytes += payload.len() as u64;
            return self.out.put(&key(path, chunk), &payload);
        };
        let at: Vec<usize> = chunk.iter().zip(&*per).map(|(i, p)| i / p).collect();
        if let Some(other) = open.take_if(|o| o.at != at) {
            state.bytes += other.write(path, &mut self.out)?;
        }
        let current = open.get_or_insert_with(|| Shard {
            index: vec![[u64::MAX; 2]; per.iter().product()],
            missing: (0..per.len()).map(|d| per[d].min(grid[d] - at[d] * per[d])).product(),
            at,
            bytes: Vec::new(),
        });
        let steps = block::strides(per);
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
        let Kind::Plain(plain) = &mut state.kind else {
            return Err(Error::invalid("variables with a layout take payloads, not values", path));
        };
        let (out, bytes) = (&mut self.out, &mut state.bytes);
        plain.write(path, start, count, values, &mut |at, coded| {
            *bytes += coded.len() as u64;
            out.put(&key(path, at), coded)
        })
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
                Kind::Coded(coded) => {
                    if let Some(shard) = coded.open.take() {
                        shard.write(path, &mut self.out)?;
                    }
                }
                Kind::Plain(plain) => {
                    let out = &mut self.out;
                    let codecs = plain.finish(path, &mut |at, coded| out.put(&key(path, at), coded))?;
                    if let (Some(codecs), Some(meta)) = (codecs, self.nodes.get_mut(path)) {
                        meta["codecs"] = codecs;
                    }
                }
            }
        }
        let mut root = self.nodes.shift_remove("").unwrap_or_else(|| json!({}));
        for (path, meta) in &self.nodes {
            self.out.put(&format!("{path}/zarr.json"), meta.to_string().as_bytes())?;
        }
        if self.arrays.values().any(|a| matches!(a.kind, Kind::Coded(_))) {
            // A reader without our codec refuses consolidated metadata as a whole, and with them the arrays it could open.
            let data = self.nodes.keys().filter(|path| path.split('/').next() != Some(learned::GROUP));
            root["attributes"][MODEL]["order"] = data.cloned().collect();
        } else {
            root["consolidated_metadata"] = json!({"kind": "inline", "must_understand": false, "metadata": self.nodes});
        }
        self.out.put("zarr.json", root.to_string().as_bytes())?;
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
        // As with the other formats, the caller has decided about what is there.
        self.finish_replacing()
    }
}

impl Shard {
    /// Payloads, then the index with its checksum.
    fn write(mut self, path: &str, out: &mut Output) -> Result<u64> {
        self.bytes.extend(shard::index_bytes(&self.index));
        out.put(&key(path, &self.at), &self.bytes)?;
        Ok(self.bytes.len() as u64)
    }
}

fn forget_dims(group: &mut Group) {
    group.dims.clear();
    group.groups.iter_mut().for_each(forget_dims);
}

/// Key of a chunk or shard in Zarr's default encoding.
pub(super) fn key(path: &str, index: &[usize]) -> String {
    index.iter().fold(format!("{path}/c"), |key, i| format!("{key}/{i}"))
}

fn unknown(path: &str) -> Error {
    Error::invalid("there is no such variable or group in the output", path)
}
