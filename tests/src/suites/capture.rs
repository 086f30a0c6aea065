//! `lb-userspace capture` shows what became of packets, and only those that were asked for.

use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::{Claim, NEEDS, routed};
use crate::capture::{Capture, Shown};
use crate::daemon::Mode;
use crate::family::Family;
use crate::fleet::name;
use crate::runner::Case;
use crate::service::{Forward, Kind, config};
use crate::skip::Need;
use crate::stage::{Set, Stage};
use crate::topology::VIP;
use crate::traffic::{echo, http};

const ON: &str = "[capture]\nenabled = true\n";
/// Connections of a client that does not hurry.
const CONNECTIONS: usize = 5;
/// How long packets take to be shown, far more than they need.
const SETTLE: Duration = Duration::from_millis(500);
/// Packets a second, over all CPUs; few enough to be above it by a thousand datagrams.
const RATE: u64 = 20;
const DATAGRAMS: u16 = 1000;
/// Bytes of the shortest captures.
const SNAP: usize = 64;

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    let ipip = routed(Forward::DsrIpip, Mode::Native);
    let modes = [
        routed(Forward::Nat, Mode::Native),
        routed(Forward::Dnat, Mode::Generic),
        ipip,
        ipip.families(Family::V6, Family::V6),
        routed(Forward::DsrGue, Mode::Generic),
        routed(Forward::Nat, Mode::Tc),
    ];
    let of_service: Claim = ("a_service_s_packets_are_shown_with_their_backend", of_service);
    let mut cases = super::cases("capture", &modes, &[of_service]);
    cases.extend(super::cases(
        "capture",
        &[ipip],
        &[
            ("without_the_switch_the_lines_to_add_are_told", switched_off),
            ("a_refusal_is_shown_with_its_reason", refused),
            ("a_drop_of_the_guard_is_shown_with_its_reason", dropped_by_the_guard),
            ("trouble_is_shown_and_logged_where_both_are_asked_for", shown_and_logged),
            ("ends_are_those_inside_an_outer_header_too", by_ends),
            ("packets_above_the_rate_are_counted_and_not_shown", rate),
            ("one_follows_another_and_a_killed_one_leaves_nothing", one_after_another),
            ("a_stopping_daemon_ends_it", daemon_stops),
        ],
    ));
    let read: Claim = ("tshark_reads_interfaces_and_comments", tshark);
    let needs = [&NEEDS[..], &[Need::Command("tshark")]].concat();
    cases.push(Case::new(format!("capture::{ipip}::{}", read.0), move || (read.1)(ipip)).needs(&needs));
    cases
}

/// A stage whose daemon may capture; `more` goes to the section that says so.
fn stage(set: Set, more: &str) -> Result<Stage> {
    let stage = Stage::build(set, &[1])?;
    let text = config(&stage.services(&[1]));
    let stage = stage.restart(&format!("{text}\n{ON}{more}"))?;
    stage.wait_until_up(&[1])?;
    Ok(stage)
}

/// One request to the web service on a connection of its own.
fn ask(stage: &Stage) -> Result<String> {
    stage.house.client.run(|| http::who(stage.vip(Kind::Http)))
}

/// Traffic of two services.
fn mixed(stage: &Stage) -> Result<()> {
    stage.who_answers(CONNECTIONS)?;
    stage.house.client.run(|| echo::tcp(stage.vip(Kind::Tcp), b"other").map(drop))
}

fn switched_off(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1])?;
    let refused = stage.daemon.attempt(&["capture", "--count", "1"])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && said.contains(ON), "it said: {said}");
    Ok(())
}

fn of_service(set: Set) -> Result<()> {
    let stage = stage(set, &format!("snap = {SNAP}\n"))?;
    let mut capture = Capture::start(&stage.daemon, &["--service", Kind::Http.name(), "--for", "2s"])?;
    mixed(&stage)?;
    let shown = capture.finish()?;
    let to_backend = |packet: &&Shown| packet.interface == "client0" && packet.says("verdict=forward");
    // A SYN, its answer's acknowledgement, a request and the end, of each connection.
    let forwarded = shown.iter().filter(to_backend).count();
    ensure!(forwarded >= 4 * CONNECTIONS, "{forwarded} packets to the backend: {shown:#?}");
    for packet in &shown {
        ensure!(packet.says("service=web"), "a packet of another service: {packet:?}");
        ensure!(
            packet.bytes.len() == packet.length.min(SNAP),
            "{} bytes kept: {packet:?}",
            packet.bytes.len()
        );
    }
    let named = shown.iter().filter(to_backend).all(|packet| packet.says(&format!("backend={}", name(0))));
    ensure!(named, "packets without their backend: {shown:#?}");
    if !set.forward.is_direct() {
        ensure!(shown.iter().any(|packet| packet.interface == "backend1"), "no reply: {shown:#?}");
    }
    recent(&shown)
}

/// Whether the packets' times are those of this minute, one after the other on each interface.
fn recent(shown: &[Shown]) -> Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    for packet in shown {
        let age = now.checked_sub(Duration::from_nanos(packet.at_ns)).context("a packet of the future")?;
        ensure!(age < Duration::from_mins(1), "a packet is {age:?} old");
    }
    Ok(())
}

fn refused(set: Set) -> Result<()> {
    let mut stage = stage(set, "")?;
    stage.fleet.kill(0)?;
    stage.wait_for(Kind::Http, 0, "down")?;
    let wanted = ["--service", Kind::Http.name(), "--reason", "unserved", "--count", "1"];
    let mut capture = Capture::start(&stage.daemon, &wanted)?;
    ensure!(ask(&stage).is_err(), "a dead backend answered");
    let shown = capture.finish()?;
    ensure!(shown.len() == 1, "{} packets, and one was asked for", shown.len());
    ensure!(
        shown[0].comment == "verdict=forward reason=unserved service=web out=client0",
        "{:?}",
        shown[0].comment
    );
    ensure!(shown[0].interface == "client0" && shown[0].holds(&VIP.octets()), "{:?}", shown[0]);
    Ok(())
}

fn dropped_by_the_guard(set: Set) -> Result<()> {
    let stage = stage(set, "[guard]\n")?;
    let client = stage.house.client_addresses.of(set.clients);
    let output = stage.daemon.attempt(&["block", &client.to_string(), "--for", "1m"])?;
    ensure!(output.status.success(), "the block was refused: {output:?}");
    let mut capture = Capture::start(&stage.daemon, &["--reason", "blocked", "--count", "1"])?;
    ensure!(ask(&stage).is_err(), "a blocked client was answered");
    let shown = capture.finish()?;
    ensure!(shown[0].comment == "verdict=drop reason=blocked service=web", "{:?}", shown[0].comment);
    ensure!(shown[0].interface == "client0" && shown[0].holds(&VIP.octets()), "{:?}", shown[0]);
    Ok(())
}

fn shown_and_logged(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1])?;
    let text = format!("log_packets = true\n{}\n{ON}", config(&stage.services(&[1])));
    let mut stage = stage.restart(&text)?;
    stage.fleet.kill(0)?;
    stage.wait_for(Kind::Http, 0, "down")?;
    let mut capture = Capture::start(&stage.daemon, &["--reason", "unserved", "--count", "1"])?;
    ensure!(ask(&stage).is_err(), "a dead backend answered");
    ensure!(capture.finish()?.len() == 1, "nothing was shown");
    let told = |log: &str| log.contains("no backend can take a packet");
    stage.wait_until("the packet is logged", |_| told(&stage.daemon.log())).map(drop)
}

fn by_ends(set: Set) -> Result<()> {
    let stage = stage(set, "")?;
    let to = stage.vip(Kind::Http).to_string();
    let from = stage.house.client_addresses.of(Family::V4).to_string();
    let mut capture = Capture::start(&stage.daemon, &["--from", &from, "--to", &to, "--for", "2s"])?;
    mixed(&stage)?;
    let shown = capture.finish()?;
    ensure!(shown.len() >= 4 * CONNECTIONS, "{} packets", shown.len());
    let backend = stage.house.backends[0].addresses.v4;
    for packet in &shown {
        ensure!(packet.says("service=web") && packet.holds(&backend.octets()), "{packet:?}");
    }
    let mut nobody = Capture::start(&stage.daemon, &["--from", "192.0.2.77", "--for", "1s"])?;
    mixed(&stage)?;
    let stranger = nobody.finish()?;
    ensure!(stranger.is_empty() && nobody.totals()? == (0, 0), "a stranger's packets: {stranger:?}");
    Ok(())
}

fn rate(set: Set) -> Result<()> {
    let stage = stage(set, &format!("rate = {RATE}\n"))?;
    let service = Kind::Udp.name();
    let mut capture = Capture::start(&stage.daemon, &["--service", service, "--for", "2s"])?;
    let answered = stage.house.client.run(|| {
        let socket = echo::udp_socket(stage.vip(Kind::Udp))?;
        Ok((0..DATAGRAMS).filter(|number| socket.send(&number.to_be_bytes()).is_ok()).count())
    })?;
    let shown = u64::try_from(capture.finish()?.len())?;
    let (wanted, missed) = capture.totals()?;
    // Seconds that a capture of two may touch, and a share that is rounded up for each CPU.
    let cpus = u64::try_from(thread::available_parallelism()?.get())?;
    let most = 3 * (RATE + cpus);
    ensure!(shown > 0 && shown <= most, "{shown} packets at {RATE} a second");
    ensure!(wanted > 2 * most, "{wanted} of {answered} datagrams came by");
    ensure!(wanted - missed == shown, "{wanted} came by, {missed} were missed, {shown} were shown");
    Ok(())
}

fn one_after_another(set: Set) -> Result<()> {
    let stage = stage(set, "")?;
    let first = Capture::start(&stage.daemon, &["--service", Kind::Http.name()])?;
    let refused = stage.daemon.attempt(&["capture", "--count", "1"])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && said.contains("another capture goes on"), "it said: {said}");
    ask(&stage)?;
    thread::sleep(SETTLE);
    let until_then = first.kill()?;
    ensure!(until_then.len() >= 4, "a killed capture left {} packets", until_then.len());
    ask(&stage)?;
    let mut second = Capture::start(&stage.daemon, &["--service", Kind::Tcp.name(), "--count", "3"])?;
    mixed(&stage)?;
    let shown = second.finish()?;
    let others = shown.iter().filter(|packet| !packet.says("service=echo")).count();
    ensure!((shown.len(), others) == (3, 0), "{shown:#?}");
    Ok(())
}

fn daemon_stops(set: Set) -> Result<()> {
    let mut stage = stage(set, "")?;
    let mut capture = Capture::start(&stage.daemon, &[])?;
    stage.daemon.signal(Signal::SIGTERM)?;
    let ended = stage.daemon.wait(Duration::from_secs(10))?;
    ensure!(ended.success(), "the daemon gave {ended}: {}", stage.daemon.log());
    ensure!(!capture.wait()?.success(), "a capture that was broken off says that all is well");
    ensure!(capture.said().contains("broke off"), "it said: {}", capture.said());
    capture.packets().map(drop)
}

fn tshark(set: Set) -> Result<()> {
    let stage = stage(set, "")?;
    let mut capture = Capture::start(&stage.daemon, &["--service", Kind::Http.name(), "--for", "1s"])?;
    ask(&stage)?;
    let shown = capture.finish()?;
    let mut command = Command::new("tshark");
    command.arg("-r").arg(capture.file()).args(["-T", "fields"]);
    command.args(
        ["frame.interface_name", "frame.comment", "frame.len"].into_iter().flat_map(|field| ["-e", field]),
    );
    let output = command.output().context("running tshark")?;
    ensure!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
    let expected = shown.iter().map(|one| format!("{}\t{}\t{}\n", one.interface, one.comment, one.length));
    let (read, expected) = (String::from_utf8(output.stdout)?, expected.collect::<String>());
    ensure!(read == expected && !shown.is_empty(), "tshark read:\n{read}instead of\n{expected}");
    Ok(())
}
