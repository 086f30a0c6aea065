//! ICMP errors about what the balancer sent to a backend: they reach the client.

use super::super::build::{Ipv4, Stack};
use super::super::house::{BACKEND, NAT_VIP, OWN};
use super::super::row::{Row, from_backend};
use super::{CLIENT, ROUTER, SYN, nat_query, nat_tcp, quoting, translated_query, translated_tcp};
use lb_common::datapath::Reason::{IcmpNotOurs, IcmpReply, TimeToLive};

/// More than any packet quoted here has.
const WHOLE: usize = 99;

/// A backend's port unreachable, quoting the translated query's first bytes.
fn unreachable(quoted: &Ipv4, length: usize) -> Ipv4 {
    Stack::icmp(BACKEND, OWN, 3, 3, &quoting(quoted, length))
}

/// What the client gets of it, quoting what it had sent.
fn returned(quoted: &Ipv4, length: usize) -> Ipv4 {
    Stack::icmp(NAT_VIP, CLIENT.0, 3, 3, &quoting(quoted, length)).ttl(63)
}

pub(super) fn rows() -> Vec<Row> {
    [translated(), passed()].concat()
}

fn translated() -> Vec<Row> {
    let (sent, original) = (translated_query(), nat_query().ttl(63));
    let (syn, original_syn) = (translated_tcp(SYN), nat_tcp(SYN).ttl(63));
    let from_router = |length| Stack::icmp(ROUTER, OWN, 3, 1, &quoting(&syn, length));
    let to_client = |length| Stack::icmp(NAT_VIP, CLIENT.0, 3, 1, &quoting(&original_syn, length)).ttl(63);
    vec![
        from_backend("icmp: a backend's port unreachable reaches the client", &unreachable(&sent, WHOLE))
            .after(&nat_query())
            .reaches_client(IcmpReply, &returned(&original, WHOLE)),
        from_backend("icmp: eight quoted bytes are enough", &unreachable(&sent, 28))
            .after(&nat_query())
            .reaches_client(IcmpReply, &returned(&original, 28)),
        from_backend(
            "icmp: a quoted datagram without checksum stays without",
            &unreachable(&sent.unsummed(), WHOLE),
        )
        .after(&nat_query())
        .reaches_client(IcmpReply, &returned(&original.unsummed(), WHOLE)),
        from_backend("icmp: a router between us and the backend is heard", &from_router(WHOLE))
            .after(&nat_tcp(SYN))
            .reaches_client(IcmpReply, &to_client(WHOLE)),
        from_backend("icmp: a quotation that ends before the TCP checksum is translated", &from_router(28))
            .after(&nat_tcp(SYN))
            .reaches_client(IcmpReply, &to_client(28)),
    ]
}

fn passed() -> Vec<Row> {
    let sent = translated_query();
    let whole = unreachable(&sent, WHOLE);
    vec![
        from_backend("icmp: an error about a flow we do not know passes", &whole).stops(IcmpNotOurs),
        from_backend("icmp: a quotation too short for ports passes", &unreachable(&sent, 23))
            .after(&nat_query())
            .stops(IcmpNotOurs),
        from_backend("icmp: the last hop is not forwarded", &whole.ttl(1))
            .after(&nat_query())
            .stops(TimeToLive),
    ]
}
