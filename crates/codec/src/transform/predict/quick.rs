//! The closed loop, quickly: whole segments are predicted and coded at once, from what is known before the row.
//!
//! # Maths
//! 1. As in `slices`, with one memory and without samples of the row itself.
//! 2. How large a symbol will be is predicted by least squares, too: log2(1 + |k|) from the same of the symbols around. Classes
//!    of that are the contexts. Every second symbol of a segment is coded first; the others know these.
//! 3. Symbols count as positive towards the interpolation.
//! # Shapes     `f64[t, z, y, x]`
//! # On the wire rows of integers

use std::ops::Range;

use fearless_simd::f32x8;
use fearless_simd::prelude::*;

use super::features::{Before, Desk, Offset, PAD, Prepared, Segment, Sources, held, place};
use super::geometry::{Geometry, Pass};
use super::ls::{Column, GROUPS, LANES, LeastSquares, MAX_MEMORIES, SEGMENT, Turns};
use super::sequence::{At, Mean, in_sequence};
use super::slices::Settings;
use crate::entropy::rans::RowCoder;
use crate::simd::{level, widest};

/// Larger symbols are not coded: the pipeline stores such samples exactly.
const MAX_SYMBOL: f64 = (1u32 << 30) as f64;
/// Adding it rounds to an integer, half to even, which then is in the lowest bits.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// The same for small numbers.
const ROUND_SMALL: f32 = 12_582_912.0;

/// Classes of a symbol's expected size.
const CLASSES: usize = 46;
/// Of them, those below 1, two for each octave.
const BELOW_ONE: i32 = 21;
/// Contexts of symbols: of the finest level and of the others. Anchors have one more.
pub const CONTEXTS: usize = 2 * CLASSES + 1;
/// What the size of a symbol is predicted from.
const CLUES: usize = 10;

type Row<T> = [T; SEGMENT];

/// Codes `v` as `slices::code` does.
pub fn code<C: RowCoder>(c: &mut C, v: &mut [f64], valid: Option<&[bool]>, g: Geometry, settings: &Settings) {
    if v.len() > 2 * PAD {
        widest!(level(), simd => sequence(simd, c, v, valid, g, settings));
    }
}

/// The two models of a pass.
struct Model {
    samples: LeastSquares,
    /// Of sizes: of those coded first, and of those between them.
    first: LeastSquares,
    second: LeastSquares,
}

/// What is remembered of a slice for the next one of the same kind.
#[derive(Clone)]
struct Memory {
    /// Sizes of symbols.
    sizes: Vec<f32>,
    mean: Mean,
}

#[inline(always)]
fn sequence<S: Simd, C: RowCoder>(
    simd: S,
    c: &mut C,
    v: &mut [f64],
    valid: Option<&[bool]>,
    g: Geometry,
    settings: &Settings,
) {
    let widths = settings.widths(g.levels());
    let passes: Vec<Prepared> =
        g.passes().into_iter().map(|pass| Prepared::new(pass, g, settings.features, false)).collect();
    let mut models: Vec<Option<Model>> = (0..2 * g.levels()).map(|_| None).collect();
    let plane = g.plane();
    let fresh = Memory { sizes: vec![0.0; plane + 2 * PAD], mean: Mean::new(plane) };
    let mut before = vec![0.0; plane + 2 * PAD];
    let mut work = Work::new(settings.every);
    in_sequence(
        g,
        fresh,
        #[inline(always)]
        |at, memory| {
            before.copy_from_slice(&memory.sizes);
            let slice = Slice { g, settings, at, valid, before: &before };
            slice.anchors(c, v, widths[g.levels() as usize], &mut work);
            for p in &passes {
                let slot = 2 * p.pass.level as usize + usize::from(p.pass.vertical);
                let mut model = models[slot].take().unwrap_or_else(|| {
                    let parent = models.get(slot + 2).and_then(Option::as_ref);
                    Model {
                        samples: LeastSquares::new(p.n_features, settings.memories, parent.map(|m| &m.samples)),
                        first: LeastSquares::new(CLUES - 1, 1, parent.map(|m| &m.first)),
                        second: LeastSquares::new(CLUES, 1, parent.map(|m| &m.second)),
                    }
                });
                for s in Segment::all(&p.pass, g) {
                    slice.segment(simd, c, v, p, &s, widths[p.pass.level as usize], &mut model, memory, &mut work);
                }
                models[slot] = Some(model);
            }
            memory.mean.add(&v[at.first..]);
        },
    );
}

/// What all slices work with.
struct Work {
    desk: Desk,
    sums: [Column; MAX_MEMORIES],
    /// What sizes are predicted from, the sizes, zeros.
    clues: Vec<Column>,
    prediction: Row<f64>,
    row: Row<f64>,
    sizes: Row<f32>,
    symbols: Row<i32>,
    contexts: Row<u8>,
    turns: Turns,
}

impl Work {
    fn new(every: u32) -> Self {
        let column = [[0.0; LANES]; GROUPS];
        Self {
            desk: Desk::new(),
            sums: [column; MAX_MEMORIES],
            clues: vec![column; CLUES + 4],
            prediction: [0.0; SEGMENT],
            row: [0.0; SEGMENT],
            sizes: [0.0; SEGMENT],
            symbols: [0; SEGMENT],
            contexts: [0; SEGMENT],
            turns: Turns::new(every),
        }
    }
}

/// The first groups of lanes of a row.
#[inline(always)]
fn lanes<T>(row: &mut Row<T>, groups: usize) -> &mut [[T; LANES]] {
    &mut row.as_chunks_mut::<LANES>().0[..groups]
}

/// The bin in which a difference lies.
#[inline(always)]
fn symbol(difference: f64) -> i32 {
    let small = held(difference, [-MAX_SYMBOL, MAX_SYMBOL]);
    // Beyond it the reconstruction misses anyway.
    let small = if small == difference { small } else { 0.0 };
    (small + ROUND).to_bits() as i32
}

/// log2(1 + x), straight between powers of two; `x >= 0`.
#[inline(always)]
fn log(x: f32) -> f32 {
    let bits = (1.0 + x).to_bits() as i32;
    (bits - 0x3f80_0000) as f32 * (1.0 / 8_388_608.0)
}

/// Positive if in the direction of a bend.
#[inline(always)]
fn turned(k: i32, bend: f32) -> i32 {
    if bend < 0.0 { k.wrapping_neg() } else { k }
}

/// How large a symbol is.
#[inline(always)]
fn size_of(k: i32) -> f32 {
    log((k as f32).abs())
}

/// Half octaves from 2^-10 to 1, then halves of octaves of the symbol itself.
#[inline(always)]
fn class(size: f32) -> i32 {
    let low = (size.to_bits() as i32 >> 22) - 2 * 117 + 1;
    let high = BELOW_ONE + (held(2.0 * size - 2.5, [0.0, 1000.0]) + ROUND_SMALL).to_bits() as i32
        - ROUND_SMALL.to_bits() as i32;
    let class = if size < 1.0 { low } else { high };
    class.clamp(0, CLASSES as i32 - 1)
}

/// One slice in the making.
struct Slice<'a> {
    g: Geometry,
    settings: &'a Settings,
    at: At,
    valid: Option<&'a [bool]>,
    /// Sizes in the slice before.
    before: &'a [f32],
}

impl Slice<'_> {
    /// The coarsest grid: each from the slice before, or from the one to its left.
    fn anchors<C: RowCoder>(&self, c: &mut C, v: &mut [f64], width: f64, work: &mut Work) {
        let Geometry { ny, nx, nz, .. } = self.g;
        let stride = 1usize << self.g.levels();
        let plane = self.g.plane();
        let back = if self.at.z == 0 { nz * plane } else { plane };
        let mut previous = 0.5 * (self.settings.range[0] + self.settings.range[1]);
        for y in (0..ny).step_by(stride) {
            for x in (0..nx).step_by(stride) {
                let i = self.at.first + place(y, x, nx);
                let p = if self.at.first >= back { v[i - back] } else { previous };
                let p = if self.settings.integer { p.round_ties_even() } else { p };
                if self.valid.is_some_and(|m| !m[i]) {
                    v[i] = p;
                    continue;
                }
                work.symbols[0] = symbol((v[i] - p) / width);
                c.code(&[CONTEXTS as u8 - 1], &mut work.symbols[..1]);
                v[i] = p + f64::from(work.symbols[0]) * width;
                previous = v[i];
            }
        }
    }

    #[allow(clippy::too_many_arguments)] // the state of a pass
    #[inline(always)]
    fn segment<S: Simd, C: RowCoder>(
        &self,
        simd: S,
        c: &mut C,
        v: &mut [f64],
        p: &Prepared,
        s: &Segment,
        width: f64,
        model: &mut Model,
        memory: &mut Memory,
        work: &mut Work,
    ) {
        let inverse = 1.0 / width;
        let groups = s.groups();
        let sources = Sources {
            v,
            first: self.at.first,
            before: Before::of(self.g, self.at.t, self.at.z),
            mean: memory.mean.known(),
            inverse,
            range: self.settings.range,
        };
        let Work { desk, sums, clues, prediction, row, sizes, symbols, contexts, turns } = work;
        desk.fill(simd, s, p, &sources);
        model.samples.predict(simd, &desk.columns, p.n_features, groups, sums);
        let (base, bends) = (desk.base.as_chunks::<LANES>().0, sums[0]);
        for (g, p) in lanes(prediction, groups).iter_mut().enumerate() {
            let (base, bend) = (base[g], bends[g]);
            for l in 0..LANES {
                p[l] = held(base[l] + f64::from(bend[l]) * width, self.settings.range);
            }
        }
        if self.settings.integer {
            // Beyond 2^51 there is nothing to round.
            prediction.iter_mut().for_each(|p| *p = p.round_ties_even());
        }
        self.look_around(simd, s, &p.pass, &memory.sizes, &sums[0], clues, sizes);
        let stage = if p.pass.level == 0 { 0 } else { CLASSES as i32 };
        s.read(row, &v[self.at.first..], Offset { dy: 0, dx: 0 }, 0.0);
        for ((k, x), p) in lanes(symbols, groups).iter_mut().zip(lanes(row, groups)).zip(lanes(prediction, groups)) {
            let (x, p) = (*x, *p);
            for l in 0..LANES {
                k[l] = symbol((x[l] - p[l]) * inverse);
            }
        }
        let here = self.at.first + s.at();
        let valid = |i: usize| self.valid.is_none_or(|m| m[here + i * s.step()]);
        let whole = self.valid.is_none() || (0..s.n).all(valid);
        for (k, bend) in lanes(symbols, groups).iter_mut().zip(bends) {
            for l in 0..LANES {
                k[l] = turned(k[l], bend[l]);
            }
        }
        for (half, model) in [&model.first, &model.second].into_iter().enumerate() {
            if half == 1 {
                // What lies between two symbols knows both.
                let clue = clues[CLUES - 1].as_flattened_mut();
                for i in (1..s.n).step_by(2) {
                    let east = if i + 1 < s.n { sizes[i + 1] } else { sizes[i - 1] };
                    clue[i] = sizes[i - 1] + east;
                }
            }
            model.predict(simd, clues, CLUES - 1 + half, groups, sums);
            for (context, size) in lanes(contexts, groups).iter_mut().zip(sums[0]) {
                for l in 0..LANES {
                    context[l] = (class(size[l]) + stage) as u8;
                }
            }
            code_half(c, contexts, symbols, half..s.n, |i| whole || valid(i));
            for (size, k) in lanes(sizes, groups).iter_mut().zip(lanes(symbols, groups)) {
                let k = *k;
                for l in 0..LANES {
                    size[l] = size_of(k[l]);
                }
            }
        }
        for (k, bend) in lanes(symbols, groups).iter_mut().zip(bends) {
            for l in 0..LANES {
                k[l] = turned(k[l], bend[l]);
            }
        }
        for ((x, k), p) in lanes(row, groups).iter_mut().zip(lanes(symbols, groups)).zip(lanes(prediction, groups)) {
            let (k, p) = (*k, *p);
            for l in 0..LANES {
                x[l] = p[l] + f64::from(k[l]) * width;
            }
        }
        s.write(row, &mut v[self.at.first..]);
        s.write(sizes, &mut memory.sizes);
        if let Some(start) = turns.next(groups) {
            desk.finish(simd, s, p, &v[self.at.first..], inverse);
            let clues_target = clues[CLUES].as_flattened_mut();
            clues_target[..s.n].copy_from_slice(&sizes[..s.n]);
            clues_target[s.n..].fill(0.0);
            let clue = clues[CLUES - 1].as_flattened_mut();
            for i in (0..s.n).step_by(2) {
                let (west, east) =
                    (if i > 0 { sizes[i - 1] } else { 0.0 }, if i + 1 < s.n { sizes[i + 1] } else { 0.0 });
                clue[i] = west + east;
            }
            let mut count = 0;
            for g in (start..groups).step_by(turns.every) {
                for i in g * LANES..s.n.min((g + 1) * LANES) {
                    if whole || valid(i) {
                        count += 1;
                    } else {
                        desk.drop_sample(i, p.n_features + 1);
                        clues[..=CLUES].iter_mut().for_each(|c| c[i / LANES][i % LANES] = 0.0);
                    }
                }
            }
            if count > 0 {
                model.samples.update(simd, &desk.columns, start, turns.every, groups, count);
                model.second.update(simd, clues, start, turns.every, groups, count);
                clues.swap(CLUES - 1, CLUES);
                clues[CLUES].as_flattened_mut().fill(0.0);
                model.first.update(simd, clues, start, turns.every, groups, count);
            }
        }
    }

    /// What is known of the sizes around a segment.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // a struct would only rename them
    fn look_around<S: Simd>(
        &self,
        simd: S,
        s: &Segment,
        pass: &Pass,
        now: &[f32],
        bend: &Column,
        clues: &mut [Column],
        row: &mut Row<f32>,
    ) {
        let (dy, dx) = (pass.y.1 as isize, pass.x.1 as isize);
        let (h, u) = (pass.h as isize, pass.across as isize);
        let along = |along: isize, across: isize| {
            if pass.vertical { Offset { dy: along, dx: across } } else { Offset { dy: across, dx: along } }
        };
        let sums: [(&[f32], &[Offset]); 7] = [
            (now, &[Offset { dy: -dy, dx: 0 }]),
            (now, &[Offset { dy: -dy, dx }, Offset { dy: -dy, dx: -dx }]),
            (now, &[Offset { dy: -2 * dy, dx: 0 }]),
            (now, &[along(-h, 0), along(h, 0)]),
            (now, &[along(-h, -u), along(-h, u), along(h, -u), along(h, u)]),
            (self.before, &[Offset { dy: 0, dx: 0 }]),
            (
                self.before,
                &[Offset { dy: 0, dx }, Offset { dy: 0, dx: -dx }, Offset { dy, dx: 0 }, Offset { dy: -dy, dx: 0 }],
            ),
        ];
        let n = s.groups() * LANES;
        for ((plane, offsets), column) in sums.into_iter().zip(clues.iter_mut()) {
            let column = column.as_flattened_mut();
            column[..n].fill(0.0);
            for o in offsets {
                s.read(row, plane, *o, 0.0);
                for (c, r) in column.as_chunks_mut::<LANES>().0[..s.groups()].iter_mut().zip(lanes(row, s.groups())) {
                    (f32x8::from_slice(simd, c) + f32x8::from_slice(simd, r)).store_slice(c);
                }
            }
        }
        for (c, bend) in clues[7].iter_mut().zip(bend).take(s.groups()) {
            for l in 0..LANES {
                c[l] = log(bend[l].abs());
            }
        }
        let ones = clues[8].as_flattened_mut();
        ones[..s.n].fill(1.0);
        ones[s.n..].fill(0.0);
        clues[CLUES - 1..].iter_mut().for_each(|c| c[..s.groups()].fill([0.0; LANES]));
    }
}

/// Codes every second symbol of a range, those that are missing apart; these become 0.
#[inline(always)]
fn code_half<C: RowCoder>(
    c: &mut C,
    contexts: &Row<u8>,
    symbols: &mut Row<i32>,
    range: Range<usize>,
    valid: impl Fn(usize) -> bool,
) {
    let (mut some_contexts, mut some, mut n) = ([0; SEGMENT], [0; SEGMENT], 0);
    for i in range.clone().step_by(2) {
        (some_contexts[n], some[n]) = (contexts[i], symbols[i]);
        n += usize::from(valid(i));
    }
    c.code(&some_contexts[..n], &mut some[..n]);
    n = 0;
    for i in range.step_by(2) {
        symbols[i] = if valid(i) { some[n] } else { 0 };
        n += usize::from(valid(i));
    }
}
