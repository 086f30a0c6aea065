//! Are a frame's checksums right? Worked out by the definition, with nothing of the code under test.

use super::build::checksum;

/// What is wrong with a frame; `None` if all its checksums hold, in encapsulated and wholly quoted packets too.
/// What is neither IPv4 nor whole has nothing that could be wrong.
#[must_use]
pub fn fault(frame: &[u8]) -> Option<&'static str> {
    let network = match word(frame, 12)? {
        0x0800 => frame.get(14..)?,
        0x8100 if word(frame, 16)? == 0x0800 => frame.get(18..)?,
        _ => return None,
    };
    network_fault(network)
}

fn network_fault(packet: &[u8]) -> Option<&'static str> {
    let header_length = usize::from(packet.first()? & 15) * 4;
    let header = packet.get(..header_length)?;
    if checksum(&[header]) != 0 {
        return Some("the checksum of an IP header");
    }
    let payload = packet.get(header_length..word(packet, 2)?.into())?;
    if word(packet, 6)? & 0x3fff != 0 {
        return None;
    }
    match packet.get(9)? {
        1 => message_fault(payload),
        4 => network_fault(payload),
        6 => transport_fault(packet, payload, "the checksum of a segment"),
        17 => datagram_fault(packet, payload),
        _ => None,
    }
}

fn message_fault(message: &[u8]) -> Option<&'static str> {
    if checksum(&[message]) != 0 {
        return Some("the checksum of an ICMP message");
    }
    matches!(message.first()?, 3 | 11 | 12).then(|| network_fault(message.get(8..)?)).flatten()
}

fn datagram_fault(packet: &[u8], payload: &[u8]) -> Option<&'static str> {
    let datagram = payload.get(..word(payload, 4)?.into())?;
    if word(datagram, 6)? == 0 {
        return None;
    }
    transport_fault(packet, datagram, "the checksum of a datagram")
}

fn transport_fault(packet: &[u8], segment: &[u8], fault: &'static str) -> Option<&'static str> {
    let length = u16::try_from(segment.len()).ok()?.to_be_bytes();
    let pseudo = [packet.get(12..20)?, &[0, *packet.get(9)?], &length].concat();
    (checksum(&[&pseudo, segment]) != 0).then_some(fault)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}
