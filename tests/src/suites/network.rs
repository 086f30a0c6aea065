//! The network changes under the daemon: interfaces go and come, next hops move. Traffic follows, and the status and the
//! log tell the truth meanwhile.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{routed, several_interfaces};
use crate::daemon::{Mode, binary};
use crate::fleet::name;
use crate::net::xdp;
use crate::netns::Namespace;
use crate::patience;
use crate::runner::Case;
use crate::service::{Forward, Kind, config};
use crate::skip::Need;
use crate::stage::{Set, Stage, backend, counted};
use crate::topology::LINK;
use crate::traffic::echo;
use crate::traffic::tally::Tally;

const CONNECTIONS: usize = 30;
/// An address behind the backends, which each of them can be the gateway to.
const BEHIND: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    let cases = super::cases(
        "network",
        &[routed(Forward::Nat, Mode::Native)],
        &[
            ("an_interface_made_again_is_balanced_again", interface_made_again),
            ("an_interface_switched_off_and_on_is_used_again", interface_off_and_on),
            ("a_backend_with_a_new_link_address_is_followed", new_link_address),
            ("a_backend_behind_a_gateway_follows_its_route", route_moves),
            ("a_backend_that_nobody_finds_harms_no_other_and_is_explained", nobody_finds),
            ("an_unchecked_backend_that_nobody_finds_gets_no_share", unchecked_and_not_found),
        ],
    );
    let needing_ip = cases.into_iter().map(|case| case.needs(&[Need::Command("ip")]));
    let told = super::cases(
        "network",
        &[routed(Forward::DsrIpip, Mode::Native), routed(Forward::DsrIpip, Mode::Generic)],
        &[("a_sender_is_told_what_fits_the_outer_header", told_what_fits)],
    );
    let auto = super::cases(
        "network",
        &[routed(Forward::Nat, Mode::Auto)],
        &[
            ("an_interface_made_again_is_attached_as_the_others_are", made_again_as_the_others),
            ("a_bridge_in_the_place_of_an_interface_takes_native_ones_to_tc", bridge_in_its_place),
        ],
    );
    let unwrapping = super::cases(
        "network",
        &[routed(Forward::DsrIpip, Mode::Generic)],
        &[("an_interface_made_again_is_unwrapped_at_again", unwrapped_again)],
    );
    needing_ip.chain(told).chain(auto).chain(unwrapping).collect()
}

/// The backend's side of direct server return, on an interface that goes and comes back.
fn unwrapped_again(_: Set) -> Result<()> {
    let [host, far] = ["host", "far"].map(Namespace::new);
    let (host, far) = (host?, far?);
    let wire = || host.veth(LINK, &far, LINK).and_then(|()| host.up(LINK)).and_then(|()| far.up(LINK));
    wire()?;
    let mut command = Command::new(binary());
    command.args(["decap", "--mode", "generic", "--iface", LINK]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = host.spawn(command)?;
    let mut wait = |wanted: &str| -> Result<()> {
        let deadline = Instant::now() + patience::of(PATIENCE);
        while xdp::attached(&host, LINK)?.is_none() {
            ensure!(process.ended()?.is_none(), "the decapsulator ended; wanted {wanted}");
            ensure!(Instant::now() < deadline, "no program: wanted {wanted}");
            thread::sleep(LOOK);
        }
        Ok(())
    };
    wait("the first")?;
    host.delete(LINK)?;
    wire()?;
    wait("one on the new interface")?;
    process.signal(Signal::SIGTERM)?;
    ensure!(process.wait(PATIENCE)?.success(), "SIGTERM does not end it well");
    ensure!(xdp::attached(&host, LINK)?.is_none(), "the program stayed");
    Ok(())
}

/// How long a program may take to be attached, and how often it is looked for.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// On a segment of the usual MTU a full-sized packet does not fit its outer header. The client's stack must learn it
/// from the balancer and go on in smaller ones.
fn told_what_fits(set: Set) -> Result<()> {
    const USUAL_MTU: u32 = 1500;
    let stage = Stage::build(set, &[1])?;
    for interface in stage.house.interfaces.iter().filter(|name| name.starts_with("backend")) {
        stage.house.balancer.mtu(interface, USUAL_MTU)?;
    }
    let payload: Vec<u8> = (0..200_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let reply = stage.house.client.run(|| echo::tcp(Kind::Tcp.vip(), &payload))?;
    ensure!(reply == payload, "{} bytes came back of {}, or others", reply.len(), payload.len());
    let told = counted(&stage.daemon.status()?, "fragmentation_needed");
    ensure!(told > 0, "no packet was too big: the case tried nothing");
    Ok(())
}

fn interface_made_again(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1, 1])?;
    stage.house.tear_out(1)?;
    let status =
        stage.wait_until("the interface is absent", |status| mode(status, "backend2") == "absent")?;
    ensure!(mode(&status, "backend1") == "native", "the other interface is {status:#}");
    stage.wait_for(Kind::Http, 1, "down")?;
    stage.daemon.wait_for_log("the interface is gone")?;
    let tally = stage.who_answers(CONNECTIONS)?;
    ensure!(tally.of(&name(1)) == 0, "the other backend did not serve alone: {tally:?}");
    stage.house.wire_again(1)?;
    stage.wait_until("the interface is back", |status| mode(status, "backend2") == "native")?;
    ensure!(xdp::attached(&stage.house.balancer, "backend2")?.is_some(), "the status lies");
    stage.wait_for(Kind::Http, 1, "up")?;
    let tally = stage.who_answers(CONNECTIONS * 2)?;
    ensure!(tally.of(&name(1)) > 0, "the backend behind it is not used: {tally:?}");
    Ok(())
}

fn made_again_as_the_others(set: Set) -> Result<()> {
    let stage = several_interfaces::with_a_bridge(set)?;
    stage.house.tear_out(1)?;
    stage.wait_until("the interface is absent", |status| mode(status, "backend2") == "absent")?;
    stage.wait_for(Kind::Http, 1, "down")?;
    stage.house.wire_again(1)?;
    let status = stage.wait_until("the interface is back", |status| mode(status, "backend2") != "absent")?;
    ensure!(mode(&status, "backend2") == "generic", "it is {status:#}");
    stage.wait_for(Kind::Http, 1, "up")?;
    let tally = stage.who_answers(CONNECTIONS * 2)?;
    ensure!((0..2).all(|index| tally.of(&name(index)) > 0), "one backend never answered: {tally:?}");
    Ok(())
}

fn bridge_in_its_place(set: Set) -> Result<()> {
    const WHY: &str = "`backend2` has none, and frames from native interfaces would not reach it";
    let stage = Stage::build(set, &[1, 1])?;
    stage.house.tear_out(1)?;
    stage.wait_until("the interface is absent", |status| mode(status, "backend2") == "absent")?;
    for kind in [Kind::Http, Kind::Udp] {
        stage.wait_for(kind, 1, "down")?;
    }
    let status = nothing_lost_while(&stage, || {
        stage.house.wire_again_by_a_bridge(1)?;
        stage.wait_until("the interface is back", |status| mode(status, "backend2") != "absent")
    })?;
    let modes = ["client0", "backend1", "backend2"].map(|interface| mode(&status, interface));
    ensure!(modes == ["tc", "tc", "generic"], "{modes:?}: {status:#}");
    let page = stage.daemon.page()?.replace('\n', " ");
    let says = format!("native XDP is not used any more: {WHY}");
    let log = stage.daemon.wait_for_log(&says)?;
    ensure!(log.matches(&says).count() == 1, "the log:\n{log}");
    ensure!(page.contains(&format!("backend1: not native, {WHY}")), "the page:\n{page}");
    stage.wait_for(Kind::Http, 1, "up")?;
    let tally = stage.who_answers(CONNECTIONS * 2)?;
    ensure!((0..2).all(|index| tally.of(&name(index)) > 0), "one backend never answered: {tally:?}");
    stage.house.tear_out(1)?;
    stage.wait_until("the interface is absent again", |status| mode(status, "backend2") == "absent")?;
    Ok(())
}

/// Sends one datagram after the other through the balancer, each of a new flow, and sees that each comes back.
fn nothing_lost_while<T>(stage: &Stage, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let over = AtomicBool::new(false);
    let ask = || {
        let mut asked = 0;
        while !over.load(Ordering::Relaxed) {
            let came = echo::udp(Kind::Udp.vip(), b"hello");
            came.with_context(|| format!("datagram {asked} did not come back"))?;
            asked += 1;
            // Each takes a port.
            thread::sleep(Duration::from_millis(1));
        }
        ensure!(asked > CONNECTIONS, "only {asked} datagrams were sent");
        Ok(())
    };
    thread::scope(|scope| {
        let asking = scope.spawn(|| stage.house.client.run(ask));
        let worked = work();
        over.store(true, Ordering::Relaxed);
        asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        worked
    })
}

fn interface_off_and_on(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1, 1])?;
    stage.house.balancer.down("backend2")?;
    stage.wait_for(Kind::Http, 1, "down")?;
    let status = stage.daemon.status()?;
    let why = backend(&status, Kind::Http, 1)?["next_hop_error"].clone();
    ensure!(why.is_string(), "no word on why there is no way: {status:#}");
    ensure!(stage.daemon.table()?.contains("next hop not known: "), "the table:\n{}", stage.daemon.table()?);
    stage.who_answers(CONNECTIONS).map(|_: Tally| ())?;
    stage.house.balancer.up("backend2")?;
    stage.wait_for(Kind::Http, 1, "up")?;
    let log = stage.daemon.wait_for_log("the way to a backend is found")?;
    for words in ["there is no way to a backend", "the way to a backend is found"] {
        let times = log.matches(words).count();
        ensure!(times == 1, "{words:?} is told {times} times:\n{log}");
    }
    stage.who_answers(CONNECTIONS).map(|_: Tally| ())
}

fn new_link_address(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1])?;
    let hop = |status: &Value| {
        backend(status, Kind::Http, 0).map(|one| one["next_hop"].to_string()).unwrap_or_default()
    };
    let before = hop(&stage.daemon.status()?);
    let host = &stage.house.backends[0].namespace;
    ip(host, &format!("link set {LINK} address 02:00:00:00:00:77"))?;
    ip(&stage.house.balancer, "neigh flush dev backend1")?;
    stage.wait_until("the new address is known", |status| hop(status).contains("02:00:00:00:00:77"))?;
    ensure!(!before.contains("00:77"), "it was known before");
    stage.who_answers(CONNECTIONS).map(|_: Tally| ())
}

fn route_moves(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1, 1])?;
    for host in &stage.house.backends {
        host.namespace.address("lo", BEHIND, 32)?;
    }
    let [first, second] = [0, 1].map(|index: usize| stage.house.backends[index].addresses.v4);
    ip(&stage.house.balancer, &format!("route add {BEHIND} via {first}"))?;
    let text = config(&stage.services(&[1, 0])).replace(&first.to_string(), &BEHIND.to_string());
    stage.daemon.reload_text(&text)?;
    let goes_by = |link: &str, index: usize| -> Result<()> {
        stage.wait_until("the backend is up by its gateway", |status| {
            backend(status, Kind::Http, 0).is_ok_and(|one| {
                one["state"] == "up" && one["next_hop"].as_str().is_some_and(|hop| hop.ends_with(link))
            })
        })?;
        let tally = stage.who_answers(CONNECTIONS)?;
        ensure!(tally.of(&name(1 - index)) == 0, "by {link}: {tally:?}");
        Ok(())
    };
    goes_by("via backend1", 0)?;
    ip(&stage.house.balancer, &format!("route replace {BEHIND} via {second}"))?;
    goes_by("via backend2", 1)
}

fn nobody_finds(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1, 1])?;
    let text = config(&stage.services(&[1, 1])).replacen("10.20.2.2:8080", "10.20.2.77:8080", 1);
    let stage = stage.restart(&text)?;
    let status = stage.daemon.status()?;
    let lost = backend(&status, Kind::Http, 1)?;
    ensure!(lost["state"] == "down" && lost["next_hop"].is_null(), "the backend is {lost:#}");
    let why = lost["next_hop_error"].as_str().context("why")?;
    ensure!(why.contains("10.20.2.77 does not answer on `backend2`"), "the reason is {why}");
    ensure!(lost["health"]["error"].is_string(), "no evidence: {lost:#}");
    let log = stage.daemon.wait_for_log("there is no way to a backend")?;
    ensure!(log.matches("there is no way to a backend").count() == 1, "the log:\n{log}");
    let tally = stage.who_answers(CONNECTIONS)?;
    ensure!(tally.of(&name(1)) == 0, "the other did not serve alone: {tally:?}");
    Ok(())
}

fn unchecked_and_not_found(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1, 1])?;
    let text = config(&stage.services(&[1, 1])).replacen("10.20.2.2:8080", "10.20.2.77:8080", 1);
    let check = text.lines().find(|line| line.contains("/healthz")).context("a check")?;
    stage.daemon.reload_text(&text.replace(check, "health = \"none\""))?;
    let status = stage.wait_until("the other is up", |status| {
        backend(status, Kind::Http, 0).is_ok_and(|one| one["state"] == "up")
    })?;
    let lost = backend(&status, Kind::Http, 1)?;
    ensure!(lost["state"] == "unknown" && lost["slots"] == 0, "the backend is {lost:#}");
    let tally = stage.who_answers(CONNECTIONS)?;
    ensure!(tally.of(&name(1)) == 0, "the other did not serve alone: {tally:?}");
    Ok(())
}

/// How the status says that an interface is attached.
fn mode<'a>(status: &'a Value, interface: &str) -> &'a str {
    let all = status["interfaces"].as_array().into_iter().flatten();
    all.filter(|one| one["name"] == interface).find_map(|one| one["mode"].as_str()).unwrap_or("not told")
}

/// Runs `ip` in a namespace.
fn ip(namespace: &Namespace, arguments: &str) -> Result<()> {
    let status = namespace.run(|| Ok(Command::new("ip").args(arguments.split(' ')).status()?))?;
    ensure!(status.success(), "ip {arguments} in {} gave {status}", namespace.name());
    Ok(())
}
