//! JPEG 2000 by OpenJPEG: one reversible code stream whose components are the planes.
#![allow(unsafe_code)] // the library has no safe interface

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr::null_mut;

use anyhow::{Result, ensure};
use openjpeg_sys as opj;

use super::planes::{Layout, PlaneCoder};

/// Lossless JPEG 2000: the 5/3 wavelet, one quality layer.
#[derive(Debug)]
pub struct Jpeg2000;

/// Most components of a code stream.
const COMPONENTS: usize = 16384;

impl PlaneCoder for Jpeg2000 {
    fn coder(&self) -> &'static str {
        "JPEG 2000"
    }

    fn takes(&self, layout: Layout) -> bool {
        layout.count <= COMPONENTS
    }

    fn encode(&self, samples: &[u16], layout: Layout, bits: u32) -> Result<Vec<u8>> {
        let image = Image::of(samples, layout, bits)?;
        let mut file = File { bytes: Vec::new(), at: 0 };
        let stream = Stream::over(&mut file, false)?;
        // SAFETY: the structure is filled in by the library before it is read; codec, image and stream are valid and outlive the calls.
        let done = unsafe {
            let codec = Codec(opj::opj_create_compress(opj::CODEC_FORMAT::OPJ_CODEC_J2K));
            ensure!(!codec.0.is_null(), "OpenJPEG has no memory");
            let mut p = MaybeUninit::<opj::opj_cparameters>::zeroed();
            opj::opj_set_default_encoder_parameters(p.as_mut_ptr());
            let mut p = p.assume_init();
            p.tcp_numlayers = 1;
            p.cp_disto_alloc = 1;
            p.numresolution = resolutions(layout);
            opj::opj_setup_encoder(codec.0, &mut p, image.0) != 0
                && opj::opj_start_compress(codec.0, image.0, stream.0) != 0
                && opj::opj_encode(codec.0, stream.0) != 0
                && opj::opj_end_compress(codec.0, stream.0) != 0
        };
        drop(stream);
        ensure!(done, "OpenJPEG failed");
        Ok(file.bytes)
    }

    fn decode(&self, bytes: &[u8], layout: Layout, _bits: u32) -> Result<Vec<u16>> {
        let mut file = File { bytes: bytes.to_vec(), at: 0 };
        let stream = Stream::over(&mut file, true)?;
        let mut image = Image(null_mut());
        // SAFETY: as above; the image is created by the library and freed by `Image`.
        let done = unsafe {
            let codec = Codec(opj::opj_create_decompress(opj::CODEC_FORMAT::OPJ_CODEC_J2K));
            ensure!(!codec.0.is_null(), "OpenJPEG has no memory");
            let mut p = MaybeUninit::<opj::opj_dparameters>::zeroed();
            opj::opj_set_default_decoder_parameters(p.as_mut_ptr());
            opj::opj_setup_decoder(codec.0, p.as_mut_ptr()) != 0
                && opj::opj_read_header(stream.0, codec.0, &mut image.0) != 0
                && opj::opj_decode(codec.0, stream.0, image.0) != 0
                && opj::opj_end_decompress(codec.0, stream.0) != 0
        };
        drop(stream);
        ensure!(done, "OpenJPEG failed");
        image.samples(layout)
    }
}

/// Resolutions that the shorter side allows, at most the library's default of six.
fn resolutions(layout: Layout) -> i32 {
    (layout.height.min(layout.width).max(1).ilog2() + 1).min(6) as i32
}

struct Codec(*mut opj::opj_codec_t);

impl Drop for Codec {
    fn drop(&mut self) {
        // SAFETY: null or from the library, freed once.
        unsafe { opj::opj_destroy_codec(self.0) }
    }
}

struct Image(*mut opj::opj_image_t);

impl Image {
    fn of(samples: &[u16], layout: Layout, bits: u32) -> Result<Self> {
        ensure!(samples.len() == layout.len(), "planes do not fit the samples");
        let (w, h) = (layout.width as u32, layout.height as u32);
        let part = opj::opj_image_comptparm { dx: 1, dy: 1, w, h, x0: 0, y0: 0, prec: bits, bpp: bits, sgnd: 0 };
        let mut parts = vec![part; layout.count];
        let space = opj::COLOR_SPACE::OPJ_CLRSPC_UNSPECIFIED;
        // SAFETY: as many descriptions as named; the library copies them and allocates w * h numbers for each component.
        unsafe {
            let image = Self(opj::opj_image_create(parts.len() as u32, parts.as_mut_ptr(), space));
            ensure!(!image.0.is_null(), "OpenJPEG has no memory");
            ((*image.0).x1, (*image.0).y1) = (w, h);
            for (i, plane) in samples.chunks_exact(layout.height * layout.width).enumerate() {
                let to = (*(*image.0).comps.add(i)).data;
                for (k, v) in plane.iter().enumerate() {
                    to.add(k).write(i32::from(*v));
                }
            }
            Ok(image)
        }
    }

    fn samples(&self, layout: Layout) -> Result<Vec<u16>> {
        let mut out = Vec::with_capacity(layout.len());
        // SAFETY: a decoded image has `numcomps` components of w * h numbers each; all three are checked first.
        unsafe {
            ensure!((*self.0).numcomps as usize == layout.count, "OpenJPEG returned another number of planes");
            for i in 0..layout.count {
                let part = &*(*self.0).comps.add(i);
                let n = part.w as usize * part.h as usize;
                ensure!(!part.data.is_null() && n == layout.height * layout.width, "OpenJPEG returned another size");
                out.extend(std::slice::from_raw_parts(part.data, n).iter().map(|v| *v as u16));
            }
        }
        Ok(out)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: from the library, freed once.
            unsafe { opj::opj_image_destroy(self.0) }
        }
    }
}

/// A file in memory that the library reads or writes through callbacks.
struct File {
    bytes: Vec<u8>,
    at: usize,
}

struct Stream<'a>(*mut opj::opj_stream_t, std::marker::PhantomData<&'a mut File>);

impl<'a> Stream<'a> {
    fn over(file: &'a mut File, input: bool) -> Result<Self> {
        // SAFETY: the stream borrows the file for as long as it exists; the callbacks get the pointer back and nobody else uses it then.
        unsafe {
            let stream = opj::opj_stream_default_create(i32::from(input));
            ensure!(!stream.is_null(), "OpenJPEG has no memory");
            opj::opj_stream_set_user_data(stream, std::ptr::from_mut(file).cast(), None);
            opj::opj_stream_set_user_data_length(stream, file.bytes.len() as u64);
            opj::opj_stream_set_read_function(stream, Some(read));
            opj::opj_stream_set_write_function(stream, Some(write));
            opj::opj_stream_set_skip_function(stream, Some(skip));
            opj::opj_stream_set_seek_function(stream, Some(seek));
            Ok(Self(stream, std::marker::PhantomData))
        }
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        // SAFETY: from the library, freed once.
        unsafe { opj::opj_stream_destroy(self.0) }
    }
}

/// What a callback returns at the end of the file.
const END: usize = usize::MAX;

// SAFETY of the four: `user` is the `File` given to `Stream::over`, alive and not in use elsewhere; `buffer` has `n` bytes.
unsafe extern "C" fn read(buffer: *mut c_void, n: usize, user: *mut c_void) -> usize {
    let file = unsafe { &mut *user.cast::<File>() };
    let rest = file.bytes.get(file.at..).unwrap_or_default();
    let n = n.min(rest.len());
    if n == 0 {
        return END;
    }
    unsafe { buffer.cast::<u8>().copy_from_nonoverlapping(rest.as_ptr(), n) };
    file.at += n;
    n
}

unsafe extern "C" fn write(buffer: *mut c_void, n: usize, user: *mut c_void) -> usize {
    let file = unsafe { &mut *user.cast::<File>() };
    let end = file.at + n;
    if end > file.bytes.len() {
        file.bytes.resize(end, 0);
    }
    file.bytes[file.at..end].copy_from_slice(unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), n) });
    file.at = end;
    n
}

unsafe extern "C" fn skip(n: i64, user: *mut c_void) -> i64 {
    let file = unsafe { &mut *user.cast::<File>() };
    file.at = file.at.saturating_add_signed(n as isize);
    n
}

unsafe extern "C" fn seek(to: i64, user: *mut c_void) -> i32 {
    let file = unsafe { &mut *user.cast::<File>() };
    file.at = to.max(0) as usize;
    1
}
