//! Frequencies of symbols: tables out of a model, and those of the 64 log-spaced scales.
//!
//! # Maths
//! 1. Scale i of 64: 0.11 (256 / 0.11)^(i / 63), a standard deviation.
//! 2. p(s) = F(s + 1/2) - F(s - 1/2) for -L <= s <= L; L, at least 1, is the largest symbol with 2^16 p >= 1/2. What is left is the escape's.
//! 3. Frequencies are max(1, round(2^16 p)), ties to even; the symbol 0 takes what is missing from 2^16.
//!
//! F in IEEE `+ - * / sqrt` in this order, exponentials by [`crate::quantize::log`]: the same tables on every machine.
//! # On the wire an escape is followed by the symbol, zigzag, as an Exp-Golomb code of raw bits

use std::sync::OnceLock;

use super::model::{Distribution, N_SCALES, SCALES, Tables};
use super::tensor::{Tensors, integers};
use crate::entropy::multi::{BITS, MultiDecoder, MultiEncoder};
use crate::error::Result;
use crate::quantize::log::{exp2, log2};

/// Everything.
const ALL: u32 = 1 << BITS;

/// Frequencies of consecutive symbols and of an escape.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The first symbol.
    offset: i32,
    /// Sum of the frequencies before each symbol, before the escape, and of all.
    cumulative: Vec<u32>,
    /// For each 256th part, the symbol in which it begins.
    coarse: Vec<u16>,
}

impl Table {
    /// Symbols from `offset` on; the last frequency is the escape's. They add up to 2^16; 0 is allowed but for the escape.
    pub fn new(offset: i32, frequencies: &[u32]) -> Self {
        let mut sum = 0;
        let mut cumulative = vec![0];
        cumulative.extend(frequencies.iter().map(|f| {
            sum += f;
            sum
        }));
        let coarse = (0..256).map(|i| cumulative.partition_point(|c| *c <= i << 8).saturating_sub(1) as u16).collect();
        Self { offset, cumulative, coarse }
    }

    /// Cumulative frequency and frequency of a symbol, of the escape if it has none.
    #[inline]
    fn find(&self, symbol: i32) -> (u32, u32, bool) {
        let escape = self.cumulative.len() - 2;
        let at = usize::try_from(i64::from(symbol) - i64::from(self.offset)).unwrap_or(escape).min(escape);
        let (c, f) = (self.cumulative[at], self.cumulative[at + 1] - self.cumulative[at]);
        if f == 0 || at == escape {
            let c = self.cumulative[escape];
            return (c, self.cumulative[escape + 1] - c, true);
        }
        (c, f, false)
    }

    /// What a symbol costs.
    pub fn bits(&self, symbol: i32) -> f64 {
        let (_, f, escaped) = self.find(symbol);
        let bits = f64::from(BITS) - f64::from(f).log2();
        if escaped { bits + f64::from(2 * (zigzag(symbol) + 1).ilog2() + 1) } else { bits }
    }

    /// Writes a symbol.
    pub fn encode(&self, coder: &mut MultiEncoder, symbol: i32) {
        let (c, f, escaped) = self.find(symbol);
        coder.code(c, f);
        if escaped {
            write_escape(coder, symbol);
        }
    }

    /// Reads a symbol.
    pub fn decode(&self, coder: &mut MultiDecoder<'_>) -> i32 {
        let v = coder.peek();
        let mut at = usize::from(self.coarse[(v >> 8) as usize]);
        while self.cumulative[at + 1] <= v {
            at += 1;
        }
        coder.take(self.cumulative[at], self.cumulative[at + 1] - self.cumulative[at]);
        if at + 2 == self.cumulative.len() { read_escape(coder) } else { self.offset.wrapping_add(at as i32) }
    }

    /// Tables of a model, one for each channel.
    pub(super) fn of_model(tables: &Tables, tensors: &Tensors) -> Result<Vec<Self>> {
        let (_, offsets) = integers(tensors, &tables.offset, &[None])?;
        let (shape, f) = integers(tensors, &tables.frequencies, &[None; 2])?;
        let rows = f.chunks(shape[1]).map(|row| row.iter().map(|f| *f as u32).collect::<Vec<_>>());
        Ok(offsets.into_iter().zip(rows).map(|(offset, row)| Self::new(offset, &row)).collect())
    }
}

/// Frequencies of symbols and, last, of the escape, each at least 1, out of probabilities that need not add up to one: what [`Tables`] hold.
pub fn frequencies(p: &[f64]) -> Vec<i32> {
    let sum: f64 = p.iter().sum();
    let all = f64::from(ALL);
    let mut f: Vec<i32> = p.iter().map(|p| (p / sum * all).round_ties_even().clamp(1.0, all) as i32).collect();
    let mut excess = f.iter().sum::<i32>() - ALL as i32;
    while excess != 0
        && let Some(most) = f.iter_mut().max()
    {
        // What rounding took is given to the likeliest, what it gave is taken where there is most.
        let change = excess.min(*most / 2);
        *most -= change;
        excess -= change;
    }
    f
}

/// Largest size of a symbol.
pub const LARGEST: i32 = 1 << 24;

fn zigzag(v: i32) -> u32 {
    ((v << 1) ^ (v >> 31)) as u32
}

pub(super) fn write_escape(coder: &mut MultiEncoder, symbol: i32) {
    let v = zigzag(symbol) + 1;
    let n = v.ilog2();
    (0..n).for_each(|_| coder.raw(0, 1));
    coder.raw(1, 1);
    let low = n.min(16);
    coder.raw(v >> low & ((1 << (n - low)) - 1), n - low);
    coder.raw(v & ((1 << low) - 1), low);
}

pub(super) fn read_escape(coder: &mut MultiDecoder<'_>) -> i32 {
    let mut n = 0;
    // No symbol has more bits; a damaged stream may say so.
    while n < 26 && coder.raw(1) == 0 {
        n += 1;
    }
    let low = n.min(16);
    let high = coder.raw(n - low);
    let v = (1u32 << n | high << low | coder.raw(low)) - 1;
    ((v >> 1) as i32 ^ -((v & 1) as i32)).clamp(-LARGEST, LARGEST)
}

/// Standard deviation of scale `i`.
pub fn scale(i: usize) -> f64 {
    SCALES.0 * exp2(log2(SCALES.1 / SCALES.0) * i as f64 / (N_SCALES - 1) as f64)
}

/// The index, 0 to 63, of the scale nearest to a standard deviation, by logarithm. Encoders only.
pub fn scale_index(std: f64) -> usize {
    let t = (std / SCALES.0).max(1.0).ln() / (SCALES.1 / SCALES.0).ln() * (N_SCALES - 1) as f64;
    (t.round() as usize).min(N_SCALES - 1)
}

/// Probability that a variable of mean 0 and standard deviation 1 exceeds x >= 0.
fn tail(distribution: Distribution, x: f64) -> f64 {
    match distribution {
        Distribution::Laplacian => 0.5 * exp2(-x * std::f64::consts::SQRT_2 * std::f64::consts::LOG2_E),
        _ => 0.5 * erfc(x * std::f64::consts::FRAC_1_SQRT_2),
    }
}

/// Complementary error function of x >= 0: a power series below 2.5, a continued fraction above.
fn erfc(x: f64) -> f64 {
    let gauss = exp2(-x * x * std::f64::consts::LOG2_E);
    if x < 2.5 {
        // erf = 2 / sqrt(pi) exp(-x^2) sum of 2^n x^(2n+1) / (2n+1)!!
        let (mut term, mut sum) = (x, x);
        for n in 1..60 {
            term = term * 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        return 1.0 - std::f64::consts::FRAC_2_SQRT_PI * gauss * sum;
    }
    let mut f = x;
    for k in (1..60).rev() {
        f = x + f64::from(k) / 2.0 / f;
    }
    gauss * std::f64::consts::FRAC_2_SQRT_PI / 2.0 / f
}

/// Tables of all scales, made once.
pub fn scale_tables(distribution: Distribution) -> &'static [Table] {
    static MADE: [OnceLock<Vec<Table>>; 3] = [const { OnceLock::new() }; 3];
    MADE[distribution as usize].get_or_init(|| (0..N_SCALES).map(|i| scale_table(distribution, i)).collect())
}

fn scale_table(distribution: Distribution, i: usize) -> Table {
    if distribution == Distribution::Bernoulli {
        let ones = (2 * i as u32 + 1) << 9;
        return Table::new(0, &[ALL - ones - 1, ones, 1]);
    }
    let std = scale(i);
    let p = |s: u32| tail(distribution, (f64::from(s) - 0.5) / std) - tail(distribution, (f64::from(s) + 0.5) / std);
    let frequency = |p: f64| (p * f64::from(ALL)).round_ties_even().max(1.0) as u32;
    let mut side = vec![frequency(p(1))];
    while p(side.len() as u32 + 1) * f64::from(ALL) >= 0.5 {
        side.push(frequency(p(side.len() as u32 + 1)));
    }
    let escape = frequency(2.0 * tail(distribution, (side.len() as f64 + 0.5) / std));
    let zero = ALL - 2 * side.iter().sum::<u32>() - escape;
    let mut row: Vec<u32> = side.iter().rev().copied().collect();
    row.push(zero);
    row.extend(&side);
    row.push(escape);
    Table::new(-(side.len() as i32), &row)
}

/// Steps of a mixture's means and of its tables: one is so many.
pub const FINE: i32 = 8;

/// Distribution functions of all scales in steps of 1/8, out of 2^16.
#[derive(Debug, Clone)]
pub struct Mixture {
    /// For each scale, 2^16 F(t / 8) for t >= 0.
    upper: Vec<Vec<u32>>,
}

/// A component: weight, mean in steps of 1/8, scale.
pub type Component = (u64, i32, usize);

/// A mixture at one place: the symbols that have a frequency.
struct Placed<'a> {
    mixture: &'a Mixture,
    components: &'a [Component],
    lowest: i32,
    /// How many symbols.
    n: i32,
    weights: u64,
}

/// Most symbols of a mixture that are no escapes.
const WIDEST: i32 = 1 << 12;

impl Mixture {
    /// For that distribution, made once.
    pub fn of(distribution: Distribution) -> &'static Self {
        static MADE: [OnceLock<Mixture>; 3] = [const { OnceLock::new() }; 3];
        MADE[distribution as usize].get_or_init(|| Self::new(distribution))
    }

    fn new(distribution: Distribution) -> Self {
        let row = |i: usize| {
            let std = scale(i);
            let value = |t: u32| {
                let p = 1.0 - tail(distribution, f64::from(t) / f64::from(FINE) / std);
                (p * f64::from(ALL)).round_ties_even() as u32
            };
            (0..).map(value).take_while(|v| *v < ALL).collect()
        };
        Self { upper: (0..N_SCALES).map(row).collect() }
    }

    fn below(&self, scale: usize, t: i32) -> u32 {
        let row = &self.upper[scale];
        let size = row.get(t.unsigned_abs() as usize).copied().unwrap_or(ALL);
        if t < 0 { ALL - size } else { size }
    }

    fn placed<'a>(&'a self, components: &'a [Component]) -> Placed<'a> {
        let reach = |c: &Component| self.upper[c.2].len() as i32 / FINE + 1;
        let lowest = components.iter().map(|c| c.1.div_euclid(FINE) - reach(c)).min().unwrap_or(0);
        let highest = components.iter().map(|c| c.1.div_euclid(FINE) + 1 + reach(c)).max().unwrap_or(0);
        // Of too many symbols those in the middle.
        let n = (highest - lowest + 1).min(WIDEST);
        let lowest = lowest + (highest - lowest + 1 - n) / 2;
        Placed { mixture: self, components, lowest, n, weights: components.iter().map(|c| c.0).sum::<u64>().max(1) }
    }

    /// Writes a symbol.
    pub fn encode(&self, coder: &mut MultiEncoder, components: &[Component], symbol: i32) {
        let placed = self.placed(components);
        let i = symbol.saturating_sub(placed.lowest);
        let i = if (0..placed.n).contains(&i) { i } else { placed.n };
        let (from, to) = (placed.before(i), placed.before(i + 1));
        coder.code(from, to - from);
        if i == placed.n {
            write_escape(coder, symbol);
        }
    }

    /// Reads a symbol.
    pub fn decode(&self, coder: &mut MultiDecoder<'_>, components: &[Component]) -> i32 {
        let placed = self.placed(components);
        let v = coder.peek();
        // before(low) <= v < before(high)
        let (mut low, mut high) = (0, placed.n + 1);
        while high - low > 1 {
            let middle = (low + high) / 2;
            if placed.before(middle) <= v { low = middle } else { high = middle }
        }
        let from = placed.before(low);
        coder.take(from, placed.before(low + 1) - from);
        if low == placed.n { read_escape(coder) } else { placed.lowest + low }
    }

    /// What a symbol costs.
    pub fn bits(&self, components: &[Component], symbol: i32) -> f64 {
        let placed = self.placed(components);
        let i = symbol.saturating_sub(placed.lowest);
        let (i, more) = if (0..placed.n).contains(&i) {
            (i, 0.0)
        } else {
            (placed.n, f64::from(2 * (zigzag(symbol) + 1).ilog2() + 1))
        };
        f64::from(BITS) - f64::from(placed.before(i + 1) - placed.before(i)).log2() + more
    }
}

impl Placed<'_> {
    /// Sum of the frequencies before symbol number `i`; symbol `n` is the escape. Each has at least 1.
    fn before(&self, i: i32) -> u32 {
        if i > self.n {
            return ALL;
        }
        let mixed = match i {
            0 => 0,
            i if i == self.n => u64::from(ALL) * self.weights,
            i => {
                let t = (self.lowest + i) * FINE - FINE / 2;
                self.components.iter().map(|c| c.0 * u64::from(self.mixture.below(c.2, t - c.1))).sum()
            }
        };
        let room = u64::from(ALL - 1 - self.n as u32);
        (mixed * room / (self.weights << BITS)) as u32 + i as u32
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;
    use crate::testkit::{hash, uniform};

    #[test]
    fn the_error_function_is_right() {
        // Abramowitz and Stegun, tables 7.1 and 7.3, and both branches where they meet.
        for (x, want) in [(0.0, 1.0), (0.5, 0.479_500_122_2), (1.0, 0.157_299_207_1), (2.0, 0.004_677_734_981)] {
            assert!((erfc(x) - want).abs() < 1e-10, "{x}: {}", erfc(x));
        }
        assert!((erfc(3.0) / 2.209_049_699_858_544e-5 - 1.0).abs() < 1e-10);
        assert!((erfc(2.5 - 1e-12) / erfc(2.5) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn scale_tables_add_up_and_cost_the_entropy() {
        for distribution in [Distribution::Gaussian, Distribution::Laplacian] {
            for (i, table) in scale_tables(distribution).iter().enumerate() {
                assert_eq!(*table.cumulative.last().unwrap(), ALL);
                assert!(table.cumulative.windows(2).all(|c| c[0] < c[1]));
                let cost: f64 = (-3000..=3000)
                    .map(|s: i32| {
                        let p = |s: f64| if s < 0.0 { 1.0 - tail(distribution, -s) } else { tail(distribution, s) };
                        let std = scale(i);
                        let p = p((f64::from(s) - 0.5) / std) - p((f64::from(s) + 0.5) / std);
                        p.abs() * (table.bits(s) + p.abs().max(1e-300).log2())
                    })
                    .sum();
                assert!((-1e-4..0.04).contains(&cost), "{distribution:?} {i}: {cost} bits above the entropy");
            }
        }
        assert!((scale(0) - 0.11).abs() < 1e-12 && (scale(63) - 256.0).abs() < 1e-9);
        assert!((0..64).all(|i| scale_index(scale(i)) == i));
    }

    #[test]
    fn symbols_come_back_at_their_price() {
        let mut tables = scale_tables(Distribution::Gaussian).to_vec();
        tables.extend_from_slice(scale_tables(Distribution::Bernoulli));
        tables.push(Table::new(-2, &[0, 10, 0, 65525, 0, 1]));
        let symbol = |i: usize| match hash(i as u64) % 9 {
            0 => 0,
            1 => 1 << 24,
            2 => -(1 << 24),
            3 => -70_000,
            _ => (40.0 * (uniform(i as u64) - 0.5)) as i32,
        };
        let mut e = MultiEncoder::default();
        let mut bits = 0.0;
        for i in 0..20_000 {
            let table = &tables[i % tables.len()];
            table.encode(&mut e, symbol(i));
            bits += table.bits(symbol(i));
        }
        let bytes = e.finish();
        assert!((bytes.len() as f64 * 8.0 / bits - 1.0).abs() < 1e-3, "{} {bits}", bytes.len() * 8);
        let mut d = MultiDecoder::new(&bytes);
        assert!((0..20_000).all(|i| tables[i % tables.len()].decode(&mut d) == symbol(i)));
        d.finish("test").unwrap();
    }

    #[test]
    fn mixtures_come_back_at_their_price() {
        for distribution in [Distribution::Gaussian, Distribution::Laplacian] {
            let mixture = Mixture::of(distribution);
            let components = |i: usize| -> Vec<Component> {
                (0..1 + i % 3)
                    .map(|k| {
                        let h = hash((i * 7 + k) as u64);
                        (h % 300 + 1, (h >> 20) as i32 % 4000 - 2000, (h >> 50) as usize % 64)
                    })
                    .collect()
            };
            let symbol = |i: usize| {
                components(i)[0].1 / FINE + (hash(i as u64) % 9) as i32 - 4
                    + if i.is_multiple_of(50) { 100_000 } else { 0 }
            };
            let mut e = MultiEncoder::default();
            let mut bits = 0.0;
            for i in 0..3000 {
                mixture.encode(&mut e, &components(i), symbol(i));
                bits += mixture.bits(&components(i), symbol(i));
            }
            let bytes = e.finish();
            assert!((bytes.len() as f64 * 8.0 / bits - 1.0).abs() < 1e-3, "{} {bits}", bytes.len() * 8);
            let mut d = MultiDecoder::new(&bytes);
            assert!((0..3000).all(|i| mixture.decode(&mut d, &components(i)) == symbol(i)));
            d.finish("test").unwrap();
            // Around one component, a mixture costs what its table does.
            let one = [(5, 3 * FINE, 30)];
            let table = &scale_tables(distribution)[30];
            assert!((0..4).all(|s| (mixture.bits(&one, 3 + s) - table.bits(s)).abs() < 0.05));
        }
    }
}
