//! The host build and the kernel programs, with the same tables.

use super::stages;
use crate::packets::{ARRIVAL_IFINDEX, GUE_PORT, Side, on_host};
use anyhow::{Context, Result, ensure};
use lb_common::abi::{Count, Flow, FlowKey, Ip, StageSet, Ticks};
use lb_common::datapath::guard::GuardTables as _;
use lb_common::datapath::{HostGuard, HostTables, Outcome, Reason, Verdict};
use lb_common::wire::U32be;
use lb_userspace::kernel::guard::Guarding;
use lb_userspace::kernel::records::{FlowRecords, FlowWalk};
use lb_userspace::kernel::{Datapath, Program, Settings, Tables, Written};
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use std::cell::RefCell;
use std::collections::HashMap;
use std::mem::take;
use std::sync::Mutex;

/// What the kernel's programs return. Source: include/uapi/linux/bpf.h, `enum xdp_action`, and `pkt_cls.h`, `TC_ACT_*`.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;
const TC_UNSPEC: u32 = u32::MAX;
const TC_SHOT: u32 = 2;
const TC_REDIRECT: u32 = 7;

/// The kernel programs that packets are sent through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    Xdp,
    /// At TC, the packet as it comes from a card that sums nothing.
    Tc,
    /// The same, with the sum over its bytes known, which the kernel compares afterwards.
    TcSummed,
}

type Records<A> = HashMap<FlowKey<A>, Flow<A>>;

/// The host's tables and the kernel's, side by side.
pub(super) struct Twins {
    pub(super) host: HostTables,
    settings: Settings,
    pub(super) hook: Hook,
    /// Gone only while it is handed on.
    kernel: Option<Datapath>,
    /// Where in its tables this case has written.
    written: Written,
    here: Pinned,
}

/// Keeps this thread on one CPU: each has turns and a flood guard of its own, and the host's tables are one CPU's. It is the one
/// that the thread is on, so that two cases keep to two.
struct Pinned {
    before: CpuSet,
    only: CpuSet,
}

impl Pinned {
    fn here() -> Result<Self> {
        let before = sched_getaffinity(Pid::from_raw(0)).context("ask for this thread's CPUs")?;
        let mut only = CpuSet::new();
        only.set(sched_getcpu().context("ask for this thread's CPU")?)?;
        let pinned = Self { before, only };
        keep_to(&pinned.only)?;
        Ok(pinned)
    }

    /// Does what starts threads that should have all CPUs.
    fn away<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        keep_to(&self.before)?;
        let done = work();
        keep_to(&self.only)?;
        Ok(done)
    }
}

fn keep_to(cpus: &CpuSet) -> Result<()> {
    sched_setaffinity(Pid::from_raw(0), cpus).context("choose this thread's CPUs")
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // The CPUs were this thread's before; were they refused now, it would only go on with one.
        let _ = keep_to(&self.before);
    }
}

/// Slots that the packets of all cases use.
const SLOTS: u32 = 256;

/// Places in the flow table where a case says nothing of it: several times what any case's flows fill, and quickly looked
/// through for each.
const ENOUGH: u32 = 1 << 14;

/// Programs that an earlier case loaded, which takes seconds.
struct Idle {
    /// What they were told.
    settings: Settings,
    kernel: Datapath,
    /// What that case left in their tables.
    written: Written,
}

/// Those that were used last come last.
static IDLE: Mutex<Vec<Idle>> = Mutex::new(Vec::new());

/// How many of them are kept: for each case at a time those of XDP and of TC, and as many that were told something unusual.
const KEPT: usize = 8;

impl Twins {
    /// Writes the host's tables into the maps of kernel programs with their settings.
    pub(super) fn load(hook: Hook, host: HostTables, ports: [u16; 4]) -> Result<Self> {
        let flows = if host.room == 0 { ENOUGH } else { u32::try_from(host.room)? };
        let spread = host.spread.map(U32be::raw);
        let base = Settings { seed: host.seed, ports, flows, ..Settings::default() };
        let guard = guarding(&host)?;
        let common_mtu = host.mtus.values().copied().min().unwrap_or(u32::MAX);
        let base = Settings { gue_port: GUE_PORT, ..base };
        let at_tc = hook != Hook::Xdp;
        let settings = Settings { new_flows: host.new_flows, spread, guard, at_tc, ..base };
        let Idle { mut kernel, written, .. } = match take_idle(&settings) {
            Some(idle) => idle,
            None => Idle::load(settings)?,
        };
        kernel.tables.reset(SLOTS, &written).context("empty the tables")?;
        kernel.tables.write_common_mtu(common_mtu)?;
        let (kernel, written) = (Some(kernel), Written::default());
        let mut twins = Self { host, settings, hook, kernel, written, here: Pinned::here()? };
        twins.copy()?;
        Ok(twins)
    }

    fn kernel(&mut self) -> Result<&mut Datapath> {
        self.kernel.as_mut().context("the programs were handed on")
    }

    /// Writes the host's services, backends and slots into the kernel's maps.
    pub(super) fn copy(&mut self) -> Result<()> {
        let Self { host, kernel, written, .. } = self;
        written.services.extend(host.services.keys());
        written.numbers.extend(host.services.values().map(|service| u32::from(service.id)));
        written.backends.extend(host.backends.keys());
        let tables = &mut kernel.as_mut().context("the programs were handed on")?.tables;
        host.services.iter().try_for_each(|(place, service)| tables.write_service(*place, service))?;
        host.backends.iter().try_for_each(|(id, backend)| tables.write_backend(*id, backend))?;
        host.slots.iter().try_for_each(|(index, slot)| tables.write_slot(*index, *slot))?;
        host.ranges.iter().try_for_each(|(index, range)| tables.write_range(*index, range))?;
        host.prefixes.iter().try_for_each(|(prefix, place)| tables.write_prefix(prefix, Some(*place)))?;
        host.quic_servers.iter().try_for_each(|(server, id)| tables.write_quic_server(*server, Some(*id)))?;
        host.loads.borrow().iter().try_for_each(|(id, load)| tables.write_load(*id, *load))?;
        tables.write_contents(host.contents)?;
        if !host.guard.rules.is_empty() {
            copy_guard(&host.guard, tables)?;
        }
        Ok(())
    }

    /// Sends a packet through both; they must agree.
    pub(super) fn send(&mut self, side: Side, packet: &[u8]) -> Result<(Outcome, Vec<u8>)> {
        let (outcome, expected) = on_host(side, &self.host, packet);
        let program = match side {
            Side::Balance => Program::Balance,
            Side::Guard => Program::Guard,
            Side::Decap => Program::Decap,
        };
        let stages = stages::taken(&self.host, packet);
        self.load_missing(stages).context("load what the packet takes")?;
        let (code, bytes) = self.run(program, packet)?;
        let expected_code = self.hook.code_of(&outcome);
        ensure!(code == expected_code, "kernel returned {code}, host {outcome:?}");
        ensure!(bytes == expected, "bytes differ:\nkernel {bytes:02x?}\nhost   {expected:02x?}");
        Ok((outcome, bytes))
    }

    fn load_missing(&mut self, stages: StageSet) -> Result<()> {
        let programs = &mut self.kernel.as_mut().context("the programs were handed on")?.programs;
        if programs.have(stages) {
            return Ok(());
        }
        Ok(self.here.away(|| programs.add(stages))??)
    }

    fn run(&mut self, program: Program, packet: &[u8]) -> Result<(u32, Vec<u8>)> {
        let hook = self.hook;
        let programs = &mut self.kernel()?.programs;
        Ok(match hook {
            Hook::Xdp => programs.run(program, packet)?,
            Hook::Tc => programs.run_classifier(program, packet, false)?,
            Hook::TcSummed => programs.run_classifier(program, packet, true)?,
        })
    }

    /// Records and counters must be the same in the end.
    pub(super) fn compare(&self) -> Result<()> {
        let kernel = self.kernel.as_ref().context("the programs were handed on")?;
        same_records(&self.host.flows, &kernel.tables.flows)?;
        same_records(&self.host.flows_v6, &kernel.tables.flows_v6)?;
        same_settled_use(&self.host, kernel)?;
        same_counters(&self.host, kernel)
    }
}

/// Idle programs that were told the same.
fn take_idle(settings: &Settings) -> Option<Idle> {
    let mut idle = IDLE.lock().ok()?;
    let place = idle.iter().rposition(|idle| idle.settings == *settings)?;
    Some(idle.remove(place))
}

impl Idle {
    fn load(settings: Settings) -> Result<Self> {
        let kernel = Datapath::load(&settings, StageSet::NONE).context("load the kernel programs")?;
        Ok(Self { settings, kernel, written: Written::default() })
    }
}

/// What the guard is told, where the tables have rules for one.
fn guarding(host: &HostTables) -> Result<Option<Guarding>> {
    let nodes = u32::try_from(host.guard.lists.nodes.len())?.next_power_of_two();
    let has_rules = !host.guard.rules.is_empty();
    Ok(has_rules.then(|| Guarding {
        nodes,
        keys: [0, 1, 2, 3].map(|word| host.guard_key(word)),
        cookies: false,
    }))
}

/// Blocks end as long after the kernel's now as they do after the host's, which is zero.
fn copy_guard(guard: &HostGuard, tables: &mut Tables) -> Result<()> {
    let now = tables.now()?;
    guard.rules.iter().try_for_each(|(number, rule)| tables.guard.write_rule(*number, rule))?;
    tables.guard.write_list(&guard.lists)?;
    for (source, until) in &guard.blocks {
        tables.guard.block(*source, now.after(until.0))?;
    }
    tables.guard.write_block_count(u32::try_from(guard.blocks.len())?)?;
    Ok(())
}

impl Drop for Twins {
    fn drop(&mut self) {
        if let (Some(kernel), Ok(mut idle)) = (self.kernel.take(), IDLE.lock()) {
            idle.push(Idle { settings: self.settings, kernel, written: take(&mut self.written) });
            if idle.len() > KEPT {
                idle.remove(0);
            }
        }
    }
}

impl Hook {
    fn code_of(self, outcome: &Outcome) -> u32 {
        let [pass, drop, back, on] = match self {
            Self::Xdp => [XDP_PASS, XDP_DROP, XDP_TX, XDP_REDIRECT],
            Self::Tc | Self::TcSummed => [TC_UNSPEC, TC_SHOT, TC_REDIRECT, TC_REDIRECT],
        };
        match outcome {
            Ok(steered) if steered.ifindex == ARRIVAL_IFINDEX => back,
            Ok(_) => on,
            Err(reason) if reason.verdict() == Verdict::Pass => pass,
            Err(_) => drop,
        }
    }
}

/// Flow records, their times left out: the kernel's clock is its own.
fn same_records<A: Ip>(host: &RefCell<Records<A>>, kernel: &FlowRecords<A>) -> Result<()> {
    let timeless = |(key, mut flow): (FlowKey<A>, Flow<A>)| {
        flow.last_seen = Ticks(0);
        (key, flow)
    };
    let on_host: Records<A> = host.borrow().iter().map(|(key, flow)| timeless((*key, *flow))).collect();
    let in_kernel: Records<A> = all_records(kernel).into_iter().map(timeless).collect();
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

fn all_records<A: Ip>(kernel: &FlowRecords<A>) -> Vec<(FlowKey<A>, Flow<A>)> {
    let mut walk = FlowWalk::default();
    let mut records = Vec::new();
    loop {
        let more = kernel.next(&mut walk);
        records.extend(walk.batch());
        if !more {
            return records;
        }
    }
}

fn same_counters(host: &HostTables, kernel: &Datapath) -> Result<()> {
    let in_kernel = kernel.tables.reasons();
    for (reason, count) in Reason::ALL.iter().zip(in_kernel) {
        let on_host: Count = host.reasons.borrow().get(reason.label()).copied().unwrap_or_default();
        ensure!(count == on_host, "{}: kernel counted {count:?}, host {on_host:?}", reason.label());
    }
    for id in host.backends.keys() {
        let on_host = host.counts.borrow().get(id).copied().unwrap_or_default();
        let in_kernel = kernel.tables.backend_count(*id);
        ensure!(in_kernel == on_host, "backend {id:?}: kernel counted {in_kernel:?}, host {on_host:?}");
    }
    Ok(())
}
