//! The text of a configuration as lines, so that a byte range becomes a place a person can find.

use std::ops::Range;

use super::diagnostic::{LONGEST_SHOWN, Place};

const BYTE_ORDER_MARK: char = '\u{feff}';

/// A named text and where its lines start.
pub(super) struct Source<'a> {
    name: &'a str,
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn new(name: &'a str, text: &'a str) -> Self {
        let first = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 };
        let starts = std::iter::once(first).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name, text, starts }
    }

    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// The place of a byte range: its first line, and the part of the range on that line.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let index = self.line_index(span.start);
        let (start, line) = self.line(index);
        let column = chars_before(line, span.start.saturating_sub(start));
        let end = chars_before(line, span.end.saturating_sub(start));
        Place {
            line: index + 1,
            column: column + 1,
            width: end.saturating_sub(column).max(1),
            source: printable(line),
        }
    }

    /// Line number of a byte, from 0.
    pub(super) fn line_index(&self, byte: usize) -> usize {
        self.starts.partition_point(|&start| start <= byte).saturating_sub(1)
    }

    fn line(&self, index: usize) -> (usize, &'a str) {
        let start = self.starts.get(index).copied().unwrap_or(self.text.len());
        let line = self.text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
        (start, line)
    }
}

/// Characters of `line` that start before the byte `offset`.
fn chars_before(line: &str, offset: usize) -> usize {
    line.char_indices().take_while(|(at, _)| *at < offset).count()
}

/// A line as it may go to a terminal: a file must not be able to move the cursor, or to fill the screen.
fn printable(line: &str) -> String {
    line.chars()
        .take(LONGEST_SHOWN)
        .map(|c| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, span: Range<usize>) -> (usize, usize, usize, String) {
        let Place { line, column, width, source } = Source::new("test", text).place(&span);
        (line, column, width, source)
    }

    #[test]
    fn a_range_has_a_line_a_column_and_a_width() {
        assert_eq!(place("a = 1\nbc = 2\n", 6..8), (2, 1, 2, "bc = 2".to_owned()));
        assert_eq!(place("a = 1\nbc = 2\n", 11..12), (2, 6, 1, "bc = 2".to_owned()));
    }

    #[test]
    fn a_range_over_lines_ends_with_its_first_line() {
        assert_eq!(place("x = {\n a = 1 }", 4..14), (1, 5, 1, "x = {".to_owned()));
    }

    #[test]
    fn an_empty_range_and_one_past_the_end_have_a_place() {
        assert_eq!(place("a =", 3..3), (1, 4, 1, "a =".to_owned()));
        assert_eq!(place("a =\n", 4..4), (2, 1, 1, String::new()));
        assert_eq!(place("", 7..9), (1, 1, 1, String::new()));
    }

    #[test]
    fn columns_count_characters_not_bytes() {
        assert_eq!(place("# é\nö = 1", 10..11), (2, 5, 1, "ö = 1".to_owned()));
    }

    #[test]
    fn a_byte_order_mark_and_a_carriage_return_are_no_part_of_a_line() {
        assert_eq!(place("\u{feff}a = 1\r\nb", 3..4), (1, 1, 1, "a = 1".to_owned()));
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(place("a = \"\u{1b}[2J\"", 0..1).3, "a = \"\u{fffd}[2J\"");
    }
}
