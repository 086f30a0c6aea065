//! The guard: what it stops, and what it lets go on. Most rows are of services that this host serves itself, so that
//! what goes on is seen to be untouched.

use super::super::annex::{LOCAL, client, other_client, vip};
use super::super::build::{Network as _, Stack};
use super::super::house::{OWN_MAC, ROUTER_MAC};
use super::super::ip::Ip;
use super::super::row::{Arrives, Row, frame, guarded, guarded_frame};
use super::super::watch::{
    BUDGET, FLOWS, PACKETS, RANGED, by_network, forgiven, outlined, stranger, with, with_blocks,
};
use super::{
    ACK, CLIENT, DSR_HTTP, FIN_ACK, NULL, OTHER_CLIENT, PUSH_ACK, RST, SYN, SYN_ACK, XMAS, dsr_tcp, wrapped,
};
use crate::family::Family;
use lb_common::abi::GuardFlags;
use lb_common::datapath::Reason;
use lb_common::datapath::Reason::{
    BadFlags, Blocked, Denied, Land, Local, Malformed, Martian, NotAVip, Ping, PortZero, ServiceNewFlows,
    Settled, SourceNewFlows, SourceRate,
};
use std::net::{IpAddr, SocketAddr};

const LISTS: u32 = GuardFlags::LISTS.0;
const MARTIANS: u32 = GuardFlags::MARTIANS.0;
const LAND: u32 = GuardFlags::LAND.0;
const MALFORMED: u32 = GuardFlags::MALFORMED.0;
const BLOCKS: u32 = GuardFlags::BLOCKS.0;
const SOURCE_PACKETS: u32 = GuardFlags::SOURCE_PACKETS.0;
const SOURCE_FLOWS: u32 = GuardFlags::SOURCE_FLOWS.0;
const SERVICE_FLOWS: u32 = GuardFlags::SERVICE_FLOWS.0;
const ALL: u32 = 255;

pub(super) fn rows() -> Vec<Row> {
    let kinds = [lists, listed, forged, blocks, forms, rates, untouched];
    let of_family = |family| kinds.iter().flat_map(move |rows| rows(family)).collect::<Vec<_>>();
    let families = Family::BOTH.into_iter().flat_map(of_family);
    families.chain([pieces(), combinations(), forwarded()].into_iter().flatten()).collect()
}

const PORT: u16 = 51_000;

fn local(family: Family) -> SocketAddr {
    SocketAddr::new(vip(family), LOCAL.port)
}

/// A segment for the local service.
fn segment(family: Family, source: IpAddr, flags: u8) -> Ip {
    Ip::tcp(SocketAddr::new(source, PORT), local(family), flags, b"")
}

fn datagram(family: Family, source: IpAddr) -> Ip {
    Ip::udp(SocketAddr::new(source, PORT), local(family), b"query")
}

fn comes(family: Family, sentence: &str, packet: &Ip) -> Arrives {
    guarded(format!("guard over {family}: {sentence}"), packet)
}

/// What the lists say of a source.
fn lists(family: Family) -> Vec<Row> {
    let from = |source| segment(family, source, SYN);
    let denied = from(client(family).ip());
    vec![
        comes(family, "a denied source is stopped", &denied).with_annex(with::<LISTS>).stops(Denied),
        comes(family, "a denied source's datagram is stopped", &datagram(family, client(family).ip()))
            .with_annex(with::<LISTS>)
            .stops(Denied),
        comes(family, "an allowed address in a denied network goes on", &from(other_client(family).ip()))
            .with_annex(with::<LISTS>)
            .stops(Local),
        comes(family, "a source of which nothing is known goes on", &from(stranger(family)))
            .with_annex(with::<LISTS>)
            .stops(Local),
        comes(
            family,
            "a source in a network that is denied as a whole is stopped",
            &from(outlined(family)[0]),
        )
        .with_annex(with::<LISTS>)
        .stops(Denied),
        comes(family, "it goes on where lists are off", &from(outlined(family)[0]))
            .with_annex(with::<{ ALL & !LISTS }>)
            .stops(Local),
        comes(
            family,
            "a source in a network that is allowed as a whole is not blocked",
            &from(outlined(family)[1]),
        )
        .with_annex(with_blocks::<ALL>)
        .stops(Local),
        comes(family, "a denied source goes on where lists are off", &denied)
            .with_annex(with::<{ ALL & !LISTS }>)
            .stops(Local),
    ]
}

/// What the lists say of packets of every kind.
fn listed(family: Family) -> Vec<Row> {
    let denied = segment(family, client(family).ip(), SYN);
    let to_range = SocketAddr::new(vip(family), RANGED + 5);
    let tagged = denied.framed(OWN_MAC, ROUTER_MAC, &[(0x88a8, 0xa064), (0x8100, 200)]);
    vec![
        comes(family, "a denied source with options is stopped", &denied.clone().with_options())
            .with_annex(with::<LISTS>)
            .stops(Denied),
        guarded_frame(format!("guard over {family}: a denied source behind tags is stopped"), &tagged)
            .with_annex(with::<LISTS>)
            .stops(Denied),
        comes(
            family,
            "a denied source is stopped at a range of ports",
            &Ip::tcp(client(family), to_range, SYN, b""),
        )
        .with_annex(with::<LISTS>)
        .stops(Denied),
        comes(
            family,
            "a denied source's echo request to a VIP is stopped",
            &Ip::ping(client(family).ip(), vip(family), 0, &[0; 8]),
        )
        .with_annex(with::<LISTS>)
        .stops(Denied),
    ]
}

/// Sources that nobody can have.
fn forged(family: Family) -> Vec<Row> {
    let from = |source| segment(family, source, SYN);
    let looped = by_text(family, "127.0.0.1", "::1");
    let group = by_text(family, "224.0.0.5", "ff02::1");
    vec![
        comes(family, "a source on the loopback is a martian", &from(looped))
            .with_annex(with::<MARTIANS>)
            .stops(Martian),
        comes(family, "a source that is a group is a martian", &from(group))
            .with_annex(with::<MARTIANS>)
            .stops(Martian),
        comes(family, "a martian goes on where martians are not looked for", &from(looped))
            .with_annex(with::<{ ALL & !MARTIANS }>)
            .stops(Local),
        comes(family, "a source that is the destination is stopped", &from(vip(family)))
            .with_annex(with::<LAND>)
            .stops(Land),
        comes(family, "a source that is the destination goes on where that is off", &from(vip(family)))
            .with_annex(with::<{ ALL & !LAND }>)
            .stops(Local),
    ]
}

fn by_text(family: Family, v4: &str, v6: &str) -> IpAddr {
    let text = if family == Family::V4 { v4 } else { v6 };
    text.parse().unwrap_or_else(|_| stranger(family))
}

fn blocks(family: Family) -> Vec<Row> {
    let from = |source| segment(family, source, ACK);
    vec![
        comes(family, "a blocked source is stopped", &from(stranger(family)))
            .with_annex(with_blocks::<BLOCKS>)
            .stops(Blocked),
        comes(family, "a source whose block is over goes on", &from(forgiven(family)))
            .with_annex(with_blocks::<BLOCKS>)
            .stops(Local),
        comes(family, "an allowed source is not blocked", &from(other_client(family).ip()))
            .with_annex(with_blocks::<BLOCKS>)
            .stops(Local),
        comes(family, "a blocked source goes on where blocks are off", &from(stranger(family)))
            .with_annex(with_blocks::<{ ALL & !BLOCKS }>)
            .stops(Local),
    ]
}

fn forms(family: Family) -> Vec<Row> {
    let from_zero =
        |to: fn(SocketAddr, SocketAddr) -> Ip| to(SocketAddr::new(stranger(family), 0), local(family));
    let [tcp, udp] = [|from, to| Ip::tcp(from, to, SYN, b""), |from, to| Ip::udp(from, to, b"query")]
        as [fn(SocketAddr, SocketAddr) -> Ip; 2];
    vec![
        comes(family, "a segment without control bits is stopped", &segment(family, stranger(family), NULL))
            .with_annex(with::<MALFORMED>)
            .stops(BadFlags),
        comes(family, "a segment from port 0 is stopped", &from_zero(tcp))
            .with_annex(with::<MALFORMED>)
            .stops(PortZero),
        comes(family, "a datagram from port 0 is stopped", &from_zero(udp))
            .with_annex(with::<MALFORMED>)
            .stops(PortZero),
        comes(family, "a datagram has no control bits to be wrong", &datagram(family, stranger(family)))
            .with_annex(with::<ALL>)
            .stops(Local),
        comes(
            family,
            "a segment without control bits goes on where that is off",
            &segment(family, stranger(family), NULL),
        )
        .with_annex(with::<{ ALL & !MALFORMED }>)
        .stops(Local),
    ]
}

/// After so many of a packet that went on.
fn after(arrives: Arrives, packet: &Ip, times: u32) -> Arrives {
    (0..times).fold(arrives, |arrives, _| arrives.after_lost(packet))
}

/// Of a source, or of a service.
fn rates(family: Family) -> Vec<Row> {
    [packets(family), flows(family)].concat()
}

/// A packet after so many of another.
type Following<'a> = (&'a Ip, (&'a Ip, u32));

fn follows(family: Family, sentence: &str, (packet, (before, times)): Following<'_>) -> Arrives {
    after(comes(family, sentence, packet), before, times)
}

fn packets(family: Family) -> Vec<Row> {
    let data = segment(family, stranger(family), ACK);
    let query = datagram(family, stranger(family));
    let row = |sentence: &str, following: Following<'_>, reason: Reason| {
        follows(family, sentence, following).with_annex(with::<SOURCE_PACKETS>).stops(reason)
    };
    vec![
        row("the last packet that a source may send goes on", (&data, (&data, PACKETS - 1)), Local),
        row("one packet more of a source is stopped", (&data, (&data, PACKETS)), SourceRate),
        row("one datagram more of a source is stopped", (&query, (&query, PACKETS)), SourceRate),
    ]
}

fn flows(family: Family) -> Vec<Row> {
    let data = segment(family, stranger(family), ACK);
    let (syn, other) = (segment(family, stranger(family), SYN), segment(family, forgiven(family), SYN));
    let query = datagram(family, stranger(family));
    let of_source = |sentence: &str, following: Following<'_>, reason: Reason| {
        follows(family, sentence, following).with_annex(with::<SOURCE_FLOWS>).stops(reason)
    };
    let of_service = |sentence: &str, following: Following<'_>, reason: Reason| {
        follows(family, sentence, following).with_annex(with::<SERVICE_FLOWS>).stops(reason)
    };
    vec![
        of_source("the last flow that a source may begin goes on", (&syn, (&syn, FLOWS - 1)), Local),
        of_source("one flow more of a source is stopped", (&syn, (&syn, FLOWS)), SourceNewFlows),
        of_source("a source without flows left still sends data", (&data, (&syn, FLOWS)), Local),
        of_source("datagrams are no flows that begin", (&query, (&query, FLOWS)), Local),
        of_service(
            "one flow more of a service is stopped whoever begins it",
            (&other, (&syn, BUDGET)),
            ServiceNewFlows,
        ),
        of_service("a service without budget still gets data", (&data, (&syn, BUDGET)), Local),
        follows(family, "too many flows are no matter where that is off", (&syn, (&syn, 5)))
            .with_annex(with::<{ LISTS | LAND }>)
            .stops(Local),
    ]
}

/// Where one source ends and another begins, in one family each.
fn pieces() -> Vec<Row> {
    let v4 = |last| segment(Family::V4, IpAddr::from([192, 0, 2, last]), ACK);
    let v6 = |host: u16| segment(Family::V6, IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]), ACK);
    let next = segment(Family::V6, IpAddr::from([0x2001, 0xdb8, 0, 2, 0, 0, 0, 1]), ACK);
    let denied = segment(Family::V4, client(Family::V4).ip(), ACK);
    let [first, later] = Ip::tcp(client(Family::V4), local(Family::V4), ACK, &[7; 40]).pieces(7, 32);
    let others = Ip::tcp(SocketAddr::new(stranger(Family::V4), PORT), local(Family::V4), ACK, &[7; 40]);
    let [its_first, its_later] = others.pieces(8, 32);
    let row = |sentence: &str, packet: &Ip| guarded(format!("guard: {sentence}"), packet);
    vec![
        after(row("a neighbour of a busy source goes on", &v4(2)), &v4(1), PACKETS)
            .with_annex(with::<SOURCE_PACKETS>)
            .stops(Local),
        after(row("a network may be one source", &v4(2)), &v4(1), PACKETS)
            .with_annex(by_network::<SOURCE_PACKETS>)
            .stops(SourceRate),
        after(row("addresses of one network of IPv6 are one source", &v6(2)), &v6(1), PACKETS)
            .with_annex(with::<SOURCE_PACKETS>)
            .stops(SourceRate),
        after(row("another network of IPv6 is another source", &next), &v6(1), PACKETS)
            .with_annex(with::<SOURCE_PACKETS>)
            .stops(Local),
        row("a denied source's first fragment is stopped", &first).with_annex(with::<LISTS>).stops(Denied),
        row("nothing is remembered of a fragment that was stopped", &later)
            .after_lost(&first)
            .with_annex(with::<LISTS>)
            .stops(Reason::FragmentUnknown),
        row("a later fragment counts to its source", &its_later)
            .after_lost(&its_first)
            .after_lost(&its_later)
            .after_lost(&its_later)
            .with_annex(with::<SOURCE_PACKETS>)
            .stops(SourceRate),
        row("a later fragment has no control bits to be wrong", &its_later)
            .after_lost(&its_first)
            .with_annex(with::<ALL>)
            .stops(Local),
        row("lists are asked before rates", &denied)
            .after_lost(&denied)
            .after_lost(&denied)
            .after_lost(&denied)
            .with_annex(with::<ALL>)
            .stops(Denied),
    ]
}

/// Control bits, one row each.
fn combinations() -> Vec<Row> {
    let source = stranger(Family::V4);
    let row = |name: &str, flags: u8, reason| {
        guarded(format!("guard: {name}"), &segment(Family::V4, source, flags))
            .with_annex(with::<MALFORMED>)
            .stops(reason)
    };
    let reserved = segment(Family::V4, source, ACK).framed(OWN_MAC, ROUTER_MAC, &[]);
    let with_bits = |name: &str, byte, reason| {
        guarded_frame(format!("guard: {name}"), &reserved.clone().with_byte(46, byte))
            .with_annex(with::<MALFORMED>)
            .stops(reason)
    };
    vec![
        row("SYN and FIN together are stopped", 0x03, BadFlags),
        row("SYN and RST together are stopped", 0x06, BadFlags),
        row("FIN and RST together are stopped", 0x15, BadFlags),
        row("FIN without ACK is stopped", 0x01, BadFlags),
        row("PSH without ACK is stopped", 0x08, BadFlags),
        row("URG without ACK is stopped", 0x20, BadFlags),
        row("all control bits together are stopped", XMAS, BadFlags),
        row("SYN goes on", SYN, Local),
        row("SYN and ACK go on", SYN_ACK, Local),
        row("SYN with ECN goes on", SYN | 0xc0, Local),
        row("PSH and ACK go on", PUSH_ACK, Local),
        row("FIN and ACK go on", FIN_ACK, Local),
        row("RST goes on", RST, Local),
        with_bits("reserved bits are stopped", 0x52, BadFlags),
        with_bits("the bit of Accurate ECN goes on", 0x51, Local),
    ]
}

/// What is no service's is nobody's business.
fn untouched(family: Family) -> Vec<Row> {
    let elsewhere = SocketAddr::new(stranger(family), 80);
    let closed = SocketAddr::new(vip(family), 9);
    vec![
        comes(family, "a denied source passes by to others", &Ip::tcp(client(family), elsewhere, SYN, b""))
            .with_annex(with::<ALL>)
            .stops(NotAVip),
        comes(
            family,
            "a denied source passes to a port without service",
            &Ip::tcp(client(family), closed, SYN, b""),
        )
        .with_annex(with::<ALL>)
        .stops(NotAVip),
        comes(
            family,
            "a stranger's echo request to a VIP is answered",
            &Ip::ping(stranger(family), vip(family), 0, &[0; 8]),
        )
        .with_annex(with::<ALL>)
        .reaches_client(Ping, &Ip::pong(vip(family), stranger(family), &[0; 8])),
        comes(family, "services without a guard are left alone", &segment(family, client(family).ip(), NULL))
            .with_annex(with::<0>)
            .stops(Local),
    ]
}

/// What goes on is balanced as without a guard.
fn forwarded() -> Vec<Row> {
    let allowed = Stack::tcp(OTHER_CLIENT, DSR_HTTP, ACK, b"hello");
    let cut = dsr_tcp(ACK).framed(OWN_MAC, ROUTER_MAC, &[]).with_byte(46, 0x60);
    let denied = Stack::tcp(CLIENT, DSR_HTTP, ACK, b"hello");
    vec![
        guarded("guard: an allowed source's segment reaches its backend", &allowed)
            .with_annex(with::<ALL>)
            .reaches_backend(Settled, &wrapped(&allowed)),
        guarded("guard: a denied source's segment reaches nobody", &denied)
            .with_annex(with::<ALL>)
            .stops(Denied),
        guarded_frame("guard: lengths that contradict each other are left to the balancer", &cut)
            .with_annex(with::<{ ALL & !LISTS }>)
            .stops(Malformed),
        frame(
            "guard: without the program in front nothing is guarded",
            &denied.framed(OWN_MAC, ROUTER_MAC, &[]),
        )
        .with_annex(with::<ALL>)
        .reaches_backend(Settled, &wrapped(&denied)),
    ]
}
