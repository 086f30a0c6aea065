//! What a plan does, sentence by sentence.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

use lb_common::abi::{
    Backend, BackendFlags, BackendId, Flow, FlowKey, Forward as Mode, ServiceFlags, Slot, Ticks, limits,
};
use lb_common::wire::{Ports, U16be, U32be, protocol};

use super::world::*;
use super::*;
use crate::config::{self, Encap, Forward, Protocol, Select, Service, Tracking, Vip};
use crate::health::HealthState::{Down, Unknown, Up};

const SECOND: Duration = Duration::from_secs(1);

fn written_slots(plan: &Plan) -> usize {
    plan.writes.iter().filter(|write| matches!(write, Write::Slot(..))).count()
}

/// A flow of the first service in this slot, as the packet path would record it.
fn record(world: &World, slot: u32, backend: BackendId) -> FlowKey<U32be> {
    let key = |n: u32| {
        let ports = Ports::new(U16be::new(1024 + (n % 60_000) as u16), U16be::new(80));
        FlowKey::new(U32be::new(0xc000_0200 + n / 60_000), U32be::new(0xcb00_7101), ports, protocol::TCP)
    };
    let is_there =
        |key: &FlowKey<U32be>| world.planner.slot_of(key, SEED).is_some_and(|(index, _)| index == slot);
    let key = (0..u32::MAX).map(key).find(is_there).unwrap();
    world.tables.flows.borrow_mut().insert(key, Flow::pinned(backend, Ticks(0)));
    key
}

#[test]
fn a_first_plan_writes_records_then_slots_then_services() {
    let mut world = World::unplanned(vec![service(1, &[3, 1]), service(2, &[1])]);
    let plan = world.plan();
    let rank = |write: &Write| match write {
        Write::Backend(..) => 0,
        Write::Slot(..) => 1,
        _ => 2,
    };
    assert!(plan.writes.iter().map(rank).is_sorted());
    assert_eq!(
        [0, 1, 2].map(|r| plan.writes.iter().filter(|write| rank(write) == r).count()),
        [3, 8192, 4],
        "each service has an entry, and so has its address"
    );
    assert_eq!((plan.generation, plan.summary.admitted.len(), plan.summary.slots_moved), (1, 3, 8192));
    assert_eq!((world.counts(0), world.counts(1)), (vec![3072, 1024], vec![4096]));
    assert!(world.slots(0).values().all(|slot| !slot.is_tracked()));
}

#[test]
fn a_reload_that_changes_nothing_writes_nothing() {
    let mut world = World::new(vec![service(1, &[3, 1, 2]), service(2, &[1])]);
    world.services.reverse();
    world.services[1].backends.reverse();
    world.services[1].line = 99;
    world.services[1].name = "renamed".into();
    world.services[1].backends[0].name = "renamed".into();
    assert_eq!(world.plan(), Plan { generation: 1, ..Plan::default() });
    assert_eq!(world.planner.services().next().unwrap().name, "renamed");
}

#[test]
fn a_backend_gets_no_slots_before_its_first_probe_has_passed() {
    let mut world = World::unplanned(vec![service(1, &[1, 1])]);
    world.set_all(Unknown);
    world.plan();
    assert_eq!(world.counts(0), [0, 0]);
    assert!(world.slots(0).values().all(|slot| *slot == Slot::settled_on(BackendId::NONE)));
    world.set(0, 1, Up);
    assert_eq!(world.plan().summary.slots_moved, 4096);
    assert_eq!(world.counts(0), [0, 4096]);
}

#[test]
fn without_a_health_check_every_backend_counts_as_up() {
    let mut world = World::unplanned(vec![service(1, &[1, 1])]);
    world.health.clear();
    world.services[0].health = None;
    world.plan();
    assert_eq!(world.counts(0), [2048, 2048]);
}

#[test]
fn a_backend_not_asked_yet_keeps_the_flows_it_has() {
    let mut world = World::new(vec![service(1, &[1, 1])]);
    world.set(0, 0, Unknown);
    world.plan();
    assert!(world.tables.backends[&world.id(0, 0)].flags.has(BackendFlags::ALIVE));
    assert_eq!(world.slots(0).values().filter(|slot| slot.settled() == world.id(0, 0)).count(), 2048);
}

#[test]
fn only_who_takes_new_flows_is_told_to() {
    let mut world = World::new(vec![service(1, &[1; 5])]);
    let ids = [0, 1, 2, 3, 4].map(|backend| world.id(0, backend));
    world.set(0, 1, Unknown);
    world.set(0, 2, Down);
    world.drained.insert(world.key(0, 3));
    world.services[0].backends.truncate(4);
    world.plan();
    let is_open = |id| world.tables.backends[&id].flags.has(BackendFlags::OPEN);
    assert_eq!(ids.map(is_open), [true, false, false, false, false]);
}

#[test]
fn a_dead_backend_gives_up_its_slots_and_few_others_move() {
    let mut world = World::new(vec![service(1, &[1; 10]), service(2, &[1; 3])]);
    let (dead, before, other) = (world.id(0, 4), world.slots(0), world.slots(1));
    world.set(0, 4, Down);
    let plan = world.plan();
    let after = world.slots(0);
    assert!(after.values().all(|slot| slot.current() != dead && slot.settled() != dead));
    assert!(
        before.iter().filter(|(_, slot)| slot.current() == dead).all(|(index, _)| !after[index].is_tracked())
    );
    assert!(plan.summary.slots_moved < 410 * 13 / 10, "{} moved", plan.summary.slots_moved);
    assert_eq!(plan.summary.slots_written, plan.summary.slots_moved);
    assert_eq!(plan.writes.len(), plan.summary.slots_written + 1, "one record, and the slots");
    assert!(!world.tables.backends[&dead].flags.has(BackendFlags::ALIVE));
    assert_eq!(world.slots(1), other);
}

#[test]
fn the_same_members_get_the_same_slots_again() {
    let mut world = World::new(vec![service(1, &[1; 5])]);
    let before = world.slots(0);
    world.set(0, 2, Down);
    world.plan();
    world.set(0, 2, Up);
    world.plan();
    assert!(before.iter().all(|(index, slot)| world.slot(*index).current() == slot.current()));
}

#[test]
fn a_draining_backend_keeps_its_flows_until_none_has_come_for_the_idle_time() {
    let mut world = World::new(vec![service(1, &[1, 1, 1])]);
    let (id, before) = (world.id(0, 0), world.slots(0));
    world.drained.insert(world.key(0, 0));
    world.plan();
    assert_eq!(world.counts(0)[0], 0);
    for (index, slot) in before.iter().filter(|(_, slot)| slot.current() == id) {
        assert_eq!(world.slot(*index), Slot::tracking(world.slot(*index).current(), slot.current()));
    }
    world.pass(IDLE.saturating_sub(SECOND));
    assert_eq!(written_slots(&world.settle()), 0);
    world.pass(SECOND);
    assert!(world.settle().summary.slots_written > 1000);
    assert!(world.slots(0).values().all(|slot| !slot.is_tracked() && slot.settled() != id));
    assert_eq!(world.planner.services().next().unwrap().tracked, 0);
}

#[test]
fn a_slot_whose_settled_path_is_in_use_does_not_settle() {
    let mut world = World::new(vec![service(1, &[1, 1])]);
    let id = world.id(0, 0);
    world.services[0].backends[0].drain = true;
    world.plan();
    let (busy, _) = world.slots(0).into_iter().find(|(_, slot)| slot.settled() == id).unwrap();
    world.pass(IDLE);
    world.tables.settled_use.borrow_mut().insert(busy, world.ticks());
    world.pass(IDLE / 2);
    world.settle();
    let tracked: Vec<u32> =
        world.slots(0).iter().filter(|(_, slot)| slot.is_tracked()).map(|(index, _)| *index).collect();
    assert_eq!(tracked, [busy]);
    world.pass(IDLE / 2);
    world.settle();
    assert!(!world.slot(busy).is_tracked());
}

#[test]
fn a_slot_that_went_there_and_back_stays_tracked_while_records_name_the_other() {
    let mut world = World::new(vec![service(1, &[1, 1])]);
    let (first, second) = (world.id(0, 0), world.id(0, 1));
    world.drained.insert(world.key(0, 0));
    world.plan();
    let (slot, _) = world.slots(0).into_iter().find(|(_, slot)| slot.settled() == first).unwrap();
    let flow = record(&world, slot, second);
    world.pass(SECOND);
    world.drained.clear();
    world.plan();
    assert_eq!(world.slot(slot), Slot::tracking(first, first));
    world.pass(GRACE);
    world.settle();
    let tracked = |world: &World| world.slots(0).values().filter(|slot| slot.is_tracked()).count();
    assert_eq!((world.slot(slot), tracked(&world)), (Slot::tracking(first, first), 1));
    world.tables.flows.borrow_mut().remove(&flow);
    world.settle();
    assert_eq!((world.slot(slot), tracked(&world)), (Slot::settled_on(first), 0));
}

#[test]
fn a_look_from_before_a_move_says_nothing_about_it() {
    let mut world = World::new(vec![service(1, &[1, 1])]);
    let taken_at = world.now;
    world.pass(SECOND);
    world.drained.insert(world.key(0, 0));
    world.plan();
    world.drained.clear();
    world.plan();
    world.pass(IDLE);
    assert_eq!(world.settle_seeing(taken_at, &HashMap::new(), &HashMap::new()).writes, []);
    assert!(world.settle().summary.slots_written > 0);
}

#[test]
fn with_every_backend_down_slots_name_nobody_and_recover() {
    let mut world = World::new(vec![service(1, &[1, 1])]);
    let before = world.slots(0);
    world.set_all(Down);
    world.plan();
    assert!(world.slots(0).values().all(|slot| slot.current().is_none()));
    assert_eq!(world.planner.slots_by_backend(world.services[0].vip), [(BackendId::NONE, 4096)].into());
    world.set_all(Up);
    world.plan();
    assert_eq!(world.slots(0), before);
}

#[test]
fn a_removed_backend_keeps_its_flows_and_its_identifier_until_they_are_over() {
    let mut world = World::new(vec![service(1, &[1, 1])]);
    let (key, id) = (world.key(0, 1), world.id(0, 1));
    record(&world, 0, id);
    world.services[0].backends.pop();
    world.plan();
    let views = world.planner.backends(world.services[0].vip);
    assert_eq!((views[1].id, views[1].configured, views[1].slots), (id, false, 0));
    assert_eq!(views[1].state, BackendState::Draining);
    assert!(world.tables.backends[&id].flags.has(BackendFlags::ALIVE.with(BackendFlags::RESOLVED)));
    for _ in 0..5 {
        world.pass(IDLE);
        world.settle();
        assert_eq!(world.planner.key(id), Some(key), "its flow lives");
    }
    world.tables.flows.borrow_mut().clear();
    let plan = world.settle();
    assert_eq!(plan.writes.last(), Some(&Write::Backend(id, Backend::UNWRITTEN)));
    assert_eq!((plan.summary.forgotten, world.planner.key(id)), (vec![id], None));
}

#[test]
fn a_removed_backend_that_was_down_has_nothing_to_keep() {
    let mut world = World::new(vec![service(1, &[1, 1])]);
    let id = world.id(0, 1);
    world.set(0, 1, Down);
    world.plan();
    world.services[0].backends.pop();
    assert_eq!(world.plan().writes, []);
    world.settle();
    world.pass(GRACE);
    assert_eq!(world.settle().writes, [Write::Backend(id, Backend::UNWRITTEN)]);
}

#[test]
fn a_backend_that_comes_back_in_time_is_the_one_it_was() {
    let mut world = World::new(vec![service(1, &[1, 1])]);
    let (id, before) = (world.id(0, 1), world.slots(0));
    let gone = world.services[0].backends.pop().unwrap();
    world.plan();
    world.services[0].backends.push(gone);
    world.plan();
    assert_eq!(world.id(0, 1), id);
    world.pass(GRACE);
    world.settle();
    assert_eq!(world.slots(0), before);
}

#[test]
fn one_server_of_two_services_is_two_backends() {
    let mut world = World::new(vec![service(1, &[1, 1]), service(2, &[1, 1])]);
    assert_ne!(world.id(0, 0), world.id(1, 0));
    let other = world.slots(1);
    world.set(0, 0, Down);
    world.plan();
    assert_eq!((world.counts(0), world.slots(1)), (vec![0, 4096], other));
}

#[test]
fn an_added_backend_takes_slots_and_leaves_the_old_flows() {
    let mut world = World::new(vec![service(1, &[1; 4])]);
    let before = world.slots(0);
    world.services[0].backends.push(backend(9, 1));
    world.set(0, 4, Up);
    world.plan();
    assert_eq!(world.counts(0).iter().sum::<usize>(), 4096);
    for (index, slot) in before {
        let now = world.slot(index);
        assert_eq!(now.settled(), slot.current());
        assert_eq!(now.is_tracked(), now.current() != slot.current());
    }
}

#[test]
fn translated_and_udp_services_never_track_a_slot() {
    let mut nat = service(1, &[1, 1, 1]);
    nat.forward = Forward::Nat;
    let mut udp = service(2, &[1, 1, 1]);
    udp.vip.protocol = Protocol::Udp;
    let mut never = service(3, &[1, 1, 1]);
    never.tracking = Tracking::Never;
    let mut world = World::new(vec![nat, udp, never]);
    world.drained =
        world.services.iter().map(|service| BackendKey::of(service, &service.backends[0])).collect();
    world.plan();
    for service in 0..3 {
        assert_eq!(world.counts(service), [0, 2048, 2048]);
        assert!(world.slots(service).values().all(|slot| *slot == Slot::settled_on(slot.current())));
    }
    let flags = |port: u8| {
        let services = world.tables.services.values();
        services.clone().find(|entry| entry.id == u16::from(port)).unwrap().flags()
    };
    let (always, never) = (ServiceFlags::TRACK_ALWAYS, ServiceFlags::TRACK_NEVER);
    assert_eq!([1, 2, 3].map(flags), [always, always, never]);
}

#[test]
fn our_own_address_is_known_before_a_backend_can_be_sent_to() {
    let mut nat = service(1, &[1, 1]);
    nat.forward = Forward::Nat;
    let mut world = World::unplanned(vec![nat]);
    let plan = world.plan();
    assert!(
        matches!(plan.writes[0], Write::Service(_, own) if own.forward() == Mode::Host && own.slots == 0)
    );
    assert!(matches!(plan.writes[1], Write::Backend(..)));
    assert_eq!(world.tables.services.len(), 3, "the service, its address, and our own");
}

#[test]
fn outer_sources_are_drawn_from_where_their_range_begins() {
    let mut six = service(2, &[]);
    six.backends = vec![backend(9, 1)];
    six.backends[0].addr = "[fd00::9]:80".parse().unwrap();
    let mut nat = service(3, &[1]);
    nat.forward = Forward::Nat;
    let mut world = World::unplanned(vec![service(1, &[1]), six, nat]);
    let hop = world.hops[&world.services[0].backends[0].addr.ip()];
    world.hops.insert("fd00::9".parse().unwrap(), hop);
    world.set_all(Up);
    world.encap = Encap::default();
    world.plan();
    let source = |world: &World, service| world.tables.backends[&world.id(service, 0)].source;
    let Encap { source_v4, source_v6, .. } = world.encap;
    let begins = [source_v4.0.into(), source_v6.0.into(), hop.source].map(encode::address);
    assert_eq!([0, 1, 2].map(|service| source(&world, service)), begins, "translated packets have our own");
    world.encap.spread = false;
    world.plan();
    assert_eq!(source(&world, 0), encode::address(hop.source));
}

#[test]
fn a_new_way_changes_the_record_alone() {
    let mut world = World::new(vec![service(1, &[1, 1])]);
    let (key, id) = (world.key(0, 0), world.id(0, 0));
    world.hops.remove(&key.addr.ip());
    let plan = world.plan();
    assert_eq!(plan.writes.len(), 1);
    let record = world.tables.backends[&id];
    assert_eq!((record.flags, record.generation), (BackendFlags::ALIVE.with(BackendFlags::OPEN), 2));
    assert_eq!(world.tables.backends[&world.id(0, 1)].generation, 1);
}

#[test]
fn a_service_that_outgrows_its_slots_moves_without_losing_a_flow() {
    let mut world = World::new(vec![service(1, &[1; 20])]);
    let old = world.slots(0);
    world.services[0].backends.push(backend(99, 1));
    world.set(0, 20, Up);
    let plan = world.plan();
    let new = world.slots(0);
    assert_eq!((old.len(), new.len(), plan.summary.slots_written), (4096, 16_384, 16_384));
    assert!(matches!(plan.writes.last(), Some(Write::Service(_, entry)) if entry.slots == 16_384));
    for ((_, slot), before) in new.iter().zip(old.values().flat_map(|slot| [slot; 4])) {
        assert_eq!(slot.settled(), before.current(), "flows from before stay");
    }
    assert_eq!(world.services[0].backends.pop().unwrap().weight, 1);
    world.plan();
    assert_eq!(world.slots(0).len(), 16_384, "a service that shrinks keeps its range");
}

#[test]
fn the_slots_of_a_removed_service_are_free_in_the_next_plan() {
    let mut world = World::with_slots(8192);
    world.services = vec![service(1, &[1]), service(2, &[1])];
    world.plan();
    world.services = vec![service(2, &[1]), service(3, &[1])];
    let full = PlanError::SlotsFull { service: "service3".into(), needed: 4096, free: 0 };
    assert_eq!(world.try_plan(), Err(full));
    world.services.pop();
    assert_eq!(world.plan().writes.len(), 2, "the entries of the service and its address");
    world.services.push(service(3, &[1]));
    world.plan();
    assert_eq!(world.slots(1).keys().next(), Some(&0));
}

#[test]
fn a_service_gets_no_number_beyond_the_tables_while_others_that_left_have_flows() {
    let named = |n: u32| {
        let mut service = service(1, &[1]);
        service.vip.addr = Ipv4Addr::from(0xcb00_7100 + n).into();
        Service { name: format!("service{n}"), ..service }
    };
    let services = |numbers: Range<u32>| -> Vec<_> { numbers.map(named).collect() };
    let mut world = World::with_slots(limits::SLOTS);
    world.services = services(0..limits::SERVICES);
    world.set_all(Up);
    world.make_plan().unwrap();
    // The table has no room for both at a time.
    world.services.clear();
    world.make_plan().unwrap();
    // Those that land on this host need no slots, which would be in use as well.
    let local = |service| Service { forward: Forward::Local, ..service };
    world.services = services(limits::SERVICES..2 * limits::SERVICES).into_iter().map(local).collect();
    let full = PlanError::NumbersFull { service: "service2047".into() };
    assert_eq!(world.make_plan(), Err(full));
    world.services.pop();
    world.make_plan().unwrap();
    assert_eq!(world.planner.numbered().map(|(_, number)| number).max(), Some(2047));
}

#[test]
fn a_plan_that_fails_changes_nothing() {
    let mut world = World::with_slots(4096);
    world.services = vec![service(1, &[1, 1])];
    world.plan();
    let (before, slots) = (world.planner.clone(), world.slots(0));
    world.services[0].backends.pop();
    world.services.push(service(2, &[1]));
    assert!(world.try_plan().is_err());
    assert_eq!(format!("{before:?}"), format!("{:?}", world.planner));
    world.services = vec![service(1, &[1, 1])];
    assert_eq!((world.plan().writes, world.slots(0)), (vec![], slots));
}

#[test]
fn the_whole_plan_makes_the_tables_that_the_steps_made() {
    let mut world = World::new(vec![service(1, &[1, 2, 3]), service(2, &[1])]);
    world.set(0, 0, Down);
    world.plan();
    world.services[0].backends.pop();
    world.plan();
    let mut fresh = lb_common::datapath::HostTables::default();
    world.planner.plan_whole().writes.into_iter().for_each(|write| store(&mut fresh, write));
    assert_eq!((fresh.backends, fresh.slots), (world.tables.backends, world.tables.slots));
    assert_eq!(fresh.services, world.tables.services);
}

/// A service of a whole network by QUIC, with a server that has an identifier.
fn network_by_quic() -> Service {
    let vip = Vip::new([198, 51, 100, 0].into(), 443, Protocol::Udp);
    let backends = vec![config::Backend { server_id: Some([7, 0, 0, 0, 0, 0, 0, 0]), ..backend(9, 1) }];
    Service { vip: Vip { bits: 24, ..vip }, select: Select::Quic, backends, ..service(2, &[]) }
}

#[test]
fn the_whole_plan_takes_away_what_a_write_that_failed_has_left() {
    let mut world = World::unplanned(vec![service(1, &[1]), network_by_quic()]);
    world.set_all(Up);
    world.plan();
    world.planner.note_written();
    let planned = (world.tables.prefixes.clone(), world.tables.quic_servers.clone());
    assert_eq!((planned.0.len(), planned.1.len()), (1, 1));
    // The kernel refused these writes, and those of the plan after.
    world.services.truncate(1);
    world.make_plan().unwrap();
    world.set(0, 0, Down);
    world.make_plan().unwrap();
    world.planner.plan_whole().writes.into_iter().for_each(|write| store(&mut world.tables, write));
    assert!(world.tables.prefixes.is_empty() && world.tables.quic_servers.is_empty());
    world.planner.note_written();
    let is_left = |write: &Write| matches!(write, Write::Prefix(..) | Write::QuicServer(..));
    assert!(!world.planner.plan_whole().writes.iter().any(is_left), "what was taken away is forgotten");
    // Nor does it take away what has come back.
    world.services.push(network_by_quic());
    world.set_all(Up);
    world.plan();
    world.services.truncate(1);
    world.make_plan().unwrap();
    world.services.push(network_by_quic());
    world.make_plan().unwrap();
    world.planner.plan_whole().writes.into_iter().for_each(|write| store(&mut world.tables, write));
    assert_eq!((world.tables.prefixes.len(), world.tables.quic_servers.len()), (1, 1));
}

#[test]
fn another_seed_is_another_table() {
    let mut world = World::new(vec![service(1, &[1, 1])]);
    let inputs = Inputs {
        ping: true,
        encap: Encap { spread: false, ..Encap::default() },
        services: &world.services,
        seed: SEED + 1,
        health: &world.health,
        drained: &world.drained,
        next_hops: &world.hops,
    };
    let plan = world.planner.plan(&inputs, world.now).unwrap();
    assert!((1800..2300).contains(&plan.summary.slots_moved), "{:?}", plan.summary);
}
