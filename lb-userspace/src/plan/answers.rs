//! Clients' packets to services that translate the destination, and the answers that they get, through the packet path.

use std::net::{IpAddr, SocketAddr};

use lb_common::abi::Ticks;
use lb_common::datapath::{Arrival, HostTables, Outcome, Reason, balance};
use lb_common::wire::{Buffer, protocol};

use crate::config::Protocol;

pub(super) const SYN: u8 = 0x02;
pub(super) const ACK: u8 = 0x10;
const CLIENT_V4: [u8; 4] = [198, 51, 100, 7];
const CLIENT_V6: [u16; 8] = [0x2001, 0xdba, 0, 0, 0, 0, 0, 7];
/// Where an IP header begins.
const L3: usize = 14;

/// What becomes of a client's packet. If a backend gets it, the answer must come from where it was sent to.
pub(super) fn answered(
    tables: &HostTables,
    (to, protocol): (SocketAddr, Protocol),
    (port, flags): (u16, u8),
) -> Outcome {
    let client: IpAddr = if to.is_ipv4() { CLIENT_V4.into() } else { CLIENT_V6.into() };
    let client = SocketAddr::new(client, port);
    let arriving = frame(client, to, protocol, flags);
    let (outcome, leaving) = sent(tables, &arriving);
    if outcome.is_ok_and(|steered| !steered.backend.is_none()) {
        is_answered(tables, protocol, (&arriving, &leaving));
    }
    outcome
}

/// A backend that gets the one of these frames answers, and the answer is one to the other.
pub(super) fn is_answered(tables: &HostTables, protocol: Protocol, (arriving, leaving): (&[u8], &[u8])) {
    let ((client, to), (_, endpoint)) = (ends(arriving), ends(leaving));
    let (outcome, answer) = sent(tables, &frame(endpoint, client, protocol, ACK));
    let why = outcome.map_or_else(|why| why, |steered| steered.reason);
    assert!(
        matches!(why, Reason::DnatRouted | Reason::NatReply),
        "{endpoint} was sent what {to} was: {why:?}"
    );
    assert_eq!(ends(&answer), (to, client), "the answer of {endpoint}");
}

fn sent(tables: &HostTables, frame: &[u8]) -> (Outcome, Vec<u8>) {
    let mut packet = Buffer::new(frame);
    let outcome = balance(&mut packet, tables, Arrival { ifindex: 1, now: Ticks(0) });
    (outcome, packet.bytes().to_vec())
}

/// Ethernet, IP, and TCP without payload or an empty datagram. Checksums are not looked at, only changed.
fn frame(from: SocketAddr, to: SocketAddr, protocol: Protocol, flags: u8) -> Vec<u8> {
    let transport = match protocol {
        Protocol::Tcp => [&[0; 8][..], &[0x50, flags, 0x20, 0, 0, 0, 0, 0]].concat(),
        Protocol::Udp => vec![0, 8, 0, 0],
    };
    let number = if protocol == Protocol::Tcp { protocol::TCP } else { protocol::UDP };
    let length = u8::try_from(transport.len() + 4).unwrap();
    let (ethertype, ip) = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let start = [0x45, 0, 0, 20 + length, 0, 0, 0x40, 0, 64, number, 0, 0];
            ([8, 0], [&start[..], &from.octets(), &to.octets()].concat())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let start = [0x60, 0, 0, 0, 0, length, number, 64];
            ([0x86, 0xdd], [&start[..], &from.octets(), &to.octets()].concat())
        }
        _ => panic!("two families"),
    };
    let ports = [from, to].map(|end| end.port().to_be_bytes());
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &ethertype, &ip, ports.as_flattened(), &transport].concat()
}

/// Where a frame says it is from, and for.
fn ends(frame: &[u8]) -> (SocketAddr, SocketAddr) {
    let is_v4 = frame[12] == 8;
    let (source, bytes) = if is_v4 { (L3 + 12, 4) } else { (L3 + 8, 16) };
    let ports = source + 2 * bytes;
    let end = |at: usize, port: usize| {
        let address = &frame[at..at + bytes];
        let ip: IpAddr = match <[u8; 4]>::try_from(address) {
            Ok(v4) => v4.into(),
            Err(_) => <[u8; 16]>::try_from(address).unwrap().into(),
        };
        SocketAddr::new(ip, u16::from_be_bytes([frame[port], frame[port + 1]]))
    };
    (end(source, ports), end(source + bytes, ports + 2))
}
