//! Which variables are coded by us, how they are cut, and what their bounds come to, before anything is written.

use std::collections::BTreeMap;

use lithify_codec::Dtype;

use super::{Job, Options, Plan, select_variables};
use crate::error::{Error, Result};
use crate::job::Context;
use crate::job::chunks::chunk_shape;
use crate::model::{Group, Source, Variable};
use crate::policy;
use crate::zarr::{Layout, configuration_of};

/// How [`super::compress`] would store each variable that the codec codes. The data are read as far as the bounds need it.
///
/// # Errors
/// Those of [`super::compress`].
pub fn plan_layouts(source: &dyn Source, options: &Options, context: &Context<'_>) -> Result<BTreeMap<String, Layout>> {
    let root = select_variables(source.root(), &options.variables)?;
    Ok(layouts(&jobs(source, &root, options)?, context)?.1)
}

/// The variables that are coded by us.
pub(super) fn jobs<'a>(source: &'a dyn Source, root: &Group, options: &'a Options) -> Result<Vec<Job<'a>>> {
    let promises = policy::promises(root, &options.bounds)?;
    let roles = policy::roles(root);
    for dim in options.chunks.keys() {
        if !root.walk().iter().any(|(_, v)| v.dims.contains(dim)) {
            return Err(Error::invalid("--chunks names a dimension that no variable has", dim));
        }
    }
    let mut jobs = Vec::new();
    for (path, v) in root.walk() {
        let promise = promises[&path].clone();
        let ours = !policy::is_plain(roles[&path]) && (v.len() >= policy::SMALL || !promise.is_lossless());
        let Some(dtype) = v.dtype().filter(|_| ours) else { continue };
        let chunk = chunk_of(v, dtype, &options.chunks);
        jobs.push(Job { source, path, v: v.clone(), dtype, promise, options, chunk });
    }
    Ok(jobs)
}

/// First passes and searches for steps: the specification of each variable goes into its array's metadata.
pub(super) fn layouts(jobs: &[Job<'_>], context: &Context<'_>) -> Result<(Vec<Plan>, BTreeMap<String, Layout>)> {
    let (mut plans, mut layouts) = (Vec::new(), BTreeMap::new());
    for job in jobs {
        let plan = job.plan(context)?;
        let configuration = configuration_of(&plan.spec, &job.promise.to_string());
        let layout = Layout { chunk: job.chunk.clone(), shard: job.shard(), configuration };
        layouts.insert(job.path.clone(), layout);
        plans.push(plan);
    }
    Ok((plans, layouts))
}

fn chunk_of(v: &Variable, dtype: Dtype, asked: &BTreeMap<String, usize>) -> Vec<usize> {
    let mut chunk = chunk_shape(&v.shape, dtype, v.chunks.as_deref());
    for (c, (dim, len)) in chunk.iter_mut().zip(v.dims.iter().zip(&v.shape)) {
        if let Some(n) = asked.get(dim) {
            *c = (*n).clamp(1, (*len).max(1));
        }
    }
    chunk
}
