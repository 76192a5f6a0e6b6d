//! Colors: a palette that the color-blind can tell apart, and maps of even perceived steps.

use plotters::style::RGBColor;

/// Text and axes.
pub const INK: RGBColor = RGBColor(38, 38, 38);
/// Grid lines.
pub const GRID: RGBColor = RGBColor(225, 225, 225);
/// Minor grid lines.
pub const FAINT: RGBColor = RGBColor(240, 240, 240);
/// Reference lines and remarks.
pub const GRAY: RGBColor = RGBColor(120, 120, 120);
/// Where a map has no value.
pub const MISSING: RGBColor = RGBColor(205, 205, 205);

/// Okabe and Ito's palette, less the yellow that is too light for lines.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(120, 94, 60),
    RGBColor(230, 159, 0),
];

/// The color that a coder has in every picture.
pub fn of_coder(name: &str) -> RGBColor {
    const ORDER: [&str; 7] = ["hgfdr", "hgfdr-blocked", "tensor", "ZFP", "SZ3", "TTHRESH", "SPERR"];
    // Never in one picture with the first two.
    const OTHERS: [&str; 2] = ["JPEG-LS", "JPEG 2000"];
    match ORDER.iter().position(|n| *n == name).or_else(|| OTHERS.iter().position(|n| *n == name)) {
        Some(i) => PALETTE[i],
        None if name == "Lithify" => INK,
        None => GRAY,
    }
}

/// Color of series `i` where no coder is meant.
pub fn of_series(i: usize) -> RGBColor {
    PALETTE[i % PALETTE.len()]
}

/// Anchors of cividis, evenly spaced.
const SEQUENTIAL: [(u8, u8, u8); 9] = [
    (0, 32, 77),
    (0, 51, 111),
    (57, 72, 107),
    (87, 93, 109),
    (112, 113, 115),
    (138, 134, 120),
    (166, 157, 117),
    (196, 181, 106),
    (255, 234, 70),
];

/// Anchors of a blue-white-red map, evenly spaced (Moreland's cool to warm).
const DIVERGING: [(u8, u8, u8); 9] = [
    (59, 76, 192),
    (98, 130, 234),
    (141, 176, 254),
    (184, 208, 249),
    (235, 235, 235),
    (245, 196, 173),
    (244, 154, 123),
    (222, 96, 77),
    (180, 4, 38),
];

/// Color of `t` in 0 to 1, for values.
pub fn sequential(t: f64) -> RGBColor {
    between(&SEQUENTIAL, t)
}

/// Color of `t` in 0 to 1, for errors: 0.5 is none.
pub fn diverging(t: f64) -> RGBColor {
    between(&DIVERGING, t)
}

fn between(anchors: &[(u8, u8, u8)], t: f64) -> RGBColor {
    if t.is_nan() {
        return MISSING;
    }
    let at = t.clamp(0.0, 1.0) * (anchors.len() - 1) as f64;
    let i = (at as usize).min(anchors.len() - 2);
    let f = at - i as f64;
    let (a, b) = (anchors[i], anchors[i + 1]);
    let mix = |a: u8, b: u8| (f64::from(a) * (1.0 - f) + f64::from(b) * f).round() as u8;
    RGBColor(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}
