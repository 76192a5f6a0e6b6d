//! One payload back to its chunk, or to a part of it. Nothing in a payload is trusted.

use super::join::Joined;
use super::{
    Bins, Domain, Header, KIND_LOSSLESS, KIND_LOSSY, LogSides, MAGIC, MAX_DIMS, REORDERED, finalize, read_mask, seen,
};
use crate::bits::Reader;
use crate::block::{crop, n_samples, undone};
use crate::bound::Affine;
use crate::dtype::{Dtype, Sample, Samples};
use crate::error::{Error, Result};
use crate::mask::Mask;
use crate::quantize::residual;
use crate::transform::{self, Block, Region};
use crate::{lossless, match_dtype};

/// Reads the header and checks both the payload's checksum and its form; decodes nothing.
pub fn header(payload: &[u8]) -> Result<Header> {
    if let Some(joined) = Joined::open(payload)? {
        return Ok(joined.header());
    }
    let Opened { dtype, kind, shape, mut body, .. } = open(payload)?;
    let decoded_crc32c = u32::from_le_bytes(payload[payload.len() - 8..][..4].try_into().unwrap_or_default());
    body.section("mask")?;
    let codec = match kind {
        KIND_LOSSLESS => "lossless",
        _ => transform::by_id(body.u16()?)?.name,
    };
    Ok(Header { dtype, shape, codec, decoded_crc32c })
}

pub(super) struct Opened<'a> {
    dtype: Dtype,
    kind: u8,
    shape: Vec<usize>,
    /// In which the dimensions are coded.
    order: Option<Vec<usize>>,
    n: usize,
    body: Reader<'a>,
}

/// Checks a payload that stands alone.
pub(super) fn open(payload: &[u8]) -> Result<Opened<'_>> {
    let mut r = Reader::new(payload, "payload header");
    let magic = r.take(4)?;
    if magic[..3] != MAGIC[..3] {
        return Err(Error::corrupt("payload header", "this is not a lithify payload"));
    }
    if magic[3] != MAGIC[3] {
        return Err(Error::Unsupported { what: "payload format version", id: magic[3].into() });
    }
    let Some((covered, crc)) = payload.split_last_chunk::<4>().filter(|(c, _)| c.len() >= 11) else {
        return Err(Error::Truncated { stage: "payload", at: payload.len(), needed: 15 - payload.len().min(14) });
    };
    if crc32c::crc32c(covered) != u32::from_le_bytes(*crc) {
        return Err(Error::corrupt("payload", "the checksum does not match"));
    }
    let mut r = Reader::new(&covered[..covered.len() - 4], "payload header");
    r.take(4)?;
    let dtype = Dtype::from_wire(r.u8()?)?;
    let kind = r.u8()?;
    if kind > KIND_LOSSY | REORDERED {
        return Err(Error::Unsupported { what: "payload kind", id: kind.into() });
    }
    let n_dims = usize::from(r.u8()?);
    if n_dims > MAX_DIMS {
        return Err(Error::Limit { what: "dimensions of a chunk", asked: n_dims as u64, max: MAX_DIMS as u64 });
    }
    let shape = (0..n_dims).map(|_| r.count("length of a dimension", 1 << 40)).collect::<Result<Vec<_>>>()?;
    let n = n_samples(&shape).filter(|n| n.checked_mul(8).is_some_and(|b| b < isize::MAX as usize));
    let n = n.ok_or_else(|| Error::corrupt("payload header", format!("shape {shape:?} is too large")))?;
    let order = match kind & REORDERED {
        0 => None,
        _ => Some(shape.iter().map(|_| r.u8().map(usize::from)).collect::<Result<Vec<_>>>()?),
    };
    if order.as_ref().is_some_and(|order| !(0..n_dims).all(|d| order.contains(&d))) {
        return Err(Error::corrupt("payload header", "the order of the dimensions is none"));
    }
    Ok(Opened { dtype, kind: kind & !REORDERED, shape, order, n, body: r })
}

/// The samples of a payload. `shape` is what the caller expects, so that a damaged header cannot ask for memory.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Truncated`] or [`Error::Unsupported`] if the bytes are not a whole payload of that shape.
pub fn decode_chunk(payload: &[u8], shape: &[usize]) -> Result<Samples> {
    let x = decode_region(payload, shape, &Region::all(shape))?;
    let want = header(payload)?.decoded_crc32c;
    if x.crc32c() != want {
        return Err(Error::corrupt("payload", "the decoded samples do not have the checksum of the encoder's"));
    }
    Ok(x)
}

/// The samples of a part of a payload, without reconstructing the rest where the codec allows it.
///
/// # Errors
/// As [`decode_chunk`], and [`Error::Invalid`] if the region does not lie inside `shape`.
pub fn decode_region(payload: &[u8], shape: &[usize], region: &Region) -> Result<Samples> {
    if let Some(joined) = Joined::open(payload)? {
        check_shape(joined.shape(), shape)?;
        check_region(shape, region)?;
        return joined.decode(region);
    }
    let opened = open(payload)?;
    check_shape(&opened.shape, shape)?;
    check_region(shape, region)?;
    opened.decode(shape, region)
}

/// What the codec of a payload that stands alone knows beside samples: its smooth part at places given by indices that need not be
/// whole, in stored units; `None` if it knows samples only. Between samples x_k at places k with weights w_k, which add up to 1, the value at
/// p is the sum of w_k (x_k + f(p) - f(k)).
///
/// # Errors
/// As [`decode_chunk`], and [`Error::Invalid`] if a place does not have as many indices as the chunk has dimensions.
pub fn between(payload: &[u8], places: &[Vec<f64>]) -> Result<Option<Vec<f64>>> {
    let Opened { kind, shape, order, n, mut body, .. } = open(payload)?;
    if let Some(place) = places.iter().find(|p| p.len() != shape.len()) {
        return Err(Error::invalid(format!("a place has an index for each of {shape:?}"), format!("{place:?}")));
    }
    if kind == KIND_LOSSLESS || n == 0 {
        return Ok(None);
    }
    let order = order.unwrap_or_else(|| (0..shape.len()).collect());
    let shape: Vec<usize> = order.iter().map(|&d| shape[d]).collect();
    let places: Vec<Vec<f64>> = places.iter().map(|p| order.iter().map(|&d| p[d]).collect()).collect();
    body.section("mask")?;
    let stage = transform::by_id(body.u16()?)?;
    let domain = match body.u8()? {
        0 => Domain::Linear,
        1 => {
            let affine = Affine { scale: body.f64()?, offset: body.f64()? };
            if LogSides::read(&mut body, &shape, n)?.negative.is_some() {
                // Between samples of both signs there is no logarithm.
                return Ok(None);
            }
            Domain::Log(affine)
        }
        id => return Err(Error::Unsupported { what: "domain of the transform", id: id.into() }),
    };
    let mut coded = body.section(stage.name)?;
    let known = (stage.make)(&stage.decode_params()).between(&mut coded, Block::new(&shape), &places)?;
    Ok(known.map(|f| f.into_iter().map(|w| domain.inverse::<f64>(w, false)).collect()))
}

fn check_shape(have: &[usize], shape: &[usize]) -> Result<()> {
    if have != shape {
        let what = format!("the chunk has shape {have:?}, {shape:?} was expected");
        return Err(Error::corrupt("payload header", what));
    }
    Ok(())
}

fn check_region(shape: &[usize], region: &Region) -> Result<()> {
    let fits = |d: usize| region.start[d].checked_add(region.count[d]).is_some_and(|end| end <= shape[d]);
    if region.start.len() != shape.len() || region.count.len() != shape.len() || !(0..shape.len()).all(fits) {
        return Err(Error::invalid(format!("the region must lie inside {shape:?}"), format!("{region:?}")));
    }
    Ok(())
}

impl Opened<'_> {
    /// The samples of a region that lies inside `shape`, which is the payload's own.
    pub(super) fn decode(self, shape: &[usize], region: &Region) -> Result<Samples> {
        let Opened { dtype, kind, order, n, body, .. } = self;
        let Some(order) = order else {
            return match_dtype!(dtype, T => decode_typed::<T>(body, kind, shape, n, region).map(T::wrap));
        };
        let of = |lengths: &[usize]| -> Vec<usize> { order.iter().map(|&d| lengths[d]).collect() };
        let part = Region { start: of(&region.start), count: of(&region.count) };
        let x = match_dtype!(dtype, T => decode_typed::<T>(body, kind, &of(shape), n, &part).map(T::wrap))?;
        Ok(x.reordered(&part.count, &undone(&order)))
    }
}

fn decode_typed<T: Sample>(
    mut src: Reader<'_>,
    kind: u8,
    shape: &[usize],
    n: usize,
    region: &Region,
) -> Result<Vec<T>> {
    let mask = read_mask(&mut src, shape, n)?;
    let valid = mask.as_ref().map(Mask::valid);
    let part = |x: Vec<T>| if region.is_all(shape) { x } else { crop(&x, shape, &region.start, &region.count) };
    if kind == KIND_LOSSLESS {
        let body = Reader::new(src.rest(), "lossless");
        let mut x = lossless::decode::<T>(body, n, shape, valid.as_deref())?;
        if let Some(m) = &mask {
            m.restore(&mut x);
        }
        return Ok(part(x));
    }
    let stage = transform::by_id(src.u16()?)?;
    let (domain, sides) = match src.u8()? {
        0 => (Domain::Linear, None),
        1 => {
            let affine = Affine { scale: src.f64()?, offset: src.f64()? };
            (Domain::Log(affine), Some(LogSides::read(&mut src, shape, n)?))
        }
        id => return Err(Error::Unsupported { what: "domain of the transform", id: id.into() }),
    };
    let mut coded = src.section(stage.name)?;
    let bins = match src.u8()? {
        0 => None,
        k @ (1 | 2) => Some(Bins { width: src.f64()?, integer: k == 2 }),
        id => return Err(Error::Unsupported { what: "kind of residual", id: id.into() }),
    };
    let residuals = match bins {
        Some(_) => Some(src.section("residual")?).filter(|s| s.remaining() > 0),
        None => None,
    };
    // Everything position-dependent lies over the whole chunk; only a part without any of it is decoded by itself.
    let n_escapes = src.varint()?;
    let whole = Region::all(shape);
    let alone = residuals.is_none() && sides.is_none() && mask.is_none() && n_escapes == 0;
    let wanted = if alone { region } else { &whole };
    let params = stage.decode_params();
    let seen = seen(valid.as_deref(), sides.as_ref());
    let block = Block { valid: seen.as_deref(), ..Block::new(shape) };
    let mut recon = (stage.make)(&params).decode(&mut coded, block, wanted)?;
    coded.end()?;
    if let Some(bins) = bins {
        let q = match residuals {
            Some(section) => Some(residual::decode(section, n, shape, valid.as_deref())?),
            None => None,
        };
        for (i, t) in recon.iter_mut().enumerate() {
            *t = bins.apply(bins.near(*t), q.as_ref().map_or(0, |q| q[i]));
        }
    }
    let mut y: Vec<T> = finalize(domain, &recon, sides.as_ref());
    drop(recon);
    if alone {
        src.end()?;
        return Ok(y);
    }
    if let Some(m) = &mask {
        m.restore(&mut y);
    }
    if let Some(z) = sides.as_ref().and_then(|s| s.zeros.as_ref()) {
        z.restore(&mut y);
    }
    let mut at = 0usize;
    for _ in 0..n_escapes {
        at = at.saturating_add(src.count("position of an escape", n)?);
        let bits = src.varint()?;
        *y.get_mut(at).ok_or_else(|| Error::corrupt("escapes", "a position lies outside the chunk"))? =
            T::from_bits(bits);
    }
    src.end()?;
    Ok(part(y))
}
