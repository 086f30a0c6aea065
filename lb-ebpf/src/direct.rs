//! Tables in global data.

use core::cell::UnsafeCell;
use lb_common::abi::Order;
use lb_common::wire::Packet;

/// A table in global data, which the program addresses by itself. An array map's lookup is inlined, too, but its key
/// goes by way of the stack, which every lookup that depends on another waits for, and to the compiler it is a call:
/// 2 ns a packet, 5 ns over IPv6.
///
/// Userspace writes it by way of [`crate::maps::write`]; `used` keeps the compiler from taking it for what it is at first.
#[repr(transparent)]
pub(crate) struct Direct<T, const N: usize>(UnsafeCell<[T; N]>);

// SAFETY: userspace writes while programs on all CPUs read. A word is written at once, and all bits are a value, so that what is
// read is one, but perhaps not one that was ever meant: while a value is being written, some of its words are new and some are
// old. A backend whose way changes can be seen with a link-layer address of both (it lies in three words), or with another
// `source` than `outer` is the sum of: a packet sent then is lost, as others are on a way that changes.
unsafe impl<T, const N: usize> Sync for Direct<T, N> {}

impl<T: Copy, const N: usize> Direct<T, N> {
    pub(crate) const fn new(value: T) -> Self {
        assert!(N.is_power_of_two(), "the index is masked");
        Self(UnsafeCell::new([value; N]))
    }

    /// The value at an index, modulo the length. The mask is what the verifier knows the offset's bounds by; of a
    /// comparison it would lose sight when the compiler compares one register and adds another ("unbounded memory
    /// access", Linux 6.18).
    #[inline(always)]
    pub(crate) fn at(&self, index: u32) -> &T {
        // SAFETY: below N by the mask.
        unsafe { &*self.0.get().cast::<T>().add(index as usize & (N - 1)) }
    }

    /// Follows the orders in a packet, one after the other; gives their number.
    #[inline(always)]
    pub(crate) fn write(&self, orders: &impl Packet) -> u32 {
        let words = N * size_of::<T>() / size_of::<u32>();
        for number in 0..Order::MOST {
            let Some(Order { place, word }) = Order::of(orders, number) else { return number as u32 };
            // SAFETY: below the table's end by the mask, N and a value's words being powers of two. A word is written at
            // once, and all bits are a value.
            unsafe { self.0.get().cast::<u32>().add(place as usize & (words - 1)).write_volatile(word) };
        }
        Order::MOST as u32
    }
}
