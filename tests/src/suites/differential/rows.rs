//! Every packet fixture, in freshly loaded programs.

use super::twins::{Hook, Twins};
use crate::netns::Namespace;
use crate::packets::{ARRIVAL_IFINDEX, Fate, PORTS, Row, Side, Step, furnish, house, on_host, rows};
use crate::runner::Case;
use crate::skip::{Need, Skipped};
use anyhow::{Result, bail, ensure};
use lb_common::abi::Ticks;
use lb_common::datapath::{Arrival, Outcome, often};
use lb_common::wire::Buffer;

/// Rows of the same settings after one another, and all that is done with a row: loading the programs takes a second.
pub(super) fn cases() -> Vec<Case> {
    let mut rows = rows();
    rows.sort_by_key(|row| (row.setup.room, row.setup.new_flows, row.setup.spread, row.setup.mtu));
    rows.into_iter()
        .flat_map(|row| hooks(&row).into_iter().map(move |hook| case(hook, row.clone())))
        .collect()
}

fn hooks(row: &Row) -> Vec<Hook> {
    let summed = is_plain(row).then_some(Hook::TcSummed);
    [Hook::Xdp, Hook::Tc].into_iter().chain(summed).collect()
}

/// The cases for XDP of the rows that are wanted.
pub(super) fn cases_of(wanted: impl Fn(&Row) -> bool) -> Vec<Case> {
    rows().into_iter().filter(wanted).map(|row| case(Hook::Xdp, row)).collect()
}

fn case(hook: Hook, row: Row) -> Case {
    let place = match hook {
        Hook::Xdp => "",
        Hook::Tc => "tc::",
        Hook::TcSummed => "tc_summed::",
    };
    // Twice where a second would find traces of the first, were there any: the guard counts by the second.
    let times = if row.setup.new_flows > 0 { 2 } else { 1 };
    let name = format!("differential::{place}{}", row.sentence.replace(' ', "_"));
    Case::new(name, move || (0..times).try_for_each(|_| agree(hook, &row))).needs(&[Need::Root])
}

/// Whether the balancer answers the row's packet at once: in the stages no sum is kept (see `lb-ebpf/src/tc/packet.rs`).
fn is_plain(row: &Row) -> bool {
    let mut tables = house(&row.setup);
    for step in &row.before {
        match step {
            Step::Leaves(packet) | Step::Stops(packet) => drop(on_host(row.side, &tables, packet)),
            Step::Becomes(setup) => furnish(&mut tables, setup),
        }
    }
    let arrival = || Arrival { ifindex: ARRIVAL_IFINDEX, now: Ticks(0) };
    row.side == Side::Balance && often(&mut Buffer::new(&row.packet), &tables, arrival).is_some()
}

/// Why a row cannot be tried at TC.
fn is_beyond_tc(row: &Row) -> Option<&'static str> {
    let frame = &row.packet;
    match frame.get(12..14)? {
        [0x81, 0x00] | [0x88, 0xa8] if row.side == Side::Decap => {
            Some("the kernel strips outer headers of frames whose tag lies beside them, as at TC it does")
        }
        [0x08, 0x00] if frame.len() < 14 + 20 => Some("the test run wants a whole IP header"),
        [0x86, 0xdd] if frame.len() < 14 + 40 => Some("the test run wants a whole IP header"),
        _ => None,
    }
}

/// The interface that the kernel's test run says a packet arrived by is the loopback of wherever the test runs.
fn agree(hook: Hook, row: &Row) -> Result<()> {
    if row.setup.mtu == 0 {
        return agree_here(hook, row);
    }
    let narrow = Namespace::new("narrow")?;
    narrow.mtu("lo", row.setup.mtu)?;
    narrow.run(|| agree_here(hook, row))
}

fn agree_here(hook: Hook, row: &Row) -> Result<()> {
    if let Some(reason) = is_beyond_tc(row).filter(|_| hook != Hook::Xdp) {
        bail!(Skipped(reason.to_owned()));
    }
    let before = if hook == Hook::TcSummed { Hook::Tc } else { hook };
    let mut twins = Twins::load(before, house(&row.setup), PORTS)?;
    for step in &row.before {
        match step {
            Step::Leaves(packet) | Step::Stops(packet) => drop(twins.send(row.side, packet)?),
            Step::Becomes(setup) => {
                furnish(&mut twins.host, setup);
                twins.copy()?;
            }
        }
    }
    twins.hook = hook;
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
