//! How backends are probed.

use super::super::bounds::{MAX_INTERVAL_MS, MAX_JITTER, MAX_STREAK, MIN_INTERVAL_MS, MIN_TIMEOUT_MS};
use super::super::keys::{Form, Key, Presence, Section, Unit, Value};

/// A health check.
pub(in crate::config) static HEALTH: Section = Section {
    title: "health = { … }",
    meaning: "How the backends of a service are probed, inside the braces of its `health`. Either `http` or `tcp`.",
    keys: &[
        Key {
            name: "http",
            value: Value::Text(Form::Path),
            presence: Presence::Optional("the check is `tcp`"),
            example: "http = \"/healthz\"",
            meaning: "Probes with `GET` of this path: over HTTP/1.1, and where `kind = \"http\"` the way requests go, with the \
                      service's `tls`, `proxy_protocol` (which tells of no client) and `http2`.",
            why: "Only the operator knows a path that tells whether the server can do its work.",
        },
        Key {
            name: "status",
            value: Value::NumberOr(Form::Status),
            presence: Presence::Default("200"),
            example: "status = \"200-299\"",
            meaning: "Status of a healthy answer. Only with `http`.",
            why: "A redirect or an error page is no proof of health unless you say so.",
        },
        Key {
            name: "host",
            value: Value::Text(Form::Host),
            presence: Presence::Optional("the backend's address"),
            example: "host = \"www.example.org\"",
            meaning: "The `Host` header of the probe. Only with `http`.",
            why: "Servers with one site need none.",
        },
        Key {
            name: "tcp",
            value: Value::Flag,
            presence: Presence::Optional("the check is `http`"),
            example: "tcp = true",
            meaning: "Probes by opening a connection, and closing it at once; after the service's PROXY header and TLS handshake, \
                      where it has them.",
            why: "",
        },
        Key {
            name: "port",
            value: Value::Number(Unit::Plain, 1..=65535),
            presence: Presence::Optional("the backend's own port"),
            example: "port = 8081",
            meaning: "Port to probe. Required with `protocol = \"udp\"`. Another port than the one that serves is asked plainly: \
                      without TLS, PROXY header and HTTP/2, whatever the service speaks.",
            why: "The port that serves is the one whose health matters.",
        },
        Key {
            name: "interval",
            value: Value::Number(Unit::Duration, MIN_INTERVAL_MS..=MAX_INTERVAL_MS),
            presence: Presence::Default("\"1s\""),
            example: "interval = \"1s\"",
            meaning: "Time from one probe of a backend to the next.",
            why: "One probe a second is nothing to a backend and finds a dead one within two seconds.",
        },
        Key {
            name: "timeout",
            value: Value::Number(Unit::Duration, MIN_TIMEOUT_MS..=MAX_INTERVAL_MS),
            presence: Presence::Default("\"500ms\""),
            example: "timeout = \"500ms\"",
            meaning: "Time after which a probe has failed; at most `interval`, so that probes never overlap. The default is \
                      `interval` where that is shorter.",
            why: "Long for a healthy backend of the same site, and over before the next probe.",
        },
        Key {
            name: "rise",
            value: Value::Number(Unit::Plain, 1..=MAX_STREAK),
            presence: Presence::Default("2"),
            example: "rise = 2",
            meaning: "Successes in a row that bring a backend up.",
            why: "One success may be luck; a third would only keep a good backend waiting.",
        },
        Key {
            name: "fall",
            value: Value::Number(Unit::Plain, 1..=MAX_STREAK),
            presence: Presence::Default("2"),
            example: "fall = 2",
            meaning: "Failures in a row that take a backend down: a dead one is out after `interval` times `fall`.",
            why: "One lost probe is no verdict.",
        },
        Key {
            name: "jitter",
            value: Value::Number(Unit::Percent, 0..=MAX_JITTER),
            presence: Presence::Default("\"10%\""),
            example: "jitter = \"10%\"",
            meaning: "Share by which intervals are shortened at random, so that many balancers do not probe in step. Never \
                      lengthened: `interval` times `fall` holds.",
            why: "Enough to spread the probes, little enough to keep the interval's meaning.",
        },
    ],
};
