//! The one door to packet bytes.

use super::U16be;
use super::checksum::Change;

/// A type whose bytes may be copied from and to a packet or a map as they are.
///
/// # Safety
/// `repr(C)` or `repr(transparent)`, no padding, and every bit pattern is a value. Use `plain!`, which checks the size.
#[allow(unsafe_code, reason = "a marker whose promise the compiler cannot check; plain! checks the size")]
pub unsafe trait Plain: Copy + 'static {}

/// Marks a type [`Plain`] and checks that it has the size its layout says, which is how padding would show.
macro_rules! plain {
    ($type:ty, $size:expr) => {
        const _: () = assert!(core::mem::size_of::<$type>() == $size);
        #[allow(unsafe_code, reason = "the promise of Plain")]
        // SAFETY: repr(C) or transparent over integers only; the size check above excludes padding.
        unsafe impl $crate::wire::Plain for $type {}
    };
}

/// What an outer header is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outside {
    /// Whether it is IPv6, else IPv4.
    pub v6: bool,
    /// Whether a UDP header follows.
    pub udp: bool,
}

/// Where a packet's headers lie.
#[derive(Clone, Copy, Debug)]
pub struct Transport {
    /// Where the IP header begins.
    pub l3: usize,
    /// Where the transport header begins.
    pub l4: usize,
    /// The transport protocol.
    pub protocol: u8,
}

/// A packet from its Ethernet header on.
///
/// Every access is checked and of a fixed size; none ever hands out a slice, because the verifier wants each access
/// compared with the end pointer.
pub trait Packet {
    /// Bytes from the Ethernet header to the end.
    fn length(&self) -> u32;

    /// Copies a header out; `None` if it does not lie wholly within the packet.
    fn read<T: Plain>(&self, offset: usize) -> Option<T>;

    /// Copies out one to eight bytes, at the very place where that is asked for. What is read early has to be kept, which
    /// is what the kernel programs have too few registers for.
    fn peek<T: Plain>(&self, offset: usize) -> Option<T> {
        self.read(offset)
    }

    /// Whether it has so many bytes.
    fn holds(&self, length: usize) -> bool {
        self.length() as usize >= length
    }

    /// Copies a header in; `None`, and nothing written, if it does not fit.
    fn write<T: Plain>(&mut self, offset: usize, value: T) -> Option<()>;

    /// Moves the start of the packet: a negative `delta` makes room in front, a positive one strips bytes.
    /// `None` if there is no such room; the packet is then as before.
    fn move_front(&mut self, delta: i32) -> Option<()>;

    /// Moves the start of the packet for an outer header to be written: by `delta`, as [`Self::move_front`] does. Kernel
    /// buffers of several packets in one have to be told what will be around each.
    fn make_room(&mut self, delta: i32, _outer: Outside) -> Option<()> {
        self.move_front(delta)
    }

    /// Strips `delta` bytes with an outer header among them; `v6` says what the packet inside is.
    fn strip(&mut self, delta: i32, _v6: bool) -> Option<()> {
        self.move_front(delta)
    }

    /// Bytes of the largest IP packet that leaves for this one of `length` bytes with `overhead` more in front: another
    /// number where the kernel put several packets of a connection into one, to part them again later.
    fn wire_length(&self, length: u32, overhead: u32, _transport: Transport) -> u32 {
        length + overhead
    }

    /// Applies a translation to the transport checksum at an offset, which is `before`. Where the kernel left the checksum
    /// to be completed later, only a part of it lies there.
    fn renew_checksum(&mut self, offset: usize, before: U16be, change: Change) -> Option<()> {
        self.write(offset, change.applied_to(before))
    }

    /// The same offset, which must lie below 4096. The kernel's packets make its verifier forget what it knows of it: ways
    /// that found an offset by different headers are then one way to it, not one each through all that follows.
    fn forget(&self, offset: usize) -> usize {
        offset
    }

    /// Ends the packet after `length` bytes, at most as many as it has and at least an Ethernet header.
    fn cut(&mut self, length: usize) -> Option<()>;
}

#[cfg(feature = "host")]
pub use host::Buffer;

#[cfg(feature = "host")]
mod host {
    use super::{Packet, Plain};
    use std::vec::Vec;

    /// Bytes the kernel keeps free before a packet (`XDP_PACKET_HEADROOM`, include/uapi/linux/bpf.h).
    const HEADROOM: usize = 256;

    /// A packet in ordinary memory, with the headroom a driver would give it.
    #[derive(Clone, Debug)]
    pub struct Buffer {
        memory: Vec<u8>,
        start: usize,
    }

    impl Buffer {
        /// A packet with these bytes.
        #[must_use]
        pub fn new(bytes: &[u8]) -> Self {
            let mut memory = vec![0; HEADROOM];
            memory.extend_from_slice(bytes);
            Self { memory, start: HEADROOM }
        }

        /// The packet's bytes.
        #[must_use]
        pub fn bytes(&self) -> &[u8] {
            self.memory.get(self.start..).unwrap_or_default()
        }

        fn range<T>(&self, offset: usize) -> Option<core::ops::Range<usize>> {
            let from = self.start.checked_add(offset)?;
            let to = from.checked_add(size_of::<T>())?;
            (to <= self.memory.len()).then_some(from..to)
        }
    }

    #[allow(unsafe_code, reason = "the host's counterpart of the kernel's packet loads")]
    impl Packet for Buffer {
        fn length(&self) -> u32 {
            u32::try_from(self.bytes().len()).unwrap_or(u32::MAX)
        }

        fn read<T: Plain>(&self, offset: usize) -> Option<T> {
            let bytes = self.memory.get(self.range::<T>(offset)?)?;
            // SAFETY: the slice has size_of::<T>() bytes and T: Plain takes any bit pattern.
            Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
        }

        fn write<T: Plain>(&mut self, offset: usize, value: T) -> Option<()> {
            let range = self.range::<T>(offset)?;
            let bytes = self.memory.get_mut(range)?;
            // SAFETY: the slice has size_of::<T>() bytes and is exclusively borrowed.
            unsafe { bytes.as_mut_ptr().cast::<T>().write_unaligned(value) };
            Some(())
        }

        fn move_front(&mut self, delta: i32) -> Option<()> {
            let start = self.start.checked_add_signed(isize::try_from(delta).ok()?)?;
            // The kernel keeps at least an Ethernet header (bpf_xdp_adjust_head, net/core/filter.c).
            let fits = start + crate::wire::ethernet::LENGTH <= self.memory.len();
            fits.then(|| self.start = start)
        }

        fn cut(&mut self, length: usize) -> Option<()> {
            let fits = (crate::wire::ethernet::LENGTH..=self.bytes().len()).contains(&length);
            fits.then(|| self.memory.truncate(self.start + length))
        }
    }
}
