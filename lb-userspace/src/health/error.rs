//! Why a probe did not pass, in words an operator can act on.

use crate::config::StatusRange;
use std::fmt;
use std::io;
use std::time::Duration;

/// How far a probe had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The connection was not established yet.
    Connecting,
    /// Connected; the answer had not come.
    Answering,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "while connecting",
            Self::Answering => "while waiting for the answer",
        })
    }
}

/// Why a probe did not pass. All but [`ProbeError::Ours`] speak about the backend or the way to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// Nobody listens on the port.
    #[error("connection refused")]
    Refused,
    /// No complete answer in time.
    #[error("timed out after {after:?} {stage}")]
    TimedOut {
        /// The time-out that ran out.
        after: Duration,
        /// What the probe was waiting for.
        stage: Stage,
    },
    /// No route, no neighbour, or a router said so.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The peer tore the connection down with a reset.
    #[error("connection reset")]
    Reset,
    /// The peer closed the connection before its answer was complete.
    #[error("connection closed before the answer was complete")]
    Closed,
    /// It answered, with another status than the one that passes.
    #[error("status {got} instead of {want}")]
    Status {
        /// The status received.
        got: u16,
        /// The status that passes.
        want: StatusRange,
    },
    /// What came back is not an HTTP response.
    #[error("not HTTP: {0}")]
    NotHttp(String),
    /// The response head did not end within the limit.
    #[error("response head longer than {limit} bytes")]
    HeadTooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Any other failure of the connection.
    #[error("connection failed: {0}")]
    Connection(String),
    /// The probe could not be made at all: no descriptor, no port, forbidden. It says nothing about the backend, so
    /// it never counts against one.
    #[error("no probe made: {0}")]
    Ours(String),
}

impl ProbeError {
    /// Whether this host, not the backend, is to blame.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Ours(_))
    }

    /// An error of this host, whatever its number.
    pub(super) fn ours(error: &io::Error) -> Self {
        Self::Ours(error.to_string())
    }
}

impl From<io::Error> for ProbeError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable,
            NetworkUnreachable,
        };
        match error.kind() {
            ConnectionRefused => Self::Refused,
            ConnectionReset | ConnectionAborted | BrokenPipe => Self::Reset,
            HostUnreachable | NetworkUnreachable => Self::Unreachable(error.to_string()),
            _ if is_our_errno(&error) => Self::ours(&error),
            _ => Self::Connection(error.to_string()),
        }
    }
}

/// Errors that name a shortage or a prohibition on this host. `EPERM` is what a local firewall answers.
fn is_our_errno(error: &io::Error) -> bool {
    use libc::{EACCES, EADDRINUSE, EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM};
    let ours = [EACCES, EADDRINUSE, EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM];
    error.raw_os_error().is_some_and(|errno| ours.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_sentences_an_operator_understands() {
        let timed_out = ProbeError::TimedOut { after: Duration::from_millis(500), stage: Stage::Answering };
        assert_eq!(timed_out.to_string(), "timed out after 500ms while waiting for the answer");
        assert_eq!(
            ProbeError::Status { got: 503, want: StatusRange::default() }.to_string(),
            "status 503 instead of 200"
        );
    }

    #[test]
    fn a_shortage_on_this_host_is_not_the_backends_fault() {
        for errno in [libc::EMFILE, libc::EADDRNOTAVAIL, libc::EPERM] {
            assert!(ProbeError::from(io::Error::from_raw_os_error(errno)).is_ours());
        }
        for errno in [libc::ECONNREFUSED, libc::EHOSTUNREACH, libc::ECONNRESET, libc::EIO] {
            assert!(!ProbeError::from(io::Error::from_raw_os_error(errno)).is_ours());
        }
    }
}
