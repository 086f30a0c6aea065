//! The config file of a daemon under test, as values.

use std::fmt::{self, Display, Formatter, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use crate::topology::VIP;

/// How a service forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// Full NAT.
    Nat,
    /// IP in IP, with the reply going straight from backend to client.
    DsrIpip,
}

impl Forward {
    /// The port on which backends serve what clients ask for on `port`. Only NAT can change it, so here it always does.
    #[must_use]
    pub fn backend_port(self, port: u16) -> u16 {
        match self {
            Self::Nat => port + 8000,
            Self::DsrIpip => port,
        }
    }
}

impl Display for Forward {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Nat => "nat",
            Self::DsrIpip => "dsr-ipip",
        })
    }
}

/// What a standard service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// HTTP, checked by `GET /healthz`.
    Http,
    /// A TCP echo, checked by connecting.
    Tcp,
    /// A UDP echo, checked by connecting to the TCP echo beside it.
    Udp,
    /// UDP to a port on which no backend listens, and which nobody checks.
    Closed,
}

impl Kind {
    /// Every standard service.
    pub const ALL: [Self; 4] = [Self::Http, Self::Tcp, Self::Udp, Self::Closed];

    /// Those whose backends are checked.
    pub const CHECKED: [Self; 3] = [Self::Http, Self::Tcp, Self::Udp];

    /// The service's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "web",
            Self::Tcp => "echo",
            Self::Udp => "datagrams",
            Self::Closed => "closed",
        }
    }

    /// The port clients ask for.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Tcp => 7000,
            Self::Udp => 7001,
            Self::Closed => 7002,
        }
    }

    /// The address clients ask for.
    #[must_use]
    pub fn vip(self) -> SocketAddrV4 {
        SocketAddrV4::new(VIP, self.port())
    }

    fn protocol(self) -> &'static str {
        match self {
            Self::Http | Self::Tcp => "tcp",
            Self::Udp | Self::Closed => "udp",
        }
    }

    fn health(self, forward: Forward) -> String {
        match self {
            Self::Http => paced("http = \"/healthz\""),
            Self::Tcp => paced("tcp = true"),
            Self::Udp => paced(&format!("tcp = true, port = {}", forward.backend_port(Self::Tcp.port()))),
            Self::Closed => "\"none\"".to_owned(),
        }
    }
}

/// `[[service.backend]]`.
#[derive(Debug, Clone)]
pub struct Backend {
    /// Its name, which its replies also tell.
    pub name: String,
    /// Where it serves.
    pub address: Ipv4Addr,
    /// Its share.
    pub weight: u16,
}

/// `[[service]]`.
#[derive(Debug, Clone)]
pub struct Service {
    /// What it speaks.
    pub kind: Kind,
    /// How it forwards.
    pub forward: Forward,
    /// Who serves.
    pub backends: Vec<Backend>,
}

/// Time between two probes. Short, for tests that wait for several.
pub const INTERVAL: Duration = Duration::from_millis(200);
/// How long a probe may take.
pub const PROBE_TIMEOUT: Duration = Duration::from_millis(100);
/// Failed probes in a row that take a backend out.
pub const FALL: u32 = 2;
/// Good probes in a row that bring it back.
pub const RISE: u32 = 2;

impl Display for Service {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self { kind, forward, .. } = self;
        writeln!(formatter, "[[service]]\nname = \"{}\"\nvip = \"{}\"", kind.name(), kind.vip())?;
        writeln!(formatter, "protocol = \"{}\"\nforward = \"{forward}\"", kind.protocol())?;
        writeln!(formatter, "health = {}", kind.health(*forward))?;
        self.backends.iter().try_for_each(|backend| self.write_backend(backend, formatter))
    }
}

impl Service {
    fn write_backend(&self, backend: &Backend, formatter: &mut Formatter<'_>) -> fmt::Result {
        let port = self.forward.backend_port(self.kind.port());
        writeln!(formatter, "  [[service.backend]]\n  name = \"{}\"", backend.name)?;
        writeln!(formatter, "  addr = \"{}:{port}\"\n  weight = {}", backend.address, backend.weight)
    }
}

/// A health check at the pace of the suites; without jitter, so that a bound on time is exact.
fn paced(check: &str) -> String {
    let pace =
        format!("interval = \"{INTERVAL:?}\", timeout = \"{PROBE_TIMEOUT:?}\", rise = {RISE}, fall = {FALL}");
    format!("{{ {check}, {pace}, jitter = \"0%\" }}")
}

/// The config file with `services`.
#[must_use]
pub fn config(services: &[Service]) -> String {
    services.iter().fold(String::new(), |mut text, service| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{service}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_written_as_an_operator_would() {
        let backend = Backend { name: "web1".into(), address: Ipv4Addr::new(10, 20, 1, 2), weight: 3 };
        let service = Service { kind: Kind::Http, forward: Forward::Nat, backends: vec![backend] };
        let expected = r#"[[service]]
name = "web"
vip = "203.0.113.10:80"
protocol = "tcp"
forward = "nat"
health = { http = "/healthz", interval = "200ms", timeout = "100ms", rise = 2, fall = 2, jitter = "0%" }
  [[service.backend]]
  name = "web1"
  addr = "10.20.1.2:8080"
  weight = 3

"#;
        assert_eq!(config(&[service]), expected);
    }
}
