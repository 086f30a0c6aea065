//! Which flow records are over, and the sweep that deletes them.
//!
//! The kernel programs write records, and take one out only where its flow begins anew; this deletes the others, so that a
//! record's end may depend on things a packet's path should not look at. [`Rules`] decides and is pure; [`Sweep`] walks
//! through the table a bounded batch at a time. On its way it counts what the planner must know: flows by backend, and
//! records that keep a slot from settling.

use super::records::{FlowRecords, FlowWalk};
use super::{TableError, Tables};
use lb_common::abi::{BackendId, Flow, FlowKey, FlowKind, FlowState, Ip, Ticks};
use lb_common::wire::{U32be, ipv6, protocol};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// A closed connection's records stay this long, for retransmissions that are late. Not the minutes of a TCP's own
/// TIME-WAIT, because a translated flow holds a port that others wait for.
const CLOSED: Duration = Duration::from_secs(2);
/// The same where only the client's side is seen: its FIN may stand at the start of a long answer that it still
/// acknowledges, and its RST may be one that the backend ignores.
const CLOSED_ON_ONE_SIDE: Duration = Duration::from_mins(1);
/// A connection that was open, and that one side alone broke off: only the other side knows whether the reset had a number that it
/// heeds, or was made up; who goes on has it forgotten. Not the four minutes of RFC 7857, section 2.2, because ports are few; as long as a connection with something
/// to say is hardly ever silent.
const RESET_BY_ONE_SIDE: Duration = CLOSED_ON_ONE_SIDE;
/// A connection that was never open both ways: longer than a client's first four SYNs (1 + 2 + 4 + 8 s), short enough
/// that a flood of them does not stay.
const HALF_OPEN: Duration = Duration::from_secs(30);
/// The same while the table is nearly full, as in a flood of connections that are never opened: longer than a client's
/// first two SYNs, short enough that a flood gives way to those who answer.
const HALF_OPEN_UNDER_PRESSURE: Duration = Duration::from_secs(3);
/// A record whose partner is missing: both are written within microseconds, so anything older is a remnant.
const ORPHAN: Duration = Duration::from_secs(5);
/// Idle time of records whose backend is no longer configured.
const UNCONFIGURED: Duration = Duration::from_mins(5);

/// A record and the key it is found by.
type Entry<A> = (FlowKey<A>, Flow<A>);

/// Times after which records are over, in ticks.
#[derive(Clone, Debug)]
pub struct Rules {
    idle: HashMap<BackendId, u32>,
    unconfigured: u32,
    closed: u32,
    closed_on_one_side: u32,
    reset_by_one_side: u32,
    /// Backends that have few ports left for flows.
    short_of_ports: HashSet<BackendId>,
    half_open: u32,
    orphan: u32,
}

impl Rules {
    /// Rules with an idle time for each backend, given the length of a tick.
    #[must_use]
    pub fn new(idle: impl IntoIterator<Item = (BackendId, Duration)>, tick: Duration) -> Self {
        let ticks = |time| to_ticks(time, tick);
        Self {
            idle: idle.into_iter().map(|(backend, time)| (backend, ticks(time))).collect(),
            unconfigured: ticks(UNCONFIGURED),
            closed: ticks(CLOSED),
            closed_on_one_side: ticks(CLOSED_ON_ONE_SIDE),
            reset_by_one_side: ticks(RESET_BY_ONE_SIDE),
            short_of_ports: HashSet::new(),
            half_open: ticks(HALF_OPEN),
            orphan: ticks(ORPHAN),
        }
    }

    /// The rules for a table that is nearly full: connections that were never open go sooner, and so do those that one side broke off.
    #[must_use]
    pub fn under_pressure(self, tick: Duration) -> Self {
        Self { half_open: to_ticks(HALF_OPEN_UNDER_PRESSURE, tick), reset_by_one_side: self.closed, ..self }
    }

    /// The rules where these backends have few ports left: connections to them that one side broke off go sooner.
    #[must_use]
    pub fn short_of_ports(self, backends: HashSet<BackendId>) -> Self {
        Self { short_of_ports: backends, ..self }
    }

    /// Whether a record that only names a backend is over.
    #[must_use]
    pub fn is_pinned_over<A: Ip>(&self, protocol: u8, record: &Flow<A>, now: Ticks) -> bool {
        let limit = match record.state {
            _ if protocol != protocol::TCP => self.idle(record.backend),
            state if state.is_closing() => self.closed_on_one_side,
            state if !state.has(FlowState::ESTABLISHED) => self.half_open,
            _ => self.idle(record.backend),
        };
        age(record, now) >= limit.min(self.idle(record.backend))
    }

    /// Whether a translated flow is over, going by the records of both directions together.
    fn is_pair_over<A: Ip>(&self, protocol: u8, one: &Flow<A>, other: &Flow<A>, now: Ticks) -> bool {
        let limit = if protocol == protocol::TCP { self.pair_limit(one, other) } else { u32::MAX };
        age(one, now).min(age(other, now)) >= limit.min(self.idle(one.backend))
    }

    fn pair_limit<A: Ip>(&self, one: &Flow<A>, other: &Flow<A>) -> u32 {
        let both = |state| one.state.has(state) && other.state.has(state);
        let reset = one.state.has(FlowState::RESET) || other.state.has(FlowState::RESET);
        let ended = one.state.is_closing() && other.state.is_closing();
        match both(FlowState::ESTABLISHED) {
            _ if ended => self.closed,
            true if reset => self.reset_of(one.backend),
            true => u32::MAX,
            false if reset => self.closed,
            false => self.half_open,
        }
    }

    fn reset_of(&self, backend: BackendId) -> u32 {
        if self.short_of_ports.contains(&backend) { self.closed } else { self.reset_by_one_side }
    }

    /// Whether a record has been quiet long enough to look at its partner: what one direction alone can tell.
    fn is_worth_a_look<A: Ip>(&self, protocol: u8, record: &Flow<A>, now: Ticks) -> bool {
        let settled = record.state.has(FlowState::ESTABLISHED) && !record.state.is_closing();
        let limit =
            if protocol == protocol::TCP && !settled { self.closed } else { self.idle(record.backend) };
        age(record, now) >= limit.min(self.idle(record.backend))
    }

    fn is_orphan_over<A: Ip>(&self, record: &Flow<A>, now: Ticks) -> bool {
        age(record, now) >= self.orphan
    }

    fn idle(&self, backend: BackendId) -> u32 {
        self.idle.get(&backend).copied().unwrap_or(self.unconfigured)
    }

    /// What to delete of a record and its partner. First what sends packets to the other, so that at no time a packet
    /// is sent where no answer can come back.
    fn plan<A: Ip>(&self, entry: Entry<A>, partner: Option<Entry<A>>, now: Ticks) -> Vec<FlowKey<A>> {
        let (key, record) = entry;
        let over = match (record.kind(), partner) {
            (FlowKind::Pinned, _) => self.is_pinned_over(key.protocol(), &record, now),
            (_, None) => self.is_orphan_over(&record, now),
            (_, Some((_, other))) => self.is_pair_over(key.protocol(), &record, &other, now),
        };
        match (record.kind(), partner) {
            _ if !over => Vec::new(),
            (FlowKind::Reply, Some((forward, _))) => vec![forward, key],
            (_, partner) => std::iter::once(key).chain(partner.map(|(key, _)| key)).collect(),
        }
    }
}

/// Ticks since the record's last packet; 0 if that was after `now` was read.
fn age<A: Ip>(record: &Flow<A>, now: Ticks) -> u32 {
    let age = now.since(record.last_seen);
    if age > u32::MAX / 2 { 0 } else { age }
}

/// A time in whole ticks, rounded up.
fn to_ticks(time: Duration, tick: Duration) -> u32 {
    let ticks = time.as_nanos().div_ceil(tick.as_nanos().max(1));
    u32::try_from(ticks).unwrap_or(u32::MAX / 2).min(u32::MAX / 2)
}

/// What a sweep saw alive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observations {
    /// Flows; the two records of a translated one count once.
    pub flows: u64,
    /// Flows by backend.
    pub by_backend: HashMap<BackendId, u64>,
    /// Flows by backend that one side has broken off. Most are over, and keep nobody busy.
    pub broken_off: HashMap<BackendId, u64>,
    /// Flows by slot, of those that belong to another backend than the slot's current one. While a slot has any it
    /// must stay tracked.
    pub strays: HashMap<u32, u64>,
    /// Records deleted.
    pub deleted: u64,
}

impl Observations {
    /// Flows that a backend has to do with.
    #[must_use]
    pub fn load_of(&self, backend: BackendId) -> u64 {
        let count = |counts: &HashMap<BackendId, u64>| counts.get(&backend).copied().unwrap_or(0);
        // One that both sides have broken off counts twice among those, for the seconds that it still stays.
        count(&self.by_backend).saturating_sub(count(&self.broken_off))
    }

    fn note<A: Ip>(&mut self, record: &Flow<A>, slot: Option<(u32, BackendId)>) {
        if record.state.has(FlowState::RESET) {
            *self.broken_off.entry(record.backend).or_default() += 1;
        }
        if record.kind() == FlowKind::Reply {
            return;
        }
        self.flows += 1;
        *self.by_backend.entry(record.backend).or_default() += 1;
        match slot {
            Some((slot, current)) if current != record.backend => *self.strays.entry(slot).or_default() += 1,
            _ => {}
        }
    }
}

/// Where the flows of a key belong.
pub trait Slots {
    /// The slot that a key falls in and its current backend, `None` for keys of no service.
    fn slot_of<A: Ip>(&self, key: &FlowKey<A>) -> Option<(u32, BackendId)>;
}

/// A walk through all flow records that deletes those that are over. It begins anew after its end.
#[derive(Debug, Default)]
pub struct Sweep {
    v4: FlowWalk<U32be>,
    v6: FlowWalk<ipv6::Address>,
    /// Whether the records of IPv4 were all seen.
    is_half_done: bool,
    seen: Observations,
}

impl Sweep {
    /// Goes one batch further, which takes a few milliseconds at most; at the end of the walk gives what was seen.
    pub fn step(
        &mut self,
        tables: &mut Tables,
        rules: &Rules,
        slots: &impl Slots,
    ) -> Result<Option<Observations>, TableError> {
        let seen = &mut self.seen;
        if !self.is_half_done {
            let more = tables.flows.next(&mut self.v4);
            look(&self.v4, &tables.flows, (rules, tables.now()?), slots, seen);
            self.is_half_done = !more;
            return Ok(None);
        }
        let more = tables.flows_v6.next(&mut self.v6);
        look(&self.v6, &tables.flows_v6, (rules, tables.now()?), slots, seen);
        self.is_half_done = more;
        Ok((!more).then(|| std::mem::take(&mut self.seen)))
    }
}

/// Gives lines back that are free by now, deletes what is over of a batch, and notes the rest.
fn look<A: Ip>(
    walk: &FlowWalk<A>,
    records: &FlowRecords<A>,
    (rules, now): (&Rules, Ticks),
    slots: &impl Slots,
    seen: &mut Observations,
) {
    records.reclaim(walk);
    for (key, record) in walk.batch() {
        let worth_it = rules.is_worth_a_look(key.protocol(), &record, now);
        if worth_it && bury(records, rules, &key, now) {
            seen.deleted += 1;
        } else {
            seen.note(&record, slots.slot_of(&key));
        }
    }
}

/// Deletes a record, with its partner, if both together say that the flow is over. Both are read again first, because
/// a packet may have come since the batch was read. Whether the record is gone.
fn bury<A: Ip>(records: &FlowRecords<A>, rules: &Rules, key: &FlowKey<A>, now: Ticks) -> bool {
    let Some(record) = records.get(key) else { return true };
    let over = rules.plan((*key, record), partner(records, key, &record), now);
    for key in &over {
        records.delete(key);
    }
    !over.is_empty()
}

/// The record of the opposite direction. One at its place that leads back elsewhere belongs to another flow, which took
/// the port over.
fn partner<A: Ip>(records: &FlowRecords<A>, key: &FlowKey<A>, record: &Flow<A>) -> Option<Entry<A>> {
    if record.kind() == FlowKind::Pinned {
        return None;
    }
    let place = record.opposite(key.protocol());
    let found = records.get(&place).filter(|other| other.opposite(key.protocol()) == *key);
    found.map(|other| (place, other))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Key = FlowKey<U32be>;
    type Record = Flow<U32be>;
    use lb_common::abi::Hop;
    use lb_common::wire::{Ports, U16be};

    const TICK: Duration = Duration::from_millis(4);
    const SECOND: u32 = 250;
    const BACKEND: BackendId = BackendId::from_bits(7);

    fn rules() -> Rules {
        Rules::new([(BACKEND, Duration::from_mins(5))], TICK)
    }

    fn key(source: u32, destination: u32, protocol: u8) -> Key {
        let ports = Ports::new(U16be::new(1000), U16be::new(80));
        FlowKey::new(U32be::new(source), U32be::new(destination), ports, protocol)
    }

    fn client_key(protocol: u8) -> Key {
        key(1, 2, protocol)
    }

    fn with(state: FlowState, mut record: Record) -> Record {
        record.state = state;
        record
    }

    /// The two records of a translated flow, each with its key.
    fn pair(protocol: u8, states: [FlowState; 2], seen: [Ticks; 2]) -> [(Key, Record); 2] {
        let (arriving, leaving) = (client_key(protocol), key(3, 4, protocol));
        let forward =
            Record::translation(FlowKind::Forward, &arriving, &leaving, (BACKEND, Hop::default()), seen[0]);
        let reply = Record::translation(
            FlowKind::Reply,
            &leaving.reversed(),
            &arriving.reversed(),
            (BACKEND, Hop::default()),
            seen[1],
        );
        let forward = with(states[0], forward);
        let reply = with(states[1], reply);
        [(arriving, forward), (leaving.reversed(), reply)]
    }

    fn pinned(state: FlowState, last_seen: Ticks) -> Record {
        with(state, Record::pinned(BACKEND, last_seen))
    }

    fn is_over(states: [FlowState; 2], age: [u32; 2]) -> bool {
        let now = Ticks(1_000_000);
        let [forward, reply] = pair(protocol::TCP, states, age.map(|age| Ticks(now.0 - age)));
        let over = !rules().plan(forward, Some(reply), now).is_empty();
        assert_eq!(over, !rules().plan(reply, Some(forward), now).is_empty(), "both sides must agree");
        over
    }

    const OPEN: FlowState = FlowState::ESTABLISHED;
    const NEW: FlowState = FlowState(0);

    fn finished() -> FlowState {
        FlowState(OPEN.0 | FlowState::FINISHED.0)
    }

    fn broken() -> FlowState {
        FlowState(OPEN.0 | FlowState::RESET.0)
    }

    #[test]
    fn under_pressure_a_connection_that_was_never_open_goes_sooner_and_no_other() {
        let now = Ticks(1_000_000);
        let seen = [Ticks(now.0 - 4 * SECOND); 2];
        let [half, open] = [NEW, OPEN].map(|state| pair(protocol::TCP, [state; 2], seen));
        let is_over =
            |rules: &Rules, [one, other]: [(Key, Record); 2]| !rules.plan(one, Some(other), now).is_empty();
        let pressed = rules().under_pressure(TICK);
        assert!(!is_over(&rules(), half) && is_over(&pressed, half) && !is_over(&pressed, open));
    }

    #[test]
    fn the_two_records_of_a_flow_find_each_other() {
        let [(forward_key, forward), (reply_key, reply)] = pair(protocol::TCP, [OPEN; 2], [Ticks(0); 2]);
        assert_eq!(forward.opposite(protocol::TCP), reply_key);
        assert_eq!(reply.opposite(protocol::TCP), forward_key);
    }

    #[test]
    fn an_open_flow_lives_until_both_directions_are_idle() {
        assert!(!is_over([OPEN, OPEN], [301 * SECOND, 10]));
        assert!(!is_over([OPEN, OPEN], [10, 301 * SECOND]));
        assert!(is_over([OPEN, OPEN], [301 * SECOND, 300 * SECOND]));
    }

    #[test]
    fn a_half_closed_flow_is_idle_like_an_open_one() {
        assert!(!is_over([finished(), OPEN], [299 * SECOND, 299 * SECOND]));
    }

    #[test]
    fn a_closed_flow_lingers_for_late_packets_only() {
        assert!(!is_over([finished(), finished()], [SECOND, 3 * SECOND]));
        assert!(is_over([finished(), finished()], [2 * SECOND, 3 * SECOND]));
        assert!(is_over([broken(), finished()], [2 * SECOND, 2 * SECOND]));
        assert!(is_over([broken(), NEW], [2 * SECOND, 2 * SECOND]));
        assert!(is_over([NEW, broken()], [2 * SECOND, 2 * SECOND]));
    }

    #[test]
    fn an_open_flow_that_one_side_alone_broke_off_lingers_a_minute() {
        for states in [[OPEN, broken()], [broken(), OPEN]] {
            assert!(!is_over(states, [59 * SECOND, 59 * SECOND]));
            assert!(is_over(states, [60 * SECOND, 60 * SECOND]));
        }
    }

    #[test]
    fn a_flow_that_one_side_broke_off_goes_at_once_where_room_is_short() {
        let now = Ticks(1_000_000);
        let [one, other] = pair(protocol::TCP, [broken(), OPEN], [Ticks(now.0 - 2 * SECOND); 2]);
        let is_over = |rules: Rules| !rules.plan(one, Some(other), now).is_empty();
        assert!(!is_over(rules()) && is_over(rules().under_pressure(TICK)));
        assert!(is_over(rules().short_of_ports([BACKEND].into())));
        assert!(!is_over(rules().short_of_ports([BackendId::from_bits(8)].into())));
    }

    #[test]
    fn a_flow_that_never_opened_goes_early() {
        assert!(!is_over([NEW, OPEN], [29 * SECOND, 29 * SECOND]));
        assert!(is_over([NEW, NEW], [30 * SECOND, 30 * SECOND]));
        assert!(is_over([OPEN, NEW], [30 * SECOND, 31 * SECOND]));
    }

    #[test]
    fn whatever_is_over_is_worth_a_look_from_one_side_at_least() {
        let now = Ticks(1_000_000);
        for states in [[OPEN, OPEN], [NEW, OPEN], [OPEN, NEW], [finished(), finished()], [OPEN, broken()]] {
            let entries = pair(protocol::TCP, states, [Ticks(now.0 - 300 * SECOND); 2]);
            assert!(is_over(states, [300 * SECOND; 2]));
            assert!(entries.iter().any(|(key, record)| rules().is_worth_a_look(key.protocol(), record, now)));
        }
    }

    #[test]
    fn a_flow_is_deleted_from_the_side_that_opens_it() {
        let now = Ticks(10_000_000);
        let [forward, reply] = pair(protocol::TCP, [OPEN; 2], [Ticks(0); 2]);
        let keys = vec![forward.0, reply.0];
        assert_eq!(rules().plan(forward, Some(reply), now), keys);
        assert_eq!(rules().plan(reply, Some(forward), now), keys);
    }

    #[test]
    fn an_orphan_goes_after_seconds_and_alone() {
        let now = Ticks(1_000_000);
        let [forward, reply] = pair(protocol::UDP, [NEW; 2], [Ticks(now.0 - 5 * SECOND); 2]);
        assert_eq!(rules().plan(reply, None, now), vec![reply.0]);
        assert_eq!(rules().plan(forward, None, Ticks(now.0 - 1)), vec![]);
    }

    #[test]
    fn udp_knows_idle_time_only() {
        let now = Ticks(1_000_000);
        let at = |age| pair(protocol::UDP, [NEW; 2], [Ticks(now.0 - age); 2]);
        let [forward, reply] = at(299 * SECOND);
        assert!(rules().plan(forward, Some(reply), now).is_empty());
        let [forward, reply] = at(300 * SECOND);
        assert_eq!(rules().plan(forward, Some(reply), now).len(), 2);
    }

    #[test]
    fn a_pinned_flow_that_closed_lingers_a_minute() {
        let now = Ticks(1_000_000);
        let over =
            |state, age: u32| rules().is_pinned_over(protocol::TCP, &pinned(state, Ticks(now.0 - age)), now);
        assert!(!over(finished(), 59 * SECOND) && over(finished(), 60 * SECOND));
        assert!(!over(broken(), 59 * SECOND) && over(broken(), 60 * SECOND));
        assert!(!over(NEW, 29 * SECOND) && over(NEW, 30 * SECOND));
        assert!(!over(OPEN, 299 * SECOND) && over(OPEN, 300 * SECOND));
    }

    #[test]
    fn a_short_idle_time_bounds_every_other() {
        let rules = Rules::new([(BACKEND, Duration::from_secs(1))], TICK);
        let now = Ticks(1_000_000);
        for state in [NEW, OPEN, finished(), broken()] {
            assert!(rules.is_pinned_over(protocol::TCP, &pinned(state, Ticks(now.0 - SECOND)), now));
        }
    }

    #[test]
    fn records_of_forgotten_backends_have_an_idle_time_too() {
        let rules = Rules::new([], TICK);
        let now = Ticks(1_000_000);
        let over = |age: u32| rules.is_pinned_over(protocol::UDP, &pinned(OPEN, Ticks(now.0 - age)), now);
        assert!(!over(299 * SECOND) && over(300 * SECOND));
    }

    #[test]
    fn the_clock_may_wrap_between_two_packets() {
        let record = pinned(OPEN, Ticks(u32::MAX - 99));
        assert_eq!(age(&record, Ticks(150)), 250);
    }

    #[test]
    fn a_packet_later_than_now_is_no_age() {
        assert_eq!(age(&pinned(OPEN, Ticks(5)), Ticks(2)), 0);
        assert_eq!(age(&pinned(OPEN, Ticks(1)), Ticks(u32::MAX)), 0);
    }

    #[test]
    fn times_are_rounded_up_to_ticks() {
        assert_eq!(to_ticks(Duration::from_millis(5), TICK), 2);
        assert_eq!(to_ticks(Duration::from_secs(1), TICK), SECOND);
        assert_eq!(to_ticks(Duration::MAX, TICK), u32::MAX / 2);
    }

    #[test]
    fn a_translated_flow_is_seen_once_and_a_stray_with_its_slot() {
        let other = BackendId::from_bits(8);
        let mut seen = Observations::default();
        for (_, record) in pair(protocol::TCP, [OPEN; 2], [Ticks(0); 2]) {
            seen.note(&record, Some((5, other)));
        }
        seen.note(&pinned(OPEN, Ticks(0)), Some((6, BACKEND)));
        assert_eq!(seen.flows, 2);
        assert_eq!(seen.by_backend, HashMap::from([(BACKEND, 2)]));
        assert_eq!(seen.strays, HashMap::from([(5, 1)]));
    }

    #[test]
    fn what_one_side_broke_off_is_no_load() {
        let mut seen = Observations::default();
        for states in [[OPEN; 2], [OPEN, broken()], [broken(), OPEN]] {
            for (_, record) in pair(protocol::TCP, states, [Ticks(0); 2]) {
                seen.note(&record, None);
            }
        }
        assert_eq!((seen.by_backend[&BACKEND], seen.load_of(BACKEND)), (3, 1));
        assert_eq!(seen.load_of(BackendId::from_bits(8)), 0);
    }
}
