//! Clients' packets in an outer header, while their slot moves from one backend to another.

use super::super::build::{Ipv4, Stack};
use super::super::house::{FIRST, LEAVING, MOVING, SECOND};
use super::super::row::{Row, from_client};
use super::{
    ACK, CLIENT, DSR_HTTP, DSR_HTTPS, FIN_ACK, NO_PORT, OTHER_CLIENT, RST, SYN, XMAS, dsr_tcp, nat_tcp, told,
    wrapped, wrapped_to_moved,
};
use lb_common::abi::{BackendFlags, BackendId, Slot};
use lb_common::datapath::Reason::{Older, Opened, Recorded, Settled, Unrecorded, Unserved};

pub(super) fn rows() -> Vec<Row> {
    [recorded(), unrecorded(), settled(), ended(), ownerless()].concat()
}

fn recorded() -> Vec<Row> {
    let (syn, fin) = (dsr_tcp(SYN), dsr_tcp(FIN_ACK));
    let data = Stack::tcp(CLIENT, DSR_HTTP, ACK, b"data");
    vec![
        from_client("ipip, moving: a SYN goes to the current owner and is recorded", &syn)
            .with_slot(MOVING)
            .reaches_backend(Opened, &wrapped_to_moved(&syn)),
        from_client("ipip, moving: data of a recorded flow follows its record", &data)
            .with_slot(MOVING)
            .after(&syn)
            .reaches_backend(Recorded, &wrapped_to_moved(&data)),
        from_client("ipip, moving: a SYN sent again follows its record", &syn)
            .with_slot(MOVING)
            .after(&syn)
            .reaches_backend(Recorded, &wrapped_to_moved(&syn)),
        from_client("ipip, moving: a SYN after a FIN opens the flow anew", &syn)
            .with_slot(MOVING)
            .after(&syn)
            .after(&fin)
            .reaches_backend(Opened, &wrapped_to_moved(&syn)),
        from_client("ipip, moving: a record whose backend died goes to the current owner", &data)
            .with_slot(MOVING)
            .with_backends(BackendFlags::RESOLVED)
            .after(&syn)
            .reaches_backend(Opened, &wrapped_to_moved(&data)),
    ]
}

fn unrecorded() -> Vec<Row> {
    let syn = dsr_tcp(SYN);
    let data = Stack::tcp(CLIENT, DSR_HTTP, ACK, b"data");
    let never = Stack::tcp(CLIENT, DSR_HTTPS, ACK, b"");
    vec![
        from_client("ipip, moving: data of an older flow stays with the settled owner", &data)
            .with_slot(MOVING)
            .reaches_backend(Older, &wrapped(&data)),
        from_client("ipip, moving: a full table keeps the flow where it will be looked for", &syn)
            .with_slot(MOVING)
            .with_room(1)
            .after(&Stack::tcp(OTHER_CLIENT, DSR_HTTP, SYN, b""))
            .reaches_backend(Unrecorded, &wrapped(&syn)),
        from_client("ipip, moving: a service that never tracks goes to the current owner", &never)
            .with_slot(MOVING)
            .reaches_backend(Settled, &wrapped_to_moved(&never)),
    ]
}

/// A slot that moved back, or whose move is over.
fn settled() -> Vec<Row> {
    let syn = dsr_tcp(SYN);
    let data = Stack::tcp(CLIENT, DSR_HTTP, ACK, b"data");
    vec![
        from_client("ipip, moved: a slot that settled no longer looks at records", &data)
            .with_slot(MOVING)
            .after(&syn)
            .once_slot_is(Slot::settled_on(SECOND))
            .reaches_backend(Settled, &wrapped_to_moved(&data)),
        from_client("ipip, moved back: a recorded flow follows its record", &data)
            .with_slot(MOVING)
            .after(&syn)
            .once_slot_is(Slot::tracking(FIRST, FIRST))
            .reaches_backend(Recorded, &wrapped_to_moved(&data)),
        from_client("ipip: a record that translation left names the flow's backend", &nat_tcp(ACK))
            .after(&nat_tcp(SYN))
            .once_slot_is(Slot::tracking(SECOND, SECOND))
            .once_modes_are_exchanged()
            .reaches_backend(Recorded, &wrapped(&nat_tcp(ACK))),
    ]
}

/// What was said to be over. Who knows a flow's ends, and none of its numbers, can say so in the client's name.
fn ended() -> Vec<Row> {
    let (syn, data) = (dsr_tcp(SYN), Stack::tcp(CLIENT, DSR_HTTP, ACK, b"data"));
    let ends = [("a reset", RST), ("a FIN", FIN_ACK), ("a reset with all control bits", XMAS)];
    let rows = ends.map(|(what, end)| {
        let comes = |sentence: &str, packet: &Ipv4| {
            from_client(format!("ipip, moved back: {sentence} {what}"), packet)
                .with_slot(MOVING)
                .after(&syn)
                .after(&data)
                .after(&dsr_tcp(end))
                .once_slot_is(Slot::tracking(FIRST, FIRST))
        };
        [
            comes("data follows its record after", &data).reaches_backend(Recorded, &wrapped_to_moved(&data)),
            comes("a SYN goes to the backend that the flow had, after", &syn)
                .reaches_backend(Opened, &wrapped_to_moved(&syn)),
            comes("data goes on after a SYN after", &data)
                .after(&syn)
                .reaches_backend(Recorded, &wrapped_to_moved(&data)),
            comes("a SYN to a backend that leaves goes there yet, right after", &syn)
                .once_backends_are(LEAVING)
                .reaches_backend(Recorded, &wrapped_to_moved(&syn)),
            comes("a SYN goes to the current owner if the backend died, after", &syn)
                .once_backends_are(BackendFlags::RESOLVED)
                .reaches_backend(Opened, &wrapped(&syn)),
        ]
    });
    rows.concat()
}

/// A slot one of whose owners is none.
fn ownerless() -> Vec<Row> {
    let (syn, data) = (dsr_tcp(SYN), Stack::tcp(CLIENT, DSR_HTTP, ACK, b"data"));
    let gone = Slot::tracking(BackendId::NONE, FIRST);
    vec![
        from_client("ipip, moving: without a current owner a SYN is refused", &syn)
            .with_slot(gone)
            .reaches_client(Unserved, &told(&syn, NO_PORT)),
        from_client("ipip, moving: without a current owner an older flow goes on", &data)
            .with_slot(gone)
            .reaches_backend(Older, &wrapped(&data)),
        from_client("ipip, moving: a SYN that found no owner left no record", &data)
            .with_slot(gone)
            .after(&syn)
            .once_slot_is(MOVING)
            .reaches_backend(Older, &wrapped(&data)),
        from_client("ipip, moving: without a settled owner an older flow is refused", &data)
            .with_slot(Slot::tracking(SECOND, BackendId::NONE))
            .reaches_client(Unserved, &told(&data, NO_PORT)),
        from_client("ipip, moving: without a settled owner a SYN is recorded", &syn)
            .with_slot(Slot::tracking(SECOND, BackendId::NONE))
            .reaches_backend(Opened, &wrapped_to_moved(&syn)),
    ]
}
