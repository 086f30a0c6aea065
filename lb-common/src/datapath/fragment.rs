//! Fragments: the first of a datagram's has the ports, the others find them through it.
//!
//! What is remembered is bounded, and the oldest gives way. A later fragment that overtook its first is dropped: its
//! sender finds the datagram lost, as networks that reorder lose some.

use super::family::Family;
use super::parse::{Frame, carries_ports};
use super::{Reason, Tables, classify};
use crate::abi::{Contents, Fragment, FragmentKey, ServiceFlags, Ticks};
use crate::wire::Ports;

/// Seconds after which a datagram's number may stand for another one: Linux gives a datagram up after thirty.
const LIFETIME: u32 = 30;

#[inline(always)]
fn key<A: Family>(frame: &Frame<A>) -> FragmentKey {
    let (source, destination) = A::addresses(&frame.ip);
    FragmentKey::new(source, destination, frame.inside.identification, frame.inside.protocol)
}

/// Keeps the protocol and the ports of a datagram whose fragments may concern us.
#[inline(always)]
pub(super) fn remember<A: Family>(tables: &impl Tables, frame: &Frame<A>, ports: Ports, now: Ticks) {
    if concerns_us(tables, frame) {
        let protocol = frame.inside.protocol.into();
        tables.remember_fragment(&key(frame), &Fragment { ports, protocol, seen: now });
    }
}

/// The ports of a fragment's datagram and its protocol, which a fragment of IPv6 may tell otherwise: with extension headers of the
/// datagram's own, it has the first one's number.
#[inline(always)]
pub(super) fn recall<A: Family>(
    tables: &impl Tables,
    frame: &Frame<A>,
    now: Ticks,
) -> Result<(Ports, u8), Reason> {
    let has_ports = carries_ports(frame.inside.protocol);
    if A::VERSION == 4 && !has_ports {
        return Err(Reason::OtherProtocol);
    }
    let known = tables.fragment(&key(frame));
    let fresh = known.filter(|first| now.passed_since(first.seen) < LIFETIME.saturating_mul(tables.second()));
    match fresh {
        #[allow(clippy::cast_possible_truncation, reason = "made of eight bits")]
        Some(first) => Ok((first.ports, first.protocol as u8)),
        None if !has_ports => Err(Reason::OtherProtocol),
        None if is_for_a_vip(tables, frame) => Err(Reason::FragmentUnknown),
        None => Err(Reason::LaterFragment),
    }
}

#[inline(always)]
fn concerns_us<A: Family>(tables: &impl Tables, frame: &Frame<A>) -> bool {
    let (_, destination) = A::addresses(&frame.ip);
    tables.contents().has_any(Contents::ANSWERS) || classify::host(tables, destination).is_some()
}

#[inline(always)]
fn is_for_a_vip<A: Family>(tables: &impl Tables, frame: &Frame<A>) -> bool {
    let (_, destination) = A::addresses(&frame.ip);
    classify::host(tables, destination).is_some_and(|host| host.flags().has(ServiceFlags::VIP))
}
