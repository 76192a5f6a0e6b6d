//! Quantized coefficients of a tensor in bases ordered from coarse to fine, coded under the sizes of their neighbours.
//!
//! # Maths
//! The last mode is cut into its dyadic bands; a band of one fibre without any nonzero symbol is one decision. Contexts of a symbol:
//! its causal neighbours along each mode, those at half its index (its parents), the running mean size at its index of each mode.
//! # Shapes     `i64[shape]`, C order
//! # On the wire range-coded decisions
//! # Cost       8 contexts a decision

use super::basis::bands;
use crate::block::strides;
use crate::entropy::{BinaryCoder, BitModel, IntModel};

/// log2 in steps of 1/2, from 0 for 0, below `limit`.
fn level(v: u64, limit: usize) -> usize {
    if v == 0 {
        return 0;
    }
    let log = 63 - v.leading_zeros();
    let half = if log > 0 { (v >> (log - 1) & 1) as usize } else { 0 };
    (2 * log as usize + half + 1).min(limit - 1)
}

/// How finely contexts are told apart.
#[derive(Clone, Copy)]
struct Grain {
    /// Of sizes.
    levels: usize,
    /// Of sizes, where three are combined.
    triple: usize,
    /// Of bands along a mode.
    bands: usize,
}

impl Grain {
    /// Few symbols cannot teach many contexts, and need not pay for their memory.
    fn of(n_symbols: usize) -> Self {
        if n_symbols < 4096 {
            Self { levels: 8, triple: 5, bands: 4 }
        } else {
            Self { levels: 20, triple: 12, bands: 12 }
        }
    }
}

fn size(v: i64) -> u64 {
    v.unsigned_abs().min(1 << 24)
}

/// Models for coefficients, kept over several tensors of one stream.
pub struct Coefficients {
    grain: Grain,
    symbols: IntModel<8>,
    empty: BitModel<4>,
}

/// Running means of sizes, in 1/256, one for each index of a mode.
struct Profile {
    mean: Vec<u64>,
}

impl Profile {
    fn add(&mut self, i: usize, size: u64, shift: u32) {
        let m = &mut self.mean[i];
        *m = *m - (*m >> shift) + ((size << 8) >> shift);
    }
}

impl Coefficients {
    /// Fresh models for about `n_symbols` coefficients.
    pub fn new(n_symbols: usize) -> Self {
        let grain = Grain::of(n_symbols);
        let Grain { levels: l, triple, bands: b } = grain;
        let sizes = [l * l, 5 * 5 * 5 * 4, l * l, l * l * 3, b.pow(3), 3usize.pow(5), triple.pow(3), l * l];
        Self {
            grain,
            symbols: IntModel::new(&sizes, 4 * 3, 14),
            empty: BitModel::new(&[b.pow(3), 4usize.pow(4), b * 12, 12 * 12], 3),
        }
    }

    /// Codes `q` in place; a decoder passes zeros.
    pub fn code<C: BinaryCoder>(&mut self, coder: &mut C, q: &mut [i64], shape: &[usize]) {
        let Grain { levels, triple, bands: n_told } = self.grain;
        let level = |v: u64| level(v, levels);
        // Three modes at least: the last three give the neighbours, those before them one more.
        let mut shape = shape.to_vec();
        while shape.len() < 3 {
            shape.insert(0, 1);
        }
        let d = shape.len();
        let strides = strides(&shape);
        let ends: Vec<Vec<usize>> = shape.iter().map(|&n| bands(n)).collect();
        let band_of: Vec<Vec<usize>> = ends
            .iter()
            .map(|e| {
                (0..e[e.len() - 1]).map(|i| e.iter().take_while(|&&end| end <= i).count().min(n_told - 1)).collect()
            })
            .collect();
        let mut profiles: Vec<Profile> = shape.iter().map(|&n| Profile { mean: vec![0; n] }).collect();
        let n_bands = ends[d - 1].len();
        let width = shape[d - 1];
        let rows = q.len() / width.max(1);
        // Sum of sizes of each band of each row, small numbers.
        let mut filled = vec![0u8; rows * n_bands];
        let row_strides: Vec<usize> = strides.iter().map(|s| s / width.max(1)).collect();
        let mut index = vec![0usize; d];
        for row in 0..rows {
            for k in 0..d - 1 {
                index[k] = row / row_strides[k] % shape[k];
            }
            let base = row * width;
            let (z, y) = (index[d - 3], index[d - 2]);
            let outer = (0..d - 3).rev().find(|&k| index[k] > 0).map(|k| strides[k]);
            let outer_row = (0..d - 3).rev().find(|&k| index[k] > 0).map(|k| row_strides[k]);
            let (band_z, band_y) = (band_of[d - 3][z], band_of[d - 2][y]);
            let mut first = 0;
            for (b, &end) in ends[d - 1].iter().enumerate() {
                let seen = |ok: bool, back: usize| if ok { filled[(row - back) * n_bands + b] } else { 0 };
                let north = seen(y > 0, row_strides[d - 2]);
                let up = seen(z > 0, row_strides[d - 3]);
                let parent_y = seen(y > 1, (y - y / 2) * row_strides[d - 2]);
                let parent_z = seen(z > 1, (z - z / 2) * row_strides[d - 3]);
                let before = if b > 0 { filled[row * n_bands + b - 1] } else { 0 };
                let farther = seen(y > 1, 2 * row_strides[d - 2]);
                let beyond = outer_row.map_or(0, |s| seen(true, s));
                let c = |v: u8| usize::from(v.min(3));
                let sum = usize::from(north.min(5)) + usize::from(up.min(5));
                let contexts = [
                    (band_z * n_told + band_y) * n_told + b.min(n_told - 1),
                    ((c(north) * 4 + c(up)) * 4 + c(before)) * 4 + c(beyond.max(parent_y)),
                    b.min(n_told - 1) * 12 + sum,
                    usize::from((parent_y + parent_z).min(11)) * 12 + usize::from((farther + north + before).min(11)),
                ];
                let set = if sum + c(before) == 0 { 0 } else { 1 + usize::from(sum > 3) };
                let empty = q[base + first..base + end].iter().all(|v| *v == 0);
                if self.empty.code(coder, empty, &contexts, set) {
                    first = end;
                    continue;
                }
                let mut total = 0;
                for (at, x) in (base + first..base + end).zip(first..) {
                    let get = |ok: bool, back: usize| if ok { q[at - back] } else { 0 };
                    let (sy, sz) = (strides[d - 2], strides[d - 3]);
                    let (w, ww) = (get(x > 0, 1), get(x > 1, 2));
                    let (n, nn) = (get(y > 0, sy), get(y > 1, 2 * sy));
                    let (u, uu) = (get(z > 0, sz), get(z > 1, 2 * sz));
                    let nw = get(y > 0 && x > 0, sy + 1);
                    let ne = get(y > 0 && x + 1 < width, sy - usize::from(x + 1 < width));
                    let uw = get(z > 0 && x > 0, sz + 1);
                    let ue = get(z > 0 && x + 1 < width, sz - usize::from(x + 1 < width));
                    let un = get(z > 0 && y > 0, sz + sy);
                    let us = get(z > 0 && y + 1 < shape[d - 2], sz.wrapping_sub(sy));
                    let t = outer.map_or(0, |s| get(true, s));
                    let (px, py, pz) =
                        (get(x > 1, x - x / 2), get(y > 1, (y - y / 2) * sy), get(z > 1, (z - z / 2) * sz));
                    let s = size;
                    let near = 4 * (s(w) + s(n) + s(u)) + 2 * (s(nw) + s(ne) + s(t));
                    let wide = 2 * (s(w) + s(n) + s(u))
                        + s(nw)
                        + s(ne)
                        + s(ww)
                        + s(nn)
                        + s(uw)
                        + s(ue)
                        + s(un)
                        + s(us)
                        + s(uu);
                    let parents = 4 * (s(px) + s(py) + s(pz));
                    let mean = |k: usize, i: usize| profiles[k].mean[i];
                    let (mx, my, mz) = (mean(d - 1, x), mean(d - 2, y), mean(d - 3, z));
                    let clip = |v: i64| s(v).min(4) as usize;
                    let sign = |v: i64| (v.signum() + 1) as usize;
                    let quarter = |v: u64| level(v).min(triple - 1);
                    let local = near + wide + parents;
                    let contexts = [
                        level(near) * levels + level(parents),
                        ((clip(w) * 5 + clip(n)) * 5 + clip(u)) * 4 + 2 * clip(px).min(1) + clip(t.max(py)).min(1),
                        level(mx / 4) * levels + level(wide),
                        (level(my / 4) * levels + level(mz / 4)) * 3 + (clip(w) + clip(n)).min(2),
                        (band_z * n_told + band_y) * n_told + band_of[d - 1][x],
                        (((sign(w) * 3 + sign(n)) * 3 + sign(u)) * 3 + sign(px)) * 3 + sign(nw),
                        (quarter(4 * s(w) + 2 * s(ww)) * triple + quarter(4 * s(n) + 2 * s(nn))) * triple
                            + quarter(4 * s(u) + 2 * s(uu)),
                        level(local) * levels + level((mx + my + mz) / 8),
                    ];
                    let activity = match local {
                        0 => 0,
                        1..=8 => 1,
                        9..=40 => 2,
                        _ => 3,
                    };
                    let relation = if mx > 4 * my { 0 } else { 1 + usize::from(my > 4 * mx) };
                    let v = self.symbols.code(coder, q[at], &contexts, activity * 3 + relation);
                    q[at] = v;
                    total += size(v);
                    profiles[d - 1].add(x, size(v), 3);
                    profiles[d - 2].add(y, size(v), 5);
                    profiles[d - 3].add(z, size(v), 7);
                }
                filled[row * n_bands + b] = total.min(6) as u8;
                first = end;
            }
        }
    }
}
