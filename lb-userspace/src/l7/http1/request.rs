//! The head of a request.

use super::body::{Noted, is_named};
use super::diagnose::diagnose_request;
use super::host::parse_authority;
use super::lines::blank_lines;
use super::path::normalise;
use super::target::{Target, split_target};
use super::{Authority, Form, Framing, Limits, Refusal, Room};
use httparse::{Header, Status};
use std::borrow::Cow;

/// A version that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    V10,
    /// HTTP/1.1
    V11,
}

impl Version {
    /// Of the parser's minor version.
    pub(super) const fn of_minor(minor: Option<u8>) -> Self {
        if matches!(minor, Some(1)) { Self::V11 } else { Self::V10 }
    }
}

/// A request's head. It borrows from the bytes it was read from.
#[derive(Debug)]
pub struct Head<'b, 'f> {
    /// Bytes of the head, empty lines before it and the one behind it included.
    pub len: usize,
    /// The method, as it was sent.
    pub method: &'b str,
    /// How the target was written.
    pub form: Form,
    /// What stands behind `?`, as it was sent.
    pub query: Option<&'b str>,
    /// The version.
    pub version: Version,
    /// All fields, in order.
    pub fields: &'f [Header<'b>],
    /// The host and port asked for.
    pub authority: Authority,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the client wants to send another request on the connection.
    pub keep_alive: bool,
    /// Whether it waits for 100 (Continue) before it sends the body.
    pub expects_continue: bool,
    /// The protocol that it would rather speak, as the Upgrade field says it.
    pub upgrade: Option<&'b [u8]>,
    /// Whether Connection names fields that must not go on.
    pub names_fields: bool,
    /// The path as it was sent. Nobody sees it but by [`Head::path`].
    path: &'b str,
    /// The head as it was sent.
    text: &'b [u8],
}

impl<'b, 'f> Head<'b, 'f> {
    /// The path as it was sent, for the log alone: whoever acts on a path takes [`Head::path`].
    #[must_use]
    pub const fn path_as_sent(&self) -> &'b str {
        self.path
    }

    /// The head as it was sent: its lines can be passed on as they stand.
    #[must_use]
    pub const fn text(&self) -> &'b [u8] {
        self.text
    }

    /// Reads a head. `None`: the bytes do not reach to its end.
    ///
    /// A head that comes byte by byte is read anew each time; who feeds it need not call before there is another LF.
    pub fn parse(bytes: &'b [u8], room: &'f mut Room<'b>, limits: &Limits) -> Result<Option<Self>, Refusal> {
        let blank = blank_lines(bytes)?;
        let text = bytes.get(blank..).unwrap_or_default();
        let room = room.get_mut(..limits.fields.min(super::MOST_FIELDS)).unwrap_or_default();
        let mut request = httparse::Request::new(&mut []);
        let len = match request.parse_with_uninit_headers(text, room) {
            Ok(Status::Complete(len)) => len,
            Ok(Status::Partial) => return limits.check_unfinished(text).map(|()| None),
            Err(error) => {
                limits.check_unfinished(text.get(..limits.head.min(text.len())).unwrap_or_default())?;
                return Err(diagnose_request(text, error));
            }
        };
        let fields: &'f [Header<'b>] = request.headers;
        let text = text.get(..len).unwrap_or_default();
        limits.check_lines(text, fields)?;
        let (method, target) = request.method.zip(request.path).ok_or(Refusal::RequestLine)?;
        let version = Version::of_minor(request.version);
        Self::understand((blank + len, text), (method, target, version), fields).map(Some)
    }

    /// Makes sense of what the parser found.
    fn understand(
        (len, text): (usize, &'b [u8]),
        (method, target, version): (&'b str, &'b str, Version),
        fields: &'f [Header<'b>],
    ) -> Result<Self, Refusal> {
        let target = split_target(method, target)?;
        let (mut asked, mut noted) = (AskedFields::default(), Noted::default());
        for field in fields {
            asked.note(field)?;
            noted.note(field, version)?;
        }
        let authority = asked.authority(version, &target)?;
        let framing = noted.framing()?.unwrap_or(Framing::NONE);
        Ok(Self {
            len,
            method,
            form: target.form,
            query: target.query,
            version,
            fields,
            authority,
            framing,
            keep_alive: noted.keeps_alive(version),
            expects_continue: asked.expects_continue && version == Version::V11 && framing != Framing::NONE,
            upgrade: noted.upgrade(version),
            names_fields: noted.names_fields(),
            path: target.path,
            text,
        })
    }

    /// The path, [normalised](normalise): the one to route by and the one to forward. `*` of OPTIONS for the whole server,
    /// empty of CONNECT, which has none.
    pub fn path(&self) -> Result<Cow<'b, str>, Refusal> {
        match self.form {
            Form::Origin | Form::Absolute => normalise(self.path),
            Form::Authority | Form::Asterisk => Ok(Cow::Borrowed(self.path)),
        }
    }
}

/// Fields that only requests have.
#[derive(Default)]
struct AskedFields<'b> {
    host: Option<&'b [u8]>,
    expects_continue: bool,
}

impl<'b> AskedFields<'b> {
    #[inline]
    fn note(&mut self, field: &Header<'b>) -> Result<(), Refusal> {
        let name = field.name.as_bytes();
        if is_named(name, b"host") && self.host.replace(field.value).is_some() {
            return Err(Refusal::HostRepeated);
        }
        if is_named(name, b"expect") {
            if !field.value.eq_ignore_ascii_case(b"100-continue") {
                return Err(Refusal::Expectation);
            }
            self.expects_continue = true;
        }
        Ok(())
    }

    /// The host that is asked for: the target's, else the Host field's, which must agree with it.
    fn authority(&self, version: Version, target: &Target<'b>) -> Result<Authority, Refusal> {
        let field = match self.host {
            Some(host) => Some(parse_authority(host)?),
            None if version == Version::V11 => return Err(Refusal::HostMissing),
            None => None,
        };
        let Some((authority, port)) = target.authority else {
            return Ok(field.unwrap_or_else(Authority::none));
        };
        let wanted = parse_authority(authority.as_bytes())?;
        let agrees = |field: &Authority| {
            field.host() == wanted.host() && field.port().unwrap_or(port) == wanted.port().unwrap_or(port)
        };
        if field.as_ref().is_none_or(agrees) { Ok(wanted) } else { Err(Refusal::HostDisagrees) }
    }
}
