//! The TLS sessions that a backend's probes resume, so that a check in its course costs no whole handshake.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::random::SplitMix;
use crate::l7::tls::ClientTls;

/// Only a whole handshake shows what the backend's certificate is by now, so there is one as often as that, or up to twice as often:
/// checks that began together shall not come to it together.
const WHOLE_EVERY: Duration = Duration::from_mins(1);

/// The session of one backend's probes.
#[derive(Debug)]
pub(super) struct Sessions {
    tls: ClientTls,
    config: Arc<ClientConfig>,
    /// When it is given up.
    until: Instant,
}

impl Sessions {
    /// None yet.
    pub(super) fn new(tls: ClientTls, now: Instant, random: &mut SplitMix) -> Self {
        Self { config: tls.probing(), until: now + lifetime(random), tls }
    }

    /// How the next probe's connection begins.
    pub(super) fn next(&mut self, now: Instant, random: &mut SplitMix) -> Arc<ClientConfig> {
        if now >= self.until {
            self.give_up(now, random);
        }
        Arc::clone(&self.config)
    }

    /// Has the next handshake be a whole one.
    pub(super) fn give_up(&mut self, now: Instant, random: &mut SplitMix) {
        (self.config, self.until) = (self.tls.probing(), now + lifetime(random));
    }
}

fn lifetime(random: &mut SplitMix) -> Duration {
    WHOLE_EVERY.mul_f64(0.5 + random.fraction() / 2.0)
}
