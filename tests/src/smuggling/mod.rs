//! Requests that try to slip by: bytes that two readers might take for different requests, and what is to become of them.
//!
//! A row is a sentence, the bytes of a connection, and either the name of the refusal or the requests that were understood, body
//! and all. The rows go through the codec here; they are data, so that they can go through sockets to any proxy as well.

mod body;
mod field;
mod line;
mod path;

use lb_userspace::l7::http1::{Chunk, Chunked, Framing, Head, Limits, Refusal, room};

/// One connection's bytes and what is to become of them.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What is odd about it.
    pub sentence: &'static str,
    /// What the client sends before it waits for answers.
    pub bytes: &'static [u8],
    /// What is to become of it.
    pub expected: Expected,
}

/// What is to become of a connection's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Refused under this name, at the first request.
    Refused(&'static str),
    /// Understood as these requests, each `METHOD host path[?query] "body"`, whole.
    Understood(&'static [&'static str]),
    /// The first request has no end yet: a reader waits for more.
    Unfinished,
}

const fn refused(sentence: &'static str, bytes: &'static [u8], name: &'static str) -> Row {
    Row { sentence, bytes, expected: Expected::Refused(name) }
}

const fn understood(sentence: &'static str, bytes: &'static [u8], requests: &'static [&'static str]) -> Row {
    Row { sentence, bytes, expected: Expected::Understood(requests) }
}

const fn unfinished(sentence: &'static str, bytes: &'static [u8]) -> Row {
    Row { sentence, bytes, expected: Expected::Unfinished }
}

/// All rows.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    [line::ROWS, field::ROWS, body::ROWS, path::ROWS].into_iter().flatten()
}

/// What is read of a connection's bytes: the requests that are whole, and what the rest is refused for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Understood {
    /// Requests in order, as [`Expected::Understood`] has them.
    pub requests: Vec<String>,
    /// Why what follows them is no request.
    pub refusal: Option<Refusal>,
}

/// Reads all requests of a connection, as the proxy would.
#[must_use]
pub fn understand(bytes: &[u8]) -> Understood {
    let mut understood = Understood::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        match read_one(rest) {
            Ok(Some((request, len))) => {
                understood.requests.push(request);
                rest = rest.get(len..).unwrap_or_default();
            }
            Ok(None) => break,
            Err(refusal) => {
                understood.refusal = Some(refusal);
                break;
            }
        }
    }
    understood
}

/// One request and how many bytes it takes.
fn read_one(bytes: &[u8]) -> Result<Option<(String, usize)>, Refusal> {
    let mut room = room();
    let Some(head) = Head::parse(bytes, &mut room, &Limits::DEFAULT)? else {
        return Ok(None);
    };
    let path = head.path()?;
    let query = head.query.map(|query| format!("?{query}")).unwrap_or_default();
    let behind = bytes.get(head.len..).unwrap_or_default();
    let Some((body, len)) = read_body(behind, head.framing)? else {
        return Ok(None);
    };
    let body = String::from_utf8_lossy(&body).into_owned();
    let request = format!("{} {} {path}{query} {body:?}", head.method, head.authority.host());
    Ok(Some((request, head.len + len)))
}

fn read_body(bytes: &[u8], framing: Framing) -> Result<Option<(Vec<u8>, usize)>, Refusal> {
    match framing {
        Framing::Chunked => read_chunks(bytes),
        Framing::Length(length) => {
            let body = usize::try_from(length).ok().and_then(|length| bytes.get(..length));
            Ok(body.map(|body| (body.to_vec(), body.len())))
        }
        Framing::UntilClose => Ok(Some((bytes.to_vec(), bytes.len()))),
    }
}

fn read_chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Refusal> {
    let (mut chunked, mut data, mut at) = (Chunked::default(), Vec::new(), 0);
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        match chunked.next(rest)? {
            Chunk::Partial => return Ok(None),
            Chunk::Frame(count) => at += count,
            Chunk::Data(count) => {
                data.extend_from_slice(rest.get(..count).unwrap_or_default());
                at += count;
            }
            Chunk::End(count) => return Ok(Some((data, at + count))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(row: &Row) -> Option<String> {
        let read = understand(row.bytes);
        let name = read.refusal.map(Refusal::name);
        let is_as_said = match row.expected {
            Expected::Refused(expected) => read.requests.is_empty() && name == Some(expected),
            Expected::Understood(requests) => name.is_none() && read.requests == requests,
            Expected::Unfinished => read == Understood::default(),
        };
        (!is_as_said).then(|| format!("{}: {read:?}", row.sentence))
    }

    #[test]
    fn every_row_ends_as_it_says() {
        let faults: Vec<String> = rows().filter_map(fault).collect();
        assert!(faults.is_empty(), "{} rows:\n{}", faults.len(), faults.join("\n"));
    }

    #[test]
    fn no_two_rows_claim_the_same() {
        let mut sentences: Vec<_> = rows().map(|row| row.sentence).collect();
        let all = sentences.len();
        assert!(all >= 60, "{all} rows");
        sentences.sort_unstable();
        sentences.dedup();
        assert_eq!(sentences.len(), all);
    }

    #[test]
    fn every_refusal_of_a_request_has_a_row() {
        // What only backends can do wrong, and what takes more bytes than a row is worth: the codec's own tests have them.
        let elsewhere = [
            Refusal::StatusLine,
            Refusal::Status,
            Refusal::SwitchUnasked,
            Refusal::SwitchUnnamed,
            Refusal::TooManyInterim,
            Refusal::LineTooLong,
            Refusal::FieldTooLong,
            Refusal::TooManyFields,
            Refusal::HeadTooLarge,
            Refusal::ChunkLineTooLong,
            Refusal::ChunkOverhead,
            Refusal::TrailerTooLarge,
            // What only HTTP/2 can be.
            Refusal::LengthDisagrees,
            Refusal::BlankAround,
        ];
        let has_row = |refusal: &Refusal| rows().any(|row| row.expected == Expected::Refused(refusal.name()));
        let missing = Refusal::ALL.iter().filter(|refusal| !elsewhere.contains(refusal) && !has_row(refusal));
        assert_eq!(missing.collect::<Vec<_>>(), Vec::<&Refusal>::new());
    }
}
