//! A backend that dies leaves in time, and one that comes back is used again.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::NATIVE;
use crate::fleet::name;
use crate::runner::Case;
use crate::service::{FALL, INTERVAL, Kind, PROBE_TIMEOUT, RISE};
use crate::stage::{Set, Stage, backend};
use crate::topology::LINK;
use crate::traffic::TIMEOUT;
use crate::traffic::hammer::{Hammer, Record};

/// What the daemon may take on top of its probes to get a backend out of the slots.
const MARGIN: Duration = Duration::from_millis(50);
/// What the machine may take on top: client, balancer and backends share its few cores.
const SCHEDULING_SLACK: Duration = Duration::from_millis(100);
/// Requests at a time. More would only queue for the same cores.
const WORKERS: usize = 4;
/// Traffic before and after the event, so that there is something to compare with.
const LEAD: Duration = Duration::from_millis(300);

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    super::cases(
        "health",
        &NATIVE,
        &[
            ("a_killed_backend_fails_no_request_after_its_bound", a_killed_backend_leaves_in_time),
            ("a_vanished_host_fails_no_request_after_its_bound", a_vanished_host_leaves_in_time),
            ("a_backend_that_comes_back_is_used_after_its_rise", a_backend_comes_back),
            ("the_status_gives_evidence_for_a_state", the_status_gives_evidence),
        ],
    )
}

fn a_killed_backend_leaves_in_time(set: Set) -> Result<()> {
    let mut stage = Stage::build(set, &[1, 1, 1])?;
    let bound = INTERVAL * FALL + MARGIN;
    let (record, lost) = hammer_around(&mut stage, bound, |stage| stage.fleet.kill(1))?;
    leaves(&record, lost, bound)
}

/// Nobody answers at all, so each probe takes its whole time-out.
fn a_vanished_host_leaves_in_time(set: Set) -> Result<()> {
    let mut stage = Stage::build(set, &[1, 1, 1])?;
    let bound = INTERVAL * FALL + PROBE_TIMEOUT + MARGIN;
    let (record, lost) = hammer_around(&mut stage, bound, |stage| {
        stage.house.backends[1].namespace.down(LINK)?;
        Ok(Instant::now())
    })?;
    leaves(&record, lost, bound)
}

/// Hammers while `event` happens, until well after `bound`.
fn hammer_around(
    stage: &mut Stage,
    bound: Duration,
    event: impl FnOnce(&mut Stage) -> Result<Instant>,
) -> Result<(Record, Instant)> {
    let hammer = Hammer::start(&stage.house.client, Kind::Http.vip(), WORKERS)?;
    thread::sleep(LEAD);
    let moment = event(stage)?;
    // A worker that asked a dead host is busy for its whole time-out.
    thread::sleep(bound + SCHEDULING_SLACK + TIMEOUT + LEAD);
    Ok((hammer.stop(), moment))
}

/// The second of three backends was lost at `lost`: requests fail then, and none that begins after the bound.
fn leaves(record: &Record, lost: Instant, bound: Duration) -> Result<()> {
    let early = record.failures().find(|attempt| attempt.end < lost);
    ensure!(early.is_none(), "a request failed before anything happened: {early:?}");
    let outage = record.outage_since(lost).context("no request failed, so nothing was measured")?;
    let allowed = bound + SCHEDULING_SLACK;
    ensure!(
        outage <= allowed,
        "requests failed for {outage:?}, {bound:?} and {SCHEDULING_SLACK:?} of slack are allowed"
    );
    let answers: BTreeSet<&str> = record.answers_since(lost + allowed).collect();
    ensure!(answers == BTreeSet::from(["web1", "web3"]), "after the outage {answers:?} answered");
    Ok(())
}

fn a_backend_comes_back(set: Set) -> Result<()> {
    let mut stage = Stage::build(set, &[1, 1, 1])?;
    stage.fleet.kill(1)?;
    stage.wait_for(Kind::Http, 1, "down")?;
    let bound = INTERVAL * RISE + MARGIN;
    let (record, back) = hammer_around(&mut stage, bound, |stage| stage.fleet.revive(&stage.house, 1))?;
    let failed = record.failures().next();
    ensure!(failed.is_none(), "a request failed while a backend came back: {failed:?}");
    let used = record.answers_since(back + bound + SCHEDULING_SLACK).any(|answer| answer == name(1));
    ensure!(used, "{} is not used {bound:?} after it came back", name(1));
    Ok(())
}

fn the_status_gives_evidence(set: Set) -> Result<()> {
    let mut stage = Stage::build(set, &[1, 1])?;
    stage.fleet.kill(1)?;
    stage.wait_for(Kind::Http, 1, "down")?;
    let status = stage.daemon.status()?;
    let (up, down) =
        (&backend(&status, Kind::Http, 0)?["health"], &backend(&status, Kind::Http, 1)?["health"]);
    ensure!(up["successes"].as_u64() >= Some(u64::from(RISE)), "successes of {up:#}");
    ensure!(up["latency_us"].as_u64() > Some(0) && up["error"].is_null(), "evidence of {up:#}");
    let age = up["last_probe_ms_ago"].as_u64().context("the age of the last probe")?;
    ensure!(u128::from(age) < 5 * INTERVAL.as_millis(), "the last probe of {up:#}");
    ensure!(down["failures"].as_u64() >= Some(u64::from(FALL)), "failures of {down:#}");
    ensure!(down["error"].as_str().is_some_and(|error| !error.is_empty()), "the error of {down:#}");
    Ok(())
}
