//! The planner and the packet path of `lb`, over tables in memory: whole packets go in, and what comes out is looked at.

use super::pool::{Pool, address};
use super::{IDLE_SECONDS, Packet, PacketKind, Way};
use anyhow::{Result, anyhow};
use lb_common::abi::{Backend, BackendId, Flow, FlowKey, Ticks};
use lb_common::datapath::{Arrival, HostTables, Reason, balance};
use lb_common::wire::ethernet::Addresses;
use lb_common::wire::{Buffer, Ports, U16be, U32be, protocol, tcp};
use lb_userspace::config::{self, Service};
use lb_userspace::health::HealthState;
use lb_userspace::kernel::NextHop;
use lb_userspace::kernel::expire::Rules;
use lb_userspace::plan::{BackendKey, Inputs, Observations, Plan, Planner, Write};
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// A tick of the simulated clock.
const TICK: Duration = Duration::from_millis(4);
const SEED: u64 = 0x5eed;
/// Seconds between two looks at the flow tables.
const LOOK_SECONDS: u32 = 5;

/// All balancers.
pub(super) struct Lb {
    balancers: Vec<Option<Balancer>>,
    services: Vec<Service>,
    /// Whether a flow is recorded when it is first seen on the settled path, too: what the packet path does not do.
    on_sight: bool,
    recorded: u64,
}

/// One balancer: what it planned, and its tables.
struct Balancer {
    planner: Planner,
    tables: HostTables,
    /// What time zero is on the planner's clock.
    start: Instant,
}

impl Lb {
    pub(super) fn new(balancers: usize, on_sight: bool) -> Self {
        let balancers = (0..balancers).map(|_| Some(Balancer::new(0))).collect();
        Self { balancers, services: Vec::new(), on_sight, recorded: 0 }
    }
}

impl Way for Lb {
    fn change(&mut self, pool: &Pool, now: u32) -> Result<()> {
        self.services = services(pool)?;
        self.balancers
            .iter_mut()
            .flatten()
            .try_for_each(|balancer| balancer.follow(&self.services, pool, now))
    }

    fn pass(&mut self, now: u32) {
        if (now / 1000).is_multiple_of(LOOK_SECONDS) {
            self.balancers.iter_mut().flatten().for_each(|balancer| balancer.look(now));
        }
    }

    fn lose(&mut self, balancer: usize) {
        self.balancers[balancer] = None;
    }

    fn regain(&mut self, number: usize, pool: &Pool, now: u32) -> Result<()> {
        let mut balancer = Balancer::new(now);
        balancer.follow(&self.services, pool, now)?;
        self.balancers[number] = Some(balancer);
        Ok(())
    }

    fn send(&mut self, balancer: usize, packet: Packet, now: u32) -> Option<SocketAddr> {
        let balancer = self.balancers[balancer].as_mut()?;
        let (reason, backend) = balancer.send(packet, now)?;
        self.recorded += u64::from(reason == Reason::Opened);
        if self.on_sight && reason == Reason::Older {
            balancer.record(packet, backend, now);
        }
        balancer.planner.key(backend).map(|key| key.addr)
    }

    fn entries(&self) -> usize {
        self.balancers.iter().flatten().map(|balancer| balancer.tables.flows.borrow().len()).sum()
    }

    fn recorded(&self) -> Option<u64> {
        (!self.on_sight).then_some(self.recorded)
    }
}

impl Balancer {
    fn new(now: u32) -> Self {
        let tables = HostTables { seed: SEED, room: usize::MAX, ..HostTables::default() };
        let start = Instant::now().checked_sub(millis(now)).unwrap_or_else(Instant::now);
        Self { planner: Planner::new(), tables, start }
    }

    fn instant(&self, now: u32) -> Instant {
        self.start + millis(now)
    }

    /// Plans for what the backends are now.
    fn follow(&mut self, services: &[Service], pool: &Pool, now: u32) -> Result<()> {
        let keys = |wanted: &dyn Fn(&super::pool::Member) -> bool| -> Vec<BackendKey> {
            let hosts = pool.members.iter().filter(|(_, member)| wanted(member));
            hosts.map(|(host, _)| BackendKey { service: services[0].vip, addr: address(*host) }).collect()
        };
        let up = keys(&|member| member.up).into_iter().map(|key| (key, HealthState::Up));
        let down = keys(&|member| !member.up).into_iter().map(|key| (key, HealthState::Down));
        let health: HashMap<_, _> = up.chain(down).collect();
        let drained: BTreeSet<_> = keys(&|member| member.drained).into_iter().collect();
        let next_hops: HashMap<IpAddr, NextHop> =
            (1..=255).map(|host| (address(host).ip(), hop(host))).collect();
        let encap = config::Encap { spread: false, ..config::Encap::default() };
        let inputs = Inputs {
            services,
            seed: SEED,
            health: &health,
            drained: &drained,
            ping: true,
            encap,
            next_hops: &next_hops,
        };
        let now = self.instant(now);
        let plan = self.planner.plan(&inputs, now)?;
        self.apply(&plan);
        Ok(())
    }

    /// Looks at the flow table as the daemon does: deletes what is over, and settles what can settle.
    fn look(&mut self, now: u32) {
        let (ticks, taken_at) = (ticks(now), self.instant(now));
        let rules = Rules::new(self.planner.idle_times(), TICK);
        self.tables.flows.borrow_mut().retain(|key, flow| !rules.is_pinned_over(key.protocol(), flow, ticks));
        let (mut strays, mut by_backend) = (HashMap::new(), HashMap::new());
        for (key, flow) in self.tables.flows.borrow().iter() {
            *by_backend.entry(flow.backend).or_default() += 1;
            if let Some((slot, current)) = self.planner.slot_of(key, SEED)
                && current != flow.backend
            {
                *strays.entry(slot).or_default() += 1;
            }
        }
        let uses = self.tables.settled_use.borrow().clone();
        let last_use = |slot: u32| uses.get(&slot).map(|used: &Ticks| TICK * ticks.since(*used));
        let seen = Observations { taken_at, last_use: &last_use, strays: &strays, by_backend: &by_backend };
        let plan = self.planner.step_transitions(&seen, taken_at);
        self.apply(&plan);
    }

    fn apply(&mut self, plan: &Plan) {
        let tables = &mut self.tables;
        for write in &plan.writes {
            match *write {
                Write::Backend(id, record) if record == Backend::UNWRITTEN => {
                    tables.backends.remove(&id);
                }
                Write::Backend(id, record) => {
                    tables.backends.insert(id, record);
                }
                Write::Slot(index, slot) => {
                    tables.slots.insert(index, slot);
                }
                Write::Service(place, entry) => {
                    tables.services.insert(place, entry);
                }
                Write::Contents(contents) => tables.contents = contents,
                // One service by its address and port has none of these.
                Write::Range(..) | Write::Prefix(..) | Write::QuicServer(..) => {}
            }
        }
    }

    fn send(&self, packet: Packet, now: u32) -> Option<(Reason, BackendId)> {
        let arrival = Arrival { ifindex: 1, now: ticks(now) };
        let mut bytes = Buffer::new(&segment(&key(packet.flow), flags(packet.kind)));
        let steered = balance(&mut bytes, &self.tables, arrival).ok()?;
        Some((steered.reason, steered.backend))
    }

    fn record(&self, packet: Packet, backend: BackendId, now: u32) {
        let mut flow = Flow::pinned(backend, ticks(now));
        flow.note(tcp::Flags(flags(packet.kind)), ticks(now));
        self.tables.flows.borrow_mut().insert(key(packet.flow), flow);
    }
}

/// The service as an operator would write it.
fn services(pool: &Pool) -> Result<Vec<Service>> {
    let mut text = format!(
        "[[service]]\nname = \"web\"\nvip = \"203.0.113.10:80\"\nforward = \"dsr-ipip\"\nidle = \"{IDLE_SECONDS}s\"\n\
         health = {{ tcp = true }}\n"
    );
    for (host, member) in &pool.members {
        let (addr, weight) = (address(*host), member.weight);
        write!(text, "[[service.backend]]\nname = \"b{host}\"\naddr = \"{addr}\"\nweight = {weight}\n")?;
    }
    let loaded = config::parse("the simulation", &text).map_err(|mistakes| anyhow!("{mistakes}"))?;
    Ok(loaded.config.services)
}

fn hop(host: u8) -> NextHop {
    NextHop {
        ifindex: 7,
        link: Addresses::new([2, 0, 0, 0, 0, host], [2, 0, 0, 0, 1, 0]),
        source: [10, 0, 0, 254].into(),
        mtu: 1500,
        vlan: 0,
        second_vlan: 0,
        on_link: true,
    }
}

fn millis(time: u32) -> Duration {
    Duration::from_millis(time.into())
}

fn ticks(now: u32) -> Ticks {
    // Never zero, which stands for never.
    Ticks(1 + now / 4)
}

/// The client with a flow's number.
fn key(flow: u32) -> FlowKey<U32be> {
    let port = U16be::new(u16::try_from(1024 + flow % 60_000).unwrap_or(0));
    let (source, destination) = (U32be::new(0x0b00_0000 + flow / 60_000), U32be::from([203, 0, 113, 10]));
    FlowKey::new(source, destination, Ports::new(port, U16be::new(80)), protocol::TCP)
}

const fn flags(kind: PacketKind) -> u8 {
    match kind {
        PacketKind::Opens => 0x02,
        PacketKind::Data => 0x10,
        PacketKind::Ends => 0x11,
    }
}

/// A segment of a client's: Ethernet, IPv4, TCP without payload.
fn segment(client: &FlowKey<U32be>, flags: u8) -> [u8; 54] {
    let mut bytes = [0; 54];
    bytes[..24].copy_from_slice(&[
        2,
        0,
        0,
        0,
        0,
        1,
        2,
        0,
        0,
        0,
        0,
        2,
        8,
        0,
        0x45,
        0,
        0,
        40,
        0,
        0,
        0x40,
        0,
        64,
        protocol::TCP,
    ]);
    bytes[26..30].copy_from_slice(&<[u8; 4]>::from(client.source));
    bytes[30..34].copy_from_slice(&<[u8; 4]>::from(client.destination));
    bytes[34..38].copy_from_slice(&<[u8; 4]>::from(client.ports.word()));
    (bytes[46], bytes[47]) = (0x50, flags);
    bytes
}
