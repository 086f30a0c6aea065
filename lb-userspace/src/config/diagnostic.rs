//! What an operator reads: a mistake or a warning with its place, what was expected and how to mend it.
//!
//! `Display` draws it as compilers do; serialised, it is the same in fields, for logs and programs.

use std::fmt;

use serde::Serialize;

/// The most mistakes of one file that are told, and the most warnings. More are one mistake made everywhere, or another
/// kind of file; telling them all would take a daemon that reloads many seconds.
pub(super) const MOST_TOLD: usize = 200;

/// The most characters of a line that are kept to be shown: several screens wide.
pub(super) const LONGEST_SHOWN: usize = 400;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is used, but probably means something else than was meant.
    Warning,
}

/// A place in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters are meant, at least 1.
    pub width: usize,
    /// The line, without control characters, and of a very long one the beginning.
    pub source: String,
}

/// A second place a diagnostic speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Related {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What is there.
    pub message: String,
}

/// One mistake or warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Mistake or warning.
    pub severity: Severity,
    /// The file's name as it was given.
    pub file: String,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What stands there or should; shown at the place.
    pub label: String,
    /// Other places that matter, such as the first of two duplicates.
    pub related: Vec<Related>,
    /// How to mend it.
    pub help: Option<String>,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gutter = self.gutter();
        writeln!(f, "{}: {}", self.severity, self.message)?;
        writeln!(f, "{:gutter$}--> {}:{}:{}", "", self.file, self.place.line, self.place.column)?;
        self.place.draw(f, gutter, '^', &self.label)?;
        for related in &self.related {
            let place = &related.place;
            writeln!(f, "{:gutter$}::: {}:{}:{}", "", self.file, place.line, place.column)?;
            place.draw(f, gutter, '-', &related.message)?;
        }
        match &self.help {
            Some(help) => writeln!(f, "{:gutter$} = help: {help}", ""),
            None => Ok(()),
        }
    }
}

impl Diagnostic {
    /// Width of the line numbers at the left.
    fn gutter(&self) -> usize {
        let lines = self.related.iter().map(|related| related.place.line).chain([self.place.line]);
        lines.max().unwrap_or_default().to_string().len()
    }
}

impl Place {
    /// Whether the place lies behind the part of its line that is kept.
    fn is_cut_off(&self) -> bool {
        let shown = self.source.chars().count();
        shown >= LONGEST_SHOWN && self.column + self.width > shown
    }

    fn draw(&self, f: &mut fmt::Formatter<'_>, gutter: usize, mark: char, label: &str) -> fmt::Result {
        if self.is_cut_off() {
            return writeln!(f, "{:gutter$} | {label} (the line is too long to show)", "");
        }
        let indent: String = self.source.chars().take(self.column.saturating_sub(1)).map(blank).collect();
        let marks = mark.to_string().repeat(self.width);
        writeln!(f, "{:gutter$} |", "")?;
        writeln!(f, "{:gutter$} | {}", self.line, self.source)?;
        writeln!(f, "{}", format!("{:gutter$} | {indent}{marks} {label}", "").trim_end())
    }
}

/// What stands under a character: tabs stay tabs, so that the marks line up whatever their width.
fn blank(c: char) -> char {
    if c == '\t' { '\t' } else { ' ' }
}

/// All mistakes of a configuration, in the order of the file; never none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Mistakes(Vec<Diagnostic>);

impl Mistakes {
    pub(super) fn new(mistakes: Vec<Diagnostic>) -> Self {
        Self(mistakes)
    }

    /// The mistakes one by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    fn summary(&self) -> String {
        let file = self.0.first().map_or("", |first| first.file.as_str());
        match self.0.len() {
            1 => format!("{file}: 1 mistake"),
            MOST_TOLD.. => format!("{file}: {MOST_TOLD} mistakes or more; these come first"),
            count => format!("{file}: {count} mistakes"),
        }
    }
}

impl<'a> IntoIterator for &'a Mistakes {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in self {
            writeln!(f, "{mistake}")?;
        }
        f.write_str(&self.summary())
    }
}

impl std::error::Error for Mistakes {}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: usize, column: usize, width: usize, source: &str) -> Place {
        Place { line, column, width, source: source.to_owned() }
    }

    fn duplicate() -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            file: "lb.toml".to_owned(),
            place: place(12, 9, 5, "\tname = \"web\""),
            message: "two services are called `web`".to_owned(),
            label: "expected another name".to_owned(),
            related: vec![Related {
                place: place(2, 8, 5, "name = \"web\""),
                message: "first used here".to_owned(),
            }],
            help: Some("rename one".to_owned()),
        }
    }

    #[test]
    fn a_diagnostic_is_drawn_with_both_places_and_the_remedy() {
        let drawn = "\
error: two services are called `web`
  --> lb.toml:12:9
   |
12 | \tname = \"web\"
   | \t       ^^^^^ expected another name
  ::: lb.toml:2:8
   |
 2 | name = \"web\"
   |        ----- first used here
   = help: rename one
";
        assert_eq!(duplicate().to_string(), drawn);
    }

    #[test]
    fn a_diagnostic_serialises_flat() {
        let json = serde_json::to_value(Mistakes::new(vec![duplicate()])).unwrap();
        assert_eq!(json[0]["severity"], "error");
        assert_eq!(json[0]["line"], 12);
        assert_eq!(json[0]["related"][0]["line"], 2);
        assert_eq!(json[0]["help"], "rename one");
    }

    #[test]
    fn mistakes_end_with_their_number() {
        let one = Mistakes::new(vec![duplicate()]).to_string();
        assert!(one.ends_with("\n\nlb.toml: 1 mistake"), "{one}");
        let two = Mistakes::new(vec![duplicate(), duplicate()]).to_string();
        assert!(two.ends_with("\n\nlb.toml: 2 mistakes"), "{two}");
    }
}
