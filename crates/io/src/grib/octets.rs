//! Big-endian numbers and bit fields out of a section's bytes.
//!
//! # Shapes
//! Octets are counted from 1, as in the WMO Manual on Codes, so that the code can be read beside its tables.
//! Whatever lies past the end is a [`Problem`], never a panic.

use crate::error::{Error, Result};

/// What is wrong with a message, before it is known which one it is.
#[derive(Debug)]
pub(super) enum Problem {
    /// The bytes contradict themselves or end early.
    Corrupt(String),
    /// Legal, but not read here.
    Unsupported(String),
    /// The file could not be read.
    Failed(Error),
}

/// The result of looking into one message.
pub(super) type Parse<T> = std::result::Result<T, Problem>;

/// Shorthand for [`Problem::Corrupt`].
pub(super) fn corrupt<T>(what: impl Into<String>) -> Parse<T> {
    Err(Problem::Corrupt(what.into()))
}

/// Shorthand for [`Problem::Unsupported`].
pub(super) fn unsupported<T>(what: impl Into<String>) -> Parse<T> {
    Err(Problem::Unsupported(what.into()))
}

/// Says which message of which file a problem is about.
pub(super) fn located<T>(parsed: Parse<T>, path: &std::path::Path, message: usize, offset: u64) -> Result<T> {
    let place = format!("message {message} at byte {offset}");
    parsed.map_err(|problem| match problem {
        Problem::Corrupt(what) => Error::corrupt(path, format!("{place}: {what}")),
        Problem::Unsupported(what) => Error::unsupported(path, format!("{place}: {what}")),
        Problem::Failed(error) => error,
    })
}

/// The bytes of one section, its length field included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Octets<'a> {
    bytes: &'a [u8],
    section: u8,
}

impl<'a> Octets<'a> {
    pub(super) fn new(section: u8, bytes: &'a [u8]) -> Self {
        Self { bytes, section }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// `n` bytes from octet `at` on.
    pub(super) fn slice(&self, at: usize, n: usize) -> Parse<&'a [u8]> {
        let start = at.saturating_sub(1);
        match start.checked_add(n).and_then(|end| self.bytes.get(start..end)) {
            Some(part) => Ok(part),
            None => corrupt(format!("section {} ends before octet {}", self.section, at.saturating_add(n) - 1)),
        }
    }

    pub(super) fn u8(&self, at: usize) -> Parse<u8> {
        Ok(self.uint(at, 1)? as u8)
    }

    pub(super) fn u16(&self, at: usize) -> Parse<u16> {
        Ok(self.uint(at, 2)? as u16)
    }

    pub(super) fn u32(&self, at: usize) -> Parse<u32> {
        Ok(self.uint(at, 4)? as u32)
    }

    /// Unsigned, `n <= 8` octets.
    pub(super) fn uint(&self, at: usize, n: usize) -> Parse<u64> {
        Ok(self.slice(at, n)?.iter().fold(0, |v, &b| v << 8 | u64::from(b)))
    }

    /// Sign and magnitude, as GRIB stores every signed number; `n <= 8` octets.
    pub(super) fn int(&self, at: usize, n: usize) -> Parse<i64> {
        let raw = self.uint(at, n)?;
        let sign = 1 << (8 * n - 1);
        let magnitude = (raw & (sign - 1)) as i64;
        Ok(if raw & sign != 0 { -magnitude } else { magnitude })
    }

    /// IEEE 754 binary32.
    pub(super) fn f32(&self, at: usize) -> Parse<f64> {
        Ok(f64::from(f32::from_bits(self.u32(at)?)))
    }

    /// IBM hexadecimal float: (-1)^s * 16^(e - 64) * m / 2^24. Exact in f64.
    pub(super) fn ibm(&self, at: usize) -> Parse<f64> {
        let raw = self.u32(at)?;
        let magnitude = f64::from(raw & 0xff_ffff) * 16f64.powi((raw >> 24 & 0x7f) as i32 - 70);
        Ok(if raw >> 31 == 1 { -magnitude } else { magnitude })
    }

    /// A scale factor and a scaled value, `value / 10^factor`; NaN if missing (all ones).
    pub(super) fn scaled(&self, at: usize) -> Parse<f64> {
        if self.u8(at)? == u8::MAX || self.u32(at + 1)? == u32::MAX {
            return Ok(f64::NAN);
        }
        Ok(over_power_of_ten(self.int(at + 1, 4)? as f64, self.int(at, 1)? as i32))
    }
}

/// `v / 10^d`, with one rounding for |d| <= 22, where the power is exact.
pub(super) fn over_power_of_ten(v: f64, d: i32) -> f64 {
    if d >= 0 { v / 10f64.powi(d) } else { v * 10f64.powi(-d) }
}

/// Reads bit fields, most significant bit first.
#[derive(Debug)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// Next bit.
    at: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bits that are left.
    pub(super) fn left(&self) -> usize {
        (self.bytes.len() * 8).saturating_sub(self.at)
    }

    /// The next `width <= 56` bits.
    pub(super) fn take(&mut self, width: u32) -> Parse<u64> {
        let first = self.at / 8;
        let end = self.at + width as usize;
        if end > self.bytes.len() * 8 {
            return corrupt(format!("the data end before bit {end}"));
        }
        // (*) offset < 8 and width <= 56: what is asked lies in 8 bytes.
        let offset = self.at % 8;
        let word = match self.bytes.get(first..first + 8) {
            Some(eight) => eight.iter().fold(0u64, |v, &b| v << 8 | u64::from(b)),
            None => (first..first + 8).fold(0, |v, i| v << 8 | u64::from(self.bytes.get(i).copied().unwrap_or(0))),
        };
        self.at = end;
        Ok(if width == 0 { 0 } else { word << offset >> (64 - width) })
    }

    /// Skips to the next whole byte.
    pub(super) fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }
}
