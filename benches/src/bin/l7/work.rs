//! What the proxies are given to do.

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// 64 kept connections by TLS, answers of 1 KiB.
    Https1K,
    /// The same without TLS.
    Http1K,
    /// 16 kept connections by TLS, answers of 100 KiB.
    Https100K,
    /// The same without TLS.
    Http100K,
    /// HTTP/2 by TLS: 32 connections of ten streams, answers of 1 KiB.
    Https2,
    /// A connection, a full handshake of TLS 1.3 and one request, 32 at once.
    Handshake,
    /// A fixed rate over 64 kept connections by TLS, answers of 1 KiB: CPU for each request.
    Fixed,
    /// The same: the latency that one in a hundred exceeds, from when a request was due.
    P99,
    /// Memory for each of 5,000 idle connections by TLS.
    IdleTls,
    /// The same without TLS.
    IdlePlain,
}

impl Work {
    pub(crate) const ALL: [Self; 10] = [
        Self::Https1K,
        Self::Http1K,
        Self::Https100K,
        Self::Http100K,
        Self::Https2,
        Self::Handshake,
        Self::Fixed,
        Self::P99,
        Self::IdleTls,
        Self::IdlePlain,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Https1K => "https1-1k",
            Self::Http1K => "http1-1k",
            Self::Https100K => "https1-100k",
            Self::Http100K => "http1-100k",
            Self::Https2 => "https2-1k",
            Self::Handshake => "handshake",
            Self::Fixed => "fixed-rate",
            Self::P99 => "p99",
            Self::IdleTls => "idle-memory",
            Self::IdlePlain => "idle-plain",
        }
    }

    /// What a row's figure counts.
    pub(crate) fn unit_of(name: &str) -> &'static str {
        if name.starts_with("idle") { "KiB" } else { "µs" }
    }
}
