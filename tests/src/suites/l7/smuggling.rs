//! The smuggling corpus through sockets: what a backend is asked when each row comes to the proxy, and what it is asked
//! when the same row comes to proxies that others wrote.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::scene::{Io, Scene};
use crate::netns::Namespace;
use crate::patience;
use crate::process::Process;
use crate::runner::Case;
use crate::skip::Need;
use crate::smuggling::{Expected, Row, rows, understand};

/// Where the backend listens that writes down what it is asked.
const EAR: &str = "127.0.0.1:9100";
/// Where our proxy takes requests for it.
const OURS: &str = "127.0.0.1:8090";
/// Where others do.
const NGINX: &str = "127.0.0.1:8091";
const HAPROXY: &str = "127.0.0.1:8092";
/// How long a proxy may be silent before a row counts as answered.
const SILENCE: Duration = Duration::from_millis(60);
/// How late an answer may be.
const LATE: Duration = Duration::from_secs(2);

pub(super) fn cases() -> Vec<Case> {
    let ours = Io::BOTH.map(|io| {
        let name = format!("l7::smuggling::{}::a_backend_is_asked_what_each_row_says", io.word());
        let case = Case::new(name, move || as_each_row_says(io));
        let case = case.needs(&[Need::Root, Need::Command("curl"), Need::Command("openssl")]);
        if io == Io::Uring { case.needs(&[Need::IoUring]) } else { case }
    });
    let beside = "l7::smuggling::nothing_gets_through_that_nginx_and_haproxy_both_refuse";
    let beside = Case::new(beside, none_that_both_refuse).needs(&[
        Need::Root,
        Need::Command("nginx"),
        Need::Command("haproxy"),
    ]);
    ours.into_iter().chain([beside]).collect()
}

/// A backend that reads requests as strictly as our proxy, writes each down, and answers it.
struct Ear {
    heard: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Ear {
    fn open(namespace: &Namespace) -> Result<Self> {
        let listener = namespace.run(|| Ok(TcpListener::bind(EAR)?))?;
        listener.set_nonblocking(true)?;
        let (heard, is_over) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (writes, ends) = (Arc::clone(&heard), Arc::clone(&is_over));
        let listening = thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let writes = Arc::clone(&writes);
                        // It ends when the proxy ends the connection.
                        thread::spawn(move || listen(stream, &writes));
                    }
                    Err(_) => thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Ok(Self { heard, is_over, listening: Some(listening) })
    }

    /// What was heard since the last time.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(listening) = self.listening.take() {
            // A panic of the thread has been printed, and the case fails for want of what it would have heard.
            let _ = listening.join();
        }
    }
}

/// Hears one connection out. What is no request is written down as what it is refused for.
fn listen(mut stream: TcpStream, heard: &Mutex<Vec<String>>) {
    let (mut bytes, mut room, mut count) = (Vec::new(), [0; 4096], 0);
    // The thread ends with the connection, for whatever reason it does.
    let _ = stream.set_nonblocking(false);
    while let Ok(more @ 1..) = stream.read(&mut room) {
        bytes.extend_from_slice(&room[..more]);
        let understood = understand(&bytes);
        let new = understood.requests.into_iter().skip(count);
        let refused = understood.refusal.map(|refusal| format!("no request: {refusal}"));
        let is_over = refused.is_some();
        let new: Vec<String> = new.chain(refused).collect();
        count += new.len();
        let answers = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".repeat(new.len());
        heard.lock().unwrap_or_else(PoisonError::into_inner).extend(new);
        if stream.write_all(answers.as_bytes()).is_err() || is_over {
            return;
        }
    }
}

/// Sends a row, and waits for `answers` or the end or a silence; how many answers came.
fn ask(namespace: &Namespace, proxy: &str, row: &Row, answers: usize) -> Result<usize> {
    let address: SocketAddr = proxy.parse()?;
    let mut stream = namespace.run(|| Ok(TcpStream::connect(address)?))?;
    // An answer that is due may be late on a busy machine; that none comes has to be waited for each time.
    let wait = if matches!(row.expected, Expected::Unfinished) { SILENCE } else { patience::of(LATE) };
    stream.set_read_timeout(Some(wait))?;
    stream.write_all(row.bytes)?;
    let (mut read, mut room) = (Vec::new(), [0; 4096]);
    while count(&read) < answers {
        match stream.read(&mut room) {
            Ok(0) => break,
            Ok(more) => read.extend_from_slice(&room[..more]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            // A proxy that refuses what it has not read to its end resets the connection.
            Err(_) => break,
        }
    }
    // It may have ended already.
    let _ = stream.shutdown(Shutdown::Both);
    Ok(count(&read))
}

fn count(answers: &[u8]) -> usize {
    answers.windows(9).filter(|window| window.starts_with(b"HTTP/1.1 ")).count()
}

/// The number of answers to wait for: no more than there can be, and where none is due one, that its lack be seen.
fn due(row: &Row) -> usize {
    match row.expected {
        Expected::Understood(requests) => requests.len(),
        Expected::Refused(_) | Expected::Unfinished => 1,
    }
}

fn as_each_row_says(io: Io) -> Result<()> {
    let scene = Scene::build(io)?;
    let ear = Ear::open(&scene.namespace)?;
    let more = format!(
        "[[listener]]\nname = \"ear\"\naddresses = [\"{OURS}\"]\nservice = \"ear\"\n\
         [[service]]\nname = \"ear\"\nkind = \"http\"\n\
         [[service.backend]]\nname = \"ear\"\naddr = \"{EAR}\"\n"
    );
    scene.daemon.reload_text(&scene.config(&more))?;
    scene.wait_for("the listener is there", |scene| scene.is_open(OURS))?;
    let mut faults = Vec::new();
    for row in rows() {
        ear.take();
        let answers = ask(&scene.namespace, OURS, row, due(row))?;
        if let Some(fault) = fault(row, answers, &ear.take()) {
            faults.push(fault);
        }
    }
    ensure!(faults.is_empty(), "{} rows:\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

fn fault(row: &Row, answers: usize, heard: &[String]) -> Option<String> {
    let is_as_said = match row.expected {
        Expected::Refused(_) => heard.is_empty() && answers == 1,
        Expected::Unfinished => heard.is_empty() && answers == 0,
        Expected::Understood(requests) => {
            answers == requests.len()
                && heard.len() == requests.len()
                && heard.iter().zip(requests).all(|(heard, expected)| is_same(heard, expected))
        }
    };
    (!is_as_said).then(|| format!("{}: {answers} answers, the backend was asked {heard:?}", row.sentence))
}

/// A request without a host is given one on its way, the service's name.
fn is_same(heard: &str, expected: &str) -> bool {
    let without_host = |request: &str| {
        let mut words = request.splitn(3, ' ');
        words.next().zip(words.nth(1)).map(|(method, rest)| format!("{method} {rest}"))
    };
    heard == expected || expected.contains("  ") && without_host(heard) == without_host(expected)
}

/// Our own refusals are held to the rows; here the rows are held to what others do with them.
fn none_that_both_refuse() -> Result<()> {
    let namespace = Namespace::new("smuggling")?;
    let ear = Ear::open(&namespace)?;
    let files = crate::sweep::scratch_directory()?;
    let _nginx = start(&namespace, &files, ("nginx", NGINX_CONFIG), &["-p", ".", "-c"])?;
    let _haproxy = start(&namespace, &files, ("haproxy", HAPROXY_CONFIG), &["-db", "-f"])?;
    for proxy in [NGINX, HAPROXY] {
        wait_for(&namespace, proxy)?;
    }
    let lets_through = |proxy: &str, row: &Row| -> Result<bool> {
        ear.take();
        ask(&namespace, proxy, row, due(row))?;
        Ok(!ear.take().is_empty())
    };
    let mut defects = Vec::new();
    for row in rows().filter(|row| matches!(row.expected, Expected::Understood(_))) {
        if !lets_through(NGINX, row)? && !lets_through(HAPROXY, row)? {
            defects.push(row.sentence);
        }
    }
    ensure!(defects.is_empty(), "both refuse what we let through: {defects:#?}");
    Ok(())
}

const NGINX_CONFIG: &str = "daemon off; master_process off; pid nginx.pid; error_log stderr crit;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  server {
    listen 127.0.0.1:8091;
    location / {
      proxy_pass http://127.0.0.1:9100;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Connection \"\";
    }
  }
}
";

const HAPROXY_CONFIG: &str = "defaults
  mode http
  timeout connect 2s
  timeout client 5s
  timeout server 5s
frontend f
  bind 127.0.0.1:8092
  default_backend b
backend b
  server ear 127.0.0.1:9100
";

/// Starts a proxy on its configuration, in the folder of the scratch files.
fn start(
    namespace: &Namespace,
    files: &TempDir,
    (program, config): (&str, &str),
    arguments: &[&str],
) -> Result<Process> {
    let path = files.path().join(format!("{program}.conf"));
    fs::write(&path, config)?;
    let mut command = Command::new(program);
    command.args(arguments).arg(&path).current_dir(files.path()).stdout(Stdio::null()).stderr(Stdio::null());
    namespace.spawn(command).with_context(|| format!("starting {program}"))
}

fn wait_for(namespace: &Namespace, proxy: &str) -> Result<()> {
    let address: SocketAddr = proxy.parse()?;
    let deadline = Instant::now() + patience::of(Duration::from_secs(5));
    while namespace.run(|| Ok(TcpStream::connect(address)?)).is_err() {
        ensure!(Instant::now() < deadline, "nobody listens on {proxy}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
