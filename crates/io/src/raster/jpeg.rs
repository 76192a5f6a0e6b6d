//! JPEG, whole images and pieces of TIFF alike.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Decoded images beyond this are refused.
const LARGEST: usize = 1 << 30;

/// What becomes of components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colors {
    /// Three are red, green and blue; one is gray.
    Rgb,
    /// Whatever they are.
    AsStored,
}

/// Pixels `[row, column, band]`.
pub(super) struct Image {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) bands: usize,
    pub(super) pixels: Vec<u8>,
}

/// Decodes an image that `fits` what was expected of it.
///
/// # Errors
/// A line on what is wrong.
pub(super) fn decode(bytes: Vec<u8>, colors: Colors, fits: impl Fn(&Image) -> bool) -> Result<Image, String> {
    let (mut decoder, mut image) = header(bytes, colors)?;
    if !fits(&image) {
        return Err(format!("a JPEG of {}x{}x{}", image.height, image.width, image.bands));
    }
    image.pixels = decoder.decode().map_err(|e| e.to_string())?;
    match image.pixels.len() == image.width * image.height * image.bands {
        true => Ok(image),
        false => Err(format!("{} pixels in a JPEG of {}x{}", image.pixels.len(), image.height, image.width)),
    }
}

type Decoder = JpegDecoder<ZCursor<Vec<u8>>>;

/// Reads the header: an image without its pixels, and what decodes them.
pub(super) fn header(bytes: Vec<u8>, colors: Colors) -> Result<(Decoder, Image), String> {
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(1 << 16).set_max_height(1 << 16);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|e| e.to_string())?;
    let stored = decoder.input_colorspace();
    let out = match (colors, stored) {
        (Colors::AsStored, Some(stored)) => stored,
        (Colors::Rgb, Some(ColorSpace::Luma)) => ColorSpace::Luma,
        (Colors::Rgb, Some(ColorSpace::YCbCr | ColorSpace::RGB)) => ColorSpace::RGB,
        _ => return Err(format!("a JPEG of {stored:?}, neither gray nor RGB")),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(out));
    let info = decoder.info().ok_or("a JPEG without a header")?;
    let (width, height, bands) = (usize::from(info.width), usize::from(info.height), out.num_components());
    if width * height * bands > LARGEST {
        return Err(format!("a JPEG of {height}x{width} is too large to be decoded at once"));
    }
    Ok((decoder, Image { width, height, bands, pixels: Vec::new() }))
}
