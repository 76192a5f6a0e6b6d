//! A row of `results.csv`: one coding of one field under one bound. Pages are made from rows alone, measured now or before.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::cell::Cell;
use crate::field::Field;
use crate::peers::Outcome;
use crate::rows::{Rows, exact};

/// Our name among the coders.
pub const OURS: &str = "Lithify";

/// One coding.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Label of the field.
    pub field: String,
    /// Its dimensions, joined by `x`.
    pub shape: String,
    /// Type of its samples.
    pub dtype: String,
    /// Samples.
    pub n: usize,
    /// What was asked.
    pub cell: Cell,
    /// Name of the library.
    pub coder: String,
    /// Which of its ways.
    pub mode: String,
    /// Its setting.
    pub knob: f64,
    /// Everything that a decoder needs.
    pub bytes: usize,
    /// Stored bytes over coded bytes.
    pub ratio: f64,
    /// Largest error, physical units.
    pub max_abs: f64,
    /// Relative norm of the error.
    pub l2: f64,
    /// Stored bytes, in millions, per second of encoding.
    pub encode_mb_s: f64,
    /// The same of decoding.
    pub decode_mb_s: f64,
    /// Peak memory of the encoder beyond the samples.
    pub encode_mib: f64,
    /// The same of the decoder.
    pub decode_mib: f64,
}

const HEADER: [&str; 16] = [
    "field",
    "shape",
    "dtype",
    "samples",
    "bound",
    "coder",
    "mode",
    "knob",
    "bytes",
    "ratio",
    "max_abs_error",
    "l2",
    "encode_mb_s",
    "decode_mb_s",
    "encode_mib",
    "decode_mib",
];

impl Row {
    /// From a measurement.
    pub fn new(field: &Field, cell: Cell, o: &Outcome) -> Self {
        let mb = field.raw_bytes() as f64 / 1e6;
        Self {
            field: field.label.clone(),
            shape: field.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x"),
            dtype: field.stored.dtype().to_string(),
            n: field.stored.len(),
            cell,
            coder: o.coder.clone(),
            mode: o.mode.clone(),
            knob: o.knob,
            bytes: o.bytes,
            ratio: o.ratio(field),
            max_abs: o.max_abs,
            l2: o.l2,
            encode_mb_s: mb / o.encode.seconds,
            decode_mb_s: mb / o.decode.seconds,
            encode_mib: o.encode.peak_mib,
            decode_mib: o.decode.peak_mib,
        }
    }

    /// Whether it is ours.
    pub fn is_ours(&self) -> bool {
        self.coder == OURS
    }

    /// Coded bits per sample.
    pub fn bits(&self) -> f64 {
        8.0 * self.bytes as f64 / self.n as f64
    }

    fn cells(&self) -> Vec<String> {
        let head = [&self.field, &self.shape, &self.dtype].map(Clone::clone);
        let what = [self.n.to_string(), self.cell.to_string(), self.coder.clone(), self.mode.clone()];
        let size = [exact(self.knob), self.bytes.to_string()];
        let costs = [self.encode_mb_s, self.decode_mb_s, self.encode_mib, self.decode_mib];
        let numbers = [self.ratio, self.max_abs, self.l2].into_iter().chain(costs).map(exact);
        head.into_iter().chain(what).chain(size).chain(numbers).collect()
    }

    fn parse(cells: &[&str]) -> Result<Self> {
        ensure!(cells.len() == HEADER.len(), "{} columns", cells.len());
        let number = |i: usize| cells[i].parse::<f64>().with_context(|| format!("{}: {}", HEADER[i], cells[i]));
        Ok(Self {
            field: cells[0].into(),
            shape: cells[1].into(),
            dtype: cells[2].into(),
            n: cells[3].parse()?,
            cell: cells[4].parse()?,
            coder: cells[5].into(),
            mode: cells[6].into(),
            knob: number(7)?,
            bytes: cells[8].parse()?,
            ratio: number(9)?,
            max_abs: number(10)?,
            l2: number(11)?,
            encode_mb_s: number(12)?,
            decode_mb_s: number(13)?,
            encode_mib: number(14)?,
            decode_mib: number(15)?,
        })
    }
}

/// Writes rows as CSV.
pub fn write(rows: &[Row], path: &Path) -> Result<()> {
    let mut csv = Rows::new(&HEADER);
    rows.iter().for_each(|r| csv.push(r.cells()));
    csv.write_csv(path)
}

/// Reads what [`write`] wrote.
pub fn read(path: &Path) -> Result<Vec<Row>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut lines = text.lines();
    ensure!(lines.next() == Some(HEADER.join(",").as_str()), "{} has other columns", path.display());
    lines
        .enumerate()
        .map(|(i, line)| Row::parse(&split(line)).with_context(|| format!("{}: line {}", path.display(), i + 2)))
        .collect()
}

/// Cells of a line; those with commas are in quotes, and none holds a quote.
fn split(line: &str) -> Vec<&str> {
    let mut quoted = false;
    line.split(|c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
    .map(|cell| cell.trim_matches('"'))
    .collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn row(field: &str, cell: Cell, coder: &str, mode: &str, bytes: usize) -> Row {
        Row {
            field: field.into(),
            shape: "2x3".into(),
            dtype: "float32".into(),
            n: 6000,
            cell,
            coder: coder.into(),
            mode: mode.into(),
            knob: 0.5,
            bytes,
            ratio: 24000.0 / bytes as f64,
            max_abs: 1e-3,
            l2: 1e-4,
            encode_mb_s: 2.0,
            decode_mb_s: 4.0,
            encode_mib: 1.0,
            decode_mib: f64::NAN,
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let path = std::env::temp_dir().join(format!("lithify-bench-{}.csv", std::process::id()));
        let mut r = row("TS, daily", Cell::Range(1e-3), "SZ3", "lorenzo", 77);
        r.ratio = 312.5;
        write(std::slice::from_ref(&r), &path).unwrap();
        let back = read(&path).unwrap().remove(0);
        std::fs::remove_file(&path).unwrap();
        assert!(back.decode_mib.is_nan());
        assert_eq!(Row { decode_mib: 0.0, ..back }, Row { decode_mib: 0.0, ..r });
    }
}
