//! Codec `auto`: every candidate codes a sample of the data, at the bound that is asked; the one with the fewest bytes codes the
//! whole, as it coded the sample. Those that come close code a larger sample, which holds the first one: what the rest of it took
//! is what the rest of the data will take, with adaptive models that have learned. At high efforts the whole decides, at low ones there is
//! no trial.

use crate::block::part_shape;
use crate::dtype::Samples;
use crate::error::{Error, Result};
use crate::objective::shared_step;
use crate::pipeline::{Encoded, Probe, encode_with, settle};
use crate::spec::{ChunkSpec, Codec};

/// Who bids, in this order.
const CANDIDATES: [&str; 3] = ["predict", "wavelet", "tensor"];
/// Samples are this part of the data ..
const SHARE: usize = 16;
/// .. but at least so many: with fewer, adaptive models would not show what they can learn.
const LEAST: usize = 1 << 16;
/// The larger sample is so many times as large.
const LARGER: usize = 4;
/// Above so many bits a sample with the first candidate, transforms do not win: noise has no transform, and under a pointwise bound
/// theirs is noise, too.
const NOISE: f64 = 3.0;
const NOISE_POINTWISE: f64 = 2.0;
/// Below this ratio some arrays of few distinct values take fewer bytes with every bit kept.
const MAYBE_EXACT: f64 = 16.0;
/// Takes longest, and does not learn: a second place on a sample is its last.
const SLOW: &str = "tensor";
/// What comes close: what an adaptive model may pay for learning, in bytes, and how well a sample stands for the whole beyond that.
const LEARNING: f64 = 1000.0;
const LIKENESS: f64 = 1.1;
/// The whole decides, too, below so many bits a sample: samples of few bits show what adaptive models pay for learning ..
const QUIET: f64 = 0.5;
/// .. and from this effort on.
const WHOLE: u8 = 7;
/// Up to this effort nothing is tried at all.
const UNTRIED: u8 = 1;
/// Up to this effort the first candidate is taken under a pointwise bound ..
const QUICK: u8 = 3;
/// .. and up to this one under a norm.
const QUICK_NORMS: u8 = 2;

/// The smallest encoding of a chunk.
///
/// # Errors
/// Those of the encoders.
pub fn encode(x: &Samples, shape: &[usize], spec: &ChunkSpec) -> Result<Encoded> {
    let mut candidates = candidates()?;
    if !spec.tolerance.lossless && !x.is_empty() && spec.effort > UNTRIED {
        // What takes trials of its own is found once, for samples and the whole.
        let chosen = ChunkSpec { codec: candidates[0].clone(), ..spec.clone() };
        candidates[0] = settle(x, shape, &chosen)?;
        // What predicts best says in which order everything else sees the dimensions, however they are stored.
        if let Some(order) = order_of(&mut candidates[0], shape) {
            let lengths: Vec<usize> = order.iter().map(|&d| shape[d]).collect();
            return best_of(candidates, &x.reordered(shape, &order), &lengths, spec, Some(&order));
        }
    }
    best_of(candidates, x, shape, spec, None)
}

/// The order of the dimensions that a predicting codec has chosen, unless they are stored in it; the codec is told of it.
fn order_of(codec: &mut Codec, shape: &[usize]) -> Option<Vec<usize>> {
    let Codec::Transform(_, params) = codec else { return None };
    let layout = params.count("layout").filter(|_| shape.len() > 1)?;
    let slice = if layout < 64 { vec![layout / 8, layout % 8] } else { vec![layout - 64] };
    let long = |order: &[usize]| -> Vec<usize> { order.iter().copied().filter(|&d| shape[d] > 1).collect() };
    let mut order: Vec<usize> = (0..shape.len()).filter(|d| !slice.contains(d)).collect();
    order.sort_by_key(|&d| shape[d]);
    order.extend(&slice);
    if long(&order).is_sorted() {
        return None;
    }
    let n = shape.len();
    let now = if slice.len() == 2 { 8 * (n - 2) + n - 1 } else { 64 + n - 1 };
    params.set("layout", now as f64);
    Some(order)
}

fn best_of(
    candidates: Vec<Codec>,
    x: &Samples,
    shape: &[usize],
    spec: &ChunkSpec,
    order: Option<&[usize]>,
) -> Result<Encoded> {
    if spec.effort <= QUICK {
        let codec = if spec.tolerance.lossless { Codec::Lossless } else { candidates[0].clone() };
        return encode_with(x, shape, &ChunkSpec { codec, ..spec.clone() }, None, true, order);
    }
    let mut bids = finalists(candidates, &[(x, shape)], spec)?;
    if bids.len() > 1 && spec.effort < WHOLE {
        narrow(&mut bids, x, shape, spec)?;
    }
    let mut best: Option<Encoded> = None;
    for bid in bids {
        let e = encode_with(x, shape, &ChunkSpec { codec: bid.codec, ..spec.clone() }, bid.factor, true, order)?;
        if best.as_ref().is_none_or(|b| e.bytes.len() < b.bytes.len()) {
            best = Some(e);
        }
    }
    best.ok_or_else(|| Error::invalid("no codec can be tried", "auto"))
}

/// Keeps the bid that a larger sample says is the best, unless that sample would be most of the data.
fn narrow(bids: &mut Vec<Bid>, x: &Samples, shape: &[usize], spec: &ChunkSpec) -> Result<()> {
    let [n_small, n_larger] = [1, LARGER].map(|times| sample_shape(x, shape, times).iter().product::<usize>() as f64);
    let least = bids.iter().map(|b| b.bytes).min().unwrap_or(0) as f64;
    if 4.0 * n_larger >= x.len() as f64 || 8.0 * least < QUIET * n_small {
        bids.iter_mut().for_each(|b| b.factor = None);
        return Ok(());
    }
    let rest = (x.len() as f64 - n_larger) / (n_larger - n_small);
    let larger = [sample(x, shape, LARGER)];
    let mut best = (f64::INFINITY, 0);
    for (i, bid) in bids.iter().enumerate() {
        let bytes = bid.again(&larger, spec)? as f64;
        let all = bytes + (bytes - bid.bytes as f64) * rest;
        if all < best.0 {
            best = (all, i);
        }
    }
    bids.swap(0, best.1);
    bids.truncate(1);
    Ok(())
}

/// The codec with the fewest bytes for a variable, given some of its chunks; `spec.codec` is not looked at.
///
/// # Errors
/// Those of the encoders.
pub fn choose(chunks: &[(&Samples, &[usize])], spec: &ChunkSpec) -> Result<Codec> {
    let mut candidates = candidates()?;
    if spec.effort <= QUICK_NORMS && !spec.tolerance.lossless {
        return Ok(candidates.swap_remove(0));
    }
    let mut finalists = finalists(candidates, chunks, spec)?;
    if finalists.len() > 1
        && let Some((x, shape)) = chunks.first()
    {
        let whole = [((*x).clone(), shape.to_vec())];
        for bid in &mut finalists {
            bid.bytes = bid.again(&whole, spec)?;
        }
        finalists.sort_by_key(|bid| bid.bytes);
    }
    Ok(finalists.into_iter().next().map_or(Codec::Lossless, |bid| bid.codec))
}

fn candidates() -> Result<Vec<Codec>> {
    CANDIDATES.iter().map(|name| name.parse()).collect()
}

/// A codec and what it would take.
struct Bid {
    bytes: usize,
    codec: Codec,
    factor: Option<f64>,
}

impl Bid {
    /// Codes the samples. Where a norm is asked, each codec gets the step with which it keeps that norm: equal error first, then
    /// bytes.
    fn new(codec: Codec, samples: &[(Samples, Vec<usize>)], spec: &ChunkSpec) -> Result<Self> {
        let mut bid = Self { bytes: 0, codec, factor: None };
        bid.bytes = bid.code(samples, spec)?;
        Ok(bid)
    }

    /// Bytes of other samples, coded in the same way.
    fn again(&self, samples: &[(Samples, Vec<usize>)], spec: &ChunkSpec) -> Result<usize> {
        Self { codec: self.codec.clone(), ..*self }.code(samples, spec)
    }

    fn code(&mut self, samples: &[(Samples, Vec<usize>)], spec: &ChunkSpec) -> Result<usize> {
        let mut spec = ChunkSpec { codec: self.codec.clone(), ..spec.clone() };
        if let (Some(mse), Codec::Transform(..)) = (spec.tolerance.mse, &spec.codec) {
            let mut probes =
                samples.iter().map(|(x, shape)| Probe::new(x, shape, &spec)).collect::<Result<Vec<_>>>()?;
            spec.step = Some(shared_step(&mut probes, mse));
        }
        let mut bytes = 0;
        for (x, shape) in samples {
            let e = encode_with(x, shape, &spec, self.factor, false, None)?;
            // The first sample decides for the others.
            self.factor = self.factor.or(e.factor);
            bytes += e.bytes.len();
        }
        Ok(bytes)
    }
}

/// The codecs that may be the best, by samples of the chunks.
fn finalists(candidates: Vec<Codec>, chunks: &[(&Samples, &[usize])], spec: &ChunkSpec) -> Result<Vec<Bid>> {
    let exact = Bid { bytes: 0, codec: Codec::Lossless, factor: None };
    if spec.tolerance.lossless || chunks.iter().all(|(x, _)| x.is_empty()) {
        return Ok(vec![exact]);
    }
    let samples: Vec<(Samples, Vec<usize>)> = chunks.iter().map(|(x, shape)| sample(x, shape, 1)).collect();
    let n: usize = samples.iter().map(|(x, _)| x.len()).sum();
    let raw: usize = samples.iter().map(|(x, _)| x.len() * x.dtype().size()).sum();
    let mut bids: Vec<Bid> = Vec::new();
    let noise = if spec.tolerance.is_pointwise() { NOISE_POINTWISE } else { NOISE };
    for codec in candidates {
        let noisy = bids.first().is_some_and(|b| b.bytes as f64 * 8.0 > noise * n as f64);
        // What is slow is not tried where the transform before it has lost.
        let lost =
            codec.name() == SLOW && bids.last().is_some_and(|b| b.bytes as f64 > bids[0].bytes as f64 * LIKENESS);
        if (noisy || lost) && spec.effort < WHOLE {
            break;
        }
        bids.push(Bid::new(codec, &samples, spec)?);
    }
    if bids.iter().all(|b| (b.bytes as f64) * MAYBE_EXACT > raw as f64) {
        bids.push(Bid::new(Codec::Lossless, &samples, spec)?);
    }
    bids.sort_by_key(|bid| bid.bytes);
    let close = bids[0].bytes as f64 * LIKENESS + LEARNING;
    let keep = bids.iter().take_while(|b| b.bytes as f64 <= close).count().max(1);
    bids.truncate(keep);
    if spec.effort < WHOLE && bids[0].codec.name() != SLOW {
        bids.retain(|bid| bid.codec.name() != SLOW);
    }
    Ok(bids)
}

/// Shape of a sample of a chunk.
fn sample_shape(x: &Samples, shape: &[usize], times: usize) -> Vec<usize> {
    part_shape(shape, (x.len() / SHARE).max(LEAST) * times)
}

/// The middle of a chunk.
fn sample(x: &Samples, shape: &[usize], times: usize) -> (Samples, Vec<usize>) {
    let count = sample_shape(x, shape, times);
    let start: Vec<usize> = shape.iter().zip(&count).map(|(s, c)| (s - c) / 2).collect();
    (x.crop(shape, &start, &count), count)
}
