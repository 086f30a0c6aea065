//! Translation of the destination: what endpoints send back. In these tables nothing is routed, so replies are left to
//! the kernel with the VIP for their source and all their hops.

use super::super::annex::{DNAT, client, moved, other_client, own, service, with_endpoints};
use super::super::build::Network as _;
use super::super::house::{BACK_MAC, BACKEND_MAC, MOVING};
use super::super::ip::{Complaint, Ip};
use super::super::row::{Arrives, Row, backend_frame, frame, from_backend, from_client};
use super::modal::{backend_end, one_hop_on, title};
use super::{ACK, FIN_ACK, SYN, SYN_ACK};
use crate::family::Family;
use lb_common::abi::BackendFlags;
use lb_common::datapath::Reason::{DnatRouted, HopsUsedUp, Malformed, NotAVip, Older, Opened, Recorded};
use std::net::SocketAddr;

pub(super) fn rows() -> Vec<Row> {
    Family::BOTH
        .into_iter()
        .flat_map(|family| [replies(family), refused(family), moving(family)].concat())
        .collect()
}

fn comes(family: Family, sentence: &str, packet: &Ip) -> Arrives {
    from_backend(title(DNAT, family, sentence), packet).with_annex(with_endpoints)
}

fn replies(family: Family) -> Vec<Row> {
    let (client, vip, endpoint) = (client(family), service(family, DNAT), backend_end(family));
    let row = |sentence, make: &dyn Fn(_, _) -> Ip| {
        comes(family, sentence, &make(endpoint, client))
            .passes_as(DnatRouted, &backend_frame(&make(vip, client)))
    };
    let reply = |from, to| Ip::tcp(from, to, SYN_ACK, b"");
    let tags = [(0x88a8, 100), (0x8100, 0xa0c8)];
    let in_tags = |packet: &Ip| packet.framed(BACK_MAC, BACKEND_MAC, &tags);
    let tagged =
        frame(title(DNAT, family, "a reply that passes keeps its tags"), &in_tags(&reply(endpoint, client)));
    let second = SocketAddr::new(moved(family), 8080);
    vec![
        row("a reply gets the VIP as its source", &reply),
        row("a reply with data is translated", &|from, to| Ip::tcp(from, to, ACK, b"page")),
        row("a FIN is translated", &|from, to| Ip::tcp(from, to, FIN_ACK, b"")),
        row("an answer is translated", &|from, to| Ip::udp(from, to, b"answer")),
        row("an answer without checksum stays without", &|from, to| Ip::udp(from, to, b"a").unsummed()),
        row("a reply with options is translated", &|from, to| reply(from, to).with_options()),
        comes(family, "another endpoint's reply gets the same source", &reply(second, client))
            .passes_as(DnatRouted, &backend_frame(&reply(vip, client))),
        tagged.with_annex(with_endpoints).passes_as(DnatRouted, &in_tags(&reply(vip, client))),
    ]
}

fn refused(family: Family) -> Vec<Row> {
    let (client, endpoint) = (client(family), backend_end(family));
    let reply = Ip::tcp(endpoint, client, SYN_ACK, b"");
    let probe = Ip::tcp(endpoint, SocketAddr::new(own(family), 55_000), SYN_ACK, b"");
    let other_port = Ip::tcp(SocketAddr::new(endpoint.ip(), 22), client, SYN_ACK, b"");
    let cut = backend_frame(&reply).cut(14 + family.header_bytes() + 12);
    vec![
        comes(family, "what an endpoint answers to us passes", &probe).stops(NotAVip),
        comes(family, "what another port of a backend sends passes", &other_port).stops(NotAVip),
        comes(family, "the sender of a reply on its last hop is told", &reply.clone().hops(1))
            .reaches_sender(HopsUsedUp, &Ip::told(&reply.hops(1), Complaint::Hops)),
        frame(title(DNAT, family, "a cut reply is dropped"), &cut)
            .with_annex(with_endpoints)
            .stops(Malformed),
    ]
}

fn moving(family: Family) -> Vec<Row> {
    let (vip, second) = (service(family, DNAT), SocketAddr::new(moved(family), 8080));
    let from = |client| move |flags, to| Ip::tcp(client, to, flags, b"");
    let (of_client, of_other) = (from(client(family)), from(other_client(family)));
    let comes = |sentence, packet: &Ip| {
        from_client(title(DNAT, family, sentence), packet).with_annex(with_endpoints).with_slot(MOVING)
    };
    vec![
        comes("while a slot moves a SYN goes to its current owner", &of_client(SYN, vip))
            .reaches_backend(Opened, &one_hop_on(of_client(SYN, second))),
        comes("data of a recorded flow follows its record", &of_client(ACK, vip))
            .after(&of_client(SYN, vip))
            .reaches_backend(Recorded, &one_hop_on(of_client(ACK, second))),
        comes("data of an older flow stays with the settled owner", &of_other(ACK, vip))
            .reaches_backend(Older, &one_hop_on(of_other(ACK, backend_end(family)))),
        comes("a dead backend's record goes to the current owner", &of_client(ACK, vip))
            .after(&of_client(SYN, vip))
            .once_backends_are(BackendFlags::RESOLVED)
            .reaches_backend(Opened, &one_hop_on(of_client(ACK, second))),
    ]
}
