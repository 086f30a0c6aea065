//! The paths: a row each of what goes before, the packet, and what must become of it.

use crate::floors::{MILLION, OUTER, OUTER_V6, XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX};
use crate::guard;
use crate::house::{
    BACKEND_PORT, FAR_VIP, GUARDED_VIP, MOVING_VIP, NAT_VIP, OWN, OWN_MAC, PEER_MAC, PORT, RATED_VIP,
    SETTLED_VIP, SETTLED_VIP_V6,
};
use crate::measure::{Case, Kind};
use crate::wrapper::{BenchObject, Expected, Wrapper, Wrapping};
use anyhow::{Context, Result, ensure};
use lb_common::datapath::Reason;
use lb_common::wire::protocol;
use lb_tests::packets::Stack;
use lb_userspace::kernel::{Datapath, Program};

/// TCP control bits. Source: RFC 9293, section 3.1.
pub(crate) const ACK: u8 = 0x10;
const SYN: u8 = 0x02;
const NULL: u8 = 0;

pub(crate) const CLIENT: ([u8; 4], u16) = ([198, 51, 100, 7], 51_000);
const NOT_A_VIP: [u8; 4] = [192, 0, 2, 1];
/// Ten bytes: with the headers 64, the shortest frame but for its check sequence.
const PAYLOAD: [u8; 10] = [0x55; 10];

/// A path through the balancer.
pub(crate) struct Path {
    /// Its name in the report.
    pub(crate) name: &'static str,
    floor: &'static str,
    wrapping: Wrapping,
    before: Vec<Vec<u8>>,
    /// Goes before once for each flow that is walked through.
    opening: Option<Vec<u8>>,
    packet: Packet,
    program: Program,
    reason: Reason,
    expected: Expected,
}

enum Packet {
    Is(Vec<u8>),
    /// What a backend answers to the last packet that went before.
    RepliesToTheLast,
}

/// All paths that are measured.
pub(crate) fn all() -> Vec<Path> {
    use Wrapping::{Flows, Headers, Link, Scattered};
    let encap = Expected { action: XDP_TX, growth: OUTER };
    let dropped = Expected { action: XDP_DROP, growth: 0 };
    let rewrite = Expected { action: XDP_TX, growth: 0 };
    let path = |name, floor, wrapping, packet, reason, expected| Path {
        name,
        floor,
        wrapping,
        before: Vec::new(),
        opening: None,
        packet: Packet::Is(packet),
        program: Program::Balance,
        reason,
        expected,
    };
    let dsr = |name, floor, wrapping, packet| path(name, floor, wrapping, packet, Reason::Settled, encap);
    vec![
        path(
            "pass.v4",
            "pass",
            Link,
            plain_packet(ACK),
            Reason::NotAVip,
            Expected { action: XDP_PASS, growth: 0 },
        ),
        path("nat.v4.tcp.forward", "rewrite", Headers, to(NAT_VIP, ACK), Reason::NatForward, rewrite)
            .after(to(NAT_VIP, SYN)),
        path("nat.v4.tcp.reply", "rewrite", Headers, Vec::new(), Reason::NatReply, rewrite)
            .after(to(NAT_VIP, SYN))
            .replying(),
        dsr("dsr-ipip.v4.tcp.settled", "encap", Link, to(SETTLED_VIP, ACK)),
        path(
            "dsr-ipip.v6.tcp.settled",
            "encap",
            Link,
            to_v6(ACK),
            Reason::Settled,
            Expected { action: XDP_TX, growth: OUTER_V6 },
        ),
        dsr("dsr-ipip.v4.tcp.settled.redirect", "encap", Link, to(FAR_VIP, ACK)).by_redirect(),
        dsr("dsr-ipip.v4.tcp.settled.1m", "encap.walk", Flows(MILLION), to(SETTLED_VIP, ACK)),
        dsr("dsr-ipip.v4.tcp.new-tuples", "encap.walk", Flows(1 << 32), to(SETTLED_VIP, SYN)),
        path("dsr-ipip.v4.tcp.moving", "encap", Link, to(MOVING_VIP, ACK), Reason::Recorded, encap)
            .after(to(MOVING_VIP, SYN)),
        path(
            "dsr-ipip.v4.tcp.moving.1m",
            "encap.walk",
            Scattered(MILLION),
            to(MOVING_VIP, ACK),
            Reason::Recorded,
            encap,
        )
        .opened_by(to(MOVING_VIP, SYN)),
        dsr("guard.off.v4.allow-hit", "encap", Link, to(GUARDED_VIP, ACK)),
        dsr("guard.v4.allow-hit", "encap", Link, to(GUARDED_VIP, ACK)).guarded(),
        path("guard.v4.deny", "drop", Link, denied(GUARDED_VIP), Reason::Denied, dropped).guarded(),
        path("guard.v4.bad-flags", "drop", Link, to(GUARDED_VIP, NULL), Reason::BadFlags, dropped).guarded(),
        path("guard.v4.rate", "drop", Link, to(RATED_VIP, ACK), Reason::SourceRate, dropped)
            .guarded()
            .after(to(RATED_VIP, ACK)),
    ]
}

impl Path {
    fn after(mut self, packet: Vec<u8>) -> Self {
        self.before.push(packet);
        self
    }

    /// Every flow that is walked through begins with this packet, in order.
    fn opened_by(self, packet: Vec<u8>) -> Self {
        Self { opening: Some(packet), ..self }
    }

    /// By way of the guard.
    fn guarded(self) -> Self {
        Self { program: Program::Guard, ..self }
    }

    fn replying(self) -> Self {
        Self { packet: Packet::RepliesToTheLast, ..self }
    }

    fn by_redirect(self) -> Self {
        Self { expected: Expected { action: XDP_REDIRECT, ..self.expected }, ..self }
    }
}

/// A packet for nobody we know.
pub(crate) fn plain_packet(flags: u8) -> Vec<u8> {
    from_client((NOT_A_VIP, 443), flags)
}

/// A packet for a service.
pub(crate) fn to(vip: [u8; 4], flags: u8) -> Vec<u8> {
    from_client((vip, PORT), flags)
}

/// From a network that the guard's lists deny.
fn denied(vip: [u8; 4]) -> Vec<u8> {
    let source = (guard::DENIED, CLIENT.1);
    Stack::tcp(source, (vip, PORT), ACK, &PAYLOAD).ethernet(OWN_MAC, PEER_MAC).bytes()
}

/// The same over IPv6. Its checksum is wrong, which nobody on the way looks at.
fn to_v6(flags: u8) -> Vec<u8> {
    let v4 = to(SETTLED_VIP, flags);
    let (link, transport) = (v4.get(..12).unwrap_or_default(), v4.get(34..).unwrap_or_default());
    let length = u8::try_from(transport.len()).unwrap_or(0);
    let mut packet = [link, &[0x86, 0xdd, 0x60, 0, 0, 0, 0, length, protocol::TCP, 64]].concat();
    packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    packet.extend(SETTLED_VIP_V6);
    packet.extend(transport);
    packet
}

fn from_client(destination: ([u8; 4], u16), flags: u8) -> Vec<u8> {
    Stack::tcp(CLIENT, destination, flags, &PAYLOAD).ethernet(OWN_MAC, PEER_MAC).bytes()
}

/// A path, ready to be measured: what goes before has gone through the program itself, which made its own records.
pub(crate) fn case(datapath: &mut Datapath, bench: &BenchObject, path: Path) -> Result<Case> {
    let mut last = Vec::new();
    for packet in &path.before {
        let (action, sent) = datapath.programs.run(path.program, packet)?;
        ensure!(action == XDP_TX, "{}: a packet that goes before was not sent on: {action}", path.name);
        last = sent;
    }
    let packet = match path.packet {
        Packet::Is(packet) => packet,
        Packet::RepliesToTheLast => reply(&last).with_context(|| path.name.to_owned())?,
    };
    let target = datapath.programs.descriptor(path.program)?;
    if let Some(packet) = path.opening {
        Wrapper::new(bench, target, packet, Wrapping::Flows(MILLION), path.expected)?.walk_once()?;
    }
    let wrapper = Wrapper::new(bench, target, packet, path.wrapping, path.expected)
        .with_context(|| path.name.to_owned())?;
    Ok(Case::new(path.name, Kind::Path { floor: path.floor, reason: path.reason }, wrapper))
}

/// A backend's answer to a translated packet: its addresses and ports turned round.
fn reply(sent: &[u8]) -> Result<Vec<u8>> {
    let field = |at| sent.get(at..at + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    let (backend, ports) = field(30).zip(field(34)).context("the translated packet is too short")?;
    let port = u16::from_be_bytes([ports[0], ports[1]]);
    let packet = Stack::tcp((backend, BACKEND_PORT), (OWN, port), ACK, &PAYLOAD);
    Ok(packet.ethernet(OWN_MAC, [2, 0, 0, 1, 0, backend[3]]).bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floors::FLOORS;
    use crate::wrapper::PACKET;

    #[test]
    fn every_path_has_a_floor_that_is_measured() {
        for path in all() {
            assert!(FLOORS.iter().any(|floor| floor.name == path.floor), "{}", path.name);
        }
    }

    #[test]
    fn no_two_paths_share_a_name() {
        let mut names: Vec<_> = all().iter().map(|path| path.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all().len());
    }

    #[test]
    fn a_reply_turns_addresses_and_ports_round() {
        let sent = Stack::tcp((OWN, 40_000), ([10, 0, 1, 3], BACKEND_PORT), SYN, &PAYLOAD)
            .ethernet([2, 0, 0, 1, 0, 3], OWN_MAC)
            .bytes();
        let reply = reply(&sent).unwrap();
        assert_eq!((&reply[26..30], &reply[30..34]), (&[10, 0, 1, 3][..], &OWN[..]));
        assert_eq!(reply[34..38], [0x1f, 0x90, 0x9c, 0x40]);
        assert_eq!(reply.len(), PACKET);
    }
}
