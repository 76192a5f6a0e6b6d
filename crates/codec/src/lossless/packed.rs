//! The lattice of a GRIB message: a reference value and steps of a power of two, divided by a power of ten.
//!
//! # Maths
//! 1. x = (offset + k 2^exponent) / 10^digits in f64, rounded to the sample's type; offset is brought to 0 <= offset < 2^exponent,
//!    what is beyond moves to k.
//! 2. Detection: x was rounded, so offset + k 2^exponent lies in an interval around 10^digits x. Less the multiple of the step that
//!    leads to the first sample, these intervals share a point, or there is no such lattice. The largest step wins; of the shared
//!    points the one with the fewest bits.
//! # On the wire `bits`, and `fraction` where bits > 0: offset = fraction 2^(exponent - bits); the step only where it changes
//! # Cost       a step that is too large fails after a few samples

use super::base::{MAX_DIGITS, from_ordered, ordered, power_of_ten, power_of_two, unzigzag, zigzag};
use crate::bits::{Reader, Writer};
use crate::dtype::{Dtype, Sample};
use crate::error::{Error, Result};

/// Most bits of an offset.
const MAX_BITS: u32 = 52;
/// Exponents whose steps are normal f64.
const EXPONENTS: std::ops::RangeInclusive<i32> = -1000..=1000;
/// Digits that are looked for: packers know no more.
const TRIED_DIGITS: u32 = 12;
/// Steps are looked for up to this many powers of two below the range of the samples.
const DEPTH: i32 = 40;
/// Samples on which most attempts end.
const PROBES: usize = 64;
/// In `tag`: the step is another than that of the slice before.
const NEW_STEP: u8 = 64;

/// A lattice with its own origin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Packed {
    digits: u32,
    exponent: i32,
    bits: u32,
    fraction: u64,
    offset: f64,
    step: f64,
    /// 1 / step, exactly.
    per_step: f64,
    power: f64,
}

impl Packed {
    fn new(digits: u32, exponent: i32, bits: u32, fraction: u64) -> Self {
        let offset = fraction as f64 * power_of_two(exponent - bits as i32);
        let (step, per_step) = (power_of_two(exponent), power_of_two(-exponent));
        Self { digits, exponent, bits, fraction, offset, step, per_step, power: power_of_ten(digits) }
    }

    /// Distance between samples.
    pub fn gap(self) -> f64 {
        self.step / self.power
    }

    /// The key nearest to a number.
    #[inline]
    pub fn nearest(self, v: f64) -> i64 {
        ((v * self.power - self.offset) * self.per_step).round_ties_even() as i64
    }

    /// The sample of a key.
    #[inline]
    pub fn sample<T: Sample>(self, k: i64) -> T {
        T::from_f64((self.offset + k as f64 * self.step) / self.power)
    }

    /// Writes the parameters; `before` is the lattice of the slice before.
    pub fn write(self, w: &mut Writer, before: Option<Self>) {
        let same = before.is_some_and(|b| (b.digits, b.exponent) == (self.digits, self.exponent));
        w.u8(self.bits as u8 + 1 + if same { 0 } else { NEW_STEP });
        if !same {
            w.u8(self.digits as u8);
            w.varint(zigzag(self.exponent.into()));
        }
        if self.bits > 0 {
            w.varint(self.fraction);
        }
    }

    /// The inverse of [`Packed::write`]; none if the slice has no lattice, which a zero in place of the tag says.
    pub fn read(src: &mut Reader<'_>, before: Option<Self>) -> Result<Option<Self>> {
        let corrupt = |what: &str| Error::Corrupt { stage: "lossless", what: what.into() };
        let tag = src.u8()?;
        if tag == 0 {
            return Ok(None);
        }
        let bits = u32::from(tag & (NEW_STEP - 1)).wrapping_sub(1);
        let (digits, exponent) = match before {
            _ if tag & NEW_STEP > 0 => (u32::from(src.u8()?), unzigzag(src.varint()?)),
            Some(b) => (b.digits, b.exponent.into()),
            None => return Err(corrupt("a lattice without a step")),
        };
        let exponent = i32::try_from(exponent).ok().filter(|e| EXPONENTS.contains(e));
        let fraction = if bits > 0 && bits <= MAX_BITS { src.varint()? } else { 0 };
        match exponent {
            Some(e) if tag < 2 * NEW_STEP && bits <= MAX_BITS && fraction >> bits == 0 && digits <= MAX_DIGITS => {
                Ok(Some(Self::new(digits, e, bits, fraction)))
            }
            _ => Err(corrupt("a lattice that no encoder writes")),
        }
    }

    /// The coarsest lattice that gives back every bit of `x`. Samples that are all the same lie on that of the slice `before`.
    pub fn find<T: Sample>(x: &[T], before: Option<Self>) -> Option<Self> {
        if !T::DTYPE.is_float() || x.is_empty() {
            return None;
        }
        // What a few samples do not have, all do not have either.
        let few: Vec<T> = x.iter().step_by(x.len().div_ceil(PROBES)).copied().collect();
        if Self::coarsest(&few, before).is_none() && few.iter().any(|v| *v != few[0]) {
            return None;
        }
        let found = Self::coarsest(x, before);
        found.filter(|p| x.iter().all(|v| p.sample::<T>(p.nearest(v.to_f64())).to_bits() == v.to_bits()))
    }

    /// The largest step that meets the intervals of all samples.
    fn coarsest<T: Sample>(x: &[T], before: Option<Self>) -> Option<Self> {
        if !x.iter().all(|v| v.is_finite()) {
            return None;
        }
        let mut intervals: Vec<Interval> = x.iter().map(|v| Interval::of(*v)).collect();
        let (low, high) = intervals.iter().fold((f64::MAX, f64::MIN), |(l, h), i| (l.min(i.at), h.max(i.at)));
        let widest = intervals.iter().fold(0.0, |w, i| i.width().max(w));
        if low == high {
            return before.and_then(|b| common(&mut intervals, b.digits, b.exponent));
        }
        let mut best: Option<Self> = None;
        for digits in 0..=TRIED_DIGITS {
            let power = power_of_ten(digits);
            let top = exponent_of((high - low) * power);
            for exponent in (top - DEPTH..=top).rev().filter(|e| EXPONENTS.contains(e)) {
                let step = power_of_two(exponent);
                // As fine as the samples' own bits: nothing to gain.
                if step < 2.0 * widest * power || best.is_some_and(|b| step / power <= b.gap()) {
                    break;
                }
                let found = common(&mut intervals, digits, exponent);
                if found.is_some() {
                    best = found;
                    break;
                }
            }
        }
        best
    }
}

/// The numbers that round to a sample.
#[derive(Debug, Clone, Copy)]
struct Interval {
    low: f64,
    at: f64,
    high: f64,
}

impl Interval {
    fn of<T: Sample>(x: T) -> Self {
        let at = x.to_f64();
        if T::DTYPE == Dtype::F64 {
            // Halves of the last place are no f64.
            let half = at.abs() * (f64::EPSILON / 2.0);
            return Self { low: at - half, at, high: at + half };
        }
        let middle = |k: i64| {
            let other = from_ordered::<T>(k).to_f64();
            if other.is_finite() { (at + other) / 2.0 } else { at }
        };
        let k = ordered(x);
        let (low, high) = (middle(k.saturating_sub(1)), middle(k.saturating_add(1)));
        // Ties go to the even neighbour.
        if x.to_bits() & 1 > 0 {
            Self { low: low.next_up(), at, high: high.next_down() }
        } else {
            Self { low, at, high }
        }
    }

    fn width(self) -> f64 {
        self.high - self.low
    }
}

/// Floor of the binary logarithm of a normal number.
fn exponent_of(v: f64) -> i32 {
    (v.to_bits() >> 52 & 0x7ff) as i32 - 1023
}

/// The lattice of this step that meets every interval. What an attempt fails at moves to the front, where it stops the next early.
fn common(intervals: &mut [Interval], digits: u32, exponent: i32) -> Option<Packed> {
    let (power, step) = (power_of_ten(digits), power_of_two(exponent));
    let first = intervals.first()?.at * power;
    let (mut low, mut high) = (f64::MIN, f64::MAX);
    for (i, interval) in intervals.iter().enumerate() {
        let down = ((interval.at * power - first) / step).round_ties_even() * step;
        low = low.max(interval.low * power - down);
        high = high.min(interval.high * power - down);
        if low > high {
            intervals[..=i].rotate_right(1);
            return None;
        }
    }
    let whole = (low / step).floor() * step;
    (low, high) = (low - whole, high - whole);
    if low <= 0.0 || high >= step {
        return Some(Packed::new(digits, exponent, 0, 0));
    }
    (1..=MAX_BITS).find_map(|bits| {
        let grain = power_of_two(exponent - bits as i32);
        let fraction = (low / grain).ceil();
        (fraction * grain <= high).then(|| Packed::new(digits, exponent, bits, fraction as u64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::uniform;

    fn packed(reference: f64, exponent: i32, digits: u32, seed: u64) -> Vec<f32> {
        let key = |i: u64| (uniform(seed + i) * 30000.0).floor();
        (0..500).map(|i| ((reference + key(i) * power_of_two(exponent)) / power_of_ten(digits)) as f32).collect()
    }

    #[test]
    fn finds_reference_step_and_digits_though_samples_were_rounded() {
        let cases: &[(f32, i32, u32)] = &[
            (46727.953, -2, 0),
            (14015.956, -3, 0),
            (238.16008, -10, 0),
            (2345.3, 0, 2),
            (-712.25, -3, 1),
            (65.3, 1, 1),
            (-1e-3, -20, 0),
        ];
        for (i, &(reference, exponent, digits)) in cases.iter().enumerate() {
            let x = packed(reference.into(), exponent, digits, 1000 * i as u64);
            let found = Packed::find(&x, None).unwrap();
            let gap = power_of_two(exponent) / power_of_ten(digits);
            assert!((found.gap() - gap).abs() <= gap * 1e-12, "{reference} {exponent} {digits}: {found:?}");
        }
    }

    #[test]
    fn noise_has_none_and_equal_samples_take_that_of_the_slice_before() {
        let noise: Vec<f32> = (0..500).map(|i| uniform(i) as f32).collect();
        assert_eq!(Packed::find(&noise, None), None);
        assert_eq!(Packed::find(&[0.0f32, f32::NAN], None), None);
        assert_eq!(Packed::find(&[-0.0f32, 1.0], None), None);
        assert_eq!(Packed::find(&[7.5f32; 9], None), None);
        let before = Packed::find(&packed(10.0, -4, 0, 5), None);
        assert_eq!(Packed::find(&[7.53125f32; 9], before).unwrap().gap(), 0.0625);
    }
}
