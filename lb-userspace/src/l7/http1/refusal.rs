//! Why a message is refused.

/// What is wrong with a message, by the rule that it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// RFC 9112 section 3.
    #[error("the request line is not one")]
    RequestLine,
    /// RFC 9112 section 2.3.
    #[error("the version is not 1.0 or 1.1")]
    Version,
    /// RFC 9110 section 15.5.15.
    #[error("the request line is too long")]
    LineTooLong,
    /// RFC 6585 section 5.
    #[error("the fields are too large or too many")]
    FieldsTooLarge,
    /// RFC 9112 section 5: names, values, no space before the colon, no folded lines.
    #[error("a field is malformed")]
    Field,
    /// RFC 9112 section 2.2.
    #[error("a line does not end by CR LF")]
    LineEnd,
    /// RFC 9112 section 6.3, rule 5.
    #[error("Content-Length is not one number, once")]
    ContentLength,
    /// RFC 9112 section 6.3, rule 3.
    #[error("both Transfer-Encoding and Content-Length")]
    TwoLengths,
    /// RFC 9112 section 6.1.
    #[error("a transfer coding other than chunked, once, of HTTP/1.1")]
    TransferCoding,
    /// RFC 9112 section 3.2.
    #[error("Host is missing, repeated or malformed")]
    Host,
    /// RFC 9112 section 3.2.2.
    #[error("the target and Host disagree")]
    HostDisagrees,
    /// RFC 9112 section 3.2.
    #[error("the target is malformed")]
    Target,
    /// RFC 9110 section 9.3.6: this is no forward proxy.
    #[error("CONNECT is not for this proxy")]
    Connect,
    /// RFC 9112 section 7.1.
    #[error("a chunk is malformed")]
    Chunk,
    /// RFC 9112 section 7.1.2.
    #[error("the trailer section is malformed or too large")]
    Trailer,
    /// RFC 9112 section 4.
    #[error("the status line is not one")]
    StatusLine,
}

impl Refusal {
    /// The status that tells a client of it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::LineTooLong => 414,
            Self::FieldsTooLarge => 431,
            Self::TransferCoding | Self::Connect => 501,
            Self::Version => 505,
            _ => 400,
        }
    }
}
