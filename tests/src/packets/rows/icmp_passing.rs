//! ICMP that is not for us to translate: it passes.

use super::super::build::{Ipv4, Stack};
use super::super::house::{BACKEND, NAT_VIP, OWN, OWN_MAC, ROUTER_MAC};
use super::super::row::{Arrives, Row, backend_frame, frame, from_backend, from_client};
use super::{CLIENT, NAT_HTTP, OWN_END, ROUTER, SYN, nat_query, nat_tcp, quoting, translated_query};
use lb_common::datapath::Reason::{IcmpNotOurs, Malformed};

/// More than any packet quoted here has.
const WHOLE: usize = 99;

/// A backend's message, quoting the packet.
fn message(kind: u8, code: u8, quoted: &Ipv4) -> Ipv4 {
    Stack::icmp(BACKEND, OWN, kind, code, &quoting(quoted, WHOLE))
}

/// After a query of the client's was sent to the backend.
fn asked(row: Arrives) -> Arrives {
    row.after(&nat_query())
}

pub(super) fn rows() -> Vec<Row> {
    [kinds(), quotations(), fragments(), cuts(), lengths()].concat()
}

fn kinds() -> Vec<Row> {
    let passes = |sentence, kind, code| {
        asked(from_backend(sentence, &message(kind, code, &translated_query()))).stops(IcmpNotOurs)
    };
    vec![
        passes("icmp: an echo reply passes", 0, 0),
        passes("icmp: a source quench passes", 4, 0),
        passes("icmp: a redirect passes", 5, 1),
        passes("icmp: an echo request to our own address passes", 8, 0),
        passes("icmp: a router's advertisement passes", 9, 0),
        passes("icmp: a timestamp passes", 13, 0),
        passes("icmp: an extended echo passes", 42, 0),
        passes("icmp: the last type passes", 255, 255),
    ]
}

fn quotations() -> Vec<Row> {
    let passes =
        |sentence, quoted: &Ipv4| asked(from_backend(sentence, &message(3, 3, quoted))).stops(IcmpNotOurs);
    let sent = translated_query();
    let other_port = Stack::udp((OWN, 40_001), (BACKEND, 8080), b"query");
    let inner = Stack::icmp(OWN, BACKEND, 8, 0, &[0; 4]);
    let backwards = Stack::tcp(CLIENT, NAT_HTTP, SYN, b"");
    vec![
        passes("icmp: an error about another port passes", &other_port),
        passes("icmp: an error about a later fragment passes", &sent.clone().fragment(0x0004)),
        passes("icmp: an error about an ICMP message passes", &inner),
        passes("icmp: an error about another protocol passes", &Stack::raw(OWN, BACKEND, 47, &[0x9c; 8])),
        from_client("icmp: an error about what a client sent us passes", &message(3, 3, &backwards))
            .after(&nat_tcp(SYN))
            .stops(IcmpNotOurs),
    ]
}

fn fragments() -> Vec<Row> {
    let error = message(3, 3, &translated_query());
    vec![
        asked(from_backend("icmp: a first fragment of an error passes", &error.clone().fragment(0x2000)))
            .stops(IcmpNotOurs),
        asked(from_backend("icmp: a later fragment of an error passes", &error.fragment(0x0004)))
            .stops(IcmpNotOurs),
    ]
}

/// Errors that end, by their own lengths, before they say whose they are.
fn cuts() -> Vec<Row> {
    let ends_after = |sentence, bytes: usize| {
        let whole = quoting(&translated_query(), WHOLE);
        let short = Stack::raw(BACKEND, OWN, 1, &[&[3, 3, 0, 0], &whole[..]].concat()[..bytes]);
        asked(from_backend(sentence, &short)).stops(IcmpNotOurs)
    };
    let padded = Stack::icmp(BACKEND, OWN, 3, 3, &quoting(&translated_query(), 23));
    let vip = Stack::icmp(ROUTER, NAT_VIP, 3, 4, &quoting(&Stack::tcp(NAT_HTTP, CLIENT, SYN, b""), 23));
    let tail = translated_query().ip_bytes().split_off(23);
    vec![
        ends_after("icmp: a message without bytes passes", 0),
        ends_after("icmp: a message that ends within its header passes", 7),
        ends_after("icmp: an error without quotation passes", 8),
        ends_after("icmp: a quotation that ends within the IP header passes", 27),
        ends_after("icmp: a quotation that ends before the ports passes", 28),
        ends_after("icmp: a quotation that ends within the ports passes", 31),
        asked(frame("icmp: ports in the padding are not quoted", &backend_frame(&padded).followed_by(&tail)))
            .stops(IcmpNotOurs),
        frame(
            "icmp: a service's ports in the padding are not quoted",
            &vip.ethernet(OWN_MAC, ROUTER_MAC).padded(90),
        )
        .after(&nat_tcp(SYN))
        .stops(IcmpNotOurs),
    ]
}

/// Errors about flows of ours whose lengths contradict each other.
fn lengths() -> Vec<Row> {
    /// Where the outer length lies.
    const TOTAL_LENGTH: usize = 16;
    let to_client = backend_frame(&message(3, 3, &translated_query()));
    let to_backend = |to: super::End| {
        let error = Stack::icmp(ROUTER, to.0, 3, 4, &quoting(&Stack::tcp(to, CLIENT, SYN, b""), WHOLE));
        error.ethernet(OWN_MAC, ROUTER_MAC).with_word(TOTAL_LENGTH, 200)
    };
    vec![
        asked(frame(
            "icmp: an error longer than its frame is dropped",
            &to_client.with_word(TOTAL_LENGTH, 200),
        ))
        .stops(Malformed),
        frame("icmp: an error to a backend longer than its frame is dropped", &to_backend(NAT_HTTP))
            .after(&nat_tcp(SYN))
            .stops(Malformed),
        frame(
            "icmp: an error to be encapsulated longer than its frame is dropped",
            &to_backend(super::DSR_HTTP),
        )
        .stops(Malformed),
        frame("icmp: an error longer than its frame about nothing of ours passes", &to_backend(OWN_END))
            .stops(IcmpNotOurs),
    ]
}
