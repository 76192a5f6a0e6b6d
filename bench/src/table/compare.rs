//! Rows compared: who is best in a cell, and by how much on the whole.

use super::cell::Cell;
use super::row::Row;

/// Our mode that the tables show.
pub const DEFAULT: &str = "auto@5";

/// Rows of one field under one bound.
#[derive(Debug, Clone)]
pub struct Duel<'a> {
    /// Label of the field.
    pub field: &'a str,
    /// The bound.
    pub cell: Cell,
    /// All codings.
    pub rows: Vec<&'a Row>,
}

impl<'a> Duel<'a> {
    /// Our row of a mode.
    pub fn ours(&self, mode: &str) -> Option<&'a Row> {
        self.rows.iter().copied().find(|r| r.is_ours() && r.mode == mode)
    }

    /// The smallest row of a coder over its modes; of ours, only the default one counts.
    pub fn of(&self, coder: &str) -> Option<&'a Row> {
        let counts = |r: &&Row| r.coder == coder && (!r.is_ours() || r.mode == DEFAULT);
        self.rows.iter().copied().filter(counts).min_by_key(|r| r.bytes)
    }

    /// The smallest row of any rival.
    pub fn best_rival(&self) -> Option<&'a Row> {
        self.rows.iter().copied().filter(|r| !r.is_ours()).min_by_key(|r| r.bytes)
    }

    /// How many times our bytes the best rival takes: above 1 we are smaller.
    pub fn gain(&self, mode: &str) -> Option<f64> {
        Some(self.best_rival()?.bytes as f64 / self.ours(mode)?.bytes as f64)
    }
}

/// Rows by field and bound, in the order of `fields` and `cells`.
pub fn duels<'a>(rows: &'a [Row], fields: &[&'a str], cells: &[Cell]) -> Vec<Duel<'a>> {
    let pairs = cells.iter().flat_map(|cell| fields.iter().map(move |field| (*field, *cell)));
    pairs
        .map(|(field, cell)| {
            let rows = rows.iter().filter(|r| r.field == field && r.cell == cell).collect();
            Duel { field, cell, rows }
        })
        .filter(|d| !d.rows.is_empty())
        .collect()
}

/// Geometric mean; `None` of nothing.
pub fn geomean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (n, sum) = values.into_iter().fold((0, 0.0), |(n, sum), v| (n + 1, sum + v.ln()));
    (n > 0).then(|| (sum / f64::from(n)).exp())
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::row;
    use super::*;

    #[test]
    fn the_best_rival_and_the_default_mode_count() {
        let cell = Cell::Lossless;
        let rows = [
            row("a", cell, "Lithify", "auto@5", 100),
            row("a", cell, "Lithify", "auto@9", 90),
            row("a", cell, "pco", "", 180),
            row("a", cell, "JPEG XL", "stacked", 150),
            row("a", cell, "JPEG XL", "channels", 120),
            row("b", cell, "pco", "", 1),
        ];
        let duels = duels(&rows, &["a", "b"], &[Cell::L2(1e-3), cell]);
        assert_eq!(duels.len(), 2);
        assert_eq!(duels[0].of("Lithify").unwrap().bytes, 100);
        assert_eq!(duels[0].of("JPEG XL").unwrap().mode, "channels");
        assert_eq!(duels[0].gain(DEFAULT), Some(1.2));
        assert_eq!(duels[1].gain(DEFAULT), None);
        assert_eq!(geomean([1.0, 4.0]), Some(2.0));
        assert_eq!(geomean([]), None);
    }
}
