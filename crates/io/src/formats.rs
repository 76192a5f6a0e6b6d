//! The table of formats: which reader opens a path, which writer makes one.

use std::path::Path;

use crate::error::{Error, Result};
use crate::model::{Sink, Source};
use crate::zarr::ZarrSource;
use crate::{grib, location, netcdf, npy, raster, remote, zarr};

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
pub const FORMATS: &[Format] =
    &[zarr::FORMAT, netcdf::FORMAT, npy::FORMAT, raster::TIFF, raster::JPEG, raster::PNG, grib::FORMAT];

/// A file or store that is open.
pub enum Opened {
    /// A Zarr store, which can say more than a source does.
    Store(Box<ZarrSource>),
    /// Anything else.
    Other(Box<dyn Source>),
}

impl Opened {
    /// What any format can do.
    pub fn source(&self) -> &dyn Source {
        match self {
            Self::Store(store) => store.as_ref(),
            Self::Other(source) => source.as_ref(),
        }
    }

    /// The store, if it is one.
    pub fn store(&self) -> Option<&ZarrSource> {
        match self {
            Self::Store(store) => Some(store),
            Self::Other(_) => None,
        }
    }
}

/// Opens a file, a store or what is at a URL by what it is, not by its name.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, [`Error::Unsupported`] if no format fits.
pub fn open(path: &Path) -> Result<Box<dyn Source>> {
    Ok(match open_any(path)? {
        Opened::Store(store) => store,
        Opened::Other(source) => source,
    })
}

/// Like [`open`], but tells stores from files.
///
/// # Errors
/// As [`open`].
pub fn open_any(path: &Path) -> Result<Opened> {
    if location::is_url(path) {
        return open_url(path);
    }
    if ZarrSource::is_store(path) {
        return Ok(Opened::Store(Box::new(ZarrSource::open(path)?)));
    }
    open_local(path).map(Opened::Other)
}

/// A URL says by its name whether it is a file or a store; where it does not, a store is looked for first.
fn open_url(url: &Path) -> Result<Opened> {
    let files = FORMATS.iter().flat_map(|f| f.endings).filter(|e| !e.starts_with("zarr"));
    if !files.copied().any(|e| location::ends_with(url, e))
        && let Some(store) = ZarrSource::find(url)?
    {
        return Ok(Opened::Store(Box::new(store)));
    }
    match remote::fetch(url, open_local)? {
        Some(file) => Ok(Opened::Other(Box::new(file))),
        None => Err(Error::io(url)(std::io::Error::new(std::io::ErrorKind::NotFound, "there is nothing at this URL"))),
    }
}

fn open_local(path: &Path) -> Result<Box<dyn Source>> {
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
    let row = FORMATS.iter().find(|f| f.create.is_some() && f.endings.iter().any(|e| location::ends_with(path, e)));
    match row.and_then(|f| f.create) {
        // Stores know of URLs; files are sent there when they are complete.
        Some(create) if location::is_url(path) && !location::ends_with(path, "zarr") => {
            Ok(Box::new(remote::Sending::new(path, create)?))
        }
        Some(create) => create(path),
        None => {
            let endings: Vec<_> = FORMATS
                .iter()
                .filter(|f| f.create.is_some())
                .flat_map(|f| f.endings)
                .map(|e| format!(".{e}"))
                .collect();
            Err(Error::invalid(
                format!("the output's ending must be one of {}", endings.join(", ")),
                location::shown(path),
            ))
        }
    }
}

fn names() -> String {
    FORMATS.iter().map(|f| f.name).collect::<Vec<_>>().join(", ")
}
