//! The machine's transition table, row by row, and its schedule.

use std::time::{Duration, Instant};

use super::{Machine, Next};
use crate::health::{HealthState, Kind, Layers, Params, ProbeError};

const INTERVAL: Duration = Duration::from_secs(1);
const RISE: u32 = 2;
const FALL: u32 = 3;

fn params() -> Params {
    Params {
        kind: Kind::Tcp,
        target: ([127, 0, 0, 1], 80).into(),
        interval: INTERVAL,
        timeout: Duration::from_millis(500),
        rise: RISE,
        fall: FALL,
        jitter_percent: 10,
        source_ports: None,
        layers: Layers::default(),
    }
}

type Outcome = Result<Duration, ProbeError>;

const PASS: Outcome = Ok(Duration::from_millis(1));
const FAIL: Outcome = Err(ProbeError::Refused);
/// A probe that this host could not make.
const OURS: Outcome = Err(ProbeError::Ours(String::new()));

/// Runs one probe as soon as it is due; it ends after `spent`. Gives its start and the transition.
fn probe_once(
    machine: &mut Machine,
    now: &mut Instant,
    spent: Duration,
    outcome: &Outcome,
) -> (Instant, Option<super::Transition>) {
    if let Next::Sleep(until) = machine.poll(*now) {
        *now = until;
        assert_eq!(machine.poll(*now), Next::Probe);
    }
    let start = *now;
    *now += spent;
    (start, machine.step(*now, outcome))
}

/// A machine in `state` with `against` results counted against it.
fn machine_at(state: HealthState, against: u32) -> (Machine, Instant) {
    let mut now = Instant::now();
    let mut machine = Machine::new(params(), now, 1);
    let (with, then) = if state == HealthState::Up { (PASS, FAIL) } else { (FAIL, PASS) };
    if state != HealthState::Unknown {
        probe_once(&mut machine, &mut now, Duration::ZERO, &with);
    }
    for _ in 0..against {
        probe_once(&mut machine, &mut now, Duration::ZERO, &then);
    }
    assert_eq!((machine.evidence.state, machine.against), (state, against));
    (machine, now)
}

#[test]
fn every_state_takes_every_result_as_the_table_says() {
    use HealthState::{Down, Unknown, Up};
    // state, results against it | after a pass | after a failure | after a probe this host could not make
    let table = [
        ((Unknown, 0), (Up, 0), (Down, 0), (Unknown, 0)),
        ((Up, 0), (Up, 0), (Up, 1), (Up, 0)),
        ((Up, 1), (Up, 0), (Up, 2), (Up, 1)),
        ((Up, 2), (Up, 0), (Down, 0), (Up, 2)),
        ((Down, 0), (Down, 1), (Down, 0), (Down, 0)),
        ((Down, 1), (Up, 0), (Down, 0), (Down, 1)),
    ];
    for (before, after_pass, after_fail, after_ours) in table {
        for (outcome, want) in [(PASS, after_pass), (FAIL, after_fail), (OURS, after_ours)] {
            let (mut machine, mut now) = machine_at(before.0, before.1);
            let (_, transition) = probe_once(&mut machine, &mut now, Duration::ZERO, &outcome);
            assert_eq!((machine.evidence.state, machine.against), want, "{before:?} after {outcome:?}");
            assert_eq!(transition.is_some(), before.0 != want.0, "{before:?} after {outcome:?}");
        }
    }
}

#[test]
fn the_first_probe_is_due_at_once_and_decides() {
    let now = Instant::now();
    let mut machine = Machine::new(params(), now, 1);
    assert_eq!(machine.poll(now), Next::Probe);
    assert_eq!(machine.poll(now), Next::Await, "no second probe while one is under way");
    let transition = machine.step(now, &PASS).unwrap();
    assert_eq!((transition.from, transition.to), (HealthState::Unknown, HealthState::Up));
}

#[test]
fn a_result_nobody_asked_for_changes_nothing() {
    let (mut machine, now) = machine_at(HealthState::Up, 0);
    let before = machine.evidence().clone();
    assert_eq!(machine.step(now, &FAIL), None);
    assert_eq!(machine.evidence(), &before);
}

#[test]
fn jitter_shortens_the_interval_and_never_lengthens_it() {
    let (mut machine, mut now) = machine_at(HealthState::Up, 0);
    let mut last = probe_once(&mut machine, &mut now, Duration::ZERO, &PASS).0;
    for _ in 0..1000 {
        let start = probe_once(&mut machine, &mut now, Duration::from_millis(3), &PASS).0;
        assert!((INTERVAL.mul_f64(0.9)..=INTERVAL).contains(&(start - last)), "{:?}", start - last);
        last = start;
    }
}

#[test]
fn checks_that_begin_together_are_spread_over_the_first_interval() {
    let begin = Instant::now();
    let second = |seed| {
        let (mut machine, mut now) = (Machine::new(params(), begin, seed), begin);
        probe_once(&mut machine, &mut now, Duration::ZERO, &PASS);
        probe_once(&mut machine, &mut now, Duration::ZERO, &PASS).0
    };
    let seconds: Vec<_> = (0..1000).map(second).collect();
    for part in 0..10 {
        let part = begin + INTERVAL / 10 * part..begin + INTERVAL / 10 * (part + 1);
        let count = seconds.iter().filter(|&&second| part.contains(&second)).count();
        assert!((50..150).contains(&count), "{count}");
    }
}

#[test]
fn two_seeds_give_two_schedules() {
    let now = Instant::now();
    let [one, two] = [1, 2].map(|seed| {
        let mut machine = Machine::new(params(), now, seed);
        let mut now = now;
        (0..3).map(|_| probe_once(&mut machine, &mut now, Duration::ZERO, &PASS).0).collect::<Vec<_>>()
    });
    assert_ne!(one[1..], two[1..]);
}

#[test]
fn a_quick_failure_is_followed_by_a_whole_interval_without_jitter() {
    let (mut machine, mut now) = machine_at(HealthState::Up, 0);
    let first = probe_once(&mut machine, &mut now, Duration::ZERO, &FAIL).0;
    let second = probe_once(&mut machine, &mut now, Duration::ZERO, &FAIL).0;
    assert_eq!(second - first, INTERVAL);
}

#[test]
fn a_slow_failure_pulls_the_next_probe_forward() {
    let (mut machine, mut now) = machine_at(HealthState::Up, 0);
    let spent = Duration::from_millis(500);
    let first = probe_once(&mut machine, &mut now, spent, &FAIL).0;
    let second = probe_once(&mut machine, &mut now, spent, &FAIL).0;
    assert_eq!(second - first + spent / (FALL - 1), INTERVAL);
}

#[test]
fn a_late_wake_up_does_not_shift_the_schedule() {
    let (mut machine, mut now) = machine_at(HealthState::Up, 1);
    let Next::Sleep(due) = machine.poll(now) else { panic!("nothing planned") };
    assert_eq!(machine.poll(due + Duration::from_millis(20)), Next::Probe);
    now = due + Duration::from_millis(20);
    machine.step(now, &FAIL);
    assert_eq!(machine.poll(now), Next::Sleep(due + INTERVAL));
}

#[test]
fn a_host_that_slept_does_not_catch_up_in_a_burst() {
    let (mut machine, now) = machine_at(HealthState::Up, 1);
    let woken = now + Duration::from_hours(1);
    assert_eq!(machine.poll(woken), Next::Probe);
    machine.step(woken, &FAIL);
    assert_eq!(machine.poll(woken), Next::Sleep(woken + INTERVAL));
}

#[test]
fn evidence_keeps_the_error_until_it_no_longer_matters() {
    let (mut machine, mut now) = machine_at(HealthState::Up, 1);
    assert_eq!(machine.evidence().error, Some(ProbeError::Refused));
    probe_once(&mut machine, &mut now, Duration::ZERO, &PASS);
    assert_eq!(machine.evidence().error, None);

    let (mut machine, mut now) = machine_at(HealthState::Down, 1);
    assert_eq!(machine.evidence().error, Some(ProbeError::Refused), "still down: this is why");
    let transition = probe_once(&mut machine, &mut now, Duration::ZERO, &PASS).1.unwrap();
    assert_eq!((transition.cause, machine.evidence().error.clone()), (None, None));
}

#[test]
fn evidence_counts_probes_and_verdicts() {
    let (mut machine, mut now) = machine_at(HealthState::Up, 2);
    let transition = probe_once(&mut machine, &mut now, Duration::ZERO, &FAIL).1.unwrap();
    probe_once(&mut machine, &mut now, Duration::ZERO, &OURS);
    let evidence = machine.evidence();
    assert_eq!((evidence.successes, evidence.failures, evidence.transitions), (1, 3, 2));
    assert_eq!((transition.to, transition.cause), (HealthState::Down, Some(ProbeError::Refused)));
    assert_eq!(evidence.since, transition.at);
    assert_eq!(evidence.last_probe, Some(now));
}

#[test]
fn impossible_parameters_are_bent_not_obeyed() {
    let zero = Duration::ZERO;
    let params =
        Params { interval: zero, timeout: INTERVAL, rise: 0, fall: 0, jitter_percent: 100, ..params() };
    let bounded = params.bounded();
    assert!(bounded.interval > zero && bounded.timeout <= bounded.interval);
    assert_eq!((bounded.rise, bounded.fall, bounded.jitter_percent), (1, 1, 50));
}
