//! What forwards, from a sender to a sink, each behind a veth pair of its own.

use std::net::Ipv4Addr;

use anyhow::Result;
use lb_tests::daemon::{Daemon, Mode, status_of};
use lb_tests::flood::{self, Carries, Shape, Sources};
use lb_tests::net::offload::Offload;
use lb_tests::net::xdp;
use lb_tests::netns::Namespace;
use lb_tests::packets::Stack;
use lb_tests::topology::{Host, House, LINK, Layout, VIP};

/// How many flows packets are of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flows {
    One,
    Million,
}

impl Flows {
    pub(crate) const ALL: [Self; 2] = [Self::One, Self::Million];

    pub(crate) const fn number(self) -> u32 {
        self.sources().drawn + 1
    }

    /// One flow has one client, others have one each.
    const fn sources(self) -> Sources {
        let drawn = match self {
            Self::One => 0,
            Self::Million => (1 << 20) - 1,
        };
        Sources { base: 0x4000_0000, drawn }
    }
}

/// A way from wire to wire.
pub(crate) trait Way {
    /// What forwards.
    fn name(&self) -> &'static str;
    /// Where to send from, and what.
    fn entrance(&self, flows: Flows) -> Result<(&Namespace, &str, Shape)>;
    /// Packets that came to the sink so far.
    fn forwarded(&self) -> Result<u64>;
}

/// Every way, the floor first.
pub(crate) fn all() -> Result<Vec<Box<dyn Way>>> {
    Ok(vec![Box::new(Floor::build()?), Box::new(Balancer::build()?), Box::new(Routing::build()?)])
}

/// A segment of a connection that was there before, as most packets are.
fn data(way: flood::Way, flows: Flows) -> Shape {
    let packet = Stack::tcp(([0; 4], 1024), (VIP.octets(), 80), 0x10, b"ten bytes.").identification(0);
    Shape::v4(&packet, Carries::Tcp, flows.sources(), way)
}

const IN: &str = "in0";
const OUT: &str = "out0";
/// The router's address and the sink's.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 1);
const SINK: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 2);

/// A sender, what forwards, and a sink.
struct Chain {
    sender: Namespace,
    middle: Namespace,
    sink: Namespace,
}

impl Chain {
    fn build() -> Result<Self> {
        let [sender, middle, sink] =
            [Namespace::new("sender")?, Namespace::new("middle")?, Namespace::new("sink")?];
        sender.veth(LINK, &middle, IN)?;
        sink.veth(LINK, &middle, OUT)?;
        xdp::attach_pass(&sender, LINK)?;
        xdp::attach_drop_ipv4(&sink, LINK)?;
        for (namespace, link) in [(&sender, LINK), (&middle, IN), (&middle, OUT), (&sink, LINK)] {
            namespace.up(link)?;
        }
        Ok(Self { sender, middle, sink })
    }

    fn entrance(&self, flows: Flows) -> Result<(&Namespace, &str, Shape)> {
        let way = flood::Way { from: self.sender.link_address(LINK)?, to: self.middle.link_address(IN)? };
        Ok((&self.sender, LINK, data(way, flows)))
    }
}

/// A program that sends all packets on as they are: nobody can do less.
struct Floor(Chain);

impl Floor {
    fn build() -> Result<Self> {
        let chain = Chain::build()?;
        xdp::attach_redirect(&chain.middle, IN, OUT)?;
        Ok(Self(chain))
    }
}

impl Way for Floor {
    fn name(&self) -> &'static str {
        "floor: XDP_REDIRECT"
    }

    fn entrance(&self, flows: Flows) -> Result<(&Namespace, &str, Shape)> {
        self.0.entrance(flows)
    }

    fn forwarded(&self) -> Result<u64> {
        self.0.sink.received(LINK)
    }
}

/// The kernel's routing, without any rule. Without a program the link needs GRO to take the frames of one.
struct Routing(Chain);

impl Routing {
    fn build() -> Result<Self> {
        let chain = Chain::build()?;
        chain.middle.offload(IN, Offload::GenericReceive, true)?;
        chain.middle.sysctl("net.ipv4.ip_forward", "1")?;
        // Clients are behind no route.
        chain.middle.sysctl("net.ipv4.conf.all.rp_filter", "0")?;
        chain.middle.sysctl(&format!("net.ipv4.conf.{IN}.rp_filter"), "0")?;
        chain.middle.address(OUT, ROUTER, 24)?;
        chain.sink.address(LINK, SINK, 24)?;
        chain.middle.route(VIP, 32, SINK)?;
        Ok(Self(chain))
    }
}

impl Way for Routing {
    fn name(&self) -> &'static str {
        "kernel: routing"
    }

    fn entrance(&self, flows: Flows) -> Result<(&Namespace, &str, Shape)> {
        self.0.entrance(flows)
    }

    fn forwarded(&self) -> Result<u64> {
        self.0.sink.received(LINK)
    }
}

/// `lb`, a service by `dsr-ipip`, as it is by default.
struct Balancer {
    _daemon: Daemon,
    house: House,
    stranger: Host,
}

impl Balancer {
    fn build() -> Result<Self> {
        let mut house = House::build(Layout::Routed, 1)?;
        let stranger = house.join("stranger")?;
        let [Host { namespace, addresses }] = &house.backends[..] else {
            anyhow::bail!("a house of one backend")
        };
        xdp::attach_drop_ipv4(namespace, LINK)?;
        let text = format!(
            "[[service]]\nname = \"web\"\nvip = \"{VIP}:80\"\nforward = \"dsr-ipip\"\nhealth = \"none\"\n\
             [[service.backend]]\nname = \"one\"\naddr = \"{}\"\n",
            addresses.v4
        );
        let daemon = Daemon::start_with(&house.balancer, &house.interfaces, Mode::Native, &text)?;
        daemon.wait_until("the way to the backend is known", |status| {
            status_of(status, "web", "one").is_ok_and(|one| one["slots"].as_u64() > Some(0))
        })?;
        Ok(Self { _daemon: daemon, house, stranger })
    }
}

impl Way for Balancer {
    fn name(&self) -> &'static str {
        "lb: dsr-ipip"
    }

    fn entrance(&self, flows: Flows) -> Result<(&Namespace, &str, Shape)> {
        let sender = &self.stranger.namespace;
        let way = flood::Way {
            from: sender.link_address(LINK)?,
            to: self.house.balancer.link_address("stranger0")?,
        };
        Ok((sender, LINK, data(way, flows)))
    }

    fn forwarded(&self) -> Result<u64> {
        self.house.backends.iter().try_fold(0, |sum, host| Ok(sum + host.namespace.received(LINK)?))
    }
}
