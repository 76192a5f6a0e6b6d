//! Codec `auto`: every candidate codes a sample of the data, at the bound that is asked; where that is close, the whole decides.

use crate::block::part_shape;
use crate::dtype::Samples;
use crate::error::{Error, Result};
use crate::objective::shared_step;
use crate::pipeline::{Encoded, Probe, encode_chunk};
use crate::spec::{ChunkSpec, Codec};

/// Who bids.
const CANDIDATES: [&str; 3] = ["predict", "wavelet", "tensor"];
/// Samples are this part of the data ..
const SHARE: usize = 16;
/// .. but at least so many: with fewer, adaptive models would not show what they can learn.
const LEAST: usize = 1 << 16;
/// What an adaptive model may pay for learning, in bytes, and how well a sample stands for the whole beyond that.
const LEARNING: f64 = 1000.0;
const LIKENESS: f64 = 1.1;

/// The smallest encoding of a chunk.
///
/// # Errors
/// Those of the encoders.
pub fn encode(x: &Samples, shape: &[usize], spec: &ChunkSpec) -> Result<Encoded> {
    let mut best: Option<Encoded> = None;
    for codec in finalists(&[(x, shape)], spec)? {
        let e = encode_chunk(x, shape, &ChunkSpec { codec, ..spec.clone() })?;
        if best.as_ref().is_none_or(|b| e.bytes.len() < b.bytes.len()) {
            best = Some(e);
        }
    }
    best.ok_or_else(|| Error::invalid("no codec can be tried", "auto"))
}

/// The codec with the fewest bytes for a variable, given some of its chunks; `spec.codec` is not looked at.
///
/// # Errors
/// Those of the encoders.
pub fn choose(chunks: &[(&Samples, &[usize])], spec: &ChunkSpec) -> Result<Codec> {
    let finalists = finalists(chunks, spec)?;
    if finalists.len() > 1
        && let Some((x, shape)) = chunks.first()
    {
        return Ok(bids(finalists, &[((*x).clone(), shape.to_vec())], spec)?.swap_remove(0).1);
    }
    Ok(finalists.into_iter().next().unwrap_or(Codec::Lossless))
}

/// The codecs that may be the best, by samples of the chunks.
fn finalists(chunks: &[(&Samples, &[usize])], spec: &ChunkSpec) -> Result<Vec<Codec>> {
    if spec.tolerance.lossless || chunks.iter().all(|(x, _)| x.is_empty()) {
        return Ok(vec![Codec::Lossless]);
    }
    let samples: Vec<(Samples, Vec<usize>)> = chunks.iter().map(|(x, shape)| sample(x, shape)).collect();
    let all = CANDIDATES.iter().filter_map(|name| name.parse().ok()).collect();
    let bids = bids(all, &samples, spec)?;
    let least = bids.first().map_or(0, |(bytes, _)| *bytes) as f64;
    let close = least * LIKENESS + LEARNING;
    Ok(bids.into_iter().filter(|(bytes, _)| *bytes as f64 <= close).map(|(_, codec)| codec).collect())
}

/// Coded bytes with each codec, fewest first.
fn bids(codecs: Vec<Codec>, samples: &[(Samples, Vec<usize>)], spec: &ChunkSpec) -> Result<Vec<(usize, Codec)>> {
    let bid = |codec| {
        let spec = ChunkSpec { codec, ..spec.clone() };
        Ok((cost(samples, &spec)?, spec.codec))
    };
    let mut bids = codecs.into_iter().map(bid).collect::<Result<Vec<_>>>()?;
    bids.sort_by_key(|(bytes, _)| *bytes);
    Ok(bids)
}

/// The middle of a chunk.
fn sample(x: &Samples, shape: &[usize]) -> (Samples, Vec<usize>) {
    let count = part_shape(shape, (x.len() / SHARE).max(LEAST));
    let start: Vec<usize> = shape.iter().zip(&count).map(|(s, c)| (s - c) / 2).collect();
    (x.crop(shape, &start, &count), count)
}

/// Coded bytes of the samples. Where a norm is asked, each codec gets the step with which it keeps that norm: equal error first,
/// then bytes.
fn cost(samples: &[(Samples, Vec<usize>)], spec: &ChunkSpec) -> Result<usize> {
    let mut spec = spec.clone();
    if let Some(mse) = spec.tolerance.mse {
        let mut probes = samples.iter().map(|(x, shape)| Probe::new(x, shape, &spec)).collect::<Result<Vec<_>>>()?;
        spec.step = Some(shared_step(&mut probes, mse));
    }
    samples.iter().map(|(x, shape)| Ok(encode_chunk(x, shape, &spec)?.bytes.len())).sum()
}
