//! Failures by their names: one count for each that there is.

use super::Count;
use crate::l7::http1::Refusal;
use crate::l7::respond::Failure;

/// What is counted apart: the failures of the errors' file, and what is malformed by its own name.
const COUNT: usize = Failure::ALL.len() + Refusal::ALL.len() + 1;

/// The labels of all failures, in the order in which they are counted.
pub const FAILURES: [&str; COUNT] = labels();

const fn labels() -> [&'static str; COUNT] {
    let mut labels = ["bad_answer"; COUNT];
    let mut at = 0;
    while at < Failure::ALL.len() {
        labels[at] = Failure::ALL[at].label();
        at += 1;
    }
    while at + 1 < COUNT {
        labels[at] = Refusal::ALL[at - Failure::ALL.len()].name();
        at += 1;
    }
    labels
}

/// Exchanges that failed, by why.
#[derive(Debug)]
pub struct Failures([Count; COUNT]);

impl Default for Failures {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Count::default()))
    }
}

impl Failures {
    /// Counts one. It looks for the name among all, which is cheap beside what a failure costs.
    pub fn add(&self, failure: Failure) {
        let label = failure.label();
        if let Some(count) = FAILURES.iter().position(|other| *other == label).and_then(|at| self.0.get(at)) {
            count.add(1);
        }
    }

    /// Each label and how often it came.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        FAILURES.into_iter().zip(self.0.iter().map(Count::get))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_failure_has_a_count_of_its_own() {
        assert_eq!(FAILURES.iter().collect::<HashSet<_>>().len(), COUNT);
        let failures = Failures::default();
        for failure in Failure::ALL {
            failures.add(*failure);
        }
        for refusal in Refusal::ALL {
            failures.add(Failure::Refused(*refusal));
        }
        failures.add(Failure::BadAnswer(Refusal::ALL[0]));
        assert!(failures.each().all(|(_, count)| count == 1), "{:?}", failures.each().collect::<Vec<_>>());
    }
}
