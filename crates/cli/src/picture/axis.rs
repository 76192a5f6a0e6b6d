//! Round numbers along an axis, and where they lie.

/// Labelled values, and the power of ten that the labels leave out.
pub struct Ticks {
    pub labels: Vec<(f64, String)>,
    pub exponent: i32,
}

/// At most about `n` round values in `[low, high]`; degrees go by 15, 30, 45 ... rather than by tens.
pub fn ticks(low: f64, high: f64, n: usize, degrees: bool) -> Ticks {
    let least = (high - low) / n.max(1) as f64;
    let mut ticks = Ticks { labels: Vec::new(), exponent: 0 };
    if !(least.is_normal() && least > 0.0) {
        return ticks;
    }
    let round = |steps: &[f64]| steps.iter().copied().find(|s| *s >= least);
    let unit = power_of_ten(exponent_of(least));
    let angle = if degrees { round(&[15.0, 30.0, 45.0, 60.0, 90.0]).filter(|_| least > 10.0) } else { None };
    let step = angle.or_else(|| round(&[1.0, 2.0, 2.5, 5.0, 10.0].map(|m| m * unit))).unwrap_or(10.0 * unit);
    let largest = low.abs().max(high.abs());
    if largest >= 1e6 || step < 1e-4 {
        ticks.exponent = exponent_of(largest);
    }
    let scale = power_of_ten(ticks.exponent);
    let decimals = (0..12).find(|&d| is_whole(step / scale * power_of_ten(d))).unwrap_or(12) as usize;
    let (first, last) = ((low / step - 1e-6).ceil(), (high / step + 1e-6).floor());
    let mut k = first;
    while k <= last {
        // Adding zero turns -0 into 0.
        let value = k * step + 0.0;
        ticks.labels.push((value, format!("{:.decimals$}", value / scale).replace('-', "−")));
        k += 1.0;
    }
    ticks
}

impl Ticks {
    /// The unit with the power of ten that the labels leave out.
    pub fn units(&self, units: &str) -> String {
        if self.exponent == 0 {
            return units.to_string();
        }
        let exponent = self.exponent.to_string();
        let digits = exponent.chars().map(|c| match c.to_digit(10) {
            Some(d) => ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'][d as usize],
            None => '⁻',
        });
        format!("10{} {units}", digits.collect::<String>()).trim_end().to_string()
    }
}

/// One dimension of a picture.
pub struct Axis<'a> {
    pub label: &'a str,
    pub n: usize,
    /// Strictly monotone and finite, or `None`: then indices stand for coordinates.
    coords: Option<&'a [f64]>,
    /// The first index lies at the far end.
    reversed: bool,
}

impl<'a> Axis<'a> {
    pub fn new(label: &'a str, n: usize, coords: Option<&'a [f64]>, reversed: bool) -> Self {
        let usable = |c: &&[f64]| {
            let up = |w: &[f64]| w[1] > w[0];
            c.len() == n
                && n > 1
                && c.iter().all(|v| v.is_finite())
                && (c.windows(2).all(up) || c.windows(2).all(|w| w[1] < w[0]))
        };
        Self { label, n, coords: coords.filter(usable), reversed }
    }

    /// Latitudes, longitudes.
    pub fn is_degrees(&self) -> bool {
        let label = self.label.to_lowercase();
        self.coords.is_some() && ["lat", "lon", "degree", "°"].iter().any(|word| label.contains(word))
    }

    /// Coordinates of the outer edges of the first and the last cell.
    pub fn ends(&self) -> (f64, f64) {
        match self.coords {
            Some(&[first, second, ..]) => {
                let &[.., before, last] = self.coords.unwrap_or_default() else { return (0.0, 1.0) };
                (first - (second - first) / 2.0, last + (last - before) / 2.0)
            }
            _ => (-0.5, self.n as f64 - 0.5),
        }
    }

    /// From coordinate to place on the axis, 0 to 1.
    pub fn place(&self, value: f64) -> f64 {
        let index = match self.coords {
            Some(c) => {
                let up = c[1] > c[0];
                // The interval that holds the value, or the first or last one, carried on.
                let above = c.partition_point(|v| if up { *v < value } else { *v > value }).clamp(1, c.len() - 1);
                (above - 1) as f64 + (value - c[above - 1]) / (c[above] - c[above - 1])
            }
            None => value,
        };
        let place = (index + 0.5) / self.n as f64;
        if self.reversed { 1.0 - place } else { place }
    }

    /// Labels with their places, too close ones left out.
    pub fn marks(&self, pixels: usize, apart: usize) -> Vec<(f64, String)> {
        let (a, b) = self.ends();
        let mut marks: Vec<(f64, String)> = Vec::new();
        for (value, label) in ticks(a.min(b), a.max(b), (pixels / apart).max(2), self.is_degrees()).labels {
            let place = self.place(value);
            let gap = |p: &f64| (p - place).abs() * pixels as f64;
            // Half-indices do not exist.
            let exists = self.coords.is_some() || !label.contains('.');
            if exists && (0.0..=1.0).contains(&place) && marks.iter().all(|(p, _)| gap(p) >= 0.6 * apart as f64) {
                marks.push((place, label));
            }
        }
        marks
    }
}

/// Exactly as decimal digits have it, which no logarithm promises.
fn exponent_of(v: f64) -> i32 {
    format!("{v:e}").split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0)
}

fn power_of_ten(e: i32) -> f64 {
    format!("1e{e}").parse().unwrap_or(1.0)
}

fn is_whole(v: f64) -> bool {
    (v - v.round()).abs() < 1e-6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        for (low, high, n, degrees, want, exponent) in [
            (0.0, 10.0, 5, false, "0 2 4 6 8 10", 0),
            (-0.1, 0.1, 4, false, "−0.10 −0.05 0.00 0.05 0.10", 0),
            (302.0, 302.7, 4, false, "302.0 302.2 302.4 302.6", 0),
            (0.0, 2.1e-5, 4, false, "0 1 2", -5),
            (0.0, 2.5e6, 3, false, "0 1 2", 6),
            (-90.0, 90.0, 6, true, "−90 −60 −30 0 30 60 90", 0),
            (-0.6, 359.4, 4, true, "0 90 180 270", 0),
            (0.0, 0.0, 4, false, "", 0),
            (0.0, f64::INFINITY, 4, false, "", 0),
        ] {
            let t = ticks(low, high, n, degrees);
            let got: Vec<_> = t.labels.iter().map(|(_, l)| l.as_str()).collect();
            assert_eq!((got.join(" ").as_str(), t.exponent), (want, exponent), "{low} {high}");
        }
        assert_eq!(Ticks { labels: vec![], exponent: -12 }.units("mm s⁻¹"), "10⁻¹² mm s⁻¹");
    }

    #[test]
    fn coordinates_find_their_place() {
        let up = Axis::new("lat", 4, Some(&[-3.0, -1.0, 1.0, 3.0]), true);
        assert_eq!((up.ends(), up.place(-4.0), up.place(0.0), up.place(4.0)), ((-4.0, 4.0), 1.0, 0.5, 0.0));
        let stretched = Axis::new("lev", 3, Some(&[1000.0, 100.0, 10.0]), false);
        assert_eq!((stretched.place(1000.0), stretched.place(55.0)), (0.5 / 3.0, 2.0 / 3.0));
        // Not monotone: indices.
        assert_eq!(Axis::new("lon", 3, Some(&[1.0, 3.0, 2.0]), false).place(1.0), 0.5);
    }
}
