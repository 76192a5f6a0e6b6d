//! The container: header, directories, tags. Nothing is taken from a file that it is too short to hold.
//!
//! # On the wire
//! `II` or `MM`, 42 and a 4-byte offset (TIFF), or 43, 8, 0 and an 8-byte offset (BigTIFF); there a directory: the number of entries, entries
//! `(tag u16, type u16, count, value or offset)`, the offset of the next directory or 0.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};

/// An open file.
pub(super) struct Tiff {
    path: PathBuf,
    file: Mutex<File>,
    /// Length in bytes.
    len: u64,
    pub(super) big_endian: bool,
    big: bool,
}

/// A tag's value, or where it is.
struct Entry {
    kind: u16,
    count: u64,
    /// The value itself if it fits, else its offset: 4 bytes, or 8 in BigTIFF.
    field: Vec<u8>,
}

/// The tags of one image.
pub(super) struct Directory(BTreeMap<u16, Entry>);

impl Tiff {
    /// Opens a file and reads all directories, the first image's first.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Corrupt`] for directories outside the file or in a circle, or none.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Directory>)> {
        let file = File::open(path).map_err(Error::io(path))?;
        let len = file.metadata().map_err(Error::io(path))?.len();
        let mut tiff = Self { path: path.into(), file: Mutex::new(file), len, big_endian: false, big: false };
        let head = tiff.bytes(0, 8.min(len), "the header")?;
        tiff.big_endian = head.starts_with(b"M");
        tiff.big = tiff.number(head.get(2..4).unwrap_or_default()) == 43;
        let mut next = match tiff.big {
            true if tiff.number(head.get(4..6).unwrap_or_default()) != 8 => {
                return Err(tiff.corrupt("the offsets of this BigTIFF are not of 8 bytes"));
            }
            true => tiff.number(&tiff.bytes(8, 8, "the header")?),
            false => tiff.number(head.get(4..8).unwrap_or_default()),
        };
        let (mut seen, mut all, mut room) = (BTreeSet::new(), Vec::new(), len);
        while next != 0 {
            if !seen.insert(next) {
                return Err(tiff.corrupt("its directories run in a circle"));
            }
            let (directory, after) = tiff.directory(next)?;
            // Each entry has bytes of its own, so all of them together are no more than the file.
            room = room
                .checked_sub(directory.0.len() as u64 * 12)
                .ok_or_else(|| tiff.corrupt("its directories lie over each other"))?;
            all.push(directory);
            next = after;
        }
        if all.is_empty() {
            return Err(tiff.corrupt("it holds no image"));
        }
        Ok((tiff, all))
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Shorthand for [`Error::Corrupt`].
    pub(super) fn corrupt(&self, what: impl std::fmt::Display) -> Error {
        Error::corrupt(&self.path, what)
    }

    /// Shorthand for [`Error::Unsupported`].
    pub(super) fn unsupported(&self, what: impl std::fmt::Display) -> Error {
        Error::unsupported(&self.path, what)
    }

    /// `len` bytes from `at` on.
    pub(super) fn bytes(&self, at: u64, len: u64, what: &str) -> Result<Vec<u8>> {
        let inside = at.checked_add(len).is_some_and(|end| end <= self.len);
        let n = usize::try_from(len).ok().filter(|_| inside);
        let n = n.ok_or_else(|| self.corrupt(format_args!("{what}: {len} bytes at {at} of {}", self.len)))?;
        let mut out = vec![0; n];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut out)).map_err(Error::io(&self.path))?;
        Ok(out)
    }

    /// An unsigned number of up to 8 bytes in the file's order.
    fn number(&self, bytes: &[u8]) -> u64 {
        let add = |n: u64, b: &u8| n << 8 | u64::from(*b);
        if self.big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) }
    }

    fn directory(&self, at: u64) -> Result<(Directory, u64)> {
        let what = "a directory";
        let (head, word) = if self.big { (8, 8) } else { (2, 4) };
        let size = 4 + 2 * word;
        let n = self.number(&self.bytes(at, head, what)?);
        // A length beyond any file is refused below.
        let body = self.bytes(at.saturating_add(head), n.saturating_mul(size).saturating_add(word), what)?;
        let (entries, next) = body.split_at(body.len() - word as usize);
        let mut all = BTreeMap::new();
        for e in entries.chunks_exact(size as usize) {
            let (tag, kind) = (self.number(&e[..2]) as u16, self.number(&e[2..4]) as u16);
            let (count, field) = (self.number(&e[4..4 + word as usize]), e[4 + word as usize..].to_vec());
            all.entry(tag).or_insert(Entry { kind, count, field });
        }
        Ok((Directory(all), self.number(next)))
    }

    /// The bytes of a tag, with the size of its elements and their type.
    fn raw(&self, directory: &Directory, tag: u16) -> Result<Option<(u16, usize, Vec<u8>)>> {
        let Some(e) = directory.0.get(&tag) else { return Ok(None) };
        let size = match e.kind {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16 | 17 | 18 => 8,
            other => return Err(self.corrupt(format_args!("tag {tag} is of the unknown type {other}"))),
        };
        let len = e.count.saturating_mul(size);
        let bytes = match usize::try_from(len) {
            Ok(n) if n <= e.field.len() => e.field[..n].to_vec(),
            _ => self.bytes(self.number(&e.field), len, &format!("tag {tag}"))?,
        };
        Ok(Some((e.kind, size as usize, bytes)))
    }

    fn wrong(&self, tag: u16) -> Error {
        self.corrupt(format_args!("tag {tag} is not of the type that it must be"))
    }

    /// Whole numbers; none if there is no such tag.
    pub(super) fn unsigned(&self, directory: &Directory, tag: u16) -> Result<Vec<u64>> {
        let Some((kind, size, bytes)) = self.raw(directory, tag)? else { return Ok(Vec::new()) };
        match kind {
            1 | 3 | 4 | 13 | 16 | 18 => Ok(bytes.chunks_exact(size).map(|b| self.number(b)).collect()),
            _ => Err(self.wrong(tag)),
        }
    }

    /// One whole number that fits in 32 bits; `default` if there is no such tag.
    pub(super) fn one(&self, directory: &Directory, tag: u16, default: u32) -> Result<u32> {
        match self.unsigned(directory, tag)?.first() {
            Some(v) => u32::try_from(*v).map_err(|_| self.wrong(tag)),
            None => Ok(default),
        }
    }

    /// Floating-point numbers.
    pub(super) fn doubles(&self, directory: &Directory, tag: u16) -> Result<Vec<f64>> {
        let Some((kind, size, bytes)) = self.raw(directory, tag)? else { return Ok(Vec::new()) };
        let bits = bytes.chunks_exact(size).map(|b| self.number(b));
        match kind {
            11 => Ok(bits.map(|b| f64::from(f32::from_bits(b as u32))).collect()),
            12 => Ok(bits.map(f64::from_bits).collect()),
            _ => Err(self.wrong(tag)),
        }
    }

    /// Text up to its first NUL. Bytes that are not UTF-8 are Latin-1.
    pub(super) fn text(&self, directory: &Directory, tag: u16) -> Result<Option<String>> {
        let Some((kind, _, bytes)) = self.raw(directory, tag)? else { return Ok(None) };
        if !matches!(kind, 1 | 2 | 7) {
            return Err(self.wrong(tag));
        }
        let text = bytes.split(|b| *b == 0).next().unwrap_or_default();
        let latin = || text.iter().map(|b| char::from(*b)).collect();
        Ok(Some(std::str::from_utf8(text).map_or_else(|_| latin(), String::from)))
    }

    /// Bytes as they are; none if there is no such tag.
    pub(super) fn opaque(&self, directory: &Directory, tag: u16) -> Result<Vec<u8>> {
        Ok(self.raw(directory, tag)?.map(|(_, _, bytes)| bytes).unwrap_or_default())
    }
}

impl Directory {
    pub(super) fn has(&self, tag: u16) -> bool {
        self.0.contains_key(&tag)
    }

    pub(super) fn tags(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.keys().copied()
    }
}
