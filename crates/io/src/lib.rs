//! Files to arrays with names, units and missing values, and back.

pub mod error;
pub mod formats;
pub mod job;
pub mod model;
pub mod policy;
pub mod zarr;

pub use error::{Error, Result};
