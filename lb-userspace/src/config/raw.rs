//! The file as written: every value well-formed by itself and still with its place, nothing checked against another.

pub(super) mod proxy;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::finding::{Finding, Report};
use super::found::Found;
use super::keys::{Key, Section, Value};
use super::model::{Forward, Kind, NatPorts, Protocol, Select, StatusRange, Tracking, Vip};
use super::reader::Reader;
use super::sections;
use super::value::{self, Written, unfit};

/// The whole file.
pub(super) struct File {
    pub(super) services: Vec<Service>,
    pub(super) ports: Found<NatPorts>,
    pub(super) flows: Found<u32>,
    pub(super) fragments: Found<u32>,
    pub(super) new_flows: Found<u32>,
    pub(super) ping: Found<bool>,
    pub(super) spread: Found<bool>,
    pub(super) source_v4: Found<(Ipv4Addr, u8)>,
    pub(super) source_v6: Found<(Ipv6Addr, u8)>,
    pub(super) capture: Capture,
    pub(super) seed: Found<u64>,
    pub(super) log_packets: Found<bool>,
    pub(super) guard: Found<Guard>,
    pub(super) metrics: Found<SocketAddr>,
    pub(super) proxy: Found<proxy::Proxy>,
    pub(super) listeners: Vec<proxy::Listener>,
    pub(super) routes: Vec<proxy::Route>,
    pub(super) http_services: Vec<proxy::Service>,
}

/// `[guard]`.
pub(super) struct Guard {
    pub(super) allow: Found<PathBuf>,
    pub(super) deny: Found<PathBuf>,
    pub(super) bogons: Found<bool>,
    pub(super) prefixes: Found<u32>,
    /// What holds for services that do not say otherwise.
    pub(super) of_services: ServiceGuard,
}

/// The value of a service's `guard`, and a part of `[guard]`.
pub(super) struct ServiceGuard {
    pub(super) lists: Found<bool>,
    pub(super) martians: Found<bool>,
    pub(super) land: Found<bool>,
    pub(super) malformed: Found<bool>,
    pub(super) blocks: Found<bool>,
    pub(super) source_packets: Found<u32>,
    pub(super) source_flows: Found<u32>,
    pub(super) service_flows: Found<u32>,
    /// A service's alone.
    pub(super) syn_cookies: Found<bool>,
    pub(super) source_v4: Found<u8>,
    pub(super) source_v6: Found<u8>,
}

/// The `[capture]`.
pub(super) struct Capture {
    pub(super) enabled: Found<bool>,
    pub(super) rate: Found<u32>,
    pub(super) snap: Found<u32>,
    pub(super) ring: Found<u32>,
}

/// A `[[service]]`.
pub(super) struct Service {
    pub(super) span: Range<usize>,
    pub(super) name: Found<String>,
    pub(super) vip: Found<Vip>,
    pub(super) protocol: Found<Protocol>,
    pub(super) forward: Found<Forward>,
    pub(super) select: Found<Select>,
    pub(super) gue_port: Found<u16>,
    pub(super) server_id_bytes: Found<u8>,
    pub(super) listener: Found<SocketAddr>,
    pub(super) tracking: Found<Tracking>,
    pub(super) idle: Found<Duration>,
    pub(super) health: Found<Health>,
    /// `None` for `"none"`.
    pub(super) guard: Found<Option<ServiceGuard>>,
    pub(super) backends: Found<Vec<Backend>>,
}

impl Service {
    /// Whether answers of its backends are known by the records of their flows.
    pub(super) fn knows_answers_by_record(&self) -> bool {
        let said = self.forward.given().zip(self.tracking.or(Tracking::Auto));
        said.is_some_and(|(forward, tracking)| forward.knows_answers_by_record(tracking))
    }
}

/// A `[[service.backend]]`.
pub(super) struct Backend {
    pub(super) span: Range<usize>,
    pub(super) name: Found<String>,
    pub(super) addr: Found<SocketAddr>,
    pub(super) server_id: Found<(u8, [u8; 8])>,
    pub(super) weight: Found<u16>,
    pub(super) drain: Found<bool>,
}

/// The value of `health`.
pub(super) enum Health {
    /// `"none"`
    None,
    /// A table of settings.
    Check(Box<Check>),
}

/// The table of `health`.
pub(super) struct Check {
    pub(super) span: Range<usize>,
    pub(super) http: Found<String>,
    pub(super) status: Found<StatusRange>,
    pub(super) host: Found<String>,
    pub(super) tcp: Found<bool>,
    pub(super) port: Found<u16>,
    pub(super) interval: Found<Duration>,
    pub(super) timeout: Found<Duration>,
    pub(super) rise: Found<u32>,
    pub(super) fall: Found<u32>,
    pub(super) jitter: Found<u8>,
}

impl File {
    pub(super) fn read(tree: &DeTable<'_>, report: &mut Report) -> Self {
        let file = Reader::file(tree, report);
        let services = file.tables_of("service", |_, table| section_of(table), report);
        let services = services.given().into_iter().flatten();
        let (http_services, services): (Vec<_>, Vec<_>) =
            services.partition(|service| service.is_of(&sections::HTTP_SERVICE));
        let (listeners, routes) = (file.tables("listener", report), file.tables("route", report));
        let (encap, limits) = (file.table("encap", report), file.table("limits", report));
        let limit =
            |name, report: &mut Report| section(&limits, |limits| limits.read(name, value::narrow, report));
        Self {
            services: services.into_iter().map(|service| Service::read(service, report)).collect(),
            http_services: http_services
                .into_iter()
                .map(|service| proxy::Service::read(service, report))
                .collect(),
            listeners: read_all(&listeners, proxy::Listener::read, report),
            routes: read_all(&routes, proxy::Route::read, report),
            proxy: file.table("proxy", report).map(|proxy| proxy::Proxy::read(&proxy, report)),
            metrics: section(&file.table("metrics", report), |table| {
                table.read("address", value::endpoint, report)
            }),
            ports: section(&file.table("nat", report), |nat| nat.read("ports", value::ports, report)),
            flows: limit("flows", report),
            fragments: limit("fragments", report),
            new_flows: limit("new_flows", report),
            ping: file.read("ping", value::flag, report),
            spread: section(&encap, |encap| encap.read("spread", value::flag, report)),
            source_v4: section(&encap, |encap| encap.read("source_v4", value::prefix_v4, report)),
            source_v6: section(&encap, |encap| encap.read("source_v6", value::prefix_v6, report)),
            capture: Capture::read(&file, report),
            seed: file.read("seed", value::seed, report),
            log_packets: file.read("log_packets", value::flag, report),
            guard: file.table("guard", report).map(|guard| Guard::read(&guard, report)),
        }
    }
}

/// Which keys a service has, by its kind. Of one whose kind is mistaken, what it has tells which was meant, so that the mistake
/// is not followed by more that are none.
fn section_of(service: &DeTable<'_>) -> &'static Section {
    let is_of_packets = match service.get("kind").map(|kind| kind.get_ref().as_str()) {
        Some(Some("http")) => false,
        None | Some(Some("l4")) => true,
        Some(_) => service.contains_key("vip") || service.contains_key("forward"),
    };
    if is_of_packets { &sections::SERVICE } else { &sections::HTTP_SERVICE }
}

/// What `read` makes of each of these tables.
fn read_all<T>(
    tables: &Found<Vec<Reader<'_, '_>>>,
    read: impl Fn(&Reader<'_, '_>, &mut Report) -> T,
    report: &mut Report,
) -> Vec<T> {
    tables.given().into_iter().flatten().map(|table| read(table, report)).collect()
}

/// The one key of a section, which is absent where the section is.
fn section<T>(section: &Found<Reader<'_, '_>>, read: impl FnOnce(&Reader<'_, '_>) -> Found<T>) -> Found<T> {
    section.given().map_or(Found::Absent, read)
}

impl Capture {
    fn read(file: &Reader<'_, '_>, report: &mut Report) -> Self {
        let capture = file.table("capture", report);
        let number =
            |name, report: &mut Report| section(&capture, |table| table.read(name, value::narrow, report));
        Self {
            rate: number("rate", report),
            snap: number("snap", report),
            ring: number("ring", report),
            enabled: section(&capture, |table| table.read("enabled", value::flag, report)),
        }
    }
}

impl Service {
    fn read(service: &Reader<'_, '_>, report: &mut Report) -> Self {
        // The kind has decided which section this is; a word that is none is still a mistake.
        service.read("kind", value::choice::<Kind>, report);
        Self {
            span: service.span(),
            name: service.read("name", value::name, report),
            vip: service.read("vip", value::vip, report),
            protocol: service.read("protocol", value::choice, report),
            forward: service.read("forward", value::choice, report),
            select: service.read("select", value::select, report),
            gue_port: service.read("gue_port", value::narrow, report),
            server_id_bytes: service.read("server_id_bytes", value::narrow, report),
            listener: service.read("listener", value::listener, report),
            tracking: service.read("tracking", value::choice, report),
            idle: service.read("idle", value::duration, report),
            health: Health::read(service, report),
            guard: ServiceGuard::of(service, report),
            backends: service
                .tables("backend", report)
                .map(|backends| backends.iter().map(|backend| Backend::read(backend, report)).collect()),
        }
    }

    /// The backends that are tables.
    pub(super) fn backends(&self) -> impl Iterator<Item = &Backend> {
        self.backends.given().into_iter().flatten()
    }

    /// How a sentence names it.
    pub(super) fn title(&self) -> String {
        self.name.given().map_or("this service".to_owned(), |name| format!("service \"{name}\""))
    }
}

impl Backend {
    fn read(backend: &Reader<'_, '_>, report: &mut Report) -> Self {
        Self {
            span: backend.span(),
            name: backend.read("name", value::name, report),
            addr: backend.read("addr", value::server, report),
            server_id: backend.read("server_id", value::server_id, report),
            weight: backend.read("weight", value::weight, report),
            drain: backend.read("drain", value::flag, report),
        }
    }
}

impl Health {
    fn read(service: &Reader<'_, '_>, report: &mut Report) -> Found<Self> {
        let health = service.read("health", |key, value| table_or_word(key, value), report);
        health.map(|table| match table {
            Some(table) => Self::Check(Box::new(Check::read(&table.opened(report), report))),
            None => Self::None,
        })
    }
}

/// The table, or `None` for the word that stands for no table.
fn table_or_word<'t, 'a>(
    key: &'static Key,
    value: &'t Written<'a>,
) -> Result<Option<Reader<'t, 'a>>, Finding> {
    match (&key.value, value.get_ref()) {
        (Value::TableOr(_, word), DeValue::String(text)) if text == word => Ok(None),
        (_, DeValue::String(text)) if text == "tcp" => {
            Err(unfit(key, value).help("write `health = { tcp = true }`"))
        }
        (_, DeValue::String(text)) if text.starts_with('/') => {
            Err(unfit(key, value).help(format!("write `health = {{ http = {text:?} }}`")))
        }
        _ => Reader::unopened(key, value).map(Some),
    }
}

impl Guard {
    fn read(guard: &Reader<'_, '_>, report: &mut Report) -> Self {
        Self {
            allow: guard.read("allow", value::file, report),
            deny: guard.read("deny", value::file, report),
            bogons: guard.read("bogons", value::flag, report),
            prefixes: guard.read("prefixes", value::narrow, report),
            of_services: ServiceGuard::read(guard, report),
        }
    }
}

impl ServiceGuard {
    fn of(service: &Reader<'_, '_>, report: &mut Report) -> Found<Option<Self>> {
        let guard = service.read(
            "guard",
            |key, value| match (&key.value, value.get_ref()) {
                (Value::TableOr(_, word), DeValue::String(text)) if text == word => Ok(None),
                _ => Reader::unopened(key, value).map(Some),
            },
            report,
        );
        guard.map(|table| {
            table.map(|table| {
                let guard = table.opened(report);
                Self {
                    syn_cookies: guard.read("syn_cookies", value::flag, report),
                    ..Self::read(&guard, report)
                }
            })
        })
    }

    fn read(guard: &Reader<'_, '_>, report: &mut Report) -> Self {
        Self {
            lists: guard.read("lists", value::flag, report),
            martians: guard.read("martians", value::flag, report),
            land: guard.read("land", value::flag, report),
            malformed: guard.read("malformed", value::flag, report),
            blocks: guard.read("blocks", value::flag, report),
            source_packets: guard.read("source_packets", value::narrow, report),
            source_flows: guard.read("source_flows", value::narrow, report),
            service_flows: guard.read("service_flows", value::narrow, report),
            syn_cookies: Found::Absent,
            source_v4: guard.read("source_v4", value::narrow, report),
            source_v6: guard.read("source_v6", value::narrow, report),
        }
    }
}

impl Check {
    fn read(check: &Reader<'_, '_>, report: &mut Report) -> Self {
        Self {
            span: check.span(),
            http: check.read("http", value::path, report),
            status: check.read("status", value::status, report),
            host: check.read("host", value::host, report),
            tcp: check.read("tcp", value::flag, report),
            port: check.read("port", value::narrow, report),
            interval: check.read("interval", value::duration, report),
            timeout: check.read("timeout", value::duration, report),
            rise: check.read("rise", value::narrow, report),
            fall: check.read("fall", value::narrow, report),
            jitter: check.read("jitter", value::narrow, report),
        }
    }
}
