//! Metrics as Prometheus reads them.
//!
//! Source: "Exposition formats", text-based format version 0.0.4, of Prometheus's documentation.

use std::fmt::{Display, Write as _};

/// What the format calls itself.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A label and its value.
pub type Label<'a> = (&'a str, &'a str);

/// A page of metrics while it is written: family by family, each with its samples behind it.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
    /// The family that samples belong to.
    family: &'static str,
}

impl Page {
    /// What was written.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }

    /// Begins a family of numbers that only grow. Its name ends in `_total`.
    pub fn counter(&mut self, name: &'static str, help: &str) {
        self.begin(name, "counter", help);
    }

    /// Begins a family of numbers that rise and fall.
    pub fn gauge(&mut self, name: &'static str, help: &str) {
        self.begin(name, "gauge", help);
    }

    /// Begins a family of histograms.
    pub fn histogram(&mut self, name: &'static str, help: &str) {
        self.begin(name, "histogram", help);
    }

    fn begin(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        // Writing to a String cannot fail.
        _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample of the family.
    pub fn sample(&mut self, labels: &[Label<'_>], value: impl Display) {
        self.line("", labels, value);
    }

    /// A histogram of the family: how many were in each class, by its upper bound; those above all; and their sum.
    pub fn spread(&mut self, labels: &[Label<'_>], classes: &[(f64, u64)], count: u64, sum: f64) {
        let mut up_to = 0;
        for (bound, more) in classes {
            up_to += more;
            let bound = bound.to_string();
            self.line("_bucket", &[labels, &[("le", &bound)]].concat(), up_to);
        }
        self.line("_bucket", &[labels, &[("le", "+Inf")]].concat(), count);
        self.line("_sum", labels, sum);
        self.line("_count", labels, count);
    }

    fn line(&mut self, suffix: &str, labels: &[Label<'_>], value: impl Display) {
        self.text.push_str(self.family);
        self.text.push_str(suffix);
        for (at, (name, value)) in labels.iter().enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            self.text.push_str(name);
            self.text.push_str("=\"");
            push_escaped(value, &mut self.text);
            self.text.push('"');
        }
        // Writing to a String cannot fail.
        _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

fn push_escaped(value: &str, out: &mut String) {
    for letter in value.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            _ => out.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_families_and_their_samples() {
        let mut page = Page::default();
        page.counter("lb_x_total", "All x.");
        page.sample(&[("a", "1"), ("b", "q\"\\\n")], 7);
        page.gauge("lb_y", "Now y.");
        page.sample(&[], 0.5);
        let expected = "# HELP lb_x_total All x.\n# TYPE lb_x_total counter\nlb_x_total{a=\"1\",b=\"q\\\"\\\\\\n\"} 7\n\
                        # HELP lb_y Now y.\n# TYPE lb_y gauge\nlb_y 0.5\n";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn the_classes_of_a_histogram_add_up() {
        let mut page = Page::default();
        page.histogram("lb_t_seconds", "Times.");
        page.spread(&[("a", "1")], &[(0.001, 2), (0.5, 3)], 6, 4.25);
        let expected = "# HELP lb_t_seconds Times.\n# TYPE lb_t_seconds histogram\n\
                        lb_t_seconds_bucket{a=\"1\",le=\"0.001\"} 2\nlb_t_seconds_bucket{a=\"1\",le=\"0.5\"} 5\n\
                        lb_t_seconds_bucket{a=\"1\",le=\"+Inf\"} 6\nlb_t_seconds_sum{a=\"1\"} 4.25\n\
                        lb_t_seconds_count{a=\"1\"} 6\n";
        assert_eq!(page.finish(), expected);
    }
}
