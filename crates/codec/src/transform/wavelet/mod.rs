//! Wavelet packet with coded coefficients: one quantizer step for the whole block.
//!
//! # Maths
//! 1. The block minus its mean is split by CDF 9/7 lifting: the plane of its last two dimensions dyadically, then each dimension
//!    before it by itself, as far as it goes. Coefficients are scaled so that synthesis vectors have unit norm.
//! 2. They are quantized with one step; a symbol moves towards zero where the bits it saves are worth more than the error.
//!    Sizes 1, 2 and above are rebuilt at their classes' mean.
//! 3. The dimension before the plane, if it is not long, may have its principal vectors as a basis instead, whichever costs less:
//!    `sigma_j u_j`, quantized with three times the step, are coded and orthonormalised by both sides.
//! 4. Symbols are coded coarse to fine under their neighbours, parents and siblings.
//! # Shapes     `f64[shape]` -> `i64[shape]`, low bands first; dimensions of length 1 are left out
//! # Bound      nearly orthonormal: the error of the samples is that of the coefficients to a few percent
//! # On the wire `f32 mean`, `f32 step`, `i16 exponent`, three `i8` shifts of 1/128 step, `u8` 0 or 1 + columns
//! of the basis; then range-coded decisions: columns, tiles, symbols
//! # Cost       one core: lifting twice for each level and dimension, then 8 contexts for each decision outside empty tiles
//! # When       norms over smooth fields, below about two bits a sample
//! # Reference  P. Lindstrom et al., SPERR, 2023, doi:10.1109/IPDPS54959.2023.00104; A. Cohen, I. Daubechies, J.-C. Feauveau,
//! Biorthogonal bases of compactly supported wavelets, 1992, doi:10.1002/cpa.3160450502

mod bands;
mod decide;
mod lift;
mod packet;
mod symbols;

use self::bands::Layout;
use self::packet::{Basis, Packet};
use super::tensor::coefficients::Coefficients;
use super::tensor::linalg::{exponent, pow2};
use super::{Analysis, Block, Goal, NormRule, Param, Region, Stage, Transform};
use crate::bits::{Reader, Writer};
use crate::block::crop;
use crate::entropy::{Decoder, Encoder};
use crate::error::{Error, Result};
use crate::quantize::centroid::{MAX_STEP, MIN_STEP, largest_step, value};

/// The stage.
pub const STAGE: Stage = Stage {
    id: 6,
    name: "wavelet",
    doc: "CDF 9/7 wavelet packet, one step for all coefficients, context-mixed",
    params: &[Param {
        name: "klt",
        doc: "principal vectors along the dimension before the last two: 1 always, 0 never",
        default: f64::NAN,
        min: 0.0,
        max: 1.0,
    }],
    norm_rule: NormRule::SharedStep,
    closed_loop: false,
    make: |params| Box::new(Wavelet { learned: params.count("klt").map(|v| v > 0) }),
};

struct Wavelet {
    /// Whether to use principal vectors, where they are possible; `None` decides by itself.
    learned: Option<bool>,
}

impl Transform for Wavelet {
    fn analyse(&self, mut x: Vec<f64>, block: Block<'_>) -> Result<Box<dyn Analysis>> {
        let exponent = exponent(&x);
        let factor = pow2(-exponent);
        x.iter_mut().for_each(|v| *v *= factor);
        let norm_sq = x.iter().map(|v| v * v).sum();
        let mean = (x.iter().sum::<f64>() / x.len() as f64) as f32;
        x.iter_mut().for_each(|v| *v -= f64::from(mean));
        let learned = if self.learned == Some(false) { None } else { Packet::learned(&x, block.shape) };
        let plain = match (&learned, self.learned) {
            (Some(_), Some(true)) => None,
            _ => Some(Packet::plain(x, block.shape)),
        };
        Ok(Box::new(Analysed { exponent, mean, norm_sq, packets: plain.into_iter().chain(learned).collect() }))
    }

    fn decode(&self, src: &mut Reader<'_>, block: Block<'_>, region: &Region) -> Result<Vec<f64>> {
        let (coded, layout) = Coded::read(src, block.shape)?;
        let x = coded.rebuild(&layout);
        Ok(if region.is_all(block.shape) { x } else { crop(&x, block.shape, &region.start, &region.count) })
    }
}

/// A block as it is on the wire.
struct Coded {
    mean: f32,
    step: f32,
    exponent: i16,
    shifts: [i8; 3],
    /// Columns of the basis of the innermost leading dimension, where it is not split.
    columns: Option<Vec<i64>>,
    q: Vec<i64>,
}

impl Coded {
    fn write(&mut self, layout: &Layout) -> Vec<u8> {
        let mut w = Writer::new();
        w.f32(self.mean);
        w.f32(self.step);
        w.u16(self.exponent as u16);
        self.shifts.iter().for_each(|s| w.u8(*s as u8));
        let mut coder = Encoder::new();
        match (&mut self.columns, layout.depth()) {
            (Some(columns), Some(n)) => {
                let rank = columns.len() / n;
                w.u8(1 + rank as u8);
                Coefficients::new(columns.len()).code(&mut coder, columns, &[rank, n]);
            }
            _ => w.u8(0),
        }
        symbols::code(&mut coder, &mut self.q, layout);
        w.bytes.extend(coder.finish());
        w.bytes
    }

    fn read(src: &mut Reader<'_>, shape: &[usize]) -> Result<(Self, Layout)> {
        let (mean, step, exponent) = (src.f32()?, src.f32()?, src.u16()? as i16);
        if !(-1022..=1023).contains(&exponent) {
            return Err(Error::corrupt("wavelet", "the exponent is out of range"));
        }
        let shifts = [src.u8()? as i8, src.u8()? as i8, src.u8()? as i8];
        let rank = usize::from(src.u8()?);
        let layout = Layout::new(shape, rank > 0);
        let mut q = crate::try_vec(layout.n_planes() * layout.plane(), 0i64)?;
        let mut coder = Decoder::new(src.rest());
        let mut columns = None;
        if let Some(rank) = rank.checked_sub(1) {
            let n = layout.depth().filter(|&n| n <= packet::MAX_LEARNED && rank <= n);
            let n = n.ok_or_else(|| Error::corrupt("wavelet", "the block cannot have such a basis"))?;
            let mut of = vec![0i64; rank * n];
            Coefficients::new(of.len()).code(&mut coder, &mut of, &[rank, n]);
            columns = Some(of);
        }
        symbols::code(&mut coder, &mut q, &layout);
        coder.finish("wavelet")?;
        Ok((Self { mean, step, exponent, shifts, columns, q }, layout))
    }

    /// The decoder's samples.
    fn rebuild(self, layout: &Layout) -> Vec<f64> {
        let (step, mean) = (f64::from(self.step), f64::from(self.mean));
        let mut x: Vec<f64> = self.q.into_iter().map(|q| value(q, step, self.shifts)).collect();
        let basis = self.columns.map(|columns| Basis::decoded(&columns, layout));
        packet::join(&mut x, layout, basis.as_ref());
        let factor = pow2(self.exponent.into());
        x.iter_mut().for_each(|v| *v = (*v + mean) * factor);
        x
    }
}

struct Analysed {
    exponent: i32,
    mean: f32,
    /// Sum of squares of the scaled samples.
    norm_sq: f64,
    /// One or two ways to write the block.
    packets: Vec<Packet>,
}

impl Analysis for Analysed {
    fn squared_error(&mut self, step: f64) -> f64 {
        let factor = pow2(self.exponent);
        let step = on_wire(step / factor);
        self.packet(step).error(step) * factor * factor
    }

    fn encode(&mut self, goal: Goal) -> Result<(Vec<u8>, Vec<f64>)> {
        let step = on_wire(match goal {
            Goal::Step(s) => s / pow2(self.exponent),
            Goal::Relative(e) => self.step_for(e * e * self.norm_sq)?,
        });
        // One way serves all goals from here on: two would take twice the memory.
        let best = self.best(step);
        self.packets = vec![self.packets.swap_remove(best)];
        let packet = &mut self.packets[0];
        let (q, shifts, columns) = packet.symbols(step)?;
        let layout = packet.layout.clone();
        let exponent = self.exponent as i16;
        let mut coded = Coded { mean: self.mean, step: step as f32, exponent, shifts, columns, q };
        let bytes = coded.write(&layout);
        Ok((bytes, coded.rebuild(&layout)))
    }
}

/// The step that a decoder will know.
fn on_wire(step: f64) -> f64 {
    f64::from(step.clamp(MIN_STEP, MAX_STEP) as f32)
}

impl Analysed {
    /// The number of the packet that is best for a step.
    fn best(&mut self, step: f64) -> usize {
        let mut best = 0;
        if let [plain, learned] = &mut self.packets[..] {
            let mut costs = [plain.cost(step, false), learned.cost(step, false)];
            // Gains take a transform each: they are left out where they hardly matter.
            if (costs[0] / costs[1]).ln().abs() < 0.2 {
                costs = [plain.cost(step, true), learned.cost(step, true)];
            }
            best = usize::from(costs[1] < costs[0]);
        }
        best
    }

    fn packet(&mut self, step: f64) -> &mut Packet {
        let best = self.best(step);
        &mut self.packets[best]
    }

    /// The largest step, to about a percent, that leaves at most `budget`.
    fn step_for(&mut self, budget: f64) -> Result<f64> {
        let n = self.packets[0].len();
        let first = (12.0 * budget / n as f64).sqrt().clamp(MIN_STEP, MAX_STEP);
        let mut step = largest_step(first, budget, 1.002, |s| {
            let s = on_wire(s);
            self.packet(s).error(s)
        });
        let mut kept = None;
        for _ in 0..24 {
            let s = on_wire(step);
            let error = self.packet(s).exact_error(s);
            if error <= budget {
                kept = Some(step);
            }
            // Close enough, or a larger one was too large, or there is no smaller one.
            if error <= budget && error > budget * 0.99 || error > budget && kept.is_some() || step <= MIN_STEP {
                break;
            }
            step *= (budget / error).sqrt().clamp(0.1, 1.2) * 0.998;
        }
        Ok(kept.unwrap_or(step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::uniform;
    use crate::transform::checks::{field, goals_hold, sum_sq};

    const WAVELET: Wavelet = Wavelet { learned: None };
    const SHAPES: &[&[usize]] = &[
        &[],
        &[1],
        &[2],
        &[3],
        &[300],
        &[9001],
        &[33, 40],
        &[12, 900],
        &[900, 3],
        &[1, 20, 1, 31],
        &[10, 24, 36],
        &[2, 3, 53, 47],
        &[3, 4, 5, 6, 7],
        &[2; 8],
    ];

    #[test]
    fn goals_are_met_and_foretold_and_a_part_is_cropped_from_the_whole() {
        SHAPES.iter().for_each(|shape| goals_hold(&WAVELET, shape, 0.03));
    }

    #[test]
    fn principal_vectors_are_used_where_they_help() {
        // Rough along the first dimension, of low rank.
        let shape = [24, 40, 40];
        let n = shape.iter().product();
        let smooth = |k: usize, i: usize| ((i % 40) as f64 * 0.1 * (k + 1) as f64).sin() + (i / 40 % 40) as f64 * 0.02;
        let x: Vec<f64> =
            (0..n).map(|i| (0..2).map(|k| uniform((100 * k + i / 1600) as u64) * smooth(k, i)).sum::<f64>()).collect();
        let size = |learned| {
            let wavelet = Wavelet { learned };
            let (bytes, y) =
                wavelet.analyse(x.clone(), Block::new(&shape)).unwrap().encode(Goal::Relative(1e-3)).unwrap();
            let whole = Region::all(&shape);
            assert_eq!(y, WAVELET.decode(&mut Reader::new(&bytes, "test"), Block::new(&shape), &whole).unwrap());
            assert!(sum_sq(&x, &y) <= 1e-6 * x.iter().map(|v| v * v).sum::<f64>());
            bytes.len()
        };
        let [learned, plain, own] = [Some(true), Some(false), None].map(size);
        assert!(2 * learned < plain && own == learned, "{learned} {plain} {own}");
    }

    #[test]
    fn constant_and_extreme_fields_and_empty_budgets_end() {
        let wild: Vec<f64> = (0..60).map(|i| if i % 2 == 0 { f64::MAX } else { -f64::MAX }).collect();
        for x in [vec![0.0; 60], vec![42.0; 60], vec![1e-320; 60], vec![f64::MAX; 60], wild] {
            for goal in
                [Goal::Relative(0.0), Goal::Relative(1e-3), Goal::Relative(1e300), Goal::Step(0.0), Goal::Step(1e300)]
            {
                let mut analysis = WAVELET.analyse(x.clone(), Block::new(&[3, 20])).unwrap();
                let _ = analysis.squared_error(1e-3);
                let (bytes, y) = analysis.encode(goal).unwrap();
                let whole = Region::all(&[3, 20]);
                let z = WAVELET.decode(&mut Reader::new(&bytes, "test"), Block::new(&[3, 20]), &whole).unwrap();
                assert!(z.iter().zip(&y).all(|(a, b)| a.to_bits() == b.to_bits()), "{goal:?}");
            }
        }
    }

    #[test]
    fn damaged_bytes_never_panic() {
        for shape in [&[9, 18, 20][..], &[5, 4, 3, 2], &[700]] {
            let (bytes, _) =
                WAVELET.analyse(field(shape), Block::new(shape)).unwrap().encode(Goal::Relative(1e-4)).unwrap();
            let whole = Region::all(shape);
            for bit in (0..bytes.len() * 8).filter(|b| *b < 300 || b % 31 == 0) {
                let mut bad = bytes.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let _ = WAVELET.decode(&mut Reader::new(&bad, "test"), Block::new(shape), &whole);
                if bit % 8 == 0 {
                    let _ = WAVELET.decode(&mut Reader::new(&bytes[..bit / 8], "test"), Block::new(shape), &whole);
                }
            }
        }
    }
}
