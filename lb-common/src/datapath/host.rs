//! Tables in ordinary memory: for the tests, the differential suite and the tools that explain and simulate.

use super::guard::GuardTables;
use super::{
    Arrival, Direction, Family, FlowTable, PortPool, Reason, Refused, Route, Steered, Tables, classify,
};
use crate::abi::{
    Address, Backend, BackendCount, BackendId, BlockKey, Bucket, BucketLine, Contents, Count, Flow, FlowKey,
    Fragment, FragmentKey, GuardRule, GuardState, Hop, InsertRate, Ip, List, ListNode, Load, Outline,
    PortRange, PrefixKey, QuicServer, Service, ServiceKey, Slot, Ticks, limits,
};
use crate::wire::{U32be, ipv6};
use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, HashMap};

/// Flow records by key.
type Flows<A> = HashMap<FlowKey<A>, Flow<A>>;

/// What the maps of the kernel programs hold.
#[derive(Clone, Debug, Default)]
pub struct HostTables {
    /// Seed of the flow hash.
    pub seed: u64,
    /// Ports NAT may use.
    pub ports: PortPool,
    /// Bits of outer sources that are taken from the flow's hash.
    pub spread: [U32be; 2],
    /// Flow records that may be inserted in a second; 0 means any number.
    pub new_flows: u32,
    /// The service table by place.
    pub services: BTreeMap<u32, Service>,
    /// Port ranges by index.
    pub ranges: BTreeMap<u32, PortRange>,
    /// Places of prefixes' entries.
    pub prefixes: HashMap<PrefixKey, u32>,
    /// What there is in the tables before.
    pub contents: Contents,
    /// Slot words by index; those absent are zero.
    pub slots: BTreeMap<u32, Slot>,
    /// Backend records; those absent are zero.
    pub backends: BTreeMap<BackendId, Backend>,
    /// What backends have to do; zero where absent.
    pub loads: RefCell<BTreeMap<BackendId, Load>>,
    /// Turns that services have taken.
    pub turns: RefCell<BTreeMap<u16, u32>>,
    /// Backends of QUIC services by server identifier.
    pub quic_servers: HashMap<QuicServer, BackendId>,
    /// Flow records of IPv4, which are refused when there are as many as there is room for; the kernel's may be refused before,
    /// when the places of a key are taken.
    pub flows: RefCell<Flows<U32be>>,
    /// Flow records of IPv6.
    pub flows_v6: RefCell<Flows<ipv6::Address>>,
    /// Records each flow table has room for; 0 means [`limits::FLOWS`].
    pub room: usize,
    /// First fragments.
    pub fragments: RefCell<HashMap<FragmentKey, Fragment>>,
    /// Ways that the kernel knows, by destination.
    pub routes: HashMap<Address, Hop>,
    /// Bytes that its other ways take, by destination; those absent take any packet.
    pub narrow: HashMap<Address, u32>,
    /// Records inserted in this second.
    pub rate: Cell<InsertRate>,
    /// ICMP errors and resets sent in this second.
    pub error_rate: Cell<InsertRate>,
    /// Bytes that interfaces take; those absent take any packet.
    pub mtus: BTreeMap<u32, u32>,
    /// When slots' settled owners were last used.
    pub settled_use: RefCell<BTreeMap<u32, Ticks>>,
    /// Packets by reason.
    pub reasons: RefCell<BTreeMap<&'static str, Count>>,
    /// Packets by backend.
    pub counts: RefCell<BTreeMap<BackendId, BackendCount>>,
    /// What the guard has.
    pub guard: HostGuard,
}

/// The guard's tables.
#[derive(Clone, Debug, Default)]
pub struct HostGuard {
    /// Which list is in force, and whether anybody is blocked.
    pub state: GuardState,
    /// Rules by service number.
    pub rules: BTreeMap<u32, GuardRule>,
    /// The list in force.
    pub lists: List,
    /// When blocks end.
    pub blocks: HashMap<BlockKey, Ticks>,
    /// Lines of buckets.
    pub buckets: RefCell<HashMap<u32, BucketLine>>,
    /// Budgets by service number.
    pub budgets: RefCell<HashMap<u32, Bucket>>,
}

/// Ticks in a second of these tables' clock.
const SECOND: u32 = 250;

/// What an array map has where nothing was written.
static NO_RULE: GuardRule = GuardRule::UNGUARDED;
static NO_NODE: ListNode = ListNode::VACANT;
static VACANT: Service = Service::VACANT;
static UNWRITTEN: Backend = Backend::UNWRITTEN;
static NO_RANGE: PortRange = PortRange::new(0, 0, 0, 0);

impl HostTables {
    /// Puts a service where the packet path will find it; `false` if its places are all taken.
    pub fn add_service(&mut self, service: Service) -> bool {
        let first = service.key.first_place();
        let places = (0..limits::SERVICE_PROBES).map(|step| (first + step) & (limits::SERVICE_TABLE - 1));
        let Some(place) = places.into_iter().find(|place| !self.services.contains_key(place)) else {
            return false;
        };
        self.services.insert(place, service);
        true
    }

    /// The service that a packet of this flow is for, as the packet path finds it.
    #[must_use]
    pub fn service_of<A: Family>(&self, key: &FlowKey<A>) -> Option<&Service> {
        classify::service(self, key)
    }

    /// The entry with this very key, as the packet path finds it.
    #[must_use]
    pub fn entry(&self, key: &ServiceKey) -> Option<&Service> {
        classify::exact(self, key)
    }

    fn add_flow<'a, A: Ip>(
        &self,
        flows: &'a RefCell<Flows<A>>,
        key: &FlowKey<A>,
        now: Ticks,
    ) -> Result<RefMut<'a, Flow<A>>, Refused> {
        let flows = flows.borrow_mut();
        let room = if self.room == 0 { limits::FLOWS as usize } else { self.room };
        if flows.contains_key(key) {
            return Err(Refused::Exists);
        }
        if !self.admits(now) {
            return Err(Refused::Guarded);
        }
        if flows.len() >= room {
            return Err(Refused::Full);
        }
        Ok(RefMut::map(flows, |flows| flows.entry(*key).or_default()))
    }

    /// The way to a destination for so many bytes.
    fn way(&self, destination: Address, bytes: u32) -> Route {
        let hop = self.routes.get(&destination).copied();
        let takes = match hop {
            Some(hop) => self.mtus.get(&hop.ifindex),
            None => self.narrow.get(&destination),
        };
        match (takes, hop) {
            (Some(mtu), _) if bytes > *mtu => Route::TooNarrow(*mtu),
            (_, Some(hop)) => Route::By(hop),
            (_, None) => Route::Kernel,
        }
    }

    fn admits(&self, now: Ticks) -> bool {
        let mut rate = self.rate.get();
        let admits = self.new_flows == 0 || rate.admits(now, SECOND, self.new_flows);
        self.rate.set(rate);
        admits
    }
}

fn record<'a, A: Ip>(flows: &'a RefCell<Flows<A>>, key: &FlowKey<A>) -> Option<RefMut<'a, Flow<A>>> {
    RefMut::filter_map(flows.borrow_mut(), |flows| flows.get_mut(key)).ok()
}

impl FlowTable<U32be> for HostTables {
    type Record<'a> = RefMut<'a, Flow<U32be>>;
    type Reserved<'a> = RefMut<'a, Flow<U32be>>;

    fn flow(&self, key: &FlowKey<U32be>) -> Option<Self::Record<'_>> {
        record(&self.flows, key)
    }

    fn reserve(&self, key: &FlowKey<U32be>, now: Ticks) -> Result<Self::Reserved<'_>, Refused> {
        self.add_flow(&self.flows, key, now)
    }

    fn publish(&self, _: Self::Reserved<'_>) {}

    fn remove(&self, key: &FlowKey<U32be>) {
        self.flows.borrow_mut().remove(key);
    }

    fn route(&self, key: &FlowKey<U32be>, bytes: u32, _: Arrival) -> Route {
        self.way(key.destination.widen(), bytes)
    }
}

impl FlowTable<ipv6::Address> for HostTables {
    type Record<'a> = RefMut<'a, Flow<ipv6::Address>>;
    type Reserved<'a> = RefMut<'a, Flow<ipv6::Address>>;

    fn flow(&self, key: &FlowKey<ipv6::Address>) -> Option<Self::Record<'_>> {
        record(&self.flows_v6, key)
    }

    fn reserve(&self, key: &FlowKey<ipv6::Address>, now: Ticks) -> Result<Self::Reserved<'_>, Refused> {
        self.add_flow(&self.flows_v6, key, now)
    }

    fn publish(&self, _: Self::Reserved<'_>) {}

    fn remove(&self, key: &FlowKey<ipv6::Address>) {
        self.flows_v6.borrow_mut().remove(key);
    }

    fn route(&self, key: &FlowKey<ipv6::Address>, bytes: u32, _: Arrival) -> Route {
        self.way(key.destination.widen(), bytes)
    }
}

impl Tables for HostTables {
    fn seed(&self) -> u64 {
        self.seed
    }

    fn ports(&self) -> PortPool {
        self.ports
    }

    fn spread(&self, v6: bool) -> U32be {
        self.spread[usize::from(v6)]
    }

    fn second(&self) -> u32 {
        SECOND
    }

    fn common_mtu(&self) -> u32 {
        self.mtus.values().copied().min().unwrap_or(u32::MAX)
    }

    fn mtu(&self, ifindex: u32) -> u32 {
        self.mtus.get(&ifindex).copied().unwrap_or(u32::MAX)
    }

    fn may_send_error(&self, now: Ticks) -> bool {
        let mut rate = self.error_rate.get();
        let admits = rate.admits(now, SECOND, limits::ERRORS_PER_SECOND);
        self.error_rate.set(rate);
        admits
    }

    fn contents(&self) -> Contents {
        self.contents
    }

    fn service_at(&self, place: u32) -> Option<&Service> {
        (place < limits::SERVICE_ENTRIES).then(|| self.services.get(&place).unwrap_or(&VACANT))
    }

    fn range_at(&self, index: u32) -> Option<&PortRange> {
        (index < limits::RANGES).then(|| self.ranges.get(&index).unwrap_or(&NO_RANGE))
    }

    fn prefix(&self, address: &PrefixKey) -> Option<u32> {
        let longest = PrefixKey::FAMILY_BITS..=address.bits;
        longest.rev().find_map(|bits| self.prefixes.get(&address.shortened(bits)).copied())
    }

    fn slot(&self, index: u32) -> Option<Slot> {
        (index < limits::SLOTS).then(|| self.slots.get(&index).copied().unwrap_or_default())
    }

    fn note_settled_use(&self, index: u32, now: Ticks) {
        self.settled_use.borrow_mut().insert(index, now);
    }

    fn turn(&self, service: u16, turns: u32) -> u32 {
        let mut all = self.turns.borrow_mut();
        let taken = all.entry(service).or_default();
        let turn = if *taken < turns { *taken } else { 0 };
        *taken = turn + 1;
        turn
    }

    fn quic_server(&self, server: &QuicServer) -> Option<BackendId> {
        self.quic_servers.get(server).copied()
    }

    fn backend(&self, id: BackendId) -> Option<&Backend> {
        Some(self.backends.get(&id).unwrap_or(&UNWRITTEN))
    }

    fn load(&self, id: BackendId) -> Option<Load> {
        (u32::from(id.get()) < limits::BACKENDS)
            .then(|| self.loads.borrow().get(&id).copied().unwrap_or_default())
    }

    fn note_opened(&self, id: BackendId) {
        self.loads.borrow_mut().entry(id).or_default().flows += 1;
    }

    fn fragment(&self, key: &FragmentKey) -> Option<Fragment> {
        self.fragments.borrow().get(key).copied()
    }

    fn remember_fragment(&self, key: &FragmentKey, first: &Fragment) {
        self.fragments.borrow_mut().insert(*key, *first);
    }

    fn count(&self, reason: Reason, bytes: u32) {
        self.reasons.borrow_mut().entry(reason.label()).or_default().add(bytes);
    }

    fn count_steered(&self, steered: &Steered, bytes: u32) {
        self.count(steered.reason, bytes);
        let to_backend = steered.direction == Direction::ToBackend;
        self.counts.borrow_mut().entry(steered.backend).or_default().add(to_backend, steered.opened, bytes);
    }
}

impl GuardTables for HostTables {
    type Buckets<'a> = RefMut<'a, BucketLine>;
    type Budget<'a> = RefMut<'a, Bucket>;

    fn guard_key(&self, word: usize) -> u64 {
        self.seed.wrapping_mul(word as u64 + 1) | 1
    }

    fn guard_state(&self) -> &GuardState {
        &self.guard.state
    }

    fn guard_rule(&self, number: u32) -> Option<&GuardRule> {
        (number < limits::GUARD_RULES).then(|| self.guard.rules.get(&number).unwrap_or(&NO_RULE))
    }

    fn list_node(&self, place: u32) -> Option<&ListNode> {
        Some(self.guard.lists.nodes.get(place as usize).unwrap_or(&NO_NODE))
    }

    fn outline(&self, place: u32) -> Outline {
        self.guard.lists.outline.get(place as usize).copied().unwrap_or_default()
    }

    fn blocked_until(&self, source: &BlockKey) -> Option<Ticks> {
        self.guard.blocks.get(source).copied()
    }

    fn buckets(&self, line: u32) -> Option<Self::Buckets<'_>> {
        Some(RefMut::map(self.guard.buckets.borrow_mut(), |lines| lines.entry(line).or_default()))
    }

    fn budget(&self, number: u32) -> Option<Self::Budget<'_>> {
        Some(RefMut::map(self.guard.budgets.borrow_mut(), |budgets| budgets.entry(number).or_default()))
    }
}
