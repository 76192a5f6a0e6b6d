//! A value at a URL as a file to read and seek in: what is small comes from blocks that read ahead, what is large is exactly fetched.

use std::collections::VecDeque;
use std::io::{Error as IoError, ErrorKind, Read, Seek, SeekFrom};

use zarrs::storage::Bytes;
use zarrs::storage::byte_range::ByteRange;

use super::Remote;
use crate::error::Result;

/// Blocks grow no larger.
const LARGEST: u64 = 256 << 10;
/// Blocks kept.
const BLOCKS: usize = 16;

/// A value read in blocks.
#[derive(Debug)]
pub(crate) struct Ranged {
    remote: Remote,
    size: u64,
    at: u64,
    /// Newest last: where they begin, and what they hold.
    blocks: VecDeque<(u64, Bytes)>,
    /// Bytes of the last block that was wanted.
    ahead: u64,
}

impl Ranged {
    /// Opens the value at the remote's own place; `None` if there is none.
    ///
    /// # Errors
    /// [`crate::Error::Io`] if the server does not answer or sends no ranges.
    pub(crate) fn open(remote: Remote) -> Result<Option<Self>> {
        let Some((first, size)) = remote.beginning("", 4)? else { return Ok(None) };
        let blocks = VecDeque::from([(0, first)]);
        Ok(Some(Self { remote, size, at: 0, blocks, ahead: 0 }))
    }

    /// The first block at a new place; the next ones double, so that a long list takes few requests and a single header few bytes.
    fn first(&self) -> u64 {
        (self.size / 1000).clamp(256, 4 << 10)
    }

    /// The last bytes come at once: a zip's directory is there.
    fn tail(&self) -> u64 {
        (self.size / 100).clamp(2 << 10, 64 << 10).min(self.size)
    }

    fn block(&mut self, wanted: u64) -> std::io::Result<&(u64, Bytes)> {
        let at = self.at;
        let holds = |(start, bytes): &(u64, Bytes)| *start <= at && at - start < bytes.len() as u64;
        if let Some(i) = self.blocks.iter().position(holds) {
            return Ok(&self.blocks[i]);
        }
        let goes_on = self.blocks.back().is_some_and(|(start, bytes)| start + bytes.len() as u64 == at);
        self.ahead = if goes_on { (self.ahead * 2).min(LARGEST) } else { self.first() };
        let (start, n) = match self.size - at {
            rest if rest <= self.tail() => (self.size - self.tail(), self.tail()),
            rest => (at, wanted.max(self.ahead).min(rest)),
        };
        let bytes = self.fetch(start, n)?;
        if self.blocks.len() == BLOCKS {
            self.blocks.pop_front();
        }
        self.blocks.push_back((start, bytes));
        self.blocks.back().filter(|block| holds(block)).ok_or_else(|| ErrorKind::UnexpectedEof.into())
    }

    fn fetch(&self, at: u64, n: u64) -> std::io::Result<Bytes> {
        let got = self.remote.ranges("", &[ByteRange::FromStart(at, Some(n))]).map_err(IoError::other)?;
        got.and_then(|mut parts| parts.pop()).ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Read for Ranged {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.at >= self.size || buf.is_empty() {
            return Ok(0);
        }
        let at = self.at;
        let (start, bytes) = self.block(buf.len() as u64)?;
        let have = &bytes[(at - start) as usize..];
        let n = have.len().min(buf.len());
        buf[..n].copy_from_slice(&have[..n]);
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Ranged {
    fn seek(&mut self, pos: SeekFrom) -> std::io::Result<u64> {
        let (base, offset) = match pos {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::End(offset) => (self.size, offset),
            SeekFrom::Current(offset) => (self.at, offset),
        };
        self.at = base.checked_add_signed(offset).ok_or(ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
