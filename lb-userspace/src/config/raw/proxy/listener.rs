//! `[[listener]]` as written.

use std::net::SocketAddr;
use std::ops::Range;

use super::super::super::finding::Report;
use super::super::super::found::Found;
use super::super::super::proxy::{
    AccessLog, CertificateFiles, ClientCertificates, ClientDeadlines, ClientLimits, Hsts, Network, TlsVersion,
};
use super::super::super::reader::Reader;
use super::super::super::value;
use super::super::table_or_word;
use super::{Places, access_log, optional};

pub(in crate::config) struct Listener {
    pub(in crate::config) span: Range<usize>,
    pub(in crate::config) name: Found<String>,
    pub(in crate::config) addresses: Found<Places<SocketAddr>>,
    pub(in crate::config) tls: Found<Tls>,
    pub(in crate::config) http2: Found<bool>,
    pub(in crate::config) service: Found<String>,
    pub(in crate::config) redirect_to_https: Found<u16>,
    pub(in crate::config) hsts: Found<Hsts>,
    pub(in crate::config) proxy_protocol: Found<Places<Network>>,
    /// `None` for `"none"`.
    pub(in crate::config) access_log: Found<Option<AccessLog>>,
    pub(in crate::config) limits: Found<ClientLimits>,
    pub(in crate::config) deadlines: Found<ClientDeadlines>,
}

/// The value of `tls`.
#[derive(Clone)]
pub(in crate::config) struct Tls {
    pub(in crate::config) span: Range<usize>,
    pub(in crate::config) certificates: Found<Vec<Option<CertificateFiles>>>,
    pub(in crate::config) min_version: Found<TlsVersion>,
    pub(in crate::config) tickets: Found<bool>,
    pub(in crate::config) client: Found<ClientCertificates>,
}

impl Listener {
    pub(in super::super) fn read(listener: &Reader<'_, '_>, report: &mut Report) -> Self {
        let tls = listener.table("tls", report).map(|tls| Tls::read(&tls, report));
        let hsts = listener.table("hsts", report).and_then(|table| hsts(&table, report));
        let limits = listener.table("limits", report).and_then(|table| limits(&table, report));
        let deadlines = listener.table("deadlines", report).and_then(|table| deadlines(&table, report));
        let log = listener.read("access_log", table_or_word, report).and_then(|log| match log {
            Some(log) => access_log(&log.opened(report), report).map(Some),
            None => Some(None),
        });
        Self {
            span: listener.span(),
            access_log: log,
            name: listener.read("name", value::name, report),
            addresses: listener.texts("addresses", value::endpoint, report),
            tls,
            http2: listener.read("http2", value::flag, report),
            service: listener.read("service", value::name, report),
            redirect_to_https: listener.read("redirect_to_https", value::narrow, report),
            hsts,
            proxy_protocol: listener.texts("proxy_protocol", value::network, report),
            limits,
            deadlines,
        }
    }

    /// How a sentence names it.
    pub(in crate::config) fn title(&self) -> String {
        self.name.given().map_or("this listener".to_owned(), |name| format!("listener \"{name}\""))
    }
}

impl Tls {
    fn read(tls: &Reader<'_, '_>, report: &mut Report) -> Self {
        let certificates = tls.tables("certificates", report);
        let client = tls.table("client", report).and_then(|client| client_certificates(&client, report));
        Self {
            span: tls.span(),
            certificates: certificates
                .map(|files| files.iter().map(|one| certificate(one, report)).collect()),
            min_version: tls.read("min_version", value::choice, report),
            tickets: tls.read("tickets", value::flag, report),
            client,
        }
    }
}

fn certificate(files: &Reader<'_, '_>, report: &mut Report) -> Option<CertificateFiles> {
    let cert = files.read("cert", value::file, report);
    let key = files.read("key", value::file, report);
    let ocsp = files.read("ocsp", value::file, report);
    Some(CertificateFiles { cert: cert.given()?.clone(), key: key.given()?.clone(), ocsp: optional(&ocsp)? })
}

fn client_certificates(client: &Reader<'_, '_>, report: &mut Report) -> Option<ClientCertificates> {
    let ca = client.read("ca", value::file, report);
    let required = client.read("required", value::flag, report);
    let field = client.read("field", value::field, report);
    Some(ClientCertificates {
        ca: ca.given()?.clone(),
        required: required.or(true)?,
        field: field.or(ClientCertificates::FIELD.to_owned())?,
    })
}

fn hsts(hsts: &Reader<'_, '_>, report: &mut Report) -> Option<Hsts> {
    let max_age = hsts.read("max_age", value::duration, report);
    let subdomains = hsts.read("subdomains", value::flag, report);
    let preload = hsts.read("preload", value::flag, report);
    Some(Hsts {
        max_age: max_age.or(Hsts::DEFAULT.max_age)?,
        subdomains: subdomains.or(Hsts::DEFAULT.subdomains)?,
        preload: preload.or(Hsts::DEFAULT.preload)?,
    })
}

fn limits(limits: &Reader<'_, '_>, report: &mut Report) -> Option<ClientLimits> {
    let default = ClientLimits::DEFAULT;
    let mut number = |name, default| limits.read(name, value::narrow, report).or(default);
    let (head, line) = (number("head", default.head), number("line", default.line));
    let connections = number("connections", default.connections);
    let connections_per_address = number("connections_per_address", default.connections_per_address);
    let requests = number("requests", default.requests);
    let fields = limits.read("fields", value::narrow, report).or(default.fields);
    Some(ClientLimits {
        head: head?,
        line: line?,
        fields: fields?,
        connections: connections?,
        connections_per_address: connections_per_address?,
        requests: requests?,
    })
}

fn deadlines(deadlines: &Reader<'_, '_>, report: &mut Report) -> Option<ClientDeadlines> {
    let default = ClientDeadlines::DEFAULT;
    let mut time = |name, default| deadlines.read(name, value::duration, report).or(default);
    let handshake = time("handshake", default.handshake);
    let (head, body) = (time("head", default.head), time("body", default.body));
    let (idle, send) = (time("idle", default.idle), time("send", default.send));
    let min_rate = deadlines.read("min_rate", value::narrow, report).or(default.min_rate);
    let request = optional(&deadlines.read("request", value::duration, report));
    Some(ClientDeadlines {
        handshake: handshake?,
        head: head?,
        body: body?,
        idle: idle?,
        send: send?,
        min_rate: min_rate?,
        request: request?,
    })
}
