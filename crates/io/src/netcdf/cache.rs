//! How much of HDF5's chunk caches is alive: few variables at a time, and no more than reading or writing rows needs.
//!
//! HDF5 keeps a cache for each variable until the file is closed (64 MiB each in libnetcdf), which adds up over a file's
//! variables. Here only the last few variables used keep theirs.

use super::ffi::{File, Id, Status};

/// What a variable has before it is read or written for the first time, and after others pushed it out.
pub(super) const IDLE_BYTES: usize = 0;
/// What one variable may have.
const MAX_BYTES: usize = 16 << 20;
/// How many variables have a cache at once.
const VARIABLES: usize = 3;

/// The variables whose caches are alive, the last used one last.
#[derive(Default)]
pub(super) struct Caches(Vec<(Id, Id)>);

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
        if let Some(i) = self.0.iter().position(|x| *x == at) {
            self.0[i..].rotate_left(1);
            return Ok(());
        }
        if self.0.len() == VARIABLES {
            let (group, var) = self.0.remove(0);
            file.set_cache(group, var, IDLE_BYTES)?;
        }
        let across = shape.iter().zip(chunks).skip(1).map(|(n, c)| n.div_ceil((*c).max(1)).max(1));
        let row = across.chain(chunks.iter().copied()).chain([size]).fold(1usize, usize::saturating_mul);
        file.set_cache(at.0, at.1, row.min(MAX_BYTES))?;
        self.0.push(at);
        Ok(())
    }
}
