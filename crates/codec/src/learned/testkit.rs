//! Models that nobody has trained, one for each part of the card: for tests of this and other crates.

use super::graph::{Graph, Op, Wavelet};
use super::model::{
    Band, Card, Distribution, Entropy, FORMAT, Hyperprior, Layout, Model, Pass, Positions, Quantizer, Tables,
};
use super::quantise::quantise;
use super::tables::frequencies;
use super::tensor::{Tensor, Tensors};
use crate::error::Result;
use crate::testkit::uniform;

/// Channels and positions of a pass.
type Coded = ([usize; 2], Positions);

/// Tensors as they come up.
#[derive(Debug, Default)]
struct Maker {
    tensors: Tensors,
}

impl Maker {
    fn put(&mut self, shape: &[usize], f: impl Fn(f64) -> f64) -> String {
        let name = format!("t{}", self.tensors.len());
        let seed = (self.tensors.len() as u64 + 1) << 40;
        let n: usize = shape.iter().product();
        let data = (0..n as u64).map(|i| f(uniform(i ^ seed)) as f32).collect();
        self.tensors.insert(name.clone(), Tensor::f32(shape, data));
        name
    }

    fn conv3(&mut self, out: usize, per_group: usize, k: [usize; 3], stride: [usize; 3], groups: usize) -> Op {
        let size = 2.0 / ((per_group * k.iter().product::<usize>()) as f64).sqrt();
        Op::Conv {
            weight: self.put(&[out, per_group, k[0], k[1], k[2]], |u| (u - 0.5) * size),
            bias: Some(self.put(&[out], |u| u - 0.5)),
            stride,
            groups,
        }
    }

    fn conv(&mut self, out: usize, input: usize, k: usize, stride: usize) -> Op {
        self.conv3(out, input, [1, k, k], [1, stride, stride], 1)
    }

    fn gdn(&mut self, c: usize, inverse: bool) -> Op {
        Op::Gdn { beta: self.put(&[c], |u| u + 0.5), gamma: self.put(&[c, c], |u| u * 0.1), inverse }
    }

    fn gains(&mut self, points: usize, c: usize) -> Option<String> {
        let name = format!("t{}", self.tensors.len());
        let row = |i: usize| 4f32.powi(i as i32 - 1);
        let data = (0..points * c).map(|i| row(i / c) * (1.0 + 0.1 * uniform(i as u64) as f32)).collect();
        self.tensors.insert(name.clone(), Tensor::f32(&[points, c], data));
        Some(name)
    }

    /// Symbols from `-reach` on, likelier in the middle.
    fn tables(&mut self, c: usize, lowest: i32, n: usize) -> Tables {
        let middle = -f64::from(lowest);
        let mut p: Vec<f64> = (0..n).map(|i| (-(i as f64 - middle).abs() / 3.0).exp2()).collect();
        p.push(1e-3);
        let row = frequencies(&p);
        let [offset, frequencies] = ["offset", "frequencies"].map(|part| format!("t{}.{part}", self.tensors.len()));
        self.tensors.insert(offset.clone(), Tensor::i32(&[c], vec![lowest; c]));
        self.tensors.insert(frequencies.clone(), Tensor::i32(&[c, n + 1], row.repeat(c)));
        Tables { offset, frequencies }
    }

    fn whole(&mut self, graph: &[Op], fraction: u32, prefix: &str) -> Result<Graph> {
        let real = self.tensors.clone();
        quantise(graph, &real, fraction, prefix, &mut self.tensors)
    }

    fn card(name: &str, bands: usize, g_a: Graph, g_s: Graph, quantizer: Quantizer, entropy: Entropy) -> Card {
        let band = |i: usize| Band { name: format!("band {i}"), mean: 10.0, std: 40.0 + i as f64 };
        Card {
            format: FORMAT,
            name: name.into(),
            layout: Layout::Channels,
            bands: (0..bands).map(band).collect(),
            side: Vec::new(),
            g_a,
            g_s,
            quantizer,
            entropy,
            gains: None,
            data: "none: weights are noise".into(),
            licence: "MIT OR Apache-2.0".into(),
            metrics: [("psnr".to_string(), 1.5)].into(),
            training: serde_json::Value::Null,
        }
    }

    /// h_a to half the lengths; h_s back; passes over `c` channels with nets of their own where they have any.
    fn hyperprior(
        &mut self,
        c: usize,
        distribution: Distribution,
        components: usize,
        passes: &[Coded],
    ) -> Result<Entropy> {
        let mean = distribution != Distribution::Bernoulli;
        let n_params = if components > 1 { 3 * components } else { 1 + usize::from(mean) };
        let fraction = 8;
        let h_a = vec![self.conv(4, c, 3, 2)];
        let context = passes.len() > 1;
        let features = if context { 5 } else { n_params * c };
        let h_s =
            vec![self.conv(4 * features, 4, 3, 1), Op::Shuffle { factor: [1, 2, 2] }, Op::LeakyRelu { slope: 0.25 }];
        let h_s = self.whole(&h_s, fraction, "h_s")?;
        let mut made = Vec::new();
        for (i, (channels, positions)) in passes.iter().enumerate() {
            let net = match context {
                true => {
                    let wide = self.conv(8, features + c, 3, 1);
                    let body = vec![self.conv(8, 8, 1, 1)];
                    let last = self.conv(n_params * (channels[1] - channels[0]), 8, 1, 1);
                    let net = [wide, Op::Relu, Op::Residual { body }, last];
                    Some(self.whole(&net, fraction, &format!("pass{i}"))?)
                }
                false => None,
            };
            made.push(Pass { channels: *channels, positions: *positions, net });
        }
        let z = self.tables(4, -6, 13);
        Ok(Entropy::Hyperprior(Box::new(Hyperprior {
            distribution,
            mean,
            components,
            h_a,
            h_s,
            z,
            fraction,
            passes: made,
        })))
    }

    fn done(self, card: Card) -> Result<Model> {
        Model::new(card, self.tensors)
    }
}

/// A codec that works without training: wavelet bands, one scale each, five rates. One band.
///
/// # Errors
/// None, unless the checks of models are wrong.
pub fn wavelet() -> Result<Model> {
    let mut m = Maker::default();
    let (haar, cdf) = (Wavelet::Haar, Wavelet::Cdf97);
    let g_a = [(cdf, false), (cdf, false), (haar, false)].map(|(kind, inverse)| Op::Wavelet { kind, inverse }).to_vec();
    let g_s = [(haar, true), (cdf, true), (cdf, true)].map(|(kind, inverse)| Op::Wavelet { kind, inverse }).to_vec();
    let entropy = Entropy::Estimated { distribution: Distribution::Laplacian };
    let gains = m.gains(5, 64);
    let card = Maker::card("wavelet", 1, g_a, g_s, Quantizer::Uniform, entropy);
    m.done(Card { gains, ..card })
}

/// The noise of which [`textures`] knows, at position i of a block of 8 x 8, in C order.
pub fn texture(i: usize) -> f64 {
    uniform(i as u64) - 0.5
}

/// A model of blocks of 8 x 8 samples that are 10 + 40 times a texture or 10 - 40 times it: a bit says which. Nothing else could tell.
///
/// # Errors
/// None, unless the checks of models are wrong.
pub fn textures() -> Result<Model> {
    let mut m = Maker::default();
    let knowledge = |m: &mut Maker, shape: &[usize]| {
        let name = format!("t{}", m.tensors.len());
        m.tensors.insert(name.clone(), Tensor::f32(shape, (0..64).map(|i| texture(i) as f32).collect()));
        Op::Conv { weight: name, bias: None, stride: [1; 3], groups: 1 }
    };
    let factor = [1, 8, 8];
    let g_a = vec![Op::Unshuffle { factor }, knowledge(&mut m, &[1, 64, 1, 1, 1])];
    let g_s = vec![knowledge(&mut m, &[64, 1, 1, 1, 1]), Op::Shuffle { factor }];
    let tables = m.tables(1, 0, 2);
    m.done(Maker::card("textures", 1, g_a, g_s, Quantizer::Binary, Entropy::Factorized { tables }))
}

/// Models with noise for weights: every op, quantizer and entropy model, with the shape of a chunk that suits each.
///
/// # Errors
/// None, unless the checks of models are wrong.
pub fn models() -> Result<Vec<(Model, Vec<usize>)>> {
    let mut all = vec![(wavelet()?, vec![2, 37, 53])];
    let up = Op::Shuffle { factor: [1, 2, 2] };

    let mut m = Maker::default();
    let g_a = vec![m.conv(6, 1, 5, 2), m.gdn(6, false), m.conv(8, 6, 5, 2)];
    let g_s = vec![m.conv(24, 8, 3, 1), up.clone(), m.gdn(6, true), m.conv(4, 6, 3, 1), up.clone()];
    let tables = m.tables(8, -20, 41);
    let gains = m.gains(3, 8);
    let card = Maker::card("factorized", 1, g_a, g_s, Quantizer::Uniform, Entropy::Factorized { tables });
    all.push((m.done(Card { gains, ..card })?, vec![3, 21, 30]));

    let passes: [(&str, Distribution, usize, Vec<Coded>); 5] = [
        ("mean and scale", Distribution::Gaussian, 1, vec![([0, 6], Positions::All)]),
        ("checkerboard", Distribution::Gaussian, 1, vec![([0, 6], Positions::Even), ([0, 6], Positions::Odd)]),
        ("slices", Distribution::Laplacian, 1, vec![([0, 2], Positions::All), ([2, 6], Positions::All)]),
        ("mixture", Distribution::Gaussian, 3, vec![([0, 6], Positions::All)]),
        ("binary", Distribution::Bernoulli, 1, vec![([0, 6], Positions::Even), ([0, 6], Positions::Odd)]),
    ];
    for (name, distribution, components, passes) in passes {
        let mut m = Maker::default();
        let (trunk, mask) = (vec![m.conv(6, 6, 3, 1)], vec![m.conv(6, 6, 1, 1)]);
        let body = vec![m.conv3(6, 1, [1, 3, 3], [1; 3], 6), Op::LeakyRelu { slope: 0.1 }, m.conv(6, 6, 1, 1)];
        let weight = m.put(&[6], |u| 1.0 + u);
        let g_a = vec![
            m.conv(6, 3, 3, 2),
            Op::Residual { body: body.clone() },
            Op::Gate { trunk, mask },
            Op::Scale { weight, bias: None },
        ];
        let g_s = vec![Op::Concat { branches: vec![vec![], body] }, Op::Relu, m.conv(12, 12, 3, 1), up.clone()];
        let entropy = m.hyperprior(6, distribution, components, &passes)?;
        let binary = distribution == Distribution::Bernoulli;
        let quantizer = if binary { Quantizer::Binary } else { Quantizer::Uniform };
        all.push((m.done(Maker::card(name, 3, g_a, g_s, quantizer, entropy))?, vec![2, 3, 18, 23]));
    }

    let mut m = Maker::default();
    let g_a = vec![m.conv(8, 2, 3, 1), Op::Unshuffle { factor: [1, 2, 2] }, m.conv(6, 32, 1, 1)];
    let g_s = vec![m.conv(8, 6, 3, 1), up];
    let codebook = m.put(&[2, 3, 8, 2], |u| u - 0.5);
    let tables = m.tables(6, 0, 8);
    all.push((
        m.done(Maker::card("vector", 2, g_a, g_s, Quantizer::Vector { codebook }, Entropy::Factorized { tables }))?,
        vec![2, 19, 11],
    ));

    let mut m = Maker::default();
    let g_a = vec![
        Op::Side { channels: 2 },
        m.conv3(4, 3, [3, 1, 1], [2, 1, 1], 1),
        Op::Relu,
        m.conv3(4, 4, [1, 3, 3], [1, 2, 2], 1),
    ];
    let g_s = vec![m.conv3(8, 4, [3, 3, 3], [1; 3], 1), Op::Shuffle { factor: [2, 2, 2] }];
    let side = ["lat", "season"].map(|name| Band { name: name.into(), mean: 0.0, std: 30.0 }).to_vec();
    let entropy = Entropy::Estimated { distribution: Distribution::Gaussian };
    let card = Maker::card("volume", 1, g_a, g_s, Quantizer::Uniform, entropy);
    all.push((m.done(Card { side, layout: Layout::Depth, ..card })?, vec![2, 5, 9, 14]));
    Ok(all)
}
