//! What can be learnt of a chunk before it is coded: the codec's own parameters, and the error that a step would leave.

use super::{Chunk, Domain, Plan, working};
use crate::dtype::{Sample, Samples};
use crate::error::{Error, Result};
use crate::mask::Mask;
use crate::match_samples;
use crate::spec::{ChunkSpec, Codec};
use crate::transform::{Analysis, Block};

/// The codec of `spec` with those parameters set that it would choose for a chunk by trials.
///
/// # Errors
/// Those of the encoders.
pub fn settle(x: &Samples, shape: &[usize], spec: &ChunkSpec) -> Result<Codec> {
    match_samples!(x, v => settle_typed(v, shape, spec))
}

fn settle_typed<T: Sample>(x: &[T], shape: &[usize], spec: &ChunkSpec) -> Result<Codec> {
    let mask = Mask::of(x, &spec.missing);
    let valid = mask.as_ref().map(Mask::valid);
    let chunk = Chunk { x, shape, order: None, mask: mask.as_ref(), valid: valid.as_deref(), spec };
    let Codec::Transform(stage, params) = &spec.codec else { return Ok(spec.codec.clone()) };
    let plan = Plan::new(&chunk, stage);
    let Some((goal, _)) = plan.goals(spec.effort, stage, None).first().copied().filter(|_| chunk.may_be_lossy()) else {
        return Ok(spec.codec.clone());
    };
    let (w, _, seen) = working(&chunk, plan.domain);
    let block = Block { valid: seen.as_deref(), effort: spec.effort, ..plan.block(shape, spec.affine) };
    let choices = (stage.make)(params).analyse(w, block)?.choices(goal);
    Ok(spec.codec.clone().settled(&choices))
}

/// A chunk that a transform has looked at, kept to find the step that all chunks of a variable share.
pub struct Probe {
    analysis: Option<Box<dyn Analysis>>,
    scale: f64,
    /// Valid samples of the chunk.
    pub n_valid: u64,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Probe of {} samples", self.n_valid)
    }
}

impl Probe {
    /// Looks at a chunk with the transform of `spec`.
    ///
    /// # Errors
    /// Those of the transform.
    pub fn new(x: &Samples, shape: &[usize], spec: &ChunkSpec) -> Result<Self> {
        match_samples!(x, v => Self::typed(v, shape, spec))
    }

    fn typed<T: Sample>(x: &[T], shape: &[usize], spec: &ChunkSpec) -> Result<Self> {
        let mask = Mask::of(x, &spec.missing);
        let valid = mask.as_ref().map(Mask::valid);
        let chunk = Chunk { x, shape, order: None, mask: mask.as_ref(), valid: valid.as_deref(), spec };
        let n_valid = (0..x.len()).filter(|&i| chunk.is_valid(i)).count() as u64;
        let analysis = match &spec.codec {
            Codec::Auto(_) => return Err(Error::invalid("a step is searched for one codec; choose it first", "auto")),
            Codec::Transform(stage, params) if n_valid > 0 => {
                let (w, _, seen) = working(&chunk, Domain::Linear);
                let block =
                    Block { valid: seen.as_deref(), effort: spec.effort, affine: spec.affine, ..Block::new(shape) };
                Some((stage.make)(params).analyse(w, block)?)
            }
            _ => None,
        };
        Ok(Self { analysis, scale: spec.affine.scale.abs(), n_valid })
    }

    /// Sum of squared errors that the step (physical units) would leave, physical units squared.
    pub fn squared_error(&mut self, step: f64) -> f64 {
        let scale = self.scale;
        self.analysis.as_mut().map_or(0.0, |a| a.squared_error(step / scale) * scale * scale)
    }
}
