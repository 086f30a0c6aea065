//! HTTP/1.1: any piece of what is accepted is incomplete, and what we understand another reader understands.

use crate::oracle;
use lb_tests::smuggling::{Understood, understand};
use lb_userspace::l7::http1::{
    Asked, Chunk, Chunked, Form, Framing, Head, Limits, Refusal, ResponseHead, normalise, parse_authority,
    room,
};

/// A connection's bytes. Heads are incomplete until whole; paths have one form; hyper, reading the same bytes, sees the same
/// requests with the same bodies, in the same order, and no more of them.
pub fn request_head(bytes: &[u8]) {
    heads_are_incomplete_until_whole(bytes);
    let ours = understand(bytes);
    let plain = !has_tunnel(bytes);
    if plain && ours.refusal.is_none() {
        agree(&ours, &oracle::understand(bytes));
    }
}

fn heads_are_incomplete_until_whole(bytes: &[u8]) {
    let mut fields = room();
    let Ok(Some(head)) = Head::parse(bytes, &mut fields, &Limits::DEFAULT) else {
        return;
    };
    for shorter in [0, 1, head.len / 2, head.len - 1] {
        let early = Head::parse(bytes.get(..shorter).unwrap_or_default(), &mut room(), &Limits::DEFAULT)
            .map(|head| head.is_some());
        assert_eq!(early, Ok(false), "{shorter} of {}", head.len);
    }
    assert_ne!(head.framing, Framing::UntilClose, "a request has an end");
    let authority = &head.authority;
    assert_eq!(authority.host().to_lowercase(), authority.host());
    let again = parse_authority(authority.text().as_bytes());
    assert!(authority.text().is_empty() || again.as_ref() == Ok(authority), "{authority:?} is {again:?}");
    // `*` is no path, and CONNECT has none.
    let has_path = matches!(head.form, Form::Origin | Form::Absolute);
    if let Ok(path) = head.path()
        && has_path
    {
        assert_eq!(normalise(&path).as_deref(), Ok(&*path), "one form");
    }
}

/// CONNECT and upgrades leave HTTP, and hyper leaves with them.
fn has_tunnel(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    text.contains("connect ") || text.contains("upgrade")
}

/// Hyper may stop earlier: it closes where a field tells it to. It must not see more, nor anything else.
fn agree(ours: &Understood, theirs: &[oracle::Request]) {
    assert!(theirs.len() <= ours.requests.len(), "hyper sees more: {theirs:?}\nthan we: {ours:?}");
    for (request, theirs) in ours.requests.iter().zip(theirs) {
        assert!(request.starts_with(&format!("{} ", theirs.method)), "{request} is not {theirs:?}");
        assert!(request.ends_with(&format!(" {:?}", theirs.body)), "{request} is not {theirs:?}");
    }
}

/// A backend's bytes. The first byte says what was asked.
pub fn response_head(bytes: &[u8]) {
    let Some((&flags, bytes)) = bytes.split_first() else {
        return;
    };
    let asked = Asked { head: flags & 1 != 0, upgrade: flags & 2 != 0 };
    let mut fields = room();
    let Ok(Some(head)) = ResponseHead::parse(bytes, &mut fields, asked, &Limits::BACKEND) else {
        return;
    };
    for shorter in [0, 1, head.len / 2, head.len - 1] {
        let text = bytes.get(..shorter).unwrap_or_default();
        let early =
            ResponseHead::parse(text, &mut room(), asked, &Limits::BACKEND).map(|head| head.is_some());
        assert_eq!(early, Ok(false), "{shorter} of {}", head.len);
    }
    if asked.head || matches!(head.status, 100..=199 | 204 | 304) {
        assert_eq!(head.framing, Framing::NONE);
    }
    assert!(!(head.keep_alive && head.framing == Framing::UntilClose));
}

/// A chunked body. The first two bytes say in what pieces it comes, which must make no difference.
pub fn chunked(bytes: &[u8]) {
    let Some((&[one, other], body)) = bytes.split_first_chunk() else {
        return;
    };
    let whole = decode(body, [usize::MAX; 2]);
    let pieces = decode(body, [usize::from(one % 16) + 1, usize::from(other % 16) + 1]);
    match (whole, pieces) {
        (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces),
        (whole, pieces) => assert_eq!(whole.is_err(), pieces.is_err(), "{whole:?} {pieces:?}"),
    }
}

/// The data, and how many bytes they and their framing take, if the end is there.
fn decode(body: &[u8], sizes: [usize; 2]) -> Result<(Vec<u8>, Option<usize>), Refusal> {
    let (mut chunked, mut data, mut at, mut there) = (Chunked::default(), Vec::new(), 0, 0_usize);
    let mut sizes = sizes.into_iter().cycle();
    loop {
        let rest = &body[at..there];
        match chunked.next(rest)? {
            Chunk::Partial if there == body.len() => return Ok((data, None)),
            Chunk::Partial => there = there.saturating_add(sizes.next().unwrap_or(1)).min(body.len()),
            Chunk::Frame(count) => at += count,
            Chunk::Data(count) => {
                data.extend_from_slice(&rest[..count]);
                at += count;
            }
            Chunk::End(count) => return Ok((data, Some(at + count))),
        }
    }
}
