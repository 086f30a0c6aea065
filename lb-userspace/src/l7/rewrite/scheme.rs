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

#[cfg(test)]
mod tests {
    use super::*;

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
