//! The kernel's own test run against the host build: verdict, bytes, flow records and counters must agree, for every
//! packet fixture and for random traffic.

mod corpus;
mod random;
mod rows;
mod stages;
mod twins;

use crate::packets::Row;
use crate::runner::Case;

pub(super) fn cases() -> Vec<Case> {
    rows::cases().into_iter().chain(random::cases()).chain(corpus::cases()).collect()
}

/// A guest's sample of the fixtures: one of so many. A prime, for rows come in twos and fours, one for each family.
const SAMPLED: usize = 5;

/// Fixtures that the same loaded programs do for: loading them anew takes an emulated machine many seconds.
pub(super) fn in_one_load() -> Vec<Case> {
    rows::cases_of(Row::is_of_usual_programs)
}

/// Some of them, of every stage: what a kernel could do otherwise than this one, it does for more than one row.
pub(super) fn sample_in_one_load() -> Vec<Case> {
    in_one_load().into_iter().step_by(SAMPLED).collect()
}
