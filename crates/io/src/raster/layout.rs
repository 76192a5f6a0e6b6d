//! Where the samples of an image lie: pieces (strips or tiles), planes, types. Everything that cannot be read is refused here.

use lithify_codec::Dtype;

use super::ifd::{Directory, Tiff};
use super::tags::*;
use crate::error::Result;

/// Decoded pieces beyond this are refused: each must fit in memory, several times over.
const LARGEST_PIECE: u64 = 1 << 30;
/// Uncompressed strips are read in parts of about this size, for some writers make one strip of everything.
const PART_BYTES: usize = 4 << 20;

/// How pieces are compressed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Compression {
    None,
    Lzw,
    Deflate,
    PackBits,
    Zstd,
    /// Baseline JPEG, with tables that all pieces share (or none), and whether its components are YCbCr that stand for RGB.
    Jpeg {
        tables: Vec<u8>,
        ycbcr: bool,
    },
}

/// What was done to samples before they were compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predictor {
    None,
    /// Differences along rows.
    Horizontal,
    /// Differences of bytes along rows, the high bytes of all samples first.
    Float,
}

/// One image.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) bands: usize,
    /// Bits of a stored sample.
    pub(super) bits: usize,
    /// What samples are once they are read: half-precision floats are widened, and so are integers of other lengths than 8 to 64.
    pub(super) dtype: Dtype,
    /// Each band is in pieces of its own.
    pub(super) planar: bool,
    pub(super) compression: Compression,
    pub(super) predictor: Predictor,
    pub(super) big_endian: bool,
    /// Samples of a piece, down and across; strips are as wide as the image.
    pub(super) piece: (usize, usize),
    tiled: bool,
    offsets: Vec<u64>,
    counts: Vec<u64>,
}

/// A strip, a part of one, or a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Piece {
    /// Where it is in the file; nowhere if it was never written.
    pub(super) offset: u64,
    pub(super) len: u64,
    /// Its first row and column in the image.
    pub(super) row: usize,
    pub(super) column: usize,
    /// Rows and columns that are stored, beyond the image's edge in tiles.
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Layout {
    /// From the tags of an image.
    ///
    /// # Errors
    /// [`crate::Error::Unsupported`] for what is not read, with what to do; [`crate::Error::Corrupt`] for tags that contradict each other.
    pub(super) fn of(tiff: &Tiff, d: &Directory) -> Result<Self> {
        let size = |tag, what: &str| match tiff.one(d, tag, 0)? {
            0 => Err(tiff.corrupt(format_args!("the {what} is missing or zero"))),
            n => Ok(n as usize),
        };
        let (width, height) = (size(IMAGE_WIDTH, "width")?, size(IMAGE_LENGTH, "height")?);
        let bands = tiff.one(d, SAMPLES_PER_PIXEL, 1)? as usize;
        if bands == 0 || bands > usize::from(u16::MAX) {
            return Err(tiff.corrupt(format_args!("{bands} samples per pixel")));
        }
        let planar = bands > 1 && tiff.one(d, PLANAR_CONFIGURATION, 1)? == 2;
        let (bits, dtype) = sample_type(tiff, d)?;
        let compression = compression(tiff, d, bits)?;
        let float = dtype.is_float();
        let predictor = match (tiff.one(d, PREDICTOR, 1)?, bits) {
            (1, _) => Predictor::None,
            (2, 8 | 16 | 32 | 64) => Predictor::Horizontal,
            (3, 16 | 32 | 64) if float => Predictor::Float,
            (n, _) => return Err(tiff.unsupported(format_args!("predictor {n} of {bits}-bit samples; {CONVERT}"))),
        };
        // As libtiff has it, a predictor belongs to the compression.
        let predicts = matches!(compression, Compression::Lzw | Compression::Deflate | Compression::Zstd);
        let predictor = if predicts { predictor } else { Predictor::None };
        let tiled = d.has(TILE_OFFSETS);
        let piece = match tiled {
            true => (size(TILE_LENGTH, "tiles' height")?, size(TILE_WIDTH, "tiles' width")?),
            false => ((tiff.one(d, ROWS_PER_STRIP, u32::MAX)? as usize).clamp(1, height), width),
        };
        let (o, c) = if tiled { (TILE_OFFSETS, TILE_BYTE_COUNTS) } else { (STRIP_OFFSETS, STRIP_BYTE_COUNTS) };
        let (offsets, mut counts) = (tiff.unsigned(d, o)?, tiff.unsigned(d, c)?);
        let samples = if planar { 1 } else { bands };
        if let ([at], [], Compression::None) = (offsets.as_slice(), counts.as_slice(), &compression) {
            // Old writers left it out where it can be told.
            counts = vec![tiff.len().saturating_sub(*at)];
        }
        let layout = Self {
            width,
            height,
            bands,
            bits,
            dtype,
            planar,
            compression,
            predictor,
            big_endian: tiff.big_endian,
            piece,
            tiled,
            offsets,
            counts,
        };
        // Widening takes up to 8 times the room; an uncompressed strip is read in parts, of a row at least.
        let rows = if layout.compression == Compression::None && !tiled { 1 } else { piece.0 };
        let decoded = (rows as u64).saturating_mul(piece.1 as u64).saturating_mul((samples * dtype.size()) as u64);
        if decoded > LARGEST_PIECE {
            let what = "its strips or tiles are too large to be decoded; cut it with gdal_translate -co TILED=YES";
            return Err(tiff.unsupported(what));
        }
        let n = layout.pieces_down().saturating_mul(layout.pieces_across());
        let n = n.saturating_mul(if planar { bands } else { 1 });
        if layout.offsets.len() < n || layout.counts.len() < n {
            let have = layout.offsets.len().min(layout.counts.len());
            return Err(tiff.corrupt(format_args!("{n} strips or tiles make the image, and it has {have}")));
        }
        Ok(layout)
    }

    /// Samples of a pixel that are stored together.
    pub(super) fn samples(&self) -> usize {
        if self.planar { 1 } else { self.bands }
    }

    /// Bytes of a row of that many pixels.
    pub(super) fn row_bytes(&self, pixels: usize) -> usize {
        pixels.saturating_mul(self.samples()).saturating_mul(self.bits).div_ceil(8)
    }

    fn pieces_down(&self) -> usize {
        self.height.div_ceil(self.piece.0)
    }

    fn pieces_across(&self) -> usize {
        self.width.div_ceil(self.piece.1)
    }

    /// The piece of a plane that has the pixel in row `y` and column `x` of the image.
    pub(super) fn piece_at(&self, plane: usize, y: usize, x: usize) -> Piece {
        let (down, across) = (y / self.piece.0, x / self.piece.1);
        let index = (plane * self.pieces_down() + down) * self.pieces_across() + across;
        let (mut row, column) = (down * self.piece.0, across * self.piece.1);
        let mut rows = if self.tiled { self.piece.0 } else { self.piece.0.min(self.height - row) };
        let (mut offset, mut len) = (self.offsets[index], self.counts[index]); // as many as `of` counted
        if self.compression == Compression::None && !self.tiled && offset != 0 {
            let row_bytes = self.row_bytes(self.width);
            let part = (PART_BYTES / row_bytes.max(1)).max(1);
            let before = (y - row) / part * part;
            (row, rows) = (row + before, part.min(rows - before));
            let from = (before as u64).saturating_mul(row_bytes as u64);
            offset = offset.saturating_add(from);
            len = len.saturating_sub(from).min((rows * row_bytes) as u64);
        }
        Piece { offset, len, row, column, rows, columns: self.piece.1 }
    }
}

/// What to do about what is not read.
const CONVERT: &str = "convert it with gdal_translate -co COMPRESS=DEFLATE";

/// Bits of a sample, and what it becomes.
fn sample_type(tiff: &Tiff, d: &Directory) -> Result<(usize, Dtype)> {
    let same = |tag, default: u64, what: &str| {
        let all = tiff.unsigned(d, tag)?;
        let first = all.first().copied().unwrap_or(default);
        match all.iter().all(|v| *v == first) {
            true => Ok(first),
            false => Err(tiff.unsupported(format_args!("bands of different {what}; put them into files of their own"))),
        }
    };
    let (bits, format) = (same(BITS_PER_SAMPLE, 1, "lengths")?, same(SAMPLE_FORMAT, 1, "types")?);
    let dtype = match (format, bits) {
        (1 | 4, 1..=8) => Dtype::U8,
        (1 | 4, 9..=16) => Dtype::U16,
        (1 | 4, 32) => Dtype::U32,
        (1 | 4, 64) => Dtype::U64,
        (2, 8) => Dtype::I8,
        (2, 16) => Dtype::I16,
        (2, 32) => Dtype::I32,
        (2, 64) => Dtype::I64,
        (3, 16 | 32) => Dtype::F32,
        (3, 64) => Dtype::F64,
        (5 | 6, _) => {
            return Err(tiff.unsupported("complex samples are not read; split them into real and imaginary parts"));
        }
        _ => return Err(tiff.unsupported(format_args!("{bits}-bit samples of format {format}; {CONVERT}"))),
    };
    if bits % 8 != 0 && tiff.one(d, FILL_ORDER, 1)? != 1 {
        return Err(tiff.unsupported(format_args!("{bits}-bit samples with low bits first; {CONVERT}")));
    }
    Ok((bits as usize, dtype))
}

fn compression(tiff: &Tiff, d: &Directory, bits: usize) -> Result<Compression> {
    let ycbcr = tiff.one(d, PHOTOMETRIC, 1)? == 6;
    let found = match tiff.one(d, COMPRESSION, 1)? {
        1 => Compression::None,
        5 => Compression::Lzw,
        7 if bits == 8 => Compression::Jpeg { tables: tiff.opaque(d, JPEG_TABLES)?, ycbcr },
        8 | 32946 => Compression::Deflate,
        32773 => Compression::PackBits,
        50000 => Compression::Zstd,
        other => {
            let names = [
                (2, "CCITT"),
                (3, "CCITT"),
                (4, "CCITT"),
                (6, "old JPEG"),
                (7, "12-bit JPEG"),
                (34712, "JPEG 2000"),
                (34887, "LERC"),
                (34925, "LZMA"),
                (50001, "WebP"),
                (50002, "JPEG XL"),
                (52546, "JPEG XL"),
            ];
            let name = names.iter().find(|(n, _)| *n == other).map_or("unknown", |(_, name)| name);
            return Err(tiff.unsupported(format_args!("compression {other} ({name}) is not read; {CONVERT}")));
        }
    };
    if ycbcr && !matches!(found, Compression::Jpeg { .. }) {
        return Err(
            tiff.unsupported("YCbCr without JPEG is not read; convert it with gdal_translate -co PHOTOMETRIC=RGB")
        );
    }
    Ok(found)
}
