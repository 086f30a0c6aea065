//! Chunked bodies.

use super::*;
use proptest::prelude::*;

/// The data of a body that comes in pieces of these sizes, and how many bytes it took; `None` while its end is not there.
fn decode(body: &[u8], sizes: &[usize]) -> Result<Option<(Vec<u8>, usize)>, Refusal> {
    let (mut chunked, mut data, mut at, mut there) = (Chunked::default(), Vec::new(), 0, 0);
    let mut sizes = sizes.iter().copied().chain(std::iter::repeat(usize::MAX));
    loop {
        match chunked.next(&body[at..there])? {
            Chunk::Partial if there == body.len() => return Ok(None),
            Chunk::Partial => there = sizes.next().unwrap().max(1).saturating_add(there).min(body.len()),
            Chunk::Frame(count) => at += count,
            Chunk::Data(count) => {
                data.extend_from_slice(&body[at..at + count]);
                at += count;
            }
            Chunk::End(count) => return Ok(Some((data, at + count))),
        }
    }
}

/// Written without a thought for speed, pieces or limits.
fn decode_naively(body: &str) -> Option<Vec<u8>> {
    let (line, rest) = body.split_once("\r\n")?;
    let digits = line.split(';').next()?.trim_end();
    let size = usize::from_str_radix(digits, 16).ok()?;
    if size == 0 {
        return Some(Vec::new());
    }
    let (data, rest) = rest.split_at_checked(size)?;
    let behind = decode_naively(rest.strip_prefix("\r\n")?)?;
    Some([data.as_bytes(), &behind].concat())
}

#[test]
fn bodies_are_decoded_or_refused_by_name() {
    let long = format!("1;{}\r\na\r\n", "x".repeat(300));
    let many_extensions = format!("1;{}\r\na\r\n", "x".repeat(200)).repeat(200) + "0\r\n\r\n";
    let long_trailer = format!("0\r\nA: {}\r\n\r\n", "x".repeat(9000));
    let many_trailers = format!("0\r\n{}\r\n", "A: b\r\n".repeat(MOST_TRAILERS + 1));
    let rows: &[(&str, Result<Option<&str>, Refusal>)] = &[
        ("5\r\nhello\r\n0\r\n\r\n", Ok(Some("hello"))),
        ("A;a=b;c=\"d\"\r\n0123456789\r\n0\r\n\r\n", Ok(Some("0123456789"))),
        ("1 ;a\r\nx\r\n000\r\n\r\n", Ok(Some("x"))),
        ("1\r\nx\r\n0\r\nChecksum: 1\r\n\r\n", Ok(Some("x"))),
        ("5\r\nhel", Ok(None)),
        ("5\r\nhello\r\n0\r\n", Ok(None)),
        ("", Ok(None)),
        ("\r\n", Err(Refusal::ChunkSize)),
        ("0x5\r\nhello\r\n", Err(Refusal::ChunkSize)),
        ("-1\r\n", Err(Refusal::ChunkSize)),
        (" 5\r\nhello\r\n", Err(Refusal::ChunkSize)),
        ("5 \r\nhello\r\n", Err(Refusal::ChunkSize)),
        ("g\r\n", Err(Refusal::ChunkSize)),
        ("1000000000000000\r\n", Err(Refusal::ChunkTooLarge)),
        ("fffffffffffffffffffffffffffffff", Err(Refusal::ChunkTooLarge)),
        ("0000000000000000;a", Err(Refusal::ChunkTooLarge)),
        ("5\nhello\r\n", Err(Refusal::BareLf)),
        ("5\r\nhello\n", Err(Refusal::BareLf)),
        ("5\r\nhelloX\r\n", Err(Refusal::ChunkEnd)),
        ("5\r\nhello\rX", Err(Refusal::ChunkEnd)),
        ("5;a\rb\r\nhello\r\n", Err(Refusal::BareCr)),
        ("5;a\0\r\nhello\r\n", Err(Refusal::ChunkExtension)),
        (&long, Err(Refusal::ChunkLineTooLong)),
        (&many_extensions, Err(Refusal::ChunkOverhead)),
        ("0\r\nA : b\r\n\r\n", Err(Refusal::SpaceBeforeColon)),
        ("0\r\nA: b\n\r\n", Err(Refusal::BareLf)),
        ("0\r\n\n", Err(Refusal::BareLf)),
        (&long_trailer, Err(Refusal::TrailerTooLarge)),
        (&many_trailers, Err(Refusal::TrailerTooLarge)),
    ];
    for (body, expected) in rows {
        let read = decode(body.as_bytes(), &[]);
        let expected = expected.map(|data| data.map(|data| (data.as_bytes().to_vec(), body.len())));
        assert_eq!(read, expected, "{}", &body[..body.len().min(60)]);
    }
}

#[test]
fn trailers_are_read_where_the_body_ends() {
    let mut room = [httparse::EMPTY_HEADER; MOST_TRAILERS];
    let fields = trailers(b"grpc-status: 0\r\ngrpc-message: fine\r\n\r\n", &mut room).unwrap();
    assert_eq!(fields.iter().map(|field| field.name).collect::<Vec<_>>(), ["grpc-status", "grpc-message"]);
}

fn bodies() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z]{1,20}".prop_map(|data| format!("{:x}\r\n{data}\r\n", data.len())),
        1 => "[a-z]{1,5}".prop_map(|data| format!("{:X};e=f\r\n{data}\r\n", data.len())),
        1 => Just("0\r\n\r\n".to_owned()),
        1 => "[0-9a-f;\r\n]{1,4}",
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat() + "0\r\n\r\n")
}

proptest! {
    #[test]
    fn pieces_of_any_size_give_the_same(body in bodies(), sizes in proptest::collection::vec(1_usize..9, 0..40)) {
        prop_assert_eq!(decode(body.as_bytes(), &sizes), decode(body.as_bytes(), &[]));
    }

    #[test]
    fn what_is_decoded_a_naive_decoder_decodes_too(body in bodies()) {
        if let Ok(Some((data, _))) = decode(body.as_bytes(), &[]) {
            prop_assert_eq!(Some(data), decode_naively(&body));
        }
    }

    #[test]
    fn what_is_written_in_chunks_is_read(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..8)) {
        let mut body = Vec::new();
        for part in &parts {
            chunk_line(&mut body, part.len());
            body.extend_from_slice(part);
            body.extend_from_slice(CHUNK_END);
        }
        body.extend_from_slice(LAST_CHUNK);
        prop_assert_eq!(decode(&body, &[]), Ok(Some((parts.concat(), body.len()))));
    }
}
