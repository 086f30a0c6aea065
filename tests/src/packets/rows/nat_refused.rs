//! Clients' packets that cannot be translated.

use super::super::build::Stack;
use super::super::house::{OWN_MAC, ROUTER_MAC, SERVING};
use super::super::row::{Row, frame, from_client};
use super::super::segment::Segment as _;
use super::{
    ACK, CLIENT, NAT_HTTP, NO_HOPS, NO_PORT, OTHER_CLIENT, PUSH_ACK, SYN, SYN_ACK, nat_tcp, reset, told,
    translated_tcp,
};
use lb_common::abi::{BackendFlags, BackendId, Slot};
use lb_common::datapath::Reason::{
    HopsUsedUp, NatOpened, NoFlow, PortsTaken, Reset, TableFull, Unresolved, Unserved,
};

pub(super) fn rows() -> Vec<Row> {
    let (syn, last) = (nat_tcp(SYN), nat_tcp(ACK).ttl(1));
    let data = Stack::tcp(CLIENT, NAT_HTTP, PUSH_ACK, b"GET / HTTP/1.1\r\n");
    let of_a_group = Stack::tcp(([224, 0, 0, 5], 51_000), NAT_HTTP, ACK, b"");
    let unanswered = Stack::tcp(CLIENT, NAT_HTTP, 0x09, b"GET / HTTP/1.1\r\n");
    let other_syn = Stack::tcp(OTHER_CLIENT, NAT_HTTP, SYN, b"");
    vec![
        from_client("nat: an unknown connection is reset", &data).reaches_client(Reset, &reset(PUSH_ACK)),
        from_client("nat: a SYN-ACK opens nothing", &nat_tcp(SYN_ACK)).reaches_client(Reset, &reset(SYN_ACK)),
        frame("nat: a reset gets the client's tag back", &data.tagged(OWN_MAC, ROUTER_MAC, 0xa064))
            .reaches_client_as(Reset, &reset(PUSH_ACK).tagged(ROUTER_MAC, OWN_MAC, 0xa064)),
        from_client(
            "nat: a reset is told without options",
            &data.clone().options(&[1; 40]).tcp_options(&[1; 12]),
        )
        .reaches_client(Reset, &reset(PUSH_ACK)),
        from_client("nat: an unknown connection of a group's is not reset", &of_a_group).stops(NoFlow),
        from_client("nat: what does not acknowledge is reset behind its data", &unanswered)
            .reaches_client(Reset, &reset(0).numbered((0, 1_000_017))),
        from_client("nat: the last hop is not forwarded", &last)
            .after(&syn)
            .reaches_client(HopsUsedUp, &told(&last, NO_HOPS)),
        from_client("nat: without a backend a SYN is refused", &syn)
            .with_slot(Slot::settled_on(BackendId::NONE))
            .reaches_client(Unserved, &told(&syn, NO_PORT)),
        from_client("nat: an unresolved backend is not sent to", &syn)
            .with_backends(BackendFlags::ALIVE)
            .stops(Unresolved),
        from_client("nat: no port is given twice", &other_syn).after(&syn).stops(PortsTaken),
        from_client("nat: a SYN that was stopped for its hops left no record", &nat_tcp(ACK))
            .after(&syn.clone().ttl(1))
            .reaches_client(Reset, &reset(ACK)),
        from_client("nat: a SYN that could not leave left no record", &nat_tcp(ACK))
            .with_backends(BackendFlags::ALIVE)
            .after_lost(&syn)
            .once_backends_are(SERVING)
            .reaches_client(Reset, &reset(ACK)),
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
