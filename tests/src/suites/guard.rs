//! The guard in front of real services: each of its parts stops what it names and nothing else.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

use super::NATIVE;
use crate::packets::Stack as Packet;
use crate::runner::Case;
use crate::service::{Kind, config};
use crate::stage::{Set, Stage, counted, services};
use crate::sweep;
use crate::topology::{LINK, VIP};

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    super::cases(
        "guard",
        &NATIVE,
        &[
            ("each_part_stops_what_it_names_and_nothing_else", each_part),
            ("a_list_is_replaced_by_a_reload_and_a_bad_one_changes_nothing", lists),
            ("a_block_ends_on_time_and_by_order", blocks),
            ("a_source_that_floods_is_bounded_and_others_are_served", flood),
            ("a_service_without_a_guard_is_left_alone", one_service_alone),
            ("without_a_guard_there_is_none_to_order", no_guard),
        ],
    )
}

/// Further addresses of the client's.
const ORDINARY: IpAddr = address(1);
const DENIED: IpAddr = address(2);
const ALLOWED: IpAddr = address(3);

const fn address(host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 50, 0, host))
}

const DENY: &str = "# a test\n10.50.0.2/31 ; two\n";
const ALLOW: &str = "10.50.0.3\n";

/// Time that a connection has to be made: less than TCP waits before it asks again.
const PATIENCE: Duration = Duration::from_millis(800);

/// A stage, and the folder of its lists.
struct Fort {
    stage: Stage,
    folder: tempfile::TempDir,
}

impl Fort {
    /// With these keys in `[guard]`, and lists.
    fn build(set: Set, keys: &str) -> Result<Self> {
        let folder = sweep::scratch_directory()?;
        fs::write(folder.path().join("deny"), DENY)?;
        fs::write(folder.path().join("allow"), ALLOW)?;
        let section = section(folder.path(), keys);
        let stage =
            Stage::furnish(set, 1, |house| format!("{}\n{section}", config(&services(set, house, &[1]))))?;
        stage.wait_until_up(&[1])?;
        let house = &stage.house;
        house.balancer.route(address(0), 24, house.client_addresses.v4)?;
        [ORDINARY, DENIED, ALLOWED].iter().try_for_each(|source| house.client.address(LINK, *source, 32))?;
        house.client.settle()?;
        Ok(Self { stage, folder })
    }

    fn write(&self, list: &str, text: &str) -> Result<()> {
        fs::write(self.folder.path().join(list), text).context("writing a list")
    }

    /// Whether a connection from an address is made.
    fn is_served(&self, source: IpAddr) -> Result<bool> {
        self.reaches(source, self.stage.vip(Kind::Http))
    }

    fn reaches(&self, source: IpAddr, service: SocketAddr) -> Result<bool> {
        self.stage.house.client.run(|| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
            Ok(socket.connect_timeout(&service.into(), PATIENCE).is_ok())
        })
    }

    /// Sends packets of the client's making, whatever they say of their source.
    fn forge(&self, packets: &[Vec<u8>]) -> Result<()> {
        let service = SocketAddr::new(VIP.into(), 0);
        self.stage.house.client.run(|| {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
            packets.iter().try_for_each(|packet| socket.send_to(packet, &service.into()).map(drop))?;
            Ok(())
        })
    }

    /// Waits until so many packets were dropped for a reason.
    fn wait_for(&self, reason: &str, packets: u64) -> Result<()> {
        let are_counted = |status: &Value| counted(status, reason) == packets;
        self.stage.wait_until(&format!("{packets} packets counted as {reason}"), are_counted).map(drop)
    }

    fn order(&self, arguments: &[&str]) -> Result<(bool, String)> {
        let output = self.stage.daemon.attempt(arguments)?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
    }
}

fn section(folder: &Path, keys: &str) -> String {
    let list = |name: &str| folder.join(name).display().to_string();
    format!("[guard]\ndeny = \"{}\"\nallow = \"{}\"\n{keys}\n", list("deny"), list("allow"))
}

const SYN: u8 = 2;
/// Packets of each kind.
const EACH: u16 = 10;

fn forged(source: [u8; 4], first_port: u16, flags: u8) -> Vec<Vec<u8>> {
    let service = (VIP.octets(), Kind::Http.port());
    let port = |number| if first_port == 0 { 0 } else { first_port + number };
    (0..EACH).map(|number| Packet::tcp((source, port(number)), service, flags, b"").ip_bytes()).collect()
}

fn each_part(set: Set) -> Result<()> {
    let fort = Fort::build(set, "")?;
    let kinds = [
        ("denied", forged([10, 50, 0, 2], 2000, SYN)),
        ("martian", forged([127, 0, 0, 1], 2000, SYN)),
        ("martian", forged([224, 0, 0, 1], 2000, SYN)),
        ("land", forged(VIP.octets(), 2000, SYN)),
        ("bad_flags", forged([10, 50, 0, 1], 2000, 0)),
        ("bad_flags", forged([10, 50, 0, 1], 2000, 3)),
        ("port_zero", forged([10, 50, 0, 1], 0, SYN)),
    ];
    kinds.iter().try_for_each(|(_, packets)| fort.forge(packets))?;
    for (reason, times) in [("denied", 1), ("martian", 2), ("land", 1), ("bad_flags", 2), ("port_zero", 1)] {
        fort.wait_for(reason, times * u64::from(EACH))?;
    }
    ensure!(fort.is_served(ORDINARY)?, "an ordinary client was not served");
    ensure!(fort.is_served(ALLOWED)?, "an allowed client was not served");
    ensure!(!fort.is_served(DENIED)?, "a denied client was served");
    fort.wait_for("martian", 2 * u64::from(EACH))?;
    fort.stage.who_answers(30).map(drop)
}

fn lists(set: Set) -> Result<()> {
    let fort = Fort::build(set, "")?;
    ensure!(!fort.is_served(DENIED)? && fort.is_served(ORDINARY)?, "the first list is not in force");
    fort.write("deny", "10.50.0.1\n")?;
    ensure!(!fort.is_served(DENIED)?, "a list is in force before the reload");
    fort.order(&["reload"])?;
    ensure!(fort.is_served(DENIED)? && !fort.is_served(ORDINARY)?, "the second list is not in force");
    fort.write("deny", "# fine\n10.50.0.2\nten fifty\n")?;
    let (done, said) = fort.order(&["reload"])?;
    ensure!(!done && said.contains("deny:3: `ten fifty` is no prefix"), "a bad list was taken: {said}");
    ensure!(fort.is_served(DENIED)? && !fort.is_served(ORDINARY)?, "a bad list changed something");
    fort.write("deny", DENY)?;
    fort.order(&["reload"])?;
    ensure!(!fort.is_served(DENIED)? && fort.is_served(ORDINARY)?, "the first list is not in force again");
    Ok(())
}

/// How late a connection may find that a block is over, with the time that asking takes.
const LATE: Duration = Duration::from_millis(1500);

fn blocks(set: Set) -> Result<()> {
    let fort = Fort::build(set, "")?;
    let source = ORDINARY.to_string();
    let lasting = Duration::from_secs(3);
    let (done, said) = fort.order(&["block", &source, "--for", "3s", "--reason", "a test"])?;
    ensure!(done, "the block was refused: {said}");
    let began = Instant::now();
    let (_, listed) = fort.order(&["blocks"])?;
    ensure!(listed.contains(&source) && listed.contains("a test"), "the block is not listed: {listed}");
    ensure!(!fort.is_served(ORDINARY)?, "a blocked source was served");
    ensure!(fort.is_served(ALLOWED)?, "another source was not served");
    while !fort.is_served(ORDINARY)? {
        ensure!(began.elapsed() < lasting + LATE, "the block is not over after {:?}", began.elapsed());
    }
    ensure!(
        began.elapsed() + Duration::from_millis(50) > lasting,
        "the block was over after {:?}",
        began.elapsed()
    );
    fort.stage.wait_until("no block is left", |status| status["guard"]["blocks"] == 0)?;
    fort.order(&["block", &source, "--for", "1h"])?;
    ensure!(!fort.is_served(ORDINARY)?, "a source that was blocked again was served");
    fort.order(&["unblock", &source])?;
    ensure!(fort.is_served(ORDINARY)?, "a source was not served after the block was taken back");
    let (done, said) = fort.order(&["block", &ALLOWED.to_string(), "--for", "1h"])?;
    ensure!(
        !done && said.contains("what is allowed is never blocked"),
        "an allowed source was blocked: {said}"
    );
    Ok(())
}

fn flood(set: Set) -> Result<()> {
    let fort = Fort::build(set, "source_flows = 20")?;
    let flood: Vec<_> =
        (0..30u16).flat_map(|round| forged([10, 50, 0, 99], 3000 + round * EACH, SYN)).collect();
    fort.forge(&flood)?;
    let total = u64::try_from(flood.len())?;
    let is_bounded = |status: &Value| {
        let stopped = counted(status, "source_new_flows");
        // What it may do at once, and what came back while it was sent.
        stopped + 40 >= total && stopped <= total - 20
    };
    fort.stage.wait_until("most of a flood is stopped", is_bounded)?;
    for _ in 0..10 {
        ensure!(fort.is_served(ORDINARY)?, "a good client was not served during a flood");
    }
    Ok(())
}

fn one_service_alone(set: Set) -> Result<()> {
    let fort = Fort::build(set, "")?;
    let house = &fort.stage.house;
    let guarded = services(set, house, &[1]);
    let alone = guarded.into_iter().map(|service| {
        if service.name == Kind::Tcp.name() { service.with("guard = \"none\"") } else { service }
    });
    let text = format!("{}\n{}", config(&alone.collect::<Vec<_>>()), section(fort.folder.path(), ""));
    fort.stage.daemon.reload_text(&text)?;
    ensure!(!fort.is_served(DENIED)?, "a denied client was served by a guarded service");
    ensure!(fort.reaches(DENIED, fort.stage.vip(Kind::Tcp))?, "a service without a guard was guarded");
    Ok(())
}

fn no_guard(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1])?;
    ensure!(stage.daemon.status()?["guard"].is_null(), "a guard was loaded unasked");
    let output = stage.daemon.attempt(&["block", "192.0.2.1", "--for", "1m"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && said.contains("no guard is loaded"), "the block was taken: {said}");
    stage.who_answers(10).map(drop)
}
