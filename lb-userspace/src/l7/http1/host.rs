//! Hosts and ports, as Host fields and absolute targets have them.

use super::Refusal;
use foldhash::fast::FixedState;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::hash::BuildHasher as _;
use std::net::Ipv6Addr;
use std::ops::Range;
use std::rc::Rc;

/// Bytes of a name that DNS could hold.
const LONGEST_NAME: usize = 255;

/// Places for authorities that were read of late.
const PLACES: usize = 64;

thread_local! {
    /// Each where its hash says. Whose hash is like another's takes its place, which costs that one a reading.
    static RECENT: RefCell<[Option<Authority>; PLACES]> = const { RefCell::new([const { None }; PLACES]) };
}

/// A host and its port, written the one way that all who mean them write: the host in lower case and without the dot of the root,
/// the port without zeros before it. A copy is as good as free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    text: Rc<str>,
    /// Where the text has the host, without brackets.
    host: Range<usize>,
    port: Option<u16>,
}

impl Authority {
    /// Of a request that names no host, as HTTP/1.0 lets it.
    #[must_use]
    pub fn none() -> Self {
        Self { text: "".into(), host: 0..0, port: None }
    }

    /// The whole of it, as the Host field has it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same, to be kept.
    #[must_use]
    pub fn shared_text(&self) -> Rc<str> {
        Rc::clone(&self.text)
    }

    /// The host, without port and brackets; empty if none is named.
    #[must_use]
    pub fn host(&self) -> &str {
        self.text.get(self.host.clone()).unwrap_or_default()
    }

    /// The port, if one is named.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// `is_as_meant`: `text` is written as it should be.
    fn new(text: &str, host: Range<usize>, port: Option<u16>, is_as_meant: bool) -> Self {
        if is_as_meant {
            return Self { text: text.into(), host, port };
        }
        let mut written = text.get(..host.end).unwrap_or_default().to_ascii_lowercase();
        if host.start > 0 {
            written.push(']');
        }
        if let Some(port) = port {
            // Writing to a String cannot fail.
            _ = write!(written, ":{port}");
        }
        Self { text: written.into(), host, port }
    }
}

/// Reads `example.org`, `192.0.2.1:8080` or `[2001:db8::1]:443`. Most requests ask for one that was asked for before, which is
/// found as it was read then.
pub fn parse_authority(text: &[u8]) -> Result<Authority, Refusal> {
    RECENT.with_borrow_mut(|recent| {
        let hash = FixedState::default().hash_one(text);
        let place = &mut recent[usize::try_from(hash % PLACES as u64).unwrap_or(0)];
        match place {
            // What is written as it should be is read as it is written.
            Some(known) if known.text.as_bytes() == text => Ok(known.clone()),
            _ => Ok(place.insert(read_authority(text)?).clone()),
        }
    })
}

fn read_authority(text: &[u8]) -> Result<Authority, Refusal> {
    let parsed = str::from_utf8(text)
        .ok()
        .and_then(|text| if text.starts_with('[') { parse_bracketed(text) } else { parse_named(text) });
    let refusal = || if text.contains(&b'@') { Refusal::Userinfo } else { Refusal::HostInvalid };
    parsed.ok_or_else(refusal)
}

fn parse_bracketed(text: &str) -> Option<Authority> {
    let (host, behind) = text.strip_prefix('[')?.split_once(']')?;
    host.parse::<Ipv6Addr>().ok()?;
    let port = if behind.is_empty() { Port::NONE } else { Port::parse(behind.strip_prefix(':')?)? };
    let has_capitals = host.bytes().any(|byte| byte.is_ascii_uppercase());
    Some(Authority::new(text, 1..1 + host.len(), port.number, port.is_as_meant && !has_capitals))
}

/// Letters, digits, `-`, `_` and single dots between them. RFC 3986 would let more pass, which no name in DNS has.
fn parse_named(text: &str) -> Option<Authority> {
    let (mut previous, mut has_capitals, mut end) = (b'.', false, text.len());
    for (at, &byte) in text.as_bytes().iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => {}
            b'A'..=b'Z' => has_capitals = true,
            b'.' if previous != b'.' => {}
            b':' => {
                end = at;
                break;
            }
            _ => return None,
        }
        previous = byte;
    }
    let has_root = end > 0 && previous == b'.';
    let host = 0..end - usize::from(has_root);
    let port = text.get(end + 1..).map_or(Some(Port::NONE), Port::parse)?;
    let is_as_meant = port.is_as_meant && !has_capitals && !has_root;
    (1..=LONGEST_NAME).contains(&host.len()).then(|| Authority::new(text, host, port.number, is_as_meant))
}

/// What stands behind the colon.
struct Port {
    number: Option<u16>,
    is_as_meant: bool,
}

impl Port {
    const NONE: Self = Self { number: None, is_as_meant: true };

    /// `example.org:` names none, but should be written without the colon.
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self { number: None, is_as_meant: false });
        }
        let is_number = text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if is_number { text.parse().ok() } else { None };
        Some(Self { number: Some(number?), is_as_meant: !text.starts_with('0') })
    }
}
