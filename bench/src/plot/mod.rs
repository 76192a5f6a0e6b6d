//! Pictures: a canvas in points, axes, and colors. Drawn at twice the size and averaged down, since the backend does not smooth edges.
//!
//! # Units     points, from the upper left corner; a picture has [`DENSITY`] pixels per point

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, FontTransform, register_font};
use plotters_backend::DrawingBackend;

pub mod axes;
pub mod color;

pub use axes::{Axis, Panel};

/// Pixels per point in the file.
const DENSITY: usize = 2;
/// Drawn pixels per pixel of the file, in each direction.
const OVERSAMPLING: usize = 2;
const FONT: &str = "DejaVu Sans";

/// Where text is put relative to its anchor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Align {
    /// Anchor at the left end.
    Left,
    /// Anchor in the middle.
    Center,
    /// Anchor at the right end.
    Right,
}

/// Symbols for points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Marker {
    /// Filled circle.
    Circle,
    /// Circle, outline only.
    Ring,
    /// Filled square.
    Square,
    /// Filled diamond.
    Diamond,
    /// Filled triangle, tip up.
    Triangle,
    /// Filled triangle, tip down.
    TriangleDown,
}

/// One for each series, in this order.
pub const MARKERS: [Marker; 5] =
    [Marker::Circle, Marker::Square, Marker::Triangle, Marker::Diamond, Marker::TriangleDown];

/// A picture being drawn.
pub struct Canvas {
    pixels: Vec<u8>,
    size: (usize, usize),
}

impl std::fmt::Debug for Canvas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Canvas of {:?} points", self.size)
    }
}

/// Points to drawn pixels.
fn px(v: f64) -> i32 {
    (v * (DENSITY * OVERSAMPLING) as f64).round() as i32
}

impl Canvas {
    /// A white canvas.
    pub fn new(width: usize, height: usize) -> Result<Self> {
        for (style, bytes) in [(FontStyle::Normal, dejavu::sans::regular()), (FontStyle::Bold, dejavu::sans::bold())] {
            register_font(FONT, style, bytes).map_err(|_| anyhow!("the embedded font cannot be read"))?;
        }
        let k = DENSITY * OVERSAMPLING;
        Ok(Self { pixels: vec![255; width * height * k * k * 3], size: (width, height) })
    }

    fn draw(&mut self, what: impl FnOnce(&mut BitMapBackend<'_>) -> Drawn) -> Result<()> {
        let k = (DENSITY * OVERSAMPLING) as u32;
        let size = (self.size.0 as u32 * k, self.size.1 as u32 * k);
        let mut backend = BitMapBackend::with_buffer(&mut self.pixels, size);
        what(&mut backend).map_err(|e| anyhow!("drawing failed: {e}"))
    }

    /// A line through points.
    pub fn path(&mut self, points: &[(f64, f64)], color: RGBColor, width: f64) -> Result<()> {
        let style = ShapeStyle { color: color.to_rgba(), filled: true, stroke_width: px(width).max(1) as u32 };
        self.draw(|b| b.draw_path(points.iter().map(|p| (px(p.0), px(p.1))), &style))
    }

    /// A filled rectangle.
    pub fn fill(&mut self, from: (f64, f64), to: (f64, f64), color: RGBColor) -> Result<()> {
        let (a, b) = ((px(from.0), px(from.1)), (px(to.0), px(to.1)));
        self.draw(|d| d.draw_rect(a, b, &color, true))
    }

    /// The outline of a rectangle.
    pub fn frame(&mut self, a: (f64, f64), b: (f64, f64), color: RGBColor, width: f64) -> Result<()> {
        self.path(&[a, (b.0, a.1), b, (a.0, b.1), a], color, width)?;
        // A closed path has one open corner.
        self.fill((a.0 - width / 2.0, a.1 - width / 2.0), (a.0 + width / 2.0, a.1 + width / 2.0), color)
    }

    /// A symbol of `radius`.
    pub fn marker(&mut self, (x, y): (f64, f64), marker: Marker, radius: f64, color: RGBColor) -> Result<()> {
        let polygon = |offsets: &[(f64, f64)]| -> Vec<(i32, i32)> {
            offsets.iter().map(|o| (px(x + o.0 * radius), px(y + o.1 * radius))).collect()
        };
        let shape = match marker {
            Marker::Circle | Marker::Ring => {
                let style = ShapeStyle { color: color.to_rgba(), filled: true, stroke_width: 1 };
                self.draw(|b| b.draw_circle((px(x), px(y)), px(radius).max(1) as u32, &style, true))?;
                return match marker {
                    Marker::Ring => {
                        self.draw(|b| b.draw_circle((px(x), px(y)), px(radius * 0.6).max(1) as u32, &WHITE, true))
                    }
                    _ => Ok(()),
                };
            }
            Marker::Square => polygon(&[(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)]),
            Marker::Diamond => polygon(&[(0.0, -1.2), (1.0, 0.0), (0.0, 1.2), (-1.0, 0.0)]),
            Marker::Triangle => polygon(&[(0.0, -1.15), (1.05, 0.8), (-1.05, 0.8)]),
            Marker::TriangleDown => polygon(&[(0.0, 1.15), (1.05, -0.8), (-1.05, -0.8)]),
        };
        self.draw(|b| b.fill_polygon(shape, &color))
    }

    /// Text whose middle height is at `y`.
    pub fn text(&mut self, (x, y): (f64, f64), text: &str, size: f64, align: Align, color: RGBColor) -> Result<()> {
        self.write((x, y), text, size, (align, FontTransform::None, FontStyle::Normal), color)
    }

    /// Bold text whose middle height is at `y`.
    pub fn title(&mut self, (x, y): (f64, f64), text: &str, size: f64, align: Align) -> Result<()> {
        self.write((x, y), text, size, (align, FontTransform::None, FontStyle::Bold), color::INK)
    }

    /// Text that reads upwards, centered on the point.
    pub fn upwards(&mut self, at: (f64, f64), text: &str, size: f64) -> Result<()> {
        self.write(at, text, size, (Align::Center, FontTransform::Rotate270, FontStyle::Normal), color::INK)
    }

    fn write(
        &mut self,
        (x, y): (f64, f64),
        text: &str,
        size: f64,
        (align, transform, style): (Align, FontTransform, FontStyle),
        color: RGBColor,
    ) -> Result<()> {
        // The backend centers the line with its descenders; digits and capitals look centered a little lower.
        let lower = if matches!(transform, FontTransform::None) { 0.12 * size } else { 0.0 };
        let h = match align {
            Align::Left => HPos::Left,
            Align::Center => HPos::Center,
            Align::Right => HPos::Right,
        };
        let font = FontDesc::new(FontFamily::Name(FONT), f64::from(px(size)), style).transform(transform);
        let style = TextStyle::from(font).color(&color).pos(Pos::new(h, VPos::Center));
        self.draw(|b| b.draw_text(text, &style, (px(x), px(y + lower))))
    }

    /// Averages the drawing down and writes a PNG.
    pub fn save(&self, path: &Path) -> Result<()> {
        let (w, h) = (self.size.0 * DENSITY, self.size.1 * DENSITY);
        let row = w * OVERSAMPLING * 3;
        let n = (OVERSAMPLING * OVERSAMPLING) as u32;
        let mut small = Vec::with_capacity(w * h * 3);
        for i in 0..w * h * 3 {
            let (y, x, c) = (i / (w * 3), i / 3 % w, i % 3);
            let at = |dy: usize, dx: usize| (y * OVERSAMPLING + dy) * row + (x * OVERSAMPLING + dx) * 3 + c;
            let sum: u32 = (0..OVERSAMPLING)
                .flat_map(|dy| (0..OVERSAMPLING).map(move |dx| (dy, dx)))
                .map(|(dy, dx)| u32::from(self.pixels[at(dy, dx)]))
                .sum();
            small.push(((sum + n / 2) / n) as u8);
        }
        let size = (w as u32, h as u32);
        let mut file = BitMapBackend::new(path, size);
        file.blit_bitmap((0, 0), size, &small)
            .and_then(|()| file.present())
            .map_err(|e| anyhow!("{}: {e}", path.display()))
    }
}

type Drawn = std::result::Result<(), plotters_backend::DrawingErrorKind<plotters_bitmap::BitMapBackendError>>;
