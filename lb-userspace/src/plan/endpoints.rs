//! Endpoints: where the backends of services listen that translate the destination only, by which their answers are known, unless
//! those know them by record.
//!
//! One port of an address has an entry of its own. More than one lead through the entry of the address and its list of
//! ranges, as the ports of VIPs do, to one entry that all backends of the service share.
//!
//! **Invariant**: a port of a backend's address is one service's. A backend that left the configuration keeps its endpoint
//! for as long as it keeps flows. Where another service has any of it now, or a VIP the address, it gives up both: its
//! answers would come from that VIP.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lb_common::abi::{BackendId, PortRange, Service, ServiceFlags, limits};
use lb_common::wire::U16be;

use super::hosts::{self, Host};
use super::records::{Entry, Records};
use super::state::EntryName;
use super::{BackendKey, encode};
use crate::config::{self, Forward, Vip};

/// Where a backend listens, and whose answers it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Its address and ports, in the shape of a VIP.
    pub(super) at: Vip,
    /// The VIP that its answers come from.
    service: Vip,
    /// The number of the service.
    number: u16,
}

impl Endpoint {
    fn of(entry: &Entry) -> Self {
        let BackendKey { service, addr } = entry.key;
        Self { at: service.endpoint(addr), service, number: entry.service }
    }

    /// Whether its port tells which of the service's was asked. It does not where many were led to one, as a service may have
    /// done that became one of `dnat`.
    fn tells_ports(&self) -> bool {
        self.at.is_exact() == self.service.is_exact()
    }

    /// What turns its answers back. One that has many ports keeps them, so it is its service's others' as well.
    fn entry(&self) -> Service {
        let (key, port) = if self.at.is_exact() { (self.at, self.service.port) } else { (self.service, 0) };
        let other = (encode::address(self.service.addr), U16be::new(port));
        Service::endpoint(encode::service_key(key), other)
    }

    /// Where that lies if it is found by range.
    fn place(&self) -> u32 {
        hosts::place_of_endpoints(self.number)
    }
}

/// All of them, by address and backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Endpoints {
    known: BTreeMap<(IpAddr, BackendId), Endpoint>,
    /// The addresses of those that are found by range.
    hosts: BTreeMap<IpAddr, Host>,
}

impl Endpoints {
    /// Those of these services. Backends that left and whose endpoints are wanted are given up.
    pub(super) fn next(
        &self,
        services: &[config::Service],
        records: &mut Records,
        own: &BTreeSet<IpAddr>,
    ) -> Self {
        let mut known = known(services, records, Entry::is_configured);
        for (name, endpoint) in known_leaving(services, records) {
            if endpoint.tells_ports() && is_free(&known, services, &endpoint) {
                known.insert(name, endpoint);
            } else {
                records.give_up(name.1);
            }
        }
        self.followed_by(known, own)
    }

    /// Those whose backends are not forgotten.
    pub(super) fn kept(&self, records: &Records, own: &BTreeSet<IpAddr>) -> Self {
        let mut known = self.known.clone();
        known.retain(|(_, id), _| records.entry(*id).is_some());
        self.followed_by(known, own)
    }

    fn followed_by(&self, known: BTreeMap<(IpAddr, BackendId), Endpoint>, own: &BTreeSet<IpAddr>) -> Self {
        let mut lists: BTreeMap<IpAddr, (BackendId, Vec<PortRange>)> = BTreeMap::new();
        for ((ip, id), endpoint) in known.iter().filter(|(_, endpoint)| !endpoint.at.is_exact()) {
            let (_, list) = lists.entry(*ip).or_insert_with(|| (*id, Vec::new()));
            list.push(encode::range(endpoint.at, endpoint.place()));
        }
        let host = |(ip, (id, list)): (IpAddr, (BackendId, Vec<PortRange>))| {
            let flags = if own.contains(&ip) { ServiceFlags::OWN } else { ServiceFlags::default() };
            let number = hosts::number_of_backend(id);
            (ip, Host::listing(flags, number, list, self.hosts.get(&ip)))
        };
        Self { hosts: lists.into_iter().map(host).collect(), known }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(super) fn has_ranges(&self) -> bool {
        !self.hosts.is_empty()
    }

    pub(super) fn knows(&self, ip: IpAddr, id: BackendId) -> bool {
        self.known.contains_key(&(ip, id))
    }

    /// What is known of an address that some are found on by range.
    pub(super) fn host(&self, ip: IpAddr) -> Option<&Host> {
        self.hosts.get(&ip)
    }

    /// Their entries in the hashed part of the service table.
    pub(super) fn entries(&self) -> impl Iterator<Item = (EntryName, Service)> {
        let exact = self.known.values().filter(|endpoint| endpoint.at.is_exact());
        let exact = exact.map(|endpoint| (EntryName::Endpoint(endpoint.at), endpoint.entry()));
        let host = |(ip, host): (&IpAddr, &Host)| (EntryName::Server(*ip), host.entry(encode::host_key(*ip)));
        exact.chain(self.hosts.iter().map(host))
    }

    /// The entries that lists lead to, by place.
    pub(super) fn ranged(&self) -> BTreeMap<u32, Service> {
        let ranged = self.known.values().filter(|endpoint| !endpoint.at.is_exact());
        ranged.map(|endpoint| (endpoint.place(), endpoint.entry())).collect()
    }

    /// The lists, by index.
    pub(super) fn ranges(&self) -> BTreeMap<u32, PortRange> {
        self.hosts.values().flat_map(Host::ranges).collect()
    }

    /// Those that are no more in `next`, with their backends.
    pub(super) fn lost(&self, next: &Self) -> impl Iterator<Item = (BackendId, Vip)> {
        let lost = self.known.iter().filter(|(name, endpoint)| next.known.get(name) != Some(endpoint));
        lost.map(|((_, id), endpoint)| (*id, endpoint.at))
    }
}

/// The endpoints of one address.
fn on(known: &BTreeMap<(IpAddr, BackendId), Endpoint>, ip: IpAddr) -> impl Iterator<Item = &Endpoint> {
    known.range((ip, BackendId::NONE)..).take_while(move |((addr, _), _)| *addr == ip).map(|(_, found)| found)
}

/// The endpoints of such backends.
fn known(
    services: &[config::Service],
    records: &Records,
    is_one: impl Fn(&Entry) -> bool,
) -> BTreeMap<(IpAddr, BackendId), Endpoint> {
    let by_endpoint = |service: &&config::Service| {
        service.forward == Forward::Dnat && !service.forward.knows_answers_by_record(service.tracking)
    };
    let translated = services.iter().filter(by_endpoint);
    let backends = translated.flat_map(|service| records.of_service(service.vip));
    let wanted = backends.filter(|(_, entry)| is_one(entry));
    wanted.map(|(id, entry)| ((entry.key.addr.ip(), id), Endpoint::of(entry))).collect()
}

fn known_leaving(services: &[config::Service], records: &Records) -> BTreeMap<(IpAddr, BackendId), Endpoint> {
    known(services, records, |entry| !entry.is_configured() && entry.state.keeps_flows())
}

/// Whether no other service has any of it, and a list has room for it. A backend may be written anew, with a port or without.
fn is_free(
    known: &BTreeMap<(IpAddr, BackendId), Endpoint>,
    services: &[config::Service],
    endpoint: &Endpoint,
) -> bool {
    let at = &endpoint.at;
    let ranges = on(known, at.addr).filter(|other| !other.at.is_exact()).count();
    let has_room = at.is_exact() || ranges < limits::RANGE_PROBES as usize;
    let is_vip = services.iter().any(|service| service.vip.covers(at.addr));
    has_room && !is_vip && !on(known, at.addr).any(|other| other.at.meets(at) && other != endpoint)
}

#[cfg(test)]
mod tests {
    use super::super::answers::{ACK, SYN, answered};
    use super::super::world::*;
    use super::super::{GRACE, Write};
    use super::*;
    use lb_common::abi::{BackendFlags, Contents};
    use lb_common::datapath::Reason;
    use std::net::SocketAddr;

    /// The service `n` with these ports, all kept by these hosts.
    fn kept(n: u8, (port, last_port): (u16, u16), hosts: &[u8]) -> config::Service {
        let mut service = service(n, &[]);
        service.vip = Vip { port, last_port, ..service.vip };
        service.backends = hosts.iter().map(|host| backend(*host, 1)).collect();
        service.backends.iter_mut().for_each(|backend| backend.addr.set_port(0));
        config::Service { forward: Forward::Dnat, health: None, ..service }
    }

    /// Why a packet to this port of the service `n` ended; its answer, if there is one, is looked at.
    fn sent(world: &World, (n, port): (u8, u16), flags: u8) -> Reason {
        let to = SocketAddr::from(([203, 0, 113, n], port));
        let ended = answered(&world.tables, (to, config::Protocol::Tcp), (1024, flags));
        ended.map_or_else(|why| why, |steered| steered.reason)
    }

    fn all_ends(world: &World) -> Vec<Reason> {
        let ports = [(1, 8000), (1, 9000), (2, 8000), (2, 9000)];
        ports.iter().flat_map(|to| [SYN, ACK].map(|flags| sent(world, *to, flags))).collect()
    }

    #[test]
    fn two_services_may_exchange_the_ports_of_a_server() {
        let (low, high) = ((8000, 8099), (9000, 9099));
        let mut world = World::new(vec![kept(1, low, &[1]), kept(2, high, &[1])]);
        let (yes, no) = (Reason::Settled, Reason::NotAVip);
        assert_eq!(all_ends(&world), [yes, yes, no, no, no, no, yes, yes]);
        world.services = vec![kept(1, high, &[1]), kept(2, low, &[1])];
        let plan = world.make_plan().unwrap();
        let mut met = Vec::new();
        for write in plan.writes {
            world.write(write);
            met.extend(all_ends(&world));
        }
        assert!(met.iter().all(|reason| [yes, no, Reason::NoFlow].contains(reason)), "{met:?}");
        assert!(met.contains(&Reason::NoFlow), "a packet was sent while its answer was unknown");
        assert_eq!(all_ends(&world), [no, no, yes, yes, yes, yes, no, no]);
    }

    #[test]
    fn a_server_that_loses_a_service_serves_the_others_all_the_time() {
        let (low, high) = ((8000, 8099), (9000, 9099));
        let mut world = World::new(vec![kept(1, low, &[1]), kept(2, high, &[1])]);
        world.services = vec![kept(2, high, &[1])];
        let plan = world.make_plan().unwrap();
        for write in plan.writes {
            world.write(write);
            assert_eq!(sent(&world, (2, 9000), SYN), Reason::Settled, "{write:?}");
        }
        assert_eq!(sent(&world, (1, 8000), SYN), Reason::NotAVip);
    }

    #[test]
    fn a_backend_whose_endpoint_is_wanted_gives_up_its_flows() {
        let mut world = World::new(vec![kept(1, (8000, 8099), &[1, 2])]);
        let id = world.id(0, 0);
        world.services = vec![kept(1, (8000, 8099), &[2]), kept(2, (8050, 8050), &[1])];
        world.plan();
        assert!(world.slots(0).values().all(|slot| slot.current() != id && slot.settled() != id));
        assert!(!world.tables.backends[&id].flags.has(BackendFlags::ALIVE));
        assert_eq!(sent(&world, (2, 8050), SYN), Reason::Settled);
    }

    #[test]
    fn a_backend_that_leaves_keeps_its_endpoint_until_it_is_forgotten() {
        for ports in [(8000, 8099), (80, 80)] {
            let mut world = World::new(vec![kept(1, ports, &[1, 2])]);
            let at = Vip::new([10, 0, 0, 1].into(), 80, config::Protocol::Tcp);
            let key = if ports.0 == ports.1 { encode::service_key(at) } else { encode::host_key(at.addr) };
            world.services[0].backends.remove(0);
            world.plan();
            assert!(world.tables.entry(&key).is_some(), "its flows live");
            for time in [IDLE, GRACE] {
                world.pass(time);
                assert!(world.tables.entry(&key).is_some());
                world.settle();
            }
            assert_eq!(world.tables.entry(&key), None, "what it sends is its own again");
            assert_eq!(world.plan().writes, []);
        }
    }

    #[test]
    fn services_that_record_every_flow_have_no_endpoints_and_may_share_a_server() {
        let recorded =
            |n| config::Service { tracking: config::Tracking::Always, ..kept(n, (8000, 8000), &[1]) };
        let mut world = World::new(vec![recorded(1), recorded(2)]);
        assert_eq!(world.tables.contents, Contents::KEPT_CLIENTS);
        let opened = |world: &World, n: u8, port| {
            let to = SocketAddr::from(([203, 0, 113, n], 8000));
            answered(&world.tables, (to, config::Protocol::Tcp), (port, SYN)).map(|steered| steered.reason)
        };
        assert_eq!(opened(&world, 1, 1024), Ok(Reason::NatOpened));
        assert_eq!(opened(&world, 2, 1025), Ok(Reason::NatOpened));
        assert_eq!(opened(&world, 2, 1024), Err(Reason::PortsTaken), "the server would take them for one");
        world.services = vec![kept(1, (8000, 8000), &[1])];
        world.plan();
        assert_eq!(world.tables.contents, Contents::ENDPOINTS);
        assert_eq!(sent(&world, (1, 8000), ACK), Reason::Settled);
    }

    #[test]
    fn every_backend_has_two_lists_of_its_own() {
        let last = hosts::number_of_backend(BackendId::from_bits(u16::MAX));
        let host =
            |before| Host::listing(ServiceFlags::default(), last, vec![PortRange::default(); 16], before);
        let (first, ends) = (host(None), |host: &Host| host.ranges().map(|(index, _)| index).last());
        let second =
            Host::listing(ServiceFlags::default(), last, vec![PortRange::default(); 15], Some(&first));
        assert_eq!((ends(&first), ends(&second)), (Some(limits::RANGES - 17), Some(limits::RANGES - 2)));
    }

    #[test]
    fn our_own_address_among_servers_stays_ours() {
        let mut world = World::new(vec![kept(1, (8000, 8099), &[1])]);
        let own = |world: &World| {
            let entry = world.tables.entry(&encode::host_key([10, 0, 0, 1].into())).copied().unwrap();
            (entry.flags(), entry.ranges)
        };
        assert_eq!(own(&world), (ServiceFlags::default(), 1));
        let hop = *world.hops.values().next().unwrap();
        let here = crate::kernel::NextHop { source: [10, 0, 0, 1].into(), ..hop };
        world.hops.insert([10, 0, 0, 2].into(), here);
        world.services.push(kept(2, (9000, 9099), &[2]));
        let plan = world.make_plan().unwrap();
        let owns =
            |write: &&Write| matches!(write, Write::Service(_, entry) if entry.flags() == ServiceFlags::OWN);
        assert_eq!(plan.writes.iter().filter(owns).count(), 1);
        plan.writes.into_iter().for_each(|write| world.write(write));
        assert_eq!(own(&world), (ServiceFlags::OWN, 1));
        world.services.remove(0);
        world.plan();
        assert_eq!(own(&world), (ServiceFlags::OWN, 0));
    }
}
