//! Layer 7 in the daemon: it makes the snapshots that workers serve, starts and ends the workers, and tells them which
//! backends are down.

mod alone;
mod checks;
mod explain;
mod files;
mod orders;
mod status;
mod workers;

pub(super) use alone::serve as serve_alone;
pub(super) use files::Looks;

use crate::config::Config;
use crate::config::proxy::{Listener, LogTarget, Proxy};
use crate::file;
use crate::health::{self, Report};
use crate::l7::balance::Signer;
use crate::l7::log::{self, Log};
use crate::l7::settings::{self, Settings};
use crate::l7::site::Snapshot;
use crate::l7::tls::{self, Shared, Store, TlsError};
use crate::l7::transport;
use crate::l7::worker::Down;
use checks::Checks;
pub(super) use checks::Key;
use orders::Orders;
use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use workers::Workers;

/// Why layer 7 cannot be served as configured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Settings(#[from] settings::Error),
    /// Certificates and keys.
    #[error(transparent)]
    Tls(#[from] tls::Unusable),
    /// What all TLS here has in common.
    #[error("TLS cannot be spoken here")]
    Library(#[from] TlsError),
    /// An address of a listener.
    #[error("listener \"{listener}\" cannot listen on {address}{}", why_refused(.source))]
    Listen {
        /// The listener's name.
        listener: String,
        /// Its address.
        address: SocketAddr,
        /// What the kernel says.
        source: io::Error,
    },
    /// The secret of sticky cookies.
    #[error("cannot read {path}")]
    Secret {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It can be guessed.
    #[error(
        "the secret in {path} has {bytes} bytes, and fewer than {SHORTEST_SECRET} can be guessed; if it is the right file, \
         `openssl rand -out secret.new {SHORTEST_SECRET}` draws one to put in its place"
    )]
    ShortSecret {
        /// The file.
        path: PathBuf,
        /// What it has.
        bytes: usize,
    },
    /// A file of the log's.
    #[error("the access log {path} cannot be written")]
    Log {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no place for it.
    #[error("the access log {path} cannot be written: its folder is not there; `mkdir -p` makes it")]
    LogFolder {
        /// The file.
        path: PathBuf,
    },
    /// What is asked for by name.
    #[error(
        "`io = \"io_uring\"` cannot be had here; with `io = \"auto\"` workers go by epoll where it is so"
    )]
    NoRing(#[source] io::Error),
    /// A thread.
    #[error("cannot start a worker")]
    Worker(#[source] io::Error),
    /// Services of layer 4 without an interface.
    #[error(
        "service \"{0}\" is balanced where packets arrive: say which interface, as in `--iface eth0`. Services with \
         kind = \"http\" need none"
    )]
    NoInterface(String),
    /// Neither an interface nor a listener.
    #[error(
        "there is nothing to do: name an interface to balance packets on, as in `--iface eth0`, or in the configuration a \
         [[listener]] to take requests"
    )]
    Idle,
}

/// Layer 7 as the daemon has it in hand.
#[derive(Debug)]
pub(super) struct Front {
    shared: Shared,
    snapshot: Snapshot,
    workers: Option<Workers>,
    log: Log,
    /// What the file says, and what was ordered besides.
    file: Proxy,
    orders: Orders,
    checks: Checks,
    watch: files::FileWatch,
    /// Why files of TLS cannot be used that were renewed.
    unusable: Vec<String>,
}

/// A configuration that was read and found possible.
#[derive(Debug)]
pub(super) struct Prepared(Snapshot, files::FileWatch);

impl Front {
    /// Begins to ask the backends, whose verdicts come by the queue. Nothing is served yet.
    pub(super) fn new(
        config: &Config,
        transport: health::Transport,
    ) -> Result<(Self, UnboundedReceiver<Report<Key>>), Error> {
        let shared = Shared::new()?;
        let settings = Arc::new(Settings::build(&config.proxy, None)?);
        try_logs(&settings)?;
        let watch = files::watch(&settings);
        let tls = Arc::new(Store::read(&shared, &settings)?);
        let (told, reports) = unbounded_channel();
        let signer = signer(&config.proxy)?.unwrap_or_else(|| Signer::new(&draw_secret()));
        let log = Log::start().map_err(Error::Worker)?;
        let snapshot = Snapshot {
            log: log.queue.clone(),
            workers: settings.proxy.worker_count(),
            settings,
            tls,
            signer,
        };
        let mut checks = Checks::new(transport, told);
        checks.follow(&config.proxy, &snapshot);
        let (file, orders) = (config.proxy.clone(), Orders::default());
        let unusable = Vec::new();
        Ok((Self { shared, snapshot, workers: None, log, file, orders, checks, watch, unusable }, reports))
    }

    /// Whether every backend has its first verdict.
    pub(super) fn knows_all(&self) -> bool {
        self.checks.are_all_known()
    }

    /// Starts the workers, if there is anything to serve and they do not run yet.
    pub(super) fn begin(&mut self) -> Result<(), Error> {
        if self.workers.is_none() {
            self.workers = start(&self.snapshot, &self.checks.down())?;
        }
        Ok(())
    }

    /// Acts on a verdict, and on all that wait behind it, with one order: where many backends fail at a time, workers have much else
    /// to do.
    pub(super) fn judge(&mut self, report: &Report<Key>, waiting: &mut UnboundedReceiver<Report<Key>>) {
        let mut changed = self.checks.note(report);
        while let Ok(report) = waiting.try_recv() {
            changed |= self.checks.note(&report);
        }
        if let Some(workers) = self.workers.as_ref().filter(|_| changed) {
            workers.judge(self.checks.down());
        }
    }

    /// Sees whether a configuration can be served; nothing changes yet.
    pub(super) fn prepare(&self, config: &Config) -> Result<Prepared, Error> {
        let settings =
            Arc::new(Settings::build(&self.orders.over(&config.proxy), Some(&self.snapshot.settings))?);
        try_addresses(&settings, Some(&self.snapshot.settings))?;
        try_logs(&settings)?;
        let watch = files::watch(&settings);
        let tls = Arc::new(Store::read(&self.shared, &settings)?);
        let signer = signer(&config.proxy)?.unwrap_or_else(|| self.snapshot.signer.clone());
        Ok(Prepared(Snapshot { settings, tls, signer, ..self.snapshot.clone() }, watch))
    }

    /// Serves a prepared configuration from now on; if its workers cannot be started, the one before.
    pub(super) fn take_up(
        &mut self,
        config: &Config,
        Prepared(snapshot, watch): Prepared,
    ) -> Result<(), Error> {
        self.checks.follow(&config.proxy, &snapshot);
        let down = self.checks.down();
        match &self.workers {
            Some(workers) => workers.serve(&snapshot, down),
            None => match start(&snapshot, &down) {
                Ok(workers) => self.workers = workers,
                Err(error) => {
                    self.checks.follow(&self.file, &self.snapshot);
                    return Err(error);
                }
            },
        }
        self.orders.follow(&config.proxy);
        self.file = config.proxy.clone();
        (self.snapshot, self.watch) = (snapshot, watch);
        self.unusable.clear();
        Ok(())
    }

    /// Opens the files of logs anew, as after a rotation.
    pub(super) fn reopen_logs(&self) {
        self.log.queue.reopen();
    }

    /// Lets exchanges under way end, unless somebody is in a hurry, and then the workers.
    pub(super) async fn stop(self, hurry: impl Future<Output = ()>) {
        if let Some(workers) = self.workers {
            workers.drain(self.snapshot.settings.proxy.drain, hurry).await;
        }
        drop(self.snapshot);
        // A thread, for the checks' last probes go on meanwhile.
        let _ = tokio::task::spawn_blocking(|| self.log.finish(LAST_LINES)).await;
        self.checks.stop().await;
    }
}

/// Workers that serve this, if there is anything to serve.
fn start(snapshot: &Snapshot, down: &Down) -> Result<Option<Workers>, Error> {
    if snapshot.settings.listeners.iter().next().is_none() {
        return Ok(None);
    }
    try_addresses(&snapshot.settings, None)?;
    Workers::start(snapshot, down).map(Some)
}

/// Sees whether all logs can be written, so that the operator hears of it.
fn try_logs(settings: &Settings) -> Result<(), Error> {
    logs(settings.listeners.iter().map(|(_, listener)| &*listener.config)).into_iter().try_for_each(try_log)
}

fn try_log(path: &Path) -> Result<(), Error> {
    let opened = log::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::LogFolder { path: path.to_owned() },
        _ => Error::Log { path: path.to_owned(), source },
    });
    opened.map(drop)
}

/// Sees the same as far as it can be seen without making a file.
fn look_at_log(path: &Path) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some_and(|folder| matches!(folder.try_exists(), Ok(false))) {
        return Err(Error::LogFolder { path: path.to_owned() });
    }
    let is_fifo = std::fs::metadata(path).is_ok_and(|file| file.file_type().is_fifo());
    if is_fifo { try_log(path) } else { Ok(()) }
}

/// The files of all logs, each once.
fn logs<'a>(listeners: impl Iterator<Item = &'a Listener>) -> BTreeSet<&'a Path> {
    let targets = listeners.filter_map(|listener| Some(&listener.access_log.as_ref()?.to));
    let files = targets.filter_map(|target| match target {
        LogTarget::File(path) => Some(path.as_path()),
        LogTarget::Stdout => None,
    });
    files.collect()
}

/// Bytes of a secret that nobody guesses.
const SHORTEST_SECRET: usize = 32;
/// More is some other file.
const LONGEST_SECRET: u64 = 64 << 10;

/// What sticky cookies are signed with, where the operator has a file for it.
fn signer(config: &Proxy) -> Result<Option<Signer>, Error> {
    let Some(path) = &config.secret else { return Ok(None) };
    let secret =
        file::read(path, LONGEST_SECRET).map_err(|source| Error::Secret { path: path.clone(), source })?;
    if secret.len() < SHORTEST_SECRET {
        return Err(Error::ShortSecret { path: path.clone(), bytes: secret.len() });
    }
    Ok(Some(Signer::new(&secret)))
}

/// Bits of this run.
fn draw_secret() -> Vec<u8> {
    (0..4).flat_map(|part: u8| RandomState::new().hash_one(part).to_ne_bytes()).collect()
}

/// What of the files that a configuration of layer 7 names cannot be used.
pub(super) fn mistakes(config: &Proxy) -> Vec<Error> {
    let of_tls = || -> Result<_, Error> { Ok(tls::mistakes(&Settings::build(config, None)?)?) };
    let of_tls = of_tls().map_or_else(|error| vec![error], |all| all.into_iter().map(Error::from).collect());
    let of_logs = logs(config.listeners.iter()).into_iter().filter_map(|path| look_at_log(path).err());
    of_tls.into_iter().chain(signer(config).err()).chain(of_logs).collect()
}

/// Sees whether the addresses can be listened on that no listener has yet, so that the operator hears of it.
fn try_addresses(settings: &Settings, former: Option<&Settings>) -> Result<(), Error> {
    let listeners = former.into_iter().flat_map(|former| former.listeners.iter());
    let ours: Vec<SocketAddr> =
        listeners.flat_map(|(_, listener)| listener.config.addresses.clone()).collect();
    let patience = if former.is_none() { PREDECESSORS } else { OUR_OWN };
    for (_, listener) in settings.listeners.iter() {
        for &address in listener.config.addresses.iter().filter(|address| !ours.contains(address)) {
            // Beside `0.0.0.0:80` of our own there may be `192.0.2.1:80`. Whether somebody else has it cannot be told then.
            let is_beside_ours = ours.iter().any(|other| other.port() == address.port());
            let free = if is_beside_ours { Ok(()) } else { wait_until_free(address, patience) };
            free.and_then(|()| transport::bind(address)).map_err(|source| Error::Listen {
                listener: listener.config.name.clone(),
                address,
                source,
            })?;
        }
    }
    Ok(())
}

/// What an address's refusal means to whoever named it.
fn why_refused(refusal: &io::Error) -> &'static str {
    match refusal.raw_os_error() {
        Some(libc::EACCES) => ", which takes root or CAP_NET_BIND_SERVICE",
        Some(libc::EADDRNOTAVAIL) => ", for no interface here has this address",
        Some(libc::EADDRINUSE) => ", where another process listens (`ss -ltnp` names it)",
        Some(libc::EAFNOSUPPORT) => ", for this host does not speak its protocol",
        _ => "",
    }
}

/// How long a start waits for the sockets of a daemon that has just ended: those of a ring live on for a moment.
const PREDECESSORS: Duration = Duration::from_secs(2);
/// The same of a reload, for the sockets that the last one closed. The daemon's other work waits meanwhile.
const OUR_OWN: Duration = Duration::from_millis(300);

fn wait_until_free(address: SocketAddr, patience: Duration) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        match transport::check_free(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(20));
            }
            checked => return checked,
        }
    }
}

/// How long an ending daemon waits for the last lines of the access log to be taken.
const LAST_LINES: Duration = Duration::from_secs(1);

/// How long a start waits for all first verdicts.
pub(super) const FIRST_LOOK: Duration = super::FIRST_LOOK;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_cannot_be_opened_is_a_mistake_and_none_is_made_to_see_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        nix::unistd::mkfifo(&at("unread"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(look_at_log(&at("access.log")).is_ok() && !at("access.log").exists());
        assert!(matches!(look_at_log(&at("missing/access.log")), Err(Error::LogFolder { .. })));
        assert!(matches!(look_at_log(&at("unread")), Err(Error::Log { .. })));
    }

    #[test]
    fn every_file_of_tls_that_cannot_be_used_is_told_with_whose_it_is() {
        let text = "[[listener]]\nname = \"one\"\naddresses = [\"127.0.0.1:8443\"]\nservice = \"web\"\n\
                    tls = { certificates = [{ cert = \"/no/a.crt\", key = \"/no/a.key\" }, \
                    { cert = \"/no/b.crt\", key = \"/no/b.key\" }], client = { ca = \"/no/ca.crt\" } }\n\
                    [[service]]\nname = \"web\"\nkind = \"http\"\ntls = { ca = \"/no/web.crt\" }\n\
                    [[service.backend]]\nname = \"a\"\naddr = \"10.0.0.1:443\"\n";
        let config = crate::config::parse("lb.toml", text).unwrap().config;
        let told: Vec<_> =
            mistakes(&config.proxy).iter().map(|mistake| crate::daemon::chain(mistake)).collect();
        let expected = [
            ("listener \"one\"", "a"),
            ("listener \"one\"", "b"),
            ("listener \"one\"", "ca"),
            ("service \"web\"", "web"),
        ];
        for (told, (user, file)) in told.iter().zip(expected) {
            assert!(
                told.starts_with(&format!(
                    "{user} cannot speak TLS as configured: cannot read /no/{file}.crt: "
                )),
                "{told}"
            );
        }
        assert_eq!(told.len(), expected.len());
    }

    #[test]
    fn what_an_address_is_refused_for_is_told_with_a_remedy() {
        let said = |errno| why_refused(&io::Error::from_raw_os_error(errno));
        assert!(said(libc::EACCES).contains("CAP_NET_BIND_SERVICE"));
        assert!(said(libc::EADDRINUSE).contains("`ss -ltnp`"));
        assert!(said(libc::EADDRNOTAVAIL).contains("no interface"));
        assert_eq!(said(libc::ENOMEM), "");
    }

    #[test]
    fn a_start_and_a_check_refuse_the_same_log() {
        let text = "[[listener]]\nname = \"h\"\naddresses = [\"127.0.0.1:8087\"]\n\
                    access_log = { to = \"/nowhere/access.log\" }\n\
                    [[route]]\nname = \"r\"\nrespond = { body = \"hi\" }\n";
        let config = crate::config::parse("lb.toml", text).unwrap().config;
        let refused = try_logs(&Settings::build(&config.proxy, None).unwrap()).unwrap_err();
        let found: Vec<_> = mistakes(&config.proxy).iter().map(ToString::to_string).collect();
        assert_eq!(found, [refused.to_string()]);
        assert!(found[0].contains("its folder is not there"), "{found:?}");
    }
}
