//! Exact repetition: labels, plateaus, mirrored grids, values that come back.
//!
//! # Maths
//! Candidates, in this order and each value once: what follows the match in hand (the last place where three keys were the same as
//! just now, followed as long as it is right), left, above, above right, plane before, and the neighbours (next, previous) of the last
//! sample that was equal to the left one. Each is offered under contexts of who proposes it and who was right lately.
//! # Cost       one mixed decision per candidate, at most four

use super::neighbours::Grid;
use crate::entropy::{BinaryCoder, BitModel};

const SOURCES: usize = 7;
/// Keys that make a match.
const CONTEXT: usize = 3;
const MAX_OFFERS: usize = 4;
const MASKS: usize = 1 << SOURCES;

/// What was seen, and who was right.
#[derive(Debug)]
pub struct Copies {
    /// Position + 1 of the last sample with a hash of keys.
    last: Vec<u32>,
    /// The same of three keys.
    last_context: Vec<u32>,
    /// The sample that the match in hand foretells, and how many it has foretold.
    matched: Option<usize>,
    length: usize,
    bits: u32,
    model: BitModel<4>,
    /// Last sample before the left one with the same key.
    back: Option<usize>,
    /// Sources that were right on the last samples, a mask each; 0 if none was.
    history: [usize; 3],
    /// Which sources held for each sample.
    held: Vec<u8>,
}

fn hash(k: i64, bits: u32) -> usize {
    ((k as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - bits)) as usize
}

impl Copies {
    /// For `n` samples.
    pub fn new(n: usize) -> Self {
        let bits = (usize::BITS - n.leading_zeros()).clamp(4, 20);
        Self {
            last: vec![0; 1 << bits],
            last_context: vec![0; 1 << bits],
            matched: None,
            length: 0,
            bits,
            model: BitModel::new(&[MASKS * 4 * 16, MASKS * MASKS * 4, MASKS * MASKS * 4, MASKS * 16 * 4], MASKS * 4),
            back: None,
            history: [0; 3],
            held: vec![0; n],
        }
    }

    /// The key, if one of the candidates is it.
    pub fn code<C: BinaryCoder>(
        &mut self,
        c: &mut C,
        keys: &[i64],
        i: usize,
        x: usize,
        y: usize,
        grid: Grid,
    ) -> Option<i64> {
        let nx = grid.nx;
        let at = |ok: bool, back: usize| (ok && back <= i).then(|| keys[i - back]);
        let back = self.back;
        let sources = [
            self.matched.map(|m| keys[m]),
            at(i > 0, 1),
            at(y > 0, nx),
            at(y > 0 && x + 1 < nx, nx.wrapping_sub(1)),
            at(grid.plane() > nx, grid.plane()),
            back.map(|b| keys[b + 1]),
            back.and_then(|b| b.checked_sub(1)).map(|b| keys[b]),
        ];
        let above = if y > 0 { usize::from(self.held[i - nx]) } else { 0 };
        let length = self.length.min(15);
        let mut found = None;
        let mut all = 0;
        let mut offers = 0;
        for (s, source) in sources.iter().enumerate() {
            let Some(k) = *source else { continue };
            let votes = (0..SOURCES).fold(0, |m, t| m | usize::from(sources[t] == Some(k)) << t);
            if votes & ((1 << s) - 1) > 0 {
                continue;
            }
            let rank = offers;
            offers += 1;
            let agree = |mask: usize| usize::from(mask & votes > 0);
            let recent =
                agree(self.history[0]) | agree(self.history[1]) << 1 | agree(self.history[2]) << 2 | agree(above) << 3;
            let contexts = [
                (votes * 4 + rank) * 16 + recent,
                (votes * MASKS + self.history[0]) * 4 + rank,
                (votes * MASKS + above) * 4 + rank,
                (votes * 16 + length) * 4 + rank,
            ];
            if self.model.code(c, keys[i] == k, &contexts, votes * 4 + rank) {
                found = Some(k);
                all = votes;
                break;
            }
            if offers == MAX_OFFERS {
                break;
            }
        }
        self.held[i] = all as u8;
        self.history = [all, self.history[0], self.history[1]];
        found
    }

    /// Notes sample `i`.
    pub fn learn(&mut self, keys: &[i64], i: usize) {
        let last = &mut self.last[hash(keys[i], self.bits)];
        self.back = (*last as usize).checked_sub(1).filter(|b| keys[*b] == keys[i]);
        *last = (i as u32).wrapping_add(1);
        let right = self.matched.is_some_and(|m| keys[m] == keys[i]);
        (self.matched, self.length) = if right { (self.matched.map(|m| m + 1), self.length + 1) } else { (None, 0) };
        if i + 1 < CONTEXT {
            return;
        }
        let context = &keys[i + 1 - CONTEXT..=i];
        let h = context.iter().fold(0i64, |h, k| (h ^ k).wrapping_mul(0x9e37_79b9_7f4a_7c15u64 as i64));
        let last = &mut self.last_context[hash(h, self.bits)];
        if self.matched.is_none() {
            let end = (*last as usize).checked_sub(1);
            self.matched = end.filter(|e| keys[e + 1 - CONTEXT..=*e] == *context).map(|e| e + 1);
        }
        *last = (i as u32).wrapping_add(1);
    }
}
