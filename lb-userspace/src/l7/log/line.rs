//! One exchange as a line.

use super::time::{Moment, push_number, push_seconds};
use super::{Field, Note};
use crate::config::proxy::{LogFormat, LogPiece};
use std::time::Duration;

/// Everything that is known of an exchange at its end.
#[derive(Clone, Copy, Debug)]
pub struct Closing<'a> {
    /// What was asked.
    pub note: &'a Note,
    /// The status.
    pub status: u16,
    /// How often it was sent to another backend.
    pub retries: u16,
    /// Bytes of the request's body.
    pub received: u64,
    /// Bytes of the answer's body.
    pub sent: u64,
    /// From first byte to last.
    pub time: Duration,
    /// Until the backend began to answer.
    pub upstream: Option<Duration>,
    /// Why it failed, if it did.
    pub failure: Option<&'static str>,
}

impl Closing<'_> {
    /// Appends the line.
    pub(super) fn write(&self, format: &LogFormat, now: &Moment, out: &mut Vec<u8>) {
        match format {
            LogFormat::Json => self.write_json(now, out),
            LogFormat::Text | LogFormat::Own(_) => self.write_pieces(format.pieces(), now, out),
        }
        out.push(b'\n');
    }

    fn write_pieces(&self, pieces: &[LogPiece], now: &Moment, out: &mut Vec<u8>) {
        let mut headers = 0;
        for piece in pieces {
            match piece {
                LogPiece::Text(text) => out.extend_from_slice(text.as_bytes()),
                LogPiece::Field(field) => self.write_field(*field, now, out),
                LogPiece::Header(_) => {
                    push_or_dash(self.note.header(headers), out);
                    headers += 1;
                }
            }
        }
    }

    fn write_field(&self, field: Field, now: &Moment, out: &mut Vec<u8>) {
        match field {
            Field::Time => now.push_iso(out),
            Field::TimeCommon => out.extend_from_slice(now.common().as_bytes()),
            Field::Request => self.write_request(out),
            Field::Failure => push_or_dash(self.failure.unwrap_or_default().as_bytes(), out),
            _ if self.push_figure(field, out) => {}
            _ => push_or_dash(self.note.field(field), out),
        }
    }

    /// `GET /path?query HTTP/1.1`, or a dash for what was none.
    fn write_request(&self, out: &mut Vec<u8>) {
        let part = |field| self.note.field(field);
        push_or_dash(part(Field::Method), out);
        if !part(Field::Method).is_empty() {
            out.push(b' ');
            escape(part(Field::Path), out);
            if !part(Field::Query).is_empty() {
                out.push(b'?');
                escape(part(Field::Query), out);
            }
            out.push(b' ');
            escape(part(Field::Protocol), out);
        }
    }

    /// Appends what is a number. Whether it is one.
    fn push_figure(&self, field: Field, out: &mut Vec<u8>) -> bool {
        match field {
            Field::ClientPort => push_number(self.note.client.port().into(), out),
            Field::Status => push_number(self.status.into(), out),
            Field::BytesIn => push_number(self.received, out),
            Field::BytesOut => push_number(self.sent, out),
            Field::Retries => push_number(self.retries.into(), out),
            Field::Duration => push_seconds(self.time, out),
            Field::UpstreamTime => match self.upstream {
                Some(time) => push_seconds(time, out),
                None => return false,
            },
            _ => return false,
        }
        true
    }

    /// All fields that there is something to tell of, by their names.
    fn write_json(&self, now: &Moment, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        now.push_iso(out);
        out.push(b'"');
        for (field, key) in Field::KEYS {
            let before = out.len();
            out.extend_from_slice(key.as_bytes());
            // What is told already, and what is put together of other fields, is not there to be found.
            if !self.push_figure(field, out) {
                out.truncate(before);
                let failure = self.failure.filter(|_| field == Field::Failure).map(str::as_bytes);
                push_pair(key, failure.unwrap_or_else(|| self.note.field(field)), out);
            }
        }
        push_pair(",\"referer\":", self.note.header(0), out);
        push_pair(",\"user_agent\":", self.note.header(1), out);
        out.push(b'}');
    }
}

fn push_or_dash(text: &[u8], out: &mut Vec<u8>) {
    if text.is_empty() {
        out.push(b'-');
    } else {
        escape(text, out);
    }
}

/// A key and its text, if there is any.
fn push_pair(key: &str, text: &[u8], out: &mut Vec<u8>) {
    if !text.is_empty() {
        out.extend_from_slice(key.as_bytes());
        out.push(b'"');
        escape_json(text, out);
        out.push(b'"');
    }
}

/// Appends what a client has sent such that it ends neither the line nor the quotes around it.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                out.extend_from_slice(b"\\x");
                push_hex(byte, out);
            }
            _ => out.push(byte),
        }
    }
}

/// Appends text for a string of JSON (RFC 8259, section 7). What is no UTF-8 becomes U+FFFD.
fn escape_json(text: &[u8], out: &mut Vec<u8>) {
    for byte in String::from_utf8_lossy(text).bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 | 0x7f => {
                out.extend_from_slice(b"\\u00");
                push_hex(byte, out);
            }
            _ => out.push(byte),
        }
    }
}

fn push_hex(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend([byte >> 4, byte & 0xf].into_iter().filter_map(|half| DIGITS.get(usize::from(half))));
}

#[cfg(test)]
mod tests;
