//! How fast a failed backend is noticed, over thousands of seeded histories in virtual time.
//!
//! A history has parameters, a backend that fails at a random instant in one of several styles, and timers that wake
//! up to 2 ms late. A failing seed is printed, and replays.

use std::time::{Duration, Instant};

use super::random::SplitMix;
use super::{HealthState, Kind, Layers, Machine, Next, Params, ProbeError, Stage};

/// What the promise allows for timers, probes on the wire and the writing of slots.
const ALLOWANCE: Duration = Duration::from_millis(50);
const HISTORIES: u64 = 4000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Style {
    /// Refuses at once.
    Refuses,
    /// Says nothing until the time-out.
    Silent,
    /// Either, probe by probe.
    Mixed,
}

struct History {
    random: SplitMix,
    params: Params,
    style: Style,
}

impl History {
    fn new(seed: u64, style: Style) -> Self {
        let mut random = SplitMix::new(seed);
        let interval = Duration::from_millis(u64::from(50 + random.below(4950)));
        let params = Params {
            kind: Kind::Tcp,
            target: ([127, 0, 0, 1], 80).into(),
            interval,
            timeout: interval.mul_f64(0.05 + 0.95 * random.fraction()),
            rise: 1 + random.below(5),
            fall: 1 + random.below(5),
            jitter_percent: u8::try_from(random.below(51)).unwrap(),
            source_ports: None,
            layers: Layers::default(),
        };
        Self { random, params, style }
    }

    fn lateness(&mut self) -> Duration {
        Duration::from_micros(u64::from(self.random.below(2000)))
    }

    /// What a probe that starts at `start` meets, and how long that takes.
    fn probe(&mut self, start: Instant, fails_at: Instant) -> (Duration, Result<Duration, ProbeError>) {
        let quick = Duration::from_micros(u64::from(self.random.below(1000)));
        let caught_in_flight = start + quick > fails_at && self.random.below(2) == 0;
        if start < fails_at && !caught_in_flight {
            return (quick, Ok(quick));
        }
        let silent = self.style == Style::Silent || (self.style == Style::Mixed && self.random.below(2) == 0);
        if !silent {
            return (quick, Err(ProbeError::Refused));
        }
        let after = self.params.timeout;
        (after + self.lateness(), Err(ProbeError::TimedOut { after, stage: Stage::Connecting }))
    }

    /// How long after its failure the backend is called down.
    fn time_to_notice(&mut self, seed: u64) -> Duration {
        let begin = Instant::now();
        let fails_at = begin + self.params.interval.mul_f64(1.0 + 20.0 * self.random.fraction());
        let mut machine = Machine::new(self.params.clone(), begin, seed);
        let mut now = begin;
        loop {
            match machine.poll(now) {
                Next::Sleep(until) => now = until + self.lateness(),
                Next::Await => panic!("seed {seed}: a probe was left without a result"),
                Next::Probe => {
                    let (spent, outcome) = self.probe(now, fails_at);
                    now += spent;
                    let transition = machine.step(now, &outcome);
                    if transition.is_some_and(|it| it.to == HealthState::Down) {
                        return now.saturating_duration_since(fails_at);
                    }
                }
            }
        }
    }
}

/// Runs all histories of a style; each must keep its bound, and none may be far from it only because it is slack.
fn assert_noticed(style: Style, bound: impl Fn(&Params) -> Duration) {
    let mut closest = Duration::MAX;
    for seed in 0..HISTORIES {
        let mut history = History::new(seed, style);
        let (took, bound) = (history.time_to_notice(seed), bound(&history.params) + ALLOWANCE);
        assert!(took <= bound, "seed {seed}: {took:?} > {bound:?} with {:?}", history.params);
        closest = closest.min(bound.saturating_sub(took));
    }
    assert!(closest < ALLOWANCE * 2, "the bound is never approached: {closest:?} short of it");
}

#[test]
fn a_refusing_backend_is_down_within_interval_times_fall() {
    assert_noticed(Style::Refuses, |params| params.interval * params.fall);
}

#[test]
fn a_silent_backend_is_down_within_the_silence_bound() {
    assert_noticed(Style::Silent, Params::silence_bound);
}

#[test]
fn a_mixture_of_refusal_and_silence_costs_one_timeout_more_at_most() {
    assert_noticed(Style::Mixed, |params| params.interval * params.fall + params.timeout);
}

#[test]
fn with_the_defaults_silence_is_noticed_as_fast_as_refusal() {
    let (interval, timeout, fall) = (Duration::from_secs(1), Duration::from_millis(500), 2);
    let params = Params { interval, timeout, fall, ..History::new(0, Style::Silent).params };
    assert_eq!(params.silence_bound(), interval * fall);
    for seed in 0..HISTORIES {
        let mut history = History { params: params.clone(), ..History::new(seed, Style::Silent) };
        assert!(history.time_to_notice(seed) <= interval * fall + ALLOWANCE, "seed {seed}");
    }
}
