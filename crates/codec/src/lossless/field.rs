//! Arrays: each sample is predicted from its neighbours by least squares learned on the way, and the residual is coded under
//! contexts of the residuals around it. What repeats exactly is coded as a copy.
//!
//! # Maths
//! 1. Three predictions: two least-squares memories and the median of W, N, W + N - NW; blended by inverse squared error of the
//!    neighbours. What calm surroundings teach weighs more.
//! 2. The blend becomes a key; the key's distance to the true one is coded around the size expected from the neighbours.
//! 3. With copies: before that, up to four candidates (neighbours, and what followed or preceded the last sample equal to the left
//!    one) are offered as "is it this one?".
//! # Shapes     `keys[shape]`, C order; invalid samples are skipped, their prediction stands for them as neighbours
//! # On the wire nothing but range-coded decisions
//! # Cost       about 25 neighbours squared / 2 multiplications and 6 mixed decisions a sample

use super::copies::Copies;
use super::lift::Lift;
use super::ls::{LeastSquares, MAX, N_MEMORIES};
use super::neighbours::{Grid, Neighbours};
use super::symbol::{Expected, SymbolModel};
use crate::dtype::Sample;
use crate::entropy::BinaryCoder;

/// How keys become numbers that can be predicted, and whether copies are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Predict the samples' values, not their keys.
    pub values: bool,
    /// Offer copies.
    pub copies: bool,
    /// Blend in polynomial extrapolations, for fields without noise.
    pub smooth: bool,
}

impl Options {
    /// Bits on the wire.
    pub fn id(self) -> u8 {
        u8::from(self.values) | u8::from(self.copies) << 1 | u8::from(self.smooth) << 2
    }

    /// The inverse of [`Options::id`].
    pub fn from_id(id: u8) -> Option<Self> {
        (id < 8).then_some(Self { values: id & 1 > 0, copies: id & 2 > 0, smooth: id & 4 > 0 })
    }
}

/// Keys as numbers.
struct Space<'a> {
    lift: &'a Lift,
    values: bool,
    /// Keys are counted from here, so that long ones keep their low bits.
    origin: i64,
}

impl Space<'_> {
    #[inline]
    fn number<T: Sample>(&self, k: i64) -> f64 {
        if self.values { self.lift.value::<T>(k) } else { k.wrapping_sub(self.origin) as f64 }
    }

    /// How far `v` lies above the number of `k`, in units of the step to the next key.
    #[inline]
    fn offset<T: Sample>(&self, v: f64, k: i64) -> f64 {
        let at = self.number::<T>(k);
        if !self.values {
            return v - at;
        }
        let step = self.number::<T>(k.wrapping_add(1)) - at;
        if step > 0.0 { (v - at) / step } else { 0.0 }
    }

    #[inline]
    fn nearest<T: Sample>(&self, v: f64) -> i64 {
        if self.values { self.lift.nearest::<T>(v) } else { self.origin.wrapping_add(v.round_ties_even() as i64) }
    }
}

/// Sum of the weights of the neighbours' errors.
const ERROR_WEIGHTS: f64 = 6.0;
const EXPERTS: usize = N_MEMORIES + 1;
/// With polynomials.
const SMOOTH_EXPERTS: usize = EXPERTS + 5;

/// Codes `keys` in place; a decoder overwrites them as it goes.
pub fn code<C: BinaryCoder, T: Sample>(
    c: &mut C,
    keys: &mut [i64],
    shape: &[usize],
    valid: Option<&[bool]>,
    lift: &Lift,
    options: Options,
) {
    let n = keys.len();
    let grid = Grid::new(shape);
    let (nx, plane) = (grid.nx, grid.plane());
    let Some(first) = (0..n).find(|&i| valid.is_none_or(|m| m[i])) else { return };
    let origin = super::line::code_raw_int(c, keys[first]);
    let mut space = Space { lift: lift.of(first), values: options.values, origin };
    let mut neighbours = Neighbours::new(grid, n);
    let mut ls = LeastSquares::new(neighbours.n);
    let mut model = SymbolModel::new(Scene::SIZES);
    let mut copies = options.copies.then(|| Copies::new(n));
    let mut v = vec![0.0; n];
    let mut scene = Scene::new(nx, plane, n);
    // Running mean square of the slow memory's errors, in the units of `s` below.
    let mut mean_square = 0.0;
    let start_value = space.number::<T>(origin);
    let (mut range, mut margin) = ([start_value; 2], 0.0);
    let n_experts = if options.smooth { SMOOTH_EXPERTS } else { EXPERTS };
    let mut f = [0.0; MAX];
    // Sizes of the experts' errors in this row and the one above; a margin of one on both sides.
    let mut errors = [vec![[0.0f64; SMOOTH_EXPERTS]; nx + 2], vec![[0.0f64; SMOOTH_EXPERTS]; nx + 2]];
    for start in (0..n).step_by(nx) {
        neighbours.start_row(start);
        space.lift = lift.of(start);
        errors.swap(0, 1);
        let y = start / nx % grid.ny;
        for x in 0..nx.min(n - start) {
            let i = start + x;
            let base = neighbours.gather(&v, i, x, &mut f).unwrap_or(start_value);
            let [fast, slow] = ls.predict(&f);
            let median = if x > 0 && y > 0 { median(v[i - 1], v[i - nx], v[i - nx - 1]) } else { base };
            let mut experts = [base; SMOOTH_EXPERTS];
            (experts[0], experts[1], experts[2]) = (base + fast, base + slow, median);
            if options.smooth {
                polynomials(&v, i, x, y, nx, &mut experts);
            }
            let [row, above] = &errors;
            let mut sum = 0.0;
            let mut p = 0.0;
            let mut least = f64::INFINITY;
            for (j, e) in experts[..n_experts].iter().enumerate() {
                let s = 2.0 * row[x][j] + above[x][j] + 2.0 * above[x + 1][j] + above[(x + 2).min(nx + 1)][j];
                least = least.min(s);
                let w = 1.0 / (s * s + 1e-200);
                sum += w;
                p += w * e;
            }
            let p = p / sum;
            // Extrapolation must not run away.
            let p = if p.is_finite() { p.clamp(range[0] - margin, range[1] + margin) } else { base };
            let near = space.nearest::<T>(p);
            if valid.is_some_and(|m| !m[i]) {
                keys[i] = near;
                v[i] = p.clamp(range[0], range[1]);
                errors[0][x + 1] = if x > 0 { errors[0][x] } else { errors[1][x + 1] };
                scene.skip(i, x);
                continue;
            }
            let copied = copies.as_mut().and_then(|m| m.code(c, keys, i, x, y, grid));
            let k = match copied {
                Some(k) => k,
                None => {
                    let off = space.offset::<T>(p, near);
                    let bend = space.nearest::<T>(median).wrapping_sub(near);
                    let spread = space.nearest::<T>(experts[0]).wrapping_sub(near);
                    let expected = scene.expected(i, x, [y, grid.ny], off, bend, spread);
                    near.wrapping_add(model.code(c, keys[i].wrapping_sub(near), &expected))
                }
            };
            keys[i] = k;
            v[i] = space.number::<T>(k);
            if !(range[0]..=range[1]).contains(&v[i]) {
                range = [range[0].min(v[i]), range[1].max(v[i])];
                margin = (range[1] - range[0]) / 4.0;
            }
            scene.set(i, x, k.wrapping_sub(near));
            if let Some(m) = &mut copies {
                m.learn(keys, i);
            }
            for (e, error) in experts[..n_experts].iter().zip(&mut errors[0][x + 1]) {
                *error = (v[i] - e).abs();
            }
            if i > 0 {
                // Calm surroundings tell more about the weights than lively ones.
                let spread = least * least + 0.03 * mean_square;
                let error = ERROR_WEIGHTS * errors[0][x + 1][1];
                let moved = mean_square + (error * error - mean_square) * 0.01;
                mean_square = if moved.is_finite() { moved } else { 0.0 };
                let weight = if spread > 0.0 { 1.0 / spread } else { 0.0 };
                ls.update(&f, v[i] - base, weight);
            }
        }
    }
}

/// Extrapolations along the row and the column; in the plane W + N - NW of second order. Where there is no room they stay as they are.
fn polynomials(v: &[f64], i: usize, x: usize, y: usize, nx: usize, e: &mut [f64; SMOOTH_EXPERTS]) {
    let along = |s: usize| 3.0 * (v[i - s] - v[i - 2 * s]) + v[i - 3 * s];
    let further = |s: usize| 5.0 * (v[i - s] - v[i - 4 * s]) - 10.0 * (v[i - 2 * s] - v[i - 3 * s]) + v[i - 5 * s];
    if x >= 5 {
        e[EXPERTS] = along(1);
        e[EXPERTS + 1] = further(1);
    }
    if y >= 5 {
        e[EXPERTS + 2] = along(nx);
        e[EXPERTS + 3] = further(nx);
    }
    if x >= 2 && y >= 2 {
        let row = |i: usize| 2.0 * v[i - 1] - v[i - 2];
        // x_i - row(i) is extrapolated linearly from the two rows above.
        e[EXPERTS + 4] = row(i) + 2.0 * (v[i - nx] - row(i - nx)) - (v[i - 2 * nx] - row(i - 2 * nx));
    }
}

/// Of W, N and W + N - NW: an edge detector.
fn median(w: f64, n: f64, nw: f64) -> f64 {
    let (lo, hi) = if w < n { (w, n) } else { (n, w) };
    if nw >= hi {
        lo
    } else if nw <= lo {
        hi
    } else {
        w + n - nw
    }
}

/// Residuals around the sample in hand.
struct Scene {
    plane: usize,
    /// Residuals of this row and the one above, with a margin of two on both sides.
    row: Vec<i64>,
    above: Vec<i64>,
    /// Levels (see [`level`]) of all samples so far, with signs in the top bit.
    levels: Vec<u8>,
    /// Running mean size.
    local: u64,
}

/// 4 log2(1 + m), rounded down in quarters: 0 to 127.
#[inline]
fn level(m: u64) -> usize {
    let v = m.saturating_add(1);
    let log = 63 - v.leading_zeros();
    let quarter = if log >= 2 { v >> (log - 2) & 3 } else { v << (2 - log) & 3 };
    (log * 4 + quarter as u32).min(127) as usize
}

/// 2^(level / 4) - 1, roughly: the inverse of [`level`].
#[inline]
fn size(level: u8) -> u64 {
    let (log, quarter) = (u32::from(level & 127) / 4, u64::from(level & 3));
    ((4 + quarter) << log) / 4 - 1
}

impl Scene {
    const SIZES: [usize; super::symbol::N_CONTEXTS] = [128, 64 * 3, 64, 17 * 17, 12 * 12 * 3, 17 * 17];

    fn new(nx: usize, plane: usize, n: usize) -> Self {
        Self { plane, row: vec![0; nx + 4], above: vec![0; nx + 4], levels: vec![0; n], local: 0 }
    }

    fn start(&mut self, x: usize) {
        if x == 0 {
            std::mem::swap(&mut self.row, &mut self.above);
        }
    }

    fn skip(&mut self, i: usize, x: usize) {
        self.start(x);
        // The left neighbour's residual stands for one that was never coded.
        self.row[x + 2] = if x > 0 { self.row[x + 1] } else { self.above[x + 2] };
        self.levels[i] = if i > 0 { self.levels[i - 1] } else { 0 };
    }

    fn set(&mut self, i: usize, x: usize, r: i64) {
        self.start(x);
        self.row[x + 2] = r;
        let m = r.unsigned_abs().min(1 << 40);
        self.levels[i] = level(m) as u8 | if r < 0 { 128 } else { 0 };
        self.local = self.local - self.local / 16 + m;
    }

    /// `off`: how far the prediction lies off the middle of its key; `bend`, `spread`: by how many keys other predictions differ.
    #[inline]
    fn expected(&self, i: usize, x: usize, [y, ny]: [usize; 2], off: f64, bend: i64, spread: i64) -> Expected {
        // Before `set` swaps the rows at x = 0, the row in hand is still called `above`.
        let (row, above) = if x == 0 { (&self.above, &self.row) } else { (&self.row, &self.above) };
        let a = |v: i64| v.unsigned_abs().min(1 << 40);
        let (w, ww) = if x == 0 { (above[2], above[2]) } else { (row[x + 1], row[x.max(2)]) };
        let (nw, n, ne) = (above[x + 1], above[x + 2], above[x + 3]);
        let up = |back: usize| if i >= back { self.levels[i - back] } else { 0 };
        let (u, u_e, u_w) = (up(self.plane), up(self.plane - 1), up(self.plane + 1));
        let in_plane = 2 * a(w) + 2 * a(n) + a(nw) + a(ne) + a(ww);
        let before = 2 * size(u) + size(u_e) + size(u_w);
        // Weights add up to 7 and 4: both are brought to four times a mean.
        let have_before = i >= self.plane && self.plane > 1;
        let mixed = if have_before { (4 * in_plane + 4 * before) / 11 } else { 4 * in_plane / 7 };
        let mean = mixed / 4;
        let length = 64 - (mean + mean / 2).leading_zeros();
        let expected = level(mean) as i64;
        let relative = |v: u64, range: i64| (level(v) as i64 - expected + range / 2).clamp(0, range) as usize;
        let sign = |v: i64| (v.signum() + 1) as usize;
        let u_sign = if u & 127 == 0 {
            1
        } else if u & 128 > 0 {
            0
        } else {
            2
        };
        let y_bucket = if ny > 1 { y * 63 / (ny - 1) } else { 0 };
        let side = if off > 0.25 { 2 } else { usize::from(off >= -0.25) };
        Expected {
            length,
            length_contexts: [
                level(mixed),
                level(in_plane) / 2 * 3 + side,
                y_bucket,
                relative(a(w), 16) * 17 + relative(a(n), 16),
                (relative(self.local / 16, 11) * 12 + relative(size(u), 11)) * 3 + u_sign,
                relative(a(bend), 16) * 17 + relative(a(spread), 16),
            ],
            sign_contexts: [
                (sign(w) * 3 + sign(n)) * 3 + u_sign,
                (sign(bend) * 17 + relative(a(bend), 16)) * 3 + sign(spread),
                ((off.clamp(-0.5, 0.5) * 16.0) as i64 + 8).clamp(0, 15) as usize * 8 + (length as usize).min(7),
            ],
        }
    }
}
