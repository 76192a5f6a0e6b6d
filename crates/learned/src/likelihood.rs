//! Bits of symbols under a model, differentiable: for rounded values, and for values with uniform noise in rounding's place.
//!
//! # Maths     bits = -log2(F(v + 1/2) - F(v - 1/2)), F the model's distribution
//! # Reference J. Balle et al., 2018, doi:10.48550/arXiv.1802.01436, appendix 6.2

use burn_tensor::{Tensor, activation};
use lithify_codec::learned::model::{Distribution, N_SCALES, SCALES};

use crate::error::Result;
use crate::params::Params;

/// Logistic components of a channel's own distribution.
const COMPONENTS: usize = 3;
/// The least probability that differences of f32 still show.
const LEAST: f64 = 1.0 / (1u64 << 20) as f64;

/// `ln` of the ratio between neighbours of the log-spaced scales.
pub fn scale_step() -> f64 {
    (SCALES.1 / SCALES.0).ln() / (N_SCALES - 1) as f64
}

/// The index whose scale is `deviation`, between the table's ends.
pub fn scale_index(deviation: f64) -> f64 {
    ((deviation.max(1e-9) / SCALES.0).ln() / scale_step()).clamp(0.0, (N_SCALES - 1) as f64)
}

/// Standard deviations of (real) indices into the table of scales. Outside of it a little gradient still leads back.
fn scales(index: Tensor<5>) -> Tensor<5> {
    let inside = index.clone().clamp(0.0, (N_SCALES - 1) as f64);
    let index = inside + (index.clone() - index.detach()) * 0.02;
    (index * scale_step()).exp() * SCALES.0
}

fn log2(p: Tensor<5>) -> Tensor<5> {
    p.clamp_min(LEAST).log() * std::f64::consts::LOG2_E
}

/// Probability of each value's bin around zero, and how many deviations it lies from there.
fn bin(v: Tensor<5>, index: Tensor<5>, distribution: Distribution) -> (Tensor<5>, Tensor<5>) {
    let s = scales(index);
    let v = v.abs();
    let p = match distribution {
        Distribution::Laplacian => {
            // F(x) = 1/2 + sign(x) (1 - exp(-|x| / b)) / 2
            let b = s.clone() * std::f64::consts::FRAC_1_SQRT_2;
            let f = |x: Tensor<5>| {
                let x = x / b.clone();
                (x.clone().abs().neg().exp().neg() + 1.0) * x.sign() * 0.5
            };
            f(v.clone() + 0.5) - f(v.clone() - 0.5)
        }
        _ => {
            let f = |x: Tensor<5>| (x / s.clone() * std::f64::consts::FRAC_1_SQRT_2).erf() * 0.5;
            f(v.clone() + 0.5) - f(v.clone() - 0.5)
        }
    };
    (p, v / s)
}

/// Bits of values around zero; `index` are indices into the table of scales.
pub fn scaled(v: Tensor<5>, index: Tensor<5>, distribution: Distribution) -> Tensor<5> {
    let (p, far) = bin(v, index, distribution);
    // Beyond what f32 can tell, bits go on growing as those of an escape do; so there is a gradient.
    log2(p).neg() + activation::relu(far - 5.0) * 0.2
}

/// Bits under a mixture of Gaussians: `weights`, `means`, `indices` hold the components one after another.
pub fn mixture(v: Tensor<5>, weights: &[Tensor<5>], means: &[Tensor<5>], indices: &[Tensor<5>]) -> Tensor<5> {
    // A weight counts as max(v, 0) + 1.
    let weights: Vec<_> = weights.iter().map(|w| activation::relu(w.clone()) + 1.0).collect();
    let total = weights.iter().cloned().reduce(|a, b| a + b);
    let parts = weights.iter().zip(means).zip(indices);
    let sum = parts.map(|((w, m), i)| bin(v.clone() - m.clone(), i.clone(), Distribution::Gaussian).0 * w.clone());
    match (sum.reduce(|a, b| a + b), total) {
        (Some(p), Some(total)) => log2(p / total).neg(),
        _ => v,
    }
}

/// Bits of bits (0 or 1): `index + 1/2` of 64 is the probability of a 1.
pub fn bernoulli(symbol: Tensor<5>, index: Tensor<5>) -> Tensor<5> {
    let inside = index.clone().clamp(0.0, (N_SCALES - 1) as f64) + (index.clone() - index.detach()) * 0.02;
    let p = (inside + 0.5) / N_SCALES as f64;
    let none = (p.clone().neg() + 1.0) * (symbol.clone().neg() + 1.0);
    log2(p * symbol + none).neg()
}

/// One distribution for each channel: logistic components, learned under the names `prefix.weight`, `.mean`, `.log_scale`, each
/// `f32[c, 3]`.
#[derive(Debug, Clone)]
pub struct PerChannel {
    prefix: &'static str,
    channels: usize,
}

impl PerChannel {
    /// Starts it around zero at these deviations, with components narrower and wider than them.
    pub fn new(prefix: &'static str, deviations: &[f64], params: &mut Params) -> Self {
        let channels = deviations.len();
        let shape = [channels, COMPONENTS];
        let of = |value: &dyn Fn(usize, usize) -> f64| -> Vec<f32> {
            (0..channels * COMPONENTS).map(|i| value(i / COMPONENTS, i % COMPONENTS) as f32).collect()
        };
        // A logistic distribution's deviation is pi / sqrt(3) times its scale.
        let width = [0.15, 0.5, 1.5];
        params.set(&format!("{prefix}.weight"), &shape, of(&|_, _| 0.0));
        params.set(&format!("{prefix}.mean"), &shape, of(&|_, _| 0.0));
        params.set(&format!("{prefix}.log_scale"), &shape, of(&|c, k| (deviations[c].max(0.1) * width[k]).ln()));
        Self { prefix, channels }
    }

    /// Its tensors, already in `params`.
    pub fn known(prefix: &'static str, channels: usize) -> Self {
        Self { prefix, channels }
    }

    /// Bits of values `[n, c, d, h, w]`.
    ///
    /// # Errors
    /// A tensor is missing.
    pub fn bits(&self, v: Tensor<5>, params: &Params) -> Result<Tensor<5>> {
        let [weight, mean, scale] = self.tensors(params)?;
        let weight = activation::softmax(weight, 1);
        let column =
            |t: &Tensor<2>, k: usize| -> Tensor<5> { t.clone().narrow(1, k, 1).reshape([1, self.channels, 1, 1, 1]) };
        let mut p = v.zeros_like();
        for k in 0..COMPONENTS {
            let s = column(&scale, k).clamp(-4.0, 9.0).exp();
            let at = v.clone() - column(&mean, k);
            let f = |x: Tensor<5>| activation::sigmoid(x / s.clone());
            p = p + (f(at.clone() + 0.5) - f(at - 0.5)) * column(&weight, k);
        }
        Ok(log2(p).neg())
    }

    /// Probabilities of whole numbers, channel by channel, between two bounds that leave next to nothing outside.
    ///
    /// # Errors
    /// A tensor is missing.
    pub fn tables(&self, params: &Params) -> Result<Vec<(i32, Vec<f64>)>> {
        let [weight, mean, scale] = self.tensors(params)?;
        let weight = crate::params::floats(activation::softmax(weight, 1));
        let (mean, scale) = (crate::params::floats(mean), crate::params::floats(scale.clamp(-4.0, 9.0).exp()));
        Ok((0..self.channels)
            .map(|c| {
                let k = c * COMPONENTS..(c + 1) * COMPONENTS;
                let cdf = |x: f64| -> f64 {
                    k.clone()
                        .map(|i| f64::from(weight[i]) / (1.0 + (-(x - f64::from(mean[i])) / f64::from(scale[i])).exp()))
                        .sum()
                };
                let edge = |sign: f64| -> i32 {
                    let outside = |n: i32| if sign < 0.0 { cdf(f64::from(n)) } else { 1.0 - cdf(f64::from(n)) };
                    let mut n = 1;
                    while n < MOST && outside(n * sign as i32) > 1e-5 {
                        n = n * 5 / 4 + 1;
                    }
                    n * sign as i32
                };
                let (low, high) = (edge(-1.0), edge(1.0));
                let bin = |n: i32| cdf(f64::from(n) + 0.5) - cdf(f64::from(n) - 0.5);
                (low, (low..=high).map(bin).collect())
            })
            .collect())
    }

    fn tensors(&self, params: &Params) -> Result<[Tensor<2>; 3]> {
        let name = |what: &str| format!("{}.{what}", self.prefix);
        Ok([params.tensor(&name("weight"))?, params.tensor(&name("mean"))?, params.tensor(&name("log_scale"))?])
    }
}

/// Largest symbol of a table; what is larger is escaped.
const MOST: i32 = 4000;
