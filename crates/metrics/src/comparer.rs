//! From blocks to a report.

use lithify_codec::dtype::Sample;
use lithify_codec::{Affine, Error, ErrorStats, FieldStats, Result, Samples, block, match_samples};

use crate::comparison::{Comparison, FieldSummary, REL_ERROR_MARK};
use crate::histogram::Histogram;
use crate::moments::Moments;
use crate::sample::{Sampler, quantiles};
use crate::slices::{Lag1, SliceSums};
use crate::ssim::Slices;

/// Collects a variable's blocks, each once and in any order. The same blocks in the same order give the same bits.
///
/// Memory: about 20 MiB, 16 bytes for each index of each dimension, and the horizontal slices that are not complete, up to 1 GiB.
#[derive(Debug, Clone)]
pub struct Comparer {
    shape: Vec<usize>,
    affine: Affine,
    stats: ErrorStats,
    decoded: FieldStats,
    n_valid_lost: u64,
    n_above_mark: u64,
    sum_abs: f64,
    moments: Moments,
    histogram: Histogram,
    sampler: Sampler,
    sums: SliceSums,
    lag1: Lag1,
    ssim: Option<Slices>,
}

impl Comparer {
    /// For a variable of this shape whose stored values are unpacked by `affine`.
    pub fn new(shape: &[usize], affine: Affine) -> Self {
        // A scalar is a line of one.
        let shape = if shape.is_empty() { vec![1] } else { shape.to_vec() };
        Self {
            affine,
            stats: ErrorStats::default(),
            decoded: FieldStats::default(),
            n_valid_lost: 0,
            n_above_mark: 0,
            sum_abs: 0.0,
            moments: Moments::default(),
            histogram: Histogram::new(),
            sampler: Sampler::new(shape.iter().fold(1, |n: usize, &d| n.saturating_mul(d))),
            sums: SliceSums::new(&shape),
            lag1: Lag1::new(shape.len()),
            ssim: Slices::new(&shape),
            shape,
        }
    }

    /// Adds the block `[start, start + count)`. `valid` of `None` means that every finite sample is.
    ///
    /// # Errors
    /// [`Error::Invalid`] if types, sizes or the place of the block do not fit together.
    pub fn add_block(
        &mut self,
        original: &Samples,
        decoded: &Samples,
        start: &[usize],
        count: &[usize],
        valid: Option<&[bool]>,
    ) -> Result<()> {
        let (start, count) = if start.is_empty() && count.is_empty() { (&[0][..], &[1][..]) } else { (start, count) };
        let inside = start.len() == self.shape.len()
            && count.len() == self.shape.len()
            && (0..start.len()).all(|d| start[d].checked_add(count[d]).is_some_and(|end| end <= self.shape[d]));
        let n = block::n_samples(count).filter(|_| inside).ok_or_else(|| {
            Error::invalid(
                format!("a block must lie inside the shape {:?}", self.shape),
                format!("{start:?} + {count:?}"),
            )
        })?;
        for len in [original.len(), decoded.len(), valid.map_or(n, <[bool]>::len)] {
            if len != n {
                return Err(Error::invalid(format!("a block of shape {count:?} has {n} samples"), len));
            }
        }
        match_samples!(original, x => match of_type(x, decoded) {
            Some(y) => self.add_typed(x, y, start, count, valid),
            None => return Err(Error::invalid(
                format!("original and reconstruction must have one sample type, {}", original.dtype()),
                decoded.dtype(),
            )),
        });
        Ok(())
    }

    fn add_typed<T: Sample>(&mut self, x: &[T], y: &[T], start: &[usize], count: &[usize], valid: Option<&[bool]>) {
        let valid: Vec<bool> = (0..x.len()).map(|i| valid.is_none_or(|m| m[i]) && x[i].is_finite()).collect();
        self.stats.add(x, y, Some(&valid), self.affine);
        self.decoded.add(y, Some(&valid), self.affine);
        // From here on missing samples are NaN on both sides.
        let physical = |v: &[T]| -> Vec<f64> {
            v.iter().zip(&valid).map(|(v, &m)| if m { self.affine.physical(v.to_f64()) } else { f64::NAN }).collect()
        };
        let (x, y) = (physical(x), physical(y));
        let e: Vec<f64> = x.iter().zip(&y).map(|(x, y)| y - x).collect();
        self.moments.merge(&Moments::of(&x, &y));
        for ((x, y), e) in x.iter().zip(&y).zip(&e).filter(|((x, _), _)| !x.is_nan()) {
            let size = e.abs();
            self.histogram.add(size);
            self.sum_abs += size;
            self.n_valid_lost += u64::from(!y.is_finite());
            // Negated, so that a lost sample counts.
            let within = size <= REL_ERROR_MARK * if *x == 0.0 { 1.0 } else { x.abs() };
            self.n_above_mark += u64::from(!within);
        }
        self.lag1.add_block(&e, count);
        let strides = block::strides(&self.shape);
        block::rows(&self.shape, start, count, |at, from, len| {
            let row = from..from + len;
            let index: Vec<usize> = strides.iter().zip(&self.shape).map(|(s, n)| at / s % n).collect();
            self.sampler.add_row(at, &x[row.clone()], &y[row.clone()]);
            self.sums.add_row(&index, &x[row.clone()], &e[row.clone()]);
            if let Some(ssim) = &mut self.ssim {
                ssim.add_row(at, &x[row.clone()], &y[row]);
            }
        });
    }

    /// Adds what another comparer of the same variable has seen: other blocks.
    pub fn merge(&mut self, other: Self) {
        self.stats.merge(&other.stats);
        self.decoded.merge(&other.decoded);
        self.n_valid_lost += other.n_valid_lost;
        self.n_above_mark += other.n_above_mark;
        self.sum_abs += other.sum_abs;
        self.moments.merge(&other.moments);
        self.histogram.merge(&other.histogram);
        self.sampler.merge(other.sampler);
        self.sums.merge(&other.sums);
        self.lag1.merge(&other.lag1);
        if let (Some(a), Some(b)) = (&mut self.ssim, other.ssim) {
            a.merge(b);
        }
    }

    /// The report.
    pub fn finish(self) -> Comparison {
        let s = self.stats;
        let n = s.field.n_valid as f64;
        let exact = s.sum_sq_err == 0.0;
        let (std_x, std_y) = self.moments.std();
        let ranked = self.sampler.finish();
        let (ks_distance, ks_p_value) = ranked.kolmogorov_smirnov();
        // A constant field that came back unchanged correlates as well as can be.
        let pearson = if exact && n > 0.0 { 1.0 } else { self.moments.pearson() };
        let (mean_error, variance) = (s.bias(), s.sum_sq_err / n - s.bias() * s.bias());
        let summary = |field: &FieldStats, mean, std, sorted: &[f64]| FieldSummary {
            min: field.min,
            max: field.max,
            mean: if n > 0.0 { mean } else { f64::NAN },
            std,
            quantiles: quantiles(sorted),
        };
        Comparison {
            n: s.field.n,
            n_valid: s.field.n_valid,
            n_changed: s.n_changed,
            n_missing_changed: s.n_mask_changed,
            n_valid_lost: self.n_valid_lost,
            original: summary(&s.field, self.moments.mean_x, std_x, &ranked.x),
            decoded: summary(&self.decoded, self.moments.mean_y, std_y, &ranked.y),
            max_abs: s.max_abs,
            max_rel: s.max_rel,
            mae: self.sum_abs / n,
            rmse: s.rmse(),
            l2: s.l2(),
            psnr: s.psnr(),
            bias: s.bias(),
            abs_error_p50: self.histogram.percentile(0.5, s.max_abs),
            abs_error_p99: self.histogram.percentile(0.99, s.max_abs),
            abs_error_p999: self.histogram.percentile(0.999, s.max_abs),
            rel_error_fraction: self.n_above_mark as f64 / n,
            pearson,
            r_squared: pearson * pearson,
            determination: if exact { 1.0 } else { 1.0 - s.sum_sq_err / self.moments.spread_x() },
            n_sampled: ranked.x.len() as u64,
            spearman: if exact && n > 0.0 { 1.0 } else { ranked.spearman },
            ks_distance,
            ks_p_value,
            ssim: self.ssim.and_then(Slices::finish),
            slices: self.sums.finish(),
            lag1: self.lag1.finish(mean_error, variance),
            stats: s,
        }
    }
}

/// `decoded` as the type that the original has.
fn of_type<'a, T: Sample>(_: &[T], decoded: &'a Samples) -> Option<&'a [T]> {
    T::slice(decoded)
}
