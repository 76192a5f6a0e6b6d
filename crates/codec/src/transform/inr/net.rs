//! The network, in f32 and a fixed order: every output sums its inputs one by one from the bias on; lanes are samples.

use fearless_simd::f32x8;
use fearless_simd::prelude::*;

use super::coordinates::Grid;
use crate::simd::{level, widest};
use crate::transform::Region;

/// Samples that go through the network together.
pub const BATCH: usize = 256;
const LANES: usize = 8;
/// Outputs that are summed together.
const OUTPUTS: usize = 4;

/// One number for each sample of a batch.
pub type Row = [f32; BATCH];

/// What follows a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// sin(2 pi z): weights are in turns.
    Sine,
    /// max(z, 0).
    Rectifier,
    /// z.
    None,
}

/// z = w h + b, then an activation.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Inputs.
    pub n_in: usize,
    /// Outputs.
    pub n_out: usize,
    /// `[n_out, n_in]`.
    pub w: Vec<f32>,
    /// `[n_out]`.
    pub b: Vec<f32>,
    /// What follows.
    pub activation: Activation,
    /// Steps of weights and biases in files; none of a layer that is made from a seed and neither learned nor written.
    pub steps: Option<[f32; 2]>,
}

/// A network and what its output means.
#[derive(Debug, Clone, PartialEq)]
pub struct Net {
    /// From coordinates to one number.
    pub layers: Vec<Layer>,
    /// x = offset + scale f, for each slice; or one for all.
    pub scales: Vec<[f64; 2]>,
}

/// sin(2 pi t), to 1e-6: `t` less its nearest whole number, folded to a quarter of a turn, through a polynomial.
#[inline(always)]
pub fn sine(t: f32) -> f32 {
    /// Adding it rounds to a whole number, half to even, below 2^22; beyond that there is no fraction worth having.
    const ROUND: f32 = 12_582_912.0;
    let t = t - ((t + ROUND) - ROUND);
    let t = if t > 0.25 { 0.5 - t } else { t };
    let t = if t < -0.25 { -0.5 - t } else { t };
    let u = t * t;
    t * (std::f32::consts::TAU
        + u * (-41.341_7 + u * (81.605_25 + u * (-76.705_86 + u * (42.058_693 + u * -15.094_643)))))
}

/// Numbers for a batch: rows of inputs of each layer, and the output's.
#[derive(Debug, Clone)]
pub struct Flow {
    /// What enters layer l; the last one is the output.
    pub h: Vec<Vec<Row>>,
    /// What layer l's activation sees.
    pub z: Vec<Vec<Row>>,
}

impl Flow {
    /// For a network.
    pub fn new(net: &Net) -> Self {
        let rows = |n: usize| vec![[0.0; BATCH]; n];
        let h = net.layers.iter().map(|l| rows(l.n_in)).chain([rows(1)]).collect();
        Self { h, z: net.layers.iter().map(|l| rows(l.n_out)).collect() }
    }
}

/// out = w h + b.
#[inline(always)]
pub fn linear<S: Simd>(simd: S, layer: &Layer, h: &[Row], out: &mut [Row]) {
    let n = layer.n_in;
    for (block, out) in out.chunks_mut(OUTPUTS).enumerate() {
        let first = block * OUTPUTS;
        let w: [&[f32]; OUTPUTS] = std::array::from_fn(|k| {
            let o = (first + k).min(layer.n_out - 1);
            &layer.w[o * n..(o + 1) * n]
        });
        for g in (0..BATCH).step_by(2 * LANES) {
            let mut sums = [[f32x8::splat(simd, 0.0); 2]; OUTPUTS];
            for k in 0..OUTPUTS {
                sums[k] = [f32x8::splat(simd, layer.b[(first + k).min(layer.n_out - 1)]); 2];
            }
            for (i, h) in h[..n].iter().enumerate() {
                let a = f32x8::from_slice(simd, &h[g..g + LANES]);
                let b = f32x8::from_slice(simd, &h[g + LANES..g + 2 * LANES]);
                for k in 0..OUTPUTS {
                    sums[k][0] += a * w[k][i];
                    sums[k][1] += b * w[k][i];
                }
            }
            for (out, sums) in out.iter_mut().zip(&sums) {
                sums[0].store_slice(&mut out[g..g + LANES]);
                sums[1].store_slice(&mut out[g + LANES..g + 2 * LANES]);
            }
        }
    }
}

impl Net {
    /// From `flow.h[0]` to the output.
    pub fn forward(&self, flow: &mut Flow) {
        widest!(level(), simd => self.forward_with(simd, flow));
    }

    #[inline(always)]
    fn forward_with<S: Simd>(&self, simd: S, flow: &mut Flow) {
        for (l, layer) in self.layers.iter().enumerate() {
            linear(simd, layer, &flow.h[l], &mut flow.z[l]);
            for (h, z) in flow.h[l + 1].iter_mut().zip(&flow.z[l]) {
                match layer.activation {
                    Activation::Sine => h.iter_mut().zip(z).for_each(|(h, z)| *h = sine(*z)),
                    Activation::Rectifier => {
                        h.iter_mut().zip(z).for_each(|(h, z)| *h = if *z > 0.0 { *z } else { 0.0 })
                    }
                    Activation::None => h.copy_from_slice(z),
                }
            }
        }
    }

    /// Samples of a region, in C order.
    pub fn evaluate(&self, grid: &Grid, region: &Region) -> Vec<f64> {
        self.evaluate_each(grid, region.count.iter().product(), |take| grid.each(region, take))
    }

    /// The same at places given by indices that need not be whole.
    pub fn evaluate_at(&self, grid: &Grid, places: &[Vec<f64>]) -> Vec<f64> {
        self.evaluate_each(grid, places.len(), |take| {
            places.iter().enumerate().for_each(|(i, place)| take(i, grid.nearest_slice(place), place));
        })
    }

    /// At `n` places, of which `each` tells the numbers, the planes and the indices, in order.
    fn evaluate_each(
        &self,
        grid: &Grid,
        n: usize,
        each: impl FnOnce(&mut dyn FnMut(usize, usize, &[f64])),
    ) -> Vec<f64> {
        let mut out = vec![0.0; n];
        let mut flow = Flow::new(self);
        let mut slices = [0; BATCH];
        let mut flush = |flow: &mut Flow, slices: &[usize; BATCH], first: usize, count: usize| {
            self.forward(flow);
            let y = &flow.h[self.layers.len()][0];
            for k in 0..count {
                let [offset, scale] = self.scales[slices[k].min(self.scales.len() - 1)];
                out[first + k] = offset + scale * f64::from(y[k]);
            }
        };
        each(&mut |i, slice, place| {
            let k = i % BATCH;
            grid.coordinates(place, &mut flow.h[0].as_flattened_mut()[k..], BATCH);
            slices[k] = slice;
            if k == BATCH - 1 || i == n - 1 {
                flush(&mut flow, &slices, i - k, k + 1);
            }
        });
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sines_are_sines() {
        for i in -4000..4000 {
            let t = i as f32 / 900.0;
            let want = (f64::from(t) * std::f64::consts::TAU).sin();
            assert!((f64::from(sine(t)) - want).abs() < 4e-6, "{t}: {} {want}", sine(t));
        }
    }
}
