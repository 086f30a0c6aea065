//! What is exhausted, attacked or missing costs what it must, is counted under its reason, and comes back.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lb_common::abi::limits::SLOTS;
use serde_json::{Value, json};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{NATIVE, routed};
use crate::daemon::Mode;
use crate::packets::Stack;
use crate::runner::Case;
use crate::service::{Forward, Kind, Service, config};
use crate::stage::{Set, Stage, backend, counted, services, shares};
use crate::topology::{House, VIP};
use crate::traffic::download::Download;
use crate::traffic::http::Connection;
use crate::traffic::tally::Tally;
use crate::traffic::{TIMEOUT, http};

const CONNECTIONS: usize = 30;
/// How long exhaustion may outlast the connections that caused it: their two seconds of lingering, a look, and a busy machine.
const RECOVERY: Duration = Duration::from_secs(15);
/// Shorter than anybody's patience with a connection that is not answered.
const AT_ONCE: Duration = Duration::from_millis(900);
/// Sources of a flood.
const SOURCES: u32 = 5000;
/// Packets of a flood between two pauses: fewer than a veth's queue holds.
const BURST: u32 = 100;

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = super::cases(
        "limits",
        &NATIVE,
        &[
            ("without_a_backend_clients_are_refused_at_once_until_one_is_back", no_backend),
            ("a_flood_of_new_connections_stops_no_download", flood),
        ],
    );
    cases.extend(super::cases(
        "limits",
        &[routed(Forward::Nat, Mode::Native)],
        &[
            ("rare_events_are_logged_when_asked_for", packet_log),
            ("taken_ports_are_counted_and_come_back", ports_taken),
            ("a_full_flow_table_is_counted_keeps_what_it_has_and_recovers", table_full),
            ("the_flood_guard_is_told_of_while_it_is_closed", flood_guard),
            ("a_weight_that_has_no_room_changes_nothing_and_stands_in_the_way_of_nothing", no_slots),
        ],
    ));
    cases.extend(super::cases(
        "limits",
        &[routed(Forward::DsrIpip, Mode::Native)],
        &[("tracking_always_and_never_both_serve", tracking)],
    ));
    cases
}

fn no_backend(set: Set) -> Result<()> {
    let mut stage = Stage::build(set, &[1])?;
    stage.fleet.kill(0)?;
    stage.wait_for(Kind::Http, 0, "down")?;
    let before = counted(&stage.daemon.status()?, "unserved");
    let began = Instant::now();
    ensure!(ask(&stage).is_err(), "a dead backend answered");
    ensure!(began.elapsed() < AT_ONCE, "the client was kept waiting for {:?}", began.elapsed());
    let after = counted(&stage.daemon.status()?, "unserved");
    ensure!(after > before, "{before} refusals before, {after} after");
    ensure!(!stage.daemon.log().contains("no backend can take a packet"), "packets are logged unasked");
    stage.fleet.revive(&stage.house, 0)?;
    stage.wait_for(Kind::Http, 0, "up")?;
    stage.who_answers(CONNECTIONS).map(|_: Tally| ())
}

/// Other services have all slots but those of one that is as large as it would become.
fn no_slots(set: Set) -> Result<()> {
    const LARGEST: u32 = 1 << 16;
    let crowd = |house: &House| -> String {
        let large = |number| Service {
            name: format!("large{number}"),
            vip: format!("{VIP}:{}", 10_000 + number),
            ..Kind::Closed.service(set.forward, set.clients, &shares(house, set.backends, &[1, 1000]))
        };
        config(&(1..SLOTS / LARGEST).map(large).collect::<Vec<_>>())
    };
    let standard = |house: &House| config(&services(set, house, &[1, 1])[..1]);
    let mut stage = Stage::furnish(set, 2, |house| standard(house) + &crowd(house))?;
    (0..2).try_for_each(|index| stage.wait_for(Kind::Http, index, "up").map(drop))?;
    let (heavy, light) = (Stage::path(Kind::Http, 0), Stage::path(Kind::Http, 1));
    let order = |path: &str, weight| stage.daemon.attempt(&["weight", path, weight]);
    ensure!(order(&heavy, "2")?.status.success(), "a weight that has room was refused");
    let refused = order(&light, "1000")?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    stage.fleet.kill(0)?;
    stage.wait_for(Kind::Http, 0, "down")?;
    let slots =
        |status: &Value, index| backend(status, Kind::Http, index).map(|found| found["slots"].clone());
    let status = stage.daemon.status()?;
    ensure!(slots(&status, 0)? == 0, "a dead backend has slots: {status:#}");
    let weights =
        [0, 1].map(|index| backend(&status, Kind::Http, index).map(|found| found["weight"].clone()));
    ensure!(weights.into_iter().collect::<Result<Vec<_>>>()? == [json!(2), json!(1)], "{status:#}");
    ensure!(!refused.status.success() && told.contains("has weight 1, as before"), "{told}");
    stage.who_answers(CONNECTIONS).map(|_: Tally| ())
}

fn packet_log(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1])?;
    let text = format!("log_packets = true\n{}", config(&stage.services(&[1])));
    let mut stage = stage.restart(&text)?;
    stage.fleet.kill(0)?;
    stage.wait_for(Kind::Http, 0, "down")?;
    ensure!(ask(&stage).is_err(), "a dead backend answered");
    let log = stage.daemon.wait_for_log("no backend can take a packet")?;
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).with_context(|| format!("the line {line}"))?;
    }
    Ok(())
}

/// A download goes on while thousands of sources begin connections that they never finish.
fn flood(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1, 1])?;
    let download = Download::start(&stage.house.client, Kind::Http.vip(), "/bytes/6000000")?;
    stage.house.client.run(|| send_syns(SOURCES))?;
    stage.who_answers(CONNECTIONS).map(|_: Tally| ())?;
    let expected = stage.directly("/bytes/6000000")?;
    ensure!(download.finish()? == expected, "the download has other bytes");
    let status = stage.daemon.status()?;
    let reason = if set.forward == Forward::Nat { "nat_opened" } else { "settled" };
    let packets = counted(&status, reason);
    // A busy machine loses some on the way to the balancer.
    ensure!(packets >= u64::from(SOURCES) / 2, "{packets} packets {reason}: {status:#}");
    let flows = status["flows"].as_u64().context("flows")?;
    ensure!(set.forward == Forward::Nat || flows == 0, "a stateless mode has {flows} flows");
    Ok(())
}

/// More connections begin than may be recorded, until the status says so; then they end, and it says that, too.
fn flood_guard(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1])?;
    let text = format!("limits = {{ new_flows = 100 }}\n{}", config(&stage.services(&[1])));
    let stage = stage.restart(&text)?;
    let guard = || -> Result<Value> { Ok(stage.daemon.status()?["flood_guard"].clone()) };
    ensure!(guard()? == json!({ "new_flows": 100, "closed": false, "held_back": 0 }), "{:#}", guard()?);
    let began = Instant::now();
    while guard()?["closed"] != true {
        ensure!(began.elapsed() < RECOVERY, "a flood goes unnoticed: {:#}", guard()?);
        stage.house.client.run(|| send_syns(SOURCES / 10))?;
    }
    let over = |status: &Value| status["flood_guard"]["closed"] == false;
    stage.wait_until("the guard opens again", over)?;
    ensure!(guard()?["held_back"].as_u64() > Some(0), "{:#}", guard()?);
    // Two entries each, all by one CPU in the worst case: fewer than its share. The backend has had its part of the flood, and has
    // to get over that, too.
    let began = Instant::now();
    loop {
        match stage.who_answers(10) {
            Err(_) if began.elapsed() < RECOVERY => {}
            ended => return ended.map(|_: Tally| ()),
        }
    }
}

fn send_syns(sources: u32) -> Result<()> {
    let raw = Protocol::from(libc::IPPROTO_RAW);
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(raw)).context("a raw socket")?;
    let vip = SockAddr::from(Kind::Http.vip());
    for number in 0..sources {
        let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number);
        let syn = Stack::tcp((source.octets(), 1024), (VIP.octets(), Kind::Http.port()), 0x02, b"");
        socket.send_to(&syn.ip_bytes(), &vip).context("sending a SYN")?;
        if number % BURST == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

fn ports_taken(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1])?;
    let text = format!("nat = {{ ports = \"2000-2031\" }}\n{}", config(&stage.services(&[1])));
    let stage = stage.restart(&text)?;
    exhaust(&stage, 60, "ports_taken")
}

fn table_full(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1])?;
    let text = format!("limits = {{ flows = 1024 }}\n{}", config(&stage.services(&[1])));
    let stage = stage.restart(&text)?;
    exhaust(&stage, 700, "table_full")
}

/// Opens connections until there is no room for more. Those that are open go on; when they end, there is room again.
fn exhaust(stage: &Stage, connections: usize, reason: &str) -> Result<()> {
    let mut open = stage.house.client.run(|| Ok(hold(Kind::Http.vip(), connections)))?;
    let drops = counted(&stage.daemon.status()?, reason);
    ensure!(drops > 0, "no packet {reason} with {} connections open", open.len());
    ensure!(open.len() < connections, "all {connections} connections were opened");
    let first = open.first_mut().context("a connection")?;
    ensure!(first.get("/").context("an open connection")?.head.status == 200, "an open connection is broken");
    drop(open);
    let freed = Instant::now();
    // All ten: one may find the first room there is, while the rest is still lingering.
    while stage.who_answers(10).map(|_: Tally| ()).is_err() {
        ensure!(freed.elapsed() < RECOVERY, "no ten connections {RECOVERY:?} after the others ended");
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// As many connections as can be had of `wanted`; a few refused ones end the attempt.
fn hold(server: SocketAddr, wanted: usize) -> Vec<Connection> {
    let mut refused = 0;
    let attempts = (0..wanted).map_while(|_| {
        let patience = TIMEOUT / 5;
        match TcpStream::connect_timeout(&server, patience) {
            Ok(probe) => Some(Some(probe)),
            Err(_) if refused < 3 => {
                refused += 1;
                Some(None)
            }
            Err(_) => None,
        }
    });
    attempts.flatten().filter_map(|stream| Connection::over(stream, server).ok()).collect()
}

fn tracking(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1, 1])?;
    let text = config(&stage.services(&[1, 1]));
    for (word, tracked) in [("always", true), ("never", false)] {
        let text = text.replace("forward = ", &format!("tracking = \"{word}\"\nforward = "));
        stage.daemon.reload_text(&text)?;
        let before = counted(&stage.daemon.status()?, "opened");
        stage.who_answers(CONNECTIONS).map(|_: Tally| ())?;
        let opened = counted(&stage.daemon.status()?, "opened") - before;
        let expected = if tracked { CONNECTIONS as u64 } else { 0 };
        ensure!(opened == expected, "tracking = {word:?} recorded {opened} flows");
    }
    Ok(())
}

/// One request on a connection of its own.
fn ask(stage: &Stage) -> Result<String> {
    stage.house.client.run(|| http::who(Kind::Http.vip()))
}
