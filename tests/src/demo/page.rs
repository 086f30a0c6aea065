//! Plain text for people: headings, indented lines, aligned tables. Colours only on a terminal that wants them.

use std::cell::RefCell;
use std::env;
use std::io::{self, IsTerminal, Write};

const BOLD: &str = "1";
const GREEN: &str = "32";
const RED: &str = "31";

/// Where the demo writes.
pub(super) struct Page {
    output: RefCell<Output>,
    colours: bool,
}

enum Output {
    Stdout(io::Stdout),
    /// To be looked at afterwards.
    Kept(String),
}

impl Page {
    /// Standard output; with colours if it is a terminal and `NO_COLOR` (see no-color.org) is not set.
    pub(super) fn of_stdout() -> Self {
        let output = io::stdout();
        let colours = output.is_terminal() && env::var_os("NO_COLOR").is_none();
        Self { output: RefCell::new(Output::Stdout(output)), colours }
    }

    /// A page that nobody reads meanwhile.
    pub(super) fn kept() -> Self {
        Self { output: RefCell::new(Output::Kept(String::new())), colours: false }
    }

    /// What stands on a page that was kept.
    pub(super) fn text(self) -> String {
        match self.output.into_inner() {
            Output::Stdout(_) => String::new(),
            Output::Kept(text) => text,
        }
    }

    /// The start of a part.
    pub(super) fn heading(&self, text: &str) {
        self.plain(&format!("\n{}", self.paint(BOLD, text)));
    }

    /// A line below a heading.
    pub(super) fn line(&self, text: &str) {
        self.plain(&format!("   {text}"));
    }

    /// Lines of another program.
    pub(super) fn quote(&self, text: &str) {
        for line in text.lines() {
            self.plain(format!("   | {line}").trim_end());
        }
    }

    /// Text as it is.
    pub(super) fn plain(&self, text: &str) {
        match &mut *self.output.borrow_mut() {
            // A reader who has gone, as in `demo | head`, misses the rest: the exit code still tells.
            Output::Stdout(output) => drop(writeln!(output, "{text}")),
            Output::Kept(kept) => kept.extend([text, "\n"]),
        }
    }

    /// The first row are headings.
    pub(super) fn table(&self, rows: &[Vec<String>]) {
        for row in align(rows) {
            self.line(&row);
        }
    }

    /// One word, green or red.
    pub(super) fn verdict(&self, passed: bool) -> String {
        if passed { self.paint(GREEN, "PASS") } else { self.paint(RED, "FAIL") }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Rows with their cells below each other: the first column to the left, the others, which are numbers, to the right.
fn align(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let cell = |(column, (text, width)): (usize, (&String, &usize))| {
        if column == 0 { format!("{text:<width$}") } else { format!("{text:>width$}") }
    };
    rows.iter()
        .map(|row| row.iter().zip(&widths).enumerate().map(cell).collect::<Vec<_>>().join("  "))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_below_each_other() {
        let rows = [vec!["backend".to_owned(), "got".to_owned()], vec!["web1".to_owned(), "1204".to_owned()]];
        assert_eq!(align(&rows), ["backend   got", "web1     1204"]);
    }

    #[test]
    fn without_colours_the_text_is_bare() {
        let page = |colours| Page { colours, ..Page::kept() };
        assert_eq!(page(false).verdict(true), "PASS");
        assert_eq!(page(true).verdict(false), "\x1b[31mFAIL\x1b[0m");
    }
}
