//! Fitting a network to samples. Encoders only: nothing here decides what a decoder makes of a stream.
//!
//! # Maths
//! 1. Mean squared error of random samples, Adam with a learning rate that falls like a cosine.
//! 2. After two thirds of the steps the coarsest steps of the weights are chosen that leave the error nearly as it is. From then on the
//!    network computes with rounded weights, and gradients go to those behind them (straight-through); what a weight costs pulls it
//!    towards zero.
//! # Reference  D. P. Kingma, J. Ba, Adam, 2015

use fearless_simd::f32x8;
use fearless_simd::prelude::*;

use super::coordinates::Grid;
use super::net::{Activation, BATCH, Flow, Layer, Net, Row, linear};
use super::weights::{Form, multiple};
use crate::error::Result;
use crate::simd::{level, widest};
use crate::stop;

/// What is asked of a training.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How the network is built.
    pub form: Form,
    /// Batches.
    pub steps: usize,
}

const RATE: f32 = 2e-3;
const LEAST_RATE: f32 = 2e-5;
/// Memories of the gradient and of its square.
const BETA: [f32; 2] = [0.9, 0.99];
/// From this part of the steps on weights are rounded.
const ROUNDED: f64 = 0.65;
/// Steps of weights in their root mean square, coarsest first, and how much error they may add.
const COARSE: [f32; 7] = [0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015_625, 0.007_812_5];
const ADDED: f64 = 1.3;
/// Batches that the error is estimated on.
const ESTIMATE: usize = 32;
/// What a bit of weights may cost, in the error that it would have to save.
const PRICE: f32 = 0.2;
/// Numbers of scales are at most this part of those of weights.
const SCALES: usize = 4;

/// Uniform in (-1, 1), from a seed that moves on (splitmix64).
pub fn random(seed: &mut u64) -> f32 {
    (bits(seed) >> 40) as f32 / 8_388_608.0 - 1.0
}

fn bits(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Samples to draw from.
struct Data<'a> {
    x: &'a [f64],
    valid: Option<&'a [bool]>,
    grid: &'a Grid,
    n_dims: usize,
    scales: Vec<[f64; 2]>,
    /// Mean square of all scales.
    scale_sq: f64,
}

/// What a batch should come to, and how much each sample's error counts.
struct Wanted {
    target: Row,
    weight: Row,
}

impl Data<'_> {
    /// A random valid sample; any if chance does not find one.
    fn draw(&self, seed: &mut u64) -> usize {
        let n = self.x.len() as u64;
        let mut i = 0;
        for _ in 0..64 {
            i = ((u128::from(bits(seed)) * u128::from(n)) >> 64) as usize;
            if self.valid.is_none_or(|m| m[i]) {
                break;
            }
        }
        i
    }

    fn batch(&self, seed: &mut u64, flow: &mut Flow, wanted: &mut Wanted) {
        let mut place = vec![0.0; self.n_dims];
        for k in 0..BATCH {
            let i = self.draw(seed);
            self.grid.place(i, &mut place);
            self.grid.coordinates(&place, &mut flow.h[0].as_flattened_mut()[k..], BATCH);
            let [offset, scale] = self.scales[self.grid.slice(i).min(self.scales.len() - 1)];
            wanted.target[k] = ((self.x[i] - offset) / scale) as f32;
            wanted.weight[k] = (scale * scale / self.scale_sq) as f32;
        }
    }
}

/// Offset and scale of each slice, or of all: mean and standard deviation of the valid samples.
fn scales(x: &[f64], valid: Option<&[bool]>, n: usize, slice: impl Fn(usize) -> usize) -> Vec<[f64; 2]> {
    let mut sums = vec![[0.0; 3]; n];
    // Differences from any sample keep their digits.
    let near = x.first().copied().unwrap_or(0.0);
    for (i, v) in x.iter().enumerate().filter(|(i, _)| valid.is_none_or(|m| m[*i])) {
        let s = &mut sums[slice(i).min(n - 1)];
        let d = v - near;
        *s = [s[0] + 1.0, s[1] + d, s[2] + d * d];
    }
    let single = |v: f64| f64::from(v as f32);
    let of = |[n, sum, squares]: [f64; 3]| {
        let mean = sum / n.max(1.0);
        let deviation = single((squares / n.max(1.0) - mean * mean).max(0.0).sqrt());
        let offset = single(near + mean);
        [
            if offset.is_finite() { offset } else { 0.0 },
            if deviation > 0.0 && deviation.is_finite() { deviation } else { 1.0 },
        ]
    };
    sums.into_iter().map(of).collect()
}

/// A network that comes near to the valid samples.
///
/// # Errors
/// [`Error::Interrupted`](crate::Error::Interrupted).
pub fn fit(x: &[f64], valid: Option<&[bool]>, grid: &Grid, n_dims: usize, plan: &Plan) -> Result<Net> {
    let mut net = plan.form.net();
    let n_weights: usize = net.layers.iter().map(|l| l.w.len() + l.b.len()).sum();
    let n_scales = if grid.n_slices() * 2 * SCALES <= n_weights { grid.n_slices().max(1) } else { 1 };
    net.scales = scales(x, valid, n_scales, |i| grid.slice(i));
    let scale_sq = net.scales.iter().map(|s| s[1] * s[1]).sum::<f64>() / n_scales as f64;
    let mut seed = 2;
    begin(&mut net, plan.form.frequency, &mut seed);
    let data = Data { x, valid, grid, n_dims, scales: net.scales.clone(), scale_sq };
    widest!(level(), simd => train(simd, &mut net, &data, plan.steps, &mut seed))?;
    Ok(net)
}

/// First weights: a first layer of these frequencies, others that keep a sine's distribution from layer to layer.
fn begin(net: &mut Net, frequency: f32, seed: &mut u64) {
    const TURN: f32 = std::f32::consts::TAU;
    for (l, layer) in net.layers.iter_mut().enumerate().filter(|(_, layer)| layer.steps.is_some()) {
        let n = layer.n_in as f32;
        let size = match layer.activation {
            _ if l == 0 => frequency / n / TURN,
            Activation::Sine => (6.0 / n).sqrt() / TURN,
            Activation::Rectifier => (6.0 / n).sqrt(),
            Activation::None => (1.0 / n).sqrt(),
        };
        layer.w.iter_mut().for_each(|w| *w = size * random(seed));
        if l == 0 {
            layer.b.iter_mut().for_each(|b| *b = 0.5 * random(seed));
        }
    }
}

/// Of one layer: gradients, and what Adam remembers of them and of their squares; weights, then biases.
struct Memory {
    gradient: Vec<f32>,
    mean: Vec<f32>,
    square: Vec<f32>,
}

#[inline(always)]
fn train<S: Simd>(simd: S, net: &mut Net, data: &Data<'_>, steps: usize, seed: &mut u64) -> Result<()> {
    let mut flow = Flow::new(net);
    let mut back: Vec<Vec<Row>> = flow.z.clone();
    let mut wanted = Wanted { target: [0.0; BATCH], weight: [0.0; BATCH] };
    let mut memories: Vec<Memory> = net
        .layers
        .iter()
        .map(|l| {
            let n = l.w.len() + l.b.len();
            Memory { gradient: vec![0.0; n], mean: vec![0.0; n], square: vec![0.0; n] }
        })
        .collect();
    let n_weights: usize = memories.iter().map(|m| m.gradient.len()).sum();
    let mut rounded: Option<Net> = None;
    let mut mean_error = 1.0;
    for step in 0..steps {
        stop::check()?;
        if rounded.is_none() && step as f64 >= ROUNDED * steps as f64 {
            choose_steps(net, data, *seed, &mut flow, &mut wanted);
            rounded = Some(net.clone());
        }
        let part = step as f32 / steps as f32;
        let rate = LEAST_RATE + (RATE - LEAST_RATE) * 0.5 * (1.0 + (part * std::f32::consts::PI).cos());
        if let Some(r) = &mut rounded {
            snap(net, r);
        }
        data.batch(seed, &mut flow, &mut wanted);
        let now = rounded.as_ref().unwrap_or(net);
        now.forward(&mut flow);
        mean_error += 0.02 * (backward(simd, now, &flow, &wanted, &mut back, &mut memories) - mean_error);
        let price = if rounded.is_some() { PRICE * mean_error / n_weights as f32 } else { 0.0 };
        adam(net, &mut memories, rate, price, step);
    }
    if rounded.is_none() {
        choose_steps(net, data, *seed, &mut flow, &mut wanted);
    }
    Ok(())
}

/// Rounds the weights of `net` into `to`.
fn snap(net: &Net, to: &mut Net) {
    for (layer, to) in net.layers.iter().zip(&mut to.layers) {
        let Some([w, b]) = layer.steps else { continue };
        to.w.iter_mut().zip(&layer.w).for_each(|(t, v)| *t = multiple(*v, w) * w);
        to.b.iter_mut().zip(&layer.b).for_each(|(t, v)| *t = multiple(*v, b) * b);
        to.steps = layer.steps;
    }
}

/// Mean squared error on batches that the seed gives.
fn error(net: &Net, data: &Data<'_>, mut seed: u64, flow: &mut Flow, wanted: &mut Wanted) -> f64 {
    let mut sum = 0.0;
    for _ in 0..ESTIMATE {
        data.batch(&mut seed, flow, wanted);
        net.forward(flow);
        let y = &flow.h[net.layers.len()][0];
        let square = |k: usize| f64::from(wanted.weight[k]) * f64::from(y[k] - wanted.target[k]).powi(2);
        sum += (0..BATCH).map(square).sum::<f64>();
    }
    sum
}

/// The coarsest steps that hardly add to the error.
fn choose_steps(net: &mut Net, data: &Data<'_>, seed: u64, flow: &mut Flow, wanted: &mut Wanted) {
    let most = ADDED * error(net, data, seed, flow, wanted);
    let mut rounded = net.clone();
    for coarse in COARSE {
        for layer in net.layers.iter_mut().filter(|l| l.steps.is_some()) {
            let size = |v: &[f32]| (v.iter().map(|w| w * w).sum::<f32>() / v.len() as f32).sqrt();
            // Biases are few: finer steps cost nothing.
            let steps = [size(&layer.w) * coarse, size(&layer.w) * coarse * 0.25];
            layer.steps = Some(steps.map(|s| if s.is_normal() { s } else { 1.0 }));
        }
        snap(net, &mut rounded);
        if error(&rounded, data, seed, flow, wanted) <= most {
            break;
        }
    }
}

/// Gradients of half the weighted squared error, mean over the batch; returns twice that error.
#[inline(always)]
fn backward<S: Simd>(
    simd: S,
    net: &Net,
    flow: &Flow,
    wanted: &Wanted,
    back: &mut [Vec<Row>],
    memories: &mut [Memory],
) -> f32 {
    const SHARE: f32 = 1.0 / BATCH as f32;
    let last = net.layers.len() - 1;
    let y = &flow.h[last + 1][0];
    let mut error = 0.0;
    for k in 0..BATCH {
        let miss = y[k] - wanted.target[k];
        back[last][0][k] = SHARE * wanted.weight[k] * miss;
        error += SHARE * wanted.weight[k] * miss * miss;
    }
    for l in (0..=last).rev() {
        let layer = &net.layers[l];
        if layer.steps.is_none() {
            break;
        }
        outer(simd, &back[l], &flow.h[l], &mut memories[l].gradient);
        if l > 0 {
            let transposed = Layer {
                n_in: layer.n_out,
                n_out: layer.n_in,
                w: (0..layer.w.len()).map(|k| layer.w[k % layer.n_out * layer.n_in + k / layer.n_out]).collect(),
                b: vec![0.0; layer.n_in],
                ..layer.clone()
            };
            let (before, after) = back.split_at_mut(l);
            linear(simd, &transposed, &after[0], &mut before[l - 1]);
            for (d, z) in before[l - 1].iter_mut().zip(&flow.z[l - 1]) {
                match net.layers[l - 1].activation {
                    Activation::Sine => d.iter_mut().zip(z).for_each(|(d, z)| {
                        *d *= std::f32::consts::TAU * super::net::sine(*z + 0.25);
                    }),
                    Activation::Rectifier => {
                        d.iter_mut().zip(z).for_each(|(d, z)| *d = if *z > 0.0 { *d } else { 0.0 });
                    }
                    Activation::None => {}
                }
            }
        }
    }
    error
}

/// Sums over the batch of d h for every output and input, then of d for every output.
#[inline(always)]
fn outer<S: Simd>(simd: S, d: &[Row], h: &[Row], out: &mut [f32]) {
    const LANES: usize = 8;
    const TILE: usize = 4;
    let (n_out, n_in) = (d.len(), h.len());
    let sum = |v: f32x8<S>| ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
    for o in (0..n_out).step_by(2) {
        let rows = [&d[o], &d[(o + 1).min(n_out - 1)]];
        for i in (0..n_in).step_by(TILE) {
            let mut sums = [[f32x8::splat(simd, 0.0); 2]; TILE];
            for g in (0..BATCH).step_by(LANES) {
                let a = rows.map(|r| f32x8::from_slice(simd, &r[g..g + LANES]));
                for (k, sums) in sums.iter_mut().enumerate() {
                    let b = f32x8::from_slice(simd, &h[(i + k).min(n_in - 1)][g..g + LANES]);
                    sums[0] += a[0] * b;
                    sums[1] += a[1] * b;
                }
            }
            for (k, sums) in sums.iter().enumerate().take(n_in - i) {
                for (r, s) in sums.iter().enumerate().take(n_out - o) {
                    out[(o + r) * n_in + i + k] = sum(*s);
                }
            }
        }
    }
    for (out, d) in out[n_out * n_in..].iter_mut().zip(d) {
        *out = d.iter().sum();
    }
}

fn adam(net: &mut Net, memories: &mut [Memory], rate: f32, price: f32, step: usize) {
    let n = step.min(10_000) as i32 + 1;
    let correct = BETA.map(|b| 1.0 / (1.0 - b.powi(n)));
    for (layer, m) in net.layers.iter_mut().zip(memories) {
        let Some([step, _]) = layer.steps else { continue };
        let n_weights = layer.w.len();
        let weights = layer.w.iter_mut().chain(&mut layer.b);
        for (k, w) in weights.enumerate() {
            let pull = if k < n_weights && price > 0.0 { price * w.signum() / (step + w.abs()) } else { 0.0 };
            let g = m.gradient[k] + pull;
            m.mean[k] += (1.0 - BETA[0]) * (g - m.mean[k]);
            m.square[k] += (1.0 - BETA[1]) * (g * g - m.square[k]);
            *w -= rate * m.mean[k] * correct[0] / ((m.square[k] * correct[1]).sqrt() + 1e-8);
        }
    }
}
