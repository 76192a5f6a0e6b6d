//! What a plain linear transform needs to become a stage: a uniform quantizer and the neighbour-coded symbols of
//! [`crate::quantize::residual`].
//!
//! # Maths      q = round(c / s), c' = q s, with s = step / gain so that the samples' RMSE is about step / sqrt(12)
//! # Shapes     `f64[shape]` -> `i64[shape]`
//! # On the wire `f64 step`, range-coded symbols

use super::{Analysis, Block, Goal, Region, Transform};
use crate::bits::{Reader, Writer};
use crate::block::crop;
use crate::error::Result;
use crate::quantize::residual;

/// A transform that maps a block onto as many coefficients, in place. Plain IEEE `+ - * / sqrt` in a fixed order only.
pub trait Linear: Send + Sync + Clone + 'static {
    /// Samples to coefficients.
    fn forward(&self, shape: &[usize], x: &mut [f64]);
    /// Coefficients to samples.
    fn inverse(&self, shape: &[usize], x: &mut [f64]);
    /// Root-mean-square change of the samples for a unit root-mean-square change of the coefficients: 1 if orthonormal.
    fn gain(&self, shape: &[usize]) -> f64;
}

/// Runs a [`Linear`] transform open loop: transform, quantize, code.
#[derive(Debug, Clone)]
pub struct OpenLoop<L>(pub L);

impl<L: Linear> Transform for OpenLoop<L> {
    fn analyse(&self, mut x: Vec<f64>, block: Block<'_>) -> Result<Box<dyn Analysis>> {
        let shape = block.shape;
        let norm = x.iter().map(|v| v * v).sum::<f64>().sqrt();
        self.0.forward(shape, &mut x);
        Ok(Box::new(Coefficients { linear: self.0.clone(), shape: shape.to_vec(), c: x, norm }))
    }

    fn decode(&self, src: &mut Reader<'_>, block: Block<'_>, region: &Region) -> Result<Vec<f64>> {
        let shape = block.shape;
        let step = src.f64()?;
        let rest = Reader::new(src.rest(), "coefficients");
        let q = residual::decode(rest, shape.iter().product(), shape, None)?;
        let mut x: Vec<f64> = q.into_iter().map(|q| q as f64 * step).collect();
        self.0.inverse(shape, &mut x);
        Ok(if region.is_all(shape) { x } else { crop(&x, shape, &region.start, &region.count) })
    }
}

struct Coefficients<L> {
    linear: L,
    shape: Vec<usize>,
    c: Vec<f64>,
    norm: f64,
}

/// Symbols stay below 2^62.
fn quantize(c: f64, step: f64) -> i64 {
    (c / step).round_ties_even().clamp(-4e18, 4e18) as i64
}

impl<L: Linear> Analysis for Coefficients<L> {
    fn squared_error(&mut self, step: f64) -> f64 {
        let gain = self.linear.gain(&self.shape);
        let s = step / gain;
        self.c.iter().map(|&c| c - quantize(c, s) as f64 * s).map(|d| d * d * gain * gain).sum()
    }

    fn encode(&mut self, goal: Goal) -> Result<(Vec<u8>, Vec<f64>)> {
        let step = match goal {
            Goal::Step(s) => s,
            Goal::Relative(e) => self.step_for((e * self.norm).powi(2)),
        } / self.linear.gain(&self.shape);
        let step = step.max(f64::MIN_POSITIVE);
        let mut q: Vec<i64> = self.c.iter().map(|&c| quantize(c, step)).collect();
        let mut w = Writer::new();
        w.f64(step);
        w.bytes.extend(residual::encode(&mut q, &self.shape, None));
        let mut x: Vec<f64> = q.into_iter().map(|q| q as f64 * step).collect();
        self.linear.inverse(&self.shape, &mut x);
        Ok((w.bytes, x))
    }
}

impl<L: Linear> Coefficients<L> {
    /// The largest step, to a few percent, that leaves at most `budget` of squared error.
    fn step_for(&mut self, budget: f64) -> f64 {
        let mut step = (12.0 * budget / self.c.len() as f64).sqrt();
        while self.squared_error(step * 1.05) <= budget && step < self.norm {
            step *= 1.05;
        }
        while self.squared_error(step) > budget && step > f64::MIN_POSITIVE {
            step /= 1.05;
        }
        step
    }
}
