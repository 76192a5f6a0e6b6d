//! Writing NetCDF-4.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::cache::{Caches, IDLE_BYTES};
use super::ffi::{File, GLOBAL, Id, Status};
use super::system;
use crate::error::{Error, Result};
use crate::model::{AttrValue, Attribute, DataType, Group, Sink, Values, Variable, check_block};
use crate::temporary;

/// Smaller variables are not worth a chunk index.
const MIN_DEFLATED_BYTES: usize = 16 << 10;
/// Chunks where the model gives none.
const CHUNK_BYTES: usize = 1 << 20;
/// Larger chunks than this are not taken over: each is held in memory twice.
const MAX_CHUNK_BYTES: usize = 256 << 20;
/// The system's "permission denied".
const EACCES: i32 = 13;
const FILL_VALUE: &str = "_FillValue";

/// A NetCDF-4 file being written.
pub(super) struct Writer {
    path: PathBuf,
    root: Group,
    variables: HashMap<String, Target>,
    caches: Caches,
    /// HDF5 has failed to write.
    broken: bool,
    // Closed before its name goes away.
    file: File,
    temporary: NamedTempFile,
}

/// Where a variable's data go.
struct Target {
    at: (Id, Id),
    chunks: Option<Vec<usize>>,
}

impl Writer {
    pub(super) fn create(path: &Path) -> Result<Self> {
        // An absolute path cannot be taken for a URL.
        let path = std::path::absolute(path).map_err(Error::io(path))?;
        let temporary = temporary::beside(&path)?;
        let file = File::create(temporary.path(), IDLE_BYTES, false).map_err(|s| failed(&path, "the file", s))?;
        let (root, variables, caches) = (Group::default(), HashMap::new(), Caches::default());
        Ok(Self { root, variables, caches, broken: false, file, temporary, path })
    }

    /// The error for `status`; where HDF5 failed to write, the end of this file.
    fn failed(&mut self, what: &str, status: Status) -> Error {
        let error = failed(&self.path, what, status);
        if status.is_hdf() {
            self.broken = true;
            // Makes room, so that HDF5 gets rid of what it still holds when the file is closed.
            let _ = self.temporary.as_file().set_len(0);
        }
        error
    }

    fn write_to(&mut self, path: &str, start: &[usize], count: &[usize], values: &Values) -> Result<Option<Status>> {
        let (variable, target) = match (self.root.find(path)?, self.variables.get(path)) {
            (variable, Some(target)) => (variable, target),
            (_, None) => return Err(Error::invalid("no such variable", path)),
        };
        check_block(path, &variable.shape, start, count)?;
        if count.contains(&0) {
            return Ok(None);
        }
        let (group, var) = target.at;
        let cached = target.chunks.as_ref().map_or(Ok(()), |chunks| {
            let size = element_bytes(variable.data_type);
            self.caches.touch(&self.file, target.at, &variable.shape, chunks, size)
        });
        Ok(cached.and_then(|()| self.file.write(group, var, start, count, values)).err())
    }
}

impl Sink for Writer {
    fn define(&mut self, root: &Group) -> Result<()> {
        if root.classic {
            // Such files are shown and checked differently by the library, so they stay what they are.
            let temporary = temporary::beside(&self.path)?;
            let created = File::create(temporary.path(), IDLE_BYTES, true);
            self.file = created.map_err(|s| failed(&self.path, "the file", s))?;
            self.temporary = temporary;
        }
        let mut define = Define { file: &self.file, path: &self.path, dims: Vec::new(), variables: HashMap::new() };
        define.group(self.file.root(), root, "")?;
        self.variables = define.variables;
        self.file.end_define().map_err(|s| self.failed("the structure", s))?;
        self.root = root.clone();
        Ok(())
    }

    fn write(&mut self, path: &str, start: &[usize], count: &[usize], values: &Values) -> Result<()> {
        let path = path.trim_start_matches('/');
        match self.write_to(path, start, count, values)? {
            None => Ok(()),
            Some(status) => Err(self.failed(&format!("variable {path}"), status)),
        }
    }

    fn finish(self: Box<Self>) -> Result<PathBuf> {
        let Self { path, file, temporary, broken, .. } = *self;
        if broken {
            return Err(Error::invalid("a file cannot be finished after a write has failed", path.display()));
        }
        if let Err(status) = file.close() {
            let error = failed(&path, "the end of the file", status);
            let _ = temporary.as_file().set_len(0); // HDF5 still holds it open
            return Err(error);
        }
        temporary::persist(temporary, &path)?;
        Ok(path)
    }
}

/// The walk that declares everything.
struct Define<'a> {
    file: &'a File,
    path: &'a Path,
    /// Dimensions in scope, inner groups' last: name, length, unlimited, number.
    dims: Vec<(String, usize, bool, Id)>,
    variables: HashMap<String, Target>,
}

impl Define<'_> {
    fn group(&mut self, id: Id, group: &Group, prefix: &str) -> Result<()> {
        let path = self.path;
        let fail = |what: &str| {
            let what = format!("{what} of group /{prefix}");
            move |status| failed(path, &what, status)
        };
        let outer = self.dims.len();
        for d in &group.dims {
            let unlimited = d.unlimited || d.len == 0; // NetCDF knows no other dimensions of length 0
            let len = (!unlimited).then_some(d.len);
            let dim = self.file.def_dim(id, &d.name, len).map_err(fail(&format!("dimension {}", d.name)))?;
            self.dims.push((d.name.clone(), d.len, unlimited, dim));
        }
        self.attrs(id, GLOBAL, &group.attrs, None).map_err(|(name, s)| fail(&format!("attribute {name}"))(s))?;
        for v in &group.variables {
            self.variable(id, v, prefix)?;
        }
        for sub in &group.groups {
            let sub_id = self.file.def_group(id, &sub.name).map_err(fail(&format!("subgroup {}", sub.name)))?;
            self.group(sub_id, sub, &format!("{prefix}{}/", sub.name))?;
        }
        self.dims.truncate(outer);
        Ok(())
    }

    fn variable(&mut self, group: Id, v: &Variable, prefix: &str) -> Result<()> {
        let full = format!("{prefix}{}", v.name);
        let mut dims = Vec::new();
        let mut unlimited = Vec::new();
        for (name, len) in v.dims.iter().zip(&v.shape) {
            // The nearest of that name; the length tells which is meant where an inner group reuses a name.
            let Some(dim) = self.dims.iter().rev().find(|d| d.0 == *name && d.1 == *len) else {
                return Err(Error::invalid(
                    format!("variable {full} needs a dimension of length {len} in its group or a parent of it"),
                    name,
                ));
            };
            dims.push(dim.3);
            unlimited.push(dim.2);
        }
        let (chunks, deflate) = layout(v, &unlimited);
        let var = self
            .file
            .def_variable(group, &v.name, v.data_type, &dims, chunks.as_deref(), deflate)
            .map_err(|s| failed(self.path, &format!("variable {full}"), s))?;
        self.attrs(group, var, &v.attrs, Some(v.data_type))
            .map_err(|(name, s)| failed(self.path, &format!("attribute {name} of variable {full}"), s))?;
        self.variables.insert(full, Target { at: (group, var), chunks });
        Ok(())
    }

    /// The attributes of a variable of type `owner`, or of the group.
    fn attrs(
        &self,
        group: Id,
        var: Id,
        attrs: &[Attribute],
        owner: Option<DataType>,
    ) -> std::result::Result<(), (String, Status)> {
        for a in attrs {
            let put = if a.name == FILL_VALUE && owner.is_some_and(|t| !is_one_of(&a.value, t)) {
                // libnetcdf refuses it by this name, but other programs write such files.
                let other = "fill_value_of_another_type";
                self.file
                    .put_attr(group, var, other, &a.value)
                    .and_then(|()| self.file.rename_attr(group, var, other, FILL_VALUE))
            } else {
                self.file.put_attr(group, var, &a.name, &a.value)
            };
            put.map_err(|s| (a.name.clone(), s))?;
        }
        Ok(())
    }
}

/// Whether `value` is exactly one element of that type.
fn is_one_of(value: &AttrValue, data_type: DataType) -> bool {
    match (value, data_type) {
        (AttrValue::Text(t), DataType::Char) => t.len() == 1,
        (AttrValue::Strings(v), DataType::String) => v.len() == 1,
        (AttrValue::Numbers(n), DataType::Number(dtype)) => n.dtype() == dtype && n.len() == 1,
        _ => false,
    }
}

fn element_bytes(data_type: DataType) -> usize {
    match data_type {
        DataType::Number(dtype) => dtype.size(),
        DataType::Char => 1,
        DataType::String => 16, // what HDF5 stores in the chunk: a length and a reference
    }
}

/// Chunk lengths, if the variable is to be chunked, and whether the chunks are compressed.
fn layout(v: &Variable, unlimited: &[bool]) -> (Option<Vec<usize>>, bool) {
    let size = element_bytes(v.data_type);
    let hint = v.chunks.as_ref().filter(|c| c.len() == v.shape.len() && !c.is_empty() && !c.contains(&0));
    let deflate = v.dtype().is_some() && v.len().saturating_mul(size) >= MIN_DEFLATED_BYTES;
    if v.shape.is_empty() || !(deflate || hint.is_some() || unlimited.contains(&true)) {
        return (None, false);
    }
    let hint = hint.map(|chunks| {
        let each = chunks.iter().zip(&v.shape).zip(unlimited);
        each.map(|((chunk, len), grows)| if *grows { *chunk } else { (*chunk).min(*len).max(1) }).collect::<Vec<_>>()
    });
    let fits = |chunks: &Vec<usize>| chunks.iter().fold(size, |n, c| n.saturating_mul(*c)) <= MAX_CHUNK_BYTES;
    (Some(hint.filter(fits).unwrap_or_else(|| whole_rows(&v.shape, CHUNK_BYTES / size))), deflate)
}

/// Last dimensions whole while they fit into `room` elements, part of the next, one of the others.
fn whole_rows(shape: &[usize], mut room: usize) -> Vec<usize> {
    let mut chunks: Vec<_> = shape
        .iter()
        .rev()
        .map(|len| {
            let chunk = (*len).clamp(1, room.max(1));
            room /= chunk;
            chunk
        })
        .collect();
    chunks.reverse();
    chunks
}

fn failed(path: &Path, what: &str, status: Status) -> Error {
    use std::io::{Error as Io, ErrorKind as Kind};
    // For any failure of HDF5 to create a file libnetcdf says that permission was denied.
    if !status.is_hdf() && status.0 != EACCES {
        let refused = || Error::unsupported(path, format!("{what} cannot be written: {status}"));
        return system(path, status).unwrap_or_else(refused);
    }
    // libnetcdf drops the system's reason, but the last one that means "no room" is surely it.
    let last = Io::last_os_error();
    let source = match last.kind() {
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => last,
        _ => Io::other(format!("{what} cannot be written; check free space and permissions of the folder")),
    };
    Error::io(path)(source)
}
