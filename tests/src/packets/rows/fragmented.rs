//! Datagrams in fragments, in every way of forwarding: the later ones follow the first.

use super::super::annex::{
    DNAT, KEPT, MODES, Mode, NAT, client, every_mode, other_client, own, service, with_endpoints,
};
use super::super::ip::Ip;
use super::super::ipv6::{DESTINATION_OPTIONS, Ipv6};
use super::super::row::{Arrives, Row, backend_frame, from_backend, from_client};
use super::modal::{
    backend_end, ends_at_backend, in_every_mode, one_hop_on, opening, own_end, title, translates, wrapped_in,
};
use crate::family::Family;
use lb_common::abi::Forward;
use lb_common::datapath::Reason::{
    DnatRouted, FragmentUnknown, LaterFragment, NatForward, NatReply, OtherProtocol, Settled,
};
use std::net::{IpAddr, SocketAddr};

/// Bytes of a datagram in its first fragment.
const FIRST: usize = 24;

pub(super) fn rows() -> Vec<Row> {
    let replies = Family::BOTH.into_iter().flat_map(replies);
    let others = Family::BOTH.into_iter().flat_map(of_others);
    let extended = MODES.into_iter().flat_map(with_options);
    in_every_mode(requests).into_iter().chain(replies).chain(others).chain(extended).collect()
}

fn datagram(from: SocketAddr, to: SocketAddr) -> Ip {
    Ip::udp(from, to, &[0x5a; 40])
}

fn pieces(from: SocketAddr, to: SocketAddr, number: u16) -> [Ip; 2] {
    datagram(from, to).pieces(number, FIRST)
}

/// What the backend gets of a client's datagram with this number.
fn leaving(mode: Mode, family: Family, number: u16) -> [Ip; 2] {
    let (source, destination) = ends_at_backend(mode, family);
    pieces(source, destination, number)
        .map(|piece| if translates(mode) { one_hop_on(piece) } else { wrapped_in(mode, family, &piece, 17) })
}

fn requests(mode: Mode, family: Family) -> Vec<Row> {
    let (client, vip) = (client(family), service(family, mode));
    let comes = |sentence, packet: &Ip| -> Arrives {
        from_client(title(mode, family, sentence), packet).with_annex(every_mode)
    };
    let [first, later] = pieces(client, vip, 77);
    let [sent_first, sent_later] = leaving(mode, family, 77);
    let of_another = &pieces(other_client(family), vip, 77)[1];
    let numbered = &pieces(client, vip, 78)[1];
    let goes_on = if mode.forward == Forward::Nat { NatForward } else { Settled };
    vec![
        comes("a first fragment opens the flow", &first).reaches_backend(opening(mode), &sent_first),
        comes("a later fragment follows the first", &later)
            .after(&first)
            .reaches_backend(goes_on, &sent_later),
        comes("a later fragment that comes again follows again", &later)
            .after(&first)
            .after(&later)
            .reaches_backend(goes_on, &sent_later),
        comes("a fragment that overtook its first is dropped", &later).stops(FragmentUnknown),
        comes("a fragment of another datagram is dropped", numbered).after(&first).stops(FragmentUnknown),
        comes("a fragment of another client is dropped", of_another).after(&first).stops(FragmentUnknown),
        comes("two datagrams in fragments do not mix", &later)
            .after(&first)
            .after(&pieces(client, vip, 78)[0])
            .after(numbered)
            .reaches_backend(goes_on, &sent_later),
    ]
}

fn replies(family: Family) -> Vec<Row> {
    let translated = |sentence: &str, mode: Mode, which: usize| {
        let vip = service(family, mode);
        // What is left to the kernel keeps its hops.
        let on = if mode.forward == Forward::Dnat { |piece| piece } else { one_hop_on };
        let returned = pieces(vip, client(family), 99).map(on);
        let to = if mode.forward == Forward::Nat && !mode.keeps_client() {
            own_end(family)
        } else {
            client(family)
        };
        let came = pieces(backend_end(family), to, 99);
        (title(mode, family, sentence), came, returned[which].clone())
    };
    let (named, [first, _], returned) = translated("a reply's first fragment is translated", NAT, 0);
    let request = datagram(client(family), service(family, NAT));
    let nat_first = from_backend(named, &first)
        .with_annex(every_mode)
        .after(&request)
        .reaches_client(NatReply, &returned);
    let (named, [first, later], returned) = translated("a reply's later fragment follows", NAT, 1);
    let nat_later = from_backend(named, &later)
        .with_annex(every_mode)
        .after(&request)
        .after_reply(&first)
        .reaches_client(NatReply, &returned);
    let (named, [first, later], returned) = translated("a reply's later fragment follows", KEPT, 1);
    let kept_later = from_backend(named, &later)
        .with_annex(every_mode)
        .after(&datagram(client(family), service(family, KEPT)))
        .after_reply(&first)
        .reaches_client(NatReply, &returned);
    let (named, [first, later], returned) = translated("a reply's later fragment follows", DNAT, 1);
    let dnat_later = from_backend(named, &later)
        .with_annex(with_endpoints)
        .after_lost_frame(&backend_frame(&first))
        .passes_as(DnatRouted, &backend_frame(&returned));
    let (named, [first, _], returned) = translated("a reply's first fragment is translated", DNAT, 0);
    let dnat_first = from_backend(named, &first)
        .with_annex(with_endpoints)
        .passes_as(DnatRouted, &backend_frame(&returned));
    vec![nat_first, nat_later, kept_later, dnat_first, dnat_later]
}

/// A datagram of IPv6 with options behind its fragment header. Its later fragment tells of this header.
fn optioned(from: SocketAddr, to: SocketAddr, later_tells: u8) -> [Ip; 2] {
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (from.ip(), to.ip()) else {
        return pieces(from, to, 77);
    };
    let ends = (source.octets(), destination.octets());
    let whole = Ipv6::udp((ends.0, from.port()), (ends.1, to.port()), &[0x5a; 40]);
    let options = [1, 4, 0, 0, 0, 0];
    let [first, _] = whole.pieces(77, FIRST);
    let rest = Ipv6::raw(ends.0, ends.1, later_tells, &[0x5a; 8 + 40 - FIRST]);
    let later = rest.fragment(77, options.len() + 2 + FIRST, false);
    [first.extended(DESTINATION_OPTIONS, &options), later].map(Ip::V6)
}

/// Only the first fragment's word for what is inside counts (RFC 8200, section 4.5).
fn with_options(mode: Mode) -> Vec<Row> {
    let family = Family::V6;
    let (source, destination) = ends_at_backend(mode, family);
    let goes_on = if mode.forward == Forward::Nat { NatForward } else { Settled };
    let comes = |sentence, tells| {
        let [first, later] = optioned(client(family), service(family, mode), tells);
        let sent = optioned(source, destination, tells).map(|piece| {
            if translates(mode) { one_hop_on(piece) } else { wrapped_in(mode, family, &piece, 17) }
        });
        (first, from_client(title(mode, family, sentence), &later).with_annex(every_mode), sent)
    };
    let follows = |sentence, tells| {
        let (first, later, [_, sent]) = comes(sentence, tells);
        later.after(&first).reaches_backend(goes_on, &sent)
    };
    let (_, unknown, _) = comes("a later fragment of options without its first passes", DESTINATION_OPTIONS);
    vec![
        follows("a later fragment of options follows its first", DESTINATION_OPTIONS),
        follows("a later fragment that tells of nothing follows its first", 59),
        follows("a later fragment that tells of another transport follows its first", 6),
        unknown.stops(OtherProtocol),
    ]
}

/// Fragments that are none of a service's.
fn of_others(family: Family) -> Vec<Row> {
    let from = backend_end(family);
    let [_, to_us] = pieces(from, SocketAddr::new(own(family), 9), 5);
    let [_, to_client] = pieces(from, client(family), 5);
    let row = |sentence: &str, packet: &Ip| {
        from_backend(format!("{family}: {sentence}"), packet).with_annex(every_mode).stops(LaterFragment)
    };
    vec![
        row("a later fragment for our own address passes", &to_us),
        row("a later fragment for nobody passes", &to_client),
    ]
}
