//! Codec `auto`: every candidate codes a sample of the data, at the bound that is asked; the one with the fewest bytes is taken.

use crate::block::part_shape;
use crate::dtype::Samples;
use crate::error::Result;
use crate::objective::shared_step;
use crate::pipeline::{Probe, encode_chunk};
use crate::spec::{ChunkSpec, Codec};

/// Who bids.
const CANDIDATES: [&str; 3] = ["predict", "wavelet", "tensor"];
/// Samples are this part of the data ..
const SHARE: usize = 16;
/// .. but at least so many: with fewer, adaptive models would not show what they can learn.
const LEAST: usize = 1 << 16;

/// The best codec for some chunks of a variable; `spec.codec` is not looked at.
///
/// # Errors
/// Those of the encoders.
pub fn choose(chunks: &[(&Samples, &[usize])], spec: &ChunkSpec) -> Result<Codec> {
    if spec.tolerance.lossless || chunks.iter().all(|(x, _)| x.is_empty()) {
        return Ok(Codec::Lossless);
    }
    let samples: Vec<(Samples, Vec<usize>)> = chunks.iter().map(|(x, shape)| sample(x, shape)).collect();
    let mut best = (usize::MAX, Codec::Lossless);
    for name in CANDIDATES {
        let Ok(codec) = name.parse::<Codec>() else { continue };
        let spec = ChunkSpec { codec, ..spec.clone() };
        let bytes = cost(&samples, &spec)?;
        if bytes < best.0 {
            best = (bytes, spec.codec);
        }
    }
    Ok(best.1)
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
