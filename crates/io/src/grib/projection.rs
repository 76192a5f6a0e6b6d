//! Map projections of grids: kilometres on the plane to longitude and latitude.
//!
//! # Maths
//! Conformal projections on an ellipsoid of eccentricity e share `t(phi) = tan(pi/4 - phi/2) / ((1 - e sin phi) / (1 + e sin phi))^(e/2)`;
//! a sphere is e = 0.
//!
//! # Reference
//! Snyder, Map Projections: A Working Manual, USGS Professional Paper 1395, 1987, chapters 7, 15 and 21.

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4};

/// A figure of the Earth, metres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Earth {
    /// Semi-major axis.
    pub(super) major: f64,
    /// Semi-minor axis.
    pub(super) minor: f64,
}

/// A conformal projection; angles in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Projection {
    /// Polar stereographic: latitude of true scale, longitude along y, whether the south pole is the centre.
    Stereographic { true_scale: f64, meridian: f64, south: bool },
    /// Lambert conformal conic: the two standard parallels, the longitude along y.
    Lambert { parallels: [f64; 2], meridian: f64 },
    /// Mercator: latitude of true scale.
    Mercator { true_scale: f64 },
}

/// The projection's constants: `rho = scale t^n`, `theta = n (lon - meridian)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cone {
    e: f64,
    n: f64,
    scale: f64,
    meridian: f64,
    /// -1 where the map is that of the other hemisphere, mirrored.
    sign: f64,
    cylinder: bool,
}

impl Projection {
    /// The constants on `earth`; `None` if the parameters define no map.
    pub(super) fn on(&self, earth: Earth) -> Option<Cone> {
        let e = (1.0 - (earth.minor / earth.major).powi(2)).max(0.0).sqrt();
        let m = |phi: f64| phi.cos() / (1.0 - (e * phi.sin()).powi(2)).sqrt();
        let cone = match *self {
            Self::Stereographic { true_scale, meridian, south } => {
                let phi = true_scale.abs().to_radians();
                let at_pole = 2.0 / ((1.0 + e).powf(1.0 + e) * (1.0 - e).powf(1.0 - e)).sqrt();
                let scale = if FRAC_PI_2 - phi < 1e-9 { at_pole } else { m(phi) / t(phi, e) };
                let sign = if south { -1.0 } else { 1.0 };
                Cone { e, n: 1.0, scale: earth.major * scale, meridian, sign, cylinder: false }
            }
            Self::Lambert { parallels: [a, b], meridian } => {
                let (a, b) = (a.to_radians(), b.to_radians());
                let n = if (a - b).abs() < 1e-9 {
                    a.sin()
                } else {
                    (m(a).ln() - m(b).ln()) / (t(a, e).ln() - t(b, e).ln())
                };
                Cone { e, n, scale: earth.major * m(a) / (n * t(a, e).powf(n)), meridian, sign: 1.0, cylinder: false }
            }
            Self::Mercator { true_scale } => {
                let scale = earth.major * m(true_scale.to_radians());
                Cone { e, n: 1.0, scale, meridian: 0.0, sign: 1.0, cylinder: true }
            }
        };
        (cone.scale.is_finite() && cone.scale != 0.0 && cone.n != 0.0).then_some(cone)
    }
}

impl Cone {
    /// Degrees to metres. The origin of a cone is its apex.
    pub(super) fn forward(&self, lat: f64, lon: f64) -> (f64, f64) {
        if self.cylinder {
            return (self.scale * lon.to_radians(), -self.scale * t(lat.to_radians(), self.e).ln());
        }
        let rho = self.scale * t((self.sign * lat).to_radians(), self.e).powf(self.n);
        let theta = self.n * wrapped(lon - self.meridian).to_radians();
        (rho * theta.sin(), -self.sign * rho * theta.cos())
    }

    /// Metres to degrees, longitude in [-180, 180).
    pub(super) fn inverse(&self, x: f64, y: f64) -> (f64, f64) {
        if self.cylinder {
            return (latitude((-y / self.scale).exp(), self.e), wrapped((x / self.scale).to_degrees()));
        }
        // A cone around the south pole has n and rho below zero.
        let toward = self.n.signum();
        let (x, y) = (toward * x, toward * self.sign * y);
        let rho = toward * x.hypot(y);
        let lon = self.meridian + (x.atan2(-y) / self.n).to_degrees();
        (self.sign * latitude((rho / self.scale).powf(1.0 / self.n), self.e), wrapped(lon))
    }
}

fn t(phi: f64, e: f64) -> f64 {
    let s = e * phi.sin();
    (FRAC_PI_4 - phi / 2.0).tan() / ((1.0 - s) / (1.0 + s)).powf(e / 2.0)
}

/// Inverse of `t`, degrees: a fixed point that gains two digits or more a step.
fn latitude(t: f64, e: f64) -> f64 {
    let mut phi = FRAC_PI_2 - 2.0 * t.atan();
    for _ in 0..if e == 0.0 { 0 } else { 10 } {
        let s = e * phi.sin();
        phi = FRAC_PI_2 - 2.0 * (t * ((1.0 - s) / (1.0 + s)).powf(e / 2.0)).atan();
    }
    phi.to_degrees()
}

/// The same longitude in [-180, 180).
pub(super) fn wrapped(lon: f64) -> f64 {
    (lon + 180.0).rem_euclid(360.0) - 180.0
}

/// From a rotated grid's latitude and longitude to the Earth's; `pole` is where the rotation puts the south pole, degrees.
pub(super) fn unrotated(lat: f64, lon: f64, pole: (f64, f64), angle: f64) -> (f64, f64) {
    let (lat, lon) = (lat.to_radians(), (lon - angle).to_radians());
    let tilt = (90.0 + pole.0).to_radians();
    let sin = tilt.cos() * lat.sin() + tilt.sin() * lat.cos() * lon.cos();
    let east = (lat.cos() * lon.sin()).atan2(tilt.cos() * lat.cos() * lon.cos() - tilt.sin() * lat.sin());
    (sin.clamp(-1.0, 1.0).asin().to_degrees(), wrapped(pole.1 + east.to_degrees()))
}

/// Latitudes of the Gaussian grid with `n` rows between pole and equator, north to south, degrees: the roots of the Legendre
/// polynomial of degree 2n, by Newton's method.
pub(super) fn gaussian_latitudes(n: usize) -> Vec<f64> {
    let degree = 2 * n;
    let mut north: Vec<f64> = (0..n)
        .map(|i| {
            let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (degree as f64 + 0.5)).cos();
            for _ in 0..10 {
                let (mut p0, mut p1) = (1.0, x);
                for k in 2..=degree {
                    let k = k as f64;
                    (p0, p1) = (p1, ((2.0 * k - 1.0) * x * p1 - (k - 1.0) * p0) / k);
                }
                let step = p1 * (x * x - 1.0) / (degree as f64 * (x * p1 - p0));
                x -= step;
                if step.abs() < 1e-15 {
                    break;
                }
            }
            x.asin().to_degrees()
        })
        .collect();
    let south: Vec<f64> = north.iter().rev().map(|v| -v).collect();
    north.extend(south);
    north
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projections_invert_and_keep_their_scale() {
        let sphere = Earth { major: 6_371_229.0, minor: 6_371_229.0 };
        let wgs84 = Earth { major: 6_378_137.0, minor: 6_356_752.314_245 };
        let maps = [
            (Projection::Stereographic { true_scale: 60.0, meridian: 249.0, south: false }, 60.0),
            (Projection::Stereographic { true_scale: -71.0, meridian: 0.0, south: true }, -71.0),
            (Projection::Lambert { parallels: [25.0, 50.0], meridian: 265.0 }, 25.0),
            (Projection::Lambert { parallels: [-40.0, -20.0], meridian: 134.0 }, -20.0),
            (Projection::Mercator { true_scale: 20.0 }, 20.0),
        ];
        for (map, true_lat) in maps {
            for earth in [sphere, wgs84] {
                let cone = map.on(earth).expect("a map");
                for (lat, lon) in [(true_lat, -100.0), (true_lat / 2.0, 17.5), (true_lat + 5.0, 140.0)] {
                    let (x, y) = cone.forward(lat, lon);
                    let (lat2, lon2) = cone.inverse(x, y);
                    assert!(
                        (lat - lat2).abs() < 1e-9 && wrapped(lon - lon2).abs() < 1e-9,
                        "{map:?} {lat} {lon}: {lat2} {lon2}"
                    );
                }
                // A small step east at the true latitude is as long on the map as on the Earth.
                let (a, b) = (cone.forward(true_lat, 20.0), cone.forward(true_lat, 20.001));
                let e2 = 1.0 - (earth.minor / earth.major).powi(2);
                let phi = f64::to_radians(true_lat);
                let radius = earth.major * phi.cos() / (1.0 - e2 * phi.sin().powi(2)).sqrt();
                let ratio = (a.0 - b.0).hypot(a.1 - b.1) / (radius * 0.001f64.to_radians());
                assert!((ratio - 1.0).abs() < 1e-6, "{map:?}: scale {ratio}");
                assert!(b.0 > a.0 || b.1 != a.1);
            }
        }
    }

    #[test]
    fn north_is_up_and_rotation_moves_the_pole() {
        let earth = Earth { major: 6_371_229.0, minor: 6_371_229.0 };
        for map in [
            Projection::Stereographic { true_scale: 60.0, meridian: 10.0, south: false },
            Projection::Stereographic { true_scale: 60.0, meridian: 10.0, south: true },
            Projection::Lambert { parallels: [40.0, 40.0], meridian: 10.0 },
            Projection::Lambert { parallels: [-40.0, -40.0], meridian: 10.0 },
        ] {
            let cone = map.on(earth).expect("a map");
            let ((x0, y0), (x1, y1)) = (cone.forward(10.0, 10.0), cone.forward(11.0, 10.0));
            assert!(x0.abs() < 1e-6 && x1.abs() < 1e-6 && y1 > y0, "{map:?}");
            assert!(cone.forward(10.0, 11.0).0 > 0.0, "{map:?}");
        }
        let (lat, lon) = unrotated(-90.0, 0.0, (-32.5, 10.0), 0.0);
        assert!((lat + 32.5).abs() < 1e-9 && (lon - 10.0).abs() < 1e-9, "{lat} {lon}");
        let (lat, lon) = unrotated(0.0, 0.0, (-32.5, 10.0), 0.0);
        assert!((lat - 57.5).abs() < 1e-9 && (lon - 10.0).abs() < 1e-9, "{lat} {lon}");
    }

    #[test]
    fn gaussian_latitudes_are_the_published_ones() {
        // N32: Hortal and Simmons 1991; the ECMWF tables give 87.8638 and 85.0965.
        let l = gaussian_latitudes(32);
        assert_eq!(l.len(), 64);
        assert!((l[0] - 87.863_798_84).abs() < 1e-7 && (l[1] - 85.096_526_99).abs() < 1e-7 && l[63] == -l[0], "{l:?}");
    }
}
