//! A piece of an image to samples.
//!
//! # Algorithm
//! 1. The bytes are decompressed, to as many as the piece has and no more.
//! 2. The predictor is undone, row by row.
//! 3. Samples are brought into little-endian order, and widened where no type of ours has their length.

use std::io::Read;

use lithify_codec::Dtype;

use super::ifd::Tiff;
use super::jpeg::{self, Colors, Image};
use super::layout::{Compression, Layout, Piece, Predictor};
use crate::error::Result;

/// Samples `[row, column, sample]` of a piece, little-endian bytes of the layout's type; `None` if the piece was never written.
///
/// # Errors
/// [`crate::Error::Corrupt`] with the piece's place.
pub(super) fn piece(tiff: &Tiff, layout: &Layout, p: &Piece) -> Result<Option<Vec<u8>>> {
    if p.offset == 0 || p.len == 0 {
        return Ok(None);
    }
    let row_bytes = layout.row_bytes(p.columns);
    let what = format!("the piece at row {}, column {}", p.row, p.column);
    let coded = tiff.bytes(p.offset, p.len, &what)?;
    let mut bytes =
        decompress(layout, p, coded, row_bytes * p.rows).map_err(|e| tiff.corrupt(format_args!("{what}: {e}")))?;
    if matches!(layout.compression, Compression::Jpeg { .. }) {
        return Ok(Some(bytes));
    }
    let (size, samples) = (layout.bits / 8, layout.samples());
    for row in bytes.chunks_exact_mut(row_bytes) {
        match layout.predictor {
            // The high bytes come first, whatever the file's order.
            Predictor::Float => unpredict_float(row, size, samples),
            predictor => {
                if layout.big_endian && layout.bits.is_multiple_of(8) {
                    row.chunks_exact_mut(size).for_each(<[u8]>::reverse);
                }
                if predictor == Predictor::Horizontal {
                    unpredict(row, size, samples);
                }
            }
        }
    }
    Ok(Some(widen(layout, bytes, row_bytes, p.columns * samples)))
}

/// Exactly `len` bytes.
fn decompress(layout: &Layout, p: &Piece, coded: Vec<u8>, len: usize) -> std::result::Result<Vec<u8>, String> {
    let mut out = match &layout.compression {
        Compression::None => coded,
        Compression::Deflate => inflate(flate2::read::ZlibDecoder::new(coded.as_slice()), len)?,
        Compression::Zstd => inflate(zstd::Decoder::new(coded.as_slice()).map_err(|e| e.to_string())?, len)?,
        Compression::Lzw => unlzw(&coded, len)?,
        Compression::PackBits => unpack_bits(&coded, len),
        Compression::Jpeg { tables, ycbcr } => {
            let colors = if *ycbcr { Colors::Rgb } else { Colors::AsStored };
            let fits = |i: &Image| i.width == p.columns && i.height >= p.rows && i.bands == layout.samples();
            jpeg::decode(joined(tables, coded), colors, fits)?.pixels
        }
    };
    if out.len() < len {
        return Err(format!("{} bytes instead of {len}", out.len()));
    }
    out.truncate(len);
    Ok(out)
}

fn inflate(reader: impl Read, len: usize) -> std::result::Result<Vec<u8>, String> {
    // Grows with what comes, not with what a header says will come.
    let mut out = Vec::new();
    reader.take(len as u64).read_to_end(&mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

fn unlzw(coded: &[u8], len: usize) -> std::result::Result<Vec<u8>, String> {
    let mut decoder = weezl::decode::Decoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8);
    let (mut out, mut rest, mut n) = (vec![0; len], coded, 0);
    loop {
        let step = decoder.decode_bytes(rest, &mut out[n..]);
        n += step.consumed_out;
        rest = &rest[step.consumed_in..];
        match step.status.map_err(|e| e.to_string())? {
            weezl::LzwStatus::Ok if n < len && step.consumed_in + step.consumed_out > 0 => {}
            // The end mark, or the end of the bytes, which is as good if there are enough.
            _ => break,
        }
    }
    out.truncate(n);
    Ok(out)
}

/// Runs: `n` in 0..=127 and n + 1 bytes as they are, or -n in 1..=127 and one byte n + 1 times.
fn unpack_bits(coded: &[u8], len: usize) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), coded);
    while let ([n, after @ ..], true) = (rest, out.len() < len) {
        rest = match *n as i8 {
            n @ 0.. => {
                let (run, after) = after.split_at((n as usize + 1).min(after.len()));
                out.extend_from_slice(run);
                after
            }
            i8::MIN => after,
            n => {
                let Some((value, after)) = after.split_first() else { break };
                out.resize(out.len() + usize::from(n.unsigned_abs()) + 1, *value);
                after
            }
        };
    }
    out
}

/// A JPEG stream with the tables of the file: both begin and end with two-byte marks, of which one pair is left.
fn joined(tables: &[u8], coded: Vec<u8>) -> Vec<u8> {
    match (tables.split_last_chunk::<2>(), coded.get(2..)) {
        (Some((tables, _)), Some(coded)) => [tables, coded].concat(),
        _ => coded,
    }
}

/// Sums of differences between samples of the same band, in little-endian bytes.
fn unpredict(row: &mut [u8], size: usize, samples: usize) {
    let back = size * samples;
    for at in (back..row.len()).step_by(size) {
        let mut carry = 0;
        for i in at..at + size {
            let sum = u16::from(row[i]) + u16::from(row[i - back]) + carry;
            row[i] = sum as u8;
            carry = sum >> 8;
        }
    }
}

/// Sums of bytes, then the bytes of each sample from where they were put together by significance.
fn unpredict_float(row: &mut [u8], size: usize, samples: usize) {
    for i in samples..row.len() {
        row[i] = row[i].wrapping_add(row[i - samples]);
    }
    let n = row.len() / size;
    let planes = row.to_vec();
    for (i, sample) in row.chunks_exact_mut(size).enumerate() {
        for (k, byte) in sample.iter_mut().enumerate() {
            *byte = planes[(size - 1 - k) * n + i];
        }
    }
}

/// `n` samples in each row of `row_bytes`, in the bytes of the layout's type.
fn widen(layout: &Layout, bytes: Vec<u8>, row_bytes: usize, n: usize) -> Vec<u8> {
    let bits = layout.bits;
    if layout.dtype == Dtype::F32 && bits == 16 {
        let half = |b: &[u8]| half::f16::from_le_bytes([b[0], b[1]]).to_f32().to_le_bytes();
        return bytes.chunks_exact(2).flat_map(half).collect();
    }
    if bits.is_multiple_of(8) {
        return bytes;
    }
    // High bits first, rows begin with a byte.
    let bit = |row: &[u8], at: usize| u16::from(row[at / 8] >> (7 - at % 8) & 1);
    let sample = |row: &[u8], i: usize| (i * bits..(i + 1) * bits).fold(0, |v, at| v << 1 | bit(row, at));
    let mut out = Vec::with_capacity(bytes.len() / bits.max(1) * 16);
    for row in bytes.chunks_exact(row_bytes) {
        for i in 0..n {
            out.extend_from_slice(&sample(row, i).to_le_bytes()[..layout.dtype.size()]);
        }
    }
    out
}
