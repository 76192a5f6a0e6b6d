//! A Zarr v3 store of ours that grows along one dimension.
//!
//! A complete new store is built beside the old one: what does not change is taken over as it is, what changes is written anew. A
//! chunk that was filled in part becomes a joined payload ([`lithify_codec::join`]); a shard that gains chunks is put together
//! again from the same payloads. At the end the two change places in one step ([`crate::atomic`]).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use lithify_codec::{block, header, join};
use serde_json::Value;

use super::attrs::MODEL;
use super::plain::Plain;
use super::store::Output;
use super::write::key;
use super::{Layout, ZarrSource, foreign, metadata};
use crate::atomic::Claim;
use crate::error::{Error, Result};
use crate::model::{Source, Values, Variable};

/// A store being appended to. It is locked, and stays as it is until [`ZarrAppender::finish`]; dropping this leaves nothing behind.
#[derive(Debug)]
pub struct ZarrAppender {
    path: PathBuf,
    source: ZarrSource,
    out: Output,
    /// Metadata that change, by node path.
    nodes: BTreeMap<String, Value>,
    arrays: BTreeMap<String, Growing>,
    /// Keys of what was written.
    written: BTreeSet<String>,
    // Last, so that it is given back last.
    claim: Claim,
}

/// An array that gets longer.
#[derive(Debug)]
struct Growing {
    axis: usize,
    /// Its shape until now.
    old: Vec<usize>,
    kind: Kind,
    /// Bytes of its chunks more than before.
    added: i64,
}

#[derive(Debug)]
enum Kind {
    Coded(Layout, Option<Shard>),
    Plain(Box<Plain>),
}

/// A shard being put together: the payloads of its chunks in C order.
#[derive(Debug)]
struct Shard {
    at: Vec<usize>,
    payloads: Vec<Option<Vec<u8>>>,
}

impl ZarrAppender {
    /// Locks and opens the store at `path`.
    ///
    /// # Errors
    /// [`Error::Busy`] if somebody else appends to it; [`Error::Unsupported`] if no writer of ours made it; those of
    /// [`ZarrSource::open`].
    pub fn open(path: &Path) -> Result<Self> {
        let path = std::fs::canonicalize(path).map_err(Error::io(path))?;
        if !ZarrSource::is_store(&path) {
            return Err(Error::unsupported(&path, "there is no Zarr store; the first step is `lithify compress`"));
        }
        let claim = Claim::now(&path)?;
        let is_zip = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("zip"));
        if is_zip != path.is_file() {
            let what =
                "a store in a zip file must have a name that ends in .zarr.zip, and only such a store; rename it";
            return Err(Error::unsupported(&path, what));
        }
        let source = ZarrSource::open(&path)?;
        let ours = source.attribute("", MODEL).is_some_and(|m| m["version"].is_u64());
        if !ours || source.format() != "Zarr v3" || source.store().is_nested() {
            return Err(Error::unsupported(&path, "only stores that lithify wrote can be appended to"));
        }
        if let Some(lost) = source.lost().first() {
            return Err(Error::corrupt(&path, format!("{lost} was written with the store, but it cannot be read")));
        }
        let out = Output::create(&path)?;
        Ok(Self { path, source, out, nodes: BTreeMap::new(), arrays: BTreeMap::new(), written: BTreeSet::new(), claim })
    }

    /// The store as it was.
    pub fn source(&self) -> &ZarrSource {
        &self.source
    }

    /// Makes a variable `len` long along dimension `axis`; called once for each, before anything is written to it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such variable, or it is no shorter; [`Error::Unsupported`] for codecs that no writer of
    /// ours uses.
    pub fn grow(&mut self, path: &str, axis: usize, len: usize) -> Result<()> {
        let v = self.source.root().find(path)?;
        let old = v.shape.clone();
        if old.get(axis).is_none_or(|n| *n >= len) {
            return Err(Error::invalid(
                format!("{path} has shape {old:?} and cannot grow along dimension {axis} to"),
                len,
            ));
        }
        let mut meta = self.source.metadata(path)?;
        meta["shape"][axis] = len.into();
        let kind = match self.source.layout(path) {
            Some(layout) => Kind::Coded(layout, None),
            None => {
                let mut shape = old.clone();
                shape[axis] = len;
                Kind::Plain(Box::new(Plain::existing(path, &Variable { shape, ..v.clone() }, &meta)?))
            }
        };
        // Sizes that could not be read again are refused here.
        foreign::check_sizes(&meta).map_err(|e| Error::invalid(format!("{path} cannot grow to {len}"), e))?;
        self.nodes.insert(path.into(), meta);
        self.arrays.insert(path.into(), Growing { axis, old, kind, added: 0 });
        Ok(())
    }

    /// Writes down the new length of a dimension wherever its length is noted.
    ///
    /// # Errors
    /// Those of reading metadata.
    pub fn grow_dimension(&mut self, name: &str, old: usize, len: usize) -> Result<()> {
        for path in self.source.paths() {
            let noted = self.source.attribute(&path, MODEL).unwrap_or_default();
            let is_it = |d: &Value| d["name"] == name && d["size"] == old;
            let Some(i) = noted["dimensions"].as_array().and_then(|all| all.iter().position(is_it)) else { continue };
            self.node(&path)?["attributes"][MODEL]["dimensions"][i]["size"] = len.into();
        }
        Ok(())
    }

    /// Adds or replaces an attribute of a variable or group.
    ///
    /// # Errors
    /// Those of reading metadata.
    pub fn set_attribute(&mut self, path: &str, name: &str, value: Value) -> Result<()> {
        self.node(path)?["attributes"][name] = value;
        Ok(())
    }

    /// Replaces the configuration of the codec of a variable.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not coded by `lithify`.
    pub fn set_configuration(&mut self, path: &str, configuration: Value) -> Result<()> {
        let slot = metadata::configuration_mut(self.node(path)?);
        *slot.ok_or_else(|| Error::invalid("this variable is not coded by lithify", path))? = configuration;
        Ok(())
    }

    fn node(&mut self, path: &str) -> Result<&mut Value> {
        let known = match self.nodes.remove(path) {
            Some(known) => known,
            None => self.source.metadata(path)?,
        };
        Ok(self.nodes.entry(path.into()).or_insert(known))
    }

    /// Writes the coded bytes of what is new of a chunk; `chunk` is its index in the grid of (inner) chunks. Chunks come shard by
    /// shard. Where the chunk was begun before, the payload is joined to the old one.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the variable does not grow or is not coded by `lithify`; [`Error::Corrupt`] if what is there is not what
    /// belongs there; [`Error::Io`].
    pub fn write_payload(&mut self, path: &str, chunk: &[usize], payload: Vec<u8>) -> Result<()> {
        let Some(growing) = self.arrays.get_mut(path) else { return Err(no_growth(path)) };
        let Kind::Coded(layout, open) = &mut growing.kind else {
            return Err(Error::invalid("only variables coded by lithify take payloads", path));
        };
        let payload = match begun(&self.source, path, layout, &growing.old, chunk)? {
            Some(old) => join(growing.axis, &[&old, &payload])?,
            None => payload,
        };
        let mut put = |at: &[usize], bytes: &[u8]| -> Result<()> {
            let key = key(path, at);
            growing.added += bytes.len() as i64 - self.source.store().size(&key) as i64;
            self.out.put(&key, bytes)?;
            self.written.insert(key);
            Ok(())
        };
        let Some(shard) = &layout.shard else { return put(chunk, &payload) };
        let per: Vec<usize> = shard.iter().zip(&layout.chunk).map(|(s, c)| s / c).collect();
        let at: Vec<usize> = chunk.iter().zip(&per).map(|(i, p)| i / p).collect();
        if let Some(done) = open.take_if(|s| s.at != at) {
            put(&done.at, &done.bytes())?;
        }
        let current = match open {
            Some(current) => current,
            None => open.insert(Shard::load(&self.source, path, layout, &growing.old, &per, at)?),
        };
        let steps = block::strides(&per);
        let inner: usize = (0..per.len()).map(|d| chunk[d] % per[d] * steps[d]).sum();
        current.payloads[inner] = Some(payload);
        Ok(())
    }

    /// Writes all new values of a variable that standard codecs code.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the variable does not grow, is coded by `lithify`, or the values are not as many as it grows by.
    pub fn write(&mut self, path: &str, values: &Values) -> Result<()> {
        let Some(growing) = self.arrays.get_mut(path) else { return Err(no_growth(path)) };
        let Growing { axis, old, kind: Kind::Plain(plain), added } = growing else {
            return Err(Error::invalid("variables coded by lithify take payloads, not values", path));
        };
        let (source, out, written) = (&self.source, &mut self.out, &mut self.written);
        let mut put = |at: &[usize], bytes: &[u8]| -> Result<()> {
            let key = key(path, at);
            *added += bytes.len() as i64 - source.store().size(&key) as i64;
            out.put(&key, bytes)?;
            written.insert(key);
            Ok(())
        };
        let (mut start, mut count) = (vec![0; old.len()], old.clone());
        let begun = old[*axis] % plain.chunk()[*axis];
        if begun > 0 {
            (start[*axis], count[*axis]) = (old[*axis] - begun, begun);
            plain.write(path, &start, &count, &source.read(path, &start, &count)?, &mut put)?;
        }
        (start[*axis], count[*axis]) = (old[*axis], plain.shape()[*axis] - old[*axis]);
        plain.write(path, &start, &count, values, &mut put)?;
        plain.finish(path, &mut put)?;
        Ok(())
    }

    /// Bytes that a variable's chunks take more than before, once everything of it was written.
    ///
    /// # Errors
    /// Those of writing what waits.
    pub fn bytes_added(&mut self, path: &str) -> Result<i64> {
        let Some(growing) = self.arrays.get_mut(path) else { return Err(no_growth(path)) };
        if let Kind::Coded(_, open) = &mut growing.kind
            && let Some(done) = open.take()
        {
            let (key, bytes) = (key(path, &done.at), done.bytes());
            growing.added += bytes.len() as i64 - self.source.store().size(&key) as i64;
            self.out.put(&key, &bytes)?;
            self.written.insert(key);
        }
        Ok(growing.added)
    }

    /// Puts the grown store in the place of the old one.
    ///
    /// # Errors
    /// [`Error::Io`]; then the old store is in its place.
    pub fn finish(mut self) -> Result<PathBuf> {
        for path in self.arrays.keys().cloned().collect::<Vec<_>>() {
            self.bytes_added(&path)?;
        }
        if !self.source.metadata("")?["consolidated_metadata"].is_null() {
            let changed: Vec<_> =
                self.nodes.iter().filter(|(p, _)| !p.is_empty()).map(|(p, n)| (p.clone(), n.clone())).collect();
            let all = &mut self.node("")?["consolidated_metadata"]["metadata"];
            for (path, node) in changed {
                all[path] = node;
            }
        }
        for (path, node) in &self.nodes {
            let key = if path.is_empty() { "zarr.json".to_string() } else { format!("{path}/zarr.json") };
            self.out.put(&key, node.to_string().as_bytes())?;
            self.written.insert(key);
        }
        self.out.adopt(&self.path, &self.written)?;
        self.out.finish_claimed(&self.claim)
    }
}

fn no_growth(path: &str) -> Error {
    Error::invalid("the variable does not grow", path)
}

/// The payload of a chunk that was begun before, which must be what belongs there.
fn begun(source: &ZarrSource, path: &str, layout: &Layout, old: &[usize], chunk: &[usize]) -> Result<Option<Vec<u8>>> {
    if (0..old.len()).any(|d| chunk[d] * layout.chunk[d] >= old[d]) {
        return Ok(None);
    }
    let inside: Vec<usize> = (0..old.len()).map(|d| layout.chunk[d].min(old[d] - chunk[d] * layout.chunk[d])).collect();
    let payload = source.payload(path, chunk)?;
    let payload = payload.ok_or_else(|| Error::corrupt(path, format!("chunk {chunk:?} is missing")))?;
    let stored = header(&payload).map_err(|e| Error::corrupt(path, format!("chunk {chunk:?}: {e}")))?.shape;
    if stored != inside {
        return Err(Error::corrupt(
            path,
            format!("chunk {chunk:?}: {stored:?} is stored where {inside:?} was written"),
        ));
    }
    Ok(Some(payload))
}

impl Shard {
    /// A shard with what was in it.
    fn load(
        source: &ZarrSource,
        path: &str,
        layout: &Layout,
        old: &[usize],
        per: &[usize],
        at: Vec<usize>,
    ) -> Result<Self> {
        let n = per.len();
        let one = vec![1; n];
        let inner = block::tiles(per, &one).map(|(offset, _)| {
            let chunk: Vec<usize> = (0..n).map(|d| at[d] * per[d] + offset[d]).collect();
            match (0..n).all(|d| chunk[d] * layout.chunk[d] < old[d]) {
                true => source.payload(path, &chunk),
                false => Ok(None),
            }
        });
        Ok(Self { payloads: inner.collect::<Result<_>>()?, at })
    }

    /// Payloads, then the index with its checksum.
    fn bytes(&self) -> Vec<u8> {
        let (mut bytes, mut index) = (Vec::new(), Vec::new());
        for payload in &self.payloads {
            let entry = payload.as_ref().map_or([u64::MAX; 2], |p| [bytes.len() as u64, p.len() as u64]);
            index.extend(entry.into_iter().flat_map(u64::to_le_bytes));
            bytes.extend(payload.iter().flatten());
        }
        bytes.extend_from_slice(&index);
        bytes.extend_from_slice(&crc32c::crc32c(&index).to_le_bytes());
        bytes
    }
}
