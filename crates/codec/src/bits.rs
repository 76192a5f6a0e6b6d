//! Byte streams: what the payload's sections are written to and read from.
//!
//! # On the wire
//! Little-endian, fixed widths, except `varint`: 7 bits a byte, low bits first, at most 10 bytes.

use crate::error::{Error, Result};

/// Appends fixed-width and variable-width numbers.
#[derive(Debug, Default)]
pub struct Writer {
    /// What was written so far.
    pub bytes: Vec<u8>,
}

impl Writer {
    /// An empty stream.
    pub fn new() -> Self {
        Self::default()
    }
    /// One byte.
    pub fn u8(&mut self, v: u8) {
        self.bytes.push(v);
    }
    /// Two bytes.
    pub fn u16(&mut self, v: u16) {
        self.bytes.extend_from_slice(&v.to_le_bytes());
    }
    /// Four bytes.
    pub fn u32(&mut self, v: u32) {
        self.bytes.extend_from_slice(&v.to_le_bytes());
    }
    /// Eight bytes.
    pub fn u64(&mut self, v: u64) {
        self.bytes.extend_from_slice(&v.to_le_bytes());
    }
    /// IEEE 754 binary32.
    pub fn f32(&mut self, v: f32) {
        self.bytes.extend_from_slice(&v.to_le_bytes());
    }
    /// IEEE 754 binary64.
    pub fn f64(&mut self, v: f64) {
        self.bytes.extend_from_slice(&v.to_le_bytes());
    }
    /// 7 bits a byte, low bits first.
    pub fn varint(&mut self, mut v: u64) {
        while v >= 0x80 {
            self.bytes.push(v as u8 | 0x80);
            v >>= 7;
        }
        self.bytes.push(v as u8);
    }
    /// Length as a varint, then the bytes.
    pub fn section(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }
}

/// Reads what [`Writer`] wrote and trusts none of it.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    stage: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`; errors carry `stage` as the place.
    pub fn new(bytes: &'a [u8], stage: &'static str) -> Self {
        Self { bytes, at: 0, stage }
    }
    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        if n > rest.len() {
            return Err(Error::Truncated { stage: self.stage, at: self.bytes.len(), needed: n - rest.len() });
        }
        self.at += n;
        Ok(&rest[..n])
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut a = [0; N];
        a.copy_from_slice(self.take(N)?);
        Ok(a)
    }
    /// One byte.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }
    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }
    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    /// IEEE 754 binary32.
    pub fn f32(&mut self) -> Result<f32> {
        Ok(f32::from_le_bytes(self.array()?))
    }
    /// IEEE 754 binary64.
    pub fn f64(&mut self) -> Result<f64> {
        Ok(f64::from_le_bytes(self.array()?))
    }
    /// 7 bits a byte, low bits first.
    pub fn varint(&mut self) -> Result<u64> {
        let mut v = 0u64;
        for shift in (0..64).step_by(7) {
            let b = self.u8()?;
            let bits = u64::from(b & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            v |= bits << shift;
            if b < 0x80 {
                return Ok(v);
            }
        }
        Err(Error::corrupt(self.stage, "a number has too many bytes"))
    }
    /// A varint that must not exceed `max`.
    pub fn count(&mut self, what: &'static str, max: usize) -> Result<usize> {
        let v = self.varint()?;
        match usize::try_from(v) {
            Ok(n) if n <= max => Ok(n),
            _ => Err(Error::Limit { what, asked: v, max: max as u64 }),
        }
    }
    /// What [`Writer::section`] wrote, as a reader of its own whose errors name `stage`.
    pub fn section(&mut self, stage: &'static str) -> Result<Reader<'a>> {
        let left = self.remaining();
        let n = self.varint()?;
        match usize::try_from(n) {
            Ok(n) if n <= left => Ok(Reader::new(self.take(n)?, stage)),
            _ => Err(Error::Truncated {
                stage,
                at: self.bytes.len(),
                needed: usize::try_from(n).unwrap_or(usize::MAX).saturating_sub(self.remaining()),
            }),
        }
    }
    /// Everything not read yet.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }
    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }
    /// Fails when bytes are left over.
    pub fn end(&self) -> Result<()> {
        match self.remaining() {
            0 => Ok(()),
            n => Err(Error::corrupt(self.stage, format!("{n} bytes too many"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let mut w = Writer::new();
        for v in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            w.varint(v);
        }
        w.section(b"abc");
        let mut r = Reader::new(&w.bytes, "test");
        for v in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(r.varint().unwrap(), v);
        }
        assert_eq!(r.section("part").unwrap().rest(), b"abc");
        r.end().unwrap();
        assert!(Reader::new(&[0xff; 10], "test").varint().is_err());
        assert!(Reader::new(&[200, 1], "test").section("part").is_err());
    }
}
