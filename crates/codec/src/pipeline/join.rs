//! Payloads that lie one after another along a dimension, kept as they are inside one: a chunk that was filled bit by bit.
//!
//! Nothing is coded again, so what was decoded before is decoded now, bit for bit. Layout: `docs/format.md`, version 2.

use super::decode::{decode_chunk, open};
use super::{Header, MAX_DIMS};
use crate::bits::{Reader, Writer};
use crate::block::n_samples;
use crate::dtype::{Dtype, Samples};
use crate::error::{Error, Result};
use crate::match_dtype;
use crate::transform::Region;

/// First bytes of a joined payload.
pub(super) const JOINED: [u8; 4] = *b"LTH\x02";
/// What [`header`](super::header) says instead of a codec.
const NAME: &str = "joined";
/// More bytes than joining one payload to another adds to both.
pub const MOST_ADDED: usize = 128;

/// A payload that stands alone, and where it lies in the chunk.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    /// Its bytes, of version 1.
    pub payload: &'a [u8],
    /// Its first sample.
    pub start: Vec<usize>,
    /// What it says of itself.
    pub header: Header,
}

/// The payloads that a payload was joined from, in order; itself, if it was not.
///
/// # Errors
/// As [`header`](super::header).
pub fn parts(payload: &[u8]) -> Result<Vec<Part<'_>>> {
    match Joined::open(payload)? {
        Some(joined) => Ok(joined.parts),
        None => {
            let header = super::header(payload)?;
            Ok(vec![Part { payload, start: vec![0; header.shape.len()], header }])
        }
    }
}

/// One payload of several whose chunks lie one after another along dimension `axis`. What was joined already is taken apart first.
///
/// # Errors
/// [`Error::Invalid`] if there are fewer than two, if their types or their other lengths differ, or if one was joined along another
/// dimension; those of [`header`](super::header) and, along other dimensions than the first, of [`decode_chunk`].
pub fn join(axis: usize, payloads: &[&[u8]]) -> Result<Vec<u8>> {
    let mut all: Vec<Part<'_>> = Vec::new();
    for payload in payloads {
        match Joined::open(payload)? {
            Some(joined) if joined.axis != axis => {
                let what = format!("a chunk that was joined along dimension {} cannot grow along another", joined.axis);
                return Err(Error::invalid(what, axis));
            }
            _ => all.extend(parts(payload)?),
        }
    }
    let Some(first) = all.first() else { return Err(Error::invalid("there is nothing to join", 0)) };
    let (own, dtype) = (first.header.shape.clone(), first.header.dtype);
    if axis >= own.len() || all.len() < 2 {
        let what = format!("two payloads at least are joined along one of {} dimensions", own.len());
        return Err(Error::invalid(what, axis));
    }
    let mut shape = own.clone();
    shape[axis] = 0;
    for part in &mut all {
        let Header { dtype: of, shape: other, .. } = &part.header;
        let alike = other.len() == own.len() && (0..own.len()).all(|d| d == axis || other[d] == own[d]) && *of == dtype;
        if !alike {
            let what = format!("only chunks like {dtype} {own:?} can follow it along dimension {axis}");
            return Err(Error::invalid(what, format!("{of} {other:?}")));
        }
        part.start = vec![0; own.len()];
        part.start[axis] = shape[axis];
        shape[axis] += other[axis];
    }
    if all.iter().any(|p| p.header.shape[axis] == 0) {
        return Err(Error::invalid("a part needs samples along the dimension of the join", axis));
    }
    let mut w = Writer::new();
    w.bytes.extend_from_slice(&JOINED);
    w.u8(dtype as u8);
    w.u8(shape.len() as u8);
    shape.iter().for_each(|n| w.varint(*n as u64));
    w.u8(axis as u8);
    w.varint(all.len() as u64);
    all.iter().for_each(|p| w.section(p.payload));
    w.u32(checksum(axis, &shape, dtype, &all)?);
    w.u32(crc32c::crc32c(&w.bytes));
    // Nothing leaves that could not be read.
    Joined::open(&w.bytes)?;
    Ok(w.bytes)
}

/// The checksum of the decoded samples of all parts together.
fn checksum(axis: usize, shape: &[usize], dtype: Dtype, parts: &[Part<'_>]) -> Result<u32> {
    if shape[..axis].iter().all(|n| *n == 1) {
        // In memory one part follows the other.
        let bytes = |p: &Part<'_>| n_samples(&p.header.shape).unwrap_or(0) * dtype.size();
        let mut crc = 0;
        for (i, p) in parts.iter().enumerate() {
            let of = p.header.decoded_crc32c;
            crc = if i == 0 { of } else { crc32c::crc32c_combine(crc, of, bytes(p)) };
        }
        return Ok(crc);
    }
    Ok(lay_out(axis, shape, dtype, parts, &Region::all(shape))?.crc32c())
}

/// A joined payload, taken apart.
pub(super) struct Joined<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    axis: usize,
    parts: Vec<Part<'a>>,
    decoded_crc32c: u32,
}

impl<'a> Joined<'a> {
    /// Checks checksums and form, of the parts as well; `None` if the payload is of another kind.
    pub(super) fn open(payload: &'a [u8]) -> Result<Option<Self>> {
        if payload.get(..4) != Some(&JOINED[..]) {
            return Ok(None);
        }
        const STAGE: &str = "joined payload";
        let cut = || Error::Truncated {
            stage: STAGE,
            at: payload.len(),
            needed: 16usize.saturating_sub(payload.len()).max(1),
        };
        let (covered, crc) = payload.split_last_chunk::<4>().ok_or_else(cut)?;
        if crc32c::crc32c(covered) != u32::from_le_bytes(*crc) {
            return Err(Error::corrupt(STAGE, "the checksum does not match"));
        }
        let (body, decoded) = covered.split_last_chunk::<4>().filter(|(b, _)| b.len() >= 4).ok_or_else(cut)?;
        let mut r = Reader::new(body, STAGE);
        r.take(4)?;
        let dtype = Dtype::from_wire(r.u8()?)?;
        let n_dims = usize::from(r.u8()?);
        if n_dims > MAX_DIMS {
            return Err(Error::Limit { what: "dimensions of a chunk", asked: n_dims as u64, max: MAX_DIMS as u64 });
        }
        let shape = (0..n_dims).map(|_| r.count("length of a dimension", 1 << 40)).collect::<Result<Vec<_>>>()?;
        n_samples(&shape)
            .filter(|n| n.checked_mul(8).is_some_and(|b| b < isize::MAX as usize))
            .ok_or_else(|| Error::corrupt(STAGE, format!("shape {shape:?} is too large")))?;
        let axis = usize::from(r.u8()?);
        let Some(&length) = shape.get(axis) else {
            return Err(Error::corrupt(STAGE, format!("there is no dimension {axis}")));
        };
        // Every part has a length of its own.
        let n_parts = r.count("parts of a joined payload", length)?;
        let (mut parts, mut start) = (Vec::new(), 0);
        for _ in 0..n_parts {
            let payload = r.section("part of a joined payload")?.rest();
            if payload.starts_with(&JOINED) {
                return Err(Error::corrupt(STAGE, "a part is joined itself"));
            }
            let header = super::header(payload)?;
            let fits = |d: usize| match d == axis {
                true => header.shape[d] > 0 && header.shape[d] <= length - start,
                false => header.shape[d] == shape[d],
            };
            if header.dtype != dtype || header.shape.len() != n_dims || !(0..n_dims).all(fits) {
                let what = format!("a part {} {:?} does not fit {dtype} {shape:?}", header.dtype, header.shape);
                return Err(Error::corrupt(STAGE, what));
            }
            let mut at = vec![0; n_dims];
            at[axis] = start;
            start += header.shape[axis];
            parts.push(Part { payload, start: at, header });
        }
        r.end()?;
        if start != length || parts.is_empty() {
            return Err(Error::corrupt(STAGE, format!("the parts hold {start} of {length} along dimension {axis}")));
        }
        Ok(Some(Self { dtype, shape, axis, parts, decoded_crc32c: u32::from_le_bytes(*decoded) }))
    }

    pub(super) fn header(self) -> Header {
        Header { dtype: self.dtype, shape: self.shape, codec: NAME, decoded_crc32c: self.decoded_crc32c }
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The samples of a region that lies inside, from the parts that it touches.
    pub(super) fn decode(&self, region: &Region) -> Result<Samples> {
        lay_out(self.axis, &self.shape, self.dtype, &self.parts, region)
    }
}

/// The samples of `region` of a chunk of `shape`, part by part.
fn lay_out(axis: usize, shape: &[usize], dtype: Dtype, parts: &[Part<'_>], region: &Region) -> Result<Samples> {
    let n = n_samples(&region.count).unwrap_or(usize::MAX);
    let mut out = match_dtype!(dtype, T => crate::try_vec(n, T::default()).map(crate::Sample::wrap))?;
    let (low, high) = (region.start[axis], region.start[axis] + region.count[axis]);
    for part in parts {
        let own = &part.header.shape;
        let first = part.start[axis];
        let (from, to) = (low.max(first), high.min(first + own[axis]));
        if from >= to {
            continue;
        }
        let mut inner = region.clone();
        (inner.start[axis], inner.count[axis]) = (from - first, to - from);
        // A part that is wanted whole is held against its own checksum; the region may still be less than the chunk.
        let x = match inner.is_all(own) {
            true => decode_chunk(part.payload, own)?,
            false => open(part.payload)?.decode(own, &inner)?,
        };
        let mut at = vec![0; shape.len()];
        at[axis] = from - low;
        out.paste(&region.count, &at, &x, &inner.count)?;
    }
    Ok(out)
}
