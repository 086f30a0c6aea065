//! The memory of the flow table: `lb_common::datapath::lines` says what becomes of it.

use crate::maps::SEED;
use aya_ebpf::Global;
use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_map;
use core::hint::black_box;
use lb_common::abi::{FlowKey, Ip, Line, limits};
use lb_common::datapath::Refused;
use lb_common::datapath::lines::{self, Lines};
use lb_common::wire::{U32be, ipv6};

/// Lines begin on a page, and the daemon has them in its memory, too.
pub(crate) const MAPPED: usize = BPF_F_MMAPABLE as usize;

/// The lines of IPv4; the daemon sets their number when it loads.
#[btf_map]
static FLOWS: Array<Line<U32be>, { limits::FLOWS as usize }, MAPPED> = Array::new();
/// The lines of IPv6.
#[btf_map]
static FLOWS_V6: Array<Line<ipv6::Address>, { limits::FLOWS as usize }, MAPPED> = Array::new();

/// The last line's number.
#[unsafe(no_mangle)]
static FLOW_MASK: Global<u32> = Global::new(limits::FLOWS - 1);

/// The lines of both families.
pub(crate) struct FlowLines;

impl Lines<U32be> for FlowLines {
    #[inline(always)]
    fn mask(&self) -> u32 {
        FLOW_MASK.load()
    }

    #[inline(always)]
    fn line(&self, number: u32) -> Option<&Line<U32be>> {
        FLOWS.get(number)
    }

    #[inline(always)]
    fn pause(&self) {
        pause();
    }
}

impl Lines<ipv6::Address> for FlowLines {
    #[inline(always)]
    fn mask(&self) -> u32 {
        FLOW_MASK.load()
    }

    #[inline(always)]
    fn line(&self, number: u32) -> Option<&Line<ipv6::Address>> {
        FLOWS_V6.get(number)
    }

    #[inline(always)]
    fn pause(&self) {
        pause();
    }
}

/// Lets some twenty nanoseconds pass.
#[inline(always)]
pub(crate) fn pause() {
    // SAFETY: it reads the clock, which takes as long as is wanted.
    unsafe { bpf_ktime_get_ns() };
}

/// What is done to the table in functions of their own, which have registers and a stack to themselves. They are global to
/// the kernel, so that the verifier looks at each once and not wherever it is called; so they return numbers alone.
pub(crate) trait Apart: Ip {
    /// The number of a key's live line.
    fn find(key: &FlowKey<Self>) -> Option<u32>;
    /// Reserves a line.
    fn reserve(key: &FlowKey<Self>) -> Result<u32, Refused>;
}

impl Apart for U32be {
    #[inline(always)]
    fn find(key: &FlowKey<Self>) -> Option<u32> {
        numbered(lb_find_flow4(black_box(key))).ok()
    }

    #[inline(always)]
    fn reserve(key: &FlowKey<Self>) -> Result<u32, Refused> {
        numbered(lb_reserve_flow4(black_box(key)))
    }
}

impl Apart for ipv6::Address {
    #[inline(always)]
    fn find(key: &FlowKey<Self>) -> Option<u32> {
        numbered(lb_find_flow6(black_box(key))).ok()
    }

    #[inline(always)]
    fn reserve(key: &FlowKey<Self>) -> Result<u32, Refused> {
        numbered(lb_reserve_flow6(black_box(key)))
    }
}

#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn lb_find_flow4(key: *const FlowKey<U32be>) -> u64 {
    number_of(found(key))
}

#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn lb_find_flow6(key: *const FlowKey<ipv6::Address>) -> u64 {
    number_of(found(key))
}

#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn lb_reserve_flow4(key: *const FlowKey<U32be>) -> u64 {
    number_of(reserved(key))
}

#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn lb_reserve_flow6(key: *const FlowKey<ipv6::Address>) -> u64 {
    number_of(reserved(key))
}

#[inline(always)]
fn found<A: Ip>(key: *const FlowKey<A>) -> Result<u32, Refused>
where
    FlowLines: Lines<A>,
{
    // SAFETY: a caller's key, or nothing, for all that the verifier knows.
    let key = unsafe { key.as_ref() }.ok_or(Refused::Full)?;
    lines::find_number(&FlowLines, key, key.hash(SEED.load())).ok_or(Refused::Full)
}

#[inline(always)]
fn reserved<A: Ip>(key: *const FlowKey<A>) -> Result<u32, Refused>
where
    FlowLines: Lines<A>,
{
    // SAFETY: as above.
    let key = unsafe { key.as_ref() }.ok_or(Refused::Full)?;
    lines::reserve(&FlowLines, key, key.hash(SEED.load()))
}

/// Lines have smaller numbers.
const EXISTS: u64 = 1 << 32;
const FULL: u64 = 2 << 32;

#[inline(always)]
fn number_of(line: Result<u32, Refused>) -> u64 {
    match line {
        Ok(number) => number.into(),
        Err(Refused::Exists) => EXISTS,
        Err(_) => FULL,
    }
}

#[inline(always)]
fn numbered(number: u64) -> Result<u32, Refused> {
    match number {
        EXISTS => Err(Refused::Exists),
        FULL => Err(Refused::Full),
        number => Ok(number as u32),
    }
}
