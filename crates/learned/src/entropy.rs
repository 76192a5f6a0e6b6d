//! The third axis: the networks around y's probabilities, and its bits under them.
//!
//! # Shapes    y `[n, c, d, h, w]`, z `[n, hyper, d, h / 4, w / 4]`, parameters as `lithify_codec::learned::model::Hyperprior` has them
//! # Reference J. Balle et al., 2018 (hyperprior), doi:10.48550/arXiv.1802.01436; D. Minnen et al., 2018 (means),
//! doi:10.48550/arXiv.1809.02736; D. He et al., 2021 (checkerboard), doi:10.48550/arXiv.2103.15306; D. Minnen, S. Singh, 2020
//! (channel-wise), doi:10.48550/arXiv.2007.08739; Z. Cheng et al., 2020 (mixtures), doi:10.48550/arXiv.2001.01568

use burn_tensor::Tensor;
use lithify_codec::learned::graph::{Graph, Op};
use lithify_codec::learned::model::{self, Positions};

use crate::build::{Builder, leaky};
use crate::config::{self, EntropyKind, QuantizerKind};
use crate::error::Result;
use crate::forward;
use crate::likelihood::{self, PerChannel};
use crate::params::{Params, vector};
use crate::quantize::{self, Noise};

/// How y is coded.
#[derive(Debug, Clone)]
pub enum Entropy {
    /// A distribution for each channel.
    Factorized(PerChannel),
    /// Indices of code words.
    Words(config::Quantizer),
    /// One measured scale for each channel.
    Estimated,
    /// With a hyper-latent.
    Hyperprior(Box<Hyperprior>),
}

/// Networks of a hyperprior; all are real while they are trained.
#[derive(Debug, Clone)]
pub struct Hyperprior {
    /// Of each symbol.
    pub distribution: model::Distribution,
    /// Means are predicted.
    pub mean: bool,
    /// Components of a mixture.
    pub components: usize,
    /// y to z.
    pub h_a: Graph,
    /// z_hat to features.
    pub h_s: Graph,
    /// Of z.
    pub z: PerChannel,
    /// The order in which y is coded.
    pub passes: Vec<Pass>,
}

/// Some of y's symbols.
#[derive(Debug, Clone)]
pub struct Pass {
    /// First channel, and one after the last.
    pub channels: [usize; 2],
    /// Which positions.
    pub positions: Positions,
    /// Features and what is known of y_hat, to parameters; none: the features are the parameters.
    pub net: Option<Graph>,
}

/// y after the entropy model.
#[derive(Debug)]
pub struct Coded {
    /// What the decoder has.
    pub y_hat: Tensor<5>,
    /// Bits in all.
    pub bits: Tensor<1>,
    /// What else is minimised.
    pub loss: Option<Tensor<1>>,
}

/// Names of the networks of passes; more are not written.
const NETS: [&str; 32] = [
    "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11", "p12", "p13", "p14", "p15", "p16", "p17",
    "p18", "p19", "p20", "p21", "p22", "p23", "p24", "p25", "p26", "p27", "p28", "p29", "p30", "p31",
];

/// Writes the networks; `deviations` are those of y's channels, at the first rate.
pub fn build(config: &config::Config, deviations: &[f64], params: &mut Params, rng: &mut fastrand::Rng) -> Entropy {
    let (e, volume) = (&config.entropy, config.transform.volume);
    let latents = deviations.len();
    let binary = config.quantizer.kind == QuantizerKind::Binary;
    match e.kind {
        EntropyKind::Factorized if config.quantizer.kind == QuantizerKind::Vector => {
            words(&config.quantizer, deviations, params, rng);
            return Entropy::Words(config.quantizer.clone());
        }
        // Bits are symbols 0 and 1.
        EntropyKind::Factorized if binary => {
            return Entropy::Factorized(PerChannel::new("y", &vec![1.0; latents], params));
        }
        EntropyKind::Factorized => return Entropy::Factorized(PerChannel::new("y", deviations, params)),
        EntropyKind::Laplacian => return Entropy::Estimated,
        _ => {}
    }
    let mean = e.kind != EntropyKind::ScaleHyperprior;
    let components = if e.kind == EntropyKind::Mixture { e.components } else { 1 };
    let distribution = match (binary, e.distribution) {
        (true, _) => model::Distribution::Bernoulli,
        (_, config::Distribution::Gaussian) => model::Distribution::Gaussian,
        (_, config::Distribution::Laplacian) if components == 1 => model::Distribution::Laplacian,
        _ => model::Distribution::Gaussian,
    };
    let slices = match (e.kind, e.slices) {
        (EntropyKind::ChannelWise, 0) => 4,
        (EntropyKind::ChannelWise | EntropyKind::Checkerboard, n) => n.max(1),
        _ => 1,
    };
    let context = matches!(e.kind, EntropyKind::ChannelWise | EntropyKind::Checkerboard);
    let mut net = Builder::new("h_a", params, rng, volume);
    let h_a = vec![
        net.conv(latents, e.hidden, 3, 1),
        leaky(),
        net.conv(e.hidden, e.hidden, 3, 2),
        leaky(),
        net.conv(e.hidden, e.hyper, 3, 2),
    ];
    let mut net = Builder::new("h_s", params, rng, volume);
    let mut h_s = net.up(e.hyper, e.hidden, 3);
    h_s.push(leaky());
    h_s.extend(net.up(e.hidden, e.hidden, 3));
    h_s.push(leaky());
    if !context {
        h_s.push(head(&mut net, e.hidden, [0, latents], deviations, components, mean, binary));
    }
    let z = PerChannel::new("z", &vec![2.0; e.hyper], params);
    let mut passes = Vec::new();
    for slice in 0..slices {
        let channels = [slice * latents / slices, (slice + 1) * latents / slices];
        let positions = match e.kind {
            EntropyKind::Checkerboard => vec![Positions::Even, Positions::Odd],
            _ => vec![Positions::All],
        };
        for positions in positions {
            let net = context.then(|| {
                let mut net = Builder::new(NETS[passes.len()], params, rng, volume);
                vec![
                    net.conv(e.hidden + latents, e.hidden, 3, 1),
                    leaky(),
                    head(&mut net, e.hidden, channels, deviations, components, mean, binary),
                ]
            });
            passes.push(Pass { channels, positions, net });
        }
    }
    Entropy::Hyperprior(Box::new(Hyperprior { distribution, mean, components, h_a, h_s, z, passes }))
}

/// The last layer before parameters: it begins with each channel's own deviation, whatever the features say.
fn head(
    net: &mut Builder<'_>,
    from: usize,
    [a, b]: [usize; 2],
    deviations: &[f64],
    components: usize,
    mean: bool,
    binary: bool,
) -> Op {
    let n = b - a;
    let own = |k: usize| -> Vec<f32> {
        // Components of a mixture begin at different widths.
        let width = 2.0_f64.powi(k as i32 * 2 - (components as i32 - 1));
        deviations[a..b].iter().map(|d| if binary { 31.5 } else { likelihood::scale_index(d * width) as f32 }).collect()
    };
    let mut bias = vec![
        0.0;
        if components > 1 {
            2 * components * n
        } else if mean {
            n
        } else {
            0
        }
    ];
    (0..components).for_each(|k| bias.extend(own(k)));
    let to = bias.len();
    net.conv_given(&[to, from, 1, 1, 1], vec![0.0; to * from], bias, 1, 1)
}

fn words(q: &config::Quantizer, deviations: &[f64], params: &mut Params, rng: &mut fastrand::Rng) {
    let groups = deviations.len() / q.dimension;
    let mut codebook = Vec::with_capacity(q.stages * groups * q.codewords * q.dimension);
    for stage in 0..q.stages {
        // Each stage corrects the one before.
        let width = 0.4_f64.powi(stage as i32) * 3.0_f64.sqrt();
        for group in 0..groups {
            for _ in 0..q.codewords {
                for i in 0..q.dimension {
                    codebook.push(((rng.f64() * 2.0 - 1.0) * width * deviations[group * q.dimension + i]) as f32);
                }
            }
        }
    }
    params.set("vq.codebook", &[q.stages, groups, q.codewords, q.dimension], codebook);
    params.set("vq.logits", &[q.stages * groups, q.codewords], vec![0.0; q.stages * groups * q.codewords]);
}

impl Entropy {
    /// Codes y (times its gain).
    ///
    /// # Errors
    /// A tensor is missing.
    pub fn code(&self, y: Tensor<5>, params: &Params, binary: bool, mut noise: Noise<'_>) -> Result<Coded> {
        match self {
            Self::Words(q) => {
                let c = quantize::vector_coded(y, q, params)?;
                Ok(Coded { y_hat: c.y_hat, bits: c.bits, loss: Some(c.loss) })
            }
            Self::Factorized(channels) if binary => {
                let u = quantize::bit(y);
                let bits = channels.bits(u.clone(), params)?.sum();
                Ok(Coded { y_hat: u * 2.0 - 1.0, bits, loss: None })
            }
            Self::Factorized(channels) => {
                let y_hat = quantize::cheaper(y.clone(), |v| channels.bits(v, params))?;
                let bits = channels.bits(quantize::for_rate(y, &y_hat, &mut noise), params)?.sum();
                Ok(Coded { y_hat, bits, loss: None })
            }
            Self::Estimated => {
                let bits =
                    |v: Tensor<5>, index: Tensor<5>| likelihood::scaled(v, index, model::Distribution::Laplacian);
                let first = measured(quantize::round(y.clone()));
                let y_hat = quantize::cheaper(y.clone(), |v| Ok(bits(v, first.clone())))?;
                let seen = quantize::for_rate(y.clone(), &y_hat, &mut noise);
                let [n, c, ..] = y.dims();
                // Each scale is written, too.
                let scales = f64::from(model::N_SCALES.ilog2()) * (n * c) as f64;
                let bits = bits(seen.clone(), measured(seen)).sum() + scales;
                Ok(Coded { y_hat, bits, loss: None })
            }
            Self::Hyperprior(h) => h.code(y, params, noise),
        }
    }
}

impl Hyperprior {
    fn code(&self, y: Tensor<5>, params: &Params, mut noise: Noise<'_>) -> Result<Coded> {
        let z = forward::run(&self.h_a, params, y.clone(), None)?;
        let z_hat = quantize::round(z.clone());
        let mut bits = self.z.bits(quantize::for_rate(z, &z_hat, &mut noise), params)?.sum();
        let features = forward::run(&self.h_s, params, z_hat, None)?;
        let mut known = y.zeros_like();
        for pass in &self.passes {
            let parameters = match &pass.net {
                None => features.clone(),
                Some(net) => forward::run(net, params, Tensor::cat(vec![features.clone(), known.clone()], 1), None)?,
            };
            let [a, b] = pass.channels;
            let here = y.clone().narrow(1, a, b - a);
            let (hat, cost) = self.symbols(here, parameters, &mut noise)?;
            let (hat, cost) = match positions(pass.positions, hat.dims(), &hat) {
                None => (hat, cost),
                Some(mask) => (hat * mask.clone(), cost * mask),
            };
            bits = bits + cost.sum();
            known = known + in_channels(hat, a, y.dims()[1]);
        }
        Ok(Coded { y_hat: known, bits, loss: None })
    }

    /// y_hat of a pass' channels, and bits.
    fn symbols(&self, y: Tensor<5>, parameters: Tensor<5>, noise: &mut Noise<'_>) -> Result<(Tensor<5>, Tensor<5>)> {
        let n = y.dims()[1];
        let part = |i: usize| parameters.clone().narrow(1, i * n, n);
        if self.distribution == model::Distribution::Bernoulli {
            let u = quantize::bit(y);
            return Ok((u.clone() * 2.0 - 1.0, likelihood::bernoulli(u, part(0))));
        }
        if self.components > 1 {
            let k = self.components;
            let parts = |from: usize| (from..from + k).map(part).collect::<Vec<_>>();
            let hat = quantize::round(y.clone());
            let cost = quantize::for_rate(y, &hat, noise);
            return Ok((hat, likelihood::mixture(cost, &parts(0), &parts(k), &parts(2 * k))));
        }
        let (mean, index) = if self.mean { (part(0), part(1)) } else { (y.zeros_like(), part(0)) };
        let bits = |v: Tensor<5>| likelihood::scaled(v, index.clone(), self.distribution);
        let rest = y - mean.clone();
        let hat = quantize::cheaper(rest.clone(), |v| Ok(bits(v)))?;
        let cost = bits(quantize::for_rate(rest, &hat, noise));
        Ok((hat + mean, cost))
    }
}

/// Index of the scale that an encoder would measure of each channel of each image.
fn measured(v: Tensor<5>) -> Tensor<5> {
    // Rounding, and noise, add a twelfth to the variance.
    let variance = v.square().mean_dims(&[2, 3, 4]) - 1.0 / 12.0;
    (variance.clamp_min(1e-4).sqrt() / model::SCALES.0).log() / likelihood::scale_step()
}

/// 1 at the positions, by depth + row + column.
fn positions(which: Positions, [_, _, d, h, w]: [usize; 5], like: &Tensor<5>) -> Option<Tensor<5>> {
    let odd = match which {
        Positions::All => return None,
        Positions::Even => 0,
        Positions::Odd => 1,
    };
    let mask = (0..d * h * w).map(|i| if (i / (h * w) + i / w % h + i % w) % 2 == odd { 1.0 } else { 0.0 }).collect();
    Some(vector(mask, &like.device()).reshape([1, 1, d, h, w]))
}

/// Zeros in the channels around.
fn in_channels(x: Tensor<5>, first: usize, all: usize) -> Tensor<5> {
    let [n, c, d, h, w] = x.dims();
    let zeros = |channels: usize| Tensor::<5>::zeros([n, channels, d, h, w], &x.device());
    let mut parts = Vec::new();
    if first > 0 {
        parts.push(zeros(first));
    }
    let after = all - first - c;
    let tail = (after > 0).then(|| zeros(after));
    parts.push(x);
    parts.extend(tail);
    Tensor::cat(parts, 1)
}
