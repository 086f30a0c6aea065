//! Every key of the configuration, once. See [`super::keys`] for what is made of a definition.

mod guard;
mod log;
mod proxy;

pub(super) use guard::{GUARD, SERVICE_GUARD};
pub(super) use log::{ACCESS_LOG, METRICS};
pub(super) use proxy::*;

use super::bounds::{
    MAX_CAPTURE_RATE, MAX_CAPTURE_RING, MAX_CAPTURE_SNAP, MAX_FLOWS, MAX_FRAGMENTS, MAX_IDLE_MS,
    MAX_INTERVAL_MS, MAX_JITTER, MAX_NEW_FLOWS, MAX_SERVER_ID_BYTES, MAX_STREAK, MAX_WEIGHT,
    MIN_CAPTURE_RING, MIN_CAPTURE_SNAP, MIN_FLOWS, MIN_FRAGMENTS, MIN_IDLE_MS, MIN_INTERVAL_MS,
    MIN_TIMEOUT_MS,
};
use super::keys::{Form, Key, Presence, Section, Unit, Value};
use super::model::{Forward, Kind, Protocol, Tracking};

/// The sections in the order of the reference.
pub(super) static ALL: [&Section; 42] = [
    &FILE,
    &SERVICE,
    &BACKEND,
    &HEALTH,
    &SERVICE_GUARD,
    &NAT,
    &ENCAP,
    &GUARD,
    &TABLES,
    &CAPTURE,
    &METRICS,
    &PROXY,
    &ACCESS_LOG,
    &LISTENER,
    &TLS,
    &CERTIFICATE,
    &CLIENT_CERTIFICATES,
    &HSTS,
    &LIMITS,
    &DEADLINES,
    &ROUTE,
    &PATH,
    &HEADER,
    &QUERY,
    &COOKIE,
    &SPLIT,
    &REDIRECT,
    &RESPOND,
    &REWRITE,
    &EDITS,
    &ADD,
    &SET,
    &ROUTE_DEADLINES,
    &HTTP_SERVICE,
    &HTTP_BACKEND,
    &STICKY,
    &QUEUE,
    &POOL,
    &UPSTREAM_DEADLINES,
    &RETRIES,
    &OUTLIERS,
    &UPSTREAM_TLS,
];

/// The top of the file.
pub(super) static FILE: Section = Section {
    title: "",
    meaning: "Keys that stand before the first `[header]`, and the sections themselves.",
    keys: &[
        Key {
            name: "service",
            value: Value::Tables(&SERVICE),
            presence: Presence::Optional("no services: every packet passes untouched"),
            example: "[[service]]",
            meaning: "The services, one header each.",
            why: "A balancer may start empty and be given its services by a reload.",
        },
        Key {
            name: "proxy",
            value: Value::Table(&PROXY),
            presence: Presence::Optional("every key of `[proxy]` at its default"),
            example: "[proxy]",
            meaning: "Layer 7 as a whole.",
            why: "",
        },
        Key {
            name: "listener",
            value: Value::Tables(&LISTENER),
            presence: Presence::Optional("no layer 7"),
            example: "[[listener]]",
            meaning: "Where clients connect to the proxy, one header each.",
            why: "",
        },
        Key {
            name: "route",
            value: Value::Tables(&ROUTE),
            presence: Presence::Optional("a listener's requests go to its `service`"),
            example: "[[route]]",
            meaning: "Which requests go which way, one header each.",
            why: "",
        },
        Key {
            name: "metrics",
            value: Value::Table(&METRICS),
            presence: Presence::Optional("none are served"),
            example: "[metrics]",
            meaning: "Metrics for Prometheus.",
            why: "",
        },
        Key {
            name: "nat",
            value: Value::Table(&NAT),
            presence: Presence::Optional("every key of `[nat]` at its default"),
            example: "[nat]",
            meaning: "How `forward = \"nat\"` uses the balancer's own address.",
            why: "",
        },
        Key {
            name: "encap",
            value: Value::Table(&ENCAP),
            presence: Presence::Optional("every key of `[encap]` at its default"),
            example: "[encap]",
            meaning: "Outer headers of services with `forward = \"dsr-ipip\"` or `\"dsr-gue\"`.",
            why: "",
        },
        Key {
            name: "guard",
            value: Value::Table(&GUARD),
            presence: Presence::Optional("no guard but for services that have one"),
            example: "[guard]",
            meaning: "What is dropped before it is balanced.",
            why: "What does not run costs nothing.",
        },
        Key {
            name: "limits",
            value: Value::Table(&TABLES),
            presence: Presence::Optional("every key of `[limits]` at its default"),
            example: "[limits]",
            meaning: "Sizes of the kernel's tables.",
            why: "",
        },
        Key {
            name: "capture",
            value: Value::Table(&CAPTURE),
            presence: Presence::Optional("every key of `[capture]` at its default"),
            example: "[capture]",
            meaning: "Whether `lb-userspace capture` can show packets.",
            why: "",
        },
        Key {
            name: "seed",
            value: Value::NumberOr(Form::Seed),
            presence: Presence::Default("0x6c622d7365656431"),
            example: "seed = \"0x5eed\"",
            meaning: "Seed of the selection hash. Hosts with the same seed and the same services build the same table and \
                      pick the same backend for a flow, without talking to each other. Read at start.",
            why: "Fixed, so that hosts behind one router agree without being told. Set your own, the same on all hosts, \
                  where clients must not be able to aim at one backend.",
        },
        Key {
            name: "ping",
            value: Value::Flag,
            presence: Presence::Default("true"),
            example: "ping = false",
            meaning: "Answers echo requests to a VIP where they arrive. Without it they go to this host's own stack, which \
                      answers if the VIP is an address of its own.",
            why: "A VIP that answers is what people expect of an address, and it tells that the balancer is there.",
        },
        Key {
            name: "log_packets",
            value: Value::Flag,
            presence: Presence::Default("false"),
            example: "log_packets = true",
            meaning: "Logs rare events of the packet path, such as packets that no backend can take. For debugging. Read at start.",
            why: "Off, because the counters by reason tell the same at no cost per packet.",
        },
    ],
};

/// What a service is.
pub(super) const KIND: Key = Key {
    name: "kind",
    value: Value::Choice(Kind::CHOICES),
    presence: Presence::Default("\"l4\""),
    example: "kind = \"http\"",
    meaning: "`l4`: packets for its VIP are steered to its backends. `http`: requests are, by listeners and routes; a service of \
              this kind has other keys.",
    why: "A balancer of packets needs no more.",
};

/// A service.
pub(super) static SERVICE: Section = Section {
    title: "[[service]]",
    meaning: "One service: an address clients connect to, and the backends behind it.",
    keys: &[
        Key {
            name: "name",
            value: Value::Text(Form::Name),
            presence: Presence::Required,
            example: "name = \"web\"",
            meaning: "Unique name; commands, logs and metrics use it.",
            why: "A name outlives addresses: a reload knows by it what is the same service as before.",
        },
        KIND,
        Key {
            name: "vip",
            value: Value::Text(Form::Vip),
            presence: Presence::Required,
            example: "vip = \"203.0.113.10:80\"",
            meaning: "Virtual address and port clients connect to, as `203.0.113.10:80` or `[2001:db8::10]:80`. In place of \
                      the port may stand a range (`8000-8099`) or `*` for every port, and in place of the address a prefix \
                      (`203.0.113.0/24:80`, `[2001:db8::/64]:443`). The more special wins: an address before a prefix, a \
                      longer prefix before a shorter one, and on one address a port before a range before `*`. The \
                      balancer's own addresses towards `nat` and `dnat` backends are in no prefix. Unique together with \
                      `protocol`.",
            why: "Always an address, never a host name: the packet path must not depend on a name server.",
        },
        Key {
            name: "protocol",
            value: Value::Choice(Protocol::CHOICES),
            presence: Presence::Default("\"tcp\""),
            example: "protocol = \"udp\"",
            meaning: "Transport protocol of the service.",
            why: "Most services are TCP. One that speaks both is two services.",
        },
        Key {
            name: "forward",
            value: Value::Choice(Forward::CHOICES),
            presence: Presence::Required,
            example: "forward = \"nat\"",
            meaning: "`nat`: both addresses are rewritten, the balancer's own towards backends, and answers come back through \
                      the balancer; nothing to set up on a backend. `dnat`: only the destination is rewritten, so backends see \
                      the client's address; their answers must come back through the balancer, which is their gateway, and \
                      each backend's address and port may be in one `dnat` service only. `dsr-l2`: the packet is sent as it is \
                      to a backend on the same segment, which holds the VIP on its loopback interface and answers the client \
                      directly. `dsr-ipip`: the packet travels whole inside another IP header and the backend, which unwraps \
                      it and owns the VIP, answers the client directly. `dsr-gue`: the same inside UDP (GUE, variant 1). \
                      `local`: to this host's own stack, without backends.",
            why: "No default, as they ask different things of the backends and none is a safe guess.",
        },
        Key {
            name: "select",
            value: Value::Text(Form::Select),
            presence: Presence::Default("\"maglev\""),
            example: "select = \"source-hash\"",
            meaning: "How new flows are spread. `maglev`: by a hash of addresses and ports, so that every balancer agrees and a \
                      change moves few flows. `source-hash`: by the client's address alone, `source-hash/24` by its first 24 \
                      bits: a client stays with its backend. `round-robin`: in turn, by weight. `least-connections`: the less \
                      loaded of two picked by the hash, by weight. `quic`: by the server identifier in the connection \
                      identifier, by the hash where there is none; a connection then survives a change of the client's \
                      address.",
            why: "Only a hash needs no memory of flows that are settled. `round-robin` and `least-connections` record every flow.",
        },
        Key {
            name: "gue_port",
            value: Value::Number(Unit::Plain, 1..=65535),
            presence: Presence::Default("6080"),
            example: "gue_port = 6080",
            meaning: "Destination port of the outer UDP header. Only with `forward = \"dsr-gue\"`.",
            why: "The port registered for GUE.",
        },
        Key {
            name: "server_id_bytes",
            value: Value::Number(Unit::Plain, 1..=MAX_SERVER_ID_BYTES),
            presence: Presence::Default("2"),
            example: "server_id_bytes = 2",
            meaning: "Bytes of the server identifier, which begins at the second byte of a connection identifier \
                      (draft-ietf-quic-load-balancers, unencrypted). Only with `select = \"quic\"`.",
            why: "Enough for 65,536 servers.",
        },
        Key {
            name: "listener",
            value: Value::Text(Form::Endpoint),
            presence: Presence::Optional("whoever listens on the VIP itself"),
            example: "listener = \"127.0.0.1:8080\"",
            meaning: "The listening socket, of any process on this host, that gets the connections or datagrams of a service \
                      with `forward = \"local\"`, whichever of its addresses and ports they are for. TCP needs nothing of it. \
                      A UDP listener's answers leave from its own port, so that should be the service's, and from its own \
                      address or, if it is bound to all, from the one that routing chooses, unless it answers from the address \
                      it was asked at (`IP_PKTINFO`): clients do not know answers from anywhere else. The service's addresses \
                      are made this host's by a route (`ip route show table local proto 108` lists these), unless they are \
                      already. They go with the service and with the daemon; one that is killed leaves them, and their packets \
                      to this host's stack, until the next start takes them over or removes them. So let one daemon of a \
                      network namespace have such services.",
            why: "Few programs can listen on a range of ports or on a prefix by themselves.",
        },
        Key {
            name: "tracking",
            value: Value::Choice(Tracking::CHOICES),
            presence: Presence::Default("\"auto\""),
            example: "tracking = \"auto\"",
            meaning: "When a flow is recorded. `auto`: TCP flows born while backends change, every UDP flow, and every flow of \
                      `nat`. `always`: every flow. `never`: none, so that a change of backends moves the flows of the slots \
                      it moves; not with `nat`, which cannot translate an answer without a record.",
            why: "`auto` breaks no flow and needs the fewest entries.",
        },
        Key {
            name: "idle",
            value: Value::Number(Unit::Duration, MIN_IDLE_MS..=MAX_IDLE_MS),
            presence: Presence::Default("\"5m\""),
            example: "idle = \"5m\"",
            meaning: "How long a flow may be silent before it is forgotten.",
            why: "Outlives the pauses of ordinary requests and keep-alive connections, and forgets clients that vanished. \
                  Raise it for long silent connections, such as database sessions.",
        },
        Key {
            name: "health",
            value: Value::TableOr(&HEALTH, "none"),
            presence: Presence::Default("{ tcp = true }"),
            example: "health = { http = \"/healthz\" }",
            meaning: "How backends are probed; `\"none\"` takes every backend for healthy. With `protocol = \"udp\"` the default \
                      is `\"none\"`, with a warning until you write so.",
            why: "A backend that accepts connections is the least a TCP service needs. Silence of a UDP port proves nothing, \
                  so UDP needs a check of another kind on a `port` of its own.",
        },
        Key {
            name: "guard",
            value: Value::TableOr(&SERVICE_GUARD, "none"),
            presence: Presence::Optional("as `[guard]` says, or no guard if there is none"),
            example: "guard = { source_flows = 100 }",
            meaning: "What the guard does for this service; `\"none\"` lets everything through to it.",
            why: "",
        },
        Key {
            name: "backend",
            value: Value::Tables(&BACKEND),
            presence: Presence::Required,
            example: "[[service.backend]]",
            meaning: "The servers of the service, one header each: at least one, but none with `forward = \"local\"`.",
            why: "A service without backends would drop every packet; leave the service out instead.",
        },
    ],
};

/// A backend.
pub(super) static BACKEND: Section = Section {
    title: "[[service.backend]]",
    meaning: "One server of the service above it.",
    keys: &[
        Key {
            name: "name",
            value: Value::Text(Form::Name),
            presence: Presence::Required,
            example: "name = \"web1\"",
            meaning: "Name, unique within the service; `SERVICE/BACKEND` names it in commands.",
            why: "A backend keeps its slots by its name when its address, weight or place in the file changes.",
        },
        Key {
            name: "addr",
            value: Value::Text(Form::Server),
            presence: Presence::Required,
            example: "addr = \"10.0.0.11:8080\"",
            meaning: "Address and port it listens on, as `10.0.0.11:8080`, `[fd00::11]:8080`, or without a port where it \
                      listens on the one the client asked for. Unique within the service, never a VIP of this file. Where \
                      packets keep their destination (`dsr-l2`, `dsr-ipip`, `dsr-gue`) the port must be the VIP's. Of the \
                      VIP's family, but with `dsr-ipip` and `dsr-gue` of either.",
            why: "",
        },
        Key {
            name: "server_id",
            value: Value::Text(Form::ServerId),
            presence: Presence::Optional("none; required with `select = \"quic\"`"),
            example: "server_id = \"0a0b\"",
            meaning: "What the server calls itself in QUIC connection identifiers: as many bytes as `server_id_bytes`, unique \
                      within the service.",
            why: "",
        },
        Key {
            name: "weight",
            value: Value::Number(Unit::Plain, 1..=MAX_WEIGHT),
            presence: Presence::Default("1"),
            example: "weight = 1",
            meaning: "Share of new flows relative to the service's other backends: 3 gets three times as many as 1.",
            why: "Equal shares. There is no 0: a backend without new flows is one with `drain = true`.",
        },
        Key {
            name: "drain",
            value: Value::Flag,
            presence: Presence::Default("false"),
            example: "drain = true",
            meaning: "Takes the backend out gently: it keeps the flows it has and gets no new ones.",
            why: "A backend that is written down is there to serve.",
        },
    ],
};

/// A health check.
pub(super) static HEALTH: Section = Section {
    title: "health = { … }",
    meaning: "How the backends of a service are probed, inside the braces of its `health`. Either `http` or `tcp`.",
    keys: &[
        Key {
            name: "http",
            value: Value::Text(Form::Path),
            presence: Presence::Optional("the check is `tcp`"),
            example: "http = \"/healthz\"",
            meaning: "Probes with `GET` of this path over HTTP/1.1 without TLS.",
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
            meaning: "Probes by opening a connection, and closing it at once.",
            why: "",
        },
        Key {
            name: "port",
            value: Value::Number(Unit::Plain, 1..=65535),
            presence: Presence::Optional("the backend's own port"),
            example: "port = 8081",
            meaning: "Port to probe. Required with `protocol = \"udp\"`.",
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

/// Full NAT.
pub(super) static NAT: Section = Section {
    title: "[nat]",
    meaning: "How services with `forward = \"nat\"` use the balancer's own address. Read at start.",
    keys: &[Key {
        name: "ports",
        value: Value::Text(Form::Ports),
        presence: Presence::Default("\"auto\""),
        example: "ports = \"20000-60000\"",
        meaning: "Source ports the balancer's own address uses towards backends. The host's own connections must not use \
                  them: an answer to one of these ports is taken for a backend's. `auto` is all of 1024–65535 outside the \
                  host's `net.ipv4.ip_local_port_range`, or, where that leaves fewer than 20,000, all of 1024–64511 with \
                  a warning.",
        why: "`auto` cannot collide with connections the host opens itself. Name a range where other programs listen on \
              ports above 1023.",
    }],
};

/// Outer headers.
pub(super) static ENCAP: Section = Section {
    title: "[encap]",
    meaning: "Outer headers of services that encapsulate. Read at start.",
    keys: &[
        Key {
            name: "spread",
            value: Value::Flag,
            presence: Presence::Default("true"),
            example: "spread = false",
            meaning: "Draws outer sources from the prefixes below by the flow's hash. Without it the balancer's own address is \
                      the source of all, and a backend's network card puts all into one receive queue.",
            why: "Queues that share the work are worth a source that nobody can answer. Turn it off where a firewall or \
                  reverse-path filter between drops such sources.",
        },
        Key {
            name: "source_v4",
            value: Value::Text(Form::Prefix),
            presence: Presence::Default("\"172.16.0.0/16\""),
            example: "source_v4 = \"172.16.0.0/16\"",
            meaning: "Sources of outer IPv4 headers.",
            why: "The prefix that Katran uses, too.",
        },
        Key {
            name: "source_v6",
            value: Value::Text(Form::Prefix),
            presence: Presence::Default("\"100::/64\""),
            example: "source_v6 = \"100::/64\"",
            meaning: "Sources of outer IPv6 headers. The last 32 bits at most are drawn.",
            why: "The discard-only prefix (RFC 6666), which leads nowhere.",
        },
    ],
};

/// Table sizes.
pub(super) static TABLES: Section = Section {
    title: "[limits]",
    meaning: "Sizes of the kernel's tables. Read at start; a reload does not resize a table.",
    keys: &[
        Key {
            name: "flows",
            value: Value::Number(Unit::Size, MIN_FLOWS..=MAX_FLOWS),
            presence: Presence::Default("262144"),
            example: "flows = \"256k\"",
            meaning: "Entries of the flow table of each family, rounded up to a power of two; k is \
                      1,024 and M is 1,048,576. The memory is taken at start, 64 bytes an entry for \
                      IPv4 and 128 for IPv6, and counts among the daemon's own, which maps it. An \
                      entry has sixteen places: of a table that is half full one new flow in 65,000 \
                      finds none and is treated as if it were full, of one that is three quarters full \
                      one in a hundred.",
            why: "Room for a quarter of a million tracked flows in 48 MiB.",
        },
        Key {
            name: "fragments",
            value: Value::Number(Unit::Size, MIN_FRAGMENTS..=MAX_FRAGMENTS),
            presence: Presence::Default("16384"),
            example: "fragments = \"16k\"",
            meaning: "Datagrams in fragments whose ports are remembered for the fragments that have none. The oldest gives way.",
            why: "A thousand such datagrams a second for a dozen seconds, in a megabyte and a half.",
        },
        Key {
            name: "new_flows",
            value: Value::Number(Unit::Size, 0..=MAX_NEW_FLOWS),
            presence: Presence::Default("0"),
            example: "new_flows = \"100k\"",
            meaning: "Flood guard: entries added to the flow table in a second, shared out evenly over the CPUs, above which \
                      there are no more. Flows that need none go on as before, others of `dsr` services go to their slot's \
                      settled owner, and new ones of `nat` are dropped. 0 is no bound.",
            why: "Only the operator knows what is a flood and what is a good day.",
        },
    ],
};

/// Captures of packets.
pub(super) static CAPTURE: Section = Section {
    title: "[capture]",
    meaning: "Captures of packets with what became of them, by `lb-userspace capture`. Read at start.",
    keys: &[
        Key {
            name: "enabled",
            value: Value::Flag,
            presence: Presence::Default("false"),
            example: "enabled = true",
            meaning: "Allows captures. Without it the programs are loaded without a trace of them.",
            why: "Off, because even while nobody captures, every packet has to look whether somebody does.",
        },
        Key {
            name: "rate",
            value: Value::Number(Unit::Plain, 1..=MAX_CAPTURE_RATE),
            presence: Presence::Default("1000"),
            example: "rate = 1000",
            meaning: "Packets captured in a second at most, shared out evenly over the CPUs. Those beyond are counted and not \
                      captured; they go their way all the same.",
            why: "More than a person reads, and too few to slow a balancer down, whatever a filter asks for.",
        },
        Key {
            name: "snap",
            value: Value::Number(Unit::Plain, MIN_CAPTURE_SNAP..=MAX_CAPTURE_SNAP),
            presence: Presence::Default("256"),
            example: "snap = 256",
            meaning: "Bytes of a packet that are kept.",
            why: "All headers, an outer one included, and little of what clients say to servers.",
        },
        Key {
            name: "ring",
            value: Value::Number(Unit::Size, MIN_CAPTURE_RING..=MAX_CAPTURE_RING),
            presence: Presence::Default("1048576"),
            example: "ring = \"1M\"",
            meaning: "Bytes of the buffer in which packets wait for the daemon, rounded up to a power of two.",
            why: "Several seconds' worth at the default rate, should the daemon be busy.",
        },
    ],
};
