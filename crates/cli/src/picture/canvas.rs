//! A page of pixels: rectangles, lines, text, PNG.

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use anyhow::{Context, Result};

/// Red, green, blue.
pub type Color = [u8; 3];

/// Where a text lies relative to its point.
#[derive(Clone, Copy, PartialEq)]
pub enum Align {
    Left,
    Center,
    Right,
}

/// How a text is set.
#[derive(Clone, Copy)]
pub struct Style {
    /// Pixels from the top of the tallest to the bottom of the deepest letter.
    pub size: f32,
    pub align: Align,
    /// Reading upwards.
    pub turned: bool,
    pub color: Color,
}

/// A rectangle of pixels.
#[derive(Clone, Copy)]
pub struct Rect {
    pub x: usize,
    pub y: usize,
    pub w: usize,
    pub h: usize,
}

pub struct Canvas {
    w: usize,
    h: usize,
    rgb: Vec<u8>,
    font: FontRef<'static>,
}

impl Canvas {
    /// A white page.
    pub fn new(w: usize, h: usize) -> Result<Self> {
        Ok(Self { w, h, rgb: vec![255; w * h * 3], font: font()? })
    }

    /// Mixes `color` into a pixel; outside of the page nothing happens.
    pub fn blend(&mut self, x: i64, y: i64, color: Color, part: f32) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        if x >= self.w || y >= self.h {
            return;
        }
        let at = (y * self.w + x) * 3;
        for (old, new) in self.rgb[at..at + 3].iter_mut().zip(color) {
            *old = (f32::from(*old) + (f32::from(new) - f32::from(*old)) * part.clamp(0.0, 1.0)).round() as u8;
        }
    }

    pub fn fill(&mut self, r: Rect, color: Color) {
        for y in r.y..r.y + r.h {
            for x in r.x..r.x + r.w {
                self.blend(x as i64, y as i64, color, 1.0);
            }
        }
    }

    /// A line of one pixel around `r`.
    pub fn frame(&mut self, r: Rect, color: Color) {
        let (x, y) = (r.x - 1, r.y - 1);
        self.fill(Rect { x, y, w: r.w + 2, h: 1 }, color);
        self.fill(Rect { x, y: r.y + r.h, w: r.w + 2, h: 1 }, color);
        self.fill(Rect { x, y, w: 1, h: r.h + 2 }, color);
        self.fill(Rect { x: r.x + r.w, y, w: 1, h: r.h + 2 }, color);
    }

    /// A smooth line between pixel coordinates.
    pub fn line(&mut self, a: (f32, f32), b: (f32, f32), width: f32, color: Color) {
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let length_sq = (dx * dx + dy * dy).max(1e-12);
        let reach = width / 2.0 + 1.0;
        let span = |p: f32, q: f32| ((p.min(q) - reach).floor() as i64, (p.max(q) + reach).ceil() as i64);
        let ((x0, x1), (y0, y1)) = (span(a.0, b.0), span(a.1, b.1));
        for y in y0..=y1 {
            for x in x0..=x1 {
                let (px, py) = (x as f32 + 0.5 - a.0, y as f32 + 0.5 - a.1);
                let along = ((px * dx + py * dy) / length_sq).clamp(0.0, 1.0);
                let (ex, ey) = (px - along * dx, py - along * dy);
                let part = width / 2.0 + 0.5 - (ex * ex + ey * ey).sqrt();
                if part > 0.0 {
                    self.blend(x, y, color, part);
                }
            }
        }
    }

    /// A text whose baseline begins, ends or has its middle at `(x, y)`.
    pub fn text(&mut self, x: f32, y: f32, text: &str, style: Style) {
        let width = width(&self.font, text, style.size);
        let mut along = match style.align {
            Align::Left => 0.0,
            Align::Center => -width / 2.0,
            Align::Right => -width,
        };
        let scaled = self.font.clone().into_scaled(PxScale::from(style.size));
        let mut previous = None;
        for c in text.chars() {
            let id = scaled.glyph_id(c);
            along += previous.map_or(0.0, |p| scaled.kern(p, id));
            // The glyph is drawn upright at the origin, whole pixels and all, and turned with the pixels.
            let glyph = id.with_scale_and_position(style.size, point(along.fract(), 0.0));
            let shift = along.trunc() as i64;
            if let Some(outline) = scaled.outline_glyph(glyph) {
                let corner = outline.px_bounds().min;
                outline.draw(|gx, gy, part| {
                    let (u, v) = (shift + i64::from(gx) + corner.x as i64, i64::from(gy) + corner.y as i64);
                    let (px, py) = if style.turned { (v, -u) } else { (u, v) };
                    self.blend(x.round() as i64 + px, y.round() as i64 + py, style.color, part);
                });
            }
            along += scaled.h_advance(id);
            previous = Some(id);
        }
    }

    /// Pixels that a text takes from left to right.
    pub fn text_width(&self, text: &str, size: f32) -> f32 {
        width(&self.font, text, size)
    }

    pub fn png(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, self.w.try_into()?, self.h.try_into()?);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        // Flat areas and steps: filters are made for photographs.
        encoder.set_deflate_compression(png::DeflateCompression::Level(9));
        encoder.set_filter(png::Filter::NoFilter);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.rgb)?;
        writer.finish()?;
        Ok(out)
    }
}

fn font() -> Result<FontRef<'static>> {
    FontRef::try_from_slice(dejavu::sans::regular()).context("the built-in font cannot be read: a broken build")
}

fn width(font: &FontRef<'static>, text: &str, size: f32) -> f32 {
    let scaled = font.as_scaled(PxScale::from(size));
    let mut previous = None;
    text.chars()
        .map(|c| {
            let id = scaled.glyph_id(c);
            let kern = previous.replace(id).map_or(0.0, |p| scaled.kern(p, id));
            kern + scaled.h_advance(id)
        })
        .sum()
}
