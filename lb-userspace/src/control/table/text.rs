//! Text that fits a terminal: lines broken between words, columns, numbers as people read them.

use std::fmt::Write as _;

/// A text in lines of at most this width, those behind the first indented by so much. A word that is too long has a line
/// to itself.
pub(super) fn wrapped(text: &str, width: usize, indent: usize) -> String {
    let body = text.trim_start();
    let mut lines = " ".repeat(text.len() - body.len());
    let (mut length, mut begins) = (lines.len(), true);
    for word in body.split(' ') {
        let letters = word.chars().count();
        if !begins && length + 1 + letters > width {
            lines.truncate(lines.trim_end().len());
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            (length, begins) = (indent, true);
        }
        let space = if begins { "" } else { " " };
        lines.push_str(space);
        lines.push_str(word);
        length += space.len() + letters;
        begins = false;
    }
    lines.push('\n');
    lines
}

/// Rows in aligned columns: words to the left, numbers to the right.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.first().map_or(0, Vec::len);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let numeric =
        |column: usize| rows.get(1).and_then(|row| row.get(column)).is_some_and(|cell| is_number(cell));
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if numeric(column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "  {}", line.trim_end());
    }
    text
}

/// Whether a cell is a number, perhaps with a unit, and no address.
fn is_number(cell: &str) -> bool {
    cell.starts_with(|first: char| first.is_ascii_digit())
        && !cell.contains(':')
        && cell.matches('.').count() < 2
}

/// A number in groups of three.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the largest unit that leaves at least one.
#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) fn bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < units.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let decimals = usize::from(unit > 0);
    format!("{amount:.decimals$} {}", units.get(unit).unwrap_or(&"B"))
}

/// A span as people write it.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole seconds since start")]
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds:.1}s"),
        (0, 0, _) => format!("{minutes}m{}s", whole % 60),
        (0, _, _) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(wrapped("one two three", 80, 2), "one two three\n");
        assert_eq!(wrapped("one two three", 7, 2), "one two\n  three\n");
        assert_eq!(wrapped("  one  two", 80, 2), "  one  two\n", "spaces are kept");
        assert_eq!(wrapped("    one two", 7, 2), "    one\n  two\n");
        assert_eq!(wrapped("a-long-word and one", 5, 2), "a-long-word\n  and\n  one\n");
    }

    #[test]
    fn numbers_are_grouped_and_bytes_scaled() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1023, 1024, 3 << 30].map(bytes), ["0 B", "1023 B", "1.0 KiB", "3.0 GiB"]);
        assert_eq!([3.21, 65.0, 3700.0, 90_000.0].map(duration), ["3.2s", "1m5s", "1h1m", "1d1h"]);
    }
}
