//! Rasters: GeoTIFF (with BigTIFF and COG) in and out, JPEG and PNG in.
//!
//! # Shapes
//! One variable `[band, y, x]`, called like the file. What is known of the place is kept as CF and rioxarray have it: a scalar
//! `spatial_ref` named by `grid_mapping`, coordinates `x` and `y` of the cells' centres, `_FillValue` for nodata, `long_name` for
//! the bands' descriptions. What only TIFF has (GeoKeys, tie points, GDAL's metadata) stays as attributes, and is written back.
//!
//! # Files
//! `ifd` finds tags, `layout` says where samples lie, `decode` and `encode` turn pieces (strips, tiles) into samples and back,
//! `geo` and `metadata` translate between tags and attributes, `read` and `write` are the source and the sink, `picture` is for JPEG and PNG.
//! Decompressors are libraries; the container is read here, for readers of pictures drop bands, invert colours, or hold whole images.

mod decode;
mod encode;
mod geo;
mod ifd;
mod jpeg;
mod keys;
mod layout;
mod metadata;
mod picture;
mod read;
mod tags;
#[cfg(test)]
mod tests;
mod write;
mod xml;

use crate::formats::Format;

/// The row of the format table.
pub const TIFF: Format = Format {
    name: "GeoTIFF",
    endings: &["tif", "tiff"],
    detect: |_, head| matches!(head.get(..4), Some(b"II\x2a\0" | b"MM\0\x2a" | b"II\x2b\0" | b"MM\0\x2b")),
    open: |path| Ok(Box::new(read::Reader::open(path)?)),
    create: Some(|path| Ok(Box::new(write::Writer::create(path)?))),
};

/// The row of the format table.
pub const JPEG: Format = Format {
    name: "JPEG",
    endings: &["jpg", "jpeg"],
    detect: |_, head| head.starts_with(b"\xff\xd8\xff"),
    open: |path| Ok(Box::new(picture::Picture::open_jpeg(path)?)),
    create: None,
};

/// The row of the format table.
pub const PNG: Format = Format {
    name: "PNG",
    endings: &["png"],
    detect: |_, head| head.starts_with(b"\x89PNG\r\n\x1a\n"),
    open: |path| Ok(Box::new(picture::Picture::open_png(path)?)),
    create: None,
};
