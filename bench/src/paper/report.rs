//! The page: published figures beside ours, with verdicts that follow from the numbers.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Finding, Section};
use crate::rows::Rows;

const INTRODUCTION: &str = "\
# The Adaptive-HGFDR paper, repeated

Yu et al., Lossy compression of Earth system model data based on a hierarchical tensor with Adaptive-HGFDR (v1.0),
Geosci. Model Dev. 14, 2021. This page and everything beside it is written by

    cargo run --release -p lithify-bench -- paper --data DIR --out docs/paper

and is not edited by hand. `hgfdr` and `hgfdr-blocked` are our implementations of the paper's two methods, `tensor` is their successor;
ZFP, SZ3, TTHRESH and SPERR run in their own libraries.

**The data differ.** Theirs: CESM air temperature, 1024 x 512 x 26, at 0.33 degrees, and 22 monthly variables of 1024 x 512 x 221. Ours: CESM air
temperature, 288 x 192 x 30, at about 1 degree, and the variables listed below. A coarser field changes more from one point to the
next, and small blocks have fewer values to share their factors among: lower ratios are to be expected of every method. So orders and tendencies are
compared, not sizes. A verdict is *agrees* where our numbers support the paper's statement and *differs* where they do not.

All errors are measured by this program on decoded values, for every coder in the same way; ratios are bytes of the stored type over all
bytes that a decoder needs.
";

/// Writes `README.md` into `out`.
pub fn write(sections: &[Section], out: &Path) -> Result<()> {
    let all: Vec<&Finding> = sections.iter().flat_map(|s| &s.findings).collect();
    let mut page = String::from(INTRODUCTION);
    let agreeing = all.iter().filter(|f| f.agrees).count();
    write!(page, "\n## Verdicts\n\n{agreeing} of {} statements agree.\n\n{}", all.len(), verdicts(&all))?;
    for s in sections {
        write!(page, "\n## {}\n\n{}\n\n", s.title, s.setup)?;
        for (file, caption) in &s.figures {
            write!(page, "![{caption}]({file})\n\n")?;
        }
        write!(page, "{}\nNumbers: [{}]({})\n", s.table, s.csv, s.csv)?;
    }
    let path = out.join("README.md");
    std::fs::write(&path, page).with_context(|| path.display().to_string())
}

fn verdicts(findings: &[&Finding]) -> String {
    let mut rows = Rows::new(&["the paper's statement", "published", "here", "verdict"]);
    for f in findings {
        let verdict = if f.agrees { "agrees" } else { "**differs**" };
        rows.push([f.claim.clone(), f.published.clone(), f.ours.clone(), verdict.into()]);
    }
    rows.markdown()
}
