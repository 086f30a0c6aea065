//! Houses: a client, a balancer and backends, each in a namespace of its own, wired in one of two ways.
//!
//! ```text
//! routed      client 10.10.0.2 ── 10.10.0.1 balancer 10.20.N.1 ── 10.20.N.2 backend N
//! one-armed   client 10.30.0.2 ──┐
//!             balancer 10.30.0.1 ┼── bridge
//!             backend 10.30.0.1N ┘
//! ```
//!
//! The client routes the VIP to the balancer, which forwards as any router does: so a packet that XDP passes still arrives,
//! and a reply that leaves a backend with the VIP as its source finds its way back.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};

use crate::net::offload::Offload;
use crate::net::xdp;
use crate::netns::Namespace;

/// The address that clients ask for. Source: RFC 5737, a documentation range, so no real host has it.
pub const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);

/// The MTU between balancer and backends: room for the outer header of `dsr-ipip` around a client's full packet.
const BACKEND_MTU: u32 = 1600;

/// How the namespaces of a [`House`] are wired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The balancer is the router between the client and every backend.
    Routed,
    /// All share one segment, and the balancer has one interface.
    OneArmed,
}

/// A backend's host.
#[derive(Debug)]
pub struct Host {
    /// The host.
    pub namespace: Namespace,
    /// Its address on the way to the balancer.
    pub address: Ipv4Addr,
}

/// A client, a balancer and its backends.
#[derive(Debug)]
pub struct House {
    /// Where clients run.
    pub client: Namespace,
    /// The client's address.
    pub client_address: Ipv4Addr,
    /// Where the daemon runs.
    pub balancer: Namespace,
    /// Where backends run.
    pub backends: Vec<Host>,
    /// The balancer's links: all of those that the daemon serves.
    pub interfaces: Vec<String>,
    /// What holds the bridge, if there is one.
    segment: Option<Namespace>,
}

/// The one link of every host but the balancer.
pub const LINK: &str = "eth0";

impl House {
    /// Builds a house with `backends` backends.
    pub fn build(layout: Layout, backends: u8) -> Result<Self> {
        let house = match layout {
            Layout::Routed => routed(backends),
            Layout::OneArmed => one_armed(backends),
        }?;
        house.settle()?;
        Ok(house)
    }

    fn settle(&self) -> Result<()> {
        let hosts = self.backends.iter().map(|host| &host.namespace);
        hosts.chain([&self.client, &self.balancer]).chain(&self.segment).try_for_each(Namespace::settle)
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

    /// Lets every backend answer for `vip`, as direct server return wants it: on the loopback, without ARP for it.
    pub fn backends_own(&self, vip: Ipv4Addr) -> Result<()> {
        self.backends.iter().try_for_each(|host| host.own(vip))
    }
}

impl Host {
    fn own(&self, vip: Ipv4Addr) -> Result<()> {
        self.namespace.sysctl("net.ipv4.conf.all.arp_ignore", "1")?;
        self.namespace.sysctl("net.ipv4.conf.all.arp_announce", "2")?;
        self.namespace.address("lo", vip, 32)
    }
}

fn routed(backends: u8) -> Result<House> {
    let balancer = router("balancer")?;
    let (gateway, client_address) = (Ipv4Addr::new(10, 10, 0, 1), Ipv4Addr::new(10, 10, 0, 2));
    let client = behind(&balancer, "client", "client0", gateway, client_address)?;
    let mut house = House {
        client,
        client_address,
        balancer,
        backends: Vec::new(),
        interfaces: vec!["client0".into()],
        segment: None,
    };
    for number in 1..=backends {
        let link = format!("backend{number}");
        let namespace = quiet(&link)?;
        let address = wire_backend(&house.balancer, &namespace, number)?;
        house.backends.push(Host { namespace, address });
        house.interfaces.push(link);
    }
    Ok(house)
}

/// Wires a backend's host to the balancer, and gives its address.
fn wire_backend(balancer: &Namespace, host: &Namespace, number: u8) -> Result<Ipv4Addr> {
    let link = format!("backend{number}");
    let (gateway, address) = (Ipv4Addr::new(10, 20, number, 1), Ipv4Addr::new(10, 20, number, 2));
    wire(balancer, host, &link, gateway, address)?;
    widen(host, LINK).and_then(|()| widen(balancer, &link))?;
    Ok(address)
}

/// A host on a link of its own to `balancer`.
fn behind(
    balancer: &Namespace,
    role: &str,
    link: &str,
    gateway: Ipv4Addr,
    address: Ipv4Addr,
) -> Result<Namespace> {
    let host = quiet(role)?;
    wire(balancer, &host, link, gateway, address)?;
    Ok(host)
}

fn wire(
    balancer: &Namespace,
    host: &Namespace,
    link: &str,
    gateway: Ipv4Addr,
    address: Ipv4Addr,
) -> Result<()> {
    host.veth(LINK, balancer, link)?;
    end_host(host, address)?;
    plain(balancer, link)?;
    balancer.address(link, gateway, 24)?;
    host.route(Ipv4Addr::UNSPECIFIED, 0, gateway)
}

fn one_armed(backends: u8) -> Result<House> {
    let segment = quiet("segment")?;
    segment.bridge("bridge0")?;
    let gateway = Ipv4Addr::new(10, 30, 0, 1);
    let balancer = router("balancer")?;
    plug(&balancer, &segment, "balancer")?;
    plain(&balancer, LINK)?;
    balancer.address(LINK, gateway, 24)?;
    let client_address = Ipv4Addr::new(10, 30, 0, 2);
    let client = plugged(&segment, "client", client_address)?;
    client.route(VIP, 32, gateway)?;
    let mut hosts = Vec::new();
    for number in 1..=backends {
        let address = Ipv4Addr::new(10, 30, 0, 10 + number);
        let namespace = plugged(&segment, &format!("backend{number}"), address)?;
        widen(&namespace, LINK)?;
        hosts.push(Host { namespace, address });
    }
    widen(&balancer, LINK)?;
    Ok(House {
        client,
        client_address,
        balancer,
        backends: hosts,
        interfaces: vec![LINK.into()],
        segment: Some(segment),
    })
}

/// A host on the segment.
fn plugged(segment: &Namespace, role: &str, address: Ipv4Addr) -> Result<Namespace> {
    let host = quiet(role)?;
    plug(&host, segment, role)?;
    end_host(&host, address)?;
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

/// A namespace that says nothing by itself: no IPv6, whose neighbour discovery would show up in counters.
fn quiet(role: &str) -> Result<Namespace> {
    let namespace = Namespace::new(role)?;
    for scope in ["all", "default"] {
        namespace.sysctl(&format!("net.ipv6.conf.{scope}.disable_ipv6"), "1")?;
        // The reply of direct server return comes from an address that no route leads to.
        namespace.sysctl(&format!("net.ipv4.conf.{scope}.rp_filter"), "0")?;
    }
    Ok(namespace)
}

/// A quiet namespace that forwards; `bpf_fib_lookup` answers in no other.
fn router(role: &str) -> Result<Namespace> {
    let namespace = quiet(role)?;
    namespace.sysctl("net.ipv4.ip_forward", "1")?;
    namespace.sysctl("net.ipv4.conf.all.send_redirects", "0")?;
    Ok(namespace)
}

/// The link of a host where connections end: like [`plain`], and ready to take frames that XDP sent.
fn end_host(host: &Namespace, address: Ipv4Addr) -> Result<()> {
    plain(host, LINK)?;
    host.offload(LINK, Offload::GenericReceive, true)?;
    xdp::attach_pass(host, LINK)?;
    host.address(LINK, address, 24)
}

/// Sets a link up without the offloads that no network card has towards XDP.
fn plain(namespace: &Namespace, link: &str) -> Result<()> {
    for offload in [Offload::TransmitChecksum, Offload::TcpSegmentation, Offload::GenericSegmentation] {
        namespace.offload(link, offload, false)?;
    }
    namespace.up(link)
}

fn widen(namespace: &Namespace, link: &str) -> Result<()> {
    namespace.mtu(link, BACKEND_MTU).context("room for the outer header")
}
