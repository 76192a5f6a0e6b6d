//! Original, reconstruction and error side by side, as a PNG: the same bytes for the same data, without system fonts or libraries.
//!
//! # Maths
//! Data are colored from the smallest to the largest value of the original, errors from minus to plus the bound, or the largest
//! error if there is no bound; errors beyond it are black. Where a pixel holds many samples, data are averaged, and of the errors
//! one is shown, before all others one beyond the bound: none can hide.

mod axis;
mod canvas;
mod lines;
mod maps;

use std::path::Path;

use anyhow::{Context, Result, ensure};

use axis::Axis;
use canvas::{Align, Canvas, Color, Style};

const INK: Color = [40, 40, 40];
const MISSING: Color = [214, 214, 214];
const BEYOND: Color = [0, 0, 0];
const TICK: f32 = 19.0;
const LABEL: f32 = 21.0;
const HEADING: f32 = 24.0;
const TITLE: f32 = 33.0;
const MARGIN: usize = 30;
/// Below title and caption.
const TOP: usize = 112;

/// What is drawn: a field `[y, x]` in C order, and what came back. One of the lengths may be 1: then lines are drawn.
pub struct Panels<'a> {
    /// First line.
    pub title: &'a str,
    /// Unit of the values, for the color bars.
    pub units: &'a str,
    /// Rows.
    pub ny: usize,
    /// Columns.
    pub nx: usize,
    /// Original; NaN is missing.
    pub original: &'a [f64],
    /// Reconstruction; NaN is missing.
    pub decoded: &'a [f64],
    /// Name, and perhaps unit, of the rows.
    pub y_label: &'a str,
    /// The same of the columns.
    pub x_label: &'a str,
    /// Coordinate of each row; indices if there is none, or if it is not monotone.
    pub y: Option<&'a [f64]>,
    /// Coordinate of each column.
    pub x: Option<&'a [f64]>,
    /// Largest error promised, in the field's unit.
    pub bound: Option<f64>,
    /// Second line: bound, ratio, errors.
    pub caption: &'a str,
    /// Row 0 is drawn at the bottom: for latitudes that ascend.
    pub flip_y: bool,
}

/// Draws `panels` as a PNG at `path`, under a temporary name until it is complete.
///
/// # Errors
/// If the sizes do not agree, or the file cannot be written.
pub fn draw(panels: &Panels<'_>, path: &Path) -> Result<()> {
    let bytes = render(panels)?;
    lithify_io::atomic::write(path, &bytes).with_context(|| format!("cannot write the picture {}", path.display()))
}

fn render(panels: &Panels<'_>) -> Result<Vec<u8>> {
    let n = panels.ny.checked_mul(panels.nx).filter(|n| *n > 0);
    let n = n.with_context(|| format!("nothing to draw: the field is {} x {}", panels.ny, panels.nx))?;
    for (what, len) in [("original", panels.original.len()), ("reconstruction", panels.decoded.len())] {
        ensure!(len == n, "the {what} has {len} values, not {} x {}", panels.ny, panels.nx);
    }
    let error = errors(panels.original, panels.decoded);
    let largest = error.iter().copied().filter(|e| e.is_finite()).fold(0.0, |m: f64, e| m.max(e.abs()));
    let scale = panels.bound.filter(|b| *b > 0.0 && b.is_finite()).unwrap_or(largest);
    let field = Field {
        range: range(panels.original),
        identical: error.iter().all(|e| e.is_nan() || *e == 0.0),
        n_beyond: error.iter().filter(|e| is_beyond(**e, scale)).count(),
        error_scale: if scale > 0.0 { scale } else { 1.0 },
        error,
        panels,
    };
    if panels.ny == 1 || panels.nx == 1 { lines::render(&field) } else { maps::render(&field) }
}

/// The panels with what all drawing needs to know.
struct Field<'a> {
    panels: &'a Panels<'a>,
    /// Reconstruction minus original; infinite where a value was lost, NaN where there was none.
    error: Vec<f64>,
    /// Colors of the data run over this.
    range: (f64, f64),
    /// Colors of the error run from minus to plus this.
    error_scale: f64,
    identical: bool,
    n_beyond: usize,
}

impl Field<'_> {
    /// What the three panels show, with headings.
    fn series(&self) -> [(String, &[f64], (f64, f64)); 3] {
        let mut error = "reconstruction − original".to_string();
        if self.identical {
            error.push_str(": identical");
        } else if self.n_beyond > 0 {
            let why = if self.panels.bound.is_some() { "beyond the bound" } else { "lost" };
            error = format!("{error}: {} {why}, black", self.n_beyond);
        }
        [
            ("original".to_string(), self.panels.original, self.range),
            ("reconstruction".to_string(), self.panels.decoded, self.range),
            (error, &self.error, (-self.error_scale, self.error_scale)),
        ]
    }
}

/// Title and caption, made to fit.
fn head(canvas: &mut Canvas, panels: &Panels<'_>, width: usize) {
    let room = (width - 2 * MARGIN) as f32;
    for (text, size, y) in [(panels.title, TITLE, 54.0), (panels.caption, LABEL, 88.0)] {
        let size = size * (room / canvas.text_width(text, size).max(1.0)).min(1.0);
        canvas.text(MARGIN as f32, y, text, Style { size, ..plain(Align::Left) });
    }
}

fn plain(align: Align) -> Style {
    Style { size: TICK, align, turned: false, color: INK }
}

fn errors(original: &[f64], decoded: &[f64]) -> Vec<f64> {
    let lost = |x: f64, y: f64| if y.is_finite() || !x.is_finite() { y - x } else { f64::INFINITY };
    original.iter().zip(decoded).map(|(&x, &y)| if x.is_finite() { lost(x, y) } else { f64::NAN }).collect()
}

/// Whether an error breaks the bound by more than the rounding of this difference: the verdict proper is not a picture's.
fn is_beyond(error: f64, scale: f64) -> bool {
    error.abs() > scale * (1.0 + 1e-9)
}

/// Smallest and largest finite value, a little apart if they are one.
fn range(v: &[f64]) -> (f64, f64) {
    let finite = v.iter().copied().filter(|v| v.is_finite());
    match finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v))) {
        (a, b) if a < b => (a, b),
        (a, _) if a.is_finite() => (a - 0.5_f64.max(a.abs() * 0.01), a + 0.5_f64.max(a.abs() * 0.01)),
        _ => (0.0, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panels<'a>(shape: (usize, usize), original: &'a [f64], decoded: &'a [f64]) -> Panels<'a> {
        Panels {
            title: "t: air temperature",
            units: "K",
            ny: shape.0,
            nx: shape.1,
            original,
            decoded,
            y_label: "latitude",
            x_label: "longitude",
            y: None,
            x: None,
            bound: Some(0.5),
            caption: "abs=0.5",
            flip_y: true,
        }
    }

    /// Width, height and how many pixels have the color of a broken promise.
    fn look(png: &[u8]) -> (u32, u32, usize) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut rgb).unwrap();
        (info.width, info.height, rgb.chunks(3).filter(|p| *p == BEYOND).count())
    }

    #[test]
    fn broken_promises_are_seen_at_any_shape() {
        for shape in [(20, 30), (8, 90), (1, 600), (600, 1), (1, 1), (2, 2), (90, 2), (3, 70_000), (1, 70_000)] {
            let original: Vec<f64> =
                (0..shape.0 * shape.1).map(|i| if i % 7 == 3 { f64::NAN } else { i as f64 }).collect();
            let mut decoded: Vec<f64> = original.iter().map(|v| v + 0.5).collect();
            let kept = look(&render(&panels(shape, &original, &decoded)).unwrap());
            assert!(kept.0 > 800 && kept.1 > 400 && kept.2 == 0, "{shape:?} {kept:?}");
            for wrong in [1e9, f64::NAN] {
                decoded[0] = wrong;
                assert!(look(&render(&panels(shape, &original, &decoded)).unwrap()).2 > 0, "{shape:?} {wrong}");
            }
        }
    }

    #[test]
    fn fields_without_range_are_drawn() {
        for v in [0.0, 1e30, f64::NAN, f64::INFINITY, f64::MAX] {
            let constant = [v; 144];
            let mut p = panels((12, 12), &constant, &constant);
            p.bound = None;
            assert_eq!(look(&render(&p).unwrap()).2, 0, "{v}");
        }
    }

    #[test]
    fn the_same_data_give_the_same_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.png");
        let (x, y) = (vec![1.0, 2.0, 3.0, 4.0], vec![1.1, 2.0, 2.9, 4.0]);
        draw(&panels((2, 2), &x, &y), &path).unwrap();
        let first = std::fs::read(&path).unwrap();
        draw(&panels((2, 2), &x, &y), &path).unwrap();
        assert_eq!(first, std::fs::read(&path).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(draw(&panels((2, 3), &x, &y), &path).is_err());
        assert!(draw(&panels((0, 0), &[], &[]), &path).is_err());
        assert!(draw(&panels((2, 2), &x, &y), &folder.path().join("no/such/folder.png")).is_err());
    }
}
