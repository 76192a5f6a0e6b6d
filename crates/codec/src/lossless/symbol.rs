//! Integers of very different sizes, coded around the size that their surroundings lead one to expect.
//!
//! # Maths
//! L = bit length of |r|. Starting at the expected length e: "L >= e?", then up or down in steps of one. Sign; then the bits
//! below the leading one, the first three modelled, the others raw.
//! # On the wire range-coded decisions
//! # Cost       about six mixed decisions a symbol, whatever its size

use crate::entropy::{BinaryCoder, BitModel};

/// Questions about a length, up and down.
const NODES: usize = 2 * 65;
/// The same relative to the expected length.
const RELATIVE: usize = 2 * 17;
/// Modelled bits below the leading one.
const TOP_BITS: usize = 3;

/// What is known about a symbol before it is coded.
#[derive(Debug, Default)]
pub struct Expected {
    /// Expected bit length, 0 to 64.
    pub length: u32,
    /// Contexts of the length, each below its entry of the sizes given to [`SymbolModel::new`].
    pub length_contexts: [usize; N_CONTEXTS],
    /// Contexts of the sign, below `SIGN_CONTEXTS`.
    pub sign_contexts: [usize; 3],
}

/// Contexts of a length.
pub const N_CONTEXTS: usize = 6;
/// Bound of each context of a sign.
pub const SIGN_CONTEXTS: usize = 1024;
/// Contexts that are crossed with absolute lengths; the others see lengths relative to the expected one.
const ABSOLUTE: usize = 3;

/// Adaptive model of the integers of one array.
#[derive(Debug)]
pub struct SymbolModel {
    length: BitModel<N_CONTEXTS>,
    sign: BitModel<3>,
    top: BitModel<2>,
}

impl SymbolModel {
    /// `sizes`: how many values each context of a length has.
    pub fn new(sizes: [usize; N_CONTEXTS]) -> Self {
        let mut crossed = sizes;
        for (i, s) in crossed.iter_mut().enumerate() {
            *s *= if i < ABSOLUTE { NODES } else { RELATIVE };
        }
        Self {
            length: BitModel::new(&crossed, RELATIVE),
            sign: BitModel::new(&[SIGN_CONTEXTS; 3], 1),
            top: BitModel::new(&[65 << TOP_BITS, sizes[0] << TOP_BITS], 17),
        }
    }

    #[inline]
    fn bit<C: BinaryCoder>(&mut self, c: &mut C, bit: bool, e: &Expected, absolute: usize, relative: usize) -> bool {
        let mut contexts = e.length_contexts;
        for (i, x) in contexts.iter_mut().enumerate() {
            *x = if i < ABSOLUTE { *x * NODES + absolute } else { *x * RELATIVE + relative };
        }
        self.length.code(c, bit, &contexts, relative)
    }

    /// Codes one integer; a decoder ignores `value`.
    #[inline]
    pub fn code<C: BinaryCoder>(&mut self, c: &mut C, value: i64, e: &Expected) -> i64 {
        let m = value.unsigned_abs();
        let length = 64 - m.leading_zeros();
        let relative = |t: u32| (t + 8).saturating_sub(e.length).min(16) as usize;
        // "length >= t?" for t = start upwards while yes, or downwards until yes.
        let start = e.length.clamp(1, 64);
        let mut t = start;
        let length = if self.bit(c, length >= t, e, t as usize * 2, relative(t) * 2) {
            while t < 64 && self.bit(c, length > t, e, (t + 1) as usize * 2, relative(t + 1) * 2) {
                t += 1;
            }
            t
        } else {
            t -= 1;
            while t > 0 && !self.bit(c, length >= t, e, t as usize * 2 + 1, relative(t) * 2 + 1) {
                t -= 1;
            }
            t
        };
        if length == 0 {
            return 0;
        }
        let negative = self.sign.code(c, value < 0, &e.sign_contexts, 0);
        let mut left = length - 1;
        let mut m_back = 1u64;
        let mut prefix = 1;
        while left > 0 && prefix < 1 << TOP_BITS {
            left -= 1;
            let contexts = [(length as usize) << TOP_BITS | prefix, e.length_contexts[0] << TOP_BITS | prefix];
            let b = self.top.code(c, m >> left & 1 == 1, &contexts, relative(length));
            prefix = prefix * 2 + usize::from(b);
            m_back = m_back << 1 | u64::from(b);
        }
        while left > 0 {
            let n = left.min(32);
            left -= n;
            m_back = m_back << n | u64::from(c.code_raw((m >> left) as u32, n));
        }
        if negative { (m_back as i64).wrapping_neg() } else { m_back as i64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Decoder, Encoder};

    #[test]
    fn integers_of_every_size_come_back() {
        let mut values: Vec<i64> =
            (0..63).flat_map(|k| [1i64 << k, -(1i64 << k), (1i64 << k) + 1, (1 << k) - 1]).collect();
        values.extend([0, i64::MIN, i64::MAX, -1]);
        fn run<C: BinaryCoder>(c: &mut C, values: &[i64], encode: bool) -> Vec<i64> {
            let mut m = SymbolModel::new([1; N_CONTEXTS]);
            let code = |(i, v): (usize, &i64)| {
                let e = Expected { length: (i % 65) as u32, ..Expected::default() };
                m.code(c, if encode { *v } else { 0 }, &e)
            };
            values.iter().enumerate().map(code).collect()
        }
        let mut coder = Encoder::new();
        run(&mut coder, &values, true);
        let bytes = coder.finish();
        let mut coder = Decoder::new(&bytes);
        assert_eq!(run(&mut coder, &values, false), values);
        coder.finish("test").unwrap();
    }
}
