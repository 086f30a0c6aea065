//! The proxies: the same work for each, one worker, no access log, one certificate, backends by kept connections.

use std::env;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Error, Result, ensure};

use crate::work::Work;

/// Where each listens.
pub(crate) const HTTP: u16 = 18080;
pub(crate) const HTTPS: u16 = 18443;
/// The backend's two addresses.
pub(crate) const BACKENDS: [&str; 2] = ["127.0.0.1:19001", "127.0.0.1:19002"];

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proxy<'a> {
    Uring,
    Epoll,
    Nginx,
    Haproxy,
    /// Not a proxy: the least that one has to do ([`crate::relay`]).
    Floor,
    Peer(&'a Peer),
}

/// A proxy that is measured besides, as whoever runs the bench starts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    name: String,
    /// The program and its arguments, with the names of [`Peer::command`] in braces.
    words: Vec<String>,
}

impl Peer {
    fn command(&self, folder: &Path) -> Result<Command> {
        let folder = folder.display();
        let filled = self.words.iter().map(|word| {
            word.replace("{http}", &HTTP.to_string())
                .replace("{https}", &HTTPS.to_string())
                .replace("{first}", BACKENDS[0])
                .replace("{second}", BACKENDS[1])
                .replace("{folder}", &folder.to_string())
        });
        let filled: Vec<_> = filled.collect();
        let (program, arguments) = filled.split_first().context("a peer without a command")?;
        let mut command = Command::new(program);
        command.args(arguments);
        Ok(command)
    }
}

impl FromStr for Peer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, command) = text.split_once('=').context("expected NAME=COMMAND")?;
        let words: Vec<_> = command.split_whitespace().map(str::to_owned).collect();
        ensure!(!name.is_empty() && !words.is_empty(), "expected NAME=COMMAND");
        Ok(Self { name: name.to_owned(), words })
    }
}

impl<'a> Proxy<'a> {
    /// Those that are always measured.
    pub(crate) const USUAL: [Self; 5] = [Self::Uring, Self::Epoll, Self::Nginx, Self::Haproxy, Self::Floor];

    pub(crate) fn name(self) -> &'a str {
        match self {
            Self::Uring | Self::Epoll => "lb",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Floor => "floor",
            Self::Peer(peer) => &peer.name,
        }
    }

    /// Whether it can do the work at all.
    pub(crate) fn does(self, work: Work) -> bool {
        self != Self::Floor || work == Work::Http1K
    }

    /// Where it listens.
    pub(crate) const fn ports(self) -> &'static [u16] {
        if matches!(self, Self::Floor) { &[HTTP] } else { &[HTTP, HTTPS] }
    }

    /// How it waits for its sockets, as far as is known.
    pub(crate) const fn transport(self) -> &'static str {
        match self {
            Self::Uring => "io_uring",
            Self::Peer(_) => "",
            Self::Epoll | Self::Nginx | Self::Haproxy | Self::Floor => "epoll",
        }
    }

    /// The command that runs it in the foreground, its configuration written into a folder that has `cert.pem` and `key.pem`.
    pub(crate) fn command(self, folder: &Path, daemon: &Path) -> Result<Command> {
        let config = folder.join(self.to_string());
        let written = |text: String| fs::write(&config, text).context("cannot write a configuration");
        let mut command = match self {
            Self::Uring | Self::Epoll => {
                written(ours(self.transport(), folder))?;
                let mut command = Command::new(daemon);
                command.arg("--config").arg(&config).arg("--control").arg(folder.join("control"));
                command
            }
            Self::Nginx => {
                written(nginx())?;
                let mut command = Command::new("nginx");
                command.arg("-p").arg(folder).arg("-c").arg(&config);
                command
            }
            Self::Haproxy => {
                written(haproxy(folder))?;
                let mut command = Command::new("haproxy");
                command.arg("-db").arg("-f").arg(&config);
                command
            }
            Self::Floor => {
                let mut command = Command::new(env::current_exe().context("this bench has no path")?);
                command.arg("--floor");
                command
            }
            Self::Peer(peer) => peer.command(folder)?,
        };
        command.current_dir(folder);
        Ok(command)
    }
}

impl Display for Proxy<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self.transport() {
            "" => formatter.write_str(self.name()),
            transport => write!(formatter, "{}-{transport}", self.name()),
        }
    }
}

/// Ours with what real configurations have besides: a log, checks, sticky clients, routes that rewrite.
pub(crate) fn fuller(io: &str, folder: &Path) -> String {
    let log = format!("access_log = {{ to = \"{}/log\" }}", folder.display());
    let service = "health = { http = \"/1k\" }\nsticky = { cookie = \"lb\" }";
    configuration(io, folder, [&log, service]) + ROUTES
}

const ROUTES: &str = r#"
[[route]]
name = "api"
hosts = ["api.example.org", "*.example.net"]
path = "/api"
service = "web"
rewrite = { prefix = "/" }
request = { set = [{ name = "X-Environment", value = "live" }], remove = ["X-Debug"] }
response = { set = [{ name = "X-Frame-Options", value = "DENY" }] }
[[route]]
name = "admin"
path = { exact = "/admin" }
methods = "GET"
respond = { status = 403 }
[[route]]
name = "all"
service = "web"
"#;

fn ours(io: &str, folder: &Path) -> String {
    configuration(io, folder, [""; 2])
}

/// With these lines for the proxy and for its service.
fn configuration(io: &str, folder: &Path, [proxy, service]: [&str; 2]) -> String {
    let [first, second] = BACKENDS;
    let folder = folder.display();
    format!(
        "[proxy]
io = \"{io}\"
workers = 1
{proxy}
[[listener]]
name = \"plain\"
addresses = [\"127.0.0.1:{HTTP}\"]
service = \"web\"
[[listener]]
name = \"secure\"
addresses = [\"127.0.0.1:{HTTPS}\"]
service = \"web\"
tls = {{ certificates = [{{ cert = \"{folder}/cert.pem\", key = \"{folder}/key.pem\" }}] }}
[[service]]
name = \"web\"
kind = \"http\"
{service}
  [[service.backend]]
  name = \"one\"
  addr = \"{first}\"
  [[service.backend]]
  name = \"two\"
  addr = \"{second}\"
"
    )
}

fn nginx() -> String {
    let [first, second] = BACKENDS;
    format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 19000; }}
http {{
  access_log off; keepalive_timeout 120s; keepalive_requests 1000000000;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  upstream up {{ server {first}; server {second}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 120s; }}
  server {{
    listen 127.0.0.1:{HTTP} backlog=4096;
    listen 127.0.0.1:{HTTPS} ssl http2 backlog=4096;
    ssl_certificate cert.pem; ssl_certificate_key key.pem; ssl_protocols TLSv1.2 TLSv1.3;
    location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}
  }}
}}
"
    )
}

fn haproxy(folder: &Path) -> String {
    let [first, second] = BACKENDS;
    let both = folder.join("both.pem").display().to_string();
    format!(
        "global
  nbthread 1
  maxconn 9000
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  maxconn 9000
  timeout connect 5s
  timeout client 120s
  timeout server 120s
  option http-keep-alive
  http-reuse always
frontend f
  bind 127.0.0.1:{HTTP} backlog 4096
  bind 127.0.0.1:{HTTPS} ssl crt {both} alpn h2,http/1.1 backlog 4096
  default_backend b
backend b
  balance roundrobin
  server one {first}
  server two {second}
"
    )
}

/// The backend of all: nginx with answers from memory and from a file.
pub(crate) fn backend() -> String {
    let [first, second] = BACKENDS;
    let kilobyte = "x".repeat(1024);
    format!(
        "daemon off; master_process off; pid backend.pid; error_log stderr crit;
events {{ worker_connections 19000; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_timeout 300s; keepalive_requests 1000000000;
  open_file_cache max=10;
  client_body_temp_path u1; proxy_temp_path u2; fastcgi_temp_path u3; uwsgi_temp_path u4; scgi_temp_path u5;
  server {{
    listen {first} backlog=4096; listen {second} backlog=4096; root .;
    location = /1k {{ return 200 \"{kilobyte}\"; }}
    location = /pieces {{ gzip on; gzip_types *; default_type text/plain; return 200 \"{kilobyte}\"; }}
  }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_started_by_its_words_filled_in() {
        let peer: Peer = "other=bin/other --port {http} --to={first} {folder}/cert.pem".parse().unwrap();
        let command = peer.command(Path::new("/f")).unwrap();
        let words: Vec<_> = command.get_args().collect();
        assert_eq!((peer.name.as_str(), command.get_program().to_str()), ("other", Some("bin/other")));
        assert_eq!(words, ["--port", "18080", "--to=127.0.0.1:19001", "/f/cert.pem"]);
        for other in ["other", "=other", "other=", "other=  "] {
            assert!(other.parse::<Peer>().is_err(), "{other}");
        }
    }
}
