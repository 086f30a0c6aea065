//! Headers at the edges of what their fields can say, translated.

use super::super::build::{End, Ipv4, Stack};
use super::super::house::{BACK_MAC, BACKEND_MAC};
use super::super::row::{Row, client_frame, frame, from_client};
use super::super::segment::Segment as _;
use super::{
    ACK, BACKEND_END, CLIENT, NAT_DNS, NAT_HTTP, NO_HOPS, OWN_END, PUSH_ACK, SYN, nat_query, nat_tcp, told,
    translated_query, translated_tcp,
};
use lb_common::datapath::Reason::{FragmentationNeeded, HopsUsedUp, NatForward, NatOpened};

/// Where an untagged frame without IP options has its checksums.
const IP_SUM: usize = 24;
const TCP_SUM: usize = 50;
const UDP_SUM: usize = 40;

pub(super) fn rows() -> Vec<Row> {
    [options(), sizes(), time_to_live(), fields(), network_sums(), tcp_sums(), udp_sums()].concat()
}

fn options() -> Vec<Row> {
    let (syn, translated) = (nat_tcp(SYN), translated_tcp(SYN));
    let (query, translated_query) = (nat_query(), translated_query());
    vec![
        from_client("nat: forty bytes of IP options stay", &syn.clone().options(&[1; 40]))
            .reaches_backend(NatOpened, &translated.clone().options(&[1; 40])),
        from_client("nat: a datagram behind forty bytes of options is found", &query.options(&[1; 40]))
            .reaches_backend(NatOpened, &translated_query.options(&[1; 40])),
        from_client("nat: four bytes of TCP options stay", &syn.clone().tcp_options(&[2, 4, 5, 0xb4]))
            .reaches_backend(NatOpened, &translated.clone().tcp_options(&[2, 4, 5, 0xb4])),
        from_client("nat: forty bytes of TCP options stay", &syn.clone().tcp_options(&[1; 40]))
            .reaches_backend(NatOpened, &translated.clone().tcp_options(&[1; 40])),
        from_client("nat: both headers may be sixty bytes", &syn.tcp_options(&[1; 40]).options(&[1; 40]))
            .reaches_backend(NatOpened, &translated.tcp_options(&[1; 40]).options(&[1; 40])),
    ]
}

/// The same bytes from a client and as the backend gets them.
fn both(flags: u8, payload: &[u8]) -> (Ipv4, Ipv4) {
    let translated = Stack::tcp(OWN_END, BACKEND_END, flags, payload).ttl(63);
    (Stack::tcp(CLIENT, NAT_HTTP, flags, payload), translated)
}

fn sizes() -> Vec<Row> {
    let (full, full_translated) = both(PUSH_ACK, &[0xa5; 1460]);
    let jumbo = both(PUSH_ACK, &[0xff; 3460]).0;
    let quotation = [&[0, 0, 5, 0xdc], &jumbo.ip_bytes()[..28]].concat();
    let needed = Stack::icmp(NAT_HTTP.0, CLIENT.0, 3, 4, &quotation).class(0xc0).identification(0);
    let empty = |from, to| Stack::udp(from, to, b"");
    let trailing = [1, 2, 3];
    vec![
        from_client("nat: a full frame is translated", &full)
            .after(&nat_tcp(SYN))
            .reaches_backend(NatForward, &full_translated),
        from_client("nat: the sender of a frame of three and a half kilobytes is told what fits", &jumbo)
            .after(&nat_tcp(SYN))
            .reaches_client(FragmentationNeeded, &needed),
        from_client("nat: an empty datagram is translated", &empty(CLIENT, NAT_DNS))
            .reaches_backend(NatOpened, &empty(OWN_END, BACKEND_END).ttl(63)),
        from_client(
            "nat: bytes between a datagram's end and the packet's stay",
            &nat_query().trailing(&trailing),
        )
        .reaches_backend(NatOpened, &translated_query().trailing(&trailing)),
    ]
}

fn time_to_live() -> Vec<Row> {
    let (syn, translated) = (nat_tcp(SYN), translated_tcp(SYN));
    vec![
        from_client("nat: the last hop but one is forwarded", &syn.clone().ttl(2))
            .reaches_backend(NatOpened, &translated.clone().ttl(1)),
        from_client("nat: the most hops lose one", &syn.clone().ttl(255))
            .reaches_backend(NatOpened, &translated.ttl(254)),
        from_client("nat: the sender of a packet without any hop left is told", &syn.clone().ttl(0))
            .reaches_client(HopsUsedUp, &told(&syn.ttl(0), NO_HOPS)),
    ]
}

fn fields() -> Vec<Row> {
    let (syn, translated) = (nat_tcp(SYN), translated_tcp(SYN));
    let from_port_zero: End = (CLIENT.0, 0);
    vec![
        from_client("nat: a packet that may be fragmented stays one that may", &syn.clone().fragment(0))
            .reaches_backend(NatOpened, &translated.clone().fragment(0)),
        from_client("nat: the reserved flag makes no fragment", &syn.clone().fragment(0x8000))
            .reaches_backend(NatOpened, &translated.clone().fragment(0x8000)),
        from_client("nat: congestion marks stay", &syn.class(0x03))
            .reaches_backend(NatOpened, &translated.class(0x03)),
        from_client("nat: a client may use port 0", &Stack::tcp(from_port_zero, NAT_HTTP, SYN, b""))
            .reaches_backend(NatOpened, &translated_tcp(SYN)),
        from_client(
            "nat: a client that is the service itself is one",
            &Stack::tcp(NAT_HTTP, NAT_HTTP, SYN, b""),
        )
        .reaches_backend(NatOpened, &translated_tcp(SYN)),
        from_client("nat: a backend may be a client", &Stack::tcp(BACKEND_END, NAT_HTTP, SYN, b""))
            .reaches_backend(NatOpened, &translated_tcp(SYN)),
    ]
}

/// The identification that gives a packet a header checksum of zero.
fn with_zero_sum(packet: &Ipv4) -> u16 {
    (0..=u16::MAX).find(|id| packet.clone().identification(*id).sums().0 == 0).unwrap_or(0)
}

fn network_sums() -> Vec<Row> {
    let (syn, translated) = (nat_tcp(SYN), translated_tcp(SYN));
    let (before, after) = (with_zero_sum(&syn), with_zero_sum(&translated));
    let zero = syn.clone().identification(before);
    let zero_translated = translated.clone().identification(before);
    let wrong = translated.ethernet(BACKEND_MAC, BACK_MAC).with_wrong_sum(IP_SUM);
    vec![
        from_client("nat: a header checksum of zero is translated", &zero)
            .reaches_backend(NatOpened, &zero_translated),
        frame(
            "nat: a header checksum of negative zero is translated",
            &client_frame(&zero).with_word(IP_SUM, 0xffff),
        )
        .reaches_backend(NatOpened, &zero_translated),
        from_client("nat: a header checksum becomes zero", &syn.clone().identification(after))
            .reaches_backend(NatOpened, &translated.identification(after)),
        frame("nat: a wrong header checksum stays as wrong", &client_frame(&syn).with_wrong_sum(IP_SUM))
            .reaches_backend_as(NatOpened, &wrong),
    ]
}

/// The two bytes of payload that give a packet this transport checksum.
fn payload_for(sum: u16, packet: impl Fn(&[u8]) -> Ipv4) -> [u8; 2] {
    (0..=u16::MAX).map(u16::to_be_bytes).find(|payload| packet(payload).sums().1 == sum).unwrap_or_default()
}

fn tcp_sums() -> Vec<Row> {
    let came = payload_for(0, |payload| both(ACK, payload).0);
    let leaves = payload_for(0, |payload| both(ACK, payload).1);
    let (zero, zero_translated) = both(ACK, &came);
    let (becomes, becomes_translated) = both(ACK, &leaves);
    let (data, translated) = both(ACK, b"data");
    let wrong = translated.ethernet(BACKEND_MAC, BACK_MAC).with_wrong_sum(TCP_SUM);
    let syn = nat_tcp(SYN);
    vec![
        from_client("nat: a TCP checksum of zero is translated", &zero)
            .after(&syn)
            .reaches_backend(NatForward, &zero_translated),
        frame(
            "nat: a TCP checksum of negative zero is translated",
            &client_frame(&zero).with_word(TCP_SUM, 0xffff),
        )
        .after(&syn)
        .reaches_backend(NatForward, &zero_translated),
        from_client("nat: a TCP checksum may become zero", &becomes)
            .after(&syn)
            .reaches_backend(NatForward, &becomes_translated),
        frame("nat: a wrong TCP checksum stays as wrong", &client_frame(&data).with_wrong_sum(TCP_SUM))
            .after(&syn)
            .reaches_backend_as(NatForward, &wrong),
    ]
}

fn udp_sums() -> Vec<Row> {
    let datagram = |payload: &[u8]| Stack::udp(CLIENT, NAT_DNS, payload);
    let translated = |payload: &[u8]| Stack::udp(OWN_END, BACKEND_END, payload).ttl(63);
    let came = payload_for(0xffff, datagram);
    let leaves = payload_for(0xffff, translated);
    let wrong = translated(b"data").ethernet(BACKEND_MAC, BACK_MAC).with_wrong_sum(UDP_SUM);
    vec![
        from_client("nat: a UDP checksum of all ones is translated", &datagram(&came))
            .reaches_backend(NatOpened, &translated(&came)),
        from_client("nat: a UDP checksum that becomes zero is sent as all ones", &datagram(&leaves))
            .reaches_backend(NatOpened, &translated(&leaves)),
        frame(
            "nat: a wrong UDP checksum stays as wrong",
            &client_frame(&datagram(b"data")).with_wrong_sum(UDP_SUM),
        )
        .reaches_backend_as(NatOpened, &wrong),
    ]
}
