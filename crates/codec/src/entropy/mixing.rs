//! Context mixing: each binary decision is predicted by several adaptive counters at once, mixed in the logistic domain.
//!
//! # Maths
//! Counter i gives p_i at two rates; st(p) = log2(p / (1 - p)); the decision's probability is sq(sum_i w_i st(p_i)) with
//! weights w of the selected set, moved by w_i += rate * (bit - p) * st(p_i) after each decision.
//! # Shapes     contexts: one index per context table; set: the weight set
//! # On the wire nothing but range-coded decisions; models start from fixed values on both sides
//! # Cost       one load, one store and about 20 operations in vector lanes per context and decision
//! # When       always, unless speed matters more than 11 to 34 % of the bytes
//! # Reference  M. Mahoney, Adaptive weighing of context models for lossless data compression, 2005

use fearless_simd::prelude::*;
use fearless_simd::{f32x8, i32x8, u32x8, u64x4};

use super::range::BinaryCoder;
use crate::simd::{Level, level, widest};

/// Contexts of a decision; a model with fewer has idle ones that are always the same.
const LANES: usize = 8;

/// Unit of the logistic domain: one bit.
const BIT: i32 = 1024;
/// Largest logit handed to [`squash`].
const LIMIT: i32 = 12 * BIT - 1;
/// Probabilities handed to the coder keep this distance from 0 and 1.
const P_MIN: i32 = 4;

/// 2^x for the table below, in plain IEEE arithmetic so that every compiler builds the same table.
const fn exp2(x: f64) -> f64 {
    let y = x * std::f64::consts::LN_2 / 1024.0;
    // |y| < 0.01: six terms reach 1e-17.
    let mut e = 1.0 + y * (1.0 + y / 2.0 * (1.0 + y / 3.0 * (1.0 + y / 4.0 * (1.0 + y / 5.0 * (1.0 + y / 6.0)))));
    let mut i = 0;
    while i < 10 {
        e *= e;
        i += 1;
    }
    e
}

/// Logits between two entries of the table.
const PART: i32 = 32;
const N_SQUASH: usize = (2 * (LIMIT + 1) / PART) as usize + 1;
/// sq(t) for t = (i - 384) * 32 / 1024 bits, in 1/65536.
static SQUASH: [i32; N_SQUASH] = squash_table();

const fn squash_table() -> [i32; N_SQUASH] {
    let mut t = [0; N_SQUASH];
    let mut i = 0;
    while i < t.len() {
        let x = (i as f64 * PART as f64 - (LIMIT + 1) as f64) / BIT as f64;
        t[i] = (65536.0 / (1.0 + exp2(-x)) + 0.5) as i32;
        i += 1;
    }
    t
}

/// Logistic function: `t` in 1/1024 bit, result in 1/65536.
#[inline(always)]
fn squash(t: i32) -> i32 {
    let t = t.clamp(-LIMIT, LIMIT) + LIMIT + 1;
    let (i, f) = ((t / PART) as usize, t % PART);
    SQUASH[i] + (((SQUASH[i + 1] - SQUASH[i]) * f) >> 5)
}

/// The inverse of [`squash`] to 0.02 bits: log2(p / (65536 - p)) in 1/1024 bit, `0 < p < 65536`.
///
/// An integer's exponent and mantissa as a float are its logarithm, less a parabola that is 0.086 bits high. Unlike a table it
/// runs in vector lanes.
#[inline(always)]
fn stretch<S: Simd>(p: i32x8<S>) -> i32x8<S> {
    let bits = |v: i32x8<S>| v.to_float::<f32x8<S>>().bitcast::<i32x8<S>>();
    let bend = |v: i32x8<S>| {
        let m = (v >> 12) & 2047;
        m * (2048 - m)
    };
    let (a, b) = (bits(p), bits(65_536 - p));
    ((a - b) >> 13) + (((bend(a) - bend(b)) * 352) >> 22)
}

/// One adaptive probability at two rates, packed: `slow` averages over up to 250 decisions, `fast` over 15; the slow rate falls
/// with the number of decisions seen. 16 bits each, lowest first: slow, fast, rate.
type Counter = u64;

const FRESH: Counter = 1 << 15 | 1 << 31 | (FIRST_RATE as u64) << 32;
const FIRST_RATE: i32 = 40_960;
const SLOWEST: i32 = 261;
const FASTEST: i32 = 4200;
/// Counters keep this distance from 0 and 1.
const EDGE: i32 = 16;

/// The rate after `r`: 0.62, 0.33, 0.25, 0.20, .. 4 / (3 n).
#[inline(always)]
fn next_rate<S: Simd>(r: i32x8<S>) -> i32x8<S> {
    (r - ((r * (r >> 2) * 3) >> 16)).max(i32x8::splat(r.simd, SLOWEST))
}

/// `p` nearer to `target`, which it does not pass.
#[inline(always)]
fn moved<S: Simd>(p: i32x8<S>, target: i32, rate: i32x8<S>) -> i32x8<S> {
    p + (((target - p) * (rate >> 1)) >> 15)
}

/// Weights of one selected set, in 1/65536: of the slow and of the fast probability of each context, and a bias.
#[derive(Debug, Clone)]
struct Weights {
    slow: [i32; LANES],
    fast: [i32; LANES],
    bias: i32,
    /// Decisions mixed with it, for the falling learning rate.
    seen: u32,
}

/// Weights stay below 16.
const MAX_WEIGHT: i32 = 1 << 20;
/// Constant input, so that a set can learn a bias.
const BIAS: i32 = 443;

/// Learning rate by the number of decisions seen, halved: (0.002 + 0.02 / (1 + n / 50)) / 2.08 in 1/65536; inputs in bits are 1.44
/// times those in nats.
static LEARNING: [i32; 1024] = learning_table();

const fn learning_table() -> [i32; 1024] {
    let mut t = [0; 1024];
    let mut n = 0;
    while n < t.len() {
        t[n] = ((131.0 + 65_536.0 / (50.0 + 2.0 * n as f64)) * std::f64::consts::LN_2 + 0.5) as i32;
        n += 1;
    }
    t
}

impl Weights {
    /// For `n` contexts.
    fn new(n: usize) -> Self {
        // 0.6 in all for the slow probabilities, 0.3 for the fast ones.
        let share = |all: i32| std::array::from_fn(|i| if i < n { all / n as i32 } else { 0 });
        Self { slow: share(39_322), fast: share(19_661), bias: 0, seen: 0 }
    }

    #[inline(always)]
    fn dot<S: Simd>(&self, slow: i32x8<S>, fast: i32x8<S>) -> i32 {
        // Weights in 1/4096, at most 16, times inputs below 2^14: 30 bits.
        let simd = slow.simd;
        let product = |w: &[i32; LANES], x: i32x8<S>| ((i32x8::from_slice(simd, w) >> 4) * x) >> 8;
        let sum = (product(&self.slow, slow) + product(&self.fast, fast)).reduce_sum();
        (sum + (((self.bias >> 4) * BIAS) >> 8)) >> 4
    }

    /// `err` in 1/65536.
    #[inline(always)]
    fn learn<S: Simd>(&mut self, slow: i32x8<S>, fast: i32x8<S>, err: i32) {
        let simd = slow.simd;
        let rate = LEARNING[(self.seen >> 1) as usize];
        self.seen = (self.seen + 1).min(2 * LEARNING.len() as u32 - 1);
        let step = (err * rate) >> 11;
        let most = i32x8::splat(simd, MAX_WEIGHT);
        let learn = |w: &mut [i32; LANES], x: i32x8<S>| {
            let w_new = i32x8::from_slice(simd, w) + ((x * step + (1 << 14)) >> 15);
            w_new.min(most).max(-most).store_slice(w);
        };
        learn(&mut self.slow, slow);
        learn(&mut self.fast, fast);
        self.bias = (self.bias + ((step * BIAS + (1 << 14)) >> 15)).clamp(-MAX_WEIGHT, MAX_WEIGHT);
    }
}

/// A bank of counters and the weight sets that mix them.
#[derive(Debug, Clone)]
struct Mixer {
    level: Level,
    counters: Vec<Counter>,
    sets: Vec<Weights>,
}

impl Mixer {
    /// For `n` contexts.
    fn new(n: usize, n_counters: usize, n_sets: usize) -> Self {
        Self { level: level(), counters: vec![FRESH; n_counters], sets: vec![Weights::new(n); n_sets] }
    }

    #[inline(always)]
    fn code<S: Simd, C: BinaryCoder>(
        &mut self,
        simd: S,
        coder: &mut C,
        bit: bool,
        slots: &[u32; LANES],
        set: usize,
    ) -> bool {
        let bank = self.counters.as_mut_slice();
        let four = |i: usize| -> u32x8<S> {
            let at = |k: usize| bank[slots[i + k] as usize];
            u64x4::simd_from(simd, [at(0), at(1), at(2), at(3)]).bitcast()
        };
        let (a, b) = (four(0), four(4));
        let pairs = a.unzip_low(b);
        let rate: i32x8<S> = a.unzip_high(b).bitcast();
        let slow: i32x8<S> = (pairs & 0xffff).bitcast();
        let fast: i32x8<S> = (pairs >> 16).bitcast();
        let (slow_logit, fast_logit) = (stretch(slow), stretch(fast));
        let weights = &mut self.sets[set];
        let p = squash(weights.dot(slow_logit, fast_logit)).clamp(P_MIN, 65_536 - P_MIN);
        let bit = coder.code(bit, p as u32);
        weights.learn(slow_logit, fast_logit, if bit { 65_536 - p } else { -p });
        let target = if bit { 65_536 - EDGE } else { EDGE };
        let slow = moved(slow, target, rate);
        let fast = moved(fast, target, rate.max(i32x8::splat(simd, FASTEST)));
        let (pairs, rate) = (slow | (fast << 16), next_rate(rate));
        for (four, updated) in slots.as_chunks::<4>().0.iter().zip([pairs.zip_low(rate), pairs.zip_high(rate)]) {
            let updated: [Counter; 4] = updated.bitcast::<u64x4<S>>().into();
            for k in 0..4 {
                bank[four[k] as usize] = updated[k];
            }
        }
        bit
    }
}

/// Where each context table begins among the counters. A context's first nodes lie together, apart from all others: they are
/// asked most, and few cache lines then hold them.
#[derive(Debug, Clone)]
struct Tables {
    heads: [u32; LANES],
    tails: [u32; LANES],
    tail: u32,
}

impl Tables {
    /// For `head` nodes and `tail` more; and the number of counters in all.
    fn new(sizes: &[usize], head: u32, tail: u32) -> (Self, usize) {
        let mut n = 0;
        let mut place = |nodes: u32| {
            std::array::from_fn(|i| {
                let first = n;
                n += sizes.get(i).map_or(1, |s| *s as u32) * nodes;
                first
            })
        };
        let (heads, tails) = (place(head), place(tail));
        (Self { heads, tails, tail }, n as usize)
    }

    /// Of node 0, where `head` nodes are together; the others follow.
    #[inline(always)]
    fn head<const N: usize>(&self, contexts: &[usize; N], head: u32) -> [u32; LANES] {
        let mut slots = self.heads;
        for i in 0..N {
            slots[i] += contexts[i] as u32 * head;
        }
        slots
    }

    /// Of the first node after those.
    #[inline(always)]
    fn tail<const N: usize>(&self, contexts: &[usize; N]) -> [u32; LANES] {
        let mut slots = self.tails;
        for i in 0..N {
            slots[i] += contexts[i] as u32 * self.tail;
        }
        slots
    }
}

/// Models binary decisions, each under `N <= 8` contexts.
#[derive(Debug, Clone)]
pub struct BitModel<const N: usize> {
    mixer: Mixer,
    tables: Tables,
}

impl<const N: usize> BitModel<N> {
    /// One context table of each of `sizes`, and `n_sets` weight sets.
    pub fn new(sizes: &[usize; N], n_sets: usize) -> Self {
        let (tables, n) = Tables::new(sizes, 1, 0);
        Self { mixer: Mixer::new(N, n, n_sets), tables }
    }

    /// Codes one decision; see [`BinaryCoder::code`] for what a decoder does with `bit`.
    pub fn code<C: BinaryCoder>(&mut self, coder: &mut C, bit: bool, contexts: &[usize; N], set: usize) -> bool {
        let slots = self.tables.head(contexts, 1);
        widest!(self.mixer.level, simd => self.mixer.code(simd, coder, bit, &slots, set))
    }
}

/// Models signed integers as binary decisions: zero, sign, 1, 2, Exp-Golomb bucket in unary, two mantissa bits; the rest is raw.
#[derive(Debug, Clone)]
pub struct IntModel<const N: usize> {
    mixer: Mixer,
    tables: Tables,
    nodes: usize,
    max_log: u32,
}

const ZERO: u32 = 0;
const SIGN: u32 = 1;
const ONE: u32 = 2;
const TWO: u32 = 3;
const BUCKET: u32 = 4;
/// Of the nodes, those for small magnitudes.
const HEAD: u32 = BUCKET;

impl<const N: usize> IntModel<N> {
    /// One context table of each of `sizes`, and `n_sets` weight sets. Magnitudes below `2^max_log` are modelled well;
    /// larger ones are coded too, at a few bits more. `1 <= max_log <= 62`.
    pub fn new(sizes: &[usize; N], n_sets: usize, max_log: u32) -> Self {
        let tail = 4 * max_log + 4;
        let (tables, n) = Tables::new(sizes, HEAD, tail);
        let nodes = (HEAD + tail) as usize;
        Self { mixer: Mixer::new(N, n, n_sets * nodes), tables, nodes, max_log }
    }

    /// Codes one integer; see [`BinaryCoder::code`] for what a decoder does with `value`.
    pub fn code<C: BinaryCoder>(&mut self, c: &mut C, value: i64, contexts: &[usize; N], set: usize) -> i64 {
        widest!(self.mixer.level, simd => self.code_with(simd, c, value, contexts, set))
    }

    #[inline(always)]
    fn code_with<S: Simd, C: BinaryCoder>(
        &mut self,
        simd: S,
        c: &mut C,
        value: i64,
        contexts: &[usize; N],
        set: usize,
    ) -> i64 {
        let set = set * self.nodes;
        let m = value.unsigned_abs();
        // What is left for the buckets. A decoder passes 0: what is computed from it is meaningless and ignored.
        let v = m.saturating_sub(2).max(1);
        let log = 63 - v.leading_zeros();
        let mantissa = BUCKET + self.max_log;
        let mut negative = false;
        // All but raw bits in one loop: the code of a mixed decision is long, and there it stands once.
        let mut node = ZERO;
        let mut slots = self.tables.head(contexts, HEAD);
        let (mut bucket, mut rest, mut left) = (0, 0, 0);
        let magnitude = loop {
            let want = match node {
                ZERO => m == 0,
                SIGN => value < 0,
                ONE => m == 1,
                TWO => m == 2,
                _ if node < mantissa => log == bucket,
                _ => v >> left & 1 == 1,
            };
            let bit = self.mixer.code(simd, c, want, &slots, set + node as usize);
            let next = match (node, bit) {
                (ZERO, true) => return 0,
                (SIGN, _) => {
                    negative = bit;
                    ONE
                }
                (ONE, true) => break 1,
                (TWO, true) => break 2,
                (ZERO..BUCKET, _) => node + 1,
                _ if node < mantissa && !bit => {
                    bucket += 1;
                    if bucket == self.max_log {
                        break raw_size(c, log, v) + 2;
                    }
                    node + 1
                }
                _ => {
                    // The bucket is known: its two highest bits below the first are mixed.
                    let depth = if node < mantissa {
                        left = bucket;
                        0
                    } else {
                        rest = rest << 1 | u64::from(bit);
                        if node < mantissa + self.max_log { 1 } else { 2 }
                    };
                    if left == 0 || depth == 2 {
                        break (1 << bucket | raw_rest(c, v, rest, left)) + 2;
                    }
                    left -= 1;
                    if depth == 0 { mantissa + bucket } else { mantissa + self.max_log + 2 * bucket + u32::from(bit) }
                }
            };
            if next == BUCKET {
                slots = self.tables.tail(contexts);
            } else {
                slots.iter_mut().for_each(|slot| *slot += next - node);
            }
            node = next;
        } as i64;
        if negative { magnitude.wrapping_neg() } else { magnitude }
    }
}

/// The lower bits of `v`, `left` of them, after those in `rest`.
#[inline(never)]
fn raw_rest<C: BinaryCoder>(c: &mut C, v: u64, mut rest: u64, mut left: u32) -> u64 {
    while left > 0 {
        let n = left.min(32);
        left -= n;
        rest = rest << n | u64::from(c.code_raw((v >> left) as u32, n));
    }
    rest
}

/// Numbers beyond the modelled sizes: six raw bits of size, then the rest. A decoder may read a size of 63.
#[inline(never)]
fn raw_size<C: BinaryCoder>(c: &mut C, log: u32, v: u64) -> u64 {
    let size = c.code_raw(log, 6).min(62);
    1 << size | raw_rest(c, v, 0, size)
}

#[cfg(test)]
mod tests {
    use super::super::range::{Decoder, Encoder};
    use super::*;

    #[test]
    fn logits_are_what_the_formulas_say() {
        let bit = f64::from(BIT);
        for p in 1..65536 {
            let want = (f64::from(p) / f64::from(65536 - p)).log2();
            let got = widest!(level(), simd => stretch(i32x8::splat(simd, p))[0]);
            assert!((f64::from(got) / bit - want).abs() < 0.02, "{p}");
        }
        for t in -LIMIT..LIMIT {
            let want = 65536.0 / (1.0 + (-f64::from(t) / bit).exp2());
            assert!((f64::from(squash(t)) - want).abs() < 2.0, "{t}");
        }
    }

    #[test]
    fn integers_of_every_size_come_back() {
        let mut values: Vec<i64> =
            (0..63).flat_map(|k| [1i64 << k, -(1i64 << k), (1i64 << k) + 1, (1 << k) - 1]).collect();
        values.extend((0..2000).map(|i: i64| i * i % 17 - 8));
        for max_log in [1, 4, 20, 62] {
            let mut e = Encoder::new();
            let mut m = IntModel::new(&[3, 1], 2, max_log);
            for (i, &v) in values.iter().enumerate() {
                m.code(&mut e, v, &[i % 3, 0], i % 2);
            }
            let bytes = e.finish();
            let mut d = Decoder::new(&bytes);
            let mut m = IntModel::new(&[3, 1], 2, max_log);
            for (i, &v) in values.iter().enumerate() {
                assert_eq!(m.code(&mut d, 0, &[i % 3, 0], i % 2), v);
            }
            d.finish("test").unwrap();
        }
    }

    #[test]
    fn a_predictable_bit_costs_next_to_nothing() {
        let mut e = Encoder::new();
        let mut m = BitModel::new(&[1, 2], 1);
        for i in 0..100_000 {
            m.code(&mut e, false, &[0, i % 2], 0);
        }
        assert!(e.finish().len() < 60);
    }
}
