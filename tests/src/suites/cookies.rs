//! SYN cookies in the place of a listener on the balancer's host: during a flood clients connect, and the listener sees
//! handshakes only that were completed.

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::routed;
use crate::daemon::{Daemon, Mode, binary};
use crate::family::Family;
use crate::fleet;
use crate::flood::{Carries, Cpus, Flood, Shape, Sources, Way};
use crate::packets::{Ipv6, Segment as _, Stack as Packet};
use crate::process::Process;
use crate::runner::Case;
use crate::service::{Forward, Kind, Service, config};
use crate::stage::{Set, counted};
use crate::topology::{Host, House, LINK, Layout, VIPS};
use crate::traffic::http::{self, Connection};

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    let v4 = routed(Forward::Local, Mode::Native);
    super::cases(
        "cookies",
        &[v4, v4.families(Family::V6, Family::V6)],
        &[
            ("clients_connect_during_a_flood_that_the_listener_does_not_see", flood),
            ("without_listeners_that_take_cookies_the_daemon_says_what_to_do", refusal),
        ],
    )
}

/// Connections that may begin in a second before cookies are sent.
const BOUND: u64 = 50;
/// Packets of each kind of the flood that must have met the guard.
const LEAST: u64 = 10_000;
const CLIENTS: usize = 30;

/// A balancer with a server on its own host, and a stranger.
struct Site {
    daemon: Daemon,
    _server: Process,
    house: House,
    stranger: Host,
    service: SocketAddr,
}

const SYN: u8 = 2;
const ACK: u8 = 16;
/// What a client's SYN says: segments of 1460 bytes, and selective acknowledgements.
const OPTIONS: [u8; 8] = [2, 4, 5, 180, 1, 1, 4, 2];

impl Site {
    fn build(set: Set) -> Result<Self> {
        let mut house = House::build(Layout::Routed, 0)?;
        let stranger = house.join("stranger")?;
        house.balancer.sysctl(SWITCH, "2")?;
        // As any host on the Internet, it knows a way to everywhere: a listener answers nobody whom it has no way to.
        house.balancer.route(set.clients.any(), 0, stranger.addresses.of(set.clients))?;
        let server = serve(&house, set.clients)?;
        let daemon = Daemon::start_with(&house.balancer, &house.interfaces, set.mode, &text(set.clients))?;
        let site = Self { daemon, _server: server, house, stranger, service: Kind::Http.at(set.clients) };
        site.house.client.run(|| fleet::answers(site.service))?;
        Ok(site)
    }

    /// Requests for connections from everywhere, and acknowledgements of nothing.
    fn flood(&self, cpu: usize) -> Result<Flood> {
        let way = Way {
            from: self.stranger.namespace.link_address(LINK)?,
            to: self.house.balancer.link_address("stranger0")?,
        };
        let shape = |flags| match Family::of(self.service.ip()) {
            Family::V4 => {
                let packet = Packet::tcp(([0; 4], 1024), (VIPS.v4.octets(), self.service.port()), flags, b"");
                let packet = packet.identification(0).tcp_options(&OPTIONS);
                Shape::v4(&packet, Carries::Tcp, Sources::EVERYWHERE, way)
            }
            Family::V6 => {
                let source = Ipv6Addr::new(0x2a00, 0, 0, 0, 0, 0, 0, 1).octets();
                let service = (VIPS.v6.octets(), self.service.port());
                let packet = Ipv6::tcp((source, 1024), service, flags, b"").tcp_options(&OPTIONS);
                Shape::v6(&packet, Carries::Tcp, Sources::EVERYWHERE, way)
            }
        };
        Flood::start(&self.stranger.namespace, LINK, &[shape(SYN), shape(ACK)], cpu)
    }

    /// What the balancer's stack has counted of cookies and listeners.
    fn facts(&self) -> Result<HashMap<String, u64>> {
        let text = self.house.balancer.run(|| Ok(fs::read_to_string("/proc/thread-self/net/netstat")?))?;
        parse_facts(&text).context("the stack's counters")
    }

    /// Connections that wait in the stack for their handshake's end.
    fn half_open(&self) -> Result<usize> {
        let count = |path| -> Result<usize> {
            let text = fs::read_to_string(path)?;
            let states = text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(3));
            Ok(states.filter(|state| *state == SYN_RECEIVED).count())
        };
        self.house
            .balancer
            .run(|| ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"].into_iter().map(count).sum())
    }
}

/// Whether listeners take cookies.
const SWITCH: &str = "net.ipv4.tcp_syncookies";
/// Source: Linux, `include/net/tcp_states.h`.
const SYN_RECEIVED: &str = "03";

fn text(family: Family) -> String {
    let service = Service {
        name: "here".to_owned(),
        vip: Kind::Http.at(family).to_string(),
        protocol: "tcp",
        forward: Forward::Local,
        options: vec![
            format!("listener = \"{}\"", listener(family)),
            format!("guard = {{ service_flows = {BOUND}, syn_cookies = true }}"),
        ],
        backends: Vec::new(),
    };
    config(&[service])
}

fn listener(family: Family) -> SocketAddr {
    let loopback = match family {
        Family::V4 => Ipv4Addr::LOCALHOST.into(),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(loopback, 8080)
}

fn serve(house: &House, family: Family) -> Result<Process> {
    let mut command = Command::new(binary());
    command.args(["backend", "--name", "here"]).stdout(Stdio::null());
    let process = house.balancer.spawn({
        command.arg("--http").arg(listener(family).to_string());
        command
    })?;
    house.balancer.run(|| fleet::answers(listener(family)))?;
    Ok(process)
}

/// The counters of the section that is about TCP: a line of names and one of numbers, both with its name in front.
fn parse_facts(text: &str) -> Option<HashMap<String, u64>> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let numbers = numbers.split(' ').map(|number| number.parse().unwrap_or(0));
    Some(names.split(' ').map(str::to_owned).zip(numbers).collect())
}

fn flood(set: Set) -> Result<()> {
    let cpus = Cpus::part()?;
    cpus.beside(|| {
        let site = Site::build(set)?;
        let mut kept = site.house.client.run(|| Connection::open(site.service))?;
        kept.get("/")?;
        let (before, began) = (site.facts()?, Instant::now());
        let flood = site.flood(cpus.flood)?;
        wait_for(&site, "syn_cookie")?;
        site.house.client.run(|| {
            kept.get("/").context("on a connection from before the flood")?;
            (0..CLIENTS).try_for_each(|_| http::who(site.service).map(drop)).context("during the flood")
        })?;
        wait_for(&site, "syn_cookie_bad")?;
        ensure!(site.half_open()? == 0, "{} connections wait in the stack", site.half_open()?);
        flood.stop()?;
        spared(&before, &site.facts()?, began.elapsed())
    })
}

/// Waits until enough packets were counted for a reason.
fn wait_for(site: &Site, reason: &str) -> Result<()> {
    let enough = |status: &Value| counted(status, reason) >= LEAST;
    site.daemon.wait_until(&format!("{LEAST} packets are counted as {reason}"), enough).map(drop)
}

/// Holds that the stack took cookies that it did not send, and little else.
fn spared(before: &HashMap<String, u64>, after: &HashMap<String, u64>, lasted: Duration) -> Result<()> {
    let more = |name: &str| -> Result<u64> {
        let of = |facts: &HashMap<String, u64>| facts.get(name).copied().context(name.to_owned());
        Ok(of(after)? - of(before)?)
    };
    let (sent, taken, failed) = (more("SyncookiesSent")?, more("SyncookiesRecv")?, more("SyncookiesFailed")?);
    // What may begin at once, and in each second since.
    let most = BOUND * (lasted.as_secs() + 2);
    ensure!(sent <= most, "the listener met {sent} SYNs in {lasted:?}");
    ensure!(taken >= CLIENTS as u64, "the listener took {taken} handshakes");
    ensure!(failed == 0, "the listener met {failed} acknowledgements of nothing");
    Ok(())
}

fn refusal(set: Set) -> Result<()> {
    let house = House::build(Layout::Routed, 0)?;
    let start = |value| {
        house.balancer.sysctl(SWITCH, value)?;
        Daemon::start_with(&house.balancer, &house.interfaces, set.mode, &text(set.clients))
    };
    for value in ["0", "1"] {
        let Err(error) = start(value) else { anyhow::bail!("it started with {SWITCH}={value}") };
        let said = format!("{error:#}");
        ensure!(said.contains("sysctl -w net.ipv4.tcp_syncookies=2"), "{said}");
    }
    start("2").map(drop)
}
