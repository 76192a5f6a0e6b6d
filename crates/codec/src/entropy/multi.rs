//! Range coder for symbols of many values, with frequencies out of 2^16 that somebody else knows.
//!
//! # Maths      r = floor(range / 2^16); a symbol takes `r cumulative .. r (cumulative + frequency)` of the range, 2^32 <= range < 2^64
//! # On the wire words of 32 bits, most significant byte first; trailing zero bytes are dropped, the decoder reads zeros past the end
//! # Cost       a division per symbol decoded; at most 2^-16 of a symbol's bits are lost to rounding
//! # When       tables are given (learned codecs); adaptive binary decisions: `range`
//! # Reference  G. N. N. Martin, Range encoding, 1979

use crate::error::{Error, Result};

/// Frequencies are out of two to this.
pub const BITS: u32 = 16;

/// Writes symbols.
#[derive(Debug)]
pub struct MultiEncoder {
    low: u64,
    range: u64,
    words: Vec<u32>,
}

impl Default for MultiEncoder {
    fn default() -> Self {
        Self { low: 0, range: u64::MAX, words: Vec::new() }
    }
}

impl MultiEncoder {
    /// A symbol with `frequency > 0` after others of `cumulative`; together at most 2^16.
    #[inline]
    pub fn code(&mut self, cumulative: u32, frequency: u32) {
        let r = self.range >> BITS;
        self.add(r * u64::from(cumulative));
        self.range = r * u64::from(frequency);
        // r >= 2^16: one word is enough.
        if self.range < 1 << 32 {
            self.words.push((self.low >> 32) as u32);
            self.low <<= 32;
            self.range <<= 32;
        }
    }

    /// The lowest `n <= 16` bits of `value`, all equally likely.
    pub fn raw(&mut self, value: u32, n: u32) {
        let value = value & ((1 << n) - 1);
        self.code(value << (BITS - n), 1 << (BITS - n));
    }

    fn add(&mut self, v: u64) {
        let (low, carry) = self.low.overflowing_add(v);
        self.low = low;
        if carry {
            // The number written so far is below one: a carry ends in a word that is not full.
            for word in self.words.iter_mut().rev() {
                *word = word.wrapping_add(1);
                if *word != 0 {
                    break;
                }
            }
        }
    }

    /// The coded bytes.
    pub fn finish(mut self) -> Vec<u8> {
        // Any number in [low, low + range) will do: the one that ends in most zeros is the shortest.
        let zeros = (0..64).rev().find(|z| {
            let rest = self.low & ((1u64 << z) - 1);
            rest == 0 || (1u64 << z) - rest < self.range
        });
        let mask = zeros.map_or(0, |z| (1u64 << z) - 1);
        let up = (mask + 1).wrapping_sub(self.low & mask) & mask;
        self.add(up);
        self.words.extend([(self.low >> 32) as u32, self.low as u32]);
        let mut out: Vec<u8> = self.words.iter().flat_map(|w| w.to_be_bytes()).collect();
        while out.last() == Some(&0) {
            out.pop();
        }
        out
    }
}

/// Reads symbols.
#[derive(Debug)]
pub struct MultiDecoder<'a> {
    src: &'a [u8],
    at: usize,
    range: u64,
    code: u64,
}

impl<'a> MultiDecoder<'a> {
    /// Reads what [`MultiEncoder::finish`] returned.
    pub fn new(src: &'a [u8]) -> Self {
        let mut d = Self { src, at: 0, range: u64::MAX, code: 0 };
        d.code = d.word() << 32;
        d.code |= d.word();
        d
    }

    fn word(&mut self) -> u64 {
        let bytes = [0, 1, 2, 3].map(|i| self.src.get(self.at + i).copied().unwrap_or(0));
        self.at += 4;
        u64::from(u32::from_be_bytes(bytes))
    }

    /// Where in 0..2^16 the next symbol lies; [`Self::take`] must follow.
    #[inline]
    pub fn peek(&self) -> u32 {
        // Only a damaged stream holds more.
        (self.code / (self.range >> BITS)).min((1 << BITS) - 1) as u32
    }

    /// Takes the symbol that lies there.
    #[inline]
    pub fn take(&mut self, cumulative: u32, frequency: u32) {
        let r = self.range >> BITS;
        self.code = self.code.saturating_sub(r * u64::from(cumulative));
        self.range = r * u64::from(frequency.max(1));
        if self.range < 1 << 32 {
            self.code = self.code << 32 | self.word();
            self.range <<= 32;
        }
    }

    /// `n <= 16` equally likely bits.
    pub fn raw(&mut self, n: u32) -> u32 {
        let value = self.peek() >> (BITS - n);
        self.take(value << (BITS - n), 1 << (BITS - n));
        value
    }

    /// Fails if the stream holds bytes that nothing asked for, or if much more than it holds was asked for.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn finish(self, stage: &'static str) -> Result<()> {
        if self.at < self.src.len() {
            return Err(Error::corrupt(stage, format!("{} coded bytes too many", self.src.len() - self.at)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_come_back_at_the_size_of_their_information() {
        // All sorts of frequencies, rare symbols among likely ones, and carries through many words.
        let symbol = |i: u64| -> (u32, u32) {
            match crate::testkit::hash(i) % 5 {
                0 => (0, 1),
                1 => (65535, 1),
                2 => (1, 65534),
                3 => (32768, 32768),
                _ => ((crate::testkit::hash(i) >> 20) as u32 % 60000, 77),
            }
        };
        for n in [0, 1, 2, 3, 1000, 100_000] {
            let mut e = MultiEncoder::default();
            let mut bits = 0.0;
            for i in 0..n {
                let (c, f) = symbol(i);
                e.code(c, f);
                e.raw(i as u32, 5);
                bits += 16.0 - f64::from(f).log2() + 5.0;
            }
            (0..n).for_each(|_| e.code(65535, 1));
            bits += 16.0 * n as f64;
            let bytes = e.finish();
            assert!(bytes.len() as f64 <= bits / 8.0 * 1.00001 + 5.0, "{n}: {} {}", bytes.len(), bits / 8.0);
            let mut d = MultiDecoder::new(&bytes);
            for i in 0..n {
                let (c, f) = symbol(i);
                assert!((c..c + f).contains(&d.peek()), "symbol {i} of {n}");
                d.take(c, f);
                assert_eq!(d.raw(5), i as u32 & 31);
            }
            for _ in 0..n {
                assert_eq!(d.peek(), 65535);
                d.take(65535, 1);
            }
            d.finish("test").unwrap();
        }
    }
}
