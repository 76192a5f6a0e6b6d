//! `lithify compress`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use lithify_codec::Codec;
use lithify_codec::learned::Hash;
use lithify_io::formats;
use lithify_io::job::compress::{Options, Outcome, compress};
use lithify_io::location::{is_url, shown};
use serde_json::{Value, json};

use super::{raw_bytes, warn};
use crate::args::Compress;
use crate::table::{number, render, shape};
use crate::{progress, stream};

/// Runs it; `models` are candidates of `auto`.
pub fn run(a: &Compress, models: Vec<Hash>) -> Result<()> {
    check_places(&a.input, &a.output)?;
    if let Some(picture) = a.picture.as_deref().filter(|p| is_url(p)) {
        return Err(lithify_io::Error::invalid("the picture goes to a local file", shown(picture)).into());
    }
    if let Some(scheduler) = &a.dask {
        return super::dask::run(a, scheduler);
    }
    let (input, output) = (stream::input(&a.input)?, stream::output(&a.output, "zarr.zip")?);
    let source = formats::open(&input)?;
    let options = Options {
        bounds: a.bounds.clone(),
        codec: match &a.codec {
            Codec::Auto(named) => Codec::Auto([named.as_slice(), &models].concat()),
            codec => codec.clone(),
        },
        effort: a.effort,
        chunks: a.chunks.iter().cloned().collect::<BTreeMap<_, _>>(),
        variables: a.vars.clone(),
        force: a.force,
        embed_model: a.embed_model,
    };
    let total = raw_bytes(source.root());
    let mut warnings = Vec::new();
    let (path, outcomes) = progress::run(&a.running, total, |context| {
        compress(source.as_ref(), &output, &options, context, &mut |w| warnings.push(w))
    })?;
    for w in &warnings {
        warn(w);
    }
    if let Some(picture) = &a.picture {
        super::picture::of_store(source.as_ref(), &path, &outcomes, picture)?;
    }
    let stored = stored_bytes(&path)?;
    output.deliver()?;
    if a.running.json {
        println!("{}", json(&a.output, &outcomes, stored));
    } else {
        print!("{}", table(&outcomes, stored));
    }
    Ok(())
}

/// Fails if one of two places is, or holds, the other, or if a new output would lie inside a Zarr store. Standard input and output share a name,
/// not a place.
pub fn check_places(input: &Path, output: &Path) -> Result<()> {
    if [input, output].contains(&Path::new("-")) {
        return Ok(());
    }
    let (from, to) = (whole(input), whole(output));
    let bad = |what: String| Err(lithify_io::Error::invalid(what, shown(output)).into());
    if from == to {
        return bad("input and output are the same; choose another output".into());
    }
    if from.starts_with(&to) || to.starts_with(&from) {
        return bad(format!("one of input and output, {}, holds the other; choose another output", shown(input)));
    }
    let store = to.ancestors().skip(1).find(|p| p.join("zarr.json").is_file() || p.join(".zgroup").is_file());
    match store.filter(|_| !is_url(output) && !to.exists()) {
        Some(store) => bad(format!("the output lies inside a Zarr store, {}; choose another place", store.display())),
        None => Ok(()),
    }
}

/// A path as the file system has it, also where its last parts do not exist yet.
fn whole(path: &Path) -> PathBuf {
    if is_url(path) {
        return path.into();
    }
    path.canonicalize().unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if parent.as_os_str().is_empty() => whole(Path::new(".")).join(name),
        (Some(parent), Some(name)) => whole(parent).join(name),
        _ => path.into(),
    })
}

/// Bytes of a file, or of everything in a directory or below a URL.
pub fn stored_bytes(path: &Path) -> Result<u64> {
    if is_url(path) {
        return Ok(lithify_io::remote::size_at(path)?.unwrap_or(0));
    }
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

fn json(path: &Path, outcomes: &[Outcome], stored: u64) -> Value {
    let variables: Vec<Value> = outcomes.iter().map(Outcome::json).collect();
    let raw: u64 = outcomes.iter().map(|o| o.raw_bytes).sum();
    json!({"output": shown(path), "raw_bytes": raw, "stored_bytes": stored, "ratio": ratio(raw, stored), "variables": variables})
}
