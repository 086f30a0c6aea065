//! The flow table as the kernel programs use it.

use super::*;
use crate::kernel::bpf::run_over;
use aya::programs::ProgramFd;
use lb_common::abi::{Address, BackendFlags, Forward, Line, ServiceFlags, ServiceKey, Stage};
use lb_common::datapath::lines::{self, Lines};
use lb_common::datapath::{PortPool, Reason};
use lb_common::wire::ethernet::Addresses;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU32, Ordering};

const VIP: [u8; 4] = [203, 0, 113, 10];
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// The programs with one service, whose slots move from one backend to another.
fn serving(forward: Forward, flows: u32) -> Datapath {
    let ports = PortPool::new([1024, 60_000, 0, 0]).to_words();
    let mut datapath =
        Datapath::load(&Settings { flows, ports, seed: 7, ..Settings::default() }, StageSet::of(&Stage::ALL))
            .unwrap();
    let key = ServiceKey::v4(U32be::from(VIP), U16be::new(80), protocol::TCP);
    let service = Service::new(key, forward, 0, 0, 16, ServiceFlags::default());
    let backend = Backend {
        link: Addresses::new(MAC, MAC),
        ifindex: 1,
        address: Address::v4(U32be::from([10, 0, 0, 2])),
        source: Address::v4(U32be::from([10, 0, 0, 1])),
        port: U16be::new(8080),
        mtu: 1500,
        flags: BackendFlags::ALIVE.with(BackendFlags::RESOLVED),
        ..Backend::default()
    };
    let tables = &mut datapath.tables;
    tables.write_service(key.first_place(), &service).unwrap();
    tables.write_backend(id(1), &backend.prepared()).unwrap();
    tables.write_backend(id(2), &backend.prepared()).unwrap();
    let slots: Vec<_> = (0..16).map(|slot| (slot, Slot::tracking(id(1), id(2)))).collect();
    tables.write_slots(&slots).unwrap();
    datapath
}

/// The key of a client's packets.
fn client(number: u32) -> FlowKey<U32be> {
    let ports = Ports::new(U16be::new(1000), U16be::new(80));
    FlowKey::new(U32be::new(0x0a09_0000 + number), U32be::from(VIP), ports, protocol::TCP)
}

/// A client's first packet.
fn syn(number: u32) -> Vec<u8> {
    let key = client(number);
    let mut packet = [MAC; 2].concat();
    packet.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, protocol::TCP, 0, 0]);
    packet.extend(key.source.get().to_be_bytes());
    packet.extend(VIP);
    packet.extend([1000u16.to_be_bytes(), 80u16.to_be_bytes()].as_flattened());
    packet.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    packet
}

fn counted(tables: &Tables, reason: Reason) -> u64 {
    tables.reasons()[reason as usize].packets
}

fn records(tables: &Tables) -> Vec<FlowKey<U32be>> {
    let (mut walk, mut found, mut more) = (FlowWalk::default(), Vec::new(), true);
    while more {
        more = tables.flows.next(&mut walk);
        found.extend(walk.batch().map(|(key, _)| key));
    }
    found.sort_unstable_by_key(|key| (key.destination.get(), key.source.get()));
    found
}

/// Sends the first packet of one flow after another, each when the other CPU is about to do the same.
fn race(program: &ProgramFd, cpu: usize, flows: u32, arrived: &AtomicU32) {
    let mut only = CpuSet::new();
    only.set(cpu).unwrap();
    sched_setaffinity(Pid::from_raw(0), &only).unwrap();
    for number in 0..flows {
        let packet = syn(number);
        arrived.fetch_add(1, Ordering::SeqCst);
        while arrived.load(Ordering::SeqCst) < 2 * (number + 1) {
            std::hint::spin_loop();
        }
        run_over(program.as_fd(), &packet).unwrap();
    }
}

#[test]
fn of_two_first_packets_of_a_flow_on_two_cpus_one_opens_it_and_both_go_on() {
    const FLOWS: u32 = 20_000;
    let name = "of_two_first_packets_of_a_flow_on_two_cpus_one_opens_it_and_both_go_on";
    if !is_root(name) {
        return;
    }
    if std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() < 2) {
        println!("skipped: {name} needs two CPUs");
        return;
    }
    let mut datapath = serving(Forward::Nat, 4 * FLOWS);
    let program = datapath.programs.handle(Program::Balance).unwrap();
    let arrived = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for cpu in 0..2 {
            let (program, arrived) = (&program, &arrived);
            scope.spawn(move || race(program, cpu, FLOWS, arrived));
        }
    });
    let tables = &datapath.tables;
    assert_eq!(counted(tables, Reason::NatOpened), u64::from(FLOWS));
    // If a CPU is taken away from the one in the middle of its way, the other waits in vain.
    let on = counted(tables, Reason::NatForward);
    assert!(on >= u64::from(FLOWS - FLOWS / 1000), "{on} of {FLOWS} went on");
    assert_eq!(records(tables).len(), 2 * FLOWS as usize, "two records a flow, and none left over");
}

/// What the kernel's table holds, in ordinary memory.
struct Model(Vec<Line<U32be>>);

impl Lines<U32be> for Model {
    fn mask(&self) -> u32 {
        u32::try_from(self.0.len() - 1).unwrap()
    }

    fn line(&self, number: u32) -> Option<&Line<U32be>> {
        self.0.get(number as usize)
    }
}

#[test]
fn a_table_that_fills_up_takes_and_refuses_the_keys_that_its_rules_do() {
    const LINES: u32 = 256;
    if !is_root("a_table_that_fills_up_takes_and_refuses_the_keys_that_its_rules_do") {
        return;
    }
    let mut datapath = serving(Forward::DsrIpip, LINES);
    let model = Model((0..LINES).map(|_| Line::vacant()).collect());
    let mut refused = 0;
    for number in 0..LINES {
        datapath.programs.run(Program::Balance, &syn(number)).unwrap();
        let key = client(number);
        match lines::reserve(&model, &key, key.hash(7)) {
            Ok(line) => model.line(line).unwrap().publish(),
            Err(_) => refused += 1,
        }
    }
    let tables = &datapath.tables;
    let expected: Vec<_> =
        (0..LINES).map(client).filter(|key| lines::find(&model, key, key.hash(7)).is_some()).collect();
    assert!(refused > 0 && records(tables) == expected);
    let told = [Reason::Opened, Reason::Unrecorded].map(|reason| counted(tables, reason));
    assert_eq!(told, [u64::from(LINES - refused), u64::from(refused)]);
}
