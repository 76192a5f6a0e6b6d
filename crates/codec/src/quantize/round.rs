//! Bit rounding: the last mantissa bits of a float become zeros, for the lossless coder to leave out.
//!
//! # Maths      the nearest float with k mantissa bits, ties to even: half a unit of the last kept bit, less one where that bit is
//! 0, is added to the bit pattern and the rest is cut off; a carry moves into the exponent, as it should
//! # Bound      |x - x'| <= 2^-(k+1) max(|x|, smallest normal number)
//! # Exactly    kept: NaN, infinities, zeros with their sign, what would round to infinity, what would turn into a marker of
//! missing samples, integers
//! # Reference  M. Kloewer et al., Compressing atmospheric data into its real information content, 2021,
//! doi:10.1038/s43588-021-00156-2; R. Kouznetsov, A note on precision-preserving compression of scientific data, 2021

use crate::dtype::{Dtype, Sample};

/// Mantissa bits of the widest type.
pub const MOST_BITS: u32 = 52;

/// Explicit mantissa bits of a type; 0 for integers.
pub fn mantissa_bits(dtype: Dtype) -> u32 {
    match dtype {
        Dtype::F32 => 23,
        Dtype::F64 => MOST_BITS,
        _ => 0,
    }
}

/// `v` with `keep` mantissa bits.
#[inline]
pub fn round<T: Sample>(v: T, keep: u32) -> T {
    let drop = mantissa_bits(T::DTYPE).saturating_sub(keep);
    if drop == 0 || !v.is_finite() {
        return v;
    }
    let bits = v.to_bits();
    let odd = bits >> drop & 1;
    // The pattern of a finite number leaves room for the sum.
    let rounded = T::from_bits((bits + (1 << (drop - 1)) - 1 + odd) >> drop << drop);
    if rounded.is_finite() { rounded } else { v }
}

/// The valid ones of `x` with `keep` mantissa bits, and how many had to stay as they were though they have more.
pub fn samples<T: Sample>(x: &[T], valid: Option<&[bool]>, missing: &[u64], keep: u32) -> (Vec<T>, u64) {
    let mut n_exact = 0;
    let one = |(i, &v): (usize, &T)| {
        if valid.is_some_and(|m| !m[i]) {
            return v;
        }
        let rounded = round(v, keep);
        let marker = missing.contains(&rounded.to_bits());
        let drop = mantissa_bits(T::DTYPE).saturating_sub(keep);
        n_exact += u64::from(marker || rounded.to_bits() & ((1 << drop) - 1) > 0);
        if marker { v } else { rounded }
    };
    (x.iter().enumerate().map(one).collect(), n_exact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::match_samples;
    use crate::testkit::FIELDS;

    /// The nearer of the two neighbours with `keep` bits, by comparing distances in f64 or, for f64, in bits.
    fn slow<T: Sample>(v: T, keep: u32) -> T {
        let unit = 1u64 << mantissa_bits(T::DTYPE).saturating_sub(keep);
        let (below, rest) = (v.to_bits() / unit * unit, v.to_bits() % unit);
        let up = 2 * rest > unit || 2 * rest == unit && (below / unit) % 2 == 1;
        let r = T::from_bits(if up { below + unit } else { below });
        if v.is_finite() && r.is_finite() { r } else { v }
    }

    #[test]
    fn agrees_with_a_slow_reference_and_keeps_the_bound() {
        for dtype in [Dtype::F32, Dtype::F64, Dtype::I32] {
            for (k, field) in FIELDS.iter().enumerate() {
                match_samples!(field.samples(dtype, 500, k as u64), x => for keep in [0, 1, 7, 22, 23, 30, 51, 52] {
                    for v in &x {
                        let r = round(*v, keep);
                        let same = Sample::to_bits(r) == Sample::to_bits(slow(*v, keep));
                        assert!(same || !dtype.is_float(), "{field:?} {keep} {v:?} {r:?}");
                        let floor = if dtype == Dtype::F32 { f64::from(f32::MIN_POSITIVE) } else { f64::MIN_POSITIVE };
                        let error = (Sample::to_f64(*v) - Sample::to_f64(r)).abs();
                        let bound = 0.5f64.powi(keep as i32 + 1) * Sample::to_f64(*v).abs().max(floor);
                        assert!(!Sample::is_finite(*v) || error <= bound, "{field:?} {keep} {v:?} {r:?}");
                    }
                });
            }
        }
    }

    #[test]
    fn ties_go_to_even_and_edges_stay() {
        assert_eq!([1.125f32, 1.375, -1.125].map(|v| round(v, 2)), [1.0, 1.5, -1.0]);
        assert_eq!(round(1.999f32, 2), 2.0);
        for v in [f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, f32::from_bits(0x7fc0_0123)] {
            assert_eq!(round(v, 3).to_bits(), v.to_bits());
        }
        // A subnormal is rounded at the same bit as the smallest normal numbers; signs stay.
        assert_eq!(round(f32::from_bits(5), 21).to_bits(), 4);
        assert_eq!(round(f32::from_bits(0x8000_0001), 21).to_bits(), 0x8000_0000);
    }

    #[test]
    fn nothing_turns_into_a_marker() {
        let (x, missing) = ([1.001f32, 2.5, 1.0], [u64::from(1f32.to_bits())]);
        let (y, n_exact) = samples(&x, Some(&[true, true, false]), &missing, 4);
        assert_eq!((y, n_exact), (vec![1.001, 2.5, 1.0], 1));
    }
}
