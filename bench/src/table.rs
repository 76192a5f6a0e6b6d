//! The table of results: our codec and every rival on real fields, under a norm, a pointwise bound, and without loss.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::field::Field;
use crate::measure::Target;
use crate::peers::{Outcome, fit_best, lossless, ours, rivals};
use crate::rows::{Rows, exact, short};

/// File, variable, label, how many of the first dimension.
const FIELDS: [(&str, &str, &str, Option<usize>); 8] = [
    ("esm/cam-fv.T.3months.nc", "T", "CESM T", Some(1)),
    ("esm/orig.TS.100days.nc", "TS", "CESM TS, daily", None),
    ("esm/pop.SSH.12mon.nc", "SSH", "CESM SSH, land masked", None),
    ("esm/ihesp14.TS.12mon.nc", "TS", "CESM TS, unstructured", None),
    ("esm/era5_tl31_19590102T00.nc", "temperature", "ERA5 temperature", None),
    ("esm/era5_tl31_19590102T00.nc", "specific_cloud_liquid_water_content", "ERA5 cloud water", None),
    ("esm/nrcan_canada_daily_pr_1990.nc", "pr", "precipitation, masked", None),
    ("esm/eraint_uvz.nc", "u", "ERA-Interim u, int16", Some(1)),
];
const BOUND: f64 = 1e-3;
const RIVALS: [&str; 6] = ["SZ3", "ZFP", "SPERR", "TTHRESH", "zstd", "pco"];

/// Runs everything and writes `results.csv` and `README.md` into `out`.
pub fn run(data: &Path, out: &Path, codec: &str) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let mut csv = Rows::new(&[
        "field",
        "shape",
        "dtype",
        "bound",
        "coder",
        "knob",
        "bytes",
        "ratio",
        "max_abs_error",
        "l2",
        "encode_s",
        "decode_s",
    ]);
    let mut header = vec!["field", "bound", "Lithify"];
    header.extend(RIVALS);
    header.extend(["max error", "l2", "encode, s"]);
    let mut table = Rows::new(&header);
    for (file, variable, label, first) in FIELDS {
        let field = Field::read(data, file, variable, label, first)?;
        let absolute = BOUND * field.stats.range();
        for (bound, target) in
            [("l2=1e-3", Some(Target::L2(BOUND))), ("range=1e-3", Some(Target::MaxAbs(absolute))), ("lossless", None)]
        {
            let outcomes = match target {
                Some(target) => lossy(&field, codec, target)?,
                None => exactly(&field)?,
            };
            for o in &outcomes {
                csv.push(csv_row(&field, bound, o));
            }
            table.push(table_row(&field, bound, &outcomes));
        }
        eprintln!("{label}: done");
    }
    csv.write_csv(&out.join("results.csv"))?;
    let path = out.join("README.md");
    std::fs::write(&path, page(codec, &table)).with_context(|| path.display().to_string())
}

fn lossy(field: &Field, codec: &str, target: Target) -> Result<Vec<Outcome>> {
    let mut all: Vec<Outcome> = ours::fit(field, "Lithify", codec, target)?.into_iter().collect();
    for (name, settings) in rivals(target) {
        all.extend(fit_best(name, &settings, field, target)?);
    }
    for o in &all {
        let error = target.error(field, &o.decoded);
        ensure!(error <= target.value(), "{} misses the bound on {}: {error:e}", o.coder, field.label);
    }
    Ok(all)
}

fn exactly(field: &Field) -> Result<Vec<Outcome>> {
    let ours = ours::run(field, "Lithify", "lossless", "lossless", None)?;
    ensure!(ours.max_abs == 0.0, "lossless changed {}", field.label);
    let rivals = lossless::all(field)?.into_iter().map(|r| Outcome {
        coder: r.coder.into(),
        bytes: r.bytes,
        encode_s: r.encode_s,
        decode_s: r.decode_s,
        ..ours.clone()
    });
    Ok(std::iter::once(ours.clone()).chain(rivals.collect::<Vec<_>>()).collect())
}

fn csv_row(field: &Field, bound: &str, o: &Outcome) -> Vec<String> {
    let shape = field.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
    let head = [field.label.clone(), shape, field.stored.dtype().to_string(), bound.into(), o.coder.clone()];
    let size = [exact(o.knob), o.bytes.to_string()];
    let numbers = [o.ratio(field), o.max_abs, o.l2, o.encode_s, o.decode_s].map(exact);
    head.into_iter().chain(size).chain(numbers).collect()
}

/// Ratios of all, the best in bold; then our errors and time.
fn table_row(field: &Field, bound: &str, outcomes: &[Outcome]) -> Vec<String> {
    let best = outcomes.iter().map(|o| o.bytes).min().unwrap_or(0);
    let find = |name: &str| outcomes.iter().find(|o| o.coder.split(' ').next() == Some(name));
    let cell = |name: &str| match find(name) {
        Some(o) if o.bytes == best => format!("**{}**", short(o.ratio(field))),
        Some(o) => short(o.ratio(field)),
        None => "-".into(),
    };
    let ours = find("Lithify").map_or([f64::NAN; 3], |o| [o.max_abs, o.l2, o.encode_s]);
    let label =
        format!("{} [{}]", field.label, field.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    [label, bound.into(), cell("Lithify")]
        .into_iter()
        .chain(RIVALS.iter().map(|n| cell(n)))
        .chain(ours.map(|v| if v.is_nan() { "-".into() } else { short(v) }))
        .collect()
}

fn page(codec: &str, table: &Rows) -> String {
    format!(
        "\
# Results

Written by `cargo run --release -p lithify-bench -- table --data DIR --out docs/bench`, not edited by hand. All numbers: [results.csv](results.csv).

Compression ratios: bytes of the stored type over all bytes that a decoder needs; the best of a row is bold. Lithify is codec `{codec}` for
the lossy rows, `lossless` else. Every coder is set to just meet the bound on its decoded values, measured by the same code:
`l2=1e-3` is the relative Frobenius norm of the error, `range=1e-3` the largest error as a part of the field's range. Where samples are missing,
rivals are given a smooth extension and are charged the bytes of the exact mask; packed integers are given to them as float32. ZFP
has its accuracy or, for the norm, its rate mode, whichever is smaller; zstd is level 19 after a byte shuffle, pco level 12. `-`: the coder does not take the shape or has no such bound. Errors and
time are Lithify's: the largest error in the field's unit, the relative norm, the seconds of one encode on one core.

{}",
        table.markdown()
    )
}
