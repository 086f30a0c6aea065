//! The words a row is written in: whence a packet comes, what went before, and what must become of it.

use super::annex::{self, Annex};
use super::build::{Network, Stack};
use super::house::{BACK_MAC, BACKEND_IFINDEX, BACKEND_MAC, OWN_MAC, ROUTER_MAC, SERVING, SETTLED};
use lb_common::abi::{BackendFlags, Slot};
use lb_common::datapath::Reason;

/// What must become of a row's packet.
#[derive(Clone, Debug)]
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
    /// It passes to the stack, rewritten to exactly these bytes.
    Passes {
        /// Why.
        reason: Reason,
        /// The whole packet.
        packet: Vec<u8>,
    },
    /// It passes or is dropped, untouched.
    Stops(Reason),
}

/// Which of the packet path's two ends a row is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The balancer's.
    Balance,
    /// The balancer's, behind the guard.
    Guard,
    /// The backend's, which takes outer headers off.
    Decap,
}

/// What goes before a row's packet.
#[derive(Clone, Debug)]
pub enum Step {
    /// A packet that must leave.
    Leaves(Vec<u8>),
    /// A packet that must not leave.
    Stops(Vec<u8>),
    /// The tables change.
    Becomes(Setup),
}

/// A fixture.
#[derive(Clone, Debug)]
pub struct Row {
    /// The claim.
    pub sentence: String,
    /// The tables it starts from.
    pub setup: Setup,
    /// Which side it is for.
    pub side: Side,
    /// What goes first.
    pub before: Vec<Step>,
    /// The packet.
    pub packet: Vec<u8>,
    /// What must become of it.
    pub fate: Fate,
}

impl Row {
    /// Whether the programs are told what they are told for most rows, when they are loaded.
    #[must_use]
    pub fn is_of_usual_programs(&self) -> bool {
        let told = |setup: &Setup| (setup.room, setup.spread, setup.new_flows, setup.mtu);
        told(&self.setup) == told(&Setup::USUAL)
    }
}

/// What rows may have different in their tables.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The word of every service's only slot.
    pub slot: Slot,
    /// What is known of the backends.
    pub backend_flags: BackendFlags,
    /// Tag towards the backends; 0 for none.
    pub backend_vlan: u16,
    /// Records the flow table has room for; 0: enough.
    pub room: usize,
    /// Whether the services that translate encapsulate instead, and those that encapsulate translate.
    pub modes_exchanged: bool,
    /// Second tag towards the backends, within the first; 0 for none.
    pub backend_second_vlan: u16,
    /// Bits of outer sources that are taken from flows' hashes.
    pub spread: [u32; 2],
    /// Records that may be inserted in a second; 0: any number.
    pub new_flows: u32,
    /// Bytes that the interface takes which packets arrive by, and clients are behind; 0: any number.
    pub mtu: u32,
    /// What the tables have besides.
    pub annex: Annex,
}

impl Setup {
    /// What rows have that say nothing else.
    pub(super) const USUAL: Self = Self {
        slot: SETTLED,
        backend_flags: SERVING,
        backend_vlan: 0,
        room: 0,
        modes_exchanged: false,
        backend_second_vlan: 0,
        spread: [0; 2],
        new_flows: 0,
        mtu: 0,
        annex: annex::NONE,
    };
}

/// A row whose fate is not told yet.
#[derive(Clone)]
pub(super) struct Arrives {
    sentence: String,
    setup: Setup,
    /// The set-up after the steps before.
    now: Setup,
    side: Side,
    before: Vec<Step>,
    packet: Vec<u8>,
}

/// A frame comes, whatever is in it.
pub(super) fn frame(sentence: impl Into<String>, frame: &Stack) -> Arrives {
    let setup = Setup::USUAL;
    let packet = frame.clone().bytes();
    Arrives { sentence: sentence.into(), setup, now: setup, side: Side::Balance, before: Vec::new(), packet }
}

/// A frame comes to a backend that takes outer headers off.
pub(super) fn at_decap(sentence: impl Into<String>, stack: &Stack) -> Arrives {
    Arrives { side: Side::Decap, ..frame(sentence, stack) }
}

/// A packet comes from the client's side to the guard.
pub(super) fn guarded(sentence: impl Into<String>, packet: &impl Network) -> Arrives {
    guarded_frame(sentence, &client_frame(packet))
}

/// A frame comes to the guard.
pub(super) fn guarded_frame(sentence: impl Into<String>, stack: &Stack) -> Arrives {
    Arrives { side: Side::Guard, ..frame(sentence, stack) }
}

/// A packet comes from the client's side.
pub(super) fn from_client(sentence: impl Into<String>, packet: &impl Network) -> Arrives {
    frame(sentence, &client_frame(packet))
}

/// A packet comes from the backends' side.
pub(super) fn from_backend(sentence: impl Into<String>, packet: &impl Network) -> Arrives {
    frame(sentence, &backend_frame(packet))
}

/// A packet in the frame in which it comes from the client's side.
pub(super) fn client_frame(packet: &impl Network) -> Stack {
    packet.framed(OWN_MAC, ROUTER_MAC, &[])
}

/// A packet in the frame in which it comes from the backends' side.
pub(super) fn backend_frame(packet: &impl Network) -> Stack {
    packet.framed(BACK_MAC, BACKEND_MAC, &[])
}

impl Arrives {
    /// After this packet from the client's side.
    pub(super) fn after(self, packet: &impl Network) -> Self {
        self.after_frame(&client_frame(packet))
    }

    /// After this packet from the backends' side.
    pub(super) fn after_reply(self, packet: &impl Network) -> Self {
        self.after_frame(&backend_frame(packet))
    }

    /// After this frame.
    pub(super) fn after_frame(mut self, frame: &Stack) -> Self {
        self.before.push(Step::Leaves(frame.clone().bytes()));
        self
    }

    /// After this frame, which goes nowhere.
    pub(super) fn after_lost_frame(mut self, frame: &Stack) -> Self {
        self.before.push(Step::Stops(frame.clone().bytes()));
        self
    }

    /// After this packet from the client's side, which goes nowhere.
    pub(super) fn after_lost(self, packet: &impl Network) -> Self {
        self.after_lost_frame(&client_frame(packet))
    }

    /// After every slot became this word.
    pub(super) fn once_slot_is(self, slot: Slot) -> Self {
        let now = Setup { slot, ..self.now };
        self.once(now)
    }

    /// After this became known of every backend.
    pub(super) fn once_backends_are(self, backend_flags: BackendFlags) -> Self {
        let now = Setup { backend_flags, ..self.now };
        self.once(now)
    }

    /// After translating and encapsulating services changed places.
    pub(super) fn once_modes_are_exchanged(self) -> Self {
        let now = Setup { modes_exchanged: true, ..self.now };
        self.once(now)
    }

    fn once(mut self, now: Setup) -> Self {
        self.before.push(Step::Becomes(now));
        Self { now, ..self }
    }

    /// Where every slot is this word.
    pub(super) fn with_slot(self, slot: Slot) -> Self {
        self.with(|setup| setup.slot = slot)
    }

    /// Where this is known of every backend.
    pub(super) fn with_backends(self, backend_flags: BackendFlags) -> Self {
        self.with(|setup| setup.backend_flags = backend_flags)
    }

    /// Where the flow table has room for so many records.
    pub(super) fn with_room(self, room: usize) -> Self {
        self.with(|setup| setup.room = room)
    }

    /// Where backends are reached through a tag.
    pub(super) fn with_backend_vlan(self, backend_vlan: u16) -> Self {
        self.with(|setup| setup.backend_vlan = backend_vlan)
    }

    /// Where backends are reached through two tags.
    pub(super) fn with_backend_vlans(self, outer: u16, inner: u16) -> Self {
        self.with(|setup| (setup.backend_vlan, setup.backend_second_vlan) = (outer, inner))
    }

    /// Where outer sources have these bits of the flow's hash.
    pub(super) fn with_spread(self, spread: [u32; 2]) -> Self {
        self.with(|setup| setup.spread = spread)
    }

    /// Where so many records may be inserted in a second.
    pub(super) fn with_new_flows(self, new_flows: u32) -> Self {
        self.with(|setup| setup.new_flows = new_flows)
    }

    /// Where the interface that packets arrive by takes no larger ones.
    pub(super) fn with_mtu(self, mtu: u32) -> Self {
        self.with(|setup| setup.mtu = mtu)
    }

    /// Where the tables have this besides.
    pub(super) fn with_annex(self, annex: Annex) -> Self {
        self.with(|setup| setup.annex = annex)
    }

    fn with(mut self, change: impl FnOnce(&mut Setup)) -> Self {
        change(&mut self.setup);
        Self { now: self.setup, ..self }
    }

    /// It passes to the stack as this frame.
    pub(super) fn passes_as(self, reason: Reason, frame: &Stack) -> Row {
        self.ends(Fate::Passes { reason, packet: frame.clone().bytes() })
    }

    /// It passes or is dropped, untouched.
    pub(super) fn stops(self, reason: Reason) -> Row {
        self.ends(Fate::Stops(reason))
    }

    /// It leaves towards the backends as this packet.
    pub(super) fn reaches_backend(self, reason: Reason, packet: &impl Network) -> Row {
        self.reaches_backend_as(reason, &packet.framed(BACKEND_MAC, BACK_MAC, &[]))
    }

    /// It leaves towards the backends as this frame.
    pub(super) fn reaches_backend_as(self, reason: Reason, frame: &Stack) -> Row {
        let packet = frame.clone().bytes();
        self.ends(Fate::Leaves { reason, ifindex: BACKEND_IFINDEX, packet })
    }

    /// It leaves towards the client as this packet.
    pub(super) fn reaches_client(self, reason: Reason, packet: &impl Network) -> Row {
        self.reaches_client_as(reason, &packet.framed(ROUTER_MAC, OWN_MAC, &[]))
    }

    /// It leaves towards the backend that sent it as this packet.
    pub(super) fn reaches_sender(self, reason: Reason, packet: &impl Network) -> Row {
        self.reaches_client_as(reason, &packet.framed(BACKEND_MAC, BACK_MAC, &[]))
    }

    /// It leaves towards the client as this frame.
    pub(super) fn reaches_client_as(self, reason: Reason, frame: &Stack) -> Row {
        let packet = frame.clone().bytes();
        self.ends(Fate::Leaves { reason, ifindex: super::ARRIVAL_IFINDEX, packet })
    }

    fn ends(self, fate: Fate) -> Row {
        let Self { sentence, setup, side, before, packet, .. } = self;
        Row { sentence, setup, side, before, packet, fate }
    }
}
