//! A translated flow's life: how it begins, goes on while the tables change around it, ends and begins anew.

use super::super::build::{Ipv4, Stack};
use super::super::house::{FIRST, MOVING, SECOND, SERVING, SETTLED};
use super::super::row::{Arrives, Row, from_backend, from_client};
use super::{
    ACK, BACKEND_END, CLIENT, DSR_HTTP, FIN_ACK, MOVED_END, NAT_HTTP, NO_PORT, NULL, OTHER_CLIENT, OWN_END,
    RST, SYN, SYN_ACK, XMAS, dsr_tcp, nat_query, nat_tcp, reset, reset_by, told, translated_query,
    translated_tcp,
};
use lb_common::abi::{BackendFlags, BackendId, Slot};
use lb_common::datapath::Reason::{NatForward, NatOpened, NatReply, NoFlow, NotAVip, Reset, Unserved};

/// A slot that moved to the second backend for good.
const MOVED_FOR_GOOD: Slot = Slot::settled_on(SECOND);

/// A backend's segment without data to the balancer's end.
fn reply(flags: u8) -> Ipv4 {
    Stack::tcp(BACKEND_END, OWN_END, flags, b"")
}

/// A client's segment as the other backend gets it.
fn moved_tcp(flags: u8) -> Ipv4 {
    Stack::tcp(OWN_END, MOVED_END, flags, b"").ttl(63)
}

pub(super) fn rows() -> Vec<Row> {
    [openings(), no_openings(), ends(), reopened(), forged(), moves(), deaths(), exchanges()].concat()
}

/// Which control bits begin a connection (RFC 9293, section 3.10.7.2: SYN without RST or ACK).
fn openings() -> Vec<Row> {
    let opens = |sentence, flags| {
        from_client(sentence, &nat_tcp(flags)).reaches_backend(NatOpened, &translated_tcp(flags))
    };
    let fast_open = |from, to| Stack::tcp(from, to, SYN, b"early data");
    vec![
        opens("nat: a SYN that offers ECN opens a flow", SYN | 0xc0),
        opens("nat: a SYN with FIN opens a flow, for the backend to judge", SYN | 0x01),
        from_client("nat: a SYN with data opens a flow", &fast_open(CLIENT, NAT_HTTP))
            .reaches_backend(NatOpened, &fast_open(OWN_END, BACKEND_END).ttl(63)),
    ]
}

fn no_openings() -> Vec<Row> {
    let unanswered = |sentence, flags| from_client(sentence, &nat_tcp(flags)).stops(NoFlow);
    let refused =
        |sentence, flags| from_client(sentence, &nat_tcp(flags)).reaches_client(Reset, &reset(flags));
    let follows = |sentence, flags| {
        from_client(sentence, &nat_tcp(flags))
            .after(&nat_tcp(SYN))
            .reaches_backend(NatForward, &translated_tcp(flags))
    };
    vec![
        unanswered("nat: a SYN with RST opens nothing", SYN | RST),
        refused("nat: a segment without control bits opens nothing", NULL),
        unanswered("nat: a segment with all control bits opens nothing", XMAS),
        refused("nat: a FIN opens nothing", FIN_ACK),
        unanswered("nat: a reset opens nothing", RST),
        follows("nat: a segment without control bits follows its flow", NULL),
        follows("nat: a segment with all control bits follows its flow", XMAS),
    ]
}

fn ends() -> Vec<Row> {
    let (syn, ack) = (nat_tcp(SYN), nat_tcp(ACK));
    vec![
        from_client("nat: data after the client's reset follows its flow", &ack)
            .after(&syn)
            .after(&nat_tcp(RST))
            .reaches_backend(NatForward, &translated_tcp(ACK)),
        from_client("nat: the last acknowledgment after both FINs follows its flow", &ack)
            .after(&syn)
            .after(&nat_tcp(FIN_ACK))
            .after_reply(&reply(FIN_ACK))
            .reaches_backend(NatForward, &translated_tcp(ACK)),
        from_backend("nat: a backend's reset is translated back", &reply(RST))
            .after(&syn)
            .reaches_client(NatReply, &Stack::tcp(NAT_HTTP, CLIENT, RST, b"").ttl(63)),
        from_backend("nat: data after the client's FIN is translated back", &reply(ACK))
            .after(&syn)
            .after(&nat_tcp(FIN_ACK))
            .reaches_client(NatReply, &Stack::tcp(NAT_HTTP, CLIENT, ACK, b"").ttl(63)),
    ]
}

fn reopened() -> Vec<Row> {
    let (syn, fin) = (nat_tcp(SYN), nat_tcp(FIN_ACK));
    let other = Stack::tcp(OTHER_CLIENT, NAT_HTTP, SYN, b"");
    vec![
        from_client("nat: a SYN after only the client's FIN keeps the flow", &syn)
            .after(&syn)
            .after(&fin)
            .reaches_backend(NatForward, &translated_tcp(SYN)),
        from_client("nat: a SYN after both FINs opens the flow anew", &syn)
            .after(&syn)
            .after(&fin)
            .after_reply(&reply(FIN_ACK))
            .reaches_backend(NatOpened, &translated_tcp(SYN)),
        from_client("nat: a SYN after only the backend's FIN keeps the flow", &syn)
            .after(&syn)
            .after_reply(&reply(FIN_ACK))
            .reaches_backend(NatForward, &translated_tcp(SYN)),
        from_client("nat: a SYN on an open flow keeps it, also while its slot moves", &syn)
            .after(&syn)
            .after_reply(&reply(SYN_ACK))
            .after(&nat_tcp(ACK))
            .once_slot_is(MOVING)
            .reaches_backend(NatForward, &translated_tcp(SYN)),
        from_backend("nat: a backend that reset a flow may take it anew", &reply(SYN_ACK))
            .after(&syn)
            .after_reply(&reply(RST))
            .after(&syn)
            .reaches_client(NatReply, &Stack::tcp(NAT_HTTP, CLIENT, SYN_ACK, b"").ttl(63)),
        from_client("nat: a SYN on a reset flow goes where the slot moved", &syn)
            .after(&syn)
            .after(&nat_tcp(RST))
            .after_reply(&reply(RST))
            .once_slot_is(MOVED_FOR_GOOD)
            .reaches_backend(NatOpened, &moved_tcp(SYN)),
        from_client("nat: the port of a flow that moved away is free again", &other)
            .after(&syn)
            .after(&nat_tcp(RST))
            .after_reply(&reply(RST))
            .once_slot_is(MOVED_FOR_GOOD)
            .after(&syn)
            .once_slot_is(SETTLED)
            .reaches_backend(NatOpened, &translated_tcp(SYN)),
        from_client("nat: a flow that could not open anew is gone", &nat_tcp(ACK))
            .after(&syn)
            .after(&nat_tcp(RST))
            .after_reply(&reply(RST))
            .once_slot_is(Slot::settled_on(BackendId::NONE))
            .after(&syn)
            .once_slot_is(SETTLED)
            .reaches_client(Reset, &reset(ACK)),
    ]
}

/// Who knows a flow's ends, and none of its numbers, can send these in the client's name; the backend heeds none of them.
fn forged() -> Vec<Row> {
    let ends = [("a reset", RST), ("a FIN", FIN_ACK), ("a reset with all control bits", XMAS)];
    let open =
        |arrives: Arrives| arrives.after(&nat_tcp(SYN)).after_reply(&reply(SYN_ACK)).after(&nat_tcp(ACK));
    let rows = ends.map(|(what, end)| {
        let syn = from_client(format!("nat: {what} and a SYN that are forged move no flow"), &nat_tcp(SYN));
        let data = from_client(format!("nat: data after {what} and a SYN go on"), &nat_tcp(ACK));
        let answer = from_backend(format!("nat: so does the answer, after {what} and a SYN"), &reply(ACK));
        [
            open(syn)
                .after(&nat_tcp(end))
                .once_slot_is(MOVED_FOR_GOOD)
                .reaches_backend(NatForward, &translated_tcp(SYN)),
            open(data)
                .after(&nat_tcp(end))
                .once_slot_is(MOVED_FOR_GOOD)
                .after(&nat_tcp(SYN))
                .reaches_backend(NatForward, &translated_tcp(ACK)),
            open(answer)
                .after(&nat_tcp(end))
                .once_slot_is(MOVED_FOR_GOOD)
                .after(&nat_tcp(SYN))
                .reaches_client(NatReply, &Stack::tcp(NAT_HTTP, CLIENT, ACK, b"").ttl(63)),
        ]
    });
    rows.concat()
}

fn moves() -> Vec<Row> {
    let (syn, ack) = (nat_tcp(SYN), nat_tcp(ACK));
    let returned = Stack::tcp(NAT_HTTP, CLIENT, SYN_ACK, b"").ttl(63);
    vec![
        from_client("nat: a flow stays with its backend while its slot moves", &ack)
            .after(&syn)
            .once_slot_is(MOVING)
            .reaches_backend(NatForward, &translated_tcp(ACK)),
        from_client("nat: a flow stays with its backend after its slot moved", &ack)
            .after(&syn)
            .once_slot_is(MOVED_FOR_GOOD)
            .reaches_backend(NatForward, &translated_tcp(ACK)),
        from_client("nat: a flow stays with its backend when its slot has none", &ack)
            .after(&syn)
            .once_slot_is(Slot::settled_on(BackendId::NONE))
            .reaches_backend(NatForward, &translated_tcp(ACK)),
        from_client("nat: a datagram stays with its backend after its slot moved", &nat_query())
            .after(&nat_query())
            .once_slot_is(MOVED_FOR_GOOD)
            .reaches_backend(NatForward, &translated_query()),
        from_backend("nat: a reply is translated back after its slot moved", &reply(SYN_ACK))
            .after(&syn)
            .once_slot_is(MOVED_FOR_GOOD)
            .reaches_client(NatReply, &returned),
    ]
}

fn deaths() -> Vec<Row> {
    let (syn, ack) = (nat_tcp(SYN), nat_tcp(ACK));
    let moved_query = Stack::udp(OWN_END, MOVED_END, b"query").ttl(63);
    let returned = Stack::tcp(NAT_HTTP, CLIENT, SYN_ACK, b"").ttl(63);
    let dead = BackendFlags::RESOLVED;
    vec![
        from_client("nat: a dead backend's connection is over", &ack)
            .after(&syn)
            .once_backends_are(dead)
            .once_slot_is(MOVED_FOR_GOOD)
            .reaches_client(Reset, &reset(ACK)),
        from_client("nat: a connection anew goes to the slot's new owner", &syn)
            .after(&syn)
            .once_backends_are(dead)
            .once_slot_is(MOVED_FOR_GOOD)
            .reaches_backend(NatOpened, &moved_tcp(SYN)),
        from_client("nat: a dead backend's datagrams go to the slot's new owner", &nat_query())
            .after(&nat_query())
            .once_backends_are(dead)
            .once_slot_is(MOVED_FOR_GOOD)
            .reaches_backend(NatOpened, &moved_query),
        from_client("nat: a dead backend's flow cannot begin anew when no other can take it", &syn)
            .after(&syn)
            .once_backends_are(dead)
            .once_slot_is(Slot::settled_on(BackendId::NONE))
            .reaches_client(Unserved, &told(&syn, NO_PORT)),
        from_backend("nat: a dead backend's last words are translated back", &reply(SYN_ACK))
            .after(&syn)
            .once_backends_are(dead)
            .reaches_client(NatReply, &returned),
        from_backend("nat: a reply about a flow that went elsewhere passes", &reply(ACK))
            .after(&syn)
            .once_backends_are(dead)
            .once_slot_is(MOVED_FOR_GOOD)
            .after(&ack)
            .once_backends_are(SERVING)
            .stops(NotAVip),
    ]
}

/// A reload may change how a service forwards, while records of the other way are still there.
fn exchanges() -> Vec<Row> {
    let (syn, ack) = (dsr_tcp(SYN), dsr_tcp(ACK));
    vec![
        from_client("nat: a record that encapsulation left is no translation", &ack)
            .with_slot(Slot::tracking(FIRST, SECOND))
            .after(&syn)
            .once_modes_are_exchanged()
            .reaches_client(Reset, &reset_by(DSR_HTTP, ACK)),
        from_client("nat: a SYN after encapsulation left a record opens a flow", &syn)
            .with_slot(Slot::tracking(FIRST, SECOND))
            .after(&syn)
            .once_modes_are_exchanged()
            .reaches_backend(NatOpened, &translated_tcp(SYN)),
    ]
}
