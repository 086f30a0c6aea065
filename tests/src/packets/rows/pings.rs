//! Echo requests: answered for a VIP, whoever asks, but for those with options or extension headers.

use super::super::annex::{backend, client, every_mode, own, vip};
use super::super::build::Network as _;
use super::super::house::{OWN_MAC, ROUTER_MAC};
use super::super::ip::Ip;
use super::super::ipv6::ROUTING;
use super::super::row::{Arrives, Row, client_frame, frame, from_client};
use crate::family::Family;
use lb_common::datapath::Reason::{IcmpNotOurs, Malformed, Ping};

pub(super) fn rows() -> Vec<Row> {
    Family::BOTH
        .into_iter()
        .flat_map(|family| [answered(family), passing(family), refused(family)].concat())
        .collect()
}

fn ping(family: Family, body: &[u8]) -> Ip {
    Ip::ping(client(family).ip(), vip(family), 0, body)
}

fn pong(family: Family, body: &[u8]) -> Ip {
    Ip::pong(vip(family), client(family).ip(), body)
}

fn comes(family: Family, sentence: &str, packet: &Ip) -> Arrives {
    from_client(format!("ping over {family}: {sentence}"), packet).with_annex(every_mode)
}

fn answered(family: Family) -> Vec<Row> {
    let body = [0, 1, 0, 1, b'a', b'b', b'c'];
    let (request, reply) = (ping(family, &body), pong(family, &body));
    let control = [(0x88a8, 0xa064), (0x8100, 200)];
    let tagged = request.framed(OWN_MAC, ROUTER_MAC, &control);
    let padded = client_frame(&request).followed_by(&[0xee; 5]);
    vec![
        comes(family, "a request to a VIP is answered", &request).reaches_client(Ping, &reply),
        comes(family, "a bare request is answered", &ping(family, &[0, 0, 0, 0]))
            .reaches_client(Ping, &pong(family, &[0, 0, 0, 0])),
        comes(family, "a full request is answered", &ping(family, &[9; 1400]))
            .reaches_client(Ping, &pong(family, &[9; 1400])),
        comes(family, "a request on its last hop is answered with all hops", &request.clone().hops(1))
            .reaches_client(Ping, &reply),
        comes(family, "the traffic class is kept", &request.clone().class(0x20))
            .reaches_client(Ping, &reply.clone().class(0x20)),
        frame(format!("ping over {family}: an answer gets both tags back"), &tagged)
            .with_annex(every_mode)
            .reaches_client_as(Ping, &reply.framed(ROUTER_MAC, OWN_MAC, &control)),
        frame(format!("ping over {family}: padding stays behind an answer"), &padded)
            .with_annex(every_mode)
            .reaches_client_as(Ping, &reply.framed(ROUTER_MAC, OWN_MAC, &[]).followed_by(&[0xee; 5])),
    ]
}

fn passing(family: Family) -> Vec<Row> {
    let body = [0, 1, 0, 1];
    let from = client(family).ip();
    let passes = |sentence, packet: &Ip| comes(family, sentence, packet).stops(IcmpNotOurs);
    let [first, later] = ping(family, &[7; 40]).pieces(5, 24);
    vec![
        passes("a request of another code passes", &Ip::ping(from, vip(family), 1, &body)),
        passes("a request to our own address passes", &Ip::ping(from, own(family), 0, &body)),
        passes("a request to a backend passes", &Ip::ping(from, backend(family), 0, &body)),
        passes("a reply to a VIP passes", &Ip::pong(from, vip(family), &body)),
        passes("a first fragment of a request passes", &first),
        passes("a later fragment of a request passes", &later),
        comes(family, "a request cut before its header's end passes", &cut(family)).stops(IcmpNotOurs),
        passes("a request with options passes", &ping(family, &body).with_options()),
        passes("a request that is to go on elsewhere passes", &led_on(family, &body)),
    ]
}

/// A request whose route is not at its end: IPv4's loose source route, or IPv6's routing header with a segment left.
fn led_on(family: Family, body: &[u8]) -> Ip {
    match ping(family, body) {
        Ip::V4(packet) => Ip::V4(packet.options(&[131, 7, 4, 192, 0, 2, 1, 0])),
        Ip::V6(packet) => Ip::V6(packet.extended(ROUTING, &[0, 1, 0, 0, 0, 0])),
    }
}

/// Requests that cannot be answered: from addresses that are no host's, and of lengths that contradict each other.
fn refused(family: Family) -> Vec<Row> {
    let texts = match family {
        Family::V4 => ["224.0.0.5", "127.0.0.1", "0.0.0.0"],
        Family::V6 => ["ff02::1", "::1", "::"],
    };
    let [group, itself, nobody] = texts.map(|text| text.parse().unwrap_or(client(family).ip()));
    let from = |sentence, address| {
        comes(family, sentence, &Ip::ping(address, vip(family), 0, &[0, 1, 0, 1])).stops(IcmpNotOurs)
    };
    let whole = client_frame(&ping(family, &[0, 1, 0, 1, b'a', b'b', b'c', b'd']));
    let header = u16::try_from(family.header_bytes()).unwrap_or(0);
    let of_length = |sentence: &str, bytes: u16| {
        let (at, counted) = if family == Family::V4 { (16, header) } else { (18, 0) };
        frame(format!("ping over {family}: {sentence}"), &whole.clone().with_word(at, counted + bytes))
            .with_annex(every_mode)
            .stops(Malformed)
    };
    vec![
        from("a request from a group passes", group),
        from("a request from the loopback passes", itself),
        from("a request from nobody passes", nobody),
        of_length("a request longer than its frame is dropped", 13),
        of_length("a request that ends within its header is dropped", 7),
        of_length("a request in the padding is dropped", 0),
    ]
}

/// A message of four bytes.
fn cut(family: Family) -> Ip {
    let (kind, protocol) = if family == Family::V4 { (8, 1) } else { (128, 58) };
    Ip::raw(client(family).ip(), vip(family), protocol, &[kind, 0, 0, 0])
}
