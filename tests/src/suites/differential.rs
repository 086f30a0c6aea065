//! Every packet fixture through the kernel's own test run and through the host build: verdict, bytes, flow records and
//! counters must agree, and be what the row says.

use crate::packets::{ARRIVAL_IFINDEX, Fate, PORTS, Row, SEED, house, rows};
use crate::runner::Case;
use crate::skip::Need;
use anyhow::{Context as _, Result, ensure};
use lb_common::abi::{Count, Flow, FlowKey, Ticks, limits};
use lb_common::datapath::{Arrival, HostTables, Outcome, Reason, Verdict, balance};
use lb_common::wire::{Buffer, U32be};
use lb_userspace::kernel::maps::FlowWalk;
use lb_userspace::kernel::{Datapath, Program, Settings};
use std::collections::HashMap;

/// XDP's return codes. Source: include/uapi/linux/bpf.h, `enum xdp_action`.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;

type Records = HashMap<FlowKey<U32be>, Flow<U32be>>;

pub(super) fn cases() -> Vec<Case> {
    rows().into_iter().map(case).collect()
}

fn case(row: Row) -> Case {
    Case::new(format!("differential::{}", row.sentence.replace(' ', "_")), move || agree(&row))
        .needs(&[Need::Root])
}

fn agree(row: &Row) -> Result<()> {
    let host = house(&row.setup);
    let mut kernel = load(row, &host)?;
    for packet in row.before.iter().chain([&row.packet]) {
        let (outcome, expected) = on_host(&host, packet);
        let (code, bytes) = kernel.programs.run(Program::Balance, packet)?;
        ensure!(code == code_of(&outcome), "kernel returned {code}, host {outcome:?}");
        ensure!(bytes == expected, "bytes differ:\nkernel {bytes:02x?}\nhost   {expected:02x?}");
    }
    is_as_claimed(row, &host)?;
    same_records(&host, &kernel)?;
    same_counters(&host, &kernel)
}

/// The host's outcome is compared with the row in the packet fixtures' own test; here only its last reason, so that a
/// row is never vacuous.
fn is_as_claimed(row: &Row, host: &HostTables) -> Result<()> {
    let (Fate::Leaves { reason, .. } | Fate::Stops(reason)) = &row.fate;
    ensure!(host.reasons.borrow().contains_key(reason.label()), "the row's reason was never counted");
    Ok(())
}

fn load(row: &Row, host: &HostTables) -> Result<Datapath> {
    let flows = if row.setup.room == 0 { limits::FLOWS } else { u32::try_from(row.setup.room)? };
    let settings = Settings { seed: SEED, ports: PORTS, flows, ..Settings::default() };
    let mut kernel = Datapath::load(&settings).context("load the kernel programs")?;
    for (place, service) in &host.services {
        kernel.tables.write_service(*place, service)?;
    }
    for (id, backend) in &host.backends {
        kernel.tables.write_backend(*id, backend)?;
    }
    for (index, slot) in &host.slots {
        kernel.tables.write_slot(*index, *slot)?;
    }
    Ok(kernel)
}

fn on_host(tables: &HostTables, bytes: &[u8]) -> (Outcome, Vec<u8>) {
    let mut packet = Buffer::new(bytes);
    let arrival = Arrival { ifindex: ARRIVAL_IFINDEX, now: Ticks(0) };
    let outcome = balance(&mut packet, tables, arrival);
    (outcome, packet.bytes().to_vec())
}

fn code_of(outcome: &Outcome) -> u32 {
    match outcome {
        Ok(steered) if steered.ifindex == ARRIVAL_IFINDEX => XDP_TX,
        Ok(_) => XDP_REDIRECT,
        Err(reason) if reason.verdict() == Verdict::Pass => XDP_PASS,
        Err(_) => XDP_DROP,
    }
}

/// Flow records, their times left out: the kernel's clock is its own.
fn same_records(host: &HostTables, kernel: &Datapath) -> Result<()> {
    let timeless = |(key, mut flow): (FlowKey<U32be>, Flow<U32be>)| {
        flow.last_seen = Ticks(0);
        (key, flow)
    };
    let on_host: Records = host.flows.borrow().iter().map(|(key, flow)| timeless((*key, *flow))).collect();
    let in_kernel: Records = all_records(kernel)?.into_iter().map(timeless).collect();
    ensure!(in_kernel == on_host, "flow records differ:\nkernel {in_kernel:?}\nhost   {on_host:?}");
    Ok(())
}

fn all_records(kernel: &Datapath) -> Result<Vec<(FlowKey<U32be>, Flow<U32be>)>> {
    let mut walk = FlowWalk::default();
    let mut records = Vec::new();
    loop {
        let more = kernel.tables.next_flows(&mut walk)?;
        records.extend(walk.batch());
        if !more {
            return Ok(records);
        }
    }
}

fn same_counters(host: &HostTables, kernel: &Datapath) -> Result<()> {
    let in_kernel = kernel.tables.reasons()?;
    for (reason, count) in Reason::ALL.iter().zip(in_kernel) {
        let on_host: Count = host.reasons.borrow().get(reason.label()).copied().unwrap_or_default();
        ensure!(count == on_host, "{}: kernel counted {count:?}, host {on_host:?}", reason.label());
    }
    for id in host.backends.keys() {
        let on_host = host.counts.borrow().get(id).copied().unwrap_or_default();
        let in_kernel = kernel.tables.backend_count(*id)?;
        ensure!(in_kernel == on_host, "backend {id:?}: kernel counted {in_kernel:?}, host {on_host:?}");
    }
    Ok(())
}
