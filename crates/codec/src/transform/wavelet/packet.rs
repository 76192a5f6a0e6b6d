//! A block's coefficients in one choice of bases, and what a step would make of them.
//!
//! # Maths
//! error of the samples = gain x error of the coefficients; the gain is found at steps of `4^k`, and interpolated. cost = bits + error / (0.12 step^2): the slope at which uniform quantization trades one for the other.
//! # Shapes     `f64[shape]` -> `f64[shape]`, low bands first
//! # Cost       one transform and 10 ns a coefficient once; for each factor of 4 among the steps an inverse transform

use super::bands::Layout;
use super::decide::{Choice, Spread};
use super::lift::Way;
use super::on_wire;
use crate::error::Result;
use crate::quantize::centroid::{Tally, symbol, value};
use crate::transform::tensor::basis::Rotation;
use crate::transform::tensor::linalg::{eigen, expand, gram, pow2, project, transpose};

/// Longest dimension whose principal vectors are looked for.
pub const MAX_LEARNED: usize = 64;
/// Steps of columns, in steps of the coefficients.
const COLUMN_STEP: f64 = 3.0;
/// Contexts know less of principal components than of wavelet bands: how much better they must be.
const CAUTION: f64 = 1.03;
/// Blocks up to this size are quantized anew for each step that is asked about.
const SMALL: usize = 1 << 14;

/// An orthonormal basis of the innermost leading dimension.
#[derive(Debug, Clone)]
pub struct Basis {
    /// Row-major: sample i, vector j.
    matrix: Vec<f64>,
    /// Standard deviation along each vector times the square root of the number of samples; encoders only.
    sigma: Vec<f64>,
}

impl Basis {
    /// The decoder's basis.
    pub fn decoded(columns: &[i64], layout: &Layout) -> Self {
        let n = layout.depth().unwrap_or(1);
        Self { matrix: Rotation::new(columns, n).matrix(n), sigma: Vec::new() }
    }

    /// The columns that a decoder needs for a step.
    fn columns(&self, step: f64) -> Vec<i64> {
        let n = self.sigma.len();
        let mut columns = Vec::new();
        for (j, sigma) in self.sigma.iter().enumerate() {
            let column: Vec<i64> =
                (0..n).map(|i| symbol(sigma * self.matrix[i * n + j] / (COLUMN_STEP * step), 0.6)).collect();
            if column.iter().all(|q| *q == 0) {
                break;
            }
            columns.extend(column);
        }
        columns
    }
}

/// Samples before, along and after the innermost leading dimension.
fn around_depth(layout: &Layout) -> [usize; 3] {
    let n = layout.depth().unwrap_or(1);
    [layout.n_planes() / n, n, layout.plane()]
}

/// From coefficients in units of synthesis vectors of norm 1 to samples.
pub fn join(x: &mut Vec<f64>, layout: &Layout, basis: Option<&Basis>) {
    layout.scale(x, false);
    let mut n_split = layout.n_leading();
    if let Some(basis) = basis {
        let around = around_depth(layout);
        *x = expand(x, around, &basis.matrix, around[1]);
        n_split -= 1;
    }
    layout.leading(x, n_split, Way::Inverse);
    layout.planes(x, Way::Inverse);
}

/// Coefficients of a block.
#[derive(Debug)]
struct Numbers {
    layout: Layout,
    c: Vec<f64>,
    spread: Spread,
}

impl Numbers {
    fn new(mut x: Vec<f64>, shape: &[usize], basis: Option<&Basis>) -> Self {
        let layout = Layout::new(shape, basis.is_some());
        layout.planes(&mut x, Way::Forward);
        layout.leading(&mut x, layout.n_leading() - usize::from(basis.is_some()), Way::Forward);
        if let Some(basis) = basis {
            let around = around_depth(&layout);
            x = project(&x, around, &basis.matrix, around[1]);
        }
        layout.scale(&mut x, true);
        let spread = Spread::of(&x, &layout);
        Self { layout, c: x, spread }
    }

    fn quantize(&self, step: f64) -> Result<(Vec<i64>, [i8; 3])> {
        let rounding = Rounding::new(&self.spread, step);
        let mut symbols = crate::try_vec(self.c.len(), 0i64)?;
        for (i, (symbol, &c)) in symbols.iter_mut().zip(&self.c).enumerate() {
            *symbol = rounding.symbol(i, c);
        }
        Ok((symbols, rounding.shifts(&self.c)))
    }
}

/// What becomes of coefficients at a step.
struct Rounding<'a> {
    spread: &'a Spread,
    choice: Choice,
    inverse: f64,
}

impl<'a> Rounding<'a> {
    fn new(spread: &'a Spread, step: f64) -> Self {
        Self { spread, choice: spread.choose(step), inverse: 1.0 / step }
    }

    #[inline]
    fn symbol(&self, i: usize, c: f64) -> i64 {
        let q = self.choice.symbol(self.spread.classes[i], (c * self.inverse).abs());
        if c < 0.0 { -q } else { q }
    }

    /// Where the symbols' classes are rebuilt.
    fn shifts(&self, c: &[f64]) -> [i8; 3] {
        let mut tally = Tally::default();
        for (i, &c) in c.iter().enumerate() {
            let q = self.symbol(i, c).abs();
            if q > 0 {
                let d = (c * self.inverse).abs() - q as f64;
                tally.keep(1.0, q, d, d * d);
            }
        }
        tally.shifts()
    }

    /// Squared error of the samples. Coefficients become errors in their place: a block is large.
    fn error(&self, mut c: Vec<f64>, step: f64, layout: &Layout, basis: Option<&Basis>) -> f64 {
        let shifts = self.shifts(&c);
        for (i, c) in c.iter_mut().enumerate() {
            *c -= value(self.symbol(i, *c), step, shifts);
        }
        join(&mut c, layout, basis);
        c.iter().map(|v| v * v).sum()
    }
}

/// One way to write a block.
#[derive(Debug)]
pub struct Packet {
    /// Where the bands lie.
    pub layout: Layout,
    numbers: Numbers,
    basis: Option<Basis>,
    /// Natural logarithms of the samples' squared error over the coefficients', at steps of `4^k`.
    gains: Vec<(i32, f64)>,
}

impl Packet {
    /// Wavelets along all dimensions.
    pub fn plain(x: Vec<f64>, shape: &[usize]) -> Self {
        Self::new(x, shape, None)
    }

    /// Principal vectors along the innermost leading dimension, if it is not too long.
    pub fn learned(x: &[f64], shape: &[usize]) -> Option<Self> {
        let layout = Layout::new(shape, true);
        let around = around_depth(&layout);
        if !(2..=MAX_LEARNED).contains(&around[1]) || around[0] * around[2] < 4 * around[1] {
            return None;
        }
        let (vectors, values) = eigen(&gram(x, around))?;
        let sigma = values.iter().map(|v| v.max(0.0).sqrt()).collect();
        Some(Self::new(x.to_vec(), shape, Some(Basis { matrix: vectors, sigma })))
    }

    fn new(x: Vec<f64>, shape: &[usize], basis: Option<Basis>) -> Self {
        let numbers = Numbers::new(x, shape, basis.as_ref());
        Self { layout: numbers.layout.clone(), numbers, basis, gains: Vec::new() }
    }

    /// How many numbers.
    pub fn len(&self) -> usize {
        self.numbers.c.len()
    }

    /// Bits and errors in one, in bits; without `exact` as if the packet were orthogonal.
    pub fn cost(&mut self, step: f64, exact: bool) -> f64 {
        let (basis, caution) = match &self.basis {
            Some(basis) => {
                let bits = |q: &i64| 0.3 + 2.0 * (1.0 + q.unsigned_abs() as f64).log2();
                (basis.columns(step).iter().map(bits).sum(), CAUTION)
            }
            None => (0.0, 1.0),
        };
        let error = if exact { self.error(step) } else { self.numbers.spread.error(step) };
        basis + self.numbers.spread.bits(step) * caution + error / (0.12 * step * step)
    }

    /// Squared error of the scaled samples, about. The packet is not quite orthogonal: at some steps the errors are carried to
    /// the samples, those between are interpolated.
    pub fn error(&mut self, step: f64) -> f64 {
        if self.len() <= SMALL {
            return self.exact_error(step);
        }
        let at = step.log2() / 2.0;
        let (below, t) = (at.floor(), at - at.floor());
        let gain = self.gain(below as i32) * (1.0 - t) + self.gain(below as i32 + 1) * t;
        self.numbers.spread.error(step) * gain.exp()
    }

    fn gain(&mut self, k: i32) -> f64 {
        if let Some((_, gain)) = self.gains.iter().find(|(at, _)| *at == k) {
            return *gain;
        }
        let step = on_wire(pow2((2 * k).clamp(-1022, 1023)));
        let after = self.exact_error(step);
        let before = self.numbers.spread.error(step);
        let gain = if before > 0.0 && after > 0.0 { (after / before).ln() } else { 0.0 };
        self.gains.push((k, gain));
        gain
    }

    /// Squared error of the scaled samples.
    pub fn exact_error(&self, step: f64) -> f64 {
        match self.settle(step) {
            Some((Numbers { layout, c, spread }, basis, _)) => {
                Rounding::new(&spread, step).error(c, step, &layout, Some(&basis))
            }
            None => {
                let Numbers { layout, c, spread } = &self.numbers;
                Rounding::new(spread, step).error(c.clone(), step, layout, None)
            }
        }
    }

    /// Coefficients in the decoder's basis, which is a little off the one that was looked at.
    fn settle(&self, step: f64) -> Option<(Numbers, Basis, Vec<i64>)> {
        let seen = self.basis.as_ref()?;
        let columns = seen.columns(step);
        let basis = Basis::decoded(&columns, &self.layout);
        let around = around_depth(&self.layout);
        let n = around[1];
        // From one basis to the other: seen^T decoded.
        let turn = transpose(&project(&seen.matrix, [1, n, n], &basis.matrix, n), n, n);
        let c = project(&self.numbers.c, around, &turn, n);
        let spread = Spread::of(&c, &self.layout);
        Some((Numbers { layout: self.layout.clone(), c, spread }, basis, columns))
    }

    /// Symbols, shifts and columns of the basis for a step.
    #[allow(clippy::type_complexity)] // what goes on the wire, in its order
    pub fn symbols(&self, step: f64) -> Result<(Vec<i64>, [i8; 3], Option<Vec<i64>>)> {
        let settled = self.settle(step);
        let numbers = settled.as_ref().map_or(&self.numbers, |(numbers, _, _)| numbers);
        let (q, shifts) = numbers.quantize(step)?;
        Ok((q, shifts, settled.map(|(_, _, columns)| columns)))
    }
}
