//! fpzip at full precision: lossless floating-point numbers.
#![allow(unsafe_code)] // the library has no safe interface

use anyhow::{Result, bail, ensure};
use fpzip_sys as fpz;
use lithify_codec::Samples;

use super::lossless::Exact;

/// Lossless fpzip.
#[derive(Debug)]
pub struct Fpzip;

/// Room beside the samples for what does not shrink.
const SLACK: usize = 1 << 16;

/// The four lengths of the library, fastest first.
fn sides(shape: &[usize]) -> [i32; 4] {
    let mut sides = [1; 4];
    for (d, n) in shape.iter().rev().enumerate() {
        sides[d.min(3)] *= *n as i32;
    }
    sides
}

/// Describes the array in the library's structure.
///
/// # Safety
/// `f` is valid.
unsafe fn describe(f: *mut fpz::FPZ, x: &Samples, shape: &[usize]) {
    let kind = if matches!(x, Samples::F64(_)) { fpz::FPZIP_TYPE_DOUBLE } else { fpz::FPZIP_TYPE_FLOAT };
    let [nx, ny, nz, nf] = sides(shape);
    // SAFETY: the caller's.
    unsafe {
        ((*f).type_, (*f).prec) = (kind as i32, 0);
        ((*f).nx, (*f).ny, (*f).nz, (*f).nf) = (nx, ny, nz, nf);
    }
}

impl Exact for Fpzip {
    fn coder(&self) -> &'static str {
        "fpzip"
    }

    fn takes(&self, x: &Samples, _shape: &[usize]) -> bool {
        matches!(x, Samples::F32(_) | Samples::F64(_))
    }

    fn encode(&self, x: &Samples, shape: &[usize]) -> Result<Vec<u8>> {
        let (from, size) = match x {
            Samples::F32(v) => (v.as_ptr().cast(), size_of_val(v.as_slice())),
            Samples::F64(v) => (v.as_ptr().cast(), size_of_val(v.as_slice())),
            _ => bail!("fpzip takes floating-point numbers, not {}", x.dtype()),
        };
        let mut out = vec![0u8; size + size / 2 + SLACK];
        // SAFETY: the library writes at most the length handed over and reads as many samples as the lengths say, which are all.
        let len = unsafe {
            let f = fpz::fpzip_write_to_buffer(out.as_mut_ptr().cast(), out.len());
            ensure!(!f.is_null(), "fpzip has no memory");
            describe(f, x, shape);
            let len = if fpz::fpzip_write_header(f) != 0 { fpz::fpzip_write(f, from) } else { 0 };
            fpz::fpzip_write_close(f);
            len
        };
        ensure!(len > 0, "fpzip failed");
        out.truncate(len);
        Ok(out)
    }

    fn decode(&self, bytes: &[u8], shape: &[usize], like: &Samples) -> Result<Samples> {
        let n = shape.iter().product();
        let mut x = match like {
            Samples::F64(_) => Samples::F64(vec![0.0; n]),
            _ => Samples::F32(vec![0.0; n]),
        };
        let to = match &mut x {
            Samples::F64(v) => v.as_mut_ptr().cast(),
            Samples::F32(v) => v.as_mut_ptr().cast(),
            _ => bail!("fpzip holds floating-point numbers"),
        };
        // SAFETY: the header's lengths and type are compared with those of the buffer before anything is written into it.
        let len = unsafe {
            let f = fpz::fpzip_read_from_buffer(bytes.as_ptr().cast());
            ensure!(!f.is_null(), "fpzip has no memory");
            let known = fpz::fpzip_read_header(f) != 0;
            let stored = (*f).nx as usize * (*f).ny as usize * (*f).nz as usize * (*f).nf as usize;
            let double = (*f).type_ == fpz::FPZIP_TYPE_DOUBLE as i32;
            let fits = known && stored == n && double == matches!(like, Samples::F64(_));
            let len = if fits { fpz::fpzip_read(f, to) } else { 0 };
            fpz::fpzip_read_close(f);
            len
        };
        ensure!(len > 0, "fpzip failed");
        Ok(x)
    }
}
