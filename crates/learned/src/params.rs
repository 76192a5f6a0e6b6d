//! Weights by name, as leaves of burn's autodiff.

use std::collections::BTreeMap;

use burn_tensor::{Device, Tensor, TensorData};
use lithify_codec::learned::tensor as portable;

use crate::error::{Error, Result};

/// What is learned. Each tensor lies flat; its shape is beside it.
#[derive(Debug, Clone)]
pub struct Params {
    leaves: BTreeMap<String, (Vec<usize>, Tensor<1>)>,
    device: Device,
}

impl Params {
    /// No weights yet; `device` is where they will be.
    pub fn new(device: &Device) -> Self {
        Self { leaves: BTreeMap::new(), device: device.clone() }
    }

    /// Where the weights are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Adds or replaces a weight.
    pub fn set(&mut self, name: &str, shape: &[usize], values: Vec<f32>) {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        let leaf = leaf(vector(values, &self.device));
        self.leaves.insert(name.to_string(), (shape.to_vec(), leaf));
    }

    /// A weight in its shape, which must have `D` dimensions.
    ///
    /// # Errors
    /// [`Error::Config`] if there is none.
    pub fn tensor<const D: usize>(&self, name: &str) -> Result<Tensor<D>> {
        let found =
            self.leaves.get(name).and_then(|(shape, t)| Some((<[usize; D]>::try_from(shape.as_slice()).ok()?, t)));
        match found {
            Some((shape, t)) => Ok(t.clone().reshape(shape)),
            None => Err(Error::Config(format!("the model has no tensor {name:?} of {D} dimensions"))),
        }
    }

    /// A weight as it lies.
    pub(crate) fn leaf(&self, name: &str) -> Option<Tensor<1>> {
        self.leaves.get(name).map(|(_, t)| t.clone())
    }

    /// Names, shapes and leaves, in order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Vec<usize>, &Tensor<1>)> {
        self.leaves.iter().map(|(name, (shape, t))| (name, shape, t))
    }

    /// Puts a new leaf in the place of one.
    pub(crate) fn replace(&mut self, name: &str, value: Tensor<1>) {
        if let Some((_, t)) = self.leaves.get_mut(name) {
            *t = leaf(value);
        }
    }

    /// Numbers of a weight.
    ///
    /// # Errors
    /// [`Error::Config`] if there is none.
    pub fn values(&self, name: &str) -> Result<Vec<f32>> {
        let (_, t) = self.leaves.get(name).ok_or_else(|| Error::Config(format!("the model has no tensor {name:?}")))?;
        Ok(floats(t.clone()))
    }

    /// All weights, for the portable executor and the model file.
    pub fn portable(&self) -> portable::Tensors {
        self.iter().map(|(name, shape, t)| (name.clone(), portable::Tensor::f32(shape, floats(t.clone())))).collect()
    }

    /// The same numbers without gradients, for evaluation.
    pub fn frozen(&self) -> Self {
        let leaves = self.leaves.iter().map(|(n, (s, t))| (n.clone(), (s.clone(), t.clone().inner()))).collect();
        Self { leaves, device: self.device.clone() }
    }
}

fn leaf(t: Tensor<1>) -> Tensor<1> {
    t.inner().autodiff().require_grad()
}

/// Numbers to a tensor of one dimension.
pub fn vector(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

/// The numbers of a tensor, C order.
pub fn floats<const D: usize>(t: Tensor<D>) -> Vec<f32> {
    // Tensors are made of f32 here and nowhere else, so the reading cannot fail.
    t.inner().try_into_vec_as::<f32>().unwrap_or_default()
}
