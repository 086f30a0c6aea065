//! The head of a backend's response.

use super::body::Noted;
use super::diagnose::diagnose_response;
use super::{Framing, Limits, Refusal, Room, Version};
use httparse::{Header, Status};

/// What of the request decides how its response is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The method was HEAD: there is no body, whatever the fields say.
    pub head: bool,
    /// The request asked for another protocol: 101 may come.
    pub upgrade: bool,
}

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
    /// Where the body ends. Behind a 101 there is none: the other protocol begins.
    pub framing: Framing,
    /// The length that a response to HEAD, or a 304, says its body would have.
    pub length_elsewhere: Option<u64>,
    /// Whether the backend takes another request on the connection.
    pub keep_alive: bool,
    /// The protocol that is spoken from now on, if the status is 101; the one that has to be, if it is 426.
    pub upgrade: Option<&'b [u8]>,
    /// Whether Connection names fields that must not go on.
    pub names_fields: bool,
}

impl<'b, 'f> ResponseHead<'b, 'f> {
    /// Reads the head of an answer. `None`: the bytes do not reach to its end. A refusal is the backend's fault.
    pub fn parse(
        bytes: &'b [u8],
        room: &'f mut Room<'b>,
        asked: Asked,
        limits: &Limits,
    ) -> Result<Option<Self>, Refusal> {
        if let Some(b'\r' | b'\n') = bytes.first() {
            return Err(Refusal::StatusLine);
        }
        let room = room.get_mut(..limits.fields.min(super::MOST_FIELDS)).unwrap_or_default();
        let mut response = httparse::Response::new(&mut []);
        let parser = httparse::ParserConfig::default();
        let len = match parser.parse_response_with_uninit_headers(&mut response, bytes, room) {
            Ok(Status::Complete(len)) => len,
            Ok(Status::Partial) => return limits.check_unfinished(bytes).map(|()| None),
            Err(error) => return Err(diagnose_response(bytes, error)),
        };
        let fields: &'f [Header<'b>] = response.headers;
        limits.check_lines(bytes.get(..len).unwrap_or_default(), fields)?;
        let status = response.code.filter(|code| (100..1000).contains(code)).ok_or(Refusal::Status)?;
        Self::understand(len, (Version::of_minor(response.version), status), fields, asked).map(Some)
    }

    fn understand(
        len: usize,
        (version, status): (Version, u16),
        fields: &'f [Header<'b>],
        asked: Asked,
    ) -> Result<Self, Refusal> {
        if status == 101 && !asked.upgrade {
            return Err(Refusal::SwitchUnasked);
        }
        let mut noted = Noted::default();
        for field in fields {
            noted.note(field, version)?;
        }
        if status == 101 && noted.upgrade(version).is_none() {
            return Err(Refusal::SwitchUnnamed);
        }
        let told = noted.framing()?;
        let framing = frame(status, asked, told);
        Ok(Self {
            len,
            status,
            version,
            fields,
            framing,
            length_elsewhere: match told {
                Some(Framing::Length(length)) if tells_length_elsewhere(status, asked) => Some(length),
                _ => None,
            },
            keep_alive: noted.keeps_alive(version) && framing != Framing::UntilClose,
            upgrade: if matches!(status, 101 | 426) { noted.upgrade(version) } else { None },
            names_fields: noted.names_fields(),
        })
    }

    /// Whether another head follows this one.
    #[must_use]
    pub const fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }
}

/// A status that never has a body tells of no length, not even for HEAD. Source: RFC 9110, section 8.6.
const fn tells_length_elsewhere(status: u16, asked: Asked) -> bool {
    status == 304 || asked.head && !matches!(status, 100..=199 | 204)
}

/// Source: RFC 9112, section 6.3.
fn frame(status: u16, asked: Asked, told: Option<Framing>) -> Framing {
    if asked.head || matches!(status, 100..=199 | 204 | 304) {
        Framing::NONE
    } else {
        told.unwrap_or(Framing::UntilClose)
    }
}
