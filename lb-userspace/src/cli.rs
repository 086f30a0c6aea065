//! The command line.

use clap::{Args, Parser, Subcommand};
use lb_userspace::guard::blocks::LONGEST;
use lb_userspace::{backend, capture, config, control, kernel, observe};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// An eBPF load balancer for Linux hosts.
///
/// Attached to an interface, an XDP program picks the backend of every connection by hash and steers the packet in the
/// kernel. This daemon loads it, checks the backends' health and keeps its tables.
///
/// Without a command it runs the balancer:  lb-userspace --iface eth0
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(
    after_help = "The configuration's keys are described in lb-userspace/CONFIG.md. `LB_LOG=debug` logs more."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: Run,
}

/// What running the balancer needs.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Interface to balance on; give it again for more. Clients and backends may be behind the same or different ones.
    /// Services with kind = "http" need none
    #[arg(long = "iface", value_name = "IF")]
    pub(crate) interfaces: Vec<String>,
    /// Configuration file [default: /etc/lb/lb.toml if it is there, else no services]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where the program runs: in the driver (native), in the stack (generic), at TC (tc; clsact without links), or in the first of these that the kernel grants, in the driver only if all interfaces can (auto)
    #[arg(long, default_value = "auto")]
    pub(crate) mode: kernel::Mode,
    #[command(flatten)]
    pub(crate) control: Control,
    /// How log lines are written
    #[arg(long, default_value = "text")]
    pub(crate) log_format: observe::log::Format,
}

/// Where the control socket is.
#[derive(Debug, Args)]
pub(crate) struct Control {
    /// The daemon's control socket
    #[arg(long = "control", value_name = "PATH", default_value = control::DEFAULT_SOCKET)]
    pub(crate) path: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say whether a configuration file is right, and if not, everything that is wrong with it
    Check {
        /// The file
        file: PathBuf,
    },
    /// Tell how the running balancer is: services, backends, health, packets, drops
    Status {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        control: Control,
    },
    /// Have the running balancer read its configuration again; a bad file changes nothing
    Reload {
        #[command(flatten)]
        control: Control,
    },
    /// Give a backend no new flows or requests; those it has go on
    Drain {
        /// Service and backend, as in `web/web1`
        #[arg(value_name = "SERVICE/BACKEND", value_parser = service_and_backend)]
        target: (String, String),
        /// Give it new ones again
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        control: Control,
    },
    /// Tell which way a request or a packet would go now, and why: listener, certificate, route, service, backend, or service,
    /// slot and backend
    Explain {
        /// `https://HOST/PATH`, `http://…`, `tcp://ADDRESS:PORT` or `udp://…`
        target: String,
        /// The method of a request
        #[arg(long, default_value = "GET")]
        method: String,
        /// A field of a request, as in `'X-User: 7'`; give it again for more
        #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = field)]
        headers: Vec<(String, String)>,
        /// The client: an address, or with its port for packets
        #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = peer, default_value = "0.0.0.0:0", hide_default_value = true)]
        client: SocketAddr,
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        control: Control,
    },
    /// Give a drained backend new flows or requests again
    Undrain {
        /// Service and backend, as in `web/web1`
        #[arg(value_name = "SERVICE/BACKEND", value_parser = service_and_backend)]
        target: (String, String),
        #[command(flatten)]
        control: Control,
    },
    /// Give a backend another weight than the configuration's, until that is undone or the balancer restarts
    Weight {
        /// Service and backend, as in `web/web1`
        #[arg(value_name = "SERVICE/BACKEND", value_parser = service_and_backend)]
        target: (String, String),
        /// From 1 to 1000
        #[arg(required_unless_present = "undo", value_parser = clap::value_parser!(u16).range(1..=1000))]
        weight: Option<u16>,
        /// Give it the configuration's weight again
        #[arg(long, conflicts_with = "weight")]
        undo: bool,
        #[command(flatten)]
        control: Control,
    },
    /// Drop what comes from an address, for a time; takes a configuration with a guard
    Block {
        /// The address
        #[arg(value_parser = host)]
        address: IpAddr,
        /// How long, as in `10m`: a second to a week, which is `168h`
        #[arg(long = "for", value_name = "TIME", value_parser = block_time)]
        lasting: Duration,
        /// What for
        #[arg(long, default_value = "", value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        control: Control,
    },
    /// Drop what comes from an address no longer
    Unblock {
        /// The address
        #[arg(value_parser = host)]
        address: IpAddr,
        #[command(flatten)]
        control: Control,
    },
    /// Tell which addresses are blocked, for how long and what for
    Blocks {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        control: Control,
    },
    /// Show packets of the running balancer, with what became of each and why
    Capture {
        #[command(flatten)]
        options: capture::Options,
        #[command(flatten)]
        control: Control,
    },
    /// Serve HTTP, TCP or UDP as a backend to try things out with
    Backend(backend::Options),
    /// Be the backend's side of `dsr-ipip`: take the outer header off packets that arrive
    Decap {
        /// Interface the packets arrive on; give it again for more
        #[arg(long = "iface", value_name = "IF", required = true)]
        interfaces: Vec<String>,
        /// Where the program runs
        #[arg(long, default_value = "auto")]
        mode: kernel::Mode,
        /// Port of outer UDP headers, as `gue_port` of the services
        #[arg(long, default_value_t = 6080, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
        gue_port: u16,
        /// How log lines are written
        #[arg(long, default_value = "text")]
        log_format: observe::log::Format,
    },
}

/// How long a block may last.
fn block_time(text: &str) -> Result<Duration, String> {
    let time = config::parse_duration(text)
        .ok_or("expected a whole number and ms, s, m or h, as in `10m`; a day is `24h`")?;
    if time < Duration::from_secs(1) || time > LONGEST {
        return Err(format!("a block lasts from `1s` to `{}h`, which is a week", LONGEST.as_secs() / 3600));
    }
    Ok(time)
}

/// One address: a network is a list's matter.
fn host(text: &str) -> Result<IpAddr, String> {
    let network = || text.split_once('/').is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok());
    text.parse().map_err(|_| {
        if network() {
            "expected one address; a network can be denied by the list that `guard.deny` names".to_owned()
        } else {
            "expected an address, as in `192.0.2.7` or `2001:db8::7`".to_owned()
        }
    })
}

fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected NAME: VALUE, as in `X-User: 7`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn peer(text: &str) -> Result<SocketAddr, String> {
    let with_port = text.parse().ok();
    let address = || text.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, 0));
    with_port
        .or_else(address)
        .ok_or_else(|| "expected ADDRESS or ADDRESS:PORT, as in `192.0.2.7:40000`".to_owned())
}

fn service_and_backend(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((service, backend)) if !service.is_empty() && !backend.is_empty() => {
            Ok((service.to_owned(), backend.to_owned()))
        }
        _ => Err("expected the service's name, a slash and the backend's name, as in `web/web1`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_command_needs_no_interface_but_decapsulation_does() {
        assert!(Cli::try_parse_from(["lb-userspace", "status", "--json"]).is_ok());
        assert!(Cli::try_parse_from(["lb-userspace", "--iface", "eth0", "--iface", "eth1"]).is_ok());
        assert!(Cli::try_parse_from(["lb-userspace", "decap"]).is_err());
    }

    #[test]
    fn a_capture_takes_reasons_peers_and_an_end() {
        let words = ["lb-userspace", "capture", "--reason", "no_backend", "--reason", "too_big"];
        let given = |more: &[&str]| Cli::try_parse_from(words.iter().chain(more));
        let good =
            ["--service", "web", "--from", "[2001:db8::1]:80", "--count", "3", "--for", "10s", "-w", "-"];
        let Ok(Cli { command: Some(Command::Capture { options, .. }), .. }) = given(&good) else {
            panic!("a capture was asked for")
        };
        assert_eq!(options.reasons, ["no_backend", "too_big"]);
        assert_eq!(options.time, Some(std::time::Duration::from_secs(10)));
        for bad in [["--reason", "bad"], ["--to", "web"], ["--count", "0"], ["--for", "10"]] {
            assert!(given(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_block_is_of_one_address_and_of_a_week_at_most() {
        assert_eq!(block_time("168h"), Ok(LONGEST));
        assert!(block_time("8d").unwrap_err().ends_with("a day is `24h`"));
        for bad in ["169h", "500ms"] {
            assert!(block_time(bad).unwrap_err().contains("from `1s` to `168h`"), "{bad}");
        }
        assert_eq!(host("192.0.2.7"), Ok(IpAddr::from([192, 0, 2, 7])));
        assert!(host("10.0.0.0/8").unwrap_err().contains("`guard.deny`"));
        assert!(host("example.org").unwrap_err().contains("expected an address"));
    }

    #[test]
    fn a_drain_names_a_service_and_a_backend() {
        assert_eq!(service_and_backend("web/web1"), Ok(("web".into(), "web1".into())));
        assert!(service_and_backend("web").is_err() && service_and_backend("/x").is_err());
    }
}
