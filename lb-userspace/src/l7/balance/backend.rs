//! What a worker knows of one backend.

use std::net::SocketAddr;
use std::time::Duration;

use super::ewma::PeakEwma;
use super::outlier::Outlier;
use super::sticky::Tag;
use crate::config::proxy;

/// A backend's number in its balancer: it keeps it as long as it has exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendId(pub(super) u32);

impl BackendId {
    /// The place in a [`Vec`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// How an exchange ended, as far as the backend is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered, with a status below 500.
    Answered {
        /// From the end of the request, or from when a new connection stood for it, to the first byte of the answer. None of one
        /// that began before the request had ended.
        latency: Option<Duration>,
    },
    /// No connection, no answer, or a status of 500 and more.
    Failed,
    /// The client went away: nothing can be said.
    Abandoned,
}

/// Parts of a weight that a slow start is counted in.
pub(super) const WHOLE: u64 = 1024;
/// The least part of its weight that a backend starts with: with less it would hardly be tried.
const FIRST_PART: u64 = WHOLE / 10;

#[derive(Debug)]
pub(super) struct Backend {
    pub(super) name: Box<str>,
    pub(super) addr: SocketAddr,
    pub(super) tag: Tag,
    pub(super) active: u32,
    pub(super) latency: PeakEwma,
    pub(super) outlier: Outlier,
    /// What smooth round robin has on its account.
    pub(super) credit: i64,
    weight: u16,
    drain: bool,
    up: bool,
    gone: bool,
    /// When it came up, while that matters.
    since: Option<Duration>,
}

impl Backend {
    pub(super) fn new(configured: &proxy::Backend, tag: Tag, now: Duration) -> Self {
        Self {
            name: configured.name.as_str().into(),
            addr: configured.addr,
            tag,
            active: 0,
            latency: PeakEwma::default(),
            outlier: Outlier::default(),
            credit: 0,
            weight: configured.weight,
            drain: configured.drain,
            up: true,
            gone: false,
            since: Some(now),
        }
    }

    pub(super) fn is(&self, configured: &proxy::Backend) -> bool {
        *self.name == *configured.name && self.addr == configured.addr
    }

    /// It is in no configuration any more, until [`Backend::stay`].
    pub(super) const fn leave(&mut self) {
        self.gone = true;
    }

    pub(super) fn stay(&mut self, configured: &proxy::Backend, tag: Tag) {
        (self.gone, self.weight, self.drain, self.tag) = (false, configured.weight, configured.drain, tag);
    }

    /// It has its whole share at once.
    pub(super) const fn warm(&mut self) {
        self.since = None;
    }

    pub(super) const fn is_gone(&self) -> bool {
        self.gone
    }

    /// Whether its place is another's to take.
    pub(super) const fn is_vacant(&self) -> bool {
        self.gone && self.active == 0
    }

    pub(super) const fn is_up(&self) -> bool {
        self.up && !self.gone
    }

    pub(super) fn set_up(&mut self, up: bool, now: Duration) {
        if up && !self.up {
            (self.since, self.credit) = (Some(now), 0);
            (self.outlier, self.latency) = (Outlier::default(), PeakEwma::default());
        }
        self.up = up;
    }

    /// Whether requests that are bound to it go there.
    pub(super) fn serves(&self, now: Duration) -> bool {
        self.is_up() && !self.outlier.is_out(now)
    }

    /// Whether any request goes there.
    pub(super) fn is_open(&self, now: Duration) -> bool {
        self.serves(now) && !self.drain
    }

    pub(super) const fn is_drained(&self) -> bool {
        self.drain
    }

    /// Whether it has room that only requests bound to it can have.
    pub(super) fn is_for_bound(&self, most: u32, now: Duration) -> bool {
        self.drain && self.serves(now) && self.has_room(most)
    }

    pub(super) const fn has_room(&self, most: u32) -> bool {
        most == 0 || self.active < most
    }

    /// Its weight as configured.
    pub(super) const fn whole_weight(&self) -> u16 {
        self.weight
    }

    /// Its weight in parts of [`WHOLE`], which grow while it starts.
    #[inline]
    pub(super) fn share(&self, slow_start: Duration, now: Duration) -> u64 {
        let part = match self.since {
            Some(since) if now < since + slow_start => {
                let passed = u64::try_from(now.saturating_sub(since).as_micros()).unwrap_or(u64::MAX);
                let whole = u64::try_from(slow_start.as_micros()).unwrap_or(u64::MAX).max(1);
                (passed.saturating_mul(WHOLE) / whole).clamp(FIRST_PART, WHOLE)
            }
            _ => WHOLE,
        };
        u64::from(self.weight) * part
    }

    pub(super) fn end(&mut self, outcome: Outcome, now: Duration) {
        self.active = self.active.saturating_sub(1);
        if let Outcome::Answered { latency: Some(latency) } = outcome {
            self.latency.observe(latency, now);
        }
    }
}
