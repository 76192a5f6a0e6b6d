//! The table of formats: which reader opens a path, which writer makes one.

use std::path::Path;

use crate::error::{Error, Result};
use crate::model::{Sink, Source};
use crate::{grib, netcdf, npy, zarr};

/// Starts a file under a temporary name.
pub type Create = fn(&Path) -> Result<Box<dyn Sink>>;

/// One row of the format table.
pub struct Format {
    /// Name for people.
    pub name: &'static str,
    /// File name endings, without the dot.
    pub endings: &'static [&'static str],
    /// Whether a path that exists is of this format, from its first bytes (or, for a directory, its contents).
    pub detect: fn(path: &Path, head: &[u8]) -> bool,
    /// Opens it.
    pub open: fn(&Path) -> Result<Box<dyn Source>>,
    /// Starts writing plain values, not compressed by us; `None` if the format is only read.
    pub create: Option<Create>,
}

/// Every format, in the order of detection.
pub const FORMATS: &[Format] = &[zarr::FORMAT, netcdf::FORMAT, npy::FORMAT, grib::FORMAT];

/// Opens a file or store by what it is, not by its name.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, [`Error::Unsupported`] if no format fits.
pub fn open(path: &Path) -> Result<Box<dyn Source>> {
    let meta = std::fs::metadata(path).map_err(Error::io(path))?;
    let mut head = Vec::new();
    if meta.is_file() {
        use std::io::Read;
        let file = std::fs::File::open(path).map_err(Error::io(path))?;
        file.take(512).read_to_end(&mut head).map_err(Error::io(path))?;
    }
    match FORMATS.iter().find(|f| (f.detect)(path, &head)) {
        Some(f) => (f.open)(path),
        None if head.is_empty() && meta.is_file() => Err(Error::corrupt(path, "the file is empty")),
        None => Err(Error::unsupported(path, format!("not one of {}", names()))),
    }
}

/// Starts a file of the format that the path's ending names.
///
/// # Errors
/// [`Error::Invalid`] if no writer has that ending.
pub fn create(path: &Path) -> Result<Box<dyn Sink>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let row = FORMATS.iter().find(|f| f.create.is_some() && f.endings.iter().any(|e| name.ends_with(&format!(".{e}"))));
    match row.and_then(|f| f.create) {
        Some(create) => create(path),
        None => {
            let endings: Vec<_> = FORMATS
                .iter()
                .filter(|f| f.create.is_some())
                .flat_map(|f| f.endings)
                .map(|e| format!(".{e}"))
                .collect();
            Err(Error::invalid(format!("the output's ending must be one of {}", endings.join(", ")), path.display()))
        }
    }
}

fn names() -> String {
    FORMATS.iter().map(|f| f.name).collect::<Vec<_>>().join(", ")
}
