//! Lossy chunks that this process has read: HDF5 reads a chunk before it writes a part of it anew, but does not tell the filter.
//!
//! Of each chunk its payload is kept, and values at some places, by which it is found again ([`recall`]). Parameters must agree.
//! Beyond [`MOST_BYTES`] the chunk that was read least recently is forgotten.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use lithify_codec::{Sample, Samples, match_samples};

use crate::kept::{TELLING, is_telling, is_void};

/// Far more than HDF5 keeps of decoded chunks by itself: payloads are small.
const MOST_BYTES: usize = 256 << 20;
/// Of more telling samples than that, only one in [`APART`] is kept, but never fewer.
const ENOUGH: usize = 4096;
const APART: usize = 16;

#[derive(Debug)]
struct Chunk {
    params: Vec<u32>,
    payload: Arc<[u8]>,
    /// Places in the chunk, and what is there.
    marks: Vec<(u32, u32)>,
}

impl Chunk {
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
    let marks = match_samples!(x, v => marks(v, void));
    if !marks.is_empty() {
        let chunk = Chunk { params, payload: payload.into(), marks };
        MEMORY.lock().unwrap_or_else(PoisonError::into_inner).put(chunk, MOST_BYTES);
    }
}

/// The payload of the chunk that has most in common with `x`, if there is any with these parameters that has anything.
pub(crate) fn recall(params: &[u32], x: &Samples) -> Option<Arc<[u8]>> {
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

    fn find(&self, params: &[u32], x: &Samples) -> Option<Arc<[u8]>> {
        let mut best = (0, None);
        for chunk in self.chunks.iter().filter(|c| c.params == params) {
            let n = match_samples!(x, v => {
                chunk.marks.iter().filter(|(at, mark)| v.get(*at as usize).is_some_and(|v| digest(*v) == *mark)).count()
            });
            // Of equals, the one read last.
            if n > best.0 {
                best = (n, Some(&chunk.payload));
            }
        }
        best.1.cloned()
    }
}

/// Telling samples, or where there are hardly any, all that were written.
fn marks<T: Sample>(x: &[T], void: &[u64]) -> Vec<(u32, u32)> {
    let mut places: Vec<usize> = (0..x.len()).filter(|&i| is_telling(x, i, void)).collect();
    if places.len() < TELLING {
        places = (0..x.len()).filter(|&i| !is_void(x[i], void)).collect();
    }
    let apart = (places.len() / ENOUGH).clamp(1, APART);
    // In each group of so many another one, lest all lie in a few columns (Knuth's multiplicative hashing).
    let one = |(i, group): (usize, &[usize])| {
        let at = *group.get(((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize % apart)?;
        Some((u32::try_from(at).ok()?, digest(x[at])))
    };
    places.chunks(apart).enumerate().filter_map(one).collect()
}

fn digest<T: Sample>(v: T) -> u32 {
    let bits = v.to_bits();
    (bits ^ bits >> 32) as u32
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_chunk_read_last_is_kept_longest() {
        let x = |k: usize| -> Vec<f32> { (0..1000).map(|i| ((i * 7 + k) as f32).sin()).collect() };
        let chunk = |k: usize| Chunk { params: vec![1], payload: vec![k as u8; 100].into(), marks: marks(&x(k), &[]) };
        let mut memory = Memory { chunks: VecDeque::new(), n_bytes: 0 };
        let most = 3 * chunk(0).n_bytes() + 100;
        for k in [0, 1, 2, 0, 3] {
            memory.put(chunk(k), most);
            assert!(memory.n_bytes <= most && memory.n_bytes == memory.chunks.iter().map(Chunk::n_bytes).sum());
        }
        let found = |params: &[u32], k| memory.find(params, &Samples::F32(x(k))).map(|p| p[0]);
        assert_eq!([0, 1, 2, 3].map(|k| found(&[1], k)), [Some(0), None, Some(2), Some(3)]);
        assert_eq!(found(&[2], 0), None);
    }

    #[test]
    fn large_chunks_are_found_by_a_small_part() {
        let x: Vec<f32> = (0..1_000_000).map(|i| (i as f32 * 0.37).sin()).collect();
        let marks = marks(&x, &[]);
        assert!((50_000..70_000).contains(&marks.len()), "{}", marks.len());
        // Any row of a thousand.
        for row in 0..1000 {
            assert!(marks.iter().any(|(at, _)| *at / 1000 == row));
        }
    }
}
