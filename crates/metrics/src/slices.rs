//! What is summed along each dimension: errors of slices, and products of neighbouring errors.

use lithify_codec::block;

use crate::comparison::SliceErrors;

/// Longer dimensions (the points of an unstructured grid) have no slices worth a number each.
const LONGEST: usize = 1 << 20;

/// Sums of `e^2` and `x^2` for each index of each dimension.
#[derive(Debug, Clone)]
pub struct SliceSums(Vec<Vec<[f64; 2]>>);

impl SliceSums {
    pub fn new(shape: &[usize]) -> Self {
        let keep = |&n: &usize| if shape.len() > 1 && (2..=LONGEST).contains(&n) { n } else { 0 };
        Self(shape.iter().map(|n| vec![[0.0; 2]; keep(n)]).collect())
    }

    /// A row along the last dimension that begins at `index`.
    pub fn add_row(&mut self, index: &[usize], x: &[f64], e: &[f64]) {
        let mut row = [0.0; 2];
        let Some((last, outer)) = self.0.split_last_mut() else { return };
        for (i, (x, e)) in x.iter().zip(e).enumerate().filter(|(_, (x, _))| !x.is_nan()) {
            let square = [e * e, x * x];
            add(&mut row, square);
            if let Some(slice) = index.last().and_then(|&at| last.get_mut(at + i)) {
                add(slice, square);
            }
        }
        for (sums, &at) in outer.iter_mut().zip(index) {
            if let Some(slice) = sums.get_mut(at) {
                add(slice, row);
            }
        }
    }

    pub fn merge(&mut self, other: &Self) {
        for (a, b) in self.0.iter_mut().flatten().zip(other.0.iter().flatten()) {
            add(a, *b);
        }
    }

    pub fn finish(&self) -> Vec<SliceErrors> {
        let with_sums = self.0.iter().enumerate().filter(|(_, sums)| !sums.is_empty());
        with_sums
            .map(|(dim, sums)| {
                // An empty or all-zero slice without error has error 0; NaN sums of lost samples stay.
                let errors: Vec<f64> = sums.iter().map(|&[e, x]| if e == 0.0 { 0.0 } else { (e / x).sqrt() }).collect();
                let n = errors.len() as f64;
                let mean = errors.iter().sum::<f64>() / n;
                let variance = errors.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
                let worst = |m: f64, v: &f64| if v.is_nan() { f64::INFINITY } else { m.max(*v) };
                SliceErrors { dim, mean, std: variance.sqrt(), max: errors.iter().fold(0.0, worst) }
            })
            .collect()
    }
}

fn add(sums: &mut [f64; 2], more: [f64; 2]) {
    sums[0] += more[0];
    sums[1] += more[1];
}

/// Pairs of neighbouring errors along one dimension.
#[derive(Debug, Clone, Copy, Default)]
struct Pairs {
    n: f64,
    sum: f64,
    product: f64,
}

/// Lag-1 products of the error along each dimension.
#[derive(Debug, Clone)]
pub struct Lag1(Vec<Pairs>);

impl Lag1 {
    pub fn new(n_dims: usize) -> Self {
        Self(vec![Pairs::default(); n_dims])
    }

    /// A block of errors of shape `count`; NaN is missing.
    pub fn add_block(&mut self, e: &[f64], count: &[usize]) {
        if e.is_empty() {
            return;
        }
        let strides = block::strides(count);
        for (d, pairs) in self.0.iter_mut().enumerate() {
            // Runs of `count[d] * stride` samples are contiguous; within one the neighbour is `stride` further on.
            let (stride, run) = (strides[d], count[d] * strides[d]);
            for run in e.chunks_exact(run) {
                for (a, b) in run.iter().zip(&run[stride..]) {
                    if !(a.is_nan() || b.is_nan()) {
                        pairs.n += 1.0;
                        pairs.sum += a + b;
                        pairs.product += a * b;
                    }
                }
            }
        }
    }

    pub fn merge(&mut self, other: &Self) {
        for (a, b) in self.0.iter_mut().zip(&other.0) {
            a.n += b.n;
            a.sum += b.sum;
            a.product += b.product;
        }
    }

    /// Mean product about `mean`, over `variance`.
    pub fn finish(&self, mean: f64, variance: f64) -> Vec<f64> {
        let of = |p: &Pairs| ((p.product - mean * p.sum) / p.n + mean * mean) / variance;
        self.0.iter().map(|p| if p.n > 0.0 && variance > 0.0 { of(p) } else { f64::NAN }).collect()
    }
}
