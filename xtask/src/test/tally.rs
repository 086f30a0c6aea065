//! Passed, failed and skipped, with the names of what failed and what was skipped.

use std::fmt::{self, Display, Formatter, Write};

/// The result of one suite, or the sum of several.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// Names of what failed.
    pub(crate) failures: Vec<String>,
    /// Names of what was skipped, with the reason where one was given.
    pub(crate) skips: Vec<String>,
}

impl Tally {
    pub(crate) fn pass() -> Self {
        Self { passed: 1, ..Self::default() }
    }

    pub(crate) fn failure(name: &str) -> Self {
        Self { failed: 1, failures: vec![name.to_owned()], ..Self::default() }
    }

    pub(crate) fn skip(name: &str, reason: &str) -> Self {
        Self { skipped: 1, skips: vec![format!("{name}: {reason}")], ..Self::default() }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
        self.skips.extend(other.skips);
    }

    /// The same with its names marked by where they belong.
    pub(crate) fn within(mut self, place: &str) -> Self {
        for name in self.failures.iter_mut().chain(&mut self.skips) {
            *name = format!("{place}: {name}");
        }
        self
    }

    /// Every failure and every skip, one a line; empty if there are none.
    pub(crate) fn details(&self) -> String {
        let mut text = String::new();
        for (title, names) in [("failed", &self.failures), ("skipped", &self.skips)] {
            for name in names {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{title}: {name}");
            }
        }
        text
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_marked_by_their_place() {
        let mut tally = Tally::failure("a");
        tally.add(Tally::skip("b", "no c"));
        assert_eq!(tally.within("6.1").details(), "failed: 6.1: a\nskipped: 6.1: b: no c\n");
    }

    #[test]
    fn sums_keep_the_name_and_reason_of_every_skip() {
        let mut sum = Tally::pass();
        sum.add(Tally::skip("deny", "cargo-deny is not installed"));
        sum.add(Tally::failure("clippy"));
        assert_eq!(sum.to_string(), "1 passed, 1 failed, 1 skipped");
        assert_eq!(sum.details(), "failed: clippy\nskipped: deny: cargo-deny is not installed\n");
    }
}
