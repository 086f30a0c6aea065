//! The rules: by section, what is sent, and what may come back.

use super::super::raw::{
    ACK, COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR, GET, GOAWAY, HEADERS, PADDED, PING, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE,
    REFUSED_STREAM, RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE, WITH_PRIORITY, frame,
};
use super::Back::{self, Answers, Either, Ends, Lives, Resets, Says};
use super::Before::{Answered, Held, Nothing, Open, Reset};
use super::Row;

pub(super) const OK: u8 = 0x88;
/// `POST http://h/`.
const POST: &[u8] = b"\x83\x86\x84\x41\x01h";
/// `GET http://h/hold` and `POST`: what the backend does not answer.
pub(super) const HOLD: &[u8] = b"\x82\x86\x04\x05/hold\x41\x01h";
pub(super) const UPLOAD: &[u8] = b"\x83\x86\x04\x05/hold\x41\x01h";
pub(super) const WHOLE: u8 = END_HEADERS | END_STREAM;
/// Streams that a client is told it may have at a time, and one more.
const TOO_MANY: u32 = 129;

const MALFORMED: Back = Either(&[PROTOCOL_ERROR]);
const PROTOCOL: Back = Ends(&[PROTOCOL_ERROR]);
const CLOSED: Back = Either(&[STREAM_CLOSED]);
/// `h2` ends the connection for some of these, by the code that any error may have.
const CLOSED_OR_WRONG: Back = Either(&[STREAM_CLOSED, PROTOCOL_ERROR]);
/// `h2` does not tell these errors from others of a connection's.
const SIZE: Back = Ends(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]);
const COMPRESSION: Back = Ends(&[COMPRESSION_ERROR, PROTOCOL_ERROR]);

pub(super) fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, GET)
}

/// A request for `/` with these fields behind it.
fn get_with(fields: &[u8]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &[GET, fields].concat())
}

/// A request with a body that is to be so long, and these pieces of it.
fn post_of(length: u8, pieces: &[&[u8]]) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, 1, &[POST, b"\x0f\x0d\x01", &[length]].concat());
    let last = pieces.len() - 1;
    let data = pieces.iter().enumerate().flat_map(|(at, piece)| frame(DATA, u8::from(at == last), 1, piece));
    head.into_iter().chain(data).collect()
}

pub(super) fn setting(name: u8, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&[0, name], &value.to_be_bytes()[..]].concat())
}

pub(super) fn update(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

pub(super) fn pair(first: Vec<u8>, second: Vec<u8>) -> Vec<u8> {
    [first, second].concat()
}

fn format_and_size() -> Vec<Row> {
    let long = |kind, flags| frame(kind, flags, 1, &vec![0; 16_385]);
    let body = frame(DATA, END_STREAM, 1, &vec![b'a'; 16_384]);
    vec![
        ("4.1", "a frame of an unknown type", Nothing, frame(0x16, 0, 0, b"12345678"), Lives),
        ("4.1", "a flag that means nothing", Nothing, frame(PING, 0x16, 0, b"12345678"), Says(PING, ACK)),
        ("4.1", "the reserved bit", Nothing, frame(PING, 0, 1 << 31, b"12345678"), Says(PING, ACK)),
        ("4.2", "DATA of 2^14 bytes", Nothing, pair(frame(HEADERS, END_HEADERS, 1, POST), body), Answers(OK)),
        ("4.2", "DATA of one byte more", Open, long(DATA, 0), Either(&[FRAME_SIZE_ERROR])),
        ("4.2", "HEADERS of one byte more", Nothing, long(HEADERS, WHOLE), Ends(&[FRAME_SIZE_ERROR])),
        ("5.5", "an unknown frame on an open stream", Open, frame(0x16, 0, 1, b"what"), Lives),
    ]
}

fn states() -> Vec<Row> {
    let reset = || frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    let crowd = (0..TOO_MANY).flat_map(|n| frame(HEADERS, WHOLE, 2 * n + 1, HOLD)).collect();
    vec![
        ("5.1", "idle: DATA", Nothing, frame(DATA, END_STREAM, 1, b"a"), PROTOCOL),
        ("5.1", "idle: RST_STREAM", Nothing, reset(), PROTOCOL),
        ("5.1", "idle: WINDOW_UPDATE", Nothing, update(1, 100), PROTOCOL),
        ("5.1", "idle: CONTINUATION", Nothing, frame(CONTINUATION, END_HEADERS, 1, b"\x82"), PROTOCOL),
        ("5.1", "idle: PRIORITY", Nothing, frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255]), Lives),
        ("5.1", "half-closed: DATA", Held, frame(DATA, END_STREAM, 1, b"a"), CLOSED_OR_WRONG),
        ("5.1", "half-closed: HEADERS", Held, get(1), CLOSED_OR_WRONG),
        ("5.1", "half-closed: CONTINUATION", Held, frame(CONTINUATION, END_HEADERS, 1, GET), PROTOCOL),
        ("5.1", "half-closed: WINDOW_UPDATE", Held, update(1, 100), Lives),
        ("5.1", "half-closed: PRIORITY", Held, frame(PRIORITY, 0, 1, &[0; 5]), Lives),
        ("5.1", "half-closed: RST_STREAM", Held, reset(), Lives),
        ("5.1", "closed by a reset: DATA", Reset, frame(DATA, END_STREAM, 1, b"a"), CLOSED),
        ("5.1", "closed by a reset: HEADERS", Reset, get(1), CLOSED_OR_WRONG),
        ("5.1", "closed by a reset: CONTINUATION", Reset, frame(CONTINUATION, END_HEADERS, 1, GET), PROTOCOL),
        ("5.1", "closed by its ends: DATA", Answered, frame(DATA, END_STREAM, 1, b"a"), CLOSED),
        ("5.1", "closed by its ends: HEADERS", Answered, get(1), CLOSED_OR_WRONG),
        ("5.1", "closed by its ends: CONTINUATION", Answered, frame(CONTINUATION, 4, 1, GET), PROTOCOL),
        ("5.1", "closed by its ends: WINDOW_UPDATE", Answered, update(1, 100), Lives),
        ("5.1", "closed by its ends: PRIORITY", Answered, frame(PRIORITY, 0, 1, &[0; 5]), Lives),
        ("5.1.1", "an even number", Nothing, get(2), PROTOCOL),
        ("5.1.1", "a number less than one before", Nothing, pair(get(5), get(3)), PROTOCOL),
        (
            "5.1.2",
            "more streams than there may be",
            Nothing,
            crowd,
            Resets(&[REFUSED_STREAM, PROTOCOL_ERROR]),
        ),
    ]
}

fn headers() -> Vec<Row> {
    let padded = |length: u8, rest: &[u8]| [&[length], rest].concat();
    let on_itself = [&[0, 0, 0, 1, 255], GET].concat();
    let with = |kind, flags, payload: &[u8]| frame(kind, flags, 1, payload);
    let open = frame(HEADERS, END_HEADERS, 1, POST);
    let padding = padded(3, &[GET, &[0; 3]].concat());
    vec![
        (
            "5.3.1",
            "HEADERS that depend on themselves",
            Nothing,
            with(HEADERS, WHOLE | WITH_PRIORITY, &on_itself),
            MALFORMED,
        ),
        ("5.3.1", "PRIORITY that depends on itself", Held, with(PRIORITY, 0, &[0, 0, 0, 1, 255]), MALFORMED),
        ("6.1", "DATA on stream 0", Nothing, frame(DATA, END_STREAM, 0, b"a"), PROTOCOL),
        (
            "6.1",
            "DATA with padding",
            Nothing,
            pair(open, with(DATA, END_STREAM | PADDED, &padded(2, b"a\0\0"))),
            Answers(OK),
        ),
        (
            "6.1",
            "DATA with more padding than payload",
            Open,
            with(DATA, PADDED, &padded(6, b"12345")),
            PROTOCOL,
        ),
        ("6.2", "HEADERS on stream 0", Nothing, get(0), PROTOCOL),
        ("6.2", "HEADERS with padding", Nothing, with(HEADERS, WHOLE | PADDED, &padding), Answers(OK)),
        (
            "6.2",
            "HEADERS with more padding than payload",
            Nothing,
            with(HEADERS, WHOLE | PADDED, &padded(200, GET)),
            PROTOCOL,
        ),
        (
            "6.2",
            "HEADERS with a priority",
            Nothing,
            with(HEADERS, WHOLE | WITH_PRIORITY, &[&[0, 0, 0, 3, 7], GET].concat()),
            Answers(OK),
        ),
        ("6.3", "PRIORITY on stream 0", Nothing, frame(PRIORITY, 0, 0, &[0; 5]), PROTOCOL),
        (
            "6.3",
            "PRIORITY of four bytes",
            Held,
            with(PRIORITY, 0, &[0; 4]),
            Either(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]),
        ),
    ]
}

fn continuation() -> Vec<Row> {
    let part = |stream| frame(HEADERS, END_STREAM, stream, GET);
    let with = |kind, flags, payload: &[u8]| frame(kind, flags, 1, payload);
    vec![
        (
            "6.10",
            "CONTINUATION after CONTINUATION",
            Nothing,
            [
                part(1),
                with(CONTINUATION, 0, b"\x00\x01a\x01b"),
                with(CONTINUATION, END_HEADERS, b"\x00\x01c\x01d"),
            ]
            .concat(),
            Answers(OK),
        ),
        ("6.10", "PRIORITY within a head", Nothing, pair(part(1), with(PRIORITY, 0, &[0; 5])), PROTOCOL),
        ("6.10", "HEADERS of another stream within a head", Nothing, pair(part(1), get(3)), PROTOCOL),
        ("6.10", "DATA within a head", Nothing, pair(part(1), with(DATA, 0, b"a")), PROTOCOL),
        ("6.10", "an unknown frame within a head", Nothing, pair(part(1), with(0x16, 0, b"")), PROTOCOL),
        (
            "6.10",
            "CONTINUATION on stream 0",
            Nothing,
            pair(part(1), frame(CONTINUATION, END_HEADERS, 0, b"")),
            PROTOCOL,
        ),
        (
            "6.10",
            "CONTINUATION of another stream",
            Nothing,
            pair(part(1), frame(CONTINUATION, END_HEADERS, 3, b"")),
            PROTOCOL,
        ),
        (
            "6.10",
            "CONTINUATION after the end of a head",
            Nothing,
            pair(frame(HEADERS, WHOLE, 1, HOLD), with(CONTINUATION, END_HEADERS, b"")),
            PROTOCOL,
        ),
        (
            "6.10",
            "CONTINUATION after the end of CONTINUATION",
            Nothing,
            [part(1), with(CONTINUATION, END_HEADERS, b""), with(CONTINUATION, END_HEADERS, b"")].concat(),
            PROTOCOL,
        ),
        (
            "6.10",
            "CONTINUATION after DATA",
            Open,
            pair(with(DATA, 0, b"a"), with(CONTINUATION, END_HEADERS, b"")),
            PROTOCOL,
        ),
    ]
}

fn of_the_connection() -> Vec<Row> {
    vec![
        ("6.4", "RST_STREAM on stream 0", Nothing, frame(RST_STREAM, 0, 0, &[0; 4]), PROTOCOL),
        ("6.4", "RST_STREAM of three bytes", Held, frame(RST_STREAM, 0, 1, &[0; 3]), SIZE),
        ("7", "RST_STREAM with a code that means nothing", Held, frame(RST_STREAM, 0, 1, &[0xff; 4]), Lives),
        ("6.5", "SETTINGS", Nothing, setting(3, 100), Says(SETTINGS, ACK)),
        ("6.5", "an acknowledgement with a payload", Nothing, frame(SETTINGS, ACK, 0, &[0; 6]), SIZE),
        ("6.5", "SETTINGS on a stream", Nothing, frame(SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 1]), PROTOCOL),
        ("6.5", "SETTINGS of five bytes", Nothing, frame(SETTINGS, 0, 0, &[0; 5]), SIZE),
        ("6.5.2", "ENABLE_PUSH of 2", Nothing, setting(2, 2), PROTOCOL),
        (
            "6.5.2",
            "INITIAL_WINDOW_SIZE of 2^31",
            Nothing,
            setting(4, 1 << 31),
            Ends(&[FLOW_CONTROL_ERROR, PROTOCOL_ERROR]),
        ),
        ("6.5.2", "MAX_FRAME_SIZE below 2^14", Nothing, setting(5, 16_383), PROTOCOL),
        ("6.5.2", "MAX_FRAME_SIZE of 2^24", Nothing, setting(5, 1 << 24), PROTOCOL),
        ("6.5.2", "a setting that means nothing", Nothing, setting(0xff, 1), Says(SETTINGS, ACK)),
        ("8441 3", "ENABLE_CONNECT_PROTOCOL of 2", Nothing, setting(8, 2), PROTOCOL),
        (
            "6.6",
            "PUSH_PROMISE from a client",
            Held,
            frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], GET].concat()),
            PROTOCOL,
        ),
        ("6.7", "PING", Nothing, frame(PING, 0, 0, b"12345678"), Says(PING, ACK)),
        ("6.7", "an answer to no PING", Nothing, frame(PING, ACK, 0, b"12345678"), Lives),
        ("6.7", "PING on a stream", Nothing, frame(PING, 0, 1, b"12345678"), PROTOCOL),
        ("6.7", "PING of seven bytes", Nothing, frame(PING, 0, 0, b"1234567"), SIZE),
        ("7", "GOAWAY with a code that means nothing", Nothing, frame(GOAWAY, 0, 0, &[0xff; 8]), Lives),
        ("6.8", "GOAWAY on a stream", Nothing, frame(GOAWAY, 0, 1, &[0; 8]), PROTOCOL),
        ("6.9", "a window update of nothing", Nothing, update(0, 0), PROTOCOL),
        ("6.9", "a window update of nothing on a stream", Held, update(1, 0), MALFORMED),
        ("6.9", "a window update of three bytes", Nothing, frame(WINDOW_UPDATE, 0, 0, &[0; 3]), SIZE),
        (
            "6.9.1",
            "a window above 2^31 - 1",
            Nothing,
            update(0, i32::MAX.unsigned_abs()),
            Ends(&[FLOW_CONTROL_ERROR]),
        ),
        (
            "6.9.1",
            "the same of a stream",
            Held,
            update(1, i32::MAX.unsigned_abs()),
            Either(&[FLOW_CONTROL_ERROR]),
        ),
        (
            "6.9.2",
            "the same by SETTINGS",
            Held,
            pair(update(1, i32::MAX.unsigned_abs() - 65_535), setting(4, 65_536)),
            Ends(&[FLOW_CONTROL_ERROR]),
        ),
    ]
}

fn fields() -> Vec<Row> {
    let request = |block: &[u8]| frame(HEADERS, WHOLE, 1, block);
    let mut rows: Vec<Row> = [
        ("8.2", "a name in upper case", &b"\x00\x01A\x01b"[..]),
        ("8.2", "a space in a name", b"\x00\x03a b\x01c"),
        ("8.2.1", "a line end in a value", b"\x00\x01a\x03b\nc"),
        ("8.2.2", "connection", b"\x00\x0aconnection\x05close"),
        ("8.2.2", "keep-alive", b"\x00\x0akeep-alive\x01a"),
        ("8.2.2", "proxy-connection", b"\x00\x10proxy-connection\x01a"),
        ("8.2.2", "transfer-encoding", b"\x00\x11transfer-encoding\x07chunked"),
        ("8.2.2", "upgrade", b"\x00\x07upgrade\x03h2c"),
        ("8.2.2", "te other than trailers", b"\x00\x02te\x04gzip"),
        ("8.3", "an unknown pseudo-field", b"\x00\x06:other\x01a"),
        ("8.3", "a pseudo-field of answers", b"\x88"),
        ("8.3", "a pseudo-field behind a field", b"\x00\x01a\x01b\x84"),
        ("8.3.1", "a second :method", b"\x82"),
        ("8.3.1", "a second :scheme", b"\x86"),
        ("8.3.1", "a second :path", b"\x84"),
        ("8.3.1", "a second :authority", b"\x01\x01h"),
    ]
    .map(|(section, what, field)| (section, what, Nothing, get_with(field), MALFORMED))
    .into();
    rows.extend([
        ("8.3.1", "no :method", Nothing, request(b"\x86\x84\x41\x01h"), MALFORMED),
        ("8.3.1", "no :scheme", Nothing, request(b"\x82\x84\x41\x01h"), MALFORMED),
        ("8.3.1", "no :path", Nothing, request(b"\x82\x86\x41\x01h"), MALFORMED),
        ("8.3.1", "an empty :path", Nothing, request(b"\x82\x86\x04\x00\x41\x01h"), MALFORMED),
        ("8.5", ":path with CONNECT", Nothing, request(b"\x02\x07CONNECT\x84\x41\x01h"), MALFORMED),
        ("8.2.2", "te: trailers", Nothing, get_with(b"\x00\x02te\x08trailers"), Answers(OK)),
        (
            "8.1",
            "trailers that do not end the stream",
            Open,
            frame(HEADERS, END_HEADERS, 1, b"\x00\x01a\x01b"),
            MALFORMED,
        ),
        (
            "8.2.2",
            "a field of the connection in trailers",
            Open,
            frame(HEADERS, WHOLE, 1, b"\x00\x0aconnection\x05close"),
            MALFORMED,
        ),
        (
            "8.1",
            "trailers",
            Nothing,
            pair(frame(HEADERS, END_HEADERS, 1, POST), frame(HEADERS, WHOLE, 1, b"\x00\x01a\x01b")),
            Answers(OK),
        ),
        ("8.1.1", "less of a body than its length", Nothing, post_of(b'4', &[b"123"]), MALFORMED),
        ("8.1.1", "more of a body than its length", Nothing, post_of(b'4', &[b"12345"]), MALFORMED),
        ("8.1.1", "more of a body, in pieces", Nothing, post_of(b'4', &[b"123", b"45"]), MALFORMED),
        ("8.1.1", "a body that is as long as it says", Nothing, post_of(b'4', &[b"12", b"34"]), Answers(OK)),
    ]);
    rows
}

fn compression() -> Vec<Row> {
    let huffman =
        |value: &[u8]| [&b"\x00\x01a"[..], &[0x80 | u8::try_from(value.len()).unwrap()], value].concat();
    let wrong = [
        ("H2.3.3", "an index behind both tables", b"\xc6".to_vec()),
        ("H2.3.3", "the same for a name", b"\x7f\x07\x01b".to_vec()),
        ("H4.2", "a change of the table behind fields", b"\x20".to_vec()),
        ("H5.1", "an integer without an end", b"\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec()),
        ("H5.2", "padding by zeros", huffman(b"\x18")),
        ("H5.2", "padding of more than seven bits", huffman(b"\x1f\xff")),
        ("H5.2", "the end of a string within it", huffman(b"\xff\xff\xff\xff")),
        ("H6.1", "index 0", b"\x80".to_vec()),
    ];
    let right: [(&str, &str, &[u8]); 8] = [
        ("H6.2.1", "a new name, kept", b"\x40\x01a\x01b"),
        ("H6.2.1", "a known name, kept", b"\x53\x01b"),
        ("H6.2.1", "the same by Huffman's code", b"\x53\x81\x1f"),
        ("H6.2.2", "a new name, not kept", b"\x00\x01a\x01b"),
        ("H6.2.2", "a known name, not kept", b"\x0f\x04\x01b"),
        ("H6.2.3", "a new name, never kept", b"\x10\x01a\x01b"),
        ("H6.2.3", "a known name, never kept", b"\x1f\x04\x81\x1f"),
        ("H6.1", "a field of the table", b"\x53\x01b\xbe"),
    ];
    let table = |change: &[u8]| frame(HEADERS, WHOLE, 1, &[change, GET].concat());
    let mut rows: Vec<Row> =
        wrong.map(|(section, what, field)| (section, what, Nothing, get_with(&field), COMPRESSION)).into();
    rows.extend(right.map(|(section, what, field)| (section, what, Nothing, get_with(field), Answers(OK))));
    rows.extend([
        ("H6.3", "a table that is larger than it may be", Nothing, table(b"\x3f\xe2\x1f"), COMPRESSION),
        ("H6.3", "a table of nothing", Nothing, table(b"\x20"), Answers(OK)),
        (
            "H6.3",
            "a table of nothing, and then the largest",
            Nothing,
            table(b"\x20\x3f\xe1\x1f"),
            Answers(OK),
        ),
    ]);
    rows
}

/// What `h2` 0.4 lets pass that the rules forbid. None of it reaches a backend.
fn deviations() -> Vec<Row> {
    let pseudo = frame(HEADERS, WHOLE, 1, b"\x84");
    vec![(
        "8.1",
        "a pseudo-field in trailers",
        Nothing,
        pair(frame(HEADERS, END_HEADERS, 1, POST), pseudo),
        Answers(OK),
    )]
}

/// All rules.
pub(super) fn all() -> Vec<Row> {
    let tables =
        [format_and_size, states, headers, continuation, of_the_connection, fields, compression, deviations];
    tables.iter().flat_map(|table| table()).collect()
}
