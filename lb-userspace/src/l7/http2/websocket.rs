//! A WebSocket between HTTP/1.1, where a connection is upgraded to it, and HTTP/2, where a stream is by extended CONNECT. Pure.
//!
//! Source: RFC 8441, section 5; of the key and the answer to it, which HTTP/2 does without, RFC 6455, section 4.2.2.

use crate::l7::tls::base64;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use h2::ext::Protocol;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};

const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");
/// What is appended to a key before it is hashed.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What the client is to be told if the backend agrees.
#[derive(Clone, Debug)]
struct Accept(HeaderValue);

/// Whether a client that asks so for another protocol asks for this one.
pub(super) fn is_asked_for(method: &str, upgrade: Option<&[u8]>) -> bool {
    method == "GET" && upgrade.is_some_and(|token| token.eq_ignore_ascii_case(b"websocket"))
}

/// Makes an extended CONNECT of a request.
pub(super) fn extend(request: &mut Request<()>) {
    *request.method_mut() = Method::CONNECT;
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    if let Some(accept) = request.headers_mut().remove(KEY).and_then(|key| answer(key.as_bytes())) {
        request.extensions_mut().insert(Accept(accept));
    }
}

/// Adds to the fields of a backend that agrees what a client of HTTP/1.1 has to be told.
pub(super) fn put_accept(request: &Request<()>, fields: &mut HeaderMap) {
    if let Some(Accept(accept)) = request.extensions().get() {
        fields.insert(ACCEPT, accept.clone());
    }
}

fn answer(key: &[u8]) -> Option<HeaderValue> {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat());
    HeaderValue::from_bytes(&base64(hash.as_ref())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_answer_that_the_standard_gives_for_an_example() {
        // Source: RFC 6455, section 1.3.
        assert_eq!(answer(b"dGhlIHNhbXBsZSBub25jZQ==").unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn only_a_get_that_asks_for_it_is_made_one() {
        assert!(is_asked_for("GET", Some(b"WebSocket")));
        assert!(!is_asked_for("POST", Some(b"websocket")));
        assert!(!is_asked_for("GET", Some(b"h2c")) && !is_asked_for("GET", None));
    }
}
