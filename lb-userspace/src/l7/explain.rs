//! Which way a request would go, told by the very code that requests go by: its head is written out, read by the codec, routed by
//! the listener's router and rendered as a backend would be sent it.
//!
//! Pure but for the listener and backends it is told of. Runs in the daemon, on the snapshot in force.

use super::ask::{self, Asker, render};
use super::http1::{Form, Framing, Head, Limits, Refusal, room};
use super::message::Request;
use super::respond::Failure;
use super::rewrite::Peer;
use super::route::Router;
use super::settings::{Action, Listener, ListenerId, Route, ServiceId, Settings};
use crate::config::{Protocol, Service, Vip, proxy};
use httparse::Header;
use std::cmp::Reverse;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A request to explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Whether by TLS.
    pub https: bool,
    /// The host, without port and brackets.
    pub host: String,
    /// The port that is connected to.
    pub port: u16,
    /// Path and query.
    pub target: String,
    /// The method.
    pub method: String,
    /// Fields besides Host.
    pub fields: Vec<(String, String)>,
    /// The client.
    pub client: SocketAddr,
}

/// What becomes of it.
#[derive(Debug)]
pub struct Reading {
    /// What is done.
    pub outcome: Outcome,
    /// The route that takes it.
    pub route: Option<Arc<Route>>,
    /// Routes for its host that do not take it, and why.
    pub passed: Vec<(String, String)>,
    /// Routes that are for other hosts.
    pub elsewhere: usize,
}

/// What is done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is refused or fails.
    Failed(Failure),
    /// The client is sent there.
    Redirected(u16, String),
    /// It gets a fixed answer of this status.
    Answered(u16),
    /// One of these services is asked, which is sent this head; with the hash and the cookie that it balances by.
    Forwarded(Vec<Way>),
}

/// A service that a request may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The service.
    pub service: ServiceId,
    /// The hash that it balances by.
    pub key: u64,
    /// The value of its sticky cookie.
    pub cookie: Option<Box<[u8]>>,
    /// What a backend is sent.
    pub head: String,
}

/// A listener and its number.
type At<'a> = (ListenerId, &'a Arc<Listener>);

/// Most routes that are told of one by one.
const TOLD: usize = 20;

impl Question {
    /// Takes a URL apart.
    pub fn parse(url: &str) -> Result<(bool, String, u16, String), String> {
        let wrong = || format!("`{url}` is not a URL such as https://example.org/path");
        let uri: http::Uri = url.parse().map_err(|_| wrong())?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let target = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        Ok((https, host, uri.port_u16().unwrap_or(if https { 443 } else { 80 }), target.to_owned()))
    }

    /// The listener that it comes to: of its scheme and port, and if the host is an address, listening there; else the one that a
    /// service of packets hands its connections to, which also goes before where the host is an address of its VIP.
    #[must_use]
    pub fn listener<'a>(&self, settings: &'a Settings, of_packets: &[Service]) -> Option<At<'a>> {
        let addr = self.host.parse::<IpAddr>().ok();
        let handed = || {
            let to = self.handed_to(addr, of_packets)?;
            let is_it =
                |at: &SocketAddr| at.port() == to.port() && (at.ip() == to.ip() || at.ip().is_unspecified());
            self.of_scheme(settings).find(|(_, listener)| listener.config.addresses.iter().any(is_it))
        };
        let of_port =
            |(_, listener): &At<'_>| listener.config.addresses.iter().any(|at| at.port() == self.port);
        let is_there = |(_, listener): &At<'_>| {
            let here = |at: &SocketAddr| Some(at.ip()) == addr && at.port() == self.port;
            listener.config.addresses.iter().any(here)
        };
        let all = || self.of_scheme(settings).filter(of_port);
        let by_vip = addr.and_then(|_| handed());
        by_vip.or_else(|| all().find(is_there)).or_else(|| all().next()).or_else(handed)
    }

    fn of_scheme<'a>(&self, settings: &'a Settings) -> impl Iterator<Item = At<'a>> {
        settings.listeners.iter().filter(|(_, listener)| listener.config.tls.is_some() == self.https)
    }

    /// The socket that a service of packets hands connections to this port to; of several VIPs the most special has them.
    fn handed_to(&self, addr: Option<IpAddr>, of_packets: &[Service]) -> Option<SocketAddr> {
        let takes = |vip: &Vip| {
            vip.protocol == Protocol::Tcp
                && (vip.port..=vip.last_port).contains(&self.port)
                && addr.is_none_or(|addr| vip.covers(addr))
        };
        let rivals = of_packets.iter().filter(|service| takes(&service.vip));
        let special =
            |service: &&Service| (service.vip.bits, Reverse(service.vip.last_port - service.vip.port));
        rivals.max_by_key(special)?.listener
    }

    /// The request as it is sent.
    fn written(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = self.port == if self.https { 443 } else { 80 };
        let port = if usual { String::new() } else { format!(":{}", self.port) };
        let mut text = format!("{} {} HTTP/1.1\r\nHost: {host}{port}\r\n", self.method, self.target);
        for (name, value) in &self.fields {
            // Writing to a String cannot fail.
            _ = write!(text, "{name}: {value}\r\n");
        }
        text + "\r\n"
    }

    /// What becomes of it at this listener.
    pub fn read(&self, settings: &Settings, listener: &Listener) -> Reading {
        let text = self.written();
        let mut room = room();
        match Head::parse(text.as_bytes(), &mut room, &Limits::DEFAULT) {
            Ok(Some(head)) => self.route(settings, listener, &head).unwrap_or_else(Reading::failed),
            Ok(None) => Reading::failed(Failure::Refused(Refusal::RequestLine)),
            Err(refusal) => Reading::failed(refusal.into()),
        }
    }

    fn route(
        &self,
        settings: &Settings,
        listener: &Listener,
        head: &Head<'_, '_>,
    ) -> Result<Reading, Failure> {
        if head.form == Form::Authority {
            return Err(Failure::Connect);
        }
        let path = head.path()?;
        let request = Request {
            method: head.method,
            https: self.https,
            authority: &head.authority,
            path: &path,
            query: head.query,
            fields: head.fields,
            client: self.client,
        };
        let question = ask::Question {
            request,
            upgrade: head.upgrade,
            expects_continue: head.expects_continue,
            names_fields: head.names_fields,
            text: head.text(),
        };
        let request = &question.request;
        if let Some(redirect) = &listener.redirect {
            return Ok(Reading::at_once(redirected(redirect, request)));
        }
        let route = listener.route(request);
        let taken = route.map(|route| &*route.name);
        let (passed, elsewhere) = passed(listener, request, taken);
        let outcome = match route.map(|route| (route, &route.action)) {
            None => Outcome::Failed(Failure::NoRoute),
            Some((_, Action::Redirect(redirect))) => redirected(redirect, request),
            Some((_, Action::Respond(answer))) => Outcome::Answered(answer.status),
            Some((route, Action::Forward(shares))) => Outcome::Forwarded(
                shares
                    .iter()
                    .filter_map(|id| self.way(settings, listener, (route, id), (&question, head.framing)))
                    .collect(),
            ),
        };
        Ok(Reading { outcome, route: route.cloned(), passed, elsewhere })
    }

    fn way(
        &self,
        settings: &Settings,
        listener: &Listener,
        (route, service): (&Route, ServiceId),
        (question, framing): (&ask::Question<'_, [Header<'_>]>, Framing),
    ) -> Option<Way> {
        let config = &settings.services.get(service)?.config;
        let peer = Peer::new(self.client.ip(), self.port, self.https, &settings.proxy.trusted);
        let asker = Asker {
            listener,
            client: self.client,
            peer: &peer,
            https: self.https,
            keeps: true,
            random: 0,
            date: "",
        };
        let (sent, _) = render(&asker, question, framing, route, config.host.as_deref());
        let request = &question.request;
        let sticky = config.sticky.as_ref();
        Some(Way {
            service,
            key: super::balance::key_of(&config.balance, request),
            cookie: sticky.and_then(|sticky| super::ask::sticky_value(request.fields, &sticky.cookie)),
            head: String::from_utf8_lossy(&sent).into_owned(),
        })
    }
}

impl Reading {
    const fn at_once(outcome: Outcome) -> Self {
        Self { outcome, route: None, passed: Vec::new(), elsewhere: 0 }
    }

    const fn failed(failure: Failure) -> Self {
        Self::at_once(Outcome::Failed(failure))
    }
}

fn redirected(redirect: &super::rewrite::Redirect, request: &Request<'_, [Header<'_>]>) -> Outcome {
    let mut location = String::new();
    redirect.push_location(request, &mut location);
    Outcome::Redirected(redirect.status, location)
}

/// The routes for the request's host that do not take it, with the reason, and how many are for other hosts.
fn passed(
    listener: &Listener,
    request: &Request<'_, [Header<'_>]>,
    taken: Option<&str>,
) -> (Vec<(String, String)>, usize) {
    let (mut passed, mut elsewhere) = (Vec::new(), 0);
    for route in listener.routes().iter().filter(|route| taken != Some(&*route.name)) {
        match unmet(route, request) {
            Some("its hosts") => elsewhere += 1,
            _ if passed.len() == TOLD => {}
            Some(what) => passed.push((route.name.clone(), format!("{what} asks for something else"))),
            None => passed
                .push((route.name.clone(), "would take it, but a more special route goes first".to_owned())),
        }
    }
    (passed, elsewhere)
}

/// The first of a route's conditions that does not hold. Each is tried by a router of that condition alone.
fn unmet(route: &proxy::Route, request: &Request<'_, [Header<'_>]>) -> Option<&'static str> {
    let none = || proxy::Route {
        hosts: Vec::new(),
        path: None,
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        cookies: Vec::new(),
        ..route.clone()
    };
    let steps = [
        ("its hosts", proxy::Route { hosts: route.hosts.clone(), ..none() }),
        ("its path", proxy::Route { path: route.path.clone(), ..none() }),
        ("its methods", proxy::Route { methods: route.methods.clone(), ..none() }),
        ("its headers", proxy::Route { headers: route.headers.clone(), ..none() }),
        ("its query", proxy::Route { query: route.query.clone(), ..none() }),
        ("its cookies", proxy::Route { cookies: route.cookies.clone(), ..none() }),
    ];
    let takes =
        |route: &proxy::Route| Router::new([(route, ())]).is_ok_and(|router| router.find(request).is_some());
    steps.into_iter().find(|(_, alone)| !takes(alone)).map(|(what, _)| what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const TEXT: &str = r#"
[[listener]]
name = "plain"
addresses = "0.0.0.0:80"
redirect_to_https = 443
[[listener]]
name = "main"
addresses = "0.0.0.0:443"
tls = { certificates = [{ cert = "/c", key = "/k" }] }
service = "web"
[[route]]
name = "api"
hosts = "example.org"
path = "/api"
service = "web"
rewrite = { prefix = "/v1" }
[[route]]
name = "posts"
hosts = "example.org"
path = "/api/new"
methods = "POST"
service = "web"
[[route]]
name = "other"
hosts = "example.com"
service = "web"
[[route]]
name = "hello"
path = { exact = "/hello" }
respond = { status = 204 }
[[service]]
name = "web"
kind = "http"
[[service.backend]]
name = "a"
addr = "10.0.0.1:80"
"#;

    fn question(url: &str, method: &str) -> Question {
        let (https, host, port, target) = Question::parse(url).unwrap();
        let (method, client) = (method.to_owned(), ([192, 0, 2, 7], 5555).into());
        Question { https, host, port, target, method, fields: Vec::new(), client }
    }

    fn read(url: &str, method: &str) -> (String, Reading) {
        let settings = Settings::build(&config::parse("test", TEXT).unwrap().config.proxy, None).unwrap();
        let question = question(url, method);
        let (_, listener) = question.listener(&settings, &[]).unwrap();
        (listener.config.name.clone(), question.read(&settings, listener))
    }

    #[test]
    fn what_is_handed_on_from_a_vip_comes_to_its_listener() {
        let vips = r#"
[[listener]]
name = "behind"
addresses = "10.0.0.5:8443"
tls = { certificates = [{ cert = "/c", key = "/k" }] }
service = "web"
[[service]]
name = "front"
vip = "203.0.113.20:443"
forward = "local"
listener = "10.0.0.5:8443"
[[service]]
name = "away"
vip = "203.0.113.0/24:443-444"
forward = "local"
listener = "10.0.0.6:9"
"#;
        let config = config::parse("test", &[TEXT, vips].concat()).unwrap().config;
        let settings = Settings::build(&config.proxy, None).unwrap();
        let comes_to = |url: &str| {
            let listener = question(url, "GET").listener(&settings, &config.services);
            listener.map(|(_, listener)| listener.config.name.clone())
        };
        assert_eq!(comes_to("https://203.0.113.20/").as_deref(), Some("behind"));
        assert_eq!(comes_to("https://198.51.100.1/").as_deref(), Some("main"));
        assert_eq!(comes_to("https://example.org/").as_deref(), Some("main"));
        assert_eq!(comes_to("https://example.org:8443/").as_deref(), Some("behind"));
        assert_eq!(comes_to("http://203.0.113.20:443/"), None, "by its scheme");
        assert_eq!(comes_to("https://203.0.113.9:444/"), None, "not one of ours");
    }

    #[test]
    fn a_route_is_told_with_what_the_backend_is_sent_and_why_no_other_took_it() {
        let (listener, reading) = read("https://Example.org/api/new?x=1", "GET");
        assert_eq!((&*listener, reading.route.as_ref().map(|route| &*route.name)), ("main", Some("api")));
        let Outcome::Forwarded(ways) = &reading.outcome else { panic!("{reading:?}") };
        let head = &ways[0].head;
        assert!(head.starts_with("GET /v1/new?x=1 HTTP/1.1\r\nhost: example.org\r\n"), "{head}");
        assert!(head.contains("x-forwarded-for: 192.0.2.7\r\n"), "{head}");
        let told: Vec<_> = reading.passed.iter().map(|(name, why)| (&**name, &**why)).collect();
        let path = "its path asks for something else";
        assert_eq!(told, [("posts", "its methods asks for something else"), ("hello", path)]);
        assert_eq!(reading.elsewhere, 1);
    }

    #[test]
    fn what_is_answered_at_once_is_told_as_it_is_answered() {
        assert_eq!(read("https://h/hello", "GET").1.outcome, Outcome::Answered(204));
        let (listener, reading) = read("http://h/a?b", "GET");
        assert_eq!(
            (&*listener, reading.outcome),
            ("plain", Outcome::Redirected(308, "https://h/a?b".to_owned()))
        );
        let refused = read("https://h/a/%2e%2e/%zz", "GET").1.outcome;
        assert!(matches!(refused, Outcome::Failed(Failure::Refused(_))), "{refused:?}");
    }

    #[test]
    fn what_is_no_url_is_said_to_be_none() {
        for text in ["example.org", "ftp://h/", "https://", "https:///x", "/a"] {
            assert!(Question::parse(text).is_err(), "{text}");
        }
        let read = Question::parse("http://[2001:db8::1]:8080").unwrap();
        assert_eq!(read, (false, "2001:db8::1".to_owned(), 8080, "/".to_owned()));
    }
}
