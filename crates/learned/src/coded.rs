//! What a model file does with real bytes, by the portable codec, beside what training estimated.

use lithify_codec::Codec;
use lithify_codec::bits::Reader;
use lithify_codec::learned::model::{Layout, Model};
use lithify_codec::learned::register;
use lithify_codec::learned::tensor::{Data, Tensor};
use lithify_codec::transform::{Block, Goal, Region, Transform};
use serde::Serialize;

use crate::data::{Batch, Corpus};
use crate::error::{Error, Result};

/// One rate in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Coded {
    /// Bits of a coded sample, headers and all.
    pub bits_per_sample: f64,
    /// Mean squared error of physical values.
    pub mse: f64,
    /// Decibels, the peak being the range of the training samples.
    pub psnr_db: f64,
}

/// A step that every reconstruction keeps, so that latents are all that is coded.
const ANY: f64 = 1e12;

/// Codes tiles at each rate of the model and decodes them again.
///
/// # Errors
/// Those of the codec; [`Error::Data`] if a tile does not come back as its encoder said.
pub fn measure(model: &Model, corpus: &Corpus, batches: &[Batch]) -> Result<Vec<Coded>> {
    let rates = model.card().gains.as_ref().and_then(|g| model.tensors().get(g)).map_or(1, |t| t.shape[0]);
    (0..rates).map(|rate| one_rate(&only(model, rate)?, corpus, batches)).collect()
}

fn one_rate(model: &Model, corpus: &Corpus, batches: &[Batch]) -> Result<Coded> {
    let hash = register(model.clone());
    let transform = match format!("learned:{hash}").parse::<Codec>()? {
        Codec::Transform(stage, params) => (stage.make)(&params),
        _ => return Err(Error::Data("learned codecs are not built in".into())),
    };
    let (mut bytes, mut squared, mut n) = (0, 0.0, 0);
    for batch in batches {
        let tile = batch.samples.len() / batch.shape[0].max(1);
        for samples in batch.samples.chunks_exact(tile.max(1)) {
            let x = physical(samples, corpus);
            let [_, c, d, h, w] = batch.shape;
            let shape = [if model.card().layout == Layout::Depth { d } else { c }, h, w];
            let (coded, y) = transform.analyse(x.clone(), Block::new(&shape))?.encode(Goal::Step(ANY))?;
            let back = decode(transform.as_ref(), &coded, &shape)?;
            if back != y {
                return Err(Error::Data("a tile was decoded to other values than encoded".into()));
            }
            bytes += coded.len();
            n += x.len();
            squared += x.iter().zip(&back).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        }
    }
    let mse = squared / n.max(1) as f64;
    let deviation = corpus.deviations.iter().sum::<f64>() / corpus.bands().max(1) as f64;
    let peak = corpus.range() * deviation;
    Ok(Coded {
        bits_per_sample: bytes as f64 * 8.0 / n.max(1) as f64,
        mse,
        psnr_db: 10.0 * (peak * peak / mse.max(1e-30)).log10(),
    })
}

fn decode(transform: &dyn Transform, coded: &[u8], shape: &[usize]) -> Result<Vec<f64>> {
    Ok(transform.decode(&mut Reader::new(coded, "learned"), Block::new(shape), &Region::all(shape))?)
}

fn physical(samples: &[f32], corpus: &Corpus) -> Vec<f64> {
    let plane = samples.len() / corpus.bands();
    let bands = corpus.means.iter().zip(&corpus.deviations);
    samples
        .chunks_exact(plane.max(1))
        .zip(bands)
        .flat_map(|(band, (mean, deviation))| band.iter().map(move |v| f64::from(*v) * deviation + mean))
        .collect()
}

/// The model with one of its rates.
fn only(model: &Model, rate: usize) -> Result<Model> {
    let mut tensors = model.tensors().clone();
    if let Some(name) = &model.card().gains
        && let Some(t) = tensors.get_mut(name)
        && let Data::F32(all) = &t.data
    {
        let n = all.len() / t.shape[0];
        *t = Tensor::f32(&[1, n], all[rate * n..(rate + 1) * n].to_vec());
    }
    Ok(Model::new(model.card().clone(), tensors)?)
}
