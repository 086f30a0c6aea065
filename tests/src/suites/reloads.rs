//! Reloads by the hundred, while traffic goes on and backends come and go.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::signal::Signal;

use super::{NATIVE, TC};
use crate::daemon::Daemon;
use crate::family::Family;
use crate::fleet::name;
use crate::runner::Case;
use crate::service::{Kind, Service, config};
use crate::stage::{self, Set, Stage, service, services};
use crate::traffic::hammer::Hammer;
use crate::traffic::tally::Tally;
use crate::traffic::{echo, http};

const RELOADS: u32 = 200;
/// Memory that a daemon may have more of after two hundred reloads, in KiB: what an allocator keeps, not a leak of a
/// table of 65,537 slots at each.
const GROWTH: u64 = 8 * 1024;

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    let family: super::Claim = ("a_family_that_is_added_is_loaded_beside_the_traffic", family_added);
    let everywhere = [NATIVE, TC].concat();
    natively().into_iter().chain(super::cases("reloads", &everywhere, &[family])).collect()
}

fn natively() -> Vec<Case> {
    super::cases(
        "reloads",
        &NATIVE,
        &[
            ("two_hundred_random_reloads_fail_no_request_and_leak_nothing", two_hundred_reloads),
            ("a_storm_of_signals_is_weathered", storm),
            ("reloads_while_a_backend_flaps_harm_no_other", reloads_while_a_backend_flaps),
            ("a_file_that_is_gone_changes_nothing", file_gone),
            ("a_file_that_was_emptied_changes_nothing", file_emptied),
            ("a_reload_that_layer_7_cannot_follow_changes_nothing", listener_taken),
            ("a_check_that_is_added_interrupts_nothing", check_added),
            ("a_backend_of_two_services_is_drained_in_one", one_backend_two_services),
        ],
    )
}

fn two_hundred_reloads(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1, 1, 1])?;
    let hammer = Hammer::start(&stage.house.client, Kind::Http.vip(), 2)?;
    let mut random = 0x9e37_79b9_u32;
    let mut reload = || -> Result<()> {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let weight = |shift: u32| u16::try_from(random >> shift & 3).unwrap_or(0);
        stage.daemon.reload(&stage.services(&[1, weight(16), weight(24)]))
    };
    (0..20).try_for_each(|_| reload())?;
    let before = footprint(&stage.daemon)?;
    (0..RELOADS).try_for_each(|_| reload())?;
    let after = footprint(&stage.daemon)?;
    let record = hammer.stop();
    let failed: Vec<_> = record.failures().take(3).collect();
    ensure!(failed.is_empty(), "of {} requests some failed: {failed:?}", record.total());
    ensure!(record.total() > 100, "only {} requests were made", record.total());
    // Probes under way come and go: one a backend and service at most.
    ensure!(after.1 <= before.1 + 9, "descriptors grew from {} to {}", before.1, after.1);
    ensure!(after.0 <= before.0 + GROWTH, "memory grew from {} to {} KiB", before.0, after.0);
    Ok(())
}

/// Resident memory in KiB, and open descriptors.
fn footprint(daemon: &Daemon) -> Result<(u64, usize)> {
    Ok((daemon.resident()? >> 10, daemon.descriptors()?))
}

fn storm(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1, 1])?;
    let hammer = Hammer::start(&stage.house.client, Kind::Http.vip(), 2)?;
    for _ in 0..2000 {
        stage.daemon.signal(Signal::SIGHUP)?;
    }
    stage.daemon.reload(&stage.services(&[1, 0]))?;
    stage.wait_until("the last config is in force", |status| {
        service(status, Kind::Http)
            .is_ok_and(|web| web["backends"].as_array().is_some_and(|all| all.len() == 1))
    })?;
    let record = hammer.stop();
    ensure!(record.failures().next().is_none(), "a request failed: {:?}", record.failures().next());
    Ok(())
}

/// A request may fail only while it is on the backend that dies.
fn reloads_while_a_backend_flaps(set: Set) -> Result<()> {
    let mut stage = Stage::build(set, &[1, 1, 1])?;
    for round in 0..3 {
        stage.fleet.kill(2)?;
        for weight in [2, 0, 1] {
            stage.daemon.reload(&stage.services(&[1, weight, 1]))?;
        }
        stage.wait_for(Kind::Http, 2, "down")?;
        let tally = stage.who_answers(30).with_context(|| format!("round {round}"))?;
        ensure!(tally.of(&name(2)) == 0, "a dead backend answered: {tally:?}");
        stage.fleet.revive(&stage.house, 2)?;
        stage.wait_for(Kind::Http, 2, "up")?;
    }
    Ok(())
}

fn file_gone(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1, 1])?;
    let path = stage.daemon.config_path();
    let generation = stage.daemon.status()?["generation"].clone();
    fs::remove_file(&path)?;
    fs::create_dir(&path)?;
    stage.daemon.signal(Signal::SIGHUP)?;
    let told = |words: &str| stage.daemon.log().contains(words);
    stage.wait_until("the refusal is logged", |_| told("is not a file"))?;
    fs::remove_dir(&path)?;
    stage.daemon.signal(Signal::SIGHUP)?;
    let status = stage.wait_until("the refusal is logged", |_| told("cannot read the configuration"))?;
    ensure!(told("the old configuration serves on"), "the log does not reassure");
    ensure!(status["generation"] == generation, "a refused file made a new generation");
    stage.who_answers(30).map(|_: Tally| ())
}

fn file_emptied(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1, 1])?;
    let generation = stage.daemon.status()?["generation"].clone();
    let refused = stage.daemon.reload_text("").err().context("an empty file was taken")?;
    ensure!(format!("{refused:#}").contains("nothing would be served any more"), "{refused:#}");
    ensure!(stage.daemon.status()?["generation"] == generation, "a refused file made a new generation");
    stage.who_answers(30).map(|_: Tally| ())
}

/// The listener's address is free when it is looked at, and taken by the metrics when the workers begin: after the tables were
/// planned. That plan must not be taken for written.
fn listener_taken(set: Set) -> Result<()> {
    const TWICE: &str = "127.0.0.1:8999";
    let stage = Stage::furnish(set, 1, |house| config(&services(set, house, &[1])[..1]))?;
    stage.wait_for(Kind::Http, 0, "up")?;
    let all = config(&stage.services(&[1]));
    let front = format!(
        "[metrics]\naddress = \"{TWICE}\"\n[[listener]]\nname = \"front\"\naddresses = [\"{TWICE}\"]\nservice = \"pages\"\n\
         [[service]]\nname = \"pages\"\nkind = \"http\"\nhealth = \"none\"\n\
         [[service.backend]]\nname = \"page1\"\naddr = \"127.0.0.1:8998\"\n"
    );
    let refused = stage.daemon.reload_text(&format!("{all}{front}")).err().context("it was taken")?;
    stage.daemon.reload(&stage.services(&[1]))?;
    stage.wait_until_up(&[1])?;
    let vip = stage.vip(Kind::Tcp);
    let echoed = stage.house.client.run(|| echo::tcp(vip, b"hello")).context("a service that is new")?;
    ensure!(echoed.ends_with(b"hello"), "{echoed:?}");
    let refused = format!("{refused:#}");
    ensure!(refused.contains(TWICE) && refused.contains("nothing changed"), "{refused}");
    stage.who_answers(30).map(|_: Tally| ())
}

/// The backends have served unchecked; while the first probe is under way they go on serving.
fn check_added(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1, 1])?;
    let checked = config(&stage.services(&[1, 1]));
    let unchecked =
        checked.lines().map(|line| if line.starts_with("health") { "health = \"none\"" } else { line });
    let unchecked = unchecked.collect::<Vec<_>>().join("\n");
    stage.daemon.reload_text(&unchecked)?;
    stage.wait_for(Kind::Http, 0, "up")?;
    let hammer = Hammer::start(&stage.house.client, Kind::Http.vip(), 2)?;
    for _ in 0..10 {
        stage.daemon.reload_text(&checked)?;
        thread::sleep(Duration::from_millis(50));
        stage.daemon.reload_text(&unchecked)?;
    }
    let record = hammer.stop();
    ensure!(record.failures().next().is_none(), "a request failed: {:?}", record.failures().next());
    Ok(())
}

/// The programs of the first service of a family are loaded when a reload brings it: the verifier takes seconds, in which the
/// others are served and the daemon answers.
fn family_added(set: Set) -> Result<()> {
    const LOADING: &str = "loading the programs that the new configuration takes";
    let stage = Stage::build(set, &[1, 1])?;
    let other = set.families(Family::V6, Family::V6);
    let mut services = stage.services(&[1, 1]);
    services.extend(stage::services(other, &stage.house, &[1, 1]).into_iter().map(|service| {
        let name = format!("{}-v6", service.name);
        Service { name, ..service }
    }));
    let hammer = Hammer::start(&stage.house.client, Kind::Http.vip(), 2)?;
    let is_over = AtomicBool::new(false);
    let answered = thread::scope(|scope| {
        let asking = scope.spawn(|| -> Result<u32> {
            let mut answered = 0;
            while !is_over.load(Ordering::Relaxed) {
                let is_loading = stage.daemon.log().contains(LOADING);
                stage.daemon.status()?;
                answered += u32::from(is_loading && !is_over.load(Ordering::Relaxed));
            }
            Ok(answered)
        });
        let reloaded = stage.daemon.reload(&services);
        is_over.store(true, Ordering::Relaxed);
        reloaded?;
        asking.join().map_err(|_| anyhow!("whoever asked panicked"))?
    })?;
    ensure!(answered > 0, "nobody was answered while programs were loaded:\n{}", stage.daemon.log());
    stage.daemon.wait_for("web-v6", &name(0), "up")?;
    stage.daemon.wait_for("web-v6", &name(1), "up")?;
    stage.house.client.run(|| (0..30).try_for_each(|_| http::who(other.vip(Kind::Http)).map(drop)))?;
    let record = hammer.stop();
    ensure!(record.failures().next().is_none(), "a request failed: {:?}", record.failures().next());
    stage.daemon.reload(&stage.services(&[1, 1]))?;
    stage.daemon.reload(&services)?;
    let loads = stage.daemon.log().matches(LOADING).count();
    ensure!(loads == 1, "programs were loaded {loads} times");
    Ok(())
}

fn one_backend_two_services(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1, 1])?;
    stage.daemon.drain(&Stage::path(Kind::Http, 0))?;
    stage.wait_for(Kind::Http, 0, "draining")?;
    stage.wait_for(Kind::Tcp, 0, "up")?;
    let said = stage.daemon.try_drain(&Stage::path(Kind::Http, 0))?;
    ensure!(said.contains("was drained already"), "the second drain says: {said}");
    let said = stage.daemon.try_drain(&Stage::path(Kind::Http, 1))?;
    ensure!(said.contains("no backend of the service takes new flows now"), "the last drain says: {said}");
    Ok(())
}
