//! Coded chunks as they are in a NetCDF-4 file: calls into the HDF5 below libnetcdf, each made safe.
//!
//! libnetcdf knows filters, but neither gives nor takes a chunk that went through them. HDF5 does; it is the same library, and
//! the same open file, whose number in HDF5 is the one that was not there before libnetcdf opened it.
//!
//! # Safety
//! As in [`super::ffi`]: one lock for both libraries, and HDF5 checks every number that it gets. What is opened here is closed here.
#![allow(unsafe_code)]

use std::ffi::{CString, c_int, c_uint, c_void};
use std::ptr;
use std::sync::OnceLock;

use hdf5_metno_sys::{h5::HADDR_UNDEF, h5d, h5f, h5i::hid_t, h5l, h5z};
use lithify_hdf5::plugin::CLASS;
use netcdf_sys as nc;

use super::ffi::{File, Id, Status, call, locked};

type Result<T> = std::result::Result<T, Status>;

/// What libnetcdf puts before the name of a variable that has a dimension's name and is not its coordinate.
const NO_COORDINATE: &str = "_nc4_non_coord_";
const FAILED: Status = Status(nc::NC_EHDFERR);

/// A chunk as it is stored.
pub(super) struct Stored {
    pub(super) bytes: Vec<u8>,
    /// HDF5 left the filter out for this chunk.
    pub(super) plain: bool,
}

/// Makes the filter known to the HDF5 of this program, so that no plugin is needed.
pub(super) fn register() -> Result<()> {
    static DONE: OnceLock<c_int> = OnceLock::new();
    // SAFETY: the class is one of HDF5's own form and lives as long as the program.
    let done = *DONE.get_or_init(|| locked(|| unsafe { h5z::H5Zregister((&raw const CLASS).cast()) }));
    if done < 0 { Err(FAILED) } else { Ok(()) }
}

/// Numbers of all files that HDF5 has open.
pub(super) fn open_files() -> Vec<hid_t> {
    let all = hid_t::from(h5f::H5F_OBJ_ALL);
    locked(|| {
        // SAFETY: takes numbers.
        let n = unsafe { h5f::H5Fget_obj_count(all, h5f::H5F_OBJ_FILE) };
        let mut ids = vec![0; usize::try_from(n).unwrap_or(0)];
        // SAFETY: room for as many as were counted under the same lock.
        let n = unsafe { h5f::H5Fget_obj_ids(all, h5f::H5F_OBJ_FILE, ids.len(), ids.as_mut_ptr()) };
        ids.truncate(usize::try_from(n).unwrap_or(0));
        ids
    })
}

/// An open dataset; closed when dropped.
struct Dataset(hid_t);

impl Drop for Dataset {
    fn drop(&mut self) {
        // SAFETY: a number that nobody else has.
        locked(|| unsafe { h5d::H5Dclose(self.0) });
    }
}

impl File {
    /// The dataset of a variable.
    fn dataset(&self, group: Id, var: Id) -> Result<Dataset> {
        locked(|| {
            let file = self.hdf5.ok_or(FAILED)?;
            let name = String::from_utf8(self.variable(group, var)?.name).map_err(|_| FAILED)?;
            let mut n = 0;
            // SAFETY: only the length is asked for.
            call(|| unsafe { nc::nc_inq_grpname_full(group, &mut n, ptr::null_mut()) })?;
            let mut path = vec![0u8; n + 1];
            // SAFETY: room for so many bytes and the end.
            call(|| unsafe { nc::nc_inq_grpname_full(group, &mut n, path.as_mut_ptr().cast()) })?;
            let group = String::from_utf8(path[..n].to_vec()).map_err(|_| FAILED)?;
            let group = group.trim_end_matches('/');
            let full = |name: String| CString::new(format!("{group}/{name}")).map_err(|_| FAILED);
            // A dimension may have the plain name.
            let hidden = full(format!("{NO_COORDINATE}{name}"))?;
            // SAFETY: a file's number and a terminated path.
            let is_hidden = unsafe { h5l::H5Lexists(file, hidden.as_ptr(), 0) } > 0;
            let path = if is_hidden { hidden } else { full(name)? };
            // SAFETY: as above; 0 is H5P_DEFAULT.
            let id = unsafe { h5d::H5Dopen2(file, path.as_ptr(), 0) };
            if id < 0 { Err(FAILED) } else { Ok(Dataset(id)) }
        })
    }

    /// Gives a variable the filter, before the definitions end.
    pub(super) fn def_filter(&self, group: Id, var: Id, values: &[u32]) -> Result<()> {
        // SAFETY: so many values.
        call(|| unsafe { nc::nc_def_var_filter(group, var, lithify_hdf5::ID, values.len(), values.as_ptr()) })
    }

    /// The filter's parameters, if it is the variable's only filter.
    pub(super) fn filter(&self, group: Id, var: Id) -> Result<Option<Vec<u32>>> {
        locked(|| {
            let mut n = 0;
            // SAFETY: only the number is asked for.
            call(|| unsafe { nc::nc_inq_var_filter_ids(group, var, &mut n, ptr::null_mut()) })?;
            let mut ids: Vec<c_uint> = vec![0; n];
            // SAFETY: room for as many.
            call(|| unsafe { nc::nc_inq_var_filter_ids(group, var, &mut n, ids.as_mut_ptr()) })?;
            if ids != [lithify_hdf5::ID] {
                return Ok(None);
            }
            // SAFETY: as above.
            call(|| unsafe { nc::nc_inq_var_filter_info(group, var, ids[0], &mut n, ptr::null_mut()) })?;
            let mut values: Vec<c_uint> = vec![0; n];
            // SAFETY: as above.
            call(|| unsafe { nc::nc_inq_var_filter_info(group, var, ids[0], &mut n, values.as_mut_ptr()) })?;
            Ok(Some(values))
        })
    }

    /// Bits of what HDF5 fills a new variable of samples of `size` bytes with.
    pub(super) fn fill_bits(&self, group: Id, var: Id, size: usize) -> Result<u64> {
        let (mut none, mut value) = (0, [0u8; 8]);
        // SAFETY: room for the largest of the plain types.
        call(|| unsafe { nc::nc_inq_var_fill(group, var, &mut none, value.as_mut_ptr().cast::<c_void>()) })?;
        // In this machine's order.
        let whole = if cfg!(target_endian = "little") { 0..size } else { 8 - size..8 };
        let mut bits = [0u8; 8];
        bits[whole].copy_from_slice(&value[..size]);
        Ok(if none == 0 { u64::from_ne_bytes(bits) } else { 0 })
    }

    /// Sets the lengths of unlimited dimensions for one variable, as writing to its end would.
    pub(super) fn extend(&self, group: Id, var: Id, shape: &[usize]) -> Result<()> {
        let lengths: Vec<u64> = shape.iter().map(|n| *n as u64).collect();
        locked(|| {
            let dataset = self.dataset(group, var)?;
            self.rank_is(group, var, shape.len())?;
            // SAFETY: one length for each dimension, as just checked.
            if unsafe { h5d::H5Dset_extent(dataset.0, lengths.as_ptr()) } < 0 { Err(FAILED) } else { Ok(()) }
        })
    }

    /// Stores a chunk that went through the filter already. `start` is its first element.
    pub(super) fn write_chunk(&self, group: Id, var: Id, start: &[usize], payload: &[u8]) -> Result<()> {
        let start: Vec<u64> = start.iter().map(|n| *n as u64).collect();
        locked(|| {
            self.rank_is(group, var, start.len())?;
            let dataset = self.dataset(group, var)?;
            // SAFETY: one number for each dimension, and a buffer of that length.
            let done =
                unsafe { h5d::H5Dwrite_chunk(dataset.0, 0, 0, start.as_ptr(), payload.len(), payload.as_ptr().cast()) };
            if done < 0 { Err(FAILED) } else { Ok(()) }
        })
    }

    /// A chunk as it is stored; `None` if it never was.
    pub(super) fn read_chunk(&self, group: Id, var: Id, start: &[usize]) -> Result<Option<Stored>> {
        let start: Vec<u64> = start.iter().map(|n| *n as u64).collect();
        locked(|| {
            self.rank_is(group, var, start.len())?;
            let dataset = self.dataset(group, var)?;
            let (mut mask, mut at, mut n) = (0, 0, 0u64);
            // SAFETY: one number for each dimension; the others live through the call.
            let done =
                unsafe { h5d::H5Dget_chunk_info_by_coord(dataset.0, start.as_ptr(), &mut mask, &mut at, &mut n) };
            if done < 0 {
                return Err(FAILED);
            }
            if at == HADDR_UNDEF {
                return Ok(None);
            }
            let mut most = 0;
            // SAFETY: `most` lives through the call.
            let known = unsafe { h5f::H5Fget_filesize(self.hdf5.ok_or(FAILED)?, &mut most) };
            if known < 0 || n > most {
                return Err(FAILED);
            }
            let mut size = usize::try_from(n).map_err(|_| FAILED)?;
            let mut bytes = vec![0u8; size];
            // SAFETY: the buffer has as many bytes as `size` says.
            let done = unsafe {
                h5d::H5Dread_chunk(dataset.0, 0, start.as_ptr(), &mut mask, bytes.as_mut_ptr().cast(), &mut size)
            };
            if done < 0 { Err(FAILED) } else { Ok(Some(Stored { bytes, plain: mask != 0 })) }
        })
    }

    /// Bytes of all chunks of a variable.
    pub(super) fn stored_bytes(&self, group: Id, var: Id) -> Result<u64> {
        locked(|| {
            let dataset = self.dataset(group, var)?;
            // SAFETY: takes a number.
            Ok(unsafe { h5d::H5Dget_storage_size(dataset.0) })
        })
    }

    fn rank_is(&self, group: Id, var: Id, n: usize) -> Result<()> {
        if self.variable(group, var)?.dims.len() == n { Ok(()) } else { Err(Status(nc::NC_EINVALCOORDS)) }
    }
}
