//! One service as planned: where its slots lie, who gets them, and what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_common::abi::{self, BackendId, Slot};
use lb_common::wire::U16be;

use super::records::Records;
use super::regions::Regions;
use super::slots::{Handover, SlotTable};
use super::{GRACE, Observations, PlanError, encode, turns};
use crate::config::{Forward, Protocol, Select, Service, Tracking, Vip};
use crate::maglev::{self, Member, Size};

/// A service's place in the plan. Cheap to copy: what is large is shared until it changes.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) name: String,
    pub(super) vip: Vip,
    /// Its number, for events.
    pub(super) number: u16,
    pub(super) forward: Forward,
    select: Select,
    gue_port: u16,
    server_id_bytes: u8,
    /// The servers of a QUIC service.
    pub(super) servers: BTreeMap<[u8; 8], BackendId>,
    pub(super) first_slot: u32,
    pub(super) slots: Arc<SlotTable>,
    tracking: Tracking,
    idle: Duration,
    selection: Arc<Selection>,
    /// Backends whose flows may stay with them.
    keepers: BTreeSet<BackendId>,
}

/// What a service's plan depends on besides its configuration.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) records: &'a Records,
    pub(super) seed: u64,
    pub(super) now: Instant,
}

impl Planned {
    /// The service's next state. `regions` gives a new range of slots if it has none or outgrew the one it has.
    pub(super) fn next(
        service: &Service,
        number: u16,
        previous: Option<&Self>,
        around: Surroundings<'_>,
        regions: &mut Regions,
    ) -> Result<Self, PlanError> {
        let size = Size::for_weights(service.backends.iter().map(|backend| backend.weight));
        let (first_slot, slots) = place(service, size, previous, around.now, regions)?;
        let mut next = Self {
            name: service.name.clone(),
            vip: service.vip,
            number,
            forward: service.forward,
            select: service.select,
            gue_port: service.gue_port,
            server_id_bytes: service.server_id_bytes,
            servers: servers(service, around.records),
            tracking: service.tracking,
            idle: service.idle,
            first_slot,
            slots,
            selection: Selection::of(service, size, around, previous.map(|previous| &previous.selection)),
            keepers: keepers(service.vip, around.records),
        };
        if !previous.is_some_and(|previous| next.selects_like(previous)) {
            next.hand_over(around.now);
        }
        Ok(next)
    }

    /// Whether nothing that decides about slots has changed.
    fn selects_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.selection, &other.selection)
            && self.keepers == other.keepers
            && self.handover() == other.handover()
            && self.first_slot == other.first_slot
    }

    fn hand_over(&mut self, now: Instant) {
        let keeps = |id| self.keepers.contains(&id);
        let next = self.slots.handed_over(&self.selection.owners, self.handover(), keeps, now);
        self.slots = Arc::new(next);
    }

    /// Flows of NAT and UDP always have a record, which wins over the slot; only a TCP flow that any backend could be
    /// sent is told apart by its slot.
    const fn handover(&self) -> Handover {
        match (self.forward, self.vip.protocol, self.tracking) {
            _ if self.select.needs_records() || self.knows_answers_by_record() => Handover::Immediate,
            (_, Protocol::Udp, _) | (.., Tracking::Never) => Handover::Immediate,
            (_, Protocol::Tcp, Tracking::Auto | Tracking::Always) => Handover::Tracked,
        }
    }

    const fn knows_answers_by_record(&self) -> bool {
        self.forward.knows_answers_by_record(self.tracking)
    }

    /// Whether it translates by record, and clients' addresses stay.
    pub(super) fn keeps_clients(&self) -> bool {
        self.knows_answers_by_record() && self.forward == Forward::Dnat
    }

    fn flags(&self) -> abi::ServiceFlags {
        let kept =
            if self.keeps_clients() { abi::ServiceFlags::KEEPS_CLIENT } else { abi::ServiceFlags::default() };
        kept.with(self.tracks())
    }

    const fn tracks(&self) -> abi::ServiceFlags {
        match (self.forward, self.vip.protocol, self.tracking) {
            (Forward::Nat, ..) => abi::ServiceFlags::TRACK_ALWAYS,
            _ if self.select.needs_records() => abi::ServiceFlags::TRACK_ALWAYS,
            (_, Protocol::Tcp, Tracking::Auto) => abi::ServiceFlags(0),
            (.., Tracking::Never) => abi::ServiceFlags::TRACK_NEVER,
            _ => abi::ServiceFlags::TRACK_ALWAYS,
        }
    }

    /// Its entry of the service table.
    pub(super) fn entry(&self) -> abi::Service {
        let (key, forward) = (encode::service_key(self.vip), encode::forward(self.forward, self.tracking));
        let (slots, flags) = (self.selection.in_turn.unwrap_or(self.len()), self.flags());
        let entry = abi::Service::new(key, forward, self.number, self.first_slot, slots, flags);
        let bits = if let Select::SourceHash { bits } = self.select { bits } else { 0 };
        let mut entry = entry.selecting(encode::select(self.select)).with_prefix_bits(bits);
        entry.gue_port = U16be::new(self.gue_port);
        entry.server_id_bytes = self.server_id_bytes;
        entry
    }

    /// How many slots it has.
    #[allow(clippy::cast_possible_truncation, reason = "sizes are those of `Size`")]
    pub(super) fn len(&self) -> u32 {
        self.slots.words().len() as u32
    }

    /// A slot by its index in the map, if it is one of this service's.
    pub(super) fn slot(&self, index: u32) -> Option<Slot> {
        self.slots.words().get(index.checked_sub(self.first_slot)? as usize).copied()
    }

    /// Ends the transitions of slots whose old flows are over.
    pub(super) fn settle(&mut self, seen: &Observations<'_>, now: Instant) {
        let look = |index, since| {
            let slot = self.first_slot + index;
            let here = now.saturating_duration_since(since);
            let unused = (seen.last_use)(slot).map_or(here, |age| age.min(here));
            let has_strays = seen.strays.get(&slot).is_some_and(|flows| *flows > 0);
            (seen.taken_at >= since + GRACE).then_some((unused >= self.idle, has_strays))
        };
        if self.slots.tracked() > 0 {
            self.slots = Arc::new(self.slots.settled(look));
        }
    }
}

/// Where the service's slots lie, and what they say so far. A service that shrinks keeps its range, because slots
/// cannot be joined without losing flows.
fn place(
    service: &Service,
    size: Size,
    previous: Option<&Planned>,
    now: Instant,
    regions: &mut Regions,
) -> Result<(u32, Arc<SlotTable>), PlanError> {
    let slots = match previous {
        Some(previous) if previous.len() >= size.slots() => {
            return Ok((previous.first_slot, previous.slots.clone()));
        }
        Some(previous) => previous.slots.stretched(size.slots(), now),
        None => SlotTable::vacant(size.slots()),
    };
    let free = regions.free();
    let full = PlanError::SlotsFull { service: service.name.clone(), needed: size.slots(), free };
    Ok((regions.allocate(size.slots()).ok_or(full)?, Arc::new(slots)))
}

/// The service's backends, those that are leaving too, whose flows may stay with them.
fn keepers(vip: Vip, records: &Records) -> BTreeSet<BackendId> {
    records.of_service(vip).filter(|(_, entry)| entry.state.keeps_flows()).map(|(id, _)| id).collect()
}

/// What the servers of a QUIC service call themselves.
fn servers(service: &Service, records: &Records) -> BTreeMap<[u8; 8], BackendId> {
    let server = |backend: &crate::config::Backend| {
        Some((backend.server_id?, records.id(&super::BackendKey::of(service, backend))?))
    };
    service.backends.iter().filter_map(server).collect()
}

/// Who gets which slot, and what that was computed from.
#[derive(Debug)]
struct Selection {
    seed: u64,
    size: Size,
    members: Vec<(Member, BackendId)>,
    owners: Vec<BackendId>,
    /// How many of them are gone through, where they are taken in turn.
    in_turn: Option<u32>,
}

impl Selection {
    /// The service's selection; the known one if it is of the same members, for building one takes milliseconds.
    fn of(service: &Service, size: Size, around: Surroundings<'_>, known: Option<&Arc<Self>>) -> Arc<Self> {
        let members = members(service, around.records);
        let turns = service.select == Select::RoundRobin;
        let is_same = |known: &&Arc<Self>| {
            (known.seed, known.size, known.in_turn.is_some()) == (around.seed, size, turns)
                && known.members == members
        };
        let build = || {
            if turns {
                Self::turns(around.seed, size, members.clone())
            } else {
                Self::build(around.seed, size, members.clone())
            }
        };
        known.filter(is_same).cloned().unwrap_or_else(|| Arc::new(build()))
    }

    /// The members in turn, over and over, as often as whole rounds fit the slots.
    fn turns(seed: u64, size: Size, members: Vec<(Member, BackendId)>) -> Self {
        let weights: Vec<u16> = members.iter().map(|(member, _)| member.weight).collect();
        let round = turns::round(&weights);
        let id = |index: &usize| members.get(*index).map_or(BackendId::NONE, |(_, id)| *id);
        let slots = size.slots() as usize;
        let owners: Vec<BackendId> = if round.is_empty() {
            vec![BackendId::NONE; slots]
        } else {
            round.iter().map(id).cycle().take(slots).collect()
        };
        let whole = slots - slots % round.len().max(1);
        let in_turn = u32::try_from(if whole == 0 { slots } else { whole }).ok();
        Self { seed, size, members, owners, in_turn }
    }

    fn build(seed: u64, size: Size, members: Vec<(Member, BackendId)>) -> Self {
        let players: Vec<Member> = members.iter().map(|(member, _)| *member).collect();
        let owner = |index: u16| members.get(usize::from(index)).map_or(BackendId::NONE, |(_, id)| *id);
        let owners = maglev::build(&players, size, seed).into_iter().map(owner).collect();
        Self { seed, size, members, owners, in_turn: None }
    }
}

/// The backends that take new flows, in an order that does not depend on the file's.
fn members(service: &Service, records: &Records) -> Vec<(Member, BackendId)> {
    let member = |backend: &crate::config::Backend| {
        let id = records.id(&super::BackendKey::of(service, backend))?;
        let takes = records.entry(id)?.state.takes_new_flows();
        takes.then_some((Member { address: backend.addr, weight: backend.weight }, id))
    };
    let mut members: Vec<_> = service.backends.iter().filter_map(member).collect();
    members.sort_unstable();
    members
}
