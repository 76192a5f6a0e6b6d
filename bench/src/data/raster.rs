//! GeoTIFF rasters: the first image of a file, as bands of rows.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, bail};
use lithify_codec::{Sample, Samples};
use tiff::decoder::{Decoder, DecodingResult};
use tiff::tags::Tag;

/// Tag in which GDAL keeps the no-data value, as text.
const NODATA: Tag = Tag::Unknown(42113);

/// A raster in memory.
pub struct Raster {
    /// [band, y, x].
    pub shape: [usize; 3],
    /// In the type of the file.
    pub samples: Samples,
    /// Value that marks missing samples.
    pub nodata: Option<f64>,
}

/// Reads a file whose bands are interleaved by pixel.
pub fn read(path: &Path) -> Result<Raster> {
    let file = BufReader::new(File::open(path).with_context(|| path.display().to_string())?);
    let mut decoder = Decoder::new(file)?;
    let (width, height) = decoder.dimensions()?;
    let nodata = match decoder.find_tag(NODATA)? {
        Some(value) => value.into_string()?.trim_end_matches('\0').trim().parse().ok(),
        None => None,
    };
    let n = width as usize * height as usize;
    let samples = match decoder.read_image()? {
        DecodingResult::U8(v) => by_band(&v, n),
        DecodingResult::U16(v) => by_band(&v, n),
        DecodingResult::I16(v) => by_band(&v, n),
        DecodingResult::F32(v) => by_band(&v, n),
        DecodingResult::F64(v) => by_band(&v, n),
        _ => bail!("{}: another type of samples", path.display()),
    };
    Ok(Raster { shape: [samples.len() / n, height as usize, width as usize], samples, nodata })
}

/// [pixel, band] as [band, pixel].
pub fn by_band<T: Sample>(x: &[T], pixels: usize) -> Samples {
    let bands = x.len() / pixels;
    T::wrap((0..x.len()).map(|i| x[i % pixels * bands + i / pixels]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_become_bands() {
        assert_eq!(by_band(&[1u8, 2, 3, 4, 5, 6], 3), Samples::U8(vec![1, 3, 5, 2, 4, 6]));
    }
}
