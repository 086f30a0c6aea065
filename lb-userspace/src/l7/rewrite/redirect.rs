//! Where a route sends a client.

use super::path::PathEdit;
use super::request::push_authority;
use crate::config::proxy::{self, PathPattern};
use crate::l7::message::Request;

/// A redirect, compiled.
#[derive(Debug)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    https: Option<bool>,
    host: Option<Box<str>>,
    port: Option<u16>,
    path: Option<PathEdit>,
}

impl Redirect {
    /// `matched` is the path of the route whose redirect it is.
    pub fn new(redirect: &proxy::Redirect, matched: Option<&PathPattern>) -> Result<Self, regex::Error> {
        Ok(Self {
            status: redirect.status,
            https: redirect.https,
            host: redirect.host.as_deref().map(Into::into),
            port: redirect.port,
            path: redirect.path.as_ref().map(|path| PathEdit::new(path, matched)).transpose()?,
        })
    }

    /// Of a plain listener, to the same by TLS on this port.
    #[must_use]
    pub const fn to_https(port: u16) -> Self {
        Self { status: 308, https: Some(true), host: None, port: Some(port), path: None }
    }

    /// Writes what `Location` says. It is absolute, so that a path like `//example.org` leads to no other host; but for a client
    /// that names no host (HTTP/1.0), whose path loses such slashes.
    pub fn push_location<F: ?Sized>(&self, request: &Request<'_, F>, out: &mut String) {
        let https = self.https.unwrap_or(request.https);
        let host = self.host.as_deref().unwrap_or(request.host());
        if !host.is_empty() {
            out.push_str(if https { "https://" } else { "http://" });
            push_authority(host, self.port(request, https), out);
        }
        self.push_path(request.path, host.is_empty(), out);
        if let Some(query) = request.query {
            out.push('?');
            out.push_str(query);
        }
    }

    /// The port to write: none where it is the scheme's own.
    fn port<F: ?Sized>(&self, request: &Request<'_, F>, https: bool) -> Option<u16> {
        let kept =
            if https == request.https && self.host.is_none() { request.authority.port() } else { None };
        self.port.or(kept).filter(|port| *port != if https { 443 } else { 80 })
    }

    fn push_path(&self, path: &str, relative: bool, out: &mut String) {
        let begin = out.len();
        match &self.path {
            Some(edit) => edit.push(path, out),
            None => out.push_str(if path == "*" { "/" } else { path }),
        }
        while relative && out.get(begin..).is_some_and(|path| path.starts_with("//")) {
            out.remove(begin);
        }
    }
}
