//! Packets that are none of our business.

use super::super::build::Stack;
use super::super::house::{NAT_VIP, OWN, OWN_MAC, ROUTER_MAC};
use super::super::row::{Row, client_frame, frame, from_backend, from_client};
use super::{ACK, BACKEND_END, CLIENT, NAT_HTTP, OWN_END, SYN, nat_tcp};
use lb_common::datapath::Reason::{IcmpNotOurs, LaterFragment, NotAVip, NotIpv4, NotUnicast, OtherProtocol};

pub(super) fn rows() -> Vec<Row> {
    [link(), network(), transport()].concat()
}

fn link() -> Vec<Row> {
    let syn = nat_tcp(SYN);
    let elsewhere = Stack::tcp(CLIENT, ([192, 0, 2, 9], 80), SYN, b"");
    let arp = syn.ethernet([0xff; 6], ROUTER_MAC).with_byte(13, 0x06);
    let ipv6 = client_frame(&syn).with_byte(12, 0x86).with_byte(13, 0xdd);
    let tagged_twice = syn.tagged(OWN_MAC, ROUTER_MAC, 100).with_byte(16, 0x81).with_byte(17, 0);
    vec![
        frame("an ARP request passes", &arp).stops(NotIpv4),
        frame("IPv6 passes", &ipv6).stops(NotIpv4),
        frame("a frame of fourteen bytes passes", &arp.cut(14)).stops(NotIpv4),
        frame("a broadcast passes", &syn.ethernet([0xff; 6], ROUTER_MAC)).stops(NotUnicast),
        frame("a multicast passes", &syn.ethernet([1, 0, 0x5e, 0, 0, 1], ROUTER_MAC)).stops(NotUnicast),
        frame(
            "a tagged packet that is not for us passes with its tag",
            &elsewhere.tagged(OWN_MAC, ROUTER_MAC, 100),
        )
        .stops(NotAVip),
        frame("a second tag is not looked behind", &tagged_twice).stops(NotIpv4),
    ]
}

fn network() -> Vec<Row> {
    let elsewhere = Stack::tcp(CLIENT, ([192, 0, 2, 9], 80), SYN, b"");
    let ping = Stack::icmp(CLIENT.0, NAT_VIP, 8, 0, &[0, 1, 0, 1]);
    let fragment = nat_tcp(ACK).fragment(0x0010);
    let encapsulated = nat_tcp(SYN).within(CLIENT.0, OWN);
    vec![
        from_client("TCP to an address that is no VIP passes", &elsewhere).stops(NotAVip),
        from_client("a ping to a VIP passes", &ping).stops(IcmpNotOurs),
        from_client("a fragment without ports passes", &fragment).stops(LaterFragment),
        from_client("IPIP to us passes", &encapsulated).stops(OtherProtocol),
    ]
}

fn transport() -> Vec<Row> {
    let other_port = Stack::tcp(CLIENT, (NAT_VIP, 81), SYN, b"");
    let other_protocol = Stack::udp(CLIENT, NAT_HTTP, b"x");
    let to_host = Stack::tcp(BACKEND_END, (OWN, 22), SYN, b"");
    let unasked = Stack::tcp(BACKEND_END, OWN_END, ACK, b"");
    vec![
        from_client("TCP to another port of a VIP passes", &other_port).stops(NotAVip),
        from_client("UDP to a TCP service's port passes", &other_protocol).stops(NotAVip),
        from_backend("TCP to our own address on a port NAT does not use passes", &to_host).stops(NotAVip),
        from_backend("TCP to our own address on an unused NAT port passes", &unasked).stops(NotAVip),
    ]
}
