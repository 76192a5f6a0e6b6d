//! How much of HDF5's chunk caches is alive: only those of the variables used last, and no more than reading or writing rows needs.
//!
//! HDF5 keeps a cache for each variable until the file is closed (64 MiB each in libnetcdf), which adds up over a file's
//! variables.

use super::ffi::{File, Id, Status};

/// What a variable has before it is read or written for the first time, and after others pushed it out.
pub(super) const IDLE_BYTES: usize = 0;
/// What all variables together may have, unless one chunk alone is larger: decoding that takes its size anyway.
const MAX_BYTES: usize = 64 << 20;

/// The variables whose caches are alive and their bytes, the last used one last.
#[derive(Default)]
pub(super) struct Caches(Vec<((Id, Id), usize)>);

impl Caches {
    /// Called before a chunked variable is read or written. The cache holds one row of chunks, so that blocks of rows
    /// that do not end where chunks do decode each chunk once.
    pub(super) fn touch(
        &mut self,
        file: &File,
        at: (Id, Id),
        shape: &[usize],
        chunks: &[usize],
        size: usize,
    ) -> Result<(), Status> {
        if let Some(i) = self.0.iter().position(|x| x.0 == at) {
            self.0[i..].rotate_left(1);
            return Ok(());
        }
        let chunk = chunks.iter().fold(size, |n, c| n.saturating_mul(*c));
        let across = shape.iter().zip(chunks).skip(1).map(|(n, c)| n.div_ceil((*c).max(1)).max(1));
        let bytes = across.fold(chunk, usize::saturating_mul).min(MAX_BYTES.max(chunk));
        while !self.0.is_empty() && self.0.iter().fold(bytes, |n, x| n.saturating_add(x.1)) > MAX_BYTES {
            let ((group, var), _) = self.0.remove(0);
            file.set_cache(group, var, IDLE_BYTES)?;
        }
        file.set_cache(at.0, at.1, bytes)?;
        self.0.push((at, bytes));
        Ok(())
    }
}
