//! The backend's side of direct server return: takes the outer header off, and the rest goes to the stack.

use super::{Reason, parse};
use crate::wire::{Packet, ethernet, ipv4, protocol};

/// Takes an IPv4-in-IPv4 header off (RFC 2003). Whatever is not one is left as it is; either way the packet passes.
#[inline(always)]
pub fn decapsulate(packet: &mut impl Packet) -> Reason {
    match unwrap(packet) {
        Ok(()) => Reason::Decapsulated,
        Err(reason) => reason,
    }
}

#[inline(always)]
fn unwrap(packet: &mut impl Packet) -> Result<(), Reason> {
    let frame = parse::frame(packet)?;
    if frame.ip.protocol() != protocol::IPIP || frame.ip.is_fragment() {
        return Err(Reason::NotEncapsulated);
    }
    let inner: Option<ipv4::Header> = packet.read(frame.l4);
    if !inner.is_some_and(|inner| inner.is_valid()) {
        return Err(Reason::NotEncapsulated);
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "offsets below 200")]
    let stripped = (frame.l4 - ethernet::LENGTH) as i32;
    packet.move_front(stripped).ok_or(Reason::NoHeadroom)?;
    packet.write(0, frame.link).ok_or(Reason::Inconsistent)?;
    packet.write(ethernet::TYPE, ethernet::IPV4).ok_or(Reason::Inconsistent)
}
