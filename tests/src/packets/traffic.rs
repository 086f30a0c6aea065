//! Random traffic that makes sense: clients that come again, backends that answer what they were sent, routers that
//! complain about it, and on wish all of these damaged.

use super::build::{End, Ipv4, Stack};
use super::house::{BACK_MAC, BACKEND_MAC, OWN, OWN_MAC, ROUTER_MAC};
use super::random::Random;
use super::town::{PLACES, Place};
use lb_common::abi::Forward;
use lb_common::datapath::{Direction, Outcome};
use lb_common::wire::protocol;
use std::collections::VecDeque;

/// Packets that answers and errors are about.
const REMEMBERED: usize = 64;
const CLIENTS: u16 = 60;
const ROUTER: [u8; 4] = [192, 0, 2, 1];
/// Control bits as they come: mostly a connection's own, seldom nonsense.
const FLAGS: [u8; 12] = [0x02, 0x02, 0x02, 0x10, 0x10, 0x18, 0x11, 0x04, 0x12, 0x00, 0xff, 0xc2];

/// Which packets come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// For which services; `None` for all.
    pub forward: Option<Forward>,
    /// How many of a hundred are damaged.
    pub damaged: usize,
}

/// The ends of a packet that left.
#[derive(Clone, Debug)]
struct Seen {
    source: End,
    destination: End,
    protocol: u8,
    direction: Direction,
}

/// A source of packets.
#[derive(Debug)]
pub struct Traffic {
    random: Random,
    mix: Mix,
    seen: VecDeque<Seen>,
}

impl Traffic {
    /// The same seed and the same outcomes give the same packets.
    #[must_use]
    pub fn new(seed: u64, mix: Mix) -> Self {
        Self { random: Random::new(seed), mix, seen: VecDeque::new() }
    }

    /// The next packet.
    pub fn packet(&mut self) -> Vec<u8> {
        let frame = match self.random.below(100) {
            0..55 => self.request(),
            55..85 => self.answer(),
            _ => self.complaint(),
        };
        if self.random.percent(self.mix.damaged) { self.damage(frame) } else { frame }
    }

    /// Tells what became of the last packet, so that it can be answered.
    pub fn observe(&mut self, outcome: &Outcome, bytes: &[u8]) {
        let Ok(steered) = outcome else { return };
        let Some(seen) = Seen::in_frame(bytes, steered.direction) else { return };
        if self.seen.len() == REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back(seen);
    }

    fn request(&mut self) -> Vec<u8> {
        let places: Vec<&Place> =
            PLACES.iter().filter(|place| self.mix.forward.is_none_or(|only| only == place.forward)).collect();
        let place = *self.random.one_of(&places);
        let number = self.random.word(CLIENTS);
        let client = ([198, 51, 100, u8::try_from(number % 7).unwrap_or(0)], 50_000 + number);
        let packet = self.transport(place.protocol, client, place.vip);
        self.in_frame(packet, OWN_MAC, ROUTER_MAC)
    }

    /// What a backend sends back for what it was sent.
    fn answer(&mut self) -> Vec<u8> {
        match self.remembered(Direction::ToBackend) {
            Some(seen) => {
                let packet = self.transport(seen.protocol, seen.destination, seen.source);
                self.in_frame(packet, BACK_MAC, BACKEND_MAC)
            }
            None => self.request(),
        }
    }

    /// A router's error about what left for a backend or a client, or about what a backend sent without us.
    fn complaint(&mut self) -> Vec<u8> {
        let direct =
            PLACES.iter().find(|place| Some(place.forward) == self.mix.forward.or(Some(Forward::DsrIpip)));
        if let (Some(place), true) = (direct, self.random.percent(40)) {
            let client = ([198, 51, 100, self.random.byte() % 7], 50_000 + self.random.word(CLIENTS));
            let quoted = self.transport(place.protocol, place.vip, client);
            return self.error(&quoted, place.vip.0, OWN_MAC, ROUTER_MAC);
        }
        let direction = if self.random.percent(50) { Direction::ToBackend } else { Direction::ToClient };
        let Some(seen) = self.remembered(direction) else { return self.request() };
        let quoted = self.transport(seen.protocol, seen.source, seen.destination);
        match direction {
            Direction::ToBackend => self.error(&quoted, OWN, BACK_MAC, BACKEND_MAC),
            Direction::ToClient => self.error(&quoted, seen.source.0, OWN_MAC, ROUTER_MAC),
        }
    }

    fn error(&mut self, quoted: &Ipv4, to: [u8; 4], destination: [u8; 6], source: [u8; 6]) -> Vec<u8> {
        let mut quotation = quoted.ip_bytes();
        if self.random.percent(60) {
            let length = self.random.below(quotation.len() + 1);
            quotation.truncate(length.max(24));
        }
        let kind = *self.random.one_of(&[3, 3, 11, 12, 5, 8]);
        let body = [&[0, 0, 5, 0xdc], &quotation[..]].concat();
        let packet = Stack::icmp(ROUTER, to, kind, self.random.byte() % 5, &body);
        self.in_frame(packet, destination, source)
    }

    fn remembered(&mut self, direction: Direction) -> Option<Seen> {
        let fitting: Vec<&Seen> = self.seen.iter().filter(|seen| seen.direction == direction).collect();
        (!fitting.is_empty()).then(|| (*self.random.one_of(&fitting)).clone())
    }

    fn transport(&mut self, protocol: u8, source: End, destination: End) -> Ipv4 {
        let length =
            if self.random.percent(5) { 1400 + self.random.below(61) } else { self.random.below(40) };
        let payload = self.random.bytes(length);
        if protocol == protocol::TCP {
            return Stack::tcp(source, destination, *self.random.one_of(&FLAGS), &payload);
        }
        let datagram = Stack::udp(source, destination, &payload);
        if self.random.percent(20) { datagram.unsummed() } else { datagram }
    }

    /// With a header that is seldom the plain one.
    fn in_frame(&mut self, packet: Ipv4, destination: [u8; 6], source: [u8; 6]) -> Vec<u8> {
        let mut packet = packet.identification(self.random.word(u16::MAX));
        if self.random.percent(10) {
            packet = packet.options(&vec![1; 4 * (1 + self.random.below(10))]);
        }
        if self.random.percent(10) {
            packet = packet.ttl(self.random.byte() % 4).class(self.random.byte());
        }
        if self.random.percent(4) {
            packet = packet.fragment(*self.random.one_of(&[0, 0x2000, 0x2003, 0x0010, 0x8000]));
        }
        let tag = self.random.word(u16::MAX);
        let frame = if self.random.percent(10) {
            packet.tagged(destination, source, tag)
        } else {
            packet.ethernet(destination, source)
        };
        let padding = if self.random.percent(10) { self.random.below(30) } else { 0 };
        frame.followed_by(&vec![0xee; padding]).bytes()
    }

    /// Bytes changed, cut off or added; never less than an Ethernet header, which the kernel's test run wants.
    fn damage(&mut self, mut frame: Vec<u8>) -> Vec<u8> {
        match self.random.below(10) {
            0 => frame.truncate(14 + self.random.below(frame.len() - 13)),
            1 => frame.extend(self.random.bytes(9)),
            _ => {
                for _ in 0..=self.random.below(3) {
                    // Headers are where it hurts.
                    let at = self.random.below(frame.len().min(90));
                    frame.splice(at..=at, [self.random.byte()]);
                }
            }
        }
        frame
    }
}

impl Seen {
    fn in_frame(frame: &[u8], direction: Direction) -> Option<Self> {
        let tagged = frame.get(12..14)? == [0x81, 0];
        let packet = frame.get(if tagged { 18 } else { 14 }..)?;
        let header_length = usize::from(packet.first()? & 15) * 4;
        let ports = packet.get(header_length..header_length + 4)?;
        let end = |address: usize, port: usize| -> Option<End> {
            let address = packet.get(address..address + 4)?.try_into().ok()?;
            Some((address, u16::from_be_bytes(ports.get(port..port + 2)?.try_into().ok()?)))
        };
        let protocol = *packet.get(9)?;
        let carries_ports = protocol == protocol::TCP || protocol == protocol::UDP;
        let (source, destination) = (end(12, 0)?, end(16, 2)?);
        carries_ports.then_some(Self { source, destination, protocol, direction })
    }
}
