//! Backends' replies that are translated back to their clients.

use super::super::build::{Ipv4, Stack};
use super::super::house::{BACK_MAC, BACKEND_MAC, OWN, OWN_MAC, ROUTER_MAC};
use super::super::row::{Row, backend_frame, frame, from_backend};
use super::super::segment::Segment as _;
use super::{
    ACK, BACKEND_END, CLIENT, FIN_ACK, MOVED_END, NAT_DNS, NAT_HTTP, NO_HOPS, OWN_END, SYN, SYN_ACK,
    nat_query, nat_tcp, told,
};
use lb_common::datapath::Reason::{HopsUsedUp, LaterFragment, Malformed, NatReply, NotAVip};

/// A backend's segment to the balancer's end of a flow.
fn reply(flags: u8, payload: &[u8]) -> Ipv4 {
    Stack::tcp(BACKEND_END, OWN_END, flags, payload)
}

/// What the client gets of it.
fn returned(flags: u8, payload: &[u8]) -> Ipv4 {
    Stack::tcp(NAT_HTTP, CLIENT, flags, payload).ttl(63)
}

pub(super) fn rows() -> Vec<Row> {
    [translated(), ways_back(), refused()].concat()
}

fn translated() -> Vec<Row> {
    let syn = nat_tcp(SYN);
    let longest = reply(SYN_ACK, b"").tcp_options(&[1; 40]).options(&[1; 40]);
    let answer = Stack::udp(BACKEND_END, OWN_END, b"answer");
    let returned_answer = Stack::udp(NAT_DNS, CLIENT, b"answer").ttl(63);
    vec![
        from_backend("nat: a reply is translated back", &reply(SYN_ACK, b""))
            .after(&syn)
            .reaches_client(NatReply, &returned(SYN_ACK, b"")),
        from_backend("nat: a FIN with data is translated back", &reply(FIN_ACK, b"bye"))
            .after(&syn)
            .reaches_client(NatReply, &returned(FIN_ACK, b"bye")),
        from_backend("nat: a reply with sixty bytes in both headers is translated back", &longest)
            .after(&syn)
            .reaches_client(NatReply, &returned(SYN_ACK, b"").tcp_options(&[1; 40]).options(&[1; 40])),
        from_backend("nat: an answer without checksum stays without", &answer.clone().unsummed())
            .after(&nat_query())
            .reaches_client(NatReply, &returned_answer.clone().unsummed()),
        from_backend("nat: a datagram's answer is translated back", &answer)
            .after(&nat_query())
            .reaches_client(NatReply, &returned_answer),
    ]
}

fn ways_back() -> Vec<Row> {
    const OTHER_ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 0x77];
    let syn = nat_tcp(SYN);
    let (syn_ack, returned) = (reply(SYN_ACK, b""), returned(SYN_ACK, b""));
    let tags = |sentence, control| {
        from_backend(sentence, &syn_ack)
            .after_frame(&syn.tagged(OWN_MAC, ROUTER_MAC, control))
            .reaches_client_as(NatReply, &returned.tagged(ROUTER_MAC, OWN_MAC, control))
    };
    vec![
        tags("nat: a reply gets the client's priority back", 0xa064),
        tags("nat: a reply gets a bare priority back", 0x6000),
        tags("nat: a reply gets the highest tag back", 0xffff),
        tags("nat: a reply gets a tag without identifier and priority back", 0),
        frame("nat: a reply's own tag is taken off", &syn_ack.tagged(BACK_MAC, BACKEND_MAC, 200))
            .after(&syn)
            .reaches_client(NatReply, &returned),
        from_backend("nat: a reply gets the client's tag back", &syn_ack)
            .after_frame(&syn.tagged(OWN_MAC, ROUTER_MAC, 100))
            .reaches_client_as(NatReply, &returned.tagged(ROUTER_MAC, OWN_MAC, 100)),
        from_backend("nat: replies follow when the client's router changes", &syn_ack)
            .after(&syn)
            .after_frame(&nat_tcp(ACK).ethernet(OWN_MAC, OTHER_ROUTER))
            .reaches_client_as(NatReply, &returned.ethernet(OTHER_ROUTER, OWN_MAC)),
    ]
}

fn refused() -> Vec<Row> {
    let syn = nat_tcp(SYN);
    let other_port = Stack::tcp(BACKEND_END, (OWN, 40_001), SYN_ACK, b"");
    let other_server = Stack::tcp(MOVED_END, OWN_END, SYN_ACK, b"");
    let datagram = Stack::udp(BACKEND_END, OWN_END, b"answer");
    let last = reply(SYN_ACK, b"").ttl(1);
    let cut = backend_frame(&reply(SYN_ACK, b"")).cut(50);
    vec![
        from_backend("nat: a reply to another port passes", &other_port).after(&syn).stops(NotAVip),
        from_backend("nat: a reply from another server passes", &other_server).after(&syn).stops(NotAVip),
        from_backend("nat: a reply's last hop is not forwarded", &last)
            .after(&syn)
            .reaches_sender(HopsUsedUp, &told(&last, NO_HOPS)),
        from_backend(
            "nat: a later fragment of a reply without its first passes",
            &reply(SYN_ACK, b"").fragment(0x0003),
        )
        .after(&syn)
        .stops(LaterFragment),
        from_backend("nat: a datagram does not take a connection's way back", &datagram)
            .after(&syn)
            .stops(NotAVip),
        frame("nat: a cut reply is dropped", &cut).after(&syn).stops(Malformed),
    ]
}
