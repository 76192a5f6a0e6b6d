//! Which nodes a store has, and their metadata, with few requests where each takes its time.
//!
//! # Algorithm, over a network
//! 1. Consolidated metadata (version 3: in the root's, version 2: `.zmetadata`) are all that is needed.
//! 2. Else the children of each group are listed, and their metadata fetched several at once.
//! 3. What cannot be listed (plain web servers) has the nodes that the root's metadata note: our `order`.
//!
//! On a disk, everything is listed, and the root's metadata say in which order it was.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{ZarrSource, attrs};
use crate::error::{Error, Result};

/// Names of a node's metadata, version 3's first.
const FILES: [&str; 4] = ["zarr.json", ".zarray", ".zgroup", ".zattrs"];

/// What the root's metadata say of all nodes.
pub(super) struct Nodes {
    /// Paths, and where they come.
    order: BTreeMap<String, usize>,
    /// Their metadata are known: there is no need to look for others.
    complete: bool,
    is_v2: bool,
}

impl Nodes {
    pub(super) fn rank(&self, path: &str) -> usize {
        self.order.get(path).copied().unwrap_or(usize::MAX)
    }

    /// Names directly below `prefix`, which is empty or ends in a slash; groups that only their members tell of among them.
    fn below(&self, prefix: &str) -> BTreeSet<String> {
        let inside = self.order.keys().filter_map(|path| path.strip_prefix(prefix));
        inside.filter_map(|rest| rest.split('/').next()).filter(|n| !n.is_empty()).map(str::to_string).collect()
    }
}

impl ZarrSource {
    /// Reads what the root's metadata say of the others; over a network fetches theirs.
    pub(super) fn nodes(&self, root: &Value, attributes: &Map<String, Value>) -> Result<Nodes> {
        let is_v2 = root.get("zarr_format").and_then(Value::as_u64) == Some(2);
        let remote = self.store.is_remote();
        let bytes = |meta: &Value| Some(meta.to_string().into_bytes().into());
        let ranked = |paths: Vec<String>| paths.into_iter().enumerate().map(|(i, path)| (path, i)).collect();
        // The order of the file is the order in the consolidated metadata, or in our own note where there are none.
        if let Some(nodes) = root.pointer("/consolidated_metadata/metadata").and_then(Value::as_object) {
            if remote {
                self.store.know(nodes.iter().map(|(path, meta)| (format!("{path}/zarr.json"), bytes(meta))));
            }
            return Ok(Nodes { order: ranked(nodes.keys().cloned().collect()), complete: remote, is_v2 });
        }
        if let Some(text) = (is_v2 && remote).then(|| self.store.value(".zmetadata")).transpose()?.flatten() {
            let all = attrs::parse(&text).map_err(|e| Error::corrupt(&self.path, format!(".zmetadata: {e}")))?;
            let nodes = all.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
            let path = |key: &String| Some(key.rsplit_once('/').filter(|(_, name)| *name != ".zattrs")?.0.to_string());
            let paths: Vec<String> = nodes.keys().filter_map(path).collect();
            // What is not among them is not there.
            let files = paths.iter().flat_map(|path| FILES.iter().map(move |file| format!("{path}/{file}")));
            self.store.know(files.map(|key| (nodes.get(&key).and_then(bytes), key)).map(|(value, key)| (key, value)));
            return Ok(Nodes { order: ranked(paths), complete: true, is_v2 });
        }
        let noted = attributes.get(attrs::MODEL).and_then(|m| m["order"].as_array());
        let noted: Vec<String> = noted.into_iter().flatten().filter_map(Value::as_str).map(str::to_string).collect();
        if remote {
            self.store.fetch(noted.iter().map(|path| format!("{path}/zarr.json")))?;
        }
        Ok(Nodes { order: ranked(noted), complete: false, is_v2 })
    }

    /// Names of what could be nodes directly below a group, in their order; `prefix` is empty or ends in a slash.
    pub(super) fn children(&self, prefix: &str, nodes: &Nodes) -> Result<Vec<String>> {
        let listed = if nodes.complete { None } else { self.store.children(prefix)? };
        if listed.is_none() && nodes.order.is_empty() && !nodes.complete {
            let what = "the server cannot list what is there, and the store has neither consolidated metadata nor a list of its nodes; download it, or consolidate its metadata (zarr.consolidate_metadata)";
            return Err(Error::unsupported(&self.path, what));
        }
        let mut names: Vec<String> = listed.unwrap_or_else(|| nodes.below(prefix)).into_iter().collect();
        let files = if nodes.is_v2 { &FILES[..] } else { &FILES[..1] };
        if !nodes.complete {
            let keys = names.iter().flat_map(|name| files.iter().map(move |file| format!("{prefix}{name}/{file}")));
            self.store.fetch(keys)?;
        }
        names.sort_by_key(|name| nodes.rank(&format!("{prefix}{name}")));
        Ok(names)
    }
}
