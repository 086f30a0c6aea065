//! Clients' packets in an outer header, through slots that never moved.

use super::super::build::Stack;
use super::super::house::{BACK_MAC, BACKEND_MAC, OWN_MAC, ROUTER_MAC};
use super::super::row::{Row, client_frame, frame, from_client};
use super::{ACK, CLIENT, DSR_DNS, DSR_HTTP, SYN, dsr_tcp, wrapped};
use lb_common::abi::{BackendFlags, BackendId, Slot};
use lb_common::datapath::Reason::{
    Inconsistent, IpipOpened, IpipRecorded, IpipSettled, NoBackend, TooBig, Unresolved,
};

pub(super) fn rows() -> Vec<Row> {
    [encapsulated(), framed(), sized(), refused()].concat()
}

fn encapsulated() -> Vec<Row> {
    let (syn, ack) = (dsr_tcp(SYN), dsr_tcp(ACK));
    let with_options = syn.clone().options(&[1, 1, 1, 0]);
    let (classed, last_hop) = (ack.clone().class(0x2e), ack.clone().ttl(1));
    let query = Stack::udp(CLIENT, DSR_DNS, b"query");
    vec![
        from_client("ipip: a SYN is encapsulated and nothing remembered", &syn)
            .reaches_backend(IpipSettled, &wrapped(&syn)),
        from_client("ipip: data without any history is encapsulated", &ack)
            .reaches_backend(IpipSettled, &wrapped(&ack)),
        from_client("ipip: IP options stay inside", &with_options)
            .reaches_backend(IpipSettled, &wrapped(&with_options)),
        from_client("ipip: the traffic class is copied outside", &classed)
            .reaches_backend(IpipSettled, &wrapped(&classed)),
        from_client("ipip: the last hop still reaches the backend", &last_hop)
            .reaches_backend(IpipSettled, &wrapped(&last_hop)),
        from_client("ipip: a datagram is recorded", &query).reaches_backend(IpipOpened, &wrapped(&query)),
        from_client("ipip: a second datagram follows its record", &query)
            .after(&query)
            .reaches_backend(IpipRecorded, &wrapped(&query)),
    ]
}

fn framed() -> Vec<Row> {
    let (syn, ack) = (dsr_tcp(SYN), dsr_tcp(ACK));
    let padded = wrapped(&syn).ethernet(BACKEND_MAC, BACK_MAC).padded(80);
    vec![
        frame("ipip: a tag is taken off", &ack.tagged(OWN_MAC, ROUTER_MAC, 100))
            .reaches_backend(IpipSettled, &wrapped(&ack)),
        from_client("ipip: the backend's tag is put on", &ack)
            .with_backend_vlan(200)
            .reaches_backend_as(IpipSettled, &wrapped(&ack).tagged(BACKEND_MAC, BACK_MAC, 200)),
        frame("ipip: the outer length leaves padding out", &client_frame(&syn).padded(60))
            .reaches_backend_as(IpipSettled, &padded),
    ]
}

fn sized() -> Vec<Row> {
    let largest = Stack::tcp(CLIENT, DSR_HTTP, ACK, &[7; 1440]);
    let too_large = Stack::tcp(CLIENT, DSR_HTTP, ACK, &[7; 1441]);
    vec![
        from_client("ipip: a packet that just fits is encapsulated", &largest)
            .reaches_backend(IpipSettled, &wrapped(&largest)),
        from_client("ipip: a packet one byte too big is dropped", &too_large).stops(TooBig),
    ]
}

fn refused() -> Vec<Row> {
    let ack = dsr_tcp(ACK);
    vec![
        from_client("ipip: without a backend a packet is dropped", &ack)
            .with_slot(Slot::settled_on(BackendId::NONE))
            .stops(NoBackend),
        from_client("ipip: an unresolved backend is not sent to", &ack)
            .with_backends(BackendFlags::ALIVE)
            .stops(Unresolved),
        from_client("ipip: a missing backend record drops", &ack)
            .with_slot(Slot::settled_on(BackendId::from_bits(0x7fff)))
            .stops(Inconsistent),
    ]
}
