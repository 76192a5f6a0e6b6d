//! Online least squares with several memories: weights that predict a sample from its features, learned from the samples before.
//!
//! # Maths
//! 1. Every sample adds f f^T and f y to the sums of the batch in hand.
//! 2. Batch by batch the sums join each memory, A <- l A + B; a memory forgets at its own rate.
//! 3. Each memory's weights solve (A + r I) w = b + r w0 by Cholesky, where w0 are the weights that a coarser model had learned
//!    and r is worth two samples.
//! # Cost       n^2 / 2 multiplications per sample, n^3 / 6 per batch and memory
//! # Reference  X. Wu, K. U. Barthel, W. Zhang, Piecewise 2D autoregression for predictive image coding, 1998

/// Most features; a multiple of [`LANES`].
pub const MAX: usize = 48;
/// Partial sums of every sum over features.
const LANES: usize = 4;
/// Most memories.
pub const MAX_MEMORIES: usize = 3;
/// What is left of each memory after one sample, from short to long.
const KEEP: [f64; MAX_MEMORIES] = [0.998, 0.9998, 0.99995];
/// Samples of a batch at first, and later.
const BATCH: [u32; 2] = [16, 64];
/// Short batches up to this many samples.
const WARM_UP: u32 = 512;
/// What the ridge weighs, in samples.
const RIDGE: f64 = 2.0;

/// l^n for the two batch lengths.
const DECAY: [[f64; MAX_MEMORIES]; 2] = [powers(BATCH[0]), powers(BATCH[1])];

const fn powers(n: u32) -> [f64; MAX_MEMORIES] {
    let mut out = [1.0; MAX_MEMORIES];
    let mut m = 0;
    while m < MAX_MEMORIES {
        let mut i = 0;
        while i < n {
            out[m] *= KEEP[m];
            i += 1;
        }
        m += 1;
    }
    out
}

/// A row of numbers, one per feature.
pub type Row = [f64; MAX];

/// Sums of products; rows of `a` are filled up to the diagonal, in whole groups of lanes.
#[derive(Debug, Clone)]
struct Sums {
    a: Vec<Row>,
    b: Row,
    /// Weight of all samples in it.
    weight: f64,
}

impl Sums {
    fn new(n: usize) -> Self {
        Self { a: vec![[0.0; MAX]; n], b: [0.0; MAX], weight: 0.0 }
    }

    fn clear(&mut self) {
        self.a.iter_mut().for_each(|r| *r = [0.0; MAX]);
        self.b = [0.0; MAX];
        self.weight = 0.0;
    }
}

/// Memories, their sums and their weights.
#[derive(Debug, Clone)]
pub struct LeastSquares {
    n: usize,
    batch: Sums,
    in_batch: u32,
    seen: u32,
    memories: Vec<Sums>,
    weights: [Row; MAX_MEMORIES],
    prior: [Row; MAX_MEMORIES],
    /// Scratch of the solver.
    l: Vec<Row>,
}

impl LeastSquares {
    /// For `n <= MAX` features and `n_memories <= MAX_MEMORIES`; `parent` is the model of the next coarser level.
    pub fn new(n: usize, n_memories: usize, parent: Option<&Self>) -> Self {
        let prior = parent.map_or([[0.0; MAX]; MAX_MEMORIES], |p| p.weights);
        Self {
            n,
            batch: Sums::new(n),
            in_batch: 0,
            seen: 0,
            memories: vec![Sums::new(n); n_memories],
            weights: prior,
            prior,
            l: vec![[0.0; MAX]; n],
        }
    }

    /// Each memory's prediction. The partial sums are part of the format.
    #[inline(always)]
    pub fn predict(&self, f: &Row) -> [f64; MAX_MEMORIES] {
        let groups = self.n.div_ceil(LANES);
        let mut out = [0.0; MAX_MEMORIES];
        for (out, w) in out.iter_mut().zip(&self.weights).take(self.memories.len()) {
            let mut s = [0.0; LANES];
            for (f, w) in f.as_chunks::<LANES>().0[..groups].iter().zip(w.as_chunks::<LANES>().0) {
                for l in 0..LANES {
                    s[l] += f[l] * w[l];
                }
            }
            *out = (s[0] + s[1]) + (s[2] + s[3]);
        }
        out
    }

    /// Learns from one sample of relative weight `weight`.
    #[inline(always)]
    pub fn update(&mut self, f: &Row, y: f64, weight: f64) {
        for (i, row) in self.batch.a.iter_mut().enumerate() {
            let fi = f[i] * weight;
            // What lies right of the diagonal is never read.
            let groups = i / LANES + 1;
            for (a, f) in row.as_chunks_mut::<LANES>().0[..groups].iter_mut().zip(f.as_chunks::<LANES>().0) {
                for l in 0..LANES {
                    a[l] += fi * f[l];
                }
            }
            self.batch.b[i] += fi * y;
        }
        self.batch.weight += weight;
        self.in_batch += 1;
        let late = usize::from(self.seen >= WARM_UP);
        if self.in_batch == BATCH[late] {
            self.seen = self.seen.saturating_add(self.in_batch);
            self.in_batch = 0;
            self.learn(&DECAY[late]);
        }
    }

    #[inline(always)]
    fn learn(&mut self, decay: &[f64; MAX_MEMORIES]) {
        let n = self.n;
        for (m, memory) in self.memories.iter_mut().enumerate() {
            let keep = decay[m];
            for (i, (row, new)) in memory.a.iter_mut().zip(&self.batch.a).enumerate() {
                for (a, b) in row[..=i].iter_mut().zip(new) {
                    *a = *a * keep + b;
                }
                memory.b[i] = memory.b[i] * keep + self.batch.b[i];
            }
            memory.weight = memory.weight * keep + self.batch.weight;
            let trace = (0..n).fold(0.0, |s, i| s + memory.a[i][i]);
            // Squares of values near the limits of f64 overflow: such a memory starts anew.
            if !trace.is_finite() || !memory.weight.is_finite() {
                memory.clear();
                continue;
            }
            let samples = f64::from(self.seen).min(1.0 / (1.0 - KEEP[m]));
            let ridge = trace / n as f64 * (RIDGE / samples + 1e-6);
            if ridge > 0.0 {
                match solve(&mut self.l, memory, &self.prior[m], ridge, n) {
                    Some(w) => self.weights[m] = w,
                    // An infinity left behind would spoil the next solution.
                    None => self.l.iter_mut().for_each(|row| *row = [0.0; MAX]),
                }
            }
        }
        self.batch.clear();
    }
}

/// Solves (A + r I) w = b + r w0; `None` if rounding keeps A from being positive.
#[inline(always)]
fn solve(l: &mut [Row], s: &Sums, w0: &Row, ridge: f64, n: usize) -> Option<Row> {
    let mut w = [0.0; MAX];
    let mut inverse = [0.0; MAX];
    for i in 0..n {
        let (head, tail) = l.split_at_mut(i);
        let li = &mut tail[0];
        for (j, lj) in head.iter().enumerate() {
            li[j] = (s.a[i][j] - dot(li, lj, j)) * inverse[j];
        }
        let pivot = s.a[i][i] + ridge - dot(li, li, i);
        if pivot.is_nan() || pivot <= 0.0 {
            return None;
        }
        inverse[i] = 1.0 / pivot.sqrt();
        w[i] = (s.b[i] + ridge * w0[i] - dot(li, &w, i)) * inverse[i];
        // Groups of lanes reach past the diagonal.
        li[i..].fill(0.0);
    }
    for i in (0..n).rev() {
        w[i] *= inverse[i];
        let wi = w[i];
        for (w, l) in w[..i].iter_mut().zip(&l[i]) {
            *w -= wi * l;
        }
    }
    w.iter().all(|w| w.is_finite()).then_some(w)
}

/// Sum over the first `n` products, in four partial sums; what lies beyond in the last group must be zero in `a` or `b`.
#[inline(always)]
fn dot(a: &Row, b: &Row, n: usize) -> f64 {
    let mut s = [0.0; LANES];
    for (a, b) in a.as_chunks::<LANES>().0[..n.div_ceil(LANES)].iter().zip(b.as_chunks::<LANES>().0) {
        for l in 0..LANES {
            s[l] += a[l] * b[l];
        }
    }
    (s[0] + s[1]) + (s[2] + s[3])
}
