//! The first bytes of a packet, written as wide as they can be.

use aya_ebpf::programs::XdpContext;

/// Ethernet, IPv4 and TCP header without options: 54 bytes, and two of the payload's, as seven words.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Header(pub(crate) [u64; 7]);

/// Bytes of Ethernet, IPv4 and TCP header.
pub(crate) const ALL: usize = 54;

/// A pointer to the packet's first bytes, if there are as many.
#[inline(always)]
pub(crate) fn first_bytes(ctx: &XdpContext, length: usize) -> Option<*mut u8> {
    let start = ctx.data();
    (start + length <= ctx.data_end()).then_some(start as *mut u8)
}

/// Writes a value at an offset.
///
/// # Safety
/// The caller has compared `start` and the bytes up to the value's end with the packet's end pointer.
#[inline(always)]
pub(crate) unsafe fn put<T>(start: *mut u8, offset: usize, value: T) {
    // SAFETY: in bounds by the caller's promise. The address may be aligned to two only, as in the packet view of the
    // balancer: the BPF target emits a store of the value's width, which the kernel allows.
    unsafe { *start.add(offset).cast::<T>() = value };
}

impl Header {
    /// Writes the Ethernet header back: all that encapsulation leaves changed once its bytes in front are gone.
    #[inline(always)]
    pub(crate) fn restore_link(&self, start: *mut u8) {
        let [first, second, ..] = self.0;
        // SAFETY: 14 bytes, of the `ALL` that were compared.
        unsafe {
            put(start, 0, first);
            put(start, 8, second as u32);
            put(start, 12, (second >> 32) as u16);
        }
    }

    /// Writes all three headers back.
    #[inline(always)]
    pub(crate) fn restore_all(&self, start: *mut u8) {
        let [a, b, c, d, e, f, g] = self.0;
        // SAFETY: 54 bytes, which were compared.
        unsafe {
            put(start, 0, a);
            put(start, 8, b);
            put(start, 16, c);
            put(start, 24, d);
            put(start, 32, e);
            put(start, 40, f);
            put(start, 48, g as u32);
            put(start, 52, (g >> 32) as u16);
        }
    }
}
