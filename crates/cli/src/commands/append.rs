//! `lithify append`

use anyhow::Result;
use lithify_io::formats;
use lithify_io::job::append::append;
use lithify_io::job::compress::Outcome;
use serde_json::json;

use super::compress::{check_places, stored_bytes, table};
use super::{raw_bytes, warn};
use crate::args::Append;
use crate::{progress, stream};

/// Runs it.
pub fn run(a: &Append) -> Result<()> {
    check_places(&a.input, &a.store)?;
    let source = formats::open(&stream::input(&a.input)?)?;
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
        let variables: Vec<_> = done.outcomes.iter().map(Outcome::json).collect();
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
