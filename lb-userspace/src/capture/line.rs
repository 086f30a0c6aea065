//! A packet as a line for people.

use crate::control::CapturedPacket;
use lb_common::abi::CaptureEnds;
use lb_common::datapath;
use lb_common::wire::{Buffer, U16be, protocol};
use std::net::{IpAddr, SocketAddr};

/// When it came, where from, how long it is, what became of it and who talks to whom.
pub(super) fn render(packet: &CapturedPacket) -> String {
    let (seconds, micros) = (packet.at_ns / 1_000_000_000, packet.at_ns / 1000 % 1_000_000);
    let ends = talk(packet).map(|talk| format!("  {talk}")).unwrap_or_default();
    format!("{seconds}.{micros:06} {} {} bytes  {packet}{ends}", packet.arrived_by, packet.length)
}

/// Who talks to whom: the packet's own ends, with an outer header before them.
fn talk(packet: &CapturedPacket) -> Option<String> {
    let (outer, inner) = datapath::ends(&Buffer::new(&packet.bytes), packet.backend.is_some());
    let outer = told(&outer)?;
    Some(match inner.as_ref().and_then(told) {
        Some(inner) => format!("{outer}: {inner}"),
        None => outer,
    })
}

fn told(ends: &CaptureEnds) -> Option<String> {
    let address = |bytes: [u8; 16]| match (ends.version, bytes) {
        (4, [a, b, c, d, ..]) => Some(IpAddr::from([a, b, c, d])),
        (6, bytes) => Some(IpAddr::from(bytes)),
        _ => None,
    };
    let end = |bytes, port: U16be| {
        let address = address(bytes)?;
        Some(match port.get() {
            0 => address.to_string(),
            port => SocketAddr::new(address, port).to_string(),
        })
    };
    let source = end(ends.source.to_bytes(), ends.source_port)?;
    let destination = end(ends.destination.to_bytes(), ends.destination_port)?;
    Some(format!("{} {source} > {destination}", name(ends.protocol)))
}

fn name(number: u8) -> String {
    match number {
        protocol::TCP => "tcp".to_owned(),
        protocol::UDP => "udp".to_owned(),
        protocol::ICMP => "icmp".to_owned(),
        protocol::ICMPV6 => "icmpv6".to_owned(),
        protocol::IPIP => "ipip".to_owned(),
        protocol::IPV6 => "ipv6".to_owned(),
        number => format!("ip-{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(bytes: &[u8]) -> CapturedPacket {
        CapturedPacket {
            at_ns: 1_700_000_000_001_002_003,
            arrived_by: "eth0".into(),
            leaves_by: Some("eth1".into()),
            verdict: "forward".into(),
            reason: "settled".into(),
            service: Some("web".into()),
            backend: Some("web1".into()),
            length: 74,
            bytes: bytes.to_vec(),
        }
    }

    const LINK: [u8; 14] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    const OUTER: [u8; 20] =
        [0x45, 0, 0, 60, 0, 0, 0, 0, 64, protocol::IPIP, 0, 0, 172, 16, 0, 1, 10, 0, 0, 11];
    const INNER: [u8; 24] = [
        0x45,
        0,
        0,
        40,
        0,
        0,
        0,
        0,
        64,
        protocol::TCP,
        0,
        0,
        10,
        0,
        0,
        9,
        203,
        0,
        113,
        10,
        0x0f,
        0xa0,
        0,
        80,
    ];

    #[test]
    fn a_line_tells_when_where_what_and_who() {
        let line = render(&packet(&[&LINK[..], &OUTER, &INNER].concat()));
        assert_eq!(
            line,
            "1700000000.001002 eth0 74 bytes  verdict=forward reason=settled service=web backend=web1 out=eth1  \
             ipip 172.16.0.1 > 10.0.0.11: tcp 10.0.0.9:4000 > 203.0.113.10:80"
        );
    }

    #[test]
    fn what_is_not_ip_has_no_ends() {
        assert!(render(&packet(&[0; 14])).ends_with("out=eth1"));
    }
}
