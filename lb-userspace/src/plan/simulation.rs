//! The plan and the packet path together: random changes under live connections, every packet of them watched.

use lb_common::abi::{BackendId, FlowKey};
use lb_common::datapath::{Arrival, balance};
use lb_common::wire::{Buffer, Ports, U16be, U32be, protocol};
use proptest::prelude::*;
use proptest::sample::Index;
use std::time::Duration;

use super::answers::is_answered;
use super::world::*;
use super::*;
use crate::config::{self, Forward, Protocol, Vip};
use crate::health::HealthState;

/// Something that happens to a backend or to time.
#[derive(Clone, Debug)]
enum Event {
    Up(Index),
    Down(Index),
    Drain(Index),
    Undrain(Index),
    Remove(Index),
    Add(u8),
    Weigh(Index, u16),
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let index = any::<Index>;
    prop_oneof![
        3 => index().prop_map(Event::Up),
        1 => index().prop_map(Event::Down),
        2 => index().prop_map(Event::Drain),
        2 => index().prop_map(Event::Undrain),
        1 => index().prop_map(Event::Remove),
        2 => (1u8..12).prop_map(Event::Add),
        1 => (index(), 1u16..5).prop_map(|(index, weight)| Event::Weigh(index, weight)),
        4 => (1u64..45).prop_map(Event::Pass),
    ]
}

/// A TCP connection to the first service.
#[derive(Clone, Copy, Debug)]
struct Connection {
    client: FlowKey<U32be>,
    backend: BackendId,
}

const FIN: u8 = 0x11;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

fn client(n: u32) -> FlowKey<U32be> {
    let port = U16be::new(u16::try_from(1024 + n % 50_000).unwrap());
    let ports = Ports::new(port, U16be::new(80));
    FlowKey::new(U32be::new(0xc633_6400 + n / 50_000), U32be::from([203, 0, 113, 1]), ports, protocol::TCP)
}

/// A segment of a client's: Ethernet, IPv4, TCP without payload.
fn segment(client: &FlowKey<U32be>, flags: u8) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    bytes.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, protocol::TCP, 0, 0]);
    bytes.extend([client.source, client.destination].map(<[u8; 4]>::from).as_flattened());
    bytes.extend(
        [client.ports.source(), client.ports.destination()]
            .map(|port| port.get().to_be_bytes())
            .as_flattened(),
    );
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    bytes
}

fn encapsulating() -> config::Service {
    service(1, &[1, 2, 1, 1])
}

fn translating() -> config::Service {
    let service = encapsulating();
    let vip = Vip { port: 1, last_port: 8080, ..service.vip };
    let backends = service.backends.into_iter().map(|backend| listening_on(0, backend)).collect();
    config::Service { vip, forward: Forward::Dnat, backends, ..service }
}

fn listening_on(port: u16, backend: config::Backend) -> config::Backend {
    config::Backend { addr: (backend.addr.ip(), port).into(), ..backend }
}

/// A world with one service and connections that talk at least every 45 seconds, within the idle time.
struct Simulation {
    world: World,
    connections: Vec<Connection>,
    clients: u32,
    /// The port of every backend.
    port: u16,
}

impl Simulation {
    fn new(service: config::Service) -> Self {
        let port = service.backends[0].addr.port();
        let world = World::new(vec![service]);
        let mut simulation = Self { world, connections: Vec::new(), clients: 0, port };
        simulation.open(300);
        assert_eq!(simulation.connections.len(), 300);
        simulation
    }

    fn step(&mut self, event: &Event) {
        self.happen(event);
        self.world.plan();
        assert_eq!(self.world.plan().writes, [], "a plan that was made needs no other");
        self.check_slots();
        self.talk();
        self.open(30);
        self.forge();
        self.talk();
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Up(index) => drop(self.judge(*index, HealthState::Up)),
            Event::Down(index) => {
                let dead = self.judge(*index, HealthState::Down);
                self.end(|connection| dead == Some(connection.backend));
            }
            Event::Drain(index) => drop(self.pick(*index).map(|key| self.world.drained.insert(key))),
            Event::Undrain(index) => drop(self.pick(*index).map(|key| self.world.drained.remove(&key))),
            Event::Remove(index) => self.remove(*index),
            Event::Add(host) => self.add(*host),
            Event::Weigh(index, weight) => self.weigh(*index, *weight),
            Event::Pass(seconds) => self.pass(*seconds),
        }
    }

    /// One of the configured backends.
    fn pick(&self, index: Index) -> Option<BackendKey> {
        let count = self.world.services[0].backends.len();
        (count > 0).then(|| self.world.key(0, index.index(count)))
    }

    fn judge(&mut self, index: Index, health: HealthState) -> Option<BackendId> {
        let key = self.pick(index)?;
        self.world.health.insert(key, health);
        self.world.planner.id(&key)
    }

    fn remove(&mut self, index: Index) {
        let Some(key) = self.pick(index) else { return };
        self.world.services[0].backends.retain(|backend| backend.addr != key.addr);
        self.world.health.remove(&key);
    }

    fn add(&mut self, host: u8) {
        let new = self.backend(host);
        let backends = &mut self.world.services[0].backends;
        if backends.iter().all(|old| old.addr != new.addr) {
            backends.push(new);
        }
    }

    fn backend(&self, host: u8) -> config::Backend {
        listening_on(self.port, backend(host, 1))
    }

    fn weigh(&mut self, index: Index, weight: u16) {
        let backends = &mut self.world.services[0].backends;
        let count = backends.len();
        if count > 0 {
            backends[index.index(count)].weight = weight;
        }
    }

    /// Time goes by, every third connection ends, and somebody looks at the flow table.
    fn pass(&mut self, seconds: u64) {
        self.world.pass(Duration::from_secs(seconds));
        self.talk();
        self.end(|connection| connection.client.ports.source().get().is_multiple_of(3));
        self.world.settle();
    }

    /// Which backend the packet path sends a client's packet to; none where the client is told that nobody serves.
    fn send(&self, client: &FlowKey<U32be>, flags: u8) -> Option<BackendId> {
        let arrival = Arrival { ifindex: 1, now: self.world.ticks() };
        let mut packet = Buffer::new(&segment(client, flags));
        let steered = balance(&mut packet, &self.world.tables, arrival).ok()?;
        if !steered.backend.is_none() && self.world.services[0].forward == Forward::Dnat {
            is_answered(&self.world.tables, Protocol::Tcp, (&segment(client, flags), packet.bytes()));
        }
        (!steered.backend.is_none()).then_some(steered.backend)
    }

    fn open(&mut self, count: u32) {
        for client in (self.clients..self.clients + count).map(client) {
            let backend = self.send(&client, SYN);
            self.connections.extend(backend.map(|backend| Connection { client, backend }));
        }
        self.clients += count;
    }

    /// Every connection sends a packet, which must reach the backend that took it.
    fn talk(&self) {
        for Connection { client, backend } in &self.connections {
            assert_eq!(self.send(client, ACK), Some(*backend), "a connection was broken: {client:?}");
        }
    }

    /// Somebody who knows their ends makes up an end of every connection that is recorded, and a SYN.
    fn forge(&self) {
        let is_recorded = |one: &&Connection| self.world.tables.flows.borrow().contains_key(&one.client);
        for Connection { client, backend } in self.connections.iter().filter(is_recorded) {
            let end = if client.ports.source().get().is_multiple_of(2) { FIN } else { RST };
            for flags in [end, SYN] {
                assert_eq!(self.send(client, flags), Some(*backend), "a forger took over {client:?}");
            }
        }
    }

    /// These connections are over, and so are their records.
    fn end(&mut self, is_over: impl Fn(&Connection) -> bool) {
        let (over, live) = self.connections.drain(..).partition::<Vec<_>, _>(is_over);
        self.connections = live;
        for connection in over {
            self.world.tables.flows.borrow_mut().remove(&connection.client);
        }
    }

    /// Every slot is somebody's who is there, and the backends' slots add up.
    fn check_slots(&self) {
        let slots = self.world.slots(0);
        for slot in slots.values() {
            let is_there = |id: BackendId| id.is_none() || self.world.tables.backends.contains_key(&id);
            assert!(is_there(slot.current()) && is_there(slot.settled()), "{slot:?}");
        }
        let counts = self.world.planner.slots_by_backend(self.world.services[0].vip);
        assert_eq!(counts.values().sum::<usize>(), slots.len());
        let total: usize = self.world.counts(0).iter().sum();
        assert!(total == slots.len() || total == 0, "all slots are with configured backends, or none");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Connections end only with their backend. Nothing else may break one: no drain, removal, addition, weight, flap
    /// of another backend, nor any sequence of them.
    #[test]
    fn no_change_breaks_a_connection_to_a_living_backend(events in prop::collection::vec(event(), 1..40)) {
        let mut simulation = Simulation::new(encapsulating());
        for event in events {
            simulation.step(&event);
        }
    }

    /// The same through translation of many ports, where each packet's answer comes from where it was sent to.
    #[test]
    fn no_change_leaves_a_connection_without_its_answers(events in prop::collection::vec(event(), 1..40)) {
        let mut simulation = Simulation::new(translating());
        for event in events {
            simulation.step(&event);
        }
    }
}

#[test]
fn when_changes_end_all_state_goes() {
    let mut simulation = Simulation::new(encapsulating());
    for host in 5..9 {
        simulation.step(&Event::Add(host));
        simulation.world.set_all(HealthState::Up);
        simulation.step(&Event::Pass(1));
    }
    simulation.world.services[0].backends.drain(..4);
    simulation.step(&Event::Pass(1));
    assert!(simulation.world.planner.services().next().unwrap().tracked > 2000);
    simulation.end(|_| true);
    for _ in 0..4 {
        simulation.world.pass(IDLE);
        simulation.world.settle();
    }
    assert_eq!(simulation.world.planner.services().next().unwrap().tracked, 0);
    assert_eq!(simulation.world.tables.backends.len(), 4);
}
