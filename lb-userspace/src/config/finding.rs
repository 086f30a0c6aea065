//! Findings: diagnostics while reading, when places are still byte ranges. A [`Report`] gathers them.

use std::collections::HashSet;
use std::ops::Range;

use super::diagnostic::{Diagnostic, MOST_TOLD, Related, Severity};
use super::source::Source;

/// What a finding is about. Decides what to believe of a file that is not valid TOML, see [`Report::finish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// The text is not TOML.
    Syntax,
    /// A key is missing or does not belong.
    Shape,
    /// A value, or several values together.
    Value,
}

/// A mistake or warning about a byte range of the text.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    about: About,
    severity: Severity,
    span: Range<usize>,
    message: String,
    label: String,
    related: Vec<(Range<usize>, String)>,
    help: Option<String>,
}

impl Finding {
    /// The text at `span` is not TOML.
    pub(super) fn syntax(span: Range<usize>, message: impl Into<String>) -> Self {
        Self::new(About::Syntax, Severity::Error, span, message.into())
    }

    /// A key is missing or does not belong.
    pub(super) fn shape(span: Range<usize>, message: impl Into<String>) -> Self {
        Self::new(About::Shape, Severity::Error, span, message.into())
    }

    /// A value cannot be as it is.
    pub(super) fn value(span: Range<usize>, message: impl Into<String>) -> Self {
        Self::new(About::Value, Severity::Error, span, message.into())
    }

    /// Something allowed is probably not meant.
    pub(super) fn warning(span: Range<usize>, message: impl Into<String>) -> Self {
        Self::new(About::Value, Severity::Warning, span, message.into())
    }

    fn new(about: About, severity: Severity, span: Range<usize>, message: String) -> Self {
        Self { about, severity, span, message, label: String::new(), related: Vec::new(), help: None }
    }

    /// What to write at the place: usually what was expected there.
    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// How to mend it. A later help replaces an earlier one.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// A second place that matters.
    pub(super) fn also(mut self, span: Range<usize>, message: impl Into<String>) -> Self {
        self.related.push((span, message.into()));
        self
    }

    fn place(self, source: &Source<'_>) -> Diagnostic {
        let related = |(span, message)| Related { place: source.place(&span), message };
        Diagnostic {
            severity: self.severity,
            file: source.name().to_owned(),
            place: source.place(&self.span),
            message: self.message,
            label: self.label,
            related: self.related.into_iter().map(related).collect(),
            help: self.help,
        }
    }
}

/// Everything found so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    findings: Vec<Finding>,
}

impl Report {
    pub(super) fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// The value, or `None` and a note of why.
    pub(super) fn keep<T>(&mut self, result: Result<T, Finding>) -> Option<T> {
        result.map_err(|finding| self.add(finding)).ok()
    }

    /// Mistakes and warnings, each in the order of the file.
    ///
    /// Of text that is not TOML the parser guesses a tree. What such a tree lacks or has too much may be the guess's
    /// fault, as is anything on a broken line; the values of the other lines are as the operator wrote them. So the
    /// latter are reported together with the broken syntax, and the former wait for its mending.
    pub(super) fn finish(mut self, source: &Source<'_>) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        let line = |finding: &Finding| source.line_index(finding.span.start);
        let syntax = self.findings.iter().filter(|finding| finding.about == About::Syntax);
        let broken: HashSet<usize> = syntax.map(line).collect();
        if !broken.is_empty() {
            self.findings.retain(|finding| match finding.about {
                About::Syntax => true,
                About::Shape => false,
                About::Value => !broken.contains(&line(finding)),
            });
        }
        self.findings.sort_by_key(|finding| finding.span.start);
        let (mistakes, warnings): (Vec<_>, Vec<_>) =
            self.findings.into_iter().partition(|finding| finding.severity == Severity::Error);
        let place = |findings: Vec<Finding>| {
            findings.into_iter().take(MOST_TOLD).map(|finding| finding.place(source)).collect()
        };
        (place(mistakes), place(warnings))
    }
}
