//! How new flows are spread: by the client's address, in turn, by load, and by what QUIC says.

use super::super::annex::{backend, by_family, every_mode, in_family, key, moved, own, put, vip};
use super::super::house::{FIRST, SECOND};
use super::super::ip::Ip;
use super::super::row::{Arrives, Row, Setup, from_client};
use super::{ACK, SYN};
use crate::family::Family;
use lb_common::abi::{
    BackendFlags, BackendId, Forward, Load, QuicServer, Select, Service, ServiceFlags, Slot,
};
use lb_common::datapath::HostTables;
use lb_common::datapath::Reason::{Opened, QuicServer as Named, Recorded, Settled};
use lb_common::wire::{U32be, protocol};
use std::net::SocketAddr;

const BY_SOURCE: u16 = 2001;
const BY_NET: u16 = 2002;
const IN_TURN: u16 = 2003;
const BY_LOAD: u16 = 2004;
const QUIC: u16 = 443;

/// Slots of each of these services; the backends take turns in them.
const SLOTS: u16 = 4;

/// A service for each way of choosing, all in outer headers of the VIP's family. The first backend is busier.
fn selectors(tables: &mut HostTables, setup: &Setup) {
    every_mode(tables, setup);
    for family in Family::BOTH {
        let net = if family == Family::V4 { 24 } else { 64 };
        let tracks = ServiceFlags::TRACK_ALWAYS;
        add(tables, family, (BY_SOURCE, Select::Source), (family.bits(), ServiceFlags(0)));
        add(tables, family, (BY_NET, Select::Source), (net, ServiceFlags(0)));
        add(tables, family, (IN_TURN, Select::RoundRobin), (0, tracks));
        add(tables, family, (BY_LOAD, Select::LeastConnections), (0, tracks));
        add(tables, family, (QUIC, Select::Quic), (0, ServiceFlags(0)));
        loads(tables, family, [5, 1]);
    }
}

/// The same, and the second backend is busier.
fn second_busier(tables: &mut HostTables, setup: &Setup) {
    selectors(tables, setup);
    for family in Family::BOTH {
        loads(tables, family, [1, 5]);
    }
}

fn loads(tables: &mut HostTables, family: Family, flows: [u64; 2]) {
    for (id, flows) in [FIRST, SECOND].into_iter().zip(flows) {
        tables.loads.borrow_mut().insert(in_family(id, family), Load { flows, weight: 1 });
    }
}

fn add(
    tables: &mut HostTables,
    family: Family,
    (port, select): (u16, Select),
    (prefix_bits, flags): (u8, ServiceFlags),
) {
    let protocol = if port == QUIC { protocol::UDP } else { protocol::TCP };
    let of_v6 = if family == Family::V6 { 50 } else { 0 };
    // The remainders of these ports differ.
    let number = 100 + port % 9 * SLOTS + of_v6;
    let key = key(vip(family), port, protocol);
    let mut service =
        Service::new(key, Forward::DsrIpip, number, number.into(), SLOTS.into(), flags).selecting(select);
    service = service.with_prefix_bits(prefix_bits);
    service.server_id_bytes = 2;
    for (slot, id) in (number..number + SLOTS).zip([FIRST, SECOND].into_iter().cycle()) {
        let id = if port == QUIC { FIRST } else { id };
        tables.slots.insert(slot.into(), Slot::settled_on(in_family(id, family)));
    }
    if port == QUIC {
        let server = |id: u32| QuicServer::named(&service, [U32be::new(id), U32be::ZERO]);
        tables.quic_servers.insert(server(0x0a0b_0000), in_family(FIRST, family));
        tables.quic_servers.insert(server(0x0c0d_0000), in_family(SECOND, family));
    }
    put(tables, service);
}

pub(super) fn rows() -> Vec<Row> {
    let of = |family| [by_source(family), in_turn(family), by_load(family), quic(family)].concat();
    Family::BOTH.into_iter().flat_map(of).collect()
}

fn comes(family: Family, sentence: &str, packet: &Ip) -> Arrives {
    from_client(format!("selectors over {family}: {sentence}"), packet).with_annex(selectors)
}

/// The packet as one of the backends gets it.
fn at(family: Family, id: BackendId, packet: &Ip) -> Ip {
    let to = if id == FIRST { backend(family) } else { moved(family) };
    packet.within(own(family), to)
}

/// A client by the last byte of its address.
fn host(family: Family, last: u8, port: u16) -> SocketAddr {
    SocketAddr::new(by_family(family, [198, 51, 100, last], last), port)
}

fn syn(family: Family, from: SocketAddr, port: u16) -> Ip {
    Ip::tcp(from, SocketAddr::new(vip(family), port), SYN, b"")
}

/// Which backend an address or a network gets was worked out once; that it stays is the claim.
fn by_source(family: Family) -> Vec<Row> {
    let row = |sentence: &str, service, (last, port), id| {
        let packet = syn(family, host(family, last, port), service);
        comes(family, sentence, &packet).reaches_backend(Settled, &at(family, id, &packet))
    };
    let [of_host, of_another, of_net] = SOURCES[usize::from(family == Family::V6)];
    vec![
        row("a client's first port gets the client's backend", BY_SOURCE, (7, 1000), of_host),
        row("its second port gets the same", BY_SOURCE, (7, 1001), of_host),
        row("its last port gets the same", BY_SOURCE, (7, 65_535), of_host),
        row(
            "another client may get another",
            BY_SOURCE,
            (ANOTHER[usize::from(family == Family::V6)], 1000),
            of_another,
        ),
        row("a network's first client gets the network's backend", BY_NET, (7, 1000), of_net),
        row("its second client gets the same", BY_NET, (8, 1000), of_net),
        row("its last client gets the same", BY_NET, (255, 9), of_net),
    ]
}

/// Of a client, of another, and of their network.
const SOURCES: [[BackendId; 3]; 2] = [[FIRST, SECOND, FIRST], [SECOND, FIRST, FIRST]];
/// A client that gets the other backend.
const ANOTHER: [u8; 2] = [10, 9];

fn in_turn(family: Family) -> Vec<Row> {
    let of = |last| syn(family, host(family, last, 1000), IN_TURN);
    let data = Ip::tcp(host(family, 1, 1000), SocketAddr::new(vip(family), IN_TURN), ACK, b"data");
    vec![
        comes(family, "the first flow gets the first turn", &of(1))
            .reaches_backend(Opened, &at(family, FIRST, &of(1))),
        comes(family, "the second flow gets the second turn", &of(2))
            .after(&of(1))
            .reaches_backend(Opened, &at(family, SECOND, &of(2))),
        comes(family, "a flow keeps its turn", &data)
            .after(&of(1))
            .after(&of(2))
            .reaches_backend(Recorded, &at(family, FIRST, &data)),
        comes(family, "turns begin again after the last", &of(5))
            .after(&of(1))
            .after(&of(2))
            .after(&of(3))
            .after(&of(4))
            .reaches_backend(Opened, &at(family, FIRST, &of(5))),
    ]
}

/// A client whose two hashes name both backends.
const UNDECIDED: [u8; 2] = [1, 1];

fn by_load(family: Family) -> Vec<Row> {
    let from = host(family, UNDECIDED[usize::from(family == Family::V6)], 1000);
    let packet = syn(family, from, BY_LOAD);
    let data = Ip::tcp(from, SocketAddr::new(vip(family), BY_LOAD), ACK, b"data");
    vec![
        comes(family, "of two backends the less loaded gets a flow", &packet)
            .reaches_backend(Opened, &at(family, SECOND, &packet)),
        comes(family, "it is the other where the other is less loaded", &packet)
            .with_annex(second_busier)
            .reaches_backend(Opened, &at(family, FIRST, &packet)),
        comes(family, "a flow stays where it began", &data)
            .after(&packet)
            .reaches_backend(Recorded, &at(family, SECOND, &data)),
    ]
}

/// A short header and a connection identifier that names this server.
fn short(server: [u8; 2]) -> Vec<u8> {
    [&[0x40, 0x00], &server[..], &[0x77; 12]].concat()
}

/// A long header of a type.
fn long(first: u8, server: [u8; 2]) -> Vec<u8> {
    [&[first, 0, 0, 0, 1, 8, 0x00], &server[..], &[0x77; 20]].concat()
}

/// The same in version 2, whose types have other numbers.
fn long_of_2(first: u8, server: [u8; 2]) -> Vec<u8> {
    let mut packet = long(first, server);
    packet.splice(1..5, [0x6b, 0x33, 0x43, 0xcf]);
    packet
}

fn quic(family: Family) -> Vec<Row> {
    let (known, unknown) = ([0x0c, 0x0d], [0xee, 0xee]);
    let packet =
        |payload: &[u8]| Ip::udp(host(family, 7, 50_000), SocketAddr::new(vip(family), QUIC), payload);
    let row = |sentence, payload: Vec<u8>, reason, id| {
        let packet = packet(&payload);
        comes(family, sentence, &packet).reaches_backend(reason, &at(family, id, &packet))
    };
    let to_dead = packet(&short(known));
    vec![
        row("a short header names its server", short(known), Named, SECOND),
        row("a short header names another server", short([0x0a, 0x0b]), Named, FIRST),
        row("a handshake names its server", long(0xe0, known), Named, SECOND),
        row("a retry names its server", long(0xf0, known), Named, SECOND),
        row("an Initial of version 2 goes by its hash", long_of_2(0xd0, known), Settled, FIRST),
        row("early data of version 2 goes by its hash", long_of_2(0xe0, known), Settled, FIRST),
        row("a handshake of version 2 names its server", long_of_2(0xf0, known), Named, SECOND),
        row("a long header cut within its version goes by the hash", vec![0xe0, 0, 0, 0], Settled, FIRST),
        row("an Initial goes by its hash", long(0xc0, known), Settled, FIRST),
        row("early data goes by its hash", long(0xd0, known), Settled, FIRST),
        row("an unknown server goes by the hash", short(unknown), Settled, FIRST),
        row(
            "a short header cut within the identifier goes by the hash",
            short(known)[..9].to_vec(),
            Settled,
            FIRST,
        ),
        row("an empty datagram goes by the hash", Vec::new(), Settled, FIRST),
        comes(family, "a dead server's packets go by the hash", &to_dead)
            .with_backends(BackendFlags::RESOLVED)
            .reaches_backend(Settled, &at(family, FIRST, &to_dead)),
    ]
}
