//! The pcapng file: a section header, an interface description for each of the daemon's interfaces and for any other as it
//! first appears, and an enhanced packet block with a comment for each packet.
//!
//! Written here, because the crates for it are not kept up or not finished, and three kinds of blocks are little.
//!
//! Source: draft-ietf-opsawg-pcapng, sections 3 and 4.

use crate::control::CapturedPacket;
use std::io::{self, Write};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;

/// By this a reader knows the order of bytes.
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// Version 1.0, the minor number in the upper half.
const VERSION: u32 = 1;
const ETHERNET: u32 = 1;

const COMMENT: u16 = 1;
const APPLICATION: u16 = 4;
const NAME: u16 = 2;
const RESOLUTION: u16 = 9;
/// Time stamps count in units of ten to the power of minus nine seconds.
const NANOSECONDS: u8 = 9;

/// A file in the making.
#[derive(Debug)]
pub(super) struct Writer<W> {
    out: W,
    snap: u32,
    /// Interfaces that were described, in the order of their numbers.
    interfaces: Vec<String>,
}

impl<W: Write> Writer<W> {
    /// Writes the file's head, with these interfaces: readers refuse a file without any, which one without packets would be.
    /// At most `snap` bytes of each packet will follow.
    pub(super) fn begin(out: W, snap: u32, interfaces: &[String]) -> io::Result<Self> {
        let mut writer = Self { out, snap, interfaces: Vec::new() };
        let program = concat!("lb-userspace ", env!("CARGO_PKG_VERSION"));
        // The length of all that follows is not known.
        let head = Block::of(SECTION).word(BYTE_ORDER).word(VERSION).word(u32::MAX).word(u32::MAX);
        writer.put(&head.option(APPLICATION, program.as_bytes()).end())?;
        for name in interfaces {
            writer.number(name)?;
        }
        Ok(writer)
    }

    /// Writes a packet, and before it the interface it came by, if that is new.
    pub(super) fn write(&mut self, packet: &CapturedPacket) -> io::Result<()> {
        let interface = self.number(&packet.arrived_by)?;
        let [high, low] = halves(packet.at_ns);
        let block = Block::of(PACKET).word(interface).word(high).word(low).word(length(&packet.bytes));
        let block = block.word(packet.length).bytes(&packet.bytes);
        self.put(&block.option(COMMENT, packet.to_string().as_bytes()).end())
    }

    /// The number of an interface, which is described when it first appears.
    fn number(&mut self, name: &str) -> io::Result<u32> {
        let place = match self.interfaces.iter().position(|known| known == name) {
            Some(place) => place,
            None => self.describe(name)?,
        };
        u32::try_from(place).map_err(io::Error::other)
    }

    fn describe(&mut self, name: &str) -> io::Result<usize> {
        let block = Block::of(INTERFACE).word(ETHERNET).word(self.snap).option(NAME, name.as_bytes());
        self.put(&block.option(RESOLUTION, &[NANOSECONDS]).end())?;
        self.interfaces.push(name.to_owned());
        Ok(self.interfaces.len() - 1)
    }

    /// A block at a time, and out at once: whoever reads never waits for half of one.
    fn put(&mut self, block: &[u8]) -> io::Result<()> {
        self.out.write_all(block)?;
        self.out.flush()
    }
}

/// A block in the making: its kind, room for its length, and its body so far.
struct Block(Vec<u8>);

impl Block {
    fn of(kind: u32) -> Self {
        Self(Vec::new()).word(kind).word(0)
    }

    fn word(mut self, word: u32) -> Self {
        self.0.extend(word.to_le_bytes());
        self
    }

    /// Bytes, and zeros up to the next word.
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// An option, cut where its length would not fit a half word.
    fn option(self, code: u16, value: &[u8]) -> Self {
        let value = value.get(..usize::from(u16::MAX)).unwrap_or(value);
        self.word(u32::from(code) | length(value) << 16).bytes(value)
    }

    /// The whole block: the end of its options, and its length at both ends.
    fn end(self) -> Vec<u8> {
        let Self(mut block) = self.word(0).word(0);
        let length = length(&block).to_le_bytes();
        let end = block.len() - length.len();
        for place in [4, end] {
            block.splice(place..place + length.len(), length);
        }
        block
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "a block has a packet of two kibibytes and a line of text"
)]
const fn length(bytes: &[u8]) -> u32 {
    bytes.len() as u32
}

#[allow(clippy::cast_possible_truncation, reason = "cut into its halves")]
const fn halves(number: u64) -> [u32; 2] {
    [(number >> 32) as u32, number as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(arrived_by: &str, bytes: &[u8]) -> CapturedPacket {
        CapturedPacket {
            at_ns: 0x1_0000_0002,
            arrived_by: arrived_by.to_owned(),
            leaves_by: None,
            verdict: "drop".into(),
            reason: "no_backend".into(),
            service: None,
            backend: None,
            length: 60,
            bytes: bytes.to_vec(),
        }
    }

    /// A block as a reader takes it apart: its kind and its body, by a length that stands at both ends.
    fn blocks(mut file: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let mut found = Vec::new();
        while !file.is_empty() {
            let length = word(file, 4) as usize;
            assert_eq!((length % 4, word(file, length - 4) as usize), (0, length));
            found.push((word(file, 0), file[8..length - 4].to_vec()));
            file = &file[length..];
        }
        found
    }

    /// The options of a body from an offset on, up to the one that ends them, which ends the body, too.
    fn options(mut body: &[u8]) -> Vec<(u16, Vec<u8>)> {
        let half = |bytes: &[u8], at: usize| u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap());
        let mut found = Vec::new();
        while half(body, 0) != 0 {
            let length = usize::from(half(body, 2));
            found.push((half(body, 0), body[4..4 + length].to_vec()));
            body = &body[4 + length.next_multiple_of(4)..];
        }
        assert_eq!(body, [0; 4]);
        found
    }

    fn written(packets: &[CapturedPacket]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut writer = Writer::begin(&mut file, 96, &[]).unwrap();
        for packet in packets {
            writer.write(packet).unwrap();
        }
        file
    }

    #[test]
    fn a_file_begins_with_a_section_of_unknown_length() {
        let found = blocks(&written(&[]));
        let [(SECTION, body)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(body[..8], [0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0]);
        assert_eq!(body[8..16], [0xff; 8]);
        assert!(options(&body[16..])[0].1.starts_with(b"lb-userspace "));
    }

    #[test]
    fn the_daemon_s_interfaces_are_described_before_any_packet() {
        let mut file = Vec::new();
        let named = ["eth0", "eth1"].map(str::to_owned);
        Writer::begin(&mut file, 96, &named).unwrap().write(&packet("eth1", b"abcd")).unwrap();
        let found = blocks(&file);
        let kinds: Vec<_> = found.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [SECTION, INTERFACE, INTERFACE, PACKET]);
        assert_eq!(found[3].1[0], 1, "the packet is of the second");
    }

    #[test]
    fn an_interface_is_described_once_and_before_its_packets() {
        let file = written(&[packet("eth0", b"abcd"), packet("eth1", b""), packet("eth0", b"")]);
        let kinds: Vec<_> = blocks(&file).iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [SECTION, INTERFACE, PACKET, INTERFACE, PACKET, PACKET]);
        let numbers: Vec<_> =
            blocks(&file).iter().filter(|(kind, _)| *kind == PACKET).map(|(_, body)| body[0]).collect();
        assert_eq!(numbers, [0, 1, 0]);
        let (_, first) = &blocks(&file)[1];
        assert_eq!(first[..8], [1, 0, 0, 0, 96, 0, 0, 0]);
        assert_eq!(options(&first[8..]), [(NAME, b"eth0".to_vec()), (RESOLUTION, vec![9])]);
    }

    #[test]
    fn a_packet_has_its_time_lengths_bytes_and_a_comment() {
        for bytes in [&b""[..], b"a", b"abc", b"abcd", b"abcde"] {
            let found = blocks(&written(&[packet("eth0", bytes)]));
            let (_, body) = &found[2];
            let words: Vec<_> =
                body[..20].chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
            assert_eq!(words, [0, 1, 2, u32::try_from(bytes.len()).unwrap(), 60]);
            assert!(body[20..].starts_with(bytes));
            let comment = options(&body[20 + bytes.len().next_multiple_of(4)..]);
            assert_eq!(comment, [(COMMENT, b"verdict=drop reason=no_backend".to_vec())]);
        }
    }
}
