//! More of the same to a store: a file whose variables go on along one dimension where the store ends.
//!
//! 1. The store is locked, and the file is held against it (`check`): same variables, types, grids, units; coordinates that go on.
//! 2. What is new of each variable is coded as the store codes it, so that its promise holds for old and new together:
//!    - `abs`, `rel`, `l2-block`, `bits`, `lossless` hold for each value or block, whenever it was written.
//!    - `l2`: each part keeps the norm by itself; so the whole does.
//!    - `range`, `psnr`: by the range of everything that is there by then, which never gets smaller.
//!    - `ratio`: each part keeps it by itself. `bytes` leaves nothing for more, and is refused.
//! 3. Chunks lie on the grid of the store. One that was begun is finished by a payload joined to the old one; nothing that was coded
//!    is coded again, so old values stay as they are, bit for bit.
//! 4. The certificate goes on with a part more (`certificate`).
//! 5. The grown store takes the place of the old one in one step (`atomic`).

mod check;
mod fit;

use std::path::{Path, PathBuf};
use std::time::Instant;

use lithify_codec::{Bound, Codec};
use serde_json::Value;

use self::check::{Seam, seam};
use self::fit::Fitted;
use super::certificate::{self, Place};
use super::compress::{Before, Job, Outcome, Plan, raw_bytes, standard};
use super::{Context, Progress};
use crate::error::{Error, Result};
use crate::location;
use crate::model::{Source, Variable};
use crate::policy;
use crate::zarr::{ZarrAppender, ZarrSource, configuration_of, spec_of};

/// What became of a store.
#[derive(Debug, Clone)]
pub struct Appended {
    /// Where it is.
    pub path: PathBuf,
    /// First new index along the dimension, and the one after the last.
    pub start: usize,
    /// See `start`.
    pub stop: usize,
    /// What became of each variable that grew; sizes and errors are those of its new part.
    pub outcomes: Vec<Outcome>,
}

/// Appends `source` to the store at `path`, along `dim`. `warn` gets one line for each thing worth knowing.
///
/// # Errors
/// [`Error::Busy`] if somebody else appends to it; [`Error::Invalid`] for a file that does not go on where the store ends;
/// [`Error::Unreachable`] if the new part cannot keep a `ratio`; whatever reading and writing bring. The store is the grown one or
/// as it was, at any moment.
pub fn append(
    source: &dyn Source,
    path: &Path,
    dim: &str,
    context: &Context<'_>,
    warn: &mut dyn FnMut(String),
) -> Result<Appended> {
    if location::is_url(path) {
        let what = "only a store on a local disk grows: an object store cannot take a tree's place in one step";
        return Err(Error::invalid(what, location::shown(path)));
    }
    let mut appender = ZarrAppender::open(path)?;
    let source = Fitted::new(source, appender.source().root(), dim);
    let seam = seam(appender.source(), &source, dim, context, warn)?;
    for warning in source.warnings() {
        warn(warning);
    }
    let mut outcomes = Vec::new();
    for (path, axis) in &seam.grow {
        appender.grow(path, *axis, seam.old + seam.added)?;
        let outcome = match appender.source().layout(path) {
            Some(_) => coded(&mut appender, &source, path, *axis, dim, &seam, context, warn)?,
            None => plain(&mut appender, &source, path, context)?,
        };
        outcomes.push(outcome);
    }
    appender.grow_dimension(dim, seam.old, seam.old + seam.added)?;
    context.check()?;
    let path = appender.finish()?;
    Ok(Appended { path, start: seam.old, stop: seam.old + seam.added, outcomes })
}

/// A variable coded by us.
#[allow(clippy::too_many_arguments)] // one call site; a struct would only rename them
fn coded(
    appender: &mut ZarrAppender,
    source: &Fitted<'_>,
    path: &str,
    axis: usize,
    dim: &str,
    seam: &Seam,
    context: &Context<'_>,
    warn: &mut dyn FnMut(String),
) -> Result<Outcome> {
    let started = Instant::now();
    let old = appender.source().certificate(path).unwrap_or_default();
    let (job, before) = job(appender.source(), source, path, axis, &old, context)?;
    let plan: Plan = job.plan(context)?;
    let settled = job.settle(&plan, &mut |at, p| appender.write_payload(path, &at.index, p), context, warn)?;
    // More chunks never take fewer bytes.
    let added = u64::try_from(appender.bytes_added(path)?).unwrap_or(0);
    job.check_budget(added)?;
    appender.set_configuration(path, configuration_of(&settled.spec, &job.promise.to_string()))?;
    let lineage = job.lineage(&settled, warn);
    let place = Place { dim, start: seam.old, stop: seam.old + seam.added };
    let certificate = certificate::continued(&old, &before, &job.promise, &settled, job.dtype, lineage, &place)?;
    appender.set_attribute(path, "lithify", certificate)?;
    Ok(job.outcome(settled, added, started))
}

/// How the variable is to go on, and the sums of what is there.
fn job<'a>(
    store: &ZarrSource,
    source: &'a Fitted<'_>,
    path: &str,
    axis: usize,
    old: &Value,
    context: &Context<'_>,
) -> Result<(Job<'a>, lithify_codec::ErrorStats)> {
    let corrupt = |what: &str| Error::corrupt(path, what);
    let v = store.root().find(path)?;
    let layout = store.layout(path).ok_or_else(|| corrupt("the array is not coded by lithify"))?;
    let dtype = v.dtype().ok_or_else(|| corrupt("the array holds no numbers"))?;
    let promise = certificate::promise(old)?.ok_or_else(|| corrupt("the certificate has no bound"))?;
    let bits = certificate::resolved(old)?
        .and_then(|p| p.0.iter().find_map(|b| if let Bound::Bits(k) = b { *k } else { None }));
    let spec = spec_of(&layout.configuration, dtype)?;
    let codec = match spec.codec {
        // What is there had no use for another; what comes may have.
        Codec::Lossless if !promise.is_lossless() && bits.is_none() => Codec::Auto(Vec::new()),
        codec => codec,
    };
    let sum_sq = || {
        let whole = Job {
            source: store,
            path: path.into(),
            v: v.clone(),
            dtype,
            promise: promise.clone(),
            codec: Codec::Lossless,
            effort: 1,
            layout: layout.clone(),
            follows: None,
        };
        Ok(whole.first_pass(policy::affine(v), &policy::missing_patterns(v), context)?.sum_sq)
    };
    let before = certificate::sums(old, sum_sq)?;
    let added = source.root().find(path)?.shape.clone();
    let follows = Before { axis, shape: v.shape.clone(), field: before.field, bits };
    let job = Job {
        source,
        path: path.into(),
        // What stored values mean, the store says; that the file means the same has been checked.
        v: Variable { shape: added, ..v.clone() },
        dtype,
        promise,
        codec,
        effort: spec.effort,
        layout,
        follows: Some(follows),
    };
    Ok((job, before))
}

/// A variable that any Zarr reader opens.
fn plain(appender: &mut ZarrAppender, source: &Fitted<'_>, path: &str, context: &Context<'_>) -> Result<Outcome> {
    let started = Instant::now();
    context.check()?;
    let v = source.root().find(path)?;
    appender.write(path, &source.read(path, &vec![0; v.shape.len()], &v.shape)?)?;
    // A rewritten chunk may have become smaller.
    let added = u64::try_from(appender.bytes_added(path)?).unwrap_or(0);
    let outcome = standard(path, v, added, started);
    (context.progress)(Progress { variable: path, raw_bytes: raw_bytes(v), coded_bytes: added });
    Ok(outcome)
}
