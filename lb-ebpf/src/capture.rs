//! Captures: hands packets whose way has ended to userspace, where somebody asked for them.
//!
//! Nobody comes here unless the daemon was told `[capture] enabled`: a load-time constant, and the verifier removes the
//! ways here. The record is put together by a program of its own, for what it needs does not fit beside others' on a
//! stack.

use crate::maps;
use crate::stage::{self, Hook};
use aya_ebpf::Global;
use aya_ebpf::btf_maps::{Array, PerCpuArray, RingBuf};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::bpf_ringbuf_output;
use aya_ebpf::macros::btf_map;
use core::ffi::c_void;
use lb_common::abi::{BackendId, CaptureCount, CaptureFilter, CaptureRecord, Stage, limits};
use lb_common::datapath::{self, Reason};
use lb_common::wire::Packet as _;

/// Packets that one CPU may capture in a second; 0 if nobody may capture.
#[unsafe(no_mangle)]
static CAPTURE_RATE: Global<u32> = Global::new(0);

/// What is wanted.
#[btf_map]
static CAPTURE_FILTER: Array<CaptureFilter, 1> = Array::new();
/// What was captured.
#[btf_map]
static CAPTURE_COUNTS: PerCpuArray<CaptureCount, 1> = PerCpuArray::new();
/// The packet in hand.
#[btf_map]
static CAPTURE_DRAFT: PerCpuArray<Draft, 1> = PerCpuArray::new();
/// Captured packets on their way to userspace; the daemon sets the size when it loads.
#[btf_map]
static CAPTURED: RingBuf<u8, 4096> = RingBuf::new();

/// A record with its packet's bytes behind it, and what the kernel is to be told in the end.
#[repr(C)]
struct Draft {
    code: u32,
    reserved: u32,
    record: CaptureRecord,
    bytes: [u8; BYTES],
}

const BYTES: usize = limits::CAPTURE_SNAP as usize + 1;

// So that a length is bounded by a mask, which the verifier follows.
const _: () = assert!(BYTES.is_power_of_two());

/// Whether somebody captures.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    CAPTURE_RATE.load() != 0 && CAPTURE_FILTER.get(0).is_some_and(CaptureFilter::is_on)
}

/// Leaves a finished packet to the program that captures it, with the backend it was steered to and the interface it is
/// sent out by; gives `code` if it cannot be.
///
/// Field by field: a record made whole would be cleared by a call, whose frame some stages have no room for on the stack.
#[inline(always)]
pub(crate) fn show<H: Hook>(
    ctx: &H,
    reason: Reason,
    (backend, leaves_by): (BackendId, u32),
    code: u32,
) -> u32 {
    if is_on()
        && let Some(draft) = CAPTURE_DRAFT.get_ptr_mut(0)
    {
        // SAFETY: this CPU's own value, which nothing else uses while its programs run.
        let draft = unsafe { &mut *draft };
        draft.code = code;
        draft.record.end(reason as u8, backend, leaves_by);
        ctx.tail_call(Stage::Capture);
    }
    code
}

/// Captures the packet that was left, if it is wanted; gives the code that was left with it.
#[inline(always)]
pub(crate) fn capture<H: Hook>(ctx: &H) -> u32 {
    // The way to the rest is closed where nobody may capture, so kernels that could not run it need not.
    if CAPTURE_RATE.load() == 0 {
        return H::DROP;
    }
    let Some(draft) = CAPTURE_DRAFT.get_ptr_mut(0) else { return H::DROP };
    // SAFETY: as in `show`.
    let draft = unsafe { &mut *draft };
    if let Some(filter) = CAPTURE_FILTER.get(0) {
        let packet = ctx.view::<false>();
        if datapath::is_wanted(&packet, filter, draft.record.reason, draft.record.backend) {
            hand_over(ctx, draft, packet.length(), filter.snap);
        }
    }
    let reason = draft.record.reason.into();
    if maps::is_loud() && (draft.code == H::DROP || reason == stage::UNSERVED) {
        return stage::tell(ctx, reason, draft.code);
    }
    draft.code
}

/// Puts the packet into the ring buffer, if this second still has room for one, and counts it.
#[inline(always)]
fn hand_over<H: Hook>(ctx: &H, draft: &mut Draft, length: u32, snap: u32) {
    let Some(count) = CAPTURE_COUNTS.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's own value, which nothing else writes while the program runs.
    let count = unsafe { &mut *count };
    count.wanted += 1;
    let admitted = count.rate.admits(stage::now(), maps::second(), CAPTURE_RATE.load());
    if !admitted || !write(ctx, draft, length, snap) {
        count.missed += 1;
    }
}

#[inline(always)]
fn write<H: Hook>(ctx: &H, draft: &mut Draft, length: u32, snap: u32) -> bool {
    // Never nothing: the kernel's helpers copy no less than a byte, and no frame is shorter.
    let kept = (length.min(snap) & limits::CAPTURE_SNAP).max(1);
    draft.record.kept = kept;
    draft.record.length = length;
    draft.record.arrived_by = ctx.ingress();
    // SAFETY: a helper call without arguments. What it costs is bounded by the rate.
    draft.record.at_ns = unsafe { bpf_ktime_get_ns() };
    // SAFETY: the draft has room for `kept` bytes.
    let copied = unsafe { ctx.copy_out((&raw mut draft.bytes).cast(), kept) };
    let size = size_of::<CaptureRecord>() as u64 + u64::from(kept);
    // SAFETY: the record and `kept` bytes behind it lie in one value of a map.
    copied && unsafe { bpf_ringbuf_output(ring(), (&raw mut draft.record).cast(), size, 0) } == 0
}

/// The ring buffer as the helper wants it: aya's own call knows only whole values.
#[inline(always)]
fn ring() -> *mut c_void {
    (&raw const CAPTURED).cast_mut().cast()
}
