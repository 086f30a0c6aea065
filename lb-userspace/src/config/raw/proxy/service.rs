//! `[[service]]` of kind `http` as written.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::super::super::finding::Report;
use super::super::super::found::Found;
use super::super::super::keys::Value;
use super::super::super::model::Kind;
use super::super::super::proxy::{
    BalanceWord, HashOn, Outliers, Pool, ProxyHeader, Queue, Retries, Sticky, UpstreamDeadlines,
};
use super::super::super::reader::Reader;
use super::super::super::value;
use super::super::Health;
use super::optional;

pub(in crate::config) struct Service {
    pub(in crate::config) span: Range<usize>,
    pub(in crate::config) name: Found<String>,
    pub(in crate::config) balance: Found<BalanceWord>,
    pub(in crate::config) hash_on: Found<HashOn>,
    pub(in crate::config) sticky: Found<Sticky>,
    pub(in crate::config) health: Found<Health>,
    pub(in crate::config) max_connections: Found<u32>,
    pub(in crate::config) queue: Found<Queue>,
    pub(in crate::config) slow_start: Found<Duration>,
    pub(in crate::config) pool: Found<Pool>,
    pub(in crate::config) deadlines: Found<UpstreamDeadlines>,
    pub(in crate::config) retries: Found<Retries>,
    /// `None` for `"none"`.
    pub(in crate::config) outliers: Found<Option<Outliers>>,
    pub(in crate::config) tls: Found<UpstreamTls>,
    pub(in crate::config) proxy_protocol: Found<ProxyHeader>,
    pub(in crate::config) http2: Found<bool>,
    pub(in crate::config) host: Found<String>,
    pub(in crate::config) backends: Found<Vec<Backend>>,
}

/// A `[[service.backend]]` of it.
pub(in crate::config) struct Backend {
    pub(in crate::config) name: Found<String>,
    pub(in crate::config) addr: Found<SocketAddr>,
    pub(in crate::config) weight: Found<u16>,
    pub(in crate::config) drain: Found<bool>,
}

/// The value of `tls`.
#[derive(Clone)]
pub(in crate::config) struct UpstreamTls {
    pub(in crate::config) ca: Found<PathBuf>,
    pub(in crate::config) sni: Found<String>,
    pub(in crate::config) cert: Found<PathBuf>,
    pub(in crate::config) key: Found<PathBuf>,
    pub(in crate::config) verify: Found<bool>,
}

impl Service {
    pub(in super::super) fn read(service: &Reader<'_, '_>, report: &mut Report) -> Self {
        // The kind has decided which section this is; a word that is none is still a mistake.
        service.read("kind", value::choice::<Kind>, report);
        let backends = service.tables("backend", report);
        Self {
            span: service.span(),
            name: service.read("name", value::name, report),
            balance: service.read("balance", value::choice, report),
            hash_on: service.read("hash_on", value::hash_on, report),
            sticky: service.table("sticky", report).and_then(|table| sticky(&table, report)),
            health: Health::read(service, report),
            max_connections: service.read("max_connections", value::narrow, report),
            queue: service.table("queue", report).and_then(|table| queue(&table, report)),
            slow_start: service.read("slow_start", value::duration, report),
            pool: service.table("pool", report).and_then(|table| pool(&table, report)),
            deadlines: service.table("deadlines", report).and_then(|table| deadlines(&table, report)),
            retries: service.table("retries", report).and_then(|table| retries(&table, report)),
            outliers: outliers(service, report),
            tls: service.table("tls", report).map(|table| UpstreamTls::read(&table, report)),
            proxy_protocol: service.read("proxy_protocol", value::choice, report),
            http2: service.read("http2", value::flag, report),
            host: service.read("host", value::authority, report),
            backends: backends.map(|all| all.iter().map(|one| Backend::read(one, report)).collect()),
        }
    }

    /// The backends that are tables.
    pub(in crate::config) fn backends(&self) -> impl Iterator<Item = &Backend> {
        self.backends.given().into_iter().flatten()
    }

    /// How a sentence names it.
    pub(in crate::config) fn title(&self) -> String {
        self.name.given().map_or("this service".to_owned(), |name| format!("service \"{name}\""))
    }
}

impl Backend {
    fn read(backend: &Reader<'_, '_>, report: &mut Report) -> Self {
        Self {
            name: backend.read("name", value::name, report),
            addr: backend.read("addr", value::endpoint, report),
            weight: backend.read("weight", value::weight, report),
            drain: backend.read("drain", value::flag, report),
        }
    }
}

impl UpstreamTls {
    fn read(tls: &Reader<'_, '_>, report: &mut Report) -> Self {
        Self {
            ca: tls.read("ca", value::file, report),
            sni: tls.read("sni", value::host, report),
            cert: tls.read("cert", value::file, report),
            key: tls.read("key", value::file, report),
            verify: tls.read("verify", value::flag, report),
        }
    }
}

fn sticky(sticky: &Reader<'_, '_>, report: &mut Report) -> Option<Sticky> {
    let cookie = sticky.read("cookie", value::cookie_name, report);
    let max_age = sticky.read("max_age", value::duration, report);
    Some(Sticky { cookie: cookie.or(Sticky::COOKIE.to_owned())?, max_age: optional(&max_age)? })
}

fn queue(queue: &Reader<'_, '_>, report: &mut Report) -> Option<Queue> {
    let length = queue.read("length", value::narrow, report).or(Queue::DEFAULT.length);
    let timeout = queue.read("timeout", value::duration, report).or(Queue::DEFAULT.timeout);
    Some(Queue { length: length?, timeout: timeout? })
}

fn pool(pool: &Reader<'_, '_>, report: &mut Report) -> Option<Pool> {
    let idle = pool.read("idle", value::narrow, report).or(Pool::DEFAULT.idle);
    let idle_timeout = pool.read("idle_timeout", value::duration, report).or(Pool::DEFAULT.idle_timeout);
    let requests = pool.read("requests", value::narrow, report).or(Pool::DEFAULT.requests);
    let lifetime = optional(&pool.read("lifetime", value::duration, report));
    Some(Pool { idle: idle?, idle_timeout: idle_timeout?, requests: requests?, lifetime: lifetime? })
}

fn deadlines(deadlines: &Reader<'_, '_>, report: &mut Report) -> Option<UpstreamDeadlines> {
    let default = UpstreamDeadlines::DEFAULT;
    let mut time = |name, default| deadlines.read(name, value::duration, report).or(default);
    let connect = time("connect", default.connect);
    let (first_byte, idle) = (time("first_byte", default.first_byte), time("idle", default.idle));
    Some(UpstreamDeadlines { connect: connect?, first_byte: first_byte?, idle: idle? })
}

fn retries(retries: &Reader<'_, '_>, report: &mut Report) -> Option<Retries> {
    let count = retries.read("count", value::narrow, report).or(Retries::DEFAULT.count);
    let budget = retries.read("budget", value::narrow, report).or(Retries::DEFAULT.budget);
    let reserve = retries.read("reserve", value::narrow, report).or(Retries::DEFAULT.reserve);
    let on_status = retries.read("on_status", value::flag, report).or(Retries::DEFAULT.on_status);
    Some(Retries { count: count?, budget: budget?, reserve: reserve?, on_status: on_status? })
}

fn outliers(service: &Reader<'_, '_>, report: &mut Report) -> Found<Option<Outliers>> {
    let table = service.read(
        "outliers",
        |key, value| match (&key.value, value.get_ref()) {
            (Value::TableOr(_, word), DeValue::String(text)) if text == word => Ok(None),
            _ => Reader::unopened(key, value).map(Some),
        },
        report,
    );
    table.and_then(|table| match table {
        Some(table) => outlier_rules(&table.opened(report), report).map(Some),
        None => Some(None),
    })
}

fn outlier_rules(outliers: &Reader<'_, '_>, report: &mut Report) -> Option<Outliers> {
    let default = Outliers::DEFAULT;
    let failures = outliers.read("failures", value::narrow, report).or(default.failures);
    let latency = optional(&outliers.read("latency", value::narrow, report));
    let eject = outliers.read("eject", value::duration, report).or(default.eject);
    let most = outliers.read("most", value::narrow, report).or(default.most);
    Some(Outliers { failures: failures?, latency: latency?, eject: eject?, most: most? })
}
