//! Every key of the configuration, once. See [`super::keys`] for what is made of a definition.

mod guard;
mod health;
mod kernel;
mod log;
mod proxy;
mod service;

pub(super) use guard::{GUARD, SERVICE_GUARD};
pub(super) use health::HEALTH;
pub(super) use kernel::{CAPTURE, ENCAP, NAT, TABLES};
pub(super) use log::{ACCESS_LOG, METRICS};
pub(super) use proxy::*;
pub(super) use service::{BACKEND, KIND, SERVICE};

use super::keys::{Form, Key, Presence, Section, Value};

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
