//! Names, units and standard names of parameters, from `parameters.tsv`.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::field::{Field, Parameter};

/// What a parameter is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// Short name, the variable's.
    pub(super) short: String,
    /// Empty if the parameter is not in the table.
    pub(super) long: String,
    /// UDUNITS; empty if unknown.
    pub(super) units: String,
    /// CF; empty if there is none.
    pub(super) standard: String,
}

type Row = [&'static str; 4];

fn table() -> &'static HashMap<(&'static str, &'static str, &'static str), Row> {
    static TABLE: OnceLock<HashMap<(&str, &str, &str), Row>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let row = |line: &'static str| match line.split('\t').collect::<Vec<_>>()[..] {
            [edition, centre, key, short, units, standard, long] => {
                Some(((edition, centre, key), [short, units, standard, long]))
            }
            _ => None,
        };
        include_str!("parameters.tsv").lines().filter(|l| !l.starts_with('#')).filter_map(row).collect()
    })
}

/// The field's parameter; `param_0_2_201` or `param_128_77` if it is not in the table. Fields near the ground have names of their own,
/// as in eccodes: `2t`, `10u`.
pub(super) fn name(field: &Field) -> Name {
    let (edition, key) = match field.parameter {
        // ECMWF's way to write a parameter of its table 128 in edition 2.
        Parameter::Edition2(192, 128, n) => ("1", format!("128.{n}")),
        Parameter::Edition2(d, c, n) => ("2", format!("{d}.{c}.{n}")),
        // Versions 1 and 3 share the first half with version 2, all that is not for local use.
        Parameter::Edition1(1 | 3, n) if n < 128 => ("1", format!("2.{n}")),
        Parameter::Edition1(t, n) => ("1", format!("{t}.{n}")),
    };
    let centre = field.centre.to_string();
    let row =
        table().get(&(edition, centre.as_str(), key.as_str())).or_else(|| table().get(&(edition, "0", key.as_str())));
    let Some([short, units, standard, long]) = row else {
        let short = match field.parameter {
            Parameter::Edition2(d, c, n) => format!("param_{d}_{c}_{n}"),
            Parameter::Edition1(t, n) => format!("param_{t}_{n}"),
        };
        return Name { short, long: String::new(), units: String::new(), standard: String::new() };
    };
    let height = (field.level.name == "heightAboveGround").then_some(field.level.first);
    let short = match (*short, height) {
        ("t", Some(2.0)) => "2t",
        ("dpt", Some(2.0)) => "2d",
        ("q", Some(2.0)) => "2sh",
        ("r", Some(2.0)) => "2r",
        ("u", Some(10.0)) => "10u",
        ("v", Some(10.0)) => "10v",
        ("u", Some(100.0)) => "100u",
        ("v", Some(100.0)) => "100v",
        ("pres", None) if field.level.name == "surface" => "sp",
        (short, _) => short,
    };
    let standard = if short == "sp" { "surface_air_pressure" } else { standard };
    Name { short: short.into(), long: (*long).into(), units: (*units).into(), standard: standard.into() }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_row_of_the_table_has_seven_columns_and_no_twin() {
        let lines = include_str!("parameters.tsv").lines().filter(|l| !l.starts_with('#')).count();
        assert_eq!(super::table().len(), lines);
        assert!(lines > 250, "{lines}");
    }
}
