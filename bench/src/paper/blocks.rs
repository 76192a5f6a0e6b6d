//! Section 4.2: number of blocks against compression ratio.

use std::path::Path;

use anyhow::Result;

use super::{Finding, Section, hgfdr};
use crate::field::Field;
use crate::plot::axes::{Entry, legend};
use crate::plot::{Axis, Canvas, MARKERS, Panel, color};
use crate::rows::{Rows, exact, short};

const COUNTS: [usize; 5] = [4, 16, 64, 128, 256];
const ERRORS: [f64; 2] = [1e-4, 1e-3];

/// The experiment.
pub fn run(t: &Field, out: &Path) -> Result<Section> {
    let mut csv = Rows::new(&["l2_target", "blocks", "ratio", "l2", "max_abs_error", "encode_s"]);
    let mut table = Rows::new(&["relative error", "4 blocks", "16", "64", "128", "256"]);
    let mut curves = Vec::new();
    for e in ERRORS {
        let mut ratios = Vec::new();
        for n in COUNTS {
            let (o, _) = hgfdr::adaptive(t, n, e)?;
            ratios.push(o.ratio(t));
            let numbers = [o.ratio(t), o.l2, o.max_abs, o.encode.seconds].map(exact);
            csv.push([format!("{e:e}"), n.to_string()].into_iter().chain(numbers));
        }
        table.push(std::iter::once(format!("{e:e}")).chain(ratios.iter().map(|r| short(*r))));
        curves.push(ratios);
    }
    csv.write_csv(&out.join("fig2-block-count.csv"))?;
    draw(&curves, &out.join("fig2-block-count.png"))?;
    let best = |r: &[f64]| (0..r.len()).max_by(|a, b| r[*a].total_cmp(&r[*b])).map_or(0, |i| COUNTS[i]);
    let (tight, loose) = (&curves[0], &curves[1]);
    let findings = vec![
        Finding {
            claim: "16 blocks give the highest ratio at 1e-4".into(),
            published: "best count 16".into(),
            ours: format!("best count {} at 1e-4, {} at 1e-3", best(tight), best(loose)),
            agrees: best(tight) == 16,
        },
        Finding {
            claim: "the ratio falls from 16 to 64 blocks and rises again beyond 64".into(),
            published: "a curve without numbers".into(),
            ours: format!("at 1e-4: {} (16), {} (64), {} (256)", short(tight[1]), short(tight[2]), short(tight[4])),
            agrees: tight[1] > tight[2] && tight[4] > tight[2],
        },
    ];
    Ok(Section {
        title: "Block count (section 4.2)".into(),
        setup: "Adaptive-HGFDR on CESM T [30, 192, 288] with 4 to 256 blocks; each block gets the smallest rank that meets the error."
            .into(),
        figures: vec![("fig2-block-count.png".into(), "compression ratio against number of blocks".into())],
        csv: "fig2-block-count.csv".into(),
        table: table.markdown(),
        findings,
    })
}

fn draw(curves: &[Vec<f64>], path: &Path) -> Result<()> {
    let mut c = Canvas::new(740, 380)?;
    let counts = COUNTS.map(|n| n as f64);
    let x = Axis::log("number of blocks", counts).ticks(&counts, |v| format!("{v}"));
    let y = Axis::log("compression ratio", curves.iter().flatten().copied());
    let panel = Panel { from: (75.0, 34.0), to: (540.0, 325.0), x, y };
    panel.draw_axes(&mut c, "Adaptive-HGFDR, CESM T")?;
    let mut entries = Vec::new();
    panel.line(&mut c, &[(16.0, 1e-300), (16.0, 1e300)].map(|p| (p.0, panel.y.clip(p.1))), color::GRAY, 1.0)?;
    for (i, (curve, e)) in curves.iter().zip(ERRORS).enumerate() {
        let points: Vec<_> = counts.iter().copied().zip(curve.iter().copied()).collect();
        panel.line(&mut c, &points, color::of_series(i), 1.8)?;
        panel.points(&mut c, &points, MARKERS[i], color::of_series(i))?;
        let name = format!("relative error {}", crate::plot::axes::power(1, e.log10().round() as i32));
        entries.push(Entry { name, color: color::of_series(i), marker: Some(MARKERS[i]), line: true });
    }
    entries.push(Entry { name: "the paper's best count".into(), color: color::GRAY, marker: None, line: true });
    legend(&mut c, (550.0, 44.0), &entries)?;
    c.save(path)
}
