//! The backends of a house: real processes that serve HTTP, TCP and UDP and tell their name in every reply.

use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::daemon::binary;
use crate::net::xdp;
use crate::process::Process;
use crate::service::{Forward, Kind};
use crate::topology::{Host, House, LINK};

const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

/// The backend processes of a house, by index.
#[derive(Debug)]
pub struct Fleet {
    forward: Forward,
    servers: Vec<Option<Process>>,
    _decapsulators: Vec<Process>,
}

/// The name of the backend at `index`.
#[must_use]
pub fn name(index: usize) -> String {
    format!("web{}", index + 1)
}

impl Fleet {
    /// Starts a backend on every host, and what it takes there to receive by `forward`.
    pub fn start(house: &House, forward: Forward) -> Result<Self> {
        let decapsulators = match forward {
            Forward::Nat => Vec::new(),
            Forward::DsrIpip => house.backends.iter().map(decapsulate).collect::<Result<_>>()?,
        };
        let mut fleet = Self { forward, servers: Vec::new(), _decapsulators: decapsulators };
        for index in 0..house.backends.len() {
            fleet.servers.push(None);
            fleet.revive(house, index)?;
        }
        Ok(fleet)
    }

    /// Kills the backend at `index` as a crash would; the last moment at which it still lived.
    pub fn kill(&mut self, index: usize) -> Result<Instant> {
        self.servers[index].take().context("this backend is dead already")?.kill()
    }

    /// Starts the backend at `index`; the moment at which it answered.
    pub fn revive(&mut self, house: &House, index: usize) -> Result<Instant> {
        let host = &house.backends[index];
        self.servers[index] = Some(host.namespace.spawn(self.command(index))?);
        let served = SocketAddrV4::new(host.address, self.forward.backend_port(Kind::Http.port()));
        house.balancer.run(|| answers(served))
    }

    fn command(&self, index: usize) -> Command {
        let listen = |kind: Kind| {
            SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, self.forward.backend_port(kind.port())).to_string()
        };
        let mut command = Command::new(binary());
        command.args(["backend", "--name", &name(index), "--http", &listen(Kind::Http)]);
        command.args(["--tcp", &listen(Kind::Tcp), "--udp", &listen(Kind::Udp)]);
        command.stdout(Stdio::null());
        command
    }
}

/// Waits until `server` takes connections, and gives the moment.
fn answers(server: SocketAddrV4) -> Result<Instant> {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect_timeout(&server.into(), PATIENCE).is_err() {
        ensure!(Instant::now() < deadline, "no backend answers at {server}");
        thread::sleep(LOOK);
    }
    Ok(Instant::now())
}

/// Starts the decapsulator on a host, in the place of the pass program.
fn decapsulate(host: &Host) -> Result<Process> {
    xdp::detach_pass(&host.namespace, LINK)?;
    let mut command = Command::new(binary());
    command.args(["decap", "--iface", LINK]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = host.namespace.spawn(command)?;
    let deadline = Instant::now() + PATIENCE;
    while xdp::attached(&host.namespace, LINK)?.is_none() {
        ensure!(process.ended()?.is_none(), "the decapsulator ended in {}", host.namespace.name());
        ensure!(Instant::now() < deadline, "the decapsulator attached nothing in {}", host.namespace.name());
        thread::sleep(LOOK);
    }
    Ok(process)
}
