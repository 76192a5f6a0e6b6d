//! Reading: the whole structure when opened, data when asked for.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::cache::{Caches, IDLE_BYTES};
use super::ffi::{self, File, GLOBAL, Id, Status};
use super::{classic, system};
use crate::error::{Error, Result};
use crate::model::{Attribute, Dimension, Group, Source, Values, Variable, check_block};

/// Groups deeper than this are taken for damage.
const MAX_DEPTH: usize = 64;

/// An open NetCDF file.
pub(super) struct Reader {
    path: PathBuf,
    root: Group,
    format: &'static str,
    warnings: Vec<String>,
    /// Group and variable number by path.
    ids: HashMap<String, (Id, Id)>,
    caches: Mutex<Caches>,
    file: File,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self> {
        // An absolute path cannot be taken for a URL, which libnetcdf would follow.
        let path = std::fs::canonicalize(path).map_err(Error::io(path))?;
        classic::check_len(&path)?;
        let fail = |status: Status| failed(&path, "cannot be opened", status);
        let file = File::open(&path, IDLE_BYTES).map_err(fail)?;
        let format = file.format().map_err(fail)?;
        let mut scan = Scan { file: &file, path: &path, warnings: Vec::new(), ids: HashMap::new() };
        let mut root = scan.group(file.root(), "", 0)?;
        // The 64-bit data format has types that the classic model of NetCDF-4 lacks.
        root.classic = !["NetCDF-4", "NetCDF-3 64-bit data"].contains(&format);
        let Scan { warnings, ids, .. } = scan;
        Ok(Self { root, format, warnings, ids, caches: Mutex::default(), file, path })
    }
}

impl Source for Reader {
    fn root(&self) -> &Group {
        &self.root
    }

    fn read(&self, path: &str, start: &[usize], count: &[usize]) -> Result<Values> {
        let path = path.trim_start_matches('/');
        let variable = self.root.find(path)?;
        check_block(path, &variable.shape, start, count)?;
        let fail = |status| failed(&self.path, &format!("variable {path} cannot be read"), status);
        let &(group, var) = self.ids.get(path).ok_or_else(|| Error::invalid("no such variable", path))?;
        if let Some(chunks) = &variable.chunks {
            let size = variable.dtype().map_or(1, |d| d.size());
            let mut caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
            caches.touch(&self.file, (group, var), &variable.shape, chunks, size).map_err(fail)?;
        }
        self.file.read(group, var, start, count).map_err(fail)
    }

    fn format(&self) -> &'static str {
        self.format
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }
}

struct Scan<'a> {
    file: &'a File,
    path: &'a Path,
    warnings: Vec<String>,
    ids: HashMap<String, (Id, Id)>,
}

impl Scan<'_> {
    fn group(&mut self, id: Id, prefix: &str, depth: usize) -> Result<Group> {
        if depth > MAX_DEPTH {
            return Err(Error::corrupt(self.path, format!("groups are nested deeper than {MAX_DEPTH}")));
        }
        let path = self.path;
        let fail = |status| failed(path, &format!("group /{prefix} cannot be read"), status);
        let unlimited: HashSet<_> = self.file.unlimited(id).map_err(fail)?.into_iter().collect();
        let mut group = Group::default();
        for dim in self.file.dims(id).map_err(fail)? {
            let (name, len) = self.file.dim(id, dim).map_err(fail)?;
            group.dims.push(Dimension { name: ffi::decode(name), len, unlimited: unlimited.contains(&dim) });
        }
        group.attrs = self.attrs(id, GLOBAL, &format!("group /{prefix}"))?;
        for var in self.file.variables(id).map_err(fail)? {
            group.variables.extend(self.variable(id, var, prefix)?);
        }
        for sub in self.file.groups(id).map_err(fail)? {
            let name = ffi::decode(self.file.group_name(sub).map_err(fail)?);
            let sub = self.group(sub, &format!("{prefix}{name}/"), depth + 1)?;
            group.groups.push(Group { name, ..sub });
        }
        Ok(group)
    }

    fn variable(&mut self, group: Id, var: Id, prefix: &str) -> Result<Option<Variable>> {
        let path = self.path;
        let fail = |status| failed(path, &format!("variable {var} of group /{prefix} cannot be read"), status);
        let info = self.file.variable(group, var).map_err(fail)?;
        let name = ffi::decode(info.name);
        let full = format!("{prefix}{name}");
        let Some(data_type) = ffi::data_type(info.xtype) else {
            self.left_out(&format!("variable {full}"), group, info.xtype);
            return Ok(None);
        };
        let (mut dims, mut shape) = (Vec::new(), Vec::new());
        for dim in info.dims {
            let (name, len) = self.file.dim(group, dim).map_err(fail)?;
            dims.push(ffi::decode(name));
            shape.push(len);
        }
        if shape.iter().try_fold(1usize, |n, len| n.checked_mul(*len)).is_none() {
            return Err(Error::corrupt(
                path,
                format!("variable {full} has more elements than can be counted: {shape:?}"),
            ));
        }
        let chunks = self.file.chunks(group, var).map_err(fail)?;
        let attrs = self.attrs(group, var, &format!("variable {full}"))?;
        self.ids.insert(full, (group, var));
        Ok(Some(Variable { name, dims, shape, data_type, attrs, chunks }))
    }

    fn attrs(&mut self, group: Id, var: Id, owner: &str) -> Result<Vec<Attribute>> {
        let path = self.path;
        let fail = |status| failed(path, &format!("the attributes of {owner} cannot be read"), status);
        let mut attrs = Vec::new();
        for raw in self.file.attr_names(group, var).map_err(fail)? {
            let value = self.file.attr(group, var, &raw).map_err(fail)?;
            let name = ffi::decode(raw);
            match value {
                Ok(value) => attrs.push(Attribute { name, value }),
                Err(xtype) => self.left_out(&format!("attribute {name} of {owner}"), group, xtype),
            }
        }
        Ok(attrs)
    }

    fn left_out(&mut self, what: &str, group: Id, xtype: Id) {
        let name = self.file.type_name(group, xtype).map_or_else(|_| "user-defined".into(), ffi::decode);
        self.warnings.push(format!("{what} is left out: its type {name:?} is not a plain NetCDF type"));
    }
}

fn failed(path: &Path, what: &str, status: Status) -> Error {
    system(path, status).unwrap_or_else(|| match status.needs_filter() {
        true => Error::unsupported(path, format!("{what}: {status}")),
        false => Error::corrupt(path, format!("{what}: {status}")),
    })
}
