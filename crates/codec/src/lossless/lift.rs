//! Samples as keys: a base, a palette where few distinct keys occur, another base for each slice.
//!
//! # Maths
//! 1. A palette replaces keys by their rank.
//! 2. Slices are rows or planes (the last one or two dimensions, as in [`Grid`]). A GRIB message, one slice, has a lattice of its own
//!    (`packed`); where a slice has none, the base of the whole array holds. Keys of different slices differ in meaning, the values
//!    that predictors see do not.
//! # On the wire of slices: a byte, 1 for rows, 2 for planes; number and parameters of the base; each slice's lattice

use super::base::Base;
use super::neighbours::Grid;
use super::packed::Packed;
use crate::bits::{Reader, Writer};
use crate::dtype::Sample;
use crate::error::{Error, Result};

/// Number of slices where that of a base is expected.
pub const SLICES: u8 = 3;
/// Rows shorter than this are no messages.
const LONG_ROW: usize = 1024;
/// Samples of a slice on which mappings are compared.
const PROBES: usize = 64;

/// A mapping of samples to keys.
#[derive(Debug, Clone)]
pub struct Lift {
    /// Samples to keys.
    pub base: Base,
    /// Ascending; empty means that keys are used as they are.
    pub palette: Vec<i64>,
    slices: Option<Slices>,
}

/// A mapping for each slice.
#[derive(Debug, Clone)]
struct Slices {
    /// Dimensions of a slice.
    dimensions: u8,
    /// Samples of a slice.
    len: usize,
    /// Place of the first sample in hand in the whole array.
    start: usize,
    lifts: Vec<Lift>,
}

impl Lift {
    /// A base alone.
    pub fn plain(base: Base) -> Self {
        Self { base, palette: Vec::new(), slices: None }
    }

    /// A base and the keys that occur.
    pub fn ranks(base: Base, palette: Vec<i64>) -> Self {
        Self { base, palette, slices: None }
    }

    /// Whether slices have mappings of their own.
    pub fn is_sliced(&self) -> bool {
        self.slices.is_some()
    }

    /// The mapping of sample `i`.
    #[inline]
    pub fn of(&self, i: usize) -> &Self {
        self.slices.as_ref().map_or(self, |s| &s.lifts[(s.start + i) / s.len])
    }

    /// The mapping of a part that begins at sample `start`.
    pub fn part(&self, start: usize) -> Self {
        let mut part = self.clone();
        if let Some(s) = &mut part.slices {
            s.start = start;
        }
        part
    }

    /// Number of the mapping on the wire.
    pub fn id(&self) -> u8 {
        if self.is_sliced() { SLICES } else { self.base.id() }
    }

    /// Writes the parameters, except the palette.
    pub fn write<T: Sample>(&self, w: &mut Writer) {
        if let Some(s) = &self.slices {
            w.u8(s.dimensions);
            w.u8(self.base.id());
        }
        self.base.write::<T>(w);
        let mut before = None;
        for lift in self.slices.iter().flat_map(|s| &s.lifts) {
            match lift.base {
                Base::Packed(p) => {
                    p.write(w, before);
                    before = Some(p);
                }
                _ => w.u8(0),
            }
        }
    }

    /// The inverse of [`Lift::write`].
    pub fn read<T: Sample>(id: u8, shape: &[usize], src: &mut Reader<'_>) -> Result<Self> {
        if id != SLICES {
            return Ok(Self::plain(Base::read::<T>(id, src)?));
        }
        let dimensions = src.u8()?;
        if !T::DTYPE.is_float() || !(1..=2).contains(&dimensions) {
            return Err(Error::Corrupt { stage: "lossless", what: "slices that no encoder writes".into() });
        }
        let base = Base::read::<T>(src.u8()?, src)?;
        let len = slice_len(shape, dimensions);
        let n: usize = shape.iter().product();
        let mut lifts = Vec::new();
        let mut before = None;
        // Each slice takes a byte at least: what is not there ends this before memory does.
        for _ in 0..n.div_ceil(len) {
            let packed = Packed::read(src, before)?;
            before = packed.or(before);
            lifts.push(Self::plain(packed.map_or(base, Base::Packed)));
        }
        Ok(Self { slices: Some(Slices { dimensions, len, start: 0, lifts }), ..Self::plain(base) })
    }

    /// Lattices of the slices beside `base`, and how many bits a sample they save at least against each of `bases`; none if no more
    /// than their parameters take.
    pub fn sliced<T: Sample>(
        x: &[T],
        shape: &[usize],
        valid: Option<&[bool]>,
        base: Base,
        bases: &[Base],
    ) -> Option<(Self, f64)> {
        if !T::DTYPE.is_float() {
            return None;
        }
        let grid = Grid::new(shape);
        let rows = grid.ny > 1 && grid.nx >= LONG_ROW;
        [2, 1].into_iter().take(1 + usize::from(rows)).find_map(|dimensions| {
            let len = slice_len(shape, dimensions);
            let mut saved = vec![0.0; bases.len()];
            let mut before = None;
            let mut lifts = Vec::new();
            for start in (0..x.len()).step_by(len) {
                let slice = start..(start + len).min(x.len());
                let known: Vec<T> = slice.filter(|i| valid.is_none_or(|m| m[*i])).map(|i| x[i]).collect();
                let packed = Packed::find(&known, before);
                before = packed.or(before);
                let own = packed.map_or(base, Base::Packed);
                let stride = known.len().div_ceil(PROBES).max(1);
                let probes = || known.iter().step_by(stride).filter(|v| v.is_finite() && v.to_f64() != 0.0);
                for (saved, b) in saved.iter_mut().zip(bases) {
                    let bits = |v: &T| (own.gap(*v) / b.gap(*v)).log2();
                    *saved += probes().map(bits).sum::<f64>() * stride as f64;
                }
                lifts.push(Self::plain(own));
            }
            let lift = Self { slices: Some(Slices { dimensions, len, start: 0, lifts }), ..Self::plain(base) };
            let mut w = Writer::new();
            lift.write::<T>(&mut w);
            let gain = saved.iter().fold(f64::MAX, |a, b| a.min(*b)) - 8.0 * w.bytes.len() as f64;
            (gain > 0.0).then(|| (lift, gain / x.len() as f64))
        })
    }

    /// Key, or its rank in the palette.
    #[inline]
    pub fn key<T: Sample>(&self, x: T) -> i64 {
        let k = self.base.key(x);
        if self.palette.is_empty() { k } else { self.palette.partition_point(|p| *p < k) as i64 }
    }

    /// The inverse of [`Lift::key`]; ranks beyond the palette give its ends.
    #[inline]
    pub fn sample<T: Sample>(&self, k: i64) -> T {
        if self.palette.is_empty() { self.base.sample(k) } else { self.base.sample(self.palette[self.rank(k)]) }
    }

    fn rank(&self, k: i64) -> usize {
        k.clamp(0, self.palette.len() as i64 - 1) as usize
    }

    /// The number that predictors see for a key, in the samples' units.
    #[inline]
    pub fn value<T: Sample>(&self, k: i64) -> f64 {
        let v = self.sample::<T>(k).to_f64();
        if v.is_finite() { v } else { 0.0 }
    }

    /// The key nearest to a number in the samples' units.
    #[inline]
    pub fn nearest<T: Sample>(&self, v: f64) -> i64 {
        let k = self.base.nearest::<T>(v);
        if self.palette.is_empty() {
            return k;
        }
        let above = self.palette.partition_point(|p| *p < k).min(self.palette.len() - 1);
        let below = above.saturating_sub(1);
        if k.abs_diff(self.palette[below]) < k.abs_diff(self.palette[above]) { below as i64 } else { above as i64 }
    }
}

/// Samples of a slice.
fn slice_len(shape: &[usize], dimensions: u8) -> usize {
    let grid = Grid::new(shape);
    (if dimensions == 1 { grid.nx } else { grid.plane() }).max(1)
}

#[cfg(test)]
mod tests {
    use super::super::tests::round_trip;
    use super::super::{decode, encode};
    use super::*;
    use crate::testkit::{hash, uniform};

    /// Slices of `len` samples as packers leave them: reference, step and digits of their own; some are noise, some constant, one
    /// has a NaN.
    fn packed<T: Sample>(shape: &[usize], len: usize, seed: u64) -> Vec<T> {
        let nx = *shape.last().unwrap();
        let sample = |i: usize| {
            let (slice, x, y) = (i / len, (i % nx) as f64, (i % len / nx) as f64);
            let own = |j: u64| uniform(hash(seed) ^ (slice as u64 * 16 + j));
            let field =
                (x * 0.05).sin() * 300.0 + (y * 0.08 + slice as f64 * 0.1).cos() * 500.0 + uniform(i as u64) * 3.0;
            let reference = f64::from((own(0) * 4000.0 - 2500.0) as f32);
            let step = [0.25, 0.5, 0.0625, 2.0][(own(1) * 4.0) as usize];
            let power = [1.0, 1.0, 10.0, 1000.0][(own(2) * 4.0) as usize];
            match slice % 7 {
                4 => T::from_f64(uniform(hash(i as u64))),
                5 => T::from_f64(reference),
                6 if i % len == 3 => T::from_f64(f64::NAN),
                // As f32 first: an f64 lattice of decimals needs the packer's own order of operations.
                _ => T::from_f64(f64::from(((reference + (field / step).floor() * step) / power) as f32)),
            }
        };
        (0..shape.iter().product()).map(sample).collect()
    }

    fn is_sliced(bytes: &[u8]) -> bool {
        bytes[0] >> 5 & 3 == SLICES
    }

    #[test]
    fn slices_with_lattices_of_their_own_come_back() {
        let cases: &[(&[usize], usize)] = &[
            (&[7, 30, 40], 1200),
            (&[2, 1, 4, 20, 60], 1200),
            (&[3, 2, 2, 11, 23], 253),
            (&[5, 2000], 2000),
            (&[3000], 3000),
            (&[250, 3, 3], 9),
        ];
        let mut n_sliced = 0;
        for (j, &(shape, len)) in cases.iter().enumerate() {
            for seed in 0..6u64 {
                let n: usize = shape.iter().product();
                let mask: Vec<bool> = (0..n).map(|i| !hash((i / 40) as u64 + seed).is_multiple_of(4)).collect();
                let valid = if seed % 3 == 1 { Some(&mask[..]) } else { None };
                let effort = [1, 5, 9][(seed as usize + j) % 3];
                n_sliced += usize::from(is_sliced(&round_trip(&packed::<f32>(shape, len, seed), shape, valid, effort)));
                n_sliced += usize::from(is_sliced(&round_trip(&packed::<f64>(shape, len, seed), shape, valid, effort)));
            }
        }
        assert!(n_sliced > 20, "{n_sliced}");
    }

    #[test]
    fn slices_save_the_bits_in_which_their_references_differ() {
        let shape = [6, 40, 50];
        let wave = |i: usize| ((i % 50) as f64 * 0.1).sin() * 900.0 + ((i / 50) as f64 * 0.013).cos() * 700.0;
        let key = |i: usize| (wave(i) * 4.0 + uniform(i as u64) * 30.0).floor();
        let sample = |i: usize, own: f64| (46000.0 + own + key(i) / 4.0) as f32;
        let alike: Vec<f32> = (0..12000).map(|i| sample(i, 0.0)).collect();
        let own: Vec<f32> = (0..12000).map(|i| sample(i, (i / 2000 * 11) as f64 / 256.0)).collect();
        for effort in [1, 5] {
            let (n, n_alike) = [&own, &alike].map(|x| round_trip(x, &shape, None, effort).len()).into();
            assert!(n < n_alike + n_alike / 20, "{effort}: {n} {n_alike}");
        }
    }

    #[test]
    fn damaged_slices_give_an_error_or_other_samples_but_no_panic() {
        let shape = [4, 20, 30];
        let bytes = encode(&packed::<f32>(&shape, 600, 3), &shape, None, 5);
        assert!(is_sliced(&bytes));
        for i in 0..64 * 8 + 200 {
            let at = if i < 64 * 8 { i / 8 } else { hash(i as u64) as usize % bytes.len() };
            let mut b = bytes.clone();
            b[at] ^= 1 << (i % 8);
            let _ = decode::<f32>(Reader::new(&b, "test"), 2400, &shape, None);
            let _ = decode::<f64>(Reader::new(&b, "test"), 2400, &[2400], None);
            let _ = decode::<f64>(Reader::new(&b, "test"), 2400, &[800, 3, 1], None);
            let cut = decode::<f32>(Reader::new(&bytes[..at], "test"), 2400, &shape, None);
            assert!(at > 16 || cut.is_err());
        }
        // Integers; a rule; a palette; slices of no or three dimensions; slices within slices.
        assert!(decode::<i32>(Reader::new(&bytes, "test"), 2400, &shape, None).is_err());
        let header = |at: usize, byte: u8| {
            let mut b = bytes.clone();
            b[at] = byte;
            decode::<f32>(Reader::new(&b, "test"), 2400, &shape, None).is_err()
        };
        assert!(header(0, SLICES << 5) && header(0, bytes[0] | 128));
        assert!(header(3, 0) && header(3, 3) && header(4, SLICES));
    }
}
