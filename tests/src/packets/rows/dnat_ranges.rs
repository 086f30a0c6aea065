//! Translation of the destination where a service has many ports: each is kept, and what a backend sends from any of them
//! gets the VIP as its source. Replies are left to the kernel here, as nothing is routed in these tables.

use super::super::annex::{
    backend, both_families, by_family, client, key, moved, other_client, own, put, router, slot, vip, wide,
};
use super::super::house::MOVING;
use super::super::ip::{Complaint, Ip};
use super::super::row::{Arrives, Row, Setup, backend_frame, from_backend, from_client};
use super::modal::one_hop_on;
use super::{ACK, FIN_ACK, SYN, SYN_ACK};
use crate::family::Family;
use lb_common::abi::{BackendFlags, Contents, Forward, PortRange, Service, ServiceFlags, ServiceKey, limits};
use lb_common::datapath::HostTables;
use lb_common::datapath::Reason::{
    DnatRouted, HopsUsedUp, IcmpForward, IcmpNotOurs, LaterFragment, NoFlow, NotAVip, Older, Opened, Settled,
    TimeToLive,
};
use lb_common::wire::{U16be, protocol};
use std::net::{IpAddr, SocketAddr};

/// Bytes of a datagram in its first fragment.
const FIRST: usize = 24;
/// As much of a quoted packet as there is.
const WHOLE: usize = 199;

/// Ports of one protocol that lead from one address to another, and back.
#[derive(Clone, Copy)]
struct Ports(u16, u16, u8);

/// Of the VIP.
const OF_VIP: [Ports; 2] = [Ports(8000, 8099, protocol::TCP), Ports(8000, 8099, protocol::UDP)];
/// Of another VIP with the same backend.
const OF_OTHER: [Ports; 1] = [Ports(9000, 9099, protocol::TCP)];
/// All, of a third VIP, with a backend of its own.
const OF_THIRD: [Ports; 1] = [Ports(1, 65_535, protocol::TCP)];

const fn other(family: Family) -> IpAddr {
    by_family(family, [203, 0, 113, 31], 0x31)
}

const fn third(family: Family) -> IpAddr {
    by_family(family, [203, 0, 113, 32], 0x32)
}

const fn at(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}

/// Tables with these services for both families, whose backends keep the client's port.
fn ranges(tables: &mut HostTables, setup: &Setup) {
    both_families(tables, setup);
    tables.backends.values_mut().for_each(|backend| backend.port = U16be::ZERO);
    tables.contents = tables.contents.with(Contents::RANGES).with(Contents::ENDPOINTS);
    let mut next = 0;
    for family in Family::BOTH {
        let services = [(vip(family), &OF_VIP[..]), (other(family), &OF_OTHER), (third(family), &OF_THIRD)];
        for (address, all) in services {
            let flags = ServiceFlags::VIP.with(ServiceFlags::PING);
            let first = next;
            list(tables, (address, flags), &mut next, &[(all, &translating)]);
            tables.slots.extend((first..next).map(|number| (slot_of(number), slot(setup, family))));
        }
        let back = |address| move |_, key| Service::endpoint(key, (wide(address), U16be::ZERO));
        let (to_vip, to_other, to_third) = (back(vip(family)), back(other(family)), back(third(family)));
        for server in [backend(family), moved(family)] {
            let of_server = (server, ServiceFlags(0));
            list(tables, of_server, &mut next, &[(&OF_VIP, &to_vip), (&OF_OTHER, &to_other)]);
        }
        list(tables, (lone(family), ServiceFlags(0)), &mut next, &[(&OF_THIRD, &to_third)]);
    }
}

/// The same where no backend has an endpoint any more, as records of flows may name one.
fn unknown(tables: &mut HostTables, setup: &Setup) {
    ranges(tables, setup);
    for backend in tables.backends.values_mut() {
        backend.flags = BackendFlags(backend.flags.0 & !BackendFlags::ENDPOINT.0);
    }
}

/// A service of this number with one slot.
fn translating(number: u16, key: ServiceKey) -> Service {
    Service::new(key, Forward::Dnat, 100 + number, slot_of(number), 1, ServiceFlags(0))
}

fn slot_of(number: u16) -> u32 {
    100 + u32::from(number)
}

/// A server that answers for the third VIP alone.
const fn lone(family: Family) -> IpAddr {
    by_family(family, [10, 0, 0, 13], 0x13)
}

/// Makes the entry that a range leads to, of its number and key.
type Entry<'a> = &'a dyn Fn(u16, ServiceKey) -> Service;

/// The entry of an address, the list of its ranges, and what they lead to. `next` counts ranges and places.
fn list(
    tables: &mut HostTables,
    (address, flags): (IpAddr, ServiceFlags),
    next: &mut u16,
    of: &[(&[Ports], Entry<'_>)],
) {
    let first = *next;
    for (ports, entry) in of.iter().flat_map(|(all, entry)| all.iter().map(move |ports| (ports, entry))) {
        let (number, Ports(low, high, protocol)) = (*next, *ports);
        let place = limits::SERVICE_TABLE + u32::from(number);
        tables.services.insert(place, entry(number, key(address, low, protocol)));
        tables.ranges.insert(number.into(), PortRange::new(low, high, protocol, place));
        *next += 1;
    }
    put(tables, Service::host(key(address, 0, 0), flags, (first.into(), *next - first)));
}

pub(super) fn rows() -> Vec<Row> {
    let of = |family| [requests(family), replies(family), refused(family), pieces(family), errors(family)];
    Family::BOTH.into_iter().flat_map(|family| of(family).concat()).collect()
}

fn named(family: Family, sentence: &str) -> String {
    format!("dnat of many ports over {family}: {sentence}")
}

fn comes(family: Family, sentence: &str, packet: &Ip) -> Arrives {
    from_client(named(family, sentence), packet).with_annex(ranges)
}

fn answers(family: Family, sentence: &str, packet: &Ip) -> Arrives {
    from_backend(named(family, sentence), packet).with_annex(ranges)
}

fn requests(family: Family) -> Vec<Row> {
    let (vip, server) = (vip(family), backend(family));
    let syn = |to| Ip::tcp(client(family), to, SYN, b"");
    let row = |sentence, address, port, make: &dyn Fn(_) -> Ip| {
        comes(family, sentence, &make(at(address, port)))
            .reaches_backend(Settled, &one_hop_on(make(at(server, port))))
    };
    let data = |from| move |to| Ip::tcp(from, to, ACK, b"data");
    let (old, second) = (data(other_client(family)), moved(family));
    vec![
        row("the first port is kept", vip, 8000, &syn),
        row("the last port is kept", vip, 8099, &syn),
        row("a port between is kept", vip, 8042, &data(client(family))),
        row("a datagram keeps its port", vip, 8053, &|to| Ip::udp(client(family), to, b"query")),
        row("another VIP's ports lead to the same server", other(family), 9050, &syn),
        row("all ports contain the first", third(family), 1, &syn),
        row("all ports contain the last", third(family), 65_535, &syn),
        row("options shift no port", vip, 8001, &|to| syn(to).with_options()),
        comes(family, "while a slot moves a SYN goes to its current owner", &syn(at(vip, 8001)))
            .with_slot(MOVING)
            .reaches_backend(Opened, &one_hop_on(syn(at(second, 8001)))),
        comes(family, "data of an older flow stays with the settled owner", &old(at(vip, 8001)))
            .with_slot(MOVING)
            .reaches_backend(Older, &one_hop_on(old(at(server, 8001)))),
    ]
}

fn replies(family: Family) -> Vec<Row> {
    let (vip, server, client) = (vip(family), backend(family), client(family));
    let row = |sentence, from: IpAddr, source: IpAddr, port, make: &dyn Fn(_, _) -> Ip| {
        answers(family, sentence, &make(at(from, port), client))
            .passes_as(DnatRouted, &backend_frame(&make(at(source, port), client)))
    };
    let accepts = |from, to| Ip::tcp(from, to, SYN_ACK, b"");
    vec![
        row("an answer from the first port gets the VIP", server, vip, 8000, &accepts),
        row("an answer from the last port gets the VIP", server, vip, 8099, &accepts),
        row("an answer with data gets the VIP", server, vip, 8042, &|a, b| Ip::tcp(a, b, ACK, b"page")),
        row("a FIN gets the VIP", server, vip, 8042, &|a, b| Ip::tcp(a, b, FIN_ACK, b"")),
        row("an answer by UDP gets the VIP", server, vip, 8053, &|a, b| Ip::udp(a, b, b"answer")),
        row("an answer without checksum stays without", server, vip, 8053, &|a, b| {
            Ip::udp(a, b, b"answer").unsummed()
        }),
        row("another server's answer gets the same VIP", moved(family), vip, 8001, &accepts),
        row("an answer from the other range gets the other VIP", server, other(family), 9000, &accepts),
        row("an answer from any port gets the VIP of all", lone(family), third(family), 65_535, &accepts),
        row("an answer from port 1 gets the VIP of all", lone(family), third(family), 1, &accepts),
    ]
}

fn refused(family: Family) -> Vec<Row> {
    let (server, client, own) = (backend(family), client(family), own(family));
    let syn = |address, port| Ip::tcp(client, at(address, port), SYN, b"");
    let reply = |port, to| Ip::tcp(at(server, port), to, SYN_ACK, b"");
    let sent = Ip::udp(at(server, 9050), client, b"x");
    let last = reply(8000, client).hops(1);
    let ping = Ip::ping(client.ip(), server, 0, b"data");
    vec![
        comes(family, "what would be answered by nobody known is dropped", &syn(vip(family), 8000))
            .with_annex(unknown)
            .stops(NoFlow),
        comes(family, "the port before passes", &syn(vip(family), 7999)).stops(NotAVip),
        comes(family, "the port behind passes", &syn(vip(family), 8100)).stops(NotAVip),
        comes(family, "what goes to a server itself passes", &syn(server, 8000)).stops(NotAVip),
        comes(family, "a server's ping is its own to answer", &ping).stops(IcmpNotOurs),
        answers(family, "what a server sends from the port before passes", &reply(7999, client))
            .stops(NotAVip),
        answers(family, "what a server sends from the port behind passes", &reply(8100, client))
            .stops(NotAVip),
        answers(family, "a datagram from a range of TCP passes", &sent).stops(NotAVip),
        answers(family, "what a server answers to us passes", &reply(8000, at(own, 55_000))).stops(NotAVip),
        answers(family, "the sender of an answer on its last hop is told", &last)
            .reaches_sender(HopsUsedUp, &Ip::told(&last, Complaint::Hops)),
    ]
}

fn pieces(family: Family) -> Vec<Row> {
    let (client, server) = (client(family), backend(family));
    let of = |from, to| Ip::udp(from, to, &[0x5a; 40]).pieces(77, FIRST);
    let requests = of(client, at(vip(family), 8053));
    let leaving = of(client, at(server, 8053)).map(one_hop_on);
    let replies = of(at(server, 8053), client);
    let returned = of(at(vip(family), 8053), client);
    vec![
        comes(family, "a first fragment keeps its port", &requests[0]).reaches_backend(Settled, &leaving[0]),
        comes(family, "a later fragment follows the first", &requests[1])
            .after(&requests[0])
            .reaches_backend(Settled, &leaving[1]),
        answers(family, "an answer's first fragment gets the VIP", &replies[0])
            .passes_as(DnatRouted, &backend_frame(&returned[0])),
        answers(family, "an answer's later fragment follows", &replies[1])
            .after_lost_frame(&backend_frame(&replies[0]))
            .passes_as(DnatRouted, &backend_frame(&returned[1])),
        answers(family, "an answer's later fragment without its first passes", &replies[1])
            .stops(LaterFragment),
    ]
}

/// Routers' errors about answers go to the server, about the address and port that it sent them from.
fn errors(family: Family) -> Vec<Row> {
    let answer = |from| Ip::tcp(from, client(family), ACK, b"much").hops(60);
    let about = |port, complaint, length| {
        let sent = answer(at(vip(family), port));
        Ip::error((router(family), vip(family)), complaint, &sent, length)
    };
    let row = |sentence, complaint, length| {
        let ends = (client(family).ip(), backend(family));
        let reaches = one_hop_on(Ip::error(ends, complaint, &answer(at(backend(family), 8042)), length));
        comes(family, sentence, &about(8042, complaint, length)).reaches_backend(IcmpForward, &reaches)
    };
    let unheard = about(8042, Complaint::Port, WHOLE);
    let request = |to| Ip::tcp(client(family), at(to, 8042), SYN, b"");
    let refusal = |from, complaint| Ip::error((from, client(family).ip()), complaint, &request(from), WHOLE);
    let left = |sentence, complaint| {
        answers(family, sentence, &refusal(backend(family), complaint))
            .passes_as(DnatRouted, &backend_frame(&refusal(vip(family), complaint)))
    };
    vec![
        row("that an answer was too big reaches the server", Complaint::TooBig(1400), WHOLE),
        row("that a port is unreachable reaches the server", Complaint::Port, WHOLE),
        row("eight quoted bytes are enough", Complaint::TooBig(1300), family.header_bytes() + 8),
        comes(family, "an error for a server whose answers would not be known is dropped", &unheard)
            .with_annex(unknown)
            .stops(NoFlow),
        comes(family, "an error about a port of nobody's passes", &about(8100, Complaint::Port, WHOLE))
            .stops(IcmpNotOurs),
        left("a server's error without a way is translated for the kernel to route", Complaint::Port),
        left("so is one that a request was too big", Complaint::TooBig(1400)),
        answers(
            family,
            "a server's error on its last hop is dropped",
            &refusal(backend(family), Complaint::Port).hops(1),
        )
        .stops(TimeToLive),
    ]
}
