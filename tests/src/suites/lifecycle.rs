//! The daemon comes as it was told to, counts what it does and goes without a trace.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Claim, GENERIC, NATIVE, TC, routed};
use crate::daemon::Mode;
use crate::net::xdp::{self, Attached};
use crate::runner::Case;
use crate::service::{Forward, Kind};
use crate::stage::{Set, Stage, service};
use crate::traffic::echo;
use crate::traffic::tally::Tally;

/// Where pins would be.
const BPFFS: &str = "/sys/fs/bpf";
const CONNECTIONS: usize = 50;

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    let sets: Vec<Set> =
        NATIVE.into_iter().chain(GENERIC).chain([TC[0], routed(Forward::DsrIpip, Mode::Clsact)]).collect();
    let auto = [routed(Forward::Nat, Mode::Auto)];
    let attached: Claim = ("the_program_is_attached_as_asked_and_the_status_says_so", attached_as_asked);
    let mut cases = super::cases("lifecycle", &auto, &[attached]);
    cases.extend(super::cases(
        "lifecycle",
        &sets,
        &[
            attached,
            ("sigterm_leaves_no_program_and_no_pin", sigterm_leaves_nothing),
            ("the_counters_of_backends_add_up_to_their_service", counters_add_up),
            ("every_verdict_has_its_reasons_in_the_status", reasons_are_told),
            ("the_status_says_how_services_forward", forwarding_is_told),
        ],
    ));
    cases
}

fn attached_as_asked(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1])?;
    let wanted = match set.mode {
        // A veth can.
        Mode::Auto | Mode::Native => Attached::Native,
        Mode::Generic => Attached::Generic,
        Mode::Tc => Attached::Tc,
        Mode::Clsact => Attached::Clsact,
    };
    let status = stage.daemon.status()?;
    for link in &stage.house.interfaces {
        let found = xdp::attached(&stage.house.balancer, link)?;
        ensure!(found == Some(wanted), "{link} has {found:?}, not {wanted:?}");
        let told = list(&status, "interfaces")?
            .iter()
            .any(|one| one["name"] == **link && one["mode"] == wanted.word());
        ensure!(told, "the status does not tell of {link}: {status:#}");
    }
    Ok(())
}

fn sigterm_leaves_nothing(set: Set) -> Result<()> {
    let before = pins(Path::new(BPFFS));
    let Stage { daemon, house, .. } = Stage::build(set, &[1])?;
    let config = daemon.config_path();
    daemon.stop()?;
    for link in &house.interfaces {
        let left = xdp::attached(&house.balancer, link)?;
        ensure!(left.is_none(), "{link} still has a program, {left:?}");
    }
    let left: Vec<PathBuf> = pins(Path::new(BPFFS)).difference(&before).cloned().collect();
    ensure!(left.is_empty(), "pins are left: {left:?}");
    ensure!(!config.exists(), "{} is left", config.display());
    Ok(())
}

fn counters_add_up(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[3, 2, 1])?;
    let _: Tally = stage.who_answers(CONNECTIONS)?;
    let status = stage.daemon.status()?;
    let web = service(&status, Kind::Http)?;
    for counter in ["slots", "packets", "bytes", "new_flows", "reply_packets", "reply_bytes"] {
        let parts =
            list(web, "backends")?.iter().map(|backend| number(backend, counter)).sum::<Result<u64>>()?;
        ensure!(parts == number(web, counter)?, "{counter} of the backends are {parts}: {web:#}");
    }
    let flows = number(web, "new_flows")?;
    ensure!(flows == CONNECTIONS as u64, "{flows} new flows after {CONNECTIONS} connections");
    // A connection takes at least SYN, ACK, the request and FIN.
    ensure!(number(web, "packets")? >= 4 * flows, "packets of {web:#}");
    let replied = number(web, "reply_packets")? > 0;
    ensure!(replied == (set.forward == Forward::Nat), "only NAT sees replies: {web:#}");
    Ok(())
}

fn reasons_are_told(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1])?;
    let _: Tally = stage.who_answers(CONNECTIONS)?;
    stage.house.client.run(|| Ok(echo::udp(Kind::Udp.vip(), b"hello")?))?;
    let status = stage.daemon.status()?;
    let reasons = list(&status, "reasons")?;
    let verdicts: BTreeSet<&str> = reasons.iter().filter_map(|reason| reason["verdict"].as_str()).collect();
    ensure!(verdicts == BTreeSet::from(["drop", "forward", "pass"]), "verdicts {verdicts:?}");
    let of = |verdict: &'static str| reasons.iter().filter(move |one| one["verdict"] == verdict);
    let packets = |verdict| of(verdict).map(|one| number(one, "packets")).sum::<Result<u64>>();
    let forwarded = packets("forward")?;
    ensure!(forwarded >= 4 * CONNECTIONS as u64, "{forwarded} packets forwarded: {status:#}");
    let dropped = packets("drop")?;
    ensure!(dropped == 0, "{dropped} healthy packets were dropped: {status:#}");
    Ok(())
}

fn forwarding_is_told(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1])?;
    let status = stage.daemon.status()?;
    let web = service(&status, Kind::Http)?;
    let told = ["forward", "select", "tracking"].map(|key| web[key].as_str().unwrap_or_default());
    ensure!(told == [&set.forward.to_string(), "maglev", "auto"], "{told:?}: {web:#}");
    ensure!(web["listener"].is_null(), "nothing of it ends here: {web:#}");
    ensure!(list(web, "backends")?[0]["connections"].is_null(), "nobody counts connections: {web:#}");
    let guard = &status["flood_guard"];
    ensure!(guard["new_flows"] == 0 && guard["closed"] == false, "no guard is on: {guard:#}");
    Ok(())
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value[key].as_array().with_context(|| format!("no list {key} in {value:#}"))
}

fn number(value: &Value, key: &str) -> Result<u64> {
    value[key].as_u64().with_context(|| format!("no number {key} in {value:#}"))
}

/// All entries below `folder`.
fn pins(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| pins(&path).into_iter().chain([path])).collect()
}
