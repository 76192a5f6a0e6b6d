//! `lithify append`

use anyhow::Result;
use lithify_io::formats;
use lithify_io::job::append::append;
use serde_json::json;

use super::compress::{rows_json, same_place, stored_bytes, table};
use super::{raw_bytes, warn};
use crate::args::Append;
use crate::progress;

/// Runs it.
pub fn run(a: &Append) -> Result<()> {
    if same_place(&a.input, &a.store) {
        let what = "input and store are the same; append a file that goes on where the store ends";
        return Err(lithify_io::Error::invalid(what, a.input.display()).into());
    }
    let source = formats::open(&a.input)?;
    let mut warnings = Vec::new();
    let done = progress::run(&a.running, raw_bytes(source.root()), |context| {
        append(source.as_ref(), &a.store, &a.dim, context, &mut |w| warnings.push(w))
    })?;
    for w in &warnings {
        warn(w);
    }
    let stored = stored_bytes(&done.path)?;
    let added: u64 = done.outcomes.iter().map(|o| o.stored_bytes).sum();
    if a.running.json {
        let variables = rows_json(&done.outcomes);
        println!(
            "{}",
            json!({
                "store": done.path, "dim": a.dim, "start": done.start, "stop": done.stop,
                "raw_bytes": done.outcomes.iter().map(|o| o.raw_bytes).sum::<u64>(), "added_bytes": added,
                "stored_bytes": stored, "variables": variables,
            })
        );
    } else {
        print!("{}", table(&done.outcomes, added));
        println!("{} {} to {} in {}, {stored} bytes", a.dim, done.start, done.stop - 1, done.path.display());
    }
    Ok(())
}
