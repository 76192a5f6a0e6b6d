//! Matrices of 16-bit integers in MATLAB files of version 5.
//!
//! # Algorithm
//! 1. After 128 bytes of header come elements: type and length (u32 each), then data, padded to 8 bytes unless compressed.
//! 2. An element of type 15 is a zlib stream that holds one element; one of type 14 is a matrix.
//! 3. A matrix is again elements: flags, lengths of its dimensions, name, samples; a short one has type and length in two u16.
//!
//! # Shapes     column-major: dimensions come back reversed, and so in C order
//! # Reference  MathWorks, MAT-File Format, chapter 1

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use flate2::read::ZlibDecoder;
use lithify_codec::{Sample, Samples};

const HEADER: usize = 128;
const COMPRESSED: u32 = 15;
const MATRIX: u32 = 14;
const INT16: u32 = 3;
const UINT16: u32 = 4;
const INT32: u32 = 5;

/// Shape (slowest dimension first) and samples of the matrix called `name`.
pub fn read(path: &Path, name: &str) -> Result<(Vec<usize>, Samples)> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let mut rest = bytes.get(HEADER..).unwrap_or_default();
    while let Some(element) = element(&mut rest, true) {
        let unpacked;
        let mut inner = element;
        if element.kind == COMPRESSED {
            let mut out = Vec::new();
            ZlibDecoder::new(element.data).read_to_end(&mut out)?;
            unpacked = out;
            inner = self::element(&mut unpacked.as_slice(), false).context("an empty element")?;
        }
        if inner.kind == MATRIX
            && let Some(found) = matrix(inner.data, name)
        {
            return found.with_context(|| path.display().to_string());
        }
    }
    bail!("{} has no matrix {name}", path.display())
}

#[derive(Clone, Copy)]
struct Element<'a> {
    kind: u32,
    data: &'a [u8],
}

/// The next element of `rest`; `outer` ones are not padded where they are compressed.
fn element<'a>(rest: &mut &'a [u8], outer: bool) -> Option<Element<'a>> {
    let (head, body) = rest.split_first_chunk::<8>()?;
    let word = |i: usize| u32::from_le_bytes(std::array::from_fn(|k| head[4 * i + k]));
    let (kind, len) = (word(0), word(1) as usize);
    if kind >> 16 != 0 {
        let data = rest.get(4..4 + (kind >> 16) as usize)?;
        *rest = body;
        return Some(Element { kind: kind & 0xffff, data });
    }
    let data = body.get(..len)?;
    let padded = if outer && kind == COMPRESSED { len } else { len.next_multiple_of(8) };
    *rest = body.get(padded..).unwrap_or_default();
    Some(Element { kind, data })
}

/// Shape and samples, if the matrix has that name.
fn matrix(mut rest: &[u8], name: &str) -> Option<Result<(Vec<usize>, Samples)>> {
    let _flags = element(&mut rest, false)?;
    let dims = element(&mut rest, false).filter(|d| d.kind == INT32)?;
    if element(&mut rest, false)?.data != name.as_bytes() {
        return None;
    }
    let samples = element(&mut rest, false)?;
    let shape = i32::read_le(dims.data).into_iter().rev().map(|n| n.max(0) as usize).collect();
    let samples = match samples.kind {
        INT16 => Samples::I16(i16::read_le(samples.data)),
        UINT16 => Samples::U16(u16::read_le(samples.data)),
        kind => return Some(Err(anyhow::anyhow!("samples of type {kind}"))),
    };
    Some(Ok((shape, samples)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_matrix_is_read() {
        let mut body = Vec::new();
        let mut add = |kind: u32, data: &[u8]| {
            body.extend(kind.to_le_bytes());
            body.extend((data.len() as u32).to_le_bytes());
            body.extend(data);
            body.resize(body.len().next_multiple_of(8), 0);
        };
        add(6, &[0; 8]);
        add(INT32, &[2, 0, 0, 0, 1, 0, 0, 0]);
        add(1, b"x");
        add(UINT16, &[7, 0, 9, 0]);
        assert_eq!(matrix(&body, "x").unwrap().unwrap(), (vec![1, 2], Samples::U16(vec![7, 9])));
        assert!(matrix(&body, "y").is_none());
    }
}
