//! The native half of the Python package: arrays in, payloads out, and the jobs over whole files. Everything that is convenient
//! is in Python, beside it.
//!
//! Long calls release the interpreter; Ctrl-C ends them, and nothing is left behind.

mod arrays;
mod chunk;
mod distributed;
mod errors;
mod jobs;
mod plan;
mod source;
mod tree;

use pyo3::prelude::*;

/// Native functions of the package `lithify`; see there.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::chunk::{compare, decode, decode_many, encode, encode_many, field_stats, header, join, pack};
    #[pymodule_export]
    use super::distributed::{bit_pairs, check_output, judge, mantissa_bits, outline, shard, skeleton, unshard};
    #[pymodule_export]
    use super::errors::{BoundError, CorruptError};
    #[pymodule_export]
    use super::jobs::{append, append_file, compress, compress_file, decompress_file, verify_store};
    #[pymodule_export]
    use super::plan::{configure, plan};
    #[pymodule_export]
    use super::source::Source;

    use super::*;

    #[pymodule_init]
    fn init(m: &Bound<'_, PyModule>) -> PyResult<()> {
        m.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
