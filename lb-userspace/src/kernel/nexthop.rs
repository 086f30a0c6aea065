//! From a route, a neighbour and a link to the finished answer: where a backend's packets leave, and to whom.
//!
//! Pure: netlink's answers in, [`NextHop`] or the reason why there is none out.

use super::Link;
use lb_common::wire::ethernet::Addresses;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType};
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// How packets reach a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The interface that sends: for a VLAN interface the one that carries it.
    pub ifindex: u32,
    /// The next hop's address as destination, our own as source.
    pub link: Addresses,
    /// Our own address towards the backend.
    pub source: Ipv4Addr,
    /// The largest packet that may be sent, in bytes from the IP header on.
    pub mtu: u16,
    /// The tag to send with; 0 for none.
    pub vlan: u16,
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
    /// It is reached through something that is not Ethernet.
    #[error("the route to it leaves by `{0}`, which is not Ethernet; only Ethernet can be sent to")]
    NotEthernet(String),
    /// The interface is off.
    #[error("the route to it leaves by `{0}`, which is down")]
    Down(String),
    /// It has no usable tag.
    #[error(
        "the route to it leaves by `{0}`, whose tag is not a single 802.1Q tag; only that can be written"
    )]
    Tag(String),
    /// We have no address to send from.
    #[error("there is no own address to send from on `{0}`")]
    NoSource(String),
    /// The next hop's link-layer address is not known (yet).
    #[error("{hop} does not answer on `{interface}`")]
    Unresolved {
        /// The backend itself, or the gateway towards it.
        hop: Ipv4Addr,
        /// Where it should be.
        interface: String,
    },
}

/// A neighbour's place: the interface's index and the address.
pub type NeighbourKey = (u32, Ipv4Addr);

/// What the kernel knows of the way to one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The interface.
    pub(super) oif: u32,
    /// The gateway, or the address itself.
    pub(super) hop: Ipv4Addr,
    source: Option<Ipv4Addr>,
    mtu: Option<u32>,
}

impl Route {
    /// The neighbour the route leads to.
    pub(super) fn neighbour(&self) -> NeighbourKey {
        (self.oif, self.hop)
    }

    /// What a route message says of the way to `destination`.
    pub(super) fn parse(destination: Ipv4Addr, message: &RouteMessage) -> Result<Self, NextHopError> {
        match message.header.kind {
            RouteType::Unicast => {}
            RouteType::Local | RouteType::Broadcast | RouteType::Anycast => return Err(NextHopError::Local),
            kind => return Err(NextHopError::NoRoute(format!("{kind:?}").to_lowercase())),
        }
        if message.attributes.iter().any(|attribute| matches!(attribute, RouteAttribute::Via(_))) {
            return Err(NextHopError::NoRoute("its gateway is an IPv6 address".into()));
        }
        let mut route = Self { oif: 0, hop: destination, source: None, mtu: None };
        message.attributes.iter().for_each(|attribute| route.note(attribute));
        Ok(route)
    }

    fn note(&mut self, attribute: &RouteAttribute) {
        match attribute {
            RouteAttribute::Oif(index) => self.oif = *index,
            RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => self.hop = *gateway,
            RouteAttribute::PrefSource(RouteAddress::Inet(source)) => self.source = Some(*source),
            RouteAttribute::Metrics(metrics) => self.mtu = metrics.iter().find_map(parse_mtu),
            _ => {}
        }
    }
}

fn parse_mtu(metric: &RouteMetric) -> Option<u32> {
    match metric {
        RouteMetric::Mtu(mtu) if *mtu > 0 => Some(*mtu),
        _ => None,
    }
}

/// What the kernel knows of a neighbour's link-layer address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Neighbour {
    /// Usable; perhaps not confirmed lately, which is for the health checks' traffic to do.
    At([u8; 6]),
    /// Being asked for.
    Asked,
    /// Asked for in vain.
    Silent,
}

impl Neighbour {
    /// The neighbour that a message describes; `None` if it is not an IPv4 neighbour.
    pub(super) fn parse(message: &NeighbourMessage) -> Option<(NeighbourKey, Self)> {
        let address = message.attributes.iter().find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(*address),
            _ => None,
        })?;
        let link = message.attributes.iter().find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok(),
            _ => None,
        });
        let state = match (message.header.state, link) {
            (NeighbourState::Failed, _) => Self::Silent,
            (NeighbourState::Incomplete | NeighbourState::None, _) | (_, None) => Self::Asked,
            (_, Some(link)) => Self::At(link),
        };
        Some(((message.header.ifindex, address), state))
    }
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
    let (ifindex, vlan) = carrier(out, links)?;
    let source = route.source.ok_or_else(|| NextHopError::NoSource(out.name.clone()))?;
    let unresolved = || NextHopError::Unresolved { hop: route.hop, interface: out.name.clone() };
    let hop = hop.ok_or_else(unresolved)?;
    let mtu = route.mtu.map_or(out.mtu, |mtu| mtu.min(out.mtu));
    let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
    Ok(NextHop { ifindex, link: Addresses::new(hop, own), source, mtu, vlan })
}

/// The interface that really sends, and with which tag.
fn carrier(out: &Link, links: &Links) -> Result<(u32, u16), NextHopError> {
    let Some(vlan) = out.vlan else { return Ok((out.index, 0)) };
    let nested = links.get(&vlan.carrier).is_none_or(|carrier| carrier.vlan.is_some());
    if nested || !vlan.is_802_1q {
        return Err(NextHopError::Tag(out.name.clone()));
    }
    Ok((vlan.carrier, vlan.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::link::Vlan;

    const BACKEND: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
    const OWN: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
    const HOP_LINK: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const OWN_LINK: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn route(kind: RouteType, attributes: Vec<RouteAttribute>) -> Result<Route, NextHopError> {
        let mut message = RouteMessage::default();
        message.header.kind = kind;
        message.attributes = attributes;
        Route::parse(BACKEND, &message)
    }

    fn by_gateway(mtu: u32) -> Route {
        route(
            RouteType::Unicast,
            vec![
                RouteAttribute::Oif(3),
                RouteAttribute::Gateway(RouteAddress::Inet(GATEWAY)),
                RouteAttribute::PrefSource(RouteAddress::Inet(OWN)),
                RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]),
            ],
        )
        .unwrap()
    }

    fn link(index: u32, name: &str) -> Link {
        Link { index, name: name.into(), address: Some(OWN_LINK), mtu: 1500, is_up: true, ..Link::default() }
    }

    fn links(links: impl IntoIterator<Item = Link>) -> Links {
        links.into_iter().map(|link| (link.index, link)).collect()
    }

    #[test]
    fn a_gateways_neighbour_is_the_next_hop() {
        let next = build(&by_gateway(0), &links([link(3, "eth0")]), Some(HOP_LINK)).unwrap();
        assert_eq!(
            next,
            NextHop { ifindex: 3, link: Addresses::new(HOP_LINK, OWN_LINK), source: OWN, mtu: 1500, vlan: 0 }
        );
        assert_eq!(by_gateway(0).neighbour(), (3, GATEWAY));
        assert_eq!(next.describe("eth0"), "02:00:00:00:00:01 via eth0");
    }

    #[test]
    fn on_the_same_network_the_backend_is_its_own_next_hop() {
        let route = route(RouteType::Unicast, vec![RouteAttribute::Oif(3)]).unwrap();
        assert_eq!(route.neighbour(), (3, BACKEND));
    }

    #[test]
    fn the_smaller_of_routes_and_interfaces_mtu_counts() {
        let links = links([link(3, "eth0")]);
        let mtu = |route: Route| build(&route, &links, Some(HOP_LINK)).unwrap().mtu;
        assert_eq!((mtu(by_gateway(1400)), mtu(by_gateway(9000))), (1400, 1500));
    }

    #[test]
    fn a_vlan_interface_sends_by_its_carrier_with_its_own_address_and_mtu() {
        let vlan = Link {
            vlan: Some(Vlan { carrier: 2, id: 100, is_802_1q: true }),
            mtu: 1496,
            address: Some([2, 0, 0, 0, 0, 9]),
            ..link(3, "eth0.100")
        };
        let next = build(&by_gateway(0), &links([link(2, "eth0"), vlan]), Some(HOP_LINK)).unwrap();
        assert_eq!((next.ifindex, next.vlan, next.mtu), (2, 100, 1496));
        assert_eq!(next.link.split().1, [2, 0, 0, 0, 0, 9]);
    }

    #[test]
    fn tags_that_cannot_be_written_are_refused() {
        let vlan = |carrier, is_802_1q| Some(Vlan { carrier, id: 5, is_802_1q });
        let outer = Link { vlan: vlan(1, true), ..link(2, "outer") };
        for links in [
            links([outer, Link { vlan: vlan(2, true), ..link(3, "inner") }]),
            links([link(2, "eth0"), Link { vlan: vlan(2, false), ..link(3, "inner") }]),
        ] {
            let error = build(&by_gateway(0), &links, Some(HOP_LINK));
            assert_eq!(error, Err(NextHopError::Tag("inner".into())));
        }
    }

    #[test]
    fn each_missing_piece_is_named() {
        let up = links([link(3, "eth0")]);
        let unresolved = NextHopError::Unresolved { hop: GATEWAY, interface: "eth0".into() };
        assert_eq!(build(&by_gateway(0), &up, None), Err(unresolved));
        let down = links([Link { is_up: false, ..link(3, "eth0") }]);
        assert_eq!(build(&by_gateway(0), &down, Some(HOP_LINK)), Err(NextHopError::Down("eth0".into())));
        let tunnel = links([Link { address: None, ..link(3, "tun0") }]);
        assert_eq!(
            build(&by_gateway(0), &tunnel, Some(HOP_LINK)),
            Err(NextHopError::NotEthernet("tun0".into()))
        );
        assert_eq!(route(RouteType::Local, vec![]), Err(NextHopError::Local));
        assert_eq!(route(RouteType::BlackHole, vec![]), Err(NextHopError::NoRoute("blackhole".into())));
    }

    fn neighbour(state: NeighbourState, link: Option<[u8; 6]>) -> Option<(NeighbourKey, Neighbour)> {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = 3;
        message.header.state = state;
        message.attributes = vec![NeighbourAttribute::Destination(NeighbourAddress::Inet(GATEWAY))];
        message.attributes.extend(link.map(|link| NeighbourAttribute::LinkLayerAddress(link.to_vec())));
        Neighbour::parse(&message)
    }

    #[test]
    fn a_stale_neighbour_is_usable_a_failed_one_is_not() {
        let key = (3, GATEWAY);
        for state in [NeighbourState::Reachable, NeighbourState::Stale, NeighbourState::Permanent] {
            assert_eq!(neighbour(state, Some(HOP_LINK)), Some((key, Neighbour::At(HOP_LINK))));
        }
        assert_eq!(neighbour(NeighbourState::Failed, Some(HOP_LINK)), Some((key, Neighbour::Silent)));
        assert_eq!(neighbour(NeighbourState::Incomplete, None), Some((key, Neighbour::Asked)));
        assert_eq!(neighbour(NeighbourState::Reachable, None), Some((key, Neighbour::Asked)));
    }
}
