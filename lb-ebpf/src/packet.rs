//! XDP: the packet view, which is the one place that touches packet memory, and verdict → XDP code.

use crate::maps;
use crate::stage::Hook;
use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::{bpf_redirect, bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_load_bytes};
use aya_ebpf::programs::XdpContext;
use core::ffi::c_void;
use core::ptr;
use lb_common::abi::Stage;
use lb_common::wire::{Packet, Plain};

/// An XDP packet. Each access is compared with the end pointer, as the verifier wants it.
///
/// `HELD` says whether both pointers are held. Where all offsets are constants, one comparison then is enough for all
/// accesses that it covers. Where an offset is computed they are taken from the context each time: the compiler would
/// otherwise compare one sum and use another, which the verifier cannot know to be equal ("R8 offset is outside of
/// the packet", Linux 6.18).
pub(crate) struct XdpPacket<'a, const HELD: bool> {
    ctx: &'a XdpContext,
    start: usize,
    end: usize,
}

impl<'a, const HELD: bool> XdpPacket<'a, HELD> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'a XdpContext) -> Self {
        Self { ctx, start: ctx.data(), end: ctx.data_end() }
    }

    #[inline(always)]
    fn ends(&self) -> (usize, usize) {
        if HELD { (self.start, self.end) } else { (self.ctx.data(), self.ctx.data_end()) }
    }

    /// A pointer to `T` at an offset, if all of it lies within the packet.
    #[inline(always)]
    fn place<T>(&self, offset: usize) -> Option<*mut T> {
        let (start, end) = self.ends();
        let start = start + offset;
        if start + size_of::<T>() > end {
            return None;
        }
        Some(start as *mut T)
    }
}

/// A value taken for aligned to eight bytes, so that the compiler writes neighbouring words at once. On its own stack it may
/// not be told so much ("misaligned stack access", Linux 6.18).
#[repr(C, align(8))]
struct Wide<T>(T);

impl<const HELD: bool> Packet for XdpPacket<'_, HELD> {
    #[inline(always)]
    fn length(&self) -> u32 {
        let (start, end) = self.ends();
        (end - start) as u32
    }

    #[inline(always)]
    fn read<T: Plain>(&self, offset: usize) -> Option<T> {
        let place = self.place::<T>(offset)?;
        // SAFETY: in bounds by `place`, and T: Plain takes any bits. The address may be aligned to two only; the BPF
        // target emits loads of the field's width either way, and the kernel allows them (or refuses the program).
        Some(unsafe { *place })
    }

    #[inline(always)]
    fn peek<T: Plain>(&self, offset: usize) -> Option<T> {
        let place = self.place::<T>(offset)?;
        // SAFETY: as in `read`. Volatile, so that the compiler does not read it earlier and keep it.
        Some(unsafe { place.read_volatile() })
    }

    #[inline(always)]
    fn holds(&self, length: usize) -> bool {
        let (start, end) = self.ends();
        start + length <= end
    }

    #[inline(always)]
    fn write<T: Plain>(&mut self, offset: usize, value: T) -> Option<()> {
        let place = self.place::<T>(offset)?.cast::<Wide<T>>();
        // SAFETY: as in `read`. Only the value's own bytes are written.
        unsafe { (*place).0 = value };
        Some(())
    }

    /// Adds a number that the verifier does not know, and takes it away again.
    #[inline(always)]
    fn forget(&self, offset: usize) -> usize {
        // SAFETY: two reads of the program's own context. Volatile, or the compiler would see that nothing is added.
        let unknown = || unsafe { ptr::read_volatile(&raw const (*self.ctx.ctx).rx_queue_index) } as usize;
        (offset + unknown() - unknown()) & 0xfff
    }

    #[inline(always)]
    fn cut(&mut self, length: usize) -> Option<()> {
        let present = self.ctx.data_end() - self.ctx.data();
        // Compared at full width, which keeps the compiler from subtracting halves of pointers ("32-bit pointer
        // arithmetic prohibited", Linux 6.18).
        let surplus = present.checked_sub(length)?;
        // SAFETY: a helper call on the context this view was made from. It ends the use of the pointers taken before.
        let refused = unsafe { bpf_xdp_adjust_tail(self.ctx.ctx, -(surplus as i32)) };
        *self = Self::new(self.ctx);
        (refused == 0).then_some(())
    }

    #[inline(always)]
    fn move_front(&mut self, delta: i32) -> Option<()> {
        // SAFETY: a helper call on the context this view was made from. It ends the use of the pointers taken before.
        let refused = unsafe { bpf_xdp_adjust_head(self.ctx.ctx, delta) };
        *self = Self::new(self.ctx);
        (refused == 0).then_some(())
    }
}

impl Hook for XdpContext {
    type View<'a, const HELD: bool> = XdpPacket<'a, HELD>;

    const PASS: u32 = xdp_action::XDP_PASS;
    const DROP: u32 = xdp_action::XDP_DROP;
    const ANSWERS_SYNS: bool = true;

    #[inline(always)]
    fn view<const HELD: bool>(&self) -> XdpPacket<'_, HELD> {
        XdpPacket::new(self)
    }

    #[inline(always)]
    fn ingress(&self) -> u32 {
        // SAFETY: the kernel hands the program a valid context.
        unsafe { (*self.ctx).ingress_ifindex }
    }

    #[inline(always)]
    fn send(&self, ifindex: u32) -> u32 {
        if ifindex == self.ingress() && !maps::tx_by_redirect() {
            return xdp_action::XDP_TX;
        }
        // SAFETY: a helper call on an interface index and no flags.
        unsafe { bpf_redirect(ifindex, 0) as u32 }
    }

    #[inline(always)]
    unsafe fn copy_out(&self, place: *mut c_void, length: u32) -> bool {
        // SAFETY: room for so many bytes, as the caller says; the kernel checks that the packet has them.
        unsafe { bpf_xdp_load_bytes(self.ctx, 0, place, length) == 0 }
    }

    #[inline(always)]
    fn tail_call(&self, stage: Stage) {
        maps::tail_call(self, stage);
    }
}
