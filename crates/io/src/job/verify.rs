//! Whether a store still holds what its certificates say: checksums and lineage without the original, every value with it.

use std::collections::BTreeMap;

use lithify_codec::{
    Affine, Dtype, ErrorStats, FieldStats, Promise, Sample, Samples, Tolerance, decode_chunk, header, match_samples,
};
use serde_json::Value;

use super::chunks::chunk_grid;
use super::compress::crc_of_crcs;
use super::{Context, Progress, ordered};
use crate::error::{Error, Result};
use crate::model::{DataType, Source, Values, Variable};
use crate::policy;
use crate::zarr::ZarrSource;

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

/// Checks every chunk of every variable of `store`, against `original` if there is one.
///
/// # Errors
/// Only for what keeps the check from running; what the check finds is in the verdicts.
pub fn verify(store: &ZarrSource, original: Option<&dyn Source>, context: &Context<'_>) -> Result<Vec<Verdict>> {
    let read = store.root().walk().into_iter().map(|(path, v)| one(store, original, &path, v, context));
    let lost = store.lost().into_iter().map(|path| {
        let problems = vec!["written with the store, but it cannot be read".into()];
        Ok(Verdict { path, promise: None, stats: None, problems, lineage: Vec::new() })
    });
    read.chain(lost).collect()
}

fn one(
    store: &ZarrSource,
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
    match store.layout(path) {
        Some(layout) => {
            let certificate = match certificate {
                Some(c) => c,
                None => {
                    verdict.problems.push("there is no certificate (attribute lithify)".into());
                    Value::Null
                }
            };
            let result = coded(store, original, path, v, &layout.chunk, &certificate, &mut verdict, context);
            if let Err(e @ (Error::Codec(_) | Error::Corrupt { .. })) = result {
                verdict.problems.push(e.to_string());
            } else {
                result?;
            }
        }
        None => standard(store, original, path, v, &mut verdict)?,
    }
    Ok(verdict)
}

#[allow(clippy::too_many_arguments)] // one call site; a struct would only rename them
fn coded(
    store: &ZarrSource,
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
    if n_chunks as u64 > store.bytes_stored(path)? {
        return Err(Error::corrupt(path, format!("{n_chunks} chunks are declared, more than there are bytes")));
    }
    let grid = chunk_grid(&v.shape, chunk, None);
    let mut checksums = BTreeMap::new();
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
            let x = decode_chunk(&payload, &shape)
                .map_err(|e| Error::corrupt(path, format!("chunk {:?}: {e}", grid[i].index)))?;
            let (mut errors, mut not_rounded) = (ErrorStats::default(), 0);
            if let Some(want) = want {
                let Values::Numbers(want) = want else { return Err(Error::invalid("the original holds text", path)) };
                let origin = vec![0; shape.len()];
                let have = x.crop(&shape, &origin, &grid[i].count);
                add(&mut errors, &want, &have, &missing, affine)?;
                not_rounded = rounded.map_or(0, |t| n_broken(&t, &want, &have, affine));
            }
            Ok((x.crc32c(), errors, not_rounded, payload.len()))
        },
        |i, (crc, errors, not_rounded, coded)| {
            checksums.insert(grid[i].index.clone(), crc);
            stats.merge(&errors);
            n_not_rounded += not_rounded;
            (context.progress)(Progress { variable: path, raw_bytes: errors.field.n, coded_bytes: coded as u64 });
            Ok(())
        },
    )?;
    // The certificate's checksums run over the chunks in the order of writing: shard by shard.
    let shard = store.layout(path).and_then(|l| l.shard);
    let order = chunk_grid(&v.shape, chunk, shard.as_deref());
    let crc = order.iter().filter_map(|c| checksums.get(&c.index)).fold(0, |crc, c| crc_of_crcs(crc, *c));
    let crc = format!("crc32c:{crc:08x}");
    if certificate["decoded_checksum"].as_str().is_some_and(|want| want != crc) {
        verdict.problems.push("the decoded values do not have the checksum of the certificate".into());
    }
    if resolved.as_ref().is_some_and(Promise::is_lossless)
        && certificate["source"]["checksum"].as_str().is_some_and(|want| want != crc)
    {
        verdict.problems.push("lossless was promised, but the values do not have the source's checksum".into());
    }
    let (raw, stored) = ((v.len() * v.dtype().map_or(1, Dtype::size)) as u64, store.bytes_stored(path)?);
    if promise.as_ref().and_then(|p| p.budget(raw)).is_some_and(|most| stored > most) {
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
    store: &ZarrSource,
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
