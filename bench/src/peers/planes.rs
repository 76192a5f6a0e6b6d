//! Image coders on arrays: the last two dimensions are planes of integers of at most 16 bits.
//!
//! # Maths      samples of a continuous type: q = round((x - min) / step), error <= step / 2;
//!              samples of a packed type: the same on the integers stored, q = floor((k - min + floor(m/2)) / m), error <= floor(m/2)
//! # Shapes     [.., y, x] -> as many planes [y, x] as the leading dimensions give
//! # On the wire minimum, step and bits in 24 bytes, then what the image coder writes

use anyhow::{Context, Result, ensure};
use lithify_codec::{Dtype, Samples, match_samples};

use super::Peer;
use super::lossless::Exact;
use crate::field::Field;
use crate::measure::Target;

/// Number of planes, rows, columns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Layout {
    /// Planes.
    pub count: usize,
    /// Rows of each.
    pub height: usize,
    /// Columns of each.
    pub width: usize,
}

impl Layout {
    /// Planes of an array.
    pub fn of(shape: &[usize]) -> Self {
        let side = |back: usize| shape.len().checked_sub(back).map_or(1, |i| shape[i]);
        let (height, width) = (side(2), side(1));
        Self { count: shape.iter().product::<usize>() / (height * width).max(1), height, width }
    }

    /// Samples in all planes.
    pub fn len(self) -> usize {
        self.count * self.height * self.width
    }
}

/// A lossless coder of planes.
pub trait PlaneCoder {
    /// Name of the library.
    fn coder(&self) -> &'static str;

    /// Which of its ways.
    fn mode(&self) -> &'static str {
        ""
    }

    /// Whether it can be applied to planes so laid out.
    fn takes(&self, _layout: Layout) -> bool {
        true
    }

    /// Codes samples of `bits` (2 to 16) bits.
    fn encode(&self, samples: &[u16], layout: Layout, bits: u32) -> Result<Vec<u8>>;

    /// The samples back.
    fn decode(&self, bytes: &[u8], layout: Layout, bits: u32) -> Result<Vec<u16>>;
}

/// Most levels that planes can have.
const LEVELS: f64 = 65536.0;
/// Bytes of minimum, step and bits.
const HEAD: usize = 24;

/// Integers from 0 as planes, with what leads back to the numbers.
fn pack(coder: &impl PlaneCoder, q: &[u16], layout: Layout, base: f64, step: f64) -> Result<Vec<u8>> {
    let largest = q.iter().copied().max().unwrap_or(0);
    let bits = (u16::BITS - largest.leading_zeros()).max(2);
    let mut out = Vec::with_capacity(HEAD);
    out.extend(base.to_le_bytes());
    out.extend(step.to_le_bytes());
    out.extend(u64::from(bits).to_le_bytes());
    out.extend(coder.encode(q, layout, bits)?);
    Ok(out)
}

/// The integers, minimum and step that [`pack`] took.
fn unpack(coder: &impl PlaneCoder, bytes: &[u8], layout: Layout) -> Result<(Vec<u16>, f64, f64)> {
    let (head, body) = bytes.split_first_chunk::<HEAD>().context("the head is cut")?;
    let word = |i: usize| -> [u8; 8] { std::array::from_fn(|k| head[8 * i + k]) };
    let q = coder.decode(body, layout, u64::from_le_bytes(word(2)) as u32)?;
    ensure!(q.len() == layout.len(), "{} returned {} samples", coder.coder(), q.len());
    Ok((q, f64::from_le_bytes(word(0)), f64::from_le_bytes(word(1))))
}

/// A plane coder behind a uniform quantizer; knob = step, physical units.
#[derive(Debug)]
pub struct Quantized<C> {
    coder: C,
    /// Scale and offset of a packed type.
    lattice: Option<(f64, f64)>,
}

impl<C> Quantized<C> {
    /// For one field.
    pub fn new(coder: C, field: &Field) -> Self {
        Self { coder, lattice: field.lattice() }
    }
}

impl<C: PlaneCoder> Peer for Quantized<C> {
    fn coder(&self) -> &'static str {
        self.coder.coder()
    }

    fn mode(&self) -> &'static str {
        self.coder.mode()
    }

    fn encode(&self, x: &[f32], shape: &[usize], knob: f64) -> Result<Vec<u8>> {
        let layout = Layout::of(shape);
        let x = x.iter().map(|v| f64::from(*v));
        let ((base, step), q) = match self.lattice {
            Some((scale, offset)) => {
                let on: Vec<f64> = x.map(|v| ((v - offset) / scale).round()).collect();
                let (q, base, m) = on_lattice(&on, (knob / scale.abs()).floor().max(1.0));
                ((offset + scale * base, scale * m), q)
            }
            None => {
                let (min, max) = x.clone().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
                let step = knob.max((max - min) / (LEVELS - 1.0));
                ((min, step), x.map(|v| ((v - min) / step).round() as u16).collect())
            }
        };
        pack(&self.coder, &q, layout, base, step)
    }

    fn decode(&self, bytes: &[u8], shape: &[usize]) -> Result<Vec<f32>> {
        let (q, base, step) = unpack(&self.coder, bytes, Layout::of(shape))?;
        Ok(q.into_iter().map(|q| (base + step * f64::from(q)) as f32).collect())
    }

    fn first_knob(&self, field: &Field, target: Target) -> f64 {
        match (target, self.lattice) {
            (Target::MaxAbs(e), Some((scale, _))) => {
                let scale = scale.abs();
                // A little more than whole bins, so that dividing by the scale again does not lose one.
                scale * (2.0 * (e / scale * (1.0 + 1e-9)).floor() + 1.0) * (1.0 + 1e-9)
            }
            // Values are rounded to f32 once more when they are decoded.
            (Target::MaxAbs(e), None) => 2.0 * (e - field.largest() * f64::from(f32::EPSILON) / 2.0).max(e / 2.0),
            (Target::L2(_), _) => target.rmse(field) * 12f64.sqrt(),
        }
    }

    fn knows_knob(&self, target: Target) -> bool {
        matches!(target, Target::MaxAbs(_))
    }

    fn takes(&self, field: &Field, target: Target) -> bool {
        let step = self.lattice.map_or(0.0, |l| l.0.abs()).max(self.first_knob(field, target));
        self.coder.takes(Layout::of(&field.shape)) && field.stats.range() / step < LEVELS - 1.0
    }
}

/// Integers in bins of `m`, from 0, with the value of bin 0.
fn on_lattice(x: &[f64], m: f64) -> (Vec<u16>, f64, f64) {
    let (min, max) = x.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
    let m = m.max(((max - min) / (LEVELS - 1.0)).ceil());
    let q = x.iter().map(|v| ((v - min + (m / 2.0).floor()) / m).floor() as u16).collect();
    (q, min, m)
}

/// A plane coder on integers as stored.
#[derive(Debug)]
pub struct Integers<C>(pub C);

impl<C: PlaneCoder> Exact for Integers<C> {
    fn coder(&self) -> &'static str {
        self.0.coder()
    }

    fn mode(&self) -> &'static str {
        self.0.mode()
    }

    fn takes(&self, x: &Samples, shape: &[usize]) -> bool {
        let layout = Layout::of(shape);
        !matches!(x.dtype(), Dtype::F32 | Dtype::F64) && self.0.takes(layout) && layout.height > 1 && span(x) < LEVELS
    }

    fn encode(&self, x: &Samples, shape: &[usize]) -> Result<Vec<u8>> {
        let (q, base, step) = on_lattice(&x.to_f64(), 1.0);
        pack(&self.0, &q, Layout::of(shape), base, step)
    }

    fn decode(&self, bytes: &[u8], shape: &[usize], like: &Samples) -> Result<Samples> {
        let (q, base, _) = unpack(&self.0, bytes, Layout::of(shape))?;
        Ok(match_samples!(like, v => retyped(v, q.into_iter().map(|q| base + f64::from(q)))))
    }
}

/// Largest less smallest sample.
fn span(x: &Samples) -> f64 {
    let (min, max) = x.to_f64().into_iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    max - min
}

/// Numbers in the type of `_like`.
fn retyped<T: lithify_codec::Sample>(_like: &[T], x: impl Iterator<Item = f64>) -> Samples {
    T::wrap(x.map(T::from_f64).collect())
}

#[cfg(test)]
mod tests {
    use super::super::{jpeg2000::Jpeg2000, jpegls::JpegLs, jpegxl};
    use super::*;

    #[test]
    fn bins_of_a_lattice_are_centered() {
        let x: Vec<f64> = (0..10).map(f64::from).collect();
        for m in [1.0, 2.0, 3.0, 4.0] {
            let (q, base, m) = on_lattice(&x, m);
            let worst = x.iter().zip(&q).map(|(v, q)| (v - base - m * f64::from(*q)).abs()).fold(0.0, f64::max);
            assert_eq!(worst, (m / 2.0).floor());
        }
    }

    #[test]
    fn integers_come_back_from_every_image_coder() {
        let shape = [3, 17, 23];
        let x = Samples::I16((0..3 * 17 * 23).map(|i| ((i * i) % 9000 - 4000) as i16).collect());
        let small = Samples::U8((0..3 * 17 * 23).map(|i| (i % 7) as u8).collect());
        let mut coders: Vec<Box<dyn Exact>> = vec![Box::new(Integers(JpegLs)), Box::new(Integers(Jpeg2000))];
        coders.extend(jpegxl::MODES.map(|mode| Box::new(Integers(jpegxl::JpegXl { mode })) as Box<dyn Exact>));
        for c in coders {
            for x in [&x, &small] {
                assert!(c.takes(x, &shape));
                let bytes = c.encode(x, &shape).unwrap();
                assert_eq!(&c.decode(&bytes, &shape, x).unwrap(), x, "{} {}", c.coder(), c.mode());
            }
        }
    }

    #[test]
    fn leading_dimensions_are_planes() {
        assert_eq!(Layout::of(&[5, 4, 3, 2]), Layout { count: 20, height: 3, width: 2 });
        assert_eq!(Layout::of(&[7]), Layout { count: 1, height: 1, width: 7 });
    }
}
