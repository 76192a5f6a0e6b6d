//! `lithify extract`

use anyhow::Result;
use lithify_io::job::select::extract;
use serde_json::json;

use super::compress::same_place;
use crate::args::Extract;
use crate::progress;

/// Runs it.
pub fn run(a: &Extract) -> Result<()> {
    if same_place(&a.store, &a.output) {
        return Err(lithify_io::Error::invalid(
            "input and output are the same; choose another output",
            a.store.display(),
        )
        .into());
    }
    let done =
        progress::run(&a.running, 0, |context| extract(&a.store, &a.variable, &a.sel, &a.output, a.force, context))?;
    if a.running.json {
        println!(
            "{}",
            json!({"output": done.path, "shape": done.shape, "bytes_touched": done.bytes_touched, "bytes_stored": done.bytes_stored})
        );
        return Ok(());
    }
    print!("{} {:?}", a.variable, done.shape);
    match (done.bytes_touched, done.bytes_stored) {
        (Some(touched), Some(stored)) => println!(": {touched} of {stored} bytes touched"),
        _ => println!(),
    }
    Ok(())
}
