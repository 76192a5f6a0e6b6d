//! Tiles to bytes: differences (predictor 2 for integers, 3 for floats) where they help, then DEFLATE.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

/// What is done to samples before they are compressed, by the numbers of tag 317.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predictor {
    None = 1,
    Horizontal = 2,
    Float = 3,
}

/// A tile of one band, little-endian samples of `size` bytes in rows of `row_bytes`, compressed.
pub(super) fn tile(
    mut samples: Vec<u8>,
    row_bytes: usize,
    size: usize,
    predictor: Predictor,
) -> std::io::Result<Vec<u8>> {
    for row in samples.chunks_exact_mut(row_bytes) {
        match predictor {
            Predictor::None => {}
            Predictor::Horizontal => predict(row, size),
            Predictor::Float => predict_float(row, size),
        }
    }
    let mut out = ZlibEncoder::new(Vec::new(), Compression::default());
    out.write_all(&samples)?;
    out.finish()
}

/// The predictor that suits a tile: values that are few and far between are smaller without.
pub(super) fn choose(samples: &[u8], row_bytes: usize, size: usize, float: bool) -> std::io::Result<Predictor> {
    let with = if float { Predictor::Float } else { Predictor::Horizontal };
    let len = |p| tile(samples.to_vec(), row_bytes, size, p).map(|coded| coded.len());
    Ok(if len(Predictor::None)? < len(with)? { Predictor::None } else { with })
}

/// Differences to the sample before, from the end, so that each is still there when it is needed.
fn predict(row: &mut [u8], size: usize) {
    for at in (size..row.len()).step_by(size).rev() {
        let mut borrow = 0;
        for i in at..at + size {
            let difference = i16::from(row[i]) - i16::from(row[i - size]) - borrow;
            row[i] = difference as u8;
            borrow = i16::from(difference < 0);
        }
    }
}

/// The bytes of all samples put together by significance, high ones first, then their differences.
fn predict_float(row: &mut [u8], size: usize) {
    let n = row.len() / size;
    let samples = row.to_vec();
    for (i, sample) in samples.chunks_exact(size).enumerate() {
        for (k, byte) in sample.iter().enumerate() {
            row[(size - 1 - k) * n + i] = *byte;
        }
    }
    for i in (1..row.len()).rev() {
        row[i] = row[i].wrapping_sub(row[i - 1]);
    }
}
