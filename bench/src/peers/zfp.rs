//! ZFP through libzfp: fixed accuracy (the tolerance of the paper's experiments) or fixed rate.
#![allow(unsafe_code)] // the library has no safe interface

use std::ffi::c_void;

use anyhow::{Result, bail, ensure};
use zfp_sys as zfp;

use super::Peer;
use crate::field::Field;
use crate::measure::Target;

/// ZFP in one of its modes.
#[derive(Debug)]
pub struct Zfp {
    /// What its knob means.
    pub mode: Mode,
}

/// Modes of ZFP.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// Knob = absolute tolerance; acts in powers of two.
    Accuracy,
    /// Knob = 2^-bits per value.
    Rate,
}

/// A field and a stream over a buffer; both are freed when it goes.
struct Stream<'a> {
    field: *mut zfp::zfp_field,
    stream: *mut zfp::zfp_stream,
    bits: *mut zfp::bitstream,
    /// What the two pointers inside point at.
    _borrows: std::marker::PhantomData<&'a mut [u8]>,
}

impl Zfp {
    /// Sets a stream up over `x` of `shape` (C order), writing to or reading from `buffer` once [`Stream::attach`] is called.
    fn open<'a>(&self, x: &'a mut [f32], shape: &[usize], knob: f64) -> Result<Stream<'a>> {
        ensure!(shape.iter().product::<usize>() == x.len(), "shape does not fit the samples");
        let kind = zfp::zfp_type_zfp_type_float;
        let p = x.as_mut_ptr().cast::<c_void>();
        // SAFETY: `p` points at `x.len()` floats, which is the product of the lengths handed over; `Stream` keeps `x` borrowed
        // for as long as the field exists. ZFP's x is the fastest dimension.
        let field = unsafe {
            match *shape {
                [nx] => zfp::zfp_field_1d(p, kind, nx),
                [ny, nx] => zfp::zfp_field_2d(p, kind, nx, ny),
                [nz, ny, nx] => zfp::zfp_field_3d(p, kind, nx, ny, nz),
                [nw, nz, ny, nx] => zfp::zfp_field_4d(p, kind, nx, ny, nz, nw),
                _ => bail!("ZFP takes 1 to 4 dimensions, not {}", shape.len()),
            }
        };
        // SAFETY: a null bit stream is allowed until one is set.
        let stream = unsafe { zfp::zfp_stream_open(std::ptr::null_mut()) };
        let opened = Stream { field, stream, bits: std::ptr::null_mut(), _borrows: std::marker::PhantomData };
        ensure!(!field.is_null() && !stream.is_null(), "ZFP has no memory");
        // SAFETY: `stream` is valid.
        unsafe {
            match self.mode {
                Mode::Accuracy => zfp::zfp_stream_set_accuracy(stream, knob),
                Mode::Rate => {
                    let bits = (-knob.log2()).clamp(0.125, 48.0);
                    zfp::zfp_stream_set_rate(stream, bits, kind, shape.len() as u32, 0)
                }
            }
        };
        Ok(opened)
    }
}

impl Stream<'_> {
    /// Points the stream at `buffer`, which must outlive the calls on `self`.
    fn attach(&mut self, buffer: &mut [u8]) -> Result<()> {
        // SAFETY: the buffer is valid for its length; both callers keep it alive until the stream is dropped.
        self.bits = unsafe { zfp::stream_open(buffer.as_mut_ptr().cast(), buffer.len()) };
        ensure!(!self.bits.is_null(), "ZFP has no memory");
        // SAFETY: both pointers are valid.
        unsafe {
            zfp::zfp_stream_set_bit_stream(self.stream, self.bits);
            zfp::zfp_stream_rewind(self.stream);
        }
        Ok(())
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        // SAFETY: each pointer is null or came from the library and is freed once.
        unsafe {
            if !self.field.is_null() {
                zfp::zfp_field_free(self.field);
            }
            if !self.stream.is_null() {
                zfp::zfp_stream_close(self.stream);
            }
            if !self.bits.is_null() {
                zfp::stream_close(self.bits);
            }
        }
    }
}

impl Peer for Zfp {
    fn coder(&self) -> &'static str {
        "ZFP"
    }

    fn mode(&self) -> &'static str {
        match self.mode {
            Mode::Accuracy => "accuracy",
            Mode::Rate => "rate",
        }
    }

    fn encode(&self, x: &[f32], shape: &[usize], knob: f64) -> Result<Vec<u8>> {
        // The library takes a mutable pointer, though it only reads when it compresses.
        let mut x = x.to_vec();
        let mut s = self.open(&mut x, shape, knob)?;
        // SAFETY: stream and field are valid.
        let capacity = unsafe { zfp::zfp_stream_maximum_size(s.stream, s.field) };
        let mut out = vec![0; capacity];
        s.attach(&mut out)?;
        // SAFETY: the attached buffer has the size that the library asked for.
        let len = unsafe { zfp::zfp_compress(s.stream, s.field) };
        drop(s);
        ensure!(len > 0, "ZFP failed");
        out.truncate(len);
        // A decoder has to know the knob: ZFP's own header would hold it.
        out.extend(knob.to_le_bytes());
        Ok(out)
    }

    fn decode(&self, bytes: &[u8], shape: &[usize]) -> Result<Vec<f32>> {
        let Some((body, knob)) = bytes.split_last_chunk::<8>() else { bail!("ZFP's bytes end early") };
        let mut x = vec![0f32; shape.iter().product()];
        let mut s = self.open(&mut x, shape, f64::from_le_bytes(*knob))?;
        let mut body = body.to_vec();
        // The library reads whole words.
        body.resize(body.len() + 8, 0);
        s.attach(&mut body)?;
        // SAFETY: the field has room for every value of `shape`; the buffer holds what `encode` wrote with the same settings.
        let len = unsafe { zfp::zfp_decompress(s.stream, s.field) };
        drop(s);
        ensure!(len > 0, "ZFP failed");
        Ok(x)
    }

    fn first_knob(&self, field: &Field, target: Target) -> f64 {
        match self.mode {
            Mode::Accuracy => target.rmse(field) * 4.0,
            Mode::Rate => 2f64.powi(-6),
        }
    }
}
