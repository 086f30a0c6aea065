//! Whom the flood is for: each a host behind a veth pair, with its own way of dropping.

use anyhow::Result;
use lb_tests::daemon::Mode;
use lb_tests::family::Family;
use lb_tests::flood::{Carries, Shape, Sources, Way};
use lb_tests::net::offload::Offload;
use lb_tests::net::xdp;
use lb_tests::netns::Namespace;
use lb_tests::packets::{Segment as _, Stack};
use lb_tests::service::{Forward, Kind, config};
use lb_tests::skip::{Need, missing};
use lb_tests::stage::{Set, Stage, counted, services};
use lb_tests::topology::{Host, House, LINK, Layout, VIP};

use crate::nft;

/// New connections a second that are let through.
const BOUND: u32 = 100;

/// A host, and where its flood comes from.
pub(crate) trait Target {
    /// What drops there.
    fn name(&self) -> &'static str;
    /// Where to send from, and what.
    fn entrance(&self) -> Result<(&Namespace, &str, Shape)>;
    /// Packets that were dropped for the bound, where that is counted.
    fn dropped(&self) -> Result<Option<u64>>;
}

/// What takes turns.
pub(crate) type Targets = Vec<Box<dyn Target>>;

/// Every target, the floor first, and why others are missing.
pub(crate) fn all() -> Result<(Targets, Vec<String>)> {
    let mut targets: Targets = vec![Box::new(Floor::build()?), Box::new(Balancer::build()?)];
    let lacking = missing(&[Need::Command("nft")]);
    if lacking.is_none() {
        targets.push(Box::new(Nftables::build()?));
    }
    Ok((targets, lacking.map(|why| format!("nftables: {why}")).into_iter().collect()))
}

/// A SYN from anywhere, as clients send it.
fn syn(way: Way) -> Shape {
    let service = (VIP.octets(), Kind::Http.port());
    let packet = Stack::tcp(([0; 4], 1024), service, 2, b"").identification(0);
    Shape::v4(&packet.tcp_options(&[2, 4, 5, 180, 1, 1, 4, 2]), Carries::Tcp, Sources::EVERYWHERE, way)
}

/// A sender and a receiver.
struct Pair {
    sender: Namespace,
    receiver: Namespace,
}

const RECEIVER: &str = "flooded0";

impl Pair {
    fn build() -> Result<Self> {
        let (sender, receiver) = (Namespace::new("sender")?, Namespace::new("receiver")?);
        sender.veth(LINK, &receiver, RECEIVER)?;
        xdp::attach_pass(&sender, LINK)?;
        sender.up(LINK)?;
        receiver.up(RECEIVER)?;
        Ok(Self { sender, receiver })
    }

    fn way(&self) -> Result<Way> {
        Ok(Way { from: self.sender.link_address(LINK)?, to: self.receiver.link_address(RECEIVER)? })
    }
}

/// A program that drops all: no receiver can do less.
struct Floor(Pair);

impl Floor {
    fn build() -> Result<Self> {
        let pair = Pair::build()?;
        xdp::attach_drop(&pair.receiver, RECEIVER)?;
        Ok(Self(pair))
    }
}

impl Target for Floor {
    fn name(&self) -> &'static str {
        "floor: XDP_DROP"
    }

    fn entrance(&self) -> Result<(&Namespace, &str, Shape)> {
        Ok((&self.0.sender, LINK, syn(self.0.way()?)))
    }

    fn dropped(&self) -> Result<Option<u64>> {
        Ok(None)
    }
}

/// nftables at the link's ingress. Without a program the link needs GRO to take the frames of one.
struct Nftables(Pair);

impl Nftables {
    fn build() -> Result<Self> {
        let pair = Pair::build()?;
        pair.receiver.offload(RECEIVER, Offload::GenericReceive, true)?;
        nft::bound(&pair.receiver, RECEIVER, BOUND)?;
        Ok(Self(pair))
    }
}

impl Target for Nftables {
    fn name(&self) -> &'static str {
        "nftables: limit"
    }

    fn entrance(&self) -> Result<(&Namespace, &str, Shape)> {
        Ok((&self.0.sender, LINK, syn(self.0.way()?)))
    }

    fn dropped(&self) -> Result<Option<u64>> {
        nft::dropped(&self.0.receiver).map(Some)
    }
}

/// `lb`, its guard all on.
struct Balancer {
    stage: Stage,
    stranger: Host,
}

impl Balancer {
    fn build() -> Result<Self> {
        let set = Set {
            forward: Forward::DsrIpip,
            mode: Mode::Native,
            layout: Layout::Routed,
            clients: Family::V4,
            backends: Family::V4,
        };
        let mut house = House::build(set.layout, 1)?;
        let stranger = house.join("stranger")?;
        let guard =
            format!("[guard]\nservice_flows = {BOUND}\nsource_packets = \"1M\"\nsource_flows = \"1M\"\n");
        let text = |house: &House| format!("{}\n{guard}", config(&services(set, house, &[1])));
        let stage = Stage::within(house, set, text)?;
        stage.wait_until_up(&[1])?;
        Ok(Self { stage, stranger })
    }
}

impl Target for Balancer {
    fn name(&self) -> &'static str {
        "lb: service_flows"
    }

    fn entrance(&self) -> Result<(&Namespace, &str, Shape)> {
        let sender = &self.stranger.namespace;
        let way = Way {
            from: sender.link_address(LINK)?,
            to: self.stage.house.balancer.link_address("stranger0")?,
        };
        Ok((sender, LINK, syn(way)))
    }

    fn dropped(&self) -> Result<Option<u64>> {
        Ok(Some(counted(&self.stage.daemon.status()?, "service_new_flows")))
    }
}
