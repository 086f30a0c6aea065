//! What the kernel says of the way to one address.

use super::{NeighbourKey, NextHopError};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use std::net::IpAddr;

/// What the kernel knows of the way to one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) struct Route {
    /// The interface.
    pub(in crate::kernel) oif: u32,
    /// The gateway, of either family, or the address itself.
    pub(super) hop: IpAddr,
    /// Whether the hop is the address itself.
    pub(super) on_link: bool,
    source: Option<IpAddr>,
    pub(super) mtu: Option<u32>,
}

impl Route {
    /// The neighbour the route leads to.
    pub(in crate::kernel) const fn neighbour(&self) -> NeighbourKey {
        (self.oif, self.hop)
    }

    /// What a route message says of the way to `destination`.
    pub(in crate::kernel) fn parse(
        destination: IpAddr,
        message: &RouteMessage,
    ) -> Result<Self, NextHopError> {
        match message.header.kind {
            RouteType::Unicast => {}
            RouteType::Local | RouteType::Broadcast | RouteType::Anycast => return Err(NextHopError::Local),
            kind => return Err(NextHopError::NoRoute(format!("{kind:?}").to_lowercase())),
        }
        let mut route = Self { oif: 0, hop: destination, on_link: false, source: None, mtu: None };
        message.attributes.iter().try_for_each(|attribute| route.note(attribute))?;
        route.on_link = route.hop == destination;
        Ok(route)
    }

    fn note(&mut self, attribute: &RouteAttribute) -> Result<(), NextHopError> {
        match attribute {
            RouteAttribute::Oif(index) => self.oif = *index,
            RouteAttribute::Gateway(gateway) => self.hop = parse_address(gateway).ok_or_else(no_ip)?,
            RouteAttribute::Via(gateway) => self.hop = parse_via(gateway).ok_or_else(no_ip)?,
            RouteAttribute::PrefSource(source) => self.source = parse_address(source),
            RouteAttribute::Metrics(metrics) => self.mtu = metrics.iter().find_map(parse_mtu),
            _ => {}
        }
        Ok(())
    }

    /// The own address to send from. A link-local one is none where a router stands between, for no router sends the
    /// reply on to it (RFC 4291, section 2.5.6; RFC 3927, section 7).
    pub(super) fn usable_source(&self) -> Option<IpAddr> {
        self.source.filter(|source| self.on_link || !is_link_local(*source))
    }
}

/// Why an address cannot be looked up at all.
pub(in crate::kernel) fn refuse(destination: IpAddr) -> Option<NextHopError> {
    // The kernel would answer with one interface of the many that have the prefix fe80::/64. For 169.254.0.0/16
    // there is a route only where the operator wants one.
    (destination.is_ipv6() && is_link_local(destination)).then_some(NextHopError::LinkLocal)
}

const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

const fn parse_address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

/// A gateway of the other family, as an IPv4 route over an IPv6 network has (RFC 8950).
const fn parse_via(gateway: &RouteVia) -> Option<IpAddr> {
    match gateway {
        RouteVia::Inet(address) => Some(IpAddr::V4(*address)),
        RouteVia::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

fn no_ip() -> NextHopError {
    NextHopError::NoRoute("its gateway is neither an IPv4 nor an IPv6 address".into())
}

const fn parse_mtu(metric: &RouteMetric) -> Option<u32> {
    match metric {
        RouteMetric::Mtu(mtu) if *mtu > 0 => Some(*mtu),
        _ => None,
    }
}
