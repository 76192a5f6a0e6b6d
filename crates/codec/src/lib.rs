//! Lithify's codecs: arrays in memory to small self-describing payloads and back, with a promise about the error that is
//! checked on every value.
//!
//! A codec is a choice on four axes: [`transform`], [`quantize`], [`entropy`], and the objective that fixes their knobs
//! ([`bound`], [`spec`]). [`pipeline`] runs them on one chunk, verifies, and stores exactly what would break the promise.
//!
//! ```
//! use lithify_codec::{ChunkSpec, Samples, decode_chunk, encode_chunk};
//! let x = Samples::I32((0..1000).map(|i| i * i).collect());
//! let coded = encode_chunk(&x, &[10, 100], &ChunkSpec::lossless())?;
//! assert!(coded.bytes.len() < 2000);
//! assert_eq!(decode_chunk(&coded.bytes, &[10, 100])?, x);
//! # Ok::<(), lithify_codec::Error>(())
//! ```

pub mod auto;
pub mod bits;
pub mod block;
pub mod bound;
pub mod dtype;
pub mod entropy;
pub mod error;
pub mod information;
pub mod learned;
pub mod lossless;
pub mod mask;
pub mod objective;
pub mod pipeline;
pub mod quantize;
mod simd;
mod size;
pub mod spec;
pub mod stats;
pub mod stop;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod transform;

pub use crc32c::crc32c_append;

pub use bound::{Affine, Bound, Promise, Tolerance};
pub use dtype::{Dtype, Sample, Samples};
pub use error::{Error, Result};
pub use pipeline::{
    Encoded, Header, MAGIC, Part, Probe, between, decode_chunk, decode_region, encode_chunk, header, join, parts,
    settle,
};
pub use spec::{ChunkSpec, Codec};
pub use stats::{ErrorStats, FieldStats};
pub use transform::Region;

/// `n` copies of `value`, or an error instead of an abort when memory does not suffice.
pub(crate) fn try_vec<T: Clone>(n: usize, value: T) -> Result<Vec<T>> {
    let mut v = Vec::new();
    v.try_reserve_exact(n).map_err(|_| Error::Limit { what: "samples in memory", asked: n as u64, max: 0 })?;
    v.resize(n, value);
    Ok(v)
}

/// The worked example of the contributors' guide is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../CONTRIBUTING.md")]
struct Contributing;
