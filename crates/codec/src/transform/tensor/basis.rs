//! Bases along one mode: a wavelet, cosines, and rotations of either that are learned from the data.
//!
//! # Maths
//! wavelet: CDF 9/7 by lifting, mirrored at the ends, down to one sample; synthesis vectors have unit norm;
//! cosine: DCT-II, orthonormal; rotation: Q = H_1 .. H_r, Householder reflections such that the first r columns of Q are the
//! orthonormalised columns of an integer matrix, in order, and the others complete them.
//! # Shapes     n by n, row-major: sample i, coefficient j
//! # Bound      decoders run [`synthesis`] and [`Rotation`]: IEEE `+ - * / sqrt` in a fixed order, no library functions
//! # Reference  A. Cohen, I. Daubechies, J.-C. Feauveau, Biorthogonal bases of compactly supported wavelets, 1992

use super::linalg::transpose;

/// A basis that needs no numbers on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Features of any size at their places.
    Wavelet = 0,
    /// Band-limited or smooth data.
    Cosine = 1,
}

/// Rows `1, 3, ..` (`odd`) or `0, 2, ..` of the first `n` rows gain `c` times the sum of their neighbours, mirrored at the ends.
fn lift(x: &mut [f64], n: usize, width: usize, odd: bool, c: f64) {
    for i in (usize::from(odd)..n).step_by(2) {
        let below = if i > 0 { i - 1 } else { i + 1 };
        let above = if i + 1 < n { i + 1 } else { i - 1 };
        for t in 0..width {
            let sum = x[below * width + t] + x[above * width + t];
            x[i * width + t] += c * sum;
        }
    }
}

const LIFTS: [(bool, f64); 4] = [
    (true, -1.586_134_342_059_924),
    (false, -0.052_980_118_572_961),
    (true, 0.882_911_075_530_934),
    (false, 0.443_506_852_043_971),
];

/// Lengths of the low band before each level, longest first.
fn levels(n: usize) -> Vec<usize> {
    let mut levels = Vec::new();
    let mut m = n;
    while m > 1 {
        levels.push(m);
        m = m.div_ceil(2);
    }
    levels
}

/// Where each band of the wavelet basis ends, coarsest first: 1, .., n.
pub fn bands(n: usize) -> Vec<usize> {
    let mut ends = levels(n);
    ends.push(1);
    ends.reverse();
    ends
}

fn identity(n: usize) -> Vec<f64> {
    let mut m = vec![0.0; n * n];
    m.iter_mut().step_by(n + 1).for_each(|v| *v = 1.0);
    m
}

/// Sample i of synthesis vector j, not normalised.
fn wavelet_synthesis(n: usize) -> Vec<f64> {
    let mut x = identity(n);
    let mut rows = vec![0.0; n * n];
    for m in levels(n).into_iter().rev() {
        let low = m.div_ceil(2);
        for i in 0..m {
            let from = if i % 2 == 0 { i / 2 } else { low + i / 2 };
            rows[i * n..][..n].copy_from_slice(&x[from * n..][..n]);
        }
        x[..m * n].copy_from_slice(&rows[..m * n]);
        for (odd, c) in LIFTS.into_iter().rev() {
            lift(&mut x, m, n, odd, -c);
        }
    }
    x
}

/// Norms of the columns.
fn norms(x: &[f64], n: usize) -> Vec<f64> {
    let mut sums = vec![0.0; n];
    for row in x.chunks_exact(n) {
        sums.iter_mut().zip(row).for_each(|(s, v)| *s += v * v);
    }
    sums.iter().map(|s| s.sqrt()).collect()
}

/// cos(pi t / (2 n)).
fn cosine(t: usize, n: usize) -> f64 {
    const PI: f64 = std::f64::consts::PI;
    let t = t % (4 * n);
    let t = t.min(4 * n - t);
    let (t, sign) = if t > n { (2 * n - t, -1.0) } else { (t, 1.0) };
    // Taylor series up to pi / 4, from the smallest term.
    let series = |x: f64, first: u32| {
        let y = x * x;
        (0..9).rev().fold(0.0, |s, k| {
            let i = f64::from(2 * k + first);
            1.0 - s * y / ((i + 1.0) * (i + 2.0))
        })
    };
    let angle = |t: usize| PI * t as f64 / (2 * n) as f64;
    let size = if 2 * t <= n { series(angle(t), 0) } else { angle(n - t) * series(angle(n - t), 1) };
    sign * size
}

fn cosines(n: usize) -> Vec<f64> {
    let scale = (2.0 / n as f64).sqrt();
    let table: Vec<f64> = (0..4 * n).map(|t| scale * cosine(t, n)).collect();
    let constant = (1.0 / n as f64).sqrt();
    let mut d = vec![0.0; n * n];
    for (i, row) in d.chunks_exact_mut(n).enumerate() {
        for (j, v) in row.iter_mut().enumerate() {
            *v = if j == 0 { constant } else { table[(2 * i + 1) * j % (4 * n)] };
        }
    }
    d
}

/// Sample i of synthesis vector j, unit norm.
pub fn synthesis(base: Base, n: usize) -> Vec<f64> {
    match base {
        Base::Cosine => cosines(n),
        Base::Wavelet => {
            let mut x = wavelet_synthesis(n);
            let norms = norms(&x, n);
            for row in x.chunks_exact_mut(n) {
                row.iter_mut().zip(&norms).for_each(|(v, g)| *v /= g);
            }
            x
        }
    }
}

/// Weight of sample i in coefficient j: what inverts [`synthesis`]. Encoders only.
pub fn analysis(base: Base, n: usize) -> Vec<f64> {
    if base == Base::Cosine {
        return cosines(n);
    }
    let norms = norms(&wavelet_synthesis(n), n);
    let mut x = identity(n);
    for m in levels(n) {
        for (odd, c) in LIFTS {
            lift(&mut x, m, n, odd, c);
        }
        let rows = x[..m * n].to_vec();
        let low = m.div_ceil(2);
        for i in 0..m {
            let to = if i % 2 == 0 { i / 2 } else { low + i / 2 };
            x[to * n..][..n].copy_from_slice(&rows[i * n..][..n]);
        }
    }
    for (row, g) in x.chunks_exact_mut(n).zip(&norms) {
        row.iter_mut().for_each(|v| *v *= g);
    }
    transpose(&x, n, n)
}

/// A product of Householder reflections.
#[derive(Debug, Clone, Default)]
pub struct Rotation {
    n: usize,
    /// Reflection j: `x - v (v . x)` for `v` that is zero before j, scaled to norm sqrt(2).
    vectors: Vec<f64>,
}

impl Rotation {
    /// The rotation whose first columns are the orthonormalised `columns`, each of length `n`, one after the other.
    pub fn new(columns: &[i64], n: usize) -> Self {
        let mut q = Self { n, vectors: Vec::with_capacity(columns.len()) };
        for (j, column) in columns.chunks_exact(n).enumerate() {
            let mut v: Vec<f64> = column.iter().map(|&c| c as f64).collect();
            for h in q.vectors.chunks_exact(n) {
                let s: f64 = v.iter().zip(h).fold(0.0, |s, (v, h)| s + v * h);
                v.iter_mut().zip(h).for_each(|(v, h)| *v -= s * h);
            }
            v[..j].fill(0.0);
            let norm = v.iter().fold(0.0, |s, v| s + v * v).sqrt();
            // Pushed away from zero, so that nothing cancels.
            v[j] += if v[j] < 0.0 { -norm } else { norm };
            let half = (v.iter().fold(0.0, |s, v| s + v * v) / 2.0).sqrt();
            // A column that is zero, or depends on earlier ones, reflects nothing.
            let scale = if half > 0.0 { 1.0 / half } else { 0.0 };
            v.iter_mut().for_each(|v| *v *= scale);
            q.vectors.extend_from_slice(&v);
        }
        q
    }

    /// Number of reflections.
    pub fn len(&self) -> usize {
        self.vectors.len().checked_div(self.n).unwrap_or(0)
    }

    /// `m Q` for a row-major matrix of any number of rows of length n.
    pub fn after(&self, m: Vec<f64>) -> Vec<f64> {
        if self.len() == 0 {
            return m;
        }
        let n = self.n;
        let rows = m.len() / n;
        // Transposed, so that the inner loops run over independent sums.
        let mut t = transpose(&m, rows, n);
        let mut sums = vec![0.0; rows];
        for (j, h) in self.vectors.chunks_exact(n).enumerate() {
            sums.fill(0.0);
            for (row, &h) in t.chunks_exact(rows).zip(h).skip(j) {
                sums.iter_mut().zip(row).for_each(|(s, v)| *s += h * v);
            }
            for (row, &h) in t.chunks_exact_mut(rows).zip(h).skip(j) {
                row.iter_mut().zip(&sums).for_each(|(v, s)| *v -= h * s);
            }
        }
        transpose(&t, n, rows)
    }

    /// Q itself.
    pub fn matrix(&self, n: usize) -> Vec<f64> {
        self.after(identity(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::hash;

    fn product(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
        (0..n * n).map(|t| (0..n).map(|k| a[t / n * n + k] * b[k * n + t % n]).sum()).collect()
    }

    fn distance_to_identity(m: &[f64], n: usize) -> f64 {
        m.iter().zip(identity(n)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn bases_invert_and_rotations_are_orthonormal() {
        for n in [1, 2, 3, 4, 7, 30, 61, 96] {
            for base in [Base::Wavelet, Base::Cosine] {
                let (s, a) = (synthesis(base, n), transpose(&analysis(base, n), n, n));
                assert!(distance_to_identity(&product(&a, &s, n), n) < 1e-12, "{base:?} {n}");
                assert!(norms(&s, n).iter().all(|v| (v - 1.0).abs() < 1e-13));
            }
            let d = synthesis(Base::Cosine, n);
            assert!(distance_to_identity(&product(&transpose(&d, n, n), &d, n), n) < 1e-13, "{n}");
            // Random, zero, repeated and huge columns.
            let r = n.min(9);
            let mut columns: Vec<i64> = (0..n * r).map(|i| hash(i as u64) as i64 % 9).collect();
            columns[..n].fill(0);
            columns[n * (r / 2)..].iter_mut().for_each(|v| *v <<= 50);
            let q = Rotation::new(&columns, n).matrix(n);
            assert!(distance_to_identity(&product(&transpose(&q, n, n), &q, n), n) < 1e-13, "{n}");
        }
        assert!((cosine(3, 5) - (0.3 * std::f64::consts::PI).cos()).abs() < 1e-15);
    }
}
