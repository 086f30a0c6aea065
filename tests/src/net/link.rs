//! Links, addresses and routes of a [`Namespace`].

use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::AddressHeaderFlags;
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkFlags, LinkMessage, State};
use rtnetlink::packet_route::route::{
    RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteScope, RouteType,
};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::{index, netlink};
use crate::netns::Namespace;
use crate::patience;

/// How long a link may take until it carries frames, and how often we look.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(1);

impl Namespace {
    /// Makes a veth pair, `name` here and `peer` in `other`, both down.
    pub fn veth(&self, name: &str, other: &Namespace, peer: &str) -> Result<()> {
        let far = LinkUnspec::new_with_name(peer).setns_by_fd(other.raw()).build();
        let pair = LinkVeth::new(name, peer).set_info_data(InfoData::Veth(InfoVeth::Peer(far))).build();
        self.run(|| netlink(async |handle| Ok(handle.link().add(pair).execute().await?)))
            .with_context(|| format!("veth {name} in {} to {peer} in {}", self.name(), other.name()))
    }

    /// Makes a bridge, up, without spanning tree.
    pub fn bridge(&self, name: &str) -> Result<()> {
        let bridge = LinkBridge::new(name).build();
        self.run(|| netlink(async |handle| Ok(handle.link().add(bridge).execute().await?)))
            .with_context(|| format!("bridge {name} in {}", self.name()))
    }

    /// Makes `port` a port of `bridge`.
    pub fn enslave(&self, port: &str, bridge: &str) -> Result<()> {
        self.run(|| {
            netlink(async |handle| {
                let controller = index(&handle, bridge).await?;
                let change = LinkUnspec::new_with_name(port).controller(controller).build();
                Ok(handle.link().set(change).execute().await?)
            })
        })
        .with_context(|| format!("port {port} of bridge {bridge} in {}", self.name()))
    }

    /// Deletes a link; of a veth pair, both ends.
    pub fn delete(&self, name: &str) -> Result<()> {
        self.run(|| {
            netlink(async |handle| {
                let link = index(&handle, name).await?;
                Ok(handle.link().del(link).execute().await?)
            })
        })
        .with_context(|| format!("deleting {name} in {}", self.name()))
    }

    /// Sets a link up.
    pub fn up(&self, name: &str) -> Result<()> {
        self.change("up", LinkUnspec::new_with_name(name).up())
    }

    /// Waits until frames pass every link that was set up, and IPv6 addresses are taken for the host's own: the kernel gives
    /// a link its queue, and an address its route, some time later, and loses frames until then. Other links are not ours:
    /// with a tunnel module, every namespace is born with one (`tunl0`).
    pub fn settle(&self) -> Result<()> {
        let deadline = Instant::now() + patience::of(PATIENCE);
        while !self.run(|| Ok(netlink(all_operational)? && every_address_is_routed()?))? {
            ensure!(Instant::now() < deadline, "a link in {} does not come up", self.name());
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Sets a link down: a cable pulled.
    pub fn down(&self, name: &str) -> Result<()> {
        self.change("down", LinkUnspec::new_with_name(name).down())
    }

    /// Sets a link's MTU in bytes.
    pub fn mtu(&self, name: &str, bytes: u32) -> Result<()> {
        self.change("mtu", LinkUnspec::new_with_name(name).mtu(bytes))
    }

    fn change(&self, what: &str, change: LinkMessageBuilder<LinkUnspec>) -> Result<()> {
        self.run(|| netlink(async |handle| Ok(handle.link().set(change.build()).execute().await?)))
            .with_context(|| format!("setting a link {what} in {}", self.name()))
    }

    /// Gives `name` an address, which can be used at once: nobody else has it, so an IPv6 one need not be asked for first.
    pub fn address(&self, name: &str, address: impl Into<IpAddr>, prefix: u8) -> Result<()> {
        let address = address.into();
        self.run(|| {
            netlink(async |handle| {
                let link = index(&handle, name).await?;
                let mut request = handle.address().add(link, address, prefix);
                if address.is_ipv6() {
                    request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
                }
                Ok(request.execute().await?)
            })
        })
        .with_context(|| format!("address {address}/{prefix} on {name} in {}", self.name()))
    }

    /// Takes an address away from `name`.
    pub fn lose_address(&self, name: &str, address: impl Into<IpAddr>) -> Result<()> {
        let address = address.into();
        self.run(|| {
            netlink(async |handle| {
                let link = index(&handle, name).await?;
                let mut found =
                    handle.address().get().set_link_index_filter(link).set_address_filter(address).execute();
                let message = found.try_next().await?.context("it has no such address")?;
                Ok(handle.address().del(message).execute().await?)
            })
        })
        .with_context(|| format!("taking {address} from {name} in {}", self.name()))
    }

    /// Routes `destination` with `prefix` bits through `gateway`; 0 bits are the default route.
    pub fn route(
        &self,
        destination: impl Into<IpAddr>,
        prefix: u8,
        gateway: impl Into<IpAddr>,
    ) -> Result<()> {
        self.add_route(through(destination.into(), prefix, gateway.into())?)
    }

    /// The same, for packets of at most `bytes` to begin with; what the path tells may make them shorter.
    pub fn sized_route(
        &self,
        destination: impl Into<IpAddr>,
        prefix: u8,
        gateway: impl Into<IpAddr>,
        bytes: u32,
    ) -> Result<()> {
        let mut route = through(destination.into(), prefix, gateway.into())?;
        route.attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(bytes)]));
        self.add_route(route)
    }

    /// The same, with packets of at most `bytes` on the way: longer ones are refused, as at a narrow link.
    pub fn narrow_route(
        &self,
        destination: impl Into<IpAddr>,
        prefix: u8,
        gateway: impl Into<IpAddr>,
        bytes: u32,
    ) -> Result<()> {
        let mut route = through(destination.into(), prefix, gateway.into())?;
        let metrics = vec![RouteMetric::Lock(1 << RTAX_MTU), RouteMetric::Mtu(bytes)];
        route.attributes.push(RouteAttribute::Metrics(metrics));
        self.add_route(route)
    }

    /// Takes away the route to `destination` with `prefix` bits through `gateway`.
    pub fn lose_route(
        &self,
        destination: impl Into<IpAddr>,
        prefix: u8,
        gateway: impl Into<IpAddr>,
    ) -> Result<()> {
        let route = through(destination.into(), prefix, gateway.into())?;
        let told = format!("{route:?}");
        self.run(|| netlink(async |handle| Ok(handle.route().del(route).execute().await?)))
            .with_context(|| format!("taking a route away in {}: {told}", self.name()))
    }

    /// Has the stack forget what it learnt about paths. What it learnt about those of IPv6 outlives `net.ipv6.route.flush`: it
    /// has a date to expire at.
    pub fn forget_paths(&self) -> Result<()> {
        self.sysctl("net.ipv4.route.flush", "1")?;
        let forget = async |handle: Handle| {
            let mut learnt = RouteMessageBuilder::<Ipv6Addr>::new().build();
            learnt.header.flags |= RouteFlags::Cloned;
            let routes: Vec<RouteMessage> = handle.route().get(learnt).execute().try_collect().await?;
            for route in routes.into_iter().filter(|route| route.header.flags.contains(RouteFlags::Cloned)) {
                handle.route().del(route).execute().await?;
            }
            Ok(())
        };
        self.run(|| netlink(forget)).with_context(|| format!("what {} learnt about paths", self.name()))
    }

    /// Has the stack take every packet for `destination` with `prefix` bits for one of its own.
    pub fn own_route(&self, destination: impl Into<IpAddr>, prefix: u8) -> Result<()> {
        let route = towards(destination.into(), prefix)?;
        let route = route.kind(RouteType::Local).scope(RouteScope::Host).table_id(LOCAL_TABLE);
        let add = async |handle: Handle| {
            let route = route.output_interface(index(&handle, "lo").await?);
            Ok(handle.route().add(route.build()).execute().await?)
        };
        self.run(|| netlink(add)).with_context(|| format!("a local route in {}", self.name()))
    }

    fn add_route(&self, route: RouteMessage) -> Result<()> {
        let told = format!("{route:?}");
        self.run(|| netlink(async |handle| Ok(handle.route().add(route).execute().await?)))
            .with_context(|| format!("route in {}: {told}", self.name()))
    }
}

/// A route's metric of this number is its MTU. Source: linux/rtnetlink.h.
const RTAX_MTU: u32 = 2;
/// The routing table of a host's own addresses. Source: linux/rtnetlink.h.
const LOCAL_TABLE: u32 = 255;

fn towards(destination: IpAddr, prefix: u8) -> Result<RouteMessageBuilder> {
    Ok(RouteMessageBuilder::<IpAddr>::new().destination_prefix(destination, prefix)?)
}

fn through(destination: IpAddr, prefix: u8, gateway: IpAddr) -> Result<RouteMessage> {
    Ok(towards(destination, prefix)?.gateway(gateway)?.build())
}

async fn all_operational(handle: Handle) -> Result<bool> {
    let links: Vec<LinkMessage> = handle.link().get().execute().try_collect().await?;
    Ok(links.iter().all(is_settled))
}

/// Whether each IPv6 address of the thread's namespace has its route of 128 bits.
fn every_address_is_routed() -> Result<bool> {
    let [addresses, routes] = ["if_inet6", "ipv6_route"].map(|name| format!("/proc/thread-self/net/{name}"));
    let routes = fs::read_to_string(&routes).with_context(|| routes)?;
    let addresses = fs::read_to_string(&addresses).with_context(|| addresses)?;
    let mut own = addresses.lines().filter_map(|line| line.split(' ').next());
    Ok(own.all(|address| routes.contains(&format!("{address} 80 "))))
}

fn is_settled(link: &LinkMessage) -> bool {
    let flags = link.header.flags;
    let is_awaited = flags.contains(LinkFlags::Up) && !flags.contains(LinkFlags::Loopback);
    !is_awaited || link.attributes.contains(&LinkAttribute::OperState(State::Up))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_that_were_set_up_are_waited_for() {
        let mut link = LinkMessage::default();
        assert!(is_settled(&link));
        link.header.flags = LinkFlags::Up;
        assert!(!is_settled(&link));
        link.attributes.push(LinkAttribute::OperState(State::Up));
        assert!(is_settled(&link));
    }
}
