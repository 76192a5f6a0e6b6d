//! Writing NetCDF-4.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use lithify_codec::Promise;
use lithify_hdf5::{Dataset, Params};
use serde_json::Value;
use tempfile::NamedTempFile;

use super::cache::{Caches, IDLE_BYTES};
use super::ffi::{File, GLOBAL, Id, Status};
use super::system;
use crate::coded::CodedSink;
use crate::error::{Error, Result};
use crate::model::{AttrValue, Attribute, DataType, Group, Sink, Values, Variable, check_block};
use crate::temporary;
use crate::zarr::{Layout, spec_of};

/// Smaller variables are not worth a chunk index.
const MIN_DEFLATED_BYTES: usize = 16 << 10;
/// Chunks where the model gives none.
const CHUNK_BYTES: usize = 1 << 20;
/// Larger chunks than this are not taken over: each is held in memory twice.
const MAX_CHUNK_BYTES: usize = 256 << 20;
/// The system's "permission denied".
const EACCES: i32 = 13;
const FILL_VALUE: &str = "_FillValue";
/// Attribute of a variable that says what was promised and what holds.
pub(super) const CERTIFICATE: &str = "lithify";

/// A NetCDF-4 file being written.
pub(crate) struct Writer {
    path: PathBuf,
    root: Group,
    variables: HashMap<String, Target>,
    caches: Caches,
    /// To be added as attributes when everything else is there.
    certificates: Vec<(String, Value)>,
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
    /// Bytes of payloads, if it takes those.
    coded: Option<u64>,
}

impl Writer {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        // An absolute path cannot be taken for a URL.
        let path = std::path::absolute(path).map_err(Error::io(path))?;
        let temporary = temporary::beside(&path)?;
        let file = File::create(temporary.path(), IDLE_BYTES, false).map_err(|s| failed(&path, "the file", s))?;
        let (root, variables, caches) = (Group::default(), HashMap::new(), Caches::default());
        Ok(Self { root, variables, caches, certificates: Vec::new(), broken: false, file, temporary, path })
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
        if target.coded.is_some() {
            return Err(Error::invalid("this variable takes coded chunks, not values", path));
        }
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

impl Writer {
    fn define_all(&mut self, root: &Group, layouts: &BTreeMap<String, Layout>) -> Result<()> {
        if root.classic {
            // Such files are shown and checked differently by the library, so they stay what they are.
            let temporary = temporary::beside(&self.path)?;
            let created = File::create(temporary.path(), IDLE_BYTES, true);
            self.file = created.map_err(|s| failed(&self.path, "the file", s))?;
            self.temporary = temporary;
        }
        let mut define =
            Define { file: &self.file, path: &self.path, dims: Vec::new(), layouts, variables: HashMap::new() };
        define.group(self.file.root(), root, "")?;
        self.variables = define.variables;
        self.file.end_define().map_err(|s| self.failed("the structure", s))?;
        for path in layouts.keys() {
            let target = self.variables.get(path).map(|t| t.at);
            let ((group, var), shape) = (target.ok_or_else(|| unknown(path))?, &root.find(path)?.shape);
            // Written through libnetcdf, variables grow by themselves.
            self.file.extend(group, var, shape).map_err(|s| self.failed(&format!("variable {path}"), s))?;
        }
        self.root = root.clone();
        Ok(())
    }

    /// Adds the certificates, closes, and gives the file its name.
    fn complete(mut self) -> Result<PathBuf> {
        if !self.certificates.is_empty() {
            self.file.redefine().map_err(|s| self.failed("the certificates", s))?;
            for (path, certificate) in std::mem::take(&mut self.certificates) {
                let (group, var) = self.variables.get(&path).ok_or_else(|| unknown(&path))?.at;
                let text = AttrValue::Text(certificate.to_string());
                let put = self.file.put_attr(group, var, CERTIFICATE, &text);
                put.map_err(|s| self.failed(&format!("the certificate of variable {path}"), s))?;
            }
            self.file.end_define().map_err(|s| self.failed("the certificates", s))?;
        }
        let Self { path, file, temporary, broken, .. } = self;
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

impl Sink for Writer {
    fn define(&mut self, root: &Group) -> Result<()> {
        self.define_all(root, &BTreeMap::new())
    }

    fn write(&mut self, path: &str, start: &[usize], count: &[usize], values: &Values) -> Result<()> {
        let path = path.trim_start_matches('/');
        match self.write_to(path, start, count, values)? {
            None => Ok(()),
            Some(status) => Err(self.failed(&format!("variable {path}"), status)),
        }
    }

    fn finish(self: Box<Self>) -> Result<PathBuf> {
        self.complete()
    }
}

impl CodedSink for Writer {
    fn define(&mut self, root: &Group, layouts: &BTreeMap<String, Layout>) -> Result<()> {
        self.define_all(root, layouts)
    }

    fn write(&mut self, path: &str, start: &[usize], count: &[usize], values: &Values) -> Result<()> {
        Sink::write(self, path, start, count, values)
    }

    fn write_payload(&mut self, path: &str, chunk: &[usize], payload: Vec<u8>) -> Result<()> {
        let target = self.variables.get_mut(path).ok_or_else(|| unknown(path))?;
        let (Some(coded), Some(chunks)) = (&mut target.coded, &target.chunks) else {
            return Err(Error::invalid("only variables with a layout take payloads", path));
        };
        *coded += payload.len() as u64;
        let start: Vec<usize> = chunk.iter().zip(chunks).map(|(i, c)| i * c).collect();
        let (group, var) = target.at;
        let done = self.file.write_chunk(group, var, &start, &payload);
        done.map_err(|s| self.failed(&format!("variable {path}, chunk {chunk:?}"), s))
    }

    fn bytes_written(&mut self, path: &str) -> Result<u64> {
        let target = self.variables.get(path).ok_or_else(|| unknown(path))?;
        if let Some(bytes) = target.coded {
            return Ok(bytes);
        }
        let (group, var) = target.at;
        // What its cache holds is written out first.
        let flushed = target.chunks.as_ref().map_or(Ok(()), |_| self.file.set_cache(group, var, IDLE_BYTES));
        let bytes = flushed.and_then(|()| self.file.stored_bytes(group, var));
        bytes.map_err(|s| self.failed(&format!("variable {path}"), s))
    }

    /// The parameters of the filter say what happens to values that others add or copy, and those have no certificate: they are
    /// kept exactly.
    fn set_configuration(&mut self, _path: &str, _configuration: Value) -> Result<()> {
        Ok(())
    }

    fn set_certificate(&mut self, path: &str, certificate: Value) -> Result<()> {
        self.certificates.push((path.into(), certificate));
        Ok(())
    }

    fn finish(self: Box<Self>, replace: bool) -> Result<PathBuf> {
        if !replace && std::fs::symlink_metadata(&self.path).is_ok() {
            let what = "the output exists already; remove it or choose another name";
            return Err(Error::invalid(what, self.path.display()));
        }
        self.complete()
    }
}

fn unknown(path: &str) -> Error {
    Error::invalid("there is no such variable in the output", path)
}

/// The walk that declares everything.
struct Define<'a> {
    file: &'a File,
    path: &'a Path,
    /// Dimensions in scope, inner groups' last: name, length, unlimited, number.
    dims: Vec<(String, usize, bool, Id)>,
    /// Variables that take payloads.
    layouts: &'a BTreeMap<String, Layout>,
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
        let coded = self.layouts.get(&full);
        let (chunks, deflate) = match coded {
            Some(layout) => (Some(layout.chunk.clone()), false),
            None => layout(v, &unlimited),
        };
        let var = self
            .file
            .def_variable(group, &v.name, v.data_type, &dims, chunks.as_deref(), deflate)
            .map_err(|s| failed(self.path, &format!("variable {full}"), s))?;
        self.attrs(group, var, &v.attrs, Some(v.data_type))
            .map_err(|(name, s)| failed(self.path, &format!("attribute {name} of variable {full}"), s))?;
        if let Some(layout) = coded {
            self.filter(group, var, v, layout, &full)?;
        }
        self.variables.insert(full, Target { at: (group, var), chunks, coded: coded.map(|_| 0) });
        Ok(())
    }

    /// Gives the variable the filter. Its attributes must be there: HDF5 takes the fill value from them.
    fn filter(&self, group: Id, var: Id, v: &Variable, layout: &Layout, full: &str) -> Result<()> {
        let dtype = v.dtype().ok_or_else(|| Error::invalid("only numbers can be coded", full))?;
        let spec = spec_of(&layout.configuration, dtype)?;
        let failed = |s| failed(self.path, &format!("variable {full}"), s);
        let fill = self.file.fill_bits(group, var, dtype.size()).map_err(failed)?;
        let params = Params {
            promise: Promise::lossless(),
            effort: spec.effort,
            patterns: spec.missing,
            dataset: Some(Dataset {
                dtype,
                big_endian: cfg!(target_endian = "big"),
                fill,
                fill_is_missing: true,
                chunk: layout.chunk.clone(),
            }),
            ..Params::default()
        };
        self.file.def_filter(group, var, &params.to_values()?).map_err(failed)
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
