//! `lithify verify`

use anyhow::Result;
use lithify_io::formats;
use lithify_io::job::verify::{Verdict, verify};
use lithify_io::location::shown;
use lithify_io::zarr::ZarrSource;
use serde_json::{Value, json};

use super::raw_bytes;
use crate::args::Verify;
use crate::exit::Failed;
use crate::table::{number, render};
use crate::{progress, stream};

/// Runs it.
pub fn run(a: &Verify) -> Result<()> {
    let store = stream::input(&a.store)?;
    let store = ZarrSource::open(&store)?;
    let original = a.against.as_deref().map(formats::open).transpose()?;
    let verdicts = progress::run(&a.running, raw_bytes(lithify_io::model::Source::root(&store)), |context| {
        verify(&store, original.as_deref(), context)
    })?;
    if a.running.json {
        println!(
            "{}",
            json!({"store": shown(&a.store), "ok": verdicts.iter().all(|v| v.problems.is_empty()), "variables": verdicts.iter().map(json).collect::<Vec<_>>()})
        );
    } else {
        print!("{}", table(&verdicts));
    }
    let bad = verdicts.iter().filter(|v| !v.problems.is_empty()).count();
    if bad > 0 {
        return Err(Failed(format!("{bad} of {} variables failed", verdicts.len())).into());
    }
    Ok(())
}

fn table(verdicts: &[Verdict]) -> String {
    let rows: Vec<Vec<String>> = verdicts
        .iter()
        .map(|v| {
            vec![
                v.path.clone(),
                v.promise.as_ref().map_or("lossless".into(), ToString::to_string),
                v.stats.map_or(String::new(), |s| number(s.max_abs)),
                v.stats.map_or(String::new(), |s| number(s.l2())),
                v.lineage.len().to_string(),
                if v.problems.is_empty() { "holds".into() } else { v.problems.join("; ") },
            ]
        })
        .collect();
    render(&["variable", "bound", "max abs", "l2", "passes", "verdict"], &rows)
}

fn json(v: &Verdict) -> Value {
    let finite = |v: f64| if v.is_finite() { json!(v) } else { Value::Null };
    json!({
        "name": v.path,
        "bound": v.promise.as_ref().map(ToString::to_string),
        "ok": v.problems.is_empty(),
        "problems": v.problems,
        "errors": v.stats.map(|s| json!({"max_abs": finite(s.max_abs), "max_rel": finite(s.max_rel), "l2": finite(s.l2()), "psnr": finite(s.psnr()), "n_changed": s.n_changed})),
        "lineage": v.lineage,
    })
}
