//! What a newcomer is shown first must hold.

use super::NEEDS;
use crate::demo;
use crate::runner::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![Case::new("demo::every_claim_holds", demo::hold).needs(&NEEDS)]
}
