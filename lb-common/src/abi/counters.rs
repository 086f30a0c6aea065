//! Counters, one copy a CPU; userspace adds them up.

use super::{BackendId, limits};
use core::cell::UnsafeCell;

/// Packets and their bytes, from the Ethernet header on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes, before any rewriting.
    pub bytes: u64,
}

plain!(Count, 16);

impl Count {
    /// Counts one packet.
    #[inline(always)]
    pub const fn add(&mut self, bytes: u32) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

/// All that one CPU counts: in one piece, so that a packet that is counted by its reason and by its backend looks for its CPU's
/// once. The reasons come first, where a program's instructions reach them by a constant.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Counters {
    reasons: UnsafeCell<[Count; limits::REASONS as usize]>,
    backends: UnsafeCell<[BackendCount; limits::BACKENDS as usize]>,
}

const _: () = assert!(limits::REASONS.is_power_of_two() && limits::BACKENDS.is_power_of_two());

#[allow(unsafe_code, reason = "what a CPU writes and userspace reads is more than a type can say")]
// SAFETY: plain numbers, written by one CPU, each right by itself at any time, and handed out as pointers.
unsafe impl Sync for Counters {}

impl Counters {
    /// Where packets are counted under a reason of this number, modulo as many as there may be. The mask is what the kernel's
    /// verifier knows the place's bounds by.
    #[inline(always)]
    pub const fn reason(&self, number: u32) -> *mut Count {
        let place = number as usize & (limits::REASONS as usize - 1);
        self.reasons.get().cast::<Count>().wrapping_add(place)
    }

    /// Where packets are counted under a backend; masked for the same reason.
    #[inline(always)]
    pub const fn backend(&self, id: BackendId) -> *mut BackendCount {
        let place = id.get() as usize & (limits::BACKENDS as usize - 1);
        self.backends.get().cast::<BackendCount>().wrapping_add(place)
    }
}

/// What a backend was sent and sent back: one cache line.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendCount {
    /// Packets towards the backend.
    pub forward: Count,
    /// Packets back to clients; only in modes whose replies pass the balancer.
    pub reply: Count,
    /// Flows begun: recorded ones, and TCP connections opened in slots that are not tracked.
    pub new_flows: u64,
    reserved: [u64; 3],
}

plain!(BackendCount, 64);

impl BackendCount {
    /// Counts one packet to or from the backend.
    #[inline(always)]
    pub const fn add(&mut self, to_backend: bool, opened: bool, bytes: u32) {
        if to_backend {
            self.forward.add(bytes);
            if opened {
                self.new_flows += 1;
            }
        } else {
            self.reply.add(bytes);
        }
    }
}
