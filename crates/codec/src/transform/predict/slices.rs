//! The closed loop: each sample is predicted from what is decoded already, and what is missing is coded in bins.
//!
//! # Maths
//! 1. Base: 4-point cubic through the known samples on the line, as far as they exist.
//! 2. Features, all less the base: known samples around; and of the slice before, the one before that, the step before and a
//!    running mean slice, the residual of the same cubic at the same places.
//! 3. Least squares with two or three memories predicts sample - base; memories and base are blended by their inverse squared
//!    errors on the neighbours. The prediction is held within the range of the data.
//! 4. Symbol k = round((x - p) / width), reconstruction p + k width: off by at most half a width.
//! # Shapes     `f64[t, z, y, x]`
//! # On the wire nothing but range-coded decisions

use super::contexts::{Around, Clues, SymbolCoder, Symbols};
use super::geometry::{Geometry, Pass};
use super::ls::{LeastSquares, MAX, MAX_MEMORIES, Row};
use crate::entropy::{BinaryCoder, IntModel};

/// Everything that both sides agree on.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Bin width of the finest level.
    pub width: f64,
    /// Bins are finer by this factor from level to level.
    pub alpha: f64,
    /// Of the valid samples.
    pub range: [f64; 2],
    /// Predictions are rounded to whole numbers.
    pub integer: bool,
    /// More features.
    pub wide: bool,
    /// Memories of the least squares.
    pub memories: usize,
    /// One sample of so many is learned from.
    pub every: u32,
}

/// Bins become finer by at most this factor.
const FINEST: f64 = 4.0;

impl Settings {
    /// Bin width of each level, the anchors' last.
    fn widths(&self, levels: u32) -> Vec<f64> {
        let mut factor = 1.0;
        (0..=levels)
            .map(|_| {
                let width = self.width / factor;
                factor = f64::min(factor * self.alpha, FINEST);
                width
            })
            .collect()
    }
}

/// An offset in a slice.
#[derive(Debug, Clone, Copy)]
struct Offset {
    dy: isize,
    dx: isize,
    /// In samples.
    back: isize,
}

/// A pass with everything that does not change from slice to slice.
struct Prepared {
    pass: Pass,
    /// Of the slice itself; the first four lie on the line.
    own: Vec<Offset>,
    /// Of other slices.
    other: Vec<Offset>,
    /// Columns nearer to an edge need checks.
    reach: usize,
    n_features: usize,
}

/// Of the samples on the line, -h, h, -3h, 3h: which exist, and the cubic through them.
#[derive(Debug, Clone, Copy)]
struct Line {
    at: [usize; 4],
    weights: [f64; 4],
}

impl Line {
    /// `safe` stands for samples that do not exist.
    #[inline(always)]
    fn new(exists: [bool; 4], at: [usize; 4], safe: usize) -> Self {
        let weights = match exists {
            [true, true, true, true] => [0.5625, 0.5625, -0.0625, -0.0625],
            [true, true, true, false] => [0.75, 0.375, -0.125, 0.0],
            [true, true, false, true] => [0.375, 0.75, 0.0, -0.125],
            [true, true, false, false] => [0.5, 0.5, 0.0, 0.0],
            [true, false, true, _] => [1.5, 0.0, -0.5, 0.0],
            [true, false, false, _] => [1.0, 0.0, 0.0, 0.0],
            [false, true, _, _] => [0.0, 1.0, 0.0, 0.0],
            [false, false, _, _] => [0.0; 4],
        };
        let mut line = Self { at, weights };
        for k in 0..4 {
            if !exists[k] {
                line.at[k] = safe;
            }
        }
        line
    }

    #[inline(always)]
    fn cubic(&self, v: &[f64], back: usize) -> f64 {
        let x = |k: usize| self.weights[k] * v[self.at[k] - back];
        (x(0) + x(1)) + (x(2) + x(3))
    }
}

fn offsets(pass: &Pass, g: Geometry, wide: bool) -> (Vec<Offset>, Vec<Offset>) {
    let (h, u) = (pass.h as isize, pass.across as isize);
    let has_across = if pass.vertical { g.nx as isize > u } else { g.ny as isize > u };
    // (along the line, across it)
    let mut own = vec![(-h, 0), (h, 0), (-3 * h, 0), (3 * h, 0)];
    let mut other = vec![(0, 0), (2 * h, 0), (-2 * h, 0)];
    if has_across {
        own.extend([(-h, -u), (-h, u), (h, -u), (h, u), (0, -u), (0, -2 * u), (-2 * h, -u)]);
        // What is known of the next row in reading order.
        own.push(if pass.vertical { (-2 * h, u) } else { (2 * h, -u) });
        other.extend([(0, u), (0, -u)]);
    }
    own.push((-2 * h, 0));
    if wide {
        own.extend([(-5 * h, 0), (5 * h, 0)]);
        if has_across {
            own.extend([(-3 * h, -u), (-3 * h, u), (3 * h, -u), (3 * h, u), (0, -3 * u)]);
            other.extend([(-h, -u), (-h, u), (h, -u), (h, u), (-2 * h, -u), (-2 * h, u), (2 * h, -u), (2 * h, u)]);
        }
    }
    let place = |(along, across): (isize, isize)| {
        let (dy, dx) = if pass.vertical { (along, across) } else { (across, along) };
        Offset { dy, dx, back: dy * g.nx as isize + dx }
    };
    (own.into_iter().map(place).collect(), other.into_iter().map(place).collect())
}

/// What is remembered of a slice for the next one of the same kind.
#[derive(Clone)]
struct Memory {
    symbols: Symbols,
    /// Errors of the base and of each memory, in bins.
    errors: Vec<[f32; EXPERTS]>,
    /// Running mean of the slices.
    mean: Vec<f64>,
    n: u32,
}

const EXPERTS: usize = MAX_MEMORIES + 1;
/// Slices that the running mean remembers.
const MEAN_SLICES: u32 = 60;
/// Errors are held below this, so that their squares are finite.
const MAX_ERROR: f32 = 1e9;

/// Codes `v`, slices in sequence, in place: an encoder's samples become their reconstructions, a decoder's are overwritten.
pub fn code<C: BinaryCoder>(c: &mut C, v: &mut [f64], valid: Option<&[bool]>, g: Geometry, settings: &Settings) {
    if !v.is_empty() {
        pulp::Arch::new().dispatch(Sequence { c, v, valid, g, settings });
    }
}

/// The arguments of [`code`], to be run by code compiled for the widest vectors of the machine. Which ones makes no difference to
/// the result: every sum has its order, and nothing is contracted.
struct Sequence<'a, C> {
    c: &'a mut C,
    v: &'a mut [f64],
    valid: Option<&'a [bool]>,
    g: Geometry,
    settings: &'a Settings,
}

impl<C: BinaryCoder> pulp::WithSimd for Sequence<'_, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Self { c, v, valid, g, settings } = self;
        sequence(c, v, valid, g, settings);
    }
}

#[inline(always)]
fn sequence<C: BinaryCoder>(c: &mut C, v: &mut [f64], valid: Option<&[bool]>, g: Geometry, settings: &Settings) {
    let widths = settings.widths(g.levels());
    let passes: Vec<Prepared> = g
        .passes()
        .into_iter()
        .map(|pass| {
            let (own, other) = offsets(&pass, g, settings.wide);
            let reach = own.iter().chain(&other).map(|o| o.dx.unsigned_abs()).max().unwrap_or(0);
            let n_features = n_features(&own, &other, g);
            Prepared { pass, own, other, reach: reach.max(2 * pass.x.1), n_features }
        })
        .collect();
    // A vertical and a horizontal model for each level.
    let mut models: Vec<Option<LeastSquares>> = (0..2 * g.levels()).map(|_| None).collect();
    let plane = g.plane();
    let n_memories = if g.nt > 1 { g.nz } else { 1 };
    let fresh =
        Memory { symbols: Symbols::new(plane), errors: vec![[0.0; EXPERTS]; plane], mean: vec![0.0; plane], n: 0 };
    let mut memories = vec![fresh; n_memories];
    let mut before = vec![0; plane];
    let mut anchors = IntModel::new(&[3, 1], 2, 20);
    let mut symbols = SymbolCoder::new();
    let mut learned = 0;
    for s in 0..g.nt * g.nz {
        let (t, z) = (s / g.nz, s % g.nz);
        let own = z % n_memories;
        if t == 0 && z > 0 && n_memories > 1 {
            // The first step has no step before: the level before stands for it.
            memories[z] = memories[z - 1].clone();
        }
        let memory = &mut memories[own];
        before.copy_from_slice(&memory.symbols.q);
        let first = s * plane;
        code_anchors(c, &mut anchors, v, valid, g, settings, widths[g.levels() as usize], first, plane);
        for p in &passes {
            let slot = 2 * p.pass.level as usize + usize::from(p.pass.vertical);
            let mut ls = match models[slot].take() {
                Some(ls) => ls,
                None => {
                    LeastSquares::new(p.n_features, settings.memories, models.get(slot + 2).and_then(Option::as_ref))
                }
            };
            let slice = Slice { g, settings, first, t, z, width: widths[p.pass.level as usize], valid };
            slice.code(c, &mut symbols, v, p, &mut ls, memory, &before, &mut learned);
            models[slot] = Some(ls);
        }
        memory.n = (memory.n + 1).min(MEAN_SLICES);
        let part = 1.0 / f64::from(memory.n);
        for (m, v) in memory.mean.iter_mut().zip(&v[first..first + plane]) {
            *m += part * (v - *m);
        }
    }
}

/// Own features, those of the slice before, of the step before, centre of the one before that, mean.
fn n_features(own: &[Offset], other: &[Offset], g: Geometry) -> usize {
    let others = usize::from(g.nz > 1) + usize::from(g.nt > 1);
    own.len() + others * other.len() + 2 * others.min(1)
}

#[allow(clippy::too_many_arguments)] // one call site; a struct would only rename them
fn code_anchors<C: BinaryCoder>(
    c: &mut C,
    model: &mut IntModel<2>,
    v: &mut [f64],
    valid: Option<&[bool]>,
    g: Geometry,
    settings: &Settings,
    width: f64,
    first: usize,
    plane: usize,
) {
    let stride = 1usize << g.levels();
    // The slice before in the same step, or the same slice of the step before.
    let back = if (first / plane).is_multiple_of(g.nz) { g.nz * plane } else { plane };
    let has_before = first >= back;
    let (mut previous, mut shift, mut n) = (0.5 * (settings.range[0] + settings.range[1]), 0.0, 0);
    for y in (0..g.ny).step_by(stride) {
        for x in (0..g.nx).step_by(stride) {
            let i = first + y * g.nx + x;
            let p = if has_before { v[i - back] + shift } else { previous };
            let p = if settings.integer { p.round_ties_even() } else { p };
            if valid.is_some_and(|m| !m[i]) {
                v[i] = p;
                continue;
            }
            let context = if has_before { 1 + usize::from(n > 0) } else { 0 };
            let k = model.code(c, symbol(v[i], p, width), &[context, 0], usize::from(has_before));
            v[i] = p + k as f64 * width;
            if has_before {
                shift = 0.5 * shift + 0.5 * (v[i] - v[i - back]);
            }
            previous = v[i];
            n += 1;
        }
    }
}

#[inline(always)]
fn symbol(x: f64, p: f64, width: f64) -> i64 {
    let k = ((x - p) / width).round_ties_even();
    // Beyond this the reconstruction would miss anyway: the pipeline stores such samples exactly.
    if k.abs() < 1e15 { k as i64 } else { 0 }
}

/// One slice in the making.
struct Slice<'a> {
    g: Geometry,
    settings: &'a Settings,
    first: usize,
    t: usize,
    z: usize,
    width: f64,
    valid: Option<&'a [bool]>,
}

impl Slice<'_> {
    #[allow(clippy::too_many_arguments)] // the state of a pass
    #[inline(always)]
    fn code<C: BinaryCoder>(
        &self,
        c: &mut C,
        symbols: &mut SymbolCoder,
        v: &mut [f64],
        p: &Prepared,
        ls: &mut LeastSquares,
        memory: &mut Memory,
        before: &[i32],
        learned: &mut u32,
    ) {
        let Geometry { ny, nx, nz, nt } = self.g;
        let (pass, plane, width) = (&p.pass, self.g.plane(), self.width);
        let (h, inverse) = (pass.h, 1.0 / width);
        let (sy, sx) = (pass.y.1, pass.x.1);
        let [low, high] = self.settings.range;
        // Distances to the other slices, with the place of their first feature; 0 for a slice that is not there.
        let mut next = p.own.len();
        let mut groups = [(0, 0); 2];
        if nz > 1 {
            groups[0] = (if self.z > 0 { plane } else { 0 }, next);
            next += p.other.len();
        }
        if nt > 1 {
            groups[1] = (if self.t > 0 { nz * plane } else { 0 }, next);
            next += p.other.len();
        }
        let older = match (nt > 1, self.t, self.z) {
            (true, 2.., _) => 2 * nz * plane,
            (false, _, 2..) => 2 * plane,
            _ => 0,
        };
        let has_mean = memory.n > 0 && (nt > 1 || nz > 1);
        let step = if pass.vertical { h * nx } else { h };
        let mut f: Row = [0.0; MAX];
        let mut own_rows: Vec<(usize, Offset)> = Vec::with_capacity(p.own.len());
        let mut other_rows: Vec<(usize, Offset)> = Vec::with_capacity(p.other.len());
        for y in (pass.y.0..ny).step_by(sy) {
            let in_rows = |o: &Offset| y.checked_add_signed(o.dy).is_some_and(|r| r < ny);
            own_rows.clear();
            own_rows.extend(p.own.iter().copied().enumerate().skip(4).filter(|(_, o)| in_rows(o)));
            other_rows.clear();
            other_rows.extend(p.other.iter().copied().enumerate().filter(|(_, o)| in_rows(o)));
            let line_rows = [0, 1, 2, 3].map(|k| in_rows(&p.own[k]));
            let latitude = y * 255 / (ny - 1).max(1);
            let row_line = Line::new(line_rows, [0; 4], 0);
            for x in (pass.x.0..nx).step_by(sx) {
                let j = y * nx + x;
                let i = self.first + j;
                let inside = x >= p.reach && x + p.reach < nx;
                let in_columns = |o: &Offset| x.checked_add_signed(o.dx).is_some_and(|c| c < nx);
                let mut exists = line_rows;
                let at = [i.wrapping_sub(step), i + step, i.wrapping_sub(3 * step), i + 3 * step];
                let line = if inside || pass.vertical {
                    Line { at: std::array::from_fn(|k| if exists[k] { at[k] } else { self.first }), ..row_line }
                } else {
                    exists = std::array::from_fn(|k| exists[k] && in_columns(&p.own[k]));
                    Line::new(exists, at, self.first)
                };
                let base = line.cubic(v, 0);
                f[..p.n_features].fill(0.0);
                for k in 0..4 {
                    if exists[k] {
                        f[k] = v[line.at[k]] - base;
                    }
                }
                if inside {
                    for (k, o) in &own_rows {
                        f[*k] = v[i.wrapping_add_signed(o.back)] - base;
                    }
                } else {
                    for (k, o) in own_rows.iter().filter(|(_, o)| in_columns(o)) {
                        f[*k] = v[i.wrapping_add_signed(o.back)] - base;
                    }
                }
                for &(back, feature) in groups.iter().filter(|(back, _)| *back > 0) {
                    let base = line.cubic(v, back);
                    let f = &mut f[feature..];
                    if inside {
                        for (k, o) in &other_rows {
                            f[*k] = v[(i - back).wrapping_add_signed(o.back)] - base;
                        }
                    } else {
                        for (k, o) in other_rows.iter().filter(|(_, o)| in_columns(o)) {
                            f[*k] = v[(i - back).wrapping_add_signed(o.back)] - base;
                        }
                    }
                }
                if has_mean {
                    let from = self.first;
                    let m = &memory.mean;
                    let m_at = |k: usize| line.weights[k] * m[line.at[k] - from];
                    f[next] = m[j] - ((m_at(0) + m_at(1)) + (m_at(2) + m_at(3)));
                }
                if older > 0 {
                    f[next + 1] = v[i - older] - line.cubic(v, older);
                }
                let around = Around {
                    j,
                    latitude,
                    w: if x >= sx { sx } else { 0 },
                    ww: if x >= 2 * sx { 2 * sx } else { 0 },
                    n: if y >= sy { sy * nx } else { 0 },
                    ne: if y >= sy && x + sx < nx { sy * nx - sx } else { 0 },
                    e: if x + sx < nx { sx } else { 0 },
                    s: if y + sy < ny { sy * nx } else { 0 },
                    line: [0, 1].map(|k| if exists[k] { line.at[k] - self.first } else { j }),
                    corners: [4, 5, 6, 7].map(|k| match p.own.get(k) {
                        Some(o) if p.own.len() > 8 && in_rows(o) && (inside || in_columns(o)) => {
                            j.wrapping_add_signed(o.back)
                        }
                        _ => j,
                    }),
                };
                let learnt = ls.predict(&f);
                let errors = &mut memory.errors;
                let mut sums = [1e-3f32; EXPERTS];
                for back in [around.w, around.n, around.ne, around.ww] {
                    if back > 0 {
                        let e = errors[j - back];
                        for k in 0..EXPERTS {
                            sums[k] += e[k];
                        }
                    }
                }
                let e = errors[j];
                for k in 0..EXPERTS {
                    sums[k] += e[k];
                }
                let w = sums.map(|s| 1.0 / (s * s));
                let (mut total, mut sum) = (f64::from(w[0]), 0.0);
                for m in 0..self.settings.memories {
                    total += f64::from(w[m + 1]);
                    sum += f64::from(w[m + 1]) * learnt[m];
                }
                let bend = sum / total;
                let mut prediction = base + bend;
                if !prediction.is_finite() {
                    prediction = base;
                }
                prediction = prediction.clamp(low, high);
                if self.settings.integer {
                    prediction = prediction.round_ties_even();
                }
                if self.valid.is_some_and(|m| !m[i]) {
                    v[i] = prediction;
                    continue;
                }
                let clues =
                    Clues { bend: ((base - prediction) * inverse) as f32, slope: ((f[0] - f[1]) * inverse) as f32 };
                let k = symbol(v[i], prediction, width);
                let k = symbols.code(c, k, pass, &around, clues, &mut memory.symbols, before);
                let r = prediction + k as f64 * width;
                v[i] = r;
                let y = r - base;
                let error = |p: f64| (((y - p) * inverse).abs() as f32).min(MAX_ERROR);
                let e = &mut errors[j];
                e[0] = error(0.0);
                for m in 0..self.settings.memories {
                    e[m + 1] = error(learnt[m]);
                }
                *learned += 1;
                if *learned >= self.settings.every {
                    *learned = 0;
                    ls.update(&f, y, 1.0);
                }
            }
        }
    }
}
