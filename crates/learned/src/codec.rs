//! A codec while it is trained: its networks, its weights, and what they make of a batch.

use burn_tensor::{Device, Tensor};
use lithify_codec::learned::graph::Graph;

use crate::config::{Config, QuantizerKind};
use crate::data::{Batch, Corpus};
use crate::entropy::{self, Entropy};
use crate::error::Result;
use crate::forward;
use crate::linear::Sample;
use crate::params::{Params, vector};
use crate::quantize::Noise;
use crate::transform::{self, Pair, Site};

/// Networks and weights.
#[derive(Debug, Clone)]
pub struct Codec {
    /// What was asked for.
    pub config: Config,
    /// g_a and g_s.
    pub pair: Pair,
    /// Around the probabilities.
    pub entropy: Entropy,
    /// Everything that is learned; `gain` `f32[rates, latents]` holds logarithms.
    pub params: Params,
}

/// What a codec makes of a batch.
#[derive(Debug)]
pub struct Output {
    /// Reconstruction.
    pub x_hat: Tensor<5>,
    /// Latents as the decoder has them, before their gain is taken off.
    pub y_hat: Tensor<5>,
    /// Bits of the batch.
    pub bits: Tensor<1>,
    /// What the quantizer wants minimised.
    pub loss: Option<Tensor<1>>,
}

/// A batch's samples on a device.
pub fn samples(batch: &Batch, device: &Device) -> Tensor<5> {
    vector(batch.samples.clone(), device).reshape(batch.shape)
}

impl Codec {
    /// Writes the networks and draws or works out their first weights.
    ///
    /// # Errors
    /// Those of the data's statistics.
    pub fn new(config: &Config, corpus: &Corpus, device: &Device) -> Result<Self> {
        let mut rng = fastrand::Rng::with_seed(config.train.seed);
        let mut params = Params::new(device);
        let sample = Sample::draw(corpus, config.data.tile, &mut rng);
        let site = Site { config: &config.transform, sample: &sample, params: &mut params, rng: &mut rng };
        let pair = transform::build(site)?;
        let raw = sample.deviations(&pair.g_a, &params)?;
        // The middle of the rates, where probabilities start.
        let rates: Vec<f64> = config.objective.lambda.iter().map(|l| first_gain(config, *l)).collect();
        let middle = rates.iter().map(|g| g.ln()).sum::<f64>() / rates.len() as f64;
        let deviations: Vec<f64> = raw.iter().map(|d| d * middle.exp()).collect();
        let gains = rates.iter().flat_map(|g| std::iter::repeat_n(g.ln() as f32, raw.len())).collect();
        params.set("gain", &[rates.len(), raw.len()], gains);
        let entropy = entropy::build(config, &deviations, &mut params, &mut rng);
        Ok(Self { config: config.clone(), pair, entropy, params })
    }

    /// Runs everything at one of the rates; `seen` is what g_a sees of x. Without noise, values are rounded.
    ///
    /// # Errors
    /// A tensor is missing.
    pub fn run(&self, seen: Tensor<5>, rate: usize, noise: Noise<'_>) -> Result<Output> {
        let binary = self.config.quantizer.kind == QuantizerKind::Binary;
        let gain = self.gain(rate)?;
        let y = forward::run(&self.pair.g_a, &self.params, seen, None)? * gain.clone();
        let coded = self.entropy.code(y, &self.params, binary, noise)?;
        let x_hat = forward::run(&self.pair.g_s, &self.params, coded.y_hat.clone() / gain, None)?;
        Ok(Output { x_hat, y_hat: coded.y_hat, bits: coded.bits, loss: coded.loss })
    }

    fn gain(&self, rate: usize) -> Result<Tensor<5>> {
        let all = self.params.tensor::<2>("gain")?;
        let latents = all.dims()[1];
        let row: Tensor<5> = all.narrow(0, rate, 1).reshape([1, latents, 1, 1, 1]);
        // Only the uniform quantizer has steps to choose.
        Ok(if self.config.quantizer.kind == QuantizerKind::Uniform { row.exp() } else { row.detach().exp() })
    }

    /// g_a, for those who only want features.
    pub fn analysis(&self) -> &Graph {
        &self.pair.g_a
    }

    /// The same without gradients.
    pub fn frozen(&self) -> Self {
        Self { params: self.params.frozen(), ..self.clone() }
    }
}

/// Where the slope of bits against squared error of fine uniform quantization is lambda: steps of sqrt(6 / (lambda ln 2)).
fn first_gain(config: &Config, lambda: f64) -> f64 {
    match config.quantizer.kind {
        QuantizerKind::Uniform => (lambda * std::f64::consts::LN_2 / 6.0).sqrt(),
        _ => 1.0,
    }
}
