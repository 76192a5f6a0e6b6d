//! Writing GeoTIFF: tiles, band by band, DEFLATE, with a predictor where that is smaller, BigTIFF where 4 GB may not be enough.
//!
//! # Algorithm
//! 1. `define` finds the one variable that can be an image.
//! 2. `write` lays blocks into tiles; a tile that is complete is compressed and appended. Coordinates are remembered.
//! 3. `finish` writes the tags behind the tiles and their place into the header.
//!
//! Memory: tiles that blocks have begun and not completed.

use std::collections::{BTreeMap, HashMap};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use lithify_codec::{Dtype, Samples};
use tempfile::NamedTempFile;

use super::encode::Predictor;
use super::geo::{self, Place};
use super::tags::*;
use super::{encode, metadata};
use crate::error::{Error, Result};
use crate::model::{AttrValue, Group, Sink, Values, Variable, check_block};
use crate::{location, policy, temporary};

/// Tiles are squares of this side, or smaller for smaller images. A multiple of 16, as TIFF has it.
const TILE: usize = 256;
/// Images up to this size fit in a TIFF with room to spare for tags; larger ones are BigTIFF.
const CLASSIC_BYTES: u64 = 4_000_000_000;

/// A file being written.
pub(super) struct Writer {
    path: PathBuf,
    file: NamedTempFile,
    image: Option<Image>,
}

/// What is written to it.
struct Image {
    path: String,
    variable: Variable,
    mapping: Option<Variable>,
    dtype: Dtype,
    /// Bands, rows, columns.
    shape: [usize; 3],
    /// Rows and columns of a tile.
    tile: [usize; 2],
    big: bool,
    /// None before the first tile.
    predictor: Option<Predictor>,
    /// Paths of the coordinates of bands, rows and columns, and their values once they came.
    axes: [(String, Option<Vec<f64>>); 3],
    /// Tiles that are not complete: their samples and how many are missing.
    begun: HashMap<usize, (Vec<u8>, usize)>,
    /// Where complete ones are, and how long.
    tiles: BTreeMap<usize, (u64, u64)>,
    end: u64,
}

impl Writer {
    pub(super) fn create(path: &Path) -> Result<Self> {
        Ok(Self { path: path.into(), file: temporary::beside(path)?, image: None })
    }
}

impl Sink for Writer {
    fn define(&mut self, root: &Group) -> Result<()> {
        let image = Image::of(root)?;
        let header = match image.big {
            true => b"II\x2b\0\x08\0\0\0\0\0\0\0\0\0\0\0".as_slice(),
            false => b"II\x2a\0\0\0\0\0",
        };
        self.file.write_all(header).map_err(Error::io(&self.path))?;
        self.image = Some(Image { end: header.len() as u64, ..image });
        Ok(())
    }

    fn write(&mut self, path: &str, start: &[usize], count: &[usize], values: &Values) -> Result<()> {
        let path = path.trim_start_matches('/');
        let Some(image) = &mut self.image else { return Err(Error::invalid("no variable was declared", path)) };
        let Values::Numbers(samples) = values else { return Ok(()) };
        if path == image.path {
            check_block(path, &image.variable.shape, start, count)?;
            let n = count.iter().product::<usize>();
            if samples.dtype() != image.dtype || samples.len() != n {
                return Err(Error::invalid(format!("{path} takes {n} values of {}", image.dtype), "other values"));
            }
            return image.write(&mut self.file, start, count, samples).map_err(Error::io(&self.path));
        }
        for (axis, (name, values)) in image.axes.iter_mut().enumerate() {
            if name == path && count.len() == 1 {
                // Blocks come in order.
                let values = values.get_or_insert_with(|| Vec::with_capacity(image.shape[axis]));
                values.extend(samples.to_f64());
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<PathBuf> {
        let Self { path, mut file, image } = *self;
        let Some(image) = image else { return Err(Error::invalid("no variable was declared", path.display())) };
        let name = location::variable_name(&path);
        let tags = image.tags(&name)?;
        image.write_tags(&mut file, &tags).map_err(Error::io(&path))?;
        temporary::persist(file, &path)?;
        Ok(path)
    }
}

impl Image {
    /// The one variable that can be an image.
    fn of(root: &Group) -> Result<Self> {
        let roles = policy::roles(root);
        let all = root.walk();
        let images = all.iter().filter(|(path, v)| {
            let plain = roles.get(path).is_none_or(|role| policy::is_plain(*role));
            v.dims.len() >= 2 && v.dtype().is_some() && !plain
        });
        let images: Vec<_> = images.collect();
        let [(path, v)] = images.as_slice() else {
            let names: Vec<_> = images.iter().map(|(p, _)| p.as_str()).collect();
            return Err(match names.is_empty() {
                true => Error::invalid(
                    "a GeoTIFF holds a variable of two or three dimensions; there is none among",
                    join(&all),
                ),
                false => Error::invalid(
                    "a GeoTIFF holds one variable; name one: lithify extract STORE NAME out.tif, of",
                    names.join(", "),
                ),
            });
        };
        let (before, [height, width]) = v.shape.split_last_chunk::<2>().unwrap_or((&[], &[0, 0]));
        if before.iter().filter(|n| **n != 1).count() > 1 {
            let what = format!(
                "a GeoTIFF has bands, rows and columns; take a part of {path} with lithify extract --sel {}=0",
                v.dims[0]
            );
            return Err(Error::invalid(what, format!("{:?}", v.shape)));
        }
        let bands = before.iter().product::<usize>();
        let fits =
            (1..=usize::from(u16::MAX)).contains(&bands) && [height, width].iter().all(|n| (1..1 << 31).contains(*n));
        if !fits {
            let what = "a GeoTIFF has 1 to 65535 bands and at least one row and column";
            return Err(Error::invalid(what, format!("{:?}", v.shape)));
        }
        let dtype = v.dtype().unwrap_or(Dtype::U8);
        let side = |n: usize| TILE.min(n.next_multiple_of(16));
        let dims = v.dims.as_slice();
        let group = path.rsplit_once('/').map_or("", |(g, _)| g);
        let banded = before.iter().position(|n| *n != 1).or(before.len().checked_sub(1)).map(|d| &dims[d]);
        let [y, x] = [&dims[dims.len() - 2], &dims[dims.len() - 1]];
        let axis = |dim: Option<&String>| (dim.map_or(String::new(), |d| coordinate(root, group, d)), None);
        let mapping = v.attr("grid_mapping").and_then(AttrValue::as_text).unwrap_or(geo::GRID_MAPPING);
        // The extended form names several: "crs: x y other: lat lon".
        let mapping = mapping.split([':', ' ']).next().unwrap_or_default();
        let mapping = root.find(&coordinate(root, group, mapping)).ok().cloned();
        // What cannot be said of its place is found out now, not when everything is written.
        geo::place(mapping.as_ref(), (*height, *width), None, None)?;
        Ok(Self {
            path: path.clone(),
            variable: (*v).clone(),
            mapping,
            dtype,
            shape: [bands, *height, *width],
            tile: [side(*height), side(*width)],
            big: (v.len() as u64).saturating_mul(dtype.size() as u64) > CLASSIC_BYTES,
            predictor: None,
            axes: [axis(banded), axis(Some(y)), axis(Some(x))],
            begun: HashMap::new(),
            tiles: BTreeMap::new(),
            end: 0,
        })
    }

    /// Tiles in a column and in a row of them.
    fn grid(&self) -> [usize; 2] {
        [self.shape[1].div_ceil(self.tile[0]), self.shape[2].div_ceil(self.tile[1])]
    }

    fn write(
        &mut self,
        file: &mut NamedTempFile,
        start: &[usize],
        count: &[usize],
        samples: &Samples,
    ) -> std::io::Result<()> {
        let size = self.dtype.size();
        let bytes = samples.to_le_bytes();
        let n = count.len() - 2;
        let (n_bands, first_band) = (count[..n].iter().product(), start[..n].iter().sum::<usize>());
        let ([y0, x0], [rows, columns]) = ([start[n], start[n + 1]], [count[n], count[n + 1]]);
        let ([th, tw], [down, across]) = (self.tile, self.grid());
        for b in 0..n_bands {
            for ty in y0 / th..(y0 + rows).div_ceil(th) {
                for tx in x0 / tw..(x0 + columns).div_ceil(tw) {
                    let index = ((first_band + b) * down + ty) * across + tx;
                    let (top, bottom) = (y0.max(ty * th), (y0 + rows).min((ty + 1) * th));
                    let (left, right) = (x0.max(tx * tw), (x0 + columns).min((tx + 1) * tw));
                    let inside = (self.shape[1] - ty * th).min(th) * (self.shape[2] - tx * tw).min(tw);
                    let (tile, missing) = self.begun.entry(index).or_insert_with(|| (vec![0; th * tw * size], inside));
                    for row in top..bottom {
                        let from = ((b * rows + row - y0) * columns + left - x0) * size;
                        let to = ((row - ty * th) * tw + left - tx * tw) * size;
                        let len = (right - left) * size;
                        tile[to..to + len].copy_from_slice(&bytes[from..from + len]);
                    }
                    *missing = missing.saturating_sub((bottom - top) * (right - left));
                    if *missing == 0
                        && let Some((tile, _)) = self.begun.remove(&index)
                    {
                        let float = self.dtype.is_float();
                        let predictor = match self.predictor {
                            Some(p) => p,
                            // One tag for all: the first tile decides.
                            None => *self.predictor.insert(encode::choose(&tile, tw * size, size, float)?),
                        };
                        let coded = encode::tile(tile, tw * size, size, predictor)?;
                        file.write_all(&coded)?;
                        self.tiles.insert(index, (self.end, coded.len() as u64));
                        self.end += coded.len() as u64;
                    }
                }
            }
        }
        Ok(())
    }

    /// All tags but those of how offsets are written, by number.
    fn tags(&self, stem: &str) -> Result<BTreeMap<u16, Tag>> {
        let ([bands, height, width], v) = (self.shape, &self.variable);
        let n_tiles = bands * self.grid()[0] * self.grid()[1];
        if self.tiles.len() != n_tiles {
            return Err(Error::invalid("not all tiles were written", format!("{} of {n_tiles}", self.tiles.len())));
        }
        let kind = if self.dtype.is_float() {
            3
        } else if self.dtype.name().starts_with('i') {
            2
        } else {
            1
        };
        let shorts = |value: usize| Tag::Shorts(vec![value as u16]);
        let mut tags = BTreeMap::from([
            (IMAGE_WIDTH, Tag::Long(width as u32)),
            (IMAGE_LENGTH, Tag::Long(height as u32)),
            (BITS_PER_SAMPLE, Tag::Shorts(vec![8 * self.dtype.size() as u16; bands])),
            (COMPRESSION, shorts(8)),
            (SAMPLES_PER_PIXEL, shorts(bands)),
            (PLANAR_CONFIGURATION, shorts(if bands > 1 { 2 } else { 1 })),
            (PREDICTOR, shorts(self.predictor.unwrap_or(Predictor::None) as usize)),
            (TILE_WIDTH, shorts(self.tile[1])),
            (TILE_LENGTH, shorts(self.tile[0])),
            (TILE_OFFSETS, Tag::Offsets(self.tiles.values().map(|t| t.0).collect())),
            (TILE_BYTE_COUNTS, Tag::Offsets(self.tiles.values().map(|t| t.1).collect())),
            (SAMPLE_FORMAT, Tag::Shorts(vec![kind; bands])),
        ]);
        // Of a part of the bands, the coordinate says which; they are counted from 1 there.
        let [band_axis, y, x] = &self.axes;
        let numbers =
            band_axis.1.as_ref().filter(|n| band_axis.0.rsplit('/').next() == Some("band") && n.len() == bands);
        let which: Vec<usize> = match numbers {
            Some(n) => n.iter().map(|b| (*b as usize).saturating_sub(1)).collect(),
            None => (0..bands).collect(),
        };
        self.colors(&which, &mut tags);
        for (tag, name) in TEXTS {
            if let Some(text) = v.attr(name).and_then(AttrValue::as_text) {
                tags.insert(*tag, Tag::Text(text.into()));
            }
        }
        tags.extend(metadata::build(v, &which, stem).map(|xml| (GDAL_METADATA, Tag::Text(xml))));
        tags.extend(metadata::nodata(v).map(|text| (GDAL_NODATA, Tag::Text(text))));
        let Place { keys, doubles } =
            geo::place(self.mapping.as_ref(), (height, width), x.1.as_deref(), y.1.as_deref())?;
        if !keys.directory.is_empty() {
            tags.insert(GEO_KEYS, Tag::Shorts(keys.directory));
        }
        if !keys.ascii.is_empty() {
            tags.insert(GEO_ASCII, Tag::Text(keys.ascii));
        }
        tags.extend(doubles.into_iter().map(|(tag, v)| (tag, Tag::Doubles(v))));
        Ok(tags)
    }

    /// Colours as they were, if the bands are those that they were for; gray otherwise.
    fn colors(&self, which: &[usize], tags: &mut BTreeMap<u16, Tag>) {
        let bands = which.len();
        let color = |tag| metadata::color(&self.variable, tag);
        let map = color(COLOR_MAP).filter(|map| self.dtype.size() <= 2 && map.len() == 3 << (8 * self.dtype.size()));
        let photometric = color(PHOTOMETRIC).and_then(|p| p.first().copied()).filter(|p| *p != 3 || map.is_some());
        let photometric = photometric.unwrap_or(1);
        let extra = color(EXTRA_SAMPLES);
        let colors = match photometric {
            2 | 8 | 9 => 3,
            5 => 4,
            _ => 1,
        };
        let all = which.iter().enumerate().all(|(i, was)| i == *was);
        let n_extra = extra.as_ref().map_or(bands.saturating_sub(colors), Vec::len);
        if all && colors + n_extra == bands {
            tags.insert(PHOTOMETRIC, Tag::Shorts(vec![photometric]));
            tags.extend(map.filter(|_| photometric == 3).map(|map| (COLOR_MAP, Tag::Shorts(map))));
            if n_extra > 0 {
                tags.insert(EXTRA_SAMPLES, Tag::Shorts(extra.unwrap_or_else(|| vec![0; n_extra])));
            }
            return;
        }
        tags.insert(PHOTOMETRIC, Tag::Shorts(vec![1]));
        if bands > 1 {
            tags.insert(EXTRA_SAMPLES, Tag::Shorts(vec![0; bands - 1]));
        }
    }

    /// The directory, what does not fit in it, and its place in the header.
    fn write_tags(&self, file: &mut NamedTempFile, tags: &BTreeMap<u16, Tag>) -> std::io::Result<()> {
        let word = if self.big { 8 } else { 4 };
        let number = |n: u64| n.to_le_bytes()[..word].to_vec();
        // Directories begin at even places.
        let at = self.end.next_multiple_of(2);
        let head = if self.big { 8 } else { 2 };
        let mut beside = at + (head + tags.len() * (4 + 2 * word) + word) as u64;
        let mut directory = (tags.len() as u64).to_le_bytes()[..head].to_vec();
        let mut rest = Vec::new();
        for (tag, value) in tags {
            let (kind, count, mut bytes) = value.bytes(self.big);
            directory.extend_from_slice(&tag.to_le_bytes());
            directory.extend_from_slice(&kind.to_le_bytes());
            directory.extend(number(count as u64));
            bytes.resize(bytes.len().max(word).next_multiple_of(2), 0);
            if bytes.len() == word {
                directory.extend(bytes);
            } else {
                directory.extend(number(beside));
                beside += bytes.len() as u64;
                rest.extend(bytes);
            }
        }
        directory.extend(number(0));
        file.write_all(&vec![0; (at - self.end) as usize])?;
        file.write_all(&directory)?;
        file.write_all(&rest)?;
        file.seek(SeekFrom::Start(if self.big { 8 } else { 4 }))?;
        file.write_all(&number(at))
    }
}

/// A tag's value.
enum Tag {
    Shorts(Vec<u16>),
    Long(u32),
    Doubles(Vec<f64>),
    Text(String),
    Offsets(Vec<u64>),
}

impl Tag {
    /// Type, count, bytes.
    fn bytes(&self, big: bool) -> (u16, usize, Vec<u8>) {
        match self {
            Self::Shorts(v) => (3, v.len(), v.iter().flat_map(|n| n.to_le_bytes()).collect()),
            Self::Long(n) => (4, 1, n.to_le_bytes().to_vec()),
            Self::Doubles(v) => (12, v.len(), v.iter().flat_map(|n| n.to_le_bytes()).collect()),
            Self::Text(t) => (2, t.len() + 1, [t.as_bytes(), &[0]].concat()),
            Self::Offsets(v) if big => (16, v.len(), v.iter().flat_map(|n| n.to_le_bytes()).collect()),
            Self::Offsets(v) => (4, v.len(), v.iter().flat_map(|n| (*n as u32).to_le_bytes()).collect()),
        }
    }
}

/// The path of a variable as seen from a group: in the group or in a parent of it.
fn coordinate(root: &Group, group: &str, name: &str) -> String {
    let mut group = group;
    loop {
        let path = if group.is_empty() { name.to_string() } else { format!("{group}/{name}") };
        if group.is_empty() || root.find(&path).is_ok() {
            return path;
        }
        group = group.rsplit_once('/').map_or("", |(g, _)| g);
    }
}

fn join(all: &[(String, &Variable)]) -> String {
    all.iter().map(|(p, _)| p.as_str()).collect::<Vec<_>>().join(", ")
}
