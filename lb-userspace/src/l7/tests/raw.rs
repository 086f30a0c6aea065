//! A client that speaks HTTP/2 by raw frames, so that it can say what no library would.

use super::lab::Lab;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const WITH_PRIORITY: u8 = 0x20;

pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const FLOW_CONTROL_ERROR: u32 = 3;
pub(super) const STREAM_CLOSED: u32 = 5;
pub(super) const FRAME_SIZE_ERROR: u32 = 6;
pub(super) const REFUSED_STREAM: u32 = 7;
pub(super) const COMPRESSION_ERROR: u32 = 9;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

/// `GET http://h/`, compressed: three fields of the static table and a literal.
pub(super) const GET: &[u8] = b"\x82\x86\x84\x41\x01h";

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A connection that has said hello.
pub(super) struct Raw(pub(super) TcpStream);

/// A frame that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Raw {
    pub(super) fn connect(lab: &Lab) -> Self {
        let mut raw = Self::begin(lab);
        raw.send(&frame(SETTINGS, 0, 0, b""));
        raw
    }

    /// A connection that has said what it speaks, and no frame.
    pub(super) fn begin(lab: &Lab) -> Self {
        let stream = TcpStream::connect(lab.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut raw = Self(stream);
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        raw
    }

    /// Whether it went: the other end may have had enough.
    pub(super) fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// The next frame; `None` at the end.
    pub(super) fn next(&mut self) -> Option<Frame> {
        let mut header = [0; 9];
        self.0.read_exact(&mut header).ok()?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes(header[5..].try_into().unwrap());
        Some(Frame { kind: header[3], flags: header[4], stream, payload })
    }

    pub(super) fn await_kind(&mut self, kind: u8) -> Option<Frame> {
        std::iter::from_fn(|| self.next()).find(|frame| frame.kind == kind)
    }

    /// The code with which the connection ends.
    pub(super) fn goaway(&mut self) -> Option<u32> {
        let payload = self.await_kind(GOAWAY)?.payload;
        Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()))
    }

    /// The code with which a stream or the connection ends, and which of them.
    pub(super) fn end(&mut self) -> Option<(u8, u32)> {
        let end =
            std::iter::from_fn(|| self.next()).find(|frame| matches!(frame.kind, RST_STREAM | GOAWAY))?;
        let code = end.payload.get(if end.kind == GOAWAY { 4..8 } else { 0..4 })?;
        Some((end.kind, u32::from_be_bytes(code.try_into().unwrap())))
    }

    /// The next frame of a stream.
    pub(super) fn next_of(&mut self, stream: u32) -> Frame {
        std::iter::from_fn(|| self.next())
            .find(|frame| frame.stream == stream)
            .expect("a frame of the stream")
    }
}
