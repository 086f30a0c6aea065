//! Passed, failed and skipped, with the names of what failed, what needed a second attempt, and what was skipped.

use std::fmt::{self, Display, Formatter};

/// The result of one suite, or the sum of several.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// What failed.
    pub(crate) failures: Vec<Failure>,
    /// What failed at first and passed when it was tried once more: counted as passed, but not kept quiet.
    pub(crate) unsteady: Vec<Failure>,
    /// Names of what was skipped, with the reason where one was given.
    pub(crate) skips: Vec<String>,
}

/// A test that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) name: String,
    /// What it said, in one line; empty if it said nothing.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn of(name: &str) -> Self {
        Self { name: name.to_owned(), message: String::new() }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.message.as_str() {
            "" => f.write_str(&self.name),
            message => write!(f, "{}: {message}", self.name),
        }
    }
}

impl Tally {
    pub(crate) fn pass() -> Self {
        Self { passed: 1, ..Self::default() }
    }

    pub(crate) fn failure(name: &str) -> Self {
        Self::failure_that_says(name, "")
    }

    pub(crate) fn failure_that_says(name: &str, message: &str) -> Self {
        let failure = Failure { name: name.to_owned(), message: message.to_owned() };
        Self { failed: 1, failures: vec![failure], ..Self::default() }
    }

    pub(crate) fn skip(name: &str, reason: &str) -> Self {
        Self { skipped: 1, skips: vec![format!("{name}: {reason}")], ..Self::default() }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
        self.unsteady.extend(other.unsteady);
        self.skips.extend(other.skips);
    }

    /// The same with its names marked by where they belong.
    pub(crate) fn within(mut self, place: &str) -> Self {
        let tests = self.failures.iter_mut().chain(&mut self.unsteady).map(|failure| &mut failure.name);
        for name in tests.chain(&mut self.skips) {
            *name = format!("{place}: {name}");
        }
        self
    }

    /// Takes back a failure of a test that has passed since.
    pub(crate) fn forgive(&mut self, name: &str) {
        let Some(at) = self.failures.iter().position(|failure| failure.name == name) else { return };
        self.unsteady.push(self.failures.remove(at));
        self.failed -= 1;
        self.passed += 1;
    }

    /// Every failure, every test that needed a second attempt and every skip, one a line; empty if there are none.
    pub(crate) fn details(&self) -> String {
        let failed = self.failures.iter().map(|failure| format!("failed: {failure}\n"));
        let unsteady =
            self.unsteady.iter().map(|failure| format!("passed at the second attempt: {failure}\n"));
        let skipped = self.skips.iter().map(|skip| format!("skipped: {skip}\n"));
        failed.chain(unsteady).chain(skipped).collect()
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

    #[test]
    fn a_test_that_passes_in_the_end_is_no_failure_but_is_named_with_what_it_said() {
        let mut tally = Tally::failure("a");
        tally.add(Tally {
            failures: vec![Failure { name: "b".into(), message: "lost".into() }],
            ..Tally::failure("b")
        });
        tally.forgive("b");
        assert_eq!(tally.to_string(), "1 passed, 1 failed, 0 skipped");
        assert_eq!(tally.details(), "failed: a\npassed at the second attempt: b: lost\n");
    }
}
