//! Keys of services with `kind = "http"`.

use super::super::super::bounds::MAX_WEIGHT;
use super::super::super::keys::{Form, Key, Presence, Section, Unit, Value};
use super::super::super::proxy::{BalanceWord, ProxyHeader};
use super::super::{HEALTH, KIND};
use super::{DAY_MS, deadline};

/// A service of layer 7.
pub(in crate::config) static HTTP_SERVICE: Section = Section {
    title: "[[service]] of kind http",
    meaning: "A service of the proxy, with `kind = \"http\"`: no VIP and no way to forward packets, for listeners and routes lead to it.",
    keys: &[
        Key {
            name: "name",
            value: Value::Text(Form::Name),
            presence: Presence::Required,
            example: "name = \"web\"",
            meaning: "Name, unique among all services.",
            why: "Commands, logs and metrics use it.",
        },
        KIND,
        Key {
            name: "balance",
            value: Value::Choice(BalanceWord::CHOICES),
            presence: Presence::Default("\"p2c-ewma\""),
            example: "balance = \"round-robin\"",
            meaning: "How requests are spread. `p2c-ewma`: of two backends drawn at random, to the one that will answer sooner by its latency of late and its load. `round-robin`: in turn. `least-connections`: to the one with the fewest exchanges. `ip-hash`: by the client's address. `hash`: by what `hash_on` names. All by weight.",
            why: "It finds slow backends by itself, and two draws are enough not to send everything to the fastest.",
        },
        Key {
            name: "hash_on",
            value: Value::Text(Form::HashOn),
            presence: Presence::Optional("none; required with `balance = \"hash\"`"),
            example: "hash_on = \"path\"",
            meaning: "The part of a request that decides with `balance = \"hash\"`. Where it is missing, the client's address does.",
            why: "",
        },
        Key {
            name: "sticky",
            value: Value::Table(&STICKY),
            presence: Presence::Optional("clients are not bound"),
            example: "sticky = { cookie = \"lb\" }",
            meaning: "Binds a client to its backend by a signed cookie, as long as that backend serves.",
            why: "",
        },
        Key {
            name: "health",
            value: Value::TableOr(&HEALTH, "none"),
            presence: Presence::Default("{ tcp = true }"),
            example: "health = { http = \"/healthz\" }",
            meaning: "How backends are probed, as for any service; `\"none\"` takes every backend for healthy.",
            why: "A backend that accepts connections is the least a service needs.",
        },
        Key {
            name: "max_connections",
            value: Value::Number(Unit::Size, 0..=10_000_000),
            presence: Presence::Default("0"),
            example: "max_connections = 200",
            meaning: "Exchanges at a time with one backend, shared out evenly over the workers. 0 is no bound.",
            why: "Only the operator knows what a backend can take.",
        },
        Key {
            name: "queue",
            value: Value::Table(&QUEUE),
            presence: Presence::Optional("every key at its default"),
            example: "queue = { length = 1000 }",
            meaning: "Where requests wait when all backends are full.",
            why: "",
        },
        Key {
            name: "slow_start",
            value: Value::Number(Unit::Duration, 0..=DAY_MS),
            presence: Presence::Default("\"0s\""),
            example: "slow_start = \"30s\"",
            meaning: "How long a backend that came up takes to get its whole share.",
            why: "Most servers need no warming up.",
        },
        Key {
            name: "pool",
            value: Value::Table(&POOL),
            presence: Presence::Optional("every key at its default"),
            example: "pool = { idle = 16 }",
            meaning: "Connections to backends that are kept for the next request.",
            why: "",
        },
        Key {
            name: "deadlines",
            value: Value::Table(&UPSTREAM_DEADLINES),
            presence: Presence::Optional("every key at its default"),
            example: "deadlines = { connect = \"500ms\" }",
            meaning: "How long a backend may take.",
            why: "",
        },
        Key {
            name: "retries",
            value: Value::Table(&RETRIES),
            presence: Presence::Optional("every key at its default"),
            example: "retries = { count = 1 }",
            meaning: "What is tried again. Only what is safe to: a request of which nothing was sent, or one that is idempotent and has no body.",
            why: "",
        },
        Key {
            name: "outliers",
            value: Value::TableOr(&OUTLIERS, "none"),
            presence: Presence::Optional("every key at its default"),
            example: "outliers = { failures = 10 }",
            meaning: "When a backend is left out for a while by what it answers; `\"none\"` never.",
            why: "A check sees what it asks for; requests see more.",
        },
        Key {
            name: "tls",
            value: Value::Table(&UPSTREAM_TLS),
            presence: Presence::Optional("plain HTTP"),
            example: "tls = { sni = \"backend.example.org\" }",
            meaning: "Speaks TLS to backends.",
            why: "",
        },
        Key {
            name: "proxy_protocol",
            value: Value::Choice(ProxyHeader::CHOICES),
            presence: Presence::Optional("none"),
            example: "proxy_protocol = \"v2\"",
            meaning: "Begins connections to backends with a PROXY header. Each then serves one client alone.",
            why: "Forwarding fields tell the same, and let clients share connections.",
        },
        Key {
            name: "http2",
            value: Value::Flag,
            presence: Presence::Default("false"),
            example: "http2 = true",
            meaning: "Speaks HTTP/2 to backends, as gRPC needs it: by ALPN with `tls`, by prior knowledge without.",
            why: "On a short way HTTP/1.1 costs less.",
        },
        Key {
            name: "host",
            value: Value::Text(Form::Authority),
            presence: Presence::Optional(
                "what the client said; the service's name, where HTTP/1.0 said nothing",
            ),
            example: "host = \"backend.example.org\"",
            meaning: "What the Host field says to backends.",
            why: "Servers that know their names build links with it.",
        },
        Key {
            name: "backend",
            value: Value::Tables(&HTTP_BACKEND),
            presence: Presence::Required,
            example: "[[service.backend]]",
            meaning: "The servers of the service, one header each: at least one.",
            why: "",
        },
    ],
};

/// A backend of layer 7.
pub(in crate::config) static HTTP_BACKEND: Section = Section {
    title: "[[service.backend]] of kind http",
    meaning: "One server of the service of kind `http` above it.",
    keys: &[
        Key {
            name: "name",
            value: Value::Text(Form::Name),
            presence: Presence::Required,
            example: "name = \"web1\"",
            meaning: "Name, unique within the service; sticky cookies are bound to it.",
            why: "",
        },
        Key {
            name: "addr",
            value: Value::Text(Form::Endpoint),
            presence: Presence::Required,
            example: "addr = \"10.0.0.11:8080\"",
            meaning: "Address and port it listens on; it may be of either family, and this host's own. Unique within the service, never a VIP of this file.",
            why: "",
        },
        Key {
            name: "weight",
            value: Value::Number(Unit::Plain, 1..=MAX_WEIGHT),
            presence: Presence::Default("1"),
            example: "weight = 3",
            meaning: "Share of requests relative to the service's other backends.",
            why: "Equal shares.",
        },
        Key {
            name: "drain",
            value: Value::Flag,
            presence: Presence::Default("false"),
            example: "drain = true",
            meaning: "Takes the backend out gently: exchanges under way end, and clients bound to it by a cookie stay; no others come.",
            why: "",
        },
    ],
};

/// A sticky cookie.
pub(in crate::config) static STICKY: Section = Section {
    title: "sticky = { … }",
    meaning: "The cookie that binds a client to its backend, inside the braces of `sticky`. It names the backend by a signed digest, which tells nobody anything.",
    keys: &[
        Key {
            name: "cookie",
            value: Value::Text(Form::CookieName),
            presence: Presence::Default("\"lb\""),
            example: "cookie = \"lb\"",
            meaning: "Its name.",
            why: "",
        },
        Key {
            name: "max_age",
            value: Value::Number(Unit::Duration, 1000..=365 * DAY_MS),
            presence: Presence::Optional("until the browser is closed"),
            example: "max_age = \"1h\"",
            meaning: "How long browsers keep it, in whole seconds.",
            why: "",
        },
    ],
};

/// The queue of a service.
pub(in crate::config) static QUEUE: Section = Section {
    title: "queue = { … }",
    meaning: "Where requests wait when all backends have their `max_connections`, inside the braces of `queue`. Each worker has \
              its own, and serves first who came first.",
    keys: &[
        Key {
            name: "length",
            value: Value::Number(Unit::Size, 0..=1_000_000),
            presence: Presence::Default("128"),
            example: "length = 1000",
            meaning: "Requests that may wait in each worker; one more is answered with 503.",
            why: "Some waiting is better than an error; a long queue only makes everybody wait.",
        },
        Key {
            name: "timeout",
            value: deadline(),
            presence: Presence::Default("\"1s\""),
            example: "timeout = \"1s\"",
            meaning: "How long each may wait, after which it is answered with 503.",
            why: "Who waits for longer tries again anyway.",
        },
    ],
};

/// Connections to backends.
pub(in crate::config) static POOL: Section = Section {
    title: "pool = { … }",
    meaning: "Connections that each worker keeps to each backend, inside the braces of `pool`.",
    keys: &[
        Key {
            name: "idle",
            value: Value::Number(Unit::Plain, 0..=100_000),
            presence: Presence::Default("1000"),
            example: "idle = 16",
            meaning: "Most that are kept idle; 0 keeps none.",
            why: "As many as a busy worker uses at a time; what a burst left over ends by `idle_timeout`.",
        },
        Key {
            name: "idle_timeout",
            value: deadline(),
            presence: Presence::Default("\"30s\""),
            example: "idle_timeout = \"4s\"",
            meaning: "How long one is kept idle. Let it be shorter than the backends' own time.",
            why: "Servers keep connections for a minute or so.",
        },
        Key {
            name: "requests",
            value: Value::Number(Unit::Size, 0..=1_000_000_000),
            presence: Presence::Default("0"),
            example: "requests = \"1k\"",
            meaning: "Requests after which one is closed; 0 is no bound.",
            why: "",
        },
        Key {
            name: "lifetime",
            value: deadline(),
            presence: Presence::Optional("any age"),
            example: "lifetime = \"10m\"",
            meaning: "Age at which one is closed after its exchange. Each gets up to a tenth less, so that connections made at once do not end at once.",
            why: "",
        },
    ],
};

/// How long a backend may take.
pub(in crate::config) static UPSTREAM_DEADLINES: Section = Section {
    title: "deadlines = { … } of a service",
    meaning: "How long a backend may take, inside the braces of a service's `deadlines`.",
    keys: &[
        Key {
            name: "connect",
            value: deadline(),
            presence: Presence::Default("\"2s\""),
            example: "connect = \"500ms\"",
            meaning: "For the connection, its TLS handshake included.",
            why: "One lost packet costs a second.",
        },
        Key {
            name: "first_byte",
            value: deadline(),
            presence: Presence::Default("\"60s\""),
            example: "first_byte = \"10s\"",
            meaning: "From the end of a request to the first byte of its answer; else it is answered with 504. An answer that promises another, such as 103, begins it anew.",
            why: "What most servers and people wait for.",
        },
        Key {
            name: "idle",
            value: deadline(),
            presence: Presence::Default("\"60s\""),
            example: "idle = \"10s\"",
            meaning: "Between two pieces of an answer, or of an upgraded connection, whichever side sends them.",
            why: "As above.",
        },
    ],
};

/// Retries.
pub(in crate::config) static RETRIES: Section = Section {
    title: "retries = { … }",
    meaning: "What is tried again, inside the braces of `retries`: on another backend if there is one.",
    keys: &[
        Key {
            name: "count",
            value: Value::Number(Unit::Plain, 0..=10),
            presence: Presence::Default("2"),
            example: "count = 1",
            meaning: "Most retries of one request; 0 never.",
            why: "What fails three times will fail again.",
        },
        Key {
            name: "budget",
            value: Value::Number(Unit::Percent, 0..=100),
            presence: Presence::Default("\"20%\""),
            example: "budget = \"10%\"",
            meaning: "Retries as a share of requests, above which failures are answered as they are.",
            why: "When everything fails, retries would only double the load.",
        },
        Key {
            name: "reserve",
            value: Value::Number(Unit::Plain, 0..=10_000),
            presence: Presence::Default("10"),
            example: "reserve = 10",
            meaning: "Retries a second that each worker may do besides.",
            why: "A share of few requests is nothing.",
        },
        Key {
            name: "on_status",
            value: Value::Flag,
            presence: Presence::Default("false"),
            example: "on_status = true",
            meaning: "Tries idempotent requests without a body again, on another backend, that were answered with 502, 503 or 504.",
            why: "Such an answer may be meant.",
        },
    ],
};

/// Outliers.
pub(in crate::config) static OUTLIERS: Section = Section {
    title: "outliers = { … }",
    meaning: "When a backend is left out for a while by what it answers, inside the braces of `outliers`. Each worker judges by itself.",
    keys: &[
        Key {
            name: "failures",
            value: Value::Number(Unit::Plain, 1..=10_000),
            presence: Presence::Default("5"),
            example: "failures = 10",
            meaning: "Failures in a row: no connection, no answer, or a status of 500 and more.",
            why: "A broken server fails always, a good one hardly five times in a row.",
        },
        Key {
            name: "latency",
            value: Value::Number(Unit::Plain, 2..=1000),
            presence: Presence::Optional("latency is no reason"),
            example: "latency = 5",
            meaning: "How many times slower than the median of the service's backends is a reason, too.",
            why: "`balance = \"p2c-ewma\"` sends little to slow backends anyway.",
        },
        Key {
            name: "eject",
            value: deadline(),
            presence: Presence::Default("\"30s\""),
            example: "eject = \"10s\"",
            meaning: "How long it is left out the first time; the second time twice as long, and so on, ten times at most.",
            why: "Time to restart.",
        },
        Key {
            name: "most",
            value: Value::Number(Unit::Percent, 0..=100),
            presence: Presence::Default("\"50%\""),
            example: "most = \"20%\"",
            meaning: "Share of the backends that may be left out at a time; one always may where there are several, and never all.",
            why: "If more seem broken, the fault is elsewhere.",
        },
    ],
};

/// TLS to backends.
pub(in crate::config) static UPSTREAM_TLS: Section = Section {
    title: "tls = { … } of a service",
    meaning: "How TLS is spoken to backends, inside the braces of a service's `tls`.",
    keys: &[
        Key {
            name: "ca",
            value: Value::Text(Form::File),
            presence: Presence::Optional("the authorities that the system believes"),
            example: "ca = \"/etc/lb/backends.pem\"",
            meaning: "PEM of the authorities that are believed.",
            why: "",
        },
        Key {
            name: "sni",
            value: Value::Text(Form::Host),
            presence: Presence::Optional("the backend's address"),
            example: "sni = \"backend.example.org\"",
            meaning: "The name that is asked for and that the certificate must have.",
            why: "",
        },
        Key {
            name: "cert",
            value: Value::Text(Form::File),
            presence: Presence::Optional("no certificate is shown"),
            example: "cert = \"/etc/lb/proxy.pem\"",
            meaning: "Chain in PEM to show to backends that ask for it. Goes with `key`.",
            why: "",
        },
        Key {
            name: "key",
            value: Value::Text(Form::File),
            presence: Presence::Optional("no certificate is shown"),
            example: "key = \"/etc/lb/proxy.key\"",
            meaning: "Its private key in PEM.",
            why: "",
        },
        Key {
            name: "verify",
            value: Value::Flag,
            presence: Presence::Default("true"),
            example: "verify = false",
            meaning: "Checks the certificates of backends. Without, whoever answers at the address is believed.",
            why: "TLS with nobody in particular protects from nobody in particular.",
        },
    ],
};
