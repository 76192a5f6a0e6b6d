//! Where a variable lies on the globe: its one-dimensional latitudes and longitudes, found by the rules of CF.

use crate::error::{Error, Result};
use crate::model::{Source, Values, Variable};
use crate::policy;

/// Degrees after which longitudes come again.
pub const TURN: f64 = 360.0;
/// A place so near to a grid line, in steps of the grid, lies on it: coordinates are often rounded to f32.
const ON_THE_LINE: f64 = 1e-6;
/// A gap between the last longitude and the first one, in the largest step between others, up to which a grid goes round.
const ROUND: f64 = 1.5;

/// Coordinates along one dimension, rising or falling, in degrees; longitudes go on where they pass a whole turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// The dimension of the variable.
    pub dim: usize,
    values: Vec<f64>,
    period: Option<f64>,
}

/// The latitudes and the longitudes of a variable's grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Horizontal {
    /// Degrees north.
    pub latitude: Axis,
    /// Degrees east.
    pub longitude: Axis,
}

/// Between which grid lines a place lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Between {
    /// The grid lines before and behind it; the same for a place on a line.
    pub lines: [usize; 2],
    /// Which part of the way from the first to the second it is at, below 1.
    pub part: f64,
}

impl Horizontal {
    /// Of the variable at `path`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for grids that have no latitudes and longitudes along two dimensions of their own, saying what else serves.
    pub fn of(source: &dyn Source, path: &str) -> Result<Self> {
        let v = source.root().find(path)?;
        let [latitude, longitude] = [policy::is_latitude, policy::is_longitude].map(|is| find(source, path, v, is));
        match (latitude, longitude) {
            (Some(lat), Some(lon)) if lat.dims != lon.dims => {
                Ok(Self { latitude: Axis::read(source, &lat, None)?, longitude: Axis::read(source, &lon, Some(TURN))? })
            }
            (Some(lat), Some(_)) => Err(Error::invalid(
                format!(
                    "{path} has an unstructured grid, whose latitudes and longitudes are lists of places; select by index, --sel {}=0",
                    lat.dims[0]
                ),
                path,
            )),
            _ => Err(absent(source, path, v)),
        }
    }

    /// Whether this is a regular grid of the whole globe along the variable's last two dimensions, of which there are `n_dims`.
    pub fn is_globe(&self, n_dims: usize) -> bool {
        let (lat, lon) = (&self.latitude, &self.longitude);
        let regular = |axis: &Axis| axis.steps().is_some_and(|[least, most]| most - least <= 0.05 * most);
        let goes_round = lon.steps().is_some_and(|[_, step]| (lon.span() + step - TURN).abs() <= 0.01 * step);
        // Gaussian latitudes end up to a step short of where a regular grid would.
        let to_the_poles = lat.steps().is_some_and(|[_, step]| lat.span() + 2.0 * step >= 180.0);
        [lat.dim + 2, lon.dim + 1] == [n_dims, n_dims] && regular(lat) && regular(lon) && goes_round && to_the_poles
    }
}

/// The one-dimensional variable of that kind along a dimension of `v`: named as the dimension is, or by the variable's attributes; the
/// nearest one if groups above have others.
fn find(source: &dyn Source, path: &str, v: &Variable, is: fn(&Variable) -> bool) -> Option<Found> {
    let named = policy::companions(path, v);
    let group = |p: &str| p.rsplit_once('/').map_or("", |(g, _)| g).to_string();
    let above = |p: &str| group(p).is_empty() || format!("{}/", group(path)).starts_with(&format!("{}/", group(p)));
    let all = source.root().walk();
    let fits = |p: &str, w: &Variable| {
        let along = w.dims.len() == 1 && v.dims.iter().zip(&v.shape).any(|(d, n)| *d == w.dims[0] && *n == w.shape[0]);
        along && is(w) && (named.iter().any(|n| n == p) || (w.name == w.dims[0] && above(p)))
    };
    let nearest = all.into_iter().filter(|(p, w)| fits(p, w)).max_by_key(|(p, _)| p.matches('/').count());
    nearest.map(|(path, w)| Found {
        dim: v.dims.iter().position(|d| *d == w.dims[0]).unwrap_or(0),
        dims: w.dims.clone(),
        v: w.clone(),
        path,
    })
}

struct Found {
    path: String,
    v: Variable,
    dims: Vec<String>,
    dim: usize,
}

/// Why there are no latitudes and longitudes along dimensions of their own.
fn absent(source: &dyn Source, path: &str, v: &Variable) -> Error {
    let named = policy::companions(path, v);
    let all = source.root().walk();
    let curved = all.iter().find(|(p, w)| {
        w.dims.len() > 1 && w.dims.iter().all(|d| v.dims.contains(d)) && named.contains(p) && policy::is_latitude(w)
    });
    match curved {
        Some((p, w)) => Error::invalid(
            format!(
                "{path} has a curvilinear grid, whose latitudes ({p}) have the dimensions {}; find the indices there and select by them, --sel {}",
                w.dims.join(", "),
                w.dims.iter().map(|d| format!("{d}=0")).collect::<Vec<_>>().join(",")
            ),
            path,
        ),
        None => Error::invalid(
            format!(
                "{path} has no one-dimensional latitudes and longitudes (standard_name, or units degrees_north and degrees_east); select along {} with --sel",
                v.dims.join(", ")
            ),
            path,
        ),
    }
}

impl Axis {
    fn read(source: &dyn Source, found: &Found, period: Option<f64>) -> Result<Self> {
        let affine = policy::affine(&found.v);
        match source.read(&found.path, &[0], &found.v.shape)? {
            Values::Numbers(n) => {
                let values = n.to_f64().into_iter().map(|x| affine.physical(x)).collect();
                Self::new(found.dim, values, period).ok_or_else(|| {
                    Error::invalid(
                        "coordinates neither rise nor fall throughout; select by index, with --sel",
                        &found.path,
                    )
                })
            }
            _ => Err(Error::invalid("the coordinate is text; select by index, with --sel", &found.path)),
        }
    }

    /// `None` if the values neither rise nor fall throughout.
    fn new(dim: usize, mut values: Vec<f64>, period: Option<f64>) -> Option<Self> {
        if let Some(p) = period {
            for i in 1..values.len() {
                let step = (values[i] - values[i - 1]).rem_euclid(p);
                // Grids of a whole turn with both ends have the same longitude twice, not next to each other.
                values[i] = values[i - 1] + if step > p / 2.0 { step - p } else { step };
            }
        }
        let monotonic = values.windows(2).all(|w| w[0] < w[1]) || values.windows(2).all(|w| w[0] > w[1]);
        (monotonic && values.iter().all(|v| v.is_finite())).then_some(Self { dim, values, period })
    }

    /// Between the first and the last coordinate.
    fn span(&self) -> f64 {
        self.values.first().zip(self.values.last()).map_or(0.0, |(a, b)| (b - a).abs())
    }

    /// The smallest and the largest step; `None` of fewer than two coordinates.
    fn steps(&self) -> Option<[f64; 2]> {
        let steps = || self.values.windows(2).map(|w| (w[1] - w[0]).abs());
        (self.values.len() > 1).then(|| [steps().fold(f64::INFINITY, f64::min), steps().fold(0.0, f64::max)])
    }

    /// Where a coordinate lies; `None` outside the grid.
    pub fn find(&self, x: f64) -> Option<Between> {
        let (first, last) = (*self.values.first()?, *self.values.last()?);
        let (low, high) = (first.min(last), first.max(last));
        let largest = self.steps().map_or(1.0, |s| s[1]);
        let near = ON_THE_LINE * largest;
        // The turn in which the grid lies; what is just before its first longitude stays there.
        let x = self.period.map_or(x, |p| low - near + (x - (low - near)).rem_euclid(p));
        if x < low - near || !x.is_finite() {
            return None;
        }
        if x > high + near {
            let gap = self.period? - (high - low);
            let goes_round = self.values.len() > 1 && gap <= ROUND * largest;
            let ends = if first < last { [self.values.len() - 1, 0] } else { [0, self.values.len() - 1] };
            return goes_round.then(|| on_line(ends, (x - high) / gap));
        }
        let x = x.clamp(low, high);
        let behind = self.values.partition_point(|v| if first <= last { *v < x } else { *v > x });
        if behind == 0 {
            return Some(Between { lines: [0, 0], part: 0.0 });
        }
        let [a, b] = [behind - 1, behind].map(|i| self.values[i]);
        Some(on_line([behind - 1, behind], (x - a) / (b - a)))
    }

    /// Its ends, for people.
    pub fn ends(&self) -> String {
        match self.values.as_slice() {
            [] => "nowhere".into(),
            [one] => one.to_string(),
            [a, .., b] => format!("{} to {}", a.min(*b), a.max(*b)),
        }
    }
}

fn on_line(lines: [usize; 2], part: f64) -> Between {
    let line = |i: usize| Between { lines: [lines[i], lines[i]], part: 0.0 };
    if part < ON_THE_LINE {
        line(0)
    } else if part > 1.0 - ON_THE_LINE {
        line(1)
    } else {
        Between { lines, part }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(values: &[f64], period: Option<f64>) -> Axis {
        Axis::new(0, values.to_vec(), period).unwrap()
    }

    fn found(axis: &Axis, x: f64) -> Option<(usize, usize, f64)> {
        axis.find(x).map(|b| (b.lines[0], b.lines[1], (b.part * 1e6).round() / 1e6))
    }

    #[test]
    fn latitudes_rise_and_fall() {
        let up = axis(&[-60.0, 0.0, 30.0, 60.0], None);
        assert_eq!(found(&up, -45.0), Some((0, 1, 0.25)));
        assert_eq!(found(&up, 30.0), Some((2, 2, 0.0)));
        assert_eq!(found(&up, 29.999_999_99), Some((2, 2, 0.0)));
        assert_eq!(found(&up, -60.0), Some((0, 0, 0.0)));
        assert_eq!(found(&up, 60.000_001), Some((3, 3, 0.0)));
        for outside in [60.1, -61.0, f64::NAN] {
            assert_eq!(found(&up, outside), None);
        }
        let down = axis(&[60.0, 30.0, 0.0, -60.0], None);
        assert_eq!(found(&down, -45.0), Some((2, 3, 0.75)));
        assert_eq!(found(&down, 60.0), Some((0, 0, 0.0)));
        assert_eq!(found(&axis(&[5.0], None), 5.0), Some((0, 0, 0.0)));
        assert_eq!(found(&axis(&[5.0], None), 5.1), None);
        assert_eq!(found(&axis(&[], None), 5.0), None);
        assert!(Axis::new(0, vec![0.0, 2.0, 1.0], None).is_none());
        assert!(Axis::new(0, vec![0.0, f64::NAN, 1.0], None).is_none());
    }

    #[test]
    fn longitudes_go_round() {
        let east = axis(&[0.0, 90.0, 180.0, 270.0], Some(360.0));
        let west = axis(&[-180.0, -90.0, 0.0, 90.0], Some(360.0));
        assert_eq!(found(&east, 315.0), Some((3, 0, 0.5)));
        assert_eq!(found(&east, -45.0), Some((3, 0, 0.5)));
        assert_eq!(found(&east, 720.0), Some((0, 0, 0.0)));
        assert_eq!(found(&east, -1e-7), Some((0, 0, 0.0)));
        assert_eq!(found(&west, 225.0), Some((0, 1, 0.5)));
        assert_eq!(found(&west, 112.5), Some((3, 0, 0.25)));
        // Both ends of the turn, over the date line, from east to west.
        let ends = axis(&[0.0, 120.0, 240.0, 360.0], Some(360.0));
        assert_eq!(found(&ends, 300.0), Some((2, 3, 0.5)));
        assert_eq!(found(&ends, 0.0), Some((0, 0, 0.0)));
        let pacific = axis(&[170.0, 175.0, -180.0, -175.0], Some(360.0));
        assert_eq!(found(&pacific, -177.5), Some((2, 3, 0.5)));
        assert_eq!(found(&pacific, 0.0), None);
        let back = axis(&[270.0, 180.0, 90.0, 0.0], Some(360.0));
        assert_eq!(found(&back, 45.0), Some((2, 3, 0.5)));
        assert_eq!(found(&back, 315.0), Some((0, 3, 0.5)));
    }

    #[test]
    fn a_globe_is_whole() {
        let grid = |lats: Vec<f64>, lons: Vec<f64>| Horizontal {
            latitude: Axis { dim: 1, ..axis(&lats, None) },
            longitude: Axis { dim: 2, ..axis(&lons, Some(360.0)) },
        };
        let line = |first: f64, step: f64, n: usize| (0..n).map(|i| first + step * i as f64).collect::<Vec<_>>();
        assert!(grid(line(90.0, -1.0, 181), line(0.0, 1.0, 360)).is_globe(3));
        assert!(grid(line(-89.5, 1.0, 180), line(-179.5, 1.0, 360)).is_globe(3));
        assert!(!grid(line(90.0, -1.0, 181), line(0.0, 1.0, 360)).is_globe(4));
        assert!(!grid(line(-60.0, 1.0, 121), line(0.0, 1.0, 360)).is_globe(3));
        assert!(!grid(line(90.0, -1.0, 181), line(0.0, 1.0, 180)).is_globe(3));
        assert!(!grid(line(90.0, -1.0, 181), line(0.0, 1.0, 361)).is_globe(3));
    }
}
