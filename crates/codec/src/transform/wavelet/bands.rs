//! Where the bands of a wavelet packet lie: the plane of the last two dimensions is split dyadically, each dimension before it by
//! itself, as far as it goes.
//!
//! # Maths      a band = a band of the plane x a group (a band of each leading dimension); a group is a run of sheets, one plane each
//! # Shapes     `f64[.., y, x]` -> the same, low bands first; dimensions of length 1 are left out
//! # Reference  P. Lindstrom et al., SPERR, 2023, doi:10.1109/IPDPS54959.2023.00104, has the same layout

use super::lift::{Norms, Scratch, Way, lows, split, split_all};

/// Shortest length that is split, in the plane.
const SHORTEST: usize = 8;
/// Shortest length that is split, before the plane.
const SHORTEST_LEADING: usize = 8;

/// A band of the plane.
#[derive(Debug, Clone)]
pub struct Band {
    /// First row.
    pub y: usize,
    /// First column.
    pub x: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Splits behind it, counted from the finest, 1; the low band has one more than the coarsest.
    pub level: usize,
    /// 0 low, 1 high along x, 2 high along y, 3 both.
    pub orientation: usize,
    /// Band of the same orientation, half as fine.
    pub parent: Option<usize>,
    /// Bands of the same level that come earlier.
    pub siblings: [Option<usize>; 2],
}

/// One plane of a group.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// Which plane of the block.
    pub plane: usize,
    /// Plane of the neighbour before it in its group.
    pub up: Option<usize>,
    /// Plane of the neighbour before that.
    pub beyond: Option<usize>,
    /// Plane of the next coarser group that covers it.
    pub coarser: Option<usize>,
}

/// A band of each leading dimension.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its planes, outermost dimension first.
    pub sheets: Vec<Sheet>,
    /// How fine it is: index of the band, summed over the dimensions.
    pub fineness: usize,
}

/// All that follows from a block's shape.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Norms along each leading dimension, by position.
    leading_norms: Vec<Vec<f64>>,
    row_norms: Norms,
    column_norms: Norms,
    /// Lengths of the leading dimensions after each split.
    leading: Vec<Vec<usize>>,
    rows: Vec<usize>,
    columns: Vec<usize>,
    /// Bands of the plane, coarse to fine.
    pub bands: Vec<Band>,
    /// Groups, coarse to fine.
    pub groups: Vec<Group>,
}

/// A band of one dimension.
#[derive(Debug, Clone, Copy)]
struct Run {
    start: usize,
    len: usize,
}

/// Bands of one dimension, coarse to fine.
fn runs(lows: &[usize]) -> Vec<Run> {
    let last = lows.len() - 1;
    let mut runs = vec![Run { start: 0, len: lows[last] }];
    runs.extend((1..=last).rev().map(|level| Run { start: lows[level], len: lows[level - 1] - lows[level] }));
    runs
}

impl Layout {
    /// Of a block of `shape`. With `learned`, the innermost leading dimension has a basis of its own: each plane along it is
    /// a group.
    pub fn new(shape: &[usize], learned: bool) -> Self {
        let mut sides: Vec<usize> = shape.iter().copied().filter(|&n| n > 1).collect();
        let width = sides.pop().unwrap_or(1);
        let height = sides.pop().unwrap_or(1);
        let leading: Vec<Vec<usize>> = sides.iter().map(|&n| lows(n, SHORTEST_LEADING)).collect();
        let (rows, columns) = (lows(height, SHORTEST), lows(width, SHORTEST));
        let mut along: Vec<Vec<Run>> = leading.iter().map(|l| runs(l)).collect();
        if let (true, Some(last)) = (learned, along.last_mut()) {
            let n = sides[sides.len() - 1];
            *last = (0..n).map(|start| Run { start, len: 1 }).collect();
        }
        let bands = plane_bands(&rows, &columns);
        let groups = groups(&sides, &along, learned);
        let mut leading_norms: Vec<Vec<f64>> = leading.iter().map(|l| Norms::new(l).line()).collect();
        if let (true, Some(last)) = (learned, leading_norms.last_mut()) {
            last.fill(1.0);
        }
        let (row_norms, column_norms) = (Norms::new(&rows), Norms::new(&columns));
        Self { leading_norms, row_norms, column_norms, leading, rows, columns, bands, groups }
    }

    /// Columns of the plane.
    pub fn width(&self) -> usize {
        self.columns[0]
    }

    /// Numbers in a plane.
    pub fn plane(&self) -> usize {
        self.rows[0] * self.columns[0]
    }

    /// Planes of the block.
    pub fn n_planes(&self) -> usize {
        self.leading.iter().map(|l| l[0]).product()
    }

    /// Length of the innermost dimension before the plane.
    pub fn depth(&self) -> Option<usize> {
        self.leading.last().map(|l| l[0])
    }

    /// Splits every plane, or joins it.
    pub fn planes(&self, x: &mut [f64], way: Way) {
        let mut s = Scratch::default();
        let n_levels = self.rows.len().max(self.columns.len()) - 1;
        let (width, at) = (self.width(), |l: &[usize], level: usize| l[level.min(l.len() - 1)]);
        for plane in x.chunks_exact_mut(self.plane()) {
            for step in 0..n_levels {
                let level = if way == Way::Inverse { n_levels - 1 - step } else { step };
                let (h, w) = (at(&self.rows, level), at(&self.columns, level));
                let down = level + 1 < self.rows.len();
                if down && way == Way::Inverse {
                    split(plane, h, width, w, way, &mut s);
                }
                if level + 1 < self.columns.len() {
                    plane.chunks_mut(width).take(h).for_each(|row| split(row, w, 1, 1, way, &mut s));
                }
                if down && way == Way::Forward {
                    split(plane, h, width, w, way, &mut s);
                }
            }
        }
    }

    /// Splits the first `n` leading dimensions fully, or joins them.
    pub fn leading(&self, x: &mut [f64], n: usize, way: Way) {
        let mut s = Scratch::default();
        let mut after = self.plane() * self.leading[n..].iter().map(|l| l[0]).product::<usize>();
        for lows in self.leading[..n].iter().rev() {
            x.chunks_exact_mut(lows[0] * after).for_each(|part| split_all(part, lows, after, way, &mut s));
            after *= lows[0];
        }
    }

    /// Multiplies coefficients by the norms of their synthesis vectors, or divides.
    pub fn scale(&self, x: &mut [f64], multiply: bool) {
        let mut index = vec![0usize; self.leading.len()];
        for plane in x.chunks_exact_mut(self.plane()) {
            let outer = index.iter().zip(&self.leading_norms).fold(1.0, |p, (&i, norms)| p * norms[i]);
            for band in &self.bands {
                let across = self.column_norms.of(band.level, band.orientation & 1 == 1);
                let down = self.row_norms.of(band.level, band.orientation & 2 == 2);
                for (row, norm) in plane.chunks_mut(self.width()).skip(band.y).zip(down) {
                    let row = row[band.x..][..band.width].iter_mut().zip(across);
                    let norm = outer * norm;
                    if multiply {
                        row.for_each(|(v, across)| *v *= norm * across);
                    } else {
                        row.for_each(|(v, across)| *v /= norm * across);
                    }
                }
            }
            advance(&mut index, |k| self.leading[k][0]);
        }
    }

    /// Number of leading dimensions.
    pub fn n_leading(&self) -> usize {
        self.leading.len()
    }
}

/// Bands of the plane, coarse to fine.
fn plane_bands(rows: &[usize], columns: &[usize]) -> Vec<Band> {
    let n_levels = rows.len().max(columns.len()) - 1;
    // Where a dimension is split no more its low band stays what it was.
    let clip = |l: &[usize], level: usize| level.min(l.len() - 1);
    let mut bands = vec![Band {
        y: 0,
        x: 0,
        height: rows[rows.len() - 1],
        width: columns[columns.len() - 1],
        level: n_levels + 1,
        orientation: 0,
        parent: None,
        siblings: [None; 2],
    }];
    // The last band of each orientation.
    let mut last = [None; 4];
    for level in (1..=n_levels).rev() {
        let mut here = Vec::new();
        for orientation in 1..4 {
            let (across, down) = (orientation & 1 == 1, orientation & 2 == 2);
            if across && level >= columns.len() || down && level >= rows.len() {
                continue;
            }
            let extent = |l: &[usize], high: bool| {
                if high { (l[level], l[level - 1] - l[level]) } else { (0, l[clip(l, level)]) }
            };
            let (x, width) = extent(columns, across);
            let (y, height) = extent(rows, down);
            let siblings = [here.first().copied(), here.get(1).copied()];
            let parent = last[orientation];
            last[orientation] = Some(bands.len());
            here.push(bands.len());
            bands.push(Band { y, x, height, width, level, orientation, parent, siblings });
        }
    }
    bands
}

/// All combinations of bands along the leading dimensions, the innermost running fastest.
fn groups(sides: &[usize], along: &[Vec<Run>], learned: bool) -> Vec<Group> {
    let d = sides.len();
    let strides = crate::block::strides(sides);
    let mut groups = Vec::new();
    let mut choice = vec![0usize; d];
    loop {
        let chosen: Vec<Run> = choice.iter().zip(along).map(|(&c, runs)| runs[c]).collect();
        let n: usize = chosen.iter().map(|r| r.len).product();
        // The innermost dimension with something coarser gives it.
        let coarse = (0..d).rev().find(|&k| choice[k] > 0);
        let mut index = vec![0usize; d];
        let mut sheets = Vec::with_capacity(n);
        for _ in 0..n {
            let plane = (0..d).map(|k| (chosen[k].start + index[k]) * strides[k]).sum::<usize>();
            let back = (0..d).rev().find(|&k| index[k] > 0);
            let up = back.map(|k| plane - strides[k]);
            let beyond = back.filter(|&k| index[k] > 1).map(|k| plane - 2 * strides[k]);
            let coarser = coarse.map(|k| {
                let (runs, c) = (&along[k], choice[k]);
                let halves = if c > 1 && !(learned && k + 1 == d) { 2 } else { 1 };
                let at = runs[c - 1].start + (index[k] / halves).min(runs[c - 1].len - 1);
                plane - (chosen[k].start + index[k]) * strides[k] + at * strides[k]
            });
            sheets.push(Sheet { plane, up, beyond, coarser });
            advance(&mut index, |k| chosen[k].len);
        }
        groups.push(Group { sheets, fineness: choice.iter().sum() });
        if !advance(&mut choice, |k| along[k].len()) {
            return groups;
        }
    }
}

/// The next index in C order; whether there is one.
fn advance(index: &mut [usize], len: impl Fn(usize) -> usize) -> bool {
    for k in (0..index.len()).rev() {
        index[k] += 1;
        if index[k] < len(k) {
            return true;
        }
        index[k] = 0;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_and_groups_hold_every_number_once() {
        for shape in [&[][..], &[1, 7], &[300, 2], &[13, 1, 57, 90], &[5, 20, 9, 64], &[2; 8]] {
            for learned in [false, true] {
                let layout = Layout::new(shape, learned);
                let mut seen = vec![0u8; layout.n_planes() * layout.plane()];
                assert_eq!(seen.len(), shape.iter().product::<usize>());
                for (sheet, band) in
                    layout.groups.iter().flat_map(|g| &g.sheets).flat_map(|s| layout.bands.iter().map(move |b| (s, b)))
                {
                    for y in band.y..band.y + band.height {
                        let at = sheet.plane * layout.plane() + y * layout.width() + band.x;
                        seen[at..at + band.width].iter_mut().for_each(|n| *n += 1);
                    }
                }
                assert!(seen.iter().all(|&n| n == 1), "{shape:?}");
            }
        }
    }

    #[test]
    fn what_a_band_refers_to_comes_before_it() {
        let layout = Layout::new(&[30, 6, 50, 70], false);
        for (i, band) in layout.bands.iter().enumerate() {
            assert!(band.parent.into_iter().chain(band.siblings.into_iter().flatten()).all(|j| j < i));
        }
        let mut coded = vec![false; layout.n_planes()];
        for sheet in layout.groups.iter().flat_map(|g| &g.sheets) {
            assert!([sheet.up, sheet.beyond, sheet.coarser].into_iter().flatten().all(|plane| coded[plane]));
            coded[sheet.plane] = true;
        }
    }
}
