//! Codec `auto`: every candidate codes a sample of the data, at the bound that is asked; the one with the fewest bytes codes the
//! whole, as it coded the sample. Those that come close code a larger sample, which holds the first one: what the rest of it took
//! is what the rest of the data will take, with adaptive models that have learned. At high efforts the whole decides, at low ones there is
//! no trial. Learned models bid where they are named and fit.

use crate::dtype::Samples;
use crate::error::{Error, Result};
use crate::learned;
use crate::objective::shared_step;
use crate::pipeline::{Encoded, Manner, Probe, encode_with, settle};
use crate::spec::{ChunkSpec, Codec};

/// Who bids, in this order.
const CANDIDATES: [&str; 3] = ["predict", "wavelet", "tensor"];
/// Samples are this part of the data ..
const SHARE: usize = 16;
/// .. but at least so many: with fewer, adaptive models would not show what they can learn.
const LEAST: usize = 1 << 16;
/// A chunk of less than so many times that is its own sample.
const SMALL: usize = 3;
/// The larger sample is so many times as large.
const LARGER: usize = 4;
/// Above so many bits a sample with the first candidate, transforms do not win: noise has no transform, and under a pointwise bound
/// theirs is noise, too.
const NOISE: f64 = 4.0;
const NOISE_POINTWISE: f64 = 3.0;
/// Below this ratio some arrays of few distinct values take fewer bytes with every bit kept.
const MAYBE_EXACT: f64 = 16.0;
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
    let mut candidates = candidates(spec, &[(x, shape)])?;
    if !spec.tolerance.lossless && !x.is_empty() && spec.effort > UNTRIED {
        // What takes trials of its own is found once, for samples and the whole.
        let chosen = ChunkSpec { codec: candidates[0].clone(), ..spec.clone() };
        candidates[0] = settle(x, shape, &chosen)?;
        // What predicts best says in which order everything else sees the dimensions, however they are stored; models see theirs.
        if candidates.len() == CANDIDATES.len()
            && let Some(order) = order_of(&mut candidates[0], shape)
        {
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
    // Rows and columns by length: transforms code a field and its transpose alike.
    order[shape.len() - slice.len()..].sort_by_key(|&d| shape[d]);
    if long(&order).is_sorted() {
        return None;
    }
    let place = |d: usize| order.iter().position(|o| *o == d).unwrap_or(d);
    let now = if let [y, x] = slice[..] { 8 * place(y) + place(x) } else { 64 + place(slice[0]) };
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
        return encode_with(x, shape, &ChunkSpec { codec, ..spec.clone() }, &Manner { order, ..Manner::default() });
    }
    let mut bids = finalists(candidates, &[(x, shape)], spec, order)?;
    if bids.len() > 1 && bids[0].whole.is_none() && spec.effort < WHOLE {
        narrow(&mut bids, x, shape, spec)?;
    }
    let mut best: Option<Encoded> = None;
    for bid in bids {
        let e = match bid.whole {
            Some(e) => e,
            None => {
                let rival = best.as_ref().map_or(usize::MAX, |b| b.bytes.len());
                let manner = Manner { factor: bid.factor, order, rival, ..Manner::default() };
                encode_with(x, shape, &ChunkSpec { codec: bid.codec, ..spec.clone() }, &manner)?
            }
        };
        if best.as_ref().is_none_or(|b| e.bytes.len() < b.bytes.len()) {
            best = Some(e);
        }
    }
    best.ok_or_else(|| Error::invalid("no codec can be tried", "auto"))
}

/// Keeps the bid that a larger sample says is the best, unless that sample would be most of the data.
fn narrow(bids: &mut Vec<Bid>, x: &Samples, shape: &[usize], spec: &ChunkSpec) -> Result<()> {
    let [n_small, n_larger] =
        [1, LARGER].map(|times| sample_shape(x, shape, times, spec).iter().product::<usize>() as f64);
    let least = bids.iter().map(|b| b.bytes).min().unwrap_or(0) as f64;
    if 4.0 * n_larger >= x.len() as f64 || 8.0 * least < QUIET * n_small {
        return Ok(());
    }
    let rest = (x.len() as f64 - n_larger) / (n_larger - n_small);
    let larger = [sample(x, shape, LARGER, spec)];
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

/// The codec with the fewest bytes for a variable, given some of its chunks; of `spec.codec` only models count.
///
/// # Errors
/// Those of the encoders.
pub fn choose(chunks: &[(&Samples, &[usize])], spec: &ChunkSpec) -> Result<Codec> {
    let mut candidates = candidates(spec, chunks)?;
    if spec.effort <= QUICK_NORMS && !spec.tolerance.lossless {
        return Ok(candidates.swap_remove(0));
    }
    let mut finalists = finalists(candidates, chunks, spec, None)?;
    if finalists.len() > 1
        && finalists[0].whole.is_none()
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

/// Who bids: models last.
fn candidates(spec: &ChunkSpec, chunks: &[(&Samples, &[usize])]) -> Result<Vec<Codec>> {
    let mut all: Vec<Codec> = CANDIDATES.iter().map(|name| name.parse()).collect::<Result<_>>()?;
    for hash in spec.codec.models() {
        let model = learned::find(hash)?;
        if chunks.iter().all(|(_, shape)| learned::stage::fits(&model, shape).is_ok()) {
            all.push(format!("learned:{hash}").parse()?);
        }
    }
    Ok(all)
}

/// A codec and what it would take.
struct Bid {
    bytes: usize,
    codec: Codec,
    factor: Option<f64>,
    /// The chunk itself, where it was the sample.
    whole: Option<Encoded>,
}

impl Bid {
    fn new(codec: Codec) -> Self {
        Self { bytes: 0, codec, factor: None, whole: None }
    }

    /// Bytes of other samples, coded in the same way.
    fn again(&self, samples: &[(Samples, Vec<usize>)], spec: &ChunkSpec) -> Result<usize> {
        let mut bid = Self { factor: self.factor, ..Self::new(self.codec.clone()) };
        bid.code(samples, spec, &Manner::default())?;
        Ok(bid.bytes)
    }

    /// Codes the samples. Where a norm is asked, each codec gets the step with which it keeps that norm: equal error first, then
    /// bytes.
    fn code(&mut self, samples: &[(Samples, Vec<usize>)], spec: &ChunkSpec, manner: &Manner<'_>) -> Result<()> {
        let mut spec = ChunkSpec { codec: self.codec.clone(), ..spec.clone() };
        if let (Some(mse), Codec::Transform(..)) = (spec.tolerance.mse, &spec.codec) {
            let mut probes =
                samples.iter().map(|(x, shape)| Probe::new(x, shape, &spec)).collect::<Result<Vec<_>>>()?;
            spec.step = Some(shared_step(&mut probes, mse));
        }
        for (x, shape) in samples {
            let e = encode_with(x, shape, &spec, &Manner { factor: self.factor, exact: false, ..*manner })?;
            // The first sample decides for the others.
            self.factor = self.factor.or(e.factor);
            self.bytes += e.bytes.len();
            self.whole = Some(e);
        }
        Ok(())
    }
}

/// The codecs that may be the best, by samples of the chunks. A single chunk that is not much larger than a sample is the sample.
fn finalists(
    candidates: Vec<Codec>,
    chunks: &[(&Samples, &[usize])],
    spec: &ChunkSpec,
    order: Option<&[usize]>,
) -> Result<Vec<Bid>> {
    if spec.tolerance.lossless || chunks.iter().all(|(x, _)| x.is_empty()) {
        return Ok(vec![Bid::new(Codec::Lossless)]);
    }
    let is_whole = matches!(chunks, [(x, _)] if x.len() < SMALL * LEAST);
    let samples: Vec<(Samples, Vec<usize>)> = if is_whole {
        chunks.iter().map(|(x, shape)| ((*x).clone(), shape.to_vec())).collect()
    } else {
        chunks.iter().map(|(x, shape)| sample(x, shape, 1, spec)).collect()
    };
    let n: usize = samples.iter().map(|(x, _)| x.len()).sum();
    let raw: usize = samples.iter().map(|(x, _)| x.len() * x.dtype().size()).sum();
    let mut bids: Vec<Bid> = Vec::new();
    let bid = |codec: Codec, before: &[Bid]| -> Result<Bid> {
        let rival = before.iter().map(|b| b.bytes).min().filter(|_| samples.len() == 1).unwrap_or(usize::MAX);
        let mut bid = Bid::new(codec);
        bid.code(&samples, spec, &Manner { order: order.filter(|_| is_whole), rival, ..Manner::default() })?;
        bid.whole = bid.whole.filter(|_| is_whole);
        Ok(bid)
    };
    let noise = if spec.tolerance.is_pointwise() { NOISE_POINTWISE } else { NOISE };
    for codec in candidates {
        // Whoever gives a model knows more than neighbours do.
        if codec.models().is_empty()
            && spec.effort < WHOLE
            && bids.first().is_some_and(|b| b.bytes as f64 * 8.0 > noise * n as f64)
        {
            continue;
        }
        bids.push(bid(codec, &bids)?);
    }
    if bids.iter().all(|b| (b.bytes as f64) * MAYBE_EXACT > raw as f64) {
        bids.push(bid(Codec::Lossless, &bids)?);
    }
    bids.sort_by_key(|bid| bid.bytes);
    let close = bids[0].bytes as f64 * LIKENESS + LEARNING;
    bids.retain(|bid| bid.bytes as f64 <= close);
    Ok(bids)
}

/// Shape of a sample of a chunk.
fn sample_shape(x: &Samples, shape: &[usize], times: usize, spec: &ChunkSpec) -> Vec<usize> {
    spec.codec.part_shape(shape, (x.len() / SHARE).max(LEAST) * times)
}

/// The middle of a chunk.
fn sample(x: &Samples, shape: &[usize], times: usize, spec: &ChunkSpec) -> (Samples, Vec<usize>) {
    let count = sample_shape(x, shape, times, spec);
    let start: Vec<usize> = shape.iter().zip(&count).map(|(s, c)| (s - c) / 2).collect();
    (x.crop(shape, &start, &count), count)
}
