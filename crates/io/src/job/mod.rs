//! Whole files: what the command line and the Python package run.

pub mod append;
pub mod at;
mod certificate;
pub mod chunks;
pub mod compress;
pub mod decompress;
pub mod information;
pub mod ordered;
mod report;
pub mod select;
pub mod verify;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};
use crate::zarr::ZarrSource;
use crate::{location, remote};

/// What a running job tells about itself, after each chunk.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Variable in hand.
    pub variable: &'a str,
    /// Uncompressed bytes done since the last report.
    pub raw_bytes: u64,
    /// Compressed bytes that they became, or came from.
    pub coded_bytes: u64,
}

/// Fails unless `out` may be written: it must not exist, or `force` must be given and it be a file or a Zarr store. At a URL only a
/// single object can be replaced.
///
/// # Errors
/// [`Error::Invalid`], naming what is there.
pub fn check_output(out: &Path, force: bool) -> Result<()> {
    if location::is_url(out) {
        return remote::check_output(out, location::ends_with(out, "zarr"), force);
    }
    let Ok(meta) = std::fs::symlink_metadata(out) else { return Ok(()) };
    if !force {
        return Err(Error::invalid("the output exists; give -f to replace it", out.display()));
    }
    if meta.is_file() || (meta.is_dir() && ZarrSource::is_store(out)) {
        return Ok(());
    }
    Err(Error::invalid("the output is neither a file nor a Zarr store, and will not be replaced", out.display()))
}

/// How a job runs.
pub struct Context<'a> {
    /// Worker threads, at least 1.
    pub threads: usize,
    /// Called from the job's own thread.
    pub progress: &'a dyn Fn(Progress<'_>),
    /// Set it to stop the job; it then returns [`Error::Interrupted`].
    pub stop: &'a Arc<AtomicBool>,
}

impl Context<'_> {
    /// Fails once a stop was asked for.
    pub fn check(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// Runs an encode on this thread, which ends early once `stop` is set.
fn encoding<T>(stop: &Arc<AtomicBool>, work: impl FnOnce() -> lithify_codec::Result<T>) -> Result<T> {
    Ok(lithify_codec::stop::unless(stop, work)?)
}
