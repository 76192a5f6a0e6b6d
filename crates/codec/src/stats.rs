//! What is measured on a variable and on its reconstruction. Sums run in one fixed order: eight sums, each of every eighth sample of
//! a chunk, then theirs in pairs, chunk after chunk.

use crate::bound::Affine;
use crate::dtype::Sample;
use crate::simd::{level, widest};

/// Sums that are kept side by side.
pub(crate) const LANES: usize = 8;

fn sum(lanes: [f64; LANES]) -> f64 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

/// Calls `visit` for eight samples at a time of `x` and of `y`, and whether each counts.
#[inline(always)]
pub(crate) fn each_eight<T: Sample>(
    x: &[T],
    y: &[T],
    valid: Option<&[bool]>,
    mut visit: impl FnMut(&[T; LANES], &[T; LANES], &[bool; LANES]),
) {
    fn filled<T: Copy + Default>(part: &[T]) -> [T; LANES] {
        let mut eight = [T::default(); LANES];
        eight[..part.len()].copy_from_slice(part);
        eight
    }
    let (x, x_rest) = x.as_chunks::<LANES>();
    let (y, y_rest) = y.as_chunks::<LANES>();
    match valid {
        Some(m) => x.iter().zip(y).zip(m.as_chunks().0).for_each(|((x, y), ok)| visit(x, y, ok)),
        None => x.iter().zip(y).for_each(|(x, y)| visit(x, y, &[true; LANES])),
    }
    let n = x_rest.len().min(y_rest.len());
    let ok = valid.map_or(filled(&[true; LANES][..n]), |m| filled(&m[x.len() * LANES..][..n]));
    visit(&filled(&x_rest[..n]), &filled(&y_rest[..n]), &ok);
}

/// First-pass statistics of the valid samples, physical units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FieldStats {
    /// Samples seen, missing ones included.
    pub n: u64,
    /// Valid samples.
    pub n_valid: u64,
    /// Smallest valid sample; +inf if there is none.
    pub min: f64,
    /// Largest valid sample; -inf if there is none.
    pub max: f64,
    /// Sum of squares.
    pub sum_sq: f64,
}

impl Default for FieldStats {
    fn default() -> Self {
        Self { n: 0, n_valid: 0, min: f64::INFINITY, max: f64::NEG_INFINITY, sum_sq: 0.0 }
    }
}

impl FieldStats {
    /// Adds samples; `valid` of `None` means that all are.
    pub fn add<T: Sample>(&mut self, x: &[T], valid: Option<&[bool]>, affine: Affine) {
        let (mut min, mut max, mut sum_sq) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES], [0.0; LANES]);
        widest!(level(), _simd => {
            each_eight(x, x, valid, #[inline(always)] |x, _, ok| {
                for l in 0..LANES {
                    let p = affine.physical(x[l].to_f64());
                    min[l] = if ok[l] & (p < min[l]) { p } else { min[l] };
                    max[l] = if ok[l] & (p > max[l]) { p } else { max[l] };
                    sum_sq[l] += if ok[l] { p * p } else { 0.0 };
                }
            });
        });
        self.min = min.into_iter().fold(self.min, f64::min);
        self.max = max.into_iter().fold(self.max, f64::max);
        self.sum_sq += sum(sum_sq);
        self.n += x.len() as u64;
        self.n_valid += valid.map_or(x.len(), |m| m.iter().filter(|v| **v).count()) as u64;
    }

    /// Adds the next chunk's statistics.
    pub fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.n_valid += other.n_valid;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum_sq += other.sum_sq;
    }

    /// `max - min`, at most the largest number; 0 if nothing is valid.
    pub fn range(&self) -> f64 {
        let range = self.max - self.min;
        match self.n_valid {
            0 => 0.0,
            _ if range > f64::MAX => f64::MAX,
            _ => range,
        }
    }
}

/// Below it, squares among the summands are subnormal, or 0.
const LEAST_SQUARES: f64 = 1e-280;

/// How far a reconstruction is from its original, physical units.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ErrorStats {
    /// The original.
    pub field: FieldStats,
    /// Samples, missing ones included, whose bits differ.
    pub n_changed: u64,
    /// Missing samples whose bits differ: always 0 for what this crate wrote.
    pub n_mask_changed: u64,
    /// Largest `abs(x - x')`.
    pub max_abs: f64,
    /// Largest `abs(x - x') / abs(x)`; infinite where a zero moved.
    pub max_rel: f64,
    /// Sum of `(x - x')^2`.
    pub sum_sq_err: f64,
    /// Sum of `x' - x`, for the bias.
    pub sum_err: f64,
}

impl ErrorStats {
    /// Adds samples and their reconstruction; `valid` of `None` means that all are.
    pub fn add<T: Sample>(&mut self, x: &[T], y: &[T], valid: Option<&[bool]>, affine: Affine) {
        self.field.add(x, valid, affine);
        let (mut max_abs, mut max_rel, mut sum_sq_err, mut sum_err) =
            ([0.0; LANES], [0.0; LANES], [0.0; LANES], [0.0; LANES]);
        let (mut changed, mut mask_changed) = ([0; LANES], [0; LANES]);
        widest!(level(), _simd => {
            each_eight(x, y, valid, #[inline(always)] |x, y, ok| for l in 0..LANES {
                let (a, b) = (x[l], y[l]);
                let differs = a.to_bits() != b.to_bits();
                changed[l] += u64::from(differs);
                mask_changed[l] += u64::from(differs & !ok[l]);
                let ok = ok[l] & differs;
                let (pa, pb) = (affine.physical(a.to_f64()), affine.physical(b.to_f64()));
                let d = affine.distance(a, b);
                let rel = if d == 0.0 { 0.0 } else { d / pa.abs() };
                // Reconstructions that are not finite must never look good.
                let worst = |m: f64, v: f64| {
                    let v = if v.is_nan() { f64::INFINITY } else { v };
                    if ok & (v > m) { v } else { m }
                };
                max_abs[l] = worst(max_abs[l], d);
                max_rel[l] = worst(max_rel[l], rel);
                sum_sq_err[l] += if ok { d * d } else { 0.0 };
                sum_err[l] += if ok { pb - pa } else { 0.0 };
            });
        });
        self.n_changed += changed.iter().sum::<u64>();
        self.n_mask_changed += mask_changed.iter().sum::<u64>();
        self.max_abs = max_abs.into_iter().fold(self.max_abs, f64::max);
        self.max_rel = max_rel.into_iter().fold(self.max_rel, f64::max);
        self.sum_sq_err += sum(sum_sq_err);
        self.sum_err += sum(sum_err);
    }

    /// Adds the next chunk's errors.
    pub fn merge(&mut self, other: &Self) {
        self.field.merge(&other.field);
        self.n_changed += other.n_changed;
        self.n_mask_changed += other.n_mask_changed;
        self.max_abs = self.max_abs.max(other.max_abs);
        self.max_rel = self.max_rel.max(other.max_rel);
        self.sum_sq_err += other.sum_sq_err;
        self.sum_err += other.sum_err;
    }

    /// Relative Frobenius error; 0 without error, infinite if an all-zero field changed.
    /// Infinite where the squares are too small for their sums to say anything.
    pub fn l2(&self) -> f64 {
        match self.field.sum_sq {
            _ if self.max_abs == 0.0 => 0.0,
            sum_sq if sum_sq < LEAST_SQUARES => f64::INFINITY,
            sum_sq => (self.sum_sq_err / sum_sq).sqrt(),
        }
    }

    /// Root mean square error.
    pub fn rmse(&self) -> f64 {
        if self.field.n_valid == 0 { 0.0 } else { (self.sum_sq_err / self.field.n_valid as f64).sqrt() }
    }

    /// Peak signal-to-noise ratio in dB; infinite without error.
    pub fn psnr(&self) -> f64 {
        if self.sum_sq_err == 0.0 { f64::INFINITY } else { 20.0 * (self.field.range() / self.rmse()).log10() }
    }

    /// Mean of `x' - x`.
    pub fn bias(&self) -> f64 {
        if self.field.n_valid == 0 { 0.0 } else { self.sum_err / self.field.n_valid as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_summed_over_valid_samples() {
        let mut e = ErrorStats::default();
        e.add(&[3.0f32, 4.0, f32::NAN], &[3.0, 4.5, f32::NAN], Some(&[true, true, false]), Affine::IDENTITY);
        assert_eq!((e.max_abs, e.n_changed, e.n_mask_changed), (0.5, 1, 0));
        assert_eq!(e.l2(), 0.1);
        assert_eq!(e.field.range(), 1.0);
        e.add(&[0.0f32], &[f32::INFINITY], None, Affine::IDENTITY);
        assert!(e.max_abs.is_infinite() && e.max_rel.is_infinite());
    }

    #[test]
    fn one_pass_and_merged_chunks_agree() {
        let (x, y) = ([1i16, -2, 3, 9], [1i16, -1, 3, 7]);
        let a = Affine { scale: -0.5, offset: 10.0 };
        let (mut whole, mut parts) = (ErrorStats::default(), ErrorStats::default());
        whole.add(&x, &y, None, a);
        for i in 0..2 {
            let mut p = ErrorStats::default();
            p.add(&x[2 * i..][..2], &y[2 * i..][..2], None, a);
            parts.merge(&p);
        }
        assert_eq!(whole, parts);
        assert_eq!(whole.max_abs, 1.0);
    }
}
