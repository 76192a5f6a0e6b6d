//! The second axis: what stands for rounding while gradients flow.
//!
//! # Maths     straight through: x + stop(q(x) - x); noise: x + u, u uniform in [-1/2, 1/2)
//! # Reference D. Minnen, S. Singh, Channel-wise autoregressive entropy models for learned image compression, 2020 (noise for the rate,
//! straight through for the distortion), doi:10.48550/arXiv.2007.08739; A. van den Oord et al., Neural discrete representation
//! learning, 2017, doi:10.48550/arXiv.1711.00937

use burn_tensor::{Tensor, activation};
use lithify_codec::learned::latents::WORTH;

use crate::config;
use crate::error::Result;
use crate::params::{Params, vector};

/// Where noise comes from; without it, values are rounded.
pub type Noise<'a> = Option<&'a mut fastrand::Rng>;

/// Rounded values with the gradient of the values.
pub fn round(x: Tensor<5>) -> Tensor<5> {
    let rounded = x.clone().detach().round();
    x.clone() + (rounded - x.detach())
}

/// What encoders choose: the nearest whole number, or the next one towards 0 where bits and error together are less for that; with the
/// gradient of the values.
///
/// # Errors
/// Those of `bits`.
pub fn cheaper(x: Tensor<5>, bits: impl Fn(Tensor<5>) -> Result<Tensor<5>>) -> Result<Tensor<5>> {
    let fixed = x.clone().detach();
    let nearest = fixed.clone().round();
    let lower = nearest.clone() - nearest.clone().sign();
    let cost = |s: &Tensor<5>| -> Result<_> { Ok(bits(s.clone())? + (fixed.clone() - s.clone()).square() * WORTH) };
    let spared = cost(&lower)?.lower(cost(&nearest)?).float();
    Ok(x + (nearest.clone() + (lower - nearest) * spared - fixed))
}

/// What the rate is estimated from: values with noise, or those quantized.
pub fn for_rate(x: Tensor<5>, quantized: &Tensor<5>, noise: &mut Noise<'_>) -> Tensor<5> {
    match noise {
        None => quantized.clone(),
        Some(rng) => {
            let shape = x.dims();
            let u = (0..shape.iter().product::<usize>()).map(|_| rng.f32() - 0.5).collect();
            let u: Tensor<5> = vector(u, &x.device()).reshape(shape);
            x + u
        }
    }
}

/// Bits 0 and 1 of positive values, with the gradient of values between -1 and 1.
pub fn bit(x: Tensor<5>) -> Tensor<5> {
    let soft = (activation::hardtanh(x.clone(), -1.0, 1.0) + 1.0) * 0.5;
    let hard = x.detach().greater_elem(0.0).float();
    soft.clone() + (hard - soft.detach())
}

/// What vector quantization makes of y.
#[derive(Debug)]
pub struct Coded {
    /// y_hat, with the gradient of y.
    pub y_hat: Tensor<5>,
    /// Bits in all.
    pub bits: Tensor<1>,
    /// How far code words and y lie apart, weighted; part of the loss.
    pub loss: Tensor<1>,
}

/// Residual vector quantization with code words `vq.codebook` `f32[stages, groups, words, dimension]` and their use `vq.logits`
/// `f32[stages groups, words]`.
///
/// # Errors
/// A tensor is missing.
pub fn vector_coded(y: Tensor<5>, config: &config::Quantizer, params: &Params) -> Result<Coded> {
    let [n, c, d, h, w] = y.dims();
    let (dim, words) = (config.dimension, config.codewords);
    let (groups, at) = (c / dim, n * d * h * w);
    let codebook = params.tensor::<4>("vq.codebook")?;
    let price = activation::log_softmax(params.tensor::<2>("vq.logits")?, 1) * -std::f64::consts::LOG2_E;
    // [groups, positions, dimension]
    let flat: Tensor<3> =
        y.clone().reshape([n, groups, dim, d * h * w]).permute([1, 0, 3, 2]).reshape([groups, at, dim]);
    let mut rest = flat.clone();
    let mut sum = flat.zeros_like();
    let mut bits = price.clone().sum() * 0.0;
    for stage in 0..config.stages {
        let words_here: Tensor<3> = codebook.clone().narrow(0, stage, 1).reshape([groups, words, dim]);
        let lengths = words_here.clone().square().sum_dim(2).swap_dims(1, 2);
        let distance =
            rest.clone().square().sum_dim(2) + lengths - rest.clone().matmul(words_here.clone().swap_dims(1, 2)) * 2.0;
        let nearest = distance.clone().detach().argmin(2);
        let index = nearest.expand([groups, at, words]);
        let counting: Tensor<1, burn_tensor::Int> = Tensor::arange(0..words as i64, &y.device());
        let hard = counting.reshape([1, 1, words]).expand([groups, at, words]).equal(index).float();
        let soft = activation::softmax(distance.neg(), 2);
        let choice = soft.clone() + (hard.clone() - soft.detach());
        let here: Tensor<3> = price.clone().narrow(0, stage * groups, groups).reshape([groups, 1, words]);
        bits = bits + (choice * here).sum();
        let found = hard.matmul(words_here);
        rest = rest - found.clone().detach();
        sum = sum + found;
    }
    let codebook_loss = (flat.clone().detach() - sum.clone()).square().mean();
    let commitment = (flat.clone() - sum.clone().detach()).square().mean() * config.commitment;
    let through = flat.clone() + (sum - flat).detach();
    let y_hat = through.reshape([groups, n, d * h * w, dim]).permute([1, 0, 3, 2]).reshape([n, c, d, h, w]);
    Ok(Coded { y_hat, bits, loss: codebook_loss + commitment })
}
