//! What is measured on a variable and on its reconstruction. Sums run in one fixed order: sample order, chunk after chunk.

use crate::bound::Affine;
use crate::dtype::Sample;

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
        let (mut n_valid, mut sum_sq) = (0, 0.0);
        for (i, v) in x.iter().enumerate() {
            if valid.is_none_or(|m| m[i]) {
                let p = affine.physical(v.to_f64());
                n_valid += 1;
                self.min = self.min.min(p);
                self.max = self.max.max(p);
                sum_sq += p * p;
            }
        }
        self.n += x.len() as u64;
        self.n_valid += n_valid;
        self.sum_sq += sum_sq;
    }

    /// Adds the next chunk's statistics.
    pub fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.n_valid += other.n_valid;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum_sq += other.sum_sq;
    }

    /// `max - min`; 0 if nothing is valid.
    pub fn range(&self) -> f64 {
        if self.n_valid == 0 { 0.0 } else { self.max - self.min }
    }
}

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
        let (mut sum_sq_err, mut sum_err) = (0.0, 0.0);
        for (i, (&a, &b)) in x.iter().zip(y).enumerate() {
            if a.to_bits() == b.to_bits() {
                continue;
            }
            self.n_changed += 1;
            if valid.is_some_and(|m| !m[i]) {
                self.n_mask_changed += 1;
                continue;
            }
            let d = affine.distance(a, b);
            let size = affine.physical(a.to_f64()).abs();
            let rel = if d == 0.0 { 0.0 } else { d / size };
            // Reconstructions that are not finite must never look good.
            let worst = |m: f64, v: f64| if v.is_nan() { f64::INFINITY } else { m.max(v) };
            self.max_abs = worst(self.max_abs, d);
            self.max_rel = worst(self.max_rel, rel);
            sum_sq_err += d * d;
            sum_err += affine.physical(b.to_f64()) - affine.physical(a.to_f64());
        }
        self.sum_sq_err += sum_sq_err;
        self.sum_err += sum_err;
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
    pub fn l2(&self) -> f64 {
        if self.sum_sq_err == 0.0 { 0.0 } else { (self.sum_sq_err / self.field.sum_sq).sqrt() }
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
