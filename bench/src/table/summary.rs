//! The whole in a few numbers: gains over the best rival, cells lost, speed and memory.

use super::cell::Cell;
use super::compare::{DEFAULT, Duel, geomean};
use super::row::{OURS, Row};
use super::{CODECS, EFFORTS};
use crate::rows::{Rows, short};

/// Coders that speed is compared with.
const PACE: [&str; 2] = ["SPERR", "SZ3"];

fn or_dash(v: Option<f64>) -> String {
    v.map_or("-".into(), short)
}

fn auto(effort: u8) -> String {
    format!("auto@{effort}")
}

/// By bound: geometric mean of our gain over the best rival at each effort, cells lost, and the worst of them.
pub fn gains(duels: &[Duel<'_>], cells: &[Cell]) -> Rows {
    let modes = EFFORTS.map(auto);
    let mut header = vec!["bound".to_owned(), "cells".into()];
    header.extend(EFFORTS.iter().map(|e| format!("gain, effort {e}")));
    header.extend(["lost at 5", "least gain at 5"].map(String::from));
    let mut rows = Rows::new(&header.iter().map(String::as_str).collect::<Vec<_>>());
    let mut add = |name: String, of: &dyn Fn(&Duel<'_>) -> bool| {
        let chosen: Vec<_> = duels.iter().filter(|d| of(d)).collect();
        let gains = |mode: &str| chosen.iter().filter_map(|d| d.gain(mode)).collect::<Vec<_>>();
        let default = gains(DEFAULT);
        let mut row = vec![name, chosen.len().to_string()];
        row.extend(modes.iter().map(|m| or_dash(geomean(gains(m)))));
        row.push(default.iter().filter(|g| **g < 1.0).count().to_string());
        row.push(or_dash(default.into_iter().min_by(f64::total_cmp)));
        rows.push(row);
    };
    for cell in cells {
        add(cell.to_string(), &|d| d.cell == *cell);
    }
    add("all lossy".into(), &|d| d.cell != Cell::Lossless);
    rows
}

/// Cells where a rival is smaller than we are.
pub fn lost(duels: &[Duel<'_>]) -> Rows {
    let mut rows = Rows::new(&["field", "bound", "Lithify", "best rival", "its ratio", "gain"]);
    for d in duels {
        if let (Some(ours), Some(rival), Some(gain)) = (d.ours(DEFAULT), d.best_rival(), d.gain(DEFAULT))
            && gain < 1.0
        {
            let name = format!("{} {}", rival.coder, rival.mode);
            let numbers = [short(ours.ratio), name.trim().into(), short(rival.ratio), short(gain)];
            rows.push([d.field.to_owned(), d.cell.to_string()].into_iter().chain(numbers));
        }
    }
    rows
}

/// By bound: bytes of each single codec, and of the best of them, over those of `auto`; below 1 the choice was not the best.
pub fn choice(duels: &[Duel<'_>], cells: &[Cell]) -> Rows {
    let mut header = vec!["bound"];
    let single = &CODECS[1..];
    header.extend(single);
    header.extend(["best of them", "worst choice"]);
    let mut rows = Rows::new(&header);
    for cell in cells.iter().filter(|c| **c != Cell::Lossless) {
        let over = |d: &Duel<'_>, codec: &str| {
            Some(d.ours(&format!("{codec}@5"))?.bytes as f64 / d.ours(DEFAULT)?.bytes as f64)
        };
        let here = || duels.iter().filter(|d| d.cell == *cell);
        let best: Vec<f64> =
            here().filter_map(|d| single.iter().filter_map(|c| over(d, c)).min_by(f64::total_cmp)).collect();
        let mut row = vec![cell.to_string()];
        row.extend(single.iter().map(|c| or_dash(geomean(here().filter_map(|d| over(d, c))))));
        row.push(or_dash(geomean(best.iter().copied())));
        row.push(or_dash(best.into_iter().min_by(f64::total_cmp)));
        rows.push(row);
    }
    rows
}

/// Our speed over that of others at each effort, geometric means over the lossy cells that both have.
pub fn pace(duels: &[Duel<'_>]) -> Rows {
    let mut rows = Rows::new(&["effort", "encode / SPERR", "encode / SZ3", "decode / SPERR", "decode / SZ3"]);
    for effort in EFFORTS {
        let mean = |coder: &str, speed: fn(&Row) -> f64| {
            let pairs = duels.iter().filter_map(|d| Some((d.ours(&auto(effort))?, d.of(coder)?)));
            or_dash(geomean(pairs.map(|(ours, other)| speed(ours) / speed(other))))
        };
        let encode = PACE.map(|c| mean(c, |r| r.encode_mb_s));
        let decode = PACE.map(|c| mean(c, |r| r.decode_mb_s));
        rows.push(std::iter::once(effort.to_string()).chain(encode).chain(decode));
    }
    rows
}

/// Each coder in each mode: MB/s, and peak memory over the size of the samples, geometric means over its cells.
pub fn costs(rows: &[Row], lossless: bool) -> Rows {
    let mut table =
        Rows::new(&["coder", "mode", "cells", "encode, MB/s", "decode, MB/s", "encode, memory", "decode, memory"]);
    let rows: Vec<&Row> = rows.iter().filter(|r| (r.cell == Cell::Lossless) == lossless).collect();
    let mut names: Vec<(&str, &str)> = rows.iter().map(|r| (r.coder.as_str(), r.mode.as_str())).collect();
    names.sort_by_key(|(coder, mode)| (*coder != OURS, *coder, *mode));
    names.dedup();
    for (coder, mode) in names {
        let its: Vec<&&Row> = rows.iter().filter(|r| r.coder == coder && r.mode == mode).collect();
        let samples_mib = |r: &Row| r.ratio * r.bytes as f64 / f64::from(1 << 20);
        // What fits into memory that was free already shows as nothing; a page is the least there is.
        let memory = |mib: fn(&Row) -> f64| {
            let known = its.iter().filter(|r| !mib(r).is_nan());
            or_dash(geomean(known.map(|r| mib(r).max(0.004) / samples_mib(r))))
        };
        let mut row = vec![coder.to_owned(), mode.to_owned(), its.len().to_string()];
        row.push(or_dash(geomean(its.iter().map(|r| r.encode_mb_s))));
        row.push(or_dash(geomean(its.iter().map(|r| r.decode_mb_s))));
        row.extend([memory(|r| r.encode_mib), memory(|r| r.decode_mib)]);
        table.push(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::compare::duels;
    use super::super::row::tests::row;
    use super::*;

    #[test]
    fn losses_are_counted_and_named() {
        let cell = Cell::L2(1e-3);
        let rows = [
            row("a", cell, OURS, DEFAULT, 100),
            row("a", cell, OURS, "predict@5", 90),
            row("a", cell, "SZ3", "tuned", 400),
            row("b", cell, OURS, DEFAULT, 200),
            row("b", cell, "SPERR", "", 100),
        ];
        let duels = duels(&rows, &["a", "b"], &[cell]);
        let gains = gains(&duels, &[cell]).markdown();
        assert!(gains.contains("| l2=1e-3 | 2 | - | - | 1.41 | - | 1 | 0.500 |"), "{gains}");
        let lost = lost(&duels).markdown();
        assert!(lost.contains("| b | l2=1e-3 | 120 | SPERR | 240 | 0.500 |"), "{lost}");
        let choice = choice(&duels, &[cell]).markdown();
        assert!(choice.contains("| l2=1e-3 | 0.900 | - | - | 0.900 | 0.900 |"), "{choice}");
        assert!(pace(&duels).markdown().contains("| 5 | 1.00 | 1.00 | 1.00 | 1.00 |"));
    }
}
