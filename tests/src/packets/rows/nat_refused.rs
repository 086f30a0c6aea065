//! Clients' packets that cannot be translated.

use super::super::build::Stack;
use super::super::house::SERVING;
use super::super::row::{Row, from_client};
use super::{ACK, CLIENT, NAT_HTTP, OTHER_CLIENT, PUSH_ACK, SYN, SYN_ACK, nat_tcp, translated_tcp};
use lb_common::abi::{BackendFlags, BackendId, Slot};
use lb_common::datapath::Reason::{
    NatOpened, NoBackend, NoFlow, PortsTaken, TableFull, TimeToLive, Unresolved,
};

pub(super) fn rows() -> Vec<Row> {
    let syn = nat_tcp(SYN);
    let data = Stack::tcp(CLIENT, NAT_HTTP, PUSH_ACK, b"GET / HTTP/1.1\r\n");
    let other_syn = Stack::tcp(OTHER_CLIENT, NAT_HTTP, SYN, b"");
    vec![
        from_client("nat: data of an unknown connection is dropped", &data).stops(NoFlow),
        from_client("nat: a SYN-ACK opens nothing", &nat_tcp(SYN_ACK)).stops(NoFlow),
        from_client("nat: the last hop is not forwarded", &nat_tcp(ACK).ttl(1)).after(&syn).stops(TimeToLive),
        from_client("nat: without a backend a SYN is dropped", &syn)
            .with_slot(Slot::settled_on(BackendId::NONE))
            .stops(NoBackend),
        from_client("nat: an unresolved backend is not sent to", &syn)
            .with_backends(BackendFlags::ALIVE)
            .stops(Unresolved),
        from_client("nat: no port is given twice", &other_syn).after(&syn).stops(PortsTaken),
        from_client("nat: a SYN that was dropped for its hops left no record", &nat_tcp(ACK))
            .after_lost(&syn.clone().ttl(1))
            .stops(NoFlow),
        from_client("nat: a SYN that could not leave left no record", &nat_tcp(ACK))
            .with_backends(BackendFlags::ALIVE)
            .after_lost(&syn)
            .once_backends_are(SERVING)
            .stops(NoFlow),
        from_client("nat: a known flow is not sent to a backend that became unresolved", &nat_tcp(ACK))
            .after(&syn)
            .once_backends_are(BackendFlags::ALIVE)
            .stops(Unresolved),
        from_client("nat: a table with room for both records takes a flow", &syn)
            .with_room(2)
            .reaches_backend(NatOpened, &translated_tcp(SYN)),
        from_client("nat: a full table refuses a flow", &syn).with_room(1).stops(TableFull),
    ]
}
