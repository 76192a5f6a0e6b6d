//! The fields of the table of results: which part of which file, under which name.

use std::path::Path;

use anyhow::{Context, Result};
use lithify_codec::{Affine, Sample, Samples, match_samples};

use crate::field::{Field, cropped};

mod matlab;
mod raster;

/// Where samples come from.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// A variable of a file that `lithify-io` reads.
    Variable(&'static str, &'static str),
    /// A raster, with the value that marks missing samples where the file does not say so.
    Raster(&'static str, Option<f64>),
    /// Rasters of one place, one after the other in time.
    Series(&'static [&'static str]),
    /// A matrix of a MATLAB file.
    Matrix(&'static str, &'static str),
}

/// One field.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// For the command line.
    pub key: &'static str,
    /// For tables.
    pub label: &'static str,
    /// What kind of data it stands for.
    pub kind: &'static str,
    /// Its file.
    pub source: Source,
    /// How much of each dimension is taken: of variables the first, of images the middle; all where there is no number here.
    pub crop: &'static [usize],
}

use self::Source::{Matrix, Raster, Series, Variable};

const CESM_T: &str = "esm/cam-fv.T.3months.nc";
const CESM_TS: &str = "esm/orig.TS.100days.nc";
const CESM_SSH: &str = "esm/pop.SSH.12mon.nc";
const CESM_SE: &str = "esm/ihesp14.TS.12mon.nc";
const ICON: &str = "esm/ta_ps_850.nc";
const ERA5: &str = "esm/era5_tl31_19590102T00.nc";
const PRECIPITATION: &str = "esm/nrcan_canada_daily_pr_1990.nc";
const INTERIM: &str = "esm/eraint_uvz.nc";
const ARCTIC: &str = "esm/Arctic20_1to5Feb_2016.nc";
const ENSEMBLE: &str = "esm/era5-levels-members.grib";
const GFS: &str = "esm/gfs.t12z.pgrbf120.2p5deg.grib2";
const WAVES: &str = "esm/reduced_latlon_surface.grib2";
const SAR: &str = "eo/S1A__IW___A_20150309T173017_VV_grd_mli_geo_norm_db.tif";
const S2: &[&str] = &[
    "eo/s2_timeseries/ssl4eos12_val_0080717_0.tif",
    "eo/s2_timeseries/ssl4eos12_val_0080717_1.tif",
    "eo/s2_timeseries/ssl4eos12_val_0080717_2.tif",
    "eo/s2_timeseries/ssl4eos12_val_0080717_3.tif",
];

const fn entry(
    key: &'static str,
    label: &'static str,
    kind: &'static str,
    source: Source,
    crop: &'static [usize],
) -> Entry {
    Entry { key, label, kind, source, crop }
}

/// All fields, in the order of the tables.
#[rustfmt::skip]
pub const FIELDS: &[Entry] = &[
    entry("cesm-t", "CESM T", "smooth, levels", Variable(CESM_T, "T"), &[1]),
    entry("cesm-ts", "CESM TS, daily", "smooth, time", Variable(CESM_TS, "TS"), &[20]),
    entry("cesm-ssh", "CESM SSH, land masked", "masked, curvilinear", Variable(CESM_SSH, "SSH"), &[]),
    entry("cesm-se-ts", "CESM TS, unstructured", "unstructured, time", Variable(CESM_SE, "TS"), &[]),
    entry("icon-ta", "ICON ta, unstructured", "unstructured, masked", Variable(ICON, "ta"), &[]),
    entry("era5-t", "ERA5 temperature", "smooth, levels", Variable(ERA5, "temperature"), &[]),
    entry("era5-v", "ERA5 v wind", "rough, levels", Variable(ERA5, "v_component_of_wind"), &[]),
    entry("era5-q", "ERA5 specific humidity", "wide range", Variable(ERA5, "specific_humidity"), &[]),
    entry("era5-clw", "ERA5 cloud water", "cloud, half zeros", Variable(ERA5, "specific_cloud_liquid_water_content"), &[]),
    entry("nrcan-pr", "precipitation, masked", "precipitation", Variable(PRECIPITATION, "pr"), &[60]),
    entry("ens-z", "ERA5 z, members", "ensemble, packed at source", Variable(ENSEMBLE, "z"), &[5]),
    entry("gfs-w", "GFS vertical velocity", "rough, packed at source", Variable(GFS, "w"), &[]),
    entry("swh", "wave height, reduced grid", "one dimension, masked", Variable(WAVES, "swh"), &[]),
    entry("interim-u", "ERA-Interim u", "packed integers", Variable(INTERIM, "u"), &[1]),
    entry("arctic-temp", "Arctic ocean temperature", "packed integers, masked", Variable(ARCTIC, "temperature"), &[]),
    entry("ndvi", "Sentinel-2 NDVI series", "NDVI, clouds", Variable("eo/eolearn_TestEOPatch_NDVI.npy", "eolearn_TestEOPatch_NDVI"), &[]),
    entry("s1-vv", "Sentinel-1 VV", "SAR, speckle", Raster(SAR, None), &[]),
    entry("s1-rtc", "Sentinel-1 RTC", "SAR, half precision in double", Raster("eo/multimodal/S1RTC/282D_485L_3_3.tif", None), &[]),
    entry("s2", "Sentinel-2 L2A series", "multispectral, time", Series(S2), &[4, 12, 132, 132]),
    entry("landsat", "Landsat mosaic", "multispectral, masked", Raster("eo/mosaic_cog1.tif", None), &[3, 512, 512]),
    entry("dem", "SRTM elevation", "terrain", Raster("eo/baltoro_srtm_clip.tif", None), &[]),
    entry("radar", "radar reflectivity", "codes of 8 bits, masked", Raster("eo/radar_201609281530_FINUTM.tif", Some(255.0)), &[1, 1024, 1024]),
    entry("aerial", "aerial, 4 bands", "8 bits", Raster("eo/rgbn.tif", None), &[]),
    entry("jasper", "AVIRIS Jasper Ridge", "hyperspectral", Matrix("hyperspectral/jasperRidge2_R198.mat", "Y"), &[]),
    entry("airport", "AVIRIS airport", "hyperspectral", Matrix("hyperspectral/abu-airport-1.mat", "data"), &[205, 50]),
    entry("alphaearth", "AlphaEarth embedding", "embedding, few levels", Raster("embeddings/alphaearth_wisconsin_A14_A15_A16.tif", None), &[3, 512, 512]),
];

impl Entry {
    /// Reads the field from the development data.
    pub fn read(&self, data: &Path) -> Result<Field> {
        let (shape, samples, nodata, names) = match self.source {
            Variable(file, variable) => return Field::read(data, file, variable, self.label, self.crop),
            Raster(file, nodata) => {
                let r = raster::read(&data.join(file)).context(file)?;
                (r.shape.to_vec(), r.samples, nodata.or(r.nodata), BANDS)
            }
            Series(files) => series(data, files)?,
            Matrix(file, name) => {
                let (shape, samples) = cube(matlab::read(&data.join(file), name)?);
                (shape, samples, None, BANDS)
            }
        };
        let dims = names[names.len() - shape.len()..].iter().map(|n| (*n).to_owned()).collect();
        let count = cropped(&shape, self.crop);
        let start: Vec<usize> = shape.iter().zip(&count).map(|(n, c)| (n - c) / 2).collect();
        let samples = samples.crop(&shape, &start, &count);
        let missing = match_samples!(&samples, v => nodata.map(|n| pattern(v, n)));
        Field::new(self.label, "1", count, dims, samples, Affine::IDENTITY, missing.into_iter().collect())
            .with_context(|| self.key)
    }

    /// Its files, below the folder of the development data.
    pub fn files(&self) -> Vec<&'static str> {
        match self.source {
            Variable(file, _) | Raster(file, _) | Matrix(file, _) => vec![file],
            Series(files) => files.to_vec(),
        }
    }
}

/// Names of the dimensions of rasters, from the last.
const BANDS: &[&str] = &["time", "band", "y", "x"];

type Loaded = (Vec<usize>, Samples, Option<f64>, &'static [&'static str]);

/// Rasters of one shape, stacked.
fn series(data: &Path, files: &[&'static str]) -> Result<Loaded> {
    let rasters = files.iter().map(|f| raster::read(&data.join(f)).context(*f)).collect::<Result<Vec<_>>>()?;
    let first = rasters.first().context("no rasters")?;
    let bytes: Vec<u8> = rasters.iter().flat_map(|r| r.samples.to_le_bytes()).collect();
    let shape = std::iter::once(rasters.len()).chain(first.shape).collect();
    Ok((shape, Samples::from_le_bytes(first.samples.dtype(), &bytes), first.nodata, BANDS))
}

/// [band, x, y]: so is a matrix with three dimensions; one with two is [pixel, band] of a square scene.
fn cube((shape, samples): (Vec<usize>, Samples)) -> (Vec<usize>, Samples) {
    let &[pixels, bands] = shape.as_slice() else { return (shape, samples) };
    let side = pixels.isqrt();
    (vec![bands, side, pixels / side.max(1)], match_samples!(&samples, v => raster::by_band(v, pixels)))
}

/// Bit pattern of a number in the type of the samples.
fn pattern<T: Sample>(_of: &[T], v: f64) -> u64 {
    T::from_f64(v).to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_plain() {
        for (i, e) in FIELDS.iter().enumerate() {
            assert!(e.key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{}", e.key);
            assert!(FIELDS[..i].iter().all(|f| f.key != e.key && f.label != e.label), "{}", e.key);
        }
    }

    #[test]
    fn pixels_by_bands_become_a_cube() {
        let flat = Samples::U16((0..8).collect());
        let (shape, cube) = cube((vec![4, 2], flat));
        assert_eq!((shape, cube), (vec![2, 2, 2], Samples::U16(vec![0, 2, 4, 6, 1, 3, 5, 7])));
    }
}
