//! One field: what its header says, without its data.

use super::grid::Grid;
use super::level::Level;
use super::octets::Parse;
use super::unpack::Packing;

/// Where bytes lie in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) at: u64,
    pub(super) len: usize,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Parameter {
    /// Discipline, category, number.
    Edition2(u8, u8, u8),
    /// Table version, indicator.
    Edition1(u8, u8),
}

/// The header of a field. A message holds one or several.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// Number of its message, from 1.
    pub(super) message: usize,
    /// Where its message starts.
    pub(super) offset: u64,
    pub(super) edition: u8,
    pub(super) centre: u16,
    pub(super) sub_centre: u16,
    pub(super) parameter: Parameter,
    pub(super) level: Level,
    /// Reference time, seconds since 1970-01-01.
    pub(super) time: i64,
    /// To the end of the forecast or of the interval, seconds.
    pub(super) step: i64,
    /// To the start of the interval; equal to `step` without one.
    pub(super) step_start: i64,
    /// `instant`, `avg`, `accum`, `max`, ...
    pub(super) step_type: String,
    /// Ensemble member.
    pub(super) number: Option<i64>,
    /// Other keys by which fields of the same parameter differ: derived forecast, percentile, probability, ...
    pub(super) kind: Vec<(&'static str, f64)>,
    /// Type of data, a number of code table 1.4 (edition 2) or of the centre's own table.
    pub(super) data_type: Option<u8>,
    /// Index into the file's grids.
    pub(super) grid: usize,
    pub(super) packing: Packing,
    /// Payload of the data section.
    pub(super) data: Span,
    /// One bit a point, if some are missing.
    pub(super) bitmap: Option<Span>,
}

/// Grids by what defines them, so that each is kept once.
#[derive(Debug, Default)]
pub(super) struct Grids {
    pub(super) all: Vec<Grid>,
    index: std::collections::HashMap<Vec<u8>, usize>,
}

impl Grids {
    /// The index of the grid that `definition` defines; `parse` is asked for new ones only.
    pub(super) fn intern(&mut self, definition: &[u8], parse: impl FnOnce() -> Parse<Grid>) -> Parse<usize> {
        if let Some(&known) = self.index.get(definition) {
            return Ok(known);
        }
        self.all.push(parse()?);
        self.index.insert(definition.to_vec(), self.all.len() - 1);
        Ok(self.all.len() - 1)
    }
}

/// Seconds since 1970-01-01 of a time in the proleptic Gregorian calendar; fields out of range carry over.
pub(super) fn seconds_since_1970(year: i64, month: i64, day: i64, hour: i64, minute: i64, second: i64) -> i64 {
    // Days from civil, Howard Hinnant: years start in March, so that the leap day is the last.
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    days * 86_400 + hour * 3600 + minute * 60 + second
}

/// Seconds in a unit of code table 4.4 (edition 2) or 4 (edition 1). Months have 30 days and years 365, as in eccodes.
pub(super) fn unit_seconds(unit: u8, edition: u8) -> Option<i64> {
    const DAY: i64 = 86_400;
    Some(match (unit, edition) {
        (0, _) => 60,
        (1, _) => 3600,
        (2, _) => DAY,
        (3, _) => 30 * DAY,
        (4, _) => 365 * DAY,
        (5, _) => 3650 * DAY,
        (6, _) => 30 * 365 * DAY,
        (7, _) => 36_500 * DAY,
        (10, _) => 3 * 3600,
        (11, _) => 6 * 3600,
        (12, _) => 12 * 3600,
        (13, 1) => 15 * 60,
        (14, 1) => 30 * 60,
        (13, 2) | (254, 1) => 1,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates() {
        for ((y, m, d, h), want) in [
            ((1970, 1, 1, 0), 0),
            ((2000, 2, 29, 12), 951_825_600),
            ((1969, 12, 31, 23), -3600),
            ((2017, 1, 1, 0), 1_483_228_800),
        ] {
            assert_eq!(super::seconds_since_1970(y, m, d, h, 0, 0), want, "{y}-{m}-{d}");
        }
    }
}
