//! From a route, a neighbour and a link to the finished answer: where a backend's packets leave, and to whom.
//!
//! Pure: netlink's answers in, [`NextHop`] or the reason why there is none out.

mod neighbour;
mod route;
#[cfg(test)]
mod tests;

pub(super) use neighbour::Neighbour;
pub use neighbour::NeighbourKey;
pub(super) use route::{Route, refuse};

use super::Link;
use lb_common::wire::ethernet::Addresses;
use std::collections::HashMap;
use std::net::IpAddr;

/// How packets reach a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The interface that sends: for a VLAN interface the one that carries it.
    pub ifindex: u32,
    /// The next hop's address as destination, our own as source.
    pub link: Addresses,
    /// Our own address towards the backend.
    pub source: IpAddr,
    /// The largest packet that may be sent, in bytes from the IP header on.
    pub mtu: u16,
    /// The tag to send with, the outer one of two; 0 for none.
    pub vlan: u16,
    /// The inner one of two tags; 0 for none.
    pub second_vlan: u16,
    /// Whether the backend itself is the next hop: no router stands between, and frames can be addressed to it.
    pub on_link: bool,
}

impl NextHop {
    /// As people read it: `02:00:00:00:00:01 via eth0`.
    #[must_use]
    pub fn describe(&self, interface: &str) -> String {
        let octets = self.link.split().0.map(|octet| format!("{octet:02x}"));
        format!("{} via {interface}", octets.join(":"))
    }
}

/// Why packets cannot reach a backend. Most of these pass: the resolver keeps trying.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NextHopError {
    /// Nothing leads there.
    #[error("there is no route to it ({0}); see `ip route get`")]
    NoRoute(String),
    /// It is this machine.
    #[error("it is an address of this machine; a backend beside its balancer is not supported")]
    Local,
    /// Its address says nothing of where it is.
    #[error(
        "its address is link-local, so that it may be on any interface; name the backend by a global or unique local address"
    )]
    LinkLocal,
    /// It is reached through something that is not Ethernet.
    #[error("the route to it leaves by `{0}`, which is not Ethernet; only Ethernet can be sent to")]
    NotEthernet(String),
    /// The interface is off.
    #[error("the route to it leaves by `{0}`, which is down")]
    Down(String),
    /// It has no usable tag.
    #[error(
        "the route to it leaves by `{0}`, whose tags cannot be written; an 802.1Q tag can, alone or in an 802.1ad tag, on an \
         interface of this network namespace"
    )]
    Tag(String),
    /// We have no address to send from.
    #[error("there is no own address on `{0}` that its replies could be sent to")]
    NoSource(String),
    /// The next hop's link-layer address is not known (yet).
    #[error("{hop} does not answer on `{interface}`")]
    Unresolved {
        /// The backend itself, or the gateway towards it.
        hop: IpAddr,
        /// Where it should be.
        interface: String,
    },
}

/// All interfaces by index.
pub type Links = HashMap<u32, Link>;

/// The finished answer for a route whose neighbour is at `hop`.
pub(super) fn build(route: &Route, links: &Links, hop: Option<[u8; 6]>) -> Result<NextHop, NextHopError> {
    let out = links.get(&route.oif).ok_or_else(|| NextHopError::Down(format!("#{}", route.oif)))?;
    if !out.is_up {
        return Err(NextHopError::Down(out.name.clone()));
    }
    let own = out.address.ok_or_else(|| NextHopError::NotEthernet(out.name.clone()))?;
    let (ifindex, [vlan, second_vlan]) =
        carrier(out, links).ok_or_else(|| NextHopError::Tag(out.name.clone()))?;
    let source = route.usable_source().ok_or_else(|| NextHopError::NoSource(out.name.clone()))?;
    let unresolved = || NextHopError::Unresolved { hop: route.hop, interface: out.name.clone() };
    let hop = hop.ok_or_else(unresolved)?;
    let mtu = route.mtu.unwrap_or(u32::MAX).min(out.mtu_towards(source));
    let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
    let link = Addresses::new(hop, own);
    Ok(NextHop { ifindex, link, source, mtu, vlan, second_vlan, on_link: route.on_link })
}

/// The interface that really sends, and the tags it sends with, the outer one first.
fn carrier(out: &Link, links: &Links) -> Option<(u32, [u16; 2])> {
    let Some(inner) = out.vlan else { return Some((out.index, [0, 0])) };
    let Some(outer) = links.get(&inner.carrier)?.vlan else {
        return inner.is_802_1q.then_some((inner.carrier, [inner.id, 0]));
    };
    let is_untagged = links.get(&outer.carrier)?.vlan.is_none();
    let can_be_written = inner.is_802_1q && !outer.is_802_1q && is_untagged;
    can_be_written.then_some((outer.carrier, [outer.id, inner.id]))
}
