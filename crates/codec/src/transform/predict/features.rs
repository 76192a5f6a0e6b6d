//! What a segment of samples is predicted from: the same offsets for every sample of a pass, read row by row into columns.
//!
//! # Maths
//! 1. Base: 4-point cubic through the known samples on the line, as far as they exist.
//! 2. Features, all less the base and in bins: known samples around; and of the slice before, the one before that, the step
//!    before and a running mean slice, the residual of the same cubic at the same places. What does not exist is 0.
//! # Shapes     columns of up to 64 samples

use fearless_simd::f64x4;
use fearless_simd::prelude::*;

use super::geometry::{Geometry, Pass};
use super::ls::{Column, GROUPS, LANES, MAX, SEGMENT};

/// Whoever reads rows may read so many elements before the first and past the last sample: planes are that much longer at both ends.
pub const PAD: usize = 256;
/// Features are held within +-`LARGEST`, so that sums of their products are finite.
const LARGEST: f32 = 1e15;

/// An offset in a slice.
#[derive(Debug, Clone, Copy)]
pub struct Offset {
    pub dy: isize,
    pub dx: isize,
}

/// A pass with everything that does not change from slice to slice.
#[derive(Debug)]
pub struct Prepared {
    pub pass: Pass,
    /// Of the slice itself, known before a row begins; the first four lie on the line.
    own: Vec<Offset>,
    /// Of other slices.
    other: Vec<Offset>,
    /// Whether the mean of the slices and the one before the last are features.
    has_past: bool,
    /// Samples of the same row that are features: the last one, the one before, ...
    pub n_serial: usize,
    /// All features; the serial ones come last.
    pub n_features: usize,
}

impl Prepared {
    /// `features`: 0 few, 1 more, 2 most. Without `serial` nothing of the row itself is a feature: whole segments are predicted at once.
    pub fn new(pass: Pass, g: Geometry, features: u8, serial: bool) -> Self {
        let (h, u) = (pass.h as isize, pass.across as isize);
        let has_across = if pass.vertical { g.nx as isize > u } else { g.ny as isize > u };
        // (along the line, across it)
        let mut own = vec![(-h, 0), (h, 0), (-3 * h, 0), (3 * h, 0)];
        let mut other = vec![(0, 0)];
        if has_across {
            own.extend([(-h, -u), (-h, u), (h, -u), (h, u), (0, -u)]);
        }
        if features > 0 {
            other.extend([(2 * h, 0), (-2 * h, 0)]);
            if has_across {
                own.extend([(0, -2 * u), (-2 * h, -u)]);
                // What is known of the next row in reading order.
                own.push(if pass.vertical { (-2 * h, u) } else { (2 * h, -u) });
                other.extend([(0, u), (0, -u)]);
            }
            own.push((-2 * h, 0));
        }
        if features > 1 {
            own.extend([(-5 * h, 0), (5 * h, 0)]);
            if has_across {
                own.extend([(-3 * h, -u), (-3 * h, u), (3 * h, -u), (3 * h, u), (0, -3 * u)]);
                other.extend([(-h, -u), (-h, u), (h, -u), (h, u), (-2 * h, -u), (-2 * h, u), (2 * h, -u), (2 * h, u)]);
            }
        }
        let place = |(along, across): (isize, isize)| {
            let (dy, dx) = if pass.vertical { (along, across) } else { (across, along) };
            Offset { dy, dx }
        };
        let other: Vec<Offset> = other.into_iter().map(place).collect();
        let is_serial = |o: &Offset| o.dy == 0 && o.dx < 0 && o.dx % pass.x.1 as isize == 0;
        let (mut last, own): (Vec<Offset>, Vec<Offset>) = own.into_iter().map(place).partition(is_serial);
        last.retain(|_| serial);
        let others = usize::from(g.nz > 1) + usize::from(g.nt > 1);
        let n_features =
            own.len() + others * other.len() + if features > 0 { 2 * others.min(1) } else { 0 } + last.len();
        Self { pass, own, other, has_past: features > 0, n_serial: last.len(), n_features }
    }
}

/// Samples of one row in one pass, next to each other.
#[derive(Debug, Clone, Copy)]
pub struct Segment {
    pub y: usize,
    /// Column of the first one.
    pub x: usize,
    /// How many.
    pub n: usize,
    /// Columns from one to the next, an even number.
    pub stride: usize,
    /// Rows and columns of a slice.
    pub ny: usize,
    pub nx: usize,
}

impl Segment {
    /// All segments of a pass, in order: as even parts of its rows as whole groups of lanes allow.
    pub fn all(pass: &Pass, g: Geometry) -> impl Iterator<Item = Self> + use<> {
        let (x0, stride) = pass.x;
        let in_row = (g.nx - x0).div_ceil(stride);
        let length = in_row.div_ceil(in_row.div_ceil(SEGMENT)).next_multiple_of(LANES);
        (pass.y.0..g.ny).step_by(pass.y.1).flat_map(move |y| {
            (0..in_row).step_by(length).map(move |start| Self {
                y,
                x: x0 + start * stride,
                n: length.min(in_row - start),
                stride,
                ny: g.ny,
                nx: g.nx,
            })
        })
    }

    /// Groups of lanes that hold it.
    pub fn groups(&self) -> usize {
        self.n.div_ceil(LANES)
    }

    /// Place of the first sample in a padded slice.
    #[inline(always)]
    pub fn at(&self) -> usize {
        place(self.y, self.x, self.nx)
    }

    /// Places from one sample to the next.
    #[inline(always)]
    pub fn step(&self) -> usize {
        self.stride / 2
    }

    /// Where the samples at that offset are.
    #[inline(always)]
    pub fn reach(&self, o: Offset) -> Reach {
        let shift = self.stride.trailing_zeros();
        let x = self.x as isize + o.dx;
        let first = (self.stride as isize - 1 - x).max(0).unsigned_abs() >> shift;
        let end = ((self.nx as isize - 1 - x + self.stride as isize).max(0).unsigned_abs() >> shift).min(self.n);
        let Some(y) = self.y.checked_add_signed(o.dy).filter(|y| *y < self.ny && first < end) else {
            return Reach { first: 0, end: 0, at: PAD };
        };
        let column = (x >> 1) + (x & 1) * self.nx.div_ceil(2) as isize;
        Reach { first, end, at: (PAD + y * self.nx).wrapping_add_signed(column) }
    }

    /// Reads what lies at that offset in a plane, `none` where nothing does.
    #[inline(always)]
    pub fn read<T: Copy>(&self, to: &mut [T; SEGMENT], plane: &[T], o: Offset, none: T) {
        let reach = self.reach(o);
        self.gather(to, plane, &reach);
        to[..reach.first].fill(none);
        to[reach.end..self.groups() * LANES].fill(none);
    }

    /// [`Self::read`], with anything where nothing lies.
    #[inline(always)]
    fn gather<T: Copy>(&self, to: &mut [T; SEGMENT], plane: &[T], reach: &Reach) {
        let to = &mut to.as_chunks_mut::<LANES>().0[..self.groups()];
        let from = &plane[reach.at..];
        match self.step() {
            1 => to.iter_mut().zip(from.as_chunks::<LANES>().0).for_each(|(t, f)| *t = *f),
            2 => {
                for (t, f) in to.iter_mut().zip(from.as_chunks::<{ 2 * LANES }>().0) {
                    for (l, t) in t.iter_mut().enumerate() {
                        *t = f[2 * l];
                    }
                }
            }
            s => {
                // Places past the last sample may lie far beyond it.
                let to = &mut to.as_flattened_mut()[reach.first..reach.end];
                to.iter_mut().enumerate().for_each(|(i, t)| *t = from[(reach.first + i) * s]);
            }
        }
    }

    /// Writes the segment's own samples to a plane.
    #[inline(always)]
    pub fn write<T: Copy>(&self, from: &[T; SEGMENT], plane: &mut [T]) {
        let to = &mut plane[self.at()..];
        match self.step() {
            1 => to[..self.n].copy_from_slice(&from[..self.n]),
            s => from[..self.n].iter().enumerate().for_each(|(i, f)| to[i * s] = *f),
        }
    }
}

/// Place in a padded slice of rows of `nx`. Even columns come first: samples of a pass then lie next to each other at the finest level.
#[inline(always)]
pub fn place(y: usize, x: usize, nx: usize) -> usize {
    PAD + y * nx + x / 2 + x % 2 * nx.div_ceil(2)
}

/// Those samples of a segment for which another at some offset exists, and where the first sample's is or would be in a padded
/// slice.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    first: usize,
    end: usize,
    at: usize,
}

/// The cubics of a segment: which samples on the line each one takes, with which weights; some at the edges have their own.
#[derive(Debug)]
struct Lines {
    reach: [Reach; 4],
    weights: [f64; 4],
    edges: Vec<(usize, [f64; 4])>,
}

/// Weights of the cubic through those of the samples at -h, h, -3h and 3h that exist.
#[inline(always)]
fn cubic(exists: [bool; 4]) -> [f64; 4] {
    match exists {
        [true, true, true, true] => [0.5625, 0.5625, -0.0625, -0.0625],
        [true, true, true, false] => [0.75, 0.375, -0.125, 0.0],
        [true, true, false, true] => [0.375, 0.75, 0.0, -0.125],
        [true, true, false, false] => [0.5, 0.5, 0.0, 0.0],
        [true, false, true, _] => [1.5, 0.0, -0.5, 0.0],
        [true, false, false, _] => [1.0, 0.0, 0.0, 0.0],
        [false, true, _, _] => [0.0, 1.0, 0.0, 0.0],
        [false, false, _, _] => [0.0; 4],
    }
}

impl Lines {
    fn new(s: &Segment, line: &[Offset]) -> Self {
        let reach = [s.reach(line[0]), s.reach(line[1]), s.reach(line[2]), s.reach(line[3])];
        let at = |i: usize| cubic(reach.map(|r| (r.first..r.end).contains(&i)));
        if line[0].dy != 0 {
            return Self { reach, weights: at(0), edges: Vec::new() };
        }
        let start = reach.iter().map(|r| r.first).max().unwrap_or(0).min(s.n);
        let end = reach.iter().map(|r| r.end).min().unwrap_or(0).max(start);
        let edges = (0..start).chain(end..s.n).map(|i| (i, at(i))).collect();
        Self { reach, weights: cubic([true; 4]), edges }
    }

    /// The cubics through samples on the line in a plane; returns these, for which `rows` is room.
    #[inline(always)]
    fn base<'a, S: Simd>(
        &self,
        simd: S,
        s: &Segment,
        plane: &'a [f64],
        rows: &'a mut [Row; 4],
        to: &mut Row,
        range: [f64; 2],
    ) -> [&'a [f64]; 4] {
        let mut line: [&[f64]; 4] = [&[]; 4];
        for (k, (row, reach)) in rows.iter_mut().zip(&self.reach).enumerate() {
            line[k] = if s.step() == 1 && reach.first == 0 && reach.end == s.n {
                &plane[reach.at..]
            } else {
                s.gather(row, plane, reach);
                row[..reach.first].fill(0.0);
                row[reach.end..].fill(0.0);
                row
            };
        }
        let [a, b, c, d] = self.weights;
        for (g, to) in to.as_chunks_mut::<LANES>().0[..s.groups()].iter_mut().enumerate() {
            for (half, to) in to.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let at = g * LANES + 4 * half;
                let v = |k: usize| f64x4::from_slice(simd, &line[k][at..at + 4]);
                let sums: [f64; 4] = ((v(0) * a + v(1) * b) + (v(2) * c + v(3) * d)).into();
                // A NaN, of infinities, becomes the lowest value.
                for l in 0..4 {
                    to[l] = held(sums[l], range);
                }
            }
        }
        for (i, [a, b, c, d]) in &self.edges {
            to[*i] = held((a * line[0][*i] + b * line[1][*i]) + (c * line[2][*i] + d * line[3][*i]), range);
        }
        line
    }
}

/// Other slices that a slice is predicted from: how far back they begin, none if they do not exist.
#[derive(Debug, Clone, Copy)]
pub struct Before {
    /// The slice before and the step before; `None`: there is no such dimension.
    pub groups: [Option<Option<usize>>; 2],
    /// The one before that.
    pub older: Option<usize>,
}

impl Before {
    /// Of level `z` of step `t`.
    pub fn of(g: Geometry, t: usize, z: usize) -> Self {
        let (nz, plane) = (g.nz, g.plane());
        let group = |exists: bool, place: usize, back: usize| exists.then_some((place > 0).then_some(back));
        let older = match (g.nt > 1, t, z) {
            (true, 2.., _) => Some(2 * nz * plane),
            (false, _, 2..) => Some(2 * plane),
            _ => None,
        };
        Self { groups: [group(nz > 1, z, plane), group(g.nt > 1, t, nz * plane)], older }
    }
}

/// What is needed to fill the columns of a segment.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// All samples known so far, the slice's own from `first` on.
    pub v: &'a [f64],
    pub first: usize,
    pub before: Before,
    /// The running mean, if there is one yet.
    pub mean: Option<&'a [f64]>,
    /// One over the bin width.
    pub inverse: f64,
    /// Least and largest sample.
    pub range: [f64; 2],
}

type Row = [f64; SEGMENT];

/// Room for a segment's columns.
#[derive(Debug)]
pub struct Desk {
    /// Features, target, zeros.
    pub columns: Vec<Column>,
    /// The base.
    pub base: Row,
    line: [Row; 4],
    other_line: [Row; 4],
    other_base: Row,
    row: Row,
}

/// `v` within a range; a NaN becomes the lower end. Two instructions, unlike `clamp`.
#[inline(always)]
pub fn held<T: PartialOrd>(v: T, [low, high]: [T; 2]) -> T {
    let v = if v > low { v } else { low };
    if v < high { v } else { high }
}

/// One number of a column.
#[inline(always)]
pub fn feature(v: f64, base: f64, inverse: f64) -> f32 {
    held(((v - base) * inverse) as f32, [-LARGEST, LARGEST])
}

/// [`feature`] for a column, 0 where there is nothing.
#[inline(always)]
fn fill<S: Simd>(simd: S, column: &mut Column, s: &Segment, row: &[f64], base: &Row, inverse: f64, reach: &Reach) {
    let base = base.as_chunks::<LANES>().0;
    let four = |v: &[f64], b: &[f64]| (f64x4::from_slice(simd, v) - f64x4::from_slice(simd, b)) * inverse;
    for ((c, v), b) in column[..s.groups()].iter_mut().zip(row.as_chunks::<LANES>().0).zip(base) {
        let eight: [f32; LANES] = simd.narrow_f64x4(four(&v[..4], &b[..4]), four(&v[4..], &b[4..])).into();
        for l in 0..LANES {
            c[l] = held(eight[l], [-LARGEST, LARGEST]);
        }
    }
    let column = column.as_flattened_mut();
    column[..reach.first].fill(0.0);
    column[reach.end..s.groups() * LANES].fill(0.0);
}

impl Desk {
    pub fn new() -> Self {
        let zeros = [0.0; SEGMENT];
        Self {
            columns: vec![[[0.0; LANES]; GROUPS]; MAX + 5],
            base: zeros,
            line: [zeros; 4],
            other_line: [zeros; 4],
            other_base: zeros,
            row: zeros,
        }
    }

    /// Fills the base and all columns but the serial ones; they and all after them become 0.
    #[inline(always)]
    pub fn fill<S: Simd>(&mut self, simd: S, s: &Segment, p: &Prepared, from: &Sources<'_>) {
        let (groups, inverse) = (s.groups(), from.inverse);
        let slice = &from.v[from.first..];
        let lines = Lines::new(s, &p.own[..4]);
        let line = lines.base(simd, s, slice, &mut self.line, &mut self.base, from.range);
        for ((column, row), reach) in self.columns.iter_mut().zip(line).zip(&lines.reach) {
            fill(simd, column, s, row, &self.base, inverse, reach);
        }
        for (k, o) in p.own.iter().enumerate().skip(4) {
            self.column(simd, s, slice, *o, k, false, inverse);
        }
        let mut next = p.own.len();
        for group in from.before.groups.into_iter().flatten() {
            self.residuals(simd, s, &lines, group.map(|back| &from.v[from.first - back..]), next, &p.other, from);
            next += p.other.len();
        }
        if p.has_past && from.before.groups.iter().any(Option::is_some) {
            let older = from.before.older.map(|back| &from.v[from.first - back..]);
            for plane in [from.mean, older] {
                self.residuals(simd, s, &lines, plane, next, &[Offset { dy: 0, dx: 0 }], from);
                next += 1;
            }
        }
        // Serial features, the target, and what fills a tile of sums.
        for column in &mut self.columns[next..p.n_features + 5] {
            column[..groups].fill([0.0; LANES]);
        }
    }

    /// Column `k`: samples at that offset in a plane, less the base of the segment or of another plane.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // a struct would only rename them
    fn column<S: Simd>(&mut self, simd: S, s: &Segment, plane: &[f64], o: Offset, k: usize, other: bool, inverse: f64) {
        let reach = s.reach(o);
        let base = if other { &self.other_base } else { &self.base };
        let column = &mut self.columns[k];
        if s.step() == 1 {
            fill(simd, column, s, &plane[reach.at..], base, inverse, &reach);
        } else {
            s.gather(&mut self.row, plane, &reach);
            fill(simd, column, s, &self.row, base, inverse, &reach);
        }
    }

    /// Columns `first ..`: samples of another plane, each less that plane's cubic; 0 if there is no such plane.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // a struct would only rename them
    fn residuals<S: Simd>(
        &mut self,
        simd: S,
        s: &Segment,
        lines: &Lines,
        plane: Option<&[f64]>,
        first: usize,
        offsets: &[Offset],
        from: &Sources<'_>,
    ) {
        let Some(plane) = plane else {
            let columns = &mut self.columns[first..first + offsets.len()];
            columns.iter_mut().for_each(|c| c[..s.groups()].fill([0.0; LANES]));
            return;
        };
        lines.base(simd, s, plane, &mut self.other_line, &mut self.other_base, from.range);
        for (k, o) in offsets.iter().enumerate() {
            self.column(simd, s, plane, *o, first + k, true, from.inverse);
        }
    }

    /// Fills the serial columns and the target's, once the samples are known.
    #[inline(always)]
    pub fn finish<S: Simd>(&mut self, simd: S, s: &Segment, p: &Prepared, slice: &[f64], inverse: f64) {
        let here = p.n_features - p.n_serial;
        for k in 0..=p.n_serial {
            let back = (k + 1) % (p.n_serial + 1);
            self.column(simd, s, slice, Offset { dy: 0, dx: -((back * s.stride) as isize) }, here + k, false, inverse);
        }
    }

    /// Takes a sample out of all columns.
    pub fn drop_sample(&mut self, i: usize, n_columns: usize) {
        self.columns[..n_columns].iter_mut().for_each(|c| c[i / LANES][i % LANES] = 0.0);
    }
}
