//! Whether a store, or a NetCDF-4 file of ours, still holds what its certificates say: checksums and lineage without the original, every value with it.

use std::collections::BTreeMap;

use lithify_codec::{
    Affine, Dtype, ErrorStats, FieldStats, Promise, Sample, Samples, Tolerance, decode_chunk, header, match_samples,
    parts,
};
use serde_json::Value;

use super::certificate::{checksum, crc_of_crcs, parts_said};
use super::chunks::{chunk_grid, chunk_shape};
use super::{Context, Progress, ordered};
use crate::error::{Error, Result};
use crate::model::{Asked, DataType, Source, Values, Variable, read_numbers};
use crate::policy;

/// What was found for one variable.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Path in the store.
    pub path: String,
    /// What was promised; `None` for variables in standard codecs.
    pub promise: Option<Promise>,
    /// Errors against the original, if there was one.
    pub stats: Option<ErrorStats>,
    /// What is wrong; empty is good.
    pub problems: Vec<String>,
    /// Lossy passes so far.
    pub lineage: Vec<Value>,
}

/// A payload that stands alone, or one of those that a payload was joined from: where it lies along the dimension of the parts.
struct Piece {
    start: usize,
    stop: usize,
    crc: u32,
}

/// Checks every chunk of every variable of `store`, against `original` if there is one.
///
/// # Errors
/// Only for what keeps the check from running; what the check finds is in the verdicts.
pub fn verify(store: &dyn Source, original: Option<&dyn Source>, context: &Context<'_>) -> Result<Vec<Verdict>> {
    let read = store.root().walk().into_iter().map(|(path, v)| one(store, original, &path, v, context));
    let lost = store.lost().into_iter().map(|path| {
        let problems = vec!["written with the store, but it cannot be read".into()];
        Ok(Verdict { path, promise: None, stats: None, problems, lineage: Vec::new() })
    });
    read.chain(lost).collect()
}

fn one(
    store: &dyn Source,
    original: Option<&dyn Source>,
    path: &str,
    v: &Variable,
    context: &Context<'_>,
) -> Result<Verdict> {
    context.check()?;
    let certificate = store.certificate(path);
    let mut verdict = Verdict {
        path: path.into(),
        promise: None,
        stats: None,
        problems: Vec::new(),
        lineage: certificate.as_ref().and_then(|c| c["lineage"].as_array().cloned()).unwrap_or_default(),
    };
    let original = match original {
        Some(o) => match o.root().find(path) {
            Ok(w) if w.shape == v.shape && w.data_type == v.data_type => Some(o),
            Ok(w) => {
                verdict
                    .problems
                    .push(format!("shape or type differs from the original: {:?} {:?}", w.shape, w.data_type));
                None
            }
            Err(_) => {
                verdict.problems.push("the original has no such variable".into());
                None
            }
        },
        None => None,
    };
    if let Some(want) = store.asked(path) {
        match asked(store, original, path, v, &want, &mut verdict, context) {
            Err(e @ (Error::Codec(_) | Error::Corrupt { .. })) => verdict.problems.push(e.to_string()),
            done => done?,
        }
        return Ok(verdict);
    }
    match store.layout(path) {
        Some(layout) => {
            let certificate = match certificate {
                Some(c) => c,
                None => {
                    verdict.problems.push("there is no certificate (attribute lithify)".into());
                    Value::Null
                }
            };
            match coded(store, original, path, v, &layout.chunk, &certificate, &mut verdict, context) {
                // That a model is not at hand says nothing of the data.
                Err(e @ Error::Codec(lithify_codec::Error::Model { .. })) => return Err(e),
                Err(e @ (Error::Codec(_) | Error::Corrupt { .. })) => verdict.problems.push(e.to_string()),
                done => done?,
            }
        }
        None => standard(store, original, path, v, &mut verdict)?,
    }
    Ok(verdict)
}

#[allow(clippy::too_many_arguments)] // one call site; a struct would only rename them
fn coded(
    store: &dyn Source,
    original: Option<&dyn Source>,
    path: &str,
    v: &Variable,
    chunk: &[usize],
    certificate: &Value,
    verdict: &mut Verdict,
    context: &Context<'_>,
) -> Result<()> {
    let said = |name: &str| certificate[name].as_str().map(str::parse::<Promise>).transpose();
    let promise = said("bound")?;
    // What the promise came to for this variable, where it says nothing of errors by itself.
    let resolved = said("resolved")?.or_else(|| promise.clone());
    let rounded = resolved.as_ref().map(|r| r.resolve(&FieldStats::default())).filter(|t| t.bits.is_some());
    let (affine, missing) = (policy::affine(v), policy::missing_patterns(v));
    let n_chunks = v.shape.iter().zip(chunk).fold(1usize, |n, (s, c)| n.saturating_mul(s.div_ceil((*c).max(1))));
    let stored = store.bytes_stored(path)?;
    if stored.is_some_and(|bytes| n_chunks as u64 > bytes) {
        return Err(Error::corrupt(path, format!("{n_chunks} chunks are declared, more than there are bytes")));
    }
    let (axis, said_of_parts) = parts_said(certificate, &v.dims, &v.shape)?;
    let grid = chunk_grid(&v.shape, chunk, None);
    let mut checksums: BTreeMap<Vec<usize>, Vec<Piece>> = BTreeMap::new();
    let (mut stats, mut n_not_rounded) = (ErrorStats::default(), 0);
    ordered::run(
        grid.len(),
        context.threads,
        |_| context.check(),
        // Read here, so that several requests are under way where reading goes over a network.
        |i, ()| {
            let payload = store.payload(path, &grid[i].index)?;
            let want = original.map(|o| o.read(path, &grid[i].start, &grid[i].count)).transpose()?;
            let Some(payload) = payload else {
                return Err(Error::corrupt(path, format!("chunk {:?} is missing", grid[i].index)));
            };
            let h = header(&payload)?;
            let shape = h.shape;
            let fits = |d: usize| grid[i].count[d] <= shape[d] && shape[d] <= chunk[d];
            if shape.len() != chunk.len() || !(0..chunk.len()).all(fits) || v.dtype() != Some(h.dtype) {
                let what = format!("{} {shape:?} is stored where {:?} is declared", h.dtype, grid[i].count);
                return Err(Error::corrupt(path, format!("chunk {:?}: {what}", grid[i].index)));
            }
            let x = decode_chunk(&payload, &shape).map_err(|e| match e {
                lithify_codec::Error::Model { .. } => e.into(),
                e => Error::corrupt(path, format!("chunk {:?}: {e}", grid[i].index)),
            })?;
            let (mut errors, mut not_rounded) = (ErrorStats::default(), 0);
            if let Some(want) = want {
                let Values::Numbers(want) = want else { return Err(Error::invalid("the original holds text", path)) };
                let origin = vec![0; shape.len()];
                let have = x.crop(&shape, &origin, &grid[i].count);
                add(&mut errors, &want, &have, &missing, affine)?;
                not_rounded = rounded.map_or(0, |t| n_broken(&t, &want, &have, affine));
            }
            // What a payload was joined from was written piece by piece, and so was what is said of it.
            let pieces = parts(&payload)?.into_iter().map(|p| {
                let first = |d: usize| grid[i].start[d] + p.start[d];
                let (start, stop) = match v.shape.get(axis) {
                    Some(end) => (first(axis), (first(axis) + p.header.shape[axis]).min(*end)),
                    None => (0, 1),
                };
                Piece { start, stop, crc: p.header.decoded_crc32c }
            });
            Ok((pieces.collect(), errors, not_rounded, payload.len()))
        },
        |i, (pieces, errors, not_rounded, coded)| {
            checksums.insert(grid[i].index.clone(), pieces);
            stats.merge(&errors);
            n_not_rounded += not_rounded;
            (context.progress)(Progress { variable: path, raw_bytes: errors.field.n, coded_bytes: coded as u64 });
            Ok(())
        },
    )?;
    // The certificate's checksums run over the chunks in the order of writing: shard by shard.
    let shard = store.layout(path).and_then(|l| l.shard);
    let order = chunk_grid(&v.shape, chunk, shard.as_deref());
    let mut crcs = vec![0; said_of_parts.len()];
    for piece in order.iter().filter_map(|c| checksums.get(&c.index)).flatten() {
        let k = said_of_parts.partition_point(|p| p.stop <= piece.start);
        match said_of_parts.get(k).filter(|p| piece.stop <= p.stop) {
            Some(_) => crcs[k] = crc_of_crcs(crcs[k], piece.crc),
            None => return Err(Error::corrupt(path, "a payload lies across two parts of the certificate")),
        }
    }
    for (part, crc) in said_of_parts.iter().zip(crcs) {
        let place = if certificate["parts"].is_array() {
            format!("{} {} to {}: ", v.dims[axis], part.start, part.stop - 1)
        } else {
            String::new()
        };
        let crc = checksum(crc);
        if part.decoded.as_ref().is_some_and(|want| *want != crc) {
            verdict.problems.push(format!("{place}the decoded values do not have the checksum of the certificate"));
        }
        if part.lossless && part.source.as_ref().is_some_and(|want| *want != crc) {
            let what = "lossless was promised, but the values do not have the source's checksum";
            verdict.problems.push(format!("{place}{what}"));
        }
    }
    let raw = (v.len() * v.dtype().map_or(1, Dtype::size)) as u64;
    let most = promise.as_ref().and_then(|p| p.budget(raw));
    if let Some((_, stored)) = most.zip(stored).filter(|(most, stored)| stored > most) {
        verdict.problems.push(format!("{stored} bytes are stored, more than the promise allows"));
    }
    if original.is_some() {
        if n_not_rounded > 0 {
            verdict.problems.push(format!("{n_not_rounded} values are not the original's, rounded"));
        }
        for promise in promise.iter().chain(&resolved).filter(|p| !p.kept(&stats)).take(1) {
            verdict.problems.push(format!(
                "{promise} does not hold: max abs {:e}, max rel {:e}, l2 {:e}, psnr {:.3}",
                stats.max_abs,
                stats.max_rel,
                stats.l2(),
                stats.psnr()
            ));
        }
        if stats.n_mask_changed > 0 {
            verdict.problems.push(format!("{} missing samples changed", stats.n_mask_changed));
        }
        verdict.stats = Some(stats);
    }
    verdict.promise = promise;
    Ok(())
}

/// A variable without a certificate, written by a filter that saw one chunk at a time: every chunk is read, which checks it, and
/// held against what the filter was asked for.
fn asked(
    store: &dyn Source,
    original: Option<&dyn Source>,
    path: &str,
    v: &Variable,
    want: &Asked,
    verdict: &mut Verdict,
    context: &Context<'_>,
) -> Result<()> {
    let Some(dtype) = v.dtype() else { return Err(Error::invalid("a coded variable holds numbers", path)) };
    let Asked { promise, spec } = want;
    let (mut stats, mut not_rounded) = (ErrorStats::default(), 0);
    for at in chunk_grid(&v.shape, &chunk_shape(&v.shape, dtype, v.chunks.as_deref()), None) {
        context.check()?;
        let have = read_numbers(store, path, dtype, &at.start, &at.count)?;
        if let Some(original) = original {
            let x = read_numbers(original, path, dtype, &at.start, &at.count)?;
            add(&mut stats, &x, &have, &spec.missing, spec.affine)?;
            not_rounded += spec.tolerance.bits.map_or(0, |_| n_broken(&spec.tolerance, &x, &have, spec.affine));
        }
        let raw_bytes = (have.len() * dtype.size()) as u64;
        (context.progress)(Progress { variable: path, raw_bytes, coded_bytes: 0 });
    }
    if original.is_some() {
        if not_rounded > 0 || stats.n_mask_changed > 0 || !promise.kept(&stats) {
            let (moved, l2) = (stats.n_mask_changed, stats.l2());
            verdict.problems.push(format!(
                "{promise} does not hold: max abs {:e}, max rel {:e}, l2 {l2:e}, {moved} missing samples changed, {not_rounded} not rounded",
                stats.max_abs, stats.max_rel
            ));
        }
        verdict.stats = Some(stats);
    }
    verdict.promise = Some(promise.clone());
    Ok(())
}

/// Adds the errors of a block; both sides must have the same type.
pub fn add(errors: &mut ErrorStats, x: &Samples, y: &Samples, missing: &[u64], affine: Affine) -> Result<()> {
    fn typed<T: Sample>(e: &mut ErrorStats, x: &[T], y: &Samples, missing: &[u64], a: Affine) -> Result<()> {
        let y =
            T::slice(y).filter(|y| y.len() == x.len()).ok_or_else(|| Error::invalid("the types differ", y.dtype()))?;
        let mask = lithify_codec::mask::Mask::of(x, missing);
        e.add(x, y, mask.map(|m| m.valid()).as_deref(), a);
        Ok(())
    }
    match_samples!(x, v => typed(errors, v, y, missing, affine))
}

/// How many values of `y` do not keep a tolerance that every value has to keep, missing ones too.
fn n_broken(t: &Tolerance, x: &Samples, y: &Samples, affine: Affine) -> usize {
    fn typed<T: Sample>(t: &Tolerance, x: &[T], y: &Samples, affine: Affine) -> usize {
        let y = T::slice(y).unwrap_or_default();
        x.iter().zip(y).filter(|(x, y)| !t.holds(affine, **x, **y)).count()
    }
    match_samples!(x, v => typed(t, v, y, affine))
}

fn standard(
    store: &dyn Source,
    original: Option<&dyn Source>,
    path: &str,
    v: &Variable,
    verdict: &mut Verdict,
) -> Result<()> {
    let start = vec![0; v.shape.len()];
    let have = match store.read(path, &start, &v.shape) {
        Ok(have) => have,
        Err(e @ (Error::Corrupt { .. } | Error::Unsupported { .. })) => {
            verdict.problems.push(e.to_string());
            return Ok(());
        }
        Err(e) => return Err(e),
    };
    if let Some(o) = original {
        let want = o.read(path, &start, &v.shape)?;
        let same = match (&have, &want, v.data_type) {
            // NaN is equal to itself here: bits count.
            (Values::Numbers(a), Values::Numbers(b), DataType::Number(_)) => a.to_le_bytes() == b.to_le_bytes(),
            (a, b, _) => a == b,
        };
        if !same {
            verdict.problems.push("the values differ from the original's".into());
        }
    }
    Ok(())
}
