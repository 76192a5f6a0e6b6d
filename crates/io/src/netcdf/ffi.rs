//! The calls into libnetcdf, each made safe: with [`super::coded`] the only unsafe code of this crate.
//!
//! Why not the `netcdf` crate: it hides empty texts, characters, the attribute `_FillValue` of another type, and more
//! that a faithful copy needs. What is called here is libnetcdf's own C interface, as its manual describes it.
//!
//! # Safety
//! * libnetcdf and HDF5 are not thread-safe: every call holds `libnetcdf_lock` (`call`, `locked`).
//! * libnetcdf checks every file, group, variable and dimension number, so a wrong one is an error, not a wild access.
//! * Buffers are made here, as long as libnetcdf itself says, under the same lock.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;

use hdf5_metno_sys::h5i::hid_t;
use lithify_codec::{Dtype, Sample, Samples, match_dtype, match_samples};
use netcdf_sys as nc;

use super::coded;
use crate::model::{AttrValue, DataType, Values};

/// Number of a group (the root's is the file's) or a variable or a dimension.
pub(super) type Id = c_int;
/// The variable number that stands for a group's own attributes.
pub(super) const GLOBAL: Id = nc::NC_GLOBAL;

/// What a call that failed returned: negative for libnetcdf's own errors, positive for the system's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status(pub c_int);
type Result<T> = std::result::Result<T, Status>;

impl Status {
    /// HDF5 failed and libnetcdf does not say why.
    pub(super) fn is_hdf(self) -> bool {
        self.0 == nc::NC_EHDFERR
    }

    /// The file is compressed in a way that this build has no filter for.
    pub(super) fn needs_filter(self) -> bool {
        matches!(self.0, nc::NC_EFILTER | nc::NC_ENOFILTER)
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SAFETY: nc_strerror returns a static, terminated text for every number.
        let text = unsafe { CStr::from_ptr(nc::nc_strerror(self.0)) };
        f.write_str(text.to_string_lossy().trim_start_matches("NetCDF: "))
    }
}

pub(super) fn locked<T>(body: impl FnOnce() -> T) -> T {
    let _guard = nc::libnetcdf_lock.lock();
    body()
}

pub(super) fn call(body: impl FnOnce() -> c_int) -> Result<()> {
    match locked(body) {
        nc::NC_NOERR => Ok(()),
        code => Err(Status(code)),
    }
}

fn c_text(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Status(nc::NC_EBADNAME))
}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| Status(nc::NC_EINVAL))
}

/// Calls that fill in one name.
fn name_of(body: impl FnOnce(*mut c_char) -> c_int) -> Result<Vec<u8>> {
    let mut name = [0u8; nc::NC_MAX_NAME as usize + 1];
    call(|| body(name.as_mut_ptr().cast()))?;
    let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    Ok(name[..end].to_vec())
}

/// Calls that give the number of ids for a null pointer, and the ids for a buffer.
fn ids_of(body: impl Fn(*mut c_int, *mut Id) -> c_int) -> Result<Vec<Id>> {
    locked(|| {
        let mut n = 0;
        call(|| body(&mut n, ptr::null_mut()))?;
        let mut ids = vec![0; usize::try_from(n).unwrap_or(0)];
        if !ids.is_empty() {
            call(|| body(&mut n, ids.as_mut_ptr()))?;
        }
        Ok(ids)
    })
}

/// The element type of a libnetcdf type number; `None` for a user-defined one.
pub(super) fn data_type(xtype: nc::nc_type) -> Option<DataType> {
    Some(match xtype {
        nc::NC_CHAR => DataType::Char,
        nc::NC_STRING => DataType::String,
        _ => DataType::Number(Dtype::ALL.into_iter().find(|d| nc_type(DataType::Number(*d)) == xtype)?),
    })
}

fn nc_type(data_type: DataType) -> nc::nc_type {
    match data_type {
        DataType::Char => nc::NC_CHAR,
        DataType::String => nc::NC_STRING,
        DataType::Number(dtype) => match dtype {
            Dtype::I8 => nc::NC_BYTE,
            Dtype::I16 => nc::NC_SHORT,
            Dtype::I32 => nc::NC_INT,
            Dtype::I64 => nc::NC_INT64,
            Dtype::U8 => nc::NC_UBYTE,
            Dtype::U16 => nc::NC_USHORT,
            Dtype::U32 => nc::NC_UINT,
            Dtype::U64 => nc::NC_UINT64,
            Dtype::F32 => nc::NC_FLOAT,
            Dtype::F64 => nc::NC_DOUBLE,
        },
    }
}

/// A variable's type number and the numbers of its dimensions.
pub(super) struct VarInfo {
    pub(super) name: Vec<u8>,
    pub(super) xtype: nc::nc_type,
    pub(super) dims: Vec<Id>,
}

/// Runs what opens a file; the number that HDF5 gave it, if HDF5 was asked.
fn opened(open: impl FnOnce() -> Result<()>) -> Result<Option<hid_t>> {
    coded::register()?;
    locked(|| {
        let before = coded::open_files();
        open()?;
        Ok(coded::open_files().into_iter().find(|id| !before.contains(id)))
    })
}

/// An open file; closed when dropped.
pub(super) struct File {
    id: Id,
    writable: bool,
    /// The same file's number in HDF5; none for NetCDF-3.
    pub(super) hdf5: Option<hid_t>,
}

impl Drop for File {
    fn drop(&mut self) {
        // Whoever needs to know whether it worked calls `close`.
        let _ = self.shut();
    }
}

impl File {
    /// Opens for reading. `cache_bytes` is the chunk cache that each variable starts with.
    pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Self> {
        let path = c_path(path)?;
        let mut id = 0;
        let hdf5 = opened(|| {
            // SAFETY: `path` is terminated and `id` lives through the calls.
            call(|| unsafe {
                nc::nc_set_chunk_cache(cache_bytes, CACHE_SLOTS, PREEMPTION);
                nc::nc_open(path.as_ptr(), nc::NC_NOWRITE, &mut id)
            })
        })?;
        Ok(Self { id, writable: false, hdf5 })
    }

    /// Makes a NetCDF-4 file, of the classic model or the full one, replacing what is there.
    pub(super) fn create(path: &Path, cache_bytes: usize, classic: bool) -> Result<Self> {
        let path = c_path(path)?;
        let model = if classic { nc::NC_CLASSIC_MODEL } else { 0 };
        let mut id = 0;
        let hdf5 = opened(|| {
            // SAFETY: as in `open`.
            call(|| unsafe {
                nc::nc_set_chunk_cache(cache_bytes, CACHE_SLOTS, PREEMPTION);
                nc::nc_create(path.as_ptr(), nc::NC_CLOBBER | nc::NC_NETCDF4 | model, &mut id)
            })
        })?;
        Ok(Self { id, writable: true, hdf5 })
    }

    /// Writes out what is pending and closes.
    pub(super) fn close(self) -> Result<()> {
        let result = self.shut();
        std::mem::forget(self);
        result
    }

    fn shut(&self) -> Result<()> {
        if self.writable {
            // libnetcdf crashes when HDF5 cannot close a file for want of space. What cannot be written out is
            // therefore never closed: a leak, where the alternative is a crash.
            // SAFETY: takes a number.
            call(|| unsafe { nc::nc_sync(self.id) })?;
        }
        // SAFETY: takes a number, which nobody uses after this.
        call(|| unsafe { nc::nc_close(self.id) })
    }

    /// The root group.
    pub(super) fn root(&self) -> Id {
        self.id
    }

    /// The kind of file, for people.
    pub(super) fn format(&self) -> Result<&'static str> {
        let mut format = 0;
        // SAFETY: `format` lives through the call.
        call(|| unsafe { nc::nc_inq_format(self.id, &mut format) })?;
        Ok(match format {
            nc::NC_FORMAT_CLASSIC => "NetCDF-3 classic",
            nc::NC_FORMAT_64BIT_OFFSET => "NetCDF-3 64-bit offset",
            nc::NC_FORMAT_64BIT_DATA => "NetCDF-3 64-bit data",
            nc::NC_FORMAT_NETCDF4_CLASSIC => "NetCDF-4 classic model",
            _ => "NetCDF-4",
        })
    }

    pub(super) fn groups(&self, group: Id) -> Result<Vec<Id>> {
        // SAFETY: `ids_of` passes a null pointer or a buffer of the length that the call gave.
        ids_of(|n, ids| unsafe { nc::nc_inq_grps(group, n, ids) })
    }

    pub(super) fn group_name(&self, group: Id) -> Result<Vec<u8>> {
        // SAFETY: `name_of` passes room for the longest name.
        name_of(|name| unsafe { nc::nc_inq_grpname(group, name) })
    }

    pub(super) fn variables(&self, group: Id) -> Result<Vec<Id>> {
        // SAFETY: as in `groups`.
        ids_of(|n, ids| unsafe { nc::nc_inq_varids(group, n, ids) })
    }

    /// The dimensions that `group` itself defines.
    pub(super) fn dims(&self, group: Id) -> Result<Vec<Id>> {
        // SAFETY: as in `groups`.
        ids_of(|n, ids| unsafe { nc::nc_inq_dimids(group, n, ids, 0) })
    }

    pub(super) fn unlimited(&self, group: Id) -> Result<Vec<Id>> {
        // SAFETY: as in `groups`.
        ids_of(|n, ids| unsafe { nc::nc_inq_unlimdims(group, n, ids) })
    }

    /// A dimension's name and length.
    pub(super) fn dim(&self, group: Id, dim: Id) -> Result<(Vec<u8>, usize)> {
        let mut len = 0;
        // SAFETY: as in `group_name`; `len` lives through the call.
        let name = name_of(|name| unsafe { nc::nc_inq_dim(group, dim, name, &mut len) })?;
        Ok((name, len))
    }

    pub(super) fn variable(&self, group: Id, var: Id) -> Result<VarInfo> {
        locked(|| {
            let (mut xtype, mut n_dims) = (0, 0);
            // SAFETY: room for the longest name; null for what is not asked; the rest live through the call.
            let name = name_of(|name| unsafe {
                nc::nc_inq_var(group, var, name, &mut xtype, &mut n_dims, ptr::null_mut(), ptr::null_mut())
            })?;
            let mut dims = vec![0; usize::try_from(n_dims).unwrap_or(0)];
            // SAFETY: `dims` has the length that the call above gave, under the same lock.
            call(|| unsafe { nc::nc_inq_vardimid(group, var, dims.as_mut_ptr()) })?;
            Ok(VarInfo { name, xtype, dims })
        })
    }

    pub(super) fn type_name(&self, group: Id, xtype: nc::nc_type) -> Result<Vec<u8>> {
        // SAFETY: as in `group_name`; the size is not asked.
        name_of(|name| unsafe { nc::nc_inq_type(group, xtype, name, ptr::null_mut()) })
    }

    /// Chunk lengths, if the variable is chunked.
    pub(super) fn chunks(&self, group: Id, var: Id) -> Result<Option<Vec<usize>>> {
        locked(|| {
            let mut chunks = vec![0; self.variable(group, var)?.dims.len()];
            let mut storage = 0;
            // SAFETY: one length for each dimension, as just asked under the same lock.
            call(|| unsafe { nc::nc_inq_var_chunking(group, var, &mut storage, chunks.as_mut_ptr()) })?;
            Ok((storage == nc::NC_CHUNKED && !chunks.is_empty()).then_some(chunks))
        })
    }

    /// Sets how many bytes of decoded chunks HDF5 keeps for a variable. What it held is written out and freed.
    pub(super) fn set_cache(&self, group: Id, var: Id, bytes: usize) -> Result<()> {
        // SAFETY: takes numbers only.
        call(|| unsafe { nc::nc_set_var_chunk_cache(group, var, bytes, CACHE_SLOTS, PREEMPTION) })
    }

    /// Names of the attributes of a variable, or of the group for [`GLOBAL`], in order.
    pub(super) fn attr_names(&self, group: Id, var: Id) -> Result<Vec<Vec<u8>>> {
        locked(|| {
            let mut n = 0;
            // SAFETY: `n` lives through the call.
            call(|| unsafe {
                if var == GLOBAL { nc::nc_inq_natts(group, &mut n) } else { nc::nc_inq_varnatts(group, var, &mut n) }
            })?;
            // SAFETY: as in `group_name`.
            (0..n).map(|i| name_of(|name| unsafe { nc::nc_inq_attname(group, var, i, name) })).collect()
        })
    }

    /// An attribute's value, or the number of its type if that is user-defined.
    pub(super) fn attr(&self, group: Id, var: Id, name: &[u8]) -> Result<std::result::Result<AttrValue, nc::nc_type>> {
        let name = CString::new(name).map_err(|_| Status(nc::NC_EBADNAME))?;
        let get = |buffer: *mut c_void| {
            // SAFETY: the callers below pass a buffer of the attribute's own type and length.
            call(|| unsafe { nc::nc_get_att(group, var, name.as_ptr(), buffer) })
        };
        locked(|| {
            let (mut xtype, mut len) = (0, 0);
            // SAFETY: `name` is terminated, the others live through the call.
            call(|| unsafe { nc::nc_inq_att(group, var, name.as_ptr(), &mut xtype, &mut len) })?;
            Ok(match data_type(xtype) {
                None => Err(xtype),
                Some(DataType::Char) => {
                    let mut bytes = vec![0u8; len];
                    get(bytes.as_mut_ptr().cast())?;
                    Ok(AttrValue::Text(decode(bytes)))
                }
                Some(DataType::String) => Ok(AttrValue::Strings(strings(len, get)?)),
                Some(DataType::Number(dtype)) => Ok(AttrValue::Numbers(numbers(dtype, len, get)?)),
            })
        })
    }

    /// Adds an attribute.
    pub(super) fn put_attr(&self, group: Id, var: Id, name: &str, value: &AttrValue) -> Result<()> {
        let name = c_text(name)?;
        let put = |data_type, len, data: *const c_void| {
            // SAFETY: the callers below pass a buffer of that type and length.
            call(|| unsafe { nc::nc_put_att(group, var, name.as_ptr(), nc_type(data_type), len, data) })
        };
        match value {
            AttrValue::Text(text) => put(DataType::Char, text.len(), text.as_ptr().cast()),
            AttrValue::Strings(texts) => {
                with_pointers(texts, |pointers| put(DataType::String, pointers.len(), pointers.as_ptr().cast()))
            }
            AttrValue::Numbers(n) => {
                match_samples!(n, v => put(DataType::Number(n.dtype()), v.len(), v.as_ptr().cast()))
            }
        }
    }

    pub(super) fn rename_attr(&self, group: Id, var: Id, from: &str, to: &str) -> Result<()> {
        let (from, to) = (c_text(from)?, c_text(to)?);
        // SAFETY: both names are terminated.
        call(|| unsafe { nc::nc_rename_att(group, var, from.as_ptr(), to.as_ptr()) })
    }

    pub(super) fn def_group(&self, parent: Id, name: &str) -> Result<Id> {
        let (name, mut id) = (c_text(name)?, 0);
        // SAFETY: `name` is terminated and `id` lives through the call.
        call(|| unsafe { nc::nc_def_grp(parent, name.as_ptr(), &mut id) })?;
        Ok(id)
    }

    /// Defines a dimension; `None` makes it unlimited.
    pub(super) fn def_dim(&self, group: Id, name: &str, len: Option<usize>) -> Result<Id> {
        let (name, mut id) = (c_text(name)?, 0);
        let len = len.unwrap_or(nc::NC_UNLIMITED);
        // SAFETY: as in `def_group`.
        call(|| unsafe { nc::nc_def_dim(group, name.as_ptr(), len, &mut id) })?;
        Ok(id)
    }

    /// Defines a variable; with `chunks`, one length for each dimension, it is chunked.
    pub(super) fn def_variable(
        &self,
        group: Id,
        name: &str,
        data_type: DataType,
        dims: &[Id],
        chunks: Option<&[usize]>,
        deflate: bool,
    ) -> Result<Id> {
        let (name, mut id) = (c_text(name)?, 0);
        let n_dims = c_int::try_from(dims.len()).map_err(|_| Status(nc::NC_EMAXDIMS))?;
        if chunks.is_some_and(|c| c.len() != dims.len()) {
            return Err(Status(nc::NC_EBADCHUNK));
        }
        // SAFETY: `dims` and `chunks` have `n_dims` elements, `name` is terminated, `id` lives through the calls.
        call(|| unsafe { nc::nc_def_var(group, name.as_ptr(), nc_type(data_type), n_dims, dims.as_ptr(), &mut id) })?;
        if let Some(chunks) = chunks {
            // SAFETY: as above.
            call(|| unsafe { nc::nc_def_var_chunking(group, id, nc::NC_CHUNKED, chunks.as_ptr()) })?;
        }
        if deflate {
            // SAFETY: takes numbers only.
            call(|| unsafe { nc::nc_def_var_deflate(group, id, 1, 1, 1) })?;
        }
        Ok(id)
    }

    /// Lets attributes be added after all; what is in define mode already stays so.
    pub(super) fn redefine(&self) -> Result<()> {
        // SAFETY: takes a number.
        match call(|| unsafe { nc::nc_redef(self.id) }) {
            Err(Status(nc::NC_EINDEFINE)) => Ok(()),
            done => done,
        }
    }

    /// Ends the definitions.
    pub(super) fn end_define(&self) -> Result<()> {
        // SAFETY: takes a number.
        call(|| unsafe { nc::nc_enddef(self.id) })
    }

    /// Reads a block. `start` and `count` must have one element for each dimension.
    pub(super) fn read(&self, group: Id, var: Id, start: &[usize], count: &[usize]) -> Result<Values> {
        locked(|| {
            let (data_type, len) = self.block(group, var, start, count)?;
            let get = |buffer: *mut c_void| {
                // SAFETY: `block` has checked the lengths; the callers below pass `len` elements of the variable's type.
                call(|| unsafe { nc::nc_get_vara(group, var, start.as_ptr(), count.as_ptr(), buffer) })
            };
            Ok(match data_type {
                DataType::Number(dtype) => Values::Numbers(numbers(dtype, len, get)?),
                DataType::String => Values::Strings(strings(len, get)?),
                DataType::Char => {
                    let mut bytes = vec![0u8; len];
                    get(bytes.as_mut_ptr().cast())?;
                    Values::Chars(bytes)
                }
            })
        })
    }

    /// Writes a block of the variable's own type.
    pub(super) fn write(&self, group: Id, var: Id, start: &[usize], count: &[usize], values: &Values) -> Result<()> {
        locked(|| {
            let (data_type, len) = self.block(group, var, start, count)?;
            let (given, given_len) = match values {
                Values::Numbers(n) => (DataType::Number(n.dtype()), n.len()),
                Values::Chars(v) => (DataType::Char, v.len()),
                Values::Strings(v) => (DataType::String, v.len()),
            };
            if given != data_type {
                return Err(Status(nc::NC_EBADTYPE));
            }
            if given_len != len {
                return Err(Status(nc::NC_EEDGE));
            }
            let put = |data: *const c_void| {
                // SAFETY: the buffer holds `len` elements of the variable's type, as just checked.
                call(|| unsafe { nc::nc_put_vara(group, var, start.as_ptr(), count.as_ptr(), data) })
            };
            match values {
                Values::Numbers(n) => match_samples!(n, v => put(v.as_ptr().cast())),
                Values::Chars(v) => put(v.as_ptr().cast()),
                Values::Strings(v) => with_pointers(v, |pointers| put(pointers.as_ptr().cast())),
            }
        })
    }

    /// The type of a variable and the number of elements of a block of it, checked against its number of dimensions.
    fn block(&self, group: Id, var: Id, start: &[usize], count: &[usize]) -> Result<(DataType, usize)> {
        let info = self.variable(group, var)?;
        let data_type = data_type(info.xtype).ok_or(Status(nc::NC_EBADTYPE))?;
        if start.len() != info.dims.len() || count.len() != info.dims.len() {
            return Err(Status(nc::NC_EINVALCOORDS));
        }
        let len = count.iter().try_fold(1usize, |n, c| n.checked_mul(*c)).ok_or(Status(nc::NC_EEDGE))?;
        Ok((data_type, len))
    }
}

/// Places in the hash table of a chunk cache, and how eagerly chunks that were used whole are dropped: libnetcdf's own.
const CACHE_SLOTS: usize = 1009;
const PREEMPTION: f32 = 0.75;

/// `len` numbers that `get` fills in.
fn numbers(dtype: Dtype, len: usize, get: impl FnOnce(*mut c_void) -> Result<()>) -> Result<Samples> {
    match_dtype!(dtype, T => {
        let mut v = vec![T::default(); len];
        get(v.as_mut_ptr().cast())?;
        Ok(T::wrap(v))
    })
}

/// `len` strings that `get` fills in as pointers owned by libnetcdf.
fn strings(len: usize, get: impl FnOnce(*mut c_void) -> Result<()>) -> Result<Vec<String>> {
    let mut pointers: Vec<*mut c_char> = vec![ptr::null_mut(); len];
    get(pointers.as_mut_ptr().cast())?;
    let texts = pointers.iter().map(|p| match p.is_null() {
        true => String::new(),
        // SAFETY: what is not null is a terminated text, alive until nc_free_string.
        false => decode(unsafe { CStr::from_ptr(*p) }.to_bytes().to_vec()),
    });
    let texts = texts.collect();
    // SAFETY: libnetcdf allocated these and nobody uses them any more.
    call(|| unsafe { nc::nc_free_string(len, pointers.as_mut_ptr()) })?;
    Ok(texts)
}

/// Hands `body` pointers to terminated copies of `texts`.
fn with_pointers(texts: &[String], body: impl FnOnce(&[*const c_char]) -> Result<()>) -> Result<()> {
    let owned: Vec<_> = texts
        .iter()
        .map(|t| CString::new(t.as_str()))
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| Status(nc::NC_ECHAR))?;
    let pointers: Vec<_> = owned.iter().map(|t| t.as_ptr()).collect();
    body(&pointers)
}

/// UTF-8, or Latin-1 where it is not.
pub(super) fn decode(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| e.into_bytes().into_iter().map(char::from).collect())
}
