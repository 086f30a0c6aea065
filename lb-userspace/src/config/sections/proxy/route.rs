//! Keys of routes.

use super::super::super::bounds::MAX_WEIGHT;
use super::super::super::keys::{Form, Key, Presence, Section, Unit, Value};
use super::{EDITS, deadline};

/// A route.
pub(in crate::config) static ROUTE: Section = Section {
    title: "[[route]]",
    meaning: "Which requests go which way. A route takes a request if all that it names holds. Of several that do, the first in this \
              order wins: a host named whole, then the longest wildcard, then any host; a path named whole, then the first regular \
              expression of the file, then the longest prefix; one with `methods`; more `headers` and `cookies`; more `query`; the \
              first of the file. Between regular expressions only the file's order counts. Exactly one of `service`, `split`, \
              `redirect` and `respond` says what becomes of the request.",
    keys: &[
        Key {
            name: "name",
            value: Value::Text(Form::Name),
            presence: Presence::Required,
            example: "name = \"api\"",
            meaning: "Unique name; logs, metrics and `explain` use it.",
            why: "",
        },
        Key {
            name: "listeners",
            value: Value::Texts(Form::Name),
            presence: Presence::Optional("all"),
            example: "listeners = [\"https\"]",
            meaning: "Listeners whose requests it takes.",
            why: "",
        },
        Key {
            name: "hosts",
            value: Value::Texts(Form::HostPattern),
            presence: Presence::Optional("any host"),
            example: "hosts = [\"example.org\", \"*.example.org\"]",
            meaning: "Hosts, without port. `*.example.org` is every name below `example.org`, however deep, but not itself.",
            why: "",
        },
        Key {
            name: "path",
            value: Value::TextOr(Form::Path, &PATH),
            presence: Presence::Optional("any path"),
            example: "path = { prefix = \"/api\" }",
            meaning: "The path, without the query, as it is after dot segments are resolved and with one slash for several; backends are sent as many as came. `\"/api\"` is short for `{ prefix = \"/api\" }`.",
            why: "",
        },
        Key {
            name: "methods",
            value: Value::Texts(Form::Method),
            presence: Presence::Optional("any method"),
            example: "methods = [\"GET\", \"HEAD\"]",
            meaning: "Methods, as they are written: they have a case.",
            why: "",
        },
        Key {
            name: "headers",
            value: Value::Tables(&HEADER),
            presence: Presence::Optional("any fields"),
            example: "headers = [{ name = \"x-canary\", value = \"yes\" }]",
            meaning: "What fields must be; all must hold.",
            why: "",
        },
        Key {
            name: "query",
            value: Value::Tables(&QUERY),
            presence: Presence::Optional("any query"),
            example: "query = [{ name = \"version\", value = \"2\" }]",
            meaning: "What parameters of the query must be, their percent-encoding undone; all must hold.",
            why: "",
        },
        Key {
            name: "cookies",
            value: Value::Tables(&COOKIE),
            presence: Presence::Optional("any cookies"),
            example: "cookies = [{ name = \"canary\", value = \"yes\" }]",
            meaning: "What cookies must be; all must hold.",
            why: "",
        },
        Key {
            name: "service",
            value: Value::Text(Form::Name),
            presence: Presence::Optional("another of the four actions"),
            example: "service = \"api\"",
            meaning: "Sends the request to this service.",
            why: "",
        },
        Key {
            name: "split",
            value: Value::Tables(&SPLIT),
            presence: Presence::Optional("another of the four actions"),
            example: "split = [{ service = \"old\", weight = 9 }, { service = \"new\", weight = 1 }]",
            meaning: "Sends each request to one of these services, by weight.",
            why: "",
        },
        Key {
            name: "redirect",
            value: Value::Table(&REDIRECT),
            presence: Presence::Optional("another of the four actions"),
            example: "redirect = { host = \"www.example.org\" }",
            meaning: "Sends the client elsewhere.",
            why: "",
        },
        Key {
            name: "respond",
            value: Value::Table(&RESPOND),
            presence: Presence::Optional("another of the four actions"),
            example: "respond = { status = 404 }",
            meaning: "Answers by itself.",
            why: "",
        },
        Key {
            name: "rewrite",
            value: Value::Table(&REWRITE),
            presence: Presence::Optional("the path stays"),
            example: "rewrite = { prefix = \"/v2\" }",
            meaning: "Changes the path on the way to the service.",
            why: "",
        },
        Key {
            name: "host",
            value: Value::Text(Form::Authority),
            presence: Presence::Optional("as the service says"),
            example: "host = \"backend.example.org\"",
            meaning: "What the Host field says to backends.",
            why: "",
        },
        Key {
            name: "request",
            value: Value::Table(&EDITS),
            presence: Presence::Optional("as they are"),
            example: "request = { remove = [\"x-debug\"] }",
            meaning: "Changes to the fields of requests.",
            why: "",
        },
        Key {
            name: "response",
            value: Value::Table(&EDITS),
            presence: Presence::Optional("as they are"),
            example: "response = { remove = [\"x-debug\"] }",
            meaning: "Changes to the fields of answers.",
            why: "",
        },
        Key {
            name: "mirror",
            value: Value::Text(Form::Name),
            presence: Presence::Optional("nobody"),
            example: "mirror = \"shadow\"",
            meaning: "Service that gets a copy of each request; its answers are thrown away, and nobody waits for it. Not copied are upgrades, bodies above 64 KiB, and what comes while 256 copies are under way in a worker or memory is tight.",
            why: "",
        },
        Key {
            name: "log",
            value: Value::Flag,
            presence: Presence::Default("true"),
            example: "log = false",
            meaning: "Logs its requests where the listener has a log.",
            why: "Whoever asks for a log wants all requests in it, but for the likes of health checks.",
        },
        Key {
            name: "body_limit",
            value: Value::Number(Unit::Size, 0..=1 << 50),
            presence: Presence::Optional("any number"),
            example: "body_limit = \"10M\"",
            meaning: "Most bytes of a request's body; more are answered with 413. 0 takes none at all.",
            why: "Bodies are passed on piece by piece, so a long one costs no memory; what a backend can take, only the operator knows.",
        },
        Key {
            name: "deadlines",
            value: Value::Table(&ROUTE_DEADLINES),
            presence: Presence::Optional("as the listener and the service say"),
            example: "deadlines = { request = \"10s\" }",
            meaning: "Deadlines of this route's exchanges.",
            why: "",
        },
    ],
};

/// The path of a route.
pub(in crate::config) static PATH: Section = Section {
    title: "path = { … }",
    meaning: "Which paths a route takes, inside the braces of `path`: exactly one key.",
    keys: &[
        Key {
            name: "exact",
            value: Value::Text(Form::Path),
            presence: Presence::Optional("another of the three"),
            example: "exact = \"/favicon.ico\"",
            meaning: "This path and no other.",
            why: "",
        },
        Key {
            name: "prefix",
            value: Value::Text(Form::Path),
            presence: Presence::Optional("another of the three"),
            example: "prefix = \"/api\"",
            meaning: "This path and what is below it: `/api` takes `/api`, `/api/` and `/api/x`, not `/apix`.",
            why: "",
        },
        Key {
            name: "regex",
            value: Value::Text(Form::Regex),
            presence: Presence::Optional("another of the three"),
            example: "regex = '/img/.*\\.png'",
            meaning: "Paths that the regular expression matches from end to end.",
            why: "It takes time in proportion to the path, whatever the expression.",
        },
    ],
};

const VALUE: Key = Key {
    name: "value",
    value: Value::Text(Form::FieldValue),
    presence: Presence::Optional("any value"),
    example: "value = \"yes\"",
    meaning: "What it must be.",
    why: "",
};

const REGEX: Key = Key {
    name: "regex",
    value: Value::Text(Form::Regex),
    presence: Presence::Optional("any value"),
    example: "regex = 'v[12]'",
    meaning: "Regular expression that must match it from end to end.",
    why: "",
};

const ABSENT: Key = Key {
    name: "absent",
    value: Value::Flag,
    presence: Presence::Default("false"),
    example: "absent = true",
    meaning: "It must not be there.",
    why: "",
};

/// A condition on a field.
pub(in crate::config) static HEADER: Section = Section {
    title: "headers = [{ … }]",
    meaning: "A condition on a field. With its name alone it must be there.",
    keys: &[
        Key {
            name: "name",
            value: Value::Text(Form::Field),
            presence: Presence::Required,
            example: "name = \"x-canary\"",
            meaning: "Name of the field, in any case. If it comes more than once, one of its values is enough.",
            why: "",
        },
        VALUE,
        REGEX,
        ABSENT,
    ],
};

/// A condition on a parameter.
pub(in crate::config) static QUERY: Section = Section {
    title: "query = [{ … }]",
    meaning: "A condition on a parameter of the query. With its name alone it must be there.",
    keys: &[
        Key {
            name: "name",
            value: Value::Text(Form::FieldValue),
            presence: Presence::Required,
            example: "name = \"version\"",
            meaning: "Name of the parameter.",
            why: "",
        },
        VALUE,
        REGEX,
        ABSENT,
    ],
};

/// A condition on a cookie.
pub(in crate::config) static COOKIE: Section = Section {
    title: "cookies = [{ … }]",
    meaning: "A condition on a cookie. With its name alone it must be there.",
    keys: &[
        Key {
            name: "name",
            value: Value::Text(Form::CookieName),
            presence: Presence::Required,
            example: "name = \"canary\"",
            meaning: "Name of the cookie.",
            why: "",
        },
        VALUE,
        REGEX,
        ABSENT,
    ],
};

/// A part of a split.
pub(in crate::config) static SPLIT: Section = Section {
    title: "split = [{ … }]",
    meaning: "A service's share of a route's requests.",
    keys: &[
        Key {
            name: "service",
            value: Value::Text(Form::Name),
            presence: Presence::Required,
            example: "service = \"new\"",
            meaning: "The service.",
            why: "",
        },
        Key {
            name: "weight",
            value: Value::Number(Unit::Plain, 0..=MAX_WEIGHT),
            presence: Presence::Default("1"),
            example: "weight = 9",
            meaning: "Its share relative to the others'; 0 sends it nothing for now.",
            why: "",
        },
    ],
};

/// A redirect.
pub(in crate::config) static REDIRECT: Section = Section {
    title: "redirect = { … }",
    meaning: "Where a client is sent, inside the braces of `redirect`. What is not said stays as the client asked; the query always does.",
    keys: &[
        Key {
            name: "status",
            value: Value::Number(Unit::Plain, 301..=308),
            presence: Presence::Default("308"),
            example: "status = 301",
            meaning: "301, 302, 303, 307 or 308.",
            why: "It keeps the method, as 301 does not.",
        },
        Key {
            name: "scheme",
            value: Value::Choice(&["http", "https"]),
            presence: Presence::Optional("as it came"),
            example: "scheme = \"https\"",
            meaning: "The scheme.",
            why: "",
        },
        Key {
            name: "host",
            value: Value::Text(Form::Host),
            presence: Presence::Optional("as it came"),
            example: "host = \"www.example.org\"",
            meaning: "The host.",
            why: "",
        },
        Key {
            name: "port",
            value: Value::Number(Unit::Plain, 1..=65535),
            presence: Presence::Optional("as it came, or the scheme's own if scheme or host change"),
            example: "port = 8443",
            meaning: "The port.",
            why: "",
        },
        Key {
            name: "path",
            value: Value::Text(Form::Path),
            presence: Presence::Optional("as it came"),
            example: "path = \"/gone\"",
            meaning: "The whole path.",
            why: "",
        },
        Key {
            name: "prefix",
            value: Value::Text(Form::Path),
            presence: Presence::Optional("as it came"),
            example: "prefix = \"/v2\"",
            meaning: "What stands in place of the prefix that the route names; only with one.",
            why: "",
        },
    ],
};

/// A fixed answer.
pub(in crate::config) static RESPOND: Section = Section {
    title: "respond = { … }",
    meaning: "A fixed answer, inside the braces of `respond`.",
    keys: &[
        Key {
            name: "status",
            value: Value::Number(Unit::Plain, 200..=599),
            presence: Presence::Default("200"),
            example: "status = 404",
            meaning: "Its status.",
            why: "",
        },
        Key {
            name: "body",
            value: Value::Text(Form::Body),
            presence: Presence::Default("\"\""),
            example: "body = \"out of order\"",
            meaning: "Its body.",
            why: "",
        },
        Key {
            name: "content_type",
            value: Value::Text(Form::FieldValue),
            presence: Presence::Default("\"text/plain; charset=utf-8\""),
            example: "content_type = \"text/html\"",
            meaning: "What its body is.",
            why: "",
        },
    ],
};

/// A change of the path.
pub(in crate::config) static REWRITE: Section = Section {
    title: "rewrite = { … }",
    meaning: "How the path is changed, inside the braces of `rewrite`: `path`, `prefix`, or `regex` and `to`.",
    keys: &[
        Key {
            name: "path",
            value: Value::Text(Form::Path),
            presence: Presence::Optional("another of the three"),
            example: "path = \"/index.html\"",
            meaning: "The whole path.",
            why: "",
        },
        Key {
            name: "prefix",
            value: Value::Text(Form::Path),
            presence: Presence::Optional("another of the three"),
            example: "prefix = \"/v2\"",
            meaning: "What stands in place of the prefix that the route names; only with one. `/` takes it off.",
            why: "",
        },
        Key {
            name: "regex",
            value: Value::Text(Form::Regex),
            presence: Presence::Optional("another of the three"),
            example: "regex = '^/user/([0-9]+)'",
            meaning: "Regular expression, the first match of which is replaced. Goes with `to`.",
            why: "",
        },
        Key {
            name: "to",
            value: Value::Text(Form::FieldValue),
            presence: Presence::Optional("none; required with `regex`"),
            example: "to = '/u/$1'",
            meaning: "What stands in its place, with `$1` or `${name}` for groups.",
            why: "",
        },
    ],
};

/// Deadlines of a route.
pub(in crate::config) static ROUTE_DEADLINES: Section = Section {
    title: "deadlines = { … } of a route",
    meaning: "Deadlines of a route's exchanges, inside the braces of its `deadlines`.",
    keys: &[
        Key {
            name: "first_byte",
            value: deadline(),
            presence: Presence::Optional("as the service says"),
            example: "first_byte = \"5s\"",
            meaning: "From the end of a request to the first byte of its answer.",
            why: "",
        },
        Key {
            name: "idle",
            value: deadline(),
            presence: Presence::Optional("as the service says"),
            example: "idle = \"10m\"",
            meaning: "Between two pieces of an answer.",
            why: "",
        },
        Key {
            name: "request",
            value: deadline(),
            presence: Presence::Optional("as the listener says"),
            example: "request = \"10s\"",
            meaning: "For a whole exchange, in place of what the listener says.",
            why: "",
        },
    ],
};
