//! Runs a program ten times a test run, puts the packet back each time, and counts what came of it.

use crate::header::{self, Header, first_bytes, put};
use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::btf_maps::{Array, ProgramArray};
use aya_ebpf::helpers::bpf_xdp_adjust_head;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use aya_ebpf::{EbpfContext as _, Global};

/// Packets a run: enough to make the test run's own cost small, fewer than the 33 tail calls the kernel allows a run.
const PACKETS: u32 = 10;
/// Places of the tally: eight codes, and growths from -64 to 63.
const PLACES: usize = 8 << 7;
/// Where the source address lies.
const SOURCE: usize = 26;
/// The first of the sources walked through: 10.64.0.0.
const FIRST_SOURCE: u32 = 0x0a40_0000;

/// The program under test.
#[btf_map]
static TARGET: ProgramArray<1> = ProgramArray::new();
/// The headers as they are before each run.
#[btf_map]
static HEADER: Array<Header, 1> = Array::new();
/// Packets by what the program returned and how many bytes they grew by: see [`place`].
#[btf_map]
static TALLY: Array<u64, PLACES> = Array::new();
/// The flow that the walk has come to.
#[btf_map]
static FLOW: Array<u32, 1> = Array::new();

/// 1 if the program rewrites IPv4 and TCP headers, so that all are to be put back; else the Ethernet header is.
#[unsafe(no_mangle)]
static RESTORE_ALL: Global<u8> = Global::new(0);
/// Number of flows to walk through less one, as a mask; 0 leaves the source address alone.
#[unsafe(no_mangle)]
static FLOW_MASK: Global<u32> = Global::new(0);
/// What one flow is from the next, odd; 1 walks through them in order.
#[unsafe(no_mangle)]
static FLOW_STRIDE: Global<u32> = Global::new(1);
/// What a tail call that did not happen returns; a load, so that the compiler cannot know that nothing else does.
#[unsafe(no_mangle)]
static NOT_CALLED: Global<u32> = Global::new(xdp_action::XDP_ABORTED);

/// The wrapper. The settings above are load-time constants, so what they leave out costs nothing.
#[xdp]
pub fn wrapper(ctx: XdpContext) -> u32 {
    run(&ctx).map_or(xdp_action::XDP_ABORTED, |()| xdp_action::XDP_PASS)
}

#[inline(always)]
fn run(ctx: &XdpContext) -> Option<()> {
    let header = HEADER.get(0)?;
    for _ in 0..PACKETS {
        prepare(ctx, header)?;
        let before = length(ctx);
        let action = call(ctx.as_ptr().cast());
        let growth = length(ctx) - before;
        increment(TALLY.get_ptr_mut(place(action, growth))?);
        if growth != 0 {
            // SAFETY: a helper call on the program's own context; pointers are taken afterwards.
            unsafe { bpf_xdp_adjust_head(ctx.ctx, growth) };
        }
    }
    Some(())
}

/// The place of a packet in the tally.
#[inline(always)]
fn place(action: u32, growth: i32) -> u32 {
    (action & 7) << 7 | (growth + 64) as u32 & 0x7f
}

/// Adds one, and gives the sum.
#[inline(always)]
fn increment<T: Copy + core::ops::Add<Output = T> + From<u8>>(value: *mut T) -> T {
    // SAFETY: a map's value; the bench runs on one CPU, so nothing else writes it meanwhile.
    unsafe {
        *value = *value + T::from(1);
        *value
    }
}

/// A tail call replaces the program it is made from. Made from a function, only that function is replaced, and the
/// program under test returns here.
#[inline(never)]
extern "C" fn call(ctx: *mut xdp_md) -> u32 {
    // SAFETY: the packet is not touched through pointers taken before.
    unsafe { TARGET.tail_call(&XdpContext::new(ctx), 0) };
    NOT_CALLED.load()
}

/// Puts the headers back as they were; with a mask, the next flow's source address instead of the template's.
#[inline(always)]
fn prepare(ctx: &XdpContext, header: &Header) -> Option<()> {
    let start = first_bytes(ctx, header::ALL)?;
    if RESTORE_ALL.load() == 0 {
        header.restore_link(start);
    } else {
        header.restore_all(start);
    }
    let mask = FLOW_MASK.load();
    if mask != 0 {
        let flow = increment(FLOW.get_ptr_mut(0)?);
        let flow = flow.wrapping_mul(FLOW_STRIDE.load());
        let source = FIRST_SOURCE.wrapping_add(flow & mask).to_be();
        // SAFETY: within the bytes compared above.
        unsafe { put(start, SOURCE, source) };
    }
    Some(())
}

#[inline(always)]
fn length(ctx: &XdpContext) -> i32 {
    (ctx.data_end() - ctx.data()) as i32
}
