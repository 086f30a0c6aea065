//! The maps and the load-time constants, as [`Tables`].

use crate::direct::Direct;
use crate::flows::MAPPED;
use crate::{guard, route};
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray};
use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::XdpContext;
use aya_ebpf::{EbpfContext, Global};
use core::ffi::c_void;
use lb_common::abi::{
    Backend, BackendId, Contents, Counters, Fragment, FragmentKey, InsertRate, Load, PortRange, PrefixKey,
    QuicServer, Service, Slot, Stage, Table, Ticks, limits,
};
use lb_common::datapath::{Direction, PortPool, Reason, Steered, Tables};
use lb_common::wire::{Packet, U16be, U32be};

/// Follows userspace's orders for the tables that programs address directly; gives the number of those followed.
#[inline(always)]
pub(crate) fn write(orders: &impl Packet) -> u32 {
    match orders.read(0).and_then(Table::numbered) {
        Some(Table::Services) => SERVICES.write(orders),
        Some(Table::Backends) => BACKENDS.write(orders),
        Some(Table::Slots) => SLOTS.write(orders),
        Some(Table::Contents) => CONTENTS.write(orders),
        Some(Table::GuardRules) => guard::GUARD_RULES.write(orders),
        Some(Table::GuardState) => guard::GUARD_STATE.write(orders),
        Some(Table::GuardOutline) => guard::GUARD_OUTLINE.write(orders),
        Some(Table::CommonMtu) => COMMON_MTU.write(orders),
        Some(Table::Reachable) => REACHABLE.write(orders),
        None => 0,
    }
}

/// The service table: an open-addressed part, and the entries that ranges and prefixes lead to.
#[used]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.services")]
static SERVICES: Direct<Service, { limits::SERVICE_ENTRIES as usize }> = Direct::new(Service::VACANT);
/// The port ranges of hosts.
#[btf_map]
static RANGES: Array<PortRange, { limits::RANGES as usize }> = Array::new();
/// Places of prefixes' entries.
#[btf_map]
static PREFIXES: LpmTrie<[u8; 20], u32, { limits::PREFIXES as usize }> = LpmTrie::new();
/// What there is in the tables.
#[used]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.contents")]
static CONTENTS: Direct<Contents, 1> = Direct::new(Contents(0));
/// Bytes of an IP packet that every interface takes; 0 while that is not known.
#[used]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.common_mtu")]
static COMMON_MTU: Direct<u32, 1> = Direct::new(0);
/// Interfaces that the kernel may name to send to, up to the first 0; none where any will do.
#[used]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.reachable")]
static REACHABLE: Direct<u32, { limits::REACHABLE as usize }> = Direct::new(0);
/// The slot words of all services.
#[used]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.slots")]
static SLOTS: Direct<Slot, { limits::SLOTS as usize }> = Direct::new(Slot::VACANT);
/// When a slot's settled owner was last used.
#[btf_map]
static SLOT_USE: Array<Ticks, { limits::SLOTS as usize }> = Array::new();
/// The backend records.
#[used]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.backends")]
static BACKENDS: Direct<Backend, { limits::BACKENDS as usize }> = Direct::new(Backend::UNWRITTEN);
/// What backends have to do.
#[btf_map]
static LOADS: Array<Load, { limits::BACKENDS as usize }> = Array::new();
/// Turns that services have taken.
#[btf_map]
static TURNS: PerCpuArray<u32, { limits::SERVICE_NUMBERS as usize }> = PerCpuArray::new();
/// Backends of QUIC services by server identifier.
#[btf_map]
static QUIC_SERVERS: HashMap<[u32; 3], BackendId, { limits::QUIC_SERVERS as usize }> = HashMap::new();
/// ICMP errors and resets sent in this second.
#[btf_map]
static ERROR_RATE: PerCpuArray<InsertRate, 1> = PerCpuArray::new();
/// First fragments.
#[btf_map]
static FRAGMENTS: LruHashMap<FragmentKey, Fragment, { limits::FRAGMENTS as usize }> = LruHashMap::new();
/// What was counted, by CPU; the daemon sets their number when it loads, and reads this in its own memory.
#[btf_map]
static COUNTERS: Array<Counters, 1, MAPPED> = Array::new();
/// The reason that a program leaves to the one that tells of it.
#[btf_map]
static ANNOUNCED: PerCpuArray<u32, 1> = PerCpuArray::new();
/// The programs a packet may go on to.
#[btf_map]
static STAGES: ProgramArray<{ Stage::PLACES }> = ProgramArray::new();

/// Seed of the flow hash.
#[unsafe(no_mangle)]
pub(crate) static SEED: Global<u64> = Global::new(0);
/// Ports NAT may use: two ranges of first port and count.
#[unsafe(no_mangle)]
static PORTS: Global<u64> = Global::new(0);
/// Bits of an outer IPv4 source that are taken from the flow's hash, as they lie in memory.
#[unsafe(no_mangle)]
static SPREAD_V4: Global<u32> = Global::new(0);
/// Bits of the last word of an outer IPv6 source.
#[unsafe(no_mangle)]
static SPREAD_V6: Global<u32> = Global::new(0);
/// Ticks in a second.
#[unsafe(no_mangle)]
static SECOND: Global<u32> = Global::new(250);
/// Port of outer UDP headers that the backend's side takes off; 0 for none.
#[unsafe(no_mangle)]
static GUE_PORT: Global<u16> = Global::new(0);
/// 1 if drops that mean trouble are told of.
#[unsafe(no_mangle)]
static LOUD: Global<u8> = Global::new(0);
/// 1 where a packet must leave its arrival port by redirect: a veth's peer takes `XDP_TX` only with a program.
#[unsafe(no_mangle)]
static TX_BY_REDIRECT: Global<u8> = Global::new(0);

/// Whether to avoid `XDP_TX`.
#[inline(always)]
pub(crate) fn tx_by_redirect() -> bool {
    TX_BY_REDIRECT.load() != 0
}

/// Ticks in a second.
#[inline(always)]
pub(crate) fn second() -> u32 {
    SECOND.load()
}

/// Port of outer UDP headers that the backend's side takes off.
#[inline(always)]
pub(crate) fn gue_port() -> U16be {
    U16be::new(GUE_PORT.load())
}

/// Goes on with another XDP program; see [`Hook`](crate::stage::Hook).
#[inline(always)]
pub(crate) fn tail_call(ctx: &XdpContext, stage: Stage) {
    // SAFETY: nothing here is to be dropped.
    unsafe { STAGES.tail_call(ctx, stage as u32) };
}

/// Whether frames arrive where this program sends them out by an interface that the kernel names. In a driver only what other
/// drivers take arrives, and the kernel does not tell whether one does.
#[inline(always)]
pub(crate) fn reaches(ifindex: u32) -> bool {
    for place in 0..limits::REACHABLE {
        match *REACHABLE.at(place) {
            0 => return place == 0,
            reachable if reachable == ifindex => return true,
            _ => {}
        }
    }
    false
}

/// Whether userspace wants to hear of trouble.
#[inline(always)]
pub(crate) fn is_loud() -> bool {
    LOUD.load() != 0
}

/// Leaves a reason, by its number, and a packet's code to the program that tells of trouble.
#[inline(always)]
pub(crate) fn leave_to_announce(left: u32) {
    if let Some(announced) = ANNOUNCED.get_ptr_mut(0) {
        // SAFETY: this CPU's own value, which nothing else writes while the program runs.
        unsafe { *announced = left };
    }
}

/// What was left.
#[inline(always)]
pub(crate) fn announced() -> Option<u32> {
    ANNOUNCED.get(0).copied()
}

/// Counts a packet under its reason.
#[inline(always)]
pub(crate) fn count(reason: Reason, bytes: u32) {
    if let Some(counters) = counters() {
        // SAFETY: this CPU's own values, which nothing else writes while the program runs.
        unsafe { (*counters.reason(reason as u32)).add(bytes) };
    }
}

/// This CPU's counters.
#[inline(always)]
fn counters<'a>() -> Option<&'a Counters> {
    // SAFETY: a helper call without arguments.
    COUNTERS.get(unsafe { bpf_get_smp_processor_id() })
}

/// The kernel's maps, and the packet it asks for routes with.
///
/// `OFTEN` says that they are for what comes by the million.
pub(crate) struct KernelTables<const OFTEN: bool = false> {
    pub(crate) ctx: *mut c_void,
}

impl KernelTables {
    #[inline(always)]
    pub(crate) fn new(ctx: &impl EbpfContext) -> Self {
        Self { ctx: ctx.as_ptr() }
    }
}

impl KernelTables<true> {
    #[inline(always)]
    pub(crate) fn often(ctx: &impl EbpfContext) -> Self {
        Self { ctx: ctx.as_ptr() }
    }
}

impl<const OFTEN: bool> Tables for KernelTables<OFTEN> {
    #[inline(always)]
    fn seed(&self) -> u64 {
        SEED.load()
    }

    #[inline(always)]
    fn ports(&self) -> PortPool {
        // One load instead of four.
        let words = PORTS.load();
        PortPool::new([words as u16, (words >> 16) as u16, (words >> 32) as u16, (words >> 48) as u16])
    }

    #[inline(always)]
    fn spread(&self, v6: bool) -> U32be {
        U32be::from_raw(if v6 { SPREAD_V6.load() } else { SPREAD_V4.load() })
    }

    #[inline(always)]
    fn second(&self) -> u32 {
        SECOND.load()
    }

    #[inline(always)]
    fn common_mtu(&self) -> u32 {
        *COMMON_MTU.at(0)
    }

    #[inline(always)]
    fn mtu(&self, ifindex: u32) -> u32 {
        route::mtu(self.ctx, ifindex)
    }

    #[inline(always)]
    fn may_send_error(&self, now: Ticks) -> bool {
        let Some(rate) = ERROR_RATE.get_ptr_mut(0) else { return false };
        // SAFETY: this CPU's own value, which nothing else writes while the program runs.
        unsafe { (*rate).admits(now, SECOND.load(), limits::ERRORS_PER_SECOND) }
    }

    #[inline(always)]
    fn contents(&self) -> Contents {
        *CONTENTS.at(0)
    }

    #[inline(always)]
    fn service_at(&self, place: u32) -> Option<&Service> {
        Some(SERVICES.at(place))
    }

    #[inline(always)]
    fn range_at(&self, index: u32) -> Option<&PortRange> {
        RANGES.get(index)
    }

    #[inline(always)]
    fn prefix(&self, address: &PrefixKey) -> Option<u32> {
        let mut bytes = [0; 20];
        let (family, rest) = bytes.split_at_mut(4);
        family.copy_from_slice(&address.family);
        rest.copy_from_slice(&address.address.to_bytes());
        PREFIXES.get(&Key::new(address.bits, bytes)).copied()
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<Slot> {
        Some(*SLOTS.at(index))
    }

    #[inline(always)]
    fn note_settled_use(&self, index: u32, now: Ticks) {
        if let Some(last) = SLOT_USE.get_ptr_mut(index) {
            // SAFETY: a word of an array map; a racing writer writes the same time or a neighbouring one.
            unsafe { *last = now };
        }
    }

    #[inline(always)]
    fn turn(&self, service: u16, turns: u32) -> u32 {
        let Some(taken) = TURNS.get_ptr_mut(u32::from(service)) else { return 0 };
        // SAFETY: this CPU's own value, which nothing else writes while the program runs.
        unsafe {
            let turn = if *taken < turns { *taken } else { 0 };
            *taken = turn + 1;
            turn
        }
    }

    #[inline(always)]
    fn quic_server(&self, server: &QuicServer) -> Option<BackendId> {
        // SAFETY: a copy is made at once.
        unsafe { QUIC_SERVERS.get(server.to_words()) }.copied()
    }

    #[inline(always)]
    fn backend(&self, id: BackendId) -> Option<&Backend> {
        Some(BACKENDS.at(u32::from(id.get())))
    }

    #[inline(always)]
    fn load(&self, id: BackendId) -> Option<Load> {
        LOADS.get(u32::from(id.get())).copied()
    }

    #[inline(always)]
    fn note_opened(&self, id: BackendId) {
        if let Some(load) = LOADS.get_ptr_mut(u32::from(id.get())) {
            // SAFETY: a word of an array map. A count that two CPUs write at once may be lost; userspace counts anew
            // as often as it walks through the records.
            unsafe { (*load).flows += 1 };
        }
    }

    #[inline(always)]
    fn fragment(&self, key: &FragmentKey) -> Option<Fragment> {
        // SAFETY: a copy is made at once.
        unsafe { FRAGMENTS.get(key) }.copied()
    }

    #[inline(always)]
    fn remember_fragment(&self, key: &FragmentKey, first: &Fragment) {
        // Without room the rest of the datagram is dropped with its reason.
        let _ = FRAGMENTS.insert(key, first, 0);
    }

    #[inline(always)]
    fn count(&self, reason: Reason, bytes: u32) {
        count(reason, bytes);
    }

    #[inline(always)]
    fn count_steered(&self, steered: &Steered, bytes: u32) {
        let Some(counters) = counters() else { return };
        let to_backend = steered.direction == Direction::ToBackend;
        // SAFETY: this CPU's own values, which nothing else writes while the program runs.
        unsafe { (*counters.reason(steered.reason as u32)).add(bytes) };
        // SAFETY: as above.
        unsafe { (*counters.backend(steered.backend)).add(to_backend, steered.opened, bytes) };
    }
}
