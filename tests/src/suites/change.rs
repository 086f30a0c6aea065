//! What an operator changes does what it names, and nothing else: downloads elsewhere go on.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::NATIVE;
use crate::fleet::name;
use crate::runner::Case;
use crate::service::{Kind, config};
use crate::stage::{Set, Stage};
use crate::traffic::download::Download;
use crate::traffic::tally::Tally;

/// A body that takes ten seconds at the pace of a throttled download: longer than any of these cases.
const LONG: &str = "/bytes/30000000";
/// New connections that would meet a backend of a fair share with near certainty.
const CONNECTIONS: usize = 200;
/// Time in which a download that goes on has shown it.
const A_WHILE: Duration = Duration::from_millis(200);

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    super::cases(
        "change",
        &NATIVE,
        &[
            ("a_drained_backend_takes_no_new_connection_and_keeps_its_download", drain_keeps_downloads),
            ("a_reload_adds_and_removes_backends_and_harms_no_download_elsewhere", reload_harms_no_download),
            ("a_signal_reloads_too", a_signal_reloads_too),
            ("a_bad_config_leaves_the_old_one_serving_and_says_why", bad_config_changes_nothing),
        ],
    )
}

fn drain_keeps_downloads(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1, 1])?;
    let expected = stage.directly(LONG)?;
    let download = download_from(&stage, 0)?;
    stage.daemon.drain(&Stage::path(Kind::Http, 0))?;
    stage.wait_for(Kind::Http, 0, "draining")?;
    let during = stage.who_answers(CONNECTIONS)?;
    ensure!(during.of(&name(0)) == 0, "a draining backend took connections: {during:?}");
    goes_on(&download)?;
    stage.daemon.undrain(&Stage::path(Kind::Http, 0))?;
    stage.wait_for(Kind::Http, 0, "up")?;
    let after = stage.who_answers(CONNECTIONS)?;
    ensure!(after.of(&name(0)) > 0, "no connection after the drain was undone: {after:?}");
    ensure!(download.finish()? == expected, "the download through the drain has other bytes");
    Ok(())
}

fn reload_harms_no_download(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1, 1, 1, 0])?;
    let expected = stage.directly(LONG)?;
    let downloads = [download_from(&stage, 0)?, download_from(&stage, 1)?, download_from(&stage, 0)?];
    stage.daemon.reload(&stage.services(&[1, 1, 0, 1]))?;
    stage.wait_for(Kind::Http, 3, "up")?;
    let tally = stage.who_answers(CONNECTIONS)?;
    ensure!(tally.of(&name(2)) == 0, "a removed backend took connections: {tally:?}");
    ensure!(tally.of(&name(3)) > 0, "an added backend took no connection: {tally:?}");
    downloads.iter().try_for_each(goes_on)?;
    for download in downloads {
        ensure!(download.finish()? == expected, "a download through the reload has other bytes");
    }
    Ok(())
}

fn a_signal_reloads_too(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1, 0])?;
    stage.daemon.reload_by_signal(&stage.services(&[1, 1]))?;
    stage.wait_for(Kind::Http, 1, "up")?;
    let tally = stage.who_answers(CONNECTIONS)?;
    ensure!(tally.of(&name(1)) > 0, "an added backend took no connection: {tally:?}");
    Ok(())
}

fn bad_config_changes_nothing(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1, 1])?;
    let before = stage.daemon.status()?;
    let good = config(&stage.services(&[1, 1]));
    let bad = good.replacen("weight = 1", "wieght = 1", 1).replacen("forward =", "forwad =", 1);
    let refusal = stage.daemon.reload_text(&bad).err().context("a bad config was taken")?.to_string();
    for mistake in ["wieght", "forwad"] {
        let line = bad.lines().position(|line| line.contains(mistake)).context("the mistake")? + 1;
        let place = format!("{}:{line}", stage.daemon.config_path().display());
        ensure!(refusal.contains(&place), "the refusal does not name {place}:\n{refusal}");
    }
    let after = stage.daemon.status()?;
    ensure!(before["generation"] == after["generation"], "a refused config made a new generation");
    stage.who_answers(CONNECTIONS).map(|_: Tally| ())
}

/// A long download from the backend at `index`: connections are tried until one lands there.
fn download_from(stage: &Stage, index: usize) -> Result<Download> {
    let attempts = (0..100).map(|_| Download::start(&stage.house.client, Kind::Http.vip(), LONG));
    let mut landed =
        attempts.filter(|download| download.as_ref().map_or(true, |one| one.backend() == name(index)));
    landed.next().with_context(|| format!("no download from {} in 100 attempts", name(index)))?
}

fn goes_on(download: &Download) -> Result<()> {
    let before = download.received();
    thread::sleep(A_WHILE);
    let after = download.received();
    ensure!(
        download.going_on() && after > before,
        "the download from {} stopped at {after} bytes",
        download.backend()
    );
    Ok(())
}
