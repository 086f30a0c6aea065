//! A namespace with the backend, and one proxy at a time.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lb_tests::daemon;
use lb_tests::netns::Namespace;
use lb_tests::process::Process;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::clients;
use crate::memory::{cpu_seconds, memory_kib};
use crate::proxies::{BACKENDS, HTTP, HTTPS, Proxy, backend};
use crate::work::Work;

/// The CPU that each proxy has to itself.
const PROXY_CPU: usize = 0;
const WARM_UP: Duration = Duration::from_secs(1);
/// For a start, and for an end.
const PATIENCE: Duration = Duration::from_secs(30);
/// Idle connections, and how many there are when the counting begins.
const IDLE: [usize; 2] = [64, 5000];

/// Everything but the proxy.
pub(crate) struct Scene {
    namespace: Namespace,
    folder: TempDir,
    daemon: PathBuf,
    rate: u32,
    _backend: Process,
}

/// What a work has cost once.
pub(crate) struct Sample {
    pub(crate) cost: f64,
    pub(crate) per_second: Option<f64>,
}

impl Scene {
    pub(crate) fn build(rate: u32) -> Result<Self> {
        for tool in ["nginx", "haproxy", "wrk", "h2load", "openssl"] {
            ensure!(
                lb_tests::skip::Need::Command(tool).lacking().is_none(),
                "`{tool}` is missing: install Debian's packages `nginx haproxy wrk nghttp2-client openssl`"
            );
        }
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
        let namespace = Namespace::new("l7")?;
        for (key, value) in [("net.ipv4.ip_local_port_range", "20000 65000"), ("net.ipv4.tcp_tw_reuse", "1")]
        {
            namespace.sysctl(key, value)?;
        }
        let folder = tempfile::tempdir()?;
        certify(&folder)?;
        fs::write(folder.path().join("backend"), backend())?;
        fs::write(folder.path().join("100k"), vec![b'x'; 100 << 10])?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(folder.path().join("backend"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let backend = namespace.spawn(command)?;
        let scene = Self { namespace, folder, daemon: daemon::binary(), rate, _backend: backend };
        scene.wait_for(BACKENDS[0].parse()?)?;
        Ok(scene)
    }

    /// What the work costs a proxy that is started for it.
    pub(crate) fn measure(&self, work: Work, proxy: Proxy<'_>, seconds: u64) -> Result<Sample> {
        let command = proxy.command(self.folder.path(), &self.daemon)?;
        let lasting = Duration::from_secs(seconds);
        self.while_it_runs(command, proxy.ports(), |process| self.measure_running(work, process, lasting))
    }

    /// Starts a proxy on its CPU, does something, and ends it.
    pub(crate) fn while_it_runs<T>(
        &self,
        mut command: Command,
        ports: &[u16],
        work: impl FnOnce(&Process) -> Result<T>,
    ) -> Result<T> {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = on_cpu(PROXY_CPU, || self.namespace.spawn(command))?;
        let answers = ports.iter().try_for_each(|port| self.wait_for((Ipv4Addr::LOCALHOST, *port).into()));
        let done = answers.and_then(|()| work(&process));
        // A process with a ring that is killed leaves its listening sockets for a moment, and the next shares its port with them.
        process.signal(Signal::SIGTERM)?;
        process.wait(PATIENCE)?;
        done
    }

    /// Where configurations lie, and what they name.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The daemon that is measured.
    pub(crate) fn daemon(&self) -> &Path {
        &self.daemon
    }

    fn measure_running(&self, work: Work, process: &Process, lasting: Duration) -> Result<Sample> {
        match work {
            Work::IdleTls => self.idle(process, true),
            Work::IdlePlain => self.idle(process, false),
            Work::P99 => self.latency(lasting),
            _ => self.cpu(work, process, lasting),
        }
    }

    /// CPU time for each request.
    fn cpu(&self, work: Work, process: &Process, lasting: Duration) -> Result<Sample> {
        self.load(work, WARM_UP)?;
        let (before, began) = (cpu_seconds(process.id())?, Instant::now());
        let requests = self.load(work, lasting)?;
        let (used, took) = (cpu_seconds(process.id())? - before, began.elapsed());
        ensure!(requests > 0, "no request was answered");
        #[allow(clippy::cast_precision_loss, reason = "requests of some seconds")]
        let requests = requests as f64;
        let rate = (work != Work::Fixed).then(|| requests / took.as_secs_f64());
        Ok(Sample { cost: used * 1e6 / requests, per_second: rate })
    }

    /// Has the work done for so long; the number of requests.
    pub(crate) fn load(&self, work: Work, lasting: Duration) -> Result<u64> {
        let seconds = lasting.as_secs().max(1);
        match work {
            Work::Https1K => self.wrk(64, seconds, &[], &format!("https://127.0.0.1:{HTTPS}/1k")),
            Work::Http1K => self.wrk(64, seconds, &[], &format!("http://127.0.0.1:{HTTP}/1k")),
            Work::Https100K => self.wrk(16, seconds, &[], &format!("https://127.0.0.1:{HTTPS}/100k")),
            Work::Http100K => self.wrk(16, seconds, &[], &format!("http://127.0.0.1:{HTTP}/100k")),
            Work::Https2 => self.h2load(seconds, &[], "/1k"),
            Work::Handshake => self.namespace.run(|| clients::handshakes(lasting)),
            _ => self.namespace.run(|| Ok(clients::at_rate(self.rate, lasting)?.len() as u64)),
        }
    }

    pub(crate) fn wrk(&self, connections: u32, seconds: u64, more: &[&str], url: &str) -> Result<u64> {
        let (connections, lasting) = (format!("-c{connections}"), format!("-d{seconds}s"));
        let load = ["-t1", &connections, &lasting, "--timeout", "5s"];
        let text = self.output("wrk", &[&load[..], more, &[url]].concat())?;
        ensure!(!text.contains("Socket errors") && !text.contains("Non-2xx"), "wrk: {text}");
        number_before(&text, " requests in ").with_context(|| format!("wrk said {text}"))
    }

    pub(crate) fn h2load(&self, seconds: u64, more: &[&str], path: &str) -> Result<u64> {
        let (lasting, url) = (seconds.to_string(), format!("https://127.0.0.1:{HTTPS}{path}"));
        let tls = ["--tls13-ciphers", "TLS_AES_128_GCM_SHA256", "--groups", "X25519"];
        let load = ["-t1", "-c32", "-m10", "-D", &lasting];
        let text = self.output("h2load", &[&load[..], &tls, more, &[&url]].concat())?;
        ensure!(text.contains("Application protocol: h2"), "HTTP/2 was not agreed on");
        ensure!(text.contains(" 0 failed, 0 errored"), "h2load: {text}");
        number_before(&text, " succeeded").with_context(|| format!("h2load said {text}"))
    }

    fn output(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(program);
        command.args(arguments).env("OPENSSL_CONF", self.folder.path().join("openssl.cnf"));
        let output = self.namespace.run(|| command.output().with_context(|| format!("running {program}")))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{program}: {text}{}", String::from_utf8_lossy(&output.stderr));
        Ok(text)
    }

    fn latency(&self, lasting: Duration) -> Result<Sample> {
        let mut latencies = self.namespace.run(|| {
            clients::at_rate(self.rate, WARM_UP)?;
            clients::at_rate(self.rate, lasting)
        })?;
        latencies.sort_unstable();
        let p99 = latencies.get(latencies.len() * 99 / 100).context("no request was answered")?;
        Ok(Sample { cost: p99.as_secs_f64() * 1e6, per_second: None })
    }

    /// Memory that grew with the connections, for each.
    fn idle(&self, process: &Process, tls: bool) -> Result<Sample> {
        self.namespace.run(|| {
            let some = clients::idle(IDLE[0], tls)?;
            let before = settled(process.id())?;
            let more = clients::idle(IDLE[1], tls)?;
            let after = settled(process.id())?;
            #[allow(clippy::cast_precision_loss, reason = "some thousand")]
            let each = (after - before) / more.len() as f64;
            drop((some, more));
            Ok(Sample { cost: each, per_second: None })
        })
    }

    fn wait_for(&self, address: SocketAddr) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while self.namespace.run(|| Ok(TcpStream::connect(address)?)).is_err() {
            if Instant::now() > end {
                bail!("nobody listens on {address}");
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// Memory when what was freed had time to be given back.
fn settled(process: u32) -> Result<f64> {
    thread::sleep(Duration::from_secs(1));
    memory_kib(process)
}

/// Does something on another CPU, where what is started stays.
fn on_cpu<T>(cpu: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let this = Pid::from_raw(0);
    let before = sched_getaffinity(this)?;
    let mut only = CpuSet::new();
    only.set(cpu)?;
    sched_setaffinity(this, &only)?;
    let done = work();
    sched_setaffinity(this, &before)?;
    done
}

/// The number that stands before a word.
fn number_before(text: &str, word: &str) -> Option<u64> {
    text.split(word).next()?.split_whitespace().next_back()?.parse().ok()
}

/// A certificate, as each proxy wants it, and what wrk's TLS is held to.
fn certify(folder: &TempDir) -> Result<()> {
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let kind =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
    let mut openssl = Command::new("openssl");
    let made = openssl.args(kind).args(names).args(["-keyout", &key, "-out", &cert]).output()?;
    ensure!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    fs::write(path("both.pem"), fs::read_to_string(&cert)? + &fs::read_to_string(&key)?)?;
    let client = "openssl_conf = top\n[top]\nssl_conf = ssl\n[ssl]\nsystem_default = client\n[client]\n\
                  MinProtocol = TLSv1.3\nCiphersuites = TLS_AES_128_GCM_SHA256\nGroups = X25519\n";
    Ok(fs::write(path("openssl.cnf"), client)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tools_say_is_read() {
        assert_eq!(
            number_before("Running\n  123456 requests in 3.00s, 140MB read", " requests in "),
            Some(123_456)
        );
        let h2load = "requests: 99 total, 99 started, 98 done, 97 succeeded, 0 failed, 0 errored";
        assert_eq!(number_before(h2load, " succeeded"), Some(97));
        assert_eq!(number_before("nothing", " succeeded"), None);
    }
}
