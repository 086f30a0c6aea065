//! What the daemon tells of layer 7.

use super::HealthStatus;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Layer 7: who listens, and what was answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FrontStatus {
    /// Worker threads.
    pub workers: usize,
    /// How they move bytes: `io_uring` or `epoll`.
    pub io: String,
    /// The listeners.
    pub listeners: Vec<FrontListenerStatus>,
    /// The services.
    pub services: Vec<FrontServiceStatus>,
    /// The routes that were asked for.
    #[serde(default)]
    pub routes: Vec<FrontRouteStatus>,
    /// Connections accepted since start.
    pub accepted: u64,
    /// Connections open now.
    pub open: u64,
    /// Answers since start by the first digit of their status, from 1.
    pub answers: [u64; 5],
    /// What was not served, and what memory is left to serve with.
    #[serde(default)]
    pub shedding: FrontSheddingStatus,
    /// Exchanges that failed since start, by why.
    #[serde(default)]
    pub failures: BTreeMap<String, u64>,
    /// TLS handshakes since start, by version.
    #[serde(default)]
    pub handshakes: BTreeMap<String, u64>,
    /// Those of them that resumed a session.
    #[serde(default)]
    pub resumed: u64,
    /// Connections that ended before TLS was agreed on.
    #[serde(default)]
    pub handshake_failures: u64,
    /// Why files of TLS cannot be used that were renewed; what was read before is in use.
    #[serde(default)]
    pub tls_unusable: Vec<String>,
    /// Connections that were to begin with a PROXY header and did not.
    #[serde(default)]
    pub proxy_header_failures: u64,
    /// Lines handed to the access log, and lines that were lost.
    #[serde(default)]
    pub log_lines: (u64, u64),
}

/// A listener of layer 7.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrontListenerStatus {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub addresses: Vec<String>,
    /// Whether by TLS.
    pub tls: bool,
    /// Connections open now.
    #[serde(default)]
    pub open: u32,
    /// Its certificates.
    #[serde(default)]
    pub certificates: Vec<FrontCertificateStatus>,
}

/// A certificate of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrontCertificateStatus {
    /// Its file.
    pub file: String,
    /// When it ends to be valid, in seconds of Unix time.
    pub expires: i64,
}

/// What layer 7 holds and turns away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrontSheddingStatus {
    /// Bytes that connections and exchanges hold.
    pub memory: u64,
    /// Bytes that they may hold.
    pub memory_limit: u64,
    /// Connections not let in since start, for the bounds of their listener.
    pub refused: u64,
    /// Connections and requests turned away, and idle connections closed, for want of memory.
    pub shed: u64,
    /// Copies of requests that a second service has answered.
    pub copied: u64,
    /// Copies that were not made, or not answered.
    pub uncopied: u64,
}

/// What was answered by one route of one listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FrontRouteStatus {
    /// The listener's name.
    pub listener: String,
    /// The route's name; `*` for the listener's own service, nothing where a request had no route.
    pub route: String,
    /// Answers by the first digit of their status, from 1.
    pub answers: [u64; 5],
    /// How long they took.
    pub times: TimesStatus,
    /// Bytes of requests' bodies.
    pub received: u64,
    /// Bytes of answers' bodies.
    pub sent: u64,
    /// Requests that were sent again, to another backend.
    pub retries: u64,
}

/// How many times were how long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TimesStatus {
    /// Each bound in microseconds, and how many were longer than the one before and not longer than it.
    pub up_to_us: Vec<(u64, u64)>,
    /// All of them.
    pub count: u64,
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

impl TimesStatus {
    /// Their mean in microseconds.
    #[must_use]
    pub fn mean_us(&self) -> Option<u64> {
        self.sum_us.checked_div(self.count)
    }
}

/// A service of layer 7.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FrontServiceStatus {
    /// Its name.
    pub name: String,
    /// Its backends, in the order of the file.
    pub backends: Vec<FrontBackendStatus>,
}

/// A backend of layer 7.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FrontBackendStatus {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Its share of requests relative to the others'.
    pub weight: u16,
    /// `up`, `down` or `unknown`; what is not probed is up.
    pub state: String,
    /// The evidence for it.
    #[serde(default)]
    pub health: HealthStatus,
    /// Whether it gets no new requests.
    pub drain: bool,
    /// Its answers by the first digit of their status, from 1.
    #[serde(default)]
    pub answers: [u64; 5],
    /// How long it took to begin them.
    #[serde(default)]
    pub times: TimesStatus,
    /// Requests that it did not answer.
    #[serde(default)]
    pub failures: u64,
    /// Connections made to it.
    #[serde(default)]
    pub connects: u64,
    /// Requests that went by a connection which was kept.
    #[serde(default)]
    pub reuses: u64,
    /// How often a worker left it out as an outlier.
    #[serde(default)]
    pub ejections: u64,
    /// Requests that it has now.
    #[serde(default)]
    pub active: u32,
    /// Connections that wait for a request.
    #[serde(default)]
    pub idle: usize,
    /// Workers that leave it out now.
    #[serde(default)]
    pub left_out: usize,
    /// What it takes to answer, of late, in microseconds; none where no worker has asked it.
    #[serde(default)]
    pub latency_us: Option<u64>,
    /// What one more request would cost there, by which the default balancing compares: the mean over the workers.
    #[serde(default)]
    pub score: Option<f64>,
}
