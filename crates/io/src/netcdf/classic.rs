//! How long a NetCDF-3 file must be. libnetcdf reads zeros beyond the end of a file that was cut short; we refuse it.
//!
//! # Reference
//! NetCDF User's Guide, appendix "NetCDF classic format specification": the header's grammar, followed here.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::error::{Error, Result};

/// Fails if the file is NetCDF-3 and ends before its data do. Files of other formats pass.
pub(super) fn check_len(path: &Path) -> Result<()> {
    let file = File::open(path).map_err(Error::io(path))?;
    let len = file.metadata().map_err(Error::io(path))?.len();
    let mut header = Header { input: BufReader::new(file), len, wide: false, big_offsets: false };
    match header.end_of_data() {
        Ok(Some(end)) if end > len => {
            Err(Error::corrupt(path, format!("its data need {end} bytes, but it has only {len}")))
        }
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Err(Error::corrupt(path, "its header is cut short")),
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => Err(Error::corrupt(path, e)),
        Err(e) => Err(Error::io(path)(e)),
    }
}

struct Header {
    input: BufReader<File>,
    len: u64,
    /// Counts have 64 bits (CDF-5).
    wide: bool,
    /// Offsets have 64 bits (CDF-2 and CDF-5).
    big_offsets: bool,
}

type Io<T> = std::io::Result<T>;

fn wrong(what: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, format!("its header has {what}"))
}

impl Header {
    /// Where the last variable's data end; `None` if this is not NetCDF-3.
    fn end_of_data(&mut self) -> Io<Option<u64>> {
        match self.bytes::<4>()? {
            [b'C', b'D', b'F', version @ (1 | 2 | 5)] => (self.big_offsets, self.wide) = (version > 1, version == 5),
            _ => return Ok(None),
        }
        let records = self.count()?;
        let n_dims = self.list(10)?;
        let mut dims = Vec::new();
        for _ in 0..n_dims {
            self.name()?;
            dims.push(self.count()?);
        }
        self.attrs()?;
        let n_vars = self.list(11)?;
        // (end of the fixed variables; begin and bytes of the record variables' first record)
        let (mut end, mut record_vars) = (0u64, Vec::new());
        for _ in 0..n_vars {
            self.name()?;
            let n = self.count()?;
            let (mut bytes, mut is_record) = (1u64, false);
            for d in 0..n {
                let dim = usize::try_from(self.count()?).ok().and_then(|id| dims.get(id));
                match *dim.ok_or_else(|| wrong("a variable on a dimension that it does not define"))? {
                    0 if d == 0 => is_record = true,
                    len => bytes = bytes.checked_mul(len).ok_or_else(|| wrong("a variable of impossible size"))?,
                }
            }
            self.attrs()?;
            let size = self.type_size()?;
            bytes = bytes.checked_mul(size).ok_or_else(|| wrong("a variable of impossible size"))?;
            self.count()?; // vsize: redundant, and too small a field for large variables
            let begin = if self.big_offsets { self.u64()? } else { self.u32()?.into() };
            match is_record {
                true => record_vars.push((begin, bytes)),
                false if bytes > 0 => end = end.max(begin.saturating_add(bytes)),
                false => {}
            }
        }
        // All ones: as many records as the file holds.
        let streaming = if self.wide { u64::MAX } else { u32::MAX.into() };
        if records > 0 && records != streaming {
            // One record variable alone is not padded.
            let padded = |bytes: u64| if record_vars.len() == 1 { bytes } else { bytes.saturating_add(3) & !3 };
            let record = record_vars.iter().fold(0u64, |sum, (_, bytes)| sum.saturating_add(padded(*bytes)));
            for (begin, bytes) in record_vars {
                end = end.max(record.saturating_mul(records - 1).saturating_add(begin).saturating_add(bytes));
            }
        }
        Ok(Some(end))
    }

    fn attrs(&mut self) -> Io<()> {
        for _ in 0..self.list(12)? {
            self.name()?;
            let size = self.type_size()?;
            let n = self.count()?;
            self.skip(n.checked_mul(size).ok_or_else(|| wrong("an attribute of impossible size"))?)?;
        }
        Ok(())
    }

    /// The number of entries of a list with that tag.
    fn list(&mut self, tag: u32) -> Io<u64> {
        let got = self.u32()?;
        let n = self.count()?;
        if (got, n) == (0, 0) || got == tag { Ok(n) } else { Err(wrong("a list of an unknown kind")) }
    }

    fn name(&mut self) -> Io<()> {
        let n = self.count()?;
        self.skip(n)
    }

    fn type_size(&mut self) -> Io<u64> {
        match self.u32()? {
            1 | 2 | 7 => Ok(1),
            3 | 8 => Ok(2),
            4 | 5 | 9 => Ok(4),
            6 | 10 | 11 => Ok(8),
            _ => Err(wrong("an unknown type")),
        }
    }

    /// Past `n` bytes and their padding to a multiple of four.
    fn skip(&mut self, n: u64) -> Io<()> {
        if n > self.len {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.input.seek_relative((n.saturating_add(3) & !3) as i64)
    }

    fn count(&mut self) -> Io<u64> {
        if self.wide { self.u64() } else { Ok(self.u32()?.into()) }
    }

    fn u32(&mut self) -> Io<u32> {
        Ok(u32::from_be_bytes(self.bytes()?))
    }

    fn u64(&mut self) -> Io<u64> {
        Ok(u64::from_be_bytes(self.bytes()?))
    }

    fn bytes<const N: usize>(&mut self) -> Io<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}
