//! Crashes, rivals, signals at bad moments and rude visitors: the daemon survives what it can, and what it cannot leaves
//! no trace.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::routed;
use crate::daemon::{Daemon, Mode};
use crate::net::xdp;
use crate::patience;
use crate::runner::Case;
use crate::service::{Forward, Kind, config};
use crate::stage::{Set, Stage, services};
use crate::sweep;
use crate::topology::House;
use crate::traffic::hammer::Hammer;
use crate::traffic::tally::Tally;

const CONNECTIONS: usize = 30;
/// One more backend of the last service, beside the first one's host, where nobody is.
fn backend_at(host: u8) -> String {
    format!("\n  [[service.backend]]\n  name = \"nobody{host}\"\n  addr = \"10.20.1.{host}:15002\"\n")
}

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    let at_a_filter = super::cases(
        "crash",
        &[routed(Forward::Nat, Mode::Clsact)],
        &[(
            "a_filter_that_a_killed_daemon_leaves_lets_the_host_be_and_goes_with_the_next_start",
            killed_filter,
        )],
    );
    in_the_driver().into_iter().chain(at_a_filter).collect()
}

fn in_the_driver() -> Vec<Case> {
    super::cases(
        "crash",
        &[routed(Forward::Nat, Mode::Native)],
        &[
            ("a_killed_daemon_leaves_no_program_and_the_next_one_takes_over", killed),
            ("a_second_daemon_is_refused_and_the_first_serves_on", rivals),
            ("sigterm_during_the_start_ends_it_at_once", sigterm_during_the_start),
            ("sigterm_during_reloads_ends_cleanly", sigterm_during_reloads),
            ("silent_backends_do_not_hold_up_the_end", silent_backends_at_the_end),
            ("rude_visitors_of_the_control_socket_keep_nobody_waiting", rude_visitors),
            ("every_line_of_a_json_log_is_json", json_lines),
            ("a_log_that_nobody_takes_keeps_nobody_waiting", unread_log),
        ],
    )
}

fn killed(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1, 1])?;
    let text = config(&stage.services(&[1, 1]));
    let stage = stage.restart(&text)?;
    for link in &stage.house.interfaces {
        ensure!(xdp::attached(&stage.house.balancer, link)?.is_some(), "{link} has no program again");
    }
    stage.who_answers(CONNECTIONS).map(|_: Tally| ())?;
    let Stage { daemon, house, .. } = stage;
    daemon.signal(Signal::SIGKILL)?;
    drop(daemon);
    for link in &house.interfaces {
        ensure!(xdp::attached(&house.balancer, link)?.is_none(), "{link} kept a dead daemon's program");
    }
    Ok(())
}

/// A filter outlives its daemon; the guard's and the balancer's further programs do not.
fn killed_filter(set: Set) -> Result<()> {
    let stage =
        Stage::furnish(set, 1, |house| format!("{}\n[guard]\n", config(&services(set, house, &[1]))))?;
    stage.wait_until_up(&[1])?;
    let text = fs::read_to_string(stage.daemon.config_path())?;
    let Stage { mut daemon, house, .. } = stage;
    let (namespace, interfaces) = (&house.balancer, &house.interfaces);
    let mut rival = Daemon::launch(namespace, interfaces, Mode::Generic, &text)?;
    let status = rival.wait(Duration::from_secs(30))?;
    let said = rival.log();
    ensure!(!status.success() && said.contains("at TC by a filter of process"), "the rival says:\n{said}");
    host_answers(&house).context("while the daemon runs")?;
    daemon.signal(Signal::SIGKILL)?;
    daemon.wait(Duration::from_secs(5))?;
    host_answers(&house).context("after the daemon was killed")?;
    Daemon::start_with(namespace, interfaces, Mode::Generic, &text)?.stop()?;
    for link in interfaces {
        ensure!(xdp::attached(namespace, link)?.is_none(), "{link} kept the dead daemon's filter");
    }
    Ok(())
}

/// Whether a client is told by the balancer's host itself that a port of its own is closed.
fn host_answers(house: &House) -> Result<()> {
    const CLOSED: u16 = 9;
    let host = house.balancer.run(|| own_address(house.client_addresses.v4.into()))?;
    let refusal = house.client.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        Ok(socket.connect_timeout(&SocketAddr::new(host, CLOSED).into(), Duration::from_secs(2)).err())
    })?;
    let kind = refusal.as_ref().map(std::io::Error::kind);
    ensure!(kind == Some(ErrorKind::ConnectionRefused), "{host} answered {refusal:?}");
    Ok(())
}

/// The address of this host that another is talked to from.
fn own_address(other: IpAddr) -> Result<IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.connect((other, 9))?;
    Ok(socket.local_addr()?.ip())
}

/// One that wants the same socket, and one that wants the same interfaces only.
fn rivals(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1, 1])?;
    let text = config(&stage.services(&[1, 1]));
    let (namespace, interfaces) = (&stage.house.balancer, &stage.house.interfaces);
    let mut rival = Daemon::launch(namespace, interfaces, set.mode, &text)?;
    // It loads all its programs before it finds the interfaces taken.
    let status = rival.wait(Duration::from_secs(30))?;
    let said = rival.log();
    ensure!(!status.success() && said.contains("already runs an XDP program"), "the rival says:\n{said}");
    ensure!(said.contains("lb-userspace"), "the rival does not say whose program it is:\n{said}");
    ensure!(!rival.control_path().exists(), "the rival left its socket");
    let mut command = Command::new(crate::daemon::binary());
    command.arg("--control").arg(stage.daemon.control_path()).args(["--iface", &interfaces[0]]);
    let output = namespace.run(|| Ok(command.output()?))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && said.contains("another lb-userspace answers at"), "it says:\n{said}");
    stage.daemon.status()?;
    stage.who_answers(CONNECTIONS).map(|_: Tally| ())
}

/// A backend that nobody finds keeps the start waiting, but not its end.
fn sigterm_during_the_start(set: Set) -> Result<()> {
    let Stage { daemon, house, fleet, .. } = Stage::build(set, &[1])?;
    let text = fs::read_to_string(daemon.config_path())? + &backend_at(77);
    daemon.stop()?;
    let mut late = Daemon::launch(&house.balancer, &house.interfaces, set.mode, &text)?;
    thread::sleep(Duration::from_millis(500));
    let asked = Instant::now();
    late.signal(Signal::SIGTERM)?;
    let status = late.wait(Duration::from_secs(5))?;
    let (took, log) = (asked.elapsed(), late.log());
    ensure!(status.success(), "SIGTERM gave {status}:\n{log}");
    ensure!(!log.contains("\"ready\""), "it was ready before the signal, so nothing was tried:\n{log}");
    ensure!(took < Duration::from_millis(1400), "the end took {took:?}");
    drop(fleet);
    Ok(())
}

fn sigterm_during_reloads(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1, 1])?;
    let texts = [&[1, 1][..], &[1, 0]].map(|weights| config(&stage.services(weights)));
    let Stage { daemon, house, .. } = stage;
    for text in texts.iter().cycle().take(20) {
        fs::write(daemon.config_path(), text)?;
        daemon.signal(Signal::SIGHUP)?;
        thread::sleep(Duration::from_millis(2));
    }
    daemon.stop()?;
    for link in &house.interfaces {
        ensure!(xdp::attached(&house.balancer, link)?.is_none(), "{link} kept its program");
    }
    Ok(())
}

/// Probes wait for their time-out, ten seconds here; the daemon that ends does not wait for them.
fn silent_backends_at_the_end(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1])?;
    let slow = "health = { tcp = true, port = 9, interval = \"20s\", timeout = \"10s\" }";
    let checked = config(&stage.services(&[1])).replace("health = \"none\"", slow);
    let checked = (20..50).fold(checked, |text, host| text + &backend_at(host));
    stage.daemon.reload_text(&checked)?;
    thread::sleep(Duration::from_millis(300));
    let asked = Instant::now();
    stage.daemon.stop()?;
    let took = asked.elapsed();
    ensure!(took < Duration::from_secs(2), "the end took {took:?}");
    Ok(())
}

fn rude_visitors(set: Set) -> Result<()> {
    let stage = Stage::build(set, &[1, 1])?;
    let socket = stage.daemon.control_path();
    let idle: Vec<UnixStream> = (0..100).map(|_| UnixStream::connect(&socket)).collect::<Result<_, _>>()?;
    let mut half = UnixStream::connect(&socket)?;
    half.write_all(b"{\"command\":\"rel")?;
    let rows: [(&[u8], &str); 4] = [
        (b"\xff\xfe garbage\n", "not a request"),
        (b"{\"command\":\"dance\"}\n", "unknown variant `dance`"),
        (b"\n", "not a request"),
        (&[b'x'; 10_000], "longer than"),
    ];
    for (bytes, expected) in rows {
        let said = say(&socket, bytes)?;
        ensure!(said.contains("\"refused\"") && said.contains(expected), "{expected:?} is not in {said:?}");
    }
    let hammer = Hammer::start(&stage.house.client, Kind::Http.vip(), 2)?;
    thread::scope(|scope| {
        let visitors: Vec<_> = (0..20).map(|_| scope.spawn(|| stage.daemon.status().map(drop))).collect();
        visitors
            .into_iter()
            .try_for_each(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    let record = hammer.stop();
    ensure!(record.failures().next().is_none(), "a request failed: {:?}", record.failures().next());
    let said = stage.daemon.try_drain("wbe/web1").err().context("a drain of a stranger")?.to_string();
    ensure!(said.contains("no service `wbe`") && said.contains("web, echo"), "a stranger's drain: {said}");
    let said = stage.daemon.try_drain("web/web9").err().context("a drain of a stranger")?.to_string();
    ensure!(said.contains("no backend `web9`; it has: web1, web2"), "a stranger's drain: {said}");
    drop((idle, half));
    Ok(())
}

/// What the daemon answers to `bytes`.
fn say(socket: &std::path::Path, bytes: &[u8]) -> Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    // Refused half-way, the rest finds no reader.
    let _ = stream.write_all(bytes);
    let mut line = String::new();
    BufReader::new(&mut stream).read_line(&mut line).context("the answer")?;
    // Read to its end, whatever that is, so that the daemon has closed it.
    let _ = stream.shutdown(std::net::Shutdown::Both);
    let _ = stream.read(&mut [0; 16]);
    Ok(line)
}

/// Where standard error is a pipe that is full, and where its disk is.
fn unread_log(set: Set) -> Result<()> {
    let house = House::build(set.layout, 1)?;
    let (_reader, mut writer) = std::io::pipe()?;
    let room = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096))?;
    writer.write_all(&vec![b'x'; usize::try_from(room)?])?;
    let disk = fs::OpenOptions::new().write(true).open("/dev/full")?;
    serves_unheard(&house, Stdio::from(writer)).context("with a full pipe")?;
    serves_unheard(&house, Stdio::from(disk)).context("with a full disk")
}

fn serves_unheard(house: &House, stderr: Stdio) -> Result<()> {
    let scratch = sweep::scratch_directory()?;
    let (socket, file) = (scratch.path().join("control.sock"), scratch.path().join("lb.toml"));
    fs::write(&file, "")?;
    let mut command = Command::new(crate::daemon::binary());
    command.arg("--control").arg(&socket).arg("--config").arg(&file).args(["--iface", &house.interfaces[0]]);
    command.stdout(Stdio::null()).stderr(stderr);
    let mut daemon = house.balancer.spawn(command)?;
    let patience = patience::of(Duration::from_secs(30));
    let answers = || {
        socket.exists()
            && say(&socket, b"{\"command\":\"status\"}\n").is_ok_and(|said| said.contains("\"status\""))
    };
    let deadline = Instant::now() + patience;
    while !answers() {
        ensure!(daemon.ended()?.is_none(), "the daemon ended");
        ensure!(Instant::now() < deadline, "the daemon does not answer");
        thread::sleep(Duration::from_millis(50));
    }
    for _ in 0..20 {
        daemon.signal(Signal::SIGHUP)?;
        thread::sleep(Duration::from_millis(10));
    }
    ensure!(answers(), "the daemon does not answer after reloads");
    daemon.signal(Signal::SIGTERM)?;
    let status = daemon.wait(Duration::from_secs(5))?;
    ensure!(status.success(), "SIGTERM gave {status}");
    Ok(())
}

fn json_lines(set: Set) -> Result<()> {
    let mut stage = Stage::build(set, &[1, 1])?;
    stage.fleet.kill(1)?;
    stage.wait_for(Kind::Http, 1, "down")?;
    ensure!(stage.daemon.reload_text("vip = 1\nforwad = 2\n").is_err(), "a bad config was taken");
    let log = stage.daemon.wait_for_log("forwad")?;
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).with_context(|| format!("the line {line}"))?;
        ensure!(line["level"].is_string() && line["message"].is_string(), "no level or message in {line}");
    }
    let told = |words: &str| log.lines().any(|line| line.contains(words));
    ensure!(
        told("\"service\":\"web\",\"backend\":\"web2\""),
        "the log does not call backends by name:\n{log}"
    );
    Ok(())
}
