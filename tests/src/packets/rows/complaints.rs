//! Who is told of a packet that went nowhere, and who is not; and replies that do not fit the way to their client.

use super::super::annex::{
    DNAT, GUE_V6, IPIP_V4, L2, Mode, NAT, client, every_mode, other_client, service, with_endpoints,
};
use super::super::build::Network as _;
use super::super::house::{BACK_MAC, BACKEND_MAC, OWN_MAC, ROUTER_MAC};
use super::super::ip::{Complaint, Ip};
use super::super::ipv6::DESTINATION_OPTIONS;
use super::super::row::{Arrives, Row, frame, from_backend, from_client};
use super::modal::{backend_end, one_hop_on, own_end, title};
use super::{ACK, SYN};
use crate::family::Family;
use lb_common::abi::{BackendId, Slot};
use lb_common::datapath::Reason::{
    FragmentationNeeded, HopsUsedUp, NatReply, NoBackend, TimeToLive, TooBig, Unserved,
};
use std::net::{IpAddr, SocketAddr};

/// No backend in any slot.
const NOBODY: Slot = Slot::settled_on(BackendId::NONE);
/// Bytes that the way to clients takes.
const NARROW: u32 = 1400;

pub(super) fn rows() -> Vec<Row> {
    let of = |rows: fn(Family) -> Vec<Row>| Family::BOTH.into_iter().flat_map(rows);
    of(no_sender).chain(of(unserved)).chain(of(not_whole)).chain(of(replies)).chain(of(fitting)).collect()
}

fn syn(mode: Mode, from: IpAddr) -> Ip {
    let to = service(if from.is_ipv4() { Family::V4 } else { Family::V6 }, mode);
    Ip::tcp(SocketAddr::new(from, 51_000), to, SYN, b"")
}

fn comes(mode: Mode, family: Family, sentence: &str, packet: &Ip) -> Arrives {
    from_client(title(mode, family, sentence), packet).with_annex(every_mode)
}

/// Addresses that no packet can come from: a group's, each host's own, and nobody's.
fn not_hosts(family: Family) -> [(&'static str, IpAddr); 3] {
    let texts = match family {
        Family::V4 => ["224.0.0.5", "127.0.0.1", "0.0.0.0"],
        Family::V6 => ["ff02::1", "::1", "::"],
    };
    let [group, itself, nobody] = texts.map(|text| text.parse().unwrap_or(client(family).ip()));
    [("a group", group), ("the loopback", itself), ("nobody", nobody)]
}

/// RFC 1812, section 4.3.2.7; RFC 4443, section 2.4 (e).
fn no_sender(family: Family) -> Vec<Row> {
    let mut rows = Vec::new();
    for (who, address) in not_hosts(family) {
        for mode in [NAT, DNAT, IPIP_V4] {
            let row = |sentence: &str, packet: &Ip| {
                comes(mode, family, &format!("{who} is not told that {sentence}"), packet)
            };
            rows.push(row("nobody serves", &syn(mode, address)).with_slot(NOBODY).stops(NoBackend));
        }
        let big = Ip::udp(SocketAddr::new(address, 51_000), service(family, GUE_V6), &[7; 1480]);
        let sentence = format!("{who} is not told what fits");
        rows.push(comes(GUE_V6, family, &sentence, &big).stops(TooBig));
        let sentence = format!("{who} is not told that hops were used up");
        rows.push(comes(L2, family, &sentence, &syn(L2, address).hops(1)).stops(TimeToLive));
    }
    rows
}

fn unserved(family: Family) -> Vec<Row> {
    let from = client(family);
    let query = Ip::udp(from, service(family, IPIP_V4), b"query");
    let optional = syn(NAT, from.ip()).with_options();
    let data = Ip::tcp(from, service(family, L2), ACK, b"data");
    let tags = [(0x88a8, 0xa064), (0x8100, 200)];
    let told = |packet: &Ip| Ip::told(packet, Complaint::Port);
    let row = |mode, sentence, packet: &Ip| {
        comes(mode, family, sentence, packet).with_slot(NOBODY).reaches_client(Unserved, &told(packet))
    };
    vec![
        row(IPIP_V4, "without a backend a datagram is refused", &query),
        row(NAT, "all that is between is quoted of what is refused", &optional),
        row(L2, "without a backend data is refused", &data),
        row(DNAT, "a refusal has all hops", &syn(DNAT, from.ip()).hops(2)),
        frame(
            title(NAT, family, "a refusal gets both tags back"),
            &syn(NAT, from.ip()).framed(OWN_MAC, ROUTER_MAC, &tags),
        )
        .with_annex(every_mode)
        .with_slot(NOBODY)
        .reaches_client_as(Unserved, &told(&syn(NAT, from.ip())).framed(ROUTER_MAC, OWN_MAC, &tags)),
    ]
}

/// What cannot be quoted, or is not the whole of what would be.
fn not_whole(family: Family) -> Vec<Row> {
    let [first, _] = Ip::udp(client(family), service(family, IPIP_V4), &[7; 40]).pieces(7, 24);
    let mut rows = vec![
        comes(IPIP_V4, family, "without a backend a fragment is dropped", &first)
            .with_slot(NOBODY)
            .stops(NoBackend),
        comes(L2, family, "a fragment on its last hop is dropped", &first_to_l2(family).hops(1))
            .stops(TimeToLive),
    ];
    if let Ip::V6(packet) = syn(NAT, client(family).ip()) {
        let long = Ip::V6(packet.extended(DESTINATION_OPTIONS, &[0; 30]));
        let row = comes(NAT, family, "what has more headers than are quoted is dropped", &long);
        rows.push(row.with_slot(NOBODY).stops(NoBackend));
    }
    rows
}

fn first_to_l2(family: Family) -> Ip {
    let [first, _] = Ip::udp(client(family), service(family, L2), &[7; 40]).pieces(7, 24);
    first
}

/// A backend's packet of this length, and what its client would get of it.
fn reply(family: Family, length: usize) -> (Ip, Ip) {
    let payload = vec![7; length - family.header_bytes() - 20];
    let segment = |from, to| Ip::tcp(from, to, ACK, &payload);
    let returned = one_hop_on(segment(service(family, NAT), client(family)));
    (segment(backend_end(family), own_end(family)), returned)
}

fn answers(family: Family, sentence: &str, packet: &Ip) -> Arrives {
    from_backend(title(NAT, family, sentence), packet)
        .with_annex(every_mode)
        .with_mtu(NARROW)
        .after(&syn(NAT, client(family).ip()))
}

/// Replies to a client behind a link that takes less than those of the backends.
fn replies(family: Family) -> Vec<Row> {
    let narrow = NARROW as usize;
    let (full, returned) = reply(family, narrow);
    let (long, _) = reply(family, narrow + 1);
    let (jumbo, _) = reply(family, 3400);
    let told = |packet: &Ip| Ip::told(packet, Complaint::TooBig(1400));
    let answer = |bytes: usize| Ip::udp(backend_end(family), own_end(family), &vec![7; bytes]);
    let query = Ip::udp(client(family), service(family, NAT), b"query");
    let datagram = answer(narrow);
    let [first, _] = answer(2000).pieces(9, 1600);
    let tags = [(0x8100, 300)];
    vec![
        answers(family, "a reply that just fits the client's link is translated", &full)
            .reaches_client(NatReply, &returned),
        answers(family, "the sender of a reply one byte too long is told what fits", &long)
            .reaches_sender(FragmentationNeeded, &told(&long)),
        answers(family, "the sender of a far too long reply is told what fits", &jumbo)
            .reaches_sender(FragmentationNeeded, &told(&jumbo)),
        answers(family, "so is the sender of a datagram", &datagram)
            .after(&query)
            .reaches_sender(FragmentationNeeded, &told(&datagram)),
        answers(family, "a reply's fragment that is too long is dropped", &first).after(&query).stops(TooBig),
        frame(
            title(NAT, family, "a backend behind a tag is told what fits"),
            &long.framed(BACK_MAC, BACKEND_MAC, &tags),
        )
        .with_annex(every_mode)
        .with_mtu(NARROW)
        .after(&syn(NAT, client(family).ip()))
        .reaches_client_as(FragmentationNeeded, &told(&long).framed(BACKEND_MAC, BACK_MAC, &tags)),
    ]
}

/// The way to backends is another one, and what is left to the kernel it tells of itself.
fn fitting(family: Family) -> Vec<Row> {
    let long = |from, to| Ip::udp(from, to, &[7; 1440]);
    let to_backend = long(other_client(family), service(family, IPIP_V4));
    let last = Ip::tcp(backend_end(family), client(family), ACK, b"page").hops(1);
    vec![
        comes(
            L2,
            family,
            "a client's packet is compared with the backend's link",
            &long(client(family), service(family, L2)),
        )
        .with_mtu(NARROW)
        .reaches_backend(
            lb_common::datapath::Reason::Settled,
            &one_hop_on(long(client(family), service(family, L2))),
        ),
        comes(IPIP_V4, family, "another client's sender is told by itself", &to_backend.clone().hops(9))
            .with_slot(NOBODY)
            .reaches_client(Unserved, &Ip::told(&to_backend.hops(9), Complaint::Port)),
        from_backend(title(DNAT, family, "a reply on its last hop is told of with all hops"), &last)
            .with_annex(with_endpoints)
            .reaches_sender(HopsUsedUp, &Ip::told(&last, Complaint::Hops)),
    ]
}
