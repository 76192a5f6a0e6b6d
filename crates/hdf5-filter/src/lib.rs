//! Lithify as an HDF5 filter: HDF5 hands over a chunk's bytes, and gets a payload (`docs/format.md`); and back.
//!
//! Built as `liblithify_hdf5.so`, it is a plugin that HDF5 finds by itself in `HDF5_PLUGIN_PATH`. HDF5 is not linked: what is
//! needed of it is looked up in the very library that calls (`hdf5`). `lithify-io` registers the same filter in its own HDF5.
//!
//! # Shapes
//! HDF5's chunks are all of one shape, padded where the dataset ends inside. A payload may be smaller: what lies beyond it in
//! the chunk is the fill value. See [`chunk`].
//!
//! # Parameters
//! [`params`]: what users give, and what is added to it when a dataset is created.

mod change;
pub mod chunk;
mod hdf5;
mod kept;
mod memory;
pub mod params;
pub mod plugin;

pub use params::{Dataset, Params};

/// The filter's number, from the range 256 to 511 that HDF5 leaves to everybody: it is not registered with The HDF Group.
pub const ID: u32 = 332;
/// What HDF5's tools print for the filter.
pub const NAME: &std::ffi::CStr = c"lithify";
