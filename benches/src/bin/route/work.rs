//! The tables and requests that are measured.

use anyhow::{Result, anyhow};
use lb_userspace::config::parse;
use lb_userspace::config::proxy::{Edits, Forwarded};
use lb_userspace::l7::http1::{Authority, parse_authority};
use lb_userspace::l7::message::{FieldSink, Fields, Request};
use lb_userspace::l7::rewrite::{Named, Peer, RequestContext, RequestEdits};
use lb_userspace::l7::route::Router;
use std::fmt::Write as _;
use std::net::SocketAddr;

const CLIENT: ([u8; 4], u16) = ([192, 0, 2, 7], 40_000);

/// What browsers send.
const FIELDS: [(&str, &str); 9] = [
    ("Host", "www77.example.org"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", "en-GB,en;q=0.7,de;q=0.3"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Referer", "https://www77.example.org/start"),
    ("Connection", "keep-alive"),
    ("Cookie", "session=5f2c9d7be01a4c38; theme=dark"),
    ("Cache-Control", "max-age=0"),
];

/// Which hosts are asked for.
#[derive(Clone, Copy)]
pub(super) enum Asked {
    /// One all the time.
    One,
    /// Another each time, over all there are: what the table's size costs in cache misses is in this row.
    Each,
}

impl Asked {
    pub(super) const ALL: [Self; 2] = [Self::One, Self::Each];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::One => "one asked for",
            Self::Each => "each asked for in turn",
        }
    }
}

/// A router with so many hosts, each with three paths, and wildcards beside them.
pub(super) struct Table {
    pub(super) hosts: u32,
    authorities: Vec<Authority>,
    router: Router<u32>,
}

impl Table {
    pub(super) fn new(hosts: u32) -> Result<Self> {
        let names: Vec<String> = (0..hosts).map(|number| format!("www{number}.example.org")).collect();
        let loaded = parse("bench", &config(&names)).map_err(|mistakes| anyhow!("{mistakes}"))?;
        let router =
            Router::new((0..).zip(&loaded.config.proxy.routes).map(|(number, route)| (route, number)))?;
        let authorities = names.iter().map(|name| Ok(parse_authority(name.as_bytes())?));
        Ok(Self { hosts, authorities: authorities.collect::<Result<_>>()?, router })
    }

    /// The route of a request for a path that is two segments below a prefix.
    pub(super) fn find(&self, asked: Asked, number: u32) -> Option<&u32> {
        let host = match asked {
            Asked::One => self.hosts / 2,
            // An odd factor goes through all of them, in no order that a cache could guess.
            Asked::Each => number.wrapping_mul(7919) % self.hosts,
        };
        let fields: &[httparse::Header<'_>] = &[];
        let request = Request {
            method: "GET",
            https: true,
            authority: self.authorities.get(host as usize)?,
            path: "/api/users/7",
            query: None,
            fields,
            client: SocketAddr::from(CLIENT),
        };
        self.router.find(&request)
    }
}

fn config(names: &[String]) -> String {
    let mut text = String::from(
        "[[service]]\nname = \"web\"\nkind = \"http\"\n[[service.backend]]\nname = \"a\"\naddr = \"10.0.0.1:80\"\n\
         [[route]]\nname = \"below\"\nhosts = \"*.example.net\"\nservice = \"web\"\n",
    );
    for (number, host) in names.iter().enumerate() {
        for (name, path) in [("all", "/"), ("api", "/api"), ("start", "/start")] {
            // Writing to a String cannot fail.
            _ = write!(
                text,
                "[[route]]\nname = \"{name}{number}\"\nhosts = \"{host}\"\npath = \"{path}\"\nservice = \"web\"\n"
            );
        }
    }
    text
}

/// A head and what becomes of it.
pub(super) struct Heads {
    edits: RequestEdits,
    authority: Authority,
    peer: Peer,
    out: Head,
    scratch: String,
}

impl Default for Heads {
    fn default() -> Self {
        Self {
            edits: RequestEdits::new(&Edits::default(), Forwarded::X, "lb", []),
            authority: parse_authority(FIELDS[0].1.as_bytes()).unwrap_or_else(|_| Authority::none()),
            peer: Peer::new([192, 0, 2, 7].into(), 443, true, &[]),
            out: Head::default(),
            scratch: String::new(),
        }
    }
}

/// Fields as HTTP/1.1 writes them.
#[derive(Default)]
struct Head(Vec<u8>);

impl FieldSink for Head {
    fn put(&mut self, name: &str, value: &[u8]) {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            self.0.extend_from_slice(part);
        }
    }
}

fn fields() -> [httparse::Header<'static>; 9] {
    FIELDS.map(|(name, value)| httparse::Header { name, value: value.as_bytes() })
}

impl Heads {
    /// The fields on their way to a backend.
    pub(super) fn send(&mut self) -> usize {
        self.out.0.clear();
        let fields = fields();
        let request = Request {
            method: "GET",
            https: true,
            authority: &self.authority,
            path: "/",
            query: None,
            fields: &fields[..],
            client: SocketAddr::from(CLIENT),
        };
        let context = RequestContext {
            peer: &self.peer,
            host: None,
            random: 1 << 77,
            upgrade: None,
            named: Named::default(),
            http2: false,
        };
        self.edits.apply(&request, &context, &mut self.scratch, &mut self.out);
        self.out.0.len()
    }

    /// The floor: the same fields, copied.
    pub(super) fn copy(&mut self) -> usize {
        self.out.0.clear();
        for (name, value) in fields().each() {
            self.out.put(name, value);
        }
        self.out.0.len()
    }
}
