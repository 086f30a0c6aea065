//! Random packets for every way of forwarding in both families: what clients send, what backends answer, what routers
//! complain about, whole and in fragments, tagged and not.

use super::annex::{
    LOCAL, MODES, Mode, backend, client, moved, other_client, own, router, service, vip, with_endpoints,
};
use super::build::Network as _;
use super::house::{
    BACK_MAC, BACKEND_MAC, FIRST, GUE_PORT, LEAVING, OWN_MAC, ROUTER_MAC, SECOND, SERVING, house,
};
use super::ip::{Complaint, Ip};
use super::random::Random;
use super::row::Setup;
use crate::family::Family;
use lb_common::abi::{BackendFlags, BackendId, Slot};
use lb_common::datapath::HostTables;
use std::net::SocketAddr;

/// A source of such packets.
#[derive(Debug)]
pub struct Medley(Random);

impl Medley {
    /// The same seed gives the same packets.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }

    /// The tables that the packets are for.
    #[must_use]
    pub fn tables() -> HostTables {
        house(&Setup { annex: with_endpoints, ..Setup::USUAL })
    }

    /// Moves or settles all slots, or lets backends die or come back.
    pub fn change(&mut self, tables: &mut HostTables) {
        let backends = [FIRST, SECOND, BackendId::NONE];
        let [current, settled] = [*self.0.one_of(&backends), *self.0.one_of(&backends)];
        let slot = if self.0.percent(50) {
            Slot::settled_on(*self.0.one_of(&[FIRST, SECOND]))
        } else {
            Slot::tracking(current, settled)
        };
        let known = [SERVING, SERVING, LEAVING, BackendFlags::RESOLVED, BackendFlags::ALIVE];
        let backend_flags = *self.0.one_of(&known);
        super::furnish(tables, &Setup { slot, backend_flags, annex: with_endpoints, ..Setup::USUAL });
    }

    /// The next packet.
    pub fn packet(&mut self) -> Vec<u8> {
        let family = *self.0.one_of(&Family::BOTH);
        let mode = *self.0.one_of(&[&MODES[..], &[LOCAL]].concat());
        match self.0.below(100) {
            0..50 => self.request(mode, family),
            50..70 => self.answer(family),
            70..85 => self.complaint(mode, family),
            85..90 => self.complaint_about_outer(mode, family),
            _ => self.ping(family),
        }
    }

    fn request(&mut self, mode: Mode, family: Family) -> Vec<u8> {
        let client = self.client(family);
        let packet = self.transport(client, service(family, mode));
        self.arriving(packet)
    }

    /// What a backend sends to our end of a translated flow, or to a client.
    fn answer(&mut self, family: Family) -> Vec<u8> {
        let endpoint = SocketAddr::new(backend(family), 8080);
        let ours = SocketAddr::new(own(family), 40_000);
        let to = if self.0.percent(50) { ours } else { self.client(family) };
        let packet = self.transport(endpoint, to);
        self.framed(packet, BACK_MAC, BACKEND_MAC)
    }

    /// A router's error about what a service sent to a client, or about what we sent to a backend.
    fn complaint(&mut self, mode: Mode, family: Family) -> Vec<u8> {
        let (from, to) = if self.0.percent(70) {
            (service(family, mode), self.client(family))
        } else {
            (SocketAddr::new(own(family), 40_000), SocketAddr::new(backend(family), 8080))
        };
        let about = self.transport(from, to);
        let complaint = *self.0.one_of(&[Complaint::Port, Complaint::Hops, Complaint::TooBig(1400)]);
        let length = family.header_bytes() + 4 + self.0.below(120);
        let message = Ip::error((router(family), from.ip()), complaint, &about, length);
        self.arriving(message)
    }

    /// The same about a client's packet in an outer header.
    fn complaint_about_outer(&mut self, mode: Mode, family: Family) -> Vec<u8> {
        let outer = mode.backends.unwrap_or(family);
        let client = self.client(family);
        let inner = self.transport(client, service(family, mode));
        let (from, to) = (own(outer), *self.0.one_of(&[backend(outer), moved(outer)]));
        let about = if self.0.percent(50) {
            inner.within(from, to)
        } else {
            inner.within_udp(SocketAddr::new(from, 50_000), SocketAddr::new(to, GUE_PORT))
        };
        let complaint = *self.0.one_of(&[Complaint::TooBig(1400), Complaint::TooBig(90), Complaint::Hops]);
        let length = outer.header_bytes() + self.0.below(120);
        let message = Ip::error((router(outer), from), complaint, &about, length);
        self.framed(message, BACK_MAC, BACKEND_MAC)
    }

    fn ping(&mut self, family: Family) -> Vec<u8> {
        let to = *self.0.one_of(&[vip(family), own(family)]);
        let body = self.bytes(4, 60);
        let packet = Ip::ping(self.client(family).ip(), to, 0, &body);
        self.arriving(packet)
    }

    fn client(&mut self, family: Family) -> SocketAddr {
        let known = *self.0.one_of(&[client(family), other_client(family)]);
        SocketAddr::new(known.ip(), known.port() + self.0.word(3))
    }

    fn bytes(&mut self, least: usize, more: usize) -> Vec<u8> {
        let length = least + self.0.below(more);
        self.0.bytes(length)
    }

    fn transport(&mut self, from: SocketAddr, to: SocketAddr) -> Ip {
        let payload = if self.0.percent(5) { self.bytes(1400, 100) } else { self.bytes(0, 40) };
        let packet = if self.0.percent(60) {
            Ip::tcp(from, to, *self.0.one_of(&[0x02, 0x02, 0x10, 0x18, 0x11, 0x04]), &payload)
        } else {
            Ip::udp(from, to, &payload)
        };
        self.in_pieces(packet)
    }

    fn in_pieces(&mut self, packet: Ip) -> Ip {
        if !self.0.percent(10) {
            return packet;
        }
        let [first, later] = packet.pieces(self.0.word(3), 8);
        if self.0.percent(50) { first } else { later }
    }

    fn arriving(&mut self, packet: Ip) -> Vec<u8> {
        self.framed(packet, OWN_MAC, ROUTER_MAC)
    }

    fn framed(&mut self, mut packet: Ip, destination: [u8; 6], source: [u8; 6]) -> Vec<u8> {
        if self.0.percent(10) {
            packet = packet.with_options();
        }
        if self.0.percent(10) {
            packet = packet.hops(self.0.byte() % 4).class(self.0.byte());
        }
        let tags = [(0x88a8, self.0.word(u16::MAX)), (0x8100, self.0.word(u16::MAX))];
        let first = *self.0.one_of(&[2, 2, 2, 2, 1, 0]);
        packet.framed(destination, source, &tags[first..]).bytes()
    }
}
