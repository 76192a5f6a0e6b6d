//! Tensors by name: weights of the networks, tables of the entropy models.

use std::collections::BTreeMap;

use half::f16;

use crate::error::{Error, Result};

/// The numbers of a tensor, in C order.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Real weights, finite.
    F32(Vec<f32>),
    /// Real weights, finite, in two bytes each in a file.
    F16(Vec<f32>),
    /// Integer weights.
    I8(Vec<i8>),
    /// Integer weights.
    I16(Vec<i16>),
    /// Integer biases, multipliers, tables.
    I32(Vec<i32>),
}

impl Data {
    /// How many numbers.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) | Self::F16(v) => v.len(),
            Self::I8(v) => v.len(),
            Self::I16(v) => v.len(),
            Self::I32(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A shape and its numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Length of each dimension.
    pub shape: Vec<usize>,
    /// The numbers, in C order.
    pub data: Data,
}

impl Tensor {
    /// A tensor of real numbers.
    pub fn f32(shape: &[usize], data: Vec<f32>) -> Self {
        Self { shape: shape.to_vec(), data: Data::F32(data) }
    }

    /// A tensor of real numbers, rounded to half precision.
    pub fn f16(shape: &[usize], data: &[f32]) -> Self {
        let data = data.iter().map(|v| f16::from_f32(*v).to_f32()).collect();
        Self { shape: shape.to_vec(), data: Data::F16(data) }
    }

    /// A tensor of 16-bit integers.
    pub fn i16(shape: &[usize], data: Vec<i16>) -> Self {
        Self { shape: shape.to_vec(), data: Data::I16(data) }
    }

    /// A tensor of 32-bit integers.
    pub fn i32(shape: &[usize], data: Vec<i32>) -> Self {
        Self { shape: shape.to_vec(), data: Data::I32(data) }
    }
}

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

fn find<'a>(tensors: &'a Tensors, name: &str) -> Result<&'a Tensor> {
    tensors.get(name).ok_or_else(|| bad(format!("there is no tensor {name:?}")))
}

/// Real numbers of a tensor of this shape; `None` in `shape` is any length.
pub(super) fn reals<'a>(tensors: &'a Tensors, name: &str, shape: &[Option<usize>]) -> Result<(&'a [usize], &'a [f32])> {
    let t = shaped(find(tensors, name)?, name, shape)?;
    match &t.data {
        Data::F32(v) | Data::F16(v) if v.iter().all(|v| v.is_finite()) => Ok((&t.shape, v)),
        Data::F32(_) | Data::F16(_) => Err(bad(format!("tensor {name:?} has numbers that are not finite"))),
        _ => Err(bad(format!("tensor {name:?} must hold float32 or float16"))),
    }
}

/// Integers of a tensor of this shape, whatever their width.
pub(super) fn integers<'a>(
    tensors: &'a Tensors,
    name: &str,
    shape: &[Option<usize>],
) -> Result<(&'a [usize], Vec<i32>)> {
    let t = shaped(find(tensors, name)?, name, shape)?;
    let v = match &t.data {
        Data::I8(v) => v.iter().map(|v| i32::from(*v)).collect(),
        Data::I16(v) => v.iter().map(|v| i32::from(*v)).collect(),
        Data::I32(v) => v.clone(),
        Data::F32(_) | Data::F16(_) => return Err(bad(format!("tensor {name:?} must hold integers"))),
    };
    Ok((&t.shape, v))
}

fn shaped<'a>(t: &'a Tensor, name: &str, shape: &[Option<usize>]) -> Result<&'a Tensor> {
    let fits = t.shape.len() == shape.len() && t.shape.iter().zip(shape).all(|(n, want)| want.is_none_or(|w| w == *n));
    if fits && crate::block::n_samples(&t.shape) == Some(t.data.len()) && !t.data.is_empty() {
        return Ok(t);
    }
    let want: Vec<String> = shape.iter().map(|n| n.map_or("any".into(), |n| n.to_string())).collect();
    Err(bad(format!("tensor {name:?} has shape {:?}, [{}] is needed", t.shape, want.join(", "))))
}

/// A model that contradicts itself.
pub(super) fn bad(what: impl Into<String>) -> Error {
    Error::corrupt("model", what)
}
