//! A house in which one daemon forwards in every way at once: each way has a service for TCP and one for UDP, on ports of
//! their own.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::daemon::{Daemon, Mode, binary};
use crate::family::Family;
use crate::fleet::{self, name};
use crate::process::Process;
use crate::service::{Backend, Service, UNCHECKED, config};
use crate::stage::Set;
use crate::topology::{Host, House, Layout, VIPS};

pub(super) const BACKENDS: usize = 2;
/// The first port that clients ask for by TCP, and the first by UDP; the others follow.
const TCP: u16 = 7100;
const UDP: u16 = 7300;
/// The UDP port of `dsr-gue`: the one that services have unless they name another.
const GUE: u16 = 6080;
/// At a pace that an emulated machine keeps, and forgiving: this is not about health.
const CHECKED: &str =
    r#"{ tcp = true, interval = "2s", timeout = "1900ms", rise = 1, fall = 3, jitter = "0%" }"#;

/// A house in which everything runs. Ends in the order of its fields.
pub(super) struct Scene {
    daemon: Daemon,
    servers: Vec<Process>,
    pub(super) house: House,
}

impl Scene {
    /// Builds a house for `ways`, and waits until every backend is up.
    pub(super) fn build(mode: Mode, layout: Layout, ways: &[Way]) -> Result<Self> {
        let house = House::build(layout, u8::try_from(BACKENDS)?)?;
        house.backends_own(VIPS)?;
        house.backends.iter().try_for_each(|host| host.namespace.receive_tunnels(host.addresses.v6, GUE))?;
        let servers = serve(&house, ways)?;
        let services: Vec<_> = ways.iter().flat_map(|way| way.services(&house)).collect();
        let daemon = Daemon::start_with(&house.balancer, &house.interfaces, mode, &config(&services))?;
        let scene = Self { daemon, servers, house };
        ways.iter().try_for_each(|way| scene.wait_until_up(*way))?;
        Ok(scene)
    }

    fn wait_until_up(&self, way: Way) -> Result<()> {
        let waits = |index| self.daemon.wait_for(&way.service_name("tcp"), &name(index), "up").map(drop);
        (0..self.servers.len()).try_for_each(waits)
    }
}

/// Starts a server on every backend's host, and waits until each takes connections.
fn serve(house: &House, ways: &[Way]) -> Result<Vec<Process>> {
    let hosts = house.backends.iter().enumerate();
    let servers = hosts.map(|(index, host)| host.namespace.spawn(server(&name(index), ways))).collect();
    let places = house.backends.iter().flat_map(|host| ways.iter().map(|way| way.server_at(host)));
    house.balancer.run(|| places.into_iter().try_for_each(fleet::answers))?;
    servers
}

/// The command of a server that all of `ways` lead to.
fn server(name: &str, ways: &[Way]) -> Command {
    let mut command = Command::new(binary());
    command.args(["backend", "--name", name]).stdout(Stdio::null());
    for way in ways {
        for (option, vip) in [("--http", way.tcp()), ("--udp", way.udp())] {
            let port = way.set.forward.backend_port(vip.port());
            for family in Family::BOTH {
                command.arg(option).arg(SocketAddr::new(family.any(), port).to_string());
            }
        }
    }
    command
}

/// A way to forward, and the number that its ports and its services' names follow from.
#[derive(Clone, Copy)]
pub(super) struct Way {
    pub(super) number: u16,
    pub(super) set: Set,
}

impl Way {
    /// What clients ask for by TCP.
    pub(super) fn tcp(self) -> SocketAddr {
        SocketAddr::new(VIPS.of(self.set.clients), TCP + self.number)
    }

    /// The same by UDP.
    pub(super) fn udp(self) -> SocketAddr {
        SocketAddr::new(VIPS.of(self.set.clients), UDP + self.number)
    }

    /// Where the first backend serves: its own address, not the VIP.
    pub(super) fn server(self, scene: &Scene) -> Result<SocketAddr> {
        Ok(self.server_at(scene.house.backends.first().context("a house without backends")?))
    }

    fn server_at(self, host: &Host) -> SocketAddr {
        self.backend_of(self.tcp(), host)
    }

    fn backend_of(self, vip: SocketAddr, host: &Host) -> SocketAddr {
        let port = self.set.forward.backend_port(vip.port());
        SocketAddr::new(host.addresses.of(self.set.backends), port)
    }

    fn service_name(self, protocol: &str) -> String {
        format!("{protocol}-{}", self.number)
    }

    fn services(self, house: &House) -> [Service; 2] {
        [("tcp", self.tcp(), CHECKED), ("udp", self.udp(), UNCHECKED)].map(|(protocol, vip, health)| {
            Service {
                name: self.service_name(protocol),
                vip: vip.to_string(),
                protocol,
                forward: self.set.forward,
                options: vec![format!("health = {health}")],
                backends: self.backends(vip, house),
            }
        })
    }

    fn backends(self, vip: SocketAddr, house: &House) -> Vec<Backend> {
        let backend = |(index, host)| Backend {
            name: name(index),
            address: self.backend_of(vip, host).to_string(),
            weight: 1,
            options: Vec::new(),
        };
        house.backends.iter().enumerate().map(backend).collect()
    }
}
