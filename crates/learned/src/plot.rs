//! Pictures of a run: learning curves, and bits against errors on held-out places.

use std::path::Path;

use lithify_io::atomic;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use crate::error::{Error, Result};
use crate::evaluate::Point;
use crate::train::History;

const SIZE: (u32, u32) = (1200, 800);
const FONT: &str = "DejaVu Sans";

/// Points with a name.
type Series = (String, Vec<(f64, f64)>);

/// Loss over steps: while training, and on held-out places at each rate.
///
/// # Errors
/// [`Error::Files`] if the picture cannot be written.
pub fn curves(path: &Path, history: &History) -> Result<()> {
    let mut series: Vec<Series> = vec![("training".into(), history.train.iter().map(|t| (t.0 as f64, t.3)).collect())];
    let rates = history.held_out.first().map_or(0, |h| h.1.len());
    for r in 0..rates {
        let of = |(step, points): &(usize, Vec<Point>)| points.get(r).map(|p| (*step as f64, p.loss));
        let lambda = history.held_out.first().and_then(|h| h.1.get(r)).map_or(0.0, |p| p.lambda);
        series.push((format!("held-out, lambda {lambda}"), history.held_out.iter().filter_map(of).collect()));
    }
    draw(path, "Learning", ("steps", "bits per sample + lambda distortion"), &series)
}

/// Decibels over bits per sample.
///
/// # Errors
/// [`Error::Files`] if the picture cannot be written.
pub fn rates(path: &Path, points: &[Point]) -> Result<()> {
    let series = vec![("held-out places".into(), points.iter().map(|p| (p.bits_per_sample, p.psnr_db)).collect())];
    draw(path, "Rate and distortion", ("bits per sample", "PSNR / dB"), &series)
}

fn draw(path: &Path, title: &str, (x, y): (&str, &str), series: &[Series]) -> Result<()> {
    let failed = |e: String| Error::Io { path: path.to_path_buf(), source: std::io::Error::other(e) };
    register_font(FONT, FontStyle::Normal, dejavu::sans::regular())
        .map_err(|_| failed("the embedded font cannot be read".into()))?;
    let mut pixels = vec![255_u8; SIZE.0 as usize * SIZE.1 as usize * 3];
    into(&mut pixels, title, (x, y), series).map_err(|e| failed(e.to_string()))?;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, SIZE.0, SIZE.1);
    encoder.set_color(png::ColorType::Rgb);
    let written = encoder.write_header().and_then(|mut w| w.write_image_data(&pixels));
    written.map_err(|e| failed(e.to_string()))?;
    Ok(atomic::write(path, &bytes)?)
}

type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

fn into(pixels: &mut [u8], title: &str, (x, y): (&str, &str), series: &[Series]) -> Drawn {
    let root = BitMapBackend::with_buffer(pixels, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let all = || series.iter().flat_map(|s| s.1.iter().filter(|p| p.0.is_finite() && p.1.is_finite()));
    let span = |of: fn(&(f64, f64)) -> f64| {
        let (a, b) = all().map(of).fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
        let pad = if b > a { (b - a) * 0.05 } else { 0.5 };
        if a > b { 0.0..1.0 } else { a - pad..b + pad }
    };
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (FONT, 26))
        .margin(24)
        .x_label_area_size(56)
        .y_label_area_size(84)
        .build_cartesian_2d(span(|p| p.0), span(|p| p.1))?;
    chart.configure_mesh().x_desc(x).y_desc(y).label_style((FONT, 18)).axis_desc_style((FONT, 20)).draw()?;
    for (i, (name, points)) in series.iter().enumerate() {
        let color = Palette99::pick(i).mix(1.0);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?
            .label(name.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        chart.draw_series(points.iter().map(|p| Circle::new(*p, 4, color.filled())))?;
    }
    chart
        .configure_series_labels()
        .label_font((FONT, 18))
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    root.present()?;
    Ok(())
}
