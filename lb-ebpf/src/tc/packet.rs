//! The packet view over the kernel's packet buffer.
//!
//! Only the linear part of a buffer is memory that a program sees; the rest is pulled into it as far as headers may
//! reach. A buffer may be several packets of a connection in one (GSO), and its checksum may be left to be completed later
//! (`CHECKSUM_PARTIAL`) or be known over all bytes (`CHECKSUM_COMPLETE`): neither may be broken by what is written.

use super::room;
use aya_ebpf::bindings::{__sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR};
use aya_ebpf::helpers::{
    bpf_csum_diff, bpf_csum_update, bpf_l4_csum_replace, bpf_skb_change_tail, bpf_skb_pull_data,
};
use aya_ebpf::programs::TcContext;
use core::ptr;
use lb_common::wire::checksum::Change;
use lb_common::wire::{Outside, Packet, Plain, Transport, U16be, ethernet, protocol, tcp, udp};

/// As far as plain packets' headers reach: Ethernet, IPv6 and TCP, and an outer IPv6 header on the backend's side.
const PLAIN: u32 = 128;
/// As far as headers may reach in the stages: extension headers, and what an ICMP error quotes.
const FARTHEST: u32 = 1500;

/// A packet at TC. `HELD` as in `XdpPacket`.
pub(crate) struct TcPacket<'a, const HELD: bool> {
    ctx: &'a TcContext,
    start: usize,
    end: usize,
    /// Whether the kernel knows the sum over all bytes, which has to be kept right. In the stages it is given up: keeping
    /// it takes more stack than they have ("BPF stack limit is exceeded", LLVM 22), and packets seldom come there.
    is_summed: bool,
}

impl<'a, const HELD: bool> TcPacket<'a, HELD> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'a TcContext) -> Self {
        pull(ctx, if HELD { PLAIN } else { FARTHEST });
        // SAFETY: a helper call on the program's own context; it refuses to add nothing to a sum that there is not.
        let is_summed = unsafe { bpf_csum_update(ctx.skb.skb, 0) } >= 0;
        if is_summed && !HELD {
            forget_sum(ctx);
        }
        Self { ctx, start: ctx.data(), end: ctx.data_end(), is_summed: is_summed && HELD }
    }

    #[inline(always)]
    const fn skb(&self) -> *mut __sk_buff {
        self.ctx.skb.skb
    }

    #[inline(always)]
    fn ends(&self) -> (usize, usize) {
        if HELD { (self.start, self.end) } else { (self.ctx.data(), self.ctx.data_end()) }
    }

    /// Takes the pointers anew: every helper that may move the packet ends the use of those taken before.
    #[inline(always)]
    fn moved(&mut self, refused: i64) -> Option<()> {
        (self.start, self.end) = (self.ctx.data(), self.ctx.data_end());
        (refused == 0).then_some(())
    }

    /// A pointer to `T` at an offset, if all of it lies within the linear part.
    #[inline(always)]
    fn place<T>(&self, offset: usize) -> Option<*mut T> {
        let (start, end) = self.ends();
        let start = start + offset;
        if start + size_of::<T>() > end {
            return None;
        }
        Some(start as *mut T)
    }

    /// Bytes of each packet's payload in a buffer of several; 0 in one of one.
    #[inline(always)]
    fn segment(&self) -> u32 {
        // SAFETY: a field of the program's own context.
        unsafe { ptr::read_volatile(&raw const (*self.skb()).gso_size) }
    }
}

/// Has so many bytes in the linear part, or all there are.
#[inline(always)]
fn pull(ctx: &TcContext, wanted: u32) {
    let wanted = wanted.min(ctx.len());
    if ctx.data() + (wanted as usize) > ctx.data_end() {
        // SAFETY: a helper call on the program's own context; pointers are taken afterwards. If it fails, the packet
        // is as short as its linear part.
        unsafe { bpf_skb_pull_data(ctx.skb.skb, wanted) };
    }
}

/// Bytes that are summed for a value: whole words of four bytes.
const fn around_length<T>() -> u32 {
    (size_of::<T>() as u32).next_multiple_of(4)
}

/// Where they begin: with the value if it is whole words, else early enough to end with the value or a byte behind it,
/// and at an even offset, since it is words of two bytes that are added.
#[inline(always)]
const fn around<T>(offset: usize) -> usize {
    if size_of::<T>() % 4 == 0 { offset } else { (offset & !1) + 2 - around_length::<T>() as usize }
}

/// A sum with bytes added and others taken away.
#[inline(always)]
fn difference(old: (*mut u32, u32), new: (*mut u32, u32), sum: u32) -> u32 {
    // SAFETY: within the packet, as the caller compared.
    unsafe { bpf_csum_diff(old.0, old.1, new.0, new.1, sum) as u32 }
}

/// Has the kernel forget the sum over all bytes, which it does where a packet grows.
#[inline(always)]
fn forget_sum(ctx: &TcContext) {
    let length = ctx.len();
    // SAFETY: helper calls on the program's own context; pointers are taken afterwards. Without memory to grow nothing
    // has changed, and a sum that is wrong later costs the stack a second look, no packet.
    unsafe {
        bpf_skb_change_tail(ctx.skb.skb, length + 1, 0);
        bpf_skb_change_tail(ctx.skb.skb, length, 0);
    }
}

impl<const HELD: bool> Packet for TcPacket<'_, HELD> {
    #[inline(always)]
    fn length(&self) -> u32 {
        self.ctx.len()
    }

    #[inline(always)]
    fn read<T: Plain>(&self, offset: usize) -> Option<T> {
        let place = self.place::<T>(offset)?;
        // SAFETY: as in `XdpPacket`.
        Some(unsafe { *place })
    }

    #[inline(always)]
    fn peek<T: Plain>(&self, offset: usize) -> Option<T> {
        let place = self.place::<T>(offset)?;
        // SAFETY: as in `XdpPacket`.
        Some(unsafe { place.read_volatile() })
    }

    #[inline(always)]
    fn holds(&self, length: usize) -> bool {
        let (start, end) = self.ends();
        start + length <= end
    }

    /// What lies behind the Ethernet header is part of the sum that the kernel may keep.
    #[inline(always)]
    fn write<T: Plain>(&mut self, offset: usize, value: T) -> Option<()> {
        let place = self.place::<T>(offset)?;
        if !HELD || !self.is_summed || offset < ethernet::LENGTH {
            // SAFETY: as in `XdpPacket`.
            unsafe { *place = value };
            return Some(());
        }
        let around = self.place::<[u8; 4]>(around::<T>(offset))?;
        let length = around_length::<T>();
        let without = difference((around.cast(), length), (ptr::null_mut(), 0), 0);
        // SAFETY: as in `XdpPacket`.
        unsafe { *place = value };
        let with = difference((ptr::null_mut(), 0), (around.cast(), length), without);
        // SAFETY: a helper call on the program's own context.
        unsafe { bpf_csum_update(self.skb(), with) };
        Some(())
    }

    /// Adds a number that the verifier does not know, and takes it away again.
    #[inline(always)]
    fn forget(&self, offset: usize) -> usize {
        // SAFETY: two reads of the program's own context. Volatile, or the compiler would see that nothing is added.
        let unknown = || unsafe { ptr::read_volatile(&raw const (*self.skb()).priority) } as usize;
        (offset + unknown() - unknown()) & 0xfff
    }

    /// A checksum that the kernel has yet to complete lies where it lay, which must stay in the buffer. That is behind what
    /// is cut off of a TCP header: there it is as padding is.
    #[inline(always)]
    fn cut(&mut self, length: usize) -> Option<()> {
        const TO_CHECKSUM: u32 = (tcp::CHECKSUM + 2 - udp::LENGTH) as u32;
        // SAFETY: a helper call on the program's own context.
        let mut refused = unsafe { bpf_skb_change_tail(self.skb(), length as u32, 0) };
        if refused != 0 {
            // SAFETY: as above.
            refused = unsafe { bpf_skb_change_tail(self.skb(), length as u32 + TO_CHECKSUM, 0) };
        }
        self.moved(refused)
    }

    #[inline(always)]
    fn move_front(&mut self, delta: i32) -> Option<()> {
        let refused = if delta < 0 { room::add(self.skb(), -delta) } else { room::take(self.skb(), delta) };
        self.moved(refused)
    }

    #[inline(always)]
    fn make_room(&mut self, delta: i32, outer: Outside) -> Option<()> {
        let refused = room::add_around(self.skb(), -delta, outer, self.segment() != 0);
        self.moved(refused)
    }

    #[inline(always)]
    fn strip(&mut self, delta: i32, v6: bool) -> Option<()> {
        let refused = room::take_around(self.skb(), delta, v6);
        self.moved(refused)
    }

    /// TCP's segments give up as much payload as the overhead takes (see [`room::add_around`]); datagrams cannot.
    #[inline(always)]
    fn wire_length(&self, length: u32, overhead: u32, at: Transport) -> u32 {
        let segment = self.segment();
        if segment == 0 {
            return length + overhead;
        }
        let network = (at.l4 - at.l3) as u32;
        match self.peek::<u8>(at.l4 + tcp::DATA_OFFSET) {
            Some(offset) if at.protocol == protocol::TCP => network + u32::from(offset >> 4) * 4 + segment,
            _ => network + udp::LENGTH as u32 + segment + overhead,
        }
    }

    #[inline(always)]
    fn renew_checksum(&mut self, offset: usize, before: U16be, change: Change) -> Option<()> {
        if HELD && self.is_summed {
            return self.write(offset, change.applied_to(before));
        }
        let optional = if change.is_optional { u64::from(BPF_F_MARK_MANGLED_0) } else { 0 };
        let (addresses, ports) = (change.addresses.raw().into(), change.ports().raw().into());
        let pseudo = optional | u64::from(BPF_F_PSEUDO_HDR);
        // SAFETY: helper calls on the program's own context. What lies there of a checksum to be completed is the sum
        // over the pseudo-header, which the ports are no part of.
        let refused = unsafe {
            bpf_l4_csum_replace(self.skb(), offset as u32, 0, addresses, pseudo)
                | bpf_l4_csum_replace(self.skb(), offset as u32, 0, ports, optional)
        };
        self.moved(refused)
    }
}
