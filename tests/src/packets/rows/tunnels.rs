//! Outer headers: how their sources spread, what becomes of those that others send, and how a backend takes them off.

use super::super::annex::{
    GUE_V4, GUE_V6, IPIP_V4, IPIP_V6, MODES, Mode, backend, client, every_mode, own, service, vip,
};
use super::super::build::Network as _;
use super::super::house::{BACK_MAC, BACKEND_MAC, GUE_PORT};
use super::super::ip::Ip;
use super::super::row::{Row, at_decap, backend_frame, from_backend, from_client};
use super::modal::{flow_hash, title};
use super::{ACK, SYN};
use crate::family::Family;
use lb_common::abi::Forward;
use lb_common::datapath::Reason::{
    CongestionUnheard, Decapsulated, NotAVip, NotEncapsulated, OtherProtocol, Settled,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) fn rows() -> Vec<Row> {
    let both = |rows: fn(Family) -> Vec<Row>| Family::BOTH.into_iter().flat_map(rows);
    let decap = both(taken_off).chain(both(marked)).chain(both(padding));
    both(spread).chain(both(of_peers)).chain(decap).chain(known_hashes()).collect()
}

/// The last sixteen bits of an outer source.
const SPREAD: [u32; 2] = [0xffff; 2];

/// The hash's bytes stand in memory's order, which nobody need understand, only spread.
fn spread_over(address: IpAddr, hash: u32) -> IpAddr {
    let hash = u32::from_be(hash);
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & !SPREAD[0] | hash & SPREAD[0]).into(),
        IpAddr::V6(address) => {
            let [kept, spread] = [!SPREAD[1], hash & SPREAD[1]].map(u128::from);
            Ipv6Addr::from_bits(address.to_bits() & (kept | !u128::from(u32::MAX)) | spread).into()
        }
    }
}

fn spread(family: Family) -> Vec<Row> {
    let row = |mode: Mode, outer| {
        let syn = Ip::tcp(client(family), service(family, mode), SYN, b"");
        let hash = flow_hash(client(family), service(family, mode), 6);
        let source = spread_over(own(outer), hash);
        let port = 0xc000 | u16::try_from(hash >> 16).unwrap_or(0);
        let wrapped = if mode.forward == Forward::DsrGue {
            syn.within_udp(SocketAddr::new(source, port), SocketAddr::new(backend(outer), GUE_PORT))
        } else {
            syn.within(source, backend(outer))
        };
        from_client(title(mode, family, "outer sources spread with the flow"), &syn)
            .with_annex(every_mode)
            .with_spread(SPREAD)
            .reaches_backend(Settled, &wrapped)
    };
    vec![row(IPIP_V4, Family::V4), row(IPIP_V6, Family::V6), row(GUE_V4, Family::V4), row(GUE_V6, Family::V6)]
}

/// What the hash is, in numbers: it decides about packets of hosts that run another version.
fn known_hashes() -> Vec<Row> {
    let row = |family, port| {
        let syn = Ip::tcp(client(family), service(family, GUE_V4), SYN, b"");
        let source = SocketAddr::new(own(Family::V4), port);
        let wrapped = syn.within_udp(source, SocketAddr::new(backend(Family::V4), GUE_PORT));
        from_client(title(GUE_V4, family, "the outer port is this very number"), &syn)
            .with_annex(every_mode)
            .reaches_backend(Settled, &wrapped)
    };
    vec![row(Family::V4, KNOWN_PORTS[0]), row(Family::V6, KNOWN_PORTS[1])]
}

/// Of the rows above.
const KNOWN_PORTS: [u16; 2] = [0xd24a, 0xcc8f];

/// Packets in outer headers that come to us.
fn of_peers(family: Family) -> Vec<Row> {
    let peer = backend(family);
    let inner = Ip::tcp(client(family), service(family, MODES[0]), SYN, b"");
    let passes = |sentence: &str, to: IpAddr| {
        from_backend(format!("tunnels over {family}: {sentence}"), &inner.within(peer, to))
            .with_annex(every_mode)
            .stops(OtherProtocol)
    };
    let in_udp = |sentence: &str, to: IpAddr| {
        let outer = inner.within_udp(SocketAddr::new(peer, 50_000), SocketAddr::new(to, GUE_PORT));
        from_backend(format!("tunnels over {family}: {sentence}"), &outer)
            .with_annex(every_mode)
            .stops(NotAVip)
    };
    vec![
        passes("IP in IP to our own address passes", own(family)),
        passes("IP in IP to a VIP passes", vip(family)),
        in_udp("IP in UDP to our own address passes", own(family)),
        in_udp("IP in UDP to a VIP passes", vip(family)),
    ]
}

/// Marks of congestion, in the two lowest bits of traffic classes: none, two that say that marks are heeded, and the mark.
const NOT_ECT: u8 = 0;
const ECT_1: u8 = 1;
const ECT_0: u8 = 2;
const CE: u8 = 3;

/// What a router on the tunnel's way marked is not lost with the outer header.
fn marked(family: Family) -> Vec<Row> {
    let mut rows = Vec::new();
    for inside in Family::BOTH {
        let packet =
            |class: u8| Ip::tcp(client(inside), service(inside, IPIP_V4), ACK, b"data").class(0xb8 | class);
        let ends = |port| SocketAddr::new(if port == GUE_PORT { backend(family) } else { own(family) }, port);
        let outer = |class: u8, inner: u8| packet(inner).within(own(family), backend(family)).class(class);
        let row = |sentence: &str, outer: &Ip| {
            at_decap(format!("decap over {family}: {inside} {sentence}"), &backend_frame(outer))
        };
        let becomes = |class: u8| backend_frame(&packet(class));
        let in_udp = packet(ECT_0).within_udp(ends(50_000), ends(GUE_PORT)).class(CE);
        rows.extend([
            row("comes out with the mark of its outer header", &outer(CE, ECT_0))
                .passes_as(Decapsulated, &becomes(CE)),
            row("of the other kind comes out with it, too", &outer(CE, ECT_1))
                .passes_as(Decapsulated, &becomes(CE)),
            row("comes out of UDP with it", &in_udp).passes_as(Decapsulated, &becomes(CE)),
            row("keeps a mark of its own", &outer(ECT_0, CE)).passes_as(Decapsulated, &becomes(CE)),
            row("that was marked in and out comes out marked", &outer(CE, CE))
                .passes_as(Decapsulated, &becomes(CE)),
            row("is not marked without need", &outer(ECT_0, ECT_1)).passes_as(Decapsulated, &becomes(ECT_1)),
            row("comes out with the other kind that its outer header has", &outer(ECT_1, ECT_0))
                .passes_as(Decapsulated, &becomes(ECT_1)),
            row("keeps its kind in an outer header without", &outer(NOT_ECT, ECT_0))
                .passes_as(Decapsulated, &becomes(ECT_0)),
            row("keeps a mark of its own in an outer header of the other kind", &outer(ECT_1, CE))
                .passes_as(Decapsulated, &becomes(CE)),
            row("whose sender heeds no marks stays so", &outer(ECT_1, NOT_ECT))
                .passes_as(Decapsulated, &becomes(NOT_ECT)),
            row("whose sender does not heed marks is dropped for one", &outer(CE, NOT_ECT))
                .stops(CongestionUnheard),
        ]);
    }
    rows
}

/// What the outer header does not count is none of its packet.
fn padding(family: Family) -> Vec<Row> {
    let inner = Ip::tcp(client(family), service(family, IPIP_V4), ACK, b"data");
    let frame = backend_frame(&inner.within(own(family), backend(family)));
    let of_length = |sentence: &str, bytes: u16| {
        let (at, counted) = if family == Family::V4 { (16, 20) } else { (18, 0) };
        at_decap(format!("decap over {family}: {sentence}"), &frame.clone().with_word(at, counted + bytes))
            .stops(NotEncapsulated)
    };
    let whole = u16::try_from(family.header_bytes() + 24).unwrap_or(0);
    let ends = |address, port| SocketAddr::new(address, port);
    let in_udp = inner.within_udp(ends(own(family), 50_000), ends(backend(family), GUE_PORT));
    // Behind the link-layer header, the IP header and the ports.
    let at = 14 + family.header_bytes() + 4;
    let of_datagram = |sentence: &str, bytes: u16| {
        at_decap(
            format!("decap over {family}: {sentence}"),
            &backend_frame(&in_udp).with_word(at, bytes).followed_by(&[0; 8]),
        )
        .stops(NotEncapsulated)
    };
    vec![
        of_length("a packet that reaches one byte into the padding is left as it is", whole - 1),
        of_datagram("a packet that reaches behind its datagram is left as it is", whole + 7),
        of_datagram("a datagram that reaches behind its packet is left as it is", whole + 9),
        of_datagram("a datagram shorter than its header is left as it is", 7),
        of_length("a packet in the padding is left as it is", 0),
        of_length("a packet whose header is not all counted is left as it is", 19),
    ]
}

/// Whatever is inside, in an outer header of this family.
fn taken_off(family: Family) -> Vec<Row> {
    let (from, to) = (own(family), backend(family));
    let ends = |port| (SocketAddr::new(from, 50_000), SocketAddr::new(to, port));
    let named = |sentence: String| format!("decap over {family}: {sentence}");
    let mut rows = Vec::new();
    for inside in Family::BOTH {
        let inner = Ip::tcp(client(inside), service(inside, IPIP_V4), ACK, b"data");
        let tags = [(0x88a8, 100), (0x8100, 200)];
        let tagged = |packet: &Ip| packet.framed(BACK_MAC, BACKEND_MAC, &tags);
        let outer = inner.within(from, to);
        let (source, destination) = ends(GUE_PORT);
        let row = |sentence, outer: &Ip| {
            at_decap(named(format!("{inside} {sentence}")), &backend_frame(outer))
                .passes_as(Decapsulated, &backend_frame(&inner))
        };
        rows.extend([
            row("comes out", &outer),
            row("comes out from behind options", &outer.clone().with_options()),
            row("comes out of UDP", &inner.within_udp(source, destination)),
            at_decap(named(format!("{inside} comes out behind its tags")), &tagged(&outer))
                .passes_as(Decapsulated, &tagged(&inner)),
        ]);
    }
    let inner = Ip::tcp(client(family), service(family, IPIP_V4), ACK, b"data");
    let left = |sentence: &str, outer: &Ip| {
        at_decap(named(sentence.into()), &backend_frame(outer)).stops(NotEncapsulated)
    };
    let (source, other) = ends(GUE_PORT + 1);
    let (_, destination) = ends(GUE_PORT);
    rows.extend([
        left("UDP to another port is left as it is", &inner.within_udp(source, other)),
        left("a datagram that is no packet is left as it is", &Ip::udp(source, destination, &[0x10; 40])),
        left("a fragment is left as it is", &inner.within_udp(source, destination).pieces(3, 24)[0]),
    ]);
    rows
}
