//! `lithify extract`

use anyhow::Result;
use lithify_io::job::at::{Answers, at};
use lithify_io::job::select::extract;
use lithify_io::location::shown;
use serde_json::{Value, json};

use super::compress::check_places;
use crate::args::Extract;
use crate::table::render;
use crate::{progress, stream};

/// Runs it.
pub fn run(a: &Extract) -> Result<()> {
    let Some(output) = &a.output else { return values(a) };
    check_places(&a.store, output)?;
    let (input, to) = (stream::input(&a.store)?, stream::output(output, "npy")?);
    let done = progress::run(&a.running, 0, |context| extract(&input, &a.variable, &a.sel, &to, a.force, context))?;
    to.deliver()?;
    if a.running.json {
        println!(
            "{}",
            json!({"output": shown(output), "shape": done.shape, "bytes_touched": done.bytes_touched, "bytes_read": done.bytes_read, "bytes_stored": done.bytes_stored})
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

/// The values at some places, printed.
fn values(a: &Extract) -> Result<()> {
    let input = stream::input(&a.store)?;
    let found = progress::run(&a.running, 0, |context| at(&input, &a.variable, &a.at, &a.sel, context))?;
    if a.running.json {
        println!("{}", json(a, &found));
    } else {
        print!("{}", table(a, &found));
    }
    Ok(())
}

/// NaN is null.
fn json(a: &Extract, found: &Answers) -> Value {
    let places = a.at.iter().zip(&found.values);
    let points: Vec<Value> =
        places.map(|(p, values)| json!({"latitude": p.latitude, "longitude": p.longitude, "values": values})).collect();
    let shape: Vec<usize> = found.dims.iter().map(|(_, c)| c.len()).collect();
    let dims: Vec<Value> = found.dims.iter().map(|(dim, c)| json!({"name": dim, "coordinates": c})).collect();
    json!({"variable": a.variable, "units": found.units, "dims": dims, "shape": shape, "points": points, "bytes_touched": found.bytes_touched})
}

/// A row for each value.
fn table(a: &Extract, found: &Answers) -> String {
    let value = match found.units.as_str() {
        "" => a.variable.clone(),
        units => format!("{} [{units}]", a.variable),
    };
    let header: Vec<&str> = ["latitude", "longitude"]
        .into_iter()
        .chain(found.dims.iter().map(|(d, _)| d.as_str()))
        .chain([&*value])
        .collect();
    let mut rows = Vec::new();
    for (p, values) in a.at.iter().zip(&found.values) {
        for (i, v) in values.iter().enumerate() {
            let mut rest = i;
            let mut others: Vec<String> = Vec::new();
            for (_, c) in found.dims.iter().rev() {
                others.insert(0, c[rest % c.len()].to_string());
                rest /= c.len();
            }
            let place = [p.latitude.to_string(), p.longitude.to_string()];
            rows.push(place.into_iter().chain(others).chain([v.to_string()]).collect());
        }
    }
    render(&header, &rows)
}
