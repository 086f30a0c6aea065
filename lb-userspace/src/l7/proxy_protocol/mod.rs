//! The PROXY protocol: a proxy in front tells whose connection this is, in a few bytes before anything else. Pure.
//!
//! Source: `HAProxy`, "The PROXY protocol", versions 1 and 2.
//!
//! **Invariant**: a header is read whole or not at all, and no shorter part of an accepted one is refused. Whether its sender is
//! believed is asked before, by its address.

#[cfg(test)]
mod tests;
mod text;
mod v2;

pub use text::{NOBODY_V1, write_v1};
pub use v2::{NOBODY_V2, write_v2};

use std::net::SocketAddr;

/// Whom a header speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxied {
    /// A client and the address that it connected to.
    Client {
        /// The client.
        client: SocketAddr,
        /// Where it connected.
        server: SocketAddr,
    },
    /// The proxy itself, such as its health checks, or somebody without an address of IP: the connection's own count.
    Nobody,
}

/// Why a header is refused. The connection ends without answer: its sender speaks no HTTP at this point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ProxyRefusal {
    /// It begins like neither version.
    #[error("no PROXY header where one must be")]
    Missing,
    /// Version 1: more than 107 bytes.
    #[error("the PROXY line is too long")]
    LineTooLong,
    /// Version 1: it is not `PROXY`, a family, two addresses and two ports.
    #[error("the PROXY line is malformed")]
    Line,
    /// Version 2: a version other than 2.
    #[error("the PROXY header is of an unknown version")]
    Version,
    /// Version 2: neither LOCAL nor PROXY.
    #[error("the PROXY header has an unknown command")]
    Command,
    /// Version 2: a family or transport that nobody has specified.
    #[error("the PROXY header has an unknown family")]
    Family,
    /// Version 2: longer than we read.
    #[error("the PROXY header is too long")]
    TooLong,
    /// Version 2: too short for its addresses.
    #[error("the PROXY header is too short for its addresses")]
    TooShort,
    /// Version 2: a value reaches beyond the header's end.
    #[error("the PROXY header has a malformed value")]
    Value,
    /// Version 2: its checksum is wrong.
    #[error("the PROXY header's checksum is wrong")]
    Checksum,
}

impl ProxyRefusal {
    /// The word used in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "proxy_missing",
            Self::LineTooLong => "proxy_line_too_long",
            Self::Line => "proxy_line",
            Self::Version => "proxy_version",
            Self::Command => "proxy_command",
            Self::Family => "proxy_family",
            Self::TooLong => "proxy_too_long",
            Self::TooShort => "proxy_too_short",
            Self::Value => "proxy_value",
            Self::Checksum => "proxy_checksum",
        }
    }
}

/// Reads a header of either version and says how long it is. `None`: the bytes do not reach to its end.
pub fn parse(bytes: &[u8]) -> Result<Option<(Proxied, usize)>, ProxyRefusal> {
    if begins(bytes, v2::SIGNATURE) {
        v2::parse(bytes)
    } else if begins(bytes, text::SIGNATURE) {
        text::parse(bytes)
    } else {
        Err(ProxyRefusal::Missing)
    }
}

/// Whether the bytes begin with this, as far as they go.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(byte, expected)| byte == expected)
}
