//! Packets that are none of our business.

use super::super::annex::{every_mode, vip};
use super::super::build::{Network as _, Stack};
use super::super::house::{NAT_VIP, OWN, OWN_MAC, ROUTER_MAC};
use super::super::ip::Ip;
use super::super::row::{Row, client_frame, frame, from_backend, from_client};
use super::{
    ACK, BACKEND_END, CLIENT, End, NAT_HTTP, OWN_END, SYN, SYN_ACK, dsr_tcp, nat_tcp, translated_tcp, wrapped,
};
use crate::family::Family;
use lb_common::datapath::Reason::{
    BadIp, IcmpNotOurs, LaterFragment, NatOpened, NotAVip, NotIp, NotUnicast, OtherProtocol, Settled,
};

/// A link-layer group.
const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 1];
/// An address that no station has, and one that a virtual router may.
const NOBODYS: [u8; 6] = [0; 6];
const ZEROS_FIRST: [u8; 6] = [0, 0, 0x5e, 0, 1, 7];
/// An address that is neither a VIP nor ours.
const NOBODY: End = ([192, 0, 2, 9], 80);

pub(super) fn rows() -> Vec<Row> {
    [link(), network(), transport()].concat()
}

fn link() -> Vec<Row> {
    let syn = nat_tcp(SYN);
    let elsewhere = Stack::tcp(CLIENT, NOBODY, SYN, b"");
    let asked = vip(Family::V4);
    let of_nobody = Ip::ping(CLIENT.0.into(), asked, 0, &[0, 1, 0, 1]).framed(OWN_MAC, NOBODYS, &[]);
    let of_group = Ip::ping(CLIENT.0.into(), asked, 0, &[0, 1, 0, 1]).framed(OWN_MAC, GROUP, &[]);
    let arp = syn.ethernet([0xff; 6], ROUTER_MAC).with_byte(13, 0x06);
    let ipv4_called_ipv6 = client_frame(&syn).with_word(12, 0x86dd);
    let tagged_twice = syn.tagged(OWN_MAC, ROUTER_MAC, 100).with_byte(16, 0x81).with_byte(17, 0);
    let provider = syn.tagged(OWN_MAC, ROUTER_MAC, 100).with_word(12, 0x88a8);
    let tagged_arp = syn.tagged(OWN_MAC, ROUTER_MAC, 100).with_word(16, 0x0806);
    vec![
        frame("an ARP request passes", &arp).stops(NotIp),
        frame("an IPv4 header in an IPv6 frame passes", &ipv4_called_ipv6).stops(BadIp),
        frame("a frame of fourteen bytes passes", &arp.cut(14)).stops(NotIp),
        frame("a broadcast passes", &syn.ethernet([0xff; 6], ROUTER_MAC)).stops(NotUnicast),
        frame("a multicast passes", &syn.ethernet(GROUP, ROUTER_MAC)).stops(NotUnicast),
        frame("what comes from a broadcast address passes", &syn.ethernet(OWN_MAC, [0xff; 6]))
            .stops(NotUnicast),
        frame("what comes from a multicast address passes", &dsr_tcp(SYN).ethernet(OWN_MAC, GROUP))
            .stops(NotUnicast),
        frame(
            "data of a flow that comes from a multicast address passes",
            &nat_tcp(ACK).ethernet(OWN_MAC, GROUP),
        )
        .after(&syn)
        .stops(NotUnicast),
        frame("what comes tagged from a multicast address passes", &syn.tagged(OWN_MAC, GROUP, 100))
            .stops(NotUnicast),
        frame("what comes from nobody passes", &syn.ethernet(OWN_MAC, NOBODYS)).stops(NotUnicast),
        frame("for another mode, too", &dsr_tcp(SYN).ethernet(OWN_MAC, NOBODYS)).stops(NotUnicast),
        frame("data of a flow that come from nobody pass", &nat_tcp(ACK).ethernet(OWN_MAC, NOBODYS))
            .after(&syn)
            .stops(NotUnicast),
        frame("what would be reset, from nobody, passes", &nat_tcp(ACK).ethernet(OWN_MAC, NOBODYS))
            .stops(NotUnicast),
        frame("what comes tagged from nobody passes", &syn.tagged(OWN_MAC, NOBODYS, 100)).stops(NotUnicast),
        frame("a ping from nobody passes", &of_nobody).with_annex(every_mode).stops(NotUnicast),
        frame("an address may begin with zeros", &syn.ethernet(OWN_MAC, ZEROS_FIRST))
            .reaches_backend(NatOpened, &translated_tcp(SYN)),
        frame(
            "so may that of a sender whose packets are encapsulated",
            &dsr_tcp(SYN).ethernet(OWN_MAC, ZEROS_FIRST),
        )
        .reaches_backend(Settled, &wrapped(&dsr_tcp(SYN))),
        frame("the loopback's frames come from nobody, and go there", &syn.ethernet(NOBODYS, NOBODYS))
            .reaches_backend(NatOpened, &translated_tcp(SYN)),
        frame("a ping from a multicast address passes", &of_group).with_annex(every_mode).stops(NotUnicast),
        frame(
            "a tagged packet that is not for us passes with its tag",
            &elsewhere.tagged(OWN_MAC, ROUTER_MAC, 100),
        )
        .stops(NotAVip),
        frame("a service tag around a customer's is looked behind", &provider)
            .reaches_backend(NatOpened, &translated_tcp(SYN)),
        frame("a tagged ARP request passes", &tagged_arp).stops(NotIp),
        frame("a tagged broadcast passes", &syn.tagged([0xff; 6], ROUTER_MAC, 100)).stops(NotUnicast),
        frame("a frame of 802.3 with a length for a type passes", &client_frame(&syn).with_word(12, 40))
            .stops(NotIp),
        frame("a second tag that is cut passes", &tagged_twice.cut(21)).stops(NotIp),
    ]
}

fn network() -> Vec<Row> {
    let elsewhere = Stack::tcp(CLIENT, NOBODY, SYN, b"");
    let ping = Stack::icmp(CLIENT.0, NOBODY.0, 8, 0, &[0, 1, 0, 1]);
    let fragment = Stack::tcp(CLIENT, NOBODY, ACK, b"").fragment(0x0010);
    let other = |sentence, protocol| {
        let packet = Stack::raw(CLIENT.0, NAT_VIP, protocol, &[0, 80, 0, 80, 0, 0, 0, 0]);
        from_client(sentence, &packet).stops(OtherProtocol)
    };
    let encapsulated = nat_tcp(SYN).within(CLIENT.0, OWN);
    vec![
        from_client("TCP to an address that is no VIP passes", &elsewhere).stops(NotAVip),
        from_client("a ping to an address that is no VIP passes", &ping).stops(IcmpNotOurs),
        from_client("a fragment for nobody passes", &fragment).stops(LaterFragment),
        other("protocol 0 to a VIP passes", 0),
        other("IPv6 in IPv4 to a VIP passes", 41),
        other("GRE to a VIP passes", 47),
        other("ESP to a VIP passes", 50),
        other("SCTP to a VIP passes", 132),
        other("UDP-Lite to a VIP passes", 136),
        other("protocol 255 to a VIP passes", 255),
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
        from_client("TCP to port 0 of a VIP passes", &Stack::tcp(CLIENT, (NAT_VIP, 0), SYN, b""))
            .stops(NotAVip),
        from_backend("TCP to port 0 of our own address passes", &Stack::tcp(BACKEND_END, (OWN, 0), SYN, b""))
            .stops(NotAVip),
        from_client("TCP from a VIP to a client passes", &Stack::tcp(NAT_HTTP, CLIENT, SYN_ACK, b""))
            .stops(NotAVip),
        from_client("UDP to a TCP service's port passes", &other_protocol).stops(NotAVip),
        from_backend("TCP to our own address on a port NAT does not use passes", &to_host).stops(NotAVip),
        from_backend("TCP to our own address on an unused NAT port passes", &unasked).stops(NotAVip),
    ]
}
