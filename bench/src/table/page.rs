//! `README.md` beside the results: summary, cells lost, ratios by bound, speed and memory.

use super::cell::Cell;
use super::compare::{Duel, duels};
use super::row::{OURS, Row};
use super::{labels, summary};
use crate::data::Entry;
use crate::rows::{Rows, short};

const LOSSY: [&str; 6] = ["SPERR", "SZ3", "ZFP", "TTHRESH", "JPEG-LS", "JPEG 2000"];
const LOSSLESS: [&str; 6] = ["pco", "zstd", "fpzip", "JPEG-LS", "JPEG 2000", "JPEG XL"];

/// What the page is made of.
pub struct Page<'a> {
    /// All rows.
    pub rows: &'a [Row],
    /// The fields of this run.
    pub entries: &'a [&'static Entry],
    /// The bounds of this run.
    pub cells: &'a [Cell],
    /// Whether all rows are of this run, so that times can be compared.
    pub one_run: bool,
    /// Pictures: file and what it shows.
    pub pictures: Vec<(&'static str, &'static str)>,
}

impl Page<'_> {
    /// The page.
    pub fn text(&self) -> String {
        let fields = labels(self.rows);
        let duels = duels(self.rows, &fields, self.cells);
        let mut page = HEAD.to_owned();
        let mut add = |title: &str, text: &str, body: &str| {
            page += &format!("\n## {title}\n\n{text}\n");
            if !body.is_empty() {
                page += &format!("\n{body}");
            }
        };
        add("Summary", GAINS, &summary::gains(&duels, self.cells).markdown());
        let lost = summary::lost(&duels);
        match lost.is_empty() {
            true => add("Cells lost", "None.", ""),
            false => add("Cells lost", "Where a rival takes fewer bytes than Lithify at effort 5.", &lost.markdown()),
        }
        let pace = if self.one_run { summary::pace(&duels).markdown() } else { String::new() };
        add("Speed", if self.one_run { PACE } else { OTHER_RUN }, &pace);
        add("Choice of codec", CHOICE, &summary::choice(&duels, self.cells).markdown());
        for cell in self.cells {
            let ratios = ratios(&duels, *cell).markdown();
            add(&format!("Ratios, {cell}"), &meaning(*cell), &ratios);
        }
        let pictures = self.pictures.iter().map(|(file, what)| format!("![bits per sample and {what}]({file})\n"));
        let pictures = pictures.collect::<Vec<_>>().join("\n");
        if !pictures.is_empty() {
            add("Rate against error", CURVES, &pictures);
        }
        let costs = if self.one_run { COSTS.to_owned() } else { format!("{COSTS} {OTHER_RUN}") };
        add("Costs of the lossy coders", &costs, &summary::costs(self.rows, false).markdown());
        add("Costs of the lossless coders", &costs, &summary::costs(self.rows, true).markdown());
        add("Fields", FIELDS, &self.fields().markdown());
        page
    }

    fn fields(&self) -> Rows {
        let mut table = Rows::new(&["key", "field", "kind", "shape", "type", "source"]);
        for e in self.entries {
            let Some(row) = self.rows.iter().find(|r| r.field == e.label) else { continue };
            let shape = format!("[{}]", row.shape.replace('x', ", "));
            let files = e.files();
            let source = files.iter().map(|f| format!("`{f}`")).collect::<Vec<_>>().join(", ");
            table.push([e.key.into(), e.label.into(), e.kind.into(), shape, row.dtype.clone(), source]);
        }
        table
    }
}

/// Ratios of all coders, the best of a row in bold.
fn ratios(duels: &[Duel<'_>], cell: Cell) -> Rows {
    let mut header = vec!["field", OURS];
    header.extend(if cell == Cell::Lossless { LOSSLESS } else { LOSSY });
    let mut table = Rows::new(&header);
    for d in duels.iter().filter(|d| d.cell == cell) {
        let best = header.iter().filter_map(|c| d.of(c)).map(|r| r.bytes).min();
        let text = |coder: &&str| match d.of(coder) {
            Some(r) if Some(r.bytes) == best => format!("**{}**", short(r.ratio)),
            Some(r) => short(r.ratio),
            None => "-".into(),
        };
        table.push(std::iter::once(d.field.to_owned()).chain(header[1..].iter().map(text)));
    }
    table
}

fn meaning(cell: Cell) -> String {
    match cell {
        Cell::Range(e) => format!("The largest error is at most {e:e} of the field's range."),
        Cell::L2(e) => format!("The Frobenius norm of the error is at most {e:e} of that of the field."),
        Cell::Lossless => "Every bit comes back.".into(),
    }
}

const HEAD: &str = "\
# Results

Written by `cargo run --release -p lithify-bench -- table --data DIR --out docs/bench`, not edited by hand. All numbers:
[results.csv](results.csv); fields and coders: the end of this page and `bench/README.md`.

Ratios are bytes of the stored type over all bytes that a decoder needs; the best of a row is bold. Lithify is codec `auto` at effort 5.
Every coder is set to just meet the bound on its decoded values, measured by the same code, and of a coder with several modes the
smallest result counts (`results.csv` has each). Where samples are missing, rivals get a smooth extension and are charged the bytes
of the exact mask; packed integers are given to them as float32 and may be rounded to the lattice again. JPEG-LS and JPEG 2000 code planes
of the last two dimensions, quantized with the step that the bound allows. `-`: the coder does not take the shape or type, has no such bound,
or 16 bits do not suffice. Times are of one thread.
";
const GAINS: &str = "\
Gain: bytes of the best rival over ours, geometric mean over the fields; above 1 Lithify is smaller. Lost: cells where it is not.";
const PACE: &str = "\
How many times as fast as SPERR and SZ3 (in its smallest mode) Lithify encodes and decodes, geometric means over the lossy cells. For norms
the time includes the choice of the codec and of the first step, and for nobody a search for the last percent.";
const OTHER_RUN: &str = "\
Rivals' rows come from an earlier run, so that speeds here must not be compared: that takes a run without `--peers`.";
const CHOICE: &str = "\
Bytes of each codec at effort 5 over those of `auto`, geometric means; below 1, `auto` missed the best. The last column is its worst miss.";
const CURVES: &str = "A curve for each coder; down and to the left is better. Both axes are logarithmic.";
const COSTS: &str = "\
MB are millions of stored bytes. Memory is the peak beyond the samples, as a multiple of their stored size. Geometric means over the cells that
each has.";
const FIELDS: &str =
    "Files are named below the folder of the development data; large ones are cropped to the shape shown.";
