//! Three maps with color bars: side by side, or on top of each other when they are wide.

use anyhow::Result;

use super::axis::ticks;
use super::canvas::{Align, Canvas, Color, Rect, Style};
use super::{Axis, BEYOND, Field, HEADING, INK, LABEL, MARGIN, MISSING, TICK, TOP, head, is_beyond, plain};

/// Width over height from which the maps are stacked.
const WIDE: f64 = 2.6;
const BAR: usize = 18;

pub fn render(field: &Field<'_>) -> Result<Vec<u8>> {
    let p = field.panels;
    let (y, x) = (Axis::new(p.y_label, p.ny, p.y, p.flip_y), Axis::new(p.x_label, p.nx, p.x, false));
    let stacked = aspect(&y, &x) > WIDE;
    let (w, h) = size(aspect(&y, &x), stacked);
    // Left of a map: its axis label and the widest tick label.
    let probe = Canvas::new(1, 1)?;
    let y_marks = y.marks(h, 60);
    let widest =
        |labels: &[(f64, String)]| labels.iter().map(|(_, l)| probe.text_width(l, TICK)).fold(0.0, f32::max) as usize;
    let left = MARGIN + 30 + widest(&y_marks) + 10;
    let bars = field
        .series()
        .map(|(_, _, (low, high))| ticks(low, high, (if stacked { h / 50 } else { w / 110 }).max(2), false));
    let (step, page) = if stacked {
        let right = bars.iter().map(|b| widest(&b.labels)).max().unwrap_or(0) + BAR + 100;
        ((0, h + 58), (left + w + right, TOP + 3 * (h + 58) + 50))
    } else {
        ((w + 50, 0), (left + 3 * w + 2 * 50 + MARGIN + 20, TOP + h + 195))
    };
    let mut canvas = Canvas::new(page.0, page.1)?;
    head(&mut canvas, p, page.0);
    for (i, ((title, values, (low, high)), bar)) in field.series().into_iter().zip(&bars).enumerate() {
        let is_error = i == 2;
        let r = Rect { x: left + i * step.0, y: TOP + 40 + i * step.1, w, h };
        let room = if stacked { page.0 - r.x } else { w + 40 } as f32;
        let size = HEADING * (room / canvas.text_width(&title, HEADING)).min(1.0);
        canvas.text(r.x as f32, r.y as f32 - 12.0, &title, Style { size, ..plain(Align::Left) });
        let color = |v: f64| if is_error { error_color(v, high) } else { data_color(v, low, high) };
        let pixels = Pixels { field: values, ny: p.ny, nx: p.nx, error_scale: is_error.then_some(high) };
        let mut marks = Vec::new();
        for (py, px) in (0..h).flat_map(|py| (0..w).map(move |px| (py, px))) {
            let row = if p.flip_y { h - 1 - py } else { py };
            let c = color(pixels.value((row, h), (px, w)));
            canvas.blend((r.x + px) as i64, (r.y + py) as i64, c, 1.0);
            if is_error && c == BEYOND {
                marks.push((px, py));
            }
        }
        // Five pixels wide, that a single one is seen.
        for (px, py) in marks {
            let (x, y) = (px.saturating_sub(2), py.saturating_sub(2));
            let (w, h) = ((px + 3).min(w) - x, (py + 3).min(h) - y);
            canvas.fill(Rect { x: r.x + x, y: r.y + y, w, h }, BEYOND);
        }
        canvas.frame(r, INK);
        x_axis(&mut canvas, r, &x, !stacked || i == 2);
        y_axis(&mut canvas, r, p.y_label, &y_marks, stacked || i == 0);
        let place = |v: f64| (v - low) / (high - low);
        let marks: Vec<_> = bar.labels.iter().map(|(v, l)| (place(*v), l.clone())).collect();
        let units = bar.units(p.units);
        let along = |t: f64| color(low + t * (high - low));
        if stacked {
            upright_bar(&mut canvas, Rect { x: r.x + w + 22, w: BAR, ..r }, along, &marks, &units);
        } else {
            level_bar(&mut canvas, Rect { y: r.y + h + 78, h: BAR, ..r }, along, &marks, &units);
        }
    }
    canvas.png()
}

/// Width over height: a map of the globe has that of its angles, other fields that of their samples.
fn aspect(y: &Axis<'_>, x: &Axis<'_>) -> f64 {
    let span = |a: &Axis<'_>| (a.ends().1 - a.ends().0).abs();
    if y.is_degrees() && x.is_degrees() { span(x) / span(y) } else { x.n as f64 / y.n as f64 }
}

/// Pixels of one map. Very long shapes are squeezed: better a distorted map than an invisible one.
fn size(aspect: f64, stacked: bool) -> (usize, usize) {
    if stacked {
        (1240, (1240.0 / aspect).clamp(190.0, 480.0).round() as usize)
    } else {
        let w = (640.0 * aspect).clamp(330.0, 640.0);
        (w.round() as usize, (w / aspect).clamp(240.0, 720.0).round() as usize)
    }
}

/// A field as seen by pixels.
struct Pixels<'a> {
    field: &'a [f64],
    ny: usize,
    nx: usize,
    /// Errors: a sample of the pixel, not the mean, and one beyond this before all others.
    error_scale: Option<f64>,
}

impl Pixels<'_> {
    /// What pixel `(row of rows, column of columns)` shows; NaN if most of its samples are missing.
    fn value(&self, (py, h): (usize, usize), (px, w): (usize, usize)) -> f64 {
        let cells = |p: usize, pixels: usize, n: usize| {
            let from = p * n / pixels;
            from..((p + 1) * n / pixels).max(from + 1)
        };
        let (rows, columns) = (cells(py, h, self.ny), cells(px, w, self.nx));
        let samples = || rows.clone().flat_map(|row| &self.field[row * self.nx..][columns.clone()]).copied();
        if let Some(scale) = self.error_scale {
            let center = self.field[(rows.start + rows.end) / 2 * self.nx + (columns.start + columns.end) / 2];
            return samples().find(|e| is_beyond(*e, scale)).unwrap_or(center);
        }
        let (n, sum) = samples().filter(|v| !v.is_nan()).fold((0, 0.0), |(n, sum), v| (n + 1, sum + v));
        if 2 * n >= rows.len() * columns.len() { sum / n as f64 } else { f64::NAN }
    }
}

fn data_color(v: f64, low: f64, high: f64) -> Color {
    if !v.is_finite() {
        return MISSING;
    }
    let c = colorous::VIRIDIS.eval_continuous(((v - low) / (high - low)).clamp(0.0, 1.0));
    [c.r, c.g, c.b]
}

/// Blue below zero, red above.
fn error_color(v: f64, scale: f64) -> Color {
    if v.is_nan() {
        return MISSING;
    }
    if is_beyond(v, scale) {
        return BEYOND;
    }
    let c = colorous::RED_BLUE.eval_continuous(0.5 - v / scale / 2.0);
    [c.r, c.g, c.b]
}

fn x_axis(canvas: &mut Canvas, r: Rect, axis: &Axis<'_>, labelled: bool) {
    for (place, label) in axis.marks(r.w, 80) {
        let x = r.x as f64 + place * r.w as f64;
        canvas.fill(Rect { x: x as usize, y: r.y + r.h + 1, w: 1, h: 6 }, INK);
        if labelled {
            canvas.text(x as f32, (r.y + r.h + 26) as f32, &label, plain(Align::Center));
        }
    }
    if labelled {
        let (x, y) = (r.x as f32 + r.w as f32 / 2.0, (r.y + r.h + 52) as f32);
        canvas.text(x, y, axis.label, Style { size: LABEL, ..plain(Align::Center) });
    }
}

/// Marks at places counted from the top.
fn y_axis(canvas: &mut Canvas, r: Rect, name: &str, marks: &[(f64, String)], labelled: bool) {
    for (place, label) in marks {
        let y = r.y as f64 + place * r.h as f64;
        canvas.fill(Rect { x: r.x - 7, y: y as usize, w: 6, h: 1 }, INK);
        if labelled {
            canvas.text(r.x as f32 - 12.0, y as f32 + 6.0, label, plain(Align::Right));
        }
    }
    if labelled {
        let y = r.y as f32 + r.h as f32 / 2.0;
        canvas.text(MARGIN as f32 + 16.0, y, name, Style { size: LABEL, turned: true, ..plain(Align::Center) });
    }
}

fn level_bar(canvas: &mut Canvas, r: Rect, color: impl Fn(f64) -> Color, marks: &[(f64, String)], units: &str) {
    for i in 0..r.w {
        canvas.fill(Rect { x: r.x + i, w: 1, ..r }, color((i as f64 + 0.5) / r.w as f64));
    }
    canvas.frame(r, INK);
    for (place, label) in marks {
        let x = r.x as f64 + place * r.w as f64;
        canvas.fill(Rect { x: x as usize, y: r.y + r.h + 1, w: 1, h: 6 }, INK);
        canvas.text(x as f32, (r.y + r.h + 26) as f32, label, plain(Align::Center));
    }
    let x = r.x as f32 + r.w as f32 / 2.0;
    canvas.text(x, (r.y + r.h + 51) as f32, units, Style { size: LABEL, ..plain(Align::Center) });
}

fn upright_bar(canvas: &mut Canvas, r: Rect, color: impl Fn(f64) -> Color, marks: &[(f64, String)], units: &str) {
    for i in 0..r.h {
        canvas.fill(Rect { y: r.y + i, h: 1, ..r }, color(1.0 - (i as f64 + 0.5) / r.h as f64));
    }
    canvas.frame(r, INK);
    let mut widest: f32 = 0.0;
    for (place, label) in marks {
        let y = r.y as f64 + (1.0 - place) * r.h as f64;
        canvas.fill(Rect { x: r.x + r.w + 1, y: y as usize, w: 6, h: 1 }, INK);
        canvas.text((r.x + r.w + 12) as f32, y as f32 + 6.0, label, plain(Align::Left));
        widest = widest.max(canvas.text_width(label, TICK));
    }
    let (x, y) = ((r.x + r.w) as f32 + 12.0 + widest + 30.0, r.y as f32 + r.h as f32 / 2.0);
    canvas.text(x, y, units, Style { size: LABEL, turned: true, ..plain(Align::Center) });
}
