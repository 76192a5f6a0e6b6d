//! `lithify info --bits`: how much real information each bit of each variable holds.

use anyhow::Result;
use lithify_codec::information::Information;
use lithify_codec::{Bound, Dtype, Promise};
use lithify_io::job::chunks::chunk_shape;
use lithify_io::job::information::information;
use lithify_io::model::{Source, Variable};
use lithify_io::policy::{self, BoundRule};
use serde_json::{Value, json};

use super::raw_bytes;
use crate::args::Info;
use crate::progress;
use crate::table::{number, render};

/// Runs it: on the variables named, or on those that a bound without a name would round.
pub fn run(a: &Info, source: &dyn Source) -> Result<()> {
    let auto = BoundRule { variable: None, promise: Promise(vec![Bound::Bits(None)]) };
    let promises = policy::promises(source.root(), &[auto])?;
    let mut wanted = super::wanted(source.root(), &a.vars)?;
    wanted.retain(|(path, _)| !a.vars.is_empty() || promises[path].needs_bits());
    let float = |v: &Variable| v.dtype().filter(|d| d.is_float());
    if let Some((path, _)) = wanted.iter().find(|(_, v)| float(v).is_none()) {
        let what = "only floating-point numbers have mantissa bits; leave out";
        return Err(lithify_io::Error::invalid(what, path).into());
    }
    let rows = progress::run(&a.running, raw_bytes(source.root()), |context| {
        let floats = wanted.iter().filter_map(|(path, v)| float(v).map(|dtype| (path, v, dtype)));
        let row = |(path, v, dtype): (&String, &&Variable, Dtype)| {
            let chunk = chunk_shape(&v.shape, dtype, v.chunks.as_deref());
            let known = information(source, path, v, dtype, &chunk, context)?;
            Ok(Row { path: path.clone(), dtype, axis: known.axis.map(|d| v.dims[d].clone()), known })
        };
        floats.map(row).collect::<lithify_io::Result<Vec<_>>>()
    })?;
    if a.running.json {
        let variables: Vec<Value> = rows.iter().map(Row::json).collect();
        println!(
            "{}",
            json!({"file": lithify_io::location::shown(&a.input), "format": source.format(), "variables": variables})
        );
        return Ok(());
    }
    let header = ["variable", "dtype", "axis", "99 %", "99.9 %", "total", "sign", "exponent", "mantissa, bit by bit"];
    print!("{}", render(&header, &rows.iter().map(Row::cells).collect::<Vec<_>>()));
    println!(
        "bits of real information between neighbours along the axis; 99 %: mantissa bits that hold so much of it with sign and exponent"
    );
    Ok(())
}

struct Row {
    path: String,
    dtype: Dtype,
    /// The dimension along which neighbours were compared.
    axis: Option<String>,
    known: Information,
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let k = &self.known;
        let mantissa = k.mantissa();
        // What would print as 0.00 says nothing.
        let last = mantissa.iter().rposition(|b| *b >= 0.005).map_or(0, |i| i + 1);
        let each: Vec<String> = mantissa[..last].iter().map(|b| format!("{b:.2}")).collect();
        vec![
            self.path.clone(),
            self.dtype.name().into(),
            self.axis.clone().unwrap_or_default(),
            k.mantissa_bits_for(0.99).to_string(),
            k.mantissa_bits_for(0.999).to_string(),
            number(k.total()),
            number(k.sign()),
            number(k.exponent().iter().sum()),
            // In brackets, for the table sets numbers to the right.
            format!("[{}]", each.join(" ")),
        ]
    }

    fn json(&self) -> Value {
        let k = &self.known;
        json!({
            "name": self.path, "dtype": self.dtype.name(), "axis": self.axis,
            "sign": k.sign(), "exponent": k.exponent(), "mantissa": k.mantissa(), "total": k.total(),
            "mantissa_bits": {"0.99": k.mantissa_bits_for(0.99), "0.999": k.mantissa_bits_for(0.999)},
        })
    }
}
