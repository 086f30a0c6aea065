//! The claims, each a case with a sentence for a name.

mod harness;

use crate::runner::Case;

/// Every case of every suite.
#[must_use]
pub fn all() -> Vec<Case> {
    harness::cases()
}
