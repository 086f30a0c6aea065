//! The text as a spanned TOML tree, and what is not TOML about it.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, Error};

use super::finding::{Finding, Report};
use super::value::quoted;

/// The TOML tree of `text`, guessed where the text is broken; every broken place is reported.
pub(super) fn parse<'a>(text: &'a str, report: &mut Report) -> Spanned<DeTable<'a>> {
    let (tree, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        report.add(finding(error, text));
    }
    tree
}

/// The parser's words for what is not TOML, in the operator's.
fn finding(error: &Error, text: &str) -> Finding {
    let span = error.span().unwrap_or_default();
    let (what, expected) = error.message().split_once(", expected ").unwrap_or((error.message(), "nothing"));
    match (what, text.get(span.clone()).unwrap_or_default()) {
        ("string values must be quoted", "") => Finding::syntax(span, "a value is missing")
            .label("expected a value")
            .help("write the value after the `=`, or remove the line"),
        ("string values must be quoted", word) => {
            let help = format!("write {}", quoted(word));
            Finding::syntax(span, "text must be quoted").label("expected text in quotes").help(help)
        }
        ("duplicate key", key) => Finding::syntax(span, format!("`{}` is given twice", key.escape_debug()))
            .label("expected each key once")
            .help("remove one of the two lines"),
        _ => other(span, what, expected),
    }
}

fn other(span: Range<usize>, what: &str, expected: &str) -> Finding {
    let finding = Finding::syntax(span, format!("not valid TOML: {what}"));
    let finding = finding.label(format!("expected {expected}"));
    match expected {
        "nothing" => finding.help("remove what is at the mark"),
        one if !one.contains(", ") => finding.help(format!("put {one} at the mark")),
        _ => finding.help("rewrite what is at the mark"),
    }
}
