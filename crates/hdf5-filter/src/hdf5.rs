//! The HDF5 that calls: what the plugin needs of it, looked up while it runs.
//!
//! A process may have several HDF5 libraries (the wheels of h5py and netCDF4 bring one each), and numbers of one mean something
//! else in another. So the library is the one that holds the function which called us: the first return address outside this file.
//! Functions count only if they lie in that very library. Where they cannot be found (HDF5 linked into a program with its symbols
//! hidden), a dataset must come with all parameters.
//!
//! # Safety
//! The functions have been the same since HDF5 1.10, but for their numbers of 64 bits since 1.8, where lower 32 bits were all.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::ptr::null_mut;

use lithify_codec::pipeline::MAX_DIMS;
use lithify_codec::{Dtype, Error, Result};

use crate::chunk::fill_bits;
use crate::params::{Dataset, Params};
use crate::{ID, NAME};

/// hid_t
pub type Id = i64;
/// More parameters than HDF5 asks for at once.
const MOST_VALUES: usize = 256;
/// H5S_MAX_RANK
const MAX_RANK: usize = 32;
const INTEGER: c_int = 0;
const FLOAT: c_int = 1;
const LITTLE: c_int = 0;
const BIG: c_int = 1;
const UNSIGNED: c_int = 0;
const UNDEFINED: c_int = 0;
const USER_DEFINED: c_int = 2;

/// A library in this process.
#[derive(Clone, Copy)]
struct Library {
    handle: *mut c_void,
    base: *mut c_void,
}

impl Library {
    /// The one that called us.
    #[cfg(any(target_env = "gnu", target_os = "macos"))]
    fn caller() -> Option<Self> {
        let mut frames = [null_mut(); 64];
        // SAFETY: the buffer has so many places.
        let n = unsafe { libc::backtrace(frames.as_mut_ptr(), frames.len() as c_int) };
        let own = file_of(NAME.as_ptr().cast_mut().cast())?.dli_fbase;
        let frames = frames.iter().take(usize::try_from(n).unwrap_or(0));
        let info = frames.filter_map(|at| file_of(*at)).find(|i| i.dli_fbase != own && !is_runtime(i))?;
        // SAFETY: a terminated path from the loader itself; nothing new is loaded.
        let handle = unsafe { libc::dlopen(info.dli_fname, libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
        // The program itself cannot be opened by its name.
        let handle = if handle.is_null() { libc::RTLD_DEFAULT } else { handle };
        Some(Self { handle, base: info.dli_fbase })
    }

    #[cfg(not(any(target_env = "gnu", target_os = "macos")))]
    fn caller() -> Option<Self> {
        None
    }

    /// The function or variable of that name, if it lies in this library.
    fn find(self, name: &CStr) -> Option<*mut c_void> {
        // SAFETY: a handle from above and a terminated name.
        let found = unsafe { libc::dlsym(self.handle, name.as_ptr()) };
        (!found.is_null() && file_of(found)?.dli_fbase == self.base).then_some(found)
    }
}

/// The loaded file that holds an address.
fn file_of(address: *mut c_void) -> Option<libc::Dl_info> {
    // SAFETY: all zeros are null pointers, which the type allows.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: any address may be asked about; `info` lives through the call.
    let known = unsafe { libc::dladdr(address, &mut info) };
    (known != 0 && !info.dli_fname.is_null()).then_some(info)
}

/// What lies between us and our caller in a walk over the stack: the C library, or the unwinder.
fn is_runtime(info: &libc::Dl_info) -> bool {
    // SAFETY: `file_of` has checked that there is a name, and the loader's names are terminated.
    let path = unsafe { CStr::from_ptr(info.dli_fname) }.to_string_lossy();
    let file = path.rsplit('/').next().unwrap_or_default();
    ["libc.", "libc-", "libgcc_s", "libunwind", "libSystem"].iter().any(|name| file.starts_with(name))
}

/// Declares the functions by their C signatures, and where to find them.
macro_rules! functions {
    ($($field:ident: $name:literal fn($($arg:ty),*) -> $ret:ty;)*) => {
        /// The functions of one HDF5.
        struct Functions {
            $($field: unsafe extern "C" fn($($arg),*) -> $ret,)*
        }
        impl Functions {
            fn of(library: Library) -> Option<Self> {
                Some(Self {
                    // SAFETY: HDF5's manual gives the function of this name this type.
                    $($field: unsafe {
                        std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($arg),*) -> $ret>(library.find($name)?)
                    },)*
                })
            }
        }
    };
}

functions! {
    filter_by_id: c"H5Pget_filter_by_id2" fn(Id, c_int, *mut c_uint, *mut usize, *mut c_uint, usize, *mut c_char, *mut c_uint) -> c_int;
    modify_filter: c"H5Pmodify_filter" fn(Id, c_int, c_uint, usize, *const c_uint) -> c_int;
    chunk: c"H5Pget_chunk" fn(Id, c_int, *mut u64) -> c_int;
    fill_defined: c"H5Pfill_value_defined" fn(Id, *mut c_int) -> c_int;
    fill_value: c"H5Pget_fill_value" fn(Id, Id, *mut c_void) -> c_int;
    class: c"H5Tget_class" fn(Id) -> c_int;
    size: c"H5Tget_size" fn(Id) -> usize;
    precision: c"H5Tget_precision" fn(Id) -> usize;
    order: c"H5Tget_order" fn(Id) -> c_int;
    sign: c"H5Tget_sign" fn(Id) -> c_int;
    exponent_bias: c"H5Tget_ebias" fn(Id) -> usize;
}

/// Adds to the parameters in a property list for new datasets what a dataset of that type is.
pub(crate) fn complete(plist: Id, data_type: Id) -> Result<()> {
    let Some(f) = Library::caller().and_then(Functions::of) else {
        // Whoever gave nothing now is told when the first chunk comes.
        return Ok(());
    };
    let failed = |what: &str| Error::invalid("HDF5 filter lithify: HDF5 does not tell", what);
    let (mut flags, mut n, mut values) = (0, MOST_VALUES, [0; MOST_VALUES]);
    // SAFETY: `values` has `n` places, neither name nor configuration are asked for, and the numbers are the caller's own.
    let done = unsafe {
        (f.filter_by_id)(plist, ID as c_int, &mut flags, &mut n, values.as_mut_ptr(), 0, null_mut(), null_mut())
    };
    let values = values.get(..n).filter(|_| done >= 0).ok_or_else(|| failed("the parameters"))?;
    let mut params = Params::parse(values)?;
    let mut lengths = [0u64; MAX_RANK];
    // SAFETY: room for the most dimensions that HDF5 has.
    let n = unsafe { (f.chunk)(plist, MAX_RANK as c_int, lengths.as_mut_ptr()) };
    let n = usize::try_from(n).ok().filter(|n| *n <= MAX_RANK).ok_or_else(|| failed("the shape of a chunk"))?;
    let mut chunk: Vec<usize> = lengths[..n].iter().map(|n| *n as usize).collect();
    while chunk.len() > MAX_DIMS {
        let first = chunk.remove(0);
        chunk[0] = chunk[0].saturating_mul(first);
    }
    params.dataset = Some(match number(&f, data_type) {
        Some((dtype, big_endian)) => {
            let (mut status, mut fill) = (0, [0u8; 8]);
            // SAFETY: `status` lives through the call.
            let told = unsafe { (f.fill_defined)(plist, &mut status) } >= 0 && status != UNDEFINED;
            // SAFETY: `fill` has room for the largest of these types.
            if told && unsafe { (f.fill_value)(plist, data_type, fill.as_mut_ptr().cast()) } < 0 {
                return Err(failed("the fill value"));
            }
            let fill = fill_bits(dtype, big_endian, &fill);
            Dataset { dtype, big_endian, fill, fill_is_missing: told && status == USER_DEFINED, chunk }
        }
        // SAFETY: takes the caller's number of a type.
        None if params.promise.is_lossless() => match unsafe { (f.size)(data_type) } {
            0 => return Err(failed("the size of a value")),
            size => {
                let n = chunk.iter().fold(1usize, |n, c| n.saturating_mul(*c));
                Dataset { dtype: Dtype::U8, big_endian: false, fill: 0, fill_is_missing: false, chunk: vec![n, size] }
            }
        },
        None => {
            let what = "HDF5 filter lithify: only integers of 8 to 64 bits and IEEE floats of 32 or 64 take a bound, not those of this type";
            return Err(Error::invalid(what, &params.promise));
        }
    });
    let values = params.to_values()?;
    // What cannot be is said now, not when the first chunk is written, which HDF5 may keep to itself.
    let params = Params::parse(&values)?;
    params.dataset.as_ref().map_or(Ok(()), |d| params.spec(d).map(drop))?;
    // SAFETY: so many values.
    let done = unsafe { (f.modify_filter)(plist, ID as c_int, flags, values.len(), values.as_ptr()) };
    if done < 0 { Err(failed("whether it took the parameters")) } else { Ok(()) }
}

/// Sample type of an HDF5 type, and whether high bytes come first; `None` for what is no number of ours.
fn number(f: &Functions, id: Id) -> Option<(Dtype, bool)> {
    // SAFETY: these take the caller's number of a type and return numbers.
    let (class, size) = unsafe { ((f.class)(id), (f.size)(id)) };
    if class != INTEGER && class != FLOAT {
        return None;
    }
    // SAFETY: as above; these are for numbers.
    let (precision, order) = unsafe { ((f.precision)(id), (f.order)(id)) };
    if precision != size * 8 || (order != LITTLE && order != BIG) {
        return None;
    }
    let dtype = if class == FLOAT {
        // SAFETY: as above; this one is for floating-point numbers.
        match (size, unsafe { (f.exponent_bias)(id) }) {
            (4, 127) => Dtype::F32,
            (8, 1023) => Dtype::F64,
            _ => return None,
        }
    } else {
        // SAFETY: as above; this one is for integers.
        match (size, unsafe { (f.sign)(id) }) {
            (1, UNSIGNED) => Dtype::U8,
            (2, UNSIGNED) => Dtype::U16,
            (4, UNSIGNED) => Dtype::U32,
            (8, UNSIGNED) => Dtype::U64,
            (1, _) => Dtype::I8,
            (2, _) => Dtype::I16,
            (4, _) => Dtype::I32,
            (8, _) => Dtype::I64,
            _ => return None,
        }
    };
    Some((dtype, order == BIG && size > 1))
}

/// Says what went wrong: on stderr, and to HDF5, which hands it on to those who ask (h5py does).
pub(crate) fn report(what: &str) {
    eprintln!("lithify: {what}");
    let Ok(text) = CString::new(what.replace('\0', " ")) else { return };
    let Some(library) = Library::caller() else { return };
    // herr_t H5Epush2(stack, file, function, line, class, major, minor, format, ...)
    type Push = unsafe extern "C" fn(Id, *const c_char, *const c_char, c_uint, Id, Id, Id, *const c_char, ...) -> c_int;
    type Version = unsafe extern "C" fn(*mut c_uint, *mut c_uint, *mut c_uint) -> c_int;
    let names = [c"H5E_ERR_CLS_g", c"H5E_PLINE_g", c"H5E_CANTFILTER_g"];
    let [Some(class), Some(major), Some(minor)] = names.map(|name| library.find(name)) else { return };
    let (Some(push), Some(version)) = (library.find(c"H5Epush2"), library.find(c"H5get_libversion")) else { return };
    // SAFETY: HDF5's manual gives the functions of these names these types.
    let (push, version) = unsafe {
        (std::mem::transmute::<*mut c_void, Push>(push), std::mem::transmute::<*mut c_void, Version>(version))
    };
    let (mut of_major, mut of_minor, mut release) = (0, 0, 0);
    // SAFETY: the numbers live through the call.
    let known = unsafe { version(&mut of_major, &mut of_minor, &mut release) } >= 0;
    if !known || (of_major, of_minor) < (1, 10) {
        return; // numbers had 32 bits
    }
    // SAFETY: the variables are numbers of 64 bits; all texts are terminated, and the format takes one text. Stack 0 is the current one.
    unsafe {
        let id = |at: *mut c_void| at.cast::<Id>().read();
        push(
            0,
            c"lithify".as_ptr(),
            c"filter".as_ptr(),
            0,
            id(class),
            id(major),
            id(minor),
            c"%s".as_ptr(),
            text.as_ptr(),
        );
    }
}
