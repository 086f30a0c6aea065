//! The backends of a house: real processes that serve HTTP, TCP and UDP and tell their name in every reply.

use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::daemon::{Mode, binary};
use crate::family::Family;
use crate::net::xdp;
use crate::patience;
use crate::process::Process;
use crate::service::{Forward, Kind};
use crate::topology::{Host, House, LINK};

const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

/// The backend processes of a house, by index.
#[derive(Debug)]
pub struct Fleet {
    forward: Forward,
    mode: Mode,
    servers: Vec<Option<Process>>,
    decapsulators: Vec<Process>,
}

/// The name of the backend at `index`.
#[must_use]
pub fn name(index: usize) -> String {
    format!("web{}", index + 1)
}

impl Fleet {
    /// Starts a backend on every host, and what it takes there to receive by `forward`.
    pub fn start(house: &House, forward: Forward, mode: Mode) -> Result<Self> {
        let mut fleet = Self { forward, mode, servers: Vec::new(), decapsulators: Vec::new() };
        if forward.encapsulates() {
            fleet.decapsulate(house)?;
        }
        for index in 0..house.backends.len() {
            fleet.servers.push(None);
            fleet.revive(house, index)?;
        }
        Ok(fleet)
    }

    /// Has every host receive by `dsr-ipip`, or by `dsr-gue` if that is what it was started for.
    pub fn decapsulate(&mut self, house: &House) -> Result<()> {
        let over_udp = self.forward == Forward::DsrGue;
        let start = |host| decapsulate(host, over_udp, self.mode);
        self.decapsulators = house.backends.iter().map(start).collect::<Result<_>>()?;
        Ok(())
    }

    /// Kills the backend at `index` as a crash would; the last moment at which it still lived.
    pub fn kill(&mut self, index: usize) -> Result<Instant> {
        self.servers[index].take().context("this backend is dead already")?.kill()
    }

    /// Starts the backend at `index`; the moment at which it answered.
    pub fn revive(&mut self, house: &House, index: usize) -> Result<Instant> {
        let host = &house.backends[index];
        self.servers[index] = Some(host.namespace.spawn(self.command(index))?);
        let port = self.forward.backend_port(Kind::Http.port());
        let served = host.addresses.both().map(|address| SocketAddr::new(address, port));
        house.balancer.run(|| served.into_iter().try_for_each(answers))?;
        Ok(Instant::now())
    }

    /// Serves both families: they are told apart by the config alone.
    fn command(&self, index: usize) -> Command {
        let mut command = Command::new(binary());
        command.args(["backend", "--name", &name(index)]).stdout(Stdio::null());
        for (option, kind) in [("--http", Kind::Http), ("--tcp", Kind::Tcp), ("--udp", Kind::Udp)] {
            let port = self.forward.backend_port(kind.port());
            for family in Family::BOTH {
                command.arg(option).arg(SocketAddr::new(family.any(), port).to_string());
            }
        }
        command
    }
}

/// Waits until `server` takes connections.
pub(crate) fn answers(server: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + patience::of(PATIENCE);
    while TcpStream::connect_timeout(&server, PATIENCE).is_err() {
        ensure!(Instant::now() < deadline, "no backend answers at {server}");
        thread::sleep(LOOK);
    }
    Ok(())
}

/// The UDP port of `dsr-gue`: the one that services have unless they name another.
const GUE_PORT: &str = "6080";

/// Starts the decapsulator on a host, in the place of the pass program; at TC where the balancer is.
fn decapsulate(host: &Host, over_udp: bool, mode: Mode) -> Result<Process> {
    xdp::detach_pass(&host.namespace, LINK)?;
    let mut command = Command::new(binary());
    command.args(["decap", "--iface", LINK]).stdout(Stdio::null()).stderr(Stdio::null());
    if over_udp {
        command.args(["--gue-port", GUE_PORT]);
    }
    if mode.is_tc() {
        command.args(["--mode", mode.word()]);
    }
    let mut process = host.namespace.spawn(command)?;
    let deadline = Instant::now() + patience::of(PATIENCE);
    while xdp::attached(&host.namespace, LINK)?.is_none() {
        ensure!(process.ended()?.is_none(), "the decapsulator ended in {}", host.namespace.name());
        ensure!(Instant::now() < deadline, "the decapsulator attached nothing in {}", host.namespace.name());
        thread::sleep(LOOK);
    }
    Ok(process)
}
