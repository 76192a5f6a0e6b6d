//! Rivals through their own libraries, the experiments of the Adaptive-HGFDR paper, and the table of results.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod cost;
mod data;
mod field;
mod measure;
mod paper;
mod peers;
mod plot;
mod rows;
mod table;

/// Compares Lithify's codecs with others on the development data.
#[derive(Debug, Parser)]
#[command(name = "lithify-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Repeats the experiments of the Adaptive-HGFDR paper: CSV, pictures and a page that compares the figures
    Paper {
        /// Folder of the development data (holds esm/)
        #[arg(long)]
        data: PathBuf,
        /// Folder to write
        #[arg(long, default_value = "docs/paper")]
        out: PathBuf,
    },
    /// Measures our codecs and all rivals on real fields: CSV, a Markdown page and pictures
    Table(table::Options),
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Paper { data, out } => paper::run(&data, &out),
        Command::Table(options) => table::run(&options),
    }
}
