//! Files to arrays with names, units and missing values, and back.

pub mod atomic;
pub mod coded;
pub mod error;
pub mod formats;
pub mod grib;
pub mod horizontal;
pub mod job;
pub mod learned;
pub mod location;
pub mod model;
pub mod netcdf;
pub mod npy;
pub mod policy;
pub mod raster;
pub mod remote;
mod temporary;
pub mod zarr;

pub use error::{Error, Result};
