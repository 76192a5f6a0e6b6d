//! What a codec does on held-out places, with rounded values: bits and errors at each rate.

use serde::{Deserialize, Serialize};

use crate::codec::{Codec, samples};
use crate::config::ObjectiveKind;
use crate::data::Batch;
use crate::error::Result;
use crate::objective::{self, Objective, ms_ssim};
use crate::params::floats;

/// One rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Weight of the distortion.
    pub lambda: f64,
    /// Estimated bits of one sample.
    pub bits_per_sample: f64,
    /// Mean squared error of normalised samples.
    pub mse: f64,
    /// Decibels, the peak being the range of the training samples.
    pub psnr_db: f64,
    /// Structural similarity over scales.
    pub ms_ssim: f64,
    /// The objective's own distortion.
    pub distortion: f64,
    /// Bits per sample + lambda distortion.
    pub loss: f64,
    /// Share of right labels, of the task's classifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<f64>,
}

/// Geometric mean of the rates' losses: a per cent at one rate is worth one at another.
pub fn mean_loss(points: &[Point]) -> f64 {
    (points.iter().map(|p| p.loss.ln()).sum::<f64>() / points.len().max(1) as f64).exp()
}

/// All rates on the given tiles, from few bits to many.
///
/// # Errors
/// A tensor is missing.
pub fn points(codec: &Codec, objective: &Objective, batches: &[Batch], range: f64) -> Result<Vec<Point>> {
    let codec = codec.frozen();
    let lambdas = codec.config.objective.lambda.clone();
    let n = batches.len().max(1) as f64;
    let mut points = Vec::new();
    for (rate, lambda) in lambdas.into_iter().enumerate() {
        let (mut bits, mut mse, mut similarity, mut distortion, mut right) = (0.0, 0.0, 0.0, 0.0, 0);
        for batch in batches {
            let x = samples(batch, codec.params.device());
            // What is hidden is hidden here, too, the same each time.
            let seen = objective.seen(&x, &mut fastrand::Rng::with_seed(0));
            let out = codec.run(seen, rate, None)?;
            let one = |t: burn_tensor::Tensor<1>| floats(t).first().map_or(f64::NAN, |v| f64::from(*v));
            bits += one(out.bits.clone()) / batch.samples.len() as f64;
            mse += one((x.clone() - out.x_hat.clone()).square().mean());
            similarity += one(ms_ssim(&x, &out.x_hat, range));
            distortion += one(objective.distortion(&x, &out, batch, &codec.params)?);
            if codec.config.objective.kind == ObjectiveKind::Task {
                right += objective::right(&out, batch, &codec.params)?;
            }
        }
        let task = codec.config.objective.kind == ObjectiveKind::Task;
        points.push(Point {
            lambda,
            bits_per_sample: bits / n,
            mse: mse / n,
            psnr_db: 10.0 * (range * range / (mse / n).max(1e-30)).log10(),
            ms_ssim: similarity / n,
            distortion: distortion / n,
            loss: bits / n + lambda * distortion / n,
            right: task.then(|| right as f64 / n),
        });
    }
    Ok(points)
}
