//! Reading Zarr v3 and v2.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use lithify_codec::{Dtype, Region, Samples, block, decode_chunk, decode_region};
use serde_json::{Map, Value};
use zarrs::array::{Array, ArrayBytes, ArraySubset};
use zarrs::metadata::ArrayMetadata;
use zarrs::plugin::{ExtensionName, ZarrVersion};
use zarrs::storage::byte_range::ByteRange;
use zarrs::storage::{ReadableStorageTraits, StorageError};

use super::codec::{payload_shape, samples_from_native};
use super::nodes::Nodes;
use super::store::Store;
use super::{Layout, attrs, foreign, metadata};
use crate::error::{Error, Result};
use crate::job::ordered;
use crate::learned;
use crate::location;
use crate::model::{AttrValue, Attribute, DataType, Group, Source, Values, Variable, attr, check_block};
use crate::remote::CONCURRENT;

/// Chunks and shards that are asked for one by one where a server cannot list them.
const MOST_KEYS: usize = 1 << 20;
/// Groups inside groups; deeper ones are refused before the stack is at its end.
const MAX_DEPTH: usize = 64;

/// An open Zarr store.
#[derive(Debug)]
pub struct ZarrSource {
    pub(super) path: std::path::PathBuf,
    pub(super) store: Arc<Store>,
    root: Group,
    arrays: BTreeMap<String, OpenArray>,
    attributes: BTreeMap<String, Map<String, Value>>,
    warnings: Vec<String>,
}

/// Offset and length of each chunk of a shard, in C order.
type Index = Arc<[[u64; 2]]>;

/// The index of one shard: not looked for yet, not there, or known.
type Slot = Arc<Mutex<Option<Option<Index>>>>;

struct OpenArray {
    array: Array<Store>,
    /// Indices of the shards met so far; `None` for a shard that is not there.
    shards: Mutex<BTreeMap<Vec<u64>, Slot>>,
    shape: Vec<usize>,
    stored: foreign::Stored,
    layout: Option<Layout>,
    fill: u64,
    /// A certificate says what was written, and that is all there is.
    certified: bool,
}

impl std::fmt::Debug for OpenArray {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}{:?}", self.stored, self.shape)
    }
}

impl ZarrSource {
    /// Whether there is a Zarr store at `path`.
    pub fn is_store(path: &Path) -> bool {
        super::store::detect(path, b"PK")
    }

    /// Opens a directory or zip file and reads all metadata.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Corrupt`] if the root's metadata are damaged. An array that cannot be read is left out with a
    /// warning, see [`Source::warnings`].
    pub fn open(path: &Path) -> Result<Self> {
        Self::find(path)?.ok_or_else(|| Error::unsupported(path, "there is no Zarr metadata"))
    }

    /// Like [`ZarrSource::open`], but `None` where there are no metadata of a store.
    ///
    /// # Errors
    /// As [`ZarrSource::open`].
    pub fn find(path: &Path) -> Result<Option<Self>> {
        let mut source = Self {
            path: path.into(),
            store: Arc::new(Store::open(path)?),
            root: Group::default(),
            arrays: BTreeMap::new(),
            attributes: BTreeMap::new(),
            warnings: Vec::new(),
        };
        let Some((meta, attributes)) = source.node("")? else { return Ok(None) };
        let mut root = Group::default();
        if foreign::is_array(&meta) {
            let name = location::file_name(path);
            let name = name.strip_suffix(".zip").unwrap_or(&name);
            let name = name.strip_suffix(".zarr").unwrap_or(name);
            let name = if name.is_empty() { "array" } else { name };
            let variable = source.open_array(name, "", &meta, &attributes, false)?;
            root.variables.push(variable);
        } else {
            let ours = attributes.get(attrs::MODEL).is_some_and(Value::is_object);
            let nodes = source.nodes(&meta, &attributes)?;
            source.fill_group(&mut root, "", &attributes, &nodes, ours, 0)?;
        }
        metadata::infer_dims(&mut root, &[]);
        source.attributes.insert(String::new(), attributes);
        source.root = root;
        Ok(Some(source))
    }

    /// Metadata and attributes of the node whose keys begin with `prefix`; `None` if there is none.
    fn node(&self, prefix: &str) -> Result<Option<(Value, Map<String, Value>)>> {
        let json = |name: &str| {
            let key = format!("{prefix}{name}");
            let Some(bytes) = self.store.value(&key)? else { return Ok(None) };
            let value = attrs::parse(&bytes).map_err(|e| Error::corrupt(&self.path, format!("{key}: {e}")))?;
            if value.is_object() {
                Ok(Some(value))
            } else {
                Err(Error::corrupt(&self.path, format!("{key}: no object")))
            }
        };
        if let Some(mut meta) = json("zarr.json")? {
            let attributes = meta.as_object_mut().and_then(|m| m.remove("attributes"));
            let attributes = attributes.and_then(|a| if let Value::Object(a) = a { Some(a) } else { None });
            return Ok(Some((meta, attributes.unwrap_or_default())));
        }
        let meta = match json(".zarray")? {
            Some(array) => Some(array),
            None => json(".zgroup")?,
        };
        let Some(meta) = meta else { return Ok(None) };
        let attributes = json(".zattrs")?.and_then(|a| if let Value::Object(a) = a { Some(a) } else { None });
        Ok(Some((meta, attributes.unwrap_or_default())))
    }

    fn fill_group(
        &mut self,
        group: &mut Group,
        prefix: &str,
        attributes: &Map<String, Value>,
        nodes: &Nodes,
        ours: bool,
        depth: usize,
    ) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::corrupt(&self.path, format!("{prefix} lies more than {MAX_DEPTH} groups deep")));
        }
        group.attrs = attrs::from_json(attributes, None);
        group.dims = metadata::dims_of(attributes);
        group.classic = attributes.get(attrs::MODEL).is_some_and(|m| m["classic"] == true);
        for name in self.children(prefix, nodes)? {
            // Not data: what data are decoded with.
            if prefix.is_empty() && name == learned::GROUP {
                continue;
            }
            let path = format!("{prefix}{name}");
            let (meta, attributes) = match self.node(&format!("{path}/")) {
                Ok(Some(node)) => node,
                Ok(None) => continue,
                // A server that does not answer says nothing of the node.
                Err(e @ Error::Io { .. }) => return Err(e),
                Err(e) => {
                    self.warnings.push(e.to_string());
                    continue;
                }
            };
            if foreign::is_array(&meta) {
                match self.open_array(&name, &path, &meta, &attributes, ours) {
                    Ok(variable) => group.variables.push(variable),
                    Err(e) => {
                        self.warnings.push(e.to_string());
                        continue;
                    }
                }
            } else if !foreign::is_group(&meta) {
                self.warnings
                    .push(Error::corrupt(&self.path, format!("{path} is neither an array nor a group")).to_string());
                continue;
            } else {
                let mut sub = Group { name, ..Group::default() };
                self.fill_group(&mut sub, &format!("{path}/"), &attributes, nodes, ours, depth + 1)?;
                group.groups.push(sub);
            }
            self.attributes.insert(path, attributes);
        }
        Ok(())
    }

    /// Opens the array at `path` (empty for the root) and describes it as a variable.
    fn open_array(
        &mut self,
        name: &str,
        path: &str,
        meta: &Value,
        attributes: &Map<String, Value>,
        ours: bool,
    ) -> Result<Variable> {
        let unsupported = |e: String| Error::unsupported(&self.path, format!("array {name}: {e}"));
        let corrupt = |e: String| Error::corrupt(&self.path, format!("array {name}: {e}"));
        let (meta, bytes_type) = foreign::bytes_as_integers(meta.clone());
        let is_v2 = meta.get("zarr_format").and_then(Value::as_u64) == Some(2);
        let typed: ArrayMetadata = if is_v2 {
            serde_json::from_value(meta.clone()).map(ArrayMetadata::V2)
        } else {
            serde_json::from_value(meta.clone()).map(ArrayMetadata::V3)
        }
        .map_err(|e| corrupt(e.to_string()))?;
        let chunks = foreign::check_sizes(&meta).map_err(corrupt)?;
        let array = guarded(|| Array::new_with_metadata(self.store.clone(), &format!("/{path}"), typed))
            .map_err(unsupported)?;
        let shape: Vec<usize> = array.shape().iter().map(|d| *d as usize).collect();
        let type_name = array.data_type().name(ZarrVersion::V3).unwrap_or_default().into_owned();
        let model = attributes.get(attrs::MODEL);
        let is_char = model.and_then(|m| m.get("type")).and_then(Value::as_str) == Some("char");
        let stored = foreign::Stored::of(&type_name, &array, is_char, bytes_type)
            .ok_or_else(|| unsupported(format!("the data type {type_name} cannot be read")))?;
        let fill = stored.dtype().map(|d| samples_from_native(d, array.fill_value().as_ne_bytes()));
        let layout = if is_v2 { None } else { foreign::layout(&meta) };
        let data_type = stored.data_type();
        let number = fill.as_ref().filter(|_| matches!(data_type, DataType::Number(_)));
        let mut attrs = attrs::from_json(attributes, number);
        attrs.retain(|a| !(is_v2 && a.name == "_ARRAY_DIMENSIONS"));
        if let (true, Some(fill), false, None) =
            (is_v2, number, meta.get("fill_value").is_none_or(Value::is_null), attr(&attrs, "_FillValue"))
        {
            // In version 2 the fill value is the _FillValue, by xarray's convention.
            attrs.push(Attribute { name: "_FillValue".into(), value: AttrValue::Numbers(fill.clone()) });
        }
        let hint = model.and_then(|m| m.get("chunks")).and_then(foreign::lengths);
        let variable = Variable {
            name: name.into(),
            dims: foreign::dimension_names(&meta, attributes, &shape),
            shape: shape.clone(),
            data_type,
            attrs,
            chunks: if ours { hint.filter(|c| c.len() == shape.len()) } else { Some(chunks) },
        };
        for hash in layout.iter().flat_map(|l| learned::models(&l.configuration)) {
            learned::find(hash, |key| Ok(self.store.value(key)?.map(|b| b.to_vec())))?;
        }
        // What the certificate says was written.
        let written = attributes.get("lithify").filter(|_| layout.is_some()).cloned().unwrap_or_default();
        let n_written = written["field"]["n"].as_u64();
        let grown = n_written.is_some_and(|n| has_grown(n, &shape));
        let other_n = n_written.is_some_and(|n| n != shape.iter().map(|d| *d as u64).product::<u64>());
        if (other_n && !grown) || written["source"]["dtype"].as_str().is_some_and(|t| t != type_name) {
            return Err(corrupt(format!("{type_name} {shape:?} is not what was written")));
        }
        if grown {
            self.warnings.push(format!("{name}: more was written after its certificate, which says nothing of that"));
        }
        let fill = fill.map_or(0, |f| f.bits(0));
        let key = if path.is_empty() { name } else { path };
        self.arrays.insert(
            key.into(),
            OpenArray {
                certified: !written.is_null() && !grown,
                array,
                shards: Mutex::default(),
                shape,
                stored,
                layout,
                fill,
            },
        );
        Ok(variable)
    }

    /// How the codec `lithify` stores the variable; `None` if other codecs do.
    pub fn layout(&self, path: &str) -> Option<Layout> {
        self.arrays.get(path)?.layout.clone()
    }

    /// The coded bytes of one chunk, by its index in the grid of (inner) chunks; `None` if it is absent and reads as the fill
    /// value.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the variable is not coded by `lithify` or has no such chunk, [`Error::Corrupt`] if the shard or its
    /// index is damaged.
    pub fn payload(&self, path: &str, chunk: &[usize]) -> Result<Option<Vec<u8>>> {
        let open = self.array(path)?;
        let Some(layout) = &open.layout else {
            return Err(Error::invalid("this variable is not coded by lithify", path));
        };
        let fits = |d: usize| chunk[d].checked_mul(layout.chunk[d]).is_some_and(|at| at < open.shape[d]);
        if chunk.len() != open.shape.len() || !(0..chunk.len()).all(fits) {
            return Err(Error::invalid(format!("{path} has no such chunk"), format!("{chunk:?}")));
        }
        open.payload(&self.store, layout, chunk).map_err(|e| self.damaged(path, chunk, e))
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Paths of all arrays and groups that could be read, "" for the root.
    pub(super) fn paths(&self) -> Vec<String> {
        self.attributes.keys().cloned().collect()
    }

    /// The metadata of a node of version 3 as they are in the store.
    pub(super) fn metadata(&self, path: &str) -> Result<Value> {
        let key = if path.is_empty() { "zarr.json".into() } else { format!("{path}/zarr.json") };
        let bytes = self.store.value(&key)?.ok_or_else(|| Error::corrupt(&self.path, format!("{key} is missing")))?;
        let value: Value =
            serde_json::from_slice(&bytes).map_err(|e| Error::corrupt(&self.path, format!("{key}: {e}")))?;
        match value["attributes"].is_object() {
            true => Ok(value),
            false => Err(Error::corrupt(&self.path, format!("{key} has no attributes"))),
        }
    }

    /// An attribute as it is in the store, "" standing for the root.
    pub fn attribute(&self, path: &str, name: &str) -> Option<Value> {
        self.attributes.get(path)?.get(name).cloned()
    }

    /// Bit pattern of the fill value of a variable of numbers; 0 for others.
    pub fn fill_bits(&self, path: &str) -> u64 {
        self.arrays.get(path).map_or(0, |a| a.fill)
    }

    /// Bytes of a variable's chunks in the store, indices of shards included, metadata not.
    ///
    /// # Errors
    /// [`Error::Io`] if a directory cannot be listed.
    pub fn bytes_stored(&self, path: &str) -> Result<u64> {
        match self.store.lists() {
            true => self.store.bytes_under(&format!("{path}/")),
            false => self.store.bytes_of(self.array(path)?.keys(&self.path, path)?),
        }
    }

    /// [`ZarrSource::bytes_stored`] where that takes no request for each chunk.
    ///
    /// # Errors
    /// [`Error::Io`] if a directory cannot be listed.
    pub fn bytes_listed(&self, path: &str) -> Result<Option<u64>> {
        self.store.lists().then(|| self.bytes_stored(path)).transpose()
    }

    /// Every byte fetched since opening, metadata included.
    pub fn bytes_read(&self) -> u64 {
        self.store.bytes_read()
    }

    fn array(&self, path: &str) -> Result<&OpenArray> {
        self.arrays.get(path).ok_or_else(|| Error::invalid("there is no such variable that can be read", path))
    }

    fn damaged(&self, path: &str, chunk: &[usize], e: impl std::fmt::Display) -> Error {
        let corrupt = || Error::corrupt(&self.path, format!("{path}, chunk {chunk:?}: {e}"));
        self.store.failure().unwrap_or_else(corrupt)
    }

    /// A block of a variable coded by `lithify`: each chunk that it touches, decoded as far as needed.
    fn read_coded(
        &self,
        path: &str,
        open: &OpenArray,
        dtype: Dtype,
        chunk: &[usize],
        start: &[usize],
        count: &[usize],
    ) -> Result<Samples> {
        if let Some(hash) = open.layout.as_ref().and_then(|l| learned::named(&l.configuration)) {
            lithify_codec::learned::find(hash)?;
        }
        let n = chunk.len();
        let first: Vec<usize> = (0..n).map(|d| start[d] / chunk[d]).collect();
        let grid: Vec<usize> = (0..n).map(|d| (start[d] + count[d]).div_ceil(chunk[d]) - first[d]).collect();
        let (n_chunks, steps) = (grid.iter().product::<usize>(), block::strides(&grid));
        let at = |i: usize| -> Vec<usize> { (0..n).map(|d| first[d] + i / steps[d] % grid[d]).collect() };
        let mut out = None;
        let mut place = |i: usize, payload: Option<Vec<u8>>| {
            if let Some((target, part, samples)) =
                self.decoded(path, open, dtype, chunk, start, count, &at(i), payload)?
            {
                if part == count {
                    out = Some(samples);
                    return Ok(());
                }
                let all = || Samples::filled(dtype, count.iter().product(), open.fill);
                out.get_or_insert_with(all).paste(count, &target, &samples, &part)?;
            }
            Ok(())
        };
        if self.store.is_remote() && n_chunks > 1 {
            // Several requests at once; payloads are decoded as they come, in order.
            ordered::run(n_chunks, CONCURRENT, Ok, |_, i| self.payload(path, &at(i)), place)?;
        } else {
            (0..n_chunks).try_for_each(|i| place(i, self.payload(path, &at(i))?))?;
        }
        Ok(out.unwrap_or_else(|| Samples::filled(dtype, count.iter().product(), open.fill)))
    }

    /// What a chunk has of the block: where that lies in the block, its shape, and its samples.
    #[allow(clippy::too_many_arguments)] // one call site
    #[allow(clippy::type_complexity)]
    fn decoded(
        &self,
        path: &str,
        open: &OpenArray,
        dtype: Dtype,
        chunk: &[usize],
        start: &[usize],
        count: &[usize],
        at: &[usize],
        payload: Option<Vec<u8>>,
    ) -> Result<Option<(Vec<usize>, Vec<usize>, Samples)>> {
        let n = chunk.len();
        let origin: Vec<usize> = (0..n).map(|d| at[d] * chunk[d]).collect();
        let inside: Vec<usize> = (0..n).map(|d| chunk[d].min(open.shape[d] - origin[d])).collect();
        let low: Vec<usize> = (0..n).map(|d| start[d].max(origin[d])).collect();
        let Some(payload) = payload else {
            // Zarr lets chunks be absent; where a certificate says what was written, every one of them was.
            return match open.certified {
                true => Err(self.damaged(path, at, "the chunk is missing")),
                false => Ok(None),
            };
        };
        let stored = payload_shape(&payload, dtype, chunk).map_err(|e| self.damaged(path, at, e))?;
        if open.certified && (0..n).any(|d| stored[d] < inside[d]) {
            return Err(self.damaged(path, at, format!("{stored:?} is stored, {inside:?} was written")));
        }
        let high: Vec<usize> =
            (0..n).map(|d| (start[d] + count[d]).min(origin[d] + stored[d].min(inside[d]))).collect();
        // Writers that do not know where the array ends leave out what is only fill.
        if (0..n).any(|d| high[d] <= low[d]) {
            return Ok(None);
        }
        let part: Vec<usize> = (0..n).map(|d| high[d] - low[d]).collect();
        let region = Region { start: (0..n).map(|d| low[d] - origin[d]).collect(), count: part.clone() };
        let samples = match region.is_all(&stored) {
            true => decode_chunk(&payload, &stored),
            false => decode_region(&payload, &stored, &region),
        }
        .map_err(|e| match e {
            lithify_codec::Error::Model { .. } => e.into(),
            e => self.damaged(path, at, e),
        })?;
        Ok(Some(((0..n).map(|d| low[d] - start[d]).collect(), part, samples)))
    }
}

impl OpenArray {
    /// The keys that its chunks or shards can have.
    fn keys(&self, store: &Path, path: &str) -> Result<impl Iterator<Item = String> + '_> {
        let grid: Vec<usize> = self.array.chunk_grid_shape().iter().map(|n| *n as usize).collect();
        let n = block::n_samples(&grid).filter(|n| *n <= MOST_KEYS);
        let n =
            n.ok_or_else(|| Error::corrupt(store, format!("{path} has {grid:?} chunks, too many to ask for each")))?;
        let steps = block::strides(&grid);
        Ok((0..n).map(move |i| {
            let at: Vec<u64> = (0..grid.len()).map(|d| (i / steps[d] % grid[d]) as u64).collect();
            self.array.chunk_key(&at).to_string()
        }))
    }

    /// The coded bytes of a chunk inside the grid.
    fn payload(
        &self,
        store: &Store,
        layout: &Layout,
        chunk: &[usize],
    ) -> std::result::Result<Option<Vec<u8>>, StorageError> {
        let Some(shard) = &layout.shard else {
            let at: Vec<u64> = chunk.iter().map(|i| *i as u64).collect();
            return Ok(store.get(&self.array.chunk_key(&at))?.map(Vec::from));
        };
        let per: Vec<usize> = shard.iter().zip(&layout.chunk).map(|(s, c)| s / c).collect();
        let at: Vec<u64> = chunk.iter().zip(&per).map(|(i, p)| (i / p) as u64).collect();
        let Some(index) = self.index(store, &at, per.iter().product())? else { return Ok(None) };
        let steps = block::strides(&per);
        let inner: usize = (0..per.len()).map(|d| chunk[d] % per[d] * steps[d]).sum();
        match index.get(inner) {
            None | Some([u64::MAX, u64::MAX]) => Ok(None),
            Some(&[offset, len]) => {
                let range = ByteRange::FromStart(offset, Some(len));
                Ok(store.get_partial(&self.array.chunk_key(&at), range)?.map(Vec::from))
            }
        }
    }

    /// The index of a shard of `n` chunks, at its end; `None` if there is no such shard.
    fn index(&self, store: &Store, at: &[u64], n: usize) -> std::result::Result<Option<Index>, StorageError> {
        let slot =
            Arc::clone(self.shards.lock().unwrap_or_else(PoisonError::into_inner).entry(at.to_vec()).or_default());
        // Who needs this shard waits for whoever fetches its index; others go on.
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*slot {
            return Ok(known.clone());
        }
        let bytes = store.get_partial(&self.array.chunk_key(at), ByteRange::Suffix(n as u64 * 16 + 4))?;
        let index = match bytes.as_deref().map(<[u8]>::split_last_chunk::<4>) {
            None => None,
            Some(Some((index, crc))) if crc32c::crc32c(index) == u32::from_le_bytes(*crc) => {
                let (entries, _) = index.as_chunks::<8>();
                let (entries, _) = entries.as_chunks::<2>();
                Some(entries.iter().map(|e| e.map(u64::from_le_bytes)).collect())
            }
            Some(_) => return Err(StorageError::Other("the checksum of the shard's index does not match".into())),
        };
        *slot = Some(index.clone());
        Ok(index)
    }
}

impl Source for ZarrSource {
    fn lost(&self) -> Vec<String> {
        let model = self.attribute("", attrs::MODEL).unwrap_or_default();
        let noted = model["order"].as_array().into_iter().flatten().filter_map(Value::as_str);
        noted.filter(|path| !self.attributes.contains_key(*path)).map(str::to_string).collect()
    }

    fn root(&self) -> &Group {
        &self.root
    }

    fn read(&self, path: &str, start: &[usize], count: &[usize]) -> Result<Values> {
        let open = self.array(path)?;
        check_block(path, &open.shape, start, count)?;
        if count.contains(&0) {
            return Ok(open.stored.empty());
        }
        if let (Some(layout), foreign::Stored::Number(dtype)) = (&open.layout, open.stored) {
            return self.read_coded(path, open, dtype, &layout.chunk, start, count).map(Values::Numbers);
        }
        let block = |v: &[usize]| v.iter().map(|d| *d as u64).collect::<Vec<_>>();
        let subset =
            ArraySubset::new_with_start_shape(block(start), block(count)).map_err(|e| Error::invalid(path, e))?;
        let failed = |e: String| {
            let corrupt = || Error::corrupt(&self.path, format!("{path}, block {start:?} + {count:?}: {e}"));
            self.store.failure().unwrap_or_else(corrupt)
        };
        if open.stored == foreign::Stored::Strings {
            return guarded(|| open.array.retrieve_array_subset::<Vec<String>>(&subset))
                .map(Values::Strings)
                .map_err(failed);
        }
        let bytes = guarded(|| open.array.retrieve_array_subset::<ArrayBytes<'static>>(&subset)).map_err(failed)?;
        let bytes = bytes.into_fixed().map_err(|e| self.damaged(path, start, e))?;
        Ok(open.stored.values(&bytes))
    }

    fn layout(&self, path: &str) -> Option<Layout> {
        Self::layout(self, path)
    }

    fn payload(&self, path: &str, chunk: &[usize]) -> Result<Option<Vec<u8>>> {
        Self::payload(self, path, chunk)
    }

    fn bytes_stored(&self, path: &str) -> Result<Option<u64>> {
        // A web server would have to be asked for each chunk.
        self.bytes_listed(path)
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    fn certificate(&self, path: &str) -> Option<Value> {
        self.attribute(path, attrs::CERTIFICATE)
    }

    fn format(&self) -> &'static str {
        if self.arrays.values().any(|a| matches!(a.array.metadata(), ArrayMetadata::V2(_))) {
            "Zarr v2"
        } else {
            "Zarr v3"
        }
    }
}

/// Whether an array of this shape had `n` samples when it was shorter in one dimension.
fn has_grown(n: u64, shape: &[usize]) -> bool {
    (0..shape.len()).any(|d| {
        let others: u64 = (0..shape.len()).filter(|i| *i != d).map(|i| shape[i] as u64).product();
        others > 0 && n > 0 && n.is_multiple_of(others) && n / others < shape[d] as u64
    })
}

/// Runs a part of zarrs, some codecs of which index damaged data unchecked, and makes its panics errors.
fn guarded<T, E: std::error::Error>(run: impl FnOnce() -> std::result::Result<T, E>) -> std::result::Result<T, String> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(|e| foreign::innermost(&e)),
        Err(_) => Err("the data do not fit their codec".into()),
    }
}
