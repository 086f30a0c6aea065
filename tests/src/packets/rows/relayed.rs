//! What routers between balancer and backends say of outer headers: the client whose packet did not fit is told.

use super::super::annex::{
    GUE_V4, GUE_V6, IPIP_V4, IPIP_V6, Mode, NAT, backend, client, every_mode, moved, own, router, service,
};
use super::super::build::Network as _;
use super::super::house::{BACK_MAC, BACKEND_MAC, GUE_PORT};
use super::super::ip::{Complaint, Ip};
use super::super::row::{Arrives, Row, frame, from_backend};
use super::ACK;
use super::modal::{forwarded, title};
use crate::family::Family;
use lb_common::abi::Forward;
use lb_common::datapath::Reason::{FragmentationNeeded, IcmpNotOurs};
use std::net::SocketAddr;

/// Bytes that the way takes.
const NARROW: u16 = 1400;
/// Of a quotation, as much as a router sends of a long packet.
const LONG: usize = 500;

pub(super) fn rows() -> Vec<Row> {
    let modes = [IPIP_V4, IPIP_V6, GUE_V4, GUE_V6];
    let over_both = |mode| Family::BOTH.into_iter().map(move |family| (mode, family));
    let each = modes.into_iter().flat_map(over_both);
    each.flat_map(|(mode, family)| [told(mode, family), untold(mode, family)].concat()).collect()
}

/// Family of the outer header.
fn outer(mode: Mode) -> Family {
    mode.backends.unwrap_or(Family::V4)
}

/// A client's segment.
fn data(from: SocketAddr, to: SocketAddr) -> Ip {
    Ip::tcp(from, to, ACK, &[7; 600])
}

fn sent(mode: Mode, family: Family) -> Ip {
    data(client(family), service(family, mode))
}

/// The outer headers of a mode, up to the packet inside.
fn overhead(mode: Mode) -> u16 {
    let ip = if outer(mode) == Family::V4 { 20 } else { 40 };
    ip + if mode.forward == Forward::DsrGue { 8 } else { 0 }
}

/// A router's complaint about what a backend is sent.
fn message(mode: Mode, complaint: Complaint, about: &Ip, length: usize) -> Ip {
    Ip::error((router(outer(mode)), own(outer(mode))), complaint, about, length)
}

fn comes(mode: Mode, family: Family, sentence: &str, message: &Ip) -> Arrives {
    from_backend(title(mode, family, sentence), message).with_annex(every_mode)
}

fn told(mode: Mode, family: Family) -> Vec<Row> {
    let wrapped = forwarded(mode, family, data);
    let answer = Ip::told(&sent(mode, family), Complaint::TooBig(NARROW - overhead(mode)));
    let row = |sentence, length| {
        comes(mode, family, sentence, &message(mode, Complaint::TooBig(NARROW), &wrapped, length))
            .reaches_sender(FragmentationNeeded, &answer)
    };
    let least = usize::from(overhead(mode)) + family.header_bytes() + 8;
    let tags = [(0x88a8, 100), (0x8100, 200)];
    let whole = message(mode, Complaint::TooBig(NARROW), &wrapped, LONG);
    let tagged = frame(
        title(mode, family, "by a router behind two tags, to whom the answer goes"),
        &whole.framed(BACK_MAC, BACKEND_MAC, &tags),
    );
    vec![
        row("a client is told what fits", LONG),
        row("eight bytes of what is inside are enough", least),
        tagged
            .with_annex(every_mode)
            .reaches_client_as(FragmentationNeeded, &answer.framed(BACKEND_MAC, BACK_MAC, &tags)),
    ]
}

fn untold(mode: Mode, family: Family) -> Vec<Row> {
    let wrapped = forwarded(mode, family, data);
    let passes = |sentence: &str, complaint, about: &Ip, length| {
        comes(mode, family, sentence, &message(mode, complaint, about, length)).stops(IcmpNotOurs)
    };
    let too_big = Complaint::TooBig(NARROW);
    let cut = usize::from(overhead(mode)) + family.header_bytes() + 3;
    let least = if family == Family::V4 { 68 } else { 1280 };
    let nonsense = Complaint::TooBig(overhead(mode) + least - 1);
    let translated = data(client(family), service(family, NAT));
    vec![
        passes("what hops are used up for stays between", Complaint::Hops, &wrapped, LONG),
        passes("a quotation without the ports inside passes", too_big, &wrapped, cut),
        passes("one of the outer header alone passes", too_big, &wrapped, usize::from(overhead(mode))),
        passes("fewer bytes than any way takes are not believed", nonsense, &wrapped, LONG),
        passes("what was not sent to the flow's backend passes", too_big, &elsewhere(mode, family), LONG),
        passes("what no service puts into such a header passes", too_big, &within(mode, &translated), LONG),
        passes("another kind of outer header passes", too_big, &otherwise(mode, family), LONG),
    ]
}

/// The client's segment on its way to another backend than its flow's.
fn elsewhere(mode: Mode, family: Family) -> Ip {
    let to = moved(outer(mode));
    let inner = sent(mode, family);
    if mode.forward == Forward::DsrIpip {
        inner.within(own(outer(mode)), to)
    } else {
        in_udp(mode, &inner, to, GUE_PORT)
    }
}

/// A packet in a mode's outer header.
fn within(mode: Mode, inner: &Ip) -> Ip {
    let to = backend(outer(mode));
    if mode.forward == Forward::DsrIpip {
        inner.within(own(outer(mode)), to)
    } else {
        in_udp(mode, inner, to, GUE_PORT)
    }
}

/// The client's segment in an outer header of another mode, or for another port.
fn otherwise(mode: Mode, family: Family) -> Ip {
    let to = backend(outer(mode));
    let port = if mode.forward == Forward::DsrGue { GUE_PORT + 1 } else { GUE_PORT };
    in_udp(mode, &sent(mode, family), to, port)
}

fn in_udp(mode: Mode, inner: &Ip, to: std::net::IpAddr, port: u16) -> Ip {
    inner.within_udp(SocketAddr::new(own(outer(mode)), 50_000), SocketAddr::new(to, port))
}
