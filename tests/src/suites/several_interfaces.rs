//! A balancer with clients and backends behind several interfaces: what arrives on one leaves by the right other, whatever
//! kind either is of.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::routed;
use super::sharing::Claim;
use super::traffic;
use crate::daemon::{Daemon, Mode};
use crate::family::Family;
use crate::fleet::name;
use crate::net::xdp::{self, Attached};
use crate::netns::Namespace;
use crate::runner::Case;
use crate::service::{Forward, Kind, config};
use crate::stage::{Set, Stage, counted, services};
use crate::topology::{House, Layout, VIPS};
use crate::traffic::tally::Tally;
use crate::traffic::{echo, http};

const CONNECTIONS: usize = 60;
const WEIGHTS: [u16; 2] = [1, 1];
/// A refusal to start takes no longer.
const REFUSAL: Duration = Duration::from_secs(20);
/// Every way to forward over a bridge.
const OVER_A_BRIDGE: [Forward; 5] =
    [Forward::Nat, Forward::Dnat, Forward::DsrL2, Forward::DsrIpip, Forward::DsrGue];

/// The claims of this suite: there is but one interface where all share a segment.
pub(super) fn claims(set: Set) -> Vec<Claim> {
    let claim: Claim =
        ("several_interfaces", "clients_behind_two_interfaces_are_served_at_once", served_at_once);
    if set.forward == Forward::DsrL2 { Vec::new() } else { vec![claim] }
}

/// What asks the kernel for the way to clients, in every mode.
const TOWARDS_A_BRIDGE: [Set; 4] = [
    routed(Forward::Dnat, Mode::Native),
    routed(Forward::Dnat, Mode::Native).families(Family::V6, Family::V6),
    routed(Forward::Dnat, Mode::Generic),
    routed(Forward::Dnat, Mode::Tc),
];

/// The cases of this suite that have a stage of their own.
pub(super) fn cases() -> Vec<Case> {
    let auto = OVER_A_BRIDGE.map(|forward| routed(forward, Mode::Auto));
    let reached = ("a_bridge_is_reached_from_links_that_could_be_native", bridge_is_reached as fn(Set) -> _);
    let refused = ("native_mode_is_refused_where_one_link_has_none", native_is_refused as fn(Set) -> _);
    let returned =
        ("replies_leave_by_a_bridge_that_no_driver_sends_to", replies_leave_by_a_bridge as fn(Set) -> _);
    let mut cases = super::cases("several_interfaces", &auto, &[reached]);
    cases.extend(super::cases("several_interfaces", &TOWARDS_A_BRIDGE, &[returned]));
    cases.extend(super::cases("several_interfaces", &[routed(Forward::Nat, Mode::Native)], &[refused]));
    let explained = (
        "replies_that_the_kernel_drops_for_their_source_are_explained",
        own_source_is_explained as fn(Set) -> _,
    );
    cases.extend(super::cases("several_interfaces", &TOWARDS_A_BRIDGE[..2], &[explained]));
    cases
}

/// A stage whose first backend is behind a bridge, which is served with the other links.
pub(super) fn with_a_bridge(set: Set) -> Result<Stage> {
    let mut house = House::build(set.layout, 2)?;
    house.interfaces[1] = house.bridge(1)?;
    let stage = Stage::within(house, set, |house| config(&services(set, house, &WEIGHTS)))?;
    stage.wait_until_up(&WEIGHTS)?;
    Ok(stage)
}

fn bridge_is_reached(set: Set) -> Result<()> {
    let stage = with_a_bridge(set)?;
    served(&stage, &stage.house.client)?;
    for link in &stage.house.interfaces {
        let found = xdp::attached(&stage.house.balancer, link)?;
        ensure!(found == Some(Attached::Generic), "{link} has {found:?}");
    }
    let page = stage.daemon.page()?.replace('\n', " ");
    let why = "`bridge1` has none, and frames from native interfaces would not reach it";
    stage.daemon.wait_for_log(&format!("native XDP is not used: {why}"))?;
    for link in stage.house.interfaces.iter().filter(|link| *link != "bridge1") {
        ensure!(page.contains(&format!("{link}: not native, {why}")), "the page:\n{page}");
    }
    ensure!(page.contains("bridge1: not native, its driver has no native XDP"), "the page:\n{page}");
    Ok(())
}

/// The client's link is a port of a bridge, which has the balancer's address there and leads to the client. The daemon serves the
/// port.
fn replies_leave_by_a_bridge(set: Set) -> Result<()> {
    let house = House::build(set.layout, 2)?;
    house.bridge(0)?;
    let mut stage = Stage::within(house, set, |house| config(&services(set, house, &WEIGHTS)))?;
    stage.wait_until_up(&WEIGHTS)?;
    served(&stage, &stage.house.client)?;
    traffic::closed_port_refuses(&mut stage).context("a closed port")?;
    let status = stage.daemon.status()?;
    let [answered, routed] = ["dnat_reply", "dnat_routed"].map(|reason| counted(&status, reason));
    if set.mode == Mode::Native {
        ensure!(
            answered == 0 && routed > 0,
            "{answered} replies were sent to a bridge, {routed} left to the kernel"
        );
    } else {
        ensure!(answered > routed, "{answered} replies were sent, {routed} left to the kernel");
    }
    Ok(())
}

/// The same, where the VIP is the balancer's own address.
fn own_source_is_explained(set: Set) -> Result<()> {
    let house = House::build(set.layout, 2)?;
    house.bridge(0)?;
    let stage = Stage::within(house, set, |house| config(&services(set, house, &WEIGHTS)))?;
    stage.wait_until_up(&WEIGHTS)?;
    let (balancer, vip) = (&stage.house.balancer, stage.vip(Kind::Udp));
    balancer.address("lo", vip.ip(), Family::of(vip.ip()).bits())?;
    if vip.is_ipv6() {
        return served(&stage, &stage.house.client).context("by IPv6 the source does not matter");
    }
    let unanswered = stage.house.client.run(|| Ok(echo::udp(vip, b"hello").is_err()))?;
    ensure!(unanswered, "the kernel took an answer from its own address");
    let says = "net.ipv4.conf.all.accept_local=1";
    stage.daemon.wait_for_log(says)?;
    balancer.sysctl("net.ipv4.conf.all.accept_local", "1")?;
    served(&stage, &stage.house.client)
}

fn native_is_refused(set: Set) -> Result<()> {
    let mut house = House::build(Layout::Routed, 1)?;
    house.interfaces[1] = house.bridge(1)?;
    let text = config(&services(set, &house, &[1]));
    let mut daemon = Daemon::launch(&house.balancer, &house.interfaces, set.mode, &text)?;
    let status = daemon.wait(REFUSAL)?;
    let log = daemon.log();
    ensure!(
        !status.success() && log.contains("cannot attach to `bridge1` in native mode"),
        "{status}:\n{log}"
    );
    let left = xdp::attached(&house.balancer, "client0")?;
    ensure!(left.is_none(), "client0 still has a program, {left:?}");
    Ok(())
}

/// The other client is on the last host, which the config does not know as a backend.
fn served_at_once(stage: &mut Stage) -> Result<()> {
    let guest = stage.house.backends.last().context("a house with backends")?;
    if stage.set.forward.is_direct() {
        guest.disown(VIPS)?;
    }
    let (stage, clients) = (&*stage, [("the client", &stage.house.client), ("a host", &guest.namespace)]);
    thread::scope(|scope| {
        let asking = clients.map(|(who, from)| scope.spawn(move || served(stage, from).context(who)));
        asking
            .into_iter()
            .try_for_each(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn served(stage: &Stage, from: &Namespace) -> Result<()> {
    let payload = vec![7; 30_000];
    from.run(|| {
        let vip = stage.vip(Kind::Http);
        let tally: Tally = (0..CONNECTIONS).map(|_| http::who(vip)).collect::<Result<_>>()?;
        ensure!((0..2).all(|index| tally.of(&name(index)) > 0), "one backend never answered: {tally:?}");
        ensure!(echo::tcp(stage.vip(Kind::Tcp), &payload)? == payload, "other bytes came back");
        echo::udp(stage.vip(Kind::Udp), b"hello").context("an echo by UDP")?;
        Ok(())
    })
}
