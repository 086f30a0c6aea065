//! A namespace with the daemon, two backends, and certificates that openssl made for this run.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::daemon::{Daemon, Mode, binary};
use crate::netns::Namespace;
use crate::process::Process;
use crate::{patience, sweep};

const PATIENCE: Duration = Duration::from_secs(5);

/// How the daemon moves bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Io {
    Uring,
    Epoll,
}

impl Io {
    pub(super) const BOTH: [Self; 2] = [Self::Uring, Self::Epoll];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Uring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

/// Where plain clients connect.
pub(super) const PLAIN: &str = "127.0.0.1:8080";
/// Where clients connect by TLS.
pub(super) const SECURE: &str = "127.0.0.1:8443";
/// Where a PROXY header comes first.
pub(super) const PROXIED: &str = "127.0.0.1:8081";
/// Where metrics are served.
pub(super) const METRICS: &str = "127.0.0.1:9090";
/// The backends.
pub(super) const BACKENDS: [&str; 2] = ["127.0.0.1:9001", "127.0.0.1:9002"];

/// Everything that a claim is tried on.
pub(super) struct Scene {
    pub(super) daemon: Daemon,
    pub(super) backends: Vec<Process>,
    pub(super) namespace: Namespace,
    pub(super) files: TempDir,
    pub(super) io: Io,
}

impl Scene {
    /// Starts everything and waits until it serves.
    pub(super) fn build(io: Io) -> Result<Self> {
        let namespace = Namespace::new("proxy")?;
        let files = sweep::scratch_directory()?;
        for (name, key) in CERTIFICATES {
            certify(files.path(), name, key, key)?;
        }
        let mut scene = Self {
            backends: Vec::new(),
            daemon: Daemon::launch(&namespace, &[], Mode::Auto, &config(io, files.path(), ""))?,
            namespace,
            files,
            io,
        };
        for (number, address) in (1..).zip(BACKENDS) {
            let backend = scene.start_backend(number, address)?;
            scene.backends.push(backend);
        }
        scene.daemon.wait_until_ready()?;
        let is_whole = |said: &str| said.contains("name=web1") && said.contains("name=web2");
        scene.wait_for("both backends answer", |scene| {
            scene.get(&["/"; 4]).is_ok_and(|said| is_whole(&said))
        })?;
        Ok(scene)
    }

    pub(super) fn start_backend(&self, number: u8, address: &str) -> Result<Process> {
        let mut command = Command::new(binary());
        command.args(["backend", "--name", &format!("web{number}"), "--http", address]);
        command.stdout(std::process::Stdio::null());
        self.namespace.spawn(command)
    }

    /// The configuration with something added.
    pub(super) fn config(&self, more: &str) -> String {
        config(self.io, self.files.path(), more)
    }

    /// The certificate of this name.
    pub(super) fn certificate(&self, name: &str) -> PathBuf {
        self.files.path().join(format!("{name}.crt"))
    }

    /// What a command prints that runs beside the daemon; an error if it fails.
    pub(super) fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let Output { status, stdout, stderr } = self.attempt(program, arguments)?;
        let stdout = String::from_utf8_lossy(&stdout).into_owned();
        let stderr = String::from_utf8_lossy(&stderr);
        ensure!(
            status.success(),
            "{program} {arguments:?} gave {status}:\n{stdout}{stderr}{}",
            self.daemon.log()
        );
        Ok(stdout)
    }

    /// What comes of a command that runs beside the daemon.
    pub(super) fn attempt(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        self.namespace.run(|| Command::new(program).args(arguments).output().context("running a client"))
    }

    /// curl, with silence but for errors.
    pub(super) fn curl(&self, arguments: &[&str]) -> Result<String> {
        self.run("curl", &[&["-sS", "--max-time", "20"], arguments].concat())
    }

    /// What a plain GET of each of these paths, by one curl, gives.
    pub(super) fn get(&self, paths: &[&str]) -> Result<String> {
        let urls: Vec<String> = paths.iter().map(|path| format!("http://{PLAIN}{path}")).collect();
        self.curl(&urls.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// What is read from a connection on which this was sent, until it ends.
    pub(super) fn talk(&self, address: &str, said: impl AsRef<[u8]> + Sync) -> Result<String> {
        use std::io::{Read as _, Write as _};
        let address: SocketAddr = address.parse()?;
        self.namespace.run(|| {
            let mut stream = std::net::TcpStream::connect(address)?;
            stream.set_read_timeout(Some(patience::of(PATIENCE)))?;
            stream.write_all(said.as_ref())?;
            let mut read = Vec::new();
            stream.read_to_end(&mut read).context("waiting for the end")?;
            Ok(String::from_utf8_lossy(&read).into_owned())
        })
    }

    /// Whether somebody listens there.
    pub(super) fn is_open(&self, address: &str) -> bool {
        let connects = || Ok(std::net::TcpStream::connect(address)?);
        self.namespace.run(connects).is_ok()
    }

    /// Waits until something holds.
    pub(super) fn wait_for(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + patience::of(PATIENCE);
        while !holds(self) {
            ensure!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}; {}", self.daemon.log());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// The certificates: the name of the file, which is the host's too, and the kind of key.
const CERTIFICATES: [(&str, &str); 3] =
    [("one.example.org", "ec"), ("star.example.net", "ec"), ("one.example.org-rsa", "rsa")];

/// Makes a certificate and its key. `owner` is a part of its subject.
pub(super) fn certify(files: &Path, name: &str, key: &str, owner: &str) -> Result<()> {
    let host = name.trim_end_matches("-rsa").replace("star.", "*.");
    let path = |end: &str| files.join(format!("{name}.{end}")).display().to_string();
    let kind: &[&str] =
        if key == "ec" { &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] } else { &["rsa:2048"] };
    let names = format!("subjectAltName=DNS:{host}");
    let subject = format!("/CN={host}/O={owner}");
    let (cert, key_file) = (path("crt"), path("key"));
    let rest =
        ["-nodes", "-days", "3", "-subj", &subject, "-addext", &names, "-keyout", &key_file, "-out", &cert];
    let made = Command::new("openssl").args(["req", "-x509", "-newkey"]).args(kind).args(rest).output()?;
    ensure!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    ensure!(fs::exists(&cert)?, "openssl wrote nothing");
    Ok(())
}

fn config(io: Io, files: &Path, more: &str) -> String {
    let certificates = CERTIFICATES.map(|(name, _)| {
        let path = |end: &str| files.join(format!("{name}.{end}")).display().to_string();
        format!("{{ cert = \"{}\", key = \"{}\" }}", path("crt"), path("key"))
    });
    let mut text = format!(
        "[metrics]\naddress = \"{METRICS}\"\n[proxy]\nio = \"{}\"\nworkers = 2\ndrain = \"5s\"\n\
         [[listener]]\nname = \"plain\"\naddresses = [\"{PLAIN}\"]\nservice = \"web\"\n\
         deadlines = {{ head = \"1s\" }}\n\
         [[listener]]\nname = \"secure\"\naddresses = [\"{SECURE}\"]\nservice = \"web\"\n\
         tls = {{ certificates = [{}] }}\n\
         [[listener]]\nname = \"proxied\"\naddresses = [\"{PROXIED}\"]\nservice = \"web\"\n\
         proxy_protocol = [\"127.0.0.0/8\"]\n\
         [[service]]\nname = \"web\"\nkind = \"http\"\nbalance = \"round-robin\"\n\
         health = {{ tcp = true, interval = \"200ms\", timeout = \"100ms\", rise = 1, fall = 2 }}\n",
        io.word(),
        certificates.join(", "),
    );
    for (number, address) in (1..).zip(BACKENDS) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "[[service.backend]]\nname = \"web{number}\"\naddr = \"{address}\"");
    }
    text + more
}
