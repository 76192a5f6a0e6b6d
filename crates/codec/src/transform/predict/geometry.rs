//! How an array of any shape is seen as a sequence of slices, and in which order the samples of a slice are coded.
//!
//! # Maths
//! Dimensions longer than 1 are reordered; the last one or two make a slice of rows, the others the sequence of slices: `z` runs
//! fastest in it, `t` joins what is left. A slice is coded level by level: an anchor grid of stride 2^levels, then for each
//! stride h = 2^(levels - 1) .. 1 the samples half way along y, then those half way along x.
//! # Shapes     `[t, z, y, x]`

use std::ops::Range;

use super::features::PAD;
use crate::block::strides;

/// Coarsest anchor grid: 2^6.
const MAX_LEVELS: u32 = 6;

/// A reordering of an array's dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Dimensions of the array, slowest first; lengths of 1 among them may be anywhere.
    pub axes: Vec<usize>,
    /// Dimensions that make a slice: 1 or 2.
    pub planar: usize,
}

/// The array as a sequence of slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Steps of the outer dimension.
    pub nt: usize,
    /// Slices of a step.
    pub nz: usize,
    /// Rows of a slice.
    pub ny: usize,
    /// Samples of a row.
    pub nx: usize,
}

impl Layout {
    /// All ways worth trying for a shape, whatever the order in which its dimensions are stored.
    pub fn candidates(shape: &[usize]) -> Vec<Self> {
        let long: Vec<usize> = (0..shape.len()).filter(|&d| shape[d] > 1).collect();
        let short: Vec<usize> = (0..shape.len()).filter(|&d| shape[d] <= 1).collect();
        let make = |order: Vec<usize>, planar: usize| {
            let axes = short.iter().copied().chain(order).collect();
            Self { axes, planar }
        };
        match long.as_slice() {
            [] | [_] => vec![make(long, 1)],
            [a, b] => vec![make(vec![*a, *b], 2), make(vec![*b, *a], 2), make(vec![*a, *b], 1), make(vec![*b, *a], 1)],
            _ => {
                // Slices of any two dimensions, in both orders; the longest of the others runs fastest.
                let mut out = Vec::new();
                for &y in &long {
                    for &x in &long {
                        if x == y {
                            continue;
                        }
                        let mut order: Vec<usize> = long.iter().copied().filter(|d| *d != x && *d != y).collect();
                        order.sort_by_key(|d| shape[*d]);
                        order.extend([y, x]);
                        out.push(make(order, 2));
                    }
                }
                out
            }
        }
    }

    /// Which dimensions make a slice, as one number that does not depend on lengths: 8 rows + columns, 64 + columns.
    pub fn code(&self) -> usize {
        let at = |back: usize| self.axes.len().checked_sub(back).map_or(0, |i| self.axes[i]);
        if self.planar == 2 { 8 * at(2) + at(1) } else { 64 + at(1) }
    }

    /// Whether this is a reordering of `n` dimensions.
    pub fn fits(&self, n: usize) -> bool {
        let mut seen = vec![false; n];
        self.axes.len() == n
            && (1..=2).contains(&self.planar)
            && self.axes.iter().all(|&a| a < n && !std::mem::replace(&mut seen[a], true))
    }

    /// The sequence of slices of an array of that shape.
    pub fn geometry(&self, shape: &[usize]) -> Geometry {
        let long: Vec<usize> = self.axes.iter().map(|&a| shape[a]).filter(|n| *n != 1).collect();
        let at = |back: usize| long.len().checked_sub(back).map_or(1, |i| long[i]);
        let (nx, ny) = if self.planar == 2 { (at(1), at(2)) } else { (at(1), 1) };
        let nz = at(self.planar + 1);
        let nt = long[..long.len().saturating_sub(self.planar + 1)].iter().product();
        Geometry { nt, nz, ny, nx }
    }

    /// Samples of an array, reordered, with [`PAD`] more at both ends; in each row those of even columns come first.
    pub fn reordered<T: Copy + Default>(&self, x: &[T], shape: &[usize]) -> Vec<T> {
        let mut out = vec![T::default(); x.len() + 2 * PAD];
        self.for_rows(shape, |from, step, to| {
            let (even, odd) = out[PAD + to.start..][..to.len()].split_at_mut(to.len().div_ceil(2));
            if step == 1 {
                let (pairs, last) = x[from..][..to.len()].as_chunks::<2>();
                for ((e, o), p) in even.iter_mut().zip(odd).zip(pairs) {
                    (*e, *o) = (p[0], p[1]);
                }
                if let ([v], Some(e)) = (last, even.last_mut()) {
                    *e = *v;
                }
            } else {
                even.iter_mut().enumerate().for_each(|(i, v)| *v = x[from + 2 * i * step]);
                odd.iter_mut().enumerate().for_each(|(i, v)| *v = x[from + (2 * i + 1) * step]);
            }
        });
        out
    }

    /// The array that [`Self::reordered`] makes `v` of.
    pub fn restored(&self, v: &[f64], shape: &[usize]) -> Vec<f64> {
        let mut out = vec![0.0; shape.iter().product()];
        self.for_rows(shape, |to, step, from| {
            let (even, odd) = v[PAD + from.start..][..from.len()].split_at(from.len().div_ceil(2));
            if step == 1 {
                let (pairs, last) = out[to..][..from.len()].as_chunks_mut::<2>();
                for ((e, o), p) in even.iter().zip(odd).zip(pairs) {
                    *p = [*e, *o];
                }
                if let ([v], Some(e)) = (last, even.last()) {
                    *v = *e;
                }
            } else {
                even.iter().enumerate().for_each(|(i, v)| out[to + 2 * i * step] = *v);
                odd.iter().enumerate().for_each(|(i, v)| out[to + (2 * i + 1) * step] = *v);
            }
        });
        out
    }

    /// Calls `visit` for every row: where it begins in the array, the distance of its samples there, and where it is in the
    /// reordered array.
    fn for_rows(&self, shape: &[usize], mut visit: impl FnMut(usize, usize, Range<usize>)) {
        let steps = strides(shape);
        let (mut lengths, mut steps): (Vec<usize>, Vec<usize>) =
            self.axes.iter().map(|&a| (shape[a], steps[a])).filter(|(n, _)| *n != 1).unzip();
        let (row, step) = (lengths.pop().unwrap_or(1), steps.pop().unwrap_or(1));
        let total = row * lengths.iter().product::<usize>();
        let mut index = vec![0; lengths.len()];
        let (mut start, mut to) = (0, 0);
        while to < total {
            visit(start, step, to..to + row);
            to += row;
            for d in (0..lengths.len()).rev() {
                index[d] += 1;
                start += steps[d];
                if index[d] < lengths[d] {
                    break;
                }
                start -= steps[d] * lengths[d];
                index[d] = 0;
            }
        }
    }
}

/// Samples `y0, y0 + dy ..` by `x0, x0 + dx ..` of a slice, predicted along one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// 0 is the finest.
    pub level: u32,
    /// Predicted along y, else along x.
    pub vertical: bool,
    /// Distance to the known samples on the line.
    pub h: usize,
    /// Distance to the known or earlier lines.
    pub across: usize,
    /// First row and distance of rows.
    pub y: (usize, usize),
    /// First column and distance of columns.
    pub x: (usize, usize),
}

impl Geometry {
    /// Samples of a slice.
    pub fn plane(self) -> usize {
        self.ny * self.nx
    }

    /// Levels below the anchors.
    pub fn levels(self) -> u32 {
        let longest = self.ny.max(self.nx);
        (0..MAX_LEVELS).find(|l| 2usize << l >= longest).unwrap_or(MAX_LEVELS)
    }

    /// All passes over a slice after the anchors, coarse to fine.
    pub fn passes(self) -> Vec<Pass> {
        let mut out = Vec::new();
        for level in (0..self.levels()).rev() {
            let h = 1usize << level;
            if self.ny > h {
                out.push(Pass { level, vertical: true, h, across: 2 * h, y: (h, 2 * h), x: (0, 2 * h) });
            }
            if self.nx > h {
                // Rows of this stride are all known by now.
                out.push(Pass { level, vertical: false, h, across: h, y: (0, h), x: (h, 2 * h) });
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_reach_every_sample_once() {
        for (ny, nx) in [(1, 1), (1, 2), (1, 300), (300, 1), (2, 2), (7, 129), (64, 64), (65, 3), (200, 131)] {
            let g = Geometry { nt: 1, nz: 1, ny, nx };
            let mut seen = vec![0; ny * nx];
            let stride = 1 << g.levels();
            for y in (0..ny).step_by(stride) {
                for x in (0..nx).step_by(stride) {
                    seen[y * nx + x] += 1;
                }
            }
            for p in g.passes() {
                for y in (p.y.0..ny).step_by(p.y.1) {
                    for x in (p.x.0..nx).step_by(p.x.1) {
                        seen[y * nx + x] += 1;
                    }
                }
            }
            assert!(seen.iter().all(|s| *s == 1), "{ny} {nx}");
        }
    }

    #[test]
    fn layouts_reorder_every_sample_once() {
        for shape in [&[][..], &[5], &[4, 3], &[2, 3, 4], &[2, 1, 3, 4], &[2, 3, 2, 3, 2], &[3, 0, 2]] {
            let n: usize = shape.iter().product();
            for layout in Layout::candidates(shape) {
                assert!(layout.fits(shape.len()));
                let g = layout.geometry(shape);
                assert_eq!(g.nt * g.nz * g.plane(), n, "{shape:?} {layout:?}");
                let x: Vec<f64> = (0..n).map(|i| i as f64).collect();
                let v = layout.reordered(&x, shape);
                assert_eq!(layout.restored(&v, shape), x, "{shape:?} {layout:?}");
                let mut seen = vec![0; n];
                v[PAD..PAD + n].iter().for_each(|v| seen[*v as usize] += 1);
                assert!(seen.iter().all(|s| *s == 1), "{shape:?} {layout:?}");
            }
        }
    }
}
