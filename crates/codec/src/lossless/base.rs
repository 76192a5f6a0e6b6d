//! Samples as integers: which integers, and how a predicted number becomes one.
//!
//! # Maths
//! A base maps samples one to one, and in order, to keys:
//!   bits     the magnitude's bits without `shift` low ones, negative numbers complemented: u(-x) = !u(x)
//!   steps    x = (k step + offset) 2^exponent
//!   decimal  x = k / 10^digits, correctly rounded: numbers that were once written as text
//!   packed   x = (offset + k 2^exponent) / 10^digits, rounded; of slices only (`lift`)
//! Each mapping is used only where it gives back every sample's bits.
//! # On the wire the base's parameters

use super::packed::Packed;
use crate::bits::{Reader, Writer};
use crate::dtype::{Dtype, Sample};
use crate::error::{Error, Result};

/// A mapping of samples to keys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Base {
    /// Ordered bit patterns.
    Bits { shift: u32 },
    /// An arithmetic lattice.
    Steps { exponent: i32, step: u64, offset: i64 },
    /// Decimal fractions.
    Decimal { digits: u32 },
    /// The lattice of a GRIB message.
    Packed(Packed),
}

/// Integers beyond this are not all f64.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// 10^22 is the last power of ten that is an f64.
pub const MAX_DIGITS: u32 = 22;

/// 10^digits, exactly.
pub fn power_of_ten(digits: u32) -> f64 {
    (0..digits.min(MAX_DIGITS)).fold(1.0, |p, _| p * 10.0)
}

/// 2^e, also subnormal; 0 or infinity beyond.
pub fn power_of_two(e: i32) -> f64 {
    match e {
        -1022..=1023 => f64::from_bits(((e + 1023) as u64) << 52),
        -1074..=-1023 => f64::from_bits(1 << (e + 1074)),
        _ => 0.0,
    }
}

/// Bits of a sample.
fn width<T: Sample>() -> u32 {
    8 * size_of::<T>() as u32
}

fn is_signed<T: Sample>() -> bool {
    matches!(T::DTYPE, Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64)
}

/// Magnitude and sign of a float's bits.
fn split<T: Sample>(x: T) -> (bool, u64) {
    let sign = 1u64 << (width::<T>() - 1);
    (x.to_bits() & sign > 0, x.to_bits() & !sign)
}

/// Key of an integer sample.
fn integer_key<T: Sample>(x: T) -> i64 {
    match (is_signed::<T>(), width::<T>()) {
        (true, w) => (x.to_bits() << (64 - w)) as i64 >> (64 - w),
        (false, 64) => (x.to_bits() ^ 1 << 63) as i64,
        (false, _) => x.to_bits() as i64,
    }
}

/// Ordered bits of any sample.
pub fn ordered<T: Sample>(x: T) -> i64 {
    Base::Bits { shift: 0 }.key(x)
}

/// The inverse of [`ordered`].
pub fn from_ordered<T: Sample>(k: i64) -> T {
    Base::Bits { shift: 0 }.sample(k)
}

fn integer_sample<T: Sample>(k: i64) -> T {
    match width::<T>() {
        64 if !is_signed::<T>() => T::from_bits(k as u64 ^ 1 << 63),
        w => T::from_bits(k as u64 & u64::MAX >> (64 - w)),
    }
}

impl Base {
    /// Key of a sample that the mapping holds; any number for others.
    #[inline]
    pub fn key<T: Sample>(self, x: T) -> i64 {
        match self {
            Self::Bits { shift } if T::DTYPE.is_float() => {
                let (negative, magnitude) = split(x);
                let m = (magnitude >> shift) as i64;
                if negative { !m } else { m }
            }
            Self::Bits { .. } => integer_key(x),
            Self::Steps { exponent, step, offset } => {
                let k = if T::DTYPE.is_float() { scale_down(x.to_f64(), exponent) as i64 } else { integer_key(x) };
                k.wrapping_sub(offset) / step as i64
            }
            Self::Decimal { digits } => (x.to_f64() * power_of_ten(digits)).round_ties_even() as i64,
            Self::Packed(p) => p.nearest(x.to_f64()),
        }
    }

    /// The sample of a key.
    #[inline]
    pub fn sample<T: Sample>(self, k: i64) -> T {
        match self {
            Self::Bits { shift } if T::DTYPE.is_float() => {
                let sign = 1u64 << (width::<T>() - 1);
                let m = (if k < 0 { !k } else { k } as u64) << shift & (sign - 1);
                T::from_bits(if k < 0 { m | sign } else { m })
            }
            Self::Bits { .. } => integer_sample(k),
            Self::Steps { exponent, step, offset } => {
                let k = k.wrapping_mul(step as i64).wrapping_add(offset);
                if T::DTYPE.is_float() { T::from_f64(scale_up(k as f64, exponent)) } else { integer_sample(k) }
            }
            Self::Decimal { digits } => T::from_f64(k as f64 / power_of_ten(digits)),
            Self::Packed(p) => p.sample(k),
        }
    }

    /// The key nearest to a number in the samples' own units.
    #[inline]
    pub fn nearest<T: Sample>(self, v: f64) -> i64 {
        // Sums of the largest numbers give one, whose sign depends on the machine.
        let v = if v.is_nan() { f64::from_bits(0xfff8_0000_0000_0000) } else { v };
        match self {
            Self::Bits { shift } if T::DTYPE.is_float() => {
                let (negative, magnitude) = split(T::from_f64(v));
                let half = if shift > 0 { 1u64 << (shift - 1) } else { 0 };
                let m = ((magnitude + half) >> shift) as i64;
                if negative { !m } else { m }
            }
            Self::Packed(p) => p.nearest(v),
            _ => self.key(T::from_f64(v)),
        }
    }

    /// Distance from a finite sample to the next that the mapping can give; of floating-point samples only.
    pub fn gap<T: Sample>(self, x: T) -> f64 {
        match self {
            Self::Bits { shift } => {
                let (_, magnitude) = split(x);
                let next = T::from_bits(((magnitude >> shift) + 1) << shift).to_f64();
                (next - T::from_bits(magnitude).to_f64()).max(f64::MIN_POSITIVE)
            }
            Self::Steps { exponent, step, .. } => scale_up(step as f64, exponent),
            Self::Decimal { digits } => 1.0 / power_of_ten(digits),
            Self::Packed(p) => p.gap(),
        }
    }

    /// Number of the mapping on the wire.
    pub fn id(self) -> u8 {
        match self {
            Self::Bits { .. } => 0,
            Self::Steps { .. } => 1,
            Self::Decimal { .. } => 2,
            Self::Packed(_) => super::lift::SLICES,
        }
    }

    /// Writes the parameters.
    pub fn write<T: Sample>(self, w: &mut Writer) {
        match self {
            Self::Bits { shift } => {
                if T::DTYPE.is_float() {
                    w.u8(shift as u8);
                }
            }
            Self::Steps { exponent, step, offset } => {
                if T::DTYPE.is_float() {
                    w.varint(zigzag(exponent.into()));
                }
                w.varint(step);
                w.varint(zigzag(offset));
            }
            Self::Decimal { digits } => w.u8(digits as u8),
            // Slices write theirs after one another.
            Self::Packed(_) => {}
        }
    }

    /// The inverse of [`Base::write`].
    pub fn read<T: Sample>(id: u8, src: &mut Reader<'_>) -> Result<Self> {
        let float = T::DTYPE.is_float();
        Ok(match id {
            0 => Self::Bits { shift: if float { u32::from(src.u8()?) % width::<T>() } else { 0 } },
            1 => {
                let exponent = if float { unzigzag(src.varint()?) } else { 0 };
                let exponent = exponent.clamp(-1100, 1100) as i32;
                Self::Steps { exponent, step: src.varint()?.clamp(1, i64::MAX as u64), offset: unzigzag(src.varint()?) }
            }
            2 => Self::Decimal { digits: u32::from(src.u8()?).min(MAX_DIGITS) },
            id => return Err(Error::Unsupported { what: "lossless sample mapping", id: id.into() }),
        })
    }

    /// Mappings that give back every bit of `x`, the ordered bits first.
    pub fn candidates<T: Sample>(x: &[T]) -> Vec<Self> {
        let mut all = Vec::new();
        if T::DTYPE.is_float() {
            let low = x.iter().fold(0, |o, v| o | split(*v).1);
            all.push(Self::Bits { shift: low.trailing_zeros().min(width::<T>() - 1) });
        } else {
            all.push(Self::Bits { shift: 0 });
        }
        all.extend(Self::steps(x));
        if T::DTYPE.is_float() {
            all.extend(Self::decimal(x));
        }
        all
    }

    fn holds<T: Sample>(self, x: &[T]) -> bool {
        x.iter().all(|v| self.sample::<T>(self.key(*v)).to_bits() == v.to_bits())
    }

    fn steps<T: Sample>(x: &[T]) -> Option<Self> {
        let exponent = if T::DTYPE.is_float() {
            if !x.iter().all(|v| v.is_finite()) {
                return None;
            }
            x.iter().filter_map(|v| lowest_bit(v.to_f64())).min().unwrap_or(0)
        } else {
            0
        };
        let plain = Self::Steps { exponent, step: 1, offset: 0 };
        let first = plain.key(*x.first()?);
        let mut step = 0;
        for &v in x {
            let k = plain.key(v);
            if T::DTYPE.is_float() && k.unsigned_abs() > EXACT as u64 {
                return None;
            }
            step = gcd(step, k.checked_sub(first)?.unsigned_abs());
            if step == 1 && !T::DTYPE.is_float() {
                return None;
            }
        }
        let offset = first.checked_rem(step as i64)?;
        Some(Self::Steps { exponent, step, offset }).filter(|s| step < 1 << 62 && s.holds(x))
    }

    fn decimal<T: Sample>(x: &[T]) -> Option<Self> {
        let fits = |digits: u32, v: T| {
            let base = Self::Decimal { digits };
            let k = base.key(v);
            (k as f64).abs() <= EXACT && base.sample::<T>(k).to_bits() == v.to_bits()
        };
        let mut digits = 1;
        for &v in x {
            while !fits(digits, v) {
                digits += 1;
                if digits > MAX_DIGITS {
                    return None;
                }
            }
        }
        Some(Self::Decimal { digits }).filter(|_| x.iter().all(|v| fits(digits, *v)))
    }
}

fn scale_down(v: f64, exponent: i32) -> f64 {
    // In two halves: 2^-exponent alone may not be a number.
    let half = exponent / 2;
    v * power_of_two(-half) * power_of_two(-(exponent - half))
}

fn scale_up(v: f64, exponent: i32) -> f64 {
    let half = exponent / 2;
    v * power_of_two(exponent - half) * power_of_two(half)
}

/// Exponent of the lowest set bit; none for zero.
fn lowest_bit(v: f64) -> Option<i32> {
    if v == 0.0 {
        return None;
    }
    let (exponent, fraction) = ((v.to_bits() >> 52 & 0x7ff) as i32, v.to_bits() & ((1 << 52) - 1));
    Some(if exponent == 0 {
        fraction.trailing_zeros() as i32 - 1074
    } else {
        (fraction | 1 << 52).trailing_zeros() as i32 + exponent - 1075
    })
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Signed to unsigned, small to small.
pub fn zigzag(v: i64) -> u64 {
    (v << 1 ^ v >> 63) as u64
}

/// The inverse of [`zigzag`].
pub fn unzigzag(v: u64) -> i64 {
    (v >> 1) as i64 ^ -((v & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::match_samples;
    use crate::testkit::FIELDS;

    #[test]
    fn every_candidate_gives_back_every_bit() {
        for dtype in Dtype::ALL {
            for field in FIELDS {
                match_samples!(field.samples(dtype, 300, 7), x => {
                    for base in Base::candidates(&x) {
                        assert!(base.holds(&x), "{dtype} {field:?} {base:?}");
                    }
                });
            }
        }
    }

    #[test]
    fn finds_the_lattice_and_the_digits() {
        let x: Vec<f32> = (0..100).map(|i| i as f32 * 0.75 - 3.0).collect();
        assert_eq!(Base::candidates(&x)[1], Base::Steps { exponent: -2, step: 3, offset: 0 });
        let x = [0.1, 0.25, 273.15, 0.001];
        assert_eq!(Base::candidates(&x)[1], Base::Decimal { digits: 3 });
        let x = [1000i64, 3000, -5000];
        assert_eq!(Base::candidates(&x)[1], Base::Steps { exponent: 0, step: 2000, offset: 1000 });
    }
}
