//! Quantized coefficients of a wavelet packet, coded coarse to fine under the sizes around them.
//!
//! # Maths
//! A band of a plane is cut into tiles of 8 by 8; a tile without any nonzero symbol is one decision. Contexts of a symbol: its causal
//! neighbours in the plane and the plane before, the parent band, earlier bands of the same level, the next coarser group.
//! # Shapes     `i64[shape]`, C order
//! # On the wire range-coded decisions
//! # Cost       8 contexts a decision; sums over neighbours are made a row at a time

use super::bands::{Band, Group, Layout, Sheet};
use super::decide::row_at;
use crate::entropy::{BinaryCoder, BitModel, IntModel};

/// Side of a tile.
const TILE: usize = 8;
/// Sizes are clipped here, so that all sums fit 16 bits.
const CLIP: u64 = 4095;

/// log2 in steps of a half, from 0 for 0.
#[inline]
fn half_level(v: u32) -> usize {
    if v < 2 {
        return v as usize;
    }
    let log = 31 - v.leading_zeros();
    (2 * log + (v >> (log - 1) & 1)) as usize
}

/// log2 in steps of one, from 0 for 0.
#[inline]
fn level(v: u32) -> usize {
    (32 - v.leading_zeros()) as usize
}

/// How finely contexts are told apart.
#[derive(Debug, Clone, Copy)]
struct Grain {
    /// Of sizes, where two are combined.
    pair: usize,
    /// Of sizes, where three are.
    triple: usize,
    /// Of a single size.
    single: usize,
}

impl Grain {
    /// Few symbols cannot teach many contexts, and need not pay for their memory.
    fn of(n_symbols: usize) -> Self {
        if n_symbols < 4096 {
            Self { pair: 9, triple: 6, single: 12 }
        } else {
            Self { pair: 20, triple: 13, single: 28 }
        }
    }
}

/// Groups told apart.
const GROUPS: usize = 8;
/// Levels told apart.
const LEVELS: usize = 8;
/// Bands told apart.
const BANDS: usize = 4 * LEVELS * GROUPS;

/// Sums of sizes around each coefficient of a row; what lies in the row itself is added as it becomes known.
#[derive(Debug)]
struct Around {
    /// Twice north and up, once north-west and north-east.
    near: Vec<u16>,
    /// Everything known within two steps.
    wide: Vec<u16>,
    /// The parent twice, its neighbours once.
    parent: Vec<u16>,
    /// The same for the earlier bands of the level.
    siblings: Vec<u16>,
    /// The same for the coarser group.
    coarser: Vec<u16>,
}

fn add(to: &mut [u16], from: &[u16], times: u16) {
    to.iter_mut().zip(from).for_each(|(t, f)| *t += f * times);
}

/// Twice each size of a row of a band, once its neighbours in the plane.
fn cross(sizes: &[u16], layout: &Layout, band: &Band, plane: usize, y: usize, to: &mut [u16]) {
    let row = |y: usize| &sizes[row_at(layout, band, plane, y)..][..band.width];
    let here = row(y);
    to.iter_mut().zip(here).for_each(|(t, f)| *t = 2 * f);
    add(&mut to[1..], here, 1);
    add(to, &here[1..], 1);
    if y > 0 {
        add(to, row(y - 1), 1);
    }
    if y + 1 < band.height {
        add(to, row(y + 1), 1);
    }
}

/// A band as seen from another that may be twice as fine.
struct View<'a> {
    band: &'a Band,
    halve_y: bool,
    halve_x: bool,
}

impl<'a> View<'a> {
    fn new(band: &'a Band, fine: &Band) -> Self {
        Self { band, halve_y: 2 * band.height <= fine.height + 1, halve_x: 2 * band.width <= fine.width + 1 }
    }

    fn y(&self, y: usize) -> usize {
        (if self.halve_y { y / 2 } else { y }).min(self.band.height - 1)
    }

    fn x(&self, x: usize) -> usize {
        (if self.halve_x { x / 2 } else { x }).min(self.band.width - 1)
    }

    /// Adds the numbers of a row of the band to those of the fine one.
    fn spread(&self, row: &[u16], to: &mut [u16], times: u16) {
        if self.halve_x {
            to.chunks_mut(2).zip(row).for_each(|(t, v)| t.iter_mut().for_each(|t| *t += v * times));
        } else {
            add(to, row, times);
        }
    }
}

/// Models for a packet's symbols and what is known of those coded.
struct Coding<'a> {
    layout: &'a Layout,
    grain: Grain,
    symbols: IntModel<8>,
    empty: BitModel<5>,
    /// Sizes of all symbols coded so far, clipped.
    sizes: Vec<u16>,
    around: Around,
    scratch: Vec<u16>,
    /// For each plane and band the sum of sizes in each tile, small numbers.
    tiles: Vec<u8>,
    /// Where a band's tiles begin in a plane's.
    tiles_at: Vec<usize>,
    tiles_in_plane: usize,
}

/// Codes `q` in place; a decoder passes zeros.
pub fn code<C: BinaryCoder>(coder: &mut C, q: &mut [i64], layout: &Layout) {
    let mut coding = Coding::new(layout);
    let mut first = 0;
    while first < layout.bands.len() {
        let level = layout.bands[first].level;
        let end = first + layout.bands[first..].iter().take_while(|b| b.level == level).count();
        for group in &layout.groups {
            for band in first..end {
                for sheet in &group.sheets {
                    coding.sheet(coder, q, group, band, sheet);
                }
            }
        }
        first = end;
    }
}

impl<'a> Coding<'a> {
    fn new(layout: &'a Layout) -> Self {
        let n = layout.n_planes() * layout.plane();
        let grain = Grain::of(n);
        let Grain { pair: p, triple: t, single: s } = grain;
        let sizes =
            [BANDS * 13 * 2, t * t * t, 5 * 5 * 5 * 4 * 3, 7 * 7 * 7 * 4, s * LEVELS, 81 * LEVELS, t * t * t, p * p];
        let mut tiles_at = Vec::new();
        let mut tiles_in_plane = 0;
        for band in &layout.bands {
            tiles_at.push(tiles_in_plane);
            tiles_in_plane += band.height.div_ceil(TILE) * band.width.div_ceil(TILE);
        }
        let row = || vec![0u16; layout.width()];
        Self {
            layout,
            grain,
            symbols: IntModel::new(&sizes, 4 * 3, 14),
            empty: BitModel::new(&[256, 13 * 13, BANDS, 13 * 13, 13 * 13], 3),
            sizes: vec![0; n],
            around: Around { near: row(), wide: row(), parent: row(), siblings: row(), coarser: row() },
            scratch: row(),
            tiles: vec![0; tiles_in_plane * layout.n_planes()],
            tiles_at,
            tiles_in_plane,
        }
    }

    /// One band of one plane.
    fn sheet<C: BinaryCoder>(&mut self, coder: &mut C, q: &mut [i64], group: &Group, band_at: usize, sheet: &Sheet) {
        let band = &self.layout.bands[band_at];
        let tiles_x = band.width.div_ceil(TILE);
        let from_end = (band.level - 1).min(LEVELS - 1);
        let id = (group.fineness.min(GROUPS - 1) * LEVELS + from_end) * 4 + band.orientation;
        for tile_y in 0..band.height.div_ceil(TILE) {
            let full = self.tile_row(coder, q, band_at, sheet, tile_y, id);
            let rows = tile_y * TILE..((tile_y + 1) * TILE).min(band.height);
            if full.iter().any(|&f| f) {
                rows.for_each(|y| self.row(coder, q, band_at, sheet, y, id, &full));
            }
            // Sums of this row of tiles, for those after it.
            let at = sheet.plane * self.tiles_in_plane + self.tiles_at[band_at] + tile_y * tiles_x;
            for tile in (0..tiles_x).filter(|&t| full[t]) {
                let mut sum = 0u32;
                for y in tile_y * TILE..((tile_y + 1) * TILE).min(band.height) {
                    let row = &self.sizes[row_at(self.layout, band, sheet.plane, y)..][..band.width];
                    sum += row[tile * TILE..].iter().take(TILE).map(|&v| u32::from(v)).sum::<u32>();
                }
                self.tiles[at + tile] = sum.min(255) as u8;
            }
        }
    }

    /// Which tiles of a row of tiles have any symbol but zero.
    fn tile_row<C: BinaryCoder>(
        &mut self,
        coder: &mut C,
        q: &[i64],
        band_at: usize,
        sheet: &Sheet,
        tile_y: usize,
        id: usize,
    ) -> Vec<bool> {
        let layout = self.layout;
        let band = &layout.bands[band_at];
        let tiles_x = band.width.div_ceil(TILE);
        let sum = |tiles: &[u8], band: usize, plane: usize, y: usize, x: usize| {
            let b = &layout.bands[band];
            let (ny, nx) = (b.height.div_ceil(TILE), b.width.div_ceil(TILE));
            u32::from(tiles[plane * self.tiles_in_plane + self.tiles_at[band] + y.min(ny - 1) * nx + x.min(nx - 1)])
        };
        let mut full = Vec::with_capacity(tiles_x);
        let parent = band.parent.map(|p| View::new(&layout.bands[p], band));
        for tile_x in 0..tiles_x {
            let here = |y: usize, x: usize| sum(&self.tiles, band_at, sheet.plane, y, x);
            // Tiles to the west are known to be empty or not, but not yet what is in them.
            let west = if tile_x > 0 { 4 * u32::from(full[tile_x - 1]) } else { 0 };
            let north = if tile_y > 0 { here(tile_y - 1, tile_x) } else { 0 };
            let diagonal = if tile_y > 0 {
                here(tile_y - 1, tile_x.saturating_sub(1)).max(here(tile_y - 1, tile_x + 1))
            } else {
                0
            };
            let up = sheet.up.map_or(0, |plane| sum(&self.tiles, band_at, plane, tile_y, tile_x));
            let coarser = sheet.coarser.map_or(0, |plane| sum(&self.tiles, band_at, plane, tile_y, tile_x));
            let siblings: u32 =
                band.siblings.iter().flatten().map(|&b| sum(&self.tiles, b, sheet.plane, tile_y, tile_x)).sum();
            let parents = parent.as_ref().map_or(0, |view| {
                let (first_y, last_y) = (view.y(tile_y * TILE), view.y(tile_y * TILE + TILE - 1));
                let (first_x, last_x) = (view.x(tile_x * TILE), view.x(tile_x * TILE + TILE - 1));
                let rows = first_y..=last_y;
                rows.map(|y| {
                    let row = &self.sizes[row_at(layout, view.band, sheet.plane, y)..];
                    row[first_x..=last_x].iter().map(|&v| u32::from(v)).sum::<u32>()
                })
                .sum()
            });
            let clip = |v: u32| level(v).min(3);
            let level = |v: u32| half_level(v).min(12);
            let beside = west + north + up;
            let contexts = [
                ((clip(west) * 4 + clip(north)) * 4 + clip(up)) * 4 + clip(diagonal),
                level(parents) * 13 + level(coarser),
                id,
                level(siblings) * 13 + level(beside),
                level(parents) * 13 + level(beside + diagonal),
            ];
            let set = if beside + parents == 0 { 0 } else { 1 + usize::from(beside + parents > 8) };
            let empty = || {
                (tile_y * TILE..((tile_y + 1) * TILE).min(band.height)).all(|y| {
                    let row = &q[row_at(layout, band, sheet.plane, y)..][..band.width];
                    row[tile_x * TILE..].iter().take(TILE).all(|&v| v == 0)
                })
            };
            full.push(!self.empty.code(coder, empty(), &contexts, set));
        }
        full
    }

    /// Sums around the symbols of a row.
    fn look_around(&mut self, band: &Band, sheet: &Sheet, y: usize) {
        let layout = self.layout;
        let sizes = &self.sizes;
        let row = |plane: usize, y: usize| &sizes[row_at(layout, band, plane, y)..][..band.width];
        let a = &mut self.around;
        let w = band.width;
        for sums in [&mut a.near, &mut a.wide, &mut a.parent, &mut a.siblings, &mut a.coarser] {
            sums[..w].fill(0);
        }
        let (near, wide) = (&mut a.near[..w], &mut a.wide[..w]);
        if y > 0 {
            let north = row(sheet.plane, y - 1);
            add(near, north, 2);
            add(wide, north, 1);
            for sums in [&mut *near, &mut *wide] {
                add(&mut sums[1..], north, 1);
                add(sums, &north[1..], 1);
            }
        }
        if y > 1 {
            add(wide, row(sheet.plane, y - 2), 1);
        }
        if let Some(up) = sheet.up {
            let here = row(up, y);
            add(near, here, 2);
            add(wide, here, 1);
            add(&mut wide[1..], here, 1);
            add(wide, &here[1..], 1);
            if y > 0 {
                add(wide, row(up, y - 1), 1);
            }
            if y + 1 < band.height {
                add(wide, row(up, y + 1), 1);
            }
        }
        if let Some(beyond) = sheet.beyond {
            add(wide, row(beyond, y), 1);
        }
        if let Some(parent) = band.parent.map(|p| &layout.bands[p]) {
            let view = View::new(parent, band);
            let scratch = &mut self.scratch[..parent.width];
            cross(sizes, layout, parent, sheet.plane, view.y(y), scratch);
            view.spread(scratch, &mut a.parent[..w], 1);
        }
        let n_siblings = band.siblings.iter().flatten().count();
        for sibling in band.siblings.iter().flatten().map(|&b| &layout.bands[b]) {
            let view = View { band: sibling, halve_y: false, halve_x: false };
            let scratch = &mut self.scratch[..sibling.width];
            cross(sizes, layout, sibling, sheet.plane, view.y(y), scratch);
            view.spread(scratch, &mut a.siblings[..w], if n_siblings == 1 { 2 } else { 1 });
        }
        if let Some(coarser) = sheet.coarser {
            cross(sizes, layout, band, coarser, y, &mut a.coarser[..w]);
        }
    }

    /// One row of a band, but for its empty tiles.
    #[allow(clippy::too_many_arguments)]
    fn row<C: BinaryCoder>(
        &mut self,
        coder: &mut C,
        q: &mut [i64],
        band_at: usize,
        sheet: &Sheet,
        y: usize,
        id: usize,
        full: &[bool],
    ) {
        let layout = self.layout;
        let band = &layout.bands[band_at];
        self.look_around(band, sheet, y);
        let Grain { pair, triple, single } = self.grain;
        let pair_of = |v: u32| half_level(v).min(pair - 1);
        let triple_of = |v: u32| level(v).min(triple - 1);
        let at_row = row_at(layout, band, sheet.plane, y);
        let north_at = (y > 0).then(|| at_row - layout.width());
        let farther_at = (y > 1).then(|| at_row - 2 * layout.width());
        let up_at = sheet.up.map(|plane| row_at(layout, band, plane, y));
        let beyond_at = sheet.beyond.map(|plane| row_at(layout, band, plane, y));
        let coarser_at = sheet.coarser.map(|plane| row_at(layout, band, plane, y));
        let parent = band.parent.map(|p| View::new(&layout.bands[p], band));
        let parent_at = parent.as_ref().map(|view| row_at(layout, view.band, sheet.plane, view.y(y)));
        let siblings = band.siblings.map(|s| {
            s.map(|s| {
                let b = &layout.bands[s];
                (row_at(layout, b, sheet.plane, y.min(b.height - 1)), b.width - 1)
            })
        });
        let lvl = (band.level - 1).min(LEVELS - 1);
        for tile in (0..full.len()).filter(|&t| full[t]) {
            for x in tile * TILE..((tile + 1) * TILE).min(band.width) {
                let at = at_row + x;
                let size = |at: Option<usize>| at.map_or(0, |at| u32::from(self.sizes[at + x]));
                let signed = |at: Option<usize>| at.map_or(0, |at| q[at + x]);
                let w = if x > 0 { u32::from(self.sizes[at - 1]) } else { 0 };
                let ww = if x > 1 { u32::from(self.sizes[at - 2]) } else { 0 };
                let (n, nn) = (size(north_at), size(farther_at));
                let (u, uu) = (size(up_at), size(beyond_at));
                let nw = if x > 0 { north_at.map_or(0, |at| u32::from(self.sizes[at + x - 1])) } else { 0 };
                let ne = if x + 1 < band.width { size(north_at.map(|a| a + 1)) } else { 0 };
                let c = size(coarser_at);
                let parent_at = parent_at.zip(parent.as_ref()).map(|(a, view)| a + view.x(x));
                let p = parent_at.map_or(0, |at| u32::from(self.sizes[at]));
                let [s1, s2] = siblings.map(|s| s.map_or(0, |(at, last)| u32::from(self.sizes[at + x.min(last)])));
                let near = u32::from(self.around.near[x]) + 2 * w;
                let wide = u32::from(self.around.wide[x]) + w + ww;
                let parents = u32::from(self.around.parent[x]);
                let beside = u32::from(self.around.siblings[x]);
                let coarse = u32::from(self.around.coarser[x]);
                let clip = |v: u32, most: u32| v.min(most) as usize;
                let sign = |v: i64| (v.signum() + 1) as usize;
                let west_sign = sign(if x > 0 { q[at - 1] } else { 0 });
                let parent_sign = sign(parent_at.map_or(0, |at| q[at]));
                let contexts = [
                    (id * 13 + level(near * 3 + wide * 2).min(12)) * 2 + clip(p, 1),
                    (triple_of(near) * triple + triple_of(parents)) * triple + triple_of(beside),
                    (((clip(w, 4) * 5 + clip(n, 4)) * 5 + clip(u, 4)) * 4 + 2 * clip(ne, 1) + clip(nw, 1)) * 3
                        + clip(c, 2),
                    ((clip(p, 6) * 7 + clip(s1, 6)) * 7 + clip(s2, 6)) * 4 + 2 * clip(w, 1) + clip(n, 1),
                    half_level(4 * wide + 3 * parents + 3 * beside / 2 + 2 * coarse).min(single - 1) * LEVELS + lvl,
                    (((west_sign * 3 + sign(signed(north_at))) * 3 + sign(signed(up_at))) * 3 + parent_sign) * LEVELS
                        + lvl,
                    (triple_of(2 * w + ww) * triple + triple_of(2 * n + nn)) * triple + triple_of(2 * u + uu),
                    pair_of(coarse) * pair + pair_of(near + wide),
                ];
                let activity = if wide + parents == 0 { 0 } else { 1 + usize::from(wide > 8) };
                let v = self.symbols.code(coder, q[at], &contexts, lvl.min(3) * 3 + activity);
                q[at] = v;
                self.sizes[at] = v.unsigned_abs().min(CLIP) as u16;
            }
        }
    }
}
