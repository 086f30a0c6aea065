//! The kernel's own test run against the host build: verdict, bytes, flow records and counters must agree, for every
//! packet fixture and for random traffic.

mod random;
mod rows;
mod twins;

use crate::runner::Case;

pub(super) fn cases() -> Vec<Case> {
    rows::cases().into_iter().chain(random::cases()).collect()
}
