//! Reads what test runners print: the format of Rust's own harness, which our kernel runner speaks too.

use super::tally::{Failure, Tally};

/// Follows the output of one suite line by line.
#[derive(Default)]
pub(crate) struct Report {
    tally: Tally,
    /// Runners that announced their tests but have not reported a result yet.
    unfinished: u64,
    results: u64,
    /// Of which failed test the lines are that come, if they are what one said.
    telling: Option<String>,
}

/// How much is kept of what a failed test said, in characters.
const MESSAGE_CHARACTERS: usize = 400;

impl Report {
    pub(crate) fn read(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" ----")) {
            // Rust's harness adds what it caught.
            self.telling = Some(name.strip_suffix(" stdout").unwrap_or(name).to_owned());
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            self.telling = None;
            self.read_counts(counts);
        } else if ["failures:", "stack backtrace:"].contains(&line) {
            self.telling = None;
        } else if is_announcement(line) {
            self.unfinished += 1;
        } else if let Some(test) = line.strip_prefix("test ") {
            self.read_test(test);
        } else if let Some(name) = &self.telling
            && let Some(failure) = self.tally.failures.iter_mut().find(|failure| failure.name == *name)
        {
            append(&mut failure.message, line.trim());
        }
    }

    fn read_counts(&mut self, counts: &str) {
        self.results += 1;
        self.unfinished = self.unfinished.saturating_sub(1);
        self.tally.passed += count(counts, "passed");
        self.tally.failed += count(counts, "failed");
        self.tally.skipped += count(counts, "ignored");
    }

    fn read_test(&mut self, test: &str) {
        let Some((name, outcome)) = test.split_once(" ... ") else { return };
        let name = name.trim_end();
        if let Some(rest) = outcome.strip_prefix("ignored") {
            self.tally
                .skips
                .push(reason(rest).map_or_else(|| name.to_owned(), |why| format!("{name}: {why}")));
        } else if outcome.starts_with("FAILED") {
            self.tally.failures.push(Failure::of(name));
        }
    }

    /// The tally of the suite. A runner that ended without a result, and a command that failed without a failed
    /// test (it did not compile, it crashed), each count as one failure.
    pub(crate) fn finish(mut self, suite: &str, succeeded: bool) -> Tally {
        let silent = u64::from(self.unfinished == 0 && self.results == 0);
        let crashed = self.unfinished + silent;
        if crashed > 0 {
            self.tally.add(Tally {
                failed: crashed,
                ..Tally::failure(&format!("{suite}: ended without a result"))
            });
        } else if !succeeded && self.tally.failed == 0 {
            self.tally.add(Tally::failure(&format!("{suite}: the command failed")));
        }
        self.tally
    }
}

/// Why a test was ignored: Rust's harness writes `, reason`, libtest-mimic writes ` (reason)`.
fn reason(rest: &str) -> Option<&str> {
    rest.strip_prefix(", ").or_else(|| rest.strip_prefix(" (")?.strip_suffix(')'))
}

fn append(message: &mut String, line: &str) {
    let room = MESSAGE_CHARACTERS.saturating_sub(message.chars().count());
    if !message.is_empty() && !line.is_empty() && room > 0 {
        message.push(' ');
    }
    message.extend(line.chars().take(room));
}

/// `running 12 tests`, the first line of each runner.
fn is_announcement(line: &str) -> bool {
    let Some(rest) = line.strip_prefix("running ") else { return false };
    rest.strip_suffix(" tests")
        .or_else(|| rest.strip_suffix(" test"))
        .is_some_and(|n| n.parse::<u64>().is_ok())
}

/// The number before a word in `ok. 5 passed; 0 failed; 1 ignored; …`; zero if the word is not there.
fn count(counts: &str, word: &str) -> u64 {
    let mut words = counts.split([' ', ';', '.']).filter(|part| !part.is_empty());
    let mut last = "";
    let number = words.find_map(|part| {
        if part == word {
            Some(last)
        } else {
            last = part;
            None
        }
    });
    number.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(output: &str, succeeded: bool) -> Tally {
        let mut report = Report::default();
        output.lines().for_each(|line| report.read(line));
        report.finish("host", succeeded)
    }

    const GOOD: &str = "running 2 tests\ntest a::b ... ok\ntest c ... ignored, needs root\n\
        test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";

    #[test]
    fn results_of_several_runners_add_up() {
        let sum = tally(&GOOD.repeat(2), true);
        assert_eq!((sum.passed, sum.failed, sum.skipped), (2, 0, 2));
        assert_eq!(sum.skips, ["c: needs root", "c: needs root"]);
    }

    #[test]
    fn a_skip_without_a_reason_keeps_its_name() {
        assert_eq!(
            tally("test c ... ignored\ntest result: ok. 0 passed; 0 failed; 1 ignored;\n", true).skips,
            ["c"]
        );
    }

    #[test]
    fn names_that_are_padded_and_reasons_in_brackets_are_read_as_well() {
        let output = "test nat::a    ... ignored (no io_uring: EPERM (1))\ntest nat::long ... FAILED\n\
            test result: FAILED. 0 passed; 1 failed; 1 ignored;\n";
        let sum = tally(output, false);
        assert_eq!(sum.skips, ["nat::a: no io_uring: EPERM (1)"]);
        assert_eq!(sum.failures, [Failure::of("nat::long")]);
    }

    #[test]
    fn failed_tests_are_named_and_not_counted_twice() {
        let sum = tally(
            "running 1 test\ntest a ... FAILED\ntest result: FAILED. 0 passed; 1 failed; 0 ignored;\n",
            false,
        );
        assert_eq!((sum.failed, sum.failures), (1, vec![Failure::of("a")]));
    }

    #[test]
    fn a_runner_that_dies_counts_as_failed_beside_others_that_pass() {
        let sum = tally(&format!("{GOOD}running 3 tests\ntest x ... ok\n"), false);
        assert_eq!((sum.passed, sum.failed), (1, 1));
        assert_eq!(sum.failures, [Failure::of("host: ended without a result")]);
    }

    #[test]
    fn a_suite_that_says_nothing_has_failed_even_if_it_exits_well() {
        assert_eq!(tally("", true).failed, 1);
        assert_eq!(tally("error: could not compile\n", false).failed, 1);
    }

    #[test]
    fn a_command_that_fails_after_good_results_has_failed() {
        assert_eq!(tally(GOOD, false).failures, [Failure::of("host: the command failed")]);
    }

    #[test]
    fn what_a_failed_test_said_is_kept_in_one_line() {
        let output = "running 2 tests\ntest a ... FAILED\ntest b ... FAILED\n\nfailures:\n\n\
            ---- a ----\nlost:\n  all of it\n\n---- b stdout ----\n\nthread 'b' panicked\nstack backtrace:\n   0: main\n\nfailures:\n    a\n    b\n\n\
            test result: FAILED. 0 passed; 2 failed; 0 ignored;\n";
        let told: Vec<_> =
            tally(output, false).failures.into_iter().map(|failure| failure.to_string()).collect();
        assert_eq!(told, ["a: lost: all of it", "b: thread 'b' panicked"]);
    }
}
