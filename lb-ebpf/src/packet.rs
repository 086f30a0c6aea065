//! The packet view: the one place that touches packet memory.

use aya_ebpf::helpers::bpf_xdp_adjust_head;
use aya_ebpf::programs::XdpContext;
use lb_common::wire::{Packet, Plain};

/// An XDP packet. Each access is compared with the end pointer, as the verifier wants it.
pub(crate) struct XdpPacket<'a> {
    ctx: &'a XdpContext,
}

impl<'a> XdpPacket<'a> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'a XdpContext) -> Self {
        Self { ctx }
    }

    /// A pointer to `T` at an offset, if all of it lies within the packet.
    #[inline(always)]
    fn place<T>(&self, offset: usize) -> Option<*mut T> {
        let start = self.ctx.data() + offset;
        if start + size_of::<T>() > self.ctx.data_end() {
            return None;
        }
        Some(start as *mut T)
    }
}

impl Packet for XdpPacket<'_> {
    #[inline(always)]
    fn length(&self) -> u32 {
        (self.ctx.data_end() - self.ctx.data()) as u32
    }

    #[inline(always)]
    fn read<T: Plain>(&self, offset: usize) -> Option<T> {
        let place = self.place::<T>(offset)?;
        // SAFETY: in bounds by `place`, and T: Plain takes any bits. The address may be aligned to two only; the BPF
        // target emits loads of the field's width either way, and the kernel allows them (or refuses the program).
        Some(unsafe { *place })
    }

    #[inline(always)]
    fn write<T: Plain>(&mut self, offset: usize, value: T) -> Option<()> {
        let place = self.place::<T>(offset)?;
        // SAFETY: as in `read`.
        unsafe { *place = value };
        Some(())
    }

    #[inline(always)]
    fn move_front(&mut self, delta: i32) -> Option<()> {
        // SAFETY: a helper call on the context this view was made from; pointers are taken afresh afterwards.
        let refused = unsafe { bpf_xdp_adjust_head(self.ctx.ctx, delta) };
        (refused == 0).then_some(())
    }
}
