//! A backend that dies leaves in time, and one that comes back is used again.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{LEAD, WORKERS};
use crate::demo::ms;
use crate::demo::page::Page;
use crate::demo::scene::{Scene, WEB};
use crate::fleet::name;
use crate::service::{FALL, INTERVAL, RISE};
use crate::traffic::hammer::{Hammer, Record};

/// The backend with most of the traffic.
const VICTIM: usize = 0;
/// What the daemon may take on top of its checks to change the tables.
const MARGIN: Duration = Duration::from_millis(50);
/// What the machine may take on top: client, balancer and backends share its few cores.
const SLACK: Duration = Duration::from_millis(150);
/// A row of the table.
const ROW: Duration = Duration::from_millis(100);

pub(super) fn a_killed_backend_leaves(scene: &mut Scene, page: &Page) -> Result<String> {
    let bound = INTERVAL * FALL + MARGIN;
    let (victim, allowed) = (name(VICTIM), allowed(bound));
    page.line(&format!(
        "{WORKERS} clients connect again and again, and {victim} is killed. {FALL} failed checks, one"
    ));
    page.line(&format!("every {}, and 50 ms for the rest: {allowed}.", ms(INTERVAL)));
    let (record, killed) = hammer_around(scene, bound, |scene| scene.fleet.kill(VICTIM))?;
    page.table(&rows(&record, killed));
    let outage = record.outage_since(killed).context("no request failed, so nothing was measured")?;
    ensure!(outage <= bound + SLACK, "requests failed for {}, not {allowed}", ms(outage));
    let answered = record.answers_since(killed + bound + SLACK).next();
    ensure!(answered.is_some(), "nobody answers any more");
    let (failed, total) = (record.failures().count(), record.total());
    Ok(format!("no request fails after {}, bound {}; {failed} of {total} did", ms(outage), ms(bound)))
}

pub(super) fn it_comes_back(scene: &mut Scene, page: &Page) -> Result<String> {
    let bound = INTERVAL * RISE + MARGIN;
    let (victim, allowed) = (name(VICTIM), allowed(bound));
    page.line(&format!("{victim} starts again, and {RISE} good checks bring it back: {allowed}."));
    let (record, back) = hammer_around(scene, bound, |scene| scene.fleet.revive(&scene.house, VICTIM))?;
    scene.wait_until_up()?;
    let (failed, total) = (record.failures().count(), record.total());
    ensure!(failed == 0, "{failed} of {total} requests failed");
    let served = record.first_answer_since(back, &victim).context("it was not used again")?;
    ensure!(served <= bound + SLACK, "it served after {}, not {allowed}", ms(served));
    Ok(format!("it serves after {}, bound {}; 0 of {total} requests failed", ms(served), ms(bound)))
}

fn allowed(bound: Duration) -> String {
    format!("within {}, or {} more on a busy machine", ms(bound), ms(SLACK))
}

/// Hammers while `event` happens, until well after `bound`.
fn hammer_around(
    scene: &mut Scene,
    bound: Duration,
    event: impl FnOnce(&mut Scene) -> Result<Instant>,
) -> Result<(Record, Instant)> {
    let hammer = Hammer::start(&scene.house.client, WEB.vip, WORKERS)?;
    thread::sleep(LEAD);
    let moment = event(scene)?;
    thread::sleep(bound + SLACK + LEAD);
    Ok((hammer.stop(), moment))
}

/// How requests went, by the time since `moment`.
fn rows(record: &Record, moment: Instant) -> Vec<Vec<String>> {
    let headings = ["since the kill", "requests", "failed"].map(str::to_owned).to_vec();
    let row = |number: u32| {
        let span = ROW * number..ROW * (number + 1);
        let failed = record.within(moment, span.clone()).filter(|attempt| attempt.outcome.is_err()).count();
        let title = format!("{} to {}", span.start.as_millis(), ms(span.end));
        vec![title, record.within(moment, span).count().to_string(), failed.to_string()]
    };
    std::iter::once(headings).chain((0..8).map(row)).collect()
}
