//! Reading the head of a request. Pure: bytes in, a request or the reason for refusing it out.

use httparse::Header;

/// A longer head is refused with 431.
pub(super) const MAX_HEAD_BYTES: usize = 16 * 1024;
/// A longer body is refused with 413: it is held in memory until it is echoed.
pub(super) const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
const MAX_HEADERS: usize = 64;

/// How the body is delimited. Source: RFC 9112, 6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
}

/// The parts of a request's head that matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
    pub(super) framing: Framing,
}

/// A request that gets an error and the end of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    pub(super) status: u16,
    pub(super) why: &'static str,
}

impl Rejection {
    pub(super) const BODY_TOO_LONG: Self = Self { status: 413, why: "the body is longer than 16 MiB" };
    pub(super) const BAD_CHUNK: Self = bad("the chunked body is malformed");
    pub(super) const HEAD_TOO_LONG: Self = Self { status: 431, why: "the head is longer than 16 KiB" };
}

const fn bad(why: &'static str) -> Rejection {
    Rejection { status: 400, why }
}

/// The request whose head the bytes begin with, and the head's length; `None` if more of it has to come.
pub(super) fn parse_request(bytes: &[u8]) -> Result<Option<(Request, usize)>, Rejection> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD_BYTES => {
            build_request(&head).map(|request| Some((request, length)))
        }
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD_BYTES => Ok(None),
        Ok(_) => Err(Rejection::HEAD_TOO_LONG),
        Err(httparse::Error::TooManyHeaders) => {
            Err(Rejection { status: 431, why: "more than 64 header lines" })
        }
        Err(_) => Err(bad("the head is not an HTTP/1 request")),
    }
}

fn build_request(head: &httparse::Request<'_, '_>) -> Result<Request, Rejection> {
    let is_1_1 = head.version == Some(1);
    let connection = |option| lists(head.headers, "connection", option);
    Ok(Request {
        method: head.method.unwrap_or_default().to_owned(),
        target: head.path.unwrap_or_default().to_owned(),
        keep_alive: if is_1_1 { !connection("close") } else { connection("keep-alive") },
        expects_continue: is_1_1 && lists(head.headers, "expect", "100-continue"),
        framing: parse_framing(head.headers)?,
    })
}

/// All values of a header. Bytes that are no text count as a value no rule knows.
fn values<'a>(headers: &'a [Header<'_>], name: &'a str) -> impl Iterator<Item = &'a str> {
    let named = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.map(|header| std::str::from_utf8(header.value).unwrap_or("\u{fffd}").trim())
}

/// Whether the comma-separated list under `name` holds `option`.
fn lists(headers: &[Header<'_>], name: &str, option: &str) -> bool {
    values(headers, name)
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(option))
}

/// Two ways to find the end of a body are a way to smuggle a request, and refused.
fn parse_framing(headers: &[Header<'_>]) -> Result<Framing, Rejection> {
    let mut codings = values(headers, "transfer-encoding");
    let mut lengths = values(headers, "content-length");
    match (codings.next(), codings.next(), lengths.next(), lengths.next()) {
        (None, _, None, _) => Ok(Framing::Length(0)),
        (None, _, Some(length), None) => parse_length(length).map(Framing::Length),
        (Some(coding), None, None, _) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        (Some(_), _, None, _) => {
            Err(Rejection { status: 501, why: "the only transfer coding known is chunked" })
        }
        _ => Err(bad("the body's length is given twice")),
    }
}

fn parse_length(text: &str) -> Result<usize, Rejection> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A number too large for the type is too large for the limit.
    let length = if is_number {
        text.parse().unwrap_or(usize::MAX)
    } else {
        return Err(bad("content-length is no number"));
    };
    if length > MAX_BODY_BYTES { Err(Rejection::BODY_TOO_LONG) } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(head: &str) -> Result<Request, u16> {
        match parse_request(head.as_bytes()) {
            Ok(Some((request, length))) => {
                assert_eq!(length, head.len());
                Ok(request)
            }
            Ok(None) => panic!("incomplete: {head:?}"),
            Err(rejection) => Err(rejection.status),
        }
    }

    #[test]
    fn connections_are_kept_as_the_version_says_and_the_header_overrides() {
        for (head, keep_alive) in [
            ("GET / HTTP/1.1\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
        ] {
            assert_eq!(parse(head).unwrap().keep_alive, keep_alive, "{head:?}");
        }
    }

    #[test]
    fn bodies_are_framed_one_way_or_refused() {
        let post =
            |headers| parse(&format!("POST /echo HTTP/1.1\r\n{headers}\r\n")).map(|request| request.framing);
        for (headers, framing) in [
            ("", Ok(Framing::Length(0))),
            ("Content-Length: 12\r\n", Ok(Framing::Length(12))),
            ("Transfer-Encoding: Chunked\r\n", Ok(Framing::Chunked)),
            ("Transfer-Encoding: gzip\r\n", Err(501)),
            ("Transfer-Encoding: chunked\r\nContent-Length: 12\r\n", Err(400)),
            ("Content-Length: 12\r\nContent-Length: 13\r\n", Err(400)),
            ("Content-Length: +12\r\n", Err(400)),
            ("Content-Length: \r\n", Err(400)),
            ("Content-Length: 99999999999999999999999\r\n", Err(413)),
            ("Content-Length: 16777217\r\n", Err(413)),
        ] {
            assert_eq!(post(headers), framing, "{headers:?}");
        }
    }

    #[test]
    fn a_head_that_never_ends_is_refused_at_the_limit() {
        let mut head = b"GET / HTTP/1.1\r\nX: ".to_vec();
        head.resize(MAX_HEAD_BYTES - 1, b'a');
        assert_eq!(parse_request(&head), Ok(None));
        head.push(b'a');
        assert_eq!(parse_request(&head), Err(Rejection::HEAD_TOO_LONG));
    }

    #[test]
    fn a_hundred_header_lines_are_too_many() {
        assert_eq!(parse(&format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100))), Err(431));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = parse_request(&bytes);
        }
    }
}
