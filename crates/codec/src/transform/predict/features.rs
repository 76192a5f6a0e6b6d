//! What a segment of samples is predicted from: the same offsets for every sample of a pass, read row by row into columns.
//!
//! # Maths
//! 1. Base: 4-point cubic through the known samples on the line, as far as they exist.
//! 2. Features, all less the base and in bins: known samples around; and of the slice before, the one before that, the step
//!    before and a running mean slice, the residual of the same cubic at the same places. What does not exist is 0.
//! # Shapes     columns of up to 64 samples

use super::geometry::{Geometry, Pass};
use super::ls::{Column, GROUPS, LANES, MAX, SEGMENT};
use std::ops::Range;

/// Whoever reads rows may read so many elements past the last sample: planes are that much longer.
pub const PAD: usize = 128;
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
    /// Samples of the same row that are features: the last one, the one before, ...
    pub n_serial: usize,
    /// All features; the serial ones come last.
    pub n_features: usize,
}

impl Prepared {
    pub fn new(pass: Pass, g: Geometry, wide: bool) -> Self {
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
            Offset { dy, dx }
        };
        let other: Vec<Offset> = other.into_iter().map(place).collect();
        let is_serial = |o: &Offset| o.dy == 0 && o.dx < 0 && o.dx % pass.x.1 as isize == 0;
        let (serial, own): (Vec<Offset>, Vec<Offset>) = own.into_iter().map(place).partition(is_serial);
        let others = usize::from(g.nz > 1) + usize::from(g.nt > 1);
        let n_features = own.len() + others * other.len() + 2 * others.min(1) + serial.len();
        Self { pass, own, other, n_serial: serial.len(), n_features }
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
    /// Columns from one to the next.
    pub stride: usize,
    /// Rows and columns of a slice.
    pub ny: usize,
    pub nx: usize,
}

impl Segment {
    /// Groups of lanes that hold it.
    pub fn groups(&self) -> usize {
        self.n.div_ceil(LANES)
    }

    /// Place of the first sample in a slice.
    pub fn at(&self) -> usize {
        self.y * self.nx + self.x
    }

    /// The samples for which the one at that offset exists, and where the first of those is in a slice.
    #[inline(always)]
    fn reach(&self, o: Offset) -> Option<(Range<usize>, usize)> {
        let y = self.y.checked_add_signed(o.dy).filter(|y| *y < self.ny)?;
        let first = (self.x as isize + o.dx).min(0).unsigned_abs().div_ceil(self.stride);
        let room = (self.nx as isize - self.x as isize - o.dx).max(0).unsigned_abs();
        let end = room.div_ceil(self.stride).min(self.n);
        let x = (self.x + first * self.stride).checked_add_signed(o.dx)?;
        (first < end).then_some((first..end, y * self.nx + x))
    }

    /// Reads what lies at that offset in a plane, `none` where nothing does; returns for which samples something does.
    #[inline(always)]
    pub fn read<T: Copy>(&self, to: &mut [T; SEGMENT], plane: &[T], o: Offset, none: T) -> Range<usize> {
        let Some((range, at)) = self.reach(o) else {
            to[..self.n].fill(none);
            return 0..0;
        };
        to[..range.start].fill(none);
        to[range.end..self.n].fill(none);
        let to = &mut to[range.clone()];
        let from = &plane[at..];
        match self.stride {
            1 => to.copy_from_slice(&from[..to.len()]),
            2 => to.iter_mut().zip(from.as_chunks::<2>().0).for_each(|(t, f)| *t = f[0]),
            4 => to.iter_mut().zip(from.as_chunks::<4>().0).for_each(|(t, f)| *t = f[0]),
            s => to.iter_mut().enumerate().for_each(|(i, t)| *t = from[i * s]),
        }
        range
    }
}

/// The cubics of a segment: which samples on the line each one takes, with which weights.
#[derive(Debug)]
struct Lines {
    /// Where all four exist, or for vertical lines everywhere.
    inner: Range<usize>,
    weights: [f64; 4],
    /// Of the others.
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
        let reach: [Range<usize>; 4] = [0, 1, 2, 3].map(|k| s.reach(line[k]).map_or(0..0, |(r, _)| r));
        let at = |i: usize| cubic([0, 1, 2, 3].map(|k| reach[k].contains(&i)));
        if line[0].dy != 0 {
            return Self { inner: 0..s.n, weights: at(0), edges: Vec::new() };
        }
        let start = reach.iter().map(|r| r.start).max().unwrap_or(0).min(s.n);
        let end = reach.iter().map(|r| r.end).min().unwrap_or(0).max(start);
        let edges = (0..start).chain(end..s.n).map(|i| (i, at(i))).collect();
        Self { inner: start..end, weights: cubic([true; 4]), edges }
    }

    /// The cubics through samples on the line; those that do not exist are 0.
    #[inline(always)]
    fn base(&self, to: &mut Row, line: &[Row; 4], range: [f64; 2]) {
        let [a, b, c, d] = self.weights;
        let inner = self.inner.clone();
        for i in inner {
            to[i] = (a * line[0][i] + b * line[1][i]) + (c * line[2][i] + d * line[3][i]);
        }
        for (i, [a, b, c, d]) in &self.edges {
            to[*i] = (a * line[0][*i] + b * line[1][*i]) + (c * line[2][*i] + d * line[3][*i]);
        }
        // A NaN, of infinities, becomes the lowest value.
        to.iter_mut().for_each(|v| *v = held(*v, range));
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

/// [`feature`] for a column, 0 outside `range`.
#[inline(always)]
fn fill(column: &mut Column, row: &Row, base: &Row, inverse: f64, range: Range<usize>, groups: usize) {
    let (row, base) = (row.as_chunks::<LANES>().0, base.as_chunks::<LANES>().0);
    for g in 0..groups {
        for l in 0..LANES {
            column[g][l] = feature(row[g][l], base[g][l], inverse);
        }
    }
    let column = column.as_flattened_mut();
    column[..range.start].fill(0.0);
    column[range.end..groups * LANES].fill(0.0);
}

impl Desk {
    pub fn new() -> Self {
        let zeros = [0.0; SEGMENT];
        Self {
            columns: vec![[[0.0; LANES]; GROUPS]; MAX + 4],
            base: zeros,
            line: [zeros; 4],
            other_line: [zeros; 4],
            other_base: zeros,
            row: zeros,
        }
    }

    /// Fills the base and all columns but the serial ones; they and all after them become 0.
    #[inline(always)]
    pub fn fill(&mut self, s: &Segment, p: &Prepared, from: &Sources<'_>) {
        let (groups, inverse) = (s.groups(), from.inverse);
        let slice = &from.v[from.first..];
        let lines = Lines::new(s, &p.own[..4]);
        let ranges = [0, 1, 2, 3].map(|k| s.read(&mut self.line[k], slice, p.own[k], 0.0));
        lines.base(&mut self.base, &self.line, from.range);
        for (k, range) in ranges.into_iter().enumerate() {
            fill(&mut self.columns[k], &self.line[k], &self.base, inverse, range, groups);
        }
        for (o, column) in p.own.iter().zip(&mut self.columns).skip(4) {
            let range = s.read(&mut self.row, slice, *o, 0.0);
            fill(column, &self.row, &self.base, inverse, range, groups);
        }
        let mut next = p.own.len();
        for group in from.before.groups.into_iter().flatten() {
            self.residuals(s, &lines, p, group.map(|back| &from.v[from.first - back..]), next, &p.other, from);
            next += p.other.len();
        }
        if from.before.groups.iter().any(Option::is_some) {
            let older = from.before.older.map(|back| &from.v[from.first - back..]);
            for plane in [from.mean, older] {
                self.residuals(s, &lines, p, plane, next, &[Offset { dy: 0, dx: 0 }], from);
                next += 1;
            }
        }
        for column in &mut self.columns[next..] {
            column[..groups].fill([0.0; LANES]);
        }
    }

    /// Columns `first ..`: samples of another plane, each less that plane's cubic; 0 if there is no such plane.
    #[allow(clippy::too_many_arguments)] // a struct would only rename them
    #[inline(always)]
    fn residuals(
        &mut self,
        s: &Segment,
        lines: &Lines,
        p: &Prepared,
        plane: Option<&[f64]>,
        first: usize,
        offsets: &[Offset],
        from: &Sources<'_>,
    ) {
        let columns = &mut self.columns[first..first + offsets.len()];
        let Some(plane) = plane else {
            columns.iter_mut().for_each(|c| c[..s.groups()].fill([0.0; LANES]));
            return;
        };
        for k in 0..4 {
            s.read(&mut self.other_line[k], plane, p.own[k], 0.0);
        }
        lines.base(&mut self.other_base, &self.other_line, from.range);
        for (o, column) in offsets.iter().zip(columns) {
            let range = s.read(&mut self.row, plane, *o, 0.0);
            fill(column, &self.row, &self.other_base, from.inverse, range, s.groups());
        }
    }

    /// Fills the serial columns and the target's, once the samples are known.
    #[inline(always)]
    pub fn finish(&mut self, s: &Segment, p: &Prepared, slice: &[f64], inverse: f64) {
        let groups = s.groups();
        let here = p.n_features - p.n_serial;
        for (k, column) in self.columns[here..=p.n_features].iter_mut().enumerate() {
            let place = (k + 1) % (p.n_serial + 1);
            let o = Offset { dy: 0, dx: -((place * s.stride) as isize) };
            let range = s.read(&mut self.row, slice, o, 0.0);
            fill(column, &self.row, &self.base, inverse, range, groups);
        }
    }

    /// Takes a sample out of all columns.
    pub fn drop_sample(&mut self, i: usize, n_columns: usize) {
        self.columns[..n_columns].iter_mut().for_each(|c| c[i / LANES][i % LANES] = 0.0);
    }
}
