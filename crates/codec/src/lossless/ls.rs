//! Online least squares: weights that predict a sample from its known neighbours, learned from the samples already coded.
//!
//! # Maths
//! 1. Every sample adds f f^T and f y (f: neighbours, y: sample, both less a base value) to the sums of the block in hand.
//! 2. Every `BLOCK` samples the sums join two memories, A <- l A + B, with a short and a long half-life.
//! 3. Each memory's weights solve A w = b by Cholesky; a pivot that rounding could have made drops its neighbour.
//! # Cost       n^2 / 2 multiplications per sample, n^3 / 3 per block
//! # Reference  X. Wu, K. U. Barthel, W. Zhang, Piecewise 2D autoregression for predictive image coding, 1998

/// Most neighbours.
pub const MAX: usize = 32;
/// Samples between two solutions.
const BLOCK: u32 = 64;
/// What is left of a memory after a block.
const KEEP: [f64; N_MEMORIES] = [0.9, 0.997];
/// Memories of different length.
pub const N_MEMORIES: usize = 2;
/// Pivots below this part of the diagonal are rounding noise.
const SINGULAR: f64 = 1e-11;

/// Sums of products; rows of `a` are filled up to the diagonal.
#[derive(Debug, Clone)]
struct Sums {
    a: [[f64; MAX]; MAX],
    b: [f64; MAX],
}

impl Sums {
    const ZERO: Self = Self { a: [[0.0; MAX]; MAX], b: [0.0; MAX] };
}

/// Two memories and their weights.
#[derive(Debug, Clone)]
pub struct LeastSquares {
    n: usize,
    block: Sums,
    seen: u32,
    memories: Vec<Sums>,
    weights: [[f64; MAX]; N_MEMORIES],
}

impl LeastSquares {
    /// For `n <= MAX` neighbours; all weights are zero.
    pub fn new(n: usize) -> Self {
        Self {
            n,
            block: Sums::ZERO,
            seen: 0,
            memories: vec![Sums::ZERO; N_MEMORIES],
            weights: [[0.0; MAX]; N_MEMORIES],
        }
    }

    /// Each memory's prediction. The four partial sums are part of the format.
    #[inline]
    pub fn predict(&self, f: &[f64; MAX]) -> [f64; N_MEMORIES] {
        self.weights.each_ref().map(|w| {
            let mut s = [0.0; 4];
            for (f, w) in f.chunks_exact(4).zip(w.chunks_exact(4)).take(self.n.div_ceil(4)) {
                for l in 0..4 {
                    s[l] += f[l] * w[l];
                }
            }
            (s[0] + s[1]) + (s[2] + s[3])
        })
    }

    /// Learns from one sample.
    ///
    /// Weights of samples are relative to each other.
    #[inline]
    pub fn update(&mut self, f: &[f64; MAX], y: f64, weight: f64) {
        for i in 0..self.n {
            let fi = f[i] * weight;
            // Whole groups of four vectorise; what lies right of the diagonal is never read.
            let end = (i / 4 + 1) * 4;
            for (a, f) in self.block.a[i][..end].iter_mut().zip(&f[..end]) {
                *a += fi * f;
            }
            self.block.b[i] += fi * y;
        }
        self.seen += 1;
        if self.seen == BLOCK {
            self.seen = 0;
            self.solve();
        }
    }

    fn solve(&mut self) {
        let n = self.n;
        for (m, (memory, keep)) in self.memories.iter_mut().zip(KEEP).enumerate() {
            for i in 0..n {
                for (a, b) in memory.a[i][..=i].iter_mut().zip(&self.block.a[i]) {
                    *a = *a * keep + b;
                }
                memory.b[i] = memory.b[i] * keep + self.block.b[i];
            }
            // Values near the limits of f64 overflow in squares: such a memory starts anew.
            let sound = (0..n).all(|i| memory.a[i][i].is_finite() && memory.b[i].is_finite());
            if !sound {
                *memory = Sums::ZERO;
            }
            let w = cholesky(memory, n);
            self.weights[m] = if w.iter().all(|w| w.is_finite()) { w } else { [0.0; MAX] };
        }
        self.block = Sums::ZERO;
    }
}

/// Solves a w = b; weights of neighbours that depend on earlier ones are zero.
fn cholesky(s: &Sums, n: usize) -> [f64; MAX] {
    let mut l = [[0.0; MAX]; MAX];
    // Reciprocal pivots; zero drops the row.
    let mut r = [0.0; MAX];
    let mut w = [0.0; MAX];
    for i in 0..n {
        for j in 0..i {
            let (head, tail) = l.split_at_mut(i);
            let (li, lj) = (&mut tail[0], &head[j]);
            let dot = dot(&li[..j], &lj[..j]);
            li[j] = (s.a[i][j] - dot) * r[j];
        }
        let pivot = s.a[i][i] - dot(&l[i][..i], &l[i][..i]);
        if pivot > s.a[i][i] * SINGULAR && pivot > 0.0 {
            r[i] = 1.0 / pivot.sqrt();
            w[i] = (s.b[i] - dot(&l[i][..i], &w[..i])) * r[i];
        } else {
            l[i] = [0.0; MAX];
        }
    }
    for i in (0..n).rev() {
        w[i] *= r[i];
        let wi = w[i];
        for (w, l) in w[..i].iter_mut().zip(&l[i]) {
            *w -= wi * l;
        }
    }
    w
}

/// Four partial sums, then the rest in order: the order is part of the format.
#[inline]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a4, ar) = a.as_chunks::<4>();
    let (b4, br) = b.as_chunks::<4>();
    let mut s = [0.0; 4];
    for (a, b) in a4.iter().zip(b4) {
        for l in 0..4 {
            s[l] += a[l] * b[l];
        }
    }
    let rest = ar.iter().zip(br).fold(0.0, |s, (a, b)| s + a * b);
    (s[0] + s[1]) + (s[2] + s[3]) + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_weights_and_survives_dependent_and_huge_neighbours() {
        let noise = |i: u64| crate::testkit::uniform(i) - 0.5;
        let mut ls = LeastSquares::new(5);
        let mut f = [0.0; MAX];
        for i in 0..2000 {
            for (j, f) in f[..3].iter_mut().enumerate() {
                *f = noise(3 * i + j as u64);
            }
            f[3] = f[0] + f[1];
            ls.update(&f, 2.0 * f[0] - f[2], 1.0);
        }
        for p in ls.predict(&f) {
            assert!((p - (2.0 * f[0] - f[2])).abs() < 1e-8, "{p}");
        }
        for _ in 0..64 {
            f[4] = 1e300;
            ls.update(&f, 1e300, 1.0);
        }
        assert!(ls.predict(&f).iter().all(|p| p.is_finite()));
    }
}
