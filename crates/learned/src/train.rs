//! The loop: tiles, a step, now and then an evaluation and a checkpoint.
//!
//! # Seeds     everything random in a step comes from the seed and the step's number, so that a resumed run is the same run

use std::path::Path;

use burn_tensor::Device;
use serde::{Deserialize, Serialize};

use crate::adam::{Adam, rate};
use crate::checkpoint;
use crate::codec::{Codec, samples};
use crate::config::Config;
use crate::data::Corpus;
use crate::error::{Error, Result};
use crate::evaluate::{self, Point};
use crate::objective::Objective;
use crate::params::{Params, floats};

/// What is told of the way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Steps done.
    pub step: usize,
    /// Training: step, bits per sample, distortion times lambda, their sum; means since the entry before.
    pub train: Vec<(usize, f64, f64, f64)>,
    /// Held-out places: step and all rates.
    pub held_out: Vec<(usize, Vec<Point>)>,
    /// Evaluations since the best one.
    pub without_gain: usize,
    /// The best one's loss, by [`evaluate::mean_loss`].
    pub best: Option<f64>,
}

/// Whom to tell.
pub trait Observer {
    /// After each step: its number, and the loss.
    fn step(&mut self, step: usize, loss: f64);
    /// After each evaluation.
    fn evaluated(&mut self, history: &History);
    /// Whether to stop here; a checkpoint is written.
    fn stop(&mut self) -> bool;
}

/// What training ends with.
#[derive(Debug)]
pub struct Trained {
    /// With the weights that were best on held-out places.
    pub codec: Codec,
    /// The way there.
    pub history: History,
    /// It was stopped by the observer, before its end.
    pub stopped: bool,
}

/// Trains until the steps are done or held-out places no longer gain. With `checkpoint`, progress is kept there; `resume` goes on
/// from it.
///
/// # Errors
/// [`Error::Diverged`], [`Error::Corrupt`] if the checkpoint is of another configuration, and those of the parts.
pub fn train(
    config: &Config,
    corpus: &Corpus,
    device: &Device,
    checkpoint: Option<&Path>,
    resume: bool,
    observer: &mut dyn Observer,
) -> Result<Trained> {
    let mut codec = Codec::new(config, corpus, device)?;
    let objective = Objective::new(config, corpus, &mut codec.params)?;
    let mut adam = Adam::default();
    let mut history = History::default();
    let mut best: Option<Params> = None;
    if let (Some(path), true) = (checkpoint, resume) {
        let state = checkpoint::read(path, config, &codec.params)?;
        (codec.params, adam, history, best) = (state.params, state.adam, state.history, state.best);
    }
    let t = &config.train;
    let tiles = corpus.held_out(t.eval_tiles, config.eval_tile());
    let range = corpus.range();
    let (mut sums, mut counted) = ([0.0; 2], 0);
    let mut stopped = false;
    while history.step < t.steps && !(t.patience > 0 && history.without_gain >= t.patience) {
        let step = history.step;
        let mut rng = fastrand::Rng::with_seed(t.seed ^ (step as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let [bits, distortion] = one_step(&mut codec, &objective, &mut adam, corpus, &mut rng, step)?;
        let loss = bits + distortion;
        if !loss.is_finite() {
            return Err(Error::Diverged(step));
        }
        (sums, counted) = ([sums[0] + bits, sums[1] + distortion], counted + 1);
        history.step += 1;
        observer.step(history.step, loss);
        stopped = observer.stop();
        if history.step.is_multiple_of(t.every) || history.step == t.steps || stopped {
            let n = counted as f64;
            history.train.push((history.step, sums[0] / n, sums[1] / n, (sums[0] + sums[1]) / n));
            (sums, counted) = ([0.0; 2], 0);
        }
        // A stopped run is not evaluated here: it goes on as if it had not been stopped.
        if history.step.is_multiple_of(t.every) || history.step == t.steps {
            let points = evaluate::points(&codec, &objective, &tiles, range)?;
            let loss = evaluate::mean_loss(&points);
            history.held_out.push((history.step, points));
            if history.best.is_none_or(|b| loss < b) {
                (history.best, history.without_gain) = (Some(loss), 0);
                best = Some(codec.params.clone());
            } else {
                history.without_gain += 1;
            }
            observer.evaluated(&history);
        }
        if let Some(path) = checkpoint
            && (history.step.is_multiple_of(t.every) || history.step == t.steps || stopped)
        {
            checkpoint::write(path, config, &codec.params, &adam, &history, best.as_ref())?;
        }
        if stopped {
            break;
        }
    }
    if history.held_out.is_empty() {
        let points = evaluate::points(&codec, &objective, &tiles, range)?;
        history.held_out.push((history.step, points));
    }
    if let Some(best) = best {
        codec.params = best;
    }
    Ok(Trained { codec, history, stopped })
}

/// Bits per sample and lambda times the distortion, before the step.
fn one_step(
    codec: &mut Codec,
    objective: &Objective,
    adam: &mut Adam,
    corpus: &Corpus,
    rng: &mut fastrand::Rng,
    step: usize,
) -> Result<[f64; 2]> {
    let config = codec.config.clone();
    let t = &config.train;
    let batch = corpus.batch(t.batch, config.data.tile, config.data.augment, rng);
    // Each step trains one rate; all have their turn.
    let which = step % config.objective.lambda.len();
    let lambda = config.objective.lambda[which];
    let x = samples(&batch, codec.params.device());
    let out = codec.run(objective.seen(&x, rng), which, Some(rng))?;
    let bits = out.bits.clone() / batch.samples.len() as f64;
    let distortion = objective.distortion(&x, &out, &batch, &codec.params)? * lambda;
    let mut loss = bits.clone() + distortion.clone();
    if let Some(more) = out.loss {
        loss = loss + more * lambda;
    }
    // Fine rates have large losses; relative to its own size each rate's gain counts alike.
    let loss = loss.clone() / loss.detach();
    let value = |t: burn_tensor::Tensor<1>| floats(t).first().map_or(f64::NAN, |v| f64::from(*v));
    let values = [value(bits), value(distortion)];
    let mut grads = loss.backward();
    adam.step(&mut codec.params, &mut grads, rate(t.rate, step, t.steps), t.clip, step);
    Ok(values)
}
