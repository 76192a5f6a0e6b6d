//! Three line plots, one below the other, for fields with one dimension.

use anyhow::Result;

use super::axis::ticks;
use super::canvas::{Align, Canvas, Color, Rect, Style};
use super::{Axis, BEYOND, Field, HEADING, INK, LABEL, MARGIN, TICK, TOP, head, is_beyond, plain};

const WIDTH: usize = 1240;
const HEIGHT: usize = 230;
const GRID: Color = [228, 228, 228];
const DATA: Color = [49, 104, 142];
const ERROR: Color = [178, 24, 43];

pub fn render(field: &Field<'_>) -> Result<Vec<u8>> {
    let p = field.panels;
    let (label, n, coords) = if p.nx == 1 { (p.y_label, p.ny, p.y) } else { (p.x_label, p.nx, p.x) };
    let x = Axis::new(label, n, coords, false);
    // Values get a margin above and below; errors reach a little beyond the bound.
    let padded = |(low, high): (f64, f64)| (low - 0.06 * (high - low), high + 0.06 * (high - low));
    let series = field.series().map(|(title, values, range)| (title, values, padded(range)));
    let scales = [0, 1, 2].map(|i| ticks(series[i].2.0, series[i].2.1, 5, false));
    let probe = Canvas::new(1, 1)?;
    let labels = scales.iter().flat_map(|t| &t.labels);
    let left = MARGIN + 40 + labels.map(|(_, l)| probe.text_width(l, TICK)).fold(0.0, f32::max) as usize;
    let page = (left + WIDTH + MARGIN + 20, TOP + 3 * (HEIGHT + 58) + 50);
    let mut canvas = Canvas::new(page.0, page.1)?;
    head(&mut canvas, p, page.0);
    for (i, ((title, values, (low, high)), scale)) in series.iter().zip(&scales).enumerate() {
        let r = Rect { x: left, y: TOP + 40 + i * (HEIGHT + 58), w: WIDTH, h: HEIGHT };
        canvas.text(r.x as f32, r.y as f32 - 12.0, title, Style { size: HEADING, ..plain(Align::Left) });
        let y_of = |v: f64| r.y as f64 + (high - v) / (high - low) * r.h as f64;
        for (v, label) in &scale.labels {
            canvas.fill(Rect { y: y_of(*v) as usize, h: 1, ..r }, GRID);
            canvas.text(r.x as f32 - 12.0, y_of(*v) as f32 + 6.0, label, plain(Align::Right));
        }
        for (place, label) in x.marks(r.w, 90) {
            let at = r.x as f64 + place * r.w as f64;
            canvas.fill(Rect { x: at as usize, w: 1, ..r }, GRID);
            if i == 2 {
                canvas.text(at as f32, (r.y + r.h + 26) as f32, &label, plain(Align::Center));
            }
        }
        if i == 2 && p.bound.is_some() {
            for bound in [-field.error_scale, field.error_scale] {
                canvas.fill(Rect { y: y_of(bound) as usize, h: 1, ..r }, ERROR);
            }
        }
        if i == 2 {
            curve(&mut canvas, r, values, (*low, *high), (ERROR, field.error_scale));
        } else {
            curve(&mut canvas, r, values, (*low, *high), (DATA, f64::INFINITY));
        }
        canvas.frame(r, INK);
        let (units, y) = (scale.units(p.units), r.y as f32 + r.h as f32 / 2.0);
        canvas.text(MARGIN as f32 + 16.0, y, &units, Style { size: LABEL, turned: true, ..plain(Align::Center) });
    }
    let bottom = (page.1 - 20) as f32;
    canvas.text((left + WIDTH / 2) as f32, bottom, label, Style { size: LABEL, ..plain(Align::Center) });
    canvas.png()
}

/// A line through the samples, broken where they are missing. Many samples in a pixel become the span from their smallest to
/// their largest. Samples outside of the frame are drawn at its edge, those beyond the limit get a black mark.
fn curve(canvas: &mut Canvas, r: Rect, values: &[f64], (low, high): (f64, f64), (color, limit): (Color, f64)) {
    let n = values.len();
    let group = n.div_ceil(2 * r.w).max(1);
    let y = |v: f64| (r.y as f64 + (high - v.clamp(low, high)) / (high - low) * r.h as f64) as f32;
    let mut before = None;
    let mut marks = Vec::new();
    for (i, some) in values.chunks(group).enumerate() {
        let x = (r.x as f64 + ((i * group) as f64 + some.len() as f64 / 2.0) / n as f64 * r.w as f64) as f32;
        let present = || some.iter().copied().filter(|v| !v.is_nan());
        let (a, b) = present().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        if present().next().is_none() {
            before = None;
            continue;
        }
        marks.extend([a, b].into_iter().filter(|v| is_beyond(*v, limit)).map(|v| (x, y(v))));
        canvas.line(before.unwrap_or((x, y(a))), (x, y(a)), 1.8, color);
        if b > a {
            canvas.line((x, y(a)), (x, y(b)), 1.8, color);
        }
        before = Some((x, y(b)));
    }
    for (x, y) in marks {
        canvas.line((x, y - 5.0), (x, y + 5.0), 5.0, BEYOND);
    }
}
