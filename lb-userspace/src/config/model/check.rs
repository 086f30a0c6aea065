//! How backends are probed.

use crate::config::bounds::{
    DEFAULT_FALL, DEFAULT_INTERVAL, DEFAULT_JITTER, DEFAULT_RISE, DEFAULT_STATUS, DEFAULT_TIMEOUT,
};
use std::fmt;
use std::time::Duration;

/// How the backends of a service are probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What a probe does. Default [`CheckKind::Tcp`].
    pub kind: CheckKind,
    /// Port to probe instead of the backend's own.
    pub port: Option<u16>,
    /// Time from one probe to the next, 10 ms to 1 h. Default 1 s.
    pub interval: Duration,
    /// Time after which a probe has failed, 1 ms to `interval`. Default 500 ms, or `interval` where that is shorter.
    pub timeout: Duration,
    /// Successes in a row that bring a backend up, 1 to 100. Default 2.
    pub rise: u32,
    /// Failures in a row that take a backend down, 1 to 100. Default 2.
    pub fall: u32,
    /// Percent by which an interval is shortened at random, 0 to 50. Default 10. Never lengthened, so that a dead
    /// backend is found within `interval × fall`.
    pub jitter: u8,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            kind: CheckKind::Tcp,
            port: None,
            interval: DEFAULT_INTERVAL,
            timeout: DEFAULT_TIMEOUT,
            rise: DEFAULT_RISE,
            fall: DEFAULT_FALL,
            jitter: DEFAULT_JITTER,
        }
    }
}

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// Healthy when a TCP connection is accepted.
    Tcp,
    /// Healthy when `GET path` answers with a status in the range.
    Http {
        /// Path with query, printable ASCII without spaces, starting with `/`.
        path: String,
        /// Statuses that count as healthy. Default 200 alone.
        status: StatusRange,
        /// The `Host` header; `None` sends the backend's address.
        host: Option<String>,
    },
}

/// A range of HTTP statuses, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    /// Lowest status of the range, from 200.
    pub first: u16,
    /// Highest status of the range, to 599.
    pub last: u16,
}

impl StatusRange {
    /// Whether `status` is in the range.
    #[must_use]
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

impl Default for StatusRange {
    fn default() -> Self {
        Self { first: DEFAULT_STATUS, last: DEFAULT_STATUS }
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}
