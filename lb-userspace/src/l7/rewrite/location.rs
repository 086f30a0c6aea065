//! What backends call themselves: addresses that are nobody's business.

use std::net::SocketAddr;

use super::request::push_authority;
use crate::l7::http1::parse_authority;

/// What the backends of a service call themselves.
#[derive(Debug, Default)]
pub struct Authorities {
    /// As `10.0.0.11:8080` and, where the port is a scheme's own, `10.0.0.11`; in lower case.
    names: Box<[Box<str>]>,
    /// The same without ports: hosts that cookies may be for.
    hosts: Box<[Box<str>]>,
}

impl Authorities {
    /// Of these addresses, and of the host that they are asked for if that is not the client's.
    pub fn new(addresses: impl IntoIterator<Item = SocketAddr>, host: Option<&str>) -> Self {
        let of_address = |addr: SocketAddr| {
            let bare = matches!(addr.port(), 80 | 443).then(|| {
                let mut bare = String::new();
                push_authority(&addr.ip().to_string(), None, &mut bare);
                bare
            });
            bare.into_iter().chain([addr.to_string()])
        };
        let addresses: Vec<SocketAddr> = addresses.into_iter().collect();
        let names = addresses.iter().copied().flat_map(of_address).chain(host.map(str::to_ascii_lowercase));
        let bare = host.and_then(|host| parse_authority(host.as_bytes()).ok());
        let hosts = addresses.iter().map(|addr| addr.ip().to_string());
        let hosts = hosts.chain(bare.map(|authority| authority.host().to_owned()));
        Self { names: names.map(Into::into).collect(), hosts: hosts.map(Into::into).collect() }
    }

    /// Whether this is a backend's host.
    pub(super) fn has_host(&self, host: &[u8]) -> bool {
        self.hosts.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(host))
    }

    /// The path and what is behind it of a URL that names a backend.
    pub(super) fn path_behind<'a>(&self, url: &'a [u8]) -> Option<&'a [u8]> {
        let rest = strip_scheme(url)?;
        let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let is_backend = self.names.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(authority));
        is_backend.then_some(path)
    }
}

/// What is behind `http://`, `https://` or `//`.
fn strip_scheme(url: &[u8]) -> Option<&[u8]> {
    let begins =
        |scheme: &[u8]| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let scheme = [&b"http://"[..], b"https://", b"//"].into_iter().find(|scheme| begins(scheme))?;
    url.get(scheme.len()..)
}
