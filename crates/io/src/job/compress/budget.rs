//! `ratio` and `bytes`: the smallest absolute bound, one for all chunks of a variable, whose bytes fit.
//!
//! 1. Samples of some chunks are coded without loss, then at a few steps: a first guess, how bytes change with the step, and
//!    whether lossless could do.
//! 2. The codec is fixed for all chunks. The whole variable is coded at that step, and again at better ones until its bytes are the target's or up to 1 % fewer.
//!    Payloads wait in files of their own; of two attempts that fit, the larger is kept.
//! 3. Where no step does better (whole numbers have few of them), the nearest on the right side is taken, and said.
//!
//! Bounds on errors beside it are ceilings: no step goes beyond them.

use lithify_codec::objective::rate::RateSearch;
use lithify_codec::pipeline::MAX_DIMS;
use lithify_codec::{Affine, Bound, ChunkSpec, Codec, FieldStats, Promise, Samples, Tolerance, auto, encode_chunk};

use super::{CodedVariable, Job, Plan, RETRIES, Settled, Spool};
use crate::error::{Error, Result};
use crate::job::chunks::ChunkAt;
use crate::job::{Context, encoding, ordered};

/// Trial encodes of samples at most, the lossless one included.
const TRIALS: usize = 6;
/// Samples are this part of a chunk in all, but at least so many values: adaptive models need some to learn from.
const SHARE: usize = 4;
const LEAST: usize = 1 << 16;
/// They come in so many parts from all over the variable, for one place is not like another.
const PARTS: usize = 8;
/// Where a part lies in its chunk: multiples of these numbers' roots, modulo 1, spread evenly for each dimension.
const PRIMES: [f64; MAX_DIMS] = [2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0];
/// A trial this near to its target is good enough: a sample tells no more of the whole.
const NEAR: f64 = 0.03;
/// Lossless is tried on the whole where samples say that it needs up to so many times the target.
const HOPE: f64 = 1.3;
/// Encodes of the whole variable at most.
const ATTEMPTS: usize = 16;
/// The first guess: smooth fields reach ratio 25 at a thousandth of their range.
const FIRST: (f64, f64) = (25.0, 1e-3);
/// The codec of the trials is chosen again where the step has moved by more than this.
const MOVED: f64 = 8.0;
/// The finest step of floating-point values, as a part of their range.
const FINEST: f64 = 1e-18;
/// Bytes go with about this power of the step.
const SLOPE: f64 = -0.5;

/// A chunk, or a part of one.
type Part = (Samples, Vec<usize>);

/// An encode of the whole variable.
struct Attempt {
    spec: ChunkSpec,
    spool: Spool,
    coded: CodedVariable,
}

/// Codes the variable of `job` so that its payloads and indices take at most `budget` bytes, and hardly less.
///
/// # Errors
/// [`Error::Unreachable`] if no step does that within the other bounds.
pub(super) fn keep(
    job: &Job<'_>,
    plan: &Plan,
    budget: u64,
    context: &Context<'_>,
    warn: &mut dyn FnMut(String),
) -> Result<Settled> {
    let mut hunt = Hunt {
        job,
        spec: plan.spec.clone(),
        unit: Unit::of(job, plan.spec.affine),
        target: budget.saturating_sub(job.index_bytes()),
        context,
        n_trials: 0,
        n_encodes: 0,
    };
    let samples = samples(job, context)?;
    let part = samples.iter().map(|(x, _)| x.len()).sum::<usize>() as f64 / job.v.len().max(1) as f64;
    let search = hunt.search(&plan.field);
    let exact = ChunkSpec { codec: Codec::Lossless, tolerance: Tolerance::LOSSLESS, step: None, ..plan.spec.clone() };
    if search.is_none() || hunt.trial(&samples, &exact)? as f64 <= HOPE * part * hunt.target as f64 {
        match hunt.exact(&exact, warn)? {
            Ok(settled) => return Ok(settled),
            Err(bytes) if search.is_none() => return Err(hunt.unreachable(bytes)),
            Err(_) => {}
        }
    }
    let Some(search) = search else { return Err(hunt.unreachable(0)) };
    let (mut step, slope) = hunt.first_guess(search.for_part(part), &samples, &plan.field)?;
    drop(samples);
    if let Codec::Auto(_) = hunt.spec.codec {
        hunt.spec.codec = stepped(job.choose(&hunt.at(step), context)?)?;
    }
    hunt.settle(step)?;
    let search = search.with_slope(slope);
    for _ in 0..RETRIES {
        let (best, lands);
        (step, best, lands) = hunt.land(search.clone(), step)?;
        if !plan.resolved.kept(&job.errors(&best.coded.stats)) {
            // A norm beside the budget was missed by a little: its own step has to be finer.
            hunt.spec.step = hunt.spec.step.map(|s| s * 0.97);
            continue;
        }
        // Where the finest step is more than fine enough, or changes nothing, so may be none at all.
        if !lands
            && (search.is_finest(step) || best.coded.stats.n_changed == 0)
            && let Ok(settled) = hunt.exact(&exact, warn)?
        {
            return Ok(settled);
        }
        if !lands {
            let why = if hunt.unit.whole { "the steps of whole numbers allow" } else { "any step gives" };
            let (bytes, ratio) = (hunt.stored(best.spool.len()), hunt.ratio(best.spool.len()));
            let nearest = format!("{bytes} bytes, ratio {ratio:.2}, is the nearest to");
            warn(format!("{}: {nearest} {} that {why}", job.path, job.promise));
        }
        let mut resolved = plan.resolved.without_budget();
        resolved.0.retain(|b| !matches!(b, Bound::Abs(_)));
        resolved.0.extend(best.spec.tolerance.abs.map(Bound::Abs));
        return Ok(hunt.settled(best, resolved));
    }
    Err(Error::Unreachable(format!("{}: {} does not hold; ask for a smaller ratio", job.path, job.promise)))
}

/// Parts of chunks all over the variable; everything, if that is no more.
fn samples(job: &Job<'_>, context: &Context<'_>) -> Result<Vec<Part>> {
    let grid = job.grid();
    let in_all = grid.first().map_or(0, |at| at.count.iter().product::<usize>() / SHARE).max(LEAST);
    let n = if job.v.len() <= in_all { grid.len() } else { PARTS };
    let part = |k: usize| {
        context.check()?;
        let at = &grid[(2 * k + 1) * grid.len() / (2 * n)];
        let count = job.codec.part_shape(&at.count, in_all / n);
        let place = |d: usize| ((k + 1) as f64 * PRIMES[d].sqrt()).fract() * (at.count[d] - count[d] + 1) as f64;
        let start = (0..count.len()).map(|d| at.start[d] + place(d) as usize).collect();
        Ok((job.read(&ChunkAt { start, count: count.clone(), ..at.clone() })?, count))
    };
    (0..n).map(part).collect()
}

/// A codec that has steps. Lossless may win at a fine one; but it has been tried on the whole by then, and a coarser one is wanted.
fn stepped(codec: Codec) -> Result<Codec> {
    match codec {
        Codec::Lossless => Ok("predict".parse()?),
        codec => Ok(codec),
    }
}

/// What a step of the search stands for.
#[derive(Clone, Copy)]
struct Unit {
    /// Physical units.
    quantum: f64,
    /// Unpacking rounds; half a quantum more keeps whole steps whole.
    slack: f64,
    whole: bool,
}

impl Unit {
    fn of(job: &Job<'_>, affine: Affine) -> Self {
        if job.dtype.is_float() {
            return Self { quantum: 1.0, slack: 0.0, whole: false };
        }
        Self { quantum: affine.scale.abs(), slack: if affine == Affine::IDENTITY { 0.0 } else { 0.5 }, whole: true }
    }
}

/// A search for the step of one variable.
struct Hunt<'a> {
    job: &'a Job<'a>,
    /// The ceilings.
    spec: ChunkSpec,
    unit: Unit,
    /// Bytes of all payloads.
    target: u64,
    context: &'a Context<'a>,
    n_trials: usize,
    n_encodes: usize,
}

impl Hunt<'_> {
    /// All steps below the ceilings, if there are any.
    fn search(&self, field: &FieldStats) -> Option<RateSearch> {
        let ceiling = self.spec.tolerance.abs.unwrap_or(f64::INFINITY);
        let widest = field.range().min(f64::MAX).min(ceiling) / self.unit.quantum;
        let (finest, coarsest) =
            if self.unit.whole { (1.0, widest.floor()) } else { ((widest * FINEST).max(f64::from_bits(1)), widest) };
        let lossy = !self.spec.tolerance.lossless && !matches!(self.spec.codec, Codec::Lossless);
        let any = lossy && coarsest >= finest;
        any.then(|| RateSearch::new(self.target as f64, finest, coarsest, self.unit.whole, SLOPE))
    }

    /// What is asked of a chunk at a step.
    fn at(&self, step: f64) -> ChunkSpec {
        let ceiling = self.spec.tolerance.abs.unwrap_or(f64::INFINITY);
        let abs = ((step + self.unit.slack) * self.unit.quantum).min(ceiling);
        ChunkSpec { tolerance: Tolerance { abs: Some(abs), ..self.spec.tolerance }, ..self.spec.clone() }
    }

    /// Coded bytes of samples.
    fn trial(&mut self, samples: &[Part], spec: &ChunkSpec) -> Result<u64> {
        self.n_trials += 1;
        let (stop, mut bytes) = (self.context.stop, 0);
        ordered::run(
            samples.len(),
            self.context.threads,
            |i| self.context.check().map(|()| &samples[i]),
            |_, (x, shape)| Ok(encoding(stop, || encode_chunk(x, shape, spec))?.bytes.len() as u64),
            |_, n| {
                bytes += n;
                Ok(())
            },
        )?;
        Ok(bytes)
    }

    /// The step that samples suggest, and how bytes change there.
    fn first_guess(&mut self, empty: RateSearch, samples: &[Part], field: &FieldStats) -> Result<(f64, f64)> {
        let asked = super::raw_bytes(&self.job.v) as f64 / self.target.max(1) as f64;
        let mut step = empty.snap(asked / FIRST.0 * FIRST.1 * field.range() / self.unit.quantum);
        let mut search = empty.clone();
        let mut chosen: Option<(Codec, f64)> = None;
        while self.n_trials < TRIALS {
            let mut spec = self.at(step);
            if let Codec::Auto(_) = spec.codec {
                let stale = |at: f64| (step / at).max(at / step) > MOVED;
                let codec = match chosen.take_if(|(_, at)| !stale(*at)) {
                    Some((codec, _)) => codec,
                    None => {
                        // Points of another codec would mislead.
                        search = empty.clone();
                        let parts: Vec<_> = samples.iter().map(|(x, shape)| (x, shape.as_slice())).collect();
                        stepped(encoding(self.context.stop, || auto::choose(&parts, &spec))?)?
                    }
                };
                spec.codec = codec.clone();
                chosen = Some((codec, step));
            }
            let bytes = self.trial(samples, &spec)?;
            search.add(step, bytes);
            let next = search.next();
            step = next.unwrap_or(step);
            if next.is_none() || search.distance(bytes) < NEAR {
                break;
            }
        }
        Ok((step, search.slope()))
    }

    /// Fixes what the codec would choose by trials for each chunk and step: bytes would jump where the choice changes.
    fn settle(&mut self, step: f64) -> Result<()> {
        let mut grid = self.job.grid();
        let at = grid.swap_remove(grid.len() / 2);
        self.spec.codec = lithify_codec::settle(&self.job.read(&at)?, &at.count, &self.at(step))?;
        Ok(())
    }

    /// Encodes of the whole until the bytes are right: the last step, the best that fits, and whether it is what was asked.
    fn land(&mut self, mut search: RateSearch, first: f64) -> Result<(f64, Attempt, bool)> {
        let (mut best, mut least): (Option<(f64, Attempt)>, u64) = (None, u64::MAX);
        let mut next = Some(first);
        for _ in 0..ATTEMPTS {
            let Some(step) = next else { break };
            let attempt = self.attempt(self.at(step))?;
            let bytes = attempt.spool.len();
            search.add(step, bytes);
            least = least.min(bytes);
            let exact = search.fits(bytes) && attempt.coded.stats.n_changed == 0;
            next = if search.lands(bytes) || exact { None } else { search.next() };
            if search.fits(bytes) && best.as_ref().is_none_or(|(_, b)| bytes > b.spool.len()) {
                best = Some((step, attempt));
            }
        }
        let (step, best) = best.ok_or_else(|| self.unreachable(least))?;
        let lands = search.lands(best.spool.len());
        Ok((step, best, lands))
    }

    /// Every bit, if that fits; else the bytes that it takes.
    fn exact(&mut self, spec: &ChunkSpec, warn: &mut dyn FnMut(String)) -> Result<std::result::Result<Settled, u64>> {
        let attempt = self.attempt(spec.clone())?;
        let bytes = attempt.spool.len();
        if bytes > self.target {
            return Ok(Err(bytes));
        }
        let (job, ratio) = (self.job, self.ratio(bytes));
        warn(format!("{}: lossless is within {} (ratio {ratio:.2}): every bit is kept", job.path, job.promise));
        Ok(Ok(self.settled(attempt, Promise::lossless())))
    }

    fn attempt(&mut self, spec: ChunkSpec) -> Result<Attempt> {
        self.n_encodes += 1;
        let mut spool = Spool::new()?;
        let coded = self.job.encode_all(&spec, self.context, &mut |_, payload| spool.push(&payload))?;
        Ok(Attempt { spec, spool, coded })
    }

    fn settled(&self, attempt: Attempt, resolved: Promise) -> Settled {
        let Attempt { spec, spool, coded } = attempt;
        Settled { spec, coded, spool: Some(spool), resolved, n_trials: self.n_trials, n_encodes: self.n_encodes }
    }

    /// Bytes in the store.
    fn stored(&self, payloads: u64) -> u64 {
        payloads + self.job.index_bytes()
    }

    fn ratio(&self, payloads: u64) -> f64 {
        super::raw_bytes(&self.job.v) as f64 / self.stored(payloads).max(1) as f64
    }

    fn unreachable(&self, payloads: u64) -> Error {
        let (job, limits) = (self.job, self.job.promise.without_budget());
        let within = if limits.0.is_empty() { "with the coarsest step".into() } else { format!("within {limits}") };
        let (bytes, ratio) = (self.stored(payloads), self.ratio(payloads));
        let reached = format!("{within} it takes {bytes} bytes, ratio {ratio:.2}");
        Error::Unreachable(format!("{}: {} cannot be kept: {reached}", job.path, job.promise))
    }
}
