//! A chunk's bytes, as HDF5 has them, to a payload and back. Nothing in a payload or in parameters is trusted.
//!
//! Encoding:
//! 1. Bytes are brought into the order that the codec has.
//! 2. Where the chunk ends in nothing but fill values, that end is left out: at a dataset's edge HDF5 pads with them.
//! 3. The rest is coded, checked and, where the bound would be missed, stored exactly.
//!
//! HDF5 changes a part of a chunk by reading the whole and writing it anew. With a bound, every pass would add an error to what was
//! not changed. So chunks that are read are remembered, and what is kept of one comes back bit for bit (`change`).

use lithify_codec::block::{crop, n_samples};
use lithify_codec::{
    ChunkSpec, Dtype, Error, Result, Sample, Samples, decode_chunk, encode_chunk, header, match_samples,
};

use crate::params::{Dataset, Params};
use crate::{change, kept, memory};

fn dataset(params: &Params) -> Result<&Dataset> {
    params.dataset.as_ref().ok_or_else(|| {
        Error::invalid(
            "HDF5 filter lithify: this HDF5 does not let plugins see what a dataset is; give it as key 100, absent are",
            "sample type and chunk shape",
        )
    })
}

/// Swaps the bytes of each sample unless they are in the codec's order.
fn reorder(bytes: &mut [u8], dataset: &Dataset) {
    if dataset.big_endian {
        bytes.chunks_exact_mut(dataset.dtype.size()).for_each(<[u8]>::reverse);
    }
}

/// The payload of a chunk with these bytes.
///
/// # Errors
/// [`Error::Invalid`] if parameters and bytes do not fit together.
pub fn encode(params: &Params, bytes: &[u8]) -> Result<Vec<u8>> {
    let dataset = dataset(params)?;
    let (shape, dtype) = (&dataset.chunk, dataset.dtype);
    let n = n_samples(shape).and_then(|n| n.checked_mul(dtype.size()));
    if n != Some(bytes.len()) {
        return Err(Error::invalid(
            format!(
                "HDF5 filter lithify: a chunk of {dtype} {shape:?} is expected, other filters must come after it; bytes"
            ),
            bytes.len(),
        ));
    }
    let samples = if dataset.big_endian {
        let mut swapped = bytes.to_vec();
        reorder(&mut swapped, dataset);
        Samples::from_le_bytes(dtype, &swapped)
    } else {
        Samples::from_le_bytes(dtype, bytes)
    };
    let spec = params.spec(dataset)?;
    let count = match_samples!(&samples, v => without_padding(v, shape, dataset.fill));
    if adds_errors(&spec) {
        let void = void(&spec, dataset);
        let mut best = (0, None);
        for payload in memory::recall(&params.to_values()?, &samples) {
            let before = whole(&payload, dataset)?;
            let alike = match_samples!(&samples, v => kept::alike(&before, v, &void));
            if alike > best.0 {
                best = (alike, Some((payload, before)));
            }
        }
        if let Some((old, before)) = best.1
            && let Some(changed) = change::encode((&old, &before), (&samples, &count), shape, &spec, &void)?
        {
            return Ok(changed);
        }
    }
    let coded = if count == *shape {
        encode_chunk(&samples, shape, &spec)?
    } else {
        let origin = vec![0; shape.len()];
        let part = match_samples!(&samples, v => Sample::wrap(crop(v, shape, &origin, &count)));
        encode_chunk(&part, &count, &spec)?
    };
    Ok(coded.bytes)
}

/// The shape that remains of a chunk without its end of fill values, at least 1 along each dimension.
fn without_padding<T: Sample>(x: &[T], shape: &[usize], fill: u64) -> Vec<usize> {
    let n = shape.len();
    let row = shape[n - 1];
    let mut count = vec![1; n];
    for (i, values) in x.chunks_exact(row).enumerate() {
        let Some(last) = values.iter().rposition(|v| v.to_bits() != fill) else { continue };
        count[n - 1] = count[n - 1].max(last + 1);
        let mut i = i;
        for d in (0..n - 1).rev() {
            count[d] = count[d].max(i % shape[d] + 1);
            i /= shape[d];
        }
        if count == shape {
            break;
        }
    }
    count
}

/// The bytes of the whole chunk that a payload stands for.
///
/// # Errors
/// Those of [`decode_chunk`]; [`Error::Corrupt`] if the payload is not one of such a chunk, [`Error::Limit`] if the chunk is larger
/// than memory.
pub fn decode(params: &Params, payload: &[u8]) -> Result<Vec<u8>> {
    let dataset = dataset(params)?;
    let samples = whole(payload, dataset)?;
    // What cannot be written can be read all the same.
    if let Ok(spec) = params.spec(dataset)
        && adds_errors(&spec)
    {
        memory::remember(params.to_values()?, payload, &samples, &void(&spec, dataset));
    }
    let mut bytes = samples.to_le_bytes();
    reorder(&mut bytes, dataset);
    Ok(bytes)
}

/// Whether coding what was decoded adds to its error. Rounded values stay what they are when they are rounded again.
fn adds_errors(spec: &ChunkSpec) -> bool {
    !spec.tolerance.lossless && spec.tolerance.bits.is_none()
}

/// Patterns of what nobody measured: missing samples, and what HDF5 puts where nothing was written.
fn void(spec: &ChunkSpec, dataset: &Dataset) -> Vec<u64> {
    spec.missing.iter().copied().chain([dataset.fill]).collect()
}

/// The samples of the whole chunk.
fn whole(payload: &[u8], dataset: &Dataset) -> Result<Samples> {
    let (shape, dtype) = (&dataset.chunk, dataset.dtype);
    let stored = header(payload)?;
    let fits = stored.shape.len() == shape.len() && stored.shape.iter().zip(shape).all(|(s, c)| (1..=*c).contains(s));
    if stored.dtype != dtype || !fits {
        let what = format!("{} {:?} is stored where {dtype} {shape:?} is declared", stored.dtype, stored.shape);
        return Err(Error::corrupt("payload of an HDF5 chunk", what));
    }
    let n = n_samples(shape).unwrap_or(usize::MAX);
    // Asked for and given back: a damaged shape must not end the program.
    let room = n.checked_mul(dtype.size()).map(|bytes| Vec::<u8>::new().try_reserve_exact(bytes));
    if !matches!(room, Some(Ok(()))) {
        return Err(Error::Limit { what: "samples of an HDF5 chunk in memory", asked: n as u64, max: 0 });
    }
    let samples = decode_chunk(payload, &stored.shape)?;
    if stored.shape == *shape {
        return Ok(samples);
    }
    let mut padded = Samples::filled(dtype, n, dataset.fill);
    padded.paste(shape, &vec![0; shape.len()], &samples, &stored.shape)?;
    Ok(padded)
}

/// Bits of a fill value from its bytes in the dataset's order.
pub fn fill_bits(dtype: Dtype, big_endian: bool, bytes: &[u8]) -> u64 {
    let mut low_first = [0u8; 8];
    let n = dtype.size().min(bytes.len());
    low_first[..n].copy_from_slice(&bytes[..n]);
    if big_endian {
        low_first[..n].reverse();
    }
    u64::from_le_bytes(low_first)
}
