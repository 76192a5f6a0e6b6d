//! Errors, measured here on decoded values, in the same way for every codec.

use crate::field::Field;

/// What must hold on the decoded values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// `norm(x - x') / norm(x)`, Frobenius, over the valid samples.
    L2(f64),
    /// `max abs(x - x')` over the valid samples, physical units.
    MaxAbs(f64),
}

impl Target {
    /// The number asked for.
    pub fn value(self) -> f64 {
        match self {
            Self::L2(e) | Self::MaxAbs(e) => e,
        }
    }

    /// The same measure of `decoded`.
    pub fn error(self, field: &Field, decoded: &[f32]) -> f64 {
        match self {
            Self::L2(_) => l2(field, decoded),
            Self::MaxAbs(_) => max_abs(field, decoded),
        }
    }

    /// The root mean square error, in physical units, of a field that just meets the target if errors spread evenly.
    pub fn rmse(self, field: &Field) -> f64 {
        match self {
            Self::L2(e) => e * (field.stats.sum_sq / field.stats.n_valid as f64).sqrt(),
            Self::MaxAbs(e) => e / 3f64.sqrt(),
        }
    }
}

/// Differences of the valid samples, with their positions.
fn errors<'a>(field: &'a Field, decoded: &'a [f32]) -> impl Iterator<Item = (usize, f64)> + 'a {
    let diff = |i: usize| f64::from(decoded[i]) - f64::from(field.values[i]);
    // What is not finite must never look good.
    let worst = |d: f64| if d.is_nan() { f64::INFINITY } else { d };
    (0..field.values.len()).filter(|&i| field.is_valid(i)).map(move |i| (i, worst(diff(i))))
}

/// Relative Frobenius error.
pub fn l2(field: &Field, decoded: &[f32]) -> f64 {
    (errors(field, decoded).map(|(_, d)| d * d).sum::<f64>() / field.stats.sum_sq).sqrt()
}

/// Largest absolute error.
pub fn max_abs(field: &Field, decoded: &[f32]) -> f64 {
    errors(field, decoded).fold(0.0, |m, (_, d)| m.max(d.abs()))
}

/// Position along dimension `d` of sample `i`.
fn along(shape: &[usize], d: usize, i: usize) -> usize {
    let step: usize = shape[d + 1..].iter().product();
    i / step % shape[d]
}

/// Relative Frobenius error of each slice along dimension `d`; slices without a valid sample that is not 0 have none.
pub fn slice_l2(field: &Field, decoded: &[f32], d: usize) -> Vec<Option<f64>> {
    let mut sums = vec![(0.0, 0.0); field.shape[d]];
    for (i, e) in errors(field, decoded) {
        let s = &mut sums[along(&field.shape, d, i)];
        s.0 += e * e;
        s.1 += f64::from(field.values[i]).powi(2);
    }
    sums.into_iter().map(|(e, x)| (x > 0.0).then(|| (e / x).sqrt())).collect()
}

/// Mean absolute error of each slice along dimension `d`; 0 where nothing is valid.
pub fn slice_mean_abs(field: &Field, decoded: &[f32], d: usize) -> Vec<f64> {
    let mut sums = vec![(0.0, 0u64); field.shape[d]];
    for (i, e) in errors(field, decoded) {
        let s = &mut sums[along(&field.shape, d, i)];
        s.0 += e.abs();
        s.1 += 1;
    }
    sums.into_iter().map(|(e, n)| e / n.max(1) as f64).collect()
}

/// Mean and (population) standard deviation.
pub fn mean_std(x: &[f64]) -> (f64, f64) {
    let n = x.len().max(1) as f64;
    let mean = x.iter().sum::<f64>() / n;
    (mean, (x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt())
}

#[cfg(test)]
mod tests {
    use lithify_codec::{Affine, Samples};

    use super::*;

    #[test]
    fn masked_samples_do_not_count() {
        let x = Samples::F32(vec![3.0, f32::NAN, 4.0, 0.0]);
        let dims = vec!["y".into(), "x".into()];
        let f = Field::new("f", "1", vec![2, 2], dims, x, Affine::IDENTITY, Vec::new()).unwrap();
        let y = [3.0, 99.0, 4.5, 0.0];
        assert_eq!(l2(&f, &y), 0.1);
        assert_eq!(max_abs(&f, &y), 0.5);
        assert_eq!(slice_l2(&f, &y, 0), [Some(0.0), Some(0.125)]);
        assert_eq!(slice_l2(&f, &y, 1)[1], None);
        assert_eq!(slice_mean_abs(&f, &y, 1), [0.25, 0.0]);
        assert!(l2(&f, &[f32::NAN; 4]).is_infinite());
        assert_eq!(mean_std(&[1.0, 3.0]), (2.0, 1.0));
    }
}
