//! What the surroundings of a sample say about the size and sign of its symbol.
//!
//! # Maths      sizes of the symbols around are summed and taken in coarse logarithms
//! # Shapes     planes of one slice
//! # On the wire nothing: part of the model on both sides

use super::geometry::Pass;
use crate::entropy::{BinaryCoder, IntModel};

/// Sums of sizes, in eighths, to 16 classes: half octaves at first, then octaves.
static CLASS: [u8; 4096] = classes();

const fn classes() -> [u8; 4096] {
    let mut t = [0; 4096];
    let mut s = 1;
    while s < 4096 {
        // floor(log2(s) + 3.7): the boundaries lie at 2^0.3 = 1.231 of a power of two.
        let log = (s as u32).ilog2();
        let above = s * 1000 >= (1 << log) * 1231;
        let class = 3 + log + if above { 1 } else { 0 };
        t[s] = if class > 15 { 15 } else { class as u8 };
        s += 1;
    }
    t
}

#[inline(always)]
fn class(s: u32) -> usize {
    CLASS[(s as usize).min(4095)] as usize
}

/// Half octaves from 2^-8: 0 to 31.
#[inline(always)]
fn fine_class(x: f32) -> usize {
    let halves = (x.to_bits() >> 22) as i32 & 511;
    (halves - 2 * 119 + 1).clamp(0, 31) as usize
}

/// Symbols and their local mean size in a slice.
#[derive(Debug, Clone)]
pub struct Symbols {
    /// Symbols of the samples, within +-`CAP`.
    pub q: Vec<i32>,
    /// Mean size of the symbols around, in bins.
    local: Vec<f32>,
}

/// Larger symbols count as this.
const CAP: i64 = 1 << 20;

impl Symbols {
    pub fn new(plane: usize) -> Self {
        Self { q: vec![0; plane], local: vec![0.0; plane] }
    }
}

/// Which symbols around a sample exist, as offsets in its slice.
#[derive(Debug, Clone, Copy)]
pub struct Around {
    /// Index in the slice.
    pub j: usize,
    /// Row of the slice in 256 steps.
    pub latitude: usize,
    /// Steps to the sample to the left and above in the same pass; 0 where there is none.
    pub w: usize,
    /// Two to the left.
    pub ww: usize,
    /// Above.
    pub n: usize,
    /// Above and to the right: how far back.
    pub ne: usize,
    /// To the right in the slice before: how far on; 0 where there is none.
    pub e: usize,
    /// Below in the slice before.
    pub s: usize,
    /// Known samples on the line, before and after; the sample itself where there is none.
    pub line: [usize; 2],
    /// Known samples of a coarser level around.
    pub corners: [usize; 4],
}

/// What the prediction knows.
#[derive(Debug, Clone, Copy)]
pub struct Clues {
    /// How far the interpolation lies from the prediction, in bins.
    pub bend: f32,
    /// Difference of the samples before and after, in bins.
    pub slope: f32,
}

/// Codes symbols under their contexts.
#[derive(Debug)]
pub struct SymbolCoder {
    model: IntModel<8>,
}

impl SymbolCoder {
    pub fn new() -> Self {
        let sizes = [8 * 16 * 2, 16 * 16 * 4, 7 * 7 * 5 * 4, 32 * 3 * 8, 32 * 8, 256 * 4, 9 * 16 * 4, 16 * 16 * 4];
        Self { model: IntModel::new(&sizes, 12, 20) }
    }

    #[allow(clippy::too_many_arguments)] // one call site; a struct would only rename them
    /// Codes the symbol of the sample at `a.j`; `before` holds the symbols of the slice before.
    #[inline(always)]
    pub fn code<C: BinaryCoder>(
        &mut self,
        c: &mut C,
        value: i64,
        pass: &Pass,
        a: &Around,
        clues: Clues,
        now: &mut Symbols,
        before: &[i32],
    ) -> i64 {
        let at = |back: usize| if back > 0 { now.q[a.j - back] } else { 0 };
        let size = |v: i32| v.unsigned_abs();
        let (w, ww, n, ne) = (at(a.w), at(a.ww), at(a.n), at(a.ne));
        let u = before[a.j];
        let earlier = |index: usize, exists: bool| if exists { size(before[index]) } else { 0 };
        let around_u = 2 * size(u)
            + earlier(a.j + a.e, a.e > 0)
            + earlier(a.j - a.w, a.w > 0)
            + earlier(a.j + a.s, a.s > 0)
            + earlier(a.j - a.n, a.n > 0);
        let near = 2 * (size(w) + size(n) + size(u)) + size(ne) + size(ww);
        // A line's end stands for itself: a symbol that is not there yet counts as 0.
        let known = |index: usize| if index == a.j { 0 } else { now.q[index] };
        let [l0, l1] = a.line.map(known);
        let on_line = size(l0) + size(l1);
        let coarse = 2 * on_line + a.corners.iter().map(|&k| size(known(k))).sum::<u32>();
        let before_class = class(around_u * 4 / 3);
        let (near_class, coarse_class) = (class(near), class(coarse));
        let ll = (pass.level as usize).min(3);
        let stage = ll * 2 + usize::from(pass.vertical);
        let local_at = |back: usize| if back > 0 { now.local[a.j - back] } else { now.local[a.j] };
        let local = (local_at(a.w) + local_at(a.n) + now.local[a.j]) * (1.0 / 3.0);
        let clip = |v: i32, m: i32| (v.clamp(-m, m) + m) as usize;
        let side = if clues.bend > 0.0 { 1 } else { 2 };
        let contexts = [
            (stage * 16 + class((2 * near + coarse + around_u * 4 / 3) / 4)) * 2 + usize::from(on_line > 0),
            (near_class * 16 + coarse_class) * 4 + ll,
            ((clip(w, 3) * 7 + clip(n, 3)) * 5 + clip(u, 2)) * 4 + (size(ne) + size(ww)).min(3) as usize,
            (fine_class(clues.bend) * 3 + side) * 8 + near_class / 2,
            fine_class(local) * 8 + stage,
            a.latitude * 4 + ll,
            ((clip(l0, 1) * 3 + clip(l1, 1)) * 16 + fine_class(clues.slope) / 2) * 4 + ll,
            (before_class * 16 + near_class) * 4 + ll,
        ];
        let activity = if near + around_u == 0 { 0 } else { 1 + usize::from(near >= 8) };
        let q = self.model.code(c, value, &contexts, ll * 3 + activity);
        let size_now = q.unsigned_abs().min(CAP as u64) as f32;
        let mean = match (a.w > 0, a.n > 0) {
            (true, true) => 0.5 * (now.local[a.j - a.w] + now.local[a.j - a.n]),
            (true, false) => now.local[a.j - a.w],
            (false, true) => now.local[a.j - a.n],
            (false, false) => size_now,
        };
        now.local[a.j] = 0.5 * size_now + 0.5 * mean;
        now.q[a.j] = q.clamp(-CAP, CAP) as i32;
        q
    }
}
