//! Layer 7 as written. A table whose keys are independent of all others has no twin here: it is read into the model at once.

mod listener;
mod log;
mod route;
mod service;

use std::ops::Range;
use std::path::PathBuf;

pub(in crate::config) use listener::{Listener, Tls};
pub(in crate::config) use log::access_log;
pub(in crate::config) use route::{
    Condition, Conditions, Edits, Field, Path, Redirect, Rewrite, Route, Share,
};
pub(in crate::config) use service::{Backend, Service, UpstreamTls};

use super::super::finding::Report;
use super::super::found::Found;
use super::super::proxy::{AccessLog, Forwarded, Io, Network};
use super::super::reader::Reader;
use super::super::value;

/// Values with their places.
pub(in crate::config) type Places<T> = Vec<(Range<usize>, T)>;

/// `[proxy]`.
pub(in crate::config) struct Proxy {
    pub(in crate::config) workers: Found<u16>,
    pub(in crate::config) io: Found<Io>,
    pub(in crate::config) memory: Found<u64>,
    pub(in crate::config) trusted: Found<Places<Network>>,
    pub(in crate::config) forwarded: Found<Forwarded>,
    pub(in crate::config) hide: Found<Places<String>>,
    pub(in crate::config) server: Found<String>,
    pub(in crate::config) via: Found<String>,
    pub(in crate::config) drain: Found<std::time::Duration>,
    pub(in crate::config) secret: Found<PathBuf>,
    pub(in crate::config) access_log: Found<AccessLog>,
}

impl Proxy {
    pub(super) fn read(proxy: &Reader<'_, '_>, report: &mut Report) -> Self {
        let log = proxy.table("access_log", report);
        Self {
            workers: proxy.read("workers", value::narrow, report),
            io: proxy.read("io", value::choice, report),
            memory: proxy.read("memory", value::narrow, report),
            trusted: proxy.texts("trusted", value::network, report),
            forwarded: proxy.read("forwarded", value::choice, report),
            hide: proxy.texts("hide", value::field, report),
            server: proxy.read("server", value::field_value, report),
            via: proxy.read("via", value::name, report),
            drain: proxy.read("drain", value::duration, report),
            secret: proxy.read("secret", value::file, report),
            access_log: log.and_then(|log| access_log(&log, report)),
        }
    }
}

/// The values alone.
pub(in crate::config) fn values<T: Clone>(places: &[(Range<usize>, T)]) -> Vec<T> {
    places.iter().map(|(_, value)| value.clone()).collect()
}

/// `None` where the key is absent, nothing where it is unfit.
#[allow(clippy::option_option, reason = "a key that is absent is not one that is unfit")]
pub(in crate::config) fn optional<T: Clone>(found: &Found<T>) -> Option<Option<T>> {
    found.clone().map(Some).or(None)
}
