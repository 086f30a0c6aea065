//! The rows.

use super::build::{End, Ipv4, Stack};
use super::house::{
    BACK_MAC, BACKEND, BACKEND_IFINDEX, BACKEND_MAC, DSR_VIP, MOVED, MOVING, NAT_VIP, OWN, OWN_MAC,
    ROUTER_MAC, SERVING, SETTLED,
};
use lb_common::abi::{BackendFlags, BackendId, Slot};
use lb_common::datapath::Reason;

/// What must become of a row's packet.
#[derive(Clone)]
pub enum Fate {
    /// It leaves, rewritten to exactly these bytes.
    Leaves {
        /// Why.
        reason: Reason,
        /// By this interface.
        ifindex: u32,
        /// The whole packet.
        packet: Vec<u8>,
    },
    /// It passes or is dropped, untouched.
    Stops(Reason),
}

/// A fixture.
#[derive(Clone)]
pub struct Row {
    /// The claim.
    pub sentence: &'static str,
    /// The word of every service's only slot.
    pub slot: Slot,
    /// What is known of the backends.
    pub backend_flags: BackendFlags,
    /// Tag towards the backends; 0 for none.
    pub backend_vlan: u16,
    /// Records the flow table has room for (host build only; a row that needs it is not run in the kernel); 0: enough.
    pub room: usize,
    /// Packets that go first and must all leave.
    pub before: Vec<Vec<u8>>,
    /// The packet.
    pub packet: Vec<u8>,
    /// What must become of it.
    pub fate: Fate,
}

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const PUSH_ACK: u8 = 0x18;
const FIN_ACK: u8 = 0x11;
const RST: u8 = 0x04;

const CLIENT: End = ([198, 51, 100, 7], 51_000);
const OTHER_CLIENT: End = ([198, 51, 100, 8], 51_001);
const NAT_HTTP: End = (NAT_VIP, 80);
const NAT_DNS: End = (NAT_VIP, 53);
const DSR_HTTP: End = (DSR_VIP, 80);
const DSR_HTTPS: End = (DSR_VIP, 443);
const DSR_DNS: End = (DSR_VIP, 53);
/// The balancer's own end of a translated flow; the fixtures' pool has one port.
const OWN_END: End = (OWN, 40_000);
const BACKEND_END: End = (BACKEND, 8080);
const MOVED_END: End = (MOVED, 8080);
const ROUTER: [u8; 4] = [192, 0, 2, 1];

/// As a packet comes from the client's side.
fn from_client(packet: &Ipv4) -> Vec<u8> {
    packet.ethernet(OWN_MAC, ROUTER_MAC).bytes()
}

/// As a packet must leave towards the client's side.
fn to_client(packet: &Ipv4) -> Vec<u8> {
    packet.ethernet(ROUTER_MAC, OWN_MAC).bytes()
}

/// As a packet comes from the backends' side.
fn from_backend(packet: &Ipv4) -> Vec<u8> {
    packet.ethernet(BACK_MAC, BACKEND_MAC).bytes()
}

/// As a packet must leave towards the backends' side.
fn to_backend(packet: &Ipv4) -> Vec<u8> {
    packet.ethernet(BACKEND_MAC, BACK_MAC).bytes()
}

fn row(sentence: &'static str, packet: Vec<u8>, fate: Fate) -> Row {
    Row {
        sentence,
        slot: SETTLED,
        backend_flags: SERVING,
        backend_vlan: 0,
        room: 0,
        before: Vec::new(),
        packet,
        fate,
    }
}

impl Row {
    fn after(self, before: &[Vec<u8>]) -> Self {
        Self { before: before.to_vec(), ..self }
    }

    fn with_slot(self, slot: Slot) -> Self {
        Self { slot, ..self }
    }

    fn with_backends(self, backend_flags: BackendFlags) -> Self {
        Self { backend_flags, ..self }
    }

    fn with_room(self, room: usize) -> Self {
        Self { room, ..self }
    }

    fn with_backend_vlan(self, backend_vlan: u16) -> Self {
        Self { backend_vlan, ..self }
    }
}

fn leaves(reason: Reason, packet: Vec<u8>) -> Fate {
    Fate::Leaves { reason, ifindex: BACKEND_IFINDEX, packet }
}

fn returns(reason: Reason, packet: Vec<u8>) -> Fate {
    Fate::Leaves { reason, ifindex: super::ARRIVAL_IFINDEX, packet }
}

fn nat_syn() -> Vec<u8> {
    from_client(&Stack::tcp(CLIENT, NAT_HTTP, SYN, b""))
}

fn nat_query() -> Vec<u8> {
    from_client(&Stack::udp(CLIENT, NAT_DNS, b"query"))
}

/// Every fixture.
#[must_use]
pub fn rows() -> Vec<Row> {
    [
        passing(),
        malformed(),
        nat_forward(),
        nat_reply(),
        ipip(),
        ipip_moving(),
        icmp_to_client(),
        icmp_to_backend(),
    ]
    .concat()
}

fn passing() -> Vec<Row> {
    let syn = Stack::tcp(CLIENT, NAT_HTTP, SYN, b"");
    let elsewhere = Stack::tcp(CLIENT, ([192, 0, 2, 9], 80), SYN, b"");
    let arp = syn.ethernet([0xff; 6], ROUTER_MAC).with_byte(13, 0x06);
    vec![
        row("an ARP request passes", arp.clone().bytes(), Fate::Stops(Reason::NotIpv4)),
        row(
            "IPv6 passes",
            syn.ethernet(OWN_MAC, ROUTER_MAC).with_byte(12, 0x86).with_byte(13, 0xdd).bytes(),
            Fate::Stops(Reason::NotIpv4),
        ),
        row("a frame of fourteen bytes passes", arp.cut(14).bytes(), Fate::Stops(Reason::NotIpv4)),
        row(
            "a broadcast passes",
            syn.ethernet([0xff; 6], ROUTER_MAC).bytes(),
            Fate::Stops(Reason::NotUnicast),
        ),
        row(
            "a multicast passes",
            syn.ethernet([1, 0, 0x5e, 0, 0, 1], ROUTER_MAC).bytes(),
            Fate::Stops(Reason::NotUnicast),
        ),
        row("TCP to an address that is no VIP passes", from_client(&elsewhere), Fate::Stops(Reason::NotAVip)),
        row(
            "TCP to another port of a VIP passes",
            from_client(&Stack::tcp(CLIENT, (NAT_VIP, 81), SYN, b"")),
            Fate::Stops(Reason::NotAVip),
        ),
        row(
            "UDP to a TCP service's port passes",
            from_client(&Stack::udp(CLIENT, NAT_HTTP, b"x")),
            Fate::Stops(Reason::NotAVip),
        ),
        row(
            "a tagged packet that is not for us passes with its tag",
            elsewhere.tagged(OWN_MAC, ROUTER_MAC, 100).bytes(),
            Fate::Stops(Reason::NotAVip),
        ),
        row(
            "a second tag is not looked behind",
            syn.tagged(OWN_MAC, ROUTER_MAC, 100).with_byte(16, 0x81).with_byte(17, 0).bytes(),
            Fate::Stops(Reason::NotIpv4),
        ),
        row(
            "a ping to a VIP passes",
            from_client(&Stack::icmp(CLIENT.0, NAT_VIP, 8, 0, &[0, 1, 0, 1])),
            Fate::Stops(Reason::IcmpNotOurs),
        ),
        row(
            "a fragment without ports passes",
            from_client(&Stack::tcp(CLIENT, NAT_HTTP, ACK, b"").fragment(0x0010)),
            Fate::Stops(Reason::LaterFragment),
        ),
        row(
            "TCP to our own address on a port NAT does not use passes",
            from_backend(&Stack::tcp(BACKEND_END, (OWN, 22), SYN, b"")),
            Fate::Stops(Reason::NotAVip),
        ),
        row(
            "TCP to our own address on an unused NAT port passes",
            from_backend(&Stack::tcp(BACKEND_END, OWN_END, ACK, b"")),
            Fate::Stops(Reason::NotAVip),
        ),
        row(
            "IPIP to us passes",
            from_client(&syn.clone().within(CLIENT.0, OWN)),
            Fate::Stops(Reason::OtherProtocol),
        ),
    ]
}

fn malformed() -> Vec<Row> {
    let syn = Stack::tcp(CLIENT, NAT_HTTP, SYN, b"").ethernet(OWN_MAC, ROUTER_MAC);
    let query = Stack::udp(CLIENT, NAT_DNS, b"query").ethernet(OWN_MAC, ROUTER_MAC);
    vec![
        row(
            "an IP version other than 4 passes",
            syn.clone().with_byte(14, 0x55).bytes(),
            Fate::Stops(Reason::BadIpv4),
        ),
        row(
            "an IP header shorter than twenty bytes passes",
            syn.clone().with_byte(14, 0x44).bytes(),
            Fate::Stops(Reason::BadIpv4),
        ),
        row("a cut IP header passes", syn.clone().cut(33).bytes(), Fate::Stops(Reason::BadIpv4)),
        row("cut ports pass", syn.clone().cut(37).bytes(), Fate::Stops(Reason::NoPorts)),
        row(
            "a cut TCP header to a service is dropped",
            syn.clone().cut(53).bytes(),
            Fate::Stops(Reason::Malformed),
        ),
        row(
            "an IP length beyond the frame is dropped",
            syn.clone().with_byte(17, 60).bytes(),
            Fate::Stops(Reason::Malformed),
        ),
        row(
            "an IP length below its header is dropped",
            syn.clone().with_byte(17, 19).bytes(),
            Fate::Stops(Reason::Malformed),
        ),
        row(
            "a TCP offset below five words is dropped",
            syn.clone().with_byte(46, 0x40).bytes(),
            Fate::Stops(Reason::Malformed),
        ),
        row(
            "a TCP offset beyond the packet is dropped",
            syn.with_byte(46, 0x60).bytes(),
            Fate::Stops(Reason::Malformed),
        ),
        row(
            "a UDP length below its header is dropped",
            query.clone().with_byte(39, 7).bytes(),
            Fate::Stops(Reason::Malformed),
        ),
        row(
            "a UDP length beyond the packet is dropped",
            query.with_byte(39, 14).bytes(),
            Fate::Stops(Reason::Malformed),
        ),
        row(
            "a first fragment to a service is dropped",
            from_client(&Stack::udp(CLIENT, NAT_DNS, b"query").fragment(0x2000)),
            Fate::Stops(Reason::Fragmented),
        ),
    ]
}

fn nat_forward() -> Vec<Row> {
    let syn = Stack::tcp(CLIENT, NAT_HTTP, SYN, b"");
    let translated =
        |flags, payload: &[u8]| to_backend(&Stack::tcp(OWN_END, BACKEND_END, flags, payload).ttl(63));
    let data = from_client(&Stack::tcp(CLIENT, NAT_HTTP, PUSH_ACK, b"GET / HTTP/1.1\r\n"));
    let query = |end: End| to_backend(&Stack::udp(OWN_END, end, b"query").ttl(63));
    let reset = from_client(&Stack::tcp(CLIENT, NAT_HTTP, RST, b""));
    let padded = syn.ethernet(OWN_MAC, ROUTER_MAC).padded(60).bytes();
    vec![
        row(
            "nat: a SYN opens a flow and is translated",
            nat_syn(),
            leaves(Reason::NatOpened, translated(SYN, b"")),
        ),
        row(
            "nat: data of a known flow is translated",
            data.clone(),
            leaves(Reason::NatForward, translated(PUSH_ACK, b"GET / HTTP/1.1\r\n")),
        )
        .after(&[nat_syn()]),
        row(
            "nat: a SYN sent again keeps its port",
            nat_syn(),
            leaves(Reason::NatForward, translated(SYN, b"")),
        )
        .after(&[nat_syn()]),
        row(
            "nat: a SYN after a reset opens the flow anew",
            nat_syn(),
            leaves(Reason::NatOpened, translated(SYN, b"")),
        )
        .after(&[nat_syn(), reset]),
        row(
            "nat: padding behind a short packet stays",
            padded,
            leaves(
                Reason::NatOpened,
                Stack::tcp(OWN_END, BACKEND_END, SYN, b"")
                    .ttl(63)
                    .ethernet(BACKEND_MAC, BACK_MAC)
                    .padded(60)
                    .bytes(),
            ),
        ),
        row(
            "nat: IP options stay and shift the ports",
            from_client(&syn.clone().options(&[1, 1, 1, 0])),
            leaves(
                Reason::NatOpened,
                to_backend(&Stack::tcp(OWN_END, BACKEND_END, SYN, b"").ttl(63).options(&[1, 1, 1, 0])),
            ),
        ),
        row(
            "nat: the traffic class stays",
            from_client(&syn.clone().class(0xb8)),
            leaves(
                Reason::NatOpened,
                to_backend(&Stack::tcp(OWN_END, BACKEND_END, SYN, b"").ttl(63).class(0xb8)),
            ),
        ),
        row(
            "nat: a tagged packet leaves untagged where the backend's segment has no tag",
            syn.tagged(OWN_MAC, ROUTER_MAC, 100).bytes(),
            leaves(Reason::NatOpened, translated(SYN, b"")),
        ),
        row(
            "nat: a packet leaves with the backend's tag",
            nat_syn(),
            leaves(
                Reason::NatOpened,
                Stack::tcp(OWN_END, BACKEND_END, SYN, b"").ttl(63).tagged(BACKEND_MAC, BACK_MAC, 200).bytes(),
            ),
        )
        .with_backend_vlan(200),
        row(
            "nat: one tag is exchanged for another",
            syn.tagged(OWN_MAC, ROUTER_MAC, 100).bytes(),
            leaves(
                Reason::NatOpened,
                Stack::tcp(OWN_END, BACKEND_END, SYN, b"").ttl(63).tagged(BACKEND_MAC, BACK_MAC, 200).bytes(),
            ),
        )
        .with_backend_vlan(200),
        row("nat: a datagram opens a flow", nat_query(), leaves(Reason::NatOpened, query(BACKEND_END))),
        row(
            "nat: a second datagram goes the first one's way",
            nat_query(),
            leaves(Reason::NatForward, query(BACKEND_END)),
        )
        .after(&[nat_query()]),
        row(
            "nat: a datagram without checksum stays without",
            from_client(&Stack::udp(CLIENT, NAT_DNS, b"query").unsummed()),
            leaves(
                Reason::NatOpened,
                to_backend(&Stack::udp(OWN_END, BACKEND_END, b"query").unsummed().ttl(63)),
            ),
        ),
        row(
            "nat: an odd number of payload bytes is summed right",
            from_client(&Stack::udp(CLIENT, NAT_DNS, b"q")),
            leaves(Reason::NatOpened, to_backend(&Stack::udp(OWN_END, BACKEND_END, b"q").ttl(63))),
        ),
        row("nat: data of an unknown connection is dropped", data.clone(), Fate::Stops(Reason::NoFlow)),
        row(
            "nat: a SYN-ACK opens nothing",
            from_client(&Stack::tcp(CLIENT, NAT_HTTP, SYN | ACK, b"")),
            Fate::Stops(Reason::NoFlow),
        ),
        row(
            "nat: the last hop is not forwarded",
            from_client(&Stack::tcp(CLIENT, NAT_HTTP, ACK, b"").ttl(1)),
            Fate::Stops(Reason::TimeToLive),
        )
        .after(&[nat_syn()]),
        row("nat: without a backend a SYN is dropped", nat_syn(), Fate::Stops(Reason::NoBackend))
            .with_slot(Slot::settled_on(BackendId::NONE)),
        row("nat: an unresolved backend is not sent to", nat_syn(), Fate::Stops(Reason::Unresolved))
            .with_backends(BackendFlags::ALIVE),
        row(
            "nat: no port is given twice",
            from_client(&Stack::tcp(OTHER_CLIENT, NAT_HTTP, SYN, b"")),
            Fate::Stops(Reason::PortsTaken),
        )
        .after(&[nat_syn()]),
        row(
            "nat: TCP and UDP have ports of their own",
            nat_query(),
            leaves(Reason::NatOpened, query(BACKEND_END)),
        )
        .after(&[nat_syn()]),
        row("nat: a full table refuses a flow", nat_syn(), Fate::Stops(Reason::TableFull)).with_room(1),
        row(
            "nat: a flow whose backend died is opened again",
            data,
            leaves(Reason::NatOpened, translated(PUSH_ACK, b"GET / HTTP/1.1\r\n")),
        )
        .with_backends(BackendFlags::RESOLVED)
        .after(&[nat_syn()]),
        row(
            "nat: new flows of a moved slot go to its current owner",
            nat_syn(),
            leaves(Reason::NatOpened, to_backend(&Stack::tcp(OWN_END, MOVED_END, SYN, b"").ttl(63))),
        )
        .with_slot(MOVING),
    ]
}

fn nat_reply() -> Vec<Row> {
    let syn_ack = from_backend(&Stack::tcp(BACKEND_END, OWN_END, SYN | ACK, b""));
    let answer = from_backend(&Stack::udp(BACKEND_END, OWN_END, b"answer"));
    let tagged_syn = Stack::tcp(CLIENT, NAT_HTTP, SYN, b"").tagged(OWN_MAC, ROUTER_MAC, 100).bytes();
    let returned = Stack::tcp(NAT_HTTP, CLIENT, SYN | ACK, b"").ttl(63);
    let rerouted = Stack::tcp(CLIENT, NAT_HTTP, ACK, b"").ethernet(OWN_MAC, [2, 0, 0, 0, 0, 0x77]).bytes();
    let fin = from_backend(&Stack::tcp(BACKEND_END, OWN_END, FIN_ACK, b"bye"));
    vec![
        row(
            "nat: a reply is translated back",
            syn_ack.clone(),
            returns(Reason::NatReply, to_client(&returned)),
        )
        .after(&[nat_syn()]),
        row(
            "nat: a FIN with data is translated back",
            fin,
            returns(Reason::NatReply, to_client(&Stack::tcp(NAT_HTTP, CLIENT, FIN_ACK, b"bye").ttl(63))),
        )
        .after(&[nat_syn()]),
        row(
            "nat: a datagram's answer is translated back",
            answer,
            returns(Reason::NatReply, to_client(&Stack::udp(NAT_DNS, CLIENT, b"answer").ttl(63))),
        )
        .after(&[nat_query()]),
        row(
            "nat: a reply gets the client's tag back",
            syn_ack.clone(),
            returns(Reason::NatReply, returned.tagged(ROUTER_MAC, OWN_MAC, 100).bytes()),
        )
        .after(&[tagged_syn]),
        row(
            "nat: replies follow when the client's router changes",
            syn_ack.clone(),
            returns(Reason::NatReply, returned.ethernet([2, 0, 0, 0, 0, 0x77], OWN_MAC).bytes()),
        )
        .after(&[nat_syn(), rerouted]),
        row(
            "nat: a reply to another port passes",
            from_backend(&Stack::tcp(BACKEND_END, (OWN, 40_001), SYN | ACK, b"")),
            Fate::Stops(Reason::NotAVip),
        )
        .after(&[nat_syn()]),
        row(
            "nat: a reply from another server passes",
            from_backend(&Stack::tcp(MOVED_END, OWN_END, SYN | ACK, b"")),
            Fate::Stops(Reason::NotAVip),
        )
        .after(&[nat_syn()]),
        row(
            "nat: a cut reply is dropped",
            Stack::tcp(BACKEND_END, OWN_END, SYN | ACK, b"").ethernet(BACK_MAC, BACKEND_MAC).cut(50).bytes(),
            Fate::Stops(Reason::Malformed),
        )
        .after(&[nat_syn()]),
    ]
}

fn ipip() -> Vec<Row> {
    let syn = Stack::tcp(CLIENT, DSR_HTTP, SYN, b"");
    let ack = Stack::tcp(CLIENT, DSR_HTTP, ACK, b"");
    let wrapped = |packet: &Ipv4| to_backend(&packet.clone().within(OWN, BACKEND));
    let query = Stack::udp(CLIENT, DSR_DNS, b"query");
    let largest = Stack::tcp(CLIENT, DSR_HTTP, ACK, &[7; 1440]);
    let too_large = Stack::tcp(CLIENT, DSR_HTTP, ACK, &[7; 1441]);
    let padded = syn.ethernet(OWN_MAC, ROUTER_MAC).padded(60).bytes();
    vec![
        row(
            "ipip: a SYN is encapsulated and nothing remembered",
            from_client(&syn),
            leaves(Reason::IpipSettled, wrapped(&syn)),
        ),
        row(
            "ipip: data without any history is encapsulated",
            from_client(&ack),
            leaves(Reason::IpipSettled, wrapped(&ack)),
        ),
        row(
            "ipip: IP options stay inside",
            from_client(&syn.clone().options(&[1, 1, 1, 0])),
            leaves(Reason::IpipSettled, wrapped(&syn.clone().options(&[1, 1, 1, 0]))),
        ),
        row(
            "ipip: the traffic class is copied outside",
            from_client(&ack.clone().class(0x2e)),
            leaves(Reason::IpipSettled, wrapped(&ack.clone().class(0x2e))),
        ),
        row(
            "ipip: a tag is taken off",
            ack.tagged(OWN_MAC, ROUTER_MAC, 100).bytes(),
            leaves(Reason::IpipSettled, wrapped(&ack)),
        ),
        row(
            "ipip: the backend's tag is put on",
            from_client(&ack),
            leaves(
                Reason::IpipSettled,
                ack.clone().within(OWN, BACKEND).tagged(BACKEND_MAC, BACK_MAC, 200).bytes(),
            ),
        )
        .with_backend_vlan(200),
        row(
            "ipip: the outer length leaves padding out",
            padded,
            leaves(
                Reason::IpipSettled,
                syn.clone().within(OWN, BACKEND).ethernet(BACKEND_MAC, BACK_MAC).padded(80).bytes(),
            ),
        ),
        row(
            "ipip: a packet that just fits is encapsulated",
            from_client(&largest),
            leaves(Reason::IpipSettled, wrapped(&largest)),
        ),
        row(
            "ipip: a packet one byte too big is dropped",
            from_client(&too_large),
            Fate::Stops(Reason::TooBig),
        ),
        row(
            "ipip: the last hop still reaches the backend",
            from_client(&ack.clone().ttl(1)),
            leaves(Reason::IpipSettled, wrapped(&ack.clone().ttl(1))),
        ),
        row("ipip: a datagram is recorded", from_client(&query), leaves(Reason::IpipOpened, wrapped(&query))),
        row(
            "ipip: a second datagram follows its record",
            from_client(&query),
            leaves(Reason::IpipRecorded, wrapped(&query)),
        )
        .after(&[from_client(&query)]),
        row("ipip: without a backend a packet is dropped", from_client(&ack), Fate::Stops(Reason::NoBackend))
            .with_slot(Slot::settled_on(BackendId::NONE)),
        row("ipip: an unresolved backend is not sent to", from_client(&ack), Fate::Stops(Reason::Unresolved))
            .with_backends(BackendFlags::ALIVE),
        row("ipip: a missing backend record drops", from_client(&ack), Fate::Stops(Reason::Inconsistent))
            .with_slot(Slot::settled_on(BackendId::from_bits(0x7fff))),
    ]
}

fn ipip_moving() -> Vec<Row> {
    let syn = Stack::tcp(CLIENT, DSR_HTTP, SYN, b"");
    let ack = Stack::tcp(CLIENT, DSR_HTTP, ACK, b"data");
    let fin = Stack::tcp(CLIENT, DSR_HTTP, FIN_ACK, b"");
    let never = Stack::tcp(CLIENT, DSR_HTTPS, ACK, b"");
    let old = |packet: &Ipv4| to_backend(&packet.clone().within(OWN, BACKEND));
    let new = |packet: &Ipv4| to_backend(&packet.clone().within(OWN, MOVED));
    [
        row(
            "ipip, moving: a SYN goes to the current owner and is recorded",
            from_client(&syn),
            leaves(Reason::IpipOpened, new(&syn)),
        ),
        row(
            "ipip, moving: data of a recorded flow follows its record",
            from_client(&ack),
            leaves(Reason::IpipRecorded, new(&ack)),
        )
        .after(&[from_client(&syn)]),
        row(
            "ipip, moving: data of an older flow stays with the settled owner",
            from_client(&ack),
            leaves(Reason::IpipOlder, old(&ack)),
        ),
        row(
            "ipip, moving: a SYN sent again follows its record",
            from_client(&syn),
            leaves(Reason::IpipRecorded, new(&syn)),
        )
        .after(&[from_client(&syn)]),
        row(
            "ipip, moving: a SYN after a FIN opens the flow anew",
            from_client(&syn),
            leaves(Reason::IpipOpened, new(&syn)),
        )
        .after(&[from_client(&syn), from_client(&fin)]),
        row(
            "ipip, moving: a full table keeps the flow where it will be looked for",
            from_client(&syn),
            leaves(Reason::IpipUnrecorded, old(&syn)),
        )
        .with_room(1)
        .after(&[from_client(&Stack::tcp(OTHER_CLIENT, DSR_HTTP, SYN, b""))]),
        row(
            "ipip, moving: a record whose backend died goes to the current owner",
            from_client(&ack),
            leaves(Reason::IpipOpened, new(&ack)),
        )
        .with_backends(BackendFlags::RESOLVED)
        .after(&[from_client(&syn)]),
        row(
            "ipip, moving: a service that never tracks goes to the current owner",
            from_client(&never),
            leaves(Reason::IpipSettled, new(&never)),
        ),
    ]
    .map(|row| row.with_slot(MOVING))
    .to_vec()
}

/// The first bytes of a packet behind the four unused ones of an ICMP error.
fn quoting(packet: &Ipv4, length: usize) -> Vec<u8> {
    let bytes = packet.ip_bytes();
    [&[0; 4], &bytes[..length.min(bytes.len())]].concat()
}

fn icmp_to_client() -> Vec<Row> {
    let sent = Stack::udp(OWN_END, BACKEND_END, b"query").ttl(63);
    let original = Stack::udp(CLIENT, NAT_DNS, b"query").ttl(63);
    let unreachable = |source, length| Stack::icmp(source, OWN, 3, 3, &quoting(&sent, length));
    let returned =
        |length| to_client(&Stack::icmp(NAT_VIP, CLIENT.0, 3, 3, &quoting(&original, length)).ttl(63));
    let syn = Stack::tcp(OWN_END, BACKEND_END, SYN, b"").ttl(63);
    let original_syn = Stack::tcp(CLIENT, NAT_HTTP, SYN, b"").ttl(63);
    let tcp = |length| from_backend(&Stack::icmp(ROUTER, OWN, 3, 1, &quoting(&syn, length)));
    let tcp_returned =
        |length| to_client(&Stack::icmp(NAT_VIP, CLIENT.0, 3, 1, &quoting(&original_syn, length)).ttl(63));
    let unsummed = Stack::icmp(BACKEND, OWN, 3, 3, &quoting(&sent.clone().unsummed(), 99));
    let unsummed_returned =
        Stack::icmp(NAT_VIP, CLIENT.0, 3, 3, &quoting(&original.clone().unsummed(), 99)).ttl(63);
    vec![
        row(
            "icmp: a backend's port unreachable reaches the client",
            from_backend(&unreachable(BACKEND, 99)),
            returns(Reason::IcmpReply, returned(99)),
        )
        .after(&[nat_query()]),
        row(
            "icmp: eight quoted bytes are enough",
            from_backend(&unreachable(BACKEND, 28)),
            returns(Reason::IcmpReply, returned(28)),
        )
        .after(&[nat_query()]),
        row(
            "icmp: a router between us and the backend is heard",
            tcp(99),
            returns(Reason::IcmpReply, tcp_returned(99)),
        )
        .after(&[nat_syn()]),
        row(
            "icmp: a quotation that ends before the TCP checksum is translated",
            tcp(28),
            returns(Reason::IcmpReply, tcp_returned(28)),
        )
        .after(&[nat_syn()]),
        row(
            "icmp: a quoted datagram without checksum stays without",
            from_backend(&unsummed),
            returns(Reason::IcmpReply, to_client(&unsummed_returned)),
        )
        .after(&[nat_query()]),
        row(
            "icmp: an error about a flow we do not know passes",
            from_backend(&unreachable(BACKEND, 99)),
            Fate::Stops(Reason::IcmpNotOurs),
        ),
        row(
            "icmp: a quotation too short for ports passes",
            from_backend(&unreachable(BACKEND, 23)),
            Fate::Stops(Reason::IcmpNotOurs),
        )
        .after(&[nat_query()]),
        row(
            "icmp: the last hop is not forwarded",
            from_backend(&unreachable(BACKEND, 99).ttl(1)),
            Fate::Stops(Reason::TimeToLive),
        )
        .after(&[nat_query()]),
    ]
}

fn icmp_to_backend() -> Vec<Row> {
    let sent = Stack::tcp(NAT_HTTP, CLIENT, ACK, b"much").ttl(63);
    let original = Stack::tcp(BACKEND_END, OWN_END, ACK, b"much").ttl(63);
    let needed = |packet: &Ipv4| {
        let mut body = quoting(packet, 28);
        body.splice(2..4, 1400u16.to_be_bytes());
        body
    };
    let nat = Stack::icmp(ROUTER, NAT_VIP, 3, 4, &needed(&sent));
    let nat_translated = Stack::icmp(OWN, BACKEND, 3, 4, &needed(&original)).ttl(63);
    let dsr_sent = Stack::tcp(DSR_HTTP, CLIENT, ACK, b"much");
    let dsr = Stack::icmp(ROUTER, DSR_VIP, 3, 4, &needed(&dsr_sent));
    vec![
        row(
            "icmp: fragmentation needed reaches the backend in its own terms",
            from_client(&nat),
            leaves(Reason::IcmpForward, to_backend(&nat_translated)),
        )
        .after(&[nat_syn()]),
        row(
            "icmp: fragmentation needed about an unknown flow is dropped",
            from_client(&nat),
            Fate::Stops(Reason::NoFlow),
        ),
        row(
            "icmp: fragmentation needed follows a flow through the slots",
            from_client(&dsr),
            leaves(Reason::IcmpForward, to_backend(&dsr.clone().within(OWN, BACKEND))),
        ),
        row(
            "icmp: an error about an older flow of a moving slot goes to the settled owner",
            from_client(&dsr),
            leaves(Reason::IcmpForward, to_backend(&dsr.clone().within(OWN, BACKEND))),
        )
        .with_slot(MOVING),
        row(
            "icmp: an error about a recorded flow follows its record",
            from_client(&dsr),
            leaves(Reason::IcmpForward, to_backend(&dsr.clone().within(OWN, MOVED))),
        )
        .with_slot(MOVING)
        .after(&[from_client(&Stack::tcp(CLIENT, DSR_HTTP, SYN, b""))]),
        row(
            "icmp: fragmentation needed about IPIP of ours passes to the host, which learns the path",
            from_backend(&Stack::icmp(
                ROUTER,
                OWN,
                3,
                4,
                &quoting(&Stack::tcp(CLIENT, DSR_HTTP, ACK, b"").within(OWN, BACKEND), 99),
            )),
            Fate::Stops(Reason::IcmpNotOurs),
        ),
    ]
}
