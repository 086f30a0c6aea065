//! What becomes of an exchange that failed: the status, whether the connection stays, the word in the log, and the few words the
//! client reads. Total: every failure is here, and nowhere else.
//!
//! A client learns from an answer what it did wrong, or that it is not its fault; never where or what the backends are.

use super::http1::{Refusal, reason};
use super::message::FieldSink;

use Connection::{Closes, Stays};

/// What becomes of the client's connection once its request has been read to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Connection {
    /// It may carry another request.
    Stays,
    /// It may not: the end is unknown, or the client would not send or take the rest, or load is shed.
    Closes,
}

macro_rules! failures {
    ($($variant:ident, $label:literal, $status:literal, $connection:ident, $text:literal, $doc:literal;)*) => {
        /// Why an exchange did not come to its end.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
        pub enum Failure {
            /// The client's request is malformed.
            #[error("the request was refused: {0}")]
            Refused(#[from] Refusal),
            /// The backend's answer is malformed.
            #[error("the backend's answer is malformed: {0}")]
            BadAnswer(Refusal),
            $(#[doc = $doc] #[error($text)] $variant,)*
        }

        impl Failure {
            /// All of them but for what is malformed: see [`Refusal::ALL`].
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word in logs and metrics.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self {
                    Self::Refused(refusal) => refusal.name(),
                    Self::BadAnswer(_) => "bad_answer",
                    $(Self::$variant => $label,)*
                }
            }

            /// The status that tells the client; 499, as logs have it, where nobody is left to be told.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self {
                    Self::Refused(refusal) => refusal.status(),
                    Self::BadAnswer(_) => 502,
                    $(Self::$variant => $status,)*
                }
            }

            const fn connection(self) -> Connection {
                match self {
                    Self::Refused(refusal) => if refusal.keeps() { Stays } else { Closes },
                    Self::BadAnswer(_) => Stays,
                    $(Self::$variant => $connection,)*
                }
            }
        }
    };
}

failures! {
    // The client's.
    Connect, "connect", 501, Closes, "CONNECT is not for this proxy",
        "It asks for a tunnel: this is no forward proxy (RFC 9110, section 9.3.6).";
    SlowClient, "slow_client", 408, Closes, "the client was too slow to ask",
        "The client took too long to send its head.";
    SlowBody, "slow_body", 408, Closes, "the client was too slow to send the body",
        "The client took too long to send a piece of its body.";
    SlowReader, "slow_reader", 499, Closes, "the client was too slow to take the answer",
        "The client took too long to take a piece of the answer.";
    BodyTooLong, "body_too_long", 413, Closes, "the body is too long", "The body is longer than the route allows.";
    ClientEnded, "client_ended", 499, Closes, "the client ended the connection", "The client went away.";
    NeedsHttp1, "needs_http1", 401, Stays, "the backend logs connections in, which HTTP/2 does not know",
        "The backend asks for a login by a connection of its client's own (NTLM), which a stream has not.";
    Certificate, "certificate", 403, Closes, "the client's certificate is missing or not believed",
        "The client's certificate is not one that the listener asks for.";
    Misdirected, "misdirected", 421, Stays, "the host is not one of this connection's",
        "The connection's certificate is not for the host that is asked for (RFC 9110, section 15.5.20).";
    TooOften, "too_often", 429, Stays, "the client asks too often", "The client asks more often than it may.";
    // The operator's, who said so.
    NoRoute, "no_route", 404, Stays, "no route", "No route matches.";
    Draining, "draining", 503, Closes, "draining", "The proxy is stopping.";
    // Ours.
    Shed, "shed", 503, Closes, "shed for want of memory", "Buffers of all workers take what they may take.";
    TooManyConnections, "too_many_connections", 503, Closes, "too many connections",
        "More connections are open than may be.";
    Internal, "internal", 500, Closes, "internal error", "Something is wrong with this proxy or its host.";
    // The backends'.
    NoBackend, "no_backend", 503, Stays, "no backend is up", "No backend can be used.";
    Busy, "busy", 503, Stays, "all backends are busy", "All backends are full, and so is the queue.";
    QueuedTooLong, "queued_too_long", 503, Stays, "waited too long for a backend",
        "All backends were full for as long as a request may wait.";
    Unreachable, "unreachable", 502, Stays, "no connection to the backend", "The backend could not be connected to.";
    SlowConnect, "slow_connect", 504, Stays, "the backend was too slow to connect",
        "The backend could not be connected to in time.";
    NoTunnel, "no_tunnel", 502, Stays, "the backend takes no WebSocket by HTTP/2",
        "The backend speaks HTTP/2 without extended CONNECT (RFC 8441), which a WebSocket would need.";
    BackendTls, "backend_tls", 502, Stays, "no TLS with the backend",
        "The handshake with the backend failed, or its certificate is not believed.";
    SlowBackend, "slow_backend", 504, Stays, "the backend was too slow",
        "The backend took too long to begin its answer, or between two pieces of it.";
    Deadline, "deadline", 504, Closes, "the exchange took too long", "The exchange took longer than one may.";
    BackendEnded, "backend_ended", 502, Stays, "the backend ended the connection",
        "The backend ended the connection before its answer.";
    BackendBroke, "backend_broke", 502, Closes, "the backend ended the connection within its answer",
        "The backend ended the connection within its answer.";
}

/// Seconds after which a client that was turned away for load should ask again.
const RETRY_AFTER: u8 = 1;

impl Failure {
    /// Whether the connection may carry another request once this one has been read to its end.
    #[must_use]
    pub const fn keeps(self) -> bool {
        matches!(self.connection(), Stays)
    }

    /// Seconds after which to ask again, where it is for load that the client was turned away.
    #[must_use]
    pub const fn retry_after(self) -> Option<u8> {
        match self {
            Self::Shed | Self::TooManyConnections | Self::TooOften | Self::Busy | Self::QueuedTooLong => {
                Some(RETRY_AFTER)
            }
            _ => None,
        }
    }

    /// What a client of gRPC is told in the place of a status.
    ///
    /// Source: "HTTP to gRPC Status Code Mapping" (grpc/doc/http-grpc-status-mapping.md).
    #[must_use]
    pub const fn grpc_status(self) -> &'static str {
        match self.status() {
            400 => "13",
            401 => "16",
            403 => "7",
            404 => "12",
            429 | 502..=504 => "14",
            _ => "2",
        }
    }

    /// Whether the client can still be told by an answer: not if it is gone, nor if its answer has begun, nor if it has to ask by
    /// another protocol.
    #[must_use]
    pub const fn is_told(self) -> bool {
        !matches!(self, Self::ClientEnded | Self::SlowReader | Self::BackendBroke | Self::NeedsHttp1)
    }

    /// What the client reads. A refusal names its rule, so that whoever wrote the client can mend it.
    #[must_use]
    pub fn body(self) -> String {
        let status = self.status();
        match self {
            Self::Refused(refusal) => format!("{status} {}: {refusal}\n", reason(status)),
            _ => format!("{status} {}\n", reason(status)),
        }
    }

    /// The fields that say more than the status, with this date.
    pub fn put(self, date: &str, sink: &mut impl FieldSink) {
        sink.put("date", date.as_bytes());
        sink.put("content-type", b"text/plain; charset=utf-8");
        if let Some(seconds) = self.retry_after() {
            sink.put("retry-after", seconds.to_string().as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::reply::{self, Reply};

    fn answer(failure: Failure, keep: bool, head: bool) -> String {
        let reply = reply::refusal(failure, "Sun, 06 Nov 1994 08:49:37 GMT");
        let keeps = keep && failure.keeps();
        String::from_utf8(Reply { keeps, is_head: head, ..reply }.text()).unwrap()
    }

    #[test]
    fn an_answer_is_whole() {
        assert_eq!(
            answer(Failure::Busy, true, false),
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 24\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             content-type: text/plain; charset=utf-8\r\nretry-after: 1\r\n\r\n503 Service Unavailable\n"
        );
    }

    #[test]
    fn what_grpc_is_told_needs_no_encoding() {
        let refused = Refusal::ALL.iter().map(|refusal| Failure::Refused(*refusal));
        for failure in Failure::ALL.iter().copied().chain(refused) {
            let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'%';
            assert!(failure.body().trim_end().bytes().all(is_plain), "{}", failure.body());
        }
        assert_eq!(Failure::Busy.grpc_status(), "14", "so that the client may ask again");
        assert_eq!(Failure::NoRoute.grpc_status(), "12");
    }

    #[test]
    fn head_gets_the_length_and_no_body() {
        let answer = answer(Failure::NoRoute, true, true);
        assert!(answer.contains("content-length: 14\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    }

    #[test]
    fn a_connection_closes_if_either_side_wants_it() {
        let closes = |failure, keep| answer(failure, keep, false).contains("connection: close\r\n");
        assert!(closes(Failure::NoRoute, false), "the client wants it");
        assert!(closes(Failure::Refused(Refusal::TwoLengths), true), "the body's end is unknown");
        assert!(!closes(Failure::Refused(Refusal::PathAboveRoot), true), "nothing but the path is wrong");
    }

    #[test]
    fn a_backend_s_mistake_is_not_the_client_s() {
        for &refusal in Refusal::ALL {
            assert_eq!(Failure::BadAnswer(refusal).status(), 502);
            assert_eq!(Failure::BadAnswer(refusal).body(), "502 Bad Gateway\n", "and not told");
            assert!((400..600).contains(&Failure::Refused(refusal).status()));
        }
    }
}
