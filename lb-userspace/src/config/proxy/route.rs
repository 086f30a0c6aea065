//! Which way a request goes.

use std::fmt;
use std::time::Duration;

/// `[[route]]`: what requests it takes, and what becomes of them.
///
/// Of several routes that take a request the more special wins, see [`crate::l7::route`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Unique name.
    pub name: String,
    /// Names of the listeners it belongs to; empty for all.
    pub listeners: Vec<String>,
    /// Hosts, one of which a request must be for; empty for any.
    pub hosts: Vec<HostPattern>,
    /// The path it must have; `None` for any.
    pub path: Option<PathPattern>,
    /// Methods, one of which it must have; empty for any.
    pub methods: Vec<String>,
    /// What its fields must be; all must hold.
    pub headers: Vec<Condition>,
    /// What its query's parameters must be; all must hold.
    pub query: Vec<Condition>,
    /// What its cookies must be; all must hold.
    pub cookies: Vec<Condition>,
    /// What becomes of it.
    pub action: Action,
    /// How its path is changed on the way to the service.
    pub rewrite: Option<PathChange>,
    /// What the Host field says to backends, before what the service says.
    pub host: Option<String>,
    /// What is changed in the fields of requests.
    pub request: Edits,
    /// What is changed in the fields of answers.
    pub response: Edits,
    /// The service that gets a copy of each request, whose answers are thrown away.
    pub mirror: Option<String>,
    /// Whether its requests are logged, where there is a log. Default true.
    pub log: bool,
    /// Bytes of a request's body; `None`, the default, any number.
    pub body_limit: Option<u64>,
    /// Deadlines that differ from the listener's and the service's.
    pub deadlines: RouteDeadlines,
    /// Line of its header, from 1. No part of its identity: leave it out when comparing.
    pub line: usize,
}

/// Hosts that a route is for, in lower case and without a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// `www.example.org`, `192.0.2.1`, `2001:db8::1`
    Exact(String),
    /// `*.example.org`: the part behind the `*`, with its dot. One label or more stand for the `*`.
    Wildcard(String),
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(rest) => write!(f, "*{rest}"),
        }
    }
}

/// Paths that a route is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathPattern {
    /// This one.
    Exact(String),
    /// This one and what is below it: `/a` takes `/a`, `/a/` and `/a/b`, not `/ab`. Kept without a `/` at its end, so `""` is
    /// every path.
    Prefix(String),
    /// Those that the expression matches from end to end.
    Regex(String),
}

/// The expression that matches a text only from end to end.
#[must_use]
pub fn whole_match(expression: &str) -> String {
    format!(r"\A(?:{expression})\z")
}

/// What a field, a parameter or a cookie must be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Condition {
    /// Its name; of a field in lower case.
    pub name: String,
    /// What holds of it.
    pub test: Test,
}

/// What holds of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Test {
    /// It is this.
    Is(String),
    /// The expression matches it from end to end.
    Matches(String),
    /// It is there.
    Present,
    /// It is not there.
    Absent,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// To one of these services, by share. At least one; their weights are not all 0.
    Forward(Vec<Share>),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// The answer is fixed.
    Respond(Respond),
}

impl Action {
    /// The services it names.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        let shares = if let Self::Forward(shares) = self { shares.as_slice() } else { &[] };
        shares.iter().map(|share| share.service.as_str())
    }
}

/// A service's share of a route's requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Share {
    /// The service's name.
    pub service: String,
    /// Its share relative to the others', 0 to 1000.
    pub weight: u16,
}

/// Where a client is sent. What is `None` stays as the client asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308. Default 308.
    pub status: u16,
    /// `http` or `https`.
    pub https: Option<bool>,
    /// The host.
    pub host: Option<String>,
    /// The port; without one, none is written if the scheme is changed.
    pub port: Option<u16>,
    /// The path; the query stays.
    pub path: Option<PathChange>,
}

/// A fixed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599. Default 200.
    pub status: u16,
    /// Default empty.
    pub body: String,
    /// Default `text/plain; charset=utf-8`.
    pub content_type: String,
}

impl Default for Respond {
    fn default() -> Self {
        Self { status: 200, body: String::new(), content_type: "text/plain; charset=utf-8".to_owned() }
    }
}

/// How a path is changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathChange {
    /// To this one, whole.
    Whole(String),
    /// The prefix that the route matched becomes this one. Only with [`PathPattern::Prefix`]. Kept without a `/` at its end.
    Prefix(String),
    /// What the expression matches becomes `to`, where `$1` or `${name}` stands for a group.
    Regex {
        /// The expression, which need not match the whole path.
        from: String,
        /// What stands in its place.
        to: String,
    },
}

/// What is changed in fields: first removed, then set, then added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Fields that are put beside those of the same name.
    pub add: Vec<Field>,
    /// Fields that replace those of the same name.
    pub set: Vec<Field>,
    /// Names, in lower case, of fields that are removed.
    pub remove: Vec<String>,
}

/// A field to write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    /// Its name in lower case.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Deadlines of one route; `None` is as the listener and the service say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteDeadlines {
    /// From the end of a request to the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// Between two pieces of an answer.
    pub idle: Option<Duration>,
    /// For a whole exchange.
    pub request: Option<Duration>,
}
