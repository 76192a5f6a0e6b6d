//! Lossy chunks that this process has read: HDF5 reads a chunk before it writes a part of it anew, but does not tell the filter.
//!
//! Of each chunk its payload is kept, and some of its samples, by which it is found again ([`recall`]). Parameters must agree.
//! Beyond [`MOST_BYTES`] the chunk that was read least recently is forgotten.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use lithify_codec::{Sample, Samples, match_samples};

use crate::kept::weight;

/// Far more than HDF5 keeps of decoded chunks by itself: payloads are small.
const MOST_BYTES: usize = 256 << 20;
/// Of more samples than that, only one in up to [`APART`] is kept.
const ENOUGH: usize = 4096;
const APART: usize = 16;
/// With fewer marks than that, as where little was written yet, every sample is one.
const FEW: usize = 256;
/// So many chunks are looked at closely: those most alike, and no worse than half the best.
const CLOSELY: usize = 3;

#[derive(Debug)]
struct Chunk {
    params: Vec<u32>,
    payload: Arc<[u8]>,
    marks: Vec<Mark>,
    /// One in so many samples is marked.
    apart: usize,
}

/// A sample that is found again, or is not.
#[derive(Debug)]
struct Mark {
    at: u32,
    digest: u32,
    weight: u32,
}

impl Chunk {
    /// `None` if there is nothing in `x` to find it by.
    fn new<T: Sample>(params: Vec<u32>, payload: &[u8], x: &[T], void: &[u64]) -> Option<Self> {
        let marks = |apart: usize| -> Vec<Mark> {
            // Not in a regular pattern, lest all lie in a few columns (Knuth's multiplicative hashing).
            let place = |i: usize| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            let chosen = |i: &usize| place(*i).is_multiple_of(apart as u64);
            let mark = |i| Some(Mark { at: u32::try_from(i).ok()?, digest: digest(x[i]), weight: weight(x, i, void) });
            (0..x.len()).filter(chosen).filter_map(mark).filter(|m| m.weight > 0).collect()
        };
        // The same places in all chunks of a shape, or what a chunk was before might seem to agree better than what it is.
        let apart = (x.len() / ENOUGH).clamp(1, APART);
        let sparse = marks(apart);
        let (apart, marks) = if sparse.len() < FEW { (1, marks(1)) } else { (apart, sparse) };
        (!marks.is_empty()).then(|| Self { params, payload: payload.into(), marks, apart })
    }

    /// Weight of the marks that pass, for all samples that they stand for.
    fn weight(&self, passes: impl Fn(&Mark) -> bool) -> u64 {
        self.marks.iter().filter(|m| passes(m)).map(|m| u64::from(m.weight)).sum::<u64>() * self.apart as u64
    }

    fn n_bytes(&self) -> usize {
        self.payload.len() + size_of_val(&self.params[..]) + size_of_val(&self.marks[..])
    }
}

#[derive(Debug)]
struct Memory {
    /// The one read last is first.
    chunks: VecDeque<Chunk>,
    n_bytes: usize,
}

static MEMORY: Mutex<Memory> = Mutex::new(Memory { chunks: VecDeque::new(), n_bytes: 0 });

/// Keeps what a payload was decoded to, the whole chunk `x`; `void` has the patterns of what was never measured.
pub(crate) fn remember(params: Vec<u32>, payload: &[u8], x: &Samples, void: &[u64]) {
    if let Some(chunk) = match_samples!(x, v => Chunk::new(params, payload, v, void)) {
        MEMORY.lock().unwrap_or_else(PoisonError::into_inner).put(chunk, MOST_BYTES);
    }
}

/// Payloads with these parameters of the few chunks that have most in common with `x`.
pub(crate) fn recall(params: &[u32], x: &Samples) -> Vec<Arc<[u8]>> {
    MEMORY.lock().unwrap_or_else(PoisonError::into_inner).find(params, x)
}

impl Memory {
    fn put(&mut self, chunk: Chunk, most: usize) {
        let known = self.chunks.iter().position(|c| c.params == chunk.params && c.payload == chunk.payload);
        if let Some(old) = known.and_then(|i| self.chunks.remove(i)) {
            self.n_bytes -= old.n_bytes();
        }
        self.n_bytes += chunk.n_bytes();
        self.chunks.push_front(chunk);
        while self.n_bytes > most
            && let Some(last) = self.chunks.pop_back()
        {
            self.n_bytes -= last.n_bytes();
        }
    }

    fn find(&self, params: &[u32], x: &Samples) -> Vec<Arc<[u8]>> {
        let is_there = |m: &Mark| match_samples!(x, v => v.get(m.at as usize).is_some_and(|v| digest(*v) == m.digest));
        let known = self.chunks.iter().filter(|c| c.params == params);
        let mut found: Vec<_> = known.map(|c| (c.weight(is_there), c)).filter(|(n, _)| *n > 0).collect();
        // Of those that agree as well, the one that has least besides; then the one read last, since the order stays.
        found.sort_by_cached_key(|(n, c)| (Reverse(*n), c.weight(|_| true)));
        let best = found.first().map_or(0, |(n, _)| *n);
        found.into_iter().take(CLOSELY).filter(|(n, _)| n * 2 >= best).map(|(_, c)| c.payload.clone()).collect()
    }
}

fn digest<T: Sample>(v: T) -> u32 {
    let bits = v.to_bits();
    (bits ^ bits >> 32) as u32
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn chunk(params: u32, payload: u8, x: &[f32]) -> Chunk {
        Chunk::new(vec![params], &[payload; 100], x, &[]).unwrap()
    }

    #[test]
    fn the_chunk_read_last_is_kept_longest() {
        let x = |k: u8| -> Vec<f32> { (0..1000u16).map(|i| f32::from(i * 7 + u16::from(k)).sin()).collect() };
        let mut memory = Memory { chunks: VecDeque::new(), n_bytes: 0 };
        let most = 3 * chunk(1, 0, &x(0)).n_bytes() + 100;
        for k in [0, 1, 2, 0, 3] {
            memory.put(chunk(1, k, &x(k)), most);
            assert!(
                memory.n_bytes <= most && memory.n_bytes == memory.chunks.iter().map(Chunk::n_bytes).sum::<usize>()
            );
        }
        let found = |params, k| memory.find(&[params], &Samples::F32(x(k))).first().map(|p| p[0]);
        assert_eq!([0, 1, 2, 3].map(|k| found(1, k)), [Some(0), None, Some(2), Some(3)]);
        assert_eq!(found(2, 0), None);
    }

    #[test]
    fn a_chunk_that_grows_is_found_as_it_is() {
        // What it was before agrees as well, but with less, whatever share of the samples is marked.
        let x: Vec<f32> = (0..100_000u32).map(|i| (i as f32 * 0.37).sin()).collect();
        let state = |k: usize| [&x[..k * 10_000], &vec![f32::NAN; (10 - k) * 10_000]].concat();
        for most in 1..=9 {
            let mut memory = Memory { chunks: VecDeque::new(), n_bytes: 0 };
            for k in (1..=most).rev() {
                memory.put(chunk(1, k as u8, &state(k)), usize::MAX);
            }
            let found = memory.find(&[1], &Samples::F32(x.clone()));
            assert!(found.iter().any(|p| p[0] == most as u8) && found.len() <= CLOSELY);
        }
    }

    #[test]
    fn large_chunks_are_found_by_a_small_part() {
        let x: Vec<f32> = (0..1_000_000u32).map(|i| (i as f32 * 0.37).sin()).collect();
        let chunk = chunk(1, 0, &x);
        assert!((50_000..70_000).contains(&chunk.marks.len()), "{}", chunk.marks.len());
        // Any row of a thousand.
        assert!((0..1000).all(|row| chunk.marks.iter().any(|m| m.at / 1000 == row)));
    }
}
