//! [`super::compress`] in parts, for those who have the chunks encoded by many machines: what is to be done, what a missed norm calls
//! for, and the store around the chunks.
//!
//! 1. [`outlines`]: which variables are coded by us, how they are cut, what their promises need to know of the data.
//! 2. [`super::plan_layouts`] with a source that knows these statistics ([`Source::known`]).
//! 3. The chunks are encoded, elsewhere. [`judge`] says whether that is good, or how to do it again.
//! 4. [`skeleton`]: metadata, certificates, and all arrays that are not coded by us.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lithify_codec::{ChunkSpec, Codec, Dtype, ErrorStats, Promise, Tolerance};

use super::plan::jobs;
use super::{
    CodedVariable, Job, Options, Outcome, RETRIES, Settled, copy_standard, finer, raw_bytes, select_variables,
};
use crate::coded::CodedFormat;
use crate::error::{Error, Result};
use crate::job::Context;
use crate::job::certificate::{self, crc_of_crcs, lossy_bound};
use crate::job::chunks::chunk_grid;
use crate::model::Source;
use crate::zarr::{Layout, ZarrWriter, configuration_of, spec_of};

/// A variable that is coded by us, before any of its data are read.
#[derive(Debug, Clone)]
pub struct Outline {
    /// How it is cut. The configuration keeps every bit, but says what is missing and how values are packed.
    pub layout: Layout,
    /// What must hold.
    pub promise: Promise,
    /// Sample type.
    pub dtype: Dtype,
}

/// The variables that are coded by us, by path.
///
/// # Errors
/// [`Error::Invalid`] for options that do not fit the source.
pub fn outlines(source: &dyn Source, options: &Options) -> Result<BTreeMap<String, Outline>> {
    let root = select_variables(source.root(), &options.variables)?;
    let outline = |job: &Job<'_>| {
        let layout = Layout {
            configuration: configuration_of(&job.spec(), &Promise::lossless().to_string()),
            ..job.layout.clone()
        };
        (job.path.clone(), Outline { layout, promise: job.promise.clone(), dtype: job.dtype })
    };
    Ok(jobs(source, &root, options, CodedFormat::Zarr)?.iter().map(outline).collect())
}

/// What to do with a variable that was encoded with `spec` for the `attempt`th time, counted from 1: nothing if the promise holds,
/// else another encode.
///
/// # Errors
/// [`Error::Broken`] if what was missed was no norm: every other bound was checked chunk by chunk.
pub fn judge(promise: &Promise, spec: &ChunkSpec, stats: &ErrorStats, attempt: usize) -> Result<Option<ChunkSpec>> {
    if promise.kept(stats) {
        return Ok(None);
    }
    match (spec.step, spec.tolerance.mse) {
        (Some(step), Some(mse)) if attempt <= RETRIES => {
            Ok(Some(ChunkSpec { step: Some(finer(step, mse, stats)), ..spec.clone() }))
        }
        (Some(_), Some(_)) => {
            Ok(Some(ChunkSpec { codec: Codec::Lossless, tolerance: Tolerance::LOSSLESS, step: None, ..spec.clone() }))
        }
        _ => Err(Error::Broken(format!("{promise} does not hold after encoding; please report this"))),
    }
}

/// What became of one chunk.
#[derive(Debug, Clone)]
pub struct ChunkRecord {
    /// Errors, physical units.
    pub stats: ErrorStats,
    /// Samples stored exactly because the codec missed the bound.
    pub n_escapes: u64,
    /// What it was coded with.
    pub codec: String,
    /// CRC-32C of the samples that went in.
    pub source_crc: u32,
    /// CRC-32C of those that come out.
    pub decoded_crc: u32,
}

/// A variable whose chunks are where they belong.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// How it was cut, and the configuration that it was coded with.
    pub layout: Layout,
    /// Its chunks, shard by shard, each in C order.
    pub chunks: Vec<ChunkRecord>,
    /// Bytes of its chunks, indices of shards included.
    pub stored_bytes: u64,
    /// Encodes of the whole variable.
    pub n_encodes: usize,
    /// Time spent on it, seconds.
    pub seconds: f64,
}

/// Writes a store that lacks nothing but the chunks of the variables in `encoded`. `warn` gets one line for each thing worth knowing.
///
/// # Errors
/// [`Error::Broken`] if a promise does not hold, [`Error::Invalid`] if `encoded` is not what [`outlines`] asked for, and those of
/// reading and writing. `out` appears whole or not at all, and replaces what was there.
pub fn skeleton(
    source: &dyn Source,
    out: &Path,
    options: &Options,
    encoded: &BTreeMap<String, Encoded>,
    context: &Context<'_>,
    warn: &mut dyn FnMut(String),
) -> Result<(PathBuf, Vec<Outcome>)> {
    let root = select_variables(source.root(), &options.variables)?;
    let jobs = jobs(source, &root, options, CodedFormat::Zarr)?;
    if let Some(job) = jobs.iter().find(|j| !encoded.contains_key(&j.path)) {
        return Err(Error::invalid("the chunks of a variable are missing", &job.path));
    }
    source.warnings().into_iter().for_each(&mut *warn);
    let mut writer = ZarrWriter::create(out)?;
    let layouts = encoded.iter().map(|(path, e)| (path.clone(), e.layout.clone())).collect();
    writer.define(&root, &layouts)?;
    let mut outcomes = Vec::new();
    for (path, v) in root.walk() {
        let outcome = match jobs.iter().find(|j| j.path == path) {
            Some(job) => seal(job, &encoded[&path], &mut writer, warn)?,
            None => copy_standard(source, &path, v, &mut writer, context)?,
        };
        outcomes.push(outcome);
    }
    context.check()?;
    Ok((writer.finish_replacing()?, outcomes))
}

/// The certificate of a variable whose chunks were encoded elsewhere.
fn seal(job: &Job<'_>, e: &Encoded, writer: &mut ZarrWriter, warn: &mut dyn FnMut(String)) -> Result<Outcome> {
    let spec = spec_of(&e.layout.configuration, job.dtype)?;
    let n = chunk_grid(&job.v.shape, &e.layout.chunk, e.layout.shard.as_deref()).len();
    if e.chunks.len() != n {
        return Err(Error::invalid(format!("{} has {n} chunks; records are there of", job.path), e.chunks.len()));
    }
    let mut coded = CodedVariable::default();
    for chunk in &e.chunks {
        coded.stats.merge(&chunk.stats);
        coded.n_escapes += chunk.n_escapes;
        coded.source_crc = crc_of_crcs(coded.source_crc, chunk.source_crc);
        coded.decoded_crc = crc_of_crcs(coded.decoded_crc, chunk.decoded_crc);
        *coded.codecs.entry(chunk.codec.clone()).or_default() += 1;
    }
    if !job.promise.kept(&coded.stats) {
        return Err(job.broken());
    }
    let resolved = match (spec.tolerance.lossless, spec.tolerance.bits) {
        (true, _) => Promise::lossless(),
        (false, Some(bits)) => job.promise.with_bits(bits),
        (false, None) => job.promise.clone(),
    };
    let settled = Settled { spec, coded, spool: None, resolved, n_trials: 0, n_encodes: e.n_encodes };
    let previous = job.source.certificate(&job.path);
    if let Some(earlier) = previous.as_ref().filter(|_| !settled.resolved.is_lossless()).and_then(lossy_bound) {
        warn(format!("{}: the source is lossy already ({earlier}); errors add up", job.path));
    }
    let lineage = certificate::lineage(previous.as_ref(), &job.promise, &settled);
    let said = certificate::of(&job.promise, &settled, job.dtype, lineage);
    writer.set_attribute(&job.path, "lithify", said)?;
    Ok(Outcome {
        path: job.path.clone(),
        dtype: Some(job.dtype),
        shape: job.v.shape.clone(),
        promise: job.promise.clone(),
        codec: settled.coded.main_codec(),
        stats: settled.coded.stats,
        n_escapes: settled.coded.n_escapes,
        raw_bytes: raw_bytes(&job.v),
        stored_bytes: e.stored_bytes,
        n_trials: 0,
        n_encodes: e.n_encodes,
        resolved: settled.resolved,
        seconds: e.seconds,
    })
}
