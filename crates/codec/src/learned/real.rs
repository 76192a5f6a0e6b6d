//! Real networks: `f32`, IEEE `+ - * / sqrt` in the order in which the ops are written, nothing contracted.

use super::activation::Activation;
use super::conv::Conv;
use super::graph::{Op, Wavelet};
use super::tensor::{Tensors, reals};
use crate::error::Result;
use crate::simd::{level, widest};
use crate::stop;

/// A checked real network with its weights.
#[derive(Debug, Clone)]
pub struct RealNet(Vec<Step>);

#[derive(Debug, Clone)]
enum Step {
    Conv(Conv<f32>),
    Shuffle([usize; 3]),
    Unshuffle([usize; 3]),
    /// Sums of squares, and whether to multiply.
    Gdn(Conv<f32>, bool),
    Leaky(f32),
    Residual(RealNet),
    Gate(RealNet, RealNet),
    Concat(Vec<RealNet>),
    Wavelet(Wavelet, bool),
    Scale(Vec<f32>, Vec<f32>),
    Side,
}

impl RealNet {
    /// Gathers the weights of a graph that [`super::graph::check`] has passed.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] if a tensor is missing.
    pub fn new(graph: &[Op], tensors: &Tensors) -> Result<Self> {
        graph.iter().map(|op| Step::new(op, tensors)).collect::<Result<_>>().map(Self)
    }

    /// What the network makes of `x`; `side` are the normalised side inputs.
    ///
    /// # Errors
    /// [`crate::Error::Limit`] if memory does not suffice, [`crate::Error::Interrupted`].
    pub fn run(&self, mut x: Activation<f32>, side: &[f32]) -> Result<Activation<f32>> {
        for step in &self.0 {
            stop::check()?;
            x = step.run(x, side)?;
        }
        Ok(x)
    }
}

impl Step {
    fn new(op: &Op, tensors: &Tensors) -> Result<Self> {
        let net = |g: &[Op]| RealNet::new(g, tensors);
        let vector = |name: &str| reals(tensors, name, &[None]).map(|(_, v)| v.to_vec());
        let or_zeros = |name: &Option<String>, n: usize| name.as_ref().map_or_else(|| Ok(vec![0.0; n]), |b| vector(b));
        Ok(match op {
            Op::Conv { weight, bias, stride, groups } => {
                let (shape, w) = reals(tensors, weight, &[None; 5])?;
                Self::Conv(Conv::new(shape, w, &or_zeros(bias, shape[0])?, *stride, *groups))
            }
            Op::Shuffle { factor } => Self::Shuffle(*factor),
            Op::Unshuffle { factor } => Self::Unshuffle(*factor),
            Op::Gdn { beta, gamma, inverse } => {
                let (shape, w) = reals(tensors, gamma, &[None; 2])?;
                Self::Gdn(Conv::new(&[shape[0], shape[1], 1, 1, 1], w, &vector(beta)?, [1; 3], 1), *inverse)
            }
            Op::Relu => Self::Leaky(0.0),
            Op::LeakyRelu { slope } => Self::Leaky(*slope),
            Op::Residual { body } => Self::Residual(net(body)?),
            Op::Gate { trunk, mask } => Self::Gate(net(trunk)?, net(mask)?),
            Op::Concat { branches } => Self::Concat(branches.iter().map(|b| net(b)).collect::<Result<_>>()?),
            Op::Wavelet { kind, inverse } => Self::Wavelet(*kind, *inverse),
            Op::Scale { weight, bias } => {
                let w = vector(weight)?;
                let bias = or_zeros(bias, w.len())?;
                Self::Scale(w, bias)
            }
            Op::Side { .. } => Self::Side,
            Op::Iconv { .. } | Op::Ileaky { .. } => return Err(super::tensor::bad("a whole op in a real network")),
        })
    }

    fn run(&self, mut x: Activation<f32>, side: &[f32]) -> Result<Activation<f32>> {
        match self {
            Self::Conv(conv) => return conv.run(&x),
            Self::Shuffle(factor) => return x.shuffle(*factor),
            Self::Unshuffle(factor) => return x.unshuffle(*factor),
            Self::Gdn(squares, inverse) => {
                let mut square = x.clone();
                square.data.iter_mut().for_each(|v| *v *= *v);
                let norm = squares.run(&square)?;
                if *inverse {
                    each(&mut x, &norm, |x, n| x * n.sqrt());
                } else {
                    each(&mut x, &norm, |x, n| x / n.sqrt());
                }
            }
            Self::Leaky(slope) => widest!(level(), _simd => {
                for v in &mut x.data {
                    // NaN becomes NaN or 0 like any number that is not above 0.
                    *v = if *v > 0.0 { *v } else if *slope == 0.0 { 0.0 } else { *v * slope };
                }
            }),
            Self::Residual(body) => {
                let y = body.run(x.clone(), side)?;
                each(&mut x, &y, |x, y| x + y);
            }
            Self::Gate(trunk, mask) => {
                let mut t = trunk.run(x.clone(), side)?;
                let z = mask.run(x.clone(), side)?;
                each(&mut t, &z, |t, z| t * (0.5 * (1.0 + z / (1.0 + z.abs()))));
                each(&mut x, &t, |x, t| x + t);
            }
            Self::Concat(branches) => {
                let parts = branches.iter().map(|b| b.run(x.clone(), side)).collect::<Result<_>>()?;
                x = Activation::concat(parts).unwrap_or(x);
            }
            Self::Wavelet(kind, inverse) => return if *inverse { merge(*kind, x) } else { split(*kind, x) },
            Self::Scale(w, bias) => {
                let n = x.per_channel().max(1);
                for ((v, w), b) in x.data.chunks_mut(n).zip(w).zip(bias) {
                    v.iter_mut().for_each(|v| *v = *v * w + b);
                }
            }
            Self::Side => {
                let n = x.per_channel();
                x.shape[0] += side.len();
                side.iter().for_each(|s| x.data.resize(x.data.len() + n, *s));
            }
        }
        Ok(x)
    }
}

/// x = f(x, y), number by number.
#[inline(always)]
fn each(x: &mut Activation<f32>, y: &Activation<f32>, f: impl Fn(f32, f32) -> f32) {
    widest!(level(), _simd => {
        for (x, y) in x.data.iter_mut().zip(&y.data) {
            *x = f(*x, *y);
        }
    });
}

/// sqrt(1 / 2).
const HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
/// Steps of the lifting, in order: odd samples, even ones, odd ones, even ones.
const STEPS: [f32; 4] = [-1.586_134_3, -0.052_980_12, 0.882_911_1, 0.443_506_85];
/// What makes the bands orthonormal, nearly.
const ZETA: f32 = 1.149_604_4;

/// A line to its low half and its high half. Lengths are even.
fn forward(kind: Wavelet, line: &mut [f32], scratch: &mut Vec<f32>) {
    let half = line.len() / 2;
    if kind == Wavelet::Cdf97 {
        for (i, s) in STEPS.iter().enumerate() {
            lift(line, (i + 1) % 2, *s);
        }
    }
    scratch.clear();
    let low = |p: &[f32; 2]| if kind == Wavelet::Haar { (p[0] + p[1]) * HALF } else { p[0] * ZETA };
    let high = |p: &[f32; 2]| if kind == Wavelet::Haar { (p[0] - p[1]) * HALF } else { p[1] / ZETA };
    scratch.extend(line.as_chunks::<2>().0.iter().map(low));
    scratch.extend(line.as_chunks::<2>().0.iter().map(high));
    line[..half * 2].copy_from_slice(scratch);
}

/// The inverse of [`forward`].
fn inverse(kind: Wavelet, line: &mut [f32], scratch: &mut Vec<f32>) {
    let half = line.len() / 2;
    scratch.clear();
    for i in 0..half {
        let (l, h) = (line[i], line[half + i]);
        scratch.extend(if kind == Wavelet::Haar { [(l + h) * HALF, (l - h) * HALF] } else { [l / ZETA, h * ZETA] });
    }
    line[..half * 2].copy_from_slice(scratch);
    if kind == Wavelet::Cdf97 {
        for (i, s) in STEPS.iter().enumerate().rev() {
            lift(line, (i + 1) % 2, -s);
        }
    }
}

/// Adds s (left + right) to every second sample from `first` on; beyond the ends lies the mirror image.
fn lift(line: &mut [f32], first: usize, s: f32) {
    let n = line.len();
    for i in (first..n).step_by(2) {
        let left = if i > 0 { line[i - 1] } else { line[1] };
        let right = if i + 1 < n { line[i + 1] } else { line[n - 2] };
        line[i] += s * (left + right);
    }
}

/// Rows (along columns), then columns, of every plane.
fn split(kind: Wavelet, mut x: Activation<f32>) -> Result<Activation<f32>> {
    let [c, d, h, w] = x.shape;
    let mut scratch = Vec::new();
    x.data.chunks_mut(w.max(1)).for_each(|row| forward(kind, row, &mut scratch));
    columns(&mut x, |line| forward(kind, line, &mut scratch));
    let mut out = Activation::zeros([c * 4, d, h / 2, w / 2])?;
    quarters(x.shape, |plane, band| out.data[band..][..w / 2].copy_from_slice(&x.data[plane..][..w / 2]));
    Ok(out)
}

/// Columns, then rows.
fn merge(kind: Wavelet, x: Activation<f32>) -> Result<Activation<f32>> {
    let [c, d, h, w] = x.shape;
    let mut out = Activation::zeros([c / 4, d, h * 2, w * 2])?;
    quarters(out.shape, |plane, band| out.data[plane..][..w].copy_from_slice(&x.data[band..][..w]));
    let mut scratch = Vec::new();
    columns(&mut out, |line| inverse(kind, line, &mut scratch));
    out.data.chunks_mut((w * 2).max(1)).for_each(|row| inverse(kind, row, &mut scratch));
    Ok(out)
}

fn columns(x: &mut Activation<f32>, mut f: impl FnMut(&mut [f32])) {
    let [_, _, h, w] = x.shape;
    let mut line = vec![0.0; h];
    for plane in x.data.chunks_mut((h * w).max(1)) {
        for j in 0..w {
            (0..h).for_each(|i| line[i] = plane[i * w + j]);
            f(&mut line);
            (0..h).for_each(|i| plane[i * w + j] = line[i]);
        }
    }
}

/// Visits half rows: where one begins in planes of `shape` whose quarters are bands, and where in channels of bands.
fn quarters([c, d, h, w]: [usize; 4], mut f: impl FnMut(usize, usize)) {
    for (ci, z, i, high) in (0..c * d * h * 2).map(|n| (n / (2 * h * d), n / (2 * h) % d, n / 2 % h, n % 2)) {
        let band = i / (h / 2) * 2 + high;
        f(((ci * d + z) * h + i) * w + high * (w / 2), (((ci * 4 + band) * d + z) * (h / 2) + i % (h / 2)) * (w / 2));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;
    use crate::testkit::uniform;

    fn noise(shape: [usize; 4]) -> Activation<f32> {
        Activation {
            shape,
            data: (0..shape.iter().product::<usize>() as u64).map(|i| uniform(i) as f32 - 0.5).collect(),
        }
    }

    #[test]
    fn wavelets_keep_energy_and_come_back() {
        for (kind, share) in [(Wavelet::Haar, 1e-5), (Wavelet::Cdf97, 0.15)] {
            let x = noise([3, 2, 8, 12]);
            let y = split(kind, x.clone()).unwrap();
            assert_eq!(y.shape, [12, 2, 4, 6]);
            let energy = |x: &Activation<f32>| x.data.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
            assert!((energy(&y) / energy(&x) - 1.0).abs() < share, "{kind:?}");
            let back = merge(kind, y).unwrap();
            assert!(back.data.iter().zip(&x.data).all(|(a, b)| (a - b).abs() < 1e-5), "{kind:?}");
            // All of a constant is in the low band.
            let flat = split(kind, Activation { shape: [1, 1, 4, 4], data: vec![1.0; 16] }).unwrap();
            assert!(flat.data[..4].iter().all(|v| (v - 2.0).abs() < 1e-4), "{kind:?} {flat:?}");
            assert!(flat.data[4..].iter().all(|v| v.abs() < 1e-5), "{kind:?} {flat:?}");
        }
    }

    #[test]
    fn shuffles_are_inverse_and_ordered() {
        let x = noise([24, 2, 3, 5]);
        let y = x.shuffle([2, 3, 2]).unwrap();
        assert_eq!(y.shape, [2, 4, 9, 10]);
        assert_eq!(y.unshuffle([2, 3, 2]).unwrap(), x);
        let small = Activation { shape: [4, 1, 1, 1], data: vec![0.0, 1.0, 2.0, 3.0] };
        assert_eq!(small.shuffle([1, 2, 2]).unwrap().data, [0.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    fn ops_compute_what_they_say() {
        let mut tensors = Tensors::new();
        let mut put = |name: &str, shape: &[usize], data: &[f32]| {
            tensors.insert(name.into(), super::super::tensor::Tensor::f32(shape, data.to_vec()));
        };
        put("beta", &[2], &[1.0, 4.0]);
        put("gamma", &[2, 2], &[0.0, 3.0, 5.0, 0.0]);
        put("w", &[2], &[2.0, -1.0]);
        put("b", &[2], &[0.5, 0.0]);
        let run = |json: &str, x: &[f32], side: &[f32]| -> Vec<f32> {
            let graph: Vec<Op> = serde_json::from_str(json).unwrap();
            let x = Activation { shape: [x.len(), 1, 1, 1], data: x.to_vec() };
            RealNet::new(&graph, &tensors).unwrap().run(x, side).unwrap().data
        };
        let norm = [1.0f32 + 3.0 * 4.0, 4.0 + 5.0 * 9.0].map(f32::sqrt);
        let gdn = r#"[{"op":"gdn","beta":"beta","gamma":"gamma"}]"#;
        assert_eq!(run(gdn, &[3.0, 2.0], &[]), [3.0 / norm[0], 2.0 / norm[1]]);
        let igdn = r#"[{"op":"gdn","beta":"beta","gamma":"gamma","inverse":true}]"#;
        assert_eq!(run(igdn, &[3.0, 2.0], &[]), [3.0 * norm[0], 2.0 * norm[1]]);
        assert_eq!(run(r#"[{"op":"relu"}]"#, &[-1.0, 2.0], &[]), [0.0, 2.0]);
        assert_eq!(run(r#"[{"op":"leaky_relu","slope":0.25}]"#, &[-1.0, 2.0], &[]), [-0.25, 2.0]);
        assert_eq!(run(r#"[{"op":"scale","weight":"w","bias":"b"}]"#, &[3.0, 2.0], &[]), [6.5, -2.0]);
        assert_eq!(run(r#"[{"op":"residual","body":[{"op":"relu"}]}]"#, &[-1.0, 2.0], &[]), [-1.0, 4.0]);
        assert_eq!(run(r#"[{"op":"gate","trunk":[],"mask":[]}]"#, &[-1.0, 1.0], &[]), [-1.25, 1.75]);
        assert_eq!(run(r#"[{"op":"concat","branches":[[],[{"op":"relu"}]]}]"#, &[-1.0], &[]), [-1.0, 0.0]);
        assert_eq!(run(r#"[{"op":"side","channels":2}]"#, &[7.0], &[1.0, 2.0]), [7.0, 1.0, 2.0]);
    }
}
