//! A word that several CPUs change. The kernel has had what this takes since Linux 5.12; the compiler offers it for BPF
//! as intrinsics only, so there are two.

/// A word that several CPUs change, each change at once and seen by all in one order.
#[repr(transparent)]
#[derive(Debug, Default)]
pub(super) struct Shared(imp::Word);

impl Shared {
    /// The word, whenever that is.
    #[inline(always)]
    pub(super) fn load(&self) -> u64 {
        imp::load(&self.0)
    }

    /// Sets bits; gives the word before.
    #[inline(always)]
    pub(super) fn or(&self, bits: u64) -> u64 {
        imp::or(&self.0, bits)
    }

    /// Keeps bits; gives the word before.
    #[inline(always)]
    pub(super) fn and(&self, bits: u64) -> u64 {
        imp::and(&self.0, bits)
    }

    /// Turns bits over; gives the word before.
    #[inline(always)]
    pub(super) fn xor(&self, bits: u64) -> u64 {
        imp::xor(&self.0, bits)
    }

    /// Puts another word in the place of this one, and says whether it was that still.
    #[inline(always)]
    pub(super) fn exchange(&self, before: u64, after: u64) -> bool {
        imp::exchange(&self.0, before, after)
    }
}

#[cfg(not(target_arch = "bpf"))]
mod imp {
    use core::sync::atomic::{AtomicU64, Ordering};

    pub(super) type Word = AtomicU64;

    pub(super) fn load(word: &Word) -> u64 {
        word.load(Ordering::Acquire)
    }

    pub(super) fn or(word: &Word, bits: u64) -> u64 {
        word.fetch_or(bits, Ordering::SeqCst)
    }

    pub(super) fn and(word: &Word, bits: u64) -> u64 {
        word.fetch_and(bits, Ordering::SeqCst)
    }

    pub(super) fn xor(word: &Word, bits: u64) -> u64 {
        word.fetch_xor(bits, Ordering::SeqCst)
    }

    pub(super) fn exchange(word: &Word, before: u64, after: u64) -> bool {
        word.compare_exchange(before, after, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }
}

#[cfg(target_arch = "bpf")]
#[allow(
    unsafe_code,
    internal_features,
    reason = "the compiler's own functions for what `AtomicU64` lacks there"
)]
mod imp {
    use core::cell::UnsafeCell;
    use core::intrinsics::AtomicOrdering::SeqCst;
    use core::intrinsics::{atomic_and, atomic_cxchg, atomic_or, atomic_xor};

    pub(super) type Word = UnsafeCell<u64>;

    #[inline(always)]
    pub(super) fn load(word: &Word) -> u64 {
        // SAFETY: a word of its own alignment, read at once.
        unsafe { word.get().read_volatile() }
    }

    #[inline(always)]
    pub(super) fn or(word: &Word, bits: u64) -> u64 {
        // SAFETY: a word of its own alignment, and so below.
        unsafe { atomic_or::<u64, u64, { SeqCst }>(word.get(), bits) }
    }

    #[inline(always)]
    pub(super) fn and(word: &Word, bits: u64) -> u64 {
        // SAFETY: as above.
        unsafe { atomic_and::<u64, u64, { SeqCst }>(word.get(), bits) }
    }

    #[inline(always)]
    pub(super) fn xor(word: &Word, bits: u64) -> u64 {
        // SAFETY: as above.
        unsafe { atomic_xor::<u64, u64, { SeqCst }>(word.get(), bits) }
    }

    #[inline(always)]
    pub(super) fn exchange(word: &Word, before: u64, after: u64) -> bool {
        // SAFETY: as above.
        unsafe { atomic_cxchg::<u64, { SeqCst }, { SeqCst }>(word.get(), before, after) }.1
    }
}
