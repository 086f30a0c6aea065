//! Ways to log in that are a connection's, not a request's: who has done so once on a connection need not say who it is again.
//!
//! HTTP has no such thing (RFC 9110, section 3.3: requests of one connection need not be one user's); servers that have it all the same
//! must not be sent others' requests by that connection.

use crate::l7::http1::list;

/// Schemes by which a connection is logged in. Source: RFC 4559, section 4; MS-NTHT, section 2.1.
const OF_CONNECTIONS: [&[u8]; 2] = [b"ntlm", b"negotiate"];

/// Whether one of several challenges is of such a scheme. A quoted string may be taken for one, which does no harm.
pub(in crate::l7) fn is_of_connection(value: &[u8]) -> bool {
    list(value).any(begins_so)
}

/// The same of credentials, which are of one scheme: what stands behind it may be long, and is not looked at.
pub(super) fn begins_so(credentials: &[u8]) -> bool {
    OF_CONNECTIONS.iter().any(|known| {
        let parts = credentials.split_at_checked(known.len());
        parts.is_some_and(|(scheme, rest)| {
            scheme.eq_ignore_ascii_case(known) && rest.first().is_none_or(u8::is_ascii_whitespace)
        })
    })
}

/// Whether what an answer of status 401 asks for takes several requests of one connection, whichever of its challenges is taken: NTLM
/// always does, and Negotiate where a challenge goes on with what the client has sent. A bare Negotiate may be met by one request,
/// with Kerberos. What is not understood may be met. Source: RFC 4559, sections 4 and 5.
pub(in crate::l7) fn takes_a_connection<'a>(challenges: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut all = challenges.flat_map(list).peekable();
    all.peek().is_some()
        && all.all(|challenge| begins_so(challenge) && !challenge.eq_ignore_ascii_case(b"negotiate"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_request_may_meet_takes_no_connection() {
        let rows: [(&[&[u8]], bool); 10] = [
            (&[], false),
            (&[b""], false),
            (&[b"NTLM"], true),
            (&[b"NTLM TlRMTVNTUAACAAAA"], true),
            (&[b"Negotiate"], false),
            (&[b"Negotiate TlRMTVNTUAACAAAA"], true),
            (&[b"Negotiate", b"NTLM"], false),
            (&[b"NTLM, Negotiate oYG2"], true),
            (&[b"NTLM", b"Basic realm=\"x\""], false),
            (&[b"Basic realm=\"a, NTLM\""], false),
        ];
        for (challenges, expected) in rows {
            assert_eq!(takes_a_connection(challenges.iter().copied()), expected, "{challenges:?}");
        }
    }

    #[test]
    fn a_scheme_is_known_by_its_whole_name_wherever_it_stands() {
        let rows: [(&[u8], bool); 9] = [
            (b"NTLM", true),
            (b"ntlm TlRMTVNTUAAB", true),
            (b"Negotiate YII=", true),
            (b"Basic realm=\"a\", Negotiate", true),
            (b"Negotiate,NTLM", true),
            (b"Basic bnRsbTpudGxt", false),
            (b"Bearer negotiate", false),
            (b"NTLMv3 x", false),
            (b"", false),
        ];
        for (value, expected) in rows {
            assert_eq!(is_of_connection(value), expected, "{}", value.escape_ascii());
        }
    }
}
