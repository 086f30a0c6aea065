//! Clients' packets in an outer header, while their slot moves from one backend to another.

use super::super::build::Stack;
use super::super::house::MOVING;
use super::super::row::{Row, from_client};
use super::{
    ACK, CLIENT, DSR_HTTP, DSR_HTTPS, FIN_ACK, OTHER_CLIENT, SYN, dsr_tcp, wrapped, wrapped_to_moved,
};
use lb_common::abi::BackendFlags;
use lb_common::datapath::Reason::{IpipOlder, IpipOpened, IpipRecorded, IpipSettled, IpipUnrecorded};

pub(super) fn rows() -> Vec<Row> {
    [recorded(), unrecorded()].concat()
}

fn recorded() -> Vec<Row> {
    let (syn, fin) = (dsr_tcp(SYN), dsr_tcp(FIN_ACK));
    let data = Stack::tcp(CLIENT, DSR_HTTP, ACK, b"data");
    vec![
        from_client("ipip, moving: a SYN goes to the current owner and is recorded", &syn)
            .with_slot(MOVING)
            .reaches_backend(IpipOpened, &wrapped_to_moved(&syn)),
        from_client("ipip, moving: data of a recorded flow follows its record", &data)
            .with_slot(MOVING)
            .after(&syn)
            .reaches_backend(IpipRecorded, &wrapped_to_moved(&data)),
        from_client("ipip, moving: a SYN sent again follows its record", &syn)
            .with_slot(MOVING)
            .after(&syn)
            .reaches_backend(IpipRecorded, &wrapped_to_moved(&syn)),
        from_client("ipip, moving: a SYN after a FIN opens the flow anew", &syn)
            .with_slot(MOVING)
            .after(&syn)
            .after(&fin)
            .reaches_backend(IpipOpened, &wrapped_to_moved(&syn)),
        from_client("ipip, moving: a record whose backend died goes to the current owner", &data)
            .with_slot(MOVING)
            .with_backends(BackendFlags::RESOLVED)
            .after(&syn)
            .reaches_backend(IpipOpened, &wrapped_to_moved(&data)),
    ]
}

fn unrecorded() -> Vec<Row> {
    let syn = dsr_tcp(SYN);
    let data = Stack::tcp(CLIENT, DSR_HTTP, ACK, b"data");
    let never = Stack::tcp(CLIENT, DSR_HTTPS, ACK, b"");
    vec![
        from_client("ipip, moving: data of an older flow stays with the settled owner", &data)
            .with_slot(MOVING)
            .reaches_backend(IpipOlder, &wrapped(&data)),
        from_client("ipip, moving: a full table keeps the flow where it will be looked for", &syn)
            .with_slot(MOVING)
            .with_room(1)
            .after(&Stack::tcp(OTHER_CLIENT, DSR_HTTP, SYN, b""))
            .reaches_backend(IpipUnrecorded, &wrapped(&syn)),
        from_client("ipip, moving: a service that never tracks goes to the current owner", &never)
            .with_slot(MOVING)
            .reaches_backend(IpipSettled, &wrapped_to_moved(&never)),
    ]
}
