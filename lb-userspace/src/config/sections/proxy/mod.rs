//! Keys of layer 7.

mod fields;
mod listener;
mod route;
mod service;

pub(in crate::config) use fields::{ADD, EDITS, SET};
pub(in crate::config) use listener::{
    CERTIFICATE, CLIENT_CERTIFICATES, DEADLINES, HSTS, LIMITS, LISTENER, TLS,
};
pub(in crate::config) use route::{
    COOKIE, HEADER, PATH, QUERY, REDIRECT, RESPOND, REWRITE, ROUTE, ROUTE_DEADLINES, SPLIT,
};
pub(in crate::config) use service::{
    HTTP_BACKEND, HTTP_SERVICE, OUTLIERS, POOL, QUEUE, RETRIES, STICKY, UPSTREAM_DEADLINES, UPSTREAM_TLS,
};

use super::super::keys::{Form, Key, Presence, Section, Unit, Value};
use super::super::proxy::{Forwarded, Io};
use super::ACCESS_LOG;

/// Longest deadline, and what bounds every other duration of layer 7.
const DAY_MS: u64 = 24 * 3_600_000;

/// A duration of at least a millisecond.
const fn deadline() -> Value {
    Value::Number(Unit::Duration, 1..=DAY_MS)
}

/// The proxy as a whole.
pub(in crate::config) static PROXY: Section = Section {
    title: "[proxy]",
    meaning: "Layer 7 as a whole: what all listeners have in common. It runs if there is a `[[listener]]`.",
    keys: &[
        Key {
            name: "workers",
            value: Value::Number(Unit::Plain, 1..=1024),
            presence: Presence::Optional("one a core"),
            example: "workers = 4",
            meaning: "Worker threads. Each has its own sockets and its own connections to backends, and shares nothing with the others on a request's way. Read at start.",
            why: "A worker that waits for nothing but the network needs a core of its own.",
        },
        Key {
            name: "io",
            value: Value::Choice(Io::CHOICES),
            presence: Presence::Default("\"auto\""),
            example: "io = \"epoll\"",
            meaning: "How bytes are moved. `auto`: by io_uring where the kernel allows it, else by epoll; the log says which. `io_uring`: by that or not at all, so where the kernel forbids it the daemon does not start. `epoll`: by that. Read at start.",
            why: "Many container runtimes forbid io_uring.",
        },
        Key {
            name: "memory",
            value: Value::Number(Unit::Size, 1_048_576..=1 << 40),
            presence: Presence::Default("\"256M\""),
            example: "memory = \"1024M\"",
            meaning: "Bytes that connections and exchanges of all workers may take together: their buffers, and what TLS and the rest are reckoned at. Above 80 % connections are closed that have waited longest for a request; above 90 % new ones are turned away, plain ones by 503 and `Retry-After`; when all is spent, new requests too.",
            why: "Room for some ten thousand busy connections. Shedding a request is better than losing all of them to a lack of memory.",
        },
        Key {
            name: "trusted",
            value: Value::Texts(Form::Prefix),
            presence: Presence::Optional("nobody"),
            example: "trusted = [\"10.0.0.0/8\"]",
            meaning: "Networks of proxies in front of this one. Of clients from there `X-Forwarded-*`, `Forwarded`, `X-Real-IP` and `X-Request-Id` are kept and added to; of all others they are removed.",
            why: "Anyone can write such fields.",
        },
        Key {
            name: "forwarded",
            value: Value::Choice(Forwarded::CHOICES),
            presence: Presence::Default("\"x-forwarded\""),
            example: "forwarded = \"both\"",
            meaning: "The fields that tell backends of the client: `X-Forwarded-For`, `-Proto`, `-Host` and `-Port`, or the standard `Forwarded` (RFC 7239).",
            why: "What nearly all software reads.",
        },
        Key {
            name: "hide",
            value: Value::Texts(Form::Field),
            presence: Presence::Default(
                "[\"server\", \"via\", \"x-powered-by\", \"x-aspnet-version\", \"x-aspnetmvc-version\", \"x-backend-server\", \"x-generator\", \"x-runtime\"]",
            ),
            example: "hide = [\"server\", \"x-powered-by\"]",
            meaning: "Fields of backends' answers that clients do not see.",
            why: "They tell an attacker what to try.",
        },
        Key {
            name: "server",
            value: Value::Text(Form::FieldValue),
            presence: Presence::Optional("no `Server` field"),
            example: "server = \"example\"",
            meaning: "What the `Server` field of answers says.",
            why: "",
        },
        Key {
            name: "via",
            value: Value::Text(Form::Name),
            presence: Presence::Default("\"lb\""),
            example: "via = \"edge\"",
            meaning: "What this proxy calls itself in the `Via` field of requests.",
            why: "A proxy has to say that it was there (RFC 9110, section 7.6.3); a name is enough.",
        },
        Key {
            name: "drain",
            value: deadline(),
            presence: Presence::Default("\"30s\""),
            example: "drain = \"30s\"",
            meaning: "How long requests may take to end when the daemon stops.",
            why: "Longer than nearly every request, and shorter than what service managers wait before they kill.",
        },
        Key {
            name: "access_log",
            value: Value::Table(&ACCESS_LOG),
            presence: Presence::Optional("nothing is logged"),
            example: "access_log = { to = \"/var/log/lb/access.log\" }",
            meaning: "Logs the requests of all listeners that do not say otherwise.",
            why: "",
        },
        Key {
            name: "secret",
            value: Value::Text(Form::File),
            presence: Presence::Optional(
                "drawn at start: cookies do not outlive the daemon, and no other host knows them",
            ),
            example: "secret = \"/etc/lb/secret\"",
            meaning: "File of at least 32 bytes that sticky cookies are signed with. A reload reads it again.",
            why: "",
        },
    ],
};
