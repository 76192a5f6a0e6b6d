//! Lossless rivals on the samples as stored: zstd after a byte shuffle, as NetCDF-4 and Zarr files use it, and pco.

use anyhow::{Context, Result, bail, ensure};
use lithify_codec::Samples;

use super::timed;
use crate::field::Field;

/// Coded size and times of one lossless coding, checked bit by bit.
#[derive(Debug, Clone)]
pub struct Lossless {
    /// Name of the coder.
    pub coder: &'static str,
    /// Coded bytes.
    pub bytes: usize,
    /// Seconds to encode.
    pub encode_s: f64,
    /// Seconds to decode.
    pub decode_s: f64,
}

/// All of them.
pub fn all(field: &Field) -> Result<Vec<Lossless>> {
    let size = field.stored.dtype().size();
    let raw = field.stored.to_le_bytes();
    Ok(vec![
        check(
            "zstd -19, shuffled",
            &raw,
            || Ok(zstd::bulk::compress(&shuffle(&raw, size), 19)?),
            |b| Ok(unshuffle(&zstd::bulk::decompress(b, raw.len())?, size)),
        )?,
        check("pco", &raw, || pco_encode(&field.stored), |b| pco_decode(b, &field.stored))?,
    ])
}

fn check(
    coder: &'static str,
    raw: &[u8],
    encode: impl FnOnce() -> Result<Vec<u8>>,
    decode: impl FnOnce(&[u8]) -> Result<Vec<u8>>,
) -> Result<Lossless> {
    let (bytes, encode_s) = timed(encode);
    let bytes = bytes.context(coder)?;
    let (back, decode_s) = timed(|| decode(&bytes));
    ensure!(back.context(coder)? == raw, "{coder} changed the data");
    Ok(Lossless { coder, bytes: bytes.len(), encode_s, decode_s })
}

fn config() -> pco::ChunkConfig {
    pco::ChunkConfig::default().with_compression_level(12)
}

fn pco_encode(x: &Samples) -> Result<Vec<u8>> {
    Ok(match x {
        Samples::F32(v) => pco::standalone::simple_compress(v, &config())?,
        Samples::F64(v) => pco::standalone::simple_compress(v, &config())?,
        Samples::I16(v) => pco::standalone::simple_compress(v, &config())?,
        _ => bail!("not compared for {}", x.dtype()),
    })
}

fn pco_decode(bytes: &[u8], like: &Samples) -> Result<Vec<u8>> {
    let x = match like {
        Samples::F32(_) => Samples::F32(pco::standalone::simple_decompress(bytes)?),
        Samples::F64(_) => Samples::F64(pco::standalone::simple_decompress(bytes)?),
        _ => Samples::I16(pco::standalone::simple_decompress(bytes)?),
    };
    Ok(x.to_le_bytes())
}

/// First bytes of all samples, then second bytes, ...
fn shuffle(raw: &[u8], size: usize) -> Vec<u8> {
    (0..size).flat_map(|k| raw.iter().skip(k).step_by(size).copied()).collect()
}

fn unshuffle(planes: &[u8], size: usize) -> Vec<u8> {
    let n = planes.len() / size;
    (0..planes.len()).map(|i| planes[i % size * n + i / size]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffling_there_and_back_changes_nothing() {
        let raw: Vec<u8> = (0..40).collect();
        assert_eq!(shuffle(&raw, 4)[..3], [0, 4, 8]);
        assert_eq!(unshuffle(&shuffle(&raw, 4), 4), raw);
    }
}
