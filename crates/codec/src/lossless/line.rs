//! Short arrays and palettes: one prediction rule for all samples, and a coder that has little to learn.
//!
//! # Maths
//! differences  the p-th difference of the keys, along the array or along its columns
//! mirror       the same for the first half; the second half is predicted by the first one read backwards
//! polynomial   samples extrapolated by a polynomial of degree p, rounded to a key
//! odd mirror   the second half continues with the first one's steps, backwards: axes that are symmetric about their middle
//! repeat       the next step is one of the last 16 steps; which one is coded
//! ramp         x_0 + i (x_last - x_0) / (n - 1), rounded to a key: axes computed by a formula
//! Bit lengths of residuals go through a binary tree no deeper than the longest needs; low bits are raw.
//! # On the wire everything inside the range coder

use super::lift::Lift;
use crate::dtype::Sample;
use crate::entropy::{BinaryCoder, BitModel};

/// A prediction rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// p-th differences in steps of one sample.
    Difference(u8),
    /// p-th differences in steps of a row.
    ColumnDifference(u8),
    /// Polynomial extrapolation in the samples' units.
    Polynomial(u8),
    /// Differences, then the mirror.
    Mirror(u8),
    /// Differences, then the steps of the first half backwards.
    OddMirror(u8),
    /// One of the steps before.
    Repeat,
    /// From the first to the last sample.
    Ramp,
    /// Every key by itself.
    Plain,
}

/// Highest difference.
const ORDERS: u8 = 8;
const MIRROR_ORDERS: u8 = 6;
/// Steps that `Repeat` looks back.
const STEPS: usize = 16;

impl Rule {
    /// Number on the wire, below 32.
    pub fn id(self) -> u8 {
        match self {
            Self::Difference(p) => p,
            Self::ColumnDifference(p) => 24 + p,
            Self::Polynomial(p) => 8 + p,
            Self::Mirror(p) => 12 + 2 * p,
            Self::OddMirror(p) => 13 + 2 * p,
            Self::Repeat => 27,
            Self::Ramp => 28,
            Self::Plain => 29,
        }
    }

    /// The inverse of [`Rule::id`].
    pub fn from_id(id: u8) -> Option<Self> {
        Some(match id {
            0..=7 => Self::Difference(id),
            8..=11 => Self::Polynomial(id - 8),
            12..=23 if id.is_multiple_of(2) => Self::Mirror((id - 12) / 2),
            12..=23 => Self::OddMirror((id - 12) / 2),
            24..=26 => Self::ColumnDifference(id - 24),
            27 => Self::Repeat,
            28 => Self::Ramp,
            29 => Self::Plain,
            _ => return None,
        })
    }

    /// Rules worth trying. Columns need more than one row.
    pub fn candidates(n: usize, row: usize, float_bits: bool) -> Vec<Self> {
        let mut all: Vec<_> = (0..ORDERS).filter(|p| usize::from(*p) < n).map(Self::Difference).collect();
        if n > 3 {
            all.push(Self::Ramp);
            all.push(Self::Repeat);
            all.extend((0..MIRROR_ORDERS).flat_map(|p| [Self::Mirror(p), Self::OddMirror(p)]));
        }
        if row > 1 && n / row > 1 {
            all.extend((0..3).map(Self::ColumnDifference));
        }
        if float_bits && n > 3 {
            all.extend((1..4).map(Self::Polynomial));
        }
        all
    }
}

/// Binomial coefficients with alternating signs: x_i is predicted by sum_j row[j] x_{i-1-j}.
const EXTRAPOLATE: [&[i64]; 8] = [
    &[1],
    &[2, -1],
    &[3, -3, 1],
    &[4, -6, 4, -1],
    &[5, -10, 10, -5, 1],
    &[6, -15, 20, -15, 6, -1],
    &[7, -21, 35, -35, 21, -7, 1],
    &[8, -28, 56, -70, 56, -28, 8, -1],
];

/// As far back as there are samples.
fn weights(order: u8, available: usize) -> &'static [i64] {
    EXTRAPOLATE[usize::from(order).min(available - 1).min(7)]
}

fn predict<T: Sample>(rule: Rule, k: &[i64], i: usize, row: usize, last: i64, lift: &Lift) -> i64 {
    let differences = |order: u8, step: usize| {
        weights(order, i / step)
            .iter()
            .enumerate()
            .fold(0i64, |s, (j, w)| s.wrapping_add(w.wrapping_mul(k[i - (j + 1) * step])))
    };
    match rule {
        Rule::Plain => 0,
        Rule::Difference(p) => differences(p, 1),
        Rule::ColumnDifference(p) if i >= row => differences(p, row),
        Rule::ColumnDifference(_) => k[i - 1],
        Rule::Mirror(_) if 2 * i >= k.len() => k[k.len() - 1 - i],
        Rule::OddMirror(_) if 2 * i > k.len() => {
            let j = k.len() - i;
            k[i - 1].wrapping_add(k[j]).wrapping_sub(k[j - 1])
        }
        Rule::Mirror(p) | Rule::OddMirror(p) => differences(p, 1),
        Rule::Repeat => repeated(k, i, best_step(k, i)),
        Rule::Polynomial(p) => {
            let sum = |s: f64, (j, w): (usize, &i64)| s + *w as f64 * lift.value::<T>(k[i - 1 - j]);
            lift.nearest::<T>(weights(p, i).iter().enumerate().fold(0.0, sum))
        }
        Rule::Ramp => {
            let (a, b) = (lift.value::<T>(k[0]), lift.value::<T>(last));
            lift.nearest::<T>(a + i as f64 * ((b - a) / (k.len() - 1) as f64))
        }
    }
}

/// The key after the step that was taken `1 + back` steps ago.
fn repeated(k: &[i64], i: usize, back: usize) -> i64 {
    let j = i - 1 - back.min(i - 1);
    if j == 0 { k[i - 1] } else { k[i - 1].wrapping_add(k[j]).wrapping_sub(k[j - 1]) }
}

/// Which of the last steps comes nearest to the one that leads to `k[i]`.
fn best_step(k: &[i64], i: usize) -> usize {
    let miss = |back: &usize| k[i].wrapping_sub(repeated(k, i, *back)).unsigned_abs();
    (0..STEPS.min(i)).min_by_key(miss).unwrap_or(0)
}

/// An integer about which nothing is known: bit length, sign, bits.
pub fn code_raw_int<C: BinaryCoder>(c: &mut C, v: i64) -> i64 {
    let m = v.unsigned_abs();
    let length = c.code_raw(64 - m.leading_zeros(), 7).min(64);
    if length == 0 {
        return 0;
    }
    let negative = c.code_raw(u32::from(v < 0), 1) == 1;
    let m = low_bits(c, m, length - 1) | 1u64 << (length - 1);
    if negative { (m as i64).wrapping_neg() } else { m as i64 }
}

fn low_bits<C: BinaryCoder>(c: &mut C, m: u64, n: u32) -> u64 {
    let mask = (1u64 << n) - 1;
    let high = c.code_raw(((m & mask) >> 32) as u32, n.saturating_sub(32));
    let low = c.code_raw((m & mask) as u32, n.min(32));
    u64::from(high) << 32 | u64::from(low)
}

/// Bits that residuals would take without a model, for a first choice between rules.
pub fn estimate<T: Sample>(k: &[i64], rule: Rule, row: usize, lift: &Lift) -> u64 {
    let Some(&last) = k.last() else { return 0 };
    let bits = |i: usize| {
        let r = k[i].wrapping_sub(predict::<T>(rule, k, i, row, last, lift));
        2 * u64::from(64 - r.unsigned_abs().leading_zeros())
    };
    (1..k.len()).map(bits).sum::<u64>()
        + match rule {
            Rule::Ramp => 50,
            Rule::Repeat => 2 * k.len() as u64,
            _ => 0,
        }
}

/// Codes `k` in place under a rule; a decoder overwrites the keys as it goes.
pub fn code<C: BinaryCoder, T: Sample>(c: &mut C, k: &mut [i64], rule: Rule, row: usize, lift: &Lift) {
    let Some(&last) = k.last() else { return };
    k[0] = code_raw_int(c, k[0]);
    if k.len() == 1 {
        return;
    }
    let last = if rule == Rule::Ramp { code_raw_int(c, last) } else { last };
    let residual = |k: &[i64], i: usize| k[i].wrapping_sub(predict::<T>(rule, k, i, row, last, lift));
    let length = |i: usize| 64 - residual(k, i).unsigned_abs().leading_zeros();
    let (shortest, longest) = (1..k.len()).fold((64, 0), |(s, l), i| (length(i).min(s), length(i).max(l)));
    let longest = c.code_raw(longest, 7).min(64);
    let shortest = c.code_raw(shortest, 32 - longest.leading_zeros()).min(longest);
    let depth = 32 - (longest - shortest).leading_zeros();
    let mut lengths = BitModel::new(&[128, 65 * 128, 4 * 2 * 128], 1);
    let mut signs = BitModel::new(&[9, 4 * 2], 1);
    let mut tops = BitModel::new(&[65, 65 * 4], 1);
    let mut steps = BitModel::new(&[STEPS], 1);
    let (mut before, mut sign_before) = (0, [0; 2]);
    for i in 1..k.len() {
        let p = match rule {
            Rule::Repeat => {
                let best = best_step(k, i);
                let mut node = 1;
                for bit in (0..4).rev() {
                    node = node * 2 + usize::from(steps.code(c, best >> bit & 1 == 1, &[node], 0));
                }
                repeated(k, i, node - STEPS)
            }
            _ => predict::<T>(rule, k, i, row, last, lift),
        };
        let r = k[i].wrapping_sub(p);
        let m = r.unsigned_abs();
        let l = (64 - m.leading_zeros()).saturating_sub(shortest);
        let place = (i % row).min(3) * 2 + usize::from(2 * i >= k.len());
        let mut node = 1;
        for bit in (0..depth).rev() {
            let contexts = [node, before * 128 + node, place * 128 + node];
            node = node * 2 + usize::from(lengths.code(c, l >> bit & 1 == 1, &contexts, 0));
        }
        let l = (node - (1 << depth) + shortest as usize).min(64);
        before = l;
        let mut back = 0i64;
        if l > 0 {
            let negative = signs.code(c, r < 0, &[sign_before[0] * 3 + sign_before[1], place], 0);
            let mut m_back = 1u64;
            let mut left = l as u32 - 1;
            if left > 0 {
                left -= 1;
                m_back = 2 | u64::from(tops.code(c, m >> left & 1 == 1, &[l, l * 4 + place % 4], 0));
            }
            let low = low_bits(c, m, left);
            m_back = if left > 0 { m_back << left | low } else { m_back };
            back = if negative { (m_back as i64).wrapping_neg() } else { m_back as i64 };
        }
        sign_before = [(back.signum() + 1) as usize, sign_before[0]];
        k[i] = p.wrapping_add(back);
    }
}
