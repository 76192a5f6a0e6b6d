//! The hyperprior of a model file: networks of integers from trained ones, with as many fraction bits as their activations allow.

use burn_tensor::Tensor;
use lithify_codec::learned::activation::Activation;
use lithify_codec::learned::model;
use lithify_codec::learned::quantise::{fraction, quantise};
use lithify_codec::learned::tensor as portable;

use crate::codec::{Codec, samples};
use crate::data::Corpus;
use crate::entropy::Hyperprior;
use crate::error::Result;
use crate::export::tables;
use crate::forward;
use crate::params::floats;
use crate::quantize;

/// Training tiles that tell how large activations become.
const TILES: usize = 8;

/// Its card; the integer tensors go to `tensors`.
///
/// # Errors
/// A tensor is missing, or has no form in integers.
pub fn hyperprior(
    codec: &Codec,
    h: &Hyperprior,
    corpus: &Corpus,
    tensors: &mut portable::Tensors,
) -> Result<model::Entropy> {
    let codec = codec.frozen();
    let real = codec.params.portable();
    let (z, known) = inputs(&codec, h, corpus)?;
    let nets = h.passes.iter().filter_map(|p| p.net.as_ref());
    let of_nets = nets.map(|net| Ok(fraction(net, &real, &known)?)).collect::<Result<Vec<u32>>>()?;
    let fraction = of_nets.into_iter().fold(fraction(&h.h_s, &real, &z)?, u32::min);
    let h_s = quantise(&h.h_s, &real, fraction, "h_s", tensors)?;
    let mut passes = Vec::new();
    for (i, p) in h.passes.iter().enumerate() {
        let net = match &p.net {
            Some(net) => Some(quantise(net, &real, fraction, &format!("pass{i}"), tensors)?),
            None => None,
        };
        passes.push(model::Pass { channels: p.channels, positions: p.positions, net });
    }
    let rows = h.z.tables(&codec.params)?;
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

type Inputs = Vec<Activation<f32>>;

/// What h_s and what the nets of passes are given, for some training tiles at every rate.
fn inputs(codec: &Codec, h: &Hyperprior, corpus: &Corpus) -> Result<(Inputs, Inputs)> {
    let mut rng = fastrand::Rng::with_seed(codec.config.train.seed);
    let (mut z_hats, mut knowns) = (Vec::new(), Vec::new());
    for _ in 0..TILES {
        let batch = corpus.batch(1, codec.config.data.tile, false, &mut rng);
        for rate in 0..codec.config.objective.lambda.len() {
            let y_hat = codec.run(samples(&batch, codec.params.device()), rate, None)?.y_hat;
            let z_hat = quantize::round(forward::run(&h.h_a, &codec.params, y_hat.clone(), None)?);
            let features = forward::run(&h.h_s, &codec.params, z_hat.clone(), None)?;
            z_hats.push(portable(z_hat));
            if h.passes.iter().any(|p| p.net.is_some()) {
                knowns.push(portable(Tensor::cat(vec![features, y_hat], 1)));
            }
        }
    }
    Ok((z_hats, knowns))
}

/// The one image of a batch, for the portable executor.
fn portable(x: Tensor<5>) -> Activation<f32> {
    let [_, c, d, h, w] = x.dims();
    Activation { shape: [c, d, h, w], data: floats(x) }
}
