//! What can go wrong in an exchange, by whose fault it is, and what the client is told of it.

use super::http1::Refusal;

/// Why a request got no answer of a backend's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The client's request is malformed.
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// The client took too long to send it.
    #[error("the client was too slow to ask")]
    SlowClient,
    /// Its body is longer than the route allows.
    #[error("the body is too long")]
    BodyTooLong,
    /// Nobody serves what it asks for.
    #[error("no route")]
    NoRoute,
    /// No backend can be used.
    #[error("no backend is up")]
    NoBackend,
    /// Backends are full, and so is the queue.
    #[error("all backends are busy")]
    Busy,
    /// A backend could not be reached.
    #[error("no connection to the backend")]
    Unreachable,
    /// A backend took too long.
    #[error("the backend was too slow")]
    SlowBackend,
    /// A backend ended its connection before the answer.
    #[error("the backend ended the connection")]
    BackendEnded,
    /// A backend's answer is malformed.
    #[error("the backend's answer is malformed: {0}")]
    BadAnswer(Refusal),
}

impl Failure {
    /// The status that tells the client.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Refused(refusal) => refusal.status(),
            Self::SlowClient => 408,
            Self::BodyTooLong => 413,
            Self::NoRoute => 404,
            Self::NoBackend | Self::Busy => 503,
            Self::SlowBackend => 504,
            Self::Unreachable | Self::BackendEnded | Self::BadAnswer(_) => 502,
        }
    }

    /// Whether the connection can carry another request: the end of this one must be known.
    #[must_use]
    pub const fn keeps(self) -> bool {
        !matches!(self, Self::Refused(_) | Self::SlowClient | Self::BodyTooLong)
    }
}
