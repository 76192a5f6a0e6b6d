//! Which variables are coded by us, how they are cut, and what their bounds come to, before anything is written.

use std::collections::BTreeMap;

use lithify_codec::learned::stage;
use lithify_codec::{Codec, Dtype};
use serde_json::json;

use super::{Job, MOST_BYTES, Options, Plan, select_variables};
use crate::coded::CodedFormat;
use crate::error::{Error, Result};
use crate::horizontal::Horizontal;
use crate::job::Context;
use crate::job::chunks::{chunk_shape, fit_model};
use crate::model::{Group, Source, Variable};
use crate::policy;
use crate::zarr::{Layout, configuration_of};

/// How [`super::compress`] would store each variable that the codec codes. The data are read as far as the bounds need it.
///
/// # Errors
/// Those of [`super::compress`].
pub fn plan_layouts(source: &dyn Source, options: &Options, context: &Context<'_>) -> Result<BTreeMap<String, Layout>> {
    let root = select_variables(source.root(), &options.variables)?;
    Ok(layouts(&jobs(source, &root, options, CodedFormat::Zarr)?, context)?.1)
}

/// The variables that are coded by us.
pub(super) fn jobs<'a>(
    source: &'a dyn Source,
    root: &Group,
    options: &Options,
    format: CodedFormat,
) -> Result<Vec<Job<'a>>> {
    if format == CodedFormat::NetCdf && matches!(&options.codec, Codec::Transform(_, p) if p.model().is_some()) {
        return Err(Error::invalid("an HDF5 filter has no place for a model; write a .zarr", &options.codec));
    }
    let promises = policy::promises(root, &options.bounds)?;
    let roles = policy::roles(root);
    for dim in options.chunks.keys() {
        if !root.walk().iter().any(|(_, v)| v.dims.contains(dim)) {
            return Err(Error::invalid("--chunks names a dimension that no variable has", dim));
        }
    }
    let unlimited = root.unlimited();
    let mut jobs = Vec::new();
    for (path, v) in root.walk() {
        let promise = promises[&path].clone();
        let ours = !policy::is_plain(roles[&path]) && (v.len() >= policy::SMALL || !promise.is_lossless());
        let Some(dtype) = v.dtype().filter(|_| ours && format.takes(v)) else { continue };
        // HDF5 has no chunks that are longer than what they are cut from.
        let grows = |d: usize| format == CodedFormat::Zarr && (d == 0 || unlimited.contains(&v.dims[d]));
        let codec = match &options.codec {
            _ if promise.is_lossless() => Codec::Lossless,
            Codec::Auto(_) if format == CodedFormat::NetCdf => Codec::Auto(Vec::new()),
            codec => codec.clone(),
        };
        let chunk = chunk_of(v, dtype, &codec, &options.chunks, grows)?;
        format.check_chunk(&path, dtype, &chunk)?;
        check_models(&path, &codec, &v.shape, &chunk)?;
        let shard = format.shard(&v.shape, &chunk);
        let codec = placed(source, &path, v, &chunk, codec);
        jobs.push(Job {
            source,
            path,
            v: v.clone(),
            dtype,
            promise,
            codec,
            effort: options.effort,
            layout: Layout { chunk, shard, configuration: json!({}) },
            follows: None,
        });
    }
    Ok(jobs)
}

/// A codec that takes places for those of a globe does so where each chunk has all of it, unless that was decided already.
fn placed(source: &dyn Source, path: &str, v: &Variable, chunk: &[usize], codec: Codec) -> Codec {
    let takes = matches!(&codec, Codec::Transform(stage, _) if stage.params.iter().any(|p| p.name == GLOBE));
    let whole = v.shape.iter().zip(chunk).rev().take(2).all(|(n, c)| c >= n);
    if takes && whole && Horizontal::of(source, path).is_ok_and(|h| h.is_globe(v.shape.len())) {
        codec.settled(&[(GLOBE, 1.0)])
    } else {
        codec
    }
}

/// The parameter of such codecs.
const GLOBE: &str = "globe";

/// Fails if the model that a codec names cannot code chunks of that shape.
fn check_models(path: &str, codec: &Codec, shape: &[usize], chunk: &[usize]) -> Result<()> {
    let Codec::Transform(..) = codec else { return Ok(()) };
    let first: Vec<usize> = shape.iter().zip(chunk).map(|(n, c)| *n.min(c)).collect();
    for hash in codec.models() {
        if let Err(e) = stage::fits(&*lithify_codec::learned::find(hash)?, &first) {
            return Err(Error::invalid(
                format!("{path} does not fit the model; leave it out with --vars, or give it no bound"),
                e,
            ));
        }
    }
    Ok(())
}

/// First passes and searches for steps: the specification of each variable goes into its array's metadata.
pub(super) fn layouts(jobs: &[Job<'_>], context: &Context<'_>) -> Result<(Vec<Plan>, BTreeMap<String, Layout>)> {
    let (mut plans, mut layouts) = (Vec::new(), BTreeMap::new());
    for job in jobs {
        let plan = job.plan(context)?;
        let configuration = configuration_of(&plan.spec, &job.promise.to_string());
        layouts.insert(job.path.clone(), Layout { configuration, ..job.layout.clone() });
        plans.push(plan);
    }
    Ok((plans, layouts))
}

/// The automatic chunk, but for the lengths that were asked for. These may be longer than the variable where it can grow, along its
/// first dimension and unlimited ones, as long as a whole chunk stays one that can be held.
fn chunk_of(
    v: &Variable,
    dtype: Dtype,
    codec: &Codec,
    asked: &BTreeMap<String, usize>,
    grows: impl Fn(usize) -> bool,
) -> Result<Vec<usize>> {
    let mut automatic = chunk_shape(&v.shape, dtype, v.chunks.as_deref());
    for hash in codec.models() {
        let model = lithify_codec::learned::find(hash)?;
        if stage::fits(&model, &v.shape).is_ok() {
            let [_, rows, columns] = model.lengths().multiple;
            fit_model(&mut automatic, &v.shape, stage::band_axis(&model, v.shape.len()), [rows, columns]);
        }
    }
    let within = |grows: &dyn Fn(usize) -> bool| {
        let mut chunk = automatic.clone();
        for (d, c) in chunk.iter_mut().enumerate() {
            if let Some(n) = asked.get(&v.dims[d]) {
                let most = if grows(d) { usize::MAX } else { v.shape[d].max(1) };
                *c = (*n).clamp(1, most);
            }
        }
        chunk
    };
    let chunk = within(&grows);
    let bytes = chunk.iter().try_fold(dtype.size(), |n, c| n.checked_mul(*c));
    Ok(if bytes.is_some_and(|n| n <= MOST_BYTES) { chunk } else { within(&|_| false) })
}
