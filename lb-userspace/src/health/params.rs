//! What to ask a backend, how often, and how many answers make a verdict.

use crate::config::StatusRange;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Layers;

/// The question a probe asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Does the port accept a TCP connection?
    Tcp,
    /// Does `GET path` answer with one of these statuses?
    Http {
        /// Path and query as they stand in the request line; begins with `/`.
        path: String,
        /// The statuses that pass.
        status: StatusRange,
        /// The `Host` header; `None` sends the target's address and port.
        host: Option<String>,
    },
}

/// Everything one backend's health check needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// What a probe asks.
    pub kind: Kind,
    /// What it speaks beneath the question.
    pub layers: Layers,
    /// Whom it asks: the backend's address, or another port of it.
    pub target: SocketAddr,
    /// From the start of one probe to the start of the next, at most.
    pub interval: Duration,
    /// How long a whole probe may take, connecting included. Never more than `interval`, so that probes cannot overlap.
    pub timeout: Duration,
    /// Passed probes in a row that bring a backend up again.
    pub rise: u32,
    /// Failed probes in a row that take a backend down.
    pub fall: u32,
    /// How much of an interval chance may take away, in per cent: it spreads probes that began at one instant.
    pub jitter_percent: u8,
    /// Where probes take their source ports from; `None` leaves the choice to the kernel. Full NAT hands out ports of
    /// the same address, and a probe's answer must not be taken for a translated flow's.
    pub source_ports: Option<RangeInclusive<u16>>,
}

/// More jitter than this would turn an interval into a burst.
const MAX_JITTER_PERCENT: u8 = 50;
/// A shorter interval would be a flood, not a check.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

impl Params {
    /// These parameters with impossible values bent to the nearest possible ones. The configuration refuses such
    /// values with a message long before; this keeps the machine's promises true without it.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.interval = self.interval.max(MIN_INTERVAL);
        self.timeout = self.timeout.clamp(MIN_INTERVAL, self.interval);
        self.rise = self.rise.max(1);
        self.fall = self.fall.max(1);
        self.jitter_percent = self.jitter_percent.min(MAX_JITTER_PERCENT);
        self
    }

    /// How long a backend that falls silent for good can go on being called up.
    ///
    /// A refusal is told at once, so `interval × fall` holds for it always. Silence is only told by the time-out:
    /// `interval × fall` still holds while `timeout ≤ interval × (fall - 1) / fall`, because a slow failure pulls the
    /// next probe forward; beyond that probes run back to back and it takes `interval + timeout × fall`.
    #[must_use]
    pub fn silence_bound(&self) -> Duration {
        (self.interval * self.fall).max(self.interval + self.timeout * self.fall)
    }
}
