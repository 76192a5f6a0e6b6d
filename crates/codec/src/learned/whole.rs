//! Whole networks: fixed-point activations in `i32`, sums that cannot overflow, the same on every machine.

use super::activation::Activation;
use super::conv::Conv;
use super::graph::{LIMIT, Op};
use super::tensor::{Tensors, bad, integers};
use crate::error::Result;
use crate::stop;

/// A checked whole network with its weights.
#[derive(Debug, Clone)]
pub struct WholeNet(Vec<Step>);

#[derive(Debug, Clone)]
enum Step {
    Conv { conv: Conv<i32>, multiplier: Vec<i64>, shift: u32 },
    Shuffle([usize; 3]),
    Unshuffle([usize; 3]),
    Relu,
    Leaky(u32),
    Residual(WholeNet),
    Concat(Vec<WholeNet>),
}

/// Into the range of activations.
pub(super) fn clamp(v: i64) -> i32 {
    v.clamp(-i64::from(LIMIT), i64::from(LIMIT)) as i32
}

impl WholeNet {
    /// Gathers the weights of a graph that [`super::graph::check`] has passed.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] if a tensor is missing.
    pub fn new(graph: &[Op], tensors: &Tensors) -> Result<Self> {
        graph.iter().map(|op| Step::new(op, tensors)).collect::<Result<_>>().map(Self)
    }

    /// What the network makes of `x`, whose numbers lie in `-LIMIT..=LIMIT`.
    ///
    /// # Errors
    /// [`crate::Error::Limit`] if memory does not suffice, [`crate::Error::Interrupted`].
    pub fn run(&self, mut x: Activation<i32>) -> Result<Activation<i32>> {
        for step in &self.0 {
            stop::check()?;
            x = step.run(x)?;
        }
        Ok(x)
    }
}

impl Step {
    fn new(op: &Op, tensors: &Tensors) -> Result<Self> {
        Ok(match op {
            Op::Iconv { weight, bias, multiplier, shift, stride, groups } => {
                let (shape, w) = integers(tensors, weight, &[None; 5])?;
                let bias = integers(tensors, bias, &[None])?.1;
                let multiplier = integers(tensors, multiplier, &[None])?.1.into_iter().map(i64::from).collect();
                Self::Conv { conv: Conv::new(shape, &w, &bias, *stride, *groups), multiplier, shift: *shift }
            }
            Op::Shuffle { factor } => Self::Shuffle(*factor),
            Op::Unshuffle { factor } => Self::Unshuffle(*factor),
            Op::Relu => Self::Relu,
            Op::Ileaky { shift } => Self::Leaky(*shift),
            Op::Residual { body } => Self::Residual(WholeNet::new(body, tensors)?),
            Op::Concat { branches } => {
                Self::Concat(branches.iter().map(|b| WholeNet::new(b, tensors)).collect::<Result<_>>()?)
            }
            _ => return Err(bad("a real op in a whole network")),
        })
    }

    fn run(&self, mut x: Activation<i32>) -> Result<Activation<i32>> {
        match self {
            Self::Conv { conv, multiplier, shift } => {
                x = conv.run(&x)?;
                let n = x.per_channel().max(1);
                for (v, m) in x.data.chunks_mut(n).zip(multiplier) {
                    v.iter_mut().for_each(|v| *v = clamp((i64::from(*v) * m + (1 << (shift - 1))) >> shift));
                }
            }
            Self::Shuffle(factor) => return x.shuffle(*factor),
            Self::Unshuffle(factor) => return x.unshuffle(*factor),
            Self::Relu => x.data.iter_mut().for_each(|v| *v = (*v).max(0)),
            Self::Leaky(shift) => x.data.iter_mut().for_each(|v| *v = if *v > 0 { *v } else { *v >> shift }),
            Self::Residual(body) => {
                let y = body.run(x.clone())?;
                x.data.iter_mut().zip(&y.data).for_each(|(x, y)| *x = clamp(i64::from(*x) + i64::from(*y)));
            }
            Self::Concat(branches) => {
                let parts = branches.iter().map(|b| b.run(x.clone())).collect::<Result<_>>()?;
                x = Activation::concat(parts).unwrap_or(x);
            }
        }
        Ok(x)
    }
}
