//! The parts of this module against the running kernel, each test in a network namespace of its own.
//!
//! Without root, or without the commands that furnish a namespace, they are skipped by name.

mod lines;
mod listener;
mod ways;

use super::expire::{Rules, Sweep};
use super::records::FlowWalk;
use super::*;
use lb_common::abi::{
    Backend, BackendId, Flow, FlowKey, FlowKind, FlowState, Hop, Service, Slot, Stage, StageSet, Ticks,
    limits,
};
use lb_common::datapath::Reason;
use lb_common::wire::{Ports, U16be, U32be, protocol};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Whether the test may talk to the kernel; says so if not.
fn is_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("skipped: {test} needs root");
    }
    root
}

/// Whether the test may also furnish a namespace.
fn can_furnish(test: &str) -> bool {
    let ip = Command::new("ip").arg("-V").output().is_ok();
    if !ip {
        println!("skipped: {test} needs the command ip");
    }
    ip && is_root(test)
}

/// Runs a test in a thread in a new network namespace, which goes with it.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        sh("ip link set lo up");
        test();
    });
    thread.join().unwrap();
}

fn sh(command: &str) {
    assert!(Command::new("sh").args(["-ec", command]).status().unwrap().success(), "{command}");
}

/// The far end of a veth pair, in a namespace that a sleeping process keeps.
struct FarEnd(Child);

impl FarEnd {
    /// Makes `near` here and `far` there, with `10.9.0.1/24` and `10.9.0.2/24`, `fd00:9::1/64` and `fd00:9::2/64`. IPv6
    /// addresses are usable at once: nobody is asked whether they are taken already.
    fn connect() -> Self {
        let child = Command::new("unshare").args(["-n", "sleep", "60"]).spawn().unwrap();
        let far = Self(child);
        std::thread::sleep(Duration::from_millis(200));
        let at_once = "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad";
        sh(at_once);
        far.sh(at_once);
        far.add_pair("near", "far");
        sh("ip addr add 10.9.0.1/24 dev near; ip addr add fd00:9::1/64 dev near");
        far.sh("ip addr add 10.9.0.2/24 dev far; ip addr add fd00:9::2/64 dev far");
        far
    }

    /// One more veth pair, without addresses.
    fn add_pair(&self, near: &str, far: &str) {
        sh(&format!(
            "ip link add {near} type veth peer name {far} netns {}; ip link set {near} up",
            self.0.id()
        ));
        self.sh(&format!("ip link set {far} up"));
    }

    fn sh(&self, command: &str) {
        sh(&format!("nsenter -t {} -n sh -ec '{command}'", self.0.id()));
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn datapath(flows: u32) -> Datapath {
    Datapath::load(&Settings { flows, ..Settings::default() }, StageSet::NONE).unwrap()
}

fn id(number: u16) -> BackendId {
    BackendId::from_bits(number)
}

fn key(number: u32) -> FlowKey<U32be> {
    let ports = Ports::new(U16be::new(1000), U16be::new(80));
    FlowKey::new(U32be::new(number), U32be::new(0xcb00_7100), ports, protocol::TCP)
}

#[test]
fn what_has_a_place_is_written_and_nothing_else() {
    if !is_root("what_has_a_place_is_written_and_nothing_else") {
        return;
    }
    let mut tables = datapath(16).tables;
    tables.write_service(limits::SERVICE_TABLE - 1, &Service::default()).unwrap();
    assert!(tables.write_service(limits::SERVICE_ENTRIES, &Service::default()).is_err());
    let begun = Instant::now();
    tables.write_backend(id(1), &Backend::default()).unwrap();
    println!("a backend: written in {:?}", begun.elapsed());
    let slots: Vec<_> = (0..65_537u32).map(|n| (n + 5, Slot::settled_on(id((n % 4000) as u16)))).collect();
    let begun = Instant::now();
    tables.write_slots(&slots).unwrap();
    let written = begun.elapsed();
    println!("65,537 slots: written in {written:?}");
    assert_eq!(tables.slot_use(limits::SLOTS - 2, 10).unwrap(), [Ticks(0); 2]);
    assert!(tables.write_slot(limits::SLOTS, Slot::default()).is_err());
}

#[test]
fn the_clock_ticks() {
    if !is_root("the_clock_ticks") {
        return;
    }
    let tables = datapath(16).tables;
    let tick = maps::tick().unwrap();
    let before = tables.now().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let ticks = tables.now().unwrap().since(before);
    let slept = tick * ticks;
    println!("a tick is {tick:?}");
    assert!((190..400).contains(&slept.as_millis()), "{ticks} ticks of {tick:?}");
}

#[test]
fn every_flow_is_walked_once_even_while_others_come_and_go() {
    if !is_root("every_flow_is_walked_once_even_while_others_come_and_go") {
        return;
    }
    let tables = datapath(50_000).tables;
    for n in 0..20_000 {
        tables.flows.write(&key(n), &Flow::pinned(id(1), Ticks(n))).unwrap();
    }
    let (mut walk, mut seen, mut more) = (FlowWalk::default(), Vec::new(), true);
    let mut fresh = 100_000;
    let begun = Instant::now();
    while more {
        more = tables.flows.next(&mut walk);
        seen.extend(walk.batch().map(|(key, _)| key.source.get()).filter(|n| *n < 20_000));
        for _ in 0..500 {
            fresh += 1;
            tables.flows.write(&key(fresh), &Flow::pinned(id(1), Ticks(0))).unwrap();
            tables.flows.delete(&key(fresh - 400));
        }
    }
    println!("20,000 flows walked in {:?}", begun.elapsed());
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..20_000));
}

#[test]
fn a_sweep_deletes_what_is_over_and_counts_the_rest() {
    if !is_root("a_sweep_deletes_what_is_over_and_counts_the_rest") {
        return;
    }
    let mut tables = datapath(1000).tables;
    let now = tables.now().unwrap();
    let tick = maps::tick().unwrap();
    let ago = |seconds: u64| {
        let ticks = u32::try_from(Duration::from_secs(seconds).as_nanos() / tick.as_nanos()).unwrap();
        Ticks(now.0.wrapping_sub(ticks))
    };
    let write_pair = |n: u32, last_seen: Ticks, state: FlowState| {
        let (arriving, leaving) = (key(n), key(n + 1_000_000));
        for (kind, arriving, leaving) in [
            (FlowKind::Forward, arriving, leaving),
            (FlowKind::Reply, leaving.reversed(), arriving.reversed()),
        ] {
            let mut flow = Flow::translation(kind, &arriving, &leaving, (id(3), Hop::default()), last_seen);
            flow.state = state;
            tables.flows.write(&arriving, &flow).unwrap();
        }
    };
    let closed = FlowState(FlowState::ESTABLISHED.0 | FlowState::FINISHED.0);
    write_pair(1, ago(3), closed);
    write_pair(2, ago(3), FlowState::ESTABLISHED);
    write_pair(3, ago(11), FlowState::ESTABLISHED);
    tables.flows.write(&key(4), &Flow::pinned(id(9), ago(400))).unwrap();
    tables.flows.delete(&key(1_000_002).reversed());
    let rules = Rules::new([(id(3), Duration::from_secs(10))], tick);
    let mut sweep = Sweep::default();
    let mut walk = |tables: &mut _, slot| {
        let half = sweep.step(tables, &rules, &Everywhere(slot)).unwrap();
        assert!(half.is_none(), "the records of IPv6 come second");
        sweep.step(tables, &rules, &Everywhere(slot)).unwrap().unwrap()
    };
    let seen = walk(&mut tables, Some((5, id(9))));
    assert_eq!((seen.flows, seen.by_backend[&id(3)], seen.strays[&5]), (1, 1, 1));
    assert!(tables.flows.get(&key(2)).is_some());
    assert!(tables.flows.get(&key(3)).is_none());
    let again = walk(&mut tables, None);
    assert_eq!((again.flows, again.deleted), (1, 0));
}

#[test]
fn a_program_runs_once_over_a_packet() {
    if !is_root("a_program_runs_once_over_a_packet") {
        return;
    }
    let mut programs = datapath(16).programs;
    let packet = [0u8; 60];
    assert_eq!(programs.run(Program::Pass, &packet).unwrap(), (2, packet.to_vec()));
    let facts = programs.facts(Program::Balance).unwrap();
    println!("{facts:?}");
    assert!(facts.verified_instructions.is_none_or(|count| count > 0));
}

#[test]
fn what_no_loaded_stage_is_for_passes() {
    const XDP_PASS: u32 = 2;
    const TC_ACT_UNSPEC: u32 = u32::MAX;
    if !is_root("what_no_loaded_stage_is_for_passes") {
        return;
    }
    let frame = |kind: [u8; 2], header: &[u8]| [&[2; 12], &kind[..], header, &[0; 60]].concat();
    // A first fragment and an echo request, of which the balancer answers neither by itself.
    let fragment =
        [&[0x45, 0, 0, 60, 0, 1, 0x20, 0, 64, 6, 0, 0][..], &[10, 0, 0, 1, 203, 0, 113, 1]].concat();
    let echo = [&[0x60, 0, 0, 0, 0, 40, 58, 64][..], &[0xfd; 32], &[128]].concat();
    let packets = [frame([8, 0], &fragment), frame([0x86, 0xdd], &echo)];
    for at_tc in [false, true] {
        let settings = Settings { flows: 16, at_tc, ..Settings::default() };
        let Datapath { mut programs, tables, .. } = Datapath::load(&settings, StageSet::NONE).unwrap();
        for packet in &packets {
            let (code, after) = if at_tc {
                programs.run_classifier(Program::Balance, packet, false).unwrap()
            } else {
                programs.run(Program::Balance, packet).unwrap()
            };
            assert_eq!(code, if at_tc { TC_ACT_UNSPEC } else { XDP_PASS });
            assert_eq!(&after, packet);
        }
        let counted = |reason: Reason| tables.reasons()[reason as usize].packets;
        assert_eq!((counted(Reason::NotAVip), counted(Reason::Inconsistent)), (2, 0), "at TC: {at_tc}");
        assert_eq!(counted(Reason::StageGone), 0, "at TC: {at_tc}");
    }
}

#[test]
fn a_packet_whose_next_stage_is_gone_passes_and_is_counted_as_that() {
    const XDP_PASS: u32 = 2;
    if !is_root("a_packet_whose_next_stage_is_gone_passes_and_is_counted_as_that") {
        return;
    }
    // The guard's closer look, behind which the balancer was not loaded.
    let settings = Settings { flows: 16, ..Settings::default() };
    let Datapath { mut programs, tables, .. } = Datapath::load(&settings, StageSet::NONE).unwrap();
    let packet = [&[2; 12][..], &[8, 0, 0x45, 0, 0, 40], &[0; 60]].concat();
    let ran = programs.run(Program::Stage(Stage::GuardV4), &packet).unwrap();
    assert_eq!(ran, (XDP_PASS, packet.clone()));
    let counted = tables.reasons()[Reason::StageGone as usize];
    assert_eq!((counted.packets, counted.bytes), (1, packet.len() as u64));
}

#[test]
fn attachments_go_when_dropped_and_keep_others_out() {
    if can_furnish("attachments_go_when_dropped_and_keep_others_out") {
        in_namespace(attach_detach_and_collide);
    }
}

fn attach_detach_and_collide() {
    let _far = FarEnd::connect();
    let near = Link::find("near").unwrap();
    let mut programs = Programs::without_tables(0).unwrap();
    let attached = programs.attach(Program::Pass, &near, Mode::Auto.ladder()).unwrap();
    assert_eq!((attached.mode, attached.is_held_by_link()), (AttachedMode::Native, true));
    assert!(attached.warning.is_none() && near.is_veth);
    for mode in [Mode::Auto, Mode::Native, Mode::Generic] {
        let error = programs.attach(Program::Decap, &near, mode.ladder()).unwrap_err().to_string();
        assert!(error.contains("`lb_pass`") && error.contains(&std::process::id().to_string()), "{error}");
    }
    drop(attached);
    assert_eq!(Link::find("near").unwrap().xdp_program, None);
    let attached = programs.attach(Program::Pass, &near, Mode::Generic.ladder()).unwrap();
    attached.detach().unwrap();
    let lo = Link::find("lo").unwrap();
    let attached = programs.attach(Program::Pass, &lo, Mode::Auto.ladder()).unwrap();
    println!("{:?}", attached.steps);
    assert_eq!(attached.mode, AttachedMode::Generic);
    assert!(attached.steps.iter().any(|step| step.reason.contains("no native XDP")));
}

#[test]
fn without_rights_the_refusal_names_them() {
    if nix::unistd::geteuid().is_root() {
        println!("skipped: without_rights_the_refusal_names_them needs not to be root");
        return;
    }
    let error = Datapath::load(&Settings::default(), StageSet::NONE).unwrap_err();
    assert!(matches!(error, LoadError::Permission { .. }), "{error:?}");
}

/// Slots that every flow falls into.
struct Everywhere(Option<(u32, BackendId)>);

impl super::expire::Slots for Everywhere {
    fn slot_of<A: lb_common::abi::Ip>(&self, _: &FlowKey<A>) -> Option<(u32, BackendId)> {
        self.0
    }
}
