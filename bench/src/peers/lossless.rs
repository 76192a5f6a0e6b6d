//! Lossless rivals on the samples as stored, each checked bit by bit.

use anyhow::{Context, Result, bail};
use lithify_codec::Samples;

use super::Outcome;
use super::fpzip::Fpzip;
use super::jpeg2000::Jpeg2000;
use super::jpegls::JpegLs;
use super::jpegxl::{self, JpegXl};
use super::planes::Integers;
use crate::cost::measured;
use crate::field::Field;

/// A lossless coder in one of its modes.
pub trait Exact {
    /// Name of the library.
    fn coder(&self) -> &'static str;

    /// Which of its ways.
    fn mode(&self) -> &'static str {
        ""
    }

    /// Whether such samples can be coded at all.
    fn takes(&self, x: &Samples, shape: &[usize]) -> bool;

    /// All bytes that a decoder needs beside the shape and type.
    fn encode(&self, x: &Samples, shape: &[usize]) -> Result<Vec<u8>>;

    /// The samples back, of the type of `like`.
    fn decode(&self, bytes: &[u8], shape: &[usize], like: &Samples) -> Result<Samples>;
}

/// All of them.
fn all() -> Vec<Box<dyn Exact>> {
    let mut all: Vec<Box<dyn Exact>> =
        vec![Box::new(Pco), Box::new(Zstd), Box::new(Fpzip), Box::new(Integers(JpegLs)), Box::new(Integers(Jpeg2000))];
    all.extend(jpegxl::MODES.map(|mode| Box::new(Integers(JpegXl { mode })) as Box<dyn Exact>));
    all
}

/// Every rival that takes the field: as stored, or with gaps filled smoothly beside the exact mask, whichever is smaller.
pub fn fit_all(field: &Field) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    let filled = field.filled();
    for coder in all() {
        let mut best: Option<Outcome> = None;
        for (x, extra) in std::iter::once((&field.stored, 0)).chain(filled.iter().map(|x| (x, field.mask_bytes))) {
            let outcome = fit(coder.as_ref(), field, x, extra)?;
            best = best.into_iter().chain(outcome).min_by_key(|o| o.bytes);
        }
        outcomes.extend(best);
    }
    Ok(outcomes)
}

/// One coding; `None` where the coder does not take the samples or does not give them back.
fn fit(coder: &dyn Exact, field: &Field, x: &Samples, extra: usize) -> Result<Option<Outcome>> {
    let what = || format!("{} {} on {}", coder.coder(), coder.mode(), field.label);
    if !coder.takes(x, &field.shape) {
        return Ok(None);
    }
    let once = |_: f64| {
        let (bytes, encode) = measured(|| coder.encode(x, &field.shape));
        let bytes = bytes.with_context(what)?;
        let (back, decode) = measured(|| coder.decode(&bytes, &field.shape, x));
        let same = back.with_context(what)?.to_le_bytes() == x.to_le_bytes();
        let (l2, max_abs) = if same { (0.0, 0.0) } else { (f64::INFINITY, f64::INFINITY) };
        let (coder, mode) = (coder.coder().to_owned(), coder.mode().to_owned());
        let bytes = bytes.len() + extra;
        Ok(Outcome { coder, mode, knob: 0.0, bytes, l2, max_abs, encode, decode, decoded: Vec::new() })
    };
    let outcome = once(0.0)?;
    if outcome.max_abs > 0.0 {
        eprintln!("{}: changed the data, left out", what());
        return Ok(None);
    }
    outcome.steadied(once).map(Some)
}

/// zstd at level 19 after a byte shuffle, as NetCDF-4 and Zarr files use it.
#[derive(Debug)]
struct Zstd;

impl Exact for Zstd {
    fn coder(&self) -> &'static str {
        "zstd"
    }

    fn takes(&self, _x: &Samples, _shape: &[usize]) -> bool {
        true
    }

    fn encode(&self, x: &Samples, _shape: &[usize]) -> Result<Vec<u8>> {
        Ok(zstd::bulk::compress(&shuffle(&x.to_le_bytes(), x.dtype().size()), 19)?)
    }

    fn decode(&self, bytes: &[u8], _shape: &[usize], like: &Samples) -> Result<Samples> {
        let size = like.dtype().size();
        let raw = unshuffle(&zstd::bulk::decompress(bytes, like.len() * size)?, size);
        Ok(Samples::from_le_bytes(like.dtype(), &raw))
    }
}

/// pco at its highest level.
#[derive(Debug)]
struct Pco;

impl Exact for Pco {
    fn coder(&self) -> &'static str {
        "pco"
    }

    fn takes(&self, x: &Samples, _shape: &[usize]) -> bool {
        matches!(x, Samples::F32(_) | Samples::F64(_) | Samples::I16(_) | Samples::U16(_) | Samples::U8(_))
    }

    fn encode(&self, x: &Samples, _shape: &[usize]) -> Result<Vec<u8>> {
        let config = pco::ChunkConfig::default().with_compression_level(12).with_enable_8_bit(true);
        Ok(match x {
            Samples::F32(v) => pco::standalone::simple_compress(v, &config)?,
            Samples::F64(v) => pco::standalone::simple_compress(v, &config)?,
            Samples::I16(v) => pco::standalone::simple_compress(v, &config)?,
            Samples::U16(v) => pco::standalone::simple_compress(v, &config)?,
            Samples::U8(v) => pco::standalone::simple_compress(v, &config)?,
            _ => bail!("not compared for {}", x.dtype()),
        })
    }

    fn decode(&self, bytes: &[u8], _shape: &[usize], like: &Samples) -> Result<Samples> {
        Ok(match like {
            Samples::F32(_) => Samples::F32(pco::standalone::simple_decompress(bytes)?),
            Samples::F64(_) => Samples::F64(pco::standalone::simple_decompress(bytes)?),
            Samples::I16(_) => Samples::I16(pco::standalone::simple_decompress(bytes)?),
            Samples::U16(_) => Samples::U16(pco::standalone::simple_decompress(bytes)?),
            _ => Samples::U8(pco::standalone::simple_decompress(bytes)?),
        })
    }
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

    #[test]
    fn floats_come_back_from_every_coder_that_takes_them() {
        let shape = [2, 3, 5, 7];
        let x = Samples::F32((0..210).map(|i| (i as f32 / 9.0).sin()).collect());
        let takers: Vec<_> = all().into_iter().filter(|c| c.takes(&x, &shape)).collect();
        assert_eq!(takers.len(), 3);
        for c in takers {
            let bytes = c.encode(&x, &shape).unwrap();
            assert_eq!(c.decode(&bytes, &shape, &x).unwrap(), x, "{}", c.coder());
        }
    }
}
