//! Latents to bits and back: one function for encoder, decoder and price, so that they cannot drift apart.
//!
//! # On the wire
//! Symbols of z, channel by channel; then y: symbol channels in order, or pass by pass, channels of a pass in order, positions of a channel in order
//! (depth, row, column). With estimated scales, six bits for each channel come first.

use super::activation::Activation;
use super::model::{Distribution, Entropy, Hyperprior, Model, N_SCALES, Positions, Quantizer};
use super::real::RealNet;
use super::tables::{Component, FINE, LARGEST, Mixture, Table, scale_index, scale_tables};
use super::tensor::{Tensors, reals};
use super::whole::{WholeNet, clamp};
use crate::entropy::multi::{MultiDecoder, MultiEncoder};
use crate::error::Result;

/// Something that codes symbols. A decoder ignores what it is given and returns what it read.
pub trait SymbolCoder {
    /// Under a table.
    fn symbol(&mut self, table: &Table, symbol: i32) -> i32;
    /// A real value under a table: the symbol near it that bits and error together are least for.
    fn value(&mut self, table: &Table, value: f32) -> i32 {
        self.symbol(table, near(table, value))
    }
    /// Under a mixture.
    fn mixed(&mut self, mixture: &Mixture, components: &[Component], symbol: i32) -> i32;
    /// The lowest `n <= 16` bits of `value`.
    fn raw(&mut self, value: u32, n: u32) -> u32;
}

impl SymbolCoder for MultiEncoder {
    fn symbol(&mut self, table: &Table, symbol: i32) -> i32 {
        table.encode(self, symbol);
        symbol
    }
    fn mixed(&mut self, mixture: &Mixture, components: &[Component], symbol: i32) -> i32 {
        mixture.encode(self, components, symbol);
        symbol
    }
    fn raw(&mut self, value: u32, n: u32) -> u32 {
        self.raw(value, n);
        value
    }
}

impl SymbolCoder for MultiDecoder<'_> {
    fn symbol(&mut self, table: &Table, _: i32) -> i32 {
        table.decode(self)
    }
    fn value(&mut self, table: &Table, _: f32) -> i32 {
        table.decode(self)
    }
    fn mixed(&mut self, mixture: &Mixture, components: &[Component], _: i32) -> i32 {
        mixture.decode(self, components)
    }
    fn raw(&mut self, _: u32, n: u32) -> u32 {
        self.raw(n)
    }
}

/// Adds up bits.
#[derive(Debug, Default, Clone, Copy)]
pub struct Bits(pub f64);

impl SymbolCoder for Bits {
    fn symbol(&mut self, table: &Table, symbol: i32) -> i32 {
        self.0 += table.bits(symbol);
        symbol
    }
    fn mixed(&mut self, mixture: &Mixture, components: &[Component], symbol: i32) -> i32 {
        self.0 += mixture.bits(components, symbol);
        symbol
    }
    fn raw(&mut self, value: u32, n: u32) -> u32 {
        self.0 += f64::from(n);
        value
    }
}

/// Quantizer and entropy model of a model, ready to run.
#[derive(Debug, Clone)]
pub(super) struct Latents {
    channels: usize,
    symbols: usize,
    quantizer: Words,
    model: Probabilities,
}

/// What a symbol stands for.
#[derive(Debug, Clone)]
enum Words {
    Uniform,
    Binary,
    /// `[stages, groups, words, dims]`
    Vector([usize; 4], Vec<f32>),
}

#[derive(Debug, Clone)]
enum Probabilities {
    Factorized(Vec<Table>),
    Estimated(Distribution, &'static [Table]),
    Hyperprior(Box<Hyper>),
}

#[derive(Debug, Clone)]
struct Hyper {
    spec: Hyperprior,
    h_a: RealNet,
    h_s: WholeNet,
    z: Vec<Table>,
    nets: Vec<Option<WholeNet>>,
    tables: &'static [Table],
    mixture: Option<&'static Mixture>,
}

impl Latents {
    /// Gathers weights and tables of a checked card.
    pub(super) fn new(
        quantizer: &Quantizer,
        entropy: &Entropy,
        tensors: &Tensors,
        channels: usize,
        symbols: usize,
    ) -> Result<Self> {
        let quantizer = match quantizer {
            Quantizer::Uniform => Words::Uniform,
            Quantizer::Binary => Words::Binary,
            Quantizer::Vector { codebook } => {
                let (shape, v) = reals(tensors, codebook, &[None; 4])?;
                Words::Vector([shape[0], shape[1], shape[2], shape[3]], v.to_vec())
            }
        };
        let model = match entropy {
            Entropy::Factorized { tables } => Probabilities::Factorized(Table::of_model(tables, tensors)?),
            Entropy::Estimated { distribution } => Probabilities::Estimated(*distribution, scale_tables(*distribution)),
            Entropy::Hyperprior(h) => Probabilities::Hyperprior(Box::new(Hyper {
                h_a: RealNet::new(&h.h_a, tensors)?,
                h_s: WholeNet::new(&h.h_s, tensors)?,
                z: Table::of_model(&h.z, tensors)?,
                nets: h
                    .passes
                    .iter()
                    .map(|p| p.net.as_ref().map(|n| WholeNet::new(n, tensors)).transpose())
                    .collect::<Result<_>>()?,
                tables: scale_tables(h.distribution),
                mixture: (h.components > 1).then(|| Mixture::of(h.distribution)),
                spec: (**h).clone(),
            })),
        };
        Ok(Self { channels, symbols, quantizer, model })
    }

    /// Codes latents of these lengths; returns y_hat. An encoder gives y, a decoder none.
    pub(super) fn code(
        &self,
        coder: &mut impl SymbolCoder,
        y: Option<&Activation<f32>>,
        lengths: Lengths,
        side: &[f32],
    ) -> Result<Activation<f32>> {
        let [d, h, w] = lengths.y;
        match &self.model {
            Probabilities::Factorized(tables) => {
                let mut symbols = self.symbols_of(y, lengths.y)?;
                let n = symbols.per_channel().max(1);
                for (c, (v, table)) in symbols.data.chunks_mut(n).zip(tables).enumerate() {
                    self.cheaper(table, v, y, c);
                    v.iter_mut().for_each(|s| *s = coder.symbol(table, *s));
                }
                self.values(&symbols)
            }
            Probabilities::Estimated(distribution, tables) => {
                let mut symbols = self.symbols_of(y, lengths.y)?;
                let n = symbols.per_channel().max(1);
                for (c, v) in symbols.data.chunks_mut(n).enumerate() {
                    self.cheaper(&tables[estimate(*distribution, v)], v, y, c);
                    let i = coder.raw(estimate(*distribution, v) as u32, 6) as usize;
                    v.iter_mut().for_each(|s| *s = coder.symbol(&tables[i % N_SCALES], *s));
                }
                self.values(&symbols)
            }
            Probabilities::Hyperprior(hyper) => {
                let z = y.map(|y| hyper.h_a.run(y.clone(), side)).transpose()?;
                hyper.code(coder, y, z.as_ref(), [self.channels, d, h, w], lengths.z, &self.quantizer)
            }
        }
    }

    fn symbols_of(&self, y: Option<&Activation<f32>>, [d, h, w]: [usize; 3]) -> Result<Activation<i32>> {
        let mut symbols = Activation::zeros([self.symbols, d, h, w])?;
        let Some(y) = y else { return Ok(symbols) };
        match &self.quantizer {
            Words::Uniform => symbols.data.iter_mut().zip(&y.data).for_each(|(s, y)| *s = round(*y)),
            Words::Binary => symbols.data.iter_mut().zip(&y.data).for_each(|(s, y)| *s = i32::from(*y > 0.0)),
            Words::Vector(shape, words) => nearest(*shape, words, y, &mut symbols),
        }
        Ok(symbols)
    }

    /// Encoder only: symbols of channel `c` that are cheaper than the nearest ones, where there is a choice.
    fn cheaper(&self, table: &Table, symbols: &mut [i32], y: Option<&Activation<f32>>, c: usize) {
        if let (Words::Uniform, Some(y)) = (&self.quantizer, y) {
            let y = &y.data[c * symbols.len()..];
            symbols.iter_mut().zip(y).for_each(|(s, y)| *s = near(table, *y));
        }
    }

    fn values(&self, symbols: &Activation<i32>) -> Result<Activation<f32>> {
        let [_, d, h, w] = symbols.shape;
        let mut y = Activation::zeros([self.channels, d, h, w])?;
        match &self.quantizer {
            Words::Uniform => y.data.iter_mut().zip(&symbols.data).for_each(|(y, s)| *y = *s as f32),
            Words::Binary => y.data.iter_mut().zip(&symbols.data).for_each(|(y, s)| *y = sign(*s) as f32),
            Words::Vector([stages, groups, k, dims], words) => {
                let n = y.per_channel();
                for (c, symbols) in symbols.data.chunks(n.max(1)).enumerate().take(stages * groups) {
                    for (at, s) in symbols.iter().enumerate() {
                        // Only a damaged stream has other words.
                        let word = usize::try_from(*s).unwrap_or(0).min(k - 1);
                        for i in 0..*dims {
                            y.data[(c % groups * dims + i) * n + at] += words[(c * k + word) * dims + i];
                        }
                    }
                }
            }
        }
        Ok(y)
    }
}

/// Depth, rows, columns of y and z.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    pub y: [usize; 3],
    pub z: [usize; 3],
}

impl Lengths {
    /// Of activations of these lengths.
    pub(super) fn of(model: &Model, input: [usize; 3]) -> Self {
        let by = |down: [usize; 3]| [0, 1, 2].map(|a| input[a] / down[a]);
        Self { y: by(model.lengths().y_down), z: by(model.lengths().z_down) }
    }
}

/// Bits that a squared error of one step is worth: with steps of sqrt(6 / (lambda ln 2)), where the slope of bits against squared error is
/// lambda, it is 6 / ln 2.
pub const WORTH: f64 = 6.0 / std::f64::consts::LN_2;

/// Encoder only: the nearest symbol, or the next one towards 0 if that saves more than it spoils.
fn near(table: &Table, v: f32) -> i32 {
    let cost = |s: i32| table.bits(s) + WORTH * (f64::from(v) - f64::from(s)).powi(2);
    let nearest = round(v);
    let lower = nearest - nearest.signum();
    if nearest != 0 && cost(lower) < cost(nearest) { lower } else { nearest }
}

/// NaN counts as 0.
fn round(v: f32) -> i32 {
    (v.round_ties_even() as i32).clamp(-LARGEST, LARGEST)
}

fn sign(symbol: i32) -> i32 {
    2 * symbol.clamp(0, 1) - 1
}

/// Encoder only: the scale of a channel's symbols.
fn estimate(distribution: Distribution, symbols: &[i32]) -> usize {
    let mean =
        |f: &dyn Fn(f64) -> f64| symbols.iter().map(|s| f(f64::from(*s))).sum::<f64>() / symbols.len().max(1) as f64;
    match distribution {
        Distribution::Bernoulli => ((mean(&|s| s) * N_SCALES as f64) as usize).min(N_SCALES - 1),
        // Rounding adds a twelfth to the variance.
        _ => scale_index((mean(&|s| s * s) - 1.0 / 12.0).max(0.0).sqrt()),
    }
}

/// Encoder only: the nearest words, stage by stage.
fn nearest([stages, groups, k, dims]: [usize; 4], words: &[f32], y: &Activation<f32>, symbols: &mut Activation<i32>) {
    let n = y.per_channel();
    let mut rest = vec![0.0; dims];
    for g in 0..groups {
        for at in 0..n {
            (0..dims).for_each(|i| rest[i] = y.data[(g * dims + i) * n + at]);
            for stage in 0..stages {
                let c = stage * groups + g;
                let words = &words[c * k * dims..(c + 1) * k * dims];
                let distance = |word: &[f32]| word.iter().zip(&rest).map(|(w, v)| (w - v) * (w - v)).sum::<f32>();
                let best = words.chunks(dims).map(distance).enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
                let best = best.map_or(0, |(i, _)| i);
                symbols.data[c * n + at] = best as i32;
                rest.iter_mut().zip(&words[best * dims..]).for_each(|(r, w)| *r -= w);
            }
        }
    }
}

impl Hyper {
    fn code(
        &self,
        coder: &mut impl SymbolCoder,
        y: Option<&Activation<f32>>,
        z: Option<&Activation<f32>>,
        shape: [usize; 4],
        [zd, zh, zw]: [usize; 3],
        quantizer: &Words,
    ) -> Result<Activation<f32>> {
        let fraction = self.spec.fraction;
        let mut z_hat = Activation::<i32>::zeros([self.z.len(), zd, zh, zw])?;
        let n = z_hat.per_channel().max(1);
        for (c, (v, table)) in z_hat.data.chunks_mut(n).zip(&self.z).enumerate() {
            for (i, v) in v.iter_mut().enumerate() {
                let symbol = coder.symbol(table, z.map_or(0, |z| round(z.data[c * n + i])));
                *v = clamp(i64::from(symbol) << fraction);
            }
        }
        let features = self.h_s.run(z_hat)?;
        let binary = matches!(quantizer, Words::Binary);
        let mut y_hat = Activation::<f32>::zeros(shape)?;
        // The same in fixed point, for context.
        let mut seen = Activation::<i32>::zeros(shape)?;
        let [_, _, h, w] = shape;
        let n = y_hat.per_channel();
        for (pass, net) in self.spec.passes.iter().zip(&self.nets) {
            let params = match net {
                None => features.clone(),
                Some(net) => {
                    let input = Activation::concat(vec![features.clone(), seen.clone()]);
                    net.run(input.unwrap_or_else(|| features.clone()))?
                }
            };
            let [first, end] = pass.channels;
            for c in first..end {
                for at in 0..n {
                    let parity = (at / (h * w) + at / w % h + at % w) % 2;
                    match pass.positions {
                        Positions::Even if parity == 1 => continue,
                        Positions::Odd if parity == 0 => continue,
                        _ => {}
                    }
                    let param = |p: usize| params.data[(p * (end - first) + c - first) * n + at];
                    let y = y.map_or(0.0, |y| y.data[c * n + at]);
                    let (value, fixed) = self.symbol(coder, y, &param, binary);
                    y_hat.data[c * n + at] = value;
                    seen.data[c * n + at] = fixed;
                }
            }
        }
        Ok(y_hat)
    }

    /// Codes a symbol; y_hat, and that in fixed point.
    #[inline]
    fn symbol(&self, coder: &mut impl SymbolCoder, y: f32, param: &dyn Fn(usize) -> i32, binary: bool) -> (f32, i32) {
        let fraction = self.spec.fraction;
        let index = |v: i32| (((v + (1 << (fraction - 1))) >> fraction).max(0) as usize).min(N_SCALES - 1);
        if let Some(mixture) = self.mixture {
            let k = self.spec.components;
            let mut components = [(0, 0, 0); 8];
            for (i, c) in components[..k].iter_mut().enumerate() {
                let steps = fraction - FINE.ilog2();
                let mean = (param(k + i) + (1 << steps >> 1)) >> steps;
                *c = (param(i).max(0) as u64 + 1, mean, index(param(2 * k + i)));
            }
            let symbol = coder.mixed(mixture, &components[..k], round(y));
            return (symbol as f32, clamp(i64::from(symbol) << fraction));
        }
        let mean = if self.spec.mean { param(0) } else { 0 };
        let table = &self.tables[index(param(usize::from(self.spec.mean)))];
        if binary {
            let s = sign(coder.symbol(table, i32::from(y > 0.0)));
            return (s as f32, s << fraction);
        }
        let mean_value = mean as f32 / (1 << fraction) as f32;
        let symbol = coder.value(table, y - mean_value);
        (symbol as f32 + mean_value, clamp((i64::from(symbol) << fraction) + i64::from(mean)))
    }
}
