//! Rate against error: bits per sample and the bound that is met, a curve for each coder, a panel for each field.

use std::path::Path;

use anyhow::Result;

use super::cell::{CELLS, Cell};
use super::compare::duels;
use super::row::{OURS, Row};
use crate::data::FIELDS;
use crate::plot::axes::{Entry, legend};
use crate::plot::{Axis, Canvas, MARKERS, Panel, color};

/// Fields that are drawn.
const DRAWN: [&str; 6] = ["cesm-t", "cesm-ssh", "era5-clw", "nrcan-pr", "s1-vv", "s2"];
/// Coders that are drawn.
const CODERS: [&str; 7] = [OURS, "SPERR", "SZ3", "ZFP", "TTHRESH", "JPEG-LS", "JPEG 2000"];
/// Panels in a row.
const COLUMNS: usize = 3;

/// A kind of bounds and how its axis is called.
struct Kind {
    file: &'static str,
    axis: &'static str,
    error: fn(Cell) -> Option<f64>,
}

const KINDS: [Kind; 2] = [
    Kind {
        file: "rate-range.png",
        axis: "largest error / range",
        error: |c| if let Cell::Range(e) = c { Some(e) } else { None },
    },
    Kind {
        file: "rate-l2.png",
        axis: "relative l2 error",
        error: |c| if let Cell::L2(e) = c { Some(e) } else { None },
    },
];

/// Draws what there are rows for; names of the files and what they show.
pub fn draw(rows: &[Row], out: &Path) -> Result<Vec<(&'static str, &'static str)>> {
    let fields: Vec<&str> = FIELDS.iter().filter(|e| DRAWN.contains(&e.key)).map(|e| e.label).collect();
    let mut files = Vec::new();
    for kind in &KINDS {
        let panels: Vec<(&str, Vec<Curve>)> = fields.iter().map(|f| (*f, curves(rows, f, kind))).collect();
        let panels: Vec<_> = panels.into_iter().filter(|(_, curves)| curves.iter().any(|c| c.1.len() > 1)).collect();
        if !panels.is_empty() {
            picture(&panels, kind, &out.join(kind.file))?;
            files.push((kind.file, kind.axis));
        }
    }
    Ok(files)
}

/// Index of a coder, and its bits per sample with the errors met.
type Curve = (usize, Vec<(f64, f64)>);

fn curves(rows: &[Row], field: &str, kind: &Kind) -> Vec<Curve> {
    let duels = duels(rows, &[field], &CELLS);
    let points = |coder: &str| {
        let met = duels.iter().filter_map(|d| Some((d.of(coder)?.bits(), (kind.error)(d.cell)?)));
        met.collect::<Vec<_>>()
    };
    CODERS.iter().enumerate().map(|(i, coder)| (i, points(coder))).filter(|(_, p)| !p.is_empty()).collect()
}

fn picture(panels: &[(&str, Vec<Curve>)], kind: &Kind, path: &Path) -> Result<()> {
    let lines = panels.len().div_ceil(COLUMNS);
    let mut c = Canvas::new(1080, 60 + 290 * lines)?;
    for (i, (field, curves)) in panels.iter().enumerate() {
        let (x0, y0) = (75.0 + 305.0 * (i % COLUMNS) as f64, 34.0 + 290.0 * (i / COLUMNS) as f64);
        let all = || curves.iter().flat_map(|(_, points)| points);
        let panel = Panel {
            from: (x0, y0),
            to: (x0 + 235.0, y0 + 215.0),
            x: Axis::log("bits per sample", all().map(|p| p.0)),
            y: Axis::log(if i % COLUMNS == 0 { kind.axis } else { "" }, all().map(|p| p.1)),
        };
        panel.draw_axes(&mut c, field)?;
        // Ours last, on top.
        for (k, points) in curves.iter().rev() {
            panel.line(&mut c, points, color::of_coder(CODERS[*k]), if *k == 0 { 2.4 } else { 1.4 })?;
            panel.points(&mut c, points, MARKERS[k % MARKERS.len()], color::of_coder(CODERS[*k]))?;
        }
    }
    let entry = |(i, name): (usize, &&str)| Entry {
        name: (*name).into(),
        color: color::of_coder(name),
        marker: Some(MARKERS[i % MARKERS.len()]),
        line: true,
    };
    legend(&mut c, (975.0, 40.0), &CODERS.iter().enumerate().map(entry).collect::<Vec<_>>())?;
    c.save(path)
}
