//! `lithify decompress`

use anyhow::Result;
use lithify_io::formats;
use lithify_io::job::decompress::decompress;
use lithify_io::location::shown;
use serde_json::json;

use super::compress::check_places;
use super::{raw_bytes, warn};
use crate::args::Decompress;
use crate::{progress, stream};

/// Runs it.
pub fn run(a: &Decompress) -> Result<()> {
    check_places(&a.input, &a.output)?;
    let (input, output) = (stream::input(&a.input)?, stream::output(&a.output, "npy")?);
    let source = formats::open(&input)?;
    for w in source.warnings() {
        warn(&w);
    }
    let total = raw_bytes(source.root());
    progress::run(&a.running, total, |context| decompress(source.as_ref(), &output, a.force, a.lineage, context))?;
    output.deliver()?;
    if a.running.json {
        println!(
            "{}",
            json!({"output": shown(&a.output), "raw_bytes": total, "variables": source.root().walk().len()})
        );
    }
    Ok(())
}
