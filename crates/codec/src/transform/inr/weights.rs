//! A network's weights: whole multiples of a step for each layer, coded under the sizes of those before.
//!
//! # Maths      w = k step; contexts: the layer, sizes of the last two weights, that of the same weight of the output before
//! # On the wire `varint` hidden layers, width, flags; `f32 frequency`; `varint n`, n of `f32 offset`, `f32 scale`; `f32` steps of weights and
//! biases of each layer that is learned; range-coded k, weights then biases, layer by layer

use super::net::{Activation, Layer, Net};
use super::train::random;
use crate::bits::{Reader, Writer};
use crate::entropy::{BinaryCoder, Decoder, Encoder, IntModel};
use crate::error::{Error, Result};

/// Most hidden layers and neurons.
const MAX_LAYERS: usize = 8;
const MAX_WIDTH: usize = 512;
/// Larger multiples are not written.
const MAX_MULTIPLE: f32 = 1_048_576.0;
const FOURIER: usize = 1;

/// How a network is built.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Form {
    /// Coordinates.
    pub n_in: usize,
    /// Neurons of a hidden layer.
    pub width: usize,
    /// Hidden layers.
    pub layers: usize,
    /// Fixed random frequencies, then rectifiers.
    pub fourier: bool,
    /// Of the first layer, radians.
    pub frequency: f32,
}

impl Form {
    /// Layers with weights of zero, the first one of Fourier features aside.
    pub fn net(&self) -> Net {
        let inner = if self.fourier { Activation::Rectifier } else { Activation::Sine };
        let n_layers = self.layers + 1;
        let layers = (0..n_layers).map(|l| {
            let n_in = if l == 0 { self.n_in } else { self.width };
            let n_out = if l + 1 == n_layers { 1 } else { self.width };
            let mut layer = Layer {
                n_in,
                n_out,
                w: vec![0.0; n_in * n_out],
                b: vec![0.0; n_out],
                activation: match l {
                    0 => Activation::Sine,
                    _ if l + 1 == n_layers => Activation::None,
                    _ => inner,
                },
                steps: Some([1.0; 2]),
            };
            if l == 0 && self.fourier {
                // Sums of three uniform numbers are nearly normal. A quarter of a turn more for every second one: sines and cosines.
                let mut seed = 1;
                let turns = self.frequency / std::f32::consts::TAU;
                layer.w.iter_mut().for_each(|w| *w = turns * (0..3).map(|_| random(&mut seed)).sum::<f32>());
                layer.b.iter_mut().skip(1).step_by(2).for_each(|b| *b = 0.25);
                layer.steps = None;
            }
            layer
        });
        Net { layers: layers.collect(), scales: vec![[0.0, 1.0]] }
    }
}

/// Multiples of a step.
pub fn multiple(w: f32, step: f32) -> f32 {
    let k = (w / step).round_ties_even();
    if k.abs() <= MAX_MULTIPLE { k } else { 0.0 }
}

/// Codes all weights in place: a decoder's are overwritten.
fn code<C: BinaryCoder>(c: &mut C, net: &mut Net) {
    let mut model = IntModel::new(&[16, 12 * 12, 12 * 2], 2 * 9, 20);
    let class = |k: i64| (64 - k.unsigned_abs().leading_zeros()).min(11) as usize;
    for (l, layer) in net.layers.iter_mut().enumerate() {
        let Some(steps) = layer.steps else { continue };
        for (kind, (weights, row)) in [(&mut layer.w, layer.n_in), (&mut layer.b, layer.n_out)].into_iter().enumerate()
        {
            let mut before: Vec<i64> = Vec::with_capacity(weights.len());
            for i in 0..weights.len() {
                let back = |n: usize| i.checked_sub(n).map_or(0, |j| before[j]);
                let contexts = [
                    2 * l.min(7) + kind,
                    class(back(1)) * 12 + class(back(2)),
                    class(if kind == 0 { back(row) } else { 0 }) * 2 + kind,
                ];
                let k = model.code(c, multiple(weights[i], steps[kind]) as i64, &contexts, 2 * l.min(8) + kind);
                weights[i] = k as f32 * steps[kind];
                before.push(k);
            }
        }
    }
}

/// Writes a network and returns it as a reader will have it.
pub fn write(form: &Form, net: &Net, w: &mut Writer) -> Net {
    let mut net = net.clone();
    [form.layers, form.width, if form.fourier { FOURIER } else { 0 }].into_iter().for_each(|v| w.varint(v as u64));
    w.f32(form.frequency);
    w.varint(net.scales.len() as u64);
    for s in net.scales.as_flattened_mut() {
        w.f32(*s as f32);
        *s = f64::from(*s as f32);
    }
    net.layers.iter().filter_map(|l| l.steps).for_each(|steps| steps.into_iter().for_each(|s| w.f32(s)));
    let mut coder = Encoder::new();
    code(&mut coder, &mut net);
    w.bytes.extend(coder.finish());
    net
}

/// The inverse of [`write`], for samples with `n_in` coordinates in `n_slices` slices.
pub fn read(src: &mut Reader<'_>, n_in: usize, n_slices: usize) -> Result<Net> {
    let layers = src.count("layers", MAX_LAYERS)?;
    let width = src.count("neurons", MAX_WIDTH)?;
    let fourier = src.count("flags", FOURIER)? > 0;
    let form = Form { n_in, width, layers, fourier, frequency: src.f32()? };
    let n_scales = src.count("slices", n_slices.max(1))?;
    let bad = || Error::corrupt("inr", "such a network is not possible");
    if layers == 0 || width == 0 || !form.frequency.is_finite() || (n_scales != 1 && n_scales != n_slices) {
        return Err(bad());
    }
    let mut net = form.net();
    net.scales = (0..n_scales).map(|_| Ok([f64::from(src.f32()?), f64::from(src.f32()?)])).collect::<Result<_>>()?;
    for steps in net.layers.iter_mut().filter_map(|l| l.steps.as_mut()) {
        for s in steps {
            *s = src.f32()?;
            if !(*s > 0.0 && s.is_finite()) {
                return Err(bad());
            }
        }
    }
    let mut coder = Decoder::new(src.rest());
    code(&mut coder, &mut net);
    coder.finish("inr")?;
    Ok(net)
}
