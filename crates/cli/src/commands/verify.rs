//! `lithify verify`

use anyhow::Result;
use lithify_io::formats;
use lithify_io::job::verify::{Verdict, verify};
use lithify_io::location::shown;
use serde_json::json;

use super::{raw_bytes, warn};
use crate::args::Verify;
use crate::exit::Failed;
use crate::table::{number, render};
use crate::{progress, stream};

/// Runs it.
pub fn run(a: &Verify) -> Result<()> {
    let store = formats::open(&stream::input(&a.store)?)?;
    for w in store.warnings() {
        warn(&w);
    }
    let original = a.against.as_deref().map(formats::open).transpose()?;
    let verdicts = progress::run(&a.running, raw_bytes(store.root()), |context| {
        verify(store.as_ref(), original.as_deref(), context)
    })?;
    if a.running.json {
        println!(
            "{}",
            json!({"store": shown(&a.store), "ok": verdicts.iter().all(|v| v.problems.is_empty()), "variables": verdicts.iter().map(Verdict::json).collect::<Vec<_>>()})
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
