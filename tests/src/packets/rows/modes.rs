//! A client's first packets in every way of forwarding, in both families.

use super::super::annex::{Mode, client, every_mode, service};
use super::super::build::Network as _;
use super::super::house::{BACK_MAC, BACKEND_MAC, OWN_MAC, ROUTER_MAC};
use super::super::ip::{Complaint, Ip};
use super::super::row::{Arrives, Row, client_frame, frame, from_client};
use super::modal::{forwarded, in_every_mode, opening, takes_a_hop, title};
use super::{ACK, SYN};
use crate::family::Family;
use lb_common::abi::{BackendFlags, BackendId, Forward, Slot};
use lb_common::datapath::Reason::{
    FragmentationNeeded, HopsUsedUp, NatForward, NoFlow, Settled, TooBig, Unresolved, Unserved,
};

pub(super) fn rows() -> Vec<Row> {
    [in_every_mode(transports), in_every_mode(headers), in_every_mode(tags), in_every_mode(sizes)]
        .into_iter()
        .chain([in_every_mode(refused)])
        .flatten()
        .collect()
}

fn comes(mode: Mode, family: Family, sentence: &str, packet: &Ip) -> Arrives {
    from_client(title(mode, family, sentence), packet).with_annex(every_mode)
}

fn transports(mode: Mode, family: Family) -> Vec<Row> {
    let row = |sentence, make: &dyn Fn(_, _) -> Ip| {
        comes(mode, family, sentence, &make(client(family), service(family, mode)))
            .reaches_backend(opening(mode), &forwarded(mode, family, make))
    };
    let syn = |from, to| Ip::tcp(from, to, SYN, b"");
    let data = |from, to| Ip::tcp(from, to, ACK, b"more data");
    let goes_on = if mode.forward == Forward::Nat { NatForward } else { Settled };
    vec![
        row("a SYN is forwarded", &syn),
        comes(mode, family, "data after it is forwarded", &data(client(family), service(family, mode)))
            .after(&syn(client(family), service(family, mode)))
            .reaches_backend(goes_on, &forwarded(mode, family, data)),
        row("a datagram is forwarded", &|from, to| Ip::udp(from, to, b"query")),
        row("an empty datagram is forwarded", &|from, to| Ip::udp(from, to, b"")),
        row("a datagram without checksum stays without", &|from, to| Ip::udp(from, to, b"query").unsummed()),
    ]
}

fn headers(mode: Mode, family: Family) -> Vec<Row> {
    let row = |sentence, make: &dyn Fn(_, _) -> Ip| {
        comes(mode, family, sentence, &make(client(family), service(family, mode)))
            .reaches_backend(opening(mode), &forwarded(mode, family, make))
    };
    let syn = |from, to| Ip::tcp(from, to, SYN, b"");
    let padding = [0; 14];
    let padded = client_frame(&syn(client(family), service(family, mode))).followed_by(&padding);
    let leaves = forwarded(mode, family, syn).framed(BACKEND_MAC, BACK_MAC, &[]).followed_by(&padding);
    vec![
        row("the traffic class is kept", &|from, to| syn(from, to).class(0x2e)),
        row("options stay and shift the ports", &|from, to| syn(from, to).with_options()),
        frame(title(mode, family, "padding stays behind the packet"), &padded)
            .with_annex(every_mode)
            .reaches_backend_as(opening(mode), &leaves),
    ]
}

fn tags(mode: Mode, family: Family) -> Vec<Row> {
    let syn = |from, to| Ip::tcp(from, to, SYN, b"");
    let (packet, leaving) = (syn(client(family), service(family, mode)), forwarded(mode, family, syn));
    let row = |sentence, tags: &[_]| {
        frame(title(mode, family, sentence), &packet.framed(OWN_MAC, ROUTER_MAC, tags)).with_annex(every_mode)
    };
    let leaves = |tags: &[_]| leaving.framed(BACKEND_MAC, BACK_MAC, tags);
    let (outer, inner) = ((0x88a8, 100), (0x8100, 200));
    vec![
        row("a tag is taken off", &[inner]).reaches_backend(opening(mode), &leaving),
        row("two tags are taken off", &[outer, inner]).reaches_backend(opening(mode), &leaving),
        row("the backend's two tags are put on", &[])
            .with_backend_vlans(300, 400)
            .reaches_backend_as(opening(mode), &leaves(&[(0x88a8, 300), (0x8100, 400)])),
        row("two tags are exchanged for one", &[outer, inner])
            .with_backend_vlan(300)
            .reaches_backend_as(opening(mode), &leaves(&[(0x8100, 300)])),
    ]
}

/// Bytes that a mode adds in front of a packet.
fn overhead(mode: Mode) -> u16 {
    let udp = if mode.forward == Forward::DsrGue { 8 } else { 0 };
    match (mode.forward, mode.backends) {
        (Forward::DsrIpip | Forward::DsrGue, Some(Family::V4)) => 20 + udp,
        (Forward::DsrIpip | Forward::DsrGue, Some(Family::V6)) => 40 + udp,
        _ => 0,
    }
}

/// The backends' interfaces take 1500 bytes.
fn sizes(mode: Mode, family: Family) -> Vec<Row> {
    let mtu = 1500 - overhead(mode);
    let payload = vec![7; usize::from(mtu) - family.header_bytes() - 8];
    let datagram = |extra: usize| {
        let payload = [&payload[..], &vec![7; extra][..]].concat();
        move |from, to| Ip::udp(from, to, &payload)
    };
    let (client, vip) = (client(family), service(family, mode));
    let too_large = datagram(1)(client, vip);
    let told = |packet: &Ip| Ip::told(packet, Complaint::TooBig(mtu));
    let jumbo = datagram(1900)(client, vip);
    let control = [(0x88a8, 0xa064), (0x8100, 200)];
    let tagged = frame(
        title(mode, family, "a sender behind two tags is told what fits"),
        &too_large.framed(OWN_MAC, ROUTER_MAC, &control),
    );
    vec![
        comes(mode, family, "a packet that just fits is forwarded", &datagram(0)(client, vip))
            .reaches_backend(opening(mode), &forwarded(mode, family, datagram(0))),
        comes(mode, family, "the sender of a byte too many is told what fits", &too_large)
            .reaches_client(FragmentationNeeded, &told(&too_large)),
        comes(mode, family, "the sender of far too many bytes is told what fits", &jumbo)
            .reaches_client(FragmentationNeeded, &told(&jumbo)),
        tagged
            .with_annex(every_mode)
            .reaches_client_as(FragmentationNeeded, &told(&too_large).framed(ROUTER_MAC, OWN_MAC, &control)),
        comes(mode, family, "a fragment that is too large is dropped", &jumbo.pieces(9, 1496)[0])
            .stops(TooBig),
    ]
}

fn refused(mode: Mode, family: Family) -> Vec<Row> {
    let syn = |from, to| Ip::tcp(from, to, SYN, b"");
    let packet = syn(client(family), service(family, mode));
    let last_hop = comes(mode, family, "a packet on its last hop", &packet.clone().hops(1));
    let spent = packet.clone().hops(0);
    let older = Ip::tcp(client(family), service(family, mode), ACK, b"more data").hops(0);
    vec![
        comes(mode, family, "the sender of a packet without a hop is told", &spent)
            .reaches_client(HopsUsedUp, &Ip::told(&spent, Complaint::Hops)),
        comes(mode, family, "the sender of such data of a flow is told, too", &older)
            .after(&packet)
            .reaches_client(HopsUsedUp, &Ip::told(&older, Complaint::Hops)),
        if takes_a_hop(mode) {
            last_hop.reaches_client(HopsUsedUp, &Ip::told(&packet.clone().hops(1), Complaint::Hops))
        } else {
            last_hop
                .reaches_backend(opening(mode), &forwarded(mode, family, |from, to| syn(from, to).hops(1)))
        },
        comes(mode, family, "without a backend a SYN is refused", &packet)
            .with_slot(Slot::settled_on(BackendId::NONE))
            .reaches_client(Unserved, &Ip::told(&packet, Complaint::Port)),
        comes(mode, family, "an unresolved backend is not sent to", &packet)
            .with_backends(BackendFlags::ALIVE)
            .stops(Unresolved),
        comes(mode, family, "a backend that nobody wrote is not sent to", &packet)
            .with_slot(Slot::settled_on(BackendId::from_bits(0x7ff0)))
            // Where its answers would not be known that is the reason.
            .stops(if mode.forward == Forward::Dnat { NoFlow } else { Unresolved }),
    ]
}
