//! Writes the seeds that come from fixtures: what a fuzzer should start from. Run it after fixtures were added.

use lb_tests::packets::rows as packet_rows;
use lb_tests::smuggling::rows as request_rows;
use lb_userspace::l7::proxy_protocol::{write_v1, write_v2};
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

/// Frames of this length at most: longer ones are the same with more payload.
const FRAME: usize = 200;
/// A row in so many: its neighbours differ in a byte or two, which a fuzzer finds.
const EVERY: usize = 8;

/// The request without a path.
const TUNNEL: &[u8] = b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";

/// What a backend says, behind a byte of what was asked.
const RESPONSES: [&[u8]; 6] = [
    b"\0HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"\0HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"\0HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n",
    b"\x01HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n",
    b"\x02HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"\0HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
];

const CONFIGS: [&str; 3] = [
    "[[service]]\nname = \"web\"\nvip = \"203.0.113.10:80\"\nprotocol = \"tcp\"\nforward = \"dsr-ipip\"\n\n\
     [[service.backend]]\nname = \"web1\"\naddr = \"10.0.0.11:80\"\nweight = 100\n",
    "iface = \"eth0\"\nseed = 7\n\n[health]\ninterval = \"1s\"\n",
    "[[service]]\nname = \"dns\"\nvip = \"[2001:db8::53]:53\"\nprotocol = \"udp\"\nforward = \"nat\"\n\
     select = \"round-robin\"\nbackend = [{ addr = \"[2001:db8::1]:53\" }]\n",
];

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut written = 0;
    for (target, seeds) in seeds() {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("fixture-{number:03}")), seed)?;
            written += 1;
        }
    }
    println!("{written} seeds in {}", corpus.display());
    Ok(())
}

fn seeds() -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    let frames = frames();
    let requests: Vec<Vec<u8>> =
        request_rows().map(|row| row.bytes).chain([TUNNEL]).map(<[u8]>::to_vec).collect();
    let bodies =
        requests.iter().filter_map(|bytes| body(bytes)).map(|body| [&[0, 4], body].concat()).collect();
    let stories = frames.chunks(6).map(story).collect();
    BTreeMap::from([
        ("request_head", requests),
        ("response_head", RESPONSES.map(<[u8]>::to_vec).to_vec()),
        ("proxy_protocol", proxy_headers()),
        ("config", CONFIGS.map(|text| text.as_bytes().to_vec()).to_vec()),
        ("chunked", bodies),
        ("http2_session", sessions()),
        ("packet_parser", frames.clone()),
        ("packet_pipeline", frames),
        ("packet_stateful", stories),
    ])
}

/// Frames of a client: requests whole and in pieces, with bodies of a told length and without, and with trailers.
fn sessions() -> Vec<Vec<u8>> {
    const GET: &[u8] = b"\x82\x86\x84\x41\x01h";
    const POST: &[u8] = b"\x83\x86\x84\x41\x01h";
    let with = |length: &[u8]| [POST, b"\x0f\x0d", length].concat();
    let path = [&b"\x82\x86\x04\x09/a%2e?b=c\x41\x01h\x40\x06cookie\x03d=e\x7e\x03f=g"[..]].concat();
    let trailers = b"\x00\x05x-sum\x011";
    vec![
        frame(1, 5, 1, GET),
        frame(1, 5, 1, &path),
        [frame(1, 1, 1, &GET[..3]), frame(9, 4, 1, &GET[3..])].concat(),
        [frame(1, 4, 1, POST), frame(0, 1, 1, b"hello")].concat(),
        [frame(1, 4, 1, &with(b"\x015")), frame(0, 0, 1, b"he"), frame(0, 1, 1, b"llo")].concat(),
        [frame(1, 4, 1, &with(b"\x015")), frame(0, 0, 1, b"hello"), frame(1, 5, 1, trailers)].concat(),
        [frame(1, 4, 1, POST), frame(1, 5, 3, GET), frame(0, 8, 1, b"\x01hi\0"), frame(1, 5, 1, trailers)]
            .concat(),
    ]
}

/// A frame of HTTP/2. Source: RFC 9113, section 4.1.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap_or(u8::MAX);
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

fn proxy_headers() -> Vec<Vec<u8>> {
    let pairs = [
        ("192.0.2.7:56324", "198.51.100.1:443"),
        ("[2001:db8::7]:1", "[2001:db8::1]:2"),
        ("1.2.3.4:5", "[::1]:6"),
    ];
    let write = |(client, server): (&str, &str), write: fn(SocketAddr, SocketAddr, &mut Vec<u8>)| {
        let mut header = Vec::new();
        if let (Ok(client), Ok(server)) = (client.parse(), server.parse()) {
            write(client, server, &mut header);
        }
        header
    };
    pairs.into_iter().flat_map(|pair| [write(pair, write_v1), write(pair, write_v2)]).collect()
}

fn frames() -> Vec<Vec<u8>> {
    let mut known = HashSet::new();
    let short = packet_rows().into_iter().map(|row| row.packet).filter(|frame| frame.len() <= FRAME);
    short.filter(|frame| known.insert(frame.clone())).step_by(EVERY).collect()
}

/// What stands behind a head that announces chunks.
fn body(bytes: &[u8]) -> Option<&[u8]> {
    let text = bytes.to_ascii_lowercase();
    let is_chunked = text.windows(9).any(|window| window == b": chunked");
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    bytes.get(end + 4..).filter(|body| is_chunked && !body.is_empty())
}

/// Frames with time and changes between them.
fn story(frames: &[Vec<u8>]) -> Vec<u8> {
    let tell = |frame: &Vec<u8>| {
        let length = u8::try_from(frame.len()).unwrap_or(u8::MAX);
        [&[0, 1, 1, length, 2, length], frame.as_slice()].concat()
    };
    frames.iter().flat_map(tell).collect()
}
