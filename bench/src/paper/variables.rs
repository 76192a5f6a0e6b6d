//! Section 4.4: all float variables of the CESM and ERA5 files.

use std::path::Path;

use anyhow::Result;
use lithify_codec::Dtype;

use super::{BlockedRank, Finding, Section, compared, of};
use crate::field::Field;
use crate::measure::{mean_std, slice_l2};
use crate::peers::Outcome;
use crate::plot::axes::{Entry, legend};
use crate::plot::{Axis, Canvas, MARKERS, Panel, color};
use crate::rows::{Rows, exact, short};

const ERROR: f64 = 1e-2;
const CODERS: [&str; 5] = ["hgfdr", "hgfdr-blocked", "tensor", "ZFP", "SZ3"];
/// Coders that the paper compares.
const THEIRS: [&str; 3] = ["hgfdr", "hgfdr-blocked", "ZFP"];
const ERA5: &str = "esm/era5_tl31_19590102T00.nc";

/// One variable, coded by all.
struct Measured {
    field: Field,
    outcomes: Vec<Outcome>,
}

/// What figure 8 shows of a coding.
type Measure = fn(&Field, &Outcome) -> f64;
const MEASURES: [(&str, Measure); 3] = [
    ("compression ratio", |f, o| o.ratio(f)),
    ("encode time, s", |_, o| o.encode.seconds),
    ("std. dev. of slice errors", |f, o| {
        let slices: Vec<f64> = slice_l2(f, &o.decoded, f.longitude()).into_iter().flatten().collect();
        mean_std(&slices).1
    }),
];

/// The experiment.
pub fn run(t: &Field, data: &Path, out: &Path) -> Result<Section> {
    let mut fields = vec![
        t.clone(),
        Field::read(data, "esm/orig.TS.100days.nc", "TS", "CESM TS", &[])?,
        Field::read(data, "esm/pop.SSH.12mon.nc", "SSH", "CESM SSH", &[])?,
        Field::read(data, "esm/ihesp14.TS.12mon.nc", "TS", "CESM TS, cells", &[])?,
    ];
    let source = lithify_io::formats::open(&data.join(ERA5))?;
    for (path, v) in source.root().walk() {
        if v.dtype() == Some(Dtype::F32) && v.shape.len() >= 3 {
            fields.push(Field::read(data, ERA5, &path, &format!("ERA5 {}", shortened(&v.name)), &[])?);
        }
    }
    let all = fields
        .into_iter()
        .map(|field| {
            Ok(Measured { outcomes: compared(&field, ERROR, BlockedRank::MeetsError, &["ZFP", "SZ3"])?, field })
        })
        .collect::<Result<Vec<_>>>()?;
    let mut csv =
        Rows::new(&["variable", "shape", "coder", "bytes", "ratio", "l2", "encode_s", "decode_s", "slice_error_std"]);
    let mut header = vec!["variable", "shape"];
    header.extend(CODERS);
    let mut table = Rows::new(&header);
    for m in &all {
        let shape = m.field.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
        for o in &m.outcomes {
            let numbers =
                [o.ratio(&m.field), o.l2, o.encode.seconds, o.decode.seconds, MEASURES[2].1(&m.field, o)].map(exact);
            let head = [m.field.label.clone(), shape.clone(), o.coder.clone(), o.bytes.to_string()];
            csv.push(head.into_iter().chain(numbers));
        }
        let cell = |name: &&str| of(&m.outcomes, name).map_or("-".into(), |o| short(o.ratio(&m.field)));
        table.push([m.field.label.clone(), shape].into_iter().chain(CODERS.iter().map(cell)));
    }
    csv.write_csv(&out.join("fig8-variables.csv"))?;
    draw(&all, &out.join("fig8-variables.png"))?;
    let count = |measure: Measure, best: fn(f64, f64) -> bool| {
        all.iter()
            .filter(|m| {
                let value = |n: &str| of(&m.outcomes, n).map(|o| measure(&m.field, o));
                let ours = value(THEIRS[0]);
                THEIRS[1..].iter().all(|n| matches!((&ours, value(n)), (Ok(a), Ok(b)) if best(*a, b)))
            })
            .count()
    };
    let finding = |claim: &str, published: &str, n: usize| Finding {
        claim: claim.into(),
        published: published.into(),
        ours: format!("true of {n} of {} variables", all.len()),
        agrees: n == all.len(),
    };
    let findings = vec![
        finding(
            "Adaptive-HGFDR has the highest ratio of Adaptive-HGFDR, Blocked-HGFDR and ZFP, for every variable",
            "22 of 22, from a figure",
            count(MEASURES[0].1, |a, b| a > b),
        ),
        finding("it takes the longest, for every variable", "from a figure", count(MEASURES[1].1, |a, b| a > b)),
        finding(
            "it has the most uniform error, for every variable",
            "from a figure",
            count(MEASURES[2].1, |a, b| a < b),
        ),
    ];
    Ok(Section {
        title: "All variables (section 4.4, figure 8)".into(),
        setup: format!(
            "{} variables at relative error {ERROR:e}, 16 blocks; Blocked-HGFDR \
             with the smallest rank that meets the error over the field. \
             Adaptive-HGFDR meets it in each block, the others over the field. The paper has 22 monthly CESM variables \
             [1024, 512, 221] in 144 blocks. \
             Times are of one encode at the setting found: for Adaptive-HGFDR that includes its search for ranks, for ZFP and SZ3 the \
             search for the knob is not counted. Slices run along longitude, along time for cells.",
            all.len()
        ),
        figures: vec![("fig8-variables.png".into(), "ratio, time and standard deviation of slice errors".into())],
        csv: "fig8-variables.csv".into(),
        table: format!("Compression ratios:\n\n{}", table.markdown()),
        findings,
    })
}

fn draw(all: &[Measured], path: &Path) -> Result<()> {
    let mut c = Canvas::new(960, 680)?;
    let names: Vec<String> = all.iter().map(|m| wrapped(&m.field.label)).collect();
    for (i, (label, measure)) in MEASURES.iter().enumerate() {
        let y0 = 34.0 + 205.0 * i as f64;
        let value = |name: &str, k: usize| of(&all[k].outcomes, name).ok().map(|o| measure(&all[k].field, o));
        let values = CODERS.iter().flat_map(|n| (0..all.len()).filter_map(|k| value(n, k)));
        let mut x = Axis::names("", &names);
        if i + 1 < MEASURES.len() {
            x = x.ticks(&(0..names.len()).map(|k| k as f64).collect::<Vec<_>>(), |_| String::new());
        }
        let panel = Panel { from: (85.0, y0), to: (820.0, y0 + 180.0), x, y: Axis::log(label, values) };
        panel.draw_axes(&mut c, if i == 0 { "relative error 10⁻²" } else { "" })?;
        for (j, name) in CODERS.iter().enumerate() {
            // Side by side, so that equal values stay visible.
            let shift = (j as f64 - 2.0) * 0.13;
            let points: Vec<_> = (0..all.len()).filter_map(|k| value(name, k).map(|v| (k as f64 + shift, v))).collect();
            panel.points(&mut c, &points, MARKERS[j], color::of_coder(name))?;
        }
    }
    let entry = |(j, n): (usize, &&str)| Entry {
        name: (*n).into(),
        color: color::of_coder(n),
        marker: Some(MARKERS[j]),
        line: false,
    };
    legend(&mut c, (835.0, 40.0), &CODERS.iter().enumerate().map(entry).collect::<Vec<_>>())?;
    c.save(path)
}

/// The words of a long name that tell it from the others.
fn shortened(name: &str) -> String {
    const FILLERS: [&str; 5] = ["specific", "component", "of", "water", "content"];
    name.split('_').filter(|w| !FILLERS.contains(w)).collect::<Vec<_>>().join(" ")
}

/// At most 11 characters a line, broken at spaces.
fn wrapped(label: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in label.split(' ') {
        match lines.last_mut() {
            Some(l) if l.chars().count() + word.chars().count() < 11 => {
                l.push(' ');
                l.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines.join("\n")
}
