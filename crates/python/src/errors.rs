//! Errors of the library as Python's: one place where each kind finds its type.

use lithify_codec::Error as Codec;
use lithify_io::Error as Io;
use pyo3::PyErr;
use pyo3::create_exception;
use pyo3::exceptions::{
    PyBlockingIOError, PyEOFError, PyKeyboardInterrupt, PyLookupError, PyMemoryError, PyNotImplementedError, PyOSError,
    PyValueError,
};

create_exception!(lithify, CorruptError, PyValueError, "The bytes contradict themselves: the data are damaged.");
create_exception!(lithify, BoundError, PyValueError, "A bound does not hold, or cannot be reached.");

/// The Python exception for an error of the codec.
pub fn codec(e: Codec) -> PyErr {
    let text = e.to_string();
    match e {
        Codec::Unsupported { .. } => PyNotImplementedError::new_err(text),
        Codec::Truncated { .. } => PyEOFError::new_err(text),
        Codec::Corrupt { .. } => CorruptError::new_err(text),
        Codec::Limit { .. } => PyMemoryError::new_err(text),
        Codec::Model { .. } => PyLookupError::new_err(text),
        _ => PyValueError::new_err(text),
    }
}

/// The Python exception for an error of reading, writing or a job.
pub fn io(e: Io) -> PyErr {
    let text = e.to_string();
    match e {
        Io::Codec(e) => codec(e),
        Io::Unsupported { .. } => PyNotImplementedError::new_err(text),
        Io::Corrupt { .. } => CorruptError::new_err(text),
        Io::Broken(_) | Io::Unreachable(_) => BoundError::new_err(text),
        Io::Busy(_) => PyBlockingIOError::new_err(text),
        Io::Interrupted => PyKeyboardInterrupt::new_err(()),
        // With a number of the system, Python chooses FileNotFoundError and the like by itself.
        Io::Io { path, reason } => match reason.raw_os_error() {
            Some(code) => PyOSError::new_err((code, reason.to_string(), path)),
            None => PyOSError::new_err(text),
        },
        _ => PyValueError::new_err(text),
    }
}
