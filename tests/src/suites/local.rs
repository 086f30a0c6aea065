//! Services of the balancer's own host: a range of ports and a whole prefix land on one listener.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lb_userspace::kernel::local_route;
use serde_json::{Value, json};

use super::{Claim, routed};
use crate::daemon::{Daemon, Mode, binary, status_of_service};
use crate::family::Family;
use crate::patience;
use crate::process::Process;
use crate::runner::Case;
use crate::service::{Forward, Service, config};
use crate::stage::{Set, counted};
use crate::topology::{House, Layout, VIPS};
use crate::traffic::http;

const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);
/// The name of the server on the balancer's host.
const NAME: &str = "here";
/// Where it listens for services that name their listener.
const LISTENER_PORT: u16 = 8080;
/// Where it listens on all addresses, for a service that names none.
const PLAIN_PORT: u16 = 9000;

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    let claims: [Claim; 3] = [
        ("the_guard_holds_for_them_too", guarded),
        ("the_status_says_whether_a_listener_is_there", listener_is_told),
        ("the_routes_of_a_killed_daemon_go_with_the_next_one", routes_are_inherited),
    ];
    lookups().into_iter().chain(super::cases("local", &sets(), &claims)).collect()
}

/// The cases about what the kernel looks up for us.
pub(super) fn lookups() -> Vec<Case> {
    super::cases("local", &sets(), &[("a_range_and_a_prefix_land_on_one_listener", one_listener)])
}

fn sets() -> [Set; 2] {
    let v4 = routed(Forward::Local, Mode::Native);
    [v4, v4.families(Family::V6, Family::V6)]
}

fn one_listener(set: Set) -> Result<()> {
    let house = House::build(Layout::Routed, 0)?;
    let vip = VIPS.of(set.clients);
    house.balancer.own_route(prefix(set.clients), set.clients.bits() - 8)?;
    let _server = serve(&house, set.clients)?;
    let services = config(&services(set.clients));
    let _daemon = Daemon::start_with(&house.balancer, &house.interfaces, set.mode, &services)?;
    house.client.run(|| is_found(SocketAddr::new(vip, 8000)))?;
    house.client.run(|| {
        let beside = prefix(set.clients);
        for (address, port) in [(vip, 8000), (vip, 8099), (beside, 80), (vip, 80), (vip, PLAIN_PORT)] {
            let server = SocketAddr::new(address, port);
            let page = http::get(server, "/").with_context(|| format!("{server}"))?;
            let text = String::from_utf8_lossy(&page.body).into_owned();
            ensure!(page.head.backend == NAME, "{server} is answered by {text}");
            let client = house.client_addresses.of(set.clients);
            ensure!(text.contains(&format!("local={server}")), "asked at {server}, it saw {text}");
            ensure!(text.contains(&client.to_string()), "asked from {client}, it saw {text}");
        }
        let outside = SocketAddr::new(vip, 8100);
        ensure!(http::who(outside).is_err(), "{outside} is no service, and yet it answered");
        Ok(())
    })
}

/// Asks for more connections than may begin.
fn guarded(set: Set) -> Result<()> {
    let house = House::build(Layout::Routed, 0)?;
    house.balancer.own_route(prefix(set.clients), set.clients.bits() - 8)?;
    let _server = serve(&house, set.clients)?;
    let text = format!("{}\n[guard]\nservice_flows = 1\n", config(&services(set.clients)));
    let daemon = Daemon::start_with(&house.balancer, &house.interfaces, set.mode, &text)?;
    let server = SocketAddr::new(VIPS.of(set.clients), PLAIN_PORT);
    let refused = house.client.run(|| {
        let refused = |_: &u8| TcpStream::connect_timeout(&server, LOOK * 10).is_err();
        Ok((0..5).filter(refused).count())
    })?;
    ensure!(refused > 0, "five connections in half a second, and one a second may begin");
    let counts = |status: &Value| counted(status, "service_new_flows") > 0;
    daemon.wait_until("a SYN too many is counted", counts).map(drop)
}

/// A service's listener comes and goes, and the status says so, to people, too.
fn listener_is_told(set: Set) -> Result<()> {
    let house = House::build(Layout::Routed, 0)?;
    house.balancer.own_route(prefix(set.clients), set.clients.bits() - 8)?;
    let services = config(&services(set.clients));
    let daemon = Daemon::start_with(&house.balancer, &house.interfaces, set.mode, &services)?;
    let status = daemon.status()?;
    let [range, plain] = ["range", "plain"].map(|name| status_of_service(&status, name));
    let (range, plain) = (range?, plain?);
    let nobody = json!({
        "address": listener(set.clients).to_string(), "open": false, "state": "nobody listens there",
    });
    ensure!(range["listener"] == nobody, "{range:#}");
    ensure!(plain["listener"].is_null() && plain["select"].is_null(), "{plain:#}");
    let server = serve(&house, set.clients)?;
    let is = |open: bool| {
        move |status: &Value| {
            status_of_service(status, "range").is_ok_and(|range| range["listener"]["open"] == open)
        }
    };
    daemon.wait_until("the listener is found", is(true))?;
    let page = daemon.page()?;
    let lands = format!("local, lands on {}: ", listener(set.clients));
    ensure!(page.contains(&lands) && page.contains("local, left to whoever listens on it"), "{page}");
    drop(server);
    daemon.wait_until("the listener is missed", is(false)).map(drop)
}

/// Kills the daemon, and starts one that has no use for its routes.
fn routes_are_inherited(set: Set) -> Result<()> {
    let house = House::build(Layout::Routed, 0)?;
    let own = || house.balancer.run(|| Ok(local_route::list()?));
    let [range, ..] = services(set.clients);
    let text = config(&[range]);
    let daemon = Daemon::start_with(&house.balancer, &house.interfaces, set.mode, &text)?;
    let routes = own()?;
    ensure!(routes == [VIPS.of(set.clients).into()], "{routes:?}");
    let daemon = daemon.crash_and_start(&house.balancer, &house.interfaces, set.mode, &text)?;
    ensure!(own()? == routes, "the route did not stay: {:?}", own()?);
    let _daemon = daemon.crash_and_start(&house.balancer, &house.interfaces, set.mode, "")?;
    ensure!(own()?.is_empty(), "left by a killed daemon: {:?}", own()?);
    Ok(())
}

/// Waits until the daemon has found the listener. It looks before it says that it is ready, but not for long: on a slow
/// machine a later look finds it.
fn is_found(server: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + patience::of(PATIENCE);
    while http::who(server).is_err() {
        ensure!(Instant::now() < deadline, "nobody serves at {server}");
        thread::sleep(LOOK);
    }
    Ok(())
}

/// The first address of the prefix around the VIP.
fn prefix(family: Family) -> IpAddr {
    match VIPS.of(family) {
        IpAddr::V4(vip) => Ipv4Addr::from_bits(vip.to_bits() & !0xff).into(),
        IpAddr::V6(vip) => Ipv6Addr::from_bits(vip.to_bits() & !0xff).into(),
    }
}

fn services(family: Family) -> [Service; 3] {
    let (vip, prefix, bits) = (VIPS.of(family), prefix(family), family.bits() - 8);
    let (range, plain, prefix) = match family {
        Family::V4 => {
            (format!("{vip}:8000-8099"), format!("{vip}:{PLAIN_PORT}"), format!("{prefix}/{bits}:80"))
        }
        Family::V6 => {
            (format!("[{vip}]:8000-8099"), format!("[{vip}]:{PLAIN_PORT}"), format!("[{prefix}/{bits}]:80"))
        }
    };
    let listener = format!("listener = \"{}\"", listener(family));
    let service = |name: &str, vip: String, options: Vec<String>| Service {
        name: name.to_owned(),
        vip,
        protocol: "tcp",
        forward: Forward::Local,
        options,
        backends: Vec::new(),
    };
    [
        service("range", range, vec![listener.clone()]),
        service("prefix", prefix, vec![listener]),
        service("plain", plain, Vec::new()),
    ]
}

fn listener(family: Family) -> SocketAddr {
    let loopback = match family {
        Family::V4 => Ipv4Addr::LOCALHOST.into(),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(loopback, LISTENER_PORT)
}

/// Starts the server on the balancer's host, and waits until it takes connections.
fn serve(house: &House, family: Family) -> Result<Process> {
    let mut command = Command::new(binary());
    command.args(["backend", "--name", NAME]).stdout(Stdio::null());
    command.arg("--http").arg(listener(family).to_string());
    command.arg("--http").arg(SocketAddr::new(family.any(), PLAIN_PORT).to_string());
    let process = house.balancer.spawn(command)?;
    let deadline = Instant::now() + patience::of(PATIENCE);
    house.balancer.run(|| {
        while TcpStream::connect(listener(family)).is_err() {
            ensure!(Instant::now() < deadline, "nobody listens at {}", listener(family));
            thread::sleep(LOOK);
        }
        Ok(())
    })?;
    Ok(process)
}
