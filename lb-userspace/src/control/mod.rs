//! The control socket: how the operator's commands reach the running daemon.
//!
//! One JSON object a line each way over a Unix socket; a capture is answered with many. [`server`] hands requests to the daemon and decides nothing;
//! [`client`] is the command line's side; [`Status`] is what the daemon tells of itself, and [`table`] shows it to people.

mod capture;
pub mod client;
pub mod explain;
mod front;
pub mod metrics;
pub mod scrape;
pub mod server;
mod status;
pub mod table;

pub use capture::{CaptureOrder, CapturedPacket, Peer};
pub use explain::{Explanation, HttpExplanation, PacketExplanation, WayExplanation};
pub use front::{
    FrontBackendStatus, FrontCertificateStatus, FrontListenerStatus, FrontRouteStatus, FrontServiceStatus,
    FrontSheddingStatus, FrontStatus, TimesStatus,
};
pub use status::{
    BackendStatus, BlockStatus, FloodGuardStatus, GuardStatus, HealthStatus, InterfaceStatus, ListenerStatus,
    ReasonStatus, RefusedMode, ReloadStatus, ServiceStatus, Status, Traffic,
};

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// Where the socket is unless `--control` says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/lb/control.sock";

/// What the operator asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    /// Tell how things are.
    Status,
    /// Tell how things are, for Prometheus.
    Metrics,
    /// Read the configuration again.
    Reload,
    /// Drop what comes from an address, for a time.
    Block {
        /// The address.
        address: IpAddr,
        /// How long.
        milliseconds: u64,
        /// What for.
        reason: String,
    },
    /// Drop it no longer.
    Unblock {
        /// The address.
        address: IpAddr,
    },
    /// Tell which addresses are blocked.
    Blocks,
    /// Tell which way a request or a packet goes, and why.
    Explain(ExplainOrder),
    /// Give a backend no new flows, or (`undo`) give it new ones again. Lasts until a restart or the undoing.
    Drain {
        /// Name of the service.
        service: String,
        /// Name of the backend.
        backend: String,
        /// Take an earlier drain back.
        undo: bool,
    },
    /// Give a backend a weight in the place of the configuration's, or none but that. Lasts until a restart or the undoing.
    Weight {
        /// Name of the service.
        service: String,
        /// Name of the backend.
        backend: String,
        /// The weight; none for the configuration's.
        weight: Option<u16>,
    },
    /// Show packets as they come, until enough were shown or the other side has gone.
    Capture(CaptureOrder),
}

/// What is to be explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainOrder {
    /// `https://host/path`, `http://…`, `tcp://address:port` or `udp://…`.
    pub target: String,
    /// The method of a request.
    pub method: String,
    /// Its fields.
    pub headers: Vec<(String, String)>,
    /// The client. An unspecified address is none.
    pub client: SocketAddr,
}

impl ExplainOrder {
    /// Whether it is of packets, not of a request.
    #[must_use]
    pub fn is_of_packets(&self) -> bool {
        self.target.starts_with("tcp://") || self.target.starts_with("udp://")
    }
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Response {
    /// The answer to [`Request::Status`].
    Status(Box<Status>),
    /// The answer to [`Request::Metrics`].
    Metrics {
        /// The text that is served.
        text: String,
    },
    /// The answer to [`Request::Explain`].
    Explained(Explanation),
    /// The answer to [`Request::Blocks`].
    Blocks {
        /// The blocks, by address.
        blocks: Vec<BlockStatus>,
    },
    /// It is done; a sentence on what changed.
    Done {
        /// The sentence.
        message: String,
    },
    /// A capture has begun; packets follow.
    Capturing {
        /// Bytes that are kept of each.
        snap: u32,
        /// The interfaces that they come by, if the daemon tells.
        #[serde(default)]
        interfaces: Vec<String>,
    },
    /// One of them.
    Packet(Box<CapturedPacket>),
    /// No more follow.
    Captured {
        /// Packets that were asked for and came by.
        wanted: u64,
        /// Those of them that were not captured: more came than the rate allows, or than were read in time.
        missed: u64,
    },
    /// It was not done, or not all of it: the message says what holds.
    Refused {
        /// Why, and how to mend it.
        message: String,
    },
}
