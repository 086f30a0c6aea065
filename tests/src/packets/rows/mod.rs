//! The rows, a file for each thing that can become of a packet.
//!
//! A row reads: whence and what, after what, with what, to which fate.

mod complaints;
mod decap;
mod dnat;
mod dnat_ranges;
mod dnat_recorded;
mod extensions;
mod fragmented;
mod guard;
mod icmp_passing;
mod icmp_quoted;
mod icmp_to_backend;
mod icmp_to_client;
mod ipip;
mod ipip_moving;
mod limits;
mod malformed;
mod modal;
mod modal_icmp;
mod modes;
mod nat_forward;
mod nat_headers;
mod nat_life;
mod nat_refused;
mod nat_reply;
mod passing;
mod pings;
mod relayed;
mod selectors;
mod tunnels;
mod vips;

use super::build::{End, Ipv4, Stack};
use super::house::{BACKEND, DSR_VIP, MOVED, NAT_VIP, OWN};
use super::row::Row;
use super::segment::Segment as _;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const PUSH_ACK: u8 = 0x18;
const FIN_ACK: u8 = 0x11;
const RST: u8 = 0x04;
const SYN_ACK: u8 = SYN | ACK;
/// No control bit, and all of them.
const NULL: u8 = 0;
const XMAS: u8 = 0xff;

/// Type and code of "port unreachable" and "time exceeded".
const NO_PORT: (u8, u8) = (3, 3);
const NO_HOPS: (u8, u8) = (11, 0);

const CLIENT: End = ([198, 51, 100, 7], 51_000);
const OTHER_CLIENT: End = ([198, 51, 100, 8], 51_001);
const NAT_HTTP: End = (NAT_VIP, 80);
const NAT_DNS: End = (NAT_VIP, 53);
const DSR_HTTP: End = (DSR_VIP, 80);
const DSR_HTTPS: End = (DSR_VIP, 443);
const DSR_DNS: End = (DSR_VIP, 53);
/// The balancer's own end of a translated flow; the fixtures' pool has one port.
const OWN_END: End = (OWN, 40_000);
const BACKEND_END: End = (BACKEND, 8080);
const MOVED_END: End = (MOVED, 8080);
/// A router on the way, and another address that is nobody's.
const ROUTER: [u8; 4] = [192, 0, 2, 1];

/// Every fixture.
#[must_use]
pub fn rows() -> Vec<Row> {
    [
        passing::rows(),
        malformed::rows(),
        nat_forward::rows(),
        nat_headers::rows(),
        nat_life::rows(),
        nat_refused::rows(),
        nat_reply::rows(),
        ipip::rows(),
        ipip_moving::rows(),
        icmp_to_client::rows(),
        icmp_to_backend::rows(),
        icmp_quoted::rows(),
        icmp_passing::rows(),
        decap::rows(),
        modes::rows(),
        modal_icmp::rows(),
        fragmented::rows(),
        dnat::rows(),
        dnat_ranges::rows(),
        dnat_recorded::rows(),
        vips::rows(),
        selectors::rows(),
        limits::rows(),
        pings::rows(),
        complaints::rows(),
        extensions::rows(),
        tunnels::rows(),
        relayed::rows(),
        guard::rows(),
    ]
    .concat()
}

/// A client's segment without data to the service that translates.
fn nat_tcp(flags: u8) -> Ipv4 {
    Stack::tcp(CLIENT, NAT_HTTP, flags, b"")
}

/// What becomes of it: one hop on, from the balancer to the backend.
fn translated_tcp(flags: u8) -> Ipv4 {
    Stack::tcp(OWN_END, BACKEND_END, flags, b"").ttl(63)
}

/// A client's datagram to the service that translates.
fn nat_query() -> Ipv4 {
    Stack::udp(CLIENT, NAT_DNS, b"query")
}

/// What becomes of it.
fn translated_query() -> Ipv4 {
    Stack::udp(OWN_END, BACKEND_END, b"query").ttl(63)
}

/// A client's segment without data to the service that encapsulates.
fn dsr_tcp(flags: u8) -> Ipv4 {
    Stack::tcp(CLIENT, DSR_HTTP, flags, b"")
}

/// What the sender of a packet is told of it.
fn told(packet: &Ipv4, (kind, code): (u8, u8)) -> Ipv4 {
    let body = quoting(packet, packet.header_bytes() + 8);
    let (source, destination) = packet.ends();
    Stack::icmp(destination, source, kind, code, &body).class(0xc0).identification(0)
}

/// What the sender of a client's segment without data is told of it, if its connection is not known.
fn reset(flags: u8) -> Ipv4 {
    reset_by(NAT_HTTP, flags)
}

/// The same of another service.
fn reset_by(service: End, flags: u8) -> Ipv4 {
    // Segments have these numbers in the fixtures.
    let (sequence, acknowledged) = (1_000_000, 2_000_000);
    let marks = (flags & (SYN | FIN_ACK & !ACK)).count_ones();
    let numbers = if flags & ACK == 0 { (0, sequence + marks) } else { (acknowledged, 0) };
    let answer = Stack::tcp(service, CLIENT, if flags & ACK == 0 { RST | ACK } else { RST }, b"");
    answer.numbered(numbers).window(0).identification(0)
}

/// A packet in the balancer's outer header towards the first backend.
fn wrapped(packet: &Ipv4) -> Ipv4 {
    packet.clone().within(OWN, BACKEND)
}

/// A packet in the balancer's outer header towards the backend that slots move to.
fn wrapped_to_moved(packet: &Ipv4) -> Ipv4 {
    packet.clone().within(OWN, MOVED)
}

/// The first bytes of a packet behind the four unused ones of an ICMP error.
fn quoting(packet: &Ipv4, length: usize) -> Vec<u8> {
    let bytes = packet.ip_bytes();
    [&[0; 4], &bytes[..length.min(bytes.len())]].concat()
}
