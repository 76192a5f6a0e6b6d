//! Binary range coder with 16-bit probabilities, carry propagation as in LZMA.
//!
//! # Maths      range in [2^24, 2^32); a one takes the lower `range / 2^16 * p1` of it
//! # On the wire the bytes of `low`, most significant first; trailing zero bytes are dropped, the decoder reads zeros past the end
//! # Reference  G. N. N. Martin, Range encoding, 1979; I. Pavlov, LZMA SDK

use crate::error::{Error, Result};

/// Something that codes one binary decision under a given probability.
pub trait BinaryCoder {
    /// Codes `bit`, which is a one with probability `p1 / 65536`, `0 < p1 < 65536`.
    /// A decoder ignores `bit` and returns the one that it read.
    fn code(&mut self, bit: bool, p1: u32) -> bool;

    /// The lowest `n <= 16` bits of `value`, all equally likely.
    fn code_few(&mut self, value: u32, n: u32) -> u32;

    /// The lowest `n <= 32` bits of `value`, all equally likely.
    #[inline]
    fn code_raw(&mut self, value: u32, n: u32) -> u32 {
        let low = n.min(16);
        let high = self.code_few(value >> low, n - low);
        high << low | self.code_few(value, low)
    }
}

/// Writes decisions.
#[derive(Debug)]
pub struct Encoder {
    low: u64,
    range: u32,
    cache: u8,
    pending: u64,
    out: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An empty stream.
    pub fn new() -> Self {
        Self { low: 0, range: u32::MAX, cache: 0, pending: 1, out: Vec::new() }
    }

    #[inline]
    fn normalise(&mut self) {
        while self.range < 1 << 24 {
            self.range <<= 8;
            self.shift_low();
        }
    }

    fn shift_low(&mut self) {
        if self.low < 0xff00_0000 || self.low > u64::from(u32::MAX) {
            let carry = (self.low >> 32) as u8;
            let mut byte = self.cache;
            for _ in 0..self.pending {
                self.out.push(byte.wrapping_add(carry));
                byte = 0xff;
            }
            self.pending = 0;
            self.cache = (self.low >> 24) as u8;
        }
        self.pending += 1;
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    /// The coded bytes.
    pub fn finish(mut self) -> Vec<u8> {
        // Any number in [low, low + range) will do: the one that ends in most zeros is the shortest.
        for zeros in (0..=32).rev() {
            let mask = (1u64 << zeros) - 1;
            let rounded = (self.low + mask) & !mask;
            if rounded - self.low < u64::from(self.range) {
                self.low = rounded;
                break;
            }
        }
        for _ in 0..5 {
            self.shift_low();
        }
        // The first byte is the initial cache, always zero.
        self.out.remove(0);
        while self.out.last() == Some(&0) {
            self.out.pop();
        }
        self.out
    }
}

impl BinaryCoder for Encoder {
    #[inline]
    fn code(&mut self, bit: bool, p1: u32) -> bool {
        let bound = (self.range >> 16) * p1;
        if bit {
            self.range = bound;
        } else {
            self.low += u64::from(bound);
            self.range -= bound;
        }
        self.normalise();
        bit
    }

    #[inline]
    fn code_few(&mut self, value: u32, n: u32) -> u32 {
        let value = value & ((1 << n) - 1);
        self.range >>= n;
        self.low += u64::from(value) * u64::from(self.range);
        self.normalise();
        value
    }
}

/// Reads decisions.
#[derive(Debug)]
pub struct Decoder<'a> {
    src: &'a [u8],
    at: usize,
    range: u32,
    code: u32,
}

impl<'a> Decoder<'a> {
    /// Reads what [`Encoder::finish`] returned.
    pub fn new(src: &'a [u8]) -> Self {
        let mut d = Self { src, at: 0, range: u32::MAX, code: 0 };
        for _ in 0..4 {
            d.next_byte();
        }
        d
    }

    #[inline]
    fn normalise(&mut self) {
        while self.range < 1 << 24 {
            self.range <<= 8;
            self.next_byte();
        }
    }

    #[inline]
    fn next_byte(&mut self) {
        let byte = self.src.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        self.code = self.code << 8 | u32::from(byte);
    }

    /// Fails if the stream holds bytes that nothing asked for.
    pub fn finish(self, stage: &'static str) -> Result<()> {
        if self.at < self.src.len() {
            return Err(Error::corrupt(stage, format!("{} coded bytes too many", self.src.len() - self.at)));
        }
        Ok(())
    }
}

impl BinaryCoder for Decoder<'_> {
    #[inline]
    fn code(&mut self, _: bool, p1: u32) -> bool {
        let bound = (self.range >> 16) * p1;
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            self.code -= bound;
            self.range -= bound;
        }
        self.normalise();
        bit
    }

    #[inline]
    fn code_few(&mut self, _: u32, n: u32) -> u32 {
        self.range >>= n;
        // Only a damaged stream holds more.
        let value = (self.code / self.range).min((1 << n) - 1);
        self.code -= value * self.range;
        self.normalise();
        value
    }
}

/// Adds up what coding would cost, in 1/65536 bit.
#[derive(Debug, Default, Clone, Copy)]
pub struct Price {
    /// Cost so far, in 1/65536 bit.
    pub cost: u64,
}

impl Price {
    /// Cost so far in bits.
    pub fn bits(self) -> f64 {
        self.cost as f64 / 65536.0
    }
}

/// -log2((i + 1/2) / 4096) in 1/65536 bit.
static COST: [u32; 4096] = cost_table();

const fn cost_table() -> [u32; 4096] {
    let mut table = [0; 4096];
    let mut i = 0;
    while i < 4096 {
        // log2 of an integer by repeated squaring of its mantissa: 16 fractional bits, exact enough for prices.
        let v = 2 * i as u64 + 1; // out of 8192
        let top = 63 - v.leading_zeros() as u64;
        let mut m = v << (31 - top); // [2^31, 2^32)
        let mut log = top << 16;
        let mut bit = 1 << 15;
        while bit > 0 {
            m = (m * m) >> 31;
            if m >= 1 << 32 {
                m >>= 1;
                log += bit;
            }
            bit >>= 1;
        }
        table[i] = (13 * 65536 - log) as u32;
        i += 1;
    }
    table
}

impl BinaryCoder for Price {
    #[inline]
    fn code(&mut self, bit: bool, p1: u32) -> bool {
        let p = if bit { p1 } else { 65536 - p1 };
        self.cost += u64::from(COST[(p >> 4).min(4095) as usize]);
        bit
    }

    #[inline]
    fn code_few(&mut self, value: u32, n: u32) -> u32 {
        self.cost += u64::from(n) << 16;
        value & ((1 << n) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reproducible sequence of (bit, probability) with all sorts of skew.
    fn decisions(n: u32) -> impl Iterator<Item = (bool, u32)> {
        let mut s = 12345u32;
        (0..n).map(move |i| {
            s = s.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let p = match i % 4 {
                0 => 1,
                1 => 65535,
                2 => 32768,
                _ => (s >> 16).clamp(1, 65535),
            };
            (s >> 8 & 0xffff < p, p)
        })
    }

    #[test]
    fn decodes_what_it_encoded_at_the_priced_size() {
        for n in [0, 1, 2, 7, 100, 100_000] {
            let mut e = Encoder::new();
            let mut price = Price::default();
            for (b, p) in decisions(n) {
                e.code(b, p);
                price.code(b, p);
            }
            let bytes = e.finish();
            assert!(
                (bytes.len() as f64) < price.bits() / 8.0 * 1.001 + 6.0,
                "{n}: {} {}",
                bytes.len(),
                price.bits() / 8.0
            );
            let mut d = Decoder::new(&bytes);
            for (i, (b, p)) in decisions(n).enumerate() {
                assert_eq!(d.code(false, p), b, "decision {i} of {n}");
            }
            d.finish("test").unwrap();
        }
    }

    #[test]
    fn carries_run_through_long_rows_of_ff() {
        let mut e = Encoder::new();
        for _ in 0..5000 {
            e.code(false, 1);
        }
        e.code(true, 1);
        let bytes = e.finish();
        let mut d = Decoder::new(&bytes);
        assert!((0..5000).all(|_| !d.code(false, 1)));
        assert!(d.code(false, 1));
    }
}
