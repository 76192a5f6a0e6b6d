//! Results as rows: the same ones go into a CSV file and into Markdown.

use std::path::Path;

use anyhow::{Context, Result};

/// A header and rows of text.
#[derive(Debug, Clone)]
pub struct Rows {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Rows {
    /// No rows yet.
    pub fn new(header: &[&str]) -> Self {
        Self { header: header.iter().map(|h| (*h).to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row of as many cells as the header has.
    pub fn push(&mut self, row: impl IntoIterator<Item = String>) {
        let row: Vec<_> = row.into_iter().collect();
        debug_assert_eq!(row.len(), self.header.len());
        self.rows.push(row);
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes a CSV file.
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        let line = |cells: &Vec<String>| cells.iter().map(|c| quoted(c)).collect::<Vec<_>>().join(",") + "\n";
        let text: String = std::iter::once(&self.header).chain(&self.rows).map(line).collect();
        std::fs::write(path, text).with_context(|| path.display().to_string())
    }

    /// The same as a Markdown table; numbers to the right.
    pub fn markdown(&self) -> String {
        let line = |cells: &Vec<String>| format!("| {} |\n", cells.join(" | "));
        let is_number =
            |c: usize| self.rows.iter().all(|r| r[c].starts_with(|k: char| k.is_ascii_digit() || "-*".contains(k)));
        let rule = (0..self.header.len()).map(|c| if is_number(c) { "---:" } else { "---" }).collect::<Vec<_>>();
        let rule = format!("|{}|\n", rule.join("|"));
        line(&self.header) + &rule + &self.rows.iter().map(line).collect::<String>()
    }
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

/// A number for CSV: enough digits to compute with.
pub fn exact(v: f64) -> String {
    format!("{v:.6e}")
}

/// A number for people: three digits.
pub fn short(v: f64) -> String {
    let size = v.abs();
    match size {
        0.0 => "0".into(),
        _ if !(1e-2..1e5).contains(&size) => format!("{v:.2e}"),
        _ if size < 1.0 => format!("{v:.3}"),
        _ if size < 100.0 => format!("{v:.2}"),
        _ => format!("{v:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_cells_read_well() {
        assert_eq!([0.0, 1.234e-5, 0.5, 68.16, 1234.5].map(short), ["0", "1.23e-5", "0.500", "68.16", "1234"]);
        let mut rows = Rows::new(&["a", "b"]);
        rows.push(["x, y".into(), "1".into()]);
        assert_eq!(rows.markdown(), "| a | b |\n|---|---:|\n| x, y | 1 |\n");
        assert_eq!(quoted("x, y"), "\"x, y\"");
    }
}
