//! Numbers of bytes as people write them: `2MB`, `1.5 GiB`, `800k`.

use crate::error::{Error, Result};

/// Units without the `b` that may end them, in lower case.
const UNITS: [(&str, f64); 9] = [
    ("", 1.0),
    ("k", 1e3),
    ("m", 1e6),
    ("g", 1e9),
    ("t", 1e12),
    ("ki", 1024.0),
    ("mi", 1_048_576.0),
    ("gi", 1_073_741_824.0),
    ("ti", 1_099_511_627_776.0),
];

/// A size of at least one byte; fractions of a byte are cut off.
///
/// # Errors
/// [`Error::Invalid`] for other units, and for numbers that are no size.
pub fn parse(s: &str) -> Result<u64> {
    const HELP: &str = "the bound bytes= takes a size of at least 1 byte: 800k, 2MB, 1.5GiB";
    let bad = || Error::invalid(HELP, format!("{s:?}"));
    let number = s.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = s[number.len()..].to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
    let bytes = number.trim().parse::<f64>().map_err(|_| bad())? * factor;
    // Up to 2^53 every whole number is an f64.
    if (1.0..=9_007_199_254_740_992.0).contains(&bytes) { Ok(bytes as u64) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (s, want) in [
            ("1", 1),
            ("2e6", 2_000_000),
            ("2MB", 2_000_000),
            ("2 mb", 2_000_000),
            ("1.5k", 1500),
            ("10KiB", 10_240),
            ("3Gi", 3 << 30),
            ("7B", 7),
            ("0.5T", 500_000_000_000),
        ] {
            assert_eq!(parse(s).unwrap(), want, "{s}");
        }
        for s in ["", "0", "0.3", "-1", "nan", "inf", "MB", "2XB", "2 M B", "1e300", "2Kb/s", "1,5k", "0x10"] {
            assert!(parse(s).is_err(), "{s}");
        }
    }
}
