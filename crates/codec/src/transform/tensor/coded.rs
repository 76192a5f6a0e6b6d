//! Tucker decomposition with coded coefficients: a basis along each mode, one quantizer step for the whole block.
//!
//! # Maths
//! 1. The block minus its mean, long dimensions folded (`fold`), is a core in a basis for each mode.
//! 2. For each mode, shortest first: wavelet or cosine basis, as it is or rotated onto the data's principal vectors, whichever costs
//!    least: `sigma_j u_j`, quantized with three times the step, are coded; the decoded columns, orthonormalised by Householder
//!    reflections and so completed to a full basis, are what the core is projected on.
//! 3. The core is quantized with one step; a symbol moves towards zero where the bits it saves are worth more than the error.
//!    Sizes 1, 2 and above are rebuilt at their classes' mean.
//! # Shapes     `f64[shape]` -> `i64[m_1, .., m_d]`, what is not zero of the core
//! # Bound      bases are orthonormal or nearly so: the error of the samples is that of the core to about a percent
//! # On the wire `f64 mean`, `f64 step`, `i16 exponent`, three `i8` shifts of 1/128 step; for each mode `u8 base`,
//! `varint` rotated columns, `varint` length of the core; then range-coded decisions: columns of each mode, core
//! # Cost       analysis 50 MB/s; coding a core of n nonzero symbols about n microseconds
//! # When       norms over smooth or low-rank fields; a slice costs little beside the core
//! # Reference  R. Ballester-Ripoll, P. Lindstrom, R. Pajarola, TTHRESH, 2020, doi:10.1109/TVCG.2019.2904063

use super::basis::{Base, Rotation, analysis, synthesis};
use super::coefficients::Coefficients;
use super::fold::Folding;
use super::ht::by_growth;
use super::linalg::{around, eigen, expand, exponent, gram, pow2, project, transpose};
use crate::bits::{Reader, Writer};
use crate::block::{crop, strides};
use crate::entropy::{BinaryCoder, Decoder, Encoder};
use crate::error::{Error, Result};
use crate::quantize::centroid::{MAX_STEP, MIN_STEP, Tally, largest_step, symbol, value};
use crate::transform::{Analysis, Block, Goal, NormRule, Region, Stage, Transform};

/// The stage.
pub const STAGE: Stage = Stage {
    id: 4,
    name: "tensor",
    doc: "Tucker decomposition in wavelet, cosine or learned bases, one step for all coefficients, context-mixed",
    params: &[],
    norm_rule: NormRule::SharedStep,
    closed_loop: false,
    make: |_| Box::new(Tensor),
};

/// Steps of columns, in steps of the core.
const COLUMN_STEP: f64 = 3.0;
/// Weight of a bit, in squared steps.
const LAMBDA: f64 = 0.1;
/// Longest mode whose principal vectors are looked for.
const MAX_LEARNED: usize = 512;
/// Numbers that bases are compared on.
const SAMPLE: usize = 1 << 19;

struct Tensor;

impl Transform for Tensor {
    fn analyse(&self, mut x: Vec<f64>, block: Block<'_>) -> Result<Box<dyn Analysis>> {
        let shape = block.shape;
        let exponent = exponent(&x);
        let factor = pow2(-exponent);
        x.iter_mut().for_each(|v| *v *= factor);
        let norm_sq = x.iter().map(|v| v * v).sum();
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        x.iter_mut().for_each(|v| *v -= mean);
        let folding = Folding::of(shape);
        let sides = folding.folded();
        let mut home = folding.fold(x);
        for (k, &n) in sides.iter().enumerate() {
            home = project(&home, around(&sides, k), &analysis(Base::Wavelet, n), n);
        }
        Ok(Box::new(Analysed { shape: shape.to_vec(), folding, sides, exponent, mean, norm_sq, home, state: None }))
    }

    fn decode(&self, src: &mut Reader<'_>, block: Block<'_>, region: &Region) -> Result<Vec<f64>> {
        let shape = block.shape;
        let folding = Folding::of(shape);
        let coded = Coded::read(src, &folding.folded())?;
        Ok(coded.rebuild(&folding, region))
    }
}

/// The basis of one mode: everything about it that is on the wire.
#[derive(Clone)]
struct Mode {
    base: Base,
    /// Columns to rotate onto, each of the mode's length, one after the other.
    columns: Vec<i64>,
}

/// A block as it is on the wire.
struct Coded {
    mean: f64,
    step: f64,
    exponent: i16,
    shifts: [i8; 3],
    modes: Vec<Mode>,
    /// The core's lengths.
    lengths: Vec<usize>,
    core: Vec<i64>,
}

impl Coded {
    fn write(&self, sides: &[usize]) -> Vec<u8> {
        let mut w = Writer::new();
        w.f64(self.mean);
        w.f64(self.step);
        w.u16(self.exponent as u16);
        self.shifts.iter().for_each(|s| w.u8(*s as u8));
        let mut coder = Encoder::new();
        for ((mode, &n), &length) in self.modes.iter().zip(sides).zip(&self.lengths) {
            w.u8(mode.base as u8);
            w.varint((mode.columns.len() / n) as u64);
            w.varint(length as u64);
        }
        let mut columns: Vec<Vec<i64>> = self.modes.iter().map(|m| m.columns.clone()).collect();
        symbols(&mut coder, &mut columns, &mut self.core.clone(), &self.lengths, sides);
        w.bytes.extend(coder.finish());
        w.bytes
    }

    fn read(src: &mut Reader<'_>, sides: &[usize]) -> Result<Self> {
        let (mean, step, exponent) = (src.f64()?, src.f64()?, src.u16()? as i16);
        if !(-1022..=1023).contains(&exponent) {
            return Err(Error::corrupt("tensor", "the exponent is out of range"));
        }
        let shifts = [src.u8()? as i8, src.u8()? as i8, src.u8()? as i8];
        let total: usize = sides.iter().product();
        let (mut modes, mut lengths) = (Vec::new(), Vec::new());
        for &n in sides {
            let base = match src.u8()? {
                0 => Base::Wavelet,
                1 => Base::Cosine,
                id => return Err(Error::Unsupported { what: "basis", id: id.into() }),
            };
            let rank = src.count("columns of a basis", n.min(total / n))?;
            modes.push(Mode { base, columns: crate::try_vec(rank * n, 0)? });
            lengths.push(src.count("length of a core", n)?);
        }
        let mut core = crate::try_vec(lengths.iter().product(), 0)?;
        let mut columns: Vec<Vec<i64>> = modes.iter_mut().map(|m| std::mem::take(&mut m.columns)).collect();
        let mut coder = Decoder::new(src.rest());
        symbols(&mut coder, &mut columns, &mut core, &lengths, sides);
        coder.finish("tensor")?;
        modes.iter_mut().zip(columns).for_each(|(m, c)| m.columns = c);
        Ok(Self { mean, step, exponent, shifts, modes, lengths, core })
    }

    /// The decoder's samples of `region`.
    fn rebuild(mut self, folding: &Folding, region: &Region) -> Vec<f64> {
        let sides = folding.folded();
        let part = folding.cover(region);
        let (step, shifts) = (self.step, self.shifts);
        let mut y: Vec<f64> = std::mem::take(&mut self.core).into_iter().map(|q| value(q, step, shifts)).collect();
        if y.is_empty() {
            y = vec![0.0; part.count.iter().product()];
        } else {
            let mut shape = self.lengths.clone();
            for k in by_growth(&sides, &self.lengths) {
                let (n, mode) = (sides[k], &self.modes[k]);
                let rows = synthesis(mode.base, n)[part.start[k] * n..][..part.count[k] * n].to_vec();
                let basis = Rotation::new(&mode.columns, n).after(rows);
                let kept: Vec<f64> = basis.chunks_exact(n).flat_map(|row| row[..shape[k]].iter().copied()).collect();
                y = expand(&y, around(&shape, k), &kept, part.count[k]);
                shape[k] = part.count[k];
            }
        }
        let mut y = folding.unfold(y, region);
        let factor = pow2(self.exponent.into());
        y.iter_mut().for_each(|v| *v = (*v + self.mean) * factor);
        y
    }
}

/// Codes all symbols of a block; a decoder passes zeros.
fn symbols<C: BinaryCoder>(
    coder: &mut C,
    columns: &mut [Vec<i64>],
    core: &mut [i64],
    lengths: &[usize],
    sides: &[usize],
) {
    let mut model = Coefficients::new(columns.iter().map(Vec::len).sum());
    for (columns, &n) in columns.iter_mut().zip(sides).filter(|(c, _)| !c.is_empty()) {
        let rank = columns.len() / n;
        model.code(coder, columns, &[rank, n]);
    }
    if !core.is_empty() {
        Coefficients::new(core.len()).code(coder, core, lengths);
    }
}

struct Analysed {
    shape: Vec<usize>,
    folding: Folding,
    sides: Vec<usize>,
    exponent: i32,
    mean: f64,
    /// Sum of squares of the scaled samples.
    norm_sq: f64,
    /// The scaled samples minus their mean in wavelet bases.
    home: Vec<f64>,
    state: Option<State>,
}

/// Bases chosen for steps about a power of two, and the core in them.
struct State {
    octave: i32,
    modes: Vec<Mode>,
    core: Vec<f64>,
    /// Squared error of the samples for one of the core, natural logarithms at half an octave below and above.
    gains: Option<[f64; 2]>,
}

impl State {
    /// Squared error of the samples. Wavelets are not quite orthogonal: the errors of a step at either end of the octave are
    /// carried to the samples, those between are interpolated.
    fn error(&mut self, sides: &[usize], step: f64) -> f64 {
        let ends = [-0.5, 0.5].map(|t: f64| pow2(self.octave) * t.exp2());
        let gains = *self.gains.get_or_insert_with(|| ends.map(|s| gain(&self.core, &self.modes, sides, s)));
        let t = (step.log2() - f64::from(self.octave) + 0.5).clamp(0.0, 1.0);
        self.core_error(sides, step) * (gains[0] + t * (gains[1] - gains[0])).exp()
    }

    fn core_error(&self, sides: &[usize], step: f64) -> f64 {
        quantize(&self.core, sides, step, |_, _| ()).error() * step * step
    }
}

/// ln of the samples' squared error over the core's, for one step.
fn gain(core: &[f64], modes: &[Mode], sides: &[usize], step: f64) -> f64 {
    let mut symbols = Vec::new();
    let shifts = quantize(core, sides, step, |at, q| symbols.push((at, q))).shifts();
    let mut error = core.to_vec();
    for (at, q) in symbols {
        error[at] -= value(q, step, shifts);
    }
    let sum_sq = |x: &[f64]| x.iter().map(|v| v * v).sum::<f64>();
    let before = sum_sq(&error);
    for (k, (mode, &n)) in modes.iter().zip(sides).enumerate().filter(|(_, (m, _))| m.base == Base::Wavelet) {
        let basis = Rotation::new(&mode.columns, n).after(synthesis(Base::Wavelet, n));
        error = project(&error, around(sides, k), &transpose(&basis, n, n), n);
    }
    let after = sum_sq(&error);
    if before > 0.0 { (after / before).ln() } else { 0.0 }
}

impl Analysed {
    /// The core in the bases that suit `step`. They depend on nothing but the block and the step's nearest power of two.
    fn settle(&mut self, step: f64) -> &mut State {
        let octave = (step.log2().round() as i32).clamp(-1000, 1000);
        let state = match self.state.take() {
            Some(state) if state.octave == octave => state,
            _ => self.choose(octave),
        };
        self.state.insert(state)
    }

    fn choose(&self, octave: i32) -> State {
        let step = pow2(octave);
        let mut core = self.home.clone();
        let mut modes: Vec<Mode> =
            self.sides.iter().map(|_| Mode { base: Base::Wavelet, columns: Vec::new() }).collect();
        let mut order: Vec<usize> = (0..self.sides.len()).collect();
        order.sort_by_key(|&k| self.sides[k]);
        for k in order {
            let mode = around(&self.sides, k);
            if let Some((chosen, change)) = choose_mode(&core, mode, step) {
                core = project(&core, mode, &change, mode[1]);
                modes[k] = chosen;
            }
        }
        State { octave, modes, core, gains: None }
    }
}

/// Bits that coefficients cost, about.
fn cost(x: &[f64], step: f64) -> f64 {
    let mut bits = 0.0;
    for part in x.chunks(16) {
        // One logarithm for sixteen numbers; sizes are clamped so that the product stays finite.
        let product: f64 = part.iter().map(|v| v / step).map(|u| 1.0 + (u * u).min(1e18)).product();
        bits += product.log2();
    }
    bits
}

/// A better basis for a mode that is in its wavelet basis, and the matrix that changes to it.
fn choose_mode(core: &[f64], [before, n, after]: [usize; 3], step: f64) -> Option<(Mode, Vec<f64>)> {
    if n < 2 {
        return None;
    }
    // Fibres that have something to code; the others cost nothing in any basis.
    let mut largest = vec![0f64; before * after];
    for (i, part) in core.chunks_exact(after).enumerate() {
        let row = &mut largest[i / n * after..][..after];
        row.iter_mut().zip(part).for_each(|(m, v)| *m = m.max(v.abs()));
    }
    let active: Vec<usize> = (0..largest.len()).filter(|&f| largest[f] > step / 2.0).collect();
    if active.is_empty() {
        return None;
    }
    let stride = active.len().div_ceil((SAMPLE / n).max(1));
    let sample: Vec<usize> = active.iter().copied().step_by(stride).collect();
    let share = active.len() as f64 / sample.len() as f64;
    let mut fibres = Vec::with_capacity(sample.len() * n);
    for f in &sample {
        let at = f / after * n * after + f % after;
        fibres.extend((0..n).map(|i| core[at + i * after]));
    }
    let layout = [sample.len(), n, 1];
    let mut best = (cost(&fibres, step) * share, None);
    // From wavelet to cosine coefficients: cosines' weights for the wavelets' synthesis vectors.
    let to_cosine = project(&synthesis(Base::Wavelet, n), [1, n, n], &synthesis(Base::Cosine, n), n);
    let to_cosine = transpose(&to_cosine, n, n);
    for base in [Base::Wavelet, Base::Cosine] {
        let own;
        let x = match base {
            Base::Wavelet => &fibres,
            Base::Cosine => {
                own = project(&fibres, layout, &to_cosine, n);
                let bits = cost(&own, step) * share;
                if bits < best.0 {
                    best = (bits, Some((Mode { base, columns: Vec::new() }, to_cosine.clone())));
                }
                &own
            }
        };
        if n > MAX_LEARNED {
            continue;
        }
        let Some((vectors, values)) = eigen(&gram(x, layout)) else { continue };
        let mut columns = Vec::new();
        let mut bits = 0.0;
        for j in 0..n.min(before * after) {
            let sigma = (values[j].max(0.0) * share).sqrt();
            let column: Vec<f64> = (0..n).map(|i| sigma * vectors[i * n + j]).collect();
            let symbols: Vec<i64> = column.iter().map(|v| symbol(v / (COLUMN_STEP * step), 0.6)).collect();
            if symbols.iter().all(|q| *q == 0) {
                break;
            }
            bits += cost(&column, COLUMN_STEP * step);
            columns.extend(symbols);
        }
        if columns.is_empty() {
            continue;
        }
        let rotation = Rotation::new(&columns, n).matrix(n);
        bits += cost(&project(x, layout, &rotation, n), step) * share;
        if bits < best.0 {
            let change = match base {
                Base::Wavelet => rotation,
                Base::Cosine => Rotation::new(&columns, n).after(to_cosine.clone()),
            };
            best = (bits, Some((Mode { base, columns }, change)));
        }
    }
    best.1
}

/// Quantizes a core, handing each nonzero symbol to `put`. A symbol becomes smaller by one where the bits saved, as a geometric law
/// with the mean size of the neighbours puts them, are worth it.
fn quantize(core: &[f64], shape: &[usize], step: f64, mut put: impl FnMut(usize, i64)) -> Tally {
    let mut tally = Tally::default();
    let strides = strides(shape);
    let inverse = 1.0 / step;
    let near: Vec<(usize, usize)> = (0..shape.len()).rev().take(3).map(|k| (strides[k], shape[k])).collect();
    for (at, &c) in core.iter().enumerate() {
        let size = (c * inverse).abs();
        let mut q = symbol(size, 0.5);
        if q > 0 && q < 64 {
            let (mut sum, mut count) = (0.0, 0.0);
            for &(stride, n) in &near {
                let i = at / stride % n;
                if i > 0 {
                    sum += core[at - stride].abs();
                    count += 1.0;
                }
                if i + 1 < n {
                    sum += core[at + stride].abs();
                    count += 1.0;
                }
            }
            let mean = (sum * inverse + 0.02) / (count + 0.02);
            let per_size = ((1.0 + mean) / mean).log2();
            let saved = LAMBDA * (per_size + if q == 1 { 1.0 } else { 0.0 });
            let (here, below) = (size - q as f64, size - (q - 1) as f64);
            if below * below < here * here + saved {
                q -= 1;
            }
        }
        if q == 0 {
            tally.lose(1.0, size * size);
            continue;
        }
        let d = size - q as f64;
        tally.keep(1.0, q, d, d * d);
        put(at, if c < 0.0 { -q } else { q });
    }
    tally
}

impl Analysis for Analysed {
    fn squared_error(&mut self, step: f64) -> f64 {
        let factor = pow2(self.exponent);
        let step = (step / factor).clamp(MIN_STEP, MAX_STEP);
        self.scaled_error(step) * factor * factor
    }

    fn encode(&mut self, goal: Goal) -> Result<(Vec<u8>, Vec<f64>)> {
        let step = match goal {
            Goal::Step(s) => s / pow2(self.exponent),
            Goal::Relative(e) => self.step_for(e * e * self.norm_sq),
        };
        let step = step.clamp(MIN_STEP, MAX_STEP);
        self.settle(step);
        let Some(State { modes, core, .. }) = self.state.take() else {
            return Err(Error::corrupt("tensor", "no bases were chosen"));
        };
        let mut q = crate::try_vec(core.len(), 0i64)?;
        let strides = strides(&self.sides);
        let mut lengths = vec![0; self.sides.len()];
        let tally = quantize(&core, &self.sides, step, |at, symbol| {
            q[at] = symbol;
            for ((length, stride), n) in lengths.iter_mut().zip(&strides).zip(&self.sides) {
                *length = (*length).max(at / stride % n + 1);
            }
        });
        drop(core);
        let core = crop(&q, &self.sides, &vec![0; lengths.len()], &lengths);
        drop(q);
        let shifts = tally.shifts();
        let coded = Coded { mean: self.mean, step, exponent: self.exponent as i16, shifts, modes, lengths, core };
        let bytes = coded.write(&self.sides);
        Ok((bytes, coded.rebuild(&self.folding, &Region::all(&self.shape))))
    }
}

impl Analysed {
    fn scaled_error(&mut self, step: f64) -> f64 {
        let sides = self.sides.clone();
        self.settle(step).error(&sides, step)
    }

    /// The largest step, to a few parts in a thousand, that leaves at most `budget`.
    fn step_for(&mut self, budget: f64) -> f64 {
        // First in the wavelet bases, where a trial is cheap.
        let first = (12.0 * budget / self.home.len() as f64).sqrt().clamp(MIN_STEP, MAX_STEP);
        let near =
            largest_step(first, budget, 1.05, |s| quantize(&self.home, &self.sides, s, |_, _| ()).error() * s * s);
        let mut step = largest_step(near, budget, 1.002, |s| self.scaled_error(s));
        let sides = self.sides.clone();
        for _ in 0..8 {
            let state = self.settle(step);
            let error = state.core_error(&sides, step) * gain(&state.core, &state.modes, &sides, step).exp();
            if error <= budget {
                break;
            }
            step *= (budget / error).sqrt() * 0.999;
        }
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::uniform;
    use crate::transform::checks::{field, goals_hold};

    const SHAPES: &[&[usize]] =
        &[&[], &[1], &[300], &[9000], &[33, 40], &[12, 900], &[1, 20, 1, 31], &[10, 24, 36], &[3, 4, 5, 6, 7], &[2; 6]];

    #[test]
    fn goals_are_met_and_foretold_and_a_part_is_cropped_from_the_whole() {
        // Small blocks are folded and padded; what is padded has errors too.
        SHAPES.iter().for_each(|shape| goals_hold(&Tensor, shape, 0.1));
    }

    #[test]
    fn constant_and_empty_budgets_end() {
        for x in [[0.0; 60], [42.0; 60], [1e-320; 60], [f64::MAX; 60]] {
            for goal in
                [Goal::Relative(0.0), Goal::Relative(1e-3), Goal::Relative(1e300), Goal::Step(0.0), Goal::Step(1e300)]
            {
                let mut analysis = Tensor.analyse(x.to_vec(), Block::new(&[3, 20])).unwrap();
                let (bytes, y) = analysis.encode(goal).unwrap();
                let z = Tensor
                    .decode(&mut Reader::new(&bytes, "test"), Block::new(&[3, 20]), &Region::all(&[3, 20]))
                    .unwrap();
                assert_eq!(y, z);
                assert!(bytes.len() < 60, "{goal:?}");
            }
        }
    }

    #[test]
    fn low_rank_fields_cost_little_more_than_their_factors() {
        // Rank 2 of rough vectors: neither wavelets nor cosines help.
        let [a, b, c] = [40, 50, 60];
        let u = |i: usize, k: usize| uniform((1000 * k + i) as u64) - 0.5;
        let x: Vec<f64> = (0..a * b * c)
            .map(|i| {
                let (i, j, k) = (i / (b * c), i / c % b, i % c);
                u(i, 0) * u(j, 1) * u(k, 2) + 0.5 * u(i, 3) * u(j, 4) * u(k, 5)
            })
            .collect();
        let mut analysis = Tensor.analyse(x, Block::new(&[a, b, c])).unwrap();
        let (bytes, _) = analysis.encode(Goal::Relative(1e-3)).unwrap();
        assert!(bytes.len() < 2 * 2 * (a + b + c) + 200, "{}", bytes.len());
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let shape = [9, 8, 10];
        let (bytes, _) =
            Tensor.analyse(field(&shape), Block::new(&shape)).unwrap().encode(Goal::Relative(1e-4)).unwrap();
        for bit in (0..bytes.len() * 8).filter(|b| *b < 300 || b % 31 == 0) {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let _ = Tensor.decode(&mut Reader::new(&bad, "test"), Block::new(&shape), &Region::all(&shape));
            if bit % 8 == 0 {
                let _ = Tensor.decode(
                    &mut Reader::new(&bytes[..bit / 8], "test"),
                    Block::new(&shape),
                    &Region::all(&shape),
                );
            }
        }
    }
}
