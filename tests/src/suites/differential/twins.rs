//! The host build and the kernel programs, with the same tables.

use crate::packets::{ARRIVAL_IFINDEX, Side, on_host};
use anyhow::{Context, Result, ensure};
use lb_common::abi::{Count, Flow, FlowKey, Ticks, limits};
use lb_common::datapath::{HostTables, Outcome, Reason, Verdict};
use lb_common::wire::U32be;
use lb_userspace::kernel::maps::FlowWalk;
use lb_userspace::kernel::{Datapath, Program, Settings};
use std::collections::HashMap;

/// XDP's return codes. Source: include/uapi/linux/bpf.h, `enum xdp_action`.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;

type Records = HashMap<FlowKey<U32be>, Flow<U32be>>;

/// The host's tables and the kernel's, side by side.
pub(super) struct Twins {
    pub(super) host: HostTables,
    kernel: Datapath,
}

impl Twins {
    /// Loads the kernel programs and writes the host's tables into its maps.
    pub(super) fn load(host: HostTables, ports: [u16; 4]) -> Result<Self> {
        let flows = if host.room == 0 { limits::FLOWS } else { u32::try_from(host.room)? };
        let settings = Settings { seed: host.seed, ports, flows, ..Settings::default() };
        let kernel = Datapath::load(&settings).context("load the kernel programs")?;
        let mut twins = Self { host, kernel };
        twins.copy()?;
        Ok(twins)
    }

    /// Writes the host's services, backends and slots into the kernel's maps.
    pub(super) fn copy(&mut self) -> Result<()> {
        let Self { host, kernel } = self;
        for (place, service) in &host.services {
            kernel.tables.write_service(*place, service)?;
        }
        for (id, backend) in &host.backends {
            kernel.tables.write_backend(*id, backend)?;
        }
        for (index, slot) in &host.slots {
            kernel.tables.write_slot(*index, *slot)?;
        }
        Ok(())
    }

    /// Sends a packet through both; they must agree.
    pub(super) fn send(&mut self, side: Side, packet: &[u8]) -> Result<(Outcome, Vec<u8>)> {
        let (outcome, expected) = on_host(side, &self.host, packet);
        let program = match side {
            Side::Balance => Program::Balance,
            Side::Decap => Program::Decap,
        };
        let (code, bytes) = self.kernel.programs.run(program, packet)?;
        ensure!(code == code_of(&outcome), "kernel returned {code}, host {outcome:?}");
        ensure!(bytes == expected, "bytes differ:\nkernel {bytes:02x?}\nhost   {expected:02x?}");
        Ok((outcome, bytes))
    }

    /// Records and counters must be the same in the end.
    pub(super) fn compare(&self) -> Result<()> {
        same_records(&self.host, &self.kernel)?;
        same_settled_use(&self.host, &self.kernel)?;
        same_counters(&self.host, &self.kernel)
    }
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

/// Which slots' settled owners were used, whenever that was.
fn same_settled_use(host: &HostTables, kernel: &Datapath) -> Result<()> {
    for index in host.slots.keys() {
        let on_host = host.settled_use.borrow().contains_key(index);
        let in_kernel = kernel.tables.slot_use(*index, 1)? != [Ticks(0)];
        ensure!(in_kernel == on_host, "slot {index}'s settled owner: kernel {in_kernel}, host {on_host}");
    }
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
