//! `lithify extract`

use anyhow::Result;
use lithify_io::job::select::extract;
use lithify_io::location::shown;
use serde_json::json;

use super::compress::check_places;
use crate::args::Extract;
use crate::{progress, stream};

/// Runs it.
pub fn run(a: &Extract) -> Result<()> {
    check_places(&a.store, &a.output)?;
    let (input, output) = (stream::input(&a.store)?, stream::output(&a.output, "npy")?);
    let done = progress::run(&a.running, 0, |context| extract(&input, &a.variable, &a.sel, &output, a.force, context))?;
    output.deliver()?;
    if a.running.json {
        println!(
            "{}",
            json!({"output": shown(&a.output), "shape": done.shape, "bytes_touched": done.bytes_touched, "bytes_read": done.bytes_read, "bytes_stored": done.bytes_stored})
        );
        return Ok(());
    }
    print!("{} {:?}", a.variable, done.shape);
    match (done.bytes_touched, done.bytes_stored) {
        (Some(touched), Some(stored)) => println!(": {touched} of {stored} bytes touched"),
        (Some(touched), None) => println!(": {touched} bytes touched"),
        _ => println!(),
    }
    Ok(())
}
