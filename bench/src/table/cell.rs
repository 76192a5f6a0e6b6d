//! What is asked of every coder: a bound, by its name in the table.

use anyhow::Result;

use crate::field::Field;
use crate::measure::Target;

/// A bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell {
    /// Largest error as a part of the field's range.
    Range(f64),
    /// Relative Frobenius norm of the error.
    L2(f64),
    /// Every bit.
    Lossless,
}

/// All, in the order of the page.
pub const CELLS: [Cell; 8] = [
    Cell::Range(1e-2),
    Cell::Range(1e-3),
    Cell::Range(1e-4),
    Cell::Range(1e-5),
    Cell::L2(1e-2),
    Cell::L2(1e-3),
    Cell::L2(1e-4),
    Cell::Lossless,
];

/// Those of a quick run.
pub const QUICK: [Cell; 3] = [Cell::Range(1e-3), Cell::L2(1e-3), Cell::Lossless];

impl Cell {
    /// What must hold on decoded values of `field`; `None` for every bit.
    pub fn target(self, field: &Field) -> Option<Target> {
        match self {
            Self::Range(e) => Some(Target::MaxAbs(e * field.stats.range())),
            Self::L2(e) => Some(Target::L2(e)),
            Self::Lossless => None,
        }
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Range(e) => write!(f, "range={e:e}"),
            Self::L2(e) => write!(f, "l2={e:e}"),
            Self::Lossless => f.write_str("lossless"),
        }
    }
}

impl std::str::FromStr for Cell {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('=') {
            Some(("range", e)) => Ok(Self::Range(e.parse()?)),
            Some(("l2", e)) => Ok(Self::L2(e.parse()?)),
            None if text == "lossless" => Ok(Self::Lossless),
            _ => anyhow::bail!("no bound: {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for cell in CELLS {
            assert_eq!(cell.to_string().parse::<Cell>().unwrap(), cell);
        }
        assert!("abs=1".parse::<Cell>().is_err());
    }
}
