//! ICMP errors in every way of forwarding, in both families: about what a backend sent to a client, and about what we
//! sent to a backend.

use super::super::annex::{DNAT, Mode, backend, client, every_mode, own, router, service, with_endpoints};
use super::super::build::Network as _;
use super::super::house::{OWN_MAC, ROUTER_MAC};
use super::super::ip::{Complaint, Ip};
use super::super::row::{Arrives, Row, backend_frame, frame, from_backend, from_client};
use super::modal::{
    backend_end, ends_at_backend, in_every_mode, one_hop_on, own_end, takes_a_hop, title, wrapped_in,
};
use super::{ACK, SYN};
use crate::family::Family;
use lb_common::abi::{BackendFlags, Forward};
use lb_common::datapath::Reason::{
    DnatRouted, IcmpForward, IcmpNotOurs, IcmpReply, NoFlow, TimeToLive, Unresolved,
};
use std::net::SocketAddr;

/// More than any packet quoted here has.
const WHOLE: usize = 199;

pub(super) fn rows() -> Vec<Row> {
    let both = Family::BOTH.into_iter().flat_map(about_requests);
    let passing = Family::BOTH.into_iter().flat_map(passing);
    in_every_mode(about_answers).into_iter().chain(both).chain(passing).collect()
}

/// A packet from the client's side, after the flow's first.
fn comes(mode: Mode, family: Family, sentence: &str, packet: &Ip) -> Arrives {
    from_client(title(mode, family, sentence), packet).with_annex(every_mode).after(&Ip::tcp(
        client(family),
        service(family, mode),
        SYN,
        b"",
    ))
}

/// A router's complaint about a segment of the service's, and what the backend gets of it.
fn complained(mode: Mode, family: Family, complaint: Complaint, length: usize) -> (Ip, Ip) {
    let segment = |from, to| Ip::tcp(from, to, ACK, b"much").hops(60);
    let vip = service(family, mode);
    let sent = segment(vip, client(family));
    let from = router(family);
    let message = Ip::error((from, vip.ip()), complaint, &sent, length);
    let (source, destination) = ends_at_backend(mode, family);
    let original = segment(destination, source);
    let reaches = match mode.forward {
        Forward::Nat | Forward::Dnat => {
            let ends = (source.ip(), destination.ip());
            one_hop_on(Ip::error(ends, complaint, &original, length))
        }
        _ => wrapped_in(mode, family, &message, 6),
    };
    (message, reaches)
}

fn about_answers(mode: Mode, family: Family) -> Vec<Row> {
    let row = |sentence, complaint, length| {
        let (message, reaches) = complained(mode, family, complaint, length);
        comes(mode, family, sentence, &message).reaches_backend(IcmpForward, &reaches)
    };
    let (message, reaches) = complained(mode, family, Complaint::TooBig(1400), WHOLE);
    let sent = Ip::tcp(service(family, mode), client(family), ACK, b"much");
    let elsewhere = Ip::error((router(family), own(family)), Complaint::Port, &sent, WHOLE);
    let tags = [(0x88a8, 100), (0x8100, 200)];
    let tagged = frame(
        title(mode, family, "an error behind two tags reaches the backend"),
        &message.framed(OWN_MAC, ROUTER_MAC, &tags),
    );
    vec![
        row("that a packet was too big reaches the backend", Complaint::TooBig(1400), WHOLE),
        row("that a port is unreachable reaches the backend", Complaint::Port, WHOLE),
        row("that hops were used up reaches the backend", Complaint::Hops, WHOLE),
        row("eight quoted bytes are enough", Complaint::TooBig(1300), family.header_bytes() + 8),
        tagged
            .with_annex(every_mode)
            .after(&Ip::tcp(client(family), service(family, mode), SYN, b""))
            .reaches_backend(IcmpForward, &reaches),
        comes(mode, family, "an error to somebody else than who sent what it quotes passes", &elsewhere)
            .stops(IcmpNotOurs),
        comes(mode, family, "an error for an unresolved backend is dropped", &message)
            .once_backends_are(BackendFlags::ALIVE)
            .stops(Unresolved),
        last_hop(mode, family, &message),
    ]
}

/// What translates or hands on takes a hop, what wraps does not.
fn last_hop(mode: Mode, family: Family, message: &Ip) -> Row {
    let last = message.clone().hops(1);
    let row = comes(mode, family, "an error on its last hop", &last);
    if takes_a_hop(mode) {
        return row.stops(TimeToLive);
    }
    row.reaches_backend(IcmpForward, &wrapped_in(mode, family, &last, 6))
}

/// Errors about what full translation sent to a backend.
fn about_requests(family: Family) -> Vec<Row> {
    let mode = super::super::annex::NAT;
    let vip = service(family, mode);
    let syn = |from, to| Ip::tcp(from, to, SYN, b"");
    let sent = one_hop_on(syn(own_end(family), backend_end(family)));
    let original = one_hop_on(syn(client(family), vip));
    let row = |sentence, from, complaint, length| {
        let message = Ip::error((from, own(family)), complaint, &sent, length);
        let returned = one_hop_on(Ip::error((vip.ip(), client(family).ip()), complaint, &original, length));
        from_backend(title(mode, family, sentence), &message)
            .with_annex(every_mode)
            .after(&syn(client(family), vip))
            .reaches_client(IcmpReply, &returned)
    };
    let least = family.header_bytes() + 8;
    let elsewhere = Ip::error((backend(family), vip.ip()), Complaint::Port, &sent, WHOLE);
    vec![
        from_backend(title(mode, family, "an error to the VIP about what we sent passes"), &elsewhere)
            .with_annex(every_mode)
            .after(&syn(client(family), vip))
            .stops(IcmpNotOurs),
        row("a router's error reaches the client", router(family), Complaint::TooBig(1400), WHOLE),
        row("a backend's error reaches the client", backend(family), Complaint::Port, WHOLE),
        row("used up hops are told to the client", router(family), Complaint::Hops, WHOLE),
        row("eight quoted bytes are enough for the client", router(family), Complaint::Hops, least),
    ]
}

fn passing(family: Family) -> Vec<Row> {
    let mode = super::super::annex::NAT;
    let sent = Ip::tcp(own_end(family), backend_end(family), SYN, b"");
    let unknown = Ip::error((router(family), own(family)), Complaint::Hops, &sent, WHOLE);
    let (about_unknown, _) = complained(mode, family, Complaint::Port, WHOLE);
    let about = |end: SocketAddr| {
        let request = Ip::tcp(client(family), end, SYN, b"");
        Ip::error((end.ip(), client(family).ip()), Complaint::Port, &request, WHOLE)
    };
    let named = |sentence| title(mode, family, sentence);
    vec![
        from_backend(named("an error about a flow we do not know passes"), &unknown)
            .with_annex(every_mode)
            .stops(IcmpNotOurs),
        from_client(named("an error about an unknown flow of the service is dropped"), &about_unknown)
            .with_annex(every_mode)
            .stops(NoFlow),
        from_backend(
            title(DNAT, family, "an endpoint's error without a way is the VIP's, for the kernel to route"),
            &about(backend_end(family)),
        )
        .with_annex(with_endpoints)
        .passes_as(DnatRouted, &backend_frame(&about(service(family, DNAT)))),
    ]
}
