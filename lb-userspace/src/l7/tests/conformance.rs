//! HTTP/2 and its header compression, rule by rule: what is sent, and what may come back.
//!
//! Sources: RFC 9113 and, where a section begins with `H`, RFC 7541. Section 5.4 of the former lets the error of a stream be
//! taken for one of its connection. What `h2` does otherwise has a table of its own, so that it shows when that changes.

mod rules;

use super::lab::{Client, Lab, backend, over_both, to_by_http2};
use super::raw::{
    DATA, END_HEADERS, Frame, GOAWAY, HEADERS, PING, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, frame,
};
use rules::{HOLD, OK, UPLOAD, WHOLE, get, pair, setting, update};
use std::io::Read as _;
use std::net::SocketAddr;

use Back::{Answers, Either, Ends, Lives, Resets, Says};
use Before::{Answered, Held, Nothing, Open, Reset};

/// A section, what is sent in words, what was before, what is sent in bytes, and what may come back.
type Row = (&'static str, &'static str, Before, Vec<u8>, Back);

/// What happened on stream 1 before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// Nothing: it is idle.
    Nothing,
    /// A whole request, whose answer does not come: it is half-closed.
    Held,
    /// A request whose body is still to come: it is open.
    Open,
    /// A whole request, which the client then took back: it is closed.
    Reset,
    /// A whole request and its answer: it is closed.
    Answered,
}

/// What may come back.
#[derive(Clone, Copy, Debug)]
enum Back {
    /// GOAWAY with one of these codes, and the end.
    Ends(&'static [u32]),
    /// `RST_STREAM` with one of these codes, and the connection lives on.
    Resets(&'static [u32]),
    /// One or the other.
    Either(&'static [u32]),
    /// Nothing but answers to what is asked next.
    Lives,
    /// An answer that begins with this byte, which in the static table is its status.
    Answers(u8),
    /// A frame of this kind with these flags, and the connection lives on.
    Says(u8, u8),
}

/// The stream on which it is tried whether a connection lives.
const PROBE: u32 = 0x1001;

/// A backend that answers whatever is not for `/hold`.
fn answering() -> SocketAddr {
    backend(|mut client: Client| {
        while let Some(head) = client.head() {
            if head.contains(" /hold ") {
                client.rest();
                return;
            }
            client.body_of(head);
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    })
}

fn prepare(raw: &mut Raw, before: Before) {
    match before {
        Nothing => {}
        Held => drop(raw.send(&frame(HEADERS, WHOLE, 1, HOLD))),
        Open => drop(raw.send(&frame(HEADERS, END_HEADERS, 1, UPLOAD))),
        Reset => {
            raw.send(&frame(HEADERS, WHOLE, 1, HOLD));
            raw.send(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()));
        }
        Answered => {
            raw.send(&get(1));
            while raw.next().expect("an answer").payload != b"ok" {}
        }
    }
}

/// The next frame that is not to be expected of any connection.
fn next_of_note(raw: &mut Raw) -> Option<Frame> {
    let is_usual = |frame: &Frame| matches!((frame.kind, frame.flags), (SETTINGS | WINDOW_UPDATE, _));
    std::iter::from_fn(|| raw.next()).find(|frame| !is_usual(frame))
}

fn code(frame: &Frame) -> u32 {
    let at = if frame.kind == GOAWAY { 4 } else { 0 };
    u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap())
}

/// Asks for something else: whether that, and nothing else, is answered.
fn lives(raw: &mut Raw) -> bool {
    raw.send(&frame(HEADERS, WHOLE, PROBE, b"\x82\x86\x84\x01\x01h"));
    let next = next_of_note(raw);
    next.is_some_and(|next| (next.kind, next.stream, next.payload.first()) == (HEADERS, PROBE, Some(&OK)))
}

fn comes_back(raw: &mut Raw, back: Back) -> Result<(), Option<Frame>> {
    let is_told = |frame: &Frame, kind, codes: &[u32]| frame.kind == kind && codes.contains(&code(frame));
    let next = match back {
        Lives => None,
        Says(kind, flags) => {
            std::iter::from_fn(|| raw.next()).find(|frame| (frame.kind, frame.flags) == (kind, flags))
        }
        _ => next_of_note(raw),
    };
    let fits = match (&next, back) {
        (Some(frame), Ends(codes)) => is_told(frame, GOAWAY, codes) && raw.next().is_none(),
        (Some(frame), Resets(codes)) => {
            is_told(frame, RST_STREAM, codes) && (frame.stream > 255 || lives(raw))
        }
        (Some(frame), Either(codes)) => {
            is_told(frame, GOAWAY, codes) || is_told(frame, RST_STREAM, codes) && lives(raw)
        }
        (Some(frame), Answers(status)) => (frame.kind, frame.payload.first()) == (HEADERS, Some(&status)),
        (Some(_), Says(..)) | (None, Lives) => lives(raw),
        _ => false,
    };
    if fits { Ok(()) } else { Err(next) }
}

/// What does not go by the table.
fn misfits(lab: &Lab, rows: &[Row]) -> Vec<String> {
    let mut misfits = Vec::new();
    for (section, what, before, sent, back) in rows {
        let mut raw = Raw::connect(lab);
        prepare(&mut raw, *before);
        raw.send(sent);
        if let Err(got) = comes_back(&mut raw, *back) {
            misfits.push(format!("{section}, {what}, {before:?}: {back:?} expected, not {got:?}"));
        }
    }
    misfits
}

#[test]
fn every_rule_is_kept_by_what_may_come_back() {
    let rows = rules::all();
    let address = answering();
    over_both(|start| {
        let lab = start(to_by_http2(address));
        let misfits = misfits(&lab, &rows);
        assert!(misfits.is_empty(), "of {} rows:\n{}", rows.len(), misfits.join("\n"));
    });
}

#[test]
fn the_server_says_its_settings_first() {
    over_both(|start| {
        let lab = start(to_by_http2(answering()));
        let first = Raw::connect(&lab).next().unwrap();
        assert_eq!((first.kind, first.flags, first.stream), (SETTINGS, 0, 0));
    });
}

/// RFC 9113, section 3.4, wants them to be the first frame; `h2` does not insist.
#[test]
fn a_client_that_does_not_say_its_settings_is_answered_all_the_same() {
    over_both(|start| {
        let lab = start(to_by_http2(answering()));
        let mut raw = Raw::begin(&lab);
        raw.send(&get(1));
        assert_eq!(raw.next_of(1).payload.first(), Some(&OK));
    });
}

#[test]
fn what_begins_otherwise_than_http_2_does_is_not_taken_for_it() {
    over_both(|start| {
        let lab = start(to_by_http2(answering()));
        let mut stream = lab.connect();
        let refused = stream.ask("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
        assert!((400..=505).contains(&refused.status()), "{refused:?}");
        let _ = stream.0.read_to_end(&mut Vec::new());
    });
}

/// Lengths of the DATA that comes next on stream 1.
fn next_data(raw: &mut Raw) -> usize {
    let data = std::iter::from_fn(|| raw.next()).find(|frame| (frame.kind, frame.stream) == (DATA, 1));
    data.expect("data").payload.len()
}

/// RFC 9113, sections 6.9.1 and 6.9.2.
#[test]
fn no_more_is_sent_than_a_window_has_room_for_whatever_becomes_of_it() {
    over_both(|start| {
        let lab = start(to_by_http2(answering()));
        let mut raw = Raw::connect(&lab);
        raw.send(&pair(setting(4, 1), get(1)));
        assert_eq!(next_data(&mut raw), 1, "one byte of the answer's two");
        // One byte below nothing, and back to room for one.
        raw.send(&[setting(4, 0), frame(PING, 0, 0, b"12345678")].concat());
        let next = std::iter::from_fn(|| raw.next()).find(|frame| frame.kind != SETTINGS).unwrap();
        assert_eq!(next.kind, PING, "what is below nothing lets nothing pass");
        raw.send(&update(1, 2));
        assert_eq!(next_data(&mut raw), 1, "the other one");
    });
}
