//! Every packet fixture, in freshly loaded programs.

use super::twins::Twins;
use crate::packets::{Fate, PORTS, Row, Step, furnish, house, rows};
use crate::runner::Case;
use crate::skip::Need;
use anyhow::{Result, ensure};
use lb_common::datapath::Outcome;

pub(super) fn cases() -> Vec<Case> {
    cases_of(|_| true)
}

/// The cases of the rows that are wanted.
pub(super) fn cases_of(wanted: impl Fn(&Row) -> bool) -> Vec<Case> {
    rows().into_iter().filter(wanted).map(case).collect()
}

fn case(row: Row) -> Case {
    // Twice where a second would find traces of the first, were there any: the guard counts by the second.
    let times = if row.setup.new_flows > 0 { 2 } else { 1 };
    let sentence = row.sentence.replace(' ', "_");
    Case::new(format!("differential::{sentence}"), move || (0..times).try_for_each(|_| agree(&row)))
        .needs(&[Need::Root])
}

fn agree(row: &Row) -> Result<()> {
    let mut twins = Twins::load(house(&row.setup), PORTS)?;
    for step in &row.before {
        match step {
            Step::Leaves(packet) | Step::Stops(packet) => drop(twins.send(row.side, packet)?),
            Step::Becomes(setup) => {
                furnish(&mut twins.host, setup);
                twins.copy()?;
            }
        }
    }
    let (outcome, _) = twins.send(row.side, &row.packet)?;
    is_as_claimed(row, &outcome)?;
    twins.compare()
}

/// The bytes are compared with the row in the packet fixtures' own test; here only the reason, so that a row is never
/// vacuous.
fn is_as_claimed(row: &Row, outcome: &Outcome) -> Result<()> {
    let (Fate::Leaves { reason, .. } | Fate::Passes { reason, .. } | Fate::Stops(reason)) = &row.fate;
    let ended = outcome.map_or_else(|why| why, |steered| steered.reason);
    ensure!(ended == *reason, "ended as {ended:?}, not {reason:?}");
    Ok(())
}
