//! The graph language on burn's tensors: the same ops as `lithify_codec::learned::graph`, differentiable.
//!
//! # Shapes    activations are f32`[N, C, D, H, W]`: a batch of what the portable executor takes one by one

use burn_tensor::ops::ConvOptions;
use burn_tensor::{Tensor, activation, module};
use lithify_codec::learned::graph::{Op, Wavelet};

use crate::error::{Error, Result};
use crate::params::Params;

/// Activations of a batch.
pub type Activations = Tensor<5>;

/// Runs a real network on a batch; `side` are the normalised side inputs `[N, S]`, if the model has any.
///
/// # Errors
/// [`Error::Config`] if a tensor is missing or the network is one of integers.
pub fn run(graph: &[Op], params: &Params, mut x: Activations, side: Option<&Tensor<2>>) -> Result<Activations> {
    for op in graph {
        x = step(op, params, x, side)?;
    }
    Ok(x)
}

fn step(op: &Op, params: &Params, x: Activations, side: Option<&Tensor<2>>) -> Result<Activations> {
    Ok(match op {
        Op::Conv { weight, bias, stride, groups } => {
            let bias = bias.as_ref().map(|b| params.tensor::<1>(b)).transpose()?;
            conv(x, params.tensor::<5>(weight)?, bias, *stride, *groups)
        }
        Op::Shuffle { factor } => shuffle(x, *factor),
        Op::Unshuffle { factor } => unshuffle(x, *factor),
        Op::Gdn { beta, gamma, inverse } => {
            let (beta, gamma) = (params.tensor::<1>(beta)?, params.tensor::<2>(gamma)?);
            let [c, _] = gamma.dims();
            let norm = conv(x.clone() * x.clone(), gamma.reshape([c, c, 1, 1, 1]), Some(beta), [1; 3], 1).sqrt();
            if *inverse { x * norm } else { x / norm }
        }
        Op::Relu => activation::relu(x),
        Op::LeakyRelu { slope } => activation::leaky_relu(x, f64::from(*slope)),
        Op::Residual { body } => x.clone() + run(body, params, x, side)?,
        Op::Gate { trunk, mask } => {
            let z = run(mask, params, x.clone(), side)?;
            let open = (z.clone() / (z.abs() + 1.0) + 1.0) * 0.5;
            x.clone() + run(trunk, params, x, side)? * open
        }
        Op::Concat { branches } => {
            let parts = branches.iter().map(|b| run(b, params, x.clone(), side)).collect::<Result<Vec<_>>>()?;
            Tensor::cat(parts, 1)
        }
        Op::Wavelet { kind, inverse: false } => analyse(x, *kind),
        Op::Wavelet { kind, inverse: true } => synthesise(x, *kind),
        Op::Scale { weight, bias } => {
            let weight = params.tensor::<1>(weight)?;
            let c = weight.dims()[0];
            let y = x * weight.reshape([1, c, 1, 1, 1]);
            match bias {
                Some(b) => y + params.tensor::<1>(b)?.reshape([1, c, 1, 1, 1]),
                None => y,
            }
        }
        Op::Side { channels } => {
            let side = side.ok_or_else(|| Error::Config("the network wants side inputs and has none".into()))?;
            let [n, _, d, h, w] = x.dims();
            let planes = side.clone().reshape([n, *channels, 1, 1, 1]).expand([n, *channels, d, h, w]);
            Tensor::cat(vec![x, planes], 1)
        }
        Op::Iconv { .. } | Op::Ileaky { .. } => {
            return Err(Error::Config("a network of integers cannot be trained".into()));
        }
    })
}

/// Convolution with symmetric zero padding. Kernels of one plane go the way of two dimensions, which is faster, and those of one
/// position that of matrices.
pub fn conv(x: Activations, w: Tensor<5>, bias: Option<Tensor<1>>, stride: [usize; 3], groups: usize) -> Activations {
    let [n, c, d, h, width] = x.dims();
    let [out, per_group, kd, kh, kw] = w.dims();
    if [kd, kh, kw, groups] == [1; 4] && stride == [1; 3] {
        let y = w.reshape([1, out, c]).expand([n, out, c]).matmul(x.reshape([n, c, d * h * width]));
        let y = y.reshape([n, out, d, h, width]);
        return match bias {
            Some(b) => y + b.reshape([1, out, 1, 1, 1]),
            None => y,
        };
    }
    let half = |k: usize| (k - 1) / 2;
    if kd == 1 && d == 1 {
        let options = ConvOptions::new([stride[1], stride[2]], [half(kh), half(kw)], [1, 1], groups);
        let y = module::conv2d(x.reshape([n, c, h, width]), w.reshape([out, per_group, kh, kw]), bias, options);
        let [n, out, h, width] = y.dims();
        return y.reshape([n, out, 1, h, width]);
    }
    module::conv3d(x, w, bias, ConvOptions::new(stride, [half(kd), half(kh), half(kw)], [1; 3], groups))
}

fn shuffle(x: Activations, [fd, fh, fw]: [usize; 3]) -> Activations {
    let [n, c, d, h, w] = x.dims();
    let c = c / (fd * fh * fw);
    let x: Tensor<8> = x.reshape([n, c, fd, fh, fw, d, h, w]);
    x.permute([0, 1, 5, 2, 6, 3, 7, 4]).reshape([n, c, d * fd, h * fh, w * fw])
}

fn unshuffle(x: Activations, [fd, fh, fw]: [usize; 3]) -> Activations {
    let [n, c, d, h, w] = x.dims();
    let (d, h, w) = (d / fd, h / fh, w / fw);
    let x: Tensor<8> = x.reshape([n, c, d, fd, h, fh, w, fw]);
    x.permute([0, 1, 3, 5, 7, 2, 4, 6]).reshape([n, c * fd * fh * fw, d, h, w])
}

/// One level: columns, then rows; band `2 high_row + high_column` of channel c becomes channel `4 c + band`.
fn analyse(x: Activations, kind: Wavelet) -> Activations {
    let [n, c, d, h, w] = x.dims();
    let (low, high) = split(x, 4, kind);
    let bands = [low, high].map(|half| split(half, 3, kind));
    let [(ll, hl), (lh, hh)] = bands;
    // (low row, low column), (low row, high column), (high row, low column), (high row, high column)
    let all: Tensor<6> = Tensor::stack(vec![ll, lh, hl, hh], 2);
    all.reshape([n, c * 4, d, h / 2, w / 2])
}

fn synthesise(x: Activations, kind: Wavelet) -> Activations {
    let [n, c4, d, h, w] = x.dims();
    let x: Tensor<6> = x.reshape([n, c4 / 4, 4, d, h, w]);
    let band = |b: usize| -> Activations { x.clone().narrow(2, b, 1).reshape([n, c4 / 4, d, h, w]) };
    let low = join(band(0), band(2), 3, kind);
    let high = join(band(1), band(3), 3, kind);
    join(low, high, 4, kind)
}

/// Even and odd samples along `axis`.
fn split(x: Activations, axis: usize, kind: Wavelet) -> (Activations, Activations) {
    let mut dims = x.dims().to_vec();
    dims[axis] /= 2;
    let shape: [usize; 5] = [dims[0], dims[1], dims[2], dims[3], dims[4]];
    dims.insert(axis + 1, 2);
    let pairs: Tensor<6> = x.reshape([dims[0], dims[1], dims[2], dims[3], dims[4], dims[5]]);
    let part = |i: usize| -> Activations { pairs.clone().narrow(axis + 1, i, 1).reshape(shape) };
    forward_lift(part(0), part(1), axis, kind)
}

fn join(low: Activations, high: Activations, axis: usize, kind: Wavelet) -> Activations {
    let mut shape = low.dims();
    let (even, odd) = inverse_lift(low, high, axis, kind);
    shape[axis] *= 2;
    let pairs: Tensor<6> = Tensor::stack(vec![even, odd], axis + 1);
    pairs.reshape(shape)
}

const HALF_ROOT: f32 = std::f32::consts::FRAC_1_SQRT_2;
/// Lifting steps of the CDF 9/7 wavelet, and the gain that makes it near orthonormal.
const LIFT: [f32; 4] = [-1.586_134_3, -0.052_980_12, 0.882_911_1, 0.443_506_85];
const ZETA: f32 = 1.149_604_4;

fn forward_lift(even: Activations, odd: Activations, axis: usize, kind: Wavelet) -> (Activations, Activations) {
    if kind == Wavelet::Haar {
        return ((even.clone() + odd.clone()) * HALF_ROOT, (even - odd) * HALF_ROOT);
    }
    let odd = odd + (even.clone() + after(even.clone(), axis)) * LIFT[0];
    let even = even + (before(odd.clone(), axis) + odd.clone()) * LIFT[1];
    let odd = odd + (even.clone() + after(even.clone(), axis)) * LIFT[2];
    let even = even + (before(odd.clone(), axis) + odd.clone()) * LIFT[3];
    (even * ZETA, odd / ZETA)
}

fn inverse_lift(low: Activations, high: Activations, axis: usize, kind: Wavelet) -> (Activations, Activations) {
    if kind == Wavelet::Haar {
        return ((low.clone() + high.clone()) * HALF_ROOT, (low - high) * HALF_ROOT);
    }
    let (even, odd) = (low / ZETA, high * ZETA);
    let even = even - (before(odd.clone(), axis) + odd.clone()) * LIFT[3];
    let odd = odd - (even.clone() + after(even.clone(), axis)) * LIFT[2];
    let even = even - (before(odd.clone(), axis) + odd.clone()) * LIFT[1];
    let odd = odd - (even.clone() + after(even.clone(), axis)) * LIFT[0];
    (even, odd)
}

/// The next even sample; the last one is its own mirror image.
fn after(x: Activations, axis: usize) -> Activations {
    let n = x.dims()[axis];
    if n == 1 {
        return x;
    }
    Tensor::cat(vec![x.clone().narrow(axis, 1, n - 1), x.narrow(axis, n - 1, 1)], axis)
}

/// The odd sample before; the first one is its own mirror image.
fn before(x: Activations, axis: usize) -> Activations {
    let n = x.dims()[axis];
    if n == 1 {
        return x;
    }
    Tensor::cat(vec![x.clone().narrow(axis, 0, 1), x.narrow(axis, 0, n - 1)], axis)
}
