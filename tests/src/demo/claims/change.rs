//! What an operator changes does what it says, and harms nobody.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::downloads::{content, path};
use super::{LEAD, WORKERS};
use crate::demo::page::Page;
use crate::demo::scene::{CONFIG, Scene, WEB};
use crate::fleet::name;
use crate::traffic::download::Download;
use crate::traffic::hammer::Hammer;
use crate::traffic::http;
use crate::traffic::tally::Tally;

/// The backend that is drained.
const DRAINED: usize = 1;
/// At the pace of a slow download, about seven seconds: longer than the drain is looked at.
const LONG: usize = 20_000_000;
/// New connections that would meet a backend of a third of the weight with certainty, in effect.
const CONNECTIONS: u32 = 300;
/// For which the download goes on behind the drain.
const A_WHILE: Duration = Duration::from_secs(1);
/// Longer than between two looks of the daemon at its flows, and how often that is waited for.
const SWEEP: Duration = Duration::from_millis(700);
const PATIENCE: usize = 5;
/// Lines of a refusal that are shown.
const LINES: usize = 16;

pub(super) fn a_drain_cuts_nothing(scene: &mut Scene, page: &Page) -> Result<String> {
    let (drained, target) = (name(DRAINED), format!("{}/{}", WEB.name, name(DRAINED)));
    let download = download_from(scene, &drained)?;
    page.line(&format!("a slow download of {} MB from {drained} is going on", LONG / 1_000_000));
    run(scene, page, &["drain", &target])?;
    scene.daemon()?.wait_for(WEB.name, &drained, "draining")?;
    let reached = connections_to(scene, WEB.vip, &drained)?;
    thread::sleep(A_WHILE);
    let (going_on, received) = (download.going_on(), download.received());
    page.line(&format!(
        "{reached} of {CONNECTIONS} new connections reach it, and the download is at {} kB",
        received / 1000
    ));
    let whole = download.finish()? == content(LONG);
    run(scene, page, &["drain", &target, "--undo"])?;
    scene.wait_until_up()?;
    ensure!(reached == 0, "{reached} new connections reached it");
    ensure!(going_on, "the download was over too early to show anything");
    ensure!(whole, "the download has other bytes");
    Ok(format!("0 of {CONNECTIONS} new connections reached it; its download arrived whole"))
}

pub(super) fn a_broken_config_changes_nothing(scene: &mut Scene, page: &Page) -> Result<String> {
    let hammer = Hammer::start(&scene.house.client, WEB.vip, WORKERS)?;
    let before = settled_generation(scene)?;
    reload_broken(scene, page)?;
    thread::sleep(LEAD);
    let record = hammer.stop();
    let (failed, total, after) = (record.failures().count(), record.total(), generation(scene)?);
    run(scene, page, &["reload"])?;
    ensure!(before == after, "generation {after} serves, not {before}");
    ensure!(failed == 0, "{failed} of {total} requests failed");
    Ok(format!("refused with every mistake; 0 of {total} requests failed meanwhile"))
}

/// Reloads a config with two mistakes, shows what the operator is told, and mends the file.
fn reload_broken(scene: &Scene, page: &Page) -> Result<()> {
    let daemon = scene.daemon()?;
    let broken =
        CONFIG.replacen("weight = 3", "wieght = 3", 1).replacen("10.20.2.2:8080", "10.20.2.2:80800", 1);
    fs::write(daemon.config_path(), broken).context("breaking the config")?;
    page.line("the config gets a misspelt key and a port that there is none of, then: lb-userspace reload");
    let refusal = daemon.attempt(&["reload"])?;
    fs::write(daemon.config_path(), CONFIG).context("mending the config")?;
    let told = String::from_utf8_lossy(&refusal.stderr).into_owned();
    page.quote(&told.lines().take(LINES).collect::<Vec<_>>().join("\n"));
    ensure!(!refusal.status.success(), "the broken config was taken");
    ensure!(told.contains("wieght") && told.contains("10.20.2.2:80800"), "not every mistake is named");
    Ok(())
}

/// Runs a command of the operator and shows it.
fn run(scene: &Scene, page: &Page, arguments: &[&str]) -> Result<()> {
    let said = scene.command(arguments)?;
    page.line(&format!("lb-userspace {}: {}", arguments.join(" "), said.trim()));
    Ok(())
}

fn generation(scene: &Scene) -> Result<u64> {
    scene.daemon()?.status()?["generation"].as_u64().context("the status tells no generation")
}

/// The generation when what the last change set going is over: slots are still written while flows that it concerned end.
fn settled_generation(scene: &Scene) -> Result<u64> {
    let mut last = generation(scene)?;
    for _ in 0..PATIENCE {
        thread::sleep(SWEEP);
        let now = generation(scene)?;
        if now == last {
            break;
        }
        last = now;
    }
    Ok(last)
}

fn connections_to(scene: &Scene, vip: SocketAddr, backend: &str) -> Result<u32> {
    let tally: Tally = scene.house.client.run(|| (0..CONNECTIONS).map(|_| http::who(vip)).collect())?;
    Ok(tally.of(backend))
}

/// A long download from `backend`: connections are tried until one lands there.
fn download_from(scene: &Scene, backend: &str) -> Result<Download> {
    let mut attempts = (0..100).map(|_| Download::start(&scene.house.client, WEB.vip, &path(LONG)));
    let landed = attempts.find(|download| download.as_ref().map_or(true, |one| one.backend() == backend));
    landed.with_context(|| format!("no download from {backend} in 100 attempts"))?
}
