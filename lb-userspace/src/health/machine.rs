//! The rules of health: when to probe, and which results change the verdict.
//!
//! Pure: it owns counters and the time of the next probe, and has no clock, no socket and no chance of its own. It
//! must never let two probes of one backend overlap.
//!
//! **Invariant**: a backend that stops answering is down within [`Params::silence_bound`], and within
//! `interval × fall` if it refuses; late timers, and waits for a [turn](super::turns), add to that once, not once a
//! probe. `simulation` holds it to this.

use std::time::{Duration, Instant};

use super::random::SplitMix;
use super::{Evidence, HealthState, Params, ProbeError, Transition};

/// What the machine wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Start a probe now. It counts as started; its result belongs into [`Machine::step`].
    Probe,
    /// Ask again at this time.
    Sleep(Instant),
    /// A probe is under way; nothing to do before its result.
    Await,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Waiting { until: Instant },
    Probing { planned: Instant, started: Instant },
}

/// The health of one backend.
#[derive(Clone, Debug)]
pub struct Machine {
    params: Params,
    random: SplitMix,
    phase: Phase,
    /// Results in a row that speak against the present verdict.
    against: u32,
    evidence: Evidence,
}

impl Machine {
    /// A backend nobody has asked yet. Its first probe is due at once, and that one result decides: waiting for
    /// `rise` of them would keep traffic away for seconds after every restart. The seed feeds the jitter.
    #[must_use]
    pub fn new(params: Params, now: Instant, seed: u64) -> Self {
        Self {
            params: params.bounded(),
            random: SplitMix::new(seed),
            phase: Phase::Waiting { until: now },
            against: 0,
            evidence: Evidence::new(now),
        }
    }

    /// The facts behind the present verdict.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// What to do at `now`.
    pub fn poll(&mut self, now: Instant) -> Next {
        match self.phase {
            Phase::Probing { .. } => Next::Await,
            Phase::Waiting { until } if now < until => Next::Sleep(until),
            Phase::Waiting { until } => self.start(until, now),
        }
    }

    /// A late start keeps its planned place in the schedule, so that delays do not add up from probe to probe; after
    /// more than an interval (a suspended host) the schedule begins anew, rather than catching up in a burst.
    fn start(&mut self, planned: Instant, now: Instant) -> Next {
        let overslept = now.duration_since(planned) > self.params.interval;
        self.phase = Phase::Probing { planned: if overslept { now } else { planned }, started: now };
        Next::Probe
    }

    /// Takes in the result of the probe under way, which ended at `now`: the latency of a passed one, or what was
    /// met. A result nobody asked for changes nothing.
    pub fn step(&mut self, now: Instant, outcome: &Result<Duration, ProbeError>) -> Option<Transition> {
        let Phase::Probing { planned, started } = self.phase else { return None };
        self.evidence.note_probe(now, outcome);
        let verdict = self.judge(outcome);
        let gap = self.plan_gap(now.duration_since(started), verdict);
        self.phase = Phase::Waiting { until: now.max(planned + gap) };
        verdict.map(|state| self.evidence.note_verdict(now, state))
    }

    /// The new verdict, if this result makes one.
    fn judge(&mut self, outcome: &Result<Duration, ProbeError>) -> Option<HealthState> {
        let says = match outcome {
            Ok(_) => HealthState::Up,
            Err(error) if error.is_ours() => return None,
            Err(_) => HealthState::Down,
        };
        self.against = if says == self.evidence.state { 0 } else { self.against + 1 };
        let decided = self.against >= self.needed();
        self.against = if decided { 0 } else { self.against };
        decided.then_some(says)
    }

    /// How many results in a row turn the present verdict.
    fn needed(&self) -> u32 {
        match self.evidence.state {
            HealthState::Unknown => 1,
            HealthState::Up => self.params.fall,
            HealthState::Down => self.params.rise,
        }
    }

    /// From the planned start of the last probe to that of the next.
    ///
    /// The second probe comes at any time of the first interval: checks that a start or a reload begins at one instant are spread
    /// over it by then.
    ///
    /// Jitter only ever shortens, so a healthy backend is asked at least once an interval: that is the first interval
    /// of the bound. While failures are being counted there is none, and what the failure itself took is taken off the
    /// `fall - 1` gaps in equal parts: time-outs then end on the same bound as refusals. A quick failure keeps the
    /// whole interval, and with it the patience that `fall` stands for.
    fn plan_gap(&mut self, spent: Duration, verdict: Option<HealthState>) -> Duration {
        let interval = self.params.interval;
        let counting = verdict.is_none() && self.against > 0 && self.evidence.state == HealthState::Up;
        if counting {
            return interval.saturating_sub(spent / (self.params.fall - 1));
        }
        let jitter = match self.evidence.state {
            HealthState::Unknown if self.params.jitter_percent > 0 => 1.0,
            _ => f64::from(self.params.jitter_percent) / 100.0,
        };
        interval.mul_f64(1.0 - jitter * self.random.fraction())
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
