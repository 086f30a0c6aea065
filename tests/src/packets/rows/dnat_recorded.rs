//! Translation of the destination where answers are known by their flows: one server may answer for several VIPs, and on whichever
//! of its ports.

use super::super::annex::{
    KEPT, backend, by_family, client, every_mode, key, other_client, put, router, service, slot,
};
use super::super::ip::{Complaint, Ip};
use super::super::row::{Arrives, Row, Setup, from_backend, from_client};
use super::modal::{backend_end, one_hop_on, title};
use super::{ACK, FIN_ACK, RST, SYN, SYN_ACK};
use crate::family::Family;
use lb_common::abi::{BackendFlags, Forward, Service, ServiceFlags};
use lb_common::datapath::HostTables;
use lb_common::datapath::Reason::{
    FragmentationNeeded, IcmpReply, NatForward, NatOpened, NatReply, NoFlow, NotAVip, PortsTaken,
};
use lb_common::wire::protocol;
use std::net::SocketAddr;

/// Bytes that the way to clients takes.
const NARROW: u32 = 1400;
/// More than any packet quoted here has.
const WHOLE: usize = 199;
/// The first of two numbers of services and slots.
const NUMBER: u16 = 90;

pub(super) fn rows() -> Vec<Row> {
    let of = |family| [replies(family), shared(family), strangers(family), errors(family)];
    Family::BOTH.into_iter().flat_map(|family| of(family).concat()).collect()
}

/// Another VIP that leads to the same servers.
const fn second_vip(family: Family) -> SocketAddr {
    SocketAddr::new(by_family(family, [203, 0, 113, 31], 0x31), 443)
}

/// Every mode, and this VIP.
fn two_vips(tables: &mut HostTables, setup: &Setup) {
    every_mode(tables, setup);
    for (number, family) in (NUMBER..).zip(Family::BOTH) {
        let key = key(second_vip(family).ip(), second_vip(family).port(), protocol::TCP);
        let flags = ServiceFlags::KEEPS_CLIENT;
        put(tables, Service::new(key, Forward::Nat, number, number.into(), 1, flags));
        tables.slots.insert(number.into(), slot(setup, family));
    }
}

fn tcp(flags: u8) -> impl Fn(SocketAddr, SocketAddr) -> Ip {
    move |from, to| Ip::tcp(from, to, flags, b"")
}

fn comes(family: Family, sentence: &str, packet: &Ip) -> Arrives {
    from_client(title(KEPT, family, sentence), packet).with_annex(two_vips)
}

fn answers(family: Family, sentence: &str, packet: &Ip) -> Arrives {
    from_backend(title(KEPT, family, sentence), packet).with_annex(two_vips)
}

fn replies(family: Family) -> Vec<Row> {
    let (client, vip, endpoint) = (client(family), service(family, KEPT), backend_end(family));
    let row = |sentence, request: &dyn Fn(_, _) -> Ip, reply: &dyn Fn(_, _) -> Ip| {
        answers(family, sentence, &reply(endpoint, client))
            .after(&request(client, vip))
            .reaches_client(NatReply, &one_hop_on(reply(vip, client)))
    };
    let long = |from, to| Ip::tcp(from, to, ACK, &vec![7; NARROW as usize]);
    vec![
        row("a reply gets the VIP as its source", &tcp(SYN), &tcp(SYN_ACK)),
        row("a datagram's reply, too", &|from, to| Ip::udp(from, to, b"query"), &|from, to| {
            Ip::udp(from, to, b"answer")
        }),
        answers(family, "the sender of a reply that is too long is told", &long(endpoint, client))
            .with_mtu(NARROW)
            .after(&tcp(SYN)(client, vip))
            .reaches_sender(
                FragmentationNeeded,
                &Ip::told(&long(endpoint, client), Complaint::TooBig(u16::try_from(NARROW).unwrap_or(0))),
            ),
    ]
}

fn shared(family: Family) -> Vec<Row> {
    let (one, two, endpoint) = (client(family), other_client(family), backend_end(family));
    let (vip, second) = (service(family, KEPT), second_vip(family));
    vec![
        answers(family, "one server answers for the VIP that was asked", &tcp(SYN_ACK)(endpoint, two))
            .after(&tcp(SYN)(one, vip))
            .after(&tcp(SYN)(two, second))
            .reaches_client(NatReply, &one_hop_on(tcp(SYN_ACK)(second, two))),
        comes(family, "one port of a client's at two VIPs of one server is refused", &tcp(SYN)(one, second))
            .after(&tcp(SYN)(one, vip))
            .stops(PortsTaken),
    ]
}

fn strangers(family: Family) -> Vec<Row> {
    let (client, vip, endpoint) = (client(family), service(family, KEPT), backend_end(family));
    let adopted = |sentence, flags| {
        comes(family, sentence, &tcp(flags)(client, vip))
            .reaches_backend(NatOpened, &one_hop_on(tcp(flags)(client, endpoint)))
    };
    vec![
        answers(family, "what a server sends of its own passes", &tcp(SYN)(endpoint, client)).stops(NotAVip),
        adopted("a connection that nobody knows goes on", ACK),
        adopted("and may end", FIN_ACK),
        comes(family, "a reset of none is dropped", &tcp(RST)(client, vip)).stops(NoFlow),
        comes(family, "data after a SYN follow its record", &tcp(ACK)(client, vip))
            .after(&tcp(SYN)(client, vip))
            .reaches_backend(NatForward, &one_hop_on(tcp(ACK)(client, endpoint))),
        comes(family, "a dead backend's flow begins anew", &tcp(ACK)(client, vip))
            .after(&tcp(SYN)(client, vip))
            .once_backends_are(BackendFlags::RESOLVED)
            .reaches_backend(NatOpened, &one_hop_on(tcp(ACK)(client, endpoint))),
    ]
}

/// About what a client's packet became: they go back to the client, as if the VIP had sent them.
fn errors(family: Family) -> Vec<Row> {
    let (client, vip) = (client(family), service(family, KEPT));
    let sent = one_hop_on(tcp(SYN)(client, backend_end(family)));
    let original = one_hop_on(tcp(SYN)(client, vip));
    [("a router's", router(family)), ("a backend's", backend(family))]
        .map(|(whose, from)| {
            let message = Ip::error((from, client.ip()), Complaint::TooBig(1400), &sent, WHOLE);
            let told = Ip::error((vip.ip(), client.ip()), Complaint::TooBig(1400), &original, WHOLE);
            answers(family, &format!("{whose} error reaches the client"), &message)
                .after(&tcp(SYN)(client, vip))
                .reaches_client(IcmpReply, &one_hop_on(told))
        })
        .into()
}
