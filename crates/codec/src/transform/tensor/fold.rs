//! Long dimensions, folded into several short ones, so that a basis along each stays small.
//!
//! # Shapes     `f64[.., n, ..]` -> `f64[.., n_1, .., n_k, ..]` with n_1 .. n_k >= n; what is too much repeats the last sample

use super::linalg::around;
use crate::block::crop;
use crate::transform::Region;

/// Longest dimension left as it is.
const MAX_SIDE: usize = 2048;
/// Longest side of a folded dimension, but for rounding.
const FOLDED_SIDE: usize = 512;
/// Shorter dimensions are never folded.
const MIN_LONG: usize = 256;

/// How each dimension of a shape is folded; dimensions of length 1 are left out.
#[derive(Debug, Clone)]
pub struct Folding {
    shape: Vec<usize>,
    /// The sides of each dimension, outermost first; none for a length of 1.
    sides: Vec<Vec<usize>>,
}

impl Folding {
    /// Determined by the shape alone.
    pub fn of(shape: &[usize]) -> Self {
        let total: usize = shape.iter().product();
        let sides = shape.iter().map(|&n| sides(n, total)).collect();
        Self { shape: shape.to_vec(), sides }
    }

    /// All sides in order.
    pub fn folded(&self) -> Vec<usize> {
        self.sides.concat()
    }

    /// The samples in the folded shape.
    pub fn fold(&self, mut x: Vec<f64>) -> Vec<f64> {
        let mut shape = self.shape.clone();
        for (k, sides) in self.sides.iter().enumerate() {
            let padded: usize = sides.iter().product();
            if padded == shape[k] {
                continue;
            }
            let [before, n, after] = around(&shape, k);
            let mut y = Vec::with_capacity(before * padded * after);
            for part in x.chunks_exact(n * after) {
                y.extend_from_slice(part);
                (n..padded).for_each(|_| y.extend_from_slice(&part[(n - 1) * after..]));
            }
            x = y;
            shape[k] = padded;
        }
        x
    }

    /// The smallest region of the folded shape that holds `region`.
    pub fn cover(&self, region: &Region) -> Region {
        let (mut start, mut count) = (Vec::new(), Vec::new());
        for (k, sides) in self.sides.iter().enumerate() {
            let Some((_, inner)) = sides.split_first() else { continue };
            let inner_n: usize = inner.iter().product();
            let first = region.start[k] / inner_n;
            start.push(first);
            count.push((region.start[k] + region.count[k]).div_ceil(inner_n) - first);
            start.extend(inner.iter().map(|_| 0));
            count.extend_from_slice(inner);
        }
        Region { start, count }
    }

    /// `region` out of the samples of its [`Folding::cover`].
    pub fn unfold(&self, x: Vec<f64>, region: &Region) -> Vec<f64> {
        let (mut start, mut count) = (Vec::new(), Vec::new());
        for (k, sides) in self.sides.iter().enumerate() {
            let inner_n: usize = sides.iter().skip(1).product();
            let first = region.start[k] / inner_n;
            start.push(region.start[k] - first * inner_n);
            count.push(((region.start[k] + region.count[k]).div_ceil(inner_n) - first) * inner_n);
        }
        if count == region.count { x } else { crop(&x, &count, &start, &region.count) }
    }
}

fn sides(n: usize, total: usize) -> Vec<usize> {
    if n <= 1 {
        return Vec::new();
    }
    // A basis is a matrix of n by n: it should not dwarf the samples.
    if n <= MIN_LONG || n <= MAX_SIDE && n / 4 <= total / n {
        return vec![n];
    }
    let mut k = 2;
    while FOLDED_SIDE.checked_pow(k).is_some_and(|p| p < n) {
        k += 1;
    }
    let mut side = 1;
    while usize::checked_pow(side, k).is_some_and(|p| p < n) {
        side += 1;
    }
    let mut sides = vec![side; k as usize];
    sides[0] = n.div_ceil(side.pow(k - 1));
    sides
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::crop;

    #[test]
    fn folding_comes_back() {
        for shape in [&[100_003][..], &[3, 1, 5000], &[7, 300], &[], &[1], &[2000, 2], &[5, 6, 7]] {
            let n = shape.iter().product::<usize>();
            let x: Vec<f64> = (0..n).map(|i| i as f64).collect();
            let folding = Folding::of(shape);
            assert!(folding.folded().iter().all(|s| *s <= MAX_SIDE));
            let y = folding.fold(x.clone());
            assert!(y.len() < n + n / 20 + 64, "{shape:?}: {}", y.len());
            for (a, b) in [(0, 1), (3, 2), (5, 7)] {
                let start: Vec<usize> = shape.iter().map(|s| s * a / 8).collect();
                let count = shape.iter().zip(&start).map(|(s, t)| (s / b).clamp(1, s - t)).collect();
                let region = Region { start, count };
                let cover = folding.cover(&region);
                let part = crop(&y, &folding.folded(), &cover.start, &cover.count);
                assert_eq!(folding.unfold(part, &region), crop(&x, shape, &region.start, &region.count), "{shape:?}");
            }
        }
    }
}
