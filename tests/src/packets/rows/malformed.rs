//! Packets whose lengths contradict each other: before we know whose they are they pass, then they are dropped.

use super::super::house::{OWN_MAC, ROUTER_MAC};
use super::super::row::{Row, client_frame, frame, from_client};
use super::{ACK, SYN, nat_query, nat_tcp};
use lb_common::datapath::Reason::{BadIp, FragmentUnknown, Malformed, NoPorts, NotIp};

/// Where things lie in an untagged frame without IP options.
const VERSION: usize = 14;
const TOTAL_LENGTH: usize = 17;
const TCP_OFFSET: usize = 46;
const UDP_LENGTH: usize = 39;

pub(super) fn rows() -> Vec<Row> {
    [unknown(), network(), fragments(), segments(), datagrams()].concat()
}

/// Not yet known to be ours.
fn unknown() -> Vec<Row> {
    let syn = || client_frame(&nat_tcp(SYN));
    let tagged = nat_tcp(SYN).tagged(OWN_MAC, ROUTER_MAC, 100);
    vec![
        frame("an IP version other than 4 passes", &syn().with_byte(VERSION, 0x55)).stops(BadIp),
        frame("an IP header shorter than twenty bytes passes", &syn().with_byte(VERSION, 0x44)).stops(BadIp),
        frame("an IP version of 6 in an IPv4 frame passes", &syn().with_byte(VERSION, 0x65)).stops(BadIp),
        frame("an IP header longer than the frame passes", &syn().with_byte(VERSION, 0x4f)).stops(NoPorts),
        frame("a frame without anything behind its type passes", &syn().cut(14)).stops(BadIp),
        frame("a tagged frame without an IP header passes", &tagged.clone().cut(18)).stops(BadIp),
        frame("a cut tag passes", &tagged.clone().cut(17)).stops(NotIp),
        frame("a tagged packet with a cut IP header passes", &tagged.cut(37)).stops(BadIp),
        frame("a cut IP header passes", &syn().cut(33)).stops(BadIp),
    ]
}

fn network() -> Vec<Row> {
    let syn = || client_frame(&nat_tcp(SYN));
    // Behind a longest header, its ports are the service's.
    let padded = client_frame(&nat_tcp(SYN).options(&[1; 40])).with_byte(TOTAL_LENGTH, 40);
    vec![
        frame("an IP header longer than the packet is dropped", &padded.with_byte(VERSION, 0x4f))
            .stops(Malformed),
        frame("an IP length of zero is dropped", &syn().with_byte(TOTAL_LENGTH, 0)).stops(Malformed),
        frame("an IP length one beyond the frame is dropped", &syn().with_byte(TOTAL_LENGTH, 41))
            .stops(Malformed),
        frame("the largest IP length is dropped", &syn().with_word(TOTAL_LENGTH - 1, 0xffff))
            .stops(Malformed),
        frame("an IP length beyond the frame is dropped", &syn().with_byte(TOTAL_LENGTH, 60))
            .stops(Malformed),
        frame("an IP length below its header is dropped", &syn().with_byte(TOTAL_LENGTH, 19))
            .stops(Malformed),
    ]
}

fn fragments() -> Vec<Row> {
    let later = |sentence, word| from_client(sentence, &nat_tcp(ACK).fragment(word)).stops(FragmentUnknown);
    vec![
        later("a last fragment that comes first is dropped", 0x00b9),
        later("a fragment from the middle that comes first is dropped", 0x2001),
        later("the farthest fragment that comes first is dropped", 0x1fff),
    ]
}

fn segments() -> Vec<Row> {
    let syn = || client_frame(&nat_tcp(SYN));
    vec![
        frame("cut ports pass", &syn().cut(37)).stops(NoPorts),
        frame("a cut TCP header to a service is dropped", &syn().cut(53)).stops(Malformed),
        frame("a segment that ends within its header is dropped", &syn().with_byte(TOTAL_LENGTH, 39))
            .stops(Malformed),
        frame("a TCP offset of zero is dropped", &syn().with_byte(TCP_OFFSET, 0)).stops(Malformed),
        frame("the largest TCP offset beyond the packet is dropped", &syn().with_byte(TCP_OFFSET, 0xf0))
            .stops(Malformed),
        frame("a TCP offset into padding is dropped", &syn().padded(60).with_byte(TCP_OFFSET, 0x60))
            .stops(Malformed),
        frame("a TCP offset below five words is dropped", &syn().with_byte(TCP_OFFSET, 0x40))
            .stops(Malformed),
        frame("a TCP offset beyond the packet is dropped", &syn().with_byte(TCP_OFFSET, 0x60))
            .stops(Malformed),
    ]
}

fn datagrams() -> Vec<Row> {
    let query = || client_frame(&nat_query());
    vec![
        frame("a UDP length of zero is dropped", &query().with_byte(UDP_LENGTH, 0)).stops(Malformed),
        frame("a cut UDP header is dropped", &query().cut(41)).stops(Malformed),
        frame("a UDP length into padding is dropped", &query().padded(60).with_byte(UDP_LENGTH, 14))
            .stops(Malformed),
        frame("a UDP length below its header is dropped", &query().with_byte(UDP_LENGTH, 7)).stops(Malformed),
        frame("a UDP length beyond the packet is dropped", &query().with_byte(UDP_LENGTH, 14))
            .stops(Malformed),
    ]
}
