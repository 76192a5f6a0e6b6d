//! The experiments of sections 4.2 to 4.4 of the Adaptive-HGFDR paper on our development data.
//!
//! One file per experiment: it computes, writes its CSV and its picture, and states which of the paper's findings it can judge.
//! [`report`] puts them on one page.

use std::path::Path;

use anyhow::{Context, Result};

use crate::field::Field;
use crate::measure::Target;
use crate::peers::ours::{self, Setting};
use crate::peers::{Outcome, fit_best};

mod blocks;
mod hgfdr;
mod order;
mod ratio;
mod report;
mod slices;
mod variables;

/// Blocks of the paper's experiments, once the best count was found.
const BLOCKS: usize = 16;

/// A finding of the paper beside ours.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What the paper states.
    pub claim: String,
    /// Its numbers.
    pub published: String,
    /// Ours.
    pub ours: String,
    /// Whether ours support the claim.
    pub agrees: bool,
}

/// One experiment as the page shows it.
#[derive(Debug, Clone)]
pub struct Section {
    /// Heading.
    pub title: String,
    /// What was done, and on which data.
    pub setup: String,
    /// Picture and what it shows.
    pub figures: Vec<(String, String)>,
    /// CSV file.
    pub csv: String,
    /// A table of our numbers, in Markdown.
    pub table: String,
    /// What agrees and what does not.
    pub findings: Vec<Finding>,
}

/// Runs everything.
pub fn run(data: &Path, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let t = Field::read(data, "esm/cam-fv.T.3months.nc", "T", "CESM T", &[1])?;
    let mut sections = Vec::new();
    let mut add = |name: &str, section: Result<Section>| -> Result<()> {
        sections.push(section.with_context(|| name.to_owned())?);
        eprintln!("{name}: done");
        Ok(())
    };
    add("block count", blocks::run(&t, out))?;
    add("storage order", order::run(&t, data, out))?;
    add("ratio against error", ratio::run(&t, out))?;
    add("errors by longitude and level", slices::run(&t, out))?;
    add("all variables", variables::run(&t, data, out))?;
    report::write(&sections, out)
}

/// How Blocked-HGFDR gets its rank.
#[derive(Debug, Clone, Copy, PartialEq)]
enum BlockedRank {
    /// The mean of the adaptive ranks, as the paper's section 4.3.2 has it: its error can miss the target.
    MeanOfAdaptive,
    /// The smallest that meets the error over the field.
    MeetsError,
}

/// The codecs of the comparison at relative error `e`: ours first, then `names` of the rivals.
fn compared(field: &Field, e: f64, rank: BlockedRank, names: &[&str]) -> Result<Vec<Outcome>> {
    let target = Target::L2(e);
    let (adaptive, ranks) = hgfdr::adaptive(field, BLOCKS, e)?;
    let blocked = match rank {
        BlockedRank::MeanOfAdaptive => hgfdr::blocked(field, BLOCKS, hgfdr::mean_rank(&ranks))?,
        BlockedRank::MeetsError => hgfdr::blocked_to(field, BLOCKS, e)?,
    };
    let mut all = vec![adaptive, blocked];
    let tensor = ours::fit(field, &Setting::of("tensor"), Some(target))?;
    all.extend(tensor.map(|o| Outcome { coder: "tensor".into(), ..o }));
    for name in names {
        all.extend(fit_best(name, field, target)?);
    }
    Ok(all)
}

/// The outcome of the coder called `name`.
fn of<'a>(outcomes: &'a [Outcome], name: &str) -> Result<&'a Outcome> {
    outcomes.iter().find(|o| o.coder == name).with_context(|| format!("{name} met no target"))
}
