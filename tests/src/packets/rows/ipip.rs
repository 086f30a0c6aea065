//! Clients' packets in an outer header, through slots that never moved.

use super::super::build::{Ipv4, Stack};
use super::super::house::{BACK_MAC, BACKEND_MAC, OWN_MAC, ROUTER_MAC, SECOND, SETTLED};
use super::super::row::{Row, client_frame, frame, from_client};
use super::super::segment::Segment as _;
use super::{
    ACK, CLIENT, DSR_DNS, DSR_HTTP, NO_PORT, NULL, OTHER_CLIENT, SYN, XMAS, dsr_tcp, quoting, told, wrapped,
    wrapped_to_moved,
};
use lb_common::abi::{BackendFlags, BackendId, Slot};
use lb_common::datapath::Reason::{FragmentationNeeded, Opened, Recorded, Settled, Unresolved, Unserved};

pub(super) fn rows() -> Vec<Row> {
    [encapsulated(), datagrams(), framed(), sized(), refused()].concat()
}

fn encapsulated() -> Vec<Row> {
    let (syn, ack) = (dsr_tcp(SYN), dsr_tcp(ACK));
    let with_options = syn.clone().options(&[1, 1, 1, 0]);
    let longest = syn.clone().tcp_options(&[1; 40]).options(&[1; 40]);
    let from_itself = Stack::tcp(DSR_HTTP, DSR_HTTP, SYN, b"");
    let (classed, last_hop) = (ack.clone().class(0x2e), ack.clone().ttl(1));
    let fragmentable = ack.clone().fragment(0);
    vec![
        from_client("ipip: a SYN is encapsulated and nothing remembered", &syn)
            .reaches_backend(Settled, &wrapped(&syn)),
        from_client("ipip: data without any history is encapsulated", &ack)
            .reaches_backend(Settled, &wrapped(&ack)),
        from_client("ipip: IP options stay inside", &with_options)
            .reaches_backend(Settled, &wrapped(&with_options)),
        from_client("ipip: a longest header stays inside", &longest)
            .reaches_backend(Settled, &wrapped(&longest)),
        from_client("ipip: a segment of no connection is encapsulated", &dsr_tcp(NULL))
            .reaches_backend(Settled, &wrapped(&dsr_tcp(NULL))),
        from_client("ipip: a segment with all control bits is encapsulated", &dsr_tcp(XMAS))
            .reaches_backend(Settled, &wrapped(&dsr_tcp(XMAS))),
        from_client("ipip: a client that is the service itself is one", &from_itself)
            .reaches_backend(Settled, &wrapped(&from_itself)),
        from_client("ipip: the traffic class is copied outside", &classed)
            .reaches_backend(Settled, &wrapped(&classed)),
        from_client("ipip: the last hop still reaches the backend", &last_hop)
            .reaches_backend(Settled, &wrapped(&last_hop)),
        from_client("ipip: a packet that may be fragmented is not outside", &fragmentable)
            .reaches_backend(Settled, &wrapped(&fragmentable)),
    ]
}

fn datagrams() -> Vec<Row> {
    let query = Stack::udp(CLIENT, DSR_DNS, b"query");
    let unsummed = query.clone().unsummed();
    let trailing = query.clone().trailing(&[1, 2, 3]);
    vec![
        from_client("ipip: a datagram without checksum is encapsulated", &unsummed)
            .reaches_backend(Opened, &wrapped(&unsummed)),
        from_client("ipip: bytes between a datagram's end and the packet's stay", &trailing)
            .reaches_backend(Opened, &wrapped(&trailing)),
        from_client("ipip: a datagram's record outlives its slot's move", &query)
            .after(&query)
            .once_slot_is(Slot::settled_on(SECOND))
            .reaches_backend(Recorded, &wrapped(&query)),
        from_client("ipip: a dead backend's datagrams go to the slot's new owner", &query)
            .after(&query)
            .once_backends_are(BackendFlags::RESOLVED)
            .once_slot_is(Slot::settled_on(SECOND))
            .reaches_backend(Opened, &wrapped_to_moved(&query)),
        from_client("ipip: a datagram that found no backend left no record", &query)
            .with_slot(Slot::settled_on(BackendId::NONE))
            .with_room(1)
            .after(&Stack::udp(OTHER_CLIENT, DSR_DNS, b"query"))
            .once_slot_is(SETTLED)
            .reaches_backend(Opened, &wrapped(&query)),
        from_client("ipip: a datagram is recorded", &query).reaches_backend(Opened, &wrapped(&query)),
        from_client("ipip: a second datagram follows its record", &query)
            .after(&query)
            .reaches_backend(Recorded, &wrapped(&query)),
    ]
}

fn framed() -> Vec<Row> {
    let (syn, ack) = (dsr_tcp(SYN), dsr_tcp(ACK));
    let padded = wrapped(&syn).ethernet(BACKEND_MAC, BACK_MAC).padded(80);
    vec![
        frame("ipip: a tag is taken off", &ack.tagged(OWN_MAC, ROUTER_MAC, 100))
            .reaches_backend(Settled, &wrapped(&ack)),
        from_client("ipip: the backend's tag is put on", &ack)
            .with_backend_vlan(200)
            .reaches_backend_as(Settled, &wrapped(&ack).tagged(BACKEND_MAC, BACK_MAC, 200)),
        frame("ipip: one tag is exchanged for another", &ack.tagged(OWN_MAC, ROUTER_MAC, 0xa064))
            .with_backend_vlan(200)
            .reaches_backend_as(Settled, &wrapped(&ack).tagged(BACKEND_MAC, BACK_MAC, 200)),
        frame("ipip: the outer length leaves padding out", &client_frame(&syn).padded(60))
            .reaches_backend_as(Settled, &padded),
    ]
}

fn sized() -> Vec<Row> {
    let largest = Stack::tcp(CLIENT, DSR_HTTP, ACK, &[7; 1440]);
    let too_large = Stack::tcp(CLIENT, DSR_HTTP, ACK, &[7; 1441]);
    let jumbo = Stack::tcp(CLIENT, DSR_HTTP, ACK, &[7; 3460]);
    let datagram = Stack::udp(CLIENT, DSR_DNS, &[7; 1453]);
    let with_options = Stack::tcp(CLIENT, DSR_HTTP, ACK, &[7; 1441]).options(&[1; 40]);
    let fragmentable = too_large.clone().fragment(0);
    vec![
        from_client("ipip: a packet that just fits is encapsulated", &largest)
            .reaches_backend(Settled, &wrapped(&largest)),
        from_client("ipip: the sender of a packet one byte too big is told what fits", &too_large)
            .reaches_client(FragmentationNeeded, &needed(&too_large, 28)),
        from_client("ipip: so is the sender of a frame of three and a half kilobytes", &jumbo)
            .reaches_client(FragmentationNeeded, &needed(&jumbo, 28)),
        from_client("ipip: so is the sender of a datagram", &datagram)
            .reaches_client(FragmentationNeeded, &needed(&datagram, 28)),
        from_client("ipip: all IP options are quoted", &with_options)
            .reaches_client(FragmentationNeeded, &needed(&with_options, 68)),
        frame(
            "ipip: what fits is told with the tag that the packet came with",
            &too_large.tagged(OWN_MAC, ROUTER_MAC, 0xa064),
        )
        .reaches_client_as(FragmentationNeeded, &needed(&too_large, 28).tagged(ROUTER_MAC, OWN_MAC, 0xa064)),
        from_client("ipip: the sender of a packet that may be fragmented is told, too", &fragmentable)
            .reaches_client(FragmentationNeeded, &needed(&fragmentable, 28)),
    ]
}

/// What a sender is told, with so many bytes of its packet.
fn needed(packet: &Ipv4, quoted: usize) -> Ipv4 {
    let mut body = quoting(packet, quoted);
    body.splice(2..4, 1480u16.to_be_bytes());
    Stack::icmp(DSR_HTTP.0, CLIENT.0, 3, 4, &body).class(0xc0).identification(0)
}

fn refused() -> Vec<Row> {
    let ack = dsr_tcp(ACK);
    vec![
        from_client("ipip: without a backend a packet is refused", &ack)
            .with_slot(Slot::settled_on(BackendId::NONE))
            .reaches_client(Unserved, &told(&ack, NO_PORT)),
        from_client("ipip: an unresolved backend is not sent to", &ack)
            .with_backends(BackendFlags::ALIVE)
            .stops(Unresolved),
        from_client("ipip: a slot that names no record of ours drops", &ack)
            .with_slot(Slot::settled_on(BackendId::from_bits(0x7fff)))
            .stops(Unresolved),
    ]
}
