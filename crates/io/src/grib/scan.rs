//! The messages of a file, found without reading their data.
//!
//! # Algorithm
//! 1. Look for `GRIB`; bulletin headers and padding before it, and between messages, are skipped.
//! 2. The total length says where the message ends; `7777` must be there.
//! 3. The sections' headers are parsed, their data stepped over.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::field::{Field, Grids};
use super::octets::{Parse, Problem, corrupt, located, unsupported};
use super::{edition1, edition2};
use crate::error::{Error, Result};

/// A file with one window of read-ahead, so that headers cost few system calls.
pub(super) struct Input<'p> {
    file: File,
    path: &'p Path,
    pub(super) len: u64,
    window_at: u64,
    window: Vec<u8>,
}

/// Bytes read ahead: most headers of a message, and not much of its data.
const WINDOW: u64 = 4096;

/// Bulletin headers and padding are no longer than this; what is longer may be a message that lost its head.
const GAP: u64 = 512;

impl<'p> Input<'p> {
    pub(super) fn open(path: &'p Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path))?;
        let len = file.metadata().map_err(Error::io(path))?.len();
        Ok(Self { file, path, len, window_at: 0, window: Vec::new() })
    }

    /// `n` bytes at `at`. What lies past the end of the file is refused before anything is allocated.
    fn bytes(&mut self, at: u64, n: u64) -> Parse<&[u8]> {
        let end = at.saturating_add(n);
        if end > self.len {
            return corrupt(format!("the file ends at byte {}, {n} bytes are wanted at {at}", self.len));
        }
        if at < self.window_at || end > self.window_at + self.window.len() as u64 {
            let take = n.max(WINDOW.min(self.len - at));
            let mut read = || {
                self.window.clear();
                self.file.seek(SeekFrom::Start(at))?;
                (&mut self.file).take(take).read_to_end(&mut self.window)
            };
            read().map_err(|e| Problem::Failed(Error::io(self.path)(e)))?;
            self.window_at = at;
        }
        let start = (at - self.window_at) as usize;
        match self.window.get(start..start + n as usize) {
            Some(bytes) => Ok(bytes),
            None => corrupt("the file shrank while it was read"),
        }
    }

    /// Where `GRIB` is next, from `at` on, with an edition that is a number and not more text.
    fn find(&mut self, mut at: u64) -> Parse<Option<u64>> {
        while at + 8 <= self.len {
            let bytes = self.bytes(at, WINDOW.min(self.len - at))?;
            if let Some(i) = bytes.windows(8).position(|w| w.starts_with(b"GRIB") && w[7] < 10) {
                return Ok(Some(at + i as u64));
            }
            at += bytes.len() as u64 - 7;
        }
        Ok(None)
    }
}

/// Where a message lies.
#[derive(Debug)]
pub(super) struct Message {
    /// From 1.
    pub(super) number: usize,
    pub(super) at: u64,
    pub(super) len: u64,
    /// Edition 1 over 8 MiB: lengths in units of 120 bytes, and the data section's own length says nothing.
    pub(super) scaled_length: bool,
}

impl Message {
    /// `n` bytes at `at`, counted from the message's first byte, which must lie before its end marker.
    pub(super) fn bytes(&self, input: &mut Input<'_>, at: u64, n: u64) -> Parse<Vec<u8>> {
        if at.saturating_add(n) > self.len.saturating_sub(4) {
            return corrupt(format!("a section at byte {at} of the message does not fit its {} bytes", self.len));
        }
        input.bytes(self.at + at, n).map(<[u8]>::to_vec)
    }

    /// The section at `at`, whose length is in its first `width` octets.
    pub(super) fn section(&self, input: &mut Input<'_>, at: u64, width: u64) -> Parse<Vec<u8>> {
        let len = self.bytes(input, at, width)?.iter().fold(0u64, |v, &b| v << 8 | u64::from(b));
        if len <= width {
            return corrupt(format!("a section at byte {at} of the message has length {len}"));
        }
        self.bytes(input, at, len)
    }
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) fields: Vec<Field>,
    pub(super) grids: Grids,
    pub(super) warnings: Vec<String>,
}

/// Indexes a file.
pub(super) fn index(path: &Path) -> Result<Index> {
    let mut input = Input::open(path)?;
    let mut index = Index { fields: Vec::new(), grids: Grids::default(), warnings: Vec::new() };
    let (mut at, mut number) = (0, 0);
    while let Some(start) = located(input.find(at), path, number + 1, at)? {
        number += 1;
        let end = located(one(&mut input, number, start, &mut index), path, number, start)?;
        if start - at > GAP {
            index.warnings.push(format!("{} bytes before message {number} belong to no message", start - at));
        }
        at = end;
    }
    if number == 0 {
        return Err(Error::corrupt(path, "there is no GRIB message in it"));
    }
    if input.len - at > GAP {
        index.warnings.push(format!("{} bytes after message {number} belong to no message", input.len - at));
    }
    Ok(index)
}

/// Adds the fields of the message at `at`; returns where it ends.
fn one(input: &mut Input<'_>, number: usize, at: u64, index: &mut Index) -> Parse<u64> {
    let head = input.bytes(at, 8)?;
    let be = |bytes: &[u8]| bytes.iter().fold(0u64, |v, &b| v << 8 | u64::from(b));
    let edition = head.get(7).copied().unwrap_or(0);
    let mut message = Message { number, at, len: be(head.get(4..7).unwrap_or_default()), scaled_length: false };
    match edition {
        1 if message.len & 0x80_0000 != 0 => {
            // Convention of ECMWF: 120-byte units, of which the data section's length field holds what is too much, plus 4.
            message.len = (message.len & 0x7f_ffff) * 120;
            let mut at = 8;
            let flags = be(&message.bytes(input, 15, 1)?);
            for present in [true, flags & 0x80 != 0, flags & 0x40 != 0] {
                at += if present { be(&message.bytes(input, at, 3)?) } else { 0 };
            }
            let excess = be(&message.bytes(input, at, 3)?);
            message.scaled_length = excess < 120;
            if !message.scaled_length {
                message.len = be(&input.bytes(message.at + 4, 3)?[..3]);
            } else {
                message.len = (message.len + 4).saturating_sub(excess);
            }
        }
        1 => {}
        2 => message.len = be(input.bytes(at + 8, 8)?),
        other => return unsupported(format!("GRIB edition {other}; 1 and 2 are read")),
    }
    let end = at.saturating_add(message.len);
    if message.len < 24 || end > input.len {
        return corrupt(format!("it declares {} bytes, the file has {} from there", message.len, input.len - at));
    }
    let before = index.fields.len();
    if edition == 1 {
        index.fields.push(edition1::field(&message, input, &mut index.grids)?);
    } else {
        edition2::fields(&message, input, &mut index.grids, &mut index.fields)?;
    }
    for field in index.fields.get(before..).unwrap_or_default() {
        let n = index.grids.all.get(field.grid).map_or(0, |g| g.n_points()) as u64;
        if n > 1 << 26 && n / 1024 > field.data.len as u64 {
            return corrupt(format!("a grid of {n} points with {} bytes of data", field.data.len));
        }
    }
    if input.bytes(end - 4, 4)? != b"7777" {
        return corrupt("it does not end with 7777");
    }
    Ok(end)
}
