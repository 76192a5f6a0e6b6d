//! Writing networks: ops with their weights, which are drawn or given here.
//!
//! # Maths    drawn weights are uniform with variance 2 / (inputs of a sum) (He et al., 2015, doi:10.1109/ICCV.2015.123)

use lithify_codec::learned::graph::{Graph, Op};

use crate::params::Params;

/// Slope of leaky rectifiers: a power of two, which integer networks can have, too.
pub const SLOPE: f32 = 0.125;

/// Writes one network.
#[derive(Debug)]
pub struct Builder<'a> {
    params: &'a mut Params,
    rng: &'a mut fastrand::Rng,
    net: &'static str,
    count: usize,
    /// Kernels also reach along depth.
    volume: bool,
}

impl<'a> Builder<'a> {
    /// Weights of the network `net` go to `params`.
    pub fn new(net: &'static str, params: &'a mut Params, rng: &'a mut fastrand::Rng, volume: bool) -> Self {
        Self { params, rng, net, count: 0, volume }
    }

    fn name(&mut self, what: &str) -> String {
        let name = format!("{}.{}.{what}", self.net, self.count);
        self.count += 1;
        name
    }

    /// A convolution with drawn weights, zero bias; `side` is the kernel's.
    pub fn conv(&mut self, from: usize, to: usize, side: usize, stride: usize) -> Op {
        self.conv_drawn(from, to, side, stride, 1.0)
    }

    /// A convolution that gives zero until it is trained: what it is added to stays as it was.
    pub fn conv_zero(&mut self, from: usize, to: usize, side: usize) -> Op {
        self.conv_drawn(from, to, side, 1, 0.0)
    }

    fn conv_drawn(&mut self, from: usize, to: usize, side: usize, stride: usize, gain: f32) -> Op {
        let depth = if self.volume && side > 1 { 3 } else { 1 };
        let taps = depth * side * side;
        let limit = gain * (6.0 / (from * taps) as f32).sqrt();
        let weights = (0..to * from * taps).map(|_| (self.rng.f32() * 2.0 - 1.0) * limit).collect();
        self.conv_given(&[to, from, depth, side, side], weights, vec![0.0; to], stride, 1)
    }

    /// A convolution with given weights.
    pub fn conv_given(
        &mut self,
        shape: &[usize; 5],
        weights: Vec<f32>,
        bias: Vec<f32>,
        stride: usize,
        groups: usize,
    ) -> Op {
        let (weight, bias_name) = (self.name("weight"), self.name("bias"));
        self.params.set(&weight, shape, weights);
        self.params.set(&bias_name, &[shape[0]], bias);
        Op::Conv { weight, bias: Some(bias_name), stride: [1, stride, stride], groups }
    }

    /// A mix of channels at each position: `matrix` is `[to, from]`, row by row.
    pub fn mix(&mut self, matrix: &Matrix) -> Op {
        self.conv_given(&[matrix.rows, matrix.columns, 1, 1, 1], matrix.values.clone(), vec![0.0; matrix.rows], 1, 1)
    }

    /// Generalised divisive normalisation, started as Balle et al. do.
    pub fn gdn(&mut self, channels: usize, inverse: bool) -> Op {
        let (beta, gamma) = (self.name("beta"), self.name("gamma"));
        self.params.set(&beta, &[channels], vec![1.0; channels]);
        let diagonal = (0..channels * channels).map(|i| if i % (channels + 1) == 0 { 0.1 } else { 0.0 }).collect();
        self.params.set(&gamma, &[channels, channels], diagonal);
        Op::Gdn { beta, gamma, inverse }
    }

    /// x + two layers of x, which begin as nothing.
    pub fn residual(&mut self, channels: usize, hidden: usize, side: usize) -> Op {
        let first = self.conv(channels, hidden, side, 1);
        Op::Residual { body: vec![first, leaky(), self.conv_zero(hidden, channels, side)] }
    }

    /// x + trunk(x) gated by mask(x), which begins as nothing.
    pub fn gate(&mut self, channels: usize, hidden: usize) -> Op {
        let trunk = vec![self.conv(channels, hidden, 3, 1), leaky(), self.conv_zero(hidden, channels, 1)];
        let mask = vec![self.conv(channels, hidden, 3, 1), leaky(), self.conv(hidden, channels, 1, 1)];
        Op::Gate { trunk, mask }
    }

    /// A convolution to four times as many channels, which become twice the rows and columns.
    pub fn up(&mut self, from: usize, to: usize, side: usize) -> Graph {
        vec![self.conv(from, to * 4, side, 1), Op::Shuffle { factor: [1, 2, 2] }]
    }
}

/// The rectifier of all networks.
pub fn leaky() -> Op {
    Op::LeakyRelu { slope: SLOPE }
}

/// A matrix, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// `rows` times `columns` numbers.
    pub values: Vec<f32>,
}

impl Matrix {
    /// From a function of row and column.
    pub fn of(rows: usize, columns: usize, value: impl Fn(usize, usize) -> f32) -> Self {
        Self { rows, columns, values: (0..rows * columns).map(|i| value(i / columns, i % columns)).collect() }
    }

    /// One entry 1 in each row, at the columns of `picks`.
    pub fn pick(picks: &[usize], columns: usize) -> Self {
        Self::of(picks.len(), columns, |r, c| if picks[r] == c { 1.0 } else { 0.0 })
    }

    /// Rows and columns change places.
    pub fn transposed(&self) -> Self {
        Self::of(self.columns, self.rows, |r, c| self.values[c * self.columns + r])
    }
}
