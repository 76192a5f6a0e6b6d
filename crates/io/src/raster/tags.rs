//! Numbers of TIFF tags, and which of them become which attributes.
//!
//! # Reference
//! TIFF 6.0, Adobe 1992; OGC 19-008r4 (GeoTIFF 1.1); GDAL's GTiff driver for 42112 and 42113

pub(super) const NEW_SUBFILE_TYPE: u16 = 254;
pub(super) const IMAGE_WIDTH: u16 = 256;
pub(super) const IMAGE_LENGTH: u16 = 257;
pub(super) const BITS_PER_SAMPLE: u16 = 258;
pub(super) const COMPRESSION: u16 = 259;
pub(super) const PHOTOMETRIC: u16 = 262;
pub(super) const FILL_ORDER: u16 = 266;
pub(super) const STRIP_OFFSETS: u16 = 273;
pub(super) const SAMPLES_PER_PIXEL: u16 = 277;
pub(super) const ROWS_PER_STRIP: u16 = 278;
pub(super) const STRIP_BYTE_COUNTS: u16 = 279;
pub(super) const PLANAR_CONFIGURATION: u16 = 284;
pub(super) const PREDICTOR: u16 = 317;
pub(super) const COLOR_MAP: u16 = 320;
pub(super) const TILE_WIDTH: u16 = 322;
pub(super) const TILE_LENGTH: u16 = 323;
pub(super) const TILE_OFFSETS: u16 = 324;
pub(super) const TILE_BYTE_COUNTS: u16 = 325;
pub(super) const EXTRA_SAMPLES: u16 = 338;
pub(super) const SAMPLE_FORMAT: u16 = 339;
pub(super) const JPEG_TABLES: u16 = 347;
pub(super) const PIXEL_SCALE: u16 = 33550;
pub(super) const TIEPOINT: u16 = 33922;
pub(super) const TRANSFORMATION: u16 = 34264;
pub(super) const GEO_KEYS: u16 = 34735;
pub(super) const GEO_DOUBLES: u16 = 34736;
pub(super) const GEO_ASCII: u16 = 34737;
pub(super) const GDAL_METADATA: u16 = 42112;
pub(super) const GDAL_NODATA: u16 = 42113;

/// Text of the file as a whole, under the names that GDAL gives it.
pub(super) const TEXTS: &[(u16, &str)] = &[
    (269, "TIFFTAG_DOCUMENTNAME"),
    (270, "TIFFTAG_IMAGEDESCRIPTION"),
    (305, "TIFFTAG_SOFTWARE"),
    (306, "TIFFTAG_DATETIME"),
    (315, "TIFFTAG_ARTIST"),
    (316, "TIFFTAG_HOSTCOMPUTER"),
    (33432, "TIFFTAG_COPYRIGHT"),
];

/// Colours, as whole numbers, attributes of the variable.
pub(super) const COLORS: &[(u16, &str)] =
    &[(PHOTOMETRIC, "PhotometricInterpretation"), (EXTRA_SAMPLES, "ExtraSamples"), (COLOR_MAP, "ColorMap")];

/// Georeferencing in doubles, attributes of the grid mapping.
pub(super) const DOUBLES: &[(u16, &str)] = &[
    (PIXEL_SCALE, "ModelPixelScale"),
    (TIEPOINT, "ModelTiepoint"),
    (TRANSFORMATION, "ModelTransformation"),
    (GEO_DOUBLES, "GeoDoubleParams"),
    (50844, "RPCCoefficient"),
];
/// The keys themselves.
pub(super) const GEO_KEYS_NAME: &str = "GeoKeyDirectory";
/// Their texts.
pub(super) const GEO_ASCII_NAME: &str = "GeoAsciiParams";

/// Tags that only say how a file is laid out or how a page is shown or printed: nothing of the data is lost without them.
const LAYOUT: &[u16] = &[
    NEW_SUBFILE_TYPE,
    255,
    IMAGE_WIDTH,
    IMAGE_LENGTH,
    BITS_PER_SAMPLE,
    COMPRESSION,
    FILL_ORDER,
    STRIP_OFFSETS,
    274,
    SAMPLES_PER_PIXEL,
    ROWS_PER_STRIP,
    STRIP_BYTE_COUNTS,
    280,
    281,
    282,
    283,
    PLANAR_CONFIGURATION,
    288,
    289,
    296,
    297,
    PREDICTOR,
    TILE_WIDTH,
    TILE_LENGTH,
    TILE_OFFSETS,
    TILE_BYTE_COUNTS,
    330,
    SAMPLE_FORMAT,
    340,
    341,
    JPEG_TABLES,
    529,
    530,
    531,
    532,
];

/// Whether a tag's contents are kept, or needed for nothing but reading the file.
pub(super) fn is_known(tag: u16) -> bool {
    let named = |table: &[(u16, &str)]| table.iter().any(|(t, _)| *t == tag);
    [GEO_KEYS, GEO_ASCII, GDAL_METADATA, GDAL_NODATA].contains(&tag)
        || LAYOUT.contains(&tag)
        || named(TEXTS)
        || named(COLORS)
        || named(DOUBLES)
}
