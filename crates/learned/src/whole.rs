//! Networks of integers from trained ones, for what decides probabilities.
//!
//! # Maths     activations X = x 2^f. A convolution's row o gets whole weights W = round(w S), S as large as 32-bit sums allow; then
//!             OUT = (sum W X + b 2^f S) / S, and 1 / S is a multiplier and a shift
//! # Reference J. Balle, N. Johnston, D. Minnen, Integer networks for data compression with latent-variable models, 2019 (why)

use burn_tensor::Tensor;
use lithify_codec::learned::graph::{Graph, LIMIT, Op};
use lithify_codec::learned::model;
use lithify_codec::learned::tensor as portable;

use crate::codec::{Codec, samples};
use crate::data::Corpus;
use crate::entropy::Hyperprior;
use crate::error::{Error, Result};
use crate::export::tables;
use crate::forward;
use crate::params::{Params, floats};
use crate::quantize;

/// Tiles that tell how large activations become.
const TILES: usize = 8;
/// Bits behind the point: as many as the activations leave room for, between these.
const FRACTION: (u32, u32) = (4, 8);
/// Room for activations that the tiles do not show.
const ROOM: f64 = 2.0;

/// The hyperprior of a model file; its integer tensors go to `tensors`.
///
/// # Errors
/// A tensor is missing.
pub fn hyperprior(codec: &Codec, h: &Hyperprior, corpus: &Corpus, tensors: &mut portable::Tensors) -> Result<model::Entropy> {
    let params = codec.params.frozen();
    let largest = largest_activation(&codec.frozen(), h, corpus)?;
    let fits = |f: &u32| largest * ROOM * f64::from(1_u32 << f) < f64::from(LIMIT);
    let fraction = (FRACTION.0..=FRACTION.1).rev().find(fits).unwrap_or(FRACTION.0);
    let mut whole = |graph: &Graph| integers(graph, &params, fraction, tensors);
    let h_s = whole(&h.h_s)?;
    let passes = h
        .passes
        .iter()
        .map(|p| {
            let net = p.net.as_ref().map(&mut whole).transpose()?;
            Ok(model::Pass { channels: p.channels, positions: p.positions, net })
        })
        .collect::<Result<Vec<_>>>()?;
    let rows = h.z.tables(&params)?;
    Ok(model::Entropy::Hyperprior(Box::new(model::Hyperprior {
        distribution: h.distribution,
        mean: h.mean,
        components: h.components,
        h_a: h.h_a.clone(),
        h_s,
        z: tables("z", &rows, tensors),
        fraction,
        passes,
    })))
}

/// The largest number that the networks meet on some training tiles, at any rate.
fn largest_activation(codec: &Codec, h: &Hyperprior, corpus: &Corpus) -> Result<f64> {
    let tile = codec.config.data.tile;
    let mut rng = fastrand::Rng::with_seed(codec.config.train.seed);
    let mut largest = 1.0_f64;
    let mut see = |x: &Tensor<5>| {
        let found = floats(x.clone().abs().max()).first().map_or(0.0, |v| f64::from(*v));
        largest = largest.max(found);
    };
    for _ in 0..TILES {
        let batch = corpus.batch(1, tile, false, &mut rng);
        for rate in 0..codec.config.objective.lambda.len() {
            let y_hat = codec.run(samples(&batch, codec.params.device()), rate, None)?.y_hat;
            let z = quantize::round(forward::run(&h.h_a, &codec.params, y_hat.clone(), None)?);
            see(&z);
            let mut features = z;
            for op in &h.h_s {
                features = forward::run(std::slice::from_ref(op), &codec.params, features, None)?;
                see(&features);
            }
            for net in h.passes.iter().filter_map(|p| p.net.as_ref()) {
                let mut x = Tensor::cat(vec![features.clone(), y_hat.clone()], 1);
                for op in net {
                    x = forward::run(std::slice::from_ref(op), &codec.params, x, None)?;
                    see(&x);
                }
            }
        }
    }
    Ok(largest)
}

/// The same network in integers.
fn integers(graph: &Graph, params: &Params, fraction: u32, tensors: &mut portable::Tensors) -> Result<Graph> {
    graph
        .iter()
        .map(|op| {
            Ok(match op {
                Op::Conv { weight, bias, stride, groups } => {
                    convolution(weight, bias.as_deref(), *stride, *groups, params, fraction, tensors)?
                }
                Op::LeakyRelu { slope } if *slope == 0.0 => Op::Relu,
                Op::LeakyRelu { slope } => Op::Ileaky { shift: (-slope.log2()).round() as u32 },
                Op::Residual { body } => Op::Residual { body: integers(body, params, fraction, tensors)? },
                Op::Concat { branches } => {
                    let branches = branches.iter().map(|b| integers(b, params, fraction, tensors));
                    Op::Concat { branches: branches.collect::<Result<_>>()? }
                }
                Op::Relu | Op::Shuffle { .. } | Op::Unshuffle { .. } => op.clone(),
                _ => return Err(Error::Config("this op has no form in integers".into())),
            })
        })
        .collect()
}

/// Sums stay below this, so that 32 bits hold them.
const SUM: f64 = ((1_u64 << 31) - (1 << 20)) as f64;
/// Multipliers stay below this.
const MULTIPLIER: f64 = (1_u64 << 30) as f64;
/// The largest shift.
const SHIFT: u32 = 46;

fn convolution(
    weight: &str,
    bias: Option<&str>,
    stride: [usize; 3],
    groups: usize,
    params: &Params,
    fraction: u32,
    tensors: &mut portable::Tensors,
) -> Result<Op> {
    let shape = params.tensor::<5>(weight)?.dims();
    let w: Vec<f64> = params.values(weight)?.into_iter().map(f64::from).collect();
    let one = f64::from(1_u32 << fraction);
    let b: Vec<f64> = match bias {
        Some(name) => params.values(name)?.into_iter().map(|v| f64::from(v) * one).collect(),
        None => vec![0.0; shape[0]],
    };
    let rows: Vec<&[f64]> = w.chunks_exact(w.len() / shape[0]).collect();
    let sizes: Vec<f64> = rows
        .iter()
        .zip(&b)
        .map(|(row, b)| {
            // Rounding may add one half for each weight.
            let most = row.iter().map(|v| v.abs()).sum::<f64>() * f64::from(LIMIT) + b.abs();
            let room = SUM - 0.5 * row.len() as f64 * f64::from(LIMIT);
            let largest = row.iter().fold(1e-9_f64, |m, v| m.max(v.abs()));
            (room / most.max(1e-9)).min(f64::from(i16::MAX) / largest).min(MULTIPLIER)
        })
        .collect();
    // All rows share a shift: as large as the largest multiplier allows.
    let smallest = sizes.iter().copied().fold(f64::MAX, f64::min);
    let shift = (1..=SHIFT).rev().find(|s| (2.0_f64).powi(*s as i32) / smallest < MULTIPLIER).unwrap_or(1);
    let whole = |v: f64| v.round() as i32;
    let weights = rows.iter().zip(&sizes).flat_map(|(row, s)| row.iter().map(move |v| (v * s).round() as i16)).collect();
    let biases = b.iter().zip(&sizes).map(|(b, s)| whole(b * s)).collect();
    let multipliers = sizes.iter().map(|s| whole(2.0_f64.powi(shift as i32) / s)).collect();
    let names = [weight.to_string(), format!("{weight}.bias"), format!("{weight}.multiplier")];
    tensors.insert(names[0].clone(), portable::Tensor::i16(&shape, weights));
    tensors.insert(names[1].clone(), portable::Tensor::i32(&[shape[0]], biases));
    tensors.insert(names[2].clone(), portable::Tensor::i32(&[shape[0]], multipliers));
    let [weight, bias, multiplier] = names;
    Ok(Op::Iconv { weight, bias, multiplier, shift, stride, groups })
}
