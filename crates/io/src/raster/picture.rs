//! JPEG and PNG: one image without a place. The decoded pixels are the data.
//!
//! # Shapes
//! `[band, y, x]`: one band of gray, three of red, green, blue; PNG may have one more, opacity. Palettes and shades of fewer than 8 bits
//! become what they stand for.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Mutex;

use lithify_codec::{Dtype, Samples};

use super::jpeg::{self, Colors, Image};
use super::read::{band_numbers, bands, data};
use crate::error::{Error, Result};
use crate::location::variable_name;
use crate::model::{Attribute, Group, Source, Values, check_block};

/// Decoded images beyond this are refused.
const LARGEST: usize = 1 << 30;

/// An open file: its header, and its pixels once somebody asked for them.
pub(super) struct Picture {
    root: Group,
    dtype: Dtype,
    format: &'static str,
    decode: Decode,
    path: std::path::PathBuf,
    /// Little-endian samples `[y, x, band]`.
    pixels: Mutex<Option<Vec<u8>>>,
}

type Decode = fn(&Path) -> Result<Vec<u8>>;

impl Picture {
    pub(super) fn open_jpeg(path: &Path) -> Result<Self> {
        let (_, image) = jpeg::header(whole(path)?, Colors::Rgb).map_err(|e| Error::unsupported(path, e))?;
        let decode = |path: &Path| {
            let image = jpeg::decode(whole(path)?, Colors::Rgb, |_| true).map_err(|e| Error::corrupt(path, e))?;
            Ok(image.pixels)
        };
        Ok(Self::new(path, "JPEG", &image, Dtype::U8, decode))
    }

    pub(super) fn open_png(path: &Path) -> Result<Self> {
        let reader = png_reader(path)?;
        let (color, depth) = reader.output_color_type();
        let (width, height) = reader.info().size();
        let image =
            Image { width: width as usize, height: height as usize, bands: color.samples(), pixels: Vec::new() };
        let dtype = if depth == png::BitDepth::Sixteen { Dtype::U16 } else { Dtype::U8 };
        Ok(Self::new(path, "PNG", &image, dtype, decode_png))
    }

    fn new(path: &Path, format: &'static str, image: &Image, dtype: Dtype, decode: Decode) -> Self {
        let size = (image.height, image.width);
        let numbers = |name: &str, v: u16| Attribute::numbers(name, Samples::U16(vec![v]));
        let attrs = match image.bands {
            3 => vec![numbers("PhotometricInterpretation", 2)],
            4 => vec![numbers("PhotometricInterpretation", 2), numbers("ExtraSamples", 2)],
            2 => vec![numbers("ExtraSamples", 2)],
            _ => Vec::new(),
        };
        let mut root = bands(image.bands, size);
        let mut name = variable_name(path);
        if name == "band" {
            name += "_data";
        }
        root.variables.insert(0, data(name, image.bands, size, dtype, attrs));
        Self { root, dtype, format, decode, path: path.into(), pixels: Mutex::new(None) }
    }
}

fn whole(path: &Path) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let read = File::open(path).and_then(|f| f.take(LARGEST as u64 + 1).read_to_end(&mut out));
    match read.map_err(Error::io(path))? > LARGEST {
        true => Err(Error::unsupported(path, "a JPEG of more than 1 GiB is not read; cut it into parts")),
        false => Ok(out),
    }
}

fn png_reader(path: &Path) -> Result<png::Reader<BufReader<File>>> {
    let file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    let mut decoder = png::Decoder::new_with_limits(file, png::Limits { bytes: LARGEST });
    decoder.set_transformations(png::Transformations::EXPAND);
    decoder.read_info().map_err(|e| Error::corrupt(path, e))
}

fn decode_png(path: &Path) -> Result<Vec<u8>> {
    let mut reader = png_reader(path)?;
    let len = reader.output_buffer_size().filter(|n| *n <= LARGEST);
    let len =
        len.ok_or_else(|| Error::unsupported(path, "the image is too large to be decoded at once; cut it into parts"))?;
    let mut pixels = vec![0; len];
    let info = reader.next_frame(&mut pixels).map_err(|e| Error::corrupt(path, e))?;
    pixels.truncate(info.buffer_size());
    if info.bit_depth == png::BitDepth::Sixteen {
        pixels.chunks_exact_mut(2).for_each(<[u8]>::reverse);
    }
    Ok(pixels)
}

impl Source for Picture {
    fn root(&self) -> &Group {
        &self.root
    }

    fn read(&self, path: &str, start: &[usize], count: &[usize]) -> Result<Values> {
        let path = path.trim_start_matches('/');
        let shape = &self.root.find(path)?.shape;
        check_block(path, shape, start, count)?;
        let (&[n_bands, height, width], &[band, y, x], &[n, rows, columns]) = (shape.as_slice(), start, count) else {
            return Ok(Values::Numbers(band_numbers(start[0], count[0])));
        };
        let mut pixels = self.pixels.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let pixels = match pixels.as_mut() {
            Some(pixels) => pixels,
            None => pixels.insert((self.decode)(&self.path)?),
        };
        let size = self.dtype.size();
        if pixels.len() != n_bands * height * width * size {
            return Err(Error::corrupt(&self.path, "its pixels are not as many as its header says"));
        }
        let mut out = Vec::with_capacity(n * rows * columns * size);
        for b in band..band + n {
            for r in y..y + rows {
                for c in x..x + columns {
                    let at = ((r * width + c) * n_bands + b) * size;
                    out.extend_from_slice(&pixels[at..at + size]);
                }
            }
        }
        Ok(Values::Numbers(Samples::from_le_bytes(self.dtype, &out)))
    }

    fn format(&self) -> &'static str {
        self.format
    }
}
