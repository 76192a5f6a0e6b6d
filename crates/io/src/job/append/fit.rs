//! The file that is appended, with its variables named and shaped as the store has them.
//!
//! Two things are put right, and nothing else: a file with a single time has no dimension for it, as GRIB has it, but a scalar
//! coordinate of that name; and an `.npy` file names its only array after itself.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::model::{Dimension, Group, Source, Values, Variable};

/// A source seen as the continuation of another.
pub(super) struct Fitted<'a> {
    inner: &'a dyn Source,
    root: Group,
    /// Paths that are another in the file.
    names: BTreeMap<String, String>,
    /// Dimensions of length 1 that the file does not have, by path.
    added: BTreeMap<String, usize>,
}

impl<'a> Fitted<'a> {
    pub(super) fn new(inner: &'a dyn Source, store: &Group, dim: &str) -> Self {
        let mut fitted = Self { inner, root: inner.root().clone(), names: BTreeMap::new(), added: BTreeMap::new() };
        if let ([(path, v)], [(own, _)]) = (store.walk().as_slice(), inner.root().walk().as_slice())
            && inner.format() == ".npy"
        {
            fitted.root.variables.iter_mut().for_each(|w| w.name.clone_from(&v.name));
            fitted.names.insert(path.clone(), own.clone());
        }
        let is_scalar = inner.root().find(dim).is_ok_and(|v| v.dims.is_empty());
        if is_scalar && !inner.root().walk().iter().any(|(_, v)| v.dims.iter().any(|d| d == dim)) {
            for (path, v) in store.walk() {
                let Some(axis) = v.dims.iter().position(|d| d == dim) else { continue };
                let mut others = v.dims.clone();
                others.remove(axis);
                if let Some(w) = find(&mut fitted.root, &path).filter(|w| w.dims == others) {
                    w.dims.insert(axis, dim.into());
                    w.shape.insert(axis, 1);
                    w.chunks = None;
                    fitted.added.insert(path, axis);
                }
            }
            fitted.root.dims.push(Dimension { name: dim.into(), len: 1, unlimited: true });
        }
        fitted
    }

    fn name<'b>(&'b self, path: &'b str) -> &'b str {
        self.names.get(path).map_or(path, String::as_str)
    }
}

fn find<'a>(group: &'a mut Group, path: &str) -> Option<&'a mut Variable> {
    match path.split_once('/') {
        None => group.variables.iter_mut().find(|v| v.name == path),
        Some((name, rest)) => find(group.groups.iter_mut().find(|g| g.name == name)?, rest),
    }
}

impl Source for Fitted<'_> {
    fn root(&self) -> &Group {
        &self.root
    }

    fn read(&self, path: &str, start: &[usize], count: &[usize]) -> Result<Values> {
        let Some(&axis) = self.added.get(path) else { return self.inner.read(self.name(path), start, count) };
        let without = |of: &[usize]| [&of[..axis], &of[axis + 1..]].concat();
        self.inner.read(self.name(path), &without(start), &without(count))
    }

    fn format(&self) -> &'static str {
        self.inner.format()
    }

    fn warnings(&self) -> Vec<String> {
        self.inner.warnings()
    }

    fn certificate(&self, path: &str) -> Option<serde_json::Value> {
        self.inner.certificate(self.name(path))
    }
}
