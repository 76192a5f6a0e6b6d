//! Reading: the whole structure when opened, data when asked for.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lithify_hdf5::Params;
use serde_json::{Value, json};

use super::cache::{Caches, IDLE_BYTES};
use super::ffi::{self, File, GLOBAL, Id, Status};
use super::write::CERTIFICATE;
use super::{classic, system};
use crate::error::{Error, Result};
use crate::model::{Asked, AttrValue, Attribute, DataType, Dimension, Group, Source, Values, Variable, check_block};
use crate::zarr::Layout;

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
    /// Variables that our filter codes, by path.
    coded: HashMap<String, Coded>,
    caches: Mutex<Caches>,
    file: File,
}

/// A variable whose chunks are payloads of ours.
struct Coded {
    chunk: Vec<usize>,
    asked: Asked,
    /// Null if it is there and cannot be understood.
    certificate: Option<Value>,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self> {
        // An absolute path cannot be taken for a URL, which libnetcdf would follow.
        let path = std::fs::canonicalize(path).map_err(Error::io(path))?;
        classic::check_len(&path)?;
        let fail = |status: Status| failed(&path, "cannot be opened", status);
        let file = File::open(&path, IDLE_BYTES).map_err(fail)?;
        let format = file.format().map_err(fail)?;
        let (ids, coded) = (HashMap::new(), HashMap::new());
        let mut scan = Scan { file: &file, path: &path, warnings: Vec::new(), ids, coded };
        let mut root = scan.group(file.root(), "", 0)?;
        // The 64-bit data format has types that the classic model of NetCDF-4 lacks.
        root.classic = !["NetCDF-4", "NetCDF-3 64-bit data"].contains(&format);
        let Scan { warnings, ids, coded, .. } = scan;
        Ok(Self { root, format, warnings, ids, coded, caches: Mutex::default(), file, path })
    }
}

impl Reader {
    fn id(&self, path: &str) -> Result<(Id, Id)> {
        self.ids.get(path).copied().ok_or_else(|| Error::invalid("no such variable", path))
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
        let (group, var) = self.id(path)?;
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

    fn layout(&self, path: &str) -> Option<Layout> {
        let coded = self.coded.get(path)?;
        let configuration = json!({"bound": coded.asked.promise.to_string()});
        Some(Layout { chunk: coded.chunk.clone(), shard: None, configuration })
    }

    fn payload(&self, path: &str, chunk: &[usize]) -> Result<Option<Vec<u8>>> {
        let coded =
            self.coded.get(path).ok_or_else(|| Error::invalid("this variable is not coded by lithify", path))?;
        let shape = &self.root.find(path)?.shape;
        let start: Vec<usize> = chunk.iter().zip(&coded.chunk).map(|(i, c)| i.saturating_mul(*c)).collect();
        if chunk.len() != shape.len() || !start.iter().zip(shape).all(|(s, n)| s < n) {
            return Err(Error::invalid(format!("{path} has no such chunk"), format!("{chunk:?}")));
        }
        let (group, var) = self.id(path)?;
        let what = || format!("variable {path}, chunk {chunk:?}");
        match self.file.read_chunk(group, var, &start) {
            Ok(Some(stored)) if stored.plain => {
                Err(Error::corrupt(&self.path, format!("{} is no payload: its filter was left out", what())))
            }
            Ok(stored) => Ok(stored.map(|s| s.bytes)),
            Err(status) => Err(failed(&self.path, &format!("{} cannot be read", what()), status)),
        }
    }

    fn bytes_stored(&self, path: &str) -> Result<Option<u64>> {
        // NetCDF-3 has no chunks to count.
        if self.file.hdf5.is_none() {
            return Ok(None);
        }
        let (group, var) = self.id(path)?;
        let bytes = self.file.stored_bytes(group, var);
        bytes.map(Some).map_err(|s| failed(&self.path, &format!("variable {path} cannot be measured"), s))
    }

    fn asked(&self, path: &str) -> Option<Asked> {
        let coded = self.coded.get(path)?;
        coded.certificate.is_none().then(|| coded.asked.clone())
    }

    fn certificate(&self, path: &str) -> Option<Value> {
        let noted = || {
            let text = self.root.find(path).ok()?.attr(CERTIFICATE)?.as_text()?;
            serde_json::from_str(text).ok()
        };
        match self.coded.get(path) {
            Some(coded) => coded.certificate.clone().filter(|c| !c.is_null()),
            None => noted(),
        }
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
    coded: HashMap<String, Coded>,
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
        let mut attrs = self.attrs(group, var, &format!("variable {full}"))?;
        let values = chunks.as_ref().map(|_| self.file.filter(group, var)).transpose().map_err(fail)?.flatten();
        let params = values.and_then(|values| Params::parse(&values).ok());
        let dataset = params.as_ref().and_then(|p| p.dataset.as_ref());
        let known = dataset.filter(|d| Some(&d.chunk) == chunks.as_ref() && DataType::Number(d.dtype) == data_type);
        let spec = known.zip(params.as_ref()).and_then(|(d, p)| p.spec(d).ok());
        if let (Some(params), Some(chunk), Some(spec)) = (&params, &chunks, spec) {
            // Not one of the file's own attributes: it says what is stored here, and goes where that goes.
            let at = attrs.iter().position(|a| a.name == CERTIFICATE);
            let certificate = at.map(|i| attrs.remove(i)).map(|a| match a.value {
                AttrValue::Text(text) => serde_json::from_str(&text).unwrap_or_default(),
                _ => Value::Null,
            });
            let n = certificate.as_ref().and_then(|c: &Value| c["field"]["n"].as_u64());
            if n.is_some_and(|n| n != shape.iter().product::<usize>() as u64) {
                let what = "was written to after its certificate, which says nothing of that";
                self.warnings.push(format!("variable {full} {what}"));
            }
            let asked = Asked { promise: params.promise.clone(), spec };
            let coded = Coded { chunk: chunk.clone(), asked, certificate };
            self.coded.insert(full.clone(), coded);
        }
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
