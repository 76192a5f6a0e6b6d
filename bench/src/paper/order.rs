//! Section 4.3.1: the order in which dimensions are stored against the distribution of errors.

use std::path::Path;

use anyhow::Result;

use super::{BLOCKS, Finding, Section, hgfdr};
use crate::field::Field;
use crate::measure::{Target, slice_mean_abs};
use crate::peers::{Outcome, fit_best};
use crate::plot::axes::{Entry, legend};
use crate::plot::{Axis, Canvas, Panel, color};
use crate::rows::{Rows, exact, short};

const ERROR: f64 = 1e-2;
/// As files have it, outermost dimension last, and reversed: the paper's three.
const ORDERS: [[usize; 3]; 3] = [[0, 1, 2], [1, 2, 0], [2, 1, 0]];
const CODERS: [&str; 2] = ["hgfdr", "SZ3"];

/// Mean absolute errors by slice of one variable: `[dimension][coder][order]`.
struct Profiles {
    field: Field,
    ratios: [[f64; 3]; 2],
    by_slice: Vec<[Vec<Vec<f64>>; 2]>,
}

impl Profiles {
    fn of(field: Field) -> Result<Self> {
        let mut ratios = [[0.0; 3]; 2];
        let mut by_slice = vec![[Vec::new(), Vec::new()]; 3];
        for (k, order) in ORDERS.iter().enumerate() {
            let stored = field.permuted(order)?;
            for (i, outcome) in both(&stored)?.into_iter().enumerate() {
                ratios[i][k] = outcome.ratio(&stored);
                for (d, slices) in by_slice.iter_mut().enumerate() {
                    let at = order.iter().position(|o| *o == d).unwrap_or(d);
                    slices[i].push(slice_mean_abs(&stored, &outcome.decoded, at));
                }
            }
        }
        Ok(Self { field, ratios, by_slice })
    }

    /// Mean over all slices of how far the orders lie apart, relative to the mean error.
    fn spread(&self, coder: usize) -> f64 {
        let (mut apart, mut mean) = (0.0, 0.0);
        for slices in &self.by_slice {
            let profiles = &slices[coder];
            let n = profiles[0].len() as f64;
            for ((a, b), c) in profiles[0].iter().zip(&profiles[1]).zip(&profiles[2]) {
                apart += (a.max(*b).max(*c) - a.min(*b).min(*c)) / n;
                mean += (a + b + c) / 3.0 / n;
            }
        }
        apart / mean
    }

    fn ratio_spread(&self, coder: usize) -> f64 {
        let r = self.ratios[coder];
        let (lo, hi) = (r[0].min(r[1]).min(r[2]), r[0].max(r[1]).max(r[2]));
        hi / lo - 1.0
    }
}

fn both(stored: &Field) -> Result<[Outcome; 2]> {
    let sz3 = fit_best("SZ3", stored, Target::L2(ERROR))?;
    Ok([hgfdr::adaptive(stored, BLOCKS, ERROR)?.0, sz3.ok_or_else(|| anyhow::anyhow!("SZ3 met no target"))?])
}

/// The experiment.
pub fn run(t: &Field, data: &Path, out: &Path) -> Result<Section> {
    let ts = Field::read(data, "esm/orig.TS.100days.nc", "TS", "CESM TS", &[])?;
    let ssh = Field::read(data, "esm/pop.SSH.12mon.nc", "SSH", "CESM SSH", &[])?.without_gaps()?;
    let all = [t.clone(), ts, ssh].into_iter().map(Profiles::of).collect::<Result<Vec<_>>>()?;
    let mut header = vec!["variable".to_owned(), "dimension".into(), "slice".into()];
    header.extend(CODERS.iter().flat_map(|c| ORDERS.iter().map(move |o| format!("{c} {}", order_name(o)))));
    let mut csv = Rows::new(&header.iter().map(String::as_str).collect::<Vec<_>>());
    let mut table = Rows::new(&["variable", "coder", "ratio 1-2-3", "ratio 2-3-1", "ratio 3-2-1", "profiles apart, %"]);
    for p in &all {
        for (i, coder) in CODERS.iter().enumerate() {
            let percent = format!("{:.1}", 100.0 * p.spread(i));
            table.push(
                [p.field.label.clone(), (*coder).into()].into_iter().chain(p.ratios[i].map(short)).chain([percent]),
            );
        }
        for (d, slices) in p.by_slice.iter().enumerate() {
            for s in 0..p.field.shape[d] {
                let head = [p.field.label.clone(), p.field.dims[d].clone(), s.to_string()];
                csv.push(head.into_iter().chain(slices.iter().flatten().map(|profile| exact(profile[s]))));
            }
        }
    }
    csv.write_csv(&out.join("fig4-storage-order.csv"))?;
    draw(&all, &out.join("fig4-storage-order.png"))?;
    let percents = |i: usize, f: fn(&Profiles, usize) -> f64| {
        all.iter().map(|p| format!("{:.1} %", 100.0 * f(p, i))).collect::<Vec<_>>().join(", ")
    };
    let findings = vec![
        Finding {
            claim: "the error distribution of Adaptive-HGFDR depends less on the storage order than that of SZ, for every variable"
                .into(),
            published: "curves without numbers".into(),
            ours: format!("apart: hgfdr {}; SZ3 {}", percents(0, Profiles::spread), percents(1, Profiles::spread)),
            agrees: all.iter().all(|p| p.spread(0) < p.spread(1)),
        },
        Finding {
            claim: "the error distribution of Adaptive-HGFDR does not depend on the storage order (within 5 %)".into(),
            published: "\"independent of the data organization order\"".into(),
            ours: format!("apart: {}", percents(0, Profiles::spread)),
            agrees: all.iter().all(|p| p.spread(0) < 0.05),
        },
        Finding {
            claim: "(not in the paper) its ratio depends less on the storage order than that of SZ, for every variable".into(),
            published: "-".into(),
            ours: format!(
                "largest over smallest ratio, less 1: hgfdr {}; SZ3 {}",
                percents(0, Profiles::ratio_spread),
                percents(1, Profiles::ratio_spread)
            ),
            agrees: all.iter().all(|p| p.ratio_spread(0) < p.ratio_spread(1)),
        },
    ];
    Ok(Section {
        title: "Storage order (section 4.3.1)".into(),
        setup: format!(
            "Three variables, each stored in three orders of its dimensions, at relative error {ERROR:e}: Adaptive-HGFDR with \
             {BLOCKS} blocks and SZ3 (the paper has an earlier SZ). The land of SSH is filled smoothly and counted as data, the same in \
             every order. \"Apart\" is the distance between the highest and the lowest of the three profiles, mean over all slices \
             of all dimensions, relative to the mean error."
        ),
        figures: vec![("fig4-storage-order.png".into(), "mean absolute error of each slice, by dimension".into())],
        csv: "fig4-storage-order.csv".into(),
        table: table.markdown(),
        findings,
    })
}

fn order_name(order: &[usize]) -> String {
    order.iter().map(|d| (d + 1).to_string()).collect::<Vec<_>>().join("-")
}

/// Tints of a coder's color, one for each order.
fn tint(coder: usize, order: usize) -> plotters::style::RGBColor {
    let c = color::of_series(coder);
    let lighter = |v: u8| (f64::from(v) + (255.0 - f64::from(v)) * 0.33 * order as f64).round() as u8;
    plotters::style::RGBColor(lighter(c.0), lighter(c.1), lighter(c.2))
}

fn draw(all: &[Profiles], path: &Path) -> Result<()> {
    let (width, height) = (270.0, 150.0);
    let mut c = Canvas::new(1010, 725)?;
    for (row, p) in all.iter().enumerate() {
        for (d, slices) in p.by_slice.iter().enumerate() {
            let from = (75.0 + d as f64 * (width + 55.0), 34.0 + row as f64 * (height + 75.0));
            let values = || slices.iter().flatten().flatten().copied();
            let y = if d == 0 { format!("mean |error|, {}", p.field.units) } else { String::new() };
            let panel = Panel {
                from,
                to: (from.0 + width, from.1 + height),
                x: Axis::with_ticks(&format!("{} index", p.field.dims[d]), 0.0, (p.field.shape[d] - 1) as f64),
                y: Axis::linear(&y, values(), true),
            };
            panel.draw_axes(&mut c, &format!("{}, along {}", p.field.label, p.field.dims[d]))?;
            // The first order is drawn thickest and first, so that orders that agree stay visible as one line in another.
            for k in 0..ORDERS.len() {
                for (i, profiles) in slices.iter().enumerate().rev() {
                    let points: Vec<_> = profiles[k].iter().enumerate().map(|(s, e)| (s as f64, *e)).collect();
                    panel.line(&mut c, &points, tint(i, k), 2.6 - 0.8 * k as f64)?;
                }
            }
        }
    }
    for (i, coder) in CODERS.iter().enumerate() {
        for (k, order) in ORDERS.iter().enumerate() {
            let name = format!("{coder}, stored {}", order_name(order));
            let entry = Entry { name, color: tint(i, k), marker: None, line: true };
            legend(&mut c, (75.0 + 160.0 * (3 * i + k) as f64 * 0.97, 695.0), &[entry])?;
        }
    }
    c.save(path)
}
