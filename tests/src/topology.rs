//! Houses: a client, a balancer and backends, each in a namespace of its own, wired in one of these ways.
//!
//! ```text
//! routed      client 10.10.0.2 ── 10.10.0.1 balancer 10.20.N.1 ── 10.20.N.2 backend N
//! distant     client 10.40.0.2 ── 10.40.0.1 path 10.10.0.2 ── the same; also on the segment, as 10.30.0.2
//! inner       the same as routed, but balancer 10.20.1.1 ── 10.20.1.2 inner 10.70.0.1 ── 10.70.0.2 the one backend
//! one-armed   client 10.30.0.2 ──┐
//!             balancer 10.30.0.1 ┼── bridge
//!             backend 10.30.0.1N ┘
//! ```
//!
//! Every link has IPv6 beside it, with the numbers at the same places: 10.20.3.2 is `fd00:10:20:3::2` too.
//!
//! The client routes the VIP to the balancer, which forwards as any router does: so a packet that XDP passes still arrives,
//! and a reply that leaves a backend with the VIP as its source finds its way back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};

use crate::family::{Addresses, Family};
use crate::net::offload::Offload;
use crate::net::xdp;
use crate::netns::Namespace;

/// The address that clients ask for. Source: RFC 5737, a documentation range, so no real host has it.
pub const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);

/// The addresses that clients ask for. Source: RFC 5737 and RFC 3849, documentation ranges.
pub const VIPS: Addresses = Addresses { v4: VIP, v6: Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 0x10) };

/// The MTU between balancer and backends: room for the outer headers of `dsr-gue` over IPv6 around a client's full packet.
pub const BACKEND_MTU: u32 = 1600;
/// The longest packets that hosts send: links that are wider are so for outer headers, not for them.
pub const PATH_MTU: u32 = 1500;

/// How the namespaces of a [`House`] are wired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The balancer is the router between the client and every backend.
    Routed,
    /// The same, with another router between the client and the balancer.
    Distant,
    /// All share one segment, and the balancer has one interface.
    OneArmed,
    /// The same, with a router on the segment in the place of the client, which is behind it.
    DistantOneArmed,
}

/// A backend's host.
#[derive(Debug)]
pub struct Host {
    /// The host.
    pub namespace: Namespace,
    /// Its addresses on the way to the balancer.
    pub addresses: Addresses,
}

/// A client, a balancer and its backends.
#[derive(Debug)]
pub struct House {
    /// Where clients run.
    pub client: Namespace,
    /// The client's addresses.
    pub client_addresses: Addresses,
    /// Where the daemon runs.
    pub balancer: Namespace,
    /// Where backends run.
    pub backends: Vec<Host>,
    /// The balancer's links: all of those that the daemon serves.
    pub interfaces: Vec<String>,
    /// The router between the client and the balancer, if there is one.
    pub path: Option<Namespace>,
    /// The router between the balancer and its only backend, if there is one.
    pub inner: Option<Namespace>,
    /// What holds the bridge, if there is one.
    segment: Option<Namespace>,
}

/// An inner router's link to its backend.
const INNER_LINK: &str = "inner0";

/// The one link of every host but the balancer.
pub const LINK: &str = "eth0";

/// A segment of 254 hosts, and of many more by IPv6.
#[derive(Debug, Clone, Copy)]
struct Net {
    second: u8,
    third: u8,
}

/// Bits of a [`Net`]'s prefix.
const fn bits(family: Family) -> u8 {
    match family {
        Family::V4 => 24,
        Family::V6 => 64,
    }
}

impl Net {
    const CLIENT: Self = Self { second: 10, third: 0 };
    const SEGMENT: Self = Self { second: 30, third: 0 };
    const STRANGER: Self = Self { second: 60, third: 0 };
    const DISTANT: Self = Self { second: 40, third: 0 };
    const INNER: Self = Self { second: 70, third: 0 };

    const fn backend(number: u8) -> Self {
        Self { second: 20, third: number }
    }

    /// The host with a number, written with the same digits in both families.
    fn host(self, number: u8) -> Addresses {
        let Self { second, third } = self;
        let digits = |number: u8| {
            u16::from(number / 100) << 8 | u16::from(number / 10 % 10) << 4 | u16::from(number % 10)
        };
        let [second16, third16, number16] = [second, third, number].map(digits);
        Addresses {
            v4: Ipv4Addr::new(10, second, third, number),
            v6: Ipv6Addr::new(0xfd00, 0x10, second16, third16, 0, 0, 0, number16),
        }
    }
}

impl House {
    /// Builds a house with `backends` backends.
    pub fn build(layout: Layout, backends: u8) -> Result<Self> {
        let house = match layout {
            Layout::Routed => routed(backends),
            Layout::Distant => distant(backends),
            Layout::OneArmed => one_armed(backends),
            Layout::DistantOneArmed => distant_one_armed(backends),
        }?;
        house.settle()?;
        Ok(house)
    }

    /// Wires one more host to the balancer, by a link of its own that the daemon is to serve, too: somebody else on the
    /// Internet than the client.
    pub fn join(&mut self, role: &str) -> Result<Host> {
        let (namespace, link) = (quiet(role)?, format!("{role}0"));
        wire(&self.balancer, &namespace, &link, Net::STRANGER)?;
        self.interfaces.push(link);
        self.settle().and_then(|()| namespace.settle())?;
        Ok(Host { namespace, addresses: Net::STRANGER.host(2) })
    }

    /// A house with one backend, behind a router of its own.
    pub fn with_an_inner_router() -> Result<Self> {
        let mut house = routed(1)?;
        let Host { namespace: inner, addresses: way } =
            house.backends.pop().context("a house of one backend")?;
        make_router(&inner)?;
        let namespace = quiet("backend1")?;
        wire(&inner, &namespace, INNER_LINK, Net::INNER)?;
        widen(&inner, INNER_LINK).and_then(|()| widen(&namespace, LINK))?;
        for (to, by) in Net::INNER.host(0).both().into_iter().zip(way.both()) {
            house.balancer.route(to, bits(Family::of(to)), by)?;
        }
        house.backends.push(Host { namespace, addresses: Net::INNER.host(2) });
        let house = Self { inner: Some(inner), ..house };
        house.settle()?;
        Ok(house)
    }

    /// Lets packets of at most `bytes` through from the inner router to the backend behind it.
    pub fn narrow_the_inner_path(&self, bytes: u32) -> Result<()> {
        let inner = self.inner.as_ref().context("a house without an inner router")?;
        let narrow = |to: IpAddr| inner.narrow_route(to, Family::of(to).bits(), to, bytes);
        self.backends.iter().flat_map(|host| host.addresses.both()).try_for_each(narrow)
    }

    fn settle(&self) -> Result<()> {
        let hosts = self.backends.iter().map(|host| &host.namespace);
        let between = self.segment.iter().chain(&self.path).chain(&self.inner);
        hosts.chain([&self.client, &self.balancer]).chain(between).try_for_each(Namespace::settle)
    }

    /// Gives the hosts and the balancer of a routed house back the offloads that [`plain`] took, as virtual machines and
    /// containers have them: checksums are left to be completed, and packets come and go many in one.
    pub fn offload(&self) -> Result<()> {
        let hosts = self.backends.iter().map(|host| &host.namespace).chain([&self.client]);
        for host in hosts {
            xdp::detach_pass(host, LINK)?;
            offload(host, LINK)?;
        }
        self.interfaces.iter().try_for_each(|link| offload(&self.balancer, link))
    }

    /// Deletes the link to the backend at `index` of a routed house, at both ends.
    pub fn tear_out(&self, index: usize) -> Result<()> {
        self.balancer.delete(&self.interfaces[index + 1])
    }

    /// Wires the backend at `index` of a routed house again, as it was.
    pub fn wire_again(&self, index: usize) -> Result<()> {
        let number = u8::try_from(index + 1).context("a house of so many backends")?;
        wire_backend(&self.balancer, &self.backends[index].namespace, number)?;
        self.settle()
    }

    /// The same, but with a bridge in the place of the balancer's link.
    pub fn wire_again_by_a_bridge(&self, index: usize) -> Result<()> {
        let number = u8::try_from(index + 1).context("a house of so many backends")?;
        let (bridge, port, net) =
            (&self.interfaces[index + 1], format!("port{number}"), Net::backend(number));
        self.balancer.bridge(bridge)?;
        wire(&self.balancer, &self.backends[index].namespace, &port, net)?;
        for address in net.host(1).both() {
            self.balancer.lose_address(&port, address)?;
        }
        self.balancer.enslave(&port, bridge)?;
        addresses(&self.balancer, bridge, net.host(1))?;
        self.settle()
    }

    /// Makes the balancer's link at `index` of a routed house a port of a bridge, which has its addresses from then on. Native
    /// XDP neither attaches nor sends to a bridge. Gives the bridge's name.
    pub fn bridge(&self, index: usize) -> Result<String> {
        let (link, bridge) = (&self.interfaces[index], format!("bridge{index}"));
        let number = u8::try_from(index).context("a house of so many links")?;
        let net = if number == 0 { Net::CLIENT } else { Net::backend(number) };
        self.balancer.bridge(&bridge)?;
        for address in net.host(1).both() {
            self.balancer.lose_address(link, address)?;
        }
        self.balancer.enslave(link, &bridge)?;
        addresses(&self.balancer, &bridge, net.host(1))?;
        self.settle()?;
        Ok(bridge)
    }

    /// Lets every backend answer for `vips`, as direct server return wants it: on the loopback, without ARP for it. Of
    /// IPv6 addresses, a link tells its own only.
    pub fn backends_own(&self, vips: Addresses) -> Result<()> {
        self.backends.iter().try_for_each(|host| host.own(vips))
    }

    /// Has a host on the segment of a one-armed house ask for the VIPs at the balancer, as the client does.
    pub fn route_vips_by_the_balancer(&self, host: &Namespace) -> Result<()> {
        self.segment.as_ref().context("a house without a segment")?;
        route_vips(host)
    }

    /// The balancer's links to the backends of a routed house.
    pub fn backend_links(&self) -> impl Iterator<Item = &String> {
        self.interfaces.iter().filter(|name| name.starts_with("backend"))
    }

    /// Lets packets of at most `bytes` through from the balancer to the client of a distant house: the router between
    /// them refuses longer ones.
    pub fn narrow_the_path(&self, bytes: u32) -> Result<()> {
        let path = self.path.as_ref().context("a house without a router")?;
        let narrow = |address: IpAddr| path.narrow_route(address, Family::of(address).bits(), address, bytes);
        self.client_addresses.both().into_iter().try_for_each(narrow)
    }

    /// Takes back what [`House::narrow_the_path`] did.
    pub fn widen_the_path(&self) -> Result<()> {
        let path = self.path.as_ref().context("a house without a router")?;
        let widen = |address: IpAddr| path.lose_route(address, Family::of(address).bits(), address);
        self.client_addresses.both().into_iter().try_for_each(widen)
    }
}

impl Host {
    /// Takes back what [`House::backends_own`] gave, so that the host can be a client.
    pub fn disown(&self, vips: Addresses) -> Result<()> {
        vips.both().into_iter().try_for_each(|vip| self.namespace.lose_address("lo", vip))
    }

    fn own(&self, vips: Addresses) -> Result<()> {
        self.namespace.sysctl("net.ipv4.conf.all.arp_ignore", "1")?;
        self.namespace.sysctl("net.ipv4.conf.all.arp_announce", "2")?;
        vips.both()
            .into_iter()
            .try_for_each(|vip| self.namespace.address("lo", vip, Family::of(vip).bits()))?;
        self.namespace.settle()
    }
}

fn routed(backends: u8) -> Result<House> {
    let balancer = router("balancer")?;
    let client = quiet("client")?;
    wire(&balancer, &client, "client0", Net::CLIENT)?;
    behind_a_router(balancer, client, Net::CLIENT.host(2), backends)
}

fn distant(backends: u8) -> Result<House> {
    let balancer = router("balancer")?;
    let path = router("path")?;
    wire(&balancer, &path, "client0", Net::CLIENT)?;
    let client = behind_the_path(&path)?;
    route_to_the_client(&balancer, Net::CLIENT.host(2))?;
    let house = behind_a_router(balancer, client, Net::DISTANT.host(2), backends)?;
    Ok(House { path: Some(path), ..house })
}

fn distant_one_armed(backends: u8) -> Result<House> {
    let house = one_armed(backends)?;
    let path = house.client;
    make_router(&path)?;
    let client = behind_the_path(&path)?;
    let hosts = house.backends.iter().map(|host| &host.namespace).chain([&house.balancer]);
    hosts.into_iter().try_for_each(|host| route_to_the_client(host, house.client_addresses))?;
    Ok(House { client, client_addresses: Net::DISTANT.host(2), path: Some(path), ..house })
}

/// A client behind a router of its own.
fn behind_the_path(path: &Namespace) -> Result<Namespace> {
    let client = quiet("client")?;
    wire(path, &client, "client0", Net::DISTANT)?;
    Ok(client)
}

fn route_to_the_client(host: &Namespace, by: Addresses) -> Result<()> {
    let ways = Net::DISTANT.host(0).both().into_iter().zip(by.both());
    ways.into_iter().try_for_each(|(to, by)| host.sized_route(to, bits(Family::of(to)), by, PATH_MTU))
}

fn behind_a_router(
    balancer: Namespace,
    client: Namespace,
    client_addresses: Addresses,
    backends: u8,
) -> Result<House> {
    let mut house = House {
        client,
        client_addresses,
        balancer,
        backends: Vec::new(),
        interfaces: vec!["client0".into()],
        path: None,
        inner: None,
        segment: None,
    };
    for number in 1..=backends {
        let link = format!("backend{number}");
        let namespace = quiet(&link)?;
        let addresses = wire_backend(&house.balancer, &namespace, number)?;
        house.backends.push(Host { namespace, addresses });
        house.interfaces.push(link);
    }
    Ok(house)
}

/// Wires a backend's host to the balancer, and gives its addresses.
fn wire_backend(balancer: &Namespace, host: &Namespace, number: u8) -> Result<Addresses> {
    let (link, net) = (format!("backend{number}"), Net::backend(number));
    wire(balancer, host, &link, net)?;
    widen(host, LINK).and_then(|()| widen(balancer, &link))?;
    Ok(net.host(2))
}

/// Wires `host` to `router` by a net of their own, in which they are numbers 2 and 1.
fn wire(router: &Namespace, host: &Namespace, link: &str, net: Net) -> Result<()> {
    host.veth(LINK, router, link)?;
    end_host(host, net.host(2))?;
    plain(router, link)?;
    addresses(router, link, net.host(1))?;
    net.host(1)
        .both()
        .into_iter()
        .try_for_each(|gateway| host.sized_route(Family::of(gateway).any(), 0, gateway, PATH_MTU))
}

fn one_armed(backends: u8) -> Result<House> {
    let segment = quiet("segment")?;
    segment.bridge("bridge0")?;
    let balancer = router("balancer")?;
    plug(&balancer, &segment, "balancer")?;
    plain(&balancer, LINK)?;
    addresses(&balancer, LINK, Net::SEGMENT.host(1))?;
    let client_addresses = Net::SEGMENT.host(2);
    let client = plugged(&segment, "client", client_addresses)?;
    route_vips(&client)?;
    let mut hosts = Vec::new();
    for number in 1..=backends {
        let addresses = Net::SEGMENT.host(10 + number);
        let namespace = plugged(&segment, &format!("backend{number}"), addresses)?;
        widen(&namespace, LINK)?;
        hosts.push(Host { namespace, addresses });
    }
    widen(&balancer, LINK)?;
    Ok(House {
        client,
        client_addresses,
        balancer,
        backends: hosts,
        interfaces: vec![LINK.into()],
        path: None,
        inner: None,
        segment: Some(segment),
    })
}

/// Routes the VIPs to the balancer on the segment.
fn route_vips(host: &Namespace) -> Result<()> {
    let ways = VIPS.both().into_iter().zip(Net::SEGMENT.host(1).both());
    ways.into_iter().try_for_each(|(vip, gateway)| host.route(vip, Family::of(vip).bits(), gateway))
}

/// A host on the segment.
fn plugged(segment: &Namespace, role: &str, addresses: Addresses) -> Result<Namespace> {
    let host = quiet(role)?;
    plug(&host, segment, role)?;
    end_host(&host, addresses)?;
    Ok(host)
}

/// Wires `host` to the bridge of `segment` by a port called `port`.
fn plug(host: &Namespace, segment: &Namespace, port: &str) -> Result<()> {
    host.veth(LINK, segment, port)?;
    plain(segment, port)?;
    widen(segment, port)?;
    segment.enslave(port, "bridge0")?;
    xdp::attach_pass(segment, port)
}

/// What a host on a network that nobody else manages would set: addresses are there at once, nothing is asked of routers.
const QUIET_V6: [(&str, &str); 4] =
    [("accept_dad", "0"), ("accept_ra", "0"), ("router_solicitations", "0"), ("accept_redirects", "0")];

/// A namespace that says little by itself: what it said would show up in counters.
fn quiet(role: &str) -> Result<Namespace> {
    let namespace = Namespace::new(role)?;
    for scope in ["all", "default"] {
        for (key, value) in QUIET_V6 {
            namespace.sysctl(&format!("net.ipv6.conf.{scope}.{key}"), value)?;
        }
        // The reply of direct server return comes from an address that no route leads to.
        namespace.sysctl(&format!("net.ipv4.conf.{scope}.rp_filter"), "0")?;
    }
    Ok(namespace)
}

/// A quiet namespace that forwards; `bpf_fib_lookup` answers in no other.
fn router(role: &str) -> Result<Namespace> {
    let namespace = quiet(role)?;
    make_router(&namespace)?;
    Ok(namespace)
}

fn make_router(host: &Namespace) -> Result<()> {
    host.sysctl("net.ipv4.ip_forward", "1")?;
    host.sysctl("net.ipv6.conf.all.forwarding", "1")?;
    host.sysctl("net.ipv4.conf.all.send_redirects", "0")
}

/// The link of a host where connections end: like [`plain`], and ready to take frames that XDP sent.
fn end_host(host: &Namespace, own: Addresses) -> Result<()> {
    plain(host, LINK)?;
    host.offload(LINK, Offload::GenericReceive, true)?;
    xdp::attach_pass(host, LINK)?;
    addresses(host, LINK, own)
}

/// Gives a link its addresses.
fn addresses(host: &Namespace, link: &str, own: Addresses) -> Result<()> {
    own.both().into_iter().try_for_each(|address| host.address(link, address, bits(Family::of(address))))
}

/// Sets a link up without the offloads that no network card has towards XDP.
fn plain(namespace: &Namespace, link: &str) -> Result<()> {
    for offload in [Offload::TransmitChecksum, Offload::TcpSegmentation, Offload::GenericSegmentation] {
        namespace.offload(link, offload, false)?;
    }
    namespace.up(link)
}

/// Switches a link's offloads on.
fn offload(namespace: &Namespace, link: &str) -> Result<()> {
    let offloads = [
        Offload::TransmitChecksum,
        Offload::TcpSegmentation,
        Offload::GenericSegmentation,
        Offload::GenericReceive,
    ];
    offloads.into_iter().try_for_each(|offload| namespace.offload(link, offload, true))
}

fn widen(namespace: &Namespace, link: &str) -> Result<()> {
    namespace.mtu(link, BACKEND_MTU).context("room for the outer header")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_addresses_of_a_host_are_written_with_the_same_digits() {
        let host = Net::backend(12).host(105);
        assert_eq!(host.v4.to_string(), "10.20.12.105");
        assert_eq!(host.v6.to_string(), "fd00:10:20:12::105");
    }
}
