//! A chunk that was read, changed in part, and is written again: what was kept must not go through a lossy codec once more.
//!
//! 1. Along one dimension, each slice is kept, new, or both ([`crate::kept`]).
//! 2. Payloads in a joined payload (`docs/format.md`) of which all is kept stay; new slices are coded with the bound; the others
//!    without loss. All of them are joined. Of the dimensions, the one counts along which least is coded without loss.
//! 3. If that takes much room, the whole chunk without loss is tried, too.

use std::borrow::Cow;

use lithify_codec::block::{crop, n_samples};
use lithify_codec::{
    ChunkSpec, Codec, Part, Result, Sample, Samples, Tolerance, encode_chunk, join, match_samples, parts,
};

use crate::kept::{Kept, compare, is_void};

/// With more pieces to code, the whole chunk goes without loss.
const MOST_PIECES: usize = 16;

/// How slices of a chunk are written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    /// Part `.0` of the old payload.
    Stays(usize),
    Lossy,
    Exact,
}

/// How each slice along dimension `axis` is written.
#[derive(Debug)]
struct Plan {
    axis: usize,
    how: Vec<How>,
}

/// The payload of `x`, if it is the chunk of payload `old`, decoded `before`, with changes; else `None`. Both have `shape`; beyond
/// `count`, `x` holds the fill value only. Samples with the patterns `void` were not measured.
///
/// # Errors
/// Those of [`encode_chunk`] and [`parts`].
pub(crate) fn encode(
    (old, before): (&[u8], &Samples),
    (x, count): (&Samples, &[usize]),
    shape: &[usize],
    spec: &ChunkSpec,
    void: &[u64],
) -> Result<Option<Vec<u8>>> {
    let parts = parts(old)?;
    // What either of them has.
    let mut extents = count.to_vec();
    for part in &parts {
        let ends = part.start.iter().zip(&part.header.shape).map(|(s, n)| s + n);
        extents.iter_mut().zip(ends).for_each(|(n, end)| *n = end.max(*n));
    }
    let origin = vec![0; shape.len()];
    let (before, after) = (before.crop(shape, &origin, &extents), x.crop(shape, &origin, &extents));
    let Some((kept, plan)) = match_samples!(&after, v => plan(&before, v, &extents, &parts, void)) else {
        return Ok(None);
    };
    match kept {
        Kept::Nothing => return Ok(None),
        Kept::All => return Ok(Some(old.to_vec())),
        Kept::Part => {}
    }
    let exact = ChunkSpec { codec: Codec::Lossless, tolerance: Tolerance::LOSSLESS, ..spec.clone() };
    let joined = joined(&plan, &parts, &after, &extents, [spec, &exact])?;
    // As in the codec, what is small enough has no rival.
    let raw = n_samples(&extents).unwrap_or(usize::MAX).saturating_mul(x.dtype().size());
    if let Some(joined) = joined.as_ref().filter(|j| j.len().saturating_mul(4) < raw) {
        return Ok(Some(joined.clone()));
    }
    let whole = encode_chunk(&x.crop(shape, &origin, count), count, &exact)?.bytes;
    Ok(Some(joined.filter(|j| j.len() < whole.len()).unwrap_or(whole)))
}

/// What was kept, and how the chunk is best written; `None` if `before` has another type.
fn plan<T: Sample>(
    before: &Samples,
    after: &[T],
    extents: &[usize],
    parts: &[Part<'_>],
    void: &[u64],
) -> Option<(Kept, Plan)> {
    let before = T::slice(before)?;
    let (kept, same) = compare(before, after, extents, void);
    if kept != Kept::Part {
        return Some((kept, Plan { axis: 0, how: Vec::new() }));
    }
    // Payloads that were joined along a dimension stay along that one only.
    let grown = parts.get(1).and_then(|p| p.start.iter().position(|s| *s > 0));
    let along = |axis: usize| {
        let mut how: Vec<How> = (0..extents[axis])
            .map(|i| {
                if same[axis][i] {
                    return How::Exact;
                }
                let (mut start, mut count) = (vec![0; extents.len()], extents.to_vec());
                (start[axis], count[axis]) = (i, 1);
                let [old, new] = [before, after].map(|x| crop(x, extents, &start, &count));
                // What is kept along another dimension is kept here, however little of it lies in this slice.
                let crosses = (0..extents.len()).filter(|d| *d != axis).any(|d| {
                    let across = |j: usize| {
                        let (mut start, mut line) = (vec![0; extents.len()], count.clone());
                        (start[d], line[d]) = (j, 1);
                        crop(&old, &count, &start, &line)
                    };
                    (0..extents[d]).any(|j| same[d][j] && across(j).iter().any(|v| !is_void(*v, void)))
                });
                let new = !crosses && compare(&old, &new, &count, void).0 == Kept::Nothing;
                if new { How::Lossy } else { How::Exact }
            })
            .collect();
        for (k, part) in parts.iter().enumerate() {
            let (own, from) = (&part.header.shape, part.start[axis]);
            let slices = from..from + own[axis];
            let fits = (0..extents.len()).all(|d| d == axis || own[d] == extents[d]);
            if fits && same[axis][slices.clone()].iter().all(|s| *s) {
                how[slices].fill(How::Stays(k));
            }
        }
        Plan { axis, how }
    };
    let n_exact = |p: &Plan| p.how.iter().filter(|h| **h == How::Exact).count() * (after.len() / p.how.len());
    let plans = (0..extents.len()).filter(|d| grown.is_none_or(|g| g == *d)).map(along);
    Some((kept, plans.min_by_key(n_exact)?))
}

/// The payload of the plan; `None` if it has too many pieces, or is nothing but exact.
fn joined(
    plan: &Plan,
    parts: &[Part<'_>],
    x: &Samples,
    extents: &[usize],
    [spec, exact]: [&ChunkSpec; 2],
) -> Result<Option<Vec<u8>>> {
    let runs = || plan.how.chunk_by(|a, b| a == b);
    let n_coded = runs().filter(|run| !matches!(run[0], How::Stays(_))).count();
    if n_coded > MOST_PIECES || plan.how.iter().all(|h| *h == How::Exact) {
        return Ok(None);
    }
    let (mut start, mut count) = (vec![0; extents.len()], extents.to_vec());
    let mut payloads: Vec<Cow<'_, [u8]>> = Vec::new();
    for run in runs() {
        count[plan.axis] = run.len();
        let coded = |spec| Ok(encode_chunk(&x.crop(extents, &start, &count), &count, spec)?.bytes.into());
        payloads.push(match run[0] {
            How::Stays(k) => parts[k].payload.into(),
            How::Lossy => coded(spec)?,
            How::Exact => coded(exact)?,
        });
        start[plan.axis] += run.len();
    }
    let payloads: Vec<&[u8]> = payloads.iter().map(AsRef::as_ref).collect();
    match payloads[..] {
        [one] => Ok(Some(one.to_vec())),
        _ => join(plan.axis, &payloads).map(Some),
    }
}
