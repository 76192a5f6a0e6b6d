//! NetCDF-3 and NetCDF-4 files through libnetcdf.
//!
//! # Shapes
//! As in the file. User-defined types (compound, enum, vlen, opaque) have no place in our model: variables and
//! attributes of them are left out, and [`Source::warnings`](crate::model::Source::warnings) names them.

mod cache;
mod classic;
mod coded;
mod ffi;
mod read;
mod write;

#[cfg(test)]
mod tests;

use std::path::Path;

use crate::error::Error;
use crate::formats::Format;

pub(crate) use write::Writer;

/// This format's row.
pub const FORMAT: Format = Format {
    name: "NetCDF",
    endings: &["nc", "nc4", "cdf", "netcdf"],
    detect: |_, head| [b"CDF\x01", b"CDF\x02", b"CDF\x05", b"\x89HDF"].iter().any(|magic| head.starts_with(*magic)),
    open: |path| Ok(Box::new(read::Reader::open(path)?)),
    create: Some(|path| Ok(Box::new(Writer::create(path)?))),
};

/// The system's own error, if that is what libnetcdf passed on.
fn system(path: &Path, status: ffi::Status) -> Option<Error> {
    (status.0 > 0).then(|| Error::Io { path: path.into(), reason: std::io::Error::from_raw_os_error(status.0) })
}
