//! Where the cells lie, as TIFF says it and as CF and rioxarray do.
//!
//! # Maths
//! `GeoTransform` is GDAL's `(a, b, c, d, e, f)`: the corner of cell (row, column) lies at `x = a + b column + c row`,
//! `y = d + e column + f row`. Without rotation (`c = e = 0`) cell centres are coordinates `x` and `y`.
//! # Reference
//! OGC 19-008r4, chapter "Raster to model transformation"; CF-1.11, 5.6; rioxarray's documentation, "CRS management"

use lithify_codec::Samples;

use super::ifd::{Directory, Tiff};
use super::keys::Keys;
use super::tags::*;
use crate::error::{Error, Result};
use crate::model::{AttrValue, Attribute, DataType, Variable};

/// The variable that the grid is described by, as xarray's users know it.
pub(super) const GRID_MAPPING: &str = "spatial_ref";
const GEO_TRANSFORM: &str = "GeoTransform";
const CRS_WKT: &str = "crs_wkt";
/// Rows and columns, where there are no coordinates to tell a part from the whole.
const SHAPE: &str = "raster_shape";
/// Coordinates that differ from a place by less than this part of a cell are at it.
const CLOSE: f64 = 1e-3;

/// GDAL's six numbers.
pub(super) type Transform = [f64; 6];

/// What a file says of its place.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Place {
    pub(super) keys: Keys,
    /// Tags of doubles, those that there are.
    pub(super) doubles: Vec<(u16, Vec<f64>)>,
}

impl Place {
    /// From the tags of an image.
    pub(super) fn of(tiff: &Tiff, d: &Directory) -> Result<Self> {
        let directory = tiff.unsigned(d, GEO_KEYS)?.into_iter().map(|k| k as u16).collect();
        let ascii = tiff.text(d, GEO_ASCII)?.unwrap_or_default();
        let doubles = DOUBLES.iter().filter(|(tag, _)| d.has(*tag)).map(|(tag, _)| Ok((*tag, tiff.doubles(d, *tag)?)));
        Ok(Self { keys: Keys { directory, ascii }, doubles: doubles.collect::<Result<_>>()? })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.directory.is_empty() && self.doubles.is_empty()
    }

    fn tag(&self, tag: u16) -> &[f64] {
        self.doubles.iter().find(|(t, _)| *t == tag).map_or(&[], |(_, v)| v)
    }

    /// The transform, unless there is none (control points, or nothing at all).
    pub(super) fn transform(&self) -> Option<Transform> {
        let mut t = match (self.tag(TRANSFORMATION), self.tag(PIXEL_SCALE), self.tag(TIEPOINT)) {
            (&[b, c, _, a, e, f, _, d, ..], _, _) => [a, b, c, d, e, f],
            (_, &[width, height, ..], &[column, row, _, x, y, _]) => {
                // Both signs of the height mean north-up.
                let height = -height.abs();
                [x - column * width, width, 0.0, y - row * height, 0.0, height]
            }
            _ => return None,
        };
        if self.keys.is_point() {
            t[0] -= 0.5 * (t[1] + t[2]);
            t[3] -= 0.5 * (t[4] + t[5]);
        }
        let sound = t.iter().all(|v| v.is_finite()) && t[1] * t[5] != t[2] * t[4];
        sound.then_some(t)
    }

    /// Tags for a transform and a CRS.
    fn new(keys: Keys, mut transform: Option<Transform>) -> Self {
        if let Some(t) = transform.as_mut().filter(|_| keys.is_point()) {
            t[0] += 0.5 * (t[1] + t[2]);
            t[3] += 0.5 * (t[4] + t[5]);
        }
        let doubles = match transform {
            Some([a, b, 0.0, d, 0.0, f]) if b > 0.0 && f < 0.0 => {
                vec![(PIXEL_SCALE, vec![b, -f, 0.0]), (TIEPOINT, vec![0.0, 0.0, 0.0, a, d, 0.0])]
            }
            Some([a, b, c, d, e, f]) => {
                let rows = [b, c, 0.0, a, e, f, 0.0, d, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
                vec![(TRANSFORMATION, rows.to_vec())]
            }
            None => Vec::new(),
        };
        Self { keys, doubles }
    }

    /// The scalar variable that says all this.
    pub(super) fn variable(&self, (height, width): (usize, usize)) -> Variable {
        let mut attrs = Vec::new();
        if let Some(wkt) = self.keys.wkt() {
            attrs.extend([Attribute::text(CRS_WKT, wkt.clone()), Attribute::text(GRID_MAPPING, wkt)]);
        }
        let transform = self.transform();
        if let Some(t) = transform {
            attrs.push(Attribute::text(GEO_TRANSFORM, t.map(|v| v.to_string()).join(" ")));
        }
        if transform.is_none_or(|t| axes(t, 1, 1).is_none()) {
            attrs.push(Attribute::numbers(SHAPE, Samples::I64(vec![height as i64, width as i64])));
        }
        if !self.keys.directory.is_empty() {
            attrs.push(Attribute::numbers(GEO_KEYS_NAME, Samples::U16(self.keys.directory.clone())));
        }
        if !self.keys.ascii.is_empty() {
            attrs.push(Attribute::text(GEO_ASCII_NAME, self.keys.ascii.clone()));
        }
        for (tag, name) in DOUBLES {
            if !self.tag(*tag).is_empty() {
                attrs.push(Attribute::numbers(*name, Samples::F64(self.tag(*tag).to_vec())));
            }
        }
        let data_type = DataType::Number(lithify_codec::Dtype::I32);
        Variable { name: GRID_MAPPING.into(), dims: vec![], shape: vec![], data_type, attrs, chunks: None }
    }
}

/// The centres of columns and of rows, unless the image is rotated.
pub(super) fn axes(t: Transform, width: usize, height: usize) -> Option<(Vec<f64>, Vec<f64>)> {
    // Summed up in the order in which rioxarray does.
    let centres = |from: f64, step: f64, n: usize| (0..n).map(|i| (from + 0.5 * step) + i as f64 * step).collect();
    (t[2] == 0.0 && t[4] == 0.0).then(|| (centres(t[0], t[1], width), centres(t[3], t[5], height)))
}

/// Attributes of the coordinates, `x` and `y`.
pub(super) fn axis_attrs(keys: &Keys) -> [Vec<Attribute>; 2] {
    let text = |pairs: [(&str, &str); 3]| pairs.map(|(k, v)| Attribute::text(k, v)).to_vec();
    if keys.is_geographic() {
        return [("X", "longitude", "degrees_east"), ("Y", "latitude", "degrees_north")]
            .map(|(axis, name, units)| text([("axis", axis), ("standard_name", name), ("units", units)]));
    }
    ["X", "Y"].map(|axis| {
        let lower = axis.to_lowercase();
        let name = format!("projection_{lower}_coordinate");
        let mut attrs = text([
            ("axis", axis),
            ("long_name", &format!("{lower} coordinate of projection")),
            ("standard_name", &name),
        ]);
        attrs.extend(keys.linear_units().map(|u| Attribute::text("units", u)));
        attrs
    })
}

/// What can be said in TIFF of the place of an image of `shape` (rows, columns), whose coordinates are `x` and `y` where it has any, by its
/// grid mapping, if it has one.
///
/// 1. The mapping's transform, moved by as many cells as the coordinates are; without a mapping, or if it has another spacing,
///    the coordinates', if they are evenly spaced.
/// 2. The mapping's own tags, if they say the same; otherwise new ones, with the EPSG code of its definition.
///
/// # Errors
/// [`Error::Invalid`] for a CRS without an EPSG code, and for a part of an image that has no coordinates.
pub(super) fn place(
    mapping: Option<&Variable>,
    shape: (usize, usize),
    x: Option<&[f64]>,
    y: Option<&[f64]>,
) -> Result<Place> {
    let kept = mapping.map(kept).unwrap_or_default();
    let said = mapping.and_then(|m| m.attr(GEO_TRANSFORM)?.as_text().and_then(parse_transform));
    let from_axes = x.zip(y).and_then(|(x, y)| {
        let ((a, b), (d, f)) = (spaced(x, said.map(|t| (t[0], t[1])))?, spaced(y, said.map(|t| (t[3], t[5])))?);
        Some([a, b, 0.0, d, 0.0, f])
    });
    if let Some(Some(AttrValue::Numbers(n))) = mapping.map(|m| m.attr(SHAPE))
        && n.to_f64() != [shape.0 as f64, shape.1 as f64]
    {
        let what = "a part of a rotated raster, or one placed by control points, has no place; write it as .nc or .npy";
        return Err(Error::invalid(what, format!("{}x{}", shape.0, shape.1)));
    }
    let transform = from_axes.or(said.filter(|_| x.is_none() || y.is_none()));
    let wkt = mapping.and_then(|m| m.attr(CRS_WKT).or(m.attr(GRID_MAPPING))?.as_text());
    let same_crs = wkt.is_none() || kept.keys.wkt().as_deref() == wkt;
    if !kept.is_empty() && same_crs && kept.transform() == transform {
        return Ok(kept);
    }
    let by_code = |wkt: &str| {
        let what = "GeoTIFF names a CRS by its EPSG code, and this definition ends with none; write .nc or .zarr, or give it one";
        Keys::from_wkt(wkt).ok_or_else(|| Error::invalid(what, wkt.chars().take(60).collect::<String>()))
    };
    match wkt {
        Some(wkt) if !same_crs => Ok(Place::new(by_code(wkt)?, transform)),
        _ => {
            let mut place = Place::new(kept.keys, transform);
            place.doubles.extend(kept.doubles.into_iter().filter(|(tag, _)| *tag == GEO_DOUBLES));
            Ok(place)
        }
    }
}

/// The tags that a mapping has as attributes.
fn kept(mapping: &Variable) -> Place {
    let numbers = |name: &str| match mapping.attr(name) {
        Some(AttrValue::Numbers(n)) => n.to_f64(),
        _ => Vec::new(),
    };
    let directory = numbers(GEO_KEYS_NAME).into_iter().map(|v| v as u16).collect();
    let ascii = mapping.attr(GEO_ASCII_NAME).and_then(AttrValue::as_text).unwrap_or_default().into();
    let doubles = DOUBLES.iter().map(|(tag, name)| (*tag, numbers(name))).filter(|(_, v)| !v.is_empty()).collect();
    Place { keys: Keys { directory, ascii }, doubles }
}

fn parse_transform(text: &str) -> Option<Transform> {
    let numbers: Vec<f64> = text.split_whitespace().map(|n| n.parse().ok()).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

/// Corner and step of evenly spaced centres. Where they fit the grid that is said, its numbers are taken: they have no rounding errors.
fn spaced(c: &[f64], said: Option<(f64, f64)>) -> Option<(f64, f64)> {
    let (first, last) = (*c.first()?, *c.last()?);
    let n = (c.len() - 1) as f64;
    let fits = |from: f64, step: f64| {
        step != 0.0
            && c.iter().enumerate().all(|(i, v)| (from + (i as f64 + 0.5) * step - v).abs() <= CLOSE * step.abs())
    };
    if let Some((from, step)) = said {
        let moved = from + ((first - from) / step - 0.5).round() * step;
        if fits(moved, step) {
            return Some((moved, step));
        }
    }
    let step = (last - first) / n;
    let from = first - 0.5 * step;
    (n > 0.0 && fits(from, step)).then_some((from, step))
}
