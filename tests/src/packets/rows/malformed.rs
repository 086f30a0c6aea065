//! Packets whose lengths contradict each other: before we know whose they are they pass, then they are dropped.

use super::super::row::{Row, client_frame, frame, from_client};
use super::{SYN, nat_query, nat_tcp};
use lb_common::datapath::Reason::{BadIpv4, Fragmented, Malformed, NoPorts};

/// Where things lie in an untagged frame without IP options.
const VERSION: usize = 14;
const TOTAL_LENGTH: usize = 17;
const TCP_OFFSET: usize = 46;
const UDP_LENGTH: usize = 39;

pub(super) fn rows() -> Vec<Row> {
    [network(), transport()].concat()
}

fn network() -> Vec<Row> {
    let syn = || client_frame(&nat_tcp(SYN));
    vec![
        frame("an IP version other than 4 passes", &syn().with_byte(VERSION, 0x55)).stops(BadIpv4),
        frame("an IP header shorter than twenty bytes passes", &syn().with_byte(VERSION, 0x44))
            .stops(BadIpv4),
        frame("a cut IP header passes", &syn().cut(33)).stops(BadIpv4),
        frame("an IP length beyond the frame is dropped", &syn().with_byte(TOTAL_LENGTH, 60))
            .stops(Malformed),
        frame("an IP length below its header is dropped", &syn().with_byte(TOTAL_LENGTH, 19))
            .stops(Malformed),
        from_client("a first fragment to a service is dropped", &nat_query().fragment(0x2000))
            .stops(Fragmented),
    ]
}

fn transport() -> Vec<Row> {
    let syn = || client_frame(&nat_tcp(SYN));
    let query = || client_frame(&nat_query());
    vec![
        frame("cut ports pass", &syn().cut(37)).stops(NoPorts),
        frame("a cut TCP header to a service is dropped", &syn().cut(53)).stops(Malformed),
        frame("a TCP offset below five words is dropped", &syn().with_byte(TCP_OFFSET, 0x40))
            .stops(Malformed),
        frame("a TCP offset beyond the packet is dropped", &syn().with_byte(TCP_OFFSET, 0x60))
            .stops(Malformed),
        frame("a UDP length below its header is dropped", &query().with_byte(UDP_LENGTH, 7)).stops(Malformed),
        frame("a UDP length beyond the packet is dropped", &query().with_byte(UDP_LENGTH, 14))
            .stops(Malformed),
    ]
}
