//! What the daemon tells of itself, as `status --json` prints it.

use super::FrontStatus;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Since it started.
    pub uptime_seconds: f64,
    /// Number of the plan in force: one more for every change that was applied.
    pub generation: u32,
    /// File the configuration was read from, or a word for the embedded default.
    pub config: String,
    /// What became of reloads.
    #[serde(default)]
    pub reloads: ReloadStatus,
    /// How probes and other I/O of the daemon go: `io_uring` or `epoll`.
    pub transport: String,
    /// Interfaces the balancer is attached to.
    pub interfaces: Vec<InterfaceStatus>,
    /// The services in the configuration's order.
    pub services: Vec<ServiceStatus>,
    /// Flows recorded. The two records of a translated flow count once.
    pub flows: u64,
    /// The guard against floods of new flows.
    #[serde(default)]
    pub flood_guard: FloodGuardStatus,
    /// Every reason that was counted since start.
    pub reasons: Vec<ReasonStatus>,
    /// What the guard goes by; none where it was not loaded.
    #[serde(default)]
    pub guard: Option<GuardStatus>,
    /// Layer 7; none where no listener is configured.
    #[serde(default)]
    pub front: Option<FrontStatus>,
}

/// Reloads since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReloadStatus {
    /// Those whose configuration came into force.
    pub taken: u64,
    /// Those that changed nothing.
    pub refused: u64,
    /// The first line of why the last one was refused; none if it was taken.
    pub refusal: Option<String>,
    /// Since then.
    pub refused_seconds_ago: Option<f64>,
}

/// The guard. What it dropped stands among the reasons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardStatus {
    /// Prefixes in force: those of the lists, martians and VIPs.
    pub prefixes: usize,
    /// Addresses that are blocked for a time.
    pub blocks: usize,
}

/// An address that is blocked for a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockStatus {
    /// The address.
    pub address: IpAddr,
    /// For how long.
    pub seconds_left: f64,
    /// What for.
    pub reason: String,
}

impl BlockStatus {
    /// The block as a line for people. Whoever blocked wrote what they liked, and a terminal would obey it.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = format!("{:<40} {:>9.0} s  ", self.address.to_string(), self.seconds_left);
        for letter in self.reason.chars() {
            match letter {
                '"' | '\'' | '\\' => line.push(letter),
                _ => line.extend(letter.escape_debug()),
            }
        }
        line
    }
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// Its index; 0 while it is absent.
    pub index: u32,
    /// `native`, `generic`, `tc`, `clsact`, or `absent` while an interface of that name is waited for.
    pub mode: String,
    /// The modes that come before, and why each is not used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedMode>,
    /// Why it is `absent` though it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unattached: Option<String>,
}

/// A mode that an interface is not attached to in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedMode {
    /// The mode.
    pub mode: String,
    /// What the kernel's refusal means and what would mend it, or which other interface is why.
    pub reason: String,
}

/// The guard against floods of new flows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloodGuardStatus {
    /// Entries that may be added to the flow table in a second (`limits.new_flows`); 0 is no bound.
    pub new_flows: u32,
    /// Whether more flows begin now, so that some are held back.
    pub closed: bool,
    /// Packets that found no room for a record since start.
    pub held_back: u64,
}

/// What was counted in one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Packets towards backends.
    pub packets: u64,
    /// Their bytes, from the Ethernet header on, before rewriting.
    pub bytes: u64,
    /// Flows begun.
    pub new_flows: u64,
    /// Packets back to clients; none in modes whose replies do not pass the balancer.
    pub reply_packets: u64,
    /// Their bytes.
    pub reply_bytes: u64,
}

impl std::iter::Sum for Traffic {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            packets: sum.packets + one.packets,
            bytes: sum.bytes + one.bytes,
            new_flows: sum.new_flows + one.new_flows,
            reply_packets: sum.reply_packets + one.reply_packets,
            reply_bytes: sum.reply_bytes + one.reply_bytes,
        })
    }
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// Address or prefix, and ports, as they are written in the configuration.
    pub vip: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// How its packets reach backends, by the configuration's word.
    pub forward: String,
    /// How new flows are spread; none without backends.
    #[serde(default)]
    pub select: Option<String>,
    /// When flows are recorded; none without backends.
    #[serde(default)]
    pub tracking: Option<String>,
    /// Where a local service lands; none if it is left to whoever listens on the VIP itself.
    #[serde(default)]
    pub listener: Option<ListenerStatus>,
    /// Why the addresses of a local service are not this host's, if they should be and are not.
    #[serde(default)]
    pub unrouted: Option<String>,
    /// Slots of its Maglev table.
    pub slots: u32,
    /// Slots that moved and still track the flows from before.
    pub moving_slots: u32,
    /// The sum over its backends.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Its backends in the configuration's order.
    pub backends: Vec<BackendStatus>,
}

/// Where a local service lands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Its address and port.
    pub address: String,
    /// Whether connections land on a socket there.
    pub open: bool,
    /// Whose socket it is, or why there is none.
    pub state: String,
}

/// A backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackendStatus {
    /// Its name.
    pub name: String,
    /// Address and port, as they are written in the configuration.
    pub addr: String,
    /// Its weight.
    pub weight: u16,
    /// `up`, `down`, `draining` or `unknown`.
    pub state: String,
    /// Slots it owns: its share of new flows.
    pub slots: u32,
    /// Live connections, by which the least loaded is chosen; none where something else decides.
    #[serde(default)]
    pub connections: Option<u64>,
    /// What went through it.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// The next hop's link-layer address and the interface; none while it is not known.
    pub next_hop: Option<String>,
    /// Why there is none.
    #[serde(default)]
    pub next_hop_error: Option<String>,
    /// The evidence for its state.
    pub health: HealthStatus,
}

/// The evidence for a backend's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthStatus {
    /// What is probed: `tcp`, `http /path`, or `none`.
    pub check: String,
    /// Since the state changed last, or the check began.
    #[serde(default)]
    pub changed_ms_ago: Option<u64>,
    /// Since the last probe ended.
    pub last_probe_ms_ago: Option<u64>,
    /// How long the last successful probe took.
    pub latency_us: Option<u64>,
    /// Why the last probe failed.
    pub error: Option<String>,
    /// Probes that succeeded.
    pub successes: u64,
    /// Probes that failed.
    pub failures: u64,
    /// Changes of state.
    pub transitions: u64,
}

/// Packets that had one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonStatus {
    /// The reason's word.
    pub reason: String,
    /// `pass`, `forward` or `drop`.
    pub verdict: String,
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_block_cannot_speak_to_a_terminal() {
        let reason = "it's \x1b[31mred\x07\nnext".to_owned();
        let block = BlockStatus { address: IpAddr::from([192, 0, 2, 7]), seconds_left: 9.0, reason };
        let line = block.line();
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(
            line.starts_with("192.0.2.7 ") && line.ends_with(r"9 s  it's \u{1b}[31mred\u{7}\nnext"),
            "{line}"
        );
    }
}
