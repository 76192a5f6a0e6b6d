//! `lithify decompress`

use anyhow::Result;
use lithify_io::formats;
use lithify_io::job::decompress::decompress;
use serde_json::json;

use super::compress::same_place;
use super::{raw_bytes, warn};
use crate::args::Decompress;
use crate::progress;

/// Runs it.
pub fn run(a: &Decompress) -> Result<()> {
    if same_place(&a.input, &a.output) {
        return Err(lithify_io::Error::invalid(
            "input and output are the same; choose another output",
            a.input.display(),
        )
        .into());
    }
    let source = formats::open(&a.input)?;
    for w in source.warnings() {
        warn(&w);
    }
    let total = raw_bytes(source.root());
    let path = progress::run(&a.running, total, |context| {
        decompress(source.as_ref(), &a.output, a.force, a.lineage, context)
    })?;
    if a.running.json {
        println!("{}", json!({"output": path, "raw_bytes": total, "variables": source.root().walk().len()}));
    }
    Ok(())
}
