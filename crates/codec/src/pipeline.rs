//! One chunk to one payload and back. Verify-then-escape lives here and nowhere else.
//!
//! Encoding, lossy:
//! 1. Missing samples are set apart ([`crate::mask`]), the gaps extended smoothly.
//! 2. Samples are mapped to the domain in which the bound is absolute: stored units, or log2 for a pointwise relative bound.
//! 3. The transform writes a near reconstruction; under a pointwise bound a residual in bins of twice the tolerance follows.
//! 4. The result is rounded to the sample type and checked with [`Tolerance::holds`](crate::bound::Tolerance::holds), sample by sample. What fails is stored exactly.
//! 5. The smallest of the candidates wins; lossless is always one of them where it could be smaller.
//!
//! Where mantissa bits are to be kept, samples are rounded and the result goes through the lossless coder.
//!
//! Layout of a payload: `docs/format.md`.

use crate::bits::{Reader, Writer};
use crate::block::{crop, n_samples, part_shape, reordered, undone};
use crate::bound::Affine;
use crate::dtype::{Dtype, Sample, Samples, crc32c_of};
use crate::error::{Error, Result};
use crate::mask::{self, Mask};
use crate::quantize::{log, residual, round};
use crate::simd::{level, widest};
use crate::spec::{ChunkSpec, Codec};
use crate::stats::{ErrorStats, LANES, each_eight};
use crate::transform::{self, Analysis, Block, Goal, NormRule, Stage};
use crate::{auto, lossless, match_samples};

mod decode;
mod join;
mod probe;
pub use decode::{between, decode_chunk, decode_region, header};
pub use join::{MOST_ADDED, Part, join, parts};
pub use probe::{Probe, settle};

/// First bytes of every payload that stands alone; the fourth is the format version.
pub const MAGIC: [u8; 4] = *b"LTH\x01";
/// Most dimensions of a chunk.
pub const MAX_DIMS: usize = 8;

/// Samples that are checked together.
const PART: usize = 256;
/// Samples of the part that says whether lossless is worth trying.
const LOOK: usize = 1 << 14;

/// Below so many bits a sample, from this effort on, a transform's step is searched for by this ratio, within these limits, unless it
/// takes so many times the bytes of another codec.
const QUIET: f64 = 0.25;
const REFINED: u8 = 4;
const FINER: f64 = 1.65;
const HELPED: f64 = 1.15;
const FACTORS: std::ops::Range<f64> = 0.3..30.0;
/// Up to this effort a part of the chunk says whether lossless is worth trying at all.
const LOOKED: u8 = 3;

const KIND_LOSSLESS: u8 = 0;
const KIND_LOSSY: u8 = 1;
/// Added to the kind where dimensions are coded in another order than the chunk has them in.
const REORDERED: u8 = 2;

/// A coded chunk and what became of its samples.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The payload.
    pub bytes: Vec<u8>,
    /// Errors of the reconstruction, physical units; measured on what the decoder will return.
    pub stats: ErrorStats,
    /// Valid samples stored exactly because the codec missed the bound on them.
    pub n_escapes: u64,
    /// Codec that won: the one asked for, or `lossless` where that was smaller.
    pub codec: &'static str,
    /// Step of a transform that leaves a residual, in bins of that.
    pub factor: Option<f64>,
}

/// What a payload says of itself, read without decoding it.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Sample type.
    pub dtype: Dtype,
    /// Shape of the chunk.
    pub shape: Vec<usize>,
    /// Name of the codec.
    pub codec: &'static str,
    /// CRC-32C of the decoded samples' little-endian bytes.
    pub decoded_crc32c: u32,
}

/// How samples become the numbers that a transform sees.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Domain {
    /// Stored values.
    Linear,
    /// log2 of the size of the physical value; zeros and signs are coded apart.
    Log(Affine),
}

impl Domain {
    fn forward<T: Sample>(self, v: T) -> f64 {
        match self {
            Self::Linear => v.to_f64(),
            Self::Log(affine) => log::log2(affine.physical(v.to_f64()).abs()),
        }
    }

    fn inverse<T: Sample>(self, w: f64, negative: bool) -> T {
        match self {
            Self::Linear => T::from_f64(w),
            Self::Log(affine) => {
                let p = log::exp2(w);
                let p = if negative { -p } else { p };
                T::from_f64(if affine == Affine::IDENTITY { p } else { (p - affine.offset) / affine.scale })
            }
        }
    }
}

/// Writes a chunk of `shape` so that `spec.tolerance` holds for every valid sample, and missing ones keep their bits.
///
/// # Errors
/// [`Error::Invalid`] if the shape and the number of samples disagree or there are too many dimensions.
pub fn encode_chunk(x: &Samples, shape: &[usize], spec: &ChunkSpec) -> Result<Encoded> {
    if shape.len() > MAX_DIMS {
        return Err(Error::invalid(format!("a chunk has at most {MAX_DIMS} dimensions"), shape.len()));
    }
    if n_samples(shape) != Some(x.len()) {
        return Err(Error::invalid(format!("shape {shape:?} does not have that many samples"), x.len()));
    }
    if matches!(spec.codec, Codec::Auto(_)) && spec.tolerance.bits.is_none() {
        return auto::encode(x, shape, spec);
    }
    encode_with(x, shape, spec, &Manner::default())
}

/// How one codec is to code a chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner<'a> {
    /// Step of a transform that leaves a residual, in bins of that, if known.
    pub factor: Option<f64>,
    /// Whether it is tried if every bit would take fewer bytes.
    pub exact: bool,
    /// Dimension `d` of the shape is dimension `order[d]` of the chunk that a decoder returns.
    pub order: Option<&'a [usize]>,
    /// Bytes that another codec takes: whoever needs many more is not helped.
    pub rival: usize,
}

impl Default for Manner<'_> {
    fn default() -> Self {
        Self { factor: None, exact: true, order: None, rival: usize::MAX }
    }
}

/// [`encode_chunk`] with one codec.
pub(crate) fn encode_with(x: &Samples, shape: &[usize], spec: &ChunkSpec, manner: &Manner<'_>) -> Result<Encoded> {
    match_samples!(x, v => encode_typed(v, shape, spec, manner))
}

fn encode_typed<T: Sample>(x: &[T], shape: &[usize], spec: &ChunkSpec, manner: &Manner<'_>) -> Result<Encoded> {
    let mask = Mask::of(x, &spec.missing);
    let valid = mask.as_ref().map(Mask::valid);
    let chunk = Chunk { x, shape, order: manner.order, mask: mask.as_ref(), valid: valid.as_deref(), spec };
    if let Some(keep) = spec.tolerance.bits {
        let (y, n_exact) = round::samples(x, valid.as_deref(), &spec.missing, keep);
        let body = |w: &mut Writer| w.bytes.extend(lossless::encode(&y, shape, valid.as_deref(), spec.effort));
        return Ok(chunk.finish(KIND_LOSSLESS, body, &y, n_exact, "lossless"));
    }
    let lossy = match &spec.codec {
        Codec::Transform(stage, params) if chunk.may_be_lossy() => {
            let transform = (stage.make)(params);
            lossy(&chunk, stage, transform.as_ref(), manner)?
        }
        _ => None,
    };
    if let Some(l) = &lossy
        && (!manner.exact
            || l.bytes.len() * 4 < size_of_val(x)
            || (spec.effort <= LOOKED && hopeless(&chunk, l.bytes.len())))
    {
        return Ok(l.clone());
    }
    // As a mere fallback of a lossy codec it is not worth a search.
    let effort = if lossy.is_some() { 1 } else { spec.effort };
    let body = |w: &mut Writer| w.bytes.extend(lossless::encode(x, shape, valid.as_deref(), effort));
    let exact = chunk.finish(KIND_LOSSLESS, body, x, 0, "lossless");
    Ok(match lossy {
        Some(l) if l.bytes.len() <= exact.bytes.len() => l,
        _ => exact,
    })
}

/// Whether a part of the chunk says that every bit would take more bytes than these.
fn hopeless<T: Sample>(chunk: &Chunk<'_, T>, bytes: usize) -> bool {
    let n = chunk.x.len();
    let count = part_shape(chunk.shape, LOOK);
    let part: usize = count.iter().product();
    if part * 4 > n {
        return false;
    }
    let start: Vec<usize> = chunk.shape.iter().zip(&count).map(|(s, c)| (s - c) / 2).collect();
    let valid = chunk.valid.map(|m| crop(m, chunk.shape, &start, &count));
    let x = crop(chunk.x, chunk.shape, &start, &count);
    lossless::encode(&x, &count, valid.as_deref(), 1).len() as f64 / part as f64 > bytes as f64 / n as f64 * 2.0
}

/// A chunk being encoded.
struct Chunk<'a, T> {
    x: &'a [T],
    shape: &'a [usize],
    order: Option<&'a [usize]>,
    mask: Option<&'a Mask>,
    valid: Option<&'a [bool]>,
    spec: &'a ChunkSpec,
}

impl<T: Sample> Chunk<'_, T> {
    fn is_valid(&self, i: usize) -> bool {
        self.valid.is_none_or(|m| m[i])
    }

    /// The smallest size of a valid sample that is not zero, physical units, and the largest one.
    fn sizes(&self) -> [f64; 2] {
        let (mut smallest, mut largest) = ([f64::INFINITY; LANES], [0.0; LANES]);
        widest!(level(), _simd => {
            each_eight(self.x, self.x, self.valid, #[inline(always)] |x, _, ok| {
                for l in 0..LANES {
                    let p = self.spec.affine.physical(x[l].to_f64()).abs();
                    largest[l] = if ok[l] & (p > largest[l]) { p } else { largest[l] };
                    smallest[l] = if ok[l] & (p > 0.0) & (p < smallest[l]) { p } else { smallest[l] };
                }
            });
        });
        [smallest.into_iter().fold(f64::INFINITY, f64::min), largest.into_iter().fold(0.0, f64::max)]
    }

    /// Whether the tolerance leaves any room at all.
    fn may_be_lossy(&self) -> bool {
        let t = &self.spec.tolerance;
        let quantum = self.spec.affine.scale.abs();
        let below_quantum = !T::DTYPE.is_float() && t.abs.is_some_and(|e| e < quantum);
        !t.lossless && !below_quantum && self.shape.len() <= MAX_DIMS && (0..self.x.len()).any(|i| self.is_valid(i))
    }

    /// Frames a payload and measures the reconstruction `y` that it decodes to.
    fn finish(
        &self,
        kind: u8,
        body: impl FnOnce(&mut Writer),
        y: &[T],
        n_escapes: u64,
        codec: &'static str,
    ) -> Encoded {
        let mut w = Writer::new();
        w.bytes.extend_from_slice(&MAGIC);
        w.u8(T::DTYPE as u8);
        w.u8(kind | if self.order.is_some() { REORDERED } else { 0 });
        w.u8(self.shape.len() as u8);
        let back = self.order.map(undone);
        for d in 0..self.shape.len() {
            w.varint(self.shape[back.as_ref().map_or(d, |b| b[d])] as u64);
        }
        self.order.unwrap_or_default().iter().for_each(|&d| w.u8(d as u8));
        w.section(&self.mask.map(|m| m.encode(self.shape)).unwrap_or_default());
        body(&mut w);
        w.u32(back.map_or_else(|| crc32c_of(y), |b| crc32c_of(&reordered(y, self.shape, &b))));
        w.u32(crc32c::crc32c(&w.bytes));
        let mut stats = ErrorStats::default();
        stats.add(self.x, y, self.valid, self.spec.affine);
        Encoded { bytes: w.bytes, stats, n_escapes, codec, factor: None }
    }
}

/// A pointwise tolerance in the domain of the transform.
#[derive(Debug, Clone, Copy)]
struct Bins {
    /// Width of a residual bin.
    width: f64,
    /// Reconstructions are rounded to integers before the residual is added.
    integer: bool,
}

impl Bins {
    fn symbol(self, x: f64, near: f64) -> i64 {
        let q = ((x - near) / self.width).round_ties_even();
        // Beyond this the sum below would lose the bound anyway; the check stores such samples exactly.
        if q.abs() < 1e15 { q as i64 } else { 0 }
    }

    fn near(self, t: f64) -> f64 {
        match (t.is_finite(), self.integer) {
            (true, true) => t.round_ties_even(),
            (true, false) => t,
            (false, _) => 0.0,
        }
    }

    fn apply(self, near: f64, q: i64) -> f64 {
        near + q as f64 * self.width
    }
}

/// What the encoder knows about a chunk in the transform's domain.
struct Plan {
    domain: Domain,
    bins: Option<Bins>,
    /// Step for the norm that is promised over the variable, in the domain's units.
    norm_step: Option<f64>,
    /// Relative error promised for each block, or used for it by a stage that keeps norms block by block.
    relative: Option<f64>,
}

impl Plan {
    fn new<T: Sample>(chunk: &Chunk<'_, T>, stage: &Stage) -> Self {
        let (t, affine) = (&chunk.spec.tolerance, chunk.spec.affine);
        let [smallest, largest] = chunk.sizes();
        let per_block = stage.norm_rule == NormRule::PerBlock;
        let relative = t.l2_block.into_iter().chain(t.l2.filter(|_| per_block)).reduce(f64::min);
        let norm_step = chunk.spec.step.filter(|_| !(per_block && t.l2.is_some())).map(|s| s / affine.scale.abs());
        // A relative bound alone calls for the logarithm; beside an absolute one, whichever domain leaves wider bins for the range.
        let log_abs = t.abs.map_or(f64::INFINITY, |e| e / largest);
        let log = t.rel.map(|r| r.min(log_abs)).filter(|r| {
            let bits_log = (log::log2(largest / smallest).max(1e-9)) / log::log2(1.0 + r).max(1e-300);
            let bits_linear = largest / t.abs.unwrap_or(f64::INFINITY).min(t.rel.unwrap_or(1.0) * smallest);
            bits_log <= bits_linear || t.abs.is_none()
        });
        // Half a unit in the last place of the largest sample goes to the final rounding to the sample type.
        let ulp = match T::DTYPE {
            Dtype::F32 => f64::from(f32::EPSILON) / 2.0,
            _ => f64::EPSILON / 2.0,
        };
        if let Some(r) = log {
            let width = 2.0
                * (log::log2(1.0 + r) - 1.5 * ulp * (1.0 + log::log2(largest).abs() * f64::EPSILON / ulp))
                    .max(log::log2(1.0 + r) / 2.0);
            return Self {
                domain: Domain::Log(affine),
                bins: Some(Bins { width, integer: false }),
                norm_step: None,
                relative: None,
            };
        }
        let abs = t.abs.into_iter().chain(t.rel.map(|r| r * smallest)).reduce(f64::min);
        let integer = !T::DTYPE.is_float();
        let bins = abs.map(|e| {
            // A bound beyond all numbers must not make the bins infinite.
            let e = (e / affine.scale.abs()).min(1e300);
            let width = if integer {
                2.0 * (e * (1.0 + 1e-12)).floor() + 1.0
            } else {
                2.0 * (e - ulp * largest / affine.scale.abs()).max(e / 2.0)
            };
            Bins { width, integer }
        });
        Self { domain: Domain::Linear, bins, norm_step, relative }
    }

    fn block<'a>(&self, shape: &'a [usize], affine: Affine) -> Block<'a> {
        let affine = if self.domain == Domain::Linear { affine } else { Affine::IDENTITY };
        let integer = self.bins.is_some_and(|b| b.integer);
        Block { integer, pointwise: self.bins.is_some(), affine, ..Block::new(shape) }
    }

    /// Steps worth trying, in the domain's units, each with what it is in bins of the residual; `factor` says which one it is.
    fn goals(&self, effort: u8, stage: &Stage, factor: Option<f64>) -> Vec<(Goal, Option<f64>)> {
        if let Some(e) = self.relative {
            return vec![(Goal::Relative(e), None)];
        }
        let Some(bins) = self.bins else {
            return self.norm_step.map(|s| (Goal::Step(s), None)).into_iter().collect();
        };
        // A transform coarser than the bound leaves work to the residual; a finer one leaves none. Best between 0.7 and 4.5 of
        // the tolerance on smooth fields, coarser on rough ones.
        let factors: &[f64] = match (effort, factor) {
            _ if stage.closed_loop => &[1.0],
            (_, Some(f)) => &[f],
            (0..=3, _) => &[1.1],
            (4..=6, _) => &[1.1, 3.0],
            _ => &[0.7, 1.1, 1.6, 3.0, 8.0],
        };
        factors.iter().map(|f| (self.goal(bins, *f), Some(*f))).collect()
    }

    /// The step that is so many bins of the residual.
    fn goal(&self, bins: Bins, factor: f64) -> Goal {
        Goal::Step((factor * bins.width).min(self.norm_step.unwrap_or(f64::INFINITY)))
    }
}

/// The numbers a transform sees, with everything that is coded apart filled in; that; and which numbers were not.
fn working<T: Sample>(chunk: &Chunk<'_, T>, domain: Domain) -> (Vec<f64>, Option<LogSides>, Option<Vec<bool>>) {
    let (mut w, sides): (Vec<f64>, _) = match domain {
        Domain::Linear => (chunk.x.iter().map(|v| v.to_f64()).collect(), None),
        Domain::Log(affine) => {
            (chunk.x.iter().map(|v| domain.forward(*v)).collect(), Some(LogSides::of(chunk, affine)))
        }
    };
    let valid = seen(chunk.valid, sides.as_ref());
    if let Some(valid) = &valid {
        mask::extend(&mut w, valid, chunk.shape);
    }
    (w, sides, valid)
}

/// Which numbers a transform sees as they are.
fn seen(valid: Option<&[bool]>, sides: Option<&LogSides>) -> Option<Vec<bool>> {
    match (sides.and_then(|s| s.zeros.as_ref()), valid) {
        (Some(z), Some(valid)) => Some(z.classes.iter().zip(valid).map(|(c, v)| *c == 0 && *v).collect()),
        (Some(z), None) => Some(z.classes.iter().map(|c| *c == 0).collect()),
        (None, valid) => valid.map(<[bool]>::to_vec),
    }
}

/// What the logarithm cannot hold: which samples are zero (and with which bits), and which are negative.
struct LogSides {
    zeros: Option<Mask>,
    negative: Option<Mask>,
}

impl LogSides {
    fn of<T: Sample>(chunk: &Chunk<'_, T>, affine: Affine) -> Self {
        let physical = |i: usize| affine.physical(chunk.x[i].to_f64());
        let n = chunk.x.len();
        // Masked samples count as not zero and not negative.
        let zeros = Mask::marking(chunk.x, |i, _| chunk.is_valid(i) && physical(i) == 0.0);
        let signs: Vec<u8> = (0..n).map(|i| u8::from(chunk.is_valid(i) && physical(i) < 0.0)).collect();
        let negative = Mask::marking(&signs, |_, s| s > 0);
        Self { zeros, negative }
    }

    fn write(&self, shape: &[usize], w: &mut Writer) {
        for side in [&self.zeros, &self.negative] {
            w.section(&side.as_ref().map(|m| m.encode(shape)).unwrap_or_default());
        }
    }

    fn read(src: &mut Reader<'_>, shape: &[usize], n: usize) -> Result<Self> {
        let mut side = || read_mask(src, shape, n);
        Ok(Self { zeros: side()?, negative: side()? })
    }

    fn is_negative(&self, i: usize) -> bool {
        self.negative.as_ref().is_some_and(|m| m.classes[i] > 0)
    }
}

/// An optional mask: an empty section stands for none.
fn read_mask(src: &mut Reader<'_>, shape: &[usize], n: usize) -> Result<Option<Mask>> {
    let section = src.section("mask")?;
    if section.remaining() == 0 { Ok(None) } else { Mask::decode(section, shape, n).map(Some) }
}

/// The best lossy payload; `None` if the promise cannot be kept this way.
fn lossy<T: Sample>(
    chunk: &Chunk<'_, T>,
    stage: &Stage,
    transform: &dyn transform::Transform,
    manner: &Manner<'_>,
) -> Result<Option<Encoded>> {
    let plan = Plan::new(chunk, stage);
    let goals = plan.goals(chunk.spec.effort, stage, manner.factor);
    if goals.is_empty() {
        return Ok(None);
    }
    let (w, sides, seen) = working(chunk, plan.domain);
    let block =
        Block { valid: seen.as_deref(), effort: chunk.spec.effort, ..plan.block(chunk.shape, chunk.spec.affine) };
    let mut analysis = transform.analyse(w, block)?;
    let mut encode = |goal, factor| -> Result<Option<Encoded>> {
        let encoded = keep_block_norm(chunk, goal, |goal| {
            lossy_with(chunk, stage, &plan, sides.as_ref(), analysis.as_mut(), goal)
        })?;
        Ok(encoded.map(|e| Encoded { factor, ..e }))
    };
    let mut tried = Vec::new();
    let mut best: Option<Encoded> = None;
    for (goal, factor) in goals {
        let candidate = encode(goal, factor)?;
        tried.extend(factor);
        best = smaller(best, candidate);
    }
    // Of few bits, the right step saves most: from the best one upwards as long as it helps, or else downwards.
    let bins = plan.bins.filter(|_| !stage.closed_loop && chunk.spec.effort >= REFINED);
    if let (Some(bins), Some(e)) = (bins, &mut best)
        && (e.bytes.len() as f64) * 8.0 < QUIET * chunk.x.len() as f64
        && (e.bytes.len() as f64) < HELPED * manner.rival as f64
    {
        for ratio in [FINER, 1.0 / FINER] {
            let before = e.bytes.len();
            while let Some(factor) = e.factor.map(|f| f * ratio).filter(|f| !tried.iter().any(|t| near(*t, *f)))
                && FACTORS.contains(&factor)
            {
                tried.push(factor);
                match encode(plan.goal(bins, factor), Some(factor))? {
                    Some(c) if c.bytes.len() < e.bytes.len() => *e = c,
                    _ => break,
                }
            }
            if e.bytes.len() < before {
                break;
            }
        }
    }
    Ok(best)
}

/// Whether trying one factor after the other would hardly tell anything.
fn near(a: f64, b: f64) -> bool {
    a.max(b) < a.min(b) * FINER.sqrt()
}

fn smaller(a: Option<Encoded>, b: Option<Encoded>) -> Option<Encoded> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.bytes.len() < a.bytes.len() { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// Tightens the goal until the relative error promised for the block holds on the decoded samples.
fn keep_block_norm<T: Sample>(
    chunk: &Chunk<'_, T>,
    mut goal: Goal,
    mut encode: impl FnMut(Goal) -> Result<Encoded>,
) -> Result<Option<Encoded>> {
    for _ in 0..12 {
        let e = encode(goal)?;
        let Some(target) = chunk.spec.tolerance.l2_block else { return Ok(Some(e)) };
        let l2 = e.stats.l2();
        if l2 <= target {
            return Ok(Some(e));
        }
        // Samples under the mask and the final rounding are not the transform's to see: ask for a little more.
        let factor = (target / l2 * 0.999).clamp(0.05, 0.999);
        goal = match goal {
            Goal::Step(s) => Goal::Step(s * factor),
            Goal::Relative(r) => Goal::Relative(r * factor),
        };
    }
    Ok(None)
}

fn lossy_with<T: Sample>(
    chunk: &Chunk<'_, T>,
    stage: &Stage,
    plan: &Plan,
    sides: Option<&LogSides>,
    analysis: &mut (dyn Analysis + '_),
    goal: Goal,
) -> Result<Encoded> {
    let (coded, mut recon) = analysis.encode(goal)?;
    let mut residuals = Vec::new();
    let bins = plan.bins.filter(|_| !stage.closed_loop);
    if let Some(bins) = bins {
        let mut q: Vec<i64> = recon
            .iter_mut()
            .enumerate()
            .map(|(i, t)| {
                let near = bins.near(*t);
                let hidden =
                    !chunk.is_valid(i) || sides.is_some_and(|s| s.zeros.as_ref().is_some_and(|z| z.classes[i] > 0));
                let q = if hidden { 0 } else { bins.symbol(plan.domain.forward(chunk.x[i]), near) };
                *t = bins.apply(near, q);
                q
            })
            .collect();
        if q.iter().any(|q| *q != 0) {
            residuals = residual::encode(&mut q, chunk.shape, chunk.valid);
        }
    }
    let mut y = finalize(plan.domain, &recon, sides);
    drop(recon);
    if let Some(m) = chunk.mask {
        m.restore(&mut y);
    }
    if let Some(z) = sides.and_then(|s| s.zeros.as_ref()) {
        z.restore(&mut y);
    }
    // The check that everything rests on: the decoder's own numbers, in the sample's own type.
    let mut escapes = Writer::new();
    let (mut n_escapes, mut last) = (0, 0);
    let ChunkSpec { tolerance, affine, missing, .. } = chunk.spec;
    for (part, (y, x)) in y.chunks_mut(PART).zip(chunk.x.chunks(PART)).enumerate() {
        if missing.is_empty() && widest!(level(), _simd => tolerance.all_hold(*affine, x, y)) {
            continue;
        }
        for (i, (v, &x)) in y.iter_mut().zip(x).enumerate() {
            let i = part * PART + i;
            // A valid sample must not turn into a marker of missing ones either.
            let kept = tolerance.holds(*affine, x, *v) && !missing.contains(&v.to_bits());
            if chunk.is_valid(i) && !kept {
                escapes.varint((i - last) as u64);
                escapes.varint(x.to_bits());
                *v = x;
                last = i;
                n_escapes += 1;
            }
        }
    }
    let body = |w: &mut Writer| {
        w.u16(stage.id);
        match (plan.domain, sides) {
            (Domain::Log(affine), Some(sides)) => {
                w.u8(1);
                w.f64(affine.scale);
                w.f64(affine.offset);
                sides.write(chunk.shape, w);
            }
            _ => w.u8(0),
        }
        w.section(&coded);
        match bins {
            Some(bins) => {
                w.u8(1 + u8::from(bins.integer));
                w.f64(bins.width);
                w.section(&residuals);
            }
            None => w.u8(0),
        }
        w.varint(n_escapes);
        w.bytes.extend_from_slice(&escapes.bytes);
    };
    Ok(chunk.finish(KIND_LOSSY, body, &y, n_escapes, stage.name))
}

fn finalize<T: Sample>(domain: Domain, recon: &[f64], sides: Option<&LogSides>) -> Vec<T> {
    if domain == Domain::Linear {
        return recon.iter().map(|w| T::from_f64(*w)).collect();
    }
    recon.iter().enumerate().map(|(i, &w)| domain.inverse(w, sides.is_some_and(|s| s.is_negative(i)))).collect()
}
