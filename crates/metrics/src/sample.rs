//! Measures that need sorted samples: ranks, distributions, quantiles.
//!
//! # Maths   the array is cut into runs of `stride` consecutive positions, and one position of each is drawn by a hash of the run's number:
//!   a stratified sample that no grid period can alias with, and that is the same however the array comes in blocks
//! # Cost    16 bytes for each of at most 10^6 samples, sorted twice at the end

use crate::comparison::QUANTILES;
use crate::moments::Moments;

/// Up to here every sample is taken.
const LIMIT: usize = 1_000_000;

#[derive(Debug, Clone)]
pub struct Sampler {
    stride: usize,
    pairs: Vec<(f64, f64)>,
}

impl Sampler {
    pub fn new(n: usize) -> Self {
        Self { stride: n.div_ceil(LIMIT).max(1), pairs: Vec::new() }
    }

    /// Takes what belongs to the sample of a row whose first sample is at position `at` of the array; NaN in `x` is missing.
    pub fn add_row(&mut self, at: usize, x: &[f64], y: &[f64]) {
        let end = at + x.len();
        for run in at / self.stride..end.div_ceil(self.stride) {
            let drawn = run * self.stride + (hash(run as u64) % self.stride as u64) as usize;
            if (at..end).contains(&drawn) && !x[drawn - at].is_nan() {
                self.pairs.push((x[drawn - at], y[drawn - at]));
            }
        }
    }

    pub fn merge(&mut self, other: Self) {
        self.pairs.extend(other.pairs);
    }

    pub fn finish(mut self) -> Ranked {
        // Sums over ranks must not depend on the order in which blocks came.
        self.pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let (x, y): (Vec<_>, Vec<_>) = self.pairs.into_iter().unzip();
        let mut order: Vec<usize> = (0..y.len()).collect();
        order.sort_unstable_by(|&a, &b| y[a].total_cmp(&y[b]).then(a.cmp(&b)));
        let mut sorted_y = Vec::with_capacity(y.len());
        sorted_y.extend(order.iter().map(|&i| y[i]));
        let mut ranks_y = vec![0.0; y.len()];
        order.iter().zip(mean_ranks(&sorted_y)).for_each(|(&i, r)| ranks_y[i] = r);
        let spearman = match y.iter().any(|v| v.is_nan()) {
            true => f64::NAN,
            false => Moments::of(&mean_ranks(&x), &ranks_y).pearson(),
        };
        Ranked { x, y: sorted_y, spearman }
    }
}

/// Both sides sorted.
pub struct Ranked {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    pub spearman: f64,
}

impl Ranked {
    /// Largest distance of the two distribution functions, and its asymptotic p-value.
    pub fn kolmogorov_smirnov(&self) -> (f64, f64) {
        let n = self.x.len();
        if n == 0 || self.y.iter().any(|v| v.is_nan()) {
            return (f64::NAN, f64::NAN);
        }
        let (mut i, mut j, mut worst) = (0, 0, 0);
        while i < n && j < n {
            // Past all that equal the next value on both sides, so that ties do not count as a step apart.
            let v = self.x[i].min(self.y[j]);
            while i < n && self.x[i] <= v {
                i += 1;
            }
            while j < n && self.y[j] <= v {
                j += 1;
            }
            worst = worst.max(i.abs_diff(j));
        }
        let distance = worst as f64 / n as f64;
        (distance, kolmogorov(distance * (n as f64 / 2.0).sqrt()))
    }
}

/// At the probabilities [`QUANTILES`] of sorted values, linear between neighbours; NaN if there is none.
pub fn quantiles(sorted: &[f64]) -> [f64; QUANTILES.len()] {
    let Some(last) = sorted.len().checked_sub(1) else {
        return [f64::NAN; QUANTILES.len()];
    };
    QUANTILES.map(|p| {
        let at = p * last as f64;
        let below = at.floor() as usize;
        let (a, b) = (sorted[below], sorted[(below + 1).min(last)]);
        a + (b - a) * (at - below as f64)
    })
}

/// Rank of each of the sorted values; equal ones share their mean rank.
fn mean_ranks(sorted: &[f64]) -> Vec<f64> {
    let mut ranks = Vec::with_capacity(sorted.len());
    for tied in sorted.chunk_by(|a, b| a == b) {
        let mean = ranks.len() as f64 + (tied.len() - 1) as f64 / 2.0;
        ranks.resize(ranks.len() + tied.len(), mean);
    }
    ranks
}

/// Survival function of Kolmogorov's distribution.
fn kolmogorov(lambda: f64) -> f64 {
    // Below 0.2 the sum is 1 to twelve digits, and the series converges slowly.
    if lambda < 0.2 {
        return 1.0;
    }
    let sum: f64 = (1..=100)
        .map(|k| {
            let k = f64::from(k);
            (if k % 2.0 == 1.0 { 1.0 } else { -1.0 }) * (-2.0 * k * k * lambda * lambda).exp()
        })
        .sum();
    (2.0 * sum).clamp(0.0, 1.0)
}

/// SplitMix64 (Steele, Lea, Flood 2014, doi 10.1145/2660193.2660195).
fn hash(i: u64) -> u64 {
    let mut z = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
