//! Payloads of a variable that waits to be found good.

use std::fs::File;
use std::io::{Read, Seek, Write};

use crate::error::{Error, Result};
use crate::job::chunks::ChunkAt;

/// Payloads in a file without a name, in the order of the grid.
pub(super) struct Spool {
    file: File,
    lengths: Vec<usize>,
}

impl Spool {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { file: tempfile::tempfile().map_err(Error::io(std::env::temp_dir()))?, lengths: Vec::new() })
    }

    /// Bytes of all payloads.
    pub(super) fn len(&self) -> u64 {
        self.lengths.iter().map(|n| *n as u64).sum()
    }

    pub(super) fn push(&mut self, payload: &[u8]) -> Result<()> {
        self.lengths.push(payload.len());
        self.file.write_all(payload).map_err(Error::io(std::env::temp_dir()))
    }

    pub(super) fn pour(mut self, grid: &[ChunkAt], mut put: impl FnMut(&ChunkAt, Vec<u8>) -> Result<()>) -> Result<()> {
        self.file.rewind().map_err(Error::io(std::env::temp_dir()))?;
        for (at, n) in grid.iter().zip(self.lengths) {
            let mut payload = vec![0; n];
            self.file.read_exact(&mut payload).map_err(Error::io(std::env::temp_dir()))?;
            put(at, payload)?;
        }
        Ok(())
    }
}
