//! More new flows than may be recorded: what needs no record goes on, the rest is refused. And what comes back to
//! clients behind tags, and what this host serves itself.

use super::super::annex::{
    IPIP_V4, IPIP_V6, LOCAL, Mode, NAT, backend, client, every_mode, other_client, own, router, service,
};
use super::super::build::Network as _;
use super::super::house::{MOVING, OWN_MAC, ROUTER_MAC};
use super::super::ip::{Complaint, Ip};
use super::super::row::{Row, frame, from_backend, from_client};
use super::modal::{backend_end, forwarded, one_hop_on, own_end, title};
use super::{ACK, SYN, SYN_ACK};
use crate::family::Family;
use lb_common::datapath::Reason::{
    GuardRefused, GuardUnrecorded, Local, NatForward, NatOpened, NatReply, Reset,
};

pub(super) fn rows() -> Vec<Row> {
    let of = |rows: fn(Family) -> Vec<Row>| Family::BOTH.into_iter().flat_map(rows);
    of(guarded).chain(of(behind_tags)).chain(of(served_here)).collect()
}

const fn in_family(family: Family) -> Mode {
    if matches!(family, Family::V4) { IPIP_V4 } else { IPIP_V6 }
}

/// No two rows in a row have the same limit: programs that an earlier row used would count its flows, too.
fn guarded(family: Family) -> Vec<Row> {
    let mode = in_family(family);
    let of_client = |mode, flags| Ip::tcp(client(family), service(family, mode), flags, b"");
    let of_other = |mode| Ip::tcp(other_client(family), service(family, mode), SYN, b"");
    // It takes no port that the client's connection would want.
    let datagram = Ip::udp(other_client(family), service(family, NAT), b"query");
    let reset = Ip::reset(service(family, NAT), client(family));
    let unrecorded = Ip::tcp(client(family), service(family, mode), SYN, b"");
    vec![
        from_client(title(mode, family, "a flow too many goes unrecorded to the settled owner"), &unrecorded)
            .with_annex(every_mode)
            .with_slot(MOVING)
            .with_new_flows(1)
            .after(&of_other(mode))
            .reaches_backend(GuardUnrecorded, &unrecorded.within(own(family), backend(family))),
        from_client(
            title(NAT, family, "a flow that needs a record too many is refused"),
            &of_client(NAT, SYN),
        )
        .with_annex(every_mode)
        .with_new_flows(2)
        .after(&datagram)
        .stops(GuardRefused),
        from_client(
            title(NAT, family, "a flow of which one record would fit is refused"),
            &of_client(NAT, SYN),
        )
        .with_annex(every_mode)
        .with_new_flows(1)
        .stops(GuardRefused),
        from_client(title(NAT, family, "data of a refused flow is reset"), &of_client(NAT, ACK))
            .with_annex(every_mode)
            .with_new_flows(3)
            .after(&datagram)
            .after_lost(&of_client(NAT, SYN))
            .reaches_client(Reset, &reset),
        from_client(title(NAT, family, "a known flow goes on when no more may begin"), &of_client(NAT, ACK))
            .with_annex(every_mode)
            .with_new_flows(2)
            .after(&of_client(NAT, SYN))
            .reaches_backend(NatForward, &forwarded(NAT, family, |from, to| Ip::tcp(from, to, ACK, b""))),
        from_client(title(NAT, family, "a flow within the limit opens"), &of_client(NAT, SYN))
            .with_annex(every_mode)
            .with_new_flows(4)
            .reaches_backend(NatOpened, &forwarded(NAT, family, |from, to| Ip::tcp(from, to, SYN, b""))),
    ]
}

fn behind_tags(family: Family) -> Vec<Row> {
    let syn = Ip::tcp(client(family), service(family, NAT), SYN, b"");
    let reply = Ip::tcp(backend_end(family), own_end(family), SYN_ACK, b"");
    let returned = one_hop_on(Ip::tcp(service(family, NAT), client(family), SYN_ACK, b""));
    let row = |sentence: &str, tags: &[_]| {
        from_backend(title(NAT, family, sentence), &reply)
            .with_annex(every_mode)
            .after_frame(&syn.framed(OWN_MAC, ROUTER_MAC, tags))
            .reaches_client_as(NatReply, &returned.framed(ROUTER_MAC, OWN_MAC, tags))
    };
    let twice = syn.framed(OWN_MAC, ROUTER_MAC, &[(0x88a8, 100), (0x8100, 200), (0x8100, 300)]);
    vec![
        row("a reply gets the client's two tags back", &[(0x88a8, 0xa064), (0x8100, 200)]),
        row("a reply gets two tags of one kind back", &[(0x8100, 100), (0x8100, 200)]),
        row("a reply gets a lone service tag back", &[(0x88a8, 100)]),
        row("a reply gets no tag where there was none", &[]),
        frame(title(NAT, family, "a third tag passes"), &twice)
            .with_annex(every_mode)
            .stops(lb_common::datapath::Reason::NotIp),
    ]
}

fn served_here(family: Family) -> Vec<Row> {
    let here = service(family, LOCAL);
    let sent = Ip::tcp(here, client(family), ACK, b"page");
    let error = Ip::error((router(family), here.ip()), Complaint::TooBig(1400), &sent, 199);
    let row = |sentence: &str, packet: &Ip| {
        from_client(title(LOCAL, family, sentence), packet).with_annex(every_mode).stops(Local)
    };
    vec![
        row("a SYN passes", &Ip::tcp(client(family), here, SYN, b"")),
        row("data passes", &Ip::tcp(client(family), here, ACK, b"more")),
        row("a datagram passes", &Ip::udp(client(family), here, b"query")),
        row("an error about what this host sent passes", &error),
    ]
}
