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
    /// Connected; TLS was not agreed on yet.
    Securing,
    /// Connected; the answer had not come.
    Answering,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "while connecting",
            Self::Securing => "during the TLS handshake",
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
    /// TLS could not be agreed on, or was broken off.
    #[error("TLS: {0}")]
    Tls(String),
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
    /// What came back is not HTTP/2, or refuses the request.
    #[error("HTTP/2: {0}")]
    Http2(String),
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

    /// An error that ended a handshake of TLS.
    pub(super) fn in_handshake(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                Self::Tls("the backend closed the connection during the handshake".to_owned())
            }
            _ => error.into(),
        }
    }
}

impl From<io::Error> for ProbeError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, InvalidData,
            NetworkUnreachable, UnexpectedEof,
        };
        if let Some(error) = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>()) {
            return Self::Tls(describe_tls(error));
        }
        match error.kind() {
            UnexpectedEof => Self::Closed,
            // What `h2` was told by TLS beneath it.
            InvalidData => Self::Tls(error.to_string()),
            ConnectionRefused => Self::Refused,
            ConnectionReset | ConnectionAborted | BrokenPipe => Self::Reset,
            HostUnreachable | NetworkUnreachable => Self::Unreachable(error.to_string()),
            _ if is_our_errno(&error) => Self::ours(&error),
            _ => Self::Connection(error.to_string()),
        }
    }
}

impl From<h2::Error> for ProbeError {
    fn from(error: h2::Error) -> Self {
        if error.is_io() {
            return error.into_io().map_or(Self::Closed, Self::from);
        }
        let what = match error.reason() {
            Some(reason) if error.is_remote() => format!("refused by the backend: {}", reason.description()),
            _ => format!("not spoken by the backend: {error}"),
        };
        Self::Http2(what)
    }
}

/// What is wrong with TLS, and what to look at.
fn describe_tls(error: &rustls::Error) -> String {
    use rustls::{AlertDescription, Error};
    match error {
        Error::InvalidCertificate(why) => describe_certificate(why),
        Error::InvalidMessage(_) => {
            "the backend answers with something else; does it speak TLS on this port?".into()
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the backend asks for a client certificate; `tls` may name `cert` and `key`".into()
        }
        Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "the backend takes no connection for this version of HTTP (ALPN)".into()
        }
        Error::AlertReceived(alert) => format!("the backend refused: {alert:?}"),
        other => other.to_string(),
    }
}

fn describe_certificate(error: &rustls::CertificateError) -> String {
    use rustls::CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext,
        UnknownIssuer,
    };
    match error {
        NotValidForName => "certificate not valid for the name that is asked for".into(),
        NotValidForNameContext { expected, presented } => {
            format!("certificate not valid for name {}, but for {}", expected.to_str(), list(presented))
        }
        UnknownIssuer => "unknown issuer: the certificate is of no authority that is believed (`ca`)".into(),
        Expired | ExpiredContext { .. } => "certificate expired".into(),
        NotValidYet | NotValidYetContext { .. } => "certificate not valid yet".into(),
        other => format!("certificate not valid: {other:?}"),
    }
}

/// The first of a certificate's names; there may be a hundred.
fn list(names: &[String]) -> String {
    const TOLD: usize = 3;
    let told: Vec<_> = names.iter().take(TOLD).map(|name| bare(name)).collect();
    let others = if names.len() > TOLD { " and others" } else { "" };
    format!("{}{others}", told.join(", "))
}

/// A name as rustls presents it, `DnsName("a")` or `IpAddress(10.0.0.1)`, without what is around it.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
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
    fn what_is_wrong_with_a_certificate_is_told_with_what_to_look_at() {
        use rustls::CertificateError::{ExpiredContext, NotValidForNameContext, UnknownIssuer};
        use rustls::pki_types::{ServerName, UnixTime};
        let said = |error| {
            let error = rustls::Error::InvalidCertificate(error);
            ProbeError::from(io::Error::new(io::ErrorKind::InvalidData, error)).to_string()
        };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(2));
        let past = UnixTime::since_unix_epoch(Duration::from_secs(1));
        assert_eq!(said(ExpiredContext { time: now, not_after: past }), "TLS: certificate expired");
        assert!(said(UnknownIssuer).starts_with("TLS: unknown issuer"));
        let presented = ["DnsName(\"a\")", "IpAddress(10.0.0.1)", "c", "d"].map(str::to_owned).into();
        let expected = ServerName::try_from("www.example.org").unwrap();
        assert_eq!(
            said(NotValidForNameContext { expected, presented }),
            "TLS: certificate not valid for name www.example.org, but for a, 10.0.0.1, c and others"
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
