//! Zarr: version 3 and 2 are read, version 3 is written; a directory or a zip file.
//!
//! Variables that a [`Layout`] names are coded by the codec `lithify` ([`codec`]), all others by codecs that every Zarr reader
//! has. Metadata follow what xarray expects; what JSON cannot say is kept beside it in the attribute `lithify_model`. Bytes of
//! text (NC_CHAR) are stored as `uint8`, since Zarr has no settled type for them.
//!
//! Stores with arrays of `lithify` have no consolidated metadata: zarr-python parses these at once, and without a plugin for the
//! codec it would refuse the arrays that it can open too.

mod append;
mod attrs;
pub mod codec;
mod foreign;
mod metadata;
mod nodes;
mod plain;
mod read;
pub mod shard;
mod store;
#[cfg(test)]
mod tests;
mod write;

use serde_json::Value;

use crate::formats::Format;

pub use append::ZarrAppender;
pub use codec::{configuration_of, spec_of};
pub use read::ZarrSource;
pub use write::ZarrWriter;

/// The row of the format table.
pub const FORMAT: Format = Format {
    name: "Zarr",
    endings: &["zarr", "zarr.zip"],
    detect: store::detect,
    open: |path| Ok(Box::new(ZarrSource::open(path)?)),
    create: Some(|path| Ok(Box::new(ZarrWriter::create(path)?))),
};

/// How the codec `lithify` stores a variable.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// Shape of a chunk: what one payload holds.
    pub chunk: Vec<usize>,
    /// Shape of a shard, a multiple of the chunk's: what one file holds. `None` for a file per chunk.
    pub shard: Option<Vec<usize>>,
    /// Configuration of the codec, see [`codec`].
    pub configuration: Value,
}
