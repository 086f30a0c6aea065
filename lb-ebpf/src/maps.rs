//! The maps and the load-time constants, as [`Tables`].

use aya_ebpf::Global;
use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_NOEXIST};
use aya_ebpf::btf_maps::{Array, HashMap, PerCpuArray};
use aya_ebpf::macros::btf_map;
use lb_common::abi::{Backend, BackendCount, BackendId, Count, Flow, FlowKey, Service, Slot, Ticks, limits};
use lb_common::datapath::{Direction, FlowTable, PortPool, Reason, Refused, Tables};
use lb_common::wire::U32be;

/// An array whose values begin on a page, so that a 64-byte record is one cache line, not two halves.
const ALIGNED: usize = BPF_F_MMAPABLE as usize;

/// The service table, open-addressed.
#[btf_map]
static SERVICES: Array<Service, { limits::SERVICE_TABLE as usize }, ALIGNED> = Array::new();
/// The slot words of all services.
#[btf_map]
static SLOTS: Array<Slot, { limits::SLOTS as usize }, ALIGNED> = Array::new();
/// When a slot's settled owner was last used.
#[btf_map]
static SLOT_USE: Array<Ticks, { limits::SLOTS as usize }, ALIGNED> = Array::new();
/// The backend records.
#[btf_map]
static BACKENDS: Array<Backend, { limits::BACKENDS as usize }, ALIGNED> = Array::new();
/// The flow records; the daemon sets the size when it loads.
#[btf_map]
static FLOWS: HashMap<[u32; 4], Flow<U32be>, { limits::FLOWS as usize }> = HashMap::new();
/// Packets by reason.
#[btf_map]
static REASONS: PerCpuArray<Count, { limits::REASONS as usize }> = PerCpuArray::new();
/// Packets by backend.
#[btf_map]
static BACKEND_COUNTS: PerCpuArray<BackendCount, { limits::BACKENDS as usize }> = PerCpuArray::new();

/// Seed of the flow hash.
#[unsafe(no_mangle)]
static SEED: Global<u64> = Global::new(0);
/// Ports NAT may use: two ranges of first port and count.
#[unsafe(no_mangle)]
static PORTS: Global<u64> = Global::new(0);
/// 1 where a packet must leave its arrival port by redirect: a veth's peer takes `XDP_TX` only with a program.
#[unsafe(no_mangle)]
static TX_BY_REDIRECT: Global<u8> = Global::new(0);

/// Whether to avoid `XDP_TX`.
#[inline(always)]
pub(crate) fn tx_by_redirect() -> bool {
    TX_BY_REDIRECT.load() != 0
}

/// Counts a packet under its reason.
#[inline(always)]
pub(crate) fn count(reason: Reason, bytes: u32) {
    if let Some(count) = REASONS.get_ptr_mut(reason as u32) {
        // SAFETY: this CPU's own value, which nothing else writes while the program runs.
        unsafe { (*count).add(bytes) };
    }
}

/// The kernel's maps.
pub(crate) struct KernelTables;

impl FlowTable<U32be> for KernelTables {
    type Record<'a> = &'a mut Flow<U32be>;

    #[inline(always)]
    fn flow(&self, key: &FlowKey<U32be>) -> Option<Self::Record<'_>> {
        let flow = FLOWS.get_ptr_mut(key.to_words())?;
        // SAFETY: the record stays readable until the program ends (RCU). Another CPU may write it at the same time;
        // every field is a plain number, and each is right by itself at any time.
        Some(unsafe { &mut *flow })
    }

    #[inline(always)]
    fn insert(&self, key: &FlowKey<U32be>, flow: &Flow<U32be>) -> Result<(), Refused> {
        const EXISTS: i32 = -17;
        match FLOWS.insert(key.to_words(), flow, u64::from(BPF_NOEXIST)) {
            Ok(()) => Ok(()),
            Err(EXISTS) => Err(Refused::Exists),
            Err(_) => Err(Refused::Full),
        }
    }

    #[inline(always)]
    fn remove(&self, key: &FlowKey<U32be>) {
        // Already gone is as good.
        let _ = FLOWS.remove(key.to_words());
    }
}

impl Tables for KernelTables {
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
    fn service_at(&self, place: u32) -> Option<&Service> {
        SERVICES.get(place)
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<Slot> {
        SLOTS.get(index).copied()
    }

    #[inline(always)]
    fn note_settled_use(&self, index: u32, now: Ticks) {
        if let Some(last) = SLOT_USE.get_ptr_mut(index) {
            // SAFETY: a word of an array map; a racing writer writes the same time or a neighbouring one.
            unsafe { *last = now };
        }
    }

    #[inline(always)]
    fn backend(&self, id: BackendId) -> Option<&Backend> {
        BACKENDS.get(u32::from(id.get()))
    }

    #[inline(always)]
    fn count(&self, reason: Reason, bytes: u32) {
        count(reason, bytes);
    }

    #[inline(always)]
    fn count_backend(&self, id: BackendId, direction: Direction, opened: bool, bytes: u32) {
        if let Some(count) = BACKEND_COUNTS.get_ptr_mut(u32::from(id.get())) {
            // SAFETY: this CPU's own value, which nothing else writes while the program runs.
            unsafe { (*count).add(direction == Direction::ToBackend, opened, bytes) };
        }
    }
}
