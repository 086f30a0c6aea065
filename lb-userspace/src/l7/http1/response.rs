//! The head of a backend's response.

use super::body::{has_token, length};
use super::request::{MOST_FIELDS, Version, check_line_ends};
use super::{Framing, Refusal};
use httparse::{Header, Status};

/// A response's head. It borrows from the bytes it was read from.
#[derive(Debug)]
pub struct ResponseHead<'b, 'f> {
    /// Bytes of the head, the empty line included.
    pub len: usize,
    /// The status.
    pub status: u16,
    /// The version.
    pub version: Version,
    /// All fields, in order.
    pub fields: &'f [Header<'b>],
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the backend takes another request on the connection.
    pub keep_alive: bool,
}

impl<'b, 'f> ResponseHead<'b, 'f> {
    /// Reads the head of an answer to a request, of HEAD or another method. `None`: the bytes do not reach to its end.
    pub fn parse(
        bytes: &'b [u8],
        room: &'f mut [Header<'b>; MOST_FIELDS],
        to_head: bool,
    ) -> Result<Option<Self>, Refusal> {
        let mut response = httparse::Response::new(room);
        let len = match response.parse(bytes).map_err(refusal)? {
            Status::Partial => return Ok(None),
            Status::Complete(len) => len,
        };
        check_line_ends(bytes.get(..len).unwrap_or_default())?;
        let status = response.code.ok_or(Refusal::StatusLine)?;
        let version = if response.version == Some(1) { Version::V11 } else { Version::V10 };
        let fields: &'f [Header<'b>] = response.headers;
        let (framing, keep_alive) = frame(fields, version, status, to_head)?;
        Ok(Some(Self { len, status, version, fields, framing, keep_alive }))
    }
}

const fn refusal(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::FieldsTooLarge,
        httparse::Error::Version => Refusal::Version,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Refusal::Field,
        _ => Refusal::StatusLine,
    }
}

/// Source: RFC 9112, section 6.3.
fn frame(
    fields: &[Header<'_>],
    version: Version,
    status: u16,
    to_head: bool,
) -> Result<(Framing, bool), Refusal> {
    let (mut stated, mut chunked) = (None, false);
    let mut keep_alive = version == Version::V11;
    for field in fields {
        match field.name.len() {
            10 if field.name.eq_ignore_ascii_case("connection") => {
                keep_alive |= has_token(field.value, "keep-alive");
                if has_token(field.value, "close") {
                    keep_alive = false;
                }
            }
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                let length = length(field.value).ok_or(Refusal::ContentLength)?;
                if stated.replace(length).is_some_and(|former| former != length) {
                    return Err(Refusal::ContentLength);
                }
            }
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                if chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::TransferCoding);
                }
                chunked = true;
            }
            _ => {}
        }
    }
    let has_no_body = to_head || matches!(status, 100..=199 | 204 | 304);
    match (chunked, stated) {
        _ if has_no_body => Ok((Framing::NONE, keep_alive)),
        (true, Some(_)) => Err(Refusal::TwoLengths),
        (true, None) => Ok((Framing::Chunked, keep_alive)),
        (false, Some(length)) => Ok((Framing::Length(length), keep_alive)),
        (false, None) => Ok((Framing::UntilClose, false)),
    }
}
