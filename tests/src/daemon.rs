//! The program under test: as the daemon in a balancer's namespace, and as the backend and decapsulator beside it.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::netns::Namespace;
use crate::patience;
use crate::process::Process;
use crate::service::{Service, config};
use crate::sweep;

/// How long a start or a stop may take: far longer than either does, so that only a hang ends here.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);
/// How long a backend's state may take to appear where no bound is claimed, and how often the status is asked for it.
const STATE_PATIENCE: Duration = Duration::from_secs(5);
const STATE_LOOK: Duration = Duration::from_millis(20);

/// What `--mode` is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Native where the driver can, else generic.
    Auto,
    /// XDP in the driver.
    Native,
    /// XDP in the stack.
    Generic,
    /// At TC, by a link.
    Tc,
    /// At TC, by a filter.
    Clsact,
}

impl Mode {
    /// Whether the program is at TC, which takes what the kernel's offloads make of packets.
    #[must_use]
    pub fn is_tc(self) -> bool {
        matches!(self, Self::Tc | Self::Clsact)
    }

    /// The word for it on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tc => "tc",
            Self::Clsact => "clsact",
        }
    }
}

/// The program: `LB_DAEMON`, else the release build of this workspace.
#[must_use]
pub fn binary() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/lb-userspace");
    env::var_os("LB_DAEMON").map_or_else(built, PathBuf::from)
}

/// A running daemon. Killed on drop; [`Daemon::stop`] is the polite end.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    scratch: TempDir,
}

impl Daemon {
    /// Starts the daemon on `interfaces` in `namespace` and waits until it says that it is ready.
    pub fn start(
        namespace: &Namespace,
        interfaces: &[String],
        mode: Mode,
        services: &[Service],
    ) -> Result<Self> {
        Self::start_with(namespace, interfaces, mode, &config(services))
    }

    /// The same with a config as an operator wrote it.
    pub fn start_with(
        namespace: &Namespace,
        interfaces: &[String],
        mode: Mode,
        config: &str,
    ) -> Result<Self> {
        let mut daemon = Self::launch(namespace, interfaces, mode, config)?;
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    /// Starts the daemon with `text` for a config, and does not wait.
    pub fn launch(namespace: &Namespace, interfaces: &[String], mode: Mode, text: &str) -> Result<Self> {
        let scratch = sweep::scratch_directory()?;
        fs::write(scratch.path().join(CONFIG), text).context("writing the config")?;
        let process = namespace.spawn(command(scratch.path(), interfaces, mode)?)?;
        Ok(Self { process, scratch })
    }

    /// Kills the daemon as a crash would, and starts it anew with what it left behind and `text` for a config.
    pub fn crash_and_start(
        self,
        namespace: &Namespace,
        interfaces: &[String],
        mode: Mode,
        text: &str,
    ) -> Result<Self> {
        let Self { process, scratch } = self;
        process.kill()?;
        fs::write(scratch.path().join(CONFIG), text).context("writing the config")?;
        let process = namespace.spawn(command(scratch.path(), interfaces, mode)?)?;
        let mut daemon = Self { process, scratch };
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    /// Waits until the daemon says that it is ready.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        let patience = patience::of(PATIENCE);
        let deadline = Instant::now() + patience;
        while !says_ready(&self.log()) {
            if let Some(status) = self.process.ended()? {
                bail!("the daemon ended before it was ready ({status}); its log:\n{}", self.log());
            }
            ensure!(
                Instant::now() < deadline,
                "not ready after {patience:?}; the daemon's log:\n{}",
                self.log()
            );
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Everything that the daemon wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.path(LOG)).unwrap_or_default()
    }

    /// The path of the control socket.
    #[must_use]
    pub fn control_path(&self) -> PathBuf {
        self.path(CONTROL)
    }

    /// Where `/proc` tells of the process.
    #[must_use]
    pub fn facts(&self) -> PathBuf {
        Path::new("/proc").join(self.process.id().to_string())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Bytes of its that are in memory.
    pub fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(self.facts().join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
    }

    /// Descriptors that it has open.
    pub fn descriptors(&self) -> Result<usize> {
        Ok(fs::read_dir(self.facts().join("fd"))?.count())
    }

    /// Waits until the daemon ends by itself.
    pub fn wait(&mut self, bound: Duration) -> Result<ExitStatus> {
        self.process.wait(bound).with_context(|| format!("its log:\n{}", self.log()))
    }

    /// The path of the config file.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.path(CONFIG)
    }

    /// `status --json`.
    pub fn status(&self) -> Result<Value> {
        let printed = self.order(&["status", "--json"])?;
        serde_json::from_str(&printed).with_context(|| format!("status printed:\n{printed}"))
    }

    /// `status`, as people read it.
    pub fn page(&self) -> Result<String> {
        self.order(&["status"])
    }

    /// Writes `services` into the config and reloads it.
    pub fn reload(&self, services: &[Service]) -> Result<()> {
        self.reload_text(&config(services))
    }

    /// Writes `text` as the config and reloads it; the error holds what the program printed.
    pub fn reload_text(&self, text: &str) -> Result<()> {
        fs::write(self.config_path(), text).context("writing the config")?;
        self.order(&["reload"]).map(drop)
    }

    /// Writes `services` into the config and sends SIGHUP.
    pub fn reload_by_signal(&self, services: &[Service]) -> Result<()> {
        fs::write(self.config_path(), config(services)).context("writing the config")?;
        self.process.signal(Signal::SIGHUP)
    }

    /// Drains `SERVICE/BACKEND`.
    pub fn drain(&self, backend: &str) -> Result<()> {
        self.order(&["drain", backend]).map(drop)
    }

    /// Ends a drain.
    pub fn undrain(&self, backend: &str) -> Result<()> {
        self.order(&["drain", backend, "--undo"]).map(drop)
    }

    /// Ends the daemon by SIGTERM, which must give exit code 0.
    pub fn stop(mut self) -> Result<()> {
        self.process.signal(Signal::SIGTERM)?;
        let status =
            self.process.wait(patience::of(PATIENCE)).with_context(|| format!("its log:\n{}", self.log()))?;
        ensure!(status.success(), "SIGTERM gave {status}; the daemon's log:\n{}", self.log());
        Ok(())
    }

    /// Drains `SERVICE/BACKEND`; what the program printed.
    pub fn try_drain(&self, backend: &str) -> Result<String> {
        self.order(&["drain", backend])
    }

    /// The status as people read it.
    pub fn table(&self) -> Result<String> {
        self.order(&["status"])
    }

    /// Runs the program as its own client; what it printed, or an error with all that it printed.
    fn order(&self, arguments: &[&str]) -> Result<String> {
        let Output { status, stdout, stderr } = self.attempt(arguments)?;
        let stdout = String::from_utf8_lossy(&stdout).into_owned();
        ensure!(
            status.success(),
            "{arguments:?} gave {status}:\n{stdout}{}",
            String::from_utf8_lossy(&stderr)
        );
        Ok(stdout)
    }

    /// Runs the program as its own client, and gives what came of it.
    pub fn attempt(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--control").arg(self.path(CONTROL)).env("NO_COLOR", "1");
        command.output().context("running the program as a client")
    }

    /// Waits until the status says that `backend` of `service` is `state`, and gives the moment.
    pub fn wait_for(&self, service: &str, backend: &str, state: &str) -> Result<Instant> {
        let what = format!("{service}/{backend} being {state}");
        self.wait_until(&what, |status| {
            status_of(status, service, backend).is_ok_and(|found| found["state"] == state)
        })?;
        Ok(Instant::now())
    }

    /// Waits until it has logged these words, which it does beside its work; the log.
    pub fn wait_for_log(&self, words: &str) -> Result<String> {
        let deadline = Instant::now() + patience::of(STATE_PATIENCE);
        loop {
            let log = self.log();
            if log.contains(words) {
                return Ok(log);
            }
            ensure!(Instant::now() < deadline, "no {words:?} in the log:\n{log}");
            thread::sleep(STATE_LOOK);
        }
    }

    /// Waits until `holds` says so of the status.
    pub fn wait_until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        let patience = patience::of(STATE_PATIENCE);
        let deadline = Instant::now() + patience;
        loop {
            let status = self.status()?;
            if holds(&status) {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{what} is not so after {patience:?}: {status:#}\n{}", self.log());
            }
            thread::sleep(STATE_LOOK);
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

/// The part of `status` about a service.
pub fn status_of_service<'a>(status: &'a Value, service: &str) -> Result<&'a Value> {
    entry(&status["services"], service).with_context(|| format!("no service {service} in {status:#}"))
}

/// The part of `status` about a backend.
pub fn status_of<'a>(status: &'a Value, service: &str, backend: &str) -> Result<&'a Value> {
    let found = status_of_service(status, service)?;
    entry(&found["backends"], backend).with_context(|| format!("no backend {backend} in {found:#}"))
}

fn entry<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|entry| entry["name"] == name)
}

const CONFIG: &str = "lb.toml";
const CONTROL: &str = "control.sock";
const LOG: &str = "log";

fn command(scratch: &Path, interfaces: &[String], mode: Mode) -> Result<Command> {
    let log = File::create(scratch.join(LOG)).context("making the log")?;
    let mut command = Command::new(binary());
    command.arg("--config").arg(scratch.join(CONFIG)).arg("--control").arg(scratch.join(CONTROL));
    command.args(["--mode", mode.word(), "--log-format", "json"]);
    for interface in interfaces {
        command.args(["--iface", interface]);
    }
    command.stderr(log.try_clone().context("sharing the log")?).stdout(log);
    Ok(command)
}

/// Whether a line of a JSON log has the message `ready`.
fn says_ready(log: &str) -> bool {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.into_iter().any(|line| line["fields"]["message"] == "ready" || line["message"] == "ready")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_message_ready_means_ready() {
        assert!(says_ready(
            "not json\n{\"level\":\"INFO\",\"fields\":{\"message\":\"ready\",\"interfaces\":2}}\n"
        ));
        assert!(!says_ready("{\"level\":\"INFO\",\"fields\":{\"message\":\"control socket ready\"}}"));
    }
}
