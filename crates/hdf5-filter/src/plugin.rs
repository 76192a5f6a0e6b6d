//! What HDF5 calls: the two functions that it looks for in a plugin, and the filter's class.
//!
//! # Safety
//! * HDF5 passes `cd_nelmts` parameters, and at `*buf` a block of `*buf_size` bytes from `malloc` of which `nbytes` are in use.
//! * That block is freed and replaced only when a new one is there; on failure, said by 0, nothing is touched.
//! * No panic leaves these functions.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;

use lithify_codec::Result;

use crate::{ID, NAME, Params, chunk, hdf5};

/// HDF5's flag for reading.
pub const REVERSE: c_uint = 0x0100;
/// H5PL_TYPE_FILTER
const FILTER_PLUGIN: c_int = 0;

/// H5Z_func_t
pub type Filter = unsafe extern "C" fn(c_uint, usize, *const c_uint, usize, *mut usize, *mut *mut c_void) -> usize;
/// H5Z_set_local_func_t; H5Z_can_apply_func_t has the same shape.
pub type SetLocal = unsafe extern "C" fn(hdf5::Id, hdf5::Id, hdf5::Id) -> c_int;

/// H5Z_class2_t, the same since HDF5 1.8.
#[repr(C)]
#[derive(Debug)]
pub struct Class {
    /// H5Z_CLASS_T_VERS
    pub version: c_int,
    /// The filter's number.
    pub id: c_int,
    /// Whether it encodes.
    pub encoder_present: c_uint,
    /// Whether it decodes.
    pub decoder_present: c_uint,
    /// For people.
    pub name: *const c_char,
    /// Unused: [`set_local`] refuses what cannot be, with reasons.
    pub can_apply: Option<SetLocal>,
    /// Called when a dataset is created.
    pub set_local: Option<SetLocal>,
    /// Called for each chunk.
    pub filter: Option<Filter>,
}

// SAFETY: nothing in it ever changes, and its only pointer is to a constant.
unsafe impl Sync for Class {}

const fn class(set_local: Option<SetLocal>) -> Class {
    Class {
        version: 1,
        id: ID as c_int,
        encoder_present: 1,
        decoder_present: 1,
        name: NAME.as_ptr(),
        can_apply: None,
        set_local,
        filter: Some(filter),
    }
}

static PLUGIN: Class = class(Some(set_local));
/// For an HDF5 that is linked into the same program, where whoever creates datasets gives all parameters.
pub static CLASS: Class = class(None);

/// Tells HDF5 that this is a filter.
#[unsafe(no_mangle)]
pub extern "C" fn H5PLget_plugin_type() -> c_int {
    FILTER_PLUGIN
}

/// Tells HDF5 which.
#[unsafe(no_mangle)]
pub extern "C" fn H5PLget_plugin_info() -> *const c_void {
    (&raw const PLUGIN).cast()
}

/// Adds to a new dataset's parameters what the dataset is; negative if it is nothing for this filter.
///
/// # Safety
/// To be called by HDF5, with its numbers of a property list, a type and a space.
pub unsafe extern "C" fn set_local(plist: hdf5::Id, data_type: hdf5::Id, _space: hdf5::Id) -> c_int {
    match guarded(|| hdf5::complete(plist, data_type)) {
        Some(()) => 0,
        None => -1,
    }
}

/// Encodes or decodes one chunk; 0 if that cannot be.
///
/// # Safety
/// To be called by HDF5, with what this module's page says.
pub unsafe extern "C" fn filter(
    flags: c_uint,
    cd_nelmts: usize,
    cd_values: *const c_uint,
    nbytes: usize,
    buf_size: *mut usize,
    buf: *mut *mut c_void,
) -> usize {
    let done = guarded(|| {
        let values = match cd_nelmts {
            0 => &[][..],
            // SAFETY: HDF5 passes so many parameters.
            n => unsafe { slice::from_raw_parts(cd_values, n) },
        };
        let params = Params::parse(values)?;
        let bytes = match nbytes {
            0 => &[][..],
            // SAFETY: so many bytes are in use at `*buf`, and nobody writes to them meanwhile.
            n => unsafe { slice::from_raw_parts((*buf).cast::<u8>().cast_const(), n) },
        };
        if flags & REVERSE == 0 { chunk::encode(&params, bytes) } else { chunk::decode(&params, bytes) }
    });
    let Some(done) = done else { return 0 };
    // SAFETY: takes a number. HDF5 frees with `free` what filters return.
    let new = unsafe { libc::malloc(done.len().max(1)) };
    if new.is_null() {
        hdf5::report("there is no memory for a chunk");
        return 0;
    }
    // SAFETY: `new` has room for all of `done` and is no part of it. What was at `*buf` came from `malloc`, and `bytes` is gone.
    unsafe {
        std::ptr::copy_nonoverlapping(done.as_ptr(), new.cast::<u8>(), done.len());
        libc::free(*buf);
        *buf = new;
        *buf_size = done.len();
    }
    done.len()
}

/// Runs it; errors and panics are told and become `None`.
fn guarded<T>(body: impl FnOnce() -> Result<T>) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => Some(value),
        Ok(Err(e)) => {
            hdf5::report(&e.to_string());
            None
        }
        Err(_) => {
            hdf5::report("a defect of lithify; please report this");
            None
        }
    }
}
