//! `lithify compress`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use lithify_io::formats;
use lithify_io::job::compress::{Options, Outcome, compress};
use serde_json::{Value, json};

use super::{raw_bytes, warn};
use crate::args::Compress;
use crate::progress;
use crate::table::{number, render, shape};

/// Runs it.
pub fn run(a: &Compress) -> Result<()> {
    if same_place(&a.input, &a.output) {
        return Err(lithify_io::Error::invalid(
            "input and output are the same; choose another output",
            a.input.display(),
        )
        .into());
    }
    let source = formats::open(&a.input)?;
    let options = Options {
        bounds: a.bounds.clone(),
        codec: a.codec.clone(),
        effort: a.effort,
        chunks: a.chunks.iter().cloned().collect::<BTreeMap<_, _>>(),
        variables: a.vars.clone(),
        force: a.force,
    };
    let total = raw_bytes(source.root());
    let mut warnings = Vec::new();
    let (path, outcomes) = progress::run(&a.running, total, |context| {
        compress(source.as_ref(), &a.output, &options, context, &mut |w| warnings.push(w))
    })?;
    for w in &warnings {
        warn(w);
    }
    if let Some(picture) = &a.picture {
        super::picture::of_store(source.as_ref(), &path, &outcomes, picture)?;
    }
    let stored = stored_bytes(&path)?;
    if a.running.json {
        println!("{}", json(&path, &outcomes, stored));
    } else {
        print!("{}", table(&outcomes, stored));
    }
    Ok(())
}

/// Whether two paths name the same file or directory.
pub fn same_place(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// Bytes of a file, or of everything in a directory.
pub fn stored_bytes(path: &Path) -> Result<u64> {
    if path.is_file() {
        return Ok(path.metadata()?.len());
    }
    if !path.is_dir() {
        bail!("{} is gone", path.display());
    }
    std::fs::read_dir(path)?.map(|entry| stored_bytes(&entry?.path())).sum()
}

fn ratio(raw: u64, coded: u64) -> f64 {
    raw as f64 / coded.max(1) as f64
}

pub fn table(outcomes: &[Outcome], stored: u64) -> String {
    let rows: Vec<Vec<String>> = outcomes
        .iter()
        .map(|o| {
            vec![
                o.path.clone(),
                o.dtype.map_or("text", |d| d.name()).into(),
                shape(&o.shape),
                o.codec.clone(),
                o.promise.to_string(),
                achieved(o),
                number(ratio(o.raw_bytes, o.stored_bytes)),
                number(o.stored_bytes as f64 * 8.0 / o.stats.field.n.max(1) as f64),
                number(o.raw_bytes as f64 / 1e6 / o.seconds.max(1e-6)),
            ]
        })
        .collect();
    let header = ["variable", "dtype", "shape", "codec", "bound", "achieved", "ratio", "bits/value", "MB/s"];
    let raw: u64 = outcomes.iter().map(|o| o.raw_bytes).sum();
    format!("{}{} bytes -> {} bytes, ratio {}\n", render(&header, &rows), raw, stored, number(ratio(raw, stored)))
}

/// The errors in the terms of what the bounds came to.
fn achieved(o: &Outcome) -> String {
    use lithify_codec::Bound::*;
    let e = &o.stats;
    let one = |b: &lithify_codec::Bound| match b {
        Abs(_) => format!("abs={}", number(e.max_abs)),
        Rel(_) => format!("rel={}", number(e.max_rel)),
        Range(_) => format!("range={}", number(e.max_abs / e.field.range())),
        L2(_) | L2Block(_) => format!("l2={}", number(e.l2())),
        Psnr(_) => format!("psnr={}", number(e.psnr())),
        Ratio(_) => format!("ratio={}", number(ratio(o.raw_bytes, o.stored_bytes))),
        Bytes(_) => format!("bytes={}", o.stored_bytes),
        Bits(_) | Lossless => b.to_string(),
    };
    o.resolved.0.iter().map(one).collect::<Vec<_>>().join(",")
}

/// What became of each variable.
pub fn rows_json(outcomes: &[Outcome]) -> Vec<Value> {
    let finite = |v: f64| if v.is_finite() { json!(v) } else { Value::Null };
    outcomes
        .iter()
        .map(|o| {
            let e = &o.stats;
            json!({
                "name": o.path, "dtype": o.dtype.map(|d| d.name()), "shape": o.shape, "codec": o.codec,
                "bound": o.promise.to_string(), "resolved": o.resolved.to_string(),
                "achieved": {
                    "max_abs": finite(e.max_abs), "max_rel": finite(e.max_rel), "l2": finite(e.l2()), "psnr": finite(e.psnr()),
                    "rmse": finite(e.rmse()), "bias": finite(e.bias()),
                },
                "n": e.field.n, "n_valid": e.field.n_valid, "n_escapes": o.n_escapes,
                "n_trials": o.n_trials, "n_encodes": o.n_encodes,
                "raw_bytes": o.raw_bytes, "stored_bytes": o.stored_bytes, "ratio": ratio(o.raw_bytes, o.stored_bytes),
                "bits_per_value": o.stored_bytes as f64 * 8.0 / e.field.n.max(1) as f64,
                "seconds": o.seconds, "mb_per_s": o.raw_bytes as f64 / 1e6 / o.seconds.max(1e-6),
            })
        })
        .collect()
}

fn json(path: &PathBuf, outcomes: &[Outcome], stored: u64) -> Value {
    let variables = rows_json(outcomes);
    let raw: u64 = outcomes.iter().map(|o| o.raw_bytes).sum();
    json!({"output": path, "raw_bytes": raw, "stored_bytes": stored, "ratio": ratio(raw, stored), "variables": variables})
}
