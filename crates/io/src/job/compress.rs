//! A file of any format to a Zarr store, chunk by chunk, with the promise checked and written down.
//!
//! For each variable:
//! 1. Its promise is looked up ([`crate::policy`]); coordinates and the like go to standard codecs that any Zarr reader opens.
//! 2. Bounds that need the whole variable (`range`, `l2`, `psnr`, `ratio`, `bytes`, `bits=auto`) get a first pass over it.
//! 3. A norm over the variable gets one quantizer step, searched on up to `PROBES` chunks.
//! 4. Chunks are read in order, encoded in parallel, written in order.
//! 5. The error of the whole variable is checked; a norm that was missed is encoded again with a finer step, one that has room to
//!    spare once with a wider one. `ratio` and `bytes` have a search of their own, in `budget`.
//! 6. The certificate is written as attribute `lithify`.

mod budget;
mod spool;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lithify_codec::block::part_shape;
use lithify_codec::information::SHARE;
use lithify_codec::objective::shared_step;
use lithify_codec::transform::NormRule;
use lithify_codec::{
    Bound, ChunkSpec, Codec, Dtype, ErrorStats, FieldStats, Probe, Promise, Samples, Tolerance, encode_chunk,
    match_samples,
};
use serde_json::{Value, json};

use self::spool::Spool;
use super::chunks::{ChunkAt, chunk_grid, chunk_shape, shard_shape};
use super::information::information;
use super::{Context, Progress, ordered};
use crate::error::{Error, Result};
use crate::location;
use crate::model::{Group, Source, Variable, read_numbers};
use crate::policy::{self, BoundRule};
use crate::zarr::{Layout, ZarrWriter, configuration_of};

/// Chunks on which a shared step is searched.
const PROBES: usize = 4;
/// A step that could be wider by more than this is tried once more.
const SLACK: f64 = 1.01;
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
    /// Codec of most chunks, or `standard` for what any Zarr reader opens.
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

/// Compresses `source` to a Zarr store at `out`. `warn` gets one line for each thing worth knowing.
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
    if !["zarr", "zarr.zip"].iter().any(|ending| location::ends_with(out, ending)) {
        return Err(Error::invalid("the output's ending must be .zarr or .zarr.zip", location::shown(out)));
    }
    super::check_output(out, options.force)?;
    let root = select_variables(source.root(), &options.variables)?;
    let promises = policy::promises(&root, &options.bounds)?;
    let roles = policy::roles(&root);
    for dim in options.chunks.keys() {
        if !root.walk().iter().any(|(_, v)| v.dims.contains(dim)) {
            return Err(Error::invalid("--chunks names a dimension that no variable has", dim));
        }
    }
    let mut jobs = Vec::new();
    let mut layouts = BTreeMap::new();
    for (path, v) in root.walk() {
        let promise = promises[&path].clone();
        let ours = !policy::is_plain(roles[&path]) && (v.len() >= policy::SMALL || !promise.is_lossless());
        let Some(dtype) = v.dtype().filter(|_| ours) else { continue };
        let job = Job {
            source,
            path: path.clone(),
            v: v.clone(),
            dtype,
            promise,
            options,
            chunk: chunk_of(v, dtype, &options.chunks),
        };
        layouts.insert(path, Layout { chunk: job.chunk.clone(), shard: job.shard(), configuration: json!({}) });
        jobs.push(job);
    }
    for warning in source.warnings() {
        warn(warning);
    }
    // Layouts carry each variable's resolved specification, so first passes and step searches come before the store is defined.
    let mut plans = Vec::new();
    for job in &jobs {
        let plan = job.plan(context)?;
        if let Some(layout) = layouts.get_mut(&job.path) {
            layout.configuration = configuration_of(&plan.spec, &job.promise.to_string());
        }
        plans.push(plan);
    }
    let mut writer = ZarrWriter::create(out)?;
    writer.define(&root, &layouts)?;
    let mut outcomes = Vec::new();
    for (path, v) in root.walk() {
        let outcome = match jobs.iter().zip(&plans).find(|(j, _)| j.path == path) {
            Some((job, plan)) => job.run(plan, &mut writer, context, warn)?,
            None => copy_standard(source, &path, v, &mut writer, context)?,
        };
        outcomes.push(outcome);
    }
    context.check()?;
    let path = if options.force { writer.finish_replacing()? } else { writer.finish()? };
    Ok((path, outcomes))
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

fn chunk_of(v: &Variable, dtype: Dtype, asked: &BTreeMap<String, usize>) -> Vec<usize> {
    let mut chunk = chunk_shape(&v.shape, dtype, v.chunks.as_deref());
    for (c, (dim, len)) in chunk.iter_mut().zip(v.dims.iter().zip(&v.shape)) {
        if let Some(n) = asked.get(dim) {
            *c = (*n).clamp(1, (*len).max(1));
        }
    }
    chunk
}

/// What is decided before the chunks of a variable are encoded.
struct Plan {
    spec: ChunkSpec,
    /// Statistics, if the promise needs them.
    field: FieldStats,
    /// The promise with the bits to keep.
    resolved: Promise,
}

/// A variable encoded so that its promise holds.
struct Settled {
    spec: ChunkSpec,
    coded: CodedVariable,
    /// Payloads that are not in the store yet.
    spool: Option<Spool>,
    resolved: Promise,
    n_trials: usize,
    n_encodes: usize,
}

/// A variable to be coded by us.
struct Job<'a> {
    source: &'a dyn Source,
    path: String,
    v: Variable,
    dtype: Dtype,
    promise: Promise,
    options: &'a Options,
    chunk: Vec<usize>,
}

impl Job<'_> {
    fn shard(&self) -> Option<Vec<usize>> {
        shard_shape(&self.v.shape, &self.chunk)
    }

    fn grid(&self) -> Vec<ChunkAt> {
        chunk_grid(&self.v.shape, &self.chunk, self.shard().as_deref())
    }

    fn read(&self, at: &ChunkAt) -> Result<Samples> {
        read_numbers(self.source, &self.path, self.dtype, &at.start, &at.count)
    }

    /// Bytes of the indices of all shards, with their checksums.
    fn index_bytes(&self) -> u64 {
        let Some(shard) = self.shard() else { return 0 };
        let shards: usize = self.v.shape.iter().zip(&shard).map(|(v, s)| v.div_ceil(*s)).product();
        let inner: usize = shard.iter().zip(&self.chunk).map(|(s, c)| s / c).product();
        (shards * (16 * inner + 4)) as u64
    }

    /// Statistics of the whole variable, in chunk order.
    fn first_pass(&self, spec: &ChunkSpec, context: &Context<'_>) -> Result<FieldStats> {
        let grid = self.grid();
        let mut field = FieldStats::default();
        ordered::run(
            grid.len(),
            context.threads,
            |i| {
                context.check()?;
                self.read(&grid[i])
            },
            |_, x| Ok(field_of(&x, spec)),
            |_, part| {
                field.merge(&part);
                Ok(())
            },
        )?;
        Ok(field)
    }

    /// Everything that is decided before the chunks are encoded.
    fn plan(&self, context: &Context<'_>) -> Result<Plan> {
        let mut spec = ChunkSpec {
            codec: self.options.codec.clone(),
            tolerance: Tolerance::LOSSLESS,
            affine: policy::affine(&self.v),
            missing: policy::missing_patterns(&self.v),
            step: None,
            effort: self.options.effort,
        };
        let field = if self.promise.needs_field() { self.first_pass(&spec, context)? } else { FieldStats::default() };
        let mut resolved = self.promise.clone();
        if resolved.needs_bits() {
            let known = information(self.source, &self.path, &self.v, self.dtype, &self.chunk, context)?;
            resolved = resolved.with_bits(known.mantissa_bits_for(SHARE));
        }
        spec.tolerance = resolved.resolve(&field);
        if spec.tolerance.lossless {
            spec.tolerance = Tolerance::LOSSLESS;
        }
        if spec.tolerance.lossless || spec.tolerance.bits.is_some() {
            spec.codec = Codec::Lossless;
        }
        if let (Codec::Auto, Some(_)) = (&spec.codec, spec.tolerance.mse) {
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
        Ok(lithify_codec::auto::choose(&chunks, spec)?)
    }

    /// A few chunks, evenly spread, or as much of the middle of each as makes one chunk in all.
    fn probes(&self, context: &Context<'_>) -> Result<Vec<(Samples, Vec<usize>)>> {
        let mut grid = self.grid();
        let n = grid.len().min(PROBES);
        let picked: Vec<usize> = (0..n).map(|k| (2 * k + 1) * grid.len() / (2 * n)).collect();
        let chunks = picked.into_iter().rev().map(|i| {
            context.check()?;
            let at = grid.swap_remove(i);
            let count = part_shape(&at.count, at.count.iter().product::<usize>() / n);
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
        let probes = chunks.into_iter().map(|(x, shape)| Probe::new(&x, &shape, spec));
        let mut probes = probes.collect::<lithify_codec::Result<Vec<_>>>()?;
        // A sample may be luckier than the whole.
        let margin = if n == 1 && self.grid().len() == 1 { 0.999 } else { 0.98 };
        Ok(shared_step(&mut probes, mse * margin))
    }

    fn run(
        &self,
        plan: &Plan,
        writer: &mut ZarrWriter,
        context: &Context<'_>,
        warn: &mut dyn FnMut(String),
    ) -> Result<Outcome> {
        let started = Instant::now();
        let budget = self.promise.budget(raw_bytes(&self.v));
        let mut settled = match budget {
            Some(budget) => budget::keep(self, plan, budget, context, warn)?,
            None => self.keep_norm(plan, writer, context, warn)?,
        };
        if let Some(spool) = settled.spool.take() {
            spool.pour(&self.grid(), |at, payload| writer.write_payload(&self.path, &at.index, payload))?;
        }
        let stored_bytes = writer.bytes_written(&self.path);
        if budget.is_some_and(|most| stored_bytes > most) {
            return Err(self.broken());
        }
        writer.set_configuration(&self.path, configuration_of(&settled.spec, &self.promise.to_string()))?;
        let previous = self.source.certificate(&self.path);
        let certificate = certificate(&self.promise, &settled, self.dtype, previous.as_ref());
        if let Some(earlier) = previous.as_ref().filter(|_| !settled.resolved.is_lossless()).and_then(lossy_bound) {
            warn(format!("{}: the source is lossy already ({earlier}); errors add up", self.path));
        }
        writer.set_attribute(&self.path, "lithify", certificate)?;
        Ok(Outcome {
            path: self.path.clone(),
            dtype: Some(self.dtype),
            shape: self.v.shape.clone(),
            promise: self.promise.clone(),
            codec: settled.coded.main_codec(),
            stats: settled.coded.stats,
            n_escapes: settled.coded.n_escapes,
            raw_bytes: raw_bytes(&self.v),
            stored_bytes,
            n_trials: settled.n_trials,
            n_encodes: settled.n_encodes,
            resolved: settled.resolved,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    fn broken(&self) -> Error {
        Error::Broken(format!("{}: {} does not hold after encoding; please report this", self.path, self.promise))
    }

    /// Encodes until the norms over the variable hold. Without any, chunks go straight to the store.
    fn keep_norm(
        &self,
        plan: &Plan,
        writer: &mut ZarrWriter,
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
                None => writer.write_payload(&self.path, &at.index, payload),
            })?;
            n_encodes += 1;
            let lossless = spec.tolerance.lossless;
            let resolved = if lossless { Promise::lossless() } else { plan.resolved.clone() };
            let settled = Settled { spec: spec.clone(), coded, spool, resolved, n_trials: 0, n_encodes };
            let stats = &settled.coded.stats;
            let kept = self.promise.kept(stats);
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
                let achieved = stats.sum_sq_err / stats.field.n_valid.max(1) as f64;
                spec.step = Some(step * ((mse / achieved).sqrt() * 0.995).min(0.98));
            }
        }
    }

    /// Encodes all chunks; `put` gets the payloads in the order of the grid.
    fn encode_all(
        &self,
        spec: &ChunkSpec,
        context: &Context<'_>,
        put: &mut dyn FnMut(&ChunkAt, Vec<u8>) -> Result<()>,
    ) -> Result<CodedVariable> {
        let grid = self.grid();
        let mut coded = CodedVariable::default();
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
                Ok((encode_chunk(&x, &grid[i].count, spec)?, source_crc, raw as u64))
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
                *coded.codecs.entry(e.codec).or_default() += 1;
                put(&grid[i], e.bytes)
            },
        )?;
        Ok(coded)
    }
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

/// Folds a chunk's checksum into a variable's: CRC-32C over the little-endian checksums in chunk order.
pub fn crc_of_crcs(crc: u32, chunk: u32) -> u32 {
    lithify_codec::crc32c_append(crc, &chunk.to_le_bytes())
}

fn field_of(x: &Samples, spec: &ChunkSpec) -> FieldStats {
    let mut field = FieldStats::default();
    let mask = match_samples!(x, v => lithify_codec::mask::Mask::of(v, &spec.missing));
    let valid = mask.map(|m| m.valid());
    match_samples!(x, v => field.add(v, valid.as_deref(), spec.affine));
    field
}

fn raw_bytes(v: &Variable) -> u64 {
    (v.len() * v.dtype().map_or(1, Dtype::size)) as u64
}

/// Sums over the chunks of a variable.
#[derive(Default)]
struct CodedVariable {
    stats: ErrorStats,
    n_escapes: u64,
    source_crc: u32,
    decoded_crc: u32,
    codecs: BTreeMap<&'static str, usize>,
}

impl CodedVariable {
    fn main_codec(&self) -> String {
        self.codecs.iter().max_by_key(|(_, n)| **n).map_or("lossless", |(name, _)| name).into()
    }
}

/// The bound that a certificate says, unless it keeps every bit.
fn lossy_bound(certificate: &Value) -> Option<&str> {
    let said = |name: &str| certificate[name].as_str();
    said("bound").filter(|_| said("resolved").or(said("bound")) != Some("lossless"))
}

/// What holds, as stored with the array.
fn certificate(promise: &Promise, settled: &Settled, dtype: Dtype, previous: Option<&Value>) -> Value {
    let (coded, resolved) = (&settled.coded, &settled.resolved);
    let e = &coded.stats;
    let finite = |v: f64| if v.is_finite() { json!(v) } else { Value::Null };
    let mut lineage = previous.and_then(|p| p["lineage"].as_array().cloned()).unwrap_or_default();
    lineage.push(json!({"tool": concat!("lithify ", env!("CARGO_PKG_VERSION")), "bound": promise.to_string(), "codec": coded.main_codec()}));
    let rounding = resolved.0.iter().find_map(|b| match b {
        // Of normal numbers; smaller ones are off by as much of the smallest normal one.
        Bound::Bits(Some(k)) => Some(json!({"mantissa_bits": k, "rel": 0.5f64.powi(*k as i32 + 1)})),
        _ => None,
    });
    let mut certificate = json!({
        "bound": promise.to_string(),
        "resolved": resolved.to_string(),
        "achieved": {
            "max_abs": finite(e.max_abs), "max_rel": finite(e.max_rel), "l2": finite(e.l2()), "psnr": finite(e.psnr()),
            "rmse": finite(e.rmse()), "bias": finite(e.bias()), "n_changed": e.n_changed,
        },
        "field": {"n": e.field.n, "n_valid": e.field.n_valid, "min": finite(e.field.min), "max": finite(e.field.max)},
        "source": {
            "dtype": dtype.name(),
            "bytes": e.field.n * dtype.size() as u64,
            "checksum": format!("crc32c:{:08x}", coded.source_crc),
        },
        "decoded_checksum": format!("crc32c:{:08x}", coded.decoded_crc),
        "lineage": lineage,
        "version": env!("CARGO_PKG_VERSION"),
    });
    if let Some(rounding) = rounding {
        certificate["rounding"] = rounding;
    }
    certificate
}

/// A variable that any Zarr reader opens: coordinates, text, scalars of the model.
fn copy_standard(
    source: &dyn Source,
    path: &str,
    v: &Variable,
    writer: &mut ZarrWriter,
    context: &Context<'_>,
) -> Result<Outcome> {
    let started = Instant::now();
    context.check()?;
    let start = vec![0; v.shape.len()];
    let values = source.read(path, &start, &v.shape)?;
    let mut stats = ErrorStats::default();
    stats.field.n = v.len() as u64;
    writer.write(path, &start, &v.shape, &values)?;
    let (raw_bytes, stored_bytes) = (raw_bytes(v), writer.bytes_written(path));
    (context.progress)(Progress { variable: path, raw_bytes, coded_bytes: stored_bytes });
    Ok(Outcome {
        path: path.into(),
        dtype: v.dtype(),
        shape: v.shape.clone(),
        promise: Promise::lossless(),
        resolved: Promise::lossless(),
        codec: "standard".into(),
        stats,
        n_escapes: 0,
        raw_bytes,
        stored_bytes,
        n_trials: 0,
        n_encodes: 1,
        seconds: started.elapsed().as_secs_f64(),
    })
}
