//! What the surroundings of a sample say about the size and sign of its symbol.
//!
//! # Maths      sizes of the symbols around are summed and taken in coarse logarithms
//! # Shapes     planes of one slice; rows of a segment
//! # On the wire nothing: part of the model on both sides

use super::features::{Offset, PAD, Segment};
use super::geometry::Pass;
use super::ls::SEGMENT;
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

/// Bits of a symbol that are not worth modelling, from 32 times the mean size around: what is left is 2 to 4 in the mean.
#[inline(always)]
fn coarseness(around: u32) -> u32 {
    around.max(64).ilog2() - 6
}

/// Larger symbols count as this.
const CAP: i64 = 1 << 20;

/// Symbols and their local mean size in a slice.
#[derive(Debug, Clone)]
pub struct Symbols {
    /// Symbols of the samples, within +-`CAP`.
    pub q: Vec<i32>,
    /// Mean size of the symbols around, in bins.
    local: Vec<f32>,
}

impl Symbols {
    pub fn new(plane: usize) -> Self {
        Self { q: vec![0; plane + 2 * PAD], local: vec![0.0; plane + 2 * PAD] }
    }
}

type Row<T> = [T; SEGMENT];

/// What is known of a segment's surroundings before its first symbol.
#[derive(Debug)]
struct Around {
    /// Above, and above to the right.
    n: Row<i32>,
    ne: Row<i32>,
    /// The slice before.
    u: Row<i32>,
    /// Known samples on the line.
    l0: Row<i32>,
    l1: Row<i32>,
    /// Sizes around in the slice before.
    before: Row<u32>,
    /// Sizes at the coarser level around.
    coarse: Row<u32>,
    /// Local means: above, and in the slice before.
    local_n: Row<f32>,
    local_u: Row<f32>,
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
    around: Around,
    row: Row<i32>,
    /// The last two symbols of the row, the last local mean; `None` at the beginning of a row.
    west: [i32; 2],
    local_w: Option<f32>,
    /// Whether there is a row above in the same pass.
    has_north: bool,
    /// The row, in 256 steps of the slice.
    latitude: usize,
}

impl SymbolCoder {
    pub fn new() -> Self {
        let sizes = [8 * 16 * 2, 16 * 16 * 4, 7 * 7 * 5 * 4, 32 * 3 * 8, 32 * 8, 256 * 4, 9 * 16 * 4, 16 * 16 * 4];
        let (i, u, f) = ([0; SEGMENT], [0; SEGMENT], [0.0; SEGMENT]);
        let around = Around { n: i, ne: i, u: i, l0: i, l1: i, before: u, coarse: u, local_n: f, local_u: f };
        Self {
            model: IntModel::new(&sizes, 12, 20),
            around,
            row: i,
            west: [0; 2],
            local_w: None,
            has_north: false,
            latitude: 0,
        }
    }

    /// Looks around a segment; `before` holds the symbols of the slice before.
    #[inline(always)]
    pub fn begin(&mut self, s: &Segment, pass: &Pass, now: &Symbols, before: &[i32]) {
        let (dy, dx) = (pass.y.1 as isize, pass.x.1 as isize);
        let (h, u) = (pass.h as isize, pass.across as isize);
        let a = &mut self.around;
        s.read(&mut a.n, &now.q, Offset { dy: -dy, dx: 0 }, 0);
        s.read(&mut a.ne, &now.q, Offset { dy: -dy, dx }, 0);
        s.read(&mut a.u, before, Offset { dy: 0, dx: 0 }, 0);
        let along = |along: isize, across: isize| {
            if pass.vertical { Offset { dy: along, dx: across } } else { Offset { dy: across, dx: along } }
        };
        s.read(&mut a.l0, &now.q, along(-h, 0), 0);
        s.read(&mut a.l1, &now.q, along(h, 0), 0);
        for i in 0..s.n {
            a.before[i] = 2 * a.u[i].unsigned_abs();
            a.coarse[i] = 2 * (a.l0[i].unsigned_abs() + a.l1[i].unsigned_abs());
        }
        for (dy, dx) in [(0, dx), (0, -dx), (dy, 0), (-dy, 0)] {
            s.read(&mut self.row, before, Offset { dy, dx }, 0);
            for i in 0..s.n {
                a.before[i] += self.row[i].unsigned_abs();
            }
        }
        for o in [along(-h, -u), along(-h, u), along(h, -u), along(h, u)] {
            s.read(&mut self.row, &now.q, o, 0);
            for i in 0..s.n {
                a.coarse[i] += self.row[i].unsigned_abs();
            }
        }
        for i in 0..s.n {
            a.before[i] = a.before[i] * 4 / 3;
        }
        s.read(&mut a.local_u, &now.local, Offset { dy: 0, dx: 0 }, 0.0);
        a.local_n = a.local_u;
        let above = Offset { dy: -dy, dx: 0 };
        self.has_north = s.y >= pass.y.1;
        self.latitude = s.y * 255 / (s.ny - 1).max(1);
        if self.has_north {
            s.read(&mut a.local_n, &now.local, above, 0.0);
        }
        let stride = s.stride;
        let west = |back: usize| if s.x >= back * stride { now.q[s.at() - back * s.step()] } else { 0 };
        self.west = [west(1), west(2)];
        self.local_w = (s.x >= stride).then(|| now.local[s.at() - s.step()]);
    }

    /// Codes the symbol of sample `i` of the segment.
    #[allow(clippy::too_many_arguments)] // one call site; a struct would only rename them
    #[inline(always)]
    pub fn code<C: BinaryCoder>(
        &mut self,
        c: &mut C,
        value: i64,
        pass: &Pass,
        s: &Segment,
        i: usize,
        clues: Clues,
        now: &mut Symbols,
    ) -> i64 {
        let size = |v: i32| v.unsigned_abs();
        let a = &self.around;
        let [w, ww] = self.west;
        let (n, ne, u, l0, l1) = (a.n[i], a.ne[i], a.u[i], a.l0[i], a.l1[i]);
        let near = 2 * (size(w) + size(n) + size(u)) + size(ne) + size(ww);
        let (coarse, before) = (a.coarse[i], a.before[i]);
        // Large symbols are seen in a coarser unit, and so is everything around; what that leaves of them is as good as random.
        let shift = coarseness(2 * near + coarse + before);
        let [near, coarse, before, on_line] = [near, coarse, before, size(l0) + size(l1)].map(|v| v >> shift);
        let (near_class, coarse_class) = (class(near), class(coarse));
        let ll = (pass.level as usize).min(3);
        let stage = ll * 2 + usize::from(pass.vertical);
        let local_u = a.local_u[i];
        let local = (self.local_w.unwrap_or(local_u) + a.local_n[i] + local_u) * (1.0 / 3.0);
        let clip = |v: i32, m: i32| ((v >> shift).clamp(-m, m) + m) as usize;
        let side = if clues.bend > 0.0 { 1 } else { 2 };
        let contexts = [
            (stage * 16 + class((2 * near + coarse + before) / 4)) * 2 + usize::from(on_line > 0),
            (near_class * 16 + coarse_class) * 4 + ll,
            ((clip(w, 3) * 7 + clip(n, 3)) * 5 + clip(u, 2)) * 4 + ((size(ne) + size(ww)) >> shift).min(3) as usize,
            (fine_class(clues.bend) * 3 + side) * 8 + near_class / 2,
            fine_class(local) * 8 + stage,
            self.latitude * 4 + ll,
            ((clip(l0, 1) * 3 + clip(l1, 1)) * 16 + fine_class(clues.slope) / 2) * 4 + ll,
            (class(before) * 16 + near_class) * 4 + ll,
        ];
        let activity = if near + before == 0 { 0 } else { 1 + usize::from(near >= 8) };
        let half = (1 << shift) >> 1;
        let q = self.model.code(c, (value + half) >> shift, &contexts, ll * 3 + activity);
        let rest = if shift > 0 { c.code_raw((value + half) as u32, shift) } else { 0 };
        let q = (q << shift | i64::from(rest)).wrapping_sub(half);
        let size_now = q.unsigned_abs().min(CAP as u64) as f32;
        let mean = match (self.local_w, self.has_north) {
            (Some(w), true) => 0.5 * (w + a.local_n[i]),
            (Some(w), false) => w,
            (None, true) => a.local_n[i],
            (None, false) => size_now,
        };
        let local = 0.5 * size_now + 0.5 * mean;
        let j = s.at() + i * s.step();
        now.local[j] = local;
        now.q[j] = q.clamp(-CAP, CAP) as i32;
        self.west = [now.q[j], w];
        self.local_w = Some(local);
        q
    }

    /// Passes over a missing sample.
    #[inline(always)]
    pub fn skip(&mut self, s: &Segment, i: usize, now: &Symbols) {
        let j = s.at() + i * s.step();
        self.west = [now.q[j], self.west[0]];
        self.local_w = Some(now.local[j]);
    }
}
