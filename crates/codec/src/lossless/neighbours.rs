//! Which known samples a sample is predicted from.
//!
//! # Maths
//! Five groups: the plane (last two dimensions), the plane before, the one before that, and the same plane one step earlier along
//! the fourth dimension from the end and along the fifth: an ensemble's member before. Each group's samples count less the
//! group's base, the sample at the place of the sample to the left, so that levels of groups cancel.
//! # Shapes     `[.., z, y, x]`; dimensions of length 1 are dropped, leading ones joined

use super::ls::MAX;

/// A shape seen as volumes of planes of rows.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    /// Samples of a row.
    pub nx: usize,
    /// Rows of a plane.
    pub ny: usize,
    /// Planes of a volume.
    pub nz: usize,
    /// Volumes of a series.
    pub nt: usize,
}

impl Grid {
    /// Of a shape of any number of dimensions.
    pub fn new(shape: &[usize]) -> Self {
        let mut long = shape.iter().rev().copied().filter(|d| *d != 1);
        let mut next = || long.next().unwrap_or(1).max(1);
        let (nx, ny, nz, nt) = (next(), next(), next(), next());
        Self { nx, ny, nz, nt }
    }

    /// Samples of a plane.
    pub fn plane(self) -> usize {
        self.nx * self.ny
    }
}

/// Offsets (x, y) in the plane itself; the first is the base.
const PLANE: &[(i32, i32)] =
    &[(-1, 0), (-2, 0), (0, -1), (-1, -1), (1, -1), (0, -2), (-2, -1), (2, -1), (-3, 0), (1, -2), (-1, -2)];
/// In the plane before.
const BEFORE: &[(i32, i32)] = &[(-1, 0), (0, 0), (1, 0), (0, -1), (0, 1), (1, 1), (-1, 1), (-1, -1), (1, -1)];
/// In the plane before that.
const EARLIER: &[(i32, i32)] = &[(-1, 0), (0, 0)];
/// In the same plane of the volume before.
const VOLUME: &[(i32, i32)] = &[(-1, 0), (0, 0), (1, 0), (0, -1), (0, 1)];
/// In the same plane of the series before.
const SERIES: &[(i32, i32)] = VOLUME;

/// One sample of a group.
#[derive(Debug, Clone, Copy)]
struct Place {
    dx: i32,
    dy: i32,
    /// Samples back from the one predicted.
    back: usize,
}

#[derive(Debug)]
struct Group {
    places: Vec<Place>,
    planes: usize,
    volumes: usize,
    series: usize,
    /// Samples back to the place of the predicted sample in this group.
    back: usize,
}

/// Features of the samples of a grid.
#[derive(Debug)]
pub struct Neighbours {
    grid: Grid,
    groups: Vec<Group>,
    /// Features of a sample.
    pub n: usize,
    /// Of the groups that exist for the row in hand: (feature, samples back, base's samples back).
    row: Vec<(usize, Place, usize)>,
}

impl Neighbours {
    /// For `n` samples in a grid.
    pub fn new(grid: Grid, n: usize) -> Self {
        let plane = grid.plane();
        let volume = plane * grid.nz;
        let (planes, volumes) = (n.div_ceil(plane.max(1)), n.div_ceil(volume.max(1)));
        let group = |offsets: &[(i32, i32)], p: usize, v: usize, s: usize| Group {
            places: offsets
                .iter()
                .filter(|(_, dy)| *dy == 0 || grid.ny > 1)
                .map(|&(dx, dy)| {
                    let start = p * plane + v * volume + s * volume * grid.nt;
                    let back = start as i64 - i64::from(dx) - i64::from(dy) * grid.nx as i64;
                    Place { dx, dy, back: back as usize }
                })
                .collect(),
            planes: p,
            volumes: v,
            series: s,
            back: p * plane + v * volume + s * volume * grid.nt,
        };
        let mut groups = vec![group(PLANE, 0, 0, 0)];
        if planes > 1 && grid.nz > 1 {
            groups.push(group(BEFORE, 1, 0, 0));
        }
        if grid.nz > 2 {
            groups.push(group(EARLIER, 2, 0, 0));
        }
        if volumes > 1 {
            groups.push(group(VOLUME, 0, 1, 0));
        }
        if grid.nt > 1 && volumes > grid.nt {
            groups.push(group(SERIES, 0, 0, 1));
        }
        // Each group's base gives one feature too, its difference from the plane's.
        let n = groups.iter().map(|g| g.places.len()).sum::<usize>() - 1;
        debug_assert!(n <= MAX);
        Self { grid, groups, n, row: Vec::new() }
    }

    /// Prepares for the row that begins at sample `i`.
    pub fn start_row(&mut self, i: usize) {
        let Grid { nx, ny, nz, nt } = self.grid;
        let (y, z, volume) = (i / nx % ny, i / (nx * ny) % nz, i / (nx * ny * nz));
        self.row.clear();
        let mut feature = 0;
        for (g, group) in self.groups.iter().enumerate() {
            let exists = z >= group.planes && volume >= group.volumes && volume / nt >= group.series;
            for (j, place) in group.places.iter().enumerate() {
                if g == 0 && j == 0 {
                    continue;
                }
                let row = y as i64 + i64::from(place.dy);
                if exists && row >= 0 && row < ny as i64 {
                    // The base of a group is measured against the plane's, the others against their own.
                    let base = if j == 0 { 0 } else { group.back };
                    self.row.push((feature, *place, base));
                }
                feature += 1;
            }
        }
    }

    /// Fills `f` for sample `i` at column `x` and returns its base, if there is a sample before. Features that do not exist are zero.
    #[inline]
    pub fn gather(&self, v: &[f64], i: usize, x: usize, f: &mut [f64; MAX]) -> Option<f64> {
        let nx = self.grid.nx;
        *f = [0.0; MAX];
        // Left neighbour, else the one above, else the last sample at all.
        let first_row = (i / nx).is_multiple_of(self.grid.ny);
        let step = match x {
            0 if first_row => i.min(1),
            0 => nx,
            _ => 1,
        };
        if step == 0 {
            return None;
        }
        let base = v[i - step];
        if x >= 3 && x + 2 < nx {
            for &(k, place, group) in &self.row {
                f[k] = v[i - place.back] - v[i - group - 1];
            }
        } else {
            for &(k, place, group) in &self.row {
                let column = x as i64 + i64::from(place.dx);
                let known = i >= group + step && i >= place.back;
                if column >= 0 && column < nx as i64 && known {
                    f[k] = v[i - place.back] - v[i - group - step];
                }
            }
        }
        Some(base)
    }
}
