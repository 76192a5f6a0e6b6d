//! Axes, frames, legends, maps.

use anyhow::Result;
use plotters::style::RGBColor;

use super::color::{FAINT, GRID, INK};
use super::{Align, Canvas, Marker};

const TICK_SIZE: f64 = 10.0;
const LABEL_SIZE: f64 = 11.5;

/// Values to positions along one side of a panel.
#[derive(Debug, Clone)]
pub struct Axis {
    /// What is shown, with its unit.
    pub label: String,
    log: bool,
    min: f64,
    max: f64,
    ticks: Vec<(f64, String)>,
    minor: Vec<f64>,
}

impl Axis {
    /// A logarithmic axis that holds all positive `values`.
    pub fn log(label: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let (min, max) = extent(values.into_iter().filter(|v| *v > 0.0 && v.is_finite())).unwrap_or((1.0, 10.0));
        let (lo, hi) = (min.log10(), max.log10());
        let pad = ((hi - lo) * 0.06).max(0.04);
        let (min, max) = (10f64.powf(lo - pad), 10f64.powf(hi + pad));
        let decades = || (min.log10().floor() as i32)..=(max.log10().ceil() as i32);
        let steps = |digits: &'static [i32]| decades().flat_map(move |d| digits.iter().map(move |k| (*k, d)));
        // Few decades call for labels in between.
        let digits: &[i32] = match hi - lo {
            d if d > 2.2 => &[1],
            d if d > 0.9 => &[1, 2, 5],
            _ => &[1, 2, 3, 4, 5, 6, 8],
        };
        let inside = |v: f64| v >= min && v <= max;
        let value = |(k, d): (i32, i32)| f64::from(k) * 10f64.powi(d);
        let ticks = steps(digits).filter(|s| inside(value(*s))).map(|(k, d)| (value((k, d)), power(k, d))).collect();
        let minor = steps(&[2, 3, 4, 5, 6, 7, 8, 9]).map(value).filter(|v| inside(*v)).collect();
        Self { label: label.into(), log: true, min, max, ticks, minor }
    }

    /// A linear axis that holds all `values` and 0 if `from_zero`.
    pub fn linear(label: &str, values: impl IntoIterator<Item = f64>, from_zero: bool) -> Self {
        let values = values.into_iter().filter(|v| v.is_finite());
        let (mut min, mut max) = extent(values.chain(from_zero.then_some(0.0))).unwrap_or((0.0, 1.0));
        let pad = if max > min { (max - min) * 0.05 } else { 0.5 };
        min -= if from_zero && min >= 0.0 { 0.0 } else { pad };
        max += pad;
        Self::with_ticks(label, min, max)
    }

    /// A linear axis from `min` to `max` exactly.
    pub fn with_ticks(label: &str, min: f64, max: f64) -> Self {
        let raw = (max - min) / 5.0;
        let unit = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|k| k * unit).into_iter().find(|s| *s >= raw * 0.999).unwrap_or(raw);
        let first = (min / step).ceil() as i64;
        let ticks = (first..)
            .map(|i| i as f64 * step)
            .take_while(|v| *v <= max + step * 1e-9)
            .map(|v| (v, number(v, step, min.abs().max(max.abs()))))
            .collect();
        Self { label: label.into(), log: false, min, max, ticks, minor: Vec::new() }
    }

    /// One place for each name.
    pub fn names(label: &str, names: &[String]) -> Self {
        let ticks = names.iter().enumerate().map(|(i, n)| (i as f64, n.clone())).collect();
        Self { label: label.into(), log: false, min: -0.5, max: names.len() as f64 - 0.5, ticks, minor: Vec::new() }
    }

    /// The same axis with other ticks.
    pub fn ticks(mut self, at: &[f64], text: impl Fn(f64) -> String) -> Self {
        self.ticks = at.iter().map(|v| (*v, text(*v))).collect();
        self.minor.clear();
        self
    }

    /// The nearest value that the axis shows.
    pub fn clip(&self, v: f64) -> f64 {
        v.clamp(self.min, self.max)
    }

    /// 0 at the lower end, 1 at the upper.
    fn at(&self, v: f64) -> f64 {
        let f = |v: f64| if self.log { v.max(f64::MIN_POSITIVE).ln() } else { v };
        (f(v) - f(self.min)) / (f(self.max) - f(self.min))
    }
}

fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |e, v| Some(e.map_or((v, v), |(a, b): (f64, f64)| (a.min(v), b.max(v)))))
}

/// `k 10^d` as text: plain near 1, else with a raised exponent.
pub fn power(k: i32, d: i32) -> String {
    match d {
        0..=3 => (i64::from(k) * 10i64.pow(d as u32)).to_string(),
        -2..=-1 => format!("{:.*}", d.unsigned_abs() as usize, f64::from(k) * 10f64.powi(d)),
        _ => {
            let raised: String = d
                .to_string()
                .chars()
                .map(|c| match c {
                    '-' => '⁻',
                    '1' => '¹',
                    '2' => '²',
                    '3' => '³',
                    c => char::from_u32('⁰' as u32 + c as u32 - '0' as u32).unwrap_or(c),
                })
                .collect();
            if k == 1 { format!("10{raised}") } else { format!("{k}·10{raised}") }
        }
    }
}

/// Text of a tick of a linear axis.
fn number(v: f64, step: f64, largest: f64) -> String {
    if v == 0.0 {
        return "0".into();
    }
    if !(1e-3..1e6).contains(&largest) {
        let d = largest.log10().floor() as i32;
        let digits = (f64::from(d) - step.log10().floor()).max(0.0) as usize;
        return format!("{:.digits$}{}", v / 10f64.powi(d), power(1, d).replacen("10", "·10", 1));
    }
    format!("{v:.*}", (-step.log10().floor()).max(0.0) as usize)
}

/// A framed part of a canvas with two axes.
#[derive(Debug)]
pub struct Panel {
    /// Upper left corner.
    pub from: (f64, f64),
    /// Lower right corner.
    pub to: (f64, f64),
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
}

impl Panel {
    /// Position of a value on the canvas.
    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let (w, h) = (self.to.0 - self.from.0, self.to.1 - self.from.1);
        (self.from.0 + self.x.at(x) * w, self.to.1 - self.y.at(y) * h)
    }

    fn shows(&self, p: &(f64, f64)) -> bool {
        (!self.x.log || p.0 > 0.0) && (!self.y.log || p.1 > 0.0)
    }

    /// Grid, frame, ticks and labels; drawn before the data. Names on a horizontal axis get a second row where they are crowded.
    pub fn draw_axes(&self, c: &mut Canvas, title: &str) -> Result<()> {
        let ((x0, y0), (x1, y1)) = (self.from, self.to);
        for (axis, vertical) in [(&self.x, true), (&self.y, false)] {
            let minor = axis.minor.iter().map(|v| (*v, FAINT));
            for (v, color) in minor.chain(axis.ticks.iter().map(|t| (t.0, GRID))) {
                let p = if vertical { self.at(v, self.y.min) } else { self.at(self.x.min, v) };
                let line = if vertical { [(p.0, y0), (p.0, y1)] } else { [(x0, p.1), (x1, p.1)] };
                c.path(&line, color, 0.8)?;
            }
        }
        c.frame(self.from, self.to, INK, 1.0)?;
        for (v, text) in &self.x.ticks {
            let (x, _) = self.at(*v, self.y.min);
            c.path(&[(x, y1), (x, y1 + 4.0)], INK, 1.0)?;
            for (i, line) in text.lines().enumerate() {
                c.text((x, y1 + 12.0 + 12.0 * i as f64), line, TICK_SIZE, Align::Center, INK)?;
            }
        }
        for (v, text) in &self.y.ticks {
            let (_, y) = self.at(self.x.min, *v);
            c.path(&[(x0 - 4.0, y), (x0, y)], INK, 1.0)?;
            c.text((x0 - 7.0, y), text, TICK_SIZE, Align::Right, INK)?;
        }
        let lines = self.x.ticks.iter().map(|t| t.1.lines().count()).max().unwrap_or(1);
        c.text(((x0 + x1) / 2.0, y1 + 18.0 + 12.0 * lines as f64), &self.x.label, LABEL_SIZE, Align::Center, INK)?;
        c.upwards((x0 - 50.0, (y0 + y1) / 2.0), &self.y.label, LABEL_SIZE)?;
        c.title(((x0 + x1) / 2.0, y0 - 12.0), title, LABEL_SIZE, Align::Center)
    }

    /// A line through values; those that a logarithmic axis cannot show are left out.
    pub fn line(&self, c: &mut Canvas, points: &[(f64, f64)], color: RGBColor, width: f64) -> Result<()> {
        let points: Vec<_> = points.iter().filter(|p| self.shows(p)).map(|p| self.at(p.0, p.1)).collect();
        c.path(&points, color, width)
    }

    /// Symbols at values.
    pub fn points(&self, c: &mut Canvas, points: &[(f64, f64)], marker: Marker, color: RGBColor) -> Result<()> {
        points.iter().filter(|p| self.shows(p)).try_for_each(|p| c.marker(self.at(p.0, p.1), marker, 4.2, color))
    }

    /// A map of `rows * columns` values in 0 to 1, first row at the bottom; NaN where there is none.
    pub fn map(&self, c: &mut Canvas, values: &[f64], columns: usize, color: fn(f64) -> RGBColor) -> Result<()> {
        let rows = values.len() / columns;
        let (w, h) = (self.to.0 - self.from.0, self.to.1 - self.from.1);
        for (i, v) in values.iter().enumerate() {
            let (r, q) = ((i / columns) as f64, (i % columns) as f64);
            let (x, y) = (self.from.0 + q / columns as f64 * w, self.to.1 - (r + 1.0) / rows as f64 * h);
            c.fill((x, y), (x + w / columns as f64, y + h / rows as f64), color(*v))?;
        }
        c.frame(self.from, self.to, INK, 0.8)
    }
}

/// One row of a legend.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Text.
    pub name: String,
    /// Color of line and symbol.
    pub color: RGBColor,
    /// Symbol, if the series has one.
    pub marker: Option<Marker>,
    /// Whether the series has a line.
    pub line: bool,
}

/// A legend in one column with its upper left corner at `at`.
pub fn legend(c: &mut Canvas, at: (f64, f64), entries: &[Entry]) -> Result<()> {
    for (i, e) in entries.iter().enumerate() {
        let y = at.1 + 8.0 + 16.0 * i as f64;
        if e.line {
            c.path(&[(at.0, y), (at.0 + 22.0, y)], e.color, 1.8)?;
        }
        if let Some(m) = e.marker {
            c.marker((at.0 + 11.0, y), m, 4.2, e.color)?;
        }
        c.text((at.0 + 29.0, y), &e.name, 10.5, Align::Left, INK)?;
    }
    Ok(())
}

/// A vertical bar that explains the colors of a map, with the axis at its right.
pub fn color_bar(
    c: &mut Canvas,
    from: (f64, f64),
    to: (f64, f64),
    axis: &Axis,
    color: fn(f64) -> RGBColor,
) -> Result<()> {
    let steps = 256;
    for i in 0..steps {
        let y = |k: usize| to.1 - k as f64 / steps as f64 * (to.1 - from.1);
        c.fill((from.0, y(i + 1)), (to.0, y(i)), color((i as f64 + 0.5) / steps as f64))?;
    }
    c.frame(from, to, INK, 0.8)?;
    for (v, text) in &axis.ticks {
        let y = to.1 - axis.at(*v) * (to.1 - from.1);
        c.path(&[(to.0, y), (to.0 + 4.0, y)], INK, 1.0)?;
        c.text((to.0 + 7.0, y), text, TICK_SIZE, Align::Left, INK)?;
    }
    c.text(((from.0 + to.0) / 2.0, from.1 - 12.0), &axis.label, TICK_SIZE, Align::Left, INK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_read_well() {
        let text = |a: Axis| a.ticks.into_iter().map(|t| t.1).collect::<Vec<_>>();
        assert_eq!(text(Axis::log("", [1e-5, 1e-3]))[..2], ["10⁻⁵", "2·10⁻⁵"]);
        assert_eq!(text(Axis::log("", [0.5, 4000.0])), ["1", "10", "100", "1000"]);
        assert_eq!(text(Axis::with_ticks("", 0.0, 1.0)), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(text(Axis::with_ticks("", 0.0, 1.2e-4)), ["0", "0.5·10⁻⁴", "1.0·10⁻⁴"]);
        assert_eq!(text(Axis::with_ticks("", -90.0, 90.0))[..2], ["-50", "0"]);
    }
}
