//! What ICMP errors quote, and how it is translated: every type, both directions, options, and quotations that end
//! anywhere.

use super::super::build::{Ipv4, Stack};
use super::super::house::{BACKEND, MOVING, NAT_VIP, OWN, OWN_MAC, ROUTER_MAC};
use super::super::row::{Row, backend_frame, frame, from_backend, from_client};
use super::{
    ACK, BACKEND_END, CLIENT, DSR_DNS, DSR_HTTP, NAT_DNS, NAT_HTTP, OWN_END, ROUTER, SYN, dsr_tcp, nat_query,
    nat_tcp, quoting, translated_query, translated_tcp, wrapped, wrapped_to_moved,
};
use lb_common::abi::{BackendFlags, BackendId, Slot};
use lb_common::datapath::Reason::{
    IcmpForward, IcmpReply, NoBackend, NoFlow, Opened, TimeToLive, Unresolved,
};

/// More than any packet quoted here has.
const WHOLE: usize = 199;

pub(super) fn rows() -> Vec<Row> {
    [
        kinds(),
        options(),
        ends(),
        within_checksums(),
        tags(),
        towards_backend(),
        about_dsr(),
        about_dsr_datagrams(),
    ]
    .concat()
}

/// A router's message about what we sent to a backend, and the client's version of it.
fn reported(kind: u8, code: u8, sent: &Ipv4, original: &Ipv4, length: usize) -> (Ipv4, Ipv4) {
    let original = original.clone().ttl(63);
    let message = Stack::icmp(ROUTER, OWN, kind, code, &quoting(sent, length));
    (message, Stack::icmp(NAT_VIP, CLIENT.0, kind, code, &quoting(&original, length)).ttl(63))
}

fn kinds() -> Vec<Row> {
    let reaches = |sentence, kind, code| {
        let (message, returned) = reported(kind, code, &translated_tcp(SYN), &nat_tcp(SYN), WHOLE);
        from_backend(sentence, &message).after(&nat_tcp(SYN)).reaches_client(IcmpReply, &returned)
    };
    vec![
        reaches("icmp: network unreachable reaches the client", 3, 0),
        reaches("icmp: administratively prohibited reaches the client", 3, 13),
        reaches("icmp: time exceeded on the way reaches the client", 11, 0),
        reaches("icmp: time exceeded in reassembly reaches the client", 11, 1),
        reaches("icmp: a parameter problem reaches the client", 12, 0),
        reaches("icmp: an unknown code reaches the client", 3, 255),
    ]
}

fn options() -> Vec<Row> {
    let (syn, query) = (nat_tcp(SYN), nat_query());
    let with = |packet: &Ipv4| packet.clone().options(&[1; 40]);
    let (about_tcp, tcp_returned) = reported(3, 1, &with(&translated_tcp(SYN)), &with(&syn), WHOLE);
    let (about_udp, udp_returned) = reported(3, 3, &with(&translated_query()), &with(&query), WHOLE);
    let (plain, returned) = reported(3, 3, &translated_query(), &query, WHOLE);
    vec![
        from_backend("icmp: a quoted segment with forty bytes of options is translated", &about_tcp)
            .after(&with(&syn))
            .reaches_client(IcmpReply, &tcp_returned),
        from_backend("icmp: a quoted datagram with forty bytes of options is translated", &about_udp)
            .after(&with(&query))
            .reaches_client(IcmpReply, &udp_returned),
        from_backend("icmp: an error with options of its own is translated", &with(&plain))
            .after(&query)
            .reaches_client(IcmpReply, &with(&returned)),
        from_backend("icmp: options outside and inside are both passed over", &with(&about_udp))
            .after(&with(&query))
            .reaches_client(IcmpReply, &with(&udp_returned)),
    ]
}

/// Quotations that end at and within the fields that are translated.
fn ends() -> Vec<Row> {
    let tcp = |sentence, length| {
        let (message, returned) = reported(11, 0, &translated_tcp(SYN), &nat_tcp(SYN), length);
        from_backend(sentence, &message).after(&nat_tcp(SYN)).reaches_client(IcmpReply, &returned)
    };
    let udp = |sentence, length| {
        let (message, returned) = reported(11, 0, &translated_query(), &nat_query(), length);
        from_backend(sentence, &message).after(&nat_query()).reaches_client(IcmpReply, &returned)
    };
    let (short, returned) = reported(11, 0, &translated_tcp(SYN), &nat_tcp(SYN), 28);
    let trailer = [0xff; 20];
    vec![
        udp("icmp: a quotation that ends with the ports is translated", 24),
        udp("icmp: a quotation that ends before the UDP checksum is translated", 26),
        tcp("icmp: a quotation that ends with the TCP checksum is translated", 38),
        tcp("icmp: a quotation that ends after the TCP checksum is translated", 39),
        frame(
            "icmp: what lies behind the message is no quotation",
            &backend_frame(&short).followed_by(&trailer),
        )
        .after(&nat_tcp(SYN))
        .reaches_client_as(IcmpReply, &returned.ethernet(ROUTER_MAC, OWN_MAC).followed_by(&trailer)),
    ]
}

/// Half a checksum cannot be translated: it stays, and what the client would check it against it does not have.
fn within_checksums() -> Vec<Row> {
    let half = |sentence, (sent, original): (Ipv4, Ipv4), length: usize| {
        let (sent_bytes, mut body) = (quoting(&sent, length), quoting(&original.clone().ttl(63), length));
        body.splice(length + 3.., sent_bytes.last().copied());
        let returned = Stack::icmp(NAT_VIP, CLIENT.0, 11, 0, &body).ttl(63);
        let (message, _) = reported(11, 0, &sent, &original, length);
        from_backend(sentence, &message).after(&original).reaches_client(IcmpReply, &returned)
    };
    let (segments, datagrams) = ((translated_tcp(SYN), nat_tcp(SYN)), (translated_query(), nat_query()));
    vec![
        half("icmp: half a quoted UDP checksum stays", datagrams, 27),
        half("icmp: half a quoted TCP checksum stays", segments, 37),
    ]
}

fn tags() -> Vec<Row> {
    let (message, returned) = reported(3, 3, &translated_query(), &nat_query(), WHOLE);
    vec![
        from_backend("icmp: an error gets the client's tag back", &message)
            .after_frame(&nat_query().tagged(OWN_MAC, ROUTER_MAC, 0xa064))
            .reaches_client_as(IcmpReply, &returned.tagged(ROUTER_MAC, OWN_MAC, 0xa064)),
        from_backend("icmp: an error of a dead backend reaches the client", &message)
            .after(&nat_query())
            .once_backends_are(BackendFlags::RESOLVED)
            .reaches_client(IcmpReply, &returned),
    ]
}

/// A client's message about what it got from a service, and the backend's version of it.
fn complained(quoted: &(Ipv4, Ipv4)) -> (Ipv4, Ipv4) {
    let message = Stack::icmp(CLIENT.0, NAT_VIP, 3, 3, &quoting(&quoted.0, WHOLE));
    (message, Stack::icmp(OWN, BACKEND, 3, 3, &quoting(&quoted.1, WHOLE)).ttl(63))
}

fn towards_backend() -> Vec<Row> {
    let answer = |from, to| Stack::udp(from, to, b"answer").ttl(63);
    let answers = (answer(NAT_DNS, CLIENT), answer(BACKEND_END, OWN_END));
    let (message, translated) = complained(&answers);
    let (unsummed, unsummed_translated) = complained(&(answers.0.unsummed(), answers.1.unsummed()));
    let segment = |from, to| Stack::tcp(from, to, ACK, b"much").ttl(63).options(&[1; 8]);
    let (about_tcp, tcp_translated) = complained(&(segment(NAT_HTTP, CLIENT), segment(BACKEND_END, OWN_END)));
    vec![
        from_client("icmp: a client's port unreachable reaches the backend", &message)
            .after(&nat_query())
            .reaches_backend(IcmpForward, &translated),
        from_client("icmp: an answer without checksum is quoted without", &unsummed)
            .after(&nat_query())
            .reaches_backend(IcmpForward, &unsummed_translated),
        from_client("icmp: a whole quoted segment with options reaches the backend", &about_tcp)
            .after(&nat_tcp(SYN))
            .reaches_backend(IcmpForward, &tcp_translated),
        from_client("icmp: an error about an unknown datagram is dropped", &message).stops(NoFlow),
        from_client("icmp: an error on its last hop does not reach the backend", &message.clone().ttl(1))
            .after(&nat_query())
            .stops(TimeToLive),
        from_client("icmp: an error is not sent to an unresolved backend", &message)
            .after(&nat_query())
            .once_backends_are(BackendFlags::ALIVE)
            .stops(Unresolved),
    ]
}

fn about_dsr() -> Vec<Row> {
    let sent = Stack::tcp(DSR_HTTP, CLIENT, ACK, b"much");
    let message = Stack::icmp(ROUTER, DSR_HTTP.0, 11, 0, &quoting(&sent, WHOLE));
    let about_pinned = Stack::icmp(ROUTER, DSR_HTTP.0, 11, 0, &quoting(&sent, 28));
    vec![
        from_client("icmp: time exceeded follows a flow through the slots", &message)
            .reaches_backend(IcmpForward, &wrapped(&message)),
        frame("icmp: a tagged error is encapsulated untagged", &message.tagged(OWN_MAC, ROUTER_MAC, 100))
            .reaches_backend(IcmpForward, &wrapped(&message)),
        from_client("icmp: an error about a service without backend is dropped", &message)
            .with_slot(Slot::settled_on(BackendId::NONE))
            .stops(NoBackend),
        from_client("icmp: an error about a record that encapsulation left is dropped", &about_pinned)
            .with_slot(MOVING)
            .after(&dsr_tcp(SYN))
            .once_modes_are_exchanged()
            .stops(NoFlow),
    ]
}

fn about_dsr_datagrams() -> Vec<Row> {
    let query = Stack::udp(CLIENT, DSR_DNS, b"query");
    let message =
        Stack::icmp(CLIENT.0, DSR_DNS.0, 3, 3, &quoting(&Stack::udp(DSR_DNS, CLIENT, b"answer"), WHOLE));
    vec![
        from_client("icmp: an error about a recorded datagram follows its record", &message)
            .after(&query)
            .once_slot_is(MOVING)
            .reaches_backend(IcmpForward, &wrapped(&message)),
        from_client("icmp: an error about an unknown datagram goes to the settled owner", &message)
            .with_slot(MOVING)
            .reaches_backend(IcmpForward, &wrapped(&message)),
        from_client("icmp: an error records no flow", &query)
            .with_slot(MOVING)
            .after(&message)
            .reaches_backend(Opened, &wrapped_to_moved(&query)),
    ]
}
