//! Transforms: samples to numbers that are cheaper to code. One file per stage, one row per stage in [`TRANSFORMS`].

use crate::bits::Reader;
use crate::bound::Affine;
use crate::error::{Error, Result};
use crate::spec::Params;

#[cfg(test)]
mod checks;
pub mod identity;
pub mod inr;
pub mod open_loop;
pub mod predict;
pub mod tensor;
pub mod wavelet;

pub use open_loop::{Linear, OpenLoop};

/// One parameter of a stage, as `name=value` in a codec spec.
#[derive(Debug, Clone, Copy)]
pub struct Param {
    /// Name in specs.
    pub name: &'static str,
    /// One line for help.
    pub doc: &'static str,
    /// Used when the spec does not say; NaN means that the stage decides by itself.
    pub default: f64,
    /// Smallest value allowed.
    pub min: f64,
    /// Largest value allowed.
    pub max: f64,
}

/// One row of the transform table. Help, parsing, documents and tests derive from it.
#[derive(Clone, Copy)]
pub struct Stage {
    /// On the wire; never reused.
    pub id: u16,
    /// In specs, on the command line, in Python.
    pub name: &'static str,
    /// One line.
    pub doc: &'static str,
    /// What can be set.
    pub params: &'static [Param],
    /// How a norm over the variable is kept.
    pub norm_rule: NormRule,
    /// Whether a step bounds the error of each sample by half of it, so that no residual is needed.
    pub closed_loop: bool,
    /// Makes the stage; `params` holds a checked value for each of `self.params`.
    pub make: fn(params: &Params) -> Box<dyn Transform>,
}

/// How a stage keeps a norm that is promised over the whole variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormRule {
    /// One quantizer step for all blocks, found by a search: every block spends its bits where they buy most.
    SharedStep,
    /// The same relative error for each block by itself.
    PerBlock,
}

impl Stage {
    /// Parameters for decoding, where the payload itself says everything.
    pub fn decode_params(&self) -> Params {
        Params::defaults(self)
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Every transform that this build knows.
pub const TRANSFORMS: &[Stage] = &[
    identity::STAGE,
    tensor::hgfdr::STAGE,
    tensor::hgfdr::BLOCKED,
    tensor::coded::STAGE,
    predict::STAGE,
    wavelet::STAGE,
    crate::learned::stage::STAGE,
    inr::STAGE,
];

/// How good an encoding is asked to be, in the units of the numbers handed to [`Transform::analyse`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// Quantize with this step, or reach the error that a uniform quantizer of this step has: RMSE about `step / sqrt(12)`.
    Step(f64),
    /// `norm(x - x') <= e norm(x)` for each block that the transform works on.
    Relative(f64),
}

/// What both sides know of a block beside its numbers.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// Length of each dimension.
    pub shape: &'a [usize],
    /// Which numbers count; the others may come out as anything finite. `None` if all do.
    pub valid: Option<&'a [bool]>,
    /// The numbers are whole, and so must be those of a closed-loop reconstruction. For encoders only: what they write says so.
    pub integer: bool,
    /// 1 (fast) to 9 (small). For encoders only.
    pub effort: u8,
    /// A step is a promise for each number, not only for their mean. For encoders only.
    pub pointwise: bool,
    /// What the numbers mean, where they are stored ones. For encoders only.
    pub affine: Affine,
}

impl<'a> Block<'a> {
    /// All of a block of real numbers, at effort 5.
    pub fn new(shape: &'a [usize]) -> Self {
        Self { shape, valid: None, integer: false, effort: 5, pointwise: false, affine: Affine::IDENTITY }
    }
}

/// A part of a block: `[start, start + count)` in each dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// First index in each dimension.
    pub start: Vec<usize>,
    /// How many in each dimension.
    pub count: Vec<usize>,
}

impl Region {
    /// The whole block.
    pub fn all(shape: &[usize]) -> Self {
        Self { start: vec![0; shape.len()], count: shape.to_vec() }
    }

    /// Whether this is the whole of `shape`.
    pub fn is_all(&self, shape: &[usize]) -> bool {
        self.start.iter().all(|&s| s == 0) && self.count == shape
    }
}

/// A way to write a block of finite f64 numbers, near enough, in few bytes. What it misses, the pipeline makes good.
pub trait Transform: Send + Sync {
    /// Looks at a block once, so that several goals can be tried on it. `x` is in C order, finite, not empty; 1 to 6 dimensions.
    fn analyse(&self, x: Vec<f64>, block: Block<'_>) -> Result<Box<dyn Analysis>>;

    /// The reconstruction of `region`, in C order, in fixed-order IEEE arithmetic: the same bits on every machine, and the
    /// same bits as that part of a decode of the whole.
    fn decode(&self, src: &mut Reader<'_>, block: Block<'_>, region: &Region) -> Result<Vec<f64>>;

    /// The smooth part of the reconstruction at places given by indices that need not be whole, in fixed-order IEEE arithmetic; `None` from
    /// a transform that knows samples only.
    fn between(&self, _: &mut Reader<'_>, _: Block<'_>, _places: &[Vec<f64>]) -> Result<Option<Vec<f64>>> {
        Ok(None)
    }
}

/// A block that a transform has looked at.
pub trait Analysis: Send {
    /// What `encode(Goal::Step(step))` would leave as the sum of squared errors, without coding it; an estimate is enough.
    fn squared_error(&mut self, step: f64) -> f64;

    /// Coded bytes, and exactly what [`Transform::decode`] will make of them.
    fn encode(&mut self, goal: Goal) -> Result<(Vec<u8>, Vec<f64>)>;

    /// Parameters that `encode` would choose by trials.
    fn choices(&mut self, _: Goal) -> Vec<(&'static str, f64)> {
        Vec::new()
    }
}

/// The row called `name`.
pub fn by_name(name: &str) -> Result<&'static Stage> {
    TRANSFORMS.iter().find(|s| s.name == name).ok_or_else(|| {
        let names: Vec<_> = TRANSFORMS.iter().map(|s| s.name).collect();
        Error::invalid(format!("codecs are auto, {} and lossless", names.join(", ")), format!("{name:?}"))
    })
}

/// The row with the number `id`.
pub fn by_id(id: u16) -> Result<&'static Stage> {
    TRANSFORMS.iter().find(|s| s.id == id).ok_or(Error::Unsupported { what: "transform", id: id.into() })
}
