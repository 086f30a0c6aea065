//! Keys of listeners.

use super::super::super::keys::{Form, Key, Presence, Section, Unit, Value};
use super::super::super::proxy::TlsVersion;
use super::super::ACCESS_LOG;
use super::deadline;

/// A listener.
pub(in crate::config) static LISTENER: Section = Section {
    title: "[[listener]]",
    meaning: "Where clients connect to the proxy. The shortest has a name, an address and a service.",
    keys: &[
        Key {
            name: "name",
            value: Value::Text(Form::Name),
            presence: Presence::Required,
            example: "name = \"https\"",
            meaning: "Unique name; routes, logs and metrics use it.",
            why: "A reload knows by it what is the same listener as before.",
        },
        Key {
            name: "addresses",
            value: Value::Texts(Form::Endpoint),
            presence: Presence::Required,
            example: "addresses = [\"0.0.0.0:443\", \"[::]:443\"]",
            meaning: "Addresses and ports to listen on. `0.0.0.0` and `[::]` are all of the host's IPv4 or IPv6 addresses, each of its own family alone.",
            why: "",
        },
        Key {
            name: "tls",
            value: Value::Table(&TLS),
            presence: Presence::Optional("plain HTTP"),
            example: "tls = { certificates = [{ cert = \"/etc/lb/www.pem\", key = \"/etc/lb/www.key\" }] }",
            meaning: "Answers by TLS.",
            why: "",
        },
        Key {
            name: "http2",
            value: Value::Flag,
            presence: Presence::Optional("true with `tls`, false without"),
            example: "http2 = false",
            meaning: "Speaks HTTP/2 too: offered by ALPN with `tls`, by prior knowledge without.",
            why: "Browsers speak it by TLS alone.",
        },
        Key {
            name: "service",
            value: Value::Text(Form::Name),
            presence: Presence::Optional("what no route takes is answered with 404"),
            example: "service = \"web\"",
            meaning: "The service of all requests that no route takes. With no route at all, everything goes there.",
            why: "Most listeners have one service.",
        },
        Key {
            name: "redirect_to_https",
            value: Value::Number(Unit::Plain, 1..=65535),
            presence: Presence::Optional("requests are answered here"),
            example: "redirect_to_https = 443",
            meaning: "Port of `https://` that every request is redirected to with 308. Only without `tls`.",
            why: "308 keeps the method, so forms are not lost.",
        },
        Key {
            name: "hsts",
            value: Value::Table(&HSTS),
            presence: Presence::Optional("nothing is said"),
            example: "hsts = { max_age = \"8760h\" }",
            meaning: "Tells browsers by `Strict-Transport-Security` to come by TLS alone. Only with `tls`.",
            why: "It cannot be taken back before its time is over, so it is for the operator to ask for.",
        },
        Key {
            name: "proxy_protocol",
            value: Value::Texts(Form::Prefix),
            presence: Presence::Optional("nobody"),
            example: "proxy_protocol = [\"10.0.0.0/8\"]",
            meaning: "Networks of balancers whose connections begin with a PROXY header, of either version. From there it is required; from elsewhere it is a bad request.",
            why: "Whoever may write that header may be anybody.",
        },
        Key {
            name: "access_log",
            value: Value::TableOr(&ACCESS_LOG, "none"),
            presence: Presence::Optional("as `[proxy]` says"),
            example: "access_log = \"none\"",
            meaning: "How the requests of this listener are logged; `none` for not at all.",
            why: "",
        },
        Key {
            name: "limits",
            value: Value::Table(&LIMITS),
            presence: Presence::Optional("every key at its default"),
            example: "limits = { connections_per_address = 100 }",
            meaning: "What one client may take.",
            why: "",
        },
        Key {
            name: "deadlines",
            value: Value::Table(&DEADLINES),
            presence: Presence::Optional("every key at its default"),
            example: "deadlines = { idle = \"20s\" }",
            meaning: "How long one client may take.",
            why: "",
        },
    ],
};

/// TLS of a listener.
pub(in crate::config) static TLS: Section = Section {
    title: "tls = { … }",
    meaning: "How a listener speaks TLS, inside the braces of its `tls`.",
    keys: &[
        Key {
            name: "certificates",
            value: Value::Tables(&CERTIFICATE),
            presence: Presence::Required,
            example: "certificates = [{ cert = \"/etc/lb/www.pem\", key = \"/etc/lb/www.key\" }]",
            meaning: "Certificates, of which the names in them say who is shown which; of several for a name, such as ECDSA beside RSA, the one that the client can check. Who asks for none of these names is shown the first.",
            why: "",
        },
        Key {
            name: "min_version",
            value: Value::Choice(TlsVersion::CHOICES),
            presence: Presence::Default("\"1.2\""),
            example: "min_version = \"1.3\"",
            meaning: "The oldest version of TLS that is spoken.",
            why: "Older ones are broken (RFC 8996); 1.2 is what some clients still have.",
        },
        Key {
            name: "tickets",
            value: Value::Flag,
            presence: Presence::Default("true"),
            example: "tickets = false",
            meaning: "Resumes sessions by tickets, whose keys are shared by the workers and change by themselves.",
            why: "A resumed session costs a fraction of a new one.",
        },
        Key {
            name: "client",
            value: Value::Table(&CLIENT_CERTIFICATES),
            presence: Presence::Optional("clients are not asked for certificates"),
            example: "client = { ca = \"/etc/lb/clients.pem\" }",
            meaning: "Asks clients for certificates.",
            why: "",
        },
    ],
};

/// A certificate.
pub(in crate::config) static CERTIFICATE: Section = Section {
    title: "certificates = [{ … }]",
    meaning: "The files of one certificate. When they change they are read again, and used if they belong together.",
    keys: &[
        Key {
            name: "cert",
            value: Value::Text(Form::File),
            presence: Presence::Required,
            example: "cert = \"/etc/lb/www.pem\"",
            meaning: "The chain in PEM, the server's own certificate first.",
            why: "",
        },
        Key {
            name: "key",
            value: Value::Text(Form::File),
            presence: Presence::Required,
            example: "key = \"/etc/lb/www.key\"",
            meaning: "Its private key in PEM.",
            why: "",
        },
        Key {
            name: "ocsp",
            value: Value::Text(Form::File),
            presence: Presence::Optional("nothing is stapled"),
            example: "ocsp = \"/etc/lb/www.ocsp\"",
            meaning: "An OCSP response in DER to staple.",
            why: "",
        },
    ],
};

/// Certificates of clients.
pub(in crate::config) static CLIENT_CERTIFICATES: Section = Section {
    title: "client = { … }",
    meaning: "What is asked of clients, inside the braces of `client`.",
    keys: &[
        Key {
            name: "ca",
            value: Value::Text(Form::File),
            presence: Presence::Required,
            example: "ca = \"/etc/lb/clients.pem\"",
            meaning: "PEM of the authorities that are believed.",
            why: "",
        },
        Key {
            name: "required",
            value: Value::Flag,
            presence: Presence::Default("true"),
            example: "required = false",
            meaning: "Refuses clients without a certificate; else they are served, and backends see no field.",
            why: "Whoever asks for certificates mostly wants to see one.",
        },
        Key {
            name: "field",
            value: Value::Text(Form::Field),
            presence: Presence::Default("\"client-cert\""),
            example: "field = \"x-client-cert\"",
            meaning: "Field that tells backends of the certificate: its DER in base 64 between colons. What clients send under that name is removed on every listener.",
            why: "The standard's name (RFC 9440, section 2.2).",
        },
    ],
};

/// `Strict-Transport-Security`.
pub(in crate::config) static HSTS: Section = Section {
    title: "hsts = { … }",
    meaning: "What `Strict-Transport-Security` says, inside the braces of `hsts`.",
    keys: &[
        Key {
            name: "max_age",
            value: Value::Number(Unit::Duration, 0..=10 * 365 * 24 * 3_600_000),
            presence: Presence::Default("\"8760h\""),
            example: "max_age = \"8760h\"",
            meaning: "How long browsers shall remember, in whole seconds. `\"0s\"` makes them forget.",
            why: "A year is what browsers' own lists ask for.",
        },
        Key {
            name: "subdomains",
            value: Value::Flag,
            presence: Presence::Default("false"),
            example: "subdomains = true",
            meaning: "Whether it holds for all names below this one, too.",
            why: "Some of them may be served elsewhere.",
        },
        Key {
            name: "preload",
            value: Value::Flag,
            presence: Presence::Default("false"),
            example: "preload = true",
            meaning: "Whether browsers may have it built in.",
            why: "It takes months to be taken out again.",
        },
    ],
};

/// What one client may take.
pub(in crate::config) static LIMITS: Section = Section {
    title: "limits = { … }",
    meaning: "What one client of a listener may take, inside the braces of its `limits`.",
    keys: &[
        Key {
            name: "head",
            value: Value::Number(Unit::Size, 1024..=1_048_576),
            presence: Presence::Default("\"32k\""),
            example: "head = \"64k\"",
            meaning: "Bytes of a request's head. A longer one is answered with 431, and so is one by HTTP/1.1 with a field of more than half of this.",
            why: "What common servers take, with large cookies.",
        },
        Key {
            name: "line",
            value: Value::Number(Unit::Size, 256..=1_048_576),
            presence: Presence::Default("\"8k\""),
            example: "line = \"16k\"",
            meaning: "Bytes of a request line, of HTTP/2 of the one that HTTP/1.1 would have; a longer one is answered with 414. At most `head`.",
            why: "What RFC 9112, section 3, asks servers to support.",
        },
        Key {
            name: "fields",
            value: Value::Number(Unit::Plain, 1..=128),
            presence: Presence::Default("100"),
            example: "fields = 50",
            meaning: "Fields of a request. More are answered with 431.",
            why: "Several times what browsers send.",
        },
        Key {
            name: "connections",
            value: Value::Number(Unit::Size, 0..=100_000_000),
            presence: Presence::Default("0"),
            example: "connections = \"64k\"",
            meaning: "Connections at a time, of all clients and workers together. One more is closed when it is accepted. 0 is no bound but memory and descriptors, a quarter of which, 1,024 at most, is not for clients.",
            why: "Only the operator knows what the host is for.",
        },
        Key {
            name: "connections_per_address",
            value: Value::Number(Unit::Size, 0..=100_000_000),
            presence: Presence::Default("0"),
            example: "connections_per_address = 100",
            meaning: "Connections at a time of one IPv4 address or IPv6 /64, over all workers. One more is closed when it is accepted; behind `proxy_protocol`, when its header has named the client. What is open already stays. 0 is no bound.",
            why: "Behind one address may be a whole company.",
        },
        Key {
            name: "requests",
            value: Value::Number(Unit::Size, 0..=1_000_000_000),
            presence: Presence::Default("0"),
            example: "requests = \"10k\"",
            meaning: "Requests of one connection, after which it is closed. 0 is no bound.",
            why: "Nothing is freed by closing a connection that is used.",
        },
    ],
};

/// How long one client may take.
pub(in crate::config) static DEADLINES: Section = Section {
    title: "deadlines = { … }",
    meaning: "How long a client of a listener may take, inside the braces of its `deadlines`.",
    keys: &[
        Key {
            name: "handshake",
            value: deadline(),
            presence: Presence::Default("\"10s\""),
            example: "handshake = \"5s\"",
            meaning: "For the PROXY header and the TLS handshake together.",
            why: "A handshake is three packets.",
        },
        Key {
            name: "head",
            value: deadline(),
            presence: Presence::Default("\"10s\""),
            example: "head = \"5s\"",
            meaning: "From the first byte of a request's head to its last. A slower one is answered with 408.",
            why: "A head is one packet or two; who takes longer does so on purpose.",
        },
        Key {
            name: "body",
            value: deadline(),
            presence: Presence::Default("\"30s\""),
            example: "body = \"10s\"",
            meaning: "For the next piece of a request's body, less what was waited for the pieces before; see `min_rate`.",
            why: "A bad mobile connection stands still for seconds, not for a minute.",
        },
        Key {
            name: "idle",
            value: deadline(),
            presence: Presence::Default("\"60s\""),
            example: "idle = \"20s\"",
            meaning: "From an answer to the next request, after which the connection is closed.",
            why: "As long as browsers keep them for; an idle connection costs little.",
        },
        Key {
            name: "send",
            value: deadline(),
            presence: Presence::Default("\"30s\""),
            example: "send = \"10s\"",
            meaning: "For taking a piece of an answer, less what was waited for the pieces before; see `min_rate`.",
            why: "A reader that takes nothing for that long is gone, or holds a backend on purpose.",
        },
        Key {
            name: "min_rate",
            value: Value::Number(Unit::Plain, 0..=1_000_000),
            presence: Presence::Default("240"),
            example: "min_rate = 0",
            meaning: "Bytes that pay back a second of what was waited for a body or a reader. Who sends or takes less a second uses `body` or `send` up, a byte at a time or not. Only waiting counts: not time in which the backend is slower or has nothing to say. Of HTTP/2 all streams of a connection pay together. Upgraded connections are exempt, and requests by HTTP/2 to services with `http2` that tell no length: gRPC's streams. 0: each piece has all the time.",
            why: "What Kestrel and IIS ask for; a modem of 1994 is ten times as fast.",
        },
        Key {
            name: "request",
            value: deadline(),
            presence: Presence::Optional("an exchange may take as long as it goes on"),
            example: "request = \"5m\"",
            meaning: "For a whole exchange, from the first byte of the request to the last of the answer. Before the answer has begun the client is told by 504, afterwards its connection is closed. Upgraded connections are exempt.",
            why: "A large download takes as long as it takes.",
        },
    ],
};
