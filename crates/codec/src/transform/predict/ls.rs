//! Online least squares with several memories: weights that predict a sample from its features, learned from the samples before.
//!
//! # Maths
//! 1. Samples are taken in segments. With the target as last column, the sums of products B of a batch of segments are kept in
//!    eight parts: part l sums the samples l, l + 8, .. of each segment.
//! 2. Batch by batch the sums join each memory, A <- l A + B; a memory forgets at its own rate.
//! 3. Each memory's weights solve (A + r I) w = b + r w0 by Cholesky, where w0 are the weights that a coarser model had learned
//!    and r is worth two samples.
//! # Shapes     a feature over a segment: `f32[8 groups, 8 lanes]`; memories are the lanes of the solver
//! # Cost       n^2 / 2 multiplications per sample in eight lanes, n^3 / 6 per batch in four
//! # Reference  X. Wu, K. U. Barthel, W. Zhang, Piecewise 2D autoregression for predictive image coding, 1998

use fearless_simd::f32x8;
use fearless_simd::prelude::*;

/// Most features.
pub const MAX: usize = 48;
/// Samples of a segment.
pub const SEGMENT: usize = GROUPS * LANES;
/// Partial sums of every sum over samples.
pub const LANES: usize = 8;
/// Groups of lanes in a segment.
pub const GROUPS: usize = 8;
/// Most memories.
pub const MAX_MEMORIES: usize = 3;
/// One number per sample of a segment.
pub type Column = [[f32; LANES]; GROUPS];
/// One number per memory; the last lane is idle.
type Memories = [f64; 4];

/// What is left of each memory after one sample, from short to long.
const KEEP: Memories = [0.998, 0.9999, 0.99998, 1.0];
/// Samples of a batch: so many once so many are seen.
const BATCHES: [(u32, u32); 3] = [(2048, 256), (256, 64), (0, 16)];
/// What the ridge weighs, in samples.
const RIDGE: f64 = 2.0;
/// Sums of products are made in tiles of so many columns by so many.
const TILE: (usize, usize) = (4, 2);

/// Memories, their sums and their weights.
#[derive(Debug, Clone)]
pub struct LeastSquares {
    n: usize,
    n_memories: usize,
    /// Parts of the sums of the batch in hand, tile by tile.
    batch: Vec<[[[f32; LANES]; TILE.1]; TILE.0]>,
    in_batch: u32,
    seen: u32,
    /// Rows of the lower triangle; the last one is the target's.
    sums: Vec<Memories>,
    weights: [[f32; MAX]; MAX_MEMORIES],
    prior: Vec<Memories>,
    /// Scratch of the solver.
    l: Vec<Memories>,
}

/// Which groups of lanes are learned from: one of so many.
#[derive(Debug)]
pub struct Turns {
    pub every: usize,
    groups: usize,
}

impl Turns {
    pub fn new(every: u32) -> Self {
        Self { every: every as usize, groups: 0 }
    }

    /// The first group of a segment with so many groups to learn from; others follow at that distance.
    #[inline(always)]
    pub fn next(&mut self, groups: usize) -> Option<usize> {
        let start = (self.every - self.groups % self.every) % self.every;
        self.groups += groups;
        (start < groups).then_some(start)
    }
}

/// Where row `i` of a triangle begins.
const fn row(i: usize) -> usize {
    i * (i + 1) / 2
}

/// Tiles that cover the lower triangle, the target's row included.
fn tiles(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..=n).step_by(TILE.0).flat_map(|i| (0..i + TILE.0).step_by(TILE.1).map(move |j| (i, j)))
}

impl LeastSquares {
    /// For `n <= MAX` features and `n_memories <= MAX_MEMORIES`; `parent` is the model of the next coarser level.
    pub fn new(n: usize, n_memories: usize, parent: Option<&Self>) -> Self {
        let weights = parent.map_or([[0.0; MAX]; MAX_MEMORIES], |p| p.weights);
        let prior = (0..n).map(|k| [0, 1, 2, 3].map(|m| weights.get(m).map_or(0.0, |w| f64::from(w[k])))).collect();
        Self {
            n,
            n_memories,
            batch: vec![[[[0.0; LANES]; TILE.1]; TILE.0]; tiles(n).count()],
            in_batch: 0,
            seen: 0,
            sums: vec![[0.0; 4]; row(n + 1)],
            weights,
            prior,
            l: vec![[0.0; 4]; row(n + 1)],
        }
    }

    /// Weights of a memory, one per feature.
    pub fn weights(&self, memory: usize) -> &[f32; MAX] {
        &self.weights[memory]
    }

    /// What features `first..end` add to each memory's prediction of the first `groups` groups.
    #[inline(always)]
    pub fn predict<S: Simd>(&self, simd: S, f: &[Column], end: usize, groups: usize, out: &mut [Column; MAX_MEMORIES]) {
        for g in 0..groups {
            let mut sums = [f32x8::splat(simd, 0.0); MAX_MEMORIES];
            for (k, f) in f[..end].iter().enumerate() {
                let f = f32x8::from_slice(simd, &f[g]);
                for m in 0..self.n_memories {
                    sums[m] += f * self.weights[m][k];
                }
            }
            for m in 0..self.n_memories {
                out[m][g] = sums[m].into();
            }
        }
    }

    /// Learns from groups `first`, `first + step`, .. before `end` of a segment, in which `count` samples are not missing; those
    /// missing are 0 in every column. Column `n` is the target's; as many after it as fill a tile must be there.
    #[inline(always)]
    pub fn update<S: Simd>(&mut self, simd: S, f: &[Column], first: usize, step: usize, end: usize, count: u32) {
        let (rows, columns) = (f.as_chunks::<{ TILE.0 }>().0, f.as_chunks::<{ TILE.1 }>().0);
        let mut tiles = self.batch.iter_mut();
        for (i, a) in rows.iter().enumerate().take(self.n / TILE.0 + 1) {
            for (b, tile) in columns.iter().take((i + 1) * TILE.0 / TILE.1).zip(&mut tiles) {
                let mut sums = [[f32x8::splat(simd, 0.0); TILE.1]; TILE.0];
                let mut g = first;
                while g < end {
                    let b0 = f32x8::from_slice(simd, &b[0][g % GROUPS]);
                    let b1 = f32x8::from_slice(simd, &b[1][g % GROUPS]);
                    for (a, sums) in a.iter().zip(&mut sums) {
                        let a = f32x8::from_slice(simd, &a[g % GROUPS]);
                        sums[0] += a * b0;
                        sums[1] += a * b1;
                    }
                    g += step;
                }
                for (tile, sums) in tile.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
                    (f32x8::from_slice(simd, tile) + *sums).store_slice(tile);
                }
            }
        }
        self.in_batch += count;
        let full = BATCHES.iter().find(|(seen, _)| self.seen >= *seen).map_or(0, |(_, batch)| *batch);
        if self.in_batch >= full {
            self.learn();
        }
    }

    #[inline(always)]
    fn learn(&mut self) {
        let n = self.n;
        let keep = power(&KEEP, self.in_batch);
        for (tile, (i, j)) in self.batch.iter_mut().zip(tiles(n)) {
            for (r, tile) in tile.iter_mut().enumerate() {
                for (c, parts) in tile.iter_mut().enumerate() {
                    if i + r <= n && j + c <= i + r {
                        let p = &*parts;
                        let sum = ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]));
                        let a = &mut self.sums[row(i + r) + j + c];
                        for m in 0..4 {
                            a[m] = a[m] * keep[m] + f64::from(sum);
                        }
                    }
                    *parts = [0.0; LANES];
                }
            }
        }
        self.seen = self.seen.saturating_add(self.in_batch);
        self.in_batch = 0;
        let mut ridge = [0.0; 4];
        for i in 0..n {
            for m in 0..4 {
                ridge[m] += self.sums[row(i) + i][m];
            }
        }
        for m in 0..4 {
            let samples = f64::from(self.seen).min(1.0 / (1.0 - KEEP[m]));
            ridge[m] *= (RIDGE / samples + 1e-6) / n as f64;
        }
        let solution = solve(&mut self.l, &self.sums, &self.prior, ridge, n);
        for m in 0..self.n_memories {
            if solution[..n].iter().all(|w| (w[m] as f32).is_finite()) {
                for k in 0..n {
                    self.weights[m][k] = solution[k][m] as f32;
                }
            }
        }
    }
}

/// x^n, by squaring.
fn power(x: &Memories, n: u32) -> Memories {
    x.map(|x| {
        let (mut x, mut n, mut out) = (x, n, 1.0);
        while n > 0 {
            if n % 2 == 1 {
                out *= x;
            }
            x *= x;
            n /= 2;
        }
        out
    })
}

/// Solves (A + r I) w = b + r w0, each memory in its lane; a lane where rounding keeps A from being positive is not finite.
#[inline(always)]
fn solve(l: &mut [Memories], sums: &[Memories], w0: &[Memories], ridge: Memories, n: usize) -> [Memories; MAX] {
    l.copy_from_slice(sums);
    for k in 0..n {
        for m in 0..4 {
            l[row(k) + k][m] += ridge[m];
            l[row(n) + k][m] += ridge[m] * w0[k][m];
        }
    }
    let mut inverse = [[0.0; 4]; MAX];
    let mut column = [[0.0; 4]; MAX + 1];
    for k in 0..n {
        let pivot = l[row(k) + k];
        for m in 0..4 {
            inverse[k][m] = 1.0 / pivot[m].sqrt();
        }
        for i in k + 1..=n {
            let v = &mut l[row(i) + k];
            for m in 0..4 {
                v[m] *= inverse[k][m];
            }
            column[i] = *v;
        }
        for i in k + 1..=n {
            let c = column[i];
            // The target's square is of no use.
            let end = i.min(n - 1);
            for (v, d) in l[row(i) + k + 1..=row(i) + end].iter_mut().zip(&column[k + 1..=end]) {
                for m in 0..4 {
                    v[m] -= c[m] * d[m];
                }
            }
        }
    }
    let mut w = [[0.0; 4]; MAX];
    w[..n].copy_from_slice(&l[row(n)..row(n) + n]);
    for i in (0..n).rev() {
        for m in 0..4 {
            w[i][m] *= inverse[i][m];
        }
        let wi = w[i];
        for (w, l) in w[..i].iter_mut().zip(&l[row(i)..row(i) + i]) {
            for m in 0..4 {
                w[m] -= wi[m] * l[m];
            }
        }
    }
    w
}
