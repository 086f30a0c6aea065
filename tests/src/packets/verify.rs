//! Are a frame's checksums right? Worked out by the definition, with nothing of the code under test.

use super::build::checksum;
use super::house::GUE_PORT;
use super::ipv6::{DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ROUTING};

/// What is wrong with a frame; `None` if all its checksums hold, in encapsulated and wholly quoted packets too.
/// What is neither IP nor whole has nothing that could be wrong.
#[must_use]
pub fn fault(frame: &[u8]) -> Option<&'static str> {
    let at = (12..=20).step_by(4).find(|at| !matches!(word(frame, *at), Some(0x8100 | 0x88a8)))?;
    let network = frame.get(at + 2..)?;
    match word(frame, at)? {
        0x0800 => v4_fault(network),
        0x86dd => v6_fault(network),
        _ => None,
    }
}

/// What a checksum covers besides the payload.
type Pseudo = Vec<u8>;

fn v4_fault(packet: &[u8]) -> Option<&'static str> {
    let header_length = usize::from(packet.first()? & 15) * 4;
    let header = packet.get(..header_length)?;
    if checksum(&[header]) != 0 {
        return Some("the checksum of an IP header");
    }
    let payload = packet.get(header_length..word(packet, 2)?.into())?;
    if word(packet, 6)? & 0x3fff != 0 {
        return None;
    }
    let addresses = packet.get(12..20)?;
    inner_fault(*packet.get(9)?, payload, addresses)
}

fn v6_fault(packet: &[u8]) -> Option<&'static str> {
    let payload = packet.get(40..40 + usize::from(word(packet, 4)?))?;
    let (protocol, payload) = behind_extensions(*packet.get(6)?, payload)?;
    inner_fault(protocol, payload, packet.get(8..40)?)
}

/// What is behind extension headers; nothing in a fragment.
fn behind_extensions(mut protocol: u8, mut payload: &[u8]) -> Option<(u8, &[u8])> {
    loop {
        let length = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => 8 + 8 * usize::from(*payload.get(1)?),
            FRAGMENT if word(payload, 2)? & 0xfff9 == 0 => 8,
            FRAGMENT => return None,
            _ => return Some((protocol, payload)),
        };
        protocol = *payload.first()?;
        payload = payload.get(length..)?;
    }
}

fn inner_fault(protocol: u8, payload: &[u8], addresses: &[u8]) -> Option<&'static str> {
    match protocol {
        1 if addresses.len() == 8 => message_fault(payload, &[], |kind| matches!(kind, 3 | 11 | 12)),
        4 => v4_fault(payload),
        6 => summed_fault(&pseudo(addresses, 6, payload)?, payload, "the checksum of a segment"),
        17 => datagram_fault(addresses, payload),
        41 => v6_fault(payload),
        58 if addresses.len() == 32 => {
            message_fault(payload, &pseudo(addresses, 58, payload)?, |kind| matches!(kind, 1..=4))
        }
        _ => None,
    }
}

fn pseudo(addresses: &[u8], protocol: u8, payload: &[u8]) -> Option<Pseudo> {
    let length = u16::try_from(payload.len()).ok()?.to_be_bytes();
    Some([addresses, &[0, protocol], &length].concat())
}

fn message_fault(message: &[u8], pseudo: &[u8], is_error: impl Fn(u8) -> bool) -> Option<&'static str> {
    if checksum(&[pseudo, message]) != 0 {
        return Some("the checksum of an ICMP message");
    }
    is_error(*message.first()?).then(|| either_fault(message.get(8..)?)).flatten()
}

/// A packet of either family, as its first bits say.
fn either_fault(packet: &[u8]) -> Option<&'static str> {
    match packet.first()? >> 4 {
        4 => v4_fault(packet),
        6 => v6_fault(packet),
        _ => None,
    }
}

fn datagram_fault(addresses: &[u8], payload: &[u8]) -> Option<&'static str> {
    let datagram = payload.get(..word(payload, 4)?.into())?;
    if word(datagram, 6)? == 0 {
        return (word(datagram, 2)? == GUE_PORT).then(|| either_fault(datagram.get(8..)?)).flatten();
    }
    summed_fault(&pseudo(addresses, 17, datagram)?, datagram, "the checksum of a datagram")
}

fn summed_fault(pseudo: &[u8], payload: &[u8], fault: &'static str) -> Option<&'static str> {
    (checksum(&[pseudo, payload]) != 0).then_some(fault)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}
