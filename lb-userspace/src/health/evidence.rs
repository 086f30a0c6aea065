//! What is known about a backend's health, and what there is to show for it.

use std::fmt;
use std::time::{Duration, Instant};

use super::ProbeError;

/// The verdict on a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HealthState {
    /// Not asked yet.
    Unknown,
    /// It answers as it should.
    Up,
    /// It does not.
    Down,
}

impl HealthState {
    /// The word for logs, tables and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A verdict that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The verdict before.
    pub from: HealthState,
    /// The verdict from now on.
    pub to: HealthState,
    /// When the deciding probe ended.
    pub at: Instant,
    /// What the deciding probe met; `None` on the way up.
    pub cause: Option<ProbeError>,
}

/// The facts behind the present verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The present verdict.
    pub state: HealthState,
    /// Since when it holds.
    pub since: Instant,
    /// When the last probe ended.
    pub last_probe: Option<Instant>,
    /// How long the last passed probe took, from connecting to the complete answer.
    pub latency: Option<Duration>,
    /// What the last failed probe met. Kept while it matters: until a probe passes on a backend that is up.
    pub error: Option<ProbeError>,
    /// Probes passed so far.
    pub successes: u64,
    /// Probes failed so far, those that this host could not make not counted.
    pub failures: u64,
    /// Verdicts changed so far, the first one included.
    pub transitions: u64,
}

impl Evidence {
    /// Nothing known, as of `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            state: HealthState::Unknown,
            since: now,
            last_probe: None,
            latency: None,
            error: None,
            successes: 0,
            failures: 0,
            transitions: 0,
        }
    }

    /// Notes one probe's result.
    pub(super) fn note_probe(&mut self, now: Instant, outcome: &Result<Duration, ProbeError>) {
        self.last_probe = Some(now);
        match outcome {
            Ok(latency) => self.note_success(*latency),
            Err(error) => self.note_failure(error),
        }
    }

    fn note_success(&mut self, latency: Duration) {
        self.successes += 1;
        self.latency = Some(latency);
        if self.state == HealthState::Up {
            self.error = None;
        }
    }

    fn note_failure(&mut self, error: &ProbeError) {
        self.failures += u64::from(!error.is_ours());
        self.error = Some(error.clone());
    }

    /// Notes a new verdict and gives the transition to report.
    pub(super) fn note_verdict(&mut self, now: Instant, to: HealthState) -> Transition {
        let from = std::mem::replace(&mut self.state, to);
        self.since = now;
        self.transitions += 1;
        if to == HealthState::Up {
            self.error = None;
        }
        Transition { from, to, at: now, cause: self.error.clone() }
    }
}
