//! Counters, one copy a CPU; userspace adds them up.

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
