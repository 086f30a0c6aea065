//! What a backend that takes outer headers off makes of packets. All of them pass.

use super::super::build::{Ipv4, Stack};
use super::super::house::{BACKEND, BACKEND_MAC, OWN};
use super::super::row::{Row, at_decap};
use super::{ACK, CLIENT, DSR_DNS, SYN, dsr_tcp, nat_tcp, wrapped};
use lb_common::datapath::Reason::{BadIp, Decapsulated, NotEncapsulated, NotIp, NotUnicast};

const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x5e];

/// A packet in the frame in which it comes to the backend.
fn arriving(packet: &Ipv4) -> Stack {
    packet.ethernet(SERVER_MAC, BACKEND_MAC)
}

fn unwraps(sentence: &'static str, outer: &Stack, inner: &Ipv4) -> Row {
    at_decap(sentence, outer).passes_as(Decapsulated, &arriving(inner))
}

pub(super) fn rows() -> Vec<Row> {
    [outer(), inner(), untouched(), malformed()].concat()
}

fn outer() -> Vec<Row> {
    let syn = dsr_tcp(SYN);
    let outer = wrapped(&syn);
    let padded = arriving(&outer).padded(120);
    let trailer = arriving(&syn).padded(100);
    let keeps = |sentence, control| {
        let tagged = |packet: &Ipv4| packet.tagged(SERVER_MAC, BACKEND_MAC, control);
        at_decap(sentence, &tagged(&outer)).passes_as(Decapsulated, &tagged(&syn))
    };
    vec![
        unwraps("decap: an outer header is taken off", &arriving(&outer), &syn),
        unwraps(
            "decap: an outer header with four bytes of options is taken off",
            &arriving(&outer.clone().options(&[1; 4])),
            &syn,
        ),
        unwraps(
            "decap: a longest outer header is taken off",
            &arriving(&outer.clone().options(&[1; 40])),
            &syn,
        ),
        keeps("decap: a tag stays", 200),
        keeps("decap: a bare priority stays", 0x6000),
        unwraps(
            "decap: an outer header on its last hop is taken off",
            &arriving(&outer.clone().ttl(0)),
            &syn,
        ),
        unwraps(
            "decap: whoever sent an outer header, it is taken off",
            &arriving(&syn.clone().within(CLIENT.0, BACKEND)),
            &syn,
        ),
        at_decap("decap: padding behind the packet stays", &padded).passes_as(Decapsulated, &trailer),
    ]
}

fn inner() -> Vec<Row> {
    // Whatever begins as IPv6 does is for the stack to judge.
    let v6 = [&[0x60; 4][..], &[0; 2], &[0x60; 34]].concat();
    let in_v4 = arriving(&Stack::raw(OWN, BACKEND, 41, &v6));
    let bare = Stack::frame(SERVER_MAC, BACKEND_MAC, &[], 0x86dd, &v6);
    let comes_out = |sentence, packet: &Ipv4| unwraps(sentence, &arriving(&wrapped(packet)), packet);
    vec![
        at_decap("decap: a bare IPv6 header comes out of IPv4", &in_v4).passes_as(Decapsulated, &bare),
        comes_out("decap: a datagram comes out", &Stack::udp(CLIENT, DSR_DNS, b"query")),
        comes_out("decap: an ICMP error comes out", &Stack::icmp(CLIENT.0, DSR_DNS.0, 3, 3, &[0; 32])),
        comes_out("decap: a longest inner header comes out", &dsr_tcp(ACK).options(&[1; 40])),
        comes_out("decap: a full packet comes out", &Stack::tcp(CLIENT, DSR_DNS, ACK, &[7; 1440])),
        comes_out("decap: an inner fragment comes out", &dsr_tcp(ACK).fragment(0x2003)),
        comes_out("decap: a bare inner header comes out", &Stack::raw(CLIENT.0, DSR_DNS.0, 59, b"")),
        comes_out("decap: only one outer header is taken off", &dsr_tcp(SYN).within(CLIENT.0, DSR_DNS.0)),
    ]
}

fn untouched() -> Vec<Row> {
    let outer = wrapped(&dsr_tcp(SYN));
    let bare = |sentence, packet: &Ipv4| at_decap(sentence, &arriving(packet)).stops(NotEncapsulated);
    vec![
        bare("decap: TCP is left as it is", &nat_tcp(SYN)),
        bare("decap: a first fragment of IPIP is left as it is", &outer.clone().fragment(0x2000)),
        bare("decap: a later fragment of IPIP is left as it is", &outer.clone().fragment(0x0004)),
        at_decap("decap: ARP is left as it is", &arriving(&outer).with_word(12, 0x0806)).stops(NotIp),
        at_decap("decap: IPIP in a broadcast is left as it is", &outer.ethernet([0xff; 6], BACKEND_MAC))
            .stops(NotUnicast),
        at_decap("decap: a bad outer header is left as it is", &arriving(&outer).with_byte(14, 0x44))
            .stops(BadIp),
    ]
}

fn malformed() -> Vec<Row> {
    /// Where the inner header begins.
    const INNER: usize = 34;
    let outer = arriving(&wrapped(&dsr_tcp(SYN)));
    let cut_v6 = arriving(&Stack::raw(OWN, BACKEND, 41, &[0x60; 39]));
    let left = |sentence, frame: &Stack| at_decap(sentence, frame).stops(NotEncapsulated);
    vec![
        left("decap: a cut inner header is left as it is", &outer.clone().cut(INNER + 19)),
        left("decap: nothing behind the outer header is left as it is", &outer.clone().cut(INNER)),
        left("decap: an inner header of version 5 is left as it is", &outer.clone().with_byte(INNER, 0x55)),
        left("decap: a cut inner header of version 6 is left as it is", &cut_v6),
        left("decap: a short inner header is left as it is", &outer.clone().with_byte(INNER, 0x44)),
        left(
            "decap: an outer header that reaches behind the frame is left as it is",
            &outer.with_byte(14, 0x4f),
        ),
    ]
}
