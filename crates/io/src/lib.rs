//! Files to arrays with names, units and missing values, and back.

pub mod error;
pub mod formats;
pub mod model;
pub mod zarr;

pub use error::{Error, Result};
