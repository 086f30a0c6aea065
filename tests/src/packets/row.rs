//! The words a row is written in: whence a packet comes, what went before, and what must become of it.

use super::build::{Ipv4, Stack};
use super::house::{BACK_MAC, BACKEND_IFINDEX, BACKEND_MAC, OWN_MAC, ROUTER_MAC, SERVING, SETTLED};
use lb_common::abi::{BackendFlags, Slot};
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
    /// The tables it starts from.
    pub setup: Setup,
    /// Packets that go first and must all leave.
    pub before: Vec<Vec<u8>>,
    /// The packet.
    pub packet: Vec<u8>,
    /// What must become of it.
    pub fate: Fate,
}

/// What rows may have different in their tables.
#[derive(Clone, Copy)]
pub struct Setup {
    /// The word of every service's only slot.
    pub slot: Slot,
    /// What is known of the backends.
    pub backend_flags: BackendFlags,
    /// Tag towards the backends; 0 for none.
    pub backend_vlan: u16,
    /// Records the flow table has room for; 0: enough.
    pub room: usize,
}

/// A row whose fate is not told yet.
#[derive(Clone)]
pub(super) struct Arrives {
    sentence: &'static str,
    setup: Setup,
    before: Vec<Vec<u8>>,
    packet: Vec<u8>,
}

/// A frame comes, whatever is in it.
pub(super) fn frame(sentence: &'static str, frame: &Stack) -> Arrives {
    let setup = Setup { slot: SETTLED, backend_flags: SERVING, backend_vlan: 0, room: 0 };
    Arrives { sentence, setup, before: Vec::new(), packet: frame.clone().bytes() }
}

/// A packet comes from the client's side.
pub(super) fn from_client(sentence: &'static str, packet: &Ipv4) -> Arrives {
    frame(sentence, &client_frame(packet))
}

/// A packet comes from the backends' side.
pub(super) fn from_backend(sentence: &'static str, packet: &Ipv4) -> Arrives {
    frame(sentence, &backend_frame(packet))
}

/// A packet in the frame in which it comes from the client's side.
pub(super) fn client_frame(packet: &Ipv4) -> Stack {
    packet.ethernet(OWN_MAC, ROUTER_MAC)
}

/// A packet in the frame in which it comes from the backends' side.
pub(super) fn backend_frame(packet: &Ipv4) -> Stack {
    packet.ethernet(BACK_MAC, BACKEND_MAC)
}

impl Arrives {
    /// After this packet from the client's side.
    pub(super) fn after(self, packet: &Ipv4) -> Self {
        self.after_frame(&client_frame(packet))
    }

    /// After this frame.
    pub(super) fn after_frame(mut self, frame: &Stack) -> Self {
        self.before.push(frame.clone().bytes());
        self
    }

    /// Where every slot is this word.
    pub(super) fn with_slot(self, slot: Slot) -> Self {
        Self { setup: Setup { slot, ..self.setup }, ..self }
    }

    /// Where this is known of every backend.
    pub(super) fn with_backends(self, backend_flags: BackendFlags) -> Self {
        Self { setup: Setup { backend_flags, ..self.setup }, ..self }
    }

    /// Where the flow table has room for so many records.
    pub(super) fn with_room(self, room: usize) -> Self {
        Self { setup: Setup { room, ..self.setup }, ..self }
    }

    /// Where backends are reached through a tag.
    pub(super) fn with_backend_vlan(self, backend_vlan: u16) -> Self {
        Self { setup: Setup { backend_vlan, ..self.setup }, ..self }
    }

    /// It passes or is dropped, untouched.
    pub(super) fn stops(self, reason: Reason) -> Row {
        self.ends(Fate::Stops(reason))
    }

    /// It leaves towards the backends as this packet.
    pub(super) fn reaches_backend(self, reason: Reason, packet: &Ipv4) -> Row {
        self.reaches_backend_as(reason, &packet.ethernet(BACKEND_MAC, BACK_MAC))
    }

    /// It leaves towards the backends as this frame.
    pub(super) fn reaches_backend_as(self, reason: Reason, frame: &Stack) -> Row {
        let packet = frame.clone().bytes();
        self.ends(Fate::Leaves { reason, ifindex: BACKEND_IFINDEX, packet })
    }

    /// It leaves towards the client as this packet.
    pub(super) fn reaches_client(self, reason: Reason, packet: &Ipv4) -> Row {
        self.reaches_client_as(reason, &packet.ethernet(ROUTER_MAC, OWN_MAC))
    }

    /// It leaves towards the client as this frame.
    pub(super) fn reaches_client_as(self, reason: Reason, frame: &Stack) -> Row {
        let packet = frame.clone().bytes();
        self.ends(Fate::Leaves { reason, ifindex: super::ARRIVAL_IFINDEX, packet })
    }

    fn ends(self, fate: Fate) -> Row {
        let Self { sentence, setup, before, packet } = self;
        Row { sentence, setup, before, packet, fate }
    }
}
