//! ICMP errors about what a backend sent to a client: they reach the backend.

use super::super::build::{Ipv4, Stack};
use super::super::house::{BACKEND, DSR_VIP, MOVING, NAT_VIP, OWN};
use super::super::row::{Row, from_backend, from_client};
use super::{
    ACK, BACKEND_END, CLIENT, DSR_HTTP, NAT_HTTP, OWN_END, ROUTER, SYN, dsr_tcp, nat_tcp, quoting, wrapped,
    wrapped_to_moved,
};
use lb_common::datapath::Reason::{IcmpForward, IcmpNotOurs, NoFlow};

/// "Fragmentation needed" (RFC 1191) about a packet, of which it quotes the least.
fn needed(from: [u8; 4], to: [u8; 4], quoted: &Ipv4) -> Ipv4 {
    let mut body = quoting(quoted, 28);
    body.splice(2..4, 1400u16.to_be_bytes());
    Stack::icmp(from, to, 3, 4, &body)
}

pub(super) fn rows() -> Vec<Row> {
    [nat(), dsr()].concat()
}

fn nat() -> Vec<Row> {
    let sent = Stack::tcp(NAT_HTTP, CLIENT, ACK, b"much").ttl(63);
    let original = Stack::tcp(BACKEND_END, OWN_END, ACK, b"much").ttl(63);
    let error = needed(ROUTER, NAT_VIP, &sent);
    vec![
        from_client("icmp: fragmentation needed reaches the backend in its own terms", &error)
            .after(&nat_tcp(SYN))
            .reaches_backend(IcmpForward, &needed(OWN, BACKEND, &original).ttl(63)),
        from_client("icmp: fragmentation needed about an unknown flow is dropped", &error).stops(NoFlow),
    ]
}

fn dsr() -> Vec<Row> {
    let error = needed(ROUTER, DSR_VIP, &Stack::tcp(DSR_HTTP, CLIENT, ACK, b"much"));
    let about_ours = Stack::icmp(ROUTER, OWN, 3, 4, &quoting(&wrapped(&dsr_tcp(ACK)), 99));
    vec![
        from_client("icmp: fragmentation needed follows a flow through the slots", &error)
            .reaches_backend(IcmpForward, &wrapped(&error)),
        from_client("icmp: an error about an older flow of a moving slot goes to the settled owner", &error)
            .with_slot(MOVING)
            .reaches_backend(IcmpForward, &wrapped(&error)),
        from_client("icmp: an error about a recorded flow follows its record", &error)
            .with_slot(MOVING)
            .after(&dsr_tcp(SYN))
            .reaches_backend(IcmpForward, &wrapped_to_moved(&error)),
        from_backend("icmp: fragmentation needed about IPIP of ours passes to the host", &about_ours)
            .stops(IcmpNotOurs),
    ]
}
