//! The guard's programs and maps: one in front of the balancer for plain packets, and one for each family's others.

use crate::direct::Direct;
use crate::maps::KernelTables;
use crate::stage;
use aya_ebpf::Global;
use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::{Array, HashMap};
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use lb_common::abi::{
    BlockKey, Bucket, BucketLine, GuardRule, GuardState, ListNode, Origin, Outline, Ticks, limits,
};
use lb_common::datapath::guard::GuardTables;
use lb_common::wire::{U32be, ipv6};

/// An array whose values begin on a page, so that one of 64 bytes is one cache line.
const ALIGNED: usize = BPF_F_MMAPABLE as usize;

/// Which list is in force, and whether anybody is blocked.
#[used]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.guard_state")]
pub(crate) static GUARD_STATE: Direct<GuardState, 1> = Direct::new(GuardState { list: 0, blocks: 0 });
/// Rules by service number.
#[used]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.guard_rules")]
pub(crate) static GUARD_RULES: Direct<GuardRule, { limits::GUARD_RULES as usize }> =
    Direct::new(GuardRule::UNGUARDED);
/// The list in force in outline.
#[used]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.guard_outline")]
pub(crate) static GUARD_OUTLINE: Direct<Outline, { Outline::WORDS as usize }> =
    Direct::new(Outline::all(Origin(0)));
/// Two lists, one of them in force; the daemon sets the size when it loads.
#[btf_map]
static LISTS: Array<ListNode, { limits::LIST_PREFIXES as usize }, ALIGNED> = Array::new();
/// When blocks end.
#[btf_map]
static BLOCKS: HashMap<[u32; 4], Ticks, { limits::BLOCKS as usize }> = HashMap::new();
/// Buckets of sources.
#[btf_map]
static BUCKETS: Array<BucketLine, { limits::BUCKET_LINES as usize }, ALIGNED> = Array::new();
/// Budgets of new flows by service number.
#[btf_map]
static BUDGETS: Array<Bucket, { limits::GUARD_RULES as usize }> = Array::new();

/// Secret factors of the hash of sources.
#[unsafe(no_mangle)]
static GUARD_KEY_0: Global<u64> = Global::new(1);
/// The second one.
#[unsafe(no_mangle)]
static GUARD_KEY_1: Global<u64> = Global::new(1);
/// The third one.
#[unsafe(no_mangle)]
static GUARD_KEY_2: Global<u64> = Global::new(1);
/// The fourth one.
#[unsafe(no_mangle)]
static GUARD_KEY_3: Global<u64> = Global::new(1);

/// Whether any service may be answered for with cookies.
#[unsafe(no_mangle)]
static SENDS_COOKIES: Global<u8> = Global::new(0);

/// The same as a truth; what is behind it is removed when the programs are loaded without.
#[inline(always)]
pub(crate) fn sends_cookies() -> bool {
    SENDS_COOKIES.load() != 0
}

/// The guard, in the balancer's place where any guard is on.
#[xdp]
#[inline(always)]
pub fn lb_guard(ctx: XdpContext) -> u32 {
    stage::guard(&ctx)
}

/// The guard for IPv4 packets that are not plain.
#[xdp]
#[inline(always)]
pub fn lb_guard4(ctx: XdpContext) -> u32 {
    stage::guard_closely::<U32be, _>(&ctx)
}

/// The same for IPv6.
#[xdp]
#[inline(always)]
pub fn lb_guard6(ctx: XdpContext) -> u32 {
    stage::guard_closely::<ipv6::Address, _>(&ctx)
}

impl GuardTables for KernelTables {
    type Buckets<'a>
        = &'a mut BucketLine
    where
        Self: 'a;
    type Budget<'a>
        = &'a mut Bucket
    where
        Self: 'a;

    #[inline(always)]
    fn guard_key(&self, word: usize) -> u64 {
        match word {
            0 => GUARD_KEY_0.load(),
            1 => GUARD_KEY_1.load(),
            2 => GUARD_KEY_2.load(),
            _ => GUARD_KEY_3.load(),
        }
    }

    #[inline(always)]
    fn guard_state(&self) -> &GuardState {
        GUARD_STATE.at(0)
    }

    #[inline(always)]
    fn guard_rule(&self, number: u32) -> Option<&GuardRule> {
        Some(GUARD_RULES.at(number))
    }

    #[inline(always)]
    fn list_node(&self, place: u32) -> Option<&ListNode> {
        LISTS.get(place)
    }

    #[inline(always)]
    fn outline(&self, place: u32) -> Outline {
        *GUARD_OUTLINE.at(place)
    }

    #[inline(always)]
    fn blocked_until(&self, source: &BlockKey) -> Option<Ticks> {
        // SAFETY: a copy is made at once.
        unsafe { BLOCKS.get(source.to_words()) }.copied()
    }

    #[inline(always)]
    fn buckets(&self, line: u32) -> Option<Self::Buckets<'_>> {
        let line = BUCKETS.get_ptr_mut(line)?;
        // SAFETY: a value of an array map, which is there as long as the program. Another CPU may write it at the same
        // time; its fields are plain numbers, and to lose a count is no harm.
        Some(unsafe { &mut *line })
    }

    #[inline(always)]
    fn budget(&self, number: u32) -> Option<Self::Budget<'_>> {
        let budget = BUDGETS.get_ptr_mut(number)?;
        // SAFETY: as above.
        Some(unsafe { &mut *budget })
    }
}
