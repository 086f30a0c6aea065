//! Sentences about PROXY headers.

use super::v2::{SIGNATURE, crc32c};
use super::*;
use proptest::prelude::*;

const EXAMPLE_CLIENT: &str = "192.0.2.7:56324";
const EXAMPLE_SERVER: &str = "198.51.100.1:443";

fn client(client: &str, server: &str) -> Proxied {
    Proxied::Client { client: client.parse().unwrap(), server: server.parse().unwrap() }
}

/// A header of version 2 with this command, family and body.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &len, body].concat()
}

fn v4_addresses() -> Vec<u8> {
    let mut header = Vec::new();
    write_v2(EXAMPLE_CLIENT.parse().unwrap(), EXAMPLE_SERVER.parse().unwrap(), &mut header);
    header.split_off(16)
}

#[test]
fn lines_of_version_1_are_read_as_specified() {
    let rows: &[(&str, Result<Proxied, ProxyRefusal>)] = &[
        ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", Ok(client(EXAMPLE_CLIENT, EXAMPLE_SERVER))),
        ("PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n", Ok(client("[2001:db8::7]:1", "[2001:db8::1]:2"))),
        ("PROXY UNKNOWN\r\n", Ok(Proxied::Nobody)),
        ("PROXY UNKNOWN ffff:f::f ffff::f 65535 65535\r\n", Ok(Proxied::Nobody)),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n", Err(ProxyRefusal::Line)),
        ("PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n", Err(ProxyRefusal::Line)),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n", Err(ProxyRefusal::Line)),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 5\r\n", Err(ProxyRefusal::Line)),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n", Err(ProxyRefusal::Line)),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 +1 443\r\n", Err(ProxyRefusal::Line)),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 01 443\r\n", Err(ProxyRefusal::Line)),
        ("PROXY TCP4  192.0.2.7 198.51.100.1 1 443\r\n", Err(ProxyRefusal::Line)),
        ("PROXY UDP4 192.0.2.7 198.51.100.1 1 443\r\n", Err(ProxyRefusal::Line)),
        ("GET / HTTP/1.1\r\n", Err(ProxyRefusal::Missing)),
    ];
    for (line, expected) in rows {
        let read = parse(line.as_bytes()).map(|read| read.map(|(proxied, _)| proxied));
        assert_eq!(read, expected.map(Some), "{line}");
    }
}

#[test]
fn a_line_longer_than_any_is_refused() {
    let line = format!("PROXY UNKNOWN {}", "x".repeat(100));
    assert_eq!(parse(line.as_bytes()), Err(ProxyRefusal::LineTooLong));
}

#[test]
fn headers_of_version_2_are_read_as_specified() {
    let addresses = v4_addresses();
    let with = |values: &[u8]| v2(0x21, 0x11, &[&addresses, values].concat());
    let told = Ok(client(EXAMPLE_CLIENT, EXAMPLE_SERVER));
    let rows: Vec<(&str, Vec<u8>, Result<Proxied, ProxyRefusal>)> = vec![
        ("addresses alone", with(&[]), told),
        ("an authority and a padding are passed over", with(b"\x02\0\x03a.b\x04\0\0"), told),
        ("a value of a type that nobody knows is passed over", with(b"\xee\0\x01x"), told),
        ("a value beyond the end", with(b"\x02\0\x04a.b"), Err(ProxyRefusal::Value)),
        ("half a value's head", with(b"\x02\0"), Err(ProxyRefusal::Value)),
        ("a checksum of two bytes", with(b"\x03\0\x02ab"), Err(ProxyRefusal::Value)),
        ("a wrong checksum", with(b"\x03\0\x04abcd"), Err(ProxyRefusal::Checksum)),
        ("LOCAL, whatever follows", v2(0x20, 0x11, b"junk"), Ok(Proxied::Nobody)),
        ("a family that is not specified", v2(0x21, 0, b""), Ok(Proxied::Nobody)),
        ("a socket of this host", v2(0x21, 0x31, &[0; 216]), Ok(Proxied::Nobody)),
        ("too short for its addresses", v2(0x21, 0x21, &[0; 35]), Err(ProxyRefusal::TooShort)),
        ("a family that nobody knows", v2(0x21, 0x41, &[0; 40]), Err(ProxyRefusal::Family)),
        ("version 3", v2(0x31, 0x11, &addresses), Err(ProxyRefusal::Version)),
        ("a command that nobody knows", v2(0x22, 0x11, &addresses), Err(ProxyRefusal::Command)),
        ("longer than we read", v2(0x21, 0x11, &[0; 4097]), Err(ProxyRefusal::TooLong)),
    ];
    for (sentence, header, expected) in rows {
        let len = header.len();
        assert_eq!(parse(&header), expected.map(|proxied| Some((proxied, len))), "{sentence}");
    }
}

#[test]
fn a_right_checksum_passes() {
    let values = b"\x03\0\x04\0\0\0\0";
    let mut header = v2(0x21, 0x11, &[&v4_addresses(), &values[..]].concat());
    let sum = crc32c(header.iter().copied()).to_be_bytes();
    let at = header.len() - 4;
    header[at..].copy_from_slice(&sum);
    assert_eq!(parse(&header), Ok(Some((client(EXAMPLE_CLIENT, EXAMPLE_SERVER), header.len()))));
}

/// Source: RFC 3720, section B.4.
#[test]
fn the_checksum_is_castagnoli_s() {
    assert_eq!(crc32c([0; 32].into_iter()), 0x8a91_36aa);
    assert_eq!(crc32c(0..32), 0x46dd_794e);
    assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
}

#[test]
fn addresses_of_two_families_are_not_told_of() {
    let (v4, v6) = (EXAMPLE_CLIENT.parse().unwrap(), "[::1]:1".parse().unwrap());
    let write_each = [write_v1 as fn(SocketAddr, SocketAddr, &mut Vec<u8>), write_v2];
    for write in write_each {
        let mut header = Vec::new();
        write(v4, v6, &mut header);
        assert_eq!(parse(&header), Ok(Some((Proxied::Nobody, header.len()))));
    }
}

fn pairs() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let v4 = (any::<([u8; 4], u16)>(), any::<([u8; 4], u16)>())
        .prop_map(|(from, to)| (SocketAddr::from(from), SocketAddr::from(to)));
    let v6 = (any::<([u8; 16], u16)>(), any::<([u8; 16], u16)>())
        .prop_map(|(from, to)| (SocketAddr::from(from), SocketAddr::from(to)));
    v4.boxed().prop_union(v6.boxed())
}

proptest! {
    #[test]
    fn what_is_written_is_read((from, to) in pairs(), binary: bool, behind: Vec<u8>) {
        let mut bytes = Vec::new();
        if binary { write_v2(from, to, &mut bytes) } else { write_v1(from, to, &mut bytes) }
        let len = bytes.len();
        for shorter in 0..len {
            prop_assert_eq!(parse(&bytes[..shorter]), Ok(None));
        }
        bytes.extend(behind);
        prop_assert_eq!(parse(&bytes), Ok(Some((Proxied::Client { client: from, server: to }, len))));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        if let Ok(Some((_, len))) = parse(&bytes) {
            prop_assert!(len <= bytes.len());
        }
    }
}

#[test]
fn headers_of_nobody_are_read_whole_as_such() {
    for header in [NOBODY_V1, NOBODY_V2] {
        assert_eq!(parse(header), Ok(Some((Proxied::Nobody, header.len()))));
    }
}
