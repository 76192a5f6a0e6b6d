//! Reading GeoTIFF: the pieces that a block touches, decoded one after the other; the last ones are kept.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use lithify_codec::{Dtype, Sample, Samples};

use super::geo::{self, GRID_MAPPING, Place};
use super::ifd::{Directory, Tiff};
use super::layout::{Layout, Piece};
use super::{decode, metadata, tags};
use crate::error::{Error, Result};
use crate::location::variable_name;
use crate::model::{Attribute, DataType, Dimension, Group, Source, Values, Variable, check_block};

/// Decoded pieces are kept up to this many bytes, and the last one in any case.
const CACHE_BYTES: usize = 64 << 20;

/// An open file.
pub(super) struct Reader {
    tiff: Tiff,
    layout: Layout,
    root: Group,
    /// Name of the variable that holds the bands.
    name: String,
    /// Values of the coordinates `x` and `y`.
    axes: Option<(Vec<f64>, Vec<f64>)>,
    warnings: Vec<String>,
    /// Bytes of a sample where none was written.
    fill: Vec<u8>,
    /// Newest first.
    cache: Mutex<VecDeque<(Piece, Arc<Vec<u8>>)>>,
}

impl Reader {
    /// Opens a file: reads its tags, no samples.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let (tiff, directories) = Tiff::open(path)?;
        let [d, rest @ ..] = directories.as_slice() else { return Err(tiff.corrupt("it holds no image")) };
        let layout = Layout::of(&tiff, d)?;
        let place = Place::of(&tiff, d)?;
        let (mut attrs, name, mut warnings) = metadata::read(&tiff, d, &layout)?;
        let size = (layout.height, layout.width);
        let axes = place.transform().and_then(|t| geo::axes(t, size.1, size.0));
        let mut root = bands(layout.bands, size);
        if axes.is_some() {
            let attrs = geo::axis_attrs(&place.keys);
            for ((name, len), attrs) in [("x", size.1), ("y", size.0)].into_iter().zip(attrs) {
                root.variables.push(coordinate(name, len, Dtype::F64, attrs));
            }
        }
        if !place.is_empty() {
            attrs.push(Attribute::text("grid_mapping", GRID_MAPPING));
            root.variables.push(place.variable(size));
        }
        let mut name = name.filter(|n| !n.contains('/')).unwrap_or_else(|| variable_name(path));
        if root.find(&name).is_ok() {
            name += "_data";
        }
        let fill = match metadata::fill(&attrs) {
            Some(fill) => fill.to_le_bytes(),
            None => vec![0; layout.dtype.size()],
        };
        let piece = vec![layout.samples(), layout.piece.0.min(size.0), layout.piece.1.min(size.1)];
        root.variables
            .insert(0, Variable { chunks: Some(piece), ..data(name.clone(), layout.bands, size, layout.dtype, attrs) });
        warnings.extend(left_out(&tiff, d, rest)?);
        warnings.extend(widened(&layout));
        Ok(Self { tiff, layout, root, name, axes, warnings, fill, cache: Mutex::new(VecDeque::new()) })
    }

    /// The samples of a piece; `None` where none were written.
    fn piece(&self, p: &Piece) -> Result<Option<Arc<Vec<u8>>>> {
        let cache = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = cache().iter().find(|(q, _)| q == p) {
            return Ok(Some(bytes.clone()));
        }
        let Some(bytes) = decode::piece(&self.tiff, &self.layout, p)?.map(Arc::new) else { return Ok(None) };
        let mut cache = cache();
        cache.push_front((*p, bytes.clone()));
        let mut total = 0;
        let fits = cache.iter().take_while(|(_, b)| {
            total += b.len();
            total <= CACHE_BYTES
        });
        let n = fits.count().max(1);
        cache.truncate(n);
        Ok(Some(bytes))
    }

    fn block(&self, start: [usize; 3], count: [usize; 3]) -> Result<Samples> {
        let layout = &self.layout;
        let size = layout.dtype.size();
        let [n_bands, n_rows, n_columns] = count;
        let mut out = vec![0; n_bands * n_rows * n_columns * size];
        let planes = if layout.planar { start[0]..start[0] + n_bands } else { 0..1 };
        for plane in planes {
            // Bands of the block that are in this plane, and the first of them in a piece.
            let (bands, first) =
                if layout.planar { (plane..plane + 1, plane) } else { (start[0]..start[0] + n_bands, 0) };
            let mut y = start[1];
            while y < start[1] + n_rows {
                let mut x = start[2];
                let mut below = y;
                while x < start[2] + n_columns {
                    let p = layout.piece_at(plane, y, x);
                    below = (p.row + p.rows).min(start[1] + n_rows);
                    let right = (p.column + p.columns).min(start[2] + n_columns);
                    let bytes = self.piece(&p)?;
                    for band in bands.clone() {
                        for row in y..below {
                            let to = (((band - start[0]) * n_rows + row - start[1]) * n_columns + x - start[2]) * size;
                            let to = &mut out[to..to + (right - x) * size];
                            let Some(bytes) = &bytes else {
                                to.chunks_exact_mut(size).for_each(|s| s.copy_from_slice(&self.fill));
                                continue;
                            };
                            let from = ((row - p.row) * p.columns + x - p.column) * layout.samples() + band - first;
                            gather(to, &bytes[from * size..], size, layout.samples());
                        }
                    }
                    x = right;
                }
                y = below;
            }
        }
        Ok(Samples::from_le_bytes(layout.dtype, &out))
    }
}

/// Every `step`-th sample of `from`, as many as fit in `to`.
fn gather(to: &mut [u8], from: &[u8], size: usize, step: usize) {
    fn sized<const N: usize>(to: &mut [u8], from: &[u8], step: usize) {
        let (to, from) = (to.as_chunks_mut::<N>().0, from.as_chunks::<N>().0);
        to.iter_mut().zip(from.iter().step_by(step)).for_each(|(t, f)| *t = *f);
    }
    match size {
        1 => sized::<1>(to, from, step),
        2 => sized::<2>(to, from, step),
        4 => sized::<4>(to, from, step),
        _ => sized::<8>(to, from, step),
    }
}

/// Dimensions of an image, and the coordinate that numbers its bands from 1.
pub(super) fn bands(n: usize, (height, width): (usize, usize)) -> Group {
    let dim = |(name, len): (&str, usize)| Dimension { name: name.into(), len, unlimited: false };
    let dims = [("band", n), ("y", height), ("x", width)].map(dim).to_vec();
    Group { dims, variables: vec![coordinate("band", n, Dtype::I64, Vec::new())], ..Group::default() }
}

fn coordinate(name: &str, len: usize, dtype: Dtype, attrs: Vec<Attribute>) -> Variable {
    let data_type = DataType::Number(dtype);
    Variable { name: name.into(), dims: vec![name.into()], shape: vec![len], data_type, attrs, chunks: None }
}

/// The variable that holds the bands.
pub(super) fn data(
    name: String,
    bands: usize,
    (height, width): (usize, usize),
    dtype: Dtype,
    attrs: Vec<Attribute>,
) -> Variable {
    let dims = ["band", "y", "x"].map(String::from).to_vec();
    Variable { name, dims, shape: vec![bands, height, width], data_type: DataType::Number(dtype), attrs, chunks: None }
}

/// The numbers of bands from `start` on.
pub(super) fn band_numbers(start: usize, count: usize) -> Samples {
    Samples::I64((start..start + count).map(|b| b as i64 + 1).collect())
}

/// One line for each kind of thing that is not read.
fn left_out(tiff: &Tiff, first: &Directory, rest: &[Directory]) -> Result<Vec<String>> {
    let mut n = [0; 3];
    for d in rest {
        let kind = tiff.one(d, tags::NEW_SUBFILE_TYPE, 0)?;
        n[if kind & 4 != 0 {
            1
        } else if kind & 1 != 0 {
            0
        } else {
            2
        }] += 1;
    }
    let [overviews, masks, pages] = n;
    let unknown: Vec<_> = first.tags().filter(|t| !tags::is_known(*t)).map(|t| t.to_string()).collect();
    let all = [
        (overviews, "overviews", "left out; gdaladdo makes them again"),
        (masks, "masks", "left out; mark missing samples by a nodata value to keep them apart"),
        (pages, "further images", "left out; only the first is read"),
        (unknown.len(), "tags", &format!("left out ({})", unknown.join(", "))),
    ];
    Ok(all.iter().filter(|(n, ..)| *n > 0).map(|(n, what, how)| format!("{n} {what} {how}")).collect())
}

fn widened(layout: &Layout) -> Option<String> {
    let name = layout.dtype.name();
    (layout.bits != 8 * layout.dtype.size())
        .then(|| format!("{}-bit samples are read as {name}, and written so", layout.bits))
}

impl Source for Reader {
    fn root(&self) -> &Group {
        &self.root
    }

    fn read(&self, path: &str, start: &[usize], count: &[usize]) -> Result<Values> {
        let path = path.trim_start_matches('/');
        check_block(path, &self.root.find(path)?.shape, start, count)?;
        let along = |v: &[f64]| Samples::F64(v[start[0]..start[0] + count[0]].to_vec());
        let values = match (path, &self.axes, start, count) {
            (name, _, &[b, y, x], &[nb, ny, nx]) if name == self.name => self.block([b, y, x], [nb, ny, nx])?,
            ("band", ..) => band_numbers(start[0], count[0]),
            ("x", Some((x, _)), ..) => along(x),
            ("y", Some((_, y)), ..) => along(y),
            (GRID_MAPPING, ..) => <i32 as Sample>::wrap(vec![0]),
            _ => return Err(Error::invalid("there is no variable", path)),
        };
        Ok(Values::Numbers(values))
    }

    fn format(&self) -> &'static str {
        "GeoTIFF"
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }
}
