//! Cookies that bind clients to backends.
//!
//! A cookie's value is a keyed digest (HMAC-SHA-256) of service and backend, cut to 128 bits: the digest is the backend's name and
//! its signature in one. Nobody without the secret can make one up, or learn from it whom it names.

use std::fmt::{self, Write as _};

use hmac::digest::Key;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::config::proxy::Sticky;

/// What a cookie says of a backend: 32 hexadecimal digits.
pub(super) type Tag = [u8; 32];

/// Makes cookies. All workers, and all hosts that share clients, need the same secret.
#[derive(Clone)]
pub struct Signer(Hmac<Sha256>);

impl Signer {
    /// Signs with this secret, of any length; 32 random bytes are enough.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let mut key = Key::<Hmac<Sha256>>::default();
        key.iter_mut().zip(Sha256::digest(secret)).for_each(|(byte, digested)| *byte = digested);
        Self(Hmac::new(&key))
    }

    pub(super) fn tag(&self, service: &str, backend: &str) -> Tag {
        let mut mac = self.0.clone();
        // Names have no NUL in them, so two pairs never read the same.
        for part in [service.as_bytes(), b"\0", backend.as_bytes()] {
            mac.update(part);
        }
        let digest = mac.finalize().into_bytes();
        std::array::from_fn(|at| {
            let byte = digest[at / 2];
            b"0123456789abcdef"[usize::from(if at % 2 == 0 { byte >> 4 } else { byte & 0xf })]
        })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

/// Whether a cookie's value is this tag, in a time that does not depend on where they differ.
pub(super) fn is_tag(tag: &Tag, value: &[u8]) -> bool {
    value.len() == tag.len()
        && tag.iter().zip(value).fold(0, |differ, (one, other)| differ | (one ^ other)) == 0
}

/// What `Set-Cookie` says to bind a client.
#[derive(Clone, Copy, Debug)]
pub struct SetCookie<'a> {
    pub(super) sticky: &'a Sticky,
    pub(super) tag: &'a Tag,
}

impl SetCookie<'_> {
    /// Whether this is what the client has already.
    #[must_use]
    pub fn is(&self, value: Option<&[u8]>) -> bool {
        value.is_some_and(|value| is_tag(self.tag, value))
    }

    /// Writes the field's value; `https` keeps the cookie to connections by TLS. Source: RFC 6265, section 4.1.
    pub fn push(&self, https: bool, out: &mut String) {
        let tag = std::str::from_utf8(self.tag).unwrap_or_default();
        // Writing to a String cannot fail.
        _ = write!(out, "{}={tag}; Path=/; HttpOnly; SameSite=Lax", self.sticky.cookie);
        if let Some(age) = self.sticky.max_age {
            _ = write!(out, "; Max-Age={}", age.as_secs());
        }
        if https {
            out.push_str("; Secure");
        }
    }
}
