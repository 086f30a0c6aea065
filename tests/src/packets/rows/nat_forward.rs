//! Clients' packets that are translated towards a backend.

use super::super::build::Stack;
use super::super::house::{BACK_MAC, BACKEND_MAC, MOVING, OWN_MAC, ROUTER_MAC};
use super::super::row::{Row, client_frame, frame, from_client};
use super::{
    BACKEND_END, CLIENT, MOVED_END, NAT_DNS, NAT_HTTP, OWN_END, PUSH_ACK, RST, SYN, nat_query, nat_tcp,
    translated_query, translated_tcp,
};
use lb_common::abi::BackendFlags;
use lb_common::datapath::Reason::{NatForward, NatOpened};

pub(super) fn rows() -> Vec<Row> {
    [connections(), datagrams(), headers(), tags()].concat()
}

fn connections() -> Vec<Row> {
    let syn = nat_tcp(SYN);
    let data = Stack::tcp(CLIENT, NAT_HTTP, PUSH_ACK, b"GET / HTTP/1.1\r\n");
    let translated_data = Stack::tcp(OWN_END, BACKEND_END, PUSH_ACK, b"GET / HTTP/1.1\r\n").ttl(63);
    let moved_syn = Stack::tcp(OWN_END, MOVED_END, SYN, b"").ttl(63);
    vec![
        from_client("nat: a SYN opens a flow and is translated", &syn)
            .reaches_backend(NatOpened, &translated_tcp(SYN)),
        from_client("nat: data of a known flow is translated", &data)
            .after(&syn)
            .reaches_backend(NatForward, &translated_data),
        from_client("nat: a SYN sent again keeps its port", &syn)
            .after(&syn)
            .reaches_backend(NatForward, &translated_tcp(SYN)),
        from_client("nat: a SYN after resets of both sides opens the flow anew", &syn)
            .after(&syn)
            .after(&nat_tcp(RST))
            .after_reply(&Stack::tcp(BACKEND_END, OWN_END, RST, b""))
            .reaches_backend(NatOpened, &translated_tcp(SYN)),
        from_client("nat: a flow whose backend died may begin anew", &syn)
            .with_backends(BackendFlags::RESOLVED)
            .after(&syn)
            .reaches_backend(NatOpened, &translated_tcp(SYN)),
        from_client("nat: new flows of a moved slot go to its current owner", &syn)
            .with_slot(MOVING)
            .reaches_backend(NatOpened, &moved_syn),
    ]
}

fn datagrams() -> Vec<Row> {
    let query = nat_query();
    let odd = |from, to| Stack::udp(from, to, b"q");
    vec![
        from_client("nat: a datagram opens a flow", &query).reaches_backend(NatOpened, &translated_query()),
        from_client("nat: a second datagram goes the first one's way", &query)
            .after(&query)
            .reaches_backend(NatForward, &translated_query()),
        from_client("nat: a datagram without checksum stays without", &query.clone().unsummed())
            .reaches_backend(NatOpened, &translated_query().unsummed()),
        from_client("nat: an odd number of payload bytes is summed right", &odd(CLIENT, NAT_DNS))
            .reaches_backend(NatOpened, &odd(OWN_END, BACKEND_END).ttl(63)),
        from_client("nat: TCP and UDP have ports of their own", &query)
            .after(&nat_tcp(SYN))
            .reaches_backend(NatOpened, &translated_query()),
    ]
}

fn headers() -> Vec<Row> {
    let (syn, translated) = (nat_tcp(SYN), translated_tcp(SYN));
    let padded = client_frame(&syn).padded(60);
    let options = [1, 1, 1, 0];
    vec![
        frame("nat: padding behind a short packet stays", &padded)
            .reaches_backend_as(NatOpened, &translated.ethernet(BACKEND_MAC, BACK_MAC).padded(60)),
        from_client("nat: IP options stay and shift the ports", &syn.clone().options(&options))
            .reaches_backend(NatOpened, &translated.clone().options(&options)),
        from_client("nat: the traffic class stays", &syn.class(0xb8))
            .reaches_backend(NatOpened, &translated.class(0xb8)),
    ]
}

fn tags() -> Vec<Row> {
    let (syn, translated) = (nat_tcp(SYN), translated_tcp(SYN));
    let tagged = syn.tagged(OWN_MAC, ROUTER_MAC, 100);
    let leaves_tagged = translated.tagged(BACKEND_MAC, BACK_MAC, 200);
    vec![
        frame("nat: a tagged packet leaves untagged where the backend's segment has no tag", &tagged)
            .reaches_backend(NatOpened, &translated),
        from_client("nat: a packet leaves with the backend's tag", &syn)
            .with_backend_vlan(200)
            .reaches_backend_as(NatOpened, &leaves_tagged),
        frame("nat: one tag is exchanged for another", &tagged)
            .with_backend_vlan(200)
            .reaches_backend_as(NatOpened, &leaves_tagged),
    ]
}
