//! The table of results: our codecs and every rival on real fields, under norms, pointwise bounds, and without loss.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::data::{Entry, FIELDS};
use crate::field::Field;
use crate::peers::ours::{self, Setting};
use crate::peers::{Outcome, fit, lossless, rivals};

mod cell;
mod compare;
mod curves;
mod page;
mod row;
mod summary;

use cell::{CELLS, Cell, QUICK};
use row::Row;

/// Efforts that are compared.
const EFFORTS: [u8; 4] = [1, 3, 5, 9];
/// Ours; all but the first are what it chooses among.
const CODECS: [&str; 4] = ["auto", "predict", "wavelet", "tensor"];
/// Fields of a quick run: small, and of different kinds.
const QUICK_FIELDS: [&str; 6] = ["era5-t", "era5-clw", "icon-ta", "interim-u", "s1-vv", "dem"];

/// What is measured.
#[derive(Debug, Args)]
pub struct Options {
    /// Folder of the development data (holds esm/, eo/, hyperspectral/, embeddings/)
    #[arg(long)]
    pub data: PathBuf,
    /// Folder to write
    #[arg(long, default_value = "docs/bench")]
    pub out: PathBuf,
    /// Only these fields, by key; a wrong one lists all
    #[arg(long, value_delimiter = ',')]
    pub fields: Vec<String>,
    /// Few fields and bounds
    #[arg(long)]
    pub quick: bool,
    /// Efforts of codec auto
    #[arg(long, value_delimiter = ',', default_values_t = EFFORTS)]
    pub efforts: Vec<u8>,
    /// Our codecs; all but auto are measured at effort 5, for bounds only
    #[arg(long, value_delimiter = ',', default_values_t = CODECS.map(String::from))]
    pub codecs: Vec<String>,
    /// Measure our codecs alone
    #[arg(long, conflicts_with = "peers_only")]
    pub ours_only: bool,
    /// Measure rivals alone
    #[arg(long)]
    pub peers_only: bool,
    /// Take the rivals' rows from this results.csv, with --ours-only
    #[arg(long, value_name = "CSV", requires = "ours_only")]
    pub peers: Option<PathBuf>,
}

/// Runs everything and writes `results.csv`, `README.md` and pictures.
pub fn run(options: &Options) -> Result<()> {
    let out = &options.out;
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let entries = entries(options)?;
    let cells: &[Cell] = if options.quick { &QUICK } else { &CELLS };
    let mut rows = match &options.peers {
        Some(path) => row::read(path)?.into_iter().filter(|r| !r.is_ours()).collect(),
        None => Vec::new(),
    };
    rows.retain(|r: &Row| cells.contains(&r.cell) && entries.iter().any(|e| e.label == r.field));
    for entry in &entries {
        let field = entry.read(&options.data).context(entry.key)?;
        for cell in cells {
            let outcomes = measure(&field, *cell, options)?;
            rows.extend(outcomes.iter().map(|o| Row::new(&field, *cell, o)));
        }
        rows.sort_by_key(place);
        // What is measured is kept, whatever happens later.
        row::write(&rows, &out.join("results.csv"))?;
        eprintln!("{}: done", entry.key);
    }
    let pictures = curves::draw(&rows, out)?;
    let page = page::Page { rows: &rows, entries: &entries, cells, one_run: options.peers.is_none(), pictures };
    let path = out.join("README.md");
    std::fs::write(&path, page.text()).with_context(|| path.display().to_string())
}

/// The fields asked for.
fn entries(options: &Options) -> Result<Vec<&'static Entry>> {
    let keys = || FIELDS.iter().map(|e| e.key).collect::<Vec<_>>().join(", ");
    for key in &options.fields {
        ensure!(FIELDS.iter().any(|e| e.key == key), "no field {key}; there are {}", keys());
    }
    let asked = |e: &&Entry| match options.fields.is_empty() {
        true => !options.quick || QUICK_FIELDS.contains(&e.key),
        false => options.fields.iter().any(|k| k == e.key),
    };
    Ok(FIELDS.iter().filter(asked).collect())
}

/// Every coding of a field under one bound.
fn measure(field: &Field, cell: Cell, options: &Options) -> Result<Vec<Outcome>> {
    let target = cell.target(field);
    let mut all = Vec::new();
    if !options.peers_only {
        for setting in settings(cell, options) {
            all.extend(ours::fit(field, &setting, target)?);
        }
    }
    match target {
        _ if options.ours_only => {}
        None => all.extend(lossless::fit_all(field)?),
        Some(target) => {
            for peer in rivals(field, target) {
                all.extend(fit(peer.as_ref(), field, target)?);
            }
        }
    }
    for o in &all {
        let (error, goal) = target.map_or((o.max_abs, 0.0), |t| (t.error(field, &o.decoded), t.value()));
        // Promises are kept on samples as stored; errors are measured on their values in f32.
        let rounding = if target.is_some() { field.largest() * f64::from(f32::EPSILON) } else { 0.0 };
        ensure!(error <= goal + rounding, "{} {} misses {cell} on {}: {error:e}", o.coder, o.mode, field.label);
    }
    Ok(all)
}

/// Our codecs for a bound.
fn settings(cell: Cell, options: &Options) -> Vec<Setting> {
    let of = |codec: &String| match codec == CODECS[0] {
        true => options.efforts.iter().map(|&effort| Setting { codec: codec.clone(), effort }).collect(),
        false if cell == Cell::Lossless => Vec::new(),
        false => vec![Setting::of(codec)],
    };
    options.codecs.iter().flat_map(of).collect()
}

/// Where a row belongs: fields and bounds in their order, ours first.
fn place(r: &Row) -> (Option<usize>, Option<usize>, bool) {
    let field = FIELDS.iter().position(|e| e.label == r.field);
    (field, CELLS.iter().position(|c| *c == r.cell), !r.is_ours())
}

/// Labels of fields that have rows, in the order of the catalogue.
fn labels(rows: &[Row]) -> Vec<&'static str> {
    FIELDS.iter().map(|e| e.label).filter(|label| rows.iter().any(|r| r.field == *label)).collect()
}
