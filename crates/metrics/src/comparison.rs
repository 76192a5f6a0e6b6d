//! The report: every measure with its formula, its unit and where it comes from.
//!
//! # Maths
//! `x` is a valid sample of the original and `x'` its reconstruction, both in physical units; `n` valid samples; `e = x' - x`.
//! "u" is the variable's unit, "1" a pure number. A sample is valid if the caller's mask says so and the original is finite.
//! A measure that does not exist (the correlation of a constant field) is NaN, so that no test against a pass mark lets it through.
//! # Reference
//! Baker et al. 2014, A methodology for evaluating the impact of data compression on climate simulation data, doi 10.1145/2600212.2600217;
//! Baker et al. 2017, Toward a multi-method approach: lossy data compression for climate simulation data, LNCS 10524;
//! Baker et al. 2022, DSSIM: a structural similarity index for floating-point data, arXiv 2202.02616;
//! Yu et al. 2021, Adaptive-HGFDR v1.0, Geoscientific Model Development 14, doi 10.5194/gmd-14-875-2021;
//! Tao et al. 2019, Z-checker: a framework for assessing lossy compression of scientific data, doi 10.1177/1094342017737147.

use lithify_codec::ErrorStats;
use serde::Serialize;

/// Probabilities of [`FieldSummary::quantiles`].
pub const QUANTILES: [f64; 9] = [0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999];

/// Relative error above which a sample counts in [`Comparison::rel_error_fraction`].
pub const REL_ERROR_MARK: f64 = 1e-4;

/// How a reconstruction compares with its original.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The sums behind the errors, which [`lithify_codec::Promise::kept`] judges.
    #[serde(skip)]
    pub stats: ErrorStats,
    /// Samples, missing ones included.
    pub n: u64,
    /// Valid samples.
    pub n_valid: u64,
    /// Samples, missing ones included, whose bits differ.
    pub n_changed: u64,
    /// Missing samples whose bits differ.
    pub n_missing_changed: u64,
    /// Valid samples whose reconstruction is NaN or infinite.
    pub n_valid_lost: u64,
    /// The original, u.
    pub original: FieldSummary,
    /// The reconstruction at the same samples, u.
    pub decoded: FieldSummary,

    /// Largest `|e|`, u.
    pub max_abs: f64,
    /// Largest `|e| / |x|`, 1; infinite where a zero moved.
    pub max_rel: f64,
    /// Mean `|e|`, u.
    pub mae: f64,
    /// `sqrt(sum e^2 / n)`, u.
    pub rmse: f64,
    /// Relative Frobenius error `sqrt(sum e^2 / sum x^2)`, 1 (Yu 2021).
    pub l2: f64,
    /// `20 log10((max x - min x) / rmse)`, dB; infinite without error.
    pub psnr: f64,
    /// Mean `e`, u.
    pub bias: f64,
    /// Half of the samples have an `|e|` up to this, u. The three percentiles come from a histogram: at most 1/64 too large.
    pub abs_error_p50: f64,
    /// 99 % of the samples have an `|e|` up to this, u.
    pub abs_error_p99: f64,
    /// 99.9 % of the samples have an `|e|` up to this, u.
    pub abs_error_p999: f64,
    /// Part of the samples with `|e| / |x| > 1e-4`, where `x = 0` with `|e| > 1e-4`, 1: the "spatial relative error" of
    /// Baker 2017, pass mark at most 0.05.
    pub rel_error_fraction: f64,

    /// Pearson correlation of `x` and `x'`, 1; pass mark at least 0.99999 (Baker 2014). Insensitive where the offset is large.
    pub pearson: f64,
    /// `pearson^2`, 1: R^2 of the linear regression of `x'` on `x`.
    pub r_squared: f64,
    /// Coefficient of determination `1 - sum e^2 / sum (x - mean x)^2`, 1: unlike `r_squared` it sees a bias or a wrong gain.
    pub determination: f64,
    /// How many samples the next three measures and the quantiles rest on: `n_valid` where the variable has up to
    /// 10^6 samples, else a sample of 5 10^5 to 10^6 positions that depends on the shape alone.
    pub n_sampled: u64,
    /// Spearman correlation: Pearson's of the ranks, ties sharing their mean rank, 1.
    pub spearman: f64,
    /// Kolmogorov-Smirnov distance `max |F(v) - F'(v)|` of the two distributions, 1 (Baker 2014).
    pub ks_distance: f64,
    /// Its two-sided p-value `2 sum_k (-1)^(k-1) exp(-2 k^2 D^2 n/2)`, asymptotic, 1; pass mark at least 0.05.
    pub ks_p_value: f64,

    /// Structural similarity of the horizontal slices; `None` below two dimensions or 11 x 11 samples.
    pub ssim: Option<Ssim>,
    /// Errors of the slices along each dimension; dimensions of one index, or of more than 2^20, are left out.
    pub slices: Vec<SliceErrors>,
    /// Lag-1 autocorrelation of `e` along each dimension, 1 (Z-checker, Tao 2019): near 0 for white errors. Neighbours in different
    /// blocks are not paired. NaN without pairs or without error.
    pub lag1: Vec<f64>,
}

/// One field by itself, u.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldSummary {
    /// Smallest valid sample.
    pub min: f64,
    /// Largest valid sample.
    pub max: f64,
    /// Mean.
    pub mean: f64,
    /// Standard deviation, of the population (divided by n).
    pub std: f64,
    /// At the probabilities [`QUANTILES`], linear between samples.
    pub quantiles: [f64; QUANTILES.len()],
}

/// Data SSIM (Baker 2022), 1: each slice of the last two dimensions scaled to `[0, 1]` by the common minimum and maximum, rounded to
/// 256 levels, 11 x 11 Gaussian window of sigma 1.5 over valid samples, `C1 = C2 = 1e-8`, border of 5 cut off. The mark that
/// scientists' tools use is a smallest slice of 0.995 (or 0.9995); it does not fall monotonically with quality.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ssim {
    /// Of the worst slice.
    pub min: f64,
    /// Mean over the slices.
    pub mean: f64,
    /// Slices judged.
    pub n_slices: u64,
    /// Slices left out because blocks came in an order that would have kept too many of them in memory.
    pub n_skipped: u64,
}

/// Relative Frobenius errors `sqrt(sum e^2 / sum x^2)` of the slices at each index of one dimension, 1 (Yu 2021): an error that
/// favours no index has a small standard deviation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SliceErrors {
    /// Which dimension.
    pub dim: usize,
    /// Mean over the slices that have valid samples.
    pub mean: f64,
    /// Standard deviation, of the population.
    pub std: f64,
    /// Of the worst slice.
    pub max: f64,
}
