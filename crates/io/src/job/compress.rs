//! A file of any format to a Zarr store or a NetCDF-4 file, chunk by chunk, with the promise checked and written down.
//!
//! For each variable:
//! 1. Its promise is looked up ([`crate::policy`]); coordinates and the like go to standard codecs that any reader opens.
//! 2. Bounds that need the whole variable (`range`, `l2`, `psnr`, `ratio`, `bytes`, `bits=auto`) get a first pass over it.
//! 3. A norm over the variable gets one quantizer step, searched on up to `PROBES` chunks.
//! 4. Chunks are read in order, encoded in parallel, written in order.
//! 5. The error of the whole variable is checked; a norm that was missed is encoded again with a finer step, one that has room to
//!    spare once with a wider one. `ratio` and `bytes` have a search of their own, in `budget`.
//! 6. The certificate is written as attribute `lithify`.

mod budget;
pub mod distributed;
mod plan;
mod spool;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lithify_codec::information::SHARE;
use lithify_codec::objective::shared_step;
use lithify_codec::transform::NormRule;
use lithify_codec::{
    Affine, ChunkSpec, Codec, Dtype, ErrorStats, FieldStats, Probe, Promise, Samples, Tolerance, encode_chunk,
    match_samples, pipeline::MOST_ADDED,
};

pub use self::plan::plan_layouts;
use self::plan::{jobs, layouts};
use self::spool::Spool;
use super::certificate::{self, crc_of_crcs};
use super::chunks::{ChunkAt, chunk_grid, grid_from};
use super::information::information;
use super::{Context, Progress, encoding, ordered};
use crate::coded::{CodedFormat, CodedSink};
use crate::error::{Error, Result};
use crate::learned;
use crate::model::{Group, Source, Variable, read_numbers};
use crate::policy::{self, BoundRule};
use crate::zarr::{Layout, configuration_of};

/// Chunks on which a shared step is searched.
const PROBES: usize = 4;
/// A step that could be wider by more than this is tried once more.
const SLACK: f64 = 1.01;
/// A chunk that is longer than what there is so far must not become larger than this.
const MOST_BYTES: usize = 1 << 28;
/// Further attempts when a norm was missed.
const RETRIES: usize = 4;

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bounds; none is lossless.
    pub bounds: Vec<BoundRule>,
    /// Codec for lossy variables.
    pub codec: Codec,
    /// 1 (fast) to 9 (small).
    pub effort: u8,
    /// Chunk lengths by dimension name, over the automatic ones.
    pub chunks: BTreeMap<String, usize>,
    /// Only these variables and the coordinates they need; empty is all.
    pub variables: Vec<String>,
    /// Replace an output that exists.
    pub force: bool,
    /// Put the models that chunks may need into the store.
    pub embed_model: bool,
}

/// What became of one variable.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Path in the file.
    pub path: String,
    /// Sample type; `None` for text.
    pub dtype: Option<Dtype>,
    /// Shape.
    pub shape: Vec<usize>,
    /// What was promised.
    pub promise: Promise,
    /// What that came to: `ratio` and `bytes` became an absolute bound, `bits=auto` a number of bits.
    pub resolved: Promise,
    /// Codec of most chunks, or `standard` for what any reader of the format opens.
    pub codec: String,
    /// Errors, physical units.
    pub stats: ErrorStats,
    /// Samples stored exactly because the codec missed the bound.
    pub n_escapes: u64,
    /// Uncompressed bytes.
    pub raw_bytes: u64,
    /// Bytes in the store: payloads and indices of shards, no metadata.
    pub stored_bytes: u64,
    /// Encodes of samples in search of `ratio` or `bytes`.
    pub n_trials: usize,
    /// Encodes of the whole variable, 1 unless something was searched.
    pub n_encodes: usize,
    /// Wall time.
    pub seconds: f64,
}

/// Compresses `source` to a Zarr store or a NetCDF-4 file at `out`. `warn` gets one line for each thing worth knowing.
///
/// # Errors
/// [`Error::Broken`] if a bound does not hold in the end, which would be a defect of ours; [`Error::Invalid`] for options that
/// do not fit the file; whatever reading and writing bring. The output appears whole or not at all.
pub fn compress(
    source: &dyn Source,
    out: &Path,
    options: &Options,
    context: &Context<'_>,
    warn: &mut dyn FnMut(String),
) -> Result<(PathBuf, Vec<Outcome>)> {
    let format = CodedFormat::of(out)?;
    super::check_output(out, options.force)?;
    let root = select_variables(source.root(), &options.variables)?;
    let jobs = jobs(source, &root, options, format)?;
    for warning in source.warnings() {
        warn(warning);
    }
    let (plans, layouts) = layouts(&jobs, context)?;
    let mut writer = format.create(out)?;
    writer.define(&root, &layouts)?;
    if options.embed_model {
        layouts.values().flat_map(|l| learned::models(&l.configuration)).try_for_each(|hash| writer.embed(hash))?;
    }
    let mut outcomes = Vec::new();
    for (path, v) in root.walk() {
        let outcome = match jobs.iter().zip(&plans).find(|(j, _)| j.path == path) {
            Some((job, plan)) => job.run(plan, writer.as_mut(), context, warn)?,
            None => copy_standard(source, &path, v, writer.as_mut(), context)?,
        };
        outcomes.push(outcome);
    }
    context.check()?;
    Ok((writer.finish(options.force)?, outcomes))
}

/// The part of the tree that holds the named variables and the coordinates that they need.
fn select_variables(root: &Group, names: &[String]) -> Result<Group> {
    if names.is_empty() {
        return Ok(root.clone());
    }
    let mut keep: Vec<String> = Vec::new();
    for name in names {
        root.find(name)?;
        keep.push(name.trim_start_matches('/').into());
    }
    let all = root.walk();
    let mut i = 0;
    while i < keep.len() {
        let (path, v) = (keep[i].clone(), root.find(&keep[i])?.clone());
        let used: Vec<String> = policy::companions(&path, &v);
        for (other, w) in &all {
            let is_dimension = w.dims.len() == 1 && w.dims[0] == w.name && v.dims.contains(&w.name);
            if (is_dimension || used.contains(other)) && !keep.contains(other) {
                keep.push(other.clone());
            }
        }
        i += 1;
    }
    fn prune(group: &mut Group, prefix: &str, keep: &[String]) {
        group.variables.retain(|v| keep.contains(&format!("{prefix}{}", v.name)));
        for g in &mut group.groups {
            let prefix = format!("{prefix}{}/", g.name);
            prune(g, &prefix, keep);
        }
    }
    let mut out = root.clone();
    prune(&mut out, "", &keep);
    Ok(out)
}

/// What is decided before the chunks of a variable are encoded.
pub(super) struct Plan {
    spec: ChunkSpec,
    /// Statistics, if the promise needs them.
    field: FieldStats,
    /// The promise with the bits to keep.
    resolved: Promise,
}

/// A variable encoded so that its promise holds.
pub(super) struct Settled {
    pub(super) spec: ChunkSpec,
    pub(super) coded: CodedVariable,
    /// Payloads that are not in the store yet.
    spool: Option<Spool>,
    pub(super) resolved: Promise,
    n_trials: usize,
    n_encodes: usize,
}

/// A variable to be coded by us.
pub(super) struct Job<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) path: String,
    pub(super) v: Variable,
    pub(super) dtype: Dtype,
    pub(super) promise: Promise,
    pub(super) codec: Codec,
    pub(super) effort: u8,
    pub(super) layout: Layout,
    /// What is in the store already, if the variable is the continuation of that.
    pub(super) follows: Option<Before>,
}

/// The first part of a variable, which stays as it is.
pub(super) struct Before {
    /// The dimension along which the variable goes on.
    pub(super) axis: usize,
    /// Its shape.
    pub(super) shape: Vec<usize>,
    /// Its range counts for promises that are made in terms of it.
    pub(super) field: FieldStats,
    /// What `bits=auto` came to.
    pub(super) bits: Option<u32>,
}

impl Before {
    /// The shape of both parts together.
    fn together(&self, v: &Variable) -> Vec<usize> {
        let mut shape = self.shape.clone();
        shape[self.axis] += v.shape[self.axis];
        shape
    }
}

/// Takes the payloads of chunks, in the order of the grid.
pub(super) type Put<'a> = &'a mut dyn FnMut(&ChunkAt, Vec<u8>) -> Result<()>;

impl Job<'_> {
    /// The chunks of the variable; where it goes on in a chunk that was begun, the rest of that.
    fn grid(&self) -> Vec<ChunkAt> {
        let (chunk, shard) = (&self.layout.chunk, self.layout.shard.as_deref());
        match &self.follows {
            None => chunk_grid(&self.v.shape, chunk, shard),
            Some(b) => grid_from(&b.together(&self.v), chunk, shard, b.axis, b.shape[b.axis]),
        }
    }

    fn read(&self, at: &ChunkAt) -> Result<Samples> {
        read_numbers(self.source, &self.path, self.dtype, &at.start, &at.count)
    }

    /// Bytes that the store takes beside the payloads: indices of shards, and what joins payloads to those of chunks that were begun.
    fn index_bytes(&self) -> u64 {
        let of = |shape: &[usize]| {
            let Some(shard) = &self.layout.shard else { return 0 };
            let shards: usize = shape.iter().zip(shard).map(|(v, s)| v.div_ceil(*s)).product();
            let inner: usize = shard.iter().zip(&self.layout.chunk).map(|(s, c)| s / c).product();
            (shards * (16 * inner + 4)) as u64
        };
        let Some(b) = &self.follows else { return of(&self.v.shape) };
        let chunk = &self.layout.chunk;
        let begun =
            self.grid().iter().filter(|at| at.start[b.axis] == 0 && b.shape[b.axis] % chunk[b.axis] > 0).count();
        of(&b.together(&self.v)) - of(&b.shape) + (begun * MOST_ADDED) as u64
    }

    /// Statistics by which promises are judged: those of the samples at hand, but the range of all.
    fn judged(&self, field: &FieldStats) -> FieldStats {
        let mut field = *field;
        if let Some(before) = self.follows.as_ref().map(|b| b.field).filter(|f| f.n_valid > 0) {
            (field.min, field.max) = (field.min.min(before.min), field.max.max(before.max));
        }
        field
    }

    /// Errors as they are to be judged, see [`Job::judged`].
    pub(super) fn errors(&self, stats: &ErrorStats) -> ErrorStats {
        ErrorStats { field: self.judged(&stats.field), ..*stats }
    }

    /// Statistics of the whole variable, in chunk order.
    pub(super) fn first_pass(&self, affine: Affine, missing: &[u64], context: &Context<'_>) -> Result<FieldStats> {
        let grid = self.grid();
        let mut field = FieldStats::default();
        ordered::run(
            grid.len(),
            context.threads,
            |i| {
                context.check()?;
                self.read(&grid[i])
            },
            |_, x| Ok(field_of(&x, affine, missing)),
            |_, part| {
                field.merge(&part);
                Ok(())
            },
        )?;
        Ok(field)
    }

    /// What is known before any data are read.
    fn spec(&self) -> ChunkSpec {
        ChunkSpec {
            codec: self.codec.clone(),
            tolerance: Tolerance::LOSSLESS,
            affine: policy::affine(&self.v),
            missing: policy::missing_patterns(&self.v),
            step: None,
            effort: self.effort,
        }
    }

    /// Everything that is decided before the chunks are encoded.
    pub(super) fn plan(&self, context: &Context<'_>) -> Result<Plan> {
        let (mut spec, known) = (self.spec(), self.source.known(&self.path));
        let field = match known.field {
            Some(field) => field,
            None if self.promise.needs_field() => self.first_pass(spec.affine, &spec.missing, context)?,
            None => FieldStats::default(),
        };
        let mut resolved = self.promise.clone();
        if resolved.needs_bits() {
            let count = || information(self.source, &self.path, &self.v, self.dtype, &self.layout.chunk, context);
            let earlier = self.follows.as_ref().and_then(|b| b.bits);
            resolved = resolved.with_bits(match earlier.or(known.bits) {
                Some(bits) => bits,
                None => count()?.mantissa_bits_for(SHARE),
            });
        }
        spec.tolerance = resolved.resolve(&self.judged(&field));
        if spec.tolerance.lossless {
            spec.tolerance = Tolerance::LOSSLESS;
        }
        if spec.tolerance.lossless || spec.tolerance.bits.is_some() {
            spec.codec = Codec::Lossless;
        }
        if let (Codec::Auto(_), Some(_)) = (&spec.codec, spec.tolerance.mse) {
            // One step for all chunks calls for one codec.
            spec.codec = self.choose(&spec, context)?;
        }
        let blockwise = matches!(&spec.codec, Codec::Transform(s, _) if s.norm_rule == NormRule::PerBlock);
        match spec.tolerance.mse {
            Some(mse) if blockwise => spec.step = Some((12.0 * mse).sqrt()),
            Some(mse) if !spec.tolerance.lossless => spec.step = Some(self.search_step(&spec, mse, context)?),
            _ => {}
        }
        Ok(Plan { spec, field, resolved })
    }

    /// One codec for all chunks.
    fn choose(&self, spec: &ChunkSpec, context: &Context<'_>) -> Result<Codec> {
        let chunks = self.probes(context)?;
        let chunks: Vec<_> = chunks.iter().map(|(x, shape)| (x, shape.as_slice())).collect();
        encoding(context.stop, || lithify_codec::auto::choose(&chunks, spec))
    }

    /// A few chunks, evenly spread, or as much of the middle of each as makes one chunk in all.
    fn probes(&self, context: &Context<'_>) -> Result<Vec<(Samples, Vec<usize>)>> {
        let mut grid = self.grid();
        let n = grid.len().min(PROBES);
        let picked: Vec<usize> = (0..n).map(|k| (2 * k + 1) * grid.len() / (2 * n)).collect();
        let chunks = picked.into_iter().rev().map(|i| {
            context.check()?;
            let at = grid.swap_remove(i);
            let count = self.codec.part_shape(&at.count, at.count.iter().product::<usize>() / n);
            let middle = |d: usize| at.start[d] + (at.count[d] - count[d]) / 2;
            let start = (0..count.len()).map(middle).collect();
            Ok((self.read(&ChunkAt { start, count: count.clone(), ..at })?, count))
        });
        chunks.collect()
    }

    /// One step for all chunks, searched on a few of them.
    fn search_step(&self, spec: &ChunkSpec, mse: f64, context: &Context<'_>) -> Result<f64> {
        let chunks = self.probes(context)?;
        let n = chunks.len();
        let probes = chunks.into_iter().map(|(x, shape)| encoding(context.stop, || Probe::new(&x, &shape, spec)));
        let mut probes = probes.collect::<Result<Vec<_>>>()?;
        // A sample may be luckier than the whole.
        let margin = if n == 1 && self.grid().len() == 1 { 0.999 } else { 0.98 };
        Ok(shared_step(&mut probes, mse * margin))
    }

    fn run(
        &self,
        plan: &Plan,
        writer: &mut dyn CodedSink,
        context: &Context<'_>,
        warn: &mut dyn FnMut(String),
    ) -> Result<Outcome> {
        let started = Instant::now();
        let settled = self.settle(plan, &mut |at, p| writer.write_payload(&self.path, &at.index, p), context, warn)?;
        let stored_bytes = writer.bytes_written(&self.path)?;
        self.check_budget(stored_bytes)?;
        writer.set_configuration(&self.path, configuration_of(&settled.spec, &self.promise.to_string()))?;
        let lineage = self.lineage(&settled, warn);
        writer.set_certificate(&self.path, certificate::of(&self.promise, &settled, self.dtype, lineage))?;
        Ok(self.outcome(settled, stored_bytes, started))
    }

    /// Encodes so that the promise holds; `put` gets each payload once.
    pub(super) fn settle(
        &self,
        plan: &Plan,
        put: Put<'_>,
        context: &Context<'_>,
        warn: &mut dyn FnMut(String),
    ) -> Result<Settled> {
        let mut settled = match self.promise.budget(raw_bytes(&self.v)) {
            Some(budget) => budget::keep(self, plan, budget, context, warn)?,
            None => self.keep_norm(plan, put, context, warn)?,
        };
        if let Some(spool) = settled.spool.take() {
            spool.pour(&self.grid(), put)?;
        }
        Ok(settled)
    }

    /// Fails if the variable takes more bytes than were promised.
    pub(super) fn check_budget(&self, stored_bytes: u64) -> Result<()> {
        match self.promise.budget(raw_bytes(&self.v)) {
            Some(most) if stored_bytes > most => Err(self.broken()),
            _ => Ok(()),
        }
    }

    /// The passes that the samples have been through, this one included.
    pub(super) fn lineage(&self, settled: &Settled, warn: &mut dyn FnMut(String)) -> Vec<serde_json::Value> {
        let previous = self.source.certificate(&self.path);
        if let Some(earlier) =
            previous.as_ref().filter(|_| !settled.resolved.is_lossless()).and_then(certificate::lossy_bound)
        {
            warn(format!("{}: the source is lossy already ({earlier}); errors add up", self.path));
        }
        certificate::lineage(previous.as_ref(), &self.promise, settled)
    }

    pub(super) fn outcome(&self, settled: Settled, stored_bytes: u64, started: Instant) -> Outcome {
        Outcome {
            path: self.path.clone(),
            dtype: Some(self.dtype),
            shape: self.v.shape.clone(),
            promise: self.promise.clone(),
            codec: settled.coded.main_codec(),
            stats: self.errors(&settled.coded.stats),
            n_escapes: settled.coded.n_escapes,
            raw_bytes: raw_bytes(&self.v),
            stored_bytes,
            n_trials: settled.n_trials,
            n_encodes: settled.n_encodes,
            resolved: settled.resolved,
            seconds: started.elapsed().as_secs_f64(),
        }
    }

    fn broken(&self) -> Error {
        Error::Broken(format!("{}: {} does not hold after encoding; please report this", self.path, self.promise))
    }

    /// Encodes until the norms over the variable hold. Without any, chunks go straight to the store.
    fn keep_norm(
        &self,
        plan: &Plan,
        put: Put<'_>,
        context: &Context<'_>,
        warn: &mut dyn FnMut(String),
    ) -> Result<Settled> {
        let mut spec = plan.spec.clone();
        let (mut attempt, mut n_encodes) = (0, 0);
        // What kept the norm with room to spare, while a wider step is tried.
        let mut spare: Option<Settled> = None;
        loop {
            // A norm is known to hold at the end only: until then the payloads wait in a file of their own.
            let mut spool = if spec.step.is_some() { Some(Spool::new()?) } else { None };
            let coded = self.encode_all(&spec, context, &mut |at, payload| match &mut spool {
                Some(spool) => spool.push(&payload),
                None => put(at, payload),
            })?;
            n_encodes += 1;
            let lossless = spec.tolerance.lossless;
            let resolved = if lossless { Promise::lossless() } else { plan.resolved.clone() };
            let settled = Settled { spec: spec.clone(), coded, spool, resolved, n_trials: 0, n_encodes };
            let stats = &settled.coded.stats;
            let kept = self.promise.kept(&self.errors(stats));
            let room = room(&spec.tolerance, stats);
            if kept && attempt == 0 && spare.is_none() && room > SLACK {
                spec.step = spec.step.map(|s| s * room * 0.997);
                spare = Some(settled);
                continue;
            }
            match spare.take() {
                Some(spare) if !kept => return Ok(Settled { n_encodes, ..spare }),
                _ if kept => return Ok(settled),
                _ => {}
            }
            // Only a norm over the variable can be missed: everything else was checked chunk by chunk.
            let (Some(step), Some(mse)) = (spec.step, spec.tolerance.mse) else { return Err(self.broken()) };
            attempt += 1;
            if attempt > RETRIES {
                warn(format!("{}: {} does not reach {}; kept lossless", self.path, spec.codec.name(), self.promise));
                spec = ChunkSpec { codec: Codec::Lossless, tolerance: Tolerance::LOSSLESS, step: None, ..spec };
            } else {
                spec.step = Some(finer(step, mse, stats));
            }
        }
    }

    /// Encodes all chunks; `put` gets the payloads in the order of the grid.
    fn encode_all(&self, spec: &ChunkSpec, context: &Context<'_>, put: Put<'_>) -> Result<CodedVariable> {
        let grid = self.grid();
        let (stop, mut coded) = (context.stop, CodedVariable::default());
        ordered::run(
            grid.len(),
            context.threads,
            |i| {
                context.check()?;
                self.read(&grid[i])
            },
            |i, x| {
                let source_crc = x.crc32c();
                let raw = x.len() * x.dtype().size();
                Ok((encoding(stop, || encode_chunk(&x, &grid[i].count, spec))?, source_crc, raw as u64))
            },
            |i, (e, source_crc, raw)| {
                (context.progress)(Progress {
                    variable: &self.path,
                    raw_bytes: raw,
                    coded_bytes: e.bytes.len() as u64,
                });
                coded.stats.merge(&e.stats);
                coded.n_escapes += e.n_escapes;
                coded.source_crc = crc_of_crcs(coded.source_crc, source_crc);
                coded.decoded_crc = crc_of_crcs(coded.decoded_crc, lithify_codec::header(&e.bytes)?.decoded_crc32c);
                *coded.codecs.entry(e.codec.into()).or_default() += 1;
                put(&grid[i], e.bytes)
            },
        )?;
        Ok(coded)
    }
}

/// The next step where a norm was missed.
fn finer(step: f64, mse: f64, stats: &ErrorStats) -> f64 {
    let achieved = stats.sum_sq_err / stats.field.n_valid.max(1) as f64;
    step * ((mse / achieved).sqrt() * 0.995).min(0.98)
}

/// By how much a step could be wider with the norm still kept; 1 where other bounds have a say.
fn room(t: &Tolerance, stats: &ErrorStats) -> f64 {
    match (t.mse, t.abs, t.rel, t.l2_block) {
        (Some(mse), None, None, None) if stats.sum_sq_err > 0.0 => {
            (mse * stats.field.n_valid as f64 / stats.sum_sq_err).sqrt()
        }
        _ => 1.0,
    }
}

fn field_of(x: &Samples, affine: Affine, missing: &[u64]) -> FieldStats {
    let mut field = FieldStats::default();
    let mask = match_samples!(x, v => lithify_codec::mask::Mask::of(v, missing));
    let valid = mask.map(|m| m.valid());
    match_samples!(x, v => field.add(v, valid.as_deref(), affine));
    field
}

pub(super) fn raw_bytes(v: &Variable) -> u64 {
    (v.len() * v.dtype().map_or(1, Dtype::size)) as u64
}

/// Sums over the chunks of a variable.
#[derive(Default)]
pub(super) struct CodedVariable {
    pub(super) stats: ErrorStats,
    n_escapes: u64,
    pub(super) source_crc: u32,
    pub(super) decoded_crc: u32,
    codecs: BTreeMap<String, usize>,
}

impl CodedVariable {
    pub(super) fn main_codec(&self) -> String {
        self.codecs.iter().max_by_key(|(_, n)| **n).map_or("lossless".into(), |(name, _)| name.clone())
    }
}

/// A variable that any reader of the format opens: coordinates, text, scalars of the model.
fn copy_standard(
    source: &dyn Source,
    path: &str,
    v: &Variable,
    writer: &mut dyn CodedSink,
    context: &Context<'_>,
) -> Result<Outcome> {
    let started = Instant::now();
    context.check()?;
    let start = vec![0; v.shape.len()];
    let values = source.read(path, &start, &v.shape)?;
    writer.write(path, &start, &v.shape, &values)?;
    let outcome = standard(path, v, writer.bytes_written(path)?, started);
    (context.progress)(Progress { variable: path, raw_bytes: outcome.raw_bytes, coded_bytes: outcome.stored_bytes });
    Ok(outcome)
}

/// What became of a variable in standard codecs.
pub(super) fn standard(path: &str, v: &Variable, stored_bytes: u64, started: Instant) -> Outcome {
    let mut stats = ErrorStats::default();
    stats.field.n = v.len() as u64;
    Outcome {
        path: path.into(),
        dtype: v.dtype(),
        shape: v.shape.clone(),
        promise: Promise::lossless(),
        resolved: Promise::lossless(),
        codec: "standard".into(),
        stats,
        n_escapes: 0,
        raw_bytes: raw_bytes(v),
        stored_bytes,
        n_trials: 0,
        n_encodes: 1,
        seconds: started.elapsed().as_secs_f64(),
    }
}
