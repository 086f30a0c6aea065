//! How far a request has gone to its backend, and with it when its answer is due and whether another backend may be asked.

use super::answer::{MOST_INTERIM, TOO_MANY_INTERIM};
use super::ask::{Ask, Facts};
use super::http1::Framing;
use super::respond::Failure;
use super::turn::Gone;
use std::time::{Duration, Instant};

/// A request on its way.
#[derive(Debug)]
pub(super) struct Going {
    /// Whether nothing more is sent.
    is_over: bool,
    gone: Gone,
    /// How many answers have come that promise another.
    promises: u8,
    first_byte: Duration,
}

impl Going {
    /// Nothing of it has gone yet.
    pub(super) fn new<W>(ask: &Ask<W>) -> Self {
        let deadlines = &ask.upstreams.service.config.deadlines;
        Self {
            is_over: false,
            gone: if ask.facts.framing == Framing::NONE { Gone::AtOnce } else { Gone::NotYet },
            promises: 0,
            first_byte: ask.route.deadlines.first_byte.unwrap_or(deadlines.first_byte),
        }
    }

    /// Whether nothing more is sent: all of it went, or the backend takes no more.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// How far it has gone.
    pub(super) const fn gone(&self) -> Gone {
        self.gone
    }

    /// Nothing more is sent from now on.
    pub(super) fn end(&mut self) {
        self.is_over = true;
        if self.gone == Gone::NotYet {
            self.gone = Gone::Since(Instant::now());
        }
    }

    /// How long the head of the answer may take from now on. While the request is still on its way, it is not the backend that
    /// is waited for.
    pub(super) fn answer_due(&self) -> Option<Duration> {
        self.is_over.then_some(self.first_byte)
    }

    /// An answer came that promises another. There is an end to that.
    pub(super) const fn promise(&mut self) -> Result<(), Failure> {
        self.promises += 1;
        if self.promises > MOST_INTERIM { Err(TOO_MANY_INTERIM) } else { Ok(()) }
    }

    /// Whether the client may have been told something already.
    pub(super) const fn was_promised(&self) -> bool {
        self.promises > 0
    }

    /// Whether another backend may be asked: this answer says that it may help, and the client need not know of it.
    pub(super) fn may_ask_another(&self, status: u16, facts: &Facts) -> bool {
        matches!(status, 502..=504) && !self.was_promised() && facts.is_repeatable()
    }
}
