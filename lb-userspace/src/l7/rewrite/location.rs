//! Redirects of backends, which know themselves by addresses that are nobody's business.

use std::net::SocketAddr;

use super::request::push_authority;

/// What the backends of a service call themselves.
#[derive(Debug, Default)]
pub struct Authorities {
    /// As `10.0.0.11:8080` and, where the port is a scheme's own, `10.0.0.11`; in lower case.
    names: Box<[Box<str>]>,
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
        let names = addresses.into_iter().flat_map(of_address).chain(host.map(str::to_ascii_lowercase));
        Self { names: names.map(Into::into).collect() }
    }

    /// The path and what is behind it of a `location` that names a backend.
    pub(super) fn path_behind<'a>(&self, location: &'a [u8]) -> Option<&'a [u8]> {
        let rest = strip_scheme(location)?;
        let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let is_backend = self.names.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(authority));
        is_backend.then_some(path)
    }
}

/// What is behind `http://`, `https://` or `//`.
fn strip_scheme(location: &[u8]) -> Option<&[u8]> {
    let begins =
        |scheme: &[u8]| location.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let scheme = [&b"http://"[..], b"https://", b"//"].into_iter().find(|scheme| begins(scheme))?;
    location.get(scheme.len()..)
}
