//! Whether somebody who captures wants a packet, asked when its way has ended.
//!
//! A packet is judged as it is then: one that was rewritten by what it says now, one that was put into another by the
//! outer header and by its own, and an ICMP error by its own and by what it quotes, which tells the service.

use super::Reason;
use super::decapsulate::version_at;
use super::family::{Family, Inside, Piece};
use super::parse::{self, Frame};
use super::pipeline::{Version, version};
use crate::abi::{BackendId, CaptureEnds, CaptureFilter};
use crate::wire::{Packet, Ports, U32be, ethernet, icmp, ipv6, protocol, udp};

/// Whether a filter asks for a packet that ended for this reason.
#[inline(always)]
pub fn is_wanted(packet: &impl Packet, filter: &CaptureFilter, reason: u8, backend: BackendId) -> bool {
    if !filter.has_reason(reason) {
        return false;
    }
    let of_service = filter.has_backend(backend);
    let (outer, inner) = ends(packet, !backend.is_none());
    filter.has_ends(&outer, of_service) || inner.is_some_and(|inner| filter.has_ends(&inner, of_service))
}

/// Who a packet is from and for, by its first IP header and, if it has one, by a second in that: that of a packet it quotes, or
/// if it was steered, of a packet in an outer header.
#[inline(always)]
pub fn ends(packet: &impl Packet, steered: bool) -> (CaptureEnds, Option<CaptureEnds>) {
    let found = match version(packet) {
        Some(Version::V4) => ends_of::<U32be>(packet, steered),
        Some(Version::V6) => ends_of::<ipv6::Address>(packet, steered),
        None => Err(Reason::NotIp),
    };
    found.unwrap_or_default()
}

#[inline(always)]
fn ends_of<A: Family>(
    packet: &impl Packet,
    steered: bool,
) -> Result<(CaptureEnds, Option<CaptureEnds>), Reason> {
    let Frame { ip, inside, .. } = parse::frame::<A>(packet)?;
    let outer = told::<A>(packet, &ip, inside);
    let inner = inner::<A>(inside, steered).and_then(|l3| told_within(packet, l3));
    Ok((outer, inner))
}

/// Where a second IP header may begin: that of a packet that an ICMP error quotes, or of one in an outer header. What one service takes
/// for the port of GUE another may take for its own, so any UDP that holds what looks like an IP packet will do, and any ICMP: a capture
/// may show one too many.
#[inline(always)]
fn inner<A: Family>(outer: Inside, steered: bool) -> Option<usize> {
    match (outer.piece, outer.protocol) {
        (Piece::Whole, number) if number == A::ICMP => Some(outer.l4 + icmp::LENGTH),
        (Piece::Whole, protocol::IPIP | protocol::IPV6) if steered => Some(outer.l4),
        (Piece::Whole, protocol::UDP) if steered => Some(outer.l4 + udp::LENGTH),
        _ => None,
    }
}

#[inline(always)]
fn told_within(packet: &impl Packet, l3: usize) -> Option<CaptureEnds> {
    let l3 = packet.forget(l3);
    if version_at(packet, l3)? == ethernet::IPV4 {
        told_at::<U32be>(packet, l3)
    } else {
        told_at::<ipv6::Address>(packet, l3)
    }
}

#[inline(always)]
fn told_at<A: Family>(packet: &impl Packet, l3: usize) -> Option<CaptureEnds> {
    let ip: A::Header = packet.read(l3)?;
    let inside = A::walk(packet, l3, &ip).ok()?;
    Some(told::<A>(packet, &ip, inside))
}

/// What the headers tell.
#[inline(always)]
fn told<A: Family>(packet: &impl Packet, ip: &A::Header, inside: Inside) -> CaptureEnds {
    let (source, destination) = A::addresses(ip);
    let has_ports = inside.piece != Piece::Later && matches!(inside.protocol, protocol::TCP | protocol::UDP);
    let ports: Ports = if has_ports { packet.read(inside.l4).unwrap_or_default() } else { Ports::default() };
    CaptureEnds {
        version: A::VERSION,
        protocol: inside.protocol,
        source_port: ports.source(),
        destination_port: ports.destination(),
        source: source.widen(),
        destination: destination.widen(),
    }
}

#[cfg(all(test, feature = "host"))]
mod tests {
    use super::*;
    use crate::abi::{Address, CaptureSide};
    use crate::wire::Buffer;
    use std::vec::Vec;

    const CLIENT: [u8; 4] = [10, 0, 0, 9];
    const VIP: [u8; 4] = [192, 0, 2, 1];
    const OUTER: [[u8; 4]; 2] = [[172, 16, 0, 1], [10, 0, 0, 11]];

    /// An IPv4 header and what follows it.
    fn ip([source, destination]: [[u8; 4]; 2], protocol: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(20 + rest.len()).unwrap().to_be_bytes();
        let fixed = [0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0];
        [&fixed[..], &source, &destination, rest].concat()
    }

    fn framed(ip: &[u8]) -> Buffer {
        Buffer::new(&[&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0][..], ip].concat())
    }

    /// From port 4000 to port 80, and nothing that matters here.
    fn segment() -> Vec<u8> {
        [&[0x0f, 0xa0, 0, 80][..], &[0; 16]].concat()
    }

    fn side(address: [u8; 4]) -> CaptureSide {
        CaptureSide::within(4, Address::v4(address.into()), Address::v4([255; 4].into()))
    }

    fn wants(filter: &CaptureFilter, packet: &Buffer, backend: u16) -> bool {
        is_wanted(packet, filter, 7, BackendId::from_bits(backend))
    }

    #[test]
    fn a_packet_is_known_by_its_own_ends_also_in_an_outer_header() {
        let inner = ip([CLIENT, VIP], protocol::TCP, &segment());
        let gue = ip(OUTER, protocol::UDP, &[&[0xc0, 0, 0x17, 0xc0, 0, 0, 0, 0][..], &inner].concat());
        let packets = [inner.clone(), ip(OUTER, protocol::IPIP, &inner), gue].map(|ip| framed(&ip));
        let filter = CaptureFilter {
            from: side(CLIENT).ports(4000, 4000),
            to: side(VIP).ports(80, 80),
            ..CaptureFilter::everything(64)
        };
        for packet in &packets {
            assert!(wants(&filter, packet, 1), "{packet:?}");
        }
        assert!(!wants(&filter, &packets[1], 0), "only what was steered is in a header of ours");
        let outer = CaptureFilter { to: side(OUTER[1]), ..CaptureFilter::everything(64) };
        assert_eq!([0, 1, 2].map(|place| wants(&outer, &packets[place], 1)), [false, true, true]);
    }

    #[test]
    fn what_says_nothing_of_its_ends_is_wanted_only_where_any_are() {
        let arp = Buffer::new(&[&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 6][..], &[0; 28]].concat());
        let short = Buffer::new(&[0; 6]);
        let from = CaptureFilter { from: side(CLIENT), ..CaptureFilter::everything(64) };
        for packet in [arp, short] {
            assert!(wants(&CaptureFilter::everything(64), &packet, 0));
            assert!(!wants(&from, &packet, 0));
        }
    }

    #[test]
    fn a_ping_has_ends_and_no_ports() {
        let ping = framed(&ip([CLIENT, VIP], protocol::ICMP, &[8, 0, 0, 0, 0, 1, 0, 1]));
        let wanted = |from| wants(&CaptureFilter { from, ..CaptureFilter::everything(64) }, &ping, 0);
        assert!(wanted(side(CLIENT)) && !wanted(side(CLIENT).ports(4000, 4000)));
    }

    #[test]
    fn an_error_of_ours_is_its_service_s_by_what_it_quotes() {
        let sent = ip([CLIENT, VIP], protocol::TCP, &segment());
        let told =
            framed(&ip([VIP, CLIENT], protocol::ICMP, &[&[3, 3, 0, 0, 0, 0, 0, 0][..], &sent].concat()));
        let of_service = |vip| wants(&CaptureFilter { vip, ..CaptureFilter::everything(64) }, &told, 0);
        assert!(of_service(side(VIP).ports(80, 80).protocol(protocol::TCP)));
        assert!(!of_service(side(VIP).ports(81, 81).protocol(protocol::TCP)));
        let quoting_nothing = framed(&ip([VIP, CLIENT], protocol::ICMP, &[3, 3, 0, 0, 0, 0, 0, 0]));
        assert!(wants(&CaptureFilter::everything(64), &quoting_nothing, 0));
    }

    #[test]
    fn another_reason_is_not_wanted() {
        let packet = framed(&ip([CLIENT, VIP], protocol::TCP, &segment()));
        let filter = CaptureFilter { reasons: 1 << 7, ..CaptureFilter::everything(64) };
        assert!(is_wanted(&packet, &filter, 7, BackendId::NONE));
        assert!(!is_wanted(&packet, &filter, 8, BackendId::NONE));
    }
}
