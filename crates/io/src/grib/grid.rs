//! The grids that fields lie on: shape, scanning order, coordinates.
//!
//! # Shapes
//! `[latitude, longitude]` for unrotated grids with one longitude list, `[y, x]` for projected and rotated ones, `[values]` for the rest.
//! Rows and columns come in the order of the file; only boustrophedon and column-wise order are undone.

use lithify_codec::Samples;

use super::octets::{Octets, Parse, corrupt};
use super::projection::{Cone, Earth, Projection, gaussian_latitudes, unrotated, wrapped};
use crate::model::Attribute;

/// A grid, once for all fields that have it.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    /// The name that eccodes gives the type.
    pub(super) name: &'static str,
    /// Lengths of its dimensions.
    pub(super) shape: Vec<usize>,
    pub(super) geometry: Geometry,
    /// Scanning mode (code table 3.4).
    pub(super) scan: u8,
    pub(super) earth: Earth,
    /// Keys for attributes, in file order.
    pub(super) keys: Vec<(&'static str, f64)>,
}

/// Where the points are.
#[derive(Debug, Clone)]
pub(super) enum Geometry {
    /// One list of latitudes and one of longitudes.
    Rectilinear { lat: Axis, lon: Axis },
    /// The same, around another pole: latitude and longitude of the south pole, angle.
    Rotated { lat: Axis, lon: Axis, pole: (f64, f64), angle: f64 },
    /// Rows of different length: their latitudes, their first points' places, the longest, and the first and last longitude.
    Reduced { lat: Axis, starts: Vec<usize>, longest: usize, lon: (f64, f64) },
    /// On a plane, metres.
    Projected { projection: Projection, cone: Cone, x: Axis, y: Axis },
    /// Rows and columns without coordinates.
    Plane,
    /// Points without coordinates.
    Points,
}

/// A coordinate along one dimension.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Axis {
    /// First, last, length.
    Even(f64, f64, usize),
    /// Listed.
    List(Vec<f64>),
}

/// Gaussian grids beyond this have their latitudes spread evenly: finding the roots takes n^2 steps.
const MAX_GAUSSIAN: usize = 16_384;

impl Axis {
    pub(super) fn at(&self, i: usize) -> f64 {
        match self {
            Self::Even(first, _, n) if *n < 2 => *first,
            Self::Even(first, last, n) => first + (last - first) * (i as f64 / (n - 1) as f64),
            Self::List(list) => list.get(i).copied().unwrap_or(f64::NAN),
        }
    }

    /// Tells apart what is not the same.
    pub(super) fn fingerprint(&self) -> String {
        match self {
            Self::Even(first, last, n) => format!("{first} {last} {n}"),
            Self::List(list) => format!("{} {list:?}", list.len()),
        }
    }
}

impl Grid {
    pub(super) fn n_points(&self) -> usize {
        self.shape.iter().product()
    }

    /// Latitude and longitude of the point at `index`, C order; NaN if unknown.
    pub(super) fn lat_lon(&self, index: usize) -> (f64, f64) {
        let nx = self.shape.last().copied().unwrap_or(1).max(1);
        let (j, i) = (index / nx, index % nx);
        match &self.geometry {
            Geometry::Rectilinear { lat, lon } => (lat.at(j), lon.at(i)),
            Geometry::Rotated { lat, lon, pole, angle } => unrotated(lat.at(j), lon.at(i), *pole, *angle),
            Geometry::Reduced { lat, starts, longest, lon: (first, last) } => {
                let row = starts.partition_point(|&s| s <= index).saturating_sub(1);
                let start = starts.get(row).copied().unwrap_or(0);
                let n = starts.get(row + 1).map_or(1, |end| end - start);
                let span = if last < first { last + 360.0 - first } else { last - first };
                // All around the Earth if the longest row leaves no more than one step open.
                let around = span + 360.0 / *longest as f64 >= 359.99;
                let step = if around { 360.0 / n as f64 } else { span / (n.max(2) - 1) as f64 };
                (lat.at(row), first + (index - start) as f64 * step)
            }
            Geometry::Projected { cone, x, y, .. } => cone.inverse(x.at(i), y.at(j)),
            Geometry::Plane | Geometry::Points => (f64::NAN, f64::NAN),
        }
    }

    /// Values in scanning order to C order.
    pub(super) fn arrange(&self, values: Vec<f64>) -> Vec<f64> {
        let (columns_first, alternate) = (self.scan & 0x20 != 0, self.scan & 0x10 != 0);
        let &[nj, ni] = self.shape.as_slice() else { return values };
        if !(columns_first || alternate) || values.len() != ni * nj {
            return values;
        }
        let mut out = vec![0.0; values.len()];
        let run = if columns_first { nj } else { ni };
        for (k, v) in values.into_iter().enumerate() {
            let (line, at) = (k / run, k % run);
            let at = if alternate && line % 2 == 1 { run - 1 - at } else { at };
            out[if columns_first { at * ni + line } else { line * ni + at }] = v;
        }
        out
    }

    /// The CF grid mapping variable's attributes, if the grid needs one.
    pub(super) fn mapping(&self) -> Option<Vec<Attribute>> {
        let number = |name, v| Attribute::numbers(name, Samples::F64(vec![v]));
        let mut attrs = match &self.geometry {
            Geometry::Projected { projection, .. } => match *projection {
                Projection::Stereographic { true_scale, meridian, south } => vec![
                    Attribute::text("grid_mapping_name", "polar_stereographic"),
                    number("latitude_of_projection_origin", if south { -90.0 } else { 90.0 }),
                    number("straight_vertical_longitude_from_pole", meridian),
                    number("standard_parallel", if south { -true_scale.abs() } else { true_scale.abs() }),
                ],
                Projection::Lambert { parallels: [a, b], meridian } => vec![
                    Attribute::text("grid_mapping_name", "lambert_conformal_conic"),
                    Attribute::numbers("standard_parallel", Samples::F64(if a == b { vec![a] } else { vec![a, b] })),
                    number("longitude_of_central_meridian", meridian),
                    // The origin of x and y is the cone's apex, a pole.
                    number("latitude_of_projection_origin", if a + b < 0.0 { -90.0 } else { 90.0 }),
                ],
                Projection::Mercator { true_scale } => vec![
                    Attribute::text("grid_mapping_name", "mercator"),
                    number("longitude_of_projection_origin", 0.0),
                    number("standard_parallel", true_scale),
                ],
            },
            Geometry::Rotated { pole, angle, .. } => vec![
                Attribute::text("grid_mapping_name", "rotated_latitude_longitude"),
                number("grid_north_pole_latitude", -pole.0),
                number("grid_north_pole_longitude", wrapped(pole.1 + 180.0)),
                number("north_pole_grid_longitude", *angle),
            ],
            _ => return None,
        };
        if self.earth.major == self.earth.minor {
            attrs.push(number("earth_radius", self.earth.major));
        } else {
            attrs.push(number("semi_major_axis", self.earth.major));
            attrs.push(number("semi_minor_axis", self.earth.minor));
        }
        Some(attrs)
    }
}

/// What both editions say about a latitude/longitude grid, degrees.
pub(super) struct LatLon {
    pub(super) ni: usize,
    pub(super) nj: usize,
    pub(super) first: (f64, f64),
    pub(super) last: (f64, f64),
    pub(super) scan: u8,
    /// Rows between pole and equator, for Gaussian grids.
    pub(super) gaussian: Option<usize>,
    /// Points in each row, for reduced grids.
    pub(super) rows: Option<Vec<usize>>,
    /// South pole and angle, for rotated grids.
    pub(super) rotation: Option<((f64, f64), f64)>,
}

impl LatLon {
    /// Type name, shape and geometry.
    pub(super) fn build(self) -> Parse<(&'static str, Vec<usize>, Geometry)> {
        let Self { ni, nj, first, last, scan, gaussian, rows, rotation } = self;
        let lat = match gaussian {
            Some(n) => gaussian_rows(n, nj, first.0, last.0),
            None => Axis::Even(first.0, last.0, nj),
        };
        if let Some(rows) = rows {
            if rows.len() != nj {
                return corrupt(format!("a reduced grid lists {} rows where {nj} are declared", rows.len()));
            }
            let longest = rows.iter().copied().max().unwrap_or(0);
            let mut starts = vec![0usize];
            for n in rows {
                starts.push(starts.last().map_or(0, |s| s.saturating_add(n)));
            }
            let n = starts.last().copied().unwrap_or(0);
            let name = match (gaussian, rotation) {
                (Some(_), None) => "reduced_gg",
                (None, None) => "reduced_ll",
                _ => return Ok(("reduced_rotated", vec![n], Geometry::Points)),
            };
            return Ok((name, vec![n], Geometry::Reduced { lat, starts, longest, lon: (first.1, last.1) }));
        }
        // Longitudes grow, or fall, along a row: a row that crosses 0 or 180 continues beyond, or starts below zero.
        let (mut west, mut east) = (first.1, last.1);
        let backwards = scan & 0x80 != 0;
        if !backwards && east < west {
            if west >= 180.0 { west -= 360.0 } else { east += 360.0 }
        } else if backwards && east > west {
            east -= 360.0;
        }
        let lon = Axis::Even(west, east, ni);
        let shape = vec![nj, ni];
        Ok(match (rotation, gaussian) {
            (Some((pole, angle)), _) => (
                if gaussian.is_some() { "rotated_gg" } else { "rotated_ll" },
                shape,
                Geometry::Rotated { lat, lon, pole, angle },
            ),
            (None, Some(_)) => ("regular_gg", shape, Geometry::Rectilinear { lat, lon }),
            (None, None) => ("regular_ll", shape, Geometry::Rectilinear { lat, lon }),
        })
    }
}

/// `nj` rows of the Gaussian grid of number `n`, from the one nearest `first` on.
fn gaussian_rows(n: usize, nj: usize, first: f64, last: f64) -> Axis {
    if n == 0 || n > MAX_GAUSSIAN || nj > 2 * n {
        return Axis::Even(first, last, nj);
    }
    let mut all = gaussian_latitudes(n);
    if first < last {
        all.reverse();
    }
    let distance = |v: f64| (v - first).abs();
    let start = (0..all.len()).min_by(|&a, &b| distance(all[a]).total_cmp(&distance(all[b]))).unwrap_or(0);
    match all.get(start..start + nj) {
        Some(part) => Axis::List(part.to_vec()),
        None => Axis::Even(first, last, nj),
    }
}

/// A projected grid from its first point (degrees) and increments (metres); without coordinates if the parameters define no map.
pub(super) fn projected(
    projection: Projection,
    earth: Earth,
    (ni, nj): (usize, usize),
    first: (f64, f64),
    (dx, dy): (f64, f64),
    scan: u8,
) -> Geometry {
    let Some(cone) = projection.on(earth) else { return Geometry::Plane };
    let (x0, y0) = cone.forward(first.0, first.1);
    let dx = if scan & 0x80 == 0 { dx } else { -dx };
    let dy = if scan & 0x40 == 0 { -dy } else { dy };
    let axis = |from: f64, step: f64, n: usize| Axis::Even(from, from + step * n.saturating_sub(1) as f64, n);
    Geometry::Projected { projection, cone, x: axis(x0, dx, ni), y: axis(y0, dy, nj) }
}

/// Rows of a reduced grid, `size` octets each, from octet `at` on.
pub(super) fn row_lengths(s: &Octets<'_>, at: usize, size: usize, n: usize) -> Parse<Vec<usize>> {
    let bytes = s.slice(at, n.saturating_mul(size))?;
    Ok(bytes.chunks(size.max(1)).map(|b| b.iter().fold(0, |v, &x| v << 8 | usize::from(x))).collect())
}
