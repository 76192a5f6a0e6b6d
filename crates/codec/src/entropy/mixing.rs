//! Context mixing: each binary decision is predicted by several adaptive counters at once, mixed in the logistic domain.
//!
//! # Maths
//! Counter i gives p_i at two rates; st(p) = ln(p / (1 - p)); the decision's probability is sq(sum_i w_i st(p_i)) with
//! weights w of the selected set, moved by w_i += rate * (bit - p) * st(p_i) after each decision.
//! # Shapes     contexts: one index per context table; set: the weight set
//! # On the wire nothing but range-coded decisions; models start from fixed values on both sides
//! # Cost       2 loads and 4 multiplications per context and decision
//! # When       always, unless speed matters more than 11 to 34 % of the bytes
//! # Reference  M. Mahoney, Adaptive weighing of context models for lossless data compression, 2005

use super::range::BinaryCoder;

/// Fractional bits of the logistic domain: 1024 = one nat.
const NAT: f64 = 1024.0;
/// Probabilities handed to the coder keep this distance from 0 and 1.
const P_MIN: i32 = 4;

/// e^x for the tables below, in plain IEEE arithmetic so that every compiler builds the same table.
const fn exp(x: f64) -> f64 {
    let y = x / 1024.0;
    // |y| < 0.02: six terms reach 1e-17.
    let mut e = 1.0 + y * (1.0 + y / 2.0 * (1.0 + y / 3.0 * (1.0 + y / 4.0 * (1.0 + y / 5.0 * (1.0 + y / 6.0)))));
    let mut i = 0;
    while i < 10 {
        e *= e;
        i += 1;
    }
    e
}

/// sq(t) for t = (i - 2048) * 8 / 1024 nats, in 1/65536.
static SQUASH: [i32; 4097] = squash_table();
/// st(p) for p = (i + 1/2) / 4096, in 1/1024 nat.
static STRETCH: [i16; 4096] = stretch_table();

const fn squash_table() -> [i32; 4097] {
    let mut t = [0; 4097];
    let mut i = 0;
    while i < 4097 {
        let x = (i as f64 - 2048.0) * 8.0 / NAT;
        t[i] = (65536.0 / (1.0 + exp(-x)) + 0.5) as i32;
        i += 1;
    }
    t
}

const fn stretch_table() -> [i16; 4096] {
    // The inverse by bisection of e^t = p / (1 - p): no logarithm is needed.
    let mut t = [0; 4096];
    let mut i = 0;
    while i < 4096 {
        let p = (i as f64 + 0.5) / 4096.0;
        let odds = p / (1.0 - p);
        let (mut lo, mut hi) = (-10 * NAT as i32, 10 * NAT as i32);
        while hi - lo > 1 {
            let mid = (lo + hi) / 2;
            if exp(mid as f64 / NAT) <= odds {
                lo = mid;
            } else {
                hi = mid;
            }
        }
        t[i] = lo as i16;
        i += 1;
    }
    t
}

/// Logistic function: `t` in 1/1024 nat, result in 1/65536.
#[inline(always)]
fn squash(t: i32) -> i32 {
    let t = t.clamp(-16383, 16383) + 16384;
    let (i, f) = ((t >> 3) as usize, t & 7);
    SQUASH[i] + (((SQUASH[i + 1] - SQUASH[i]) * f) >> 3)
}

/// 65536 / (n + 1.6): the step of a counter that has seen n decisions.
static RATE: [i32; 256] = rate_table();

const fn rate_table() -> [i32; 256] {
    let mut t = [0; 256];
    let mut n = 0;
    while n < 256 {
        t[n] = (655_360 / (10 * n + 16)) as i32;
        n += 1;
    }
    t
}

/// One adaptive probability at two rates: `slow` averages over up to 250 decisions, `fast` over 15.
#[derive(Debug, Clone, Copy)]
struct Counter {
    slow: u16,
    fast: u16,
    n: u8,
}

const FRESH: Counter = Counter { slow: 1 << 15, fast: 1 << 15, n: 0 };
const SLOW_LIMIT: u8 = 250;
const FAST_LIMIT: usize = 14;

impl Counter {
    #[inline(always)]
    fn update(&mut self, bit: bool) {
        let target = if bit { 65535 } else { 0 };
        let n = self.n as usize;
        let slow = i32::from(self.slow);
        let fast = i32::from(self.fast);
        self.slow = (slow + (((target - slow) * RATE[n]) >> 16)).clamp(16, 65519) as u16;
        self.fast = (fast + (((target - fast) * RATE[n.min(FAST_LIMIT)]) >> 16)).clamp(16, 65519) as u16;
        if self.n < SLOW_LIMIT {
            self.n += 1;
        }
    }
}

/// Weights of one selected set, in 1/65536: slow and fast probability of each context, and a bias.
#[derive(Debug, Clone)]
struct Weights<const N: usize> {
    pairs: [[i32; 2]; N],
    bias: i32,
    /// Decisions mixed with it, for the falling learning rate.
    seen: u16,
}

/// A bank of counters and the weight sets that mix `N` of them.
#[derive(Debug, Clone)]
struct Mixer<const N: usize> {
    counters: Vec<Counter>,
    sets: Vec<Weights<N>>,
}

/// Constant input, so that a set can learn a bias.
const BIAS: i32 = 307;

impl<const N: usize> Mixer<N> {
    fn new(n_counters: usize, n_sets: usize) -> Self {
        // 0.6 in all for the slow probabilities, 0.3 for the fast ones.
        let pairs = [[39322 / N as i32, 19661 / N as i32]; N];
        Self { counters: vec![FRESH; n_counters], sets: vec![Weights { pairs, bias: 0, seen: 0 }; n_sets] }
    }

    /// The inputs, in 1/1024 nat, and the probability of a one, in 1/65536.
    #[inline(always)]
    fn predict(&self, slots: &[u32; N], set: usize) -> ([[i32; 2]; N], i32) {
        let inputs = slots.map(|slot| {
            let c = self.counters[slot as usize];
            [c.slow, c.fast].map(|p| i32::from(STRETCH[usize::from(p >> 4)]))
        });
        let weights = &self.sets[set];
        let dot: i64 = (0..N).fold(i64::from(weights.bias) * i64::from(BIAS), |sum, i| {
            let product = |k: usize| i64::from(weights.pairs[i][k]) * i64::from(inputs[i][k]);
            sum + product(0) + product(1)
        });
        let p = squash((dot >> 16).clamp(-16383, 16383) as i32).clamp(P_MIN, 65536 - P_MIN);
        (inputs, p)
    }

    #[inline(always)]
    fn code<C: BinaryCoder>(&mut self, coder: &mut C, bit: bool, slots: &[u32; N], set: usize) -> bool {
        let (inputs, p) = self.predict(slots, set);
        let bit = coder.code(bit, p as u32);
        let err = i64::from(if bit { 65536 - p } else { -p });
        let weights = &mut self.sets[set];
        // Learning rate 0.002 + 0.02 / (1 + t / 50), in 1/65536.
        let rate = 131 + 65_536 / (50 + i64::from(weights.seen));
        weights.seen = weights.seen.saturating_add(1);
        let step = err * rate;
        let moved = |w: i32, x: i32| {
            (i64::from(w) + ((step * i64::from(x) + (1 << 25)) >> 26)).clamp(-(1 << 20), 1 << 20) as i32
        };
        for (w, x) in weights.pairs.iter_mut().zip(&inputs) {
            *w = [moved(w[0], x[0]), moved(w[1], x[1])];
        }
        weights.bias = moved(weights.bias, BIAS);
        for &slot in slots {
            self.counters[slot as usize].update(bit);
        }
        bit
    }
}

/// Where each context table begins among the counters, and how large it is.
#[derive(Debug, Clone)]
struct Tables<const N: usize> {
    base: [u32; N],
    sizes: [u32; N],
    nodes: u32,
}

impl<const N: usize> Tables<N> {
    fn new(sizes: &[usize; N], nodes: usize) -> (Self, usize) {
        let mut n = 0;
        let base = sizes.map(|size| {
            let base = n as u32;
            n += size * nodes;
            base
        });
        (Self { base, sizes: sizes.map(|s| s as u32), nodes: nodes as u32 }, n)
    }

    /// Of node 0; the others follow.
    #[inline(always)]
    fn slots(&self, contexts: &[usize; N]) -> [u32; N] {
        std::array::from_fn(|i| {
            debug_assert!(contexts[i] < self.sizes[i] as usize, "context {i}: {} of {}", contexts[i], self.sizes[i]);
            self.base[i] + contexts[i] as u32 * self.nodes
        })
    }
}

/// Models binary decisions, each under `N` contexts.
#[derive(Debug, Clone)]
pub struct BitModel<const N: usize> {
    mixer: Mixer<N>,
    tables: Tables<N>,
}

impl<const N: usize> BitModel<N> {
    /// One context table of each of `sizes`, and `n_sets` weight sets.
    pub fn new(sizes: &[usize; N], n_sets: usize) -> Self {
        let (tables, n) = Tables::new(sizes, 1);
        Self { mixer: Mixer::new(n, n_sets), tables }
    }

    /// Codes one decision; see [`BinaryCoder::code`] for what a decoder does with `bit`.
    #[inline(always)]
    pub fn code<C: BinaryCoder>(&mut self, coder: &mut C, bit: bool, contexts: &[usize; N], set: usize) -> bool {
        self.mixer.code(coder, bit, &self.tables.slots(contexts), set)
    }
}

/// Models signed integers as binary decisions: zero, sign, 1, 2, Exp-Golomb bucket in unary, two mantissa bits; the rest is raw.
#[derive(Debug, Clone)]
pub struct IntModel<const N: usize> {
    mixer: Mixer<N>,
    tables: Tables<N>,
    max_log: u32,
}

/// Where the models of one integer lie.
struct At<const N: usize> {
    slots: [u32; N],
    set: usize,
}

const ZERO: u32 = 0;
const SIGN: u32 = 1;
const ONE: u32 = 2;
const TWO: u32 = 3;
const BUCKET: u32 = 4;

impl<const N: usize> IntModel<N> {
    /// One context table of each of `sizes`, and `n_sets` weight sets. Magnitudes below `2^max_log` are modelled well;
    /// larger ones are coded too, at a few bits more. `1 <= max_log <= 62`.
    pub fn new(sizes: &[usize; N], n_sets: usize, max_log: u32) -> Self {
        let nodes = (BUCKET + 4 * max_log + 4) as usize;
        let (tables, n) = Tables::new(sizes, nodes);
        Self { mixer: Mixer::new(n, n_sets * nodes), tables, max_log }
    }

    #[inline(always)]
    fn bit<C: BinaryCoder>(&mut self, c: &mut C, bit: bool, at: &At<N>, node: u32) -> bool {
        self.mixer.code(c, bit, &at.slots.map(|slot| slot + node), at.set + node as usize)
    }

    /// Codes one integer; see [`BinaryCoder::code`] for what a decoder does with `value`.
    #[inline(always)]
    pub fn code<C: BinaryCoder>(&mut self, c: &mut C, value: i64, contexts: &[usize; N], set: usize) -> i64 {
        let at = At { slots: self.tables.slots(contexts), set: set * self.tables.nodes as usize };
        if self.bit(c, value == 0, &at, ZERO) {
            return 0;
        }
        let negative = self.bit(c, value < 0, &at, SIGN);
        let magnitude = self.magnitude(c, value.unsigned_abs(), &at) as i64;
        if negative { magnitude.wrapping_neg() } else { magnitude }
    }

    /// `m >= 1`.
    #[inline(always)]
    fn magnitude<C: BinaryCoder>(&mut self, c: &mut C, m: u64, at: &At<N>) -> u64 {
        if self.bit(c, m == 1, at, ONE) {
            return 1;
        }
        if self.bit(c, m == 2, at, TWO) {
            return 2;
        }
        // The decoder passes m = 0: every value below is then meaningless and ignored.
        let v = m.saturating_sub(2).max(1);
        let log = 63 - v.leading_zeros();
        let mut bucket = 0;
        while bucket < self.max_log && !self.bit(c, log == bucket, at, BUCKET + bucket) {
            bucket += 1;
        }
        if bucket == self.max_log {
            // Beyond the modelled sizes: six raw bits of size, then the rest. A decoder may read a size of 63.
            bucket = c.code_raw(log, 6).min(62);
            let high = c.code_raw((v >> 32) as u32, bucket.saturating_sub(32));
            let low = c.code_raw(v as u32, bucket.min(32));
            return (1 << bucket | u64::from(high) << 32 | u64::from(low)) + 2;
        }
        let mut rest = 0u64;
        let mut left = bucket;
        let mantissa = BUCKET + self.max_log;
        if left > 0 {
            left -= 1;
            let b = self.bit(c, v >> left & 1 == 1, at, mantissa + bucket);
            rest = u64::from(b);
            if left > 0 {
                left -= 1;
                let node = mantissa + self.max_log + 2 * bucket + u32::from(b);
                rest = rest << 1 | u64::from(self.bit(c, v >> left & 1 == 1, at, node));
            }
        }
        while left > 0 {
            let n = left.min(32);
            left -= n;
            rest = rest << n | u64::from(c.code_raw((v >> left) as u32, n));
        }
        (1 << bucket | rest) + 2
    }
}

#[cfg(test)]
mod tests {
    use super::super::range::{Decoder, Encoder};
    use super::*;

    #[test]
    fn tables_are_what_the_formulas_say() {
        for (i, &s) in STRETCH.iter().enumerate() {
            let p = (i as f64 + 0.5) / 4096.0;
            assert!((f64::from(s) / NAT - (p / (1.0 - p)).ln()).abs() < 2.0 / NAT);
        }
        for t in -16383..16383 {
            let want = 65536.0 / (1.0 + (-f64::from(t) / NAT).exp());
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
