//! What a service at layer 4 may be told, and its backends.

use super::super::bounds::{MAX_IDLE_MS, MAX_SERVER_ID_BYTES, MAX_WEIGHT, MIN_IDLE_MS};
use super::super::keys::{Form, Key, Presence, Section, Unit, Value};
use super::super::model::{Forward, Kind, Protocol, Tracking};
use super::{HEALTH, SERVICE_GUARD};

/// What a service is.
pub(in crate::config) const KIND: Key = Key {
    name: "kind",
    value: Value::Choice(Kind::CHOICES),
    presence: Presence::Default("\"l4\""),
    example: "kind = \"http\"",
    meaning: "`l4`: packets for its VIP are steered to its backends. `http`: requests are, by listeners and routes; a service of \
              this kind has other keys.",
    why: "A balancer of packets needs no more.",
};

/// A service.
pub(in crate::config) static SERVICE: Section = Section {
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
                      what a backend sends from the port where it listens counts as an answer. So each port of a \
                      backend's address may be in one `dnat` service only; where `vip` has a range of ports or `*`, backends \
                      have none written and are asked at the client's; and `vip` is no prefix. With `tracking = \"always\"` answers \
                      are known by their flows' records, and none of that is so. `dsr-l2`: the packet is sent as it is, \
                      one hop on, to a backend on the same segment, which holds the VIP on its loopback interface and answers the client \
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
                      `nat`. `always`: every flow; answers of `dnat` are then known by their flows, as those of `nat` are. `never`: none, so that a change of backends moves the flows of the slots \
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
pub(in crate::config) static BACKEND: Section = Section {
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
                      packets keep their destination (`dsr-l2`, `dsr-ipip`, `dsr-gue`) the port must be the VIP's, and where a \
                      service by `dnat` has many ports there must be none. Of the VIP's family, but with `dsr-ipip` and `dsr-gue` of either.",
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
