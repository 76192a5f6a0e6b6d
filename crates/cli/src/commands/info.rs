//! `lithify info`

use std::collections::BTreeMap;

use anyhow::Result;
use lithify_io::formats;
use lithify_io::location::shown;
use lithify_io::model::{AttrValue, DataType, Source, Variable};
use lithify_io::policy;
use serde_json::{Value, json};

use super::{raw_bytes, warn};
use crate::args::Info;
use crate::stream;
use crate::table::{number, render, shape};

/// Runs it.
pub fn run(a: &Info) -> Result<()> {
    let opened = formats::open(&stream::input(&a.input)?)?;
    let source: &dyn Source = opened.as_ref();
    for w in source.warnings() {
        warn(&w);
    }
    if a.bits {
        return super::bits::run(a, source);
    }
    let roles = policy::roles(source.root());
    let wanted = super::wanted(source.root(), &a.vars)?;
    let rows = wanted.into_iter().map(|(path, v)| {
        Ok(Row {
            role: roles[&path],
            certificate: source.certificate(&path),
            stored: source.bytes_stored(&path)?,
            chunk: source.layout(&path).map(|l| l.chunk),
            path,
            v,
        })
    });
    let rows = rows.collect::<Result<Vec<_>>>()?;
    if a.running.json {
        let variables: Vec<Value> = rows.iter().map(Row::json).collect();
        println!(
            "{}",
            json!({"file": shown(&a.input), "format": source.format(), "raw_bytes": raw_bytes(source.root()), "variables": variables})
        );
        return Ok(());
    }
    println!("{}: {}, {} bytes uncompressed", shown(&a.input), source.format(), raw_bytes(source.root()));
    let header = ["variable", "type", "dims", "shape", "units", "role", "bound", "max abs", "ratio"];
    print!("{}", render(&header, &rows.iter().map(Row::cells).collect::<Vec<_>>()));
    for (parts, variables) in grown(&rows) {
        println!("{parts}: {}", variables.join(", "));
    }
    Ok(())
}

/// How variables were put together from parts, and which.
fn grown(rows: &[Row<'_>]) -> BTreeMap<String, Vec<String>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows {
        let Some(parts) = row.certificate.as_ref().and_then(|c| c["parts"].as_array()) else { continue };
        let dim = parts.first().and_then(|p| p["dim"].as_str()).unwrap_or_default();
        let lengths = parts.iter().map(|p| Some((p["stop"].as_u64()?.checked_sub(p["start"].as_u64()?)?).to_string()));
        let lengths: Vec<String> = lengths.collect::<Option<_>>().unwrap_or_default();
        // Of many parts, the first and the last say enough.
        let shown = match lengths.as_slice() {
            [first @ .., a, b] if first.len() > 6 => format!("{} + .. + {a} + {b}", first[..3].join(" + ")),
            all => all.join(" + "),
        };
        out.entry(format!("grown along {dim} in {} parts, {shown}", parts.len())).or_default().push(row.path.clone());
    }
    out
}

struct Row<'a> {
    path: String,
    v: &'a Variable,
    role: policy::Role,
    certificate: Option<Value>,
    stored: Option<u64>,
    chunk: Option<Vec<usize>>,
}

impl Row<'_> {
    fn data_type(&self) -> &'static str {
        match self.v.data_type {
            DataType::Number(d) => d.name(),
            DataType::Char => "char",
            DataType::String => "string",
        }
    }

    fn units(&self) -> &str {
        self.v.attr("units").and_then(AttrValue::as_text).unwrap_or_default()
    }

    fn raw(&self) -> u64 {
        (self.v.len() * self.v.dtype().map_or(1, lithify_codec::Dtype::size)) as u64
    }

    fn ratio(&self) -> Option<f64> {
        self.stored.filter(|s| *s > 0).map(|s| self.raw() as f64 / s as f64)
    }

    fn cells(&self) -> Vec<String> {
        let c = self.certificate.as_ref();
        vec![
            self.path.clone(),
            self.data_type().into(),
            self.v.dims.join(","),
            shape(&self.v.shape),
            self.units().into(),
            self.role.unwrap_or("data").into(),
            c.and_then(|c| c["bound"].as_str()).unwrap_or_default().into(),
            c.and_then(|c| c["achieved"]["max_abs"].as_f64()).map(number).unwrap_or_default(),
            self.ratio().map(number).unwrap_or_default(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "name": self.path, "dtype": self.data_type(), "dims": self.v.dims, "shape": self.v.shape, "units": self.units(),
            "role": self.role.unwrap_or("data"), "raw_bytes": self.raw(), "stored_bytes": self.stored, "ratio": self.ratio(),
            "chunk": self.chunk, "certificate": self.certificate,
        })
    }
}
