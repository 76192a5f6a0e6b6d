//! Tables for people: columns as wide as they need to be, numbers to the right.

/// Lines of a table; cells that look like numbers are set to the right.
pub fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let width =
        |c: usize| rows.iter().map(|r| r[c].chars().count()).chain([header[c].chars().count()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let right: Vec<bool> = (0..header.len())
        .map(|c| {
            rows.iter()
                .all(|r| r[c].starts_with(|ch: char| ch.is_ascii_digit() || "-+".contains(ch)) || r[c].is_empty())
        })
        .collect();
    let mut out = String::new();
    let header: Vec<String> = header.iter().map(|h| h.to_string()).collect();
    for row in std::iter::once(&header).chain(rows) {
        let cells: Vec<String> = (0..row.len())
            .map(|c| {
                let pad = " ".repeat(widths[c] - row[c].chars().count());
                if right[c] { format!("{pad}{}", row[c]) } else { format!("{}{pad}", row[c]) }
            })
            .collect();
        out += cells.join("  ").trim_end();
        out.push('\n');
    }
    out
}

/// A number with four significant digits.
pub fn number(v: f64) -> String {
    if v == 0.0 || v.is_nan() || v.is_infinite() {
        format!("{v}")
    } else if (1e-3..1e5).contains(&v.abs()) {
        let digits = (3 - v.abs().log10().floor() as i32).max(0) as usize;
        format!("{v:.digits$}")
    } else {
        format!("{v:.3e}")
    }
}

/// `[3, 30, 192]`
pub fn shape(shape: &[usize]) -> String {
    format!("{shape:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let t = render(&["name", "n"], &[vec!["a".into(), "10".into()], vec!["bbbbb".into(), "5".into()]]);
        assert_eq!(t, "name    n\na      10\nbbbbb   5\n");
        assert_eq!([number(0.0), number(1234.5), number(0.01234), number(1e-9)], ["0", "1234", "0.01234", "1.000e-9"]);
    }
}
