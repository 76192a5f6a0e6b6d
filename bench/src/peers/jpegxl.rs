//! JPEG XL by libjxl, lossless: planes one below the other, or as the channels of one image.
#![allow(unsafe_code)] // the library has no safe interface

use std::mem::MaybeUninit;
use std::ptr::null;

use anyhow::{Result, ensure};
use jpegxl_sys::common::types::{JxlBitDepth, JxlBitDepthType, JxlBool, JxlDataType, JxlEndianness, JxlPixelFormat};
use jpegxl_sys::decode as dec;
use jpegxl_sys::encoder::encode as enc;
use jpegxl_sys::encoder::encode::JxlEncoderFrameSettingId as Set;
use jpegxl_sys::metadata::codestream_header::{JxlBasicInfo, JxlExtraChannelInfo, JxlExtraChannelType};

use super::planes::{Layout, PlaneCoder};

/// Lossless JPEG XL.
#[derive(Debug)]
pub struct JpegXl {
    /// Where the planes go.
    pub mode: Mode,
}

/// Arrangements of the planes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// One gray image, planes one below the other.
    Stacked,
    /// One image; three planes are its colors, else the first is gray and the others are extra channels that see those before.
    Channels,
}

/// All that are compared.
pub const MODES: [Mode; 2] = [Mode::Stacked, Mode::Channels];
/// Most channels: beyond, encoders take long and gain nothing.
const CHANNELS: usize = 256;
/// Up to so many samples effort 9 is affordable, else 7.
const SMALL: usize = 1 << 20;

/// Size of the image, and how many channels are colors and how many are beside.
struct Shape {
    width: usize,
    height: usize,
    colors: usize,
    extra: usize,
}

impl JpegXl {
    fn shape(&self, layout: Layout) -> Shape {
        let Layout { count, height, width } = layout;
        match self.mode {
            Mode::Stacked => Shape { width, height: count * height, colors: 1, extra: 0 },
            Mode::Channels if count == 3 => Shape { width, height, colors: 3, extra: 0 },
            Mode::Channels => Shape { width, height, colors: 1, extra: count - 1 },
        }
    }
}

fn pixels(channels: usize) -> JxlPixelFormat {
    let (data_type, endianness) = (JxlDataType::Uint16, JxlEndianness::Native);
    JxlPixelFormat { num_channels: channels as u32, data_type, endianness, align: 0 }
}

/// Buffers hold the numbers of the code stream, not fractions of 65535.
const AS_CODED: JxlBitDepth =
    JxlBitDepth { r#type: JxlBitDepthType::FromCodestream, bits_per_sample: 0, exponent_bits_per_sample: 0 };

/// Planes [c, y, x] as pixels [y, x, c], or back.
fn interleaved(planes: &[u16], channels: usize) -> Vec<u16> {
    let n = planes.len() / channels;
    (0..planes.len()).map(|i| planes[i % channels * n + i / channels]).collect()
}

fn planar(pixels: &[u16], channels: usize) -> Vec<u16> {
    let n = pixels.len() / channels;
    (0..pixels.len()).map(|i| pixels[i % n * channels + i / n]).collect()
}

fn ok(status: enc::JxlEncoderStatus) -> Result<()> {
    ensure!(status == enc::JxlEncoderStatus::Success, "libjxl's encoder failed");
    Ok(())
}

struct Encoder(*mut enc::JxlEncoder);

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: from the library, freed once.
        unsafe { enc::JxlEncoderDestroy(self.0) }
    }
}

struct Decoder(*mut dec::JxlDecoder);

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: from the library, freed once.
        unsafe { dec::JxlDecoderDestroy(self.0) }
    }
}

impl PlaneCoder for JpegXl {
    fn coder(&self) -> &'static str {
        "JPEG XL"
    }

    fn mode(&self) -> &'static str {
        match self.mode {
            Mode::Stacked => "stacked",
            Mode::Channels => "channels",
        }
    }

    fn takes(&self, layout: Layout) -> bool {
        self.mode == Mode::Stacked || (2..=CHANNELS).contains(&layout.count)
    }

    fn encode(&self, samples: &[u16], layout: Layout, bits: u32) -> Result<Vec<u8>> {
        ensure!(samples.len() == layout.len(), "planes do not fit the samples");
        let s = self.shape(layout);
        let n = s.width * s.height;
        let (colors, extra) = samples.split_at(s.colors * n);
        let colors = interleaved(colors, s.colors);
        // Buffers of 16 bits are refused for images of 8 or less.
        let bits = bits.max(9);
        // SAFETY: structures are filled in by the library before they are read; every buffer has the number of bytes handed over
        // with it and outlives the call that copies it.
        unsafe {
            let e = Encoder(enc::JxlEncoderCreate(null()));
            ensure!(!e.0.is_null(), "libjxl has no memory");
            let mut info = MaybeUninit::<JxlBasicInfo>::uninit();
            enc::JxlEncoderInitBasicInfo(info.as_mut_ptr());
            let mut info = info.assume_init();
            (info.xsize, info.ysize, info.bits_per_sample) = (s.width as u32, s.height as u32, bits);
            (info.num_color_channels, info.num_extra_channels) = (s.colors as u32, s.extra as u32);
            info.uses_original_profile = JxlBool::True;
            ok(enc::JxlEncoderSetCodestreamLevel(e.0, 10))?;
            ok(enc::JxlEncoderSetBasicInfo(e.0, &info))?;
            for i in 0..s.extra {
                let mut channel = MaybeUninit::<JxlExtraChannelInfo>::uninit();
                enc::JxlEncoderInitExtraChannelInfo(JxlExtraChannelType::Optional, channel.as_mut_ptr());
                let mut channel = channel.assume_init();
                channel.bits_per_sample = bits;
                ok(enc::JxlEncoderSetExtraChannelInfo(e.0, i, &channel))?;
            }
            let mut color = MaybeUninit::uninit();
            enc::JxlColorEncodingSetToSRGB(color.as_mut_ptr(), JxlBool::from(s.colors == 1));
            ok(enc::JxlEncoderSetColorEncoding(e.0, color.as_ptr()))?;
            let frame = enc::JxlEncoderFrameSettingsCreate(e.0, null());
            ensure!(!frame.is_null(), "libjxl has no memory");
            ok(enc::JxlEncoderSetFrameLossless(frame, JxlBool::True))?;
            ok(enc::JxlEncoderSetFrameBitDepth(frame, &AS_CODED))?;
            let effort = if samples.len() <= SMALL { 9 } else { 7 };
            ok(enc::JxlEncoderFrameSettingsSetOption(frame, Set::Effort, effort))?;
            if s.extra > 0 {
                ok(enc::JxlEncoderFrameSettingsSetOption(frame, Set::ModularNbPrevChannels, s.extra.min(3) as i64))?;
            }
            ok(enc::JxlEncoderAddImageFrame(frame, &pixels(s.colors), colors.as_ptr().cast(), 2 * colors.len()))?;
            for (i, plane) in extra.chunks_exact(n).enumerate() {
                let bytes = plane.as_ptr().cast();
                ok(enc::JxlEncoderSetExtraChannelBuffer(frame, &pixels(1), bytes, 2 * n, i as u32))?;
            }
            enc::JxlEncoderCloseInput(e.0);
            output(&e)
        }
    }

    fn decode(&self, bytes: &[u8], layout: Layout, _bits: u32) -> Result<Vec<u16>> {
        use dec::JxlDecoderStatus as Status;
        let s = self.shape(layout);
        let n = s.width * s.height;
        let mut colors = vec![0u16; s.colors * n];
        let mut extra = vec![0u16; s.extra * n];
        // SAFETY: buffers have the sizes handed over, which the image's own are compared with by the library, and outlive the loop.
        unsafe {
            let d = Decoder(dec::JxlDecoderCreate(null()));
            ensure!(!d.0.is_null(), "libjxl has no memory");
            let good = |status: Status| -> Result<()> {
                ensure!(status == Status::Success, "libjxl's decoder failed");
                Ok(())
            };
            good(dec::JxlDecoderSubscribeEvents(d.0, Status::FullImage as i32))?;
            good(dec::JxlDecoderSetInput(d.0, bytes.as_ptr(), bytes.len()))?;
            dec::JxlDecoderCloseInput(d.0);
            loop {
                match dec::JxlDecoderProcessInput(d.0) {
                    Status::NeedImageOutBuffer => {
                        let (to, len) = (colors.as_mut_ptr().cast(), 2 * colors.len());
                        good(dec::JxlDecoderSetImageOutBuffer(d.0, &pixels(s.colors), to, len))?;
                        good(dec::JxlDecoderSetImageOutBitDepth(d.0, &AS_CODED))?;
                        for (i, plane) in extra.chunks_exact_mut(n).enumerate() {
                            let to = plane.as_mut_ptr().cast();
                            good(dec::JxlDecoderSetExtraChannelBuffer(d.0, &pixels(1), to, 2 * n, i as u32))?;
                        }
                    }
                    Status::FullImage => {}
                    status => break good(status)?,
                }
            }
        }
        let mut out = planar(&colors, s.colors);
        out.append(&mut extra);
        Ok(out)
    }
}

/// All that the encoder has to say.
fn output(e: &Encoder) -> Result<Vec<u8>> {
    let mut out = vec![0; 1 << 16];
    let mut used = 0;
    loop {
        let mut free = out.len() - used;
        let mut next = out[used..].as_mut_ptr();
        // SAFETY: `next` points at `free` bytes of `out`.
        let status = unsafe { enc::JxlEncoderProcessOutput(e.0, &mut next, &mut free) };
        used = out.len() - free;
        if status != enc::JxlEncoderStatus::NeedMoreOutput {
            ok(status)?;
            out.truncate(used);
            return Ok(out);
        }
        out.resize(2 * out.len(), 0);
    }
}
