use super::*;
use crate::kernel::link::Vlan;
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A backend, the router towards it and the balancer's own address.
#[derive(Clone, Copy)]
struct Network {
    backend: IpAddr,
    gateway: IpAddr,
    own: IpAddr,
}

const V4: Network = Network {
    backend: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 11)),
    gateway: IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1)),
    own: IpAddr::V4(Ipv4Addr::new(10, 1, 0, 2)),
};
/// Routers of IPv6 mostly announce themselves by their link-local address.
const V6: Network = Network {
    backend: IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x11)),
    gateway: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
    own: IpAddr::V6(Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 2)),
};
const HOP_LINK: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OWN_LINK: [u8; 6] = [2, 0, 0, 0, 0, 2];

impl Network {
    fn route(self, attributes: impl IntoIterator<Item = RouteAttribute>) -> Route {
        let source = RouteAttribute::PrefSource(self.own.into());
        let attributes = [RouteAttribute::Oif(3), source].into_iter().chain(attributes);
        parse(self.backend, RouteType::Unicast, attributes.collect()).unwrap()
    }

    fn by_gateway(self, mtu: u32) -> Route {
        let mtu = RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]);
        self.route([RouteAttribute::Gateway(self.gateway.into()), mtu])
    }
}

fn parse(backend: IpAddr, kind: RouteType, attributes: Vec<RouteAttribute>) -> Result<Route, NextHopError> {
    let mut message = RouteMessage::default();
    message.header.kind = kind;
    message.attributes = attributes;
    Route::parse(backend, &message)
}

fn link(index: u32, name: &str) -> Link {
    Link { index, name: name.into(), address: Some(OWN_LINK), mtu: 1500, is_up: true, ..Link::default() }
}

fn tagged(index: u32, name: &str, (carrier, id, is_802_1q): (u32, u16, bool)) -> Link {
    Link { vlan: Some(Vlan { carrier, id, is_802_1q }), ..link(index, name) }
}

fn links(links: impl IntoIterator<Item = Link>) -> Links {
    links.into_iter().map(|link| (link.index, link)).collect()
}

#[test]
fn a_gateways_neighbour_is_the_next_hop() {
    for network in [V4, V6] {
        let next = build(&network.by_gateway(0), &links([link(3, "eth0")]), Some(HOP_LINK)).unwrap();
        let wanted = NextHop {
            ifindex: 3,
            link: Addresses::new(HOP_LINK, OWN_LINK),
            source: network.own,
            mtu: 1500,
            vlan: 0,
            second_vlan: 0,
            on_link: false,
        };
        assert_eq!(next, wanted);
        assert_eq!(network.by_gateway(0).neighbour(), (3, network.gateway));
        assert_eq!(next.describe("eth0"), "02:00:00:00:00:01 via eth0");
    }
}

#[test]
fn on_the_same_network_the_backend_is_its_own_next_hop() {
    for network in [V4, V6] {
        let route = network.route([]);
        assert_eq!(route.neighbour(), (3, network.backend));
        assert!(build(&route, &links([link(3, "eth0")]), Some(HOP_LINK)).unwrap().on_link);
    }
}

#[test]
fn an_ipv4_route_may_have_an_ipv6_gateway() {
    let route = V4.route([RouteAttribute::Via(RouteVia::from(V6.gateway))]);
    assert_eq!(route.neighbour(), (3, V6.gateway));
    let next = build(&route, &links([link(3, "eth0")]), Some(HOP_LINK)).unwrap();
    assert_eq!((next.source, next.on_link), (V4.own, false));
    let unknown = RouteAttribute::Via(RouteVia::Packet(vec![2; 6]));
    let error = parse(V4.backend, RouteType::Unicast, vec![unknown]);
    assert!(matches!(error, Err(NextHopError::NoRoute(why)) if why.contains("neither")));
}

#[test]
fn the_smaller_of_routes_and_interfaces_mtu_counts() {
    let links = links([link(3, "eth0")]);
    let mtu = |route: Route| build(&route, &links, Some(HOP_LINK)).unwrap().mtu;
    for network in [V4, V6] {
        assert_eq!((mtu(network.by_gateway(1400)), mtu(network.by_gateway(9000))), (1400, 1500));
    }
}

#[test]
fn an_mtu_that_an_ipv6_router_told_is_not_ipv4s() {
    let links = links([Link { mtu_v6: Some(1400), ..link(3, "eth0") }]);
    let mtu = |route: Route| build(&route, &links, Some(HOP_LINK)).unwrap().mtu;
    assert_eq!((mtu(V4.by_gateway(0)), mtu(V6.by_gateway(0)), mtu(V6.by_gateway(1300))), (1500, 1400, 1300));
}

#[test]
fn a_vlan_interface_sends_by_its_carrier_with_its_own_address_and_mtu() {
    let vlan = Link { mtu: 1496, address: Some([2, 0, 0, 0, 0, 9]), ..tagged(3, "eth0.100", (2, 100, true)) };
    for network in [V4, V6] {
        let links = links([link(2, "eth0"), vlan.clone()]);
        let next = build(&network.by_gateway(0), &links, Some(HOP_LINK)).unwrap();
        assert_eq!((next.ifindex, next.vlan, next.second_vlan, next.mtu), (2, 100, 0, 1496));
        assert_eq!(next.link.split().1, [2, 0, 0, 0, 0, 9]);
    }
}

#[test]
fn a_vlan_in_a_service_vlan_sends_both_tags_by_the_carrier_of_both() {
    let links = links([
        link(1, "eth0"),
        tagged(2, "eth0.s7", (1, 7, false)),
        tagged(3, "eth0.s7.100", (2, 100, true)),
    ]);
    let next = build(&V6.by_gateway(0), &links, Some(HOP_LINK)).unwrap();
    assert_eq!((next.ifindex, next.vlan, next.second_vlan), (1, 7, 100));
}

#[test]
fn tags_that_cannot_be_written_are_refused() {
    let eth0 = || link(1, "eth0");
    for links in [
        // A service tag alone, and a customer's tag around a customer's.
        links([eth0(), tagged(3, "inner", (1, 5, false))]),
        links([eth0(), tagged(2, "outer", (1, 6, true)), tagged(3, "inner", (2, 5, true))]),
        // Three tags.
        links([
            eth0(),
            tagged(4, "outmost", (1, 7, false)),
            tagged(2, "outer", (4, 6, false)),
            tagged(3, "inner", (2, 5, true)),
        ]),
        // A carrier in another namespace.
        links([eth0(), tagged(3, "inner", (0, 5, true))]),
    ] {
        let error = build(&V4.by_gateway(0), &links, Some(HOP_LINK));
        assert_eq!(error, Err(NextHopError::Tag("inner".into())));
    }
}

#[test]
fn each_missing_piece_is_named() {
    for network in [V4, V6] {
        let built = |link: Link, hop| build(&network.by_gateway(0), &links([link]), hop);
        let unresolved = NextHopError::Unresolved { hop: network.gateway, interface: "eth0".into() };
        assert_eq!(built(link(3, "eth0"), None), Err(unresolved));
        let down = Link { is_up: false, ..link(3, "eth0") };
        assert_eq!(built(down, Some(HOP_LINK)), Err(NextHopError::Down("eth0".into())));
        let tunnel = Link { address: None, ..link(3, "tun0") };
        assert_eq!(built(tunnel, Some(HOP_LINK)), Err(NextHopError::NotEthernet("tun0".into())));
        assert_eq!(parse(network.backend, RouteType::Local, vec![]), Err(NextHopError::Local));
        let hole = parse(network.backend, RouteType::BlackHole, vec![]);
        assert_eq!(hole, Err(NextHopError::NoRoute("blackhole".into())));
    }
}

#[test]
fn a_link_local_source_reaches_no_backend_behind_a_router() {
    let eth0 = links([link(3, "eth0")]);
    for (network, link_local) in [(V4, "169.254.0.9"), (V6, "fe80::9")] {
        let network = Network { own: link_local.parse().unwrap(), ..network };
        let error = build(&network.by_gateway(0), &eth0, Some(HOP_LINK));
        assert_eq!(error, Err(NextHopError::NoSource("eth0".into())));
        assert_eq!(build(&network.route([]), &eth0, Some(HOP_LINK)).unwrap().source, network.own);
    }
}

#[test]
fn a_link_local_backend_of_ipv6_is_nowhere_in_particular() {
    assert_eq!(refuse(V6.gateway), Some(NextHopError::LinkLocal));
    assert_eq!(refuse("169.254.0.9".parse().unwrap()), None);
    assert_eq!((refuse(V4.backend), refuse(V6.backend)), (None, None));
}

fn neighbour(
    gateway: IpAddr,
    state: NeighbourState,
    link: Option<[u8; 6]>,
) -> Option<(NeighbourKey, Neighbour)> {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = 3;
    message.header.state = state;
    message.attributes = vec![NeighbourAttribute::Destination(gateway.into())];
    message.attributes.extend(link.map(|link| NeighbourAttribute::LinkLayerAddress(link.to_vec())));
    Neighbour::parse(&message)
}

#[test]
fn a_stale_neighbour_is_usable_a_failed_one_is_not() {
    for gateway in [V4.gateway, V6.gateway] {
        let state = |state, link| neighbour(gateway, state, link);
        let is = |state| Some(((3, gateway), state));
        for usable in [NeighbourState::Reachable, NeighbourState::Stale, NeighbourState::Permanent] {
            assert_eq!(state(usable, Some(HOP_LINK)), is(Neighbour::At(HOP_LINK)));
        }
        assert_eq!(state(NeighbourState::Failed, Some(HOP_LINK)), is(Neighbour::Silent));
        assert_eq!(state(NeighbourState::Incomplete, None), is(Neighbour::Asked));
        assert_eq!(state(NeighbourState::Reachable, None), is(Neighbour::Asked));
    }
}

#[test]
fn a_bridges_neighbour_is_none_of_ours() {
    assert_eq!(Neighbour::parse(&NeighbourMessage::default()), None);
}
