//! The closed loop: each sample is predicted from what is decoded already, and what is missing is coded in bins.
//!
//! # Maths
//! 1. A row of a pass is taken in segments of up to 64 samples; `features` says what each sample is predicted from.
//! 2. Least squares with up to three memories predicts sample - base. The sums over features known before the segment are made
//!    for all its samples at once, those over samples of the segment itself one by one.
//! 3. Memories and base are blended by their inverse squared errors on the neighbours. The prediction is held within the range
//!    of the data.
//! 4. Symbol k = round((x - p) / width), reconstruction p + k width: off by at most half a width.
//! # Shapes     `f64[t, z, y, x]`
//! # On the wire nothing but range-coded decisions

use fearless_simd::f32x4;
use fearless_simd::prelude::*;

use super::contexts::{Clues, SymbolCoder, Symbols};
use super::features::{Before, Desk, Offset, PAD, Prepared, Segment, Sources, feature, held, place};
use super::geometry::Geometry;
use super::ls::{Column, GROUPS, LANES, LeastSquares, MAX_MEMORIES, SEGMENT, Turns};
use super::sequence::{At, Mean, in_sequence};
use crate::entropy::{BinaryCoder, IntModel};
use crate::simd::{level, widest};

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
    /// `quick` codes the symbols.
    pub quick: bool,
    /// 0 few, 1 more, 2 most.
    pub features: u8,
    /// Memories of the least squares.
    pub memories: usize,
    /// One sample of so many is learned from.
    pub every: u32,
}

/// Bins become finer by at most this factor.
const FINEST: f64 = 4.0;

impl Settings {
    /// Bin width of each level, the anchors' last.
    pub fn widths(&self, levels: u32) -> Vec<f64> {
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

/// Errors of the base and of each memory, in bins.
type Errors = [f32; EXPERTS];
const EXPERTS: usize = MAX_MEMORIES + 1;
/// Errors are held below this, so that their squares are finite.
const MAX_ERROR: f32 = 1e9;
/// Where all neighbours were predicted without error, all experts count alike.
const LEAST_ERROR: f32 = 1e-3;
/// Most features from the same row.
const MAX_SERIAL: usize = 3;

/// What is remembered of a slice for the next one of the same kind.
#[derive(Clone)]
struct Memory {
    symbols: Symbols,
    errors: Vec<Errors>,
    mean: Mean,
}

/// Codes `v`, slices in sequence, in place: an encoder's samples become their reconstructions, a decoder's are overwritten. After the
/// samples `v` and `valid` hold [`PAD`] more, and before them.
pub fn code<C: BinaryCoder>(c: &mut C, v: &mut [f64], valid: Option<&[bool]>, g: Geometry, settings: &Settings) {
    if v.len() > 2 * PAD {
        widest!(level(), simd => sequence(simd, c, v, valid, g, settings));
    }
}

#[inline(always)]
fn sequence<S: Simd, C: BinaryCoder>(
    simd: S,
    c: &mut C,
    v: &mut [f64],
    valid: Option<&[bool]>,
    g: Geometry,
    settings: &Settings,
) {
    let widths = settings.widths(g.levels());
    let passes: Vec<Prepared> =
        g.passes().into_iter().map(|pass| Prepared::new(pass, g, settings.features, true)).collect();
    // A vertical and a horizontal model for each level.
    let mut models: Vec<Option<LeastSquares>> = (0..2 * g.levels()).map(|_| None).collect();
    let plane = g.plane();
    let fresh =
        Memory { symbols: Symbols::new(plane), errors: vec![[0.0; EXPERTS]; plane + 2 * PAD], mean: Mean::new(plane) };
    let mut before = vec![0; plane + 2 * PAD];
    let mut anchors = IntModel::new(&[3, 1], 2, 20);
    let mut work = Work::new(settings.every);
    in_sequence(
        g,
        fresh,
        #[inline(always)]
        |at, memory| {
            before.copy_from_slice(&memory.symbols.q);
            code_anchors(c, &mut anchors, v, valid, g, settings, widths[g.levels() as usize], at.first, plane);
            for p in &passes {
                let slot = 2 * p.pass.level as usize + usize::from(p.pass.vertical);
                let mut ls = models[slot].take().unwrap_or_else(|| {
                    let parent = models.get(slot + 2).and_then(Option::as_ref);
                    LeastSquares::new(p.n_features, settings.memories, parent)
                });
                let slice = Slice { g, settings, at, width: widths[p.pass.level as usize], valid, before: &before };
                for s in Segment::all(&p.pass, g) {
                    slice.segment(simd, c, v, p, &s, &mut ls, memory, &mut work);
                }
                models[slot] = Some(ls);
            }
            memory.mean.add(&v[at.first..]);
        },
    );
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
            let i = first + place(y, x, g.nx);
            let p = if has_before { v[i - back] + shift } else { previous };
            let p = if settings.integer { p.round_ties_even() } else { p };
            if valid.is_some_and(|m| !m[i]) {
                v[i] = p;
                continue;
            }
            let context = if has_before { 1 + usize::from(n > 0) } else { 0 };
            let k = model.code(c, symbol((v[i] - p) / width), &[context, 0], usize::from(has_before));
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
fn symbol(difference: f64) -> i64 {
    let k = difference.round_ties_even();
    // Beyond this the reconstruction would miss anyway: the pipeline stores such samples exactly.
    if k.abs() < 1e15 { k as i64 } else { 0 }
}

/// One slice in the making.
struct Slice<'a> {
    g: Geometry,
    settings: &'a Settings,
    at: At,
    width: f64,
    valid: Option<&'a [bool]>,
    /// Symbols of the slice before.
    before: &'a [i32],
}

/// What all slices work with.
struct Work {
    symbols: SymbolCoder,
    desk: Desk,
    /// Of each memory, over features known before the segment.
    sums: [Column; MAX_MEMORIES],
    /// The same for each sample; the base predicts 0.
    learnt: [Errors; SEGMENT],
    /// Errors around, without those to the west.
    around: [Errors; SEGMENT],
    errors: [Errors; SEGMENT],
    turns: Turns,
}

impl Work {
    fn new(every: u32) -> Self {
        let errors = [[0.0; EXPERTS]; SEGMENT];
        Self {
            symbols: SymbolCoder::new(),
            desk: Desk::new(),
            sums: [[[0.0; LANES]; GROUPS]; MAX_MEMORIES],
            learnt: errors,
            around: errors,
            errors,
            turns: Turns::new(every),
        }
    }
}

/// Of all experts, in this order.
#[inline(always)]
fn sum<S: Simd>(v: f32x4<S>) -> f32 {
    (v[0] + v[1]) + (v[2] + v[3])
}

impl Slice<'_> {
    #[allow(clippy::too_many_arguments)] // the state of a pass
    #[inline(always)]
    fn segment<S: Simd, C: BinaryCoder>(
        &self,
        simd: S,
        c: &mut C,
        v: &mut [f64],
        p: &Prepared,
        s: &Segment,
        ls: &mut LeastSquares,
        memory: &mut Memory,
        work: &mut Work,
    ) {
        let (width, inverse) = (self.width, 1.0 / self.width);
        let n_memories = self.settings.memories;
        let here = self.at.first + s.at();
        let valid = |i: usize| self.valid.is_none_or(|m| m[here + i * s.step()]);
        let n_valid = if self.valid.is_some() { (0..s.n).filter(|&i| valid(i)).count() } else { s.n };
        let sources = Sources {
            v,
            first: self.at.first,
            before: Before::of(self.g, self.at.t, self.at.z),
            mean: memory.mean.known(),
            inverse,
            range: self.settings.range,
        };
        let Work { symbols, desk, sums, learnt, around, errors, turns } = work;
        desk.fill(simd, s, p, &sources);
        let n_known = p.n_features - p.n_serial;
        ls.predict(simd, &desk.columns, n_known, s.groups(), sums);
        for (m, sums) in sums.iter().enumerate().take(n_memories) {
            learnt.iter_mut().zip(sums.as_flattened()).for_each(|(l, s)| l[m + 1] = *s);
        }
        symbols.begin(s, &p.pass, &memory.symbols, self.before);
        let (dy, dx) = (p.pass.y.1 as isize, s.stride as isize);
        let zero = [0.0; EXPERTS];
        s.read(around, &memory.errors, Offset { dy: -dy, dx: 0 }, zero);
        for (o, more) in [(Offset { dy: -dy, dx }, 0.0), (Offset { dy: 0, dx: 0 }, LEAST_ERROR)] {
            s.read(errors, &memory.errors, o, zero);
            let (around, errors) = (around.as_flattened_mut(), errors.as_flattened());
            around.iter_mut().zip(errors).for_each(|(a, e)| *a += *e + more);
        }
        let west = |back: usize| (s.x >= back * s.stride).then(|| s.at() - back * s.step());
        let vector = |x: Errors| f32x4::simd_from(simd, x);
        let mut errors_w = [1, 2].map(|back| vector(west(back).map_or(zero, |j| memory.errors[j])));
        let mut last = [1, 2, 3].map(|back| west(back).map(|j| v[self.at.first + j]));
        // Of each serial feature in each memory.
        let weights: [f32x4<S>; MAX_SERIAL] = [0, 1, 2].map(|k| {
            let of = |m: usize| if k < p.n_serial && m < n_memories { ls.weights(m)[n_known + k] } else { 0.0 };
            vector([0.0, of(0), of(1), of(2)])
        });
        let on = vector([0, 1, 2, 3].map(|k| if k <= n_memories { 1.0 } else { 0.0 }));
        for i in 0..s.n {
            let base = desk.base[i];
            let mut learnt = vector(learnt[i]);
            for (last, weight) in last.iter().zip(weights).take(p.n_serial) {
                learnt += weight * last.map_or(0.0, |v| feature(v, base, inverse));
            }
            let near = (errors_w[0] + errors_w[1]) + vector(around[i]);
            let shares = on / (near * near);
            let bend = sum(shares * learnt) / sum(shares);
            let mut prediction = held(base + f64::from(bend) * width, self.settings.range);
            if self.settings.integer {
                prediction = prediction.round_ties_even();
            }
            let at = here + i * s.step();
            let j = s.at() + i * s.step();
            let newest = if valid(i) {
                let (g, l) = (i / LANES, i % LANES);
                let slope = desk.columns[0][g][l] - desk.columns[1][g][l];
                let clues = Clues { bend: ((base - prediction) * inverse) as f32, slope };
                let k = symbol((v[at] - prediction) * inverse);
                let k = symbols.code(c, k, &p.pass, s, i, clues, &mut memory.symbols);
                v[at] = prediction + k as f64 * width;
                let errors = (learnt - feature(v[at], base, inverse)).abs();
                let most = f32x4::splat(simd, MAX_ERROR);
                // The largest, too, for what is not a number: what `min` makes of that depends on the machine.
                let errors = errors.simd_lt(most).select(errors, most);
                memory.errors[j] = errors.into();
                errors
            } else {
                v[at] = prediction;
                symbols.skip(s, i, &memory.symbols);
                vector(memory.errors[j])
            };
            errors_w = [newest, errors_w[0]];
            last = [Some(v[at]), last[0], last[1]];
        }
        if let Some(start) = turns.next(s.groups())
            && n_valid > 0
        {
            desk.finish(simd, s, p, &v[self.at.first..], inverse);
            let mut count = 0;
            for g in (start..s.groups()).step_by(turns.every) {
                for i in g * LANES..s.n.min((g + 1) * LANES) {
                    if valid(i) {
                        count += 1;
                    } else {
                        desk.drop_sample(i, p.n_features + 1);
                    }
                }
            }
            ls.update(simd, &desk.columns, start, turns.every, s.groups(), count);
        }
    }
}
