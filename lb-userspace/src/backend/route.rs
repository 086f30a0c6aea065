//! Which request gets which answer. Pure but for the one switch that `/healthz/fail` turns.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};

use super::request::Request;

/// What all connections of a backend share.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) name: String,
    /// Whether the health page says so.
    pub(super) failing: AtomicBool,
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
}

/// What to send back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A line of text.
    Text(u16, String),
    /// The request's own body.
    Echo,
    /// So many bytes of the stream, at so many a second.
    Bytes { length: u64, rate: Option<NonZeroU64> },
}

impl Answer {
    fn text(status: u16, text: &str) -> Self {
        Self::Text(status, format!("{text}\n"))
    }
}

pub(super) fn route(request: &Request, identity: &Identity, ends: Ends) -> Answer {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    // A HEAD is a GET whose body is not sent; the connection sees to that.
    let method = if request.method == "HEAD" { "GET" } else { &request.method };
    match (method, path) {
        ("GET", "/") => introduce(&identity.name, ends),
        ("GET", "/healthz") => tell_health(identity.failing.load(Ordering::Relaxed)),
        ("POST", "/healthz/fail") => set_health(identity, true),
        ("POST", "/healthz/ok") => set_health(identity, false),
        ("POST", "/echo") => Answer::Echo,
        ("GET", path) if path.starts_with("/bytes/") => parse_bytes(path, query),
        (_, "/" | "/healthz" | "/healthz/fail" | "/healthz/ok" | "/echo") => {
            Answer::text(405, "method not allowed")
        }
        _ => Answer::text(404, "not found"),
    }
}

fn introduce(name: &str, Ends { peer, local }: Ends) -> Answer {
    Answer::Text(200, format!("name={name} peer={peer} local={local}\n"))
}

fn tell_health(failing: bool) -> Answer {
    if failing { Answer::text(503, "failing") } else { Answer::text(200, "ok") }
}

fn set_health(identity: &Identity, failing: bool) -> Answer {
    identity.failing.store(failing, Ordering::Relaxed);
    Answer::text(200, if failing { "now failing" } else { "now ok" })
}

fn parse_bytes(path: &str, query: &str) -> Answer {
    let length = path.strip_prefix("/bytes/").and_then(|text| text.parse().ok());
    let rate = query.split('&').find_map(|pair| pair.strip_prefix("rate=")).map(str::parse).transpose();
    match (length, rate) {
        (None, _) => Answer::text(400, "/bytes/N wants a number of bytes"),
        (_, Err(_)) => Answer::text(400, "rate wants a number of bytes per second above zero"),
        (Some(length), Ok(rate)) => Answer::Bytes { length, rate },
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::Framing;
    use super::*;

    fn ask(identity: &Identity, method: &str, target: &str) -> Answer {
        let request = Request {
            method: method.into(),
            target: target.into(),
            keep_alive: true,
            expects_continue: false,
            framing: Framing::Length(0),
        };
        let ends = Ends { peer: ([10, 0, 0, 9], 4000).into(), local: ([10, 0, 0, 1], 80).into() };
        route(&request, identity, ends)
    }

    fn identity() -> Identity {
        Identity { name: "web1".into(), failing: AtomicBool::new(false) }
    }

    fn status(answer: &Answer) -> u16 {
        if let Answer::Text(status, _) = answer { *status } else { 200 }
    }

    #[test]
    fn the_front_page_names_backend_and_both_ends() {
        let text = "name=web1 peer=10.0.0.9:4000 local=10.0.0.1:80\n";
        assert_eq!(ask(&identity(), "GET", "/"), Answer::Text(200, text.into()));
    }

    #[test]
    fn health_fails_from_fail_to_ok() {
        let identity = identity();
        let steps = [("GET", "/healthz", 200), ("POST", "/healthz/fail", 200), ("GET", "/healthz", 503)];
        for (method, target, want) in
            steps.into_iter().chain([("POST", "/healthz/ok", 200), ("GET", "/healthz", 200)])
        {
            assert_eq!(status(&ask(&identity, method, target)), want, "{method} {target}");
        }
    }

    #[test]
    fn bytes_come_with_and_without_a_rate() {
        let rate = NonZeroU64::new(1000);
        assert_eq!(ask(&identity(), "GET", "/bytes/5"), Answer::Bytes { length: 5, rate: None });
        assert_eq!(ask(&identity(), "GET", "/bytes/5?x=1&rate=1000"), Answer::Bytes { length: 5, rate });
        for target in ["/bytes/", "/bytes/-1", "/bytes/5?rate=0", "/bytes/5?rate=fast"] {
            assert_eq!(status(&ask(&identity(), "GET", target)), 400, "{target}");
        }
    }

    #[test]
    fn what_is_not_there_is_404_and_the_wrong_method_405() {
        assert_eq!(status(&ask(&identity(), "GET", "/nothing")), 404);
        assert_eq!(status(&ask(&identity(), "DELETE", "/")), 405);
        assert_eq!(
            status(&ask(&identity(), "GET", "/healthz/fail")),
            405,
            "a crawler must not fail a backend"
        );
    }
}
