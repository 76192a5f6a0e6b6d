//! The fourth axis: what counts as distortion.
//!
//! # Maths     loss = bits / samples + lambda D(x, x')
//! # Reference Z. Wang et al., Multiscale structural similarity for image quality assessment, 2003, doi:10.1109/ACSSC.2003.1292216;
//! K. He et al., Masked autoencoders, 2022, doi:10.48550/arXiv.2111.06377; A. Furutanpey et al., FOOL (feature distillation), 2024,
//! doi:10.48550/arXiv.2403.16677

use burn_tensor::ops::ConvOptions;
use burn_tensor::{Device, Tensor, activation, module};
use lithify_codec::learned::model::Model;
use lithify_codec::learned::tensor::Data;

use crate::codec::Output;
use crate::config::{self, ObjectiveKind};
use crate::data::{Batch, Corpus};
use crate::error::{Error, Result};
use crate::forward;
use crate::params::{Params, vector};

/// A row with what it needs.
#[derive(Debug)]
pub struct Objective {
    config: config::Objective,
    /// `distill`: the teacher and its weights.
    teacher: Option<(Model, Params)>,
    /// `ms-ssim`: what lies between the smallest and largest normalised sample.
    range: f64,
    /// Side of the blocks that `masked` hides.
    block: usize,
}

impl Objective {
    /// Prepares the row; `latents` are channels of y, whose classifier `task` adds to `params`.
    ///
    /// # Errors
    /// [`Error::Config`] if the teacher or the labels do not fit, [`Error::Io`] if the teacher cannot be read.
    pub fn new(all: &config::Config, corpus: &Corpus, params: &mut Params) -> Result<Self> {
        let config = all.objective.clone();
        let mut teacher = None;
        if config.kind == ObjectiveKind::Distill {
            let path = std::path::Path::new(&config.teacher);
            let model = Model::from_bytes(&std::fs::read(path).map_err(Error::io(path))?)?;
            if model.card().bands.len() != corpus.bands() {
                let (has, needs) = (model.card().bands.len(), corpus.bands());
                return Err(Error::Config(format!(
                    "objective.teacher has {has} bands, the data {needs}; give one of as many"
                )));
            }
            let params = of_model(&model, params.device());
            teacher = Some((model, params));
        }
        if config.kind == ObjectiveKind::Task {
            let classes = corpus.labels.len();
            if classes < 2 {
                return Err(Error::Config(
                    "objective.kind = \"task\" takes labels from folders; --data must match several".into(),
                ));
            }
            params.set("task.weight", &[classes, all.transform.latents], vec![0.0; classes * all.transform.latents]);
            params.set("task.bias", &[classes], vec![0.0; classes]);
        }
        Ok(Self { config, teacher, range: corpus.range(), block: all.y_stride() })
    }

    /// What g_a sees of a batch: all, but for `masked`.
    pub fn seen(&self, x: &Tensor<5>, rng: &mut fastrand::Rng) -> Tensor<5> {
        if self.config.kind != ObjectiveKind::Masked {
            return x.clone();
        }
        let [n, _, _, h, w] = x.dims();
        let across = w.div_ceil(self.block);
        let blocks: Vec<bool> =
            (0..n * h.div_ceil(self.block) * across).map(|_| rng.f64() >= self.config.masked).collect();
        let down = h.div_ceil(self.block);
        let mask = (0..n * h * w)
            .map(|i| {
                let (tile, y, column) = (i / (h * w), i / w % h, i % w);
                if blocks[(tile * down + y / self.block) * across + column / self.block] { 1.0 } else { 0.0 }
            })
            .collect();
        x.clone() * vector(mask, &x.device()).reshape::<5, _>([n, 1, 1, h, w])
    }

    /// The distortion of a batch.
    ///
    /// # Errors
    /// A tensor is missing.
    pub fn distortion(&self, x: &Tensor<5>, out: &Output, batch: &Batch, params: &Params) -> Result<Tensor<1>> {
        let squared = (x.clone() - out.x_hat.clone()).square();
        Ok(match self.config.kind {
            ObjectiveKind::Mse | ObjectiveKind::Masked => squared.mean(),
            ObjectiveKind::MsSsim => ms_ssim(x, &out.x_hat, self.range).neg() + 1.0,
            ObjectiveKind::QualityMap => {
                let [n, _, _, h, w] = x.dims();
                let weights: Tensor<5> = vector(batch.quality.clone(), &x.device()).reshape([n, 1, 1, h, w]);
                let total = weights.clone().mean().clamp_min(1e-6);
                (squared * weights).mean() / total
            }
            ObjectiveKind::Distill => match &self.teacher {
                Some((model, weights)) => {
                    let see = |x: Tensor<5>| forward::run(&model.card().g_a, weights, x, None);
                    let wanted = see(x.clone())?.detach();
                    let power = wanted.clone().square().mean().clamp_min(1e-6);
                    (see(out.x_hat.clone())? - wanted).square().mean() / power
                }
                None => squared.mean(),
            },
            ObjectiveKind::Task => squared.mean() + cross_entropy(out, batch, params)? * self.config.task_weight,
        })
    }
}

/// Weights of a model file, which nothing changes.
fn of_model(model: &Model, device: &Device) -> Params {
    let mut params = Params::new(device);
    for (name, t) in model.tensors() {
        if let Data::F32(v) | Data::F16(v) = &t.data {
            params.set(name, &t.shape, v.clone());
        }
    }
    params.frozen()
}

/// Mean cross entropy, in bits, of a linear classifier on the mean of y_hat over space.
fn cross_entropy(out: &Output, batch: &Batch, params: &Params) -> Result<Tensor<1>> {
    let (weight, bias) = (params.tensor::<2>("task.weight")?, params.tensor::<1>("task.bias")?);
    let [classes, latents] = weight.dims();
    let n = batch.labels.len();
    let mean: Tensor<2> = out.y_hat.clone().mean_dims(&[2, 3, 4]).reshape([n, latents]);
    let scores = mean.matmul(weight.transpose()) + bias.reshape([1, classes]);
    let wanted = batch.labels.iter().flat_map(|l| (0..classes).map(move |c| if c == *l { 1.0 } else { 0.0 })).collect();
    let wanted: Tensor<2> = vector(wanted, &scores.device()).reshape([n, classes]);
    Ok((activation::log_softmax(scores, 1) * wanted).sum() * (-std::f64::consts::LOG2_E / n as f64))
}

/// Share of right answers of the same classifier.
///
/// # Errors
/// A tensor is missing.
pub fn right(out: &Output, batch: &Batch, params: &Params) -> Result<usize> {
    let (weight, bias) = (params.tensor::<2>("task.weight")?, params.values("task.bias")?);
    let [classes, latents] = weight.dims();
    let n = batch.labels.len();
    let mean: Tensor<2> = out.y_hat.clone().mean_dims(&[2, 3, 4]).reshape([n, latents]);
    let scores = crate::params::floats(mean.matmul(weight.transpose()));
    let best = |i: usize| {
        let score = |c: usize| scores[i * classes + c] + bias[c];
        (0..classes).max_by(|a, b| score(*a).total_cmp(&score(*b)))
    };
    Ok((0..n).filter(|i| best(*i) == Some(batch.labels[*i])).count())
}

/// Weights of the scales, finest first.
const SCALES: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];
/// Side and deviation of the window.
const WINDOW: (usize, f64) = (11, 1.5);

/// Multiscale structural similarity, the mean over bands; as many scales as the tiles have room for.
pub fn ms_ssim(x: &Tensor<5>, y: &Tensor<5>, range: f64) -> Tensor<1> {
    let [n, c, d, h, w] = x.dims();
    let flat = |t: &Tensor<5>| -> Tensor<4> { t.clone().reshape([n * c * d, 1, h, w]) };
    let (mut a, mut b) = (flat(x), flat(y));
    let room = (0..SCALES.len()).take_while(|s| h.min(w) >> s >= WINDOW.0).count().max(1);
    let total: f64 = SCALES[..room].iter().sum();
    let mut product: Option<Tensor<1>> = None;
    for (scale, weight) in SCALES[..room].iter().enumerate() {
        let (luminance, structure) = ssim(&a, &b, range);
        let part = if scale + 1 == room { luminance * structure } else { structure };
        let part = part.mean().clamp_min(1e-4).powf_scalar(weight / total);
        product = Some(match product {
            Some(p) => p * part,
            None => part,
        });
        if scale + 1 < room {
            let half = |t: Tensor<4>| {
                let [m, _, h, w] = t.dims();
                let even = t.narrow(2, 0, h / 2 * 2).narrow(3, 0, w / 2 * 2);
                let squares: Tensor<6> = even.reshape([m, 1, h / 2, 2, w / 2, 2]);
                squares.mean_dims(&[3, 5]).reshape([m, 1, h / 2, w / 2])
            };
            (a, b) = (half(a), half(b));
        }
    }
    product.unwrap_or_else(|| x.clone().sum() * 0.0)
}

/// Luminance, and contrast times structure, at each window.
fn ssim(a: &Tensor<4>, b: &Tensor<4>, range: f64) -> (Tensor<4>, Tensor<4>) {
    let [_, _, h, w] = a.dims();
    let side = WINDOW.0.min(h).min(w);
    let g: Vec<f64> =
        (0..side).map(|i| (-((i as f64 - (side - 1) as f64 / 2.0) / WINDOW.1).powi(2) / 2.0).exp()).collect();
    let total: f64 = g.iter().sum();
    let row: Tensor<4> = vector(g.iter().map(|v| (v / total) as f32).collect(), &a.device()).reshape([1, 1, 1, side]);
    let column: Tensor<4> = row.clone().reshape([1, 1, side, 1]);
    let options = || ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
    let blur =
        |t: Tensor<4>| module::conv2d(module::conv2d(t, row.clone(), None, options()), column.clone(), None, options());
    let (c1, c2) = ((0.01 * range).powi(2), (0.03 * range).powi(2));
    let (ma, mb) = (blur(a.clone()), blur(b.clone()));
    let va = blur(a.clone().square()) - ma.clone().square();
    let vb = blur(b.clone().square()) - mb.clone().square();
    let cov = blur(a.clone() * b.clone()) - ma.clone() * mb.clone();
    let luminance = (ma.clone() * mb.clone() * 2.0 + c1) / (ma.square() + mb.square() + c1);
    (luminance, (cov * 2.0 + c2) / (va + vb + c2))
}
