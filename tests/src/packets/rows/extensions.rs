//! IPv6 extension headers: walked over on the way in, left where they are on the way out.

use super::super::annex::{IPIP_V4, Mode, NAT, client, every_mode, service};
use super::super::ip::Ip;
use super::super::ipv6::{DESTINATION_OPTIONS, HOP_BY_HOP, Ipv6, ROUTING};
use super::super::row::{Arrives, Row, client_frame, frame, from_client};
use super::SYN;
use super::modal::{forwarded, opening, title};
use crate::family::Family;
use lb_common::datapath::Reason::{BadIp, FragmentUnknown, NoPorts, OtherProtocol};
use std::net::SocketAddr;

/// One option that pads.
const PADDING: [u8; 6] = [1, 4, 0, 0, 0, 0];

pub(super) fn rows() -> Vec<Row> {
    [walked(NAT), walked(IPIP_V4), given_up(), cut()].concat()
}

fn syn(from: SocketAddr, to: SocketAddr, extend: impl Fn(Ipv6) -> Ipv6) -> Ip {
    match Ip::tcp(from, to, SYN, b"") {
        Ip::V6(packet) => Ip::V6(extend(packet)),
        other @ Ip::V4(_) => other,
    }
}

fn comes(mode: Mode, sentence: &str, extend: &dyn Fn(Ipv6) -> Ipv6) -> Arrives {
    let packet = syn(client(Family::V6), service(Family::V6, mode), extend);
    from_client(title(mode, Family::V6, sentence), &packet).with_annex(every_mode)
}

fn walked(mode: Mode) -> Vec<Row> {
    let row = |sentence, extend: &dyn Fn(Ipv6) -> Ipv6| {
        let leaves = forwarded(mode, Family::V6, |from, to| syn(from, to, extend));
        comes(mode, sentence, extend).reaches_backend(opening(mode), &leaves)
    };
    let chain = |packet: Ipv6| {
        (0..3).fold(packet.extended(HOP_BY_HOP, &PADDING), |packet, _| {
            packet.extended(DESTINATION_OPTIONS, &PADDING).extended(ROUTING, &PADDING)
        })
    };
    vec![
        row("hop-by-hop options are walked over", &|packet| packet.extended(HOP_BY_HOP, &PADDING)),
        row("destination options are walked over", &|packet| packet.extended(DESTINATION_OPTIONS, &PADDING)),
        row("a routing header is walked over", &|packet| packet.extended(ROUTING, &PADDING)),
        row("an atomic fragment is a whole packet", &|packet| packet.fragment(7, 0, false)),
        row("a long header is walked over", &|packet| packet.extended(DESTINATION_OPTIONS, &[0; 254])),
        row("seven headers are walked over", &chain),
        row("eight headers are walked over", &|packet| chain(packet).extended(ROUTING, &PADDING)),
        row("an atomic fragment behind options is a whole packet", &|packet| {
            packet.extended(HOP_BY_HOP, &PADDING).fragment(7, 0, false)
        }),
    ]
}

fn given_up() -> Vec<Row> {
    let nine = |packet| (0..9).fold(packet, |packet: Ipv6, _| packet.extended(DESTINATION_OPTIONS, &PADDING));
    let far = |packet: Ipv6| (0..5).fold(packet, |packet, _| packet.extended(DESTINATION_OPTIONS, &[0; 254]));
    vec![
        comes(NAT, "a ninth header passes", &nine).stops(OtherProtocol),
        comes(NAT, "headers of more than a kilobyte pass", &far).stops(BadIp),
        comes(NAT, "an authentication header passes", &|packet| packet.extended(51, &[0; 14]))
            .stops(OtherProtocol),
        comes(NAT, "a mobility header passes", &|packet| packet.extended(135, &PADDING)).stops(OtherProtocol),
        comes(NAT, "a later fragment behind options is dropped", &|packet| {
            packet.extended(HOP_BY_HOP, &PADDING).fragment(7, 8, false)
        })
        .stops(FragmentUnknown),
    ]
}

/// Frames that end within what is walked over: an Ethernet header, that of IPv6, and eight bytes of options.
fn cut() -> Vec<Row> {
    let extended = |packet: Ipv6| packet.extended(DESTINATION_OPTIONS, &PADDING);
    let whole = client_frame(&syn(client(Family::V6), service(Family::V6, NAT), extended));
    let row = |sentence, bytes| {
        frame(title(NAT, Family::V6, sentence), &whole.clone().cut(bytes)).with_annex(every_mode)
    };
    vec![
        row("a cut header passes", 53).stops(BadIp),
        row("a packet that ends before its options passes", 54).stops(BadIp),
        row("a packet that ends within its options passes", 61).stops(BadIp),
        row("a packet that ends behind its options passes", 62).stops(NoPorts),
        row("a packet that ends within its ports passes", 65).stops(NoPorts),
    ]
}
