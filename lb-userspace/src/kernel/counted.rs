//! What the kernel programs count, in memory that they share with the daemon: a piece for each CPU, added up here.

use super::LoadError;
use super::memory::Memory;
use super::object::refused;
use aya::Ebpf;
use lb_common::abi::{BackendCount, BackendId, Count, Counters, limits};

pub(super) const COUNTERS: &str = "COUNTERS";

/// The counters of all CPUs.
#[derive(Debug)]
pub(super) struct Counted(Memory<Counters>);

impl Counted {
    pub(super) fn take(object: &mut Ebpf) -> Result<Self, LoadError> {
        Memory::take(object, COUNTERS, cpus()?).map(Self)
    }

    /// By reason, in the order of the reasons, over all CPUs.
    pub(super) fn reasons(&self) -> Vec<Count> {
        (0..limits::REASONS).map(|number| self.reason(number)).collect()
    }

    fn reason(&self, number: u32) -> Count {
        self.0.values().iter().map(|cpu| read(cpu.reason(number))).fold(Count::default(), add)
    }

    /// A backend's over all CPUs.
    pub(super) fn backend(&self, id: BackendId) -> BackendCount {
        let copies = self.0.values().iter().map(|cpu| read(cpu.backend(id)));
        copies.fold(BackendCount::default(), |mut sum, copy| {
            sum.forward = add(sum.forward, copy.forward);
            sum.reply = add(sum.reply, copy.reply);
            sum.new_flows = sum.new_flows.wrapping_add(copy.new_flows);
            sum
        })
    }

    /// Sets a backend's to zero.
    #[allow(unsafe_code, reason = "the kernel programs count here")]
    pub(super) fn clear(&mut self, id: BackendId) {
        for cpu in self.0.values() {
            // SAFETY: a place within the piece. A packet that is counted at the same time may be lost, or set it back.
            unsafe { cpu.backend(id).write_volatile(BackendCount::default()) };
        }
    }

    /// Sets all to zero, for tests.
    pub(super) const fn empty(&mut self) {
        self.0.clear();
    }
}

/// CPUs that the kernel may have: as many as its numbers for them go up to.
pub(super) fn cpus() -> Result<u32, LoadError> {
    let cpus = aya::util::nr_cpus().map_err(|(_, error)| refused("count the CPUs", error))?;
    Ok(u32::try_from(cpus).unwrap_or(u32::MAX))
}

#[allow(unsafe_code, reason = "the kernel programs write what is read here")]
fn read<T: Copy>(place: *mut T) -> T {
    // SAFETY: a place within a piece, of plain numbers; they may change meanwhile.
    unsafe { place.read_volatile() }
}

const fn add(a: Count, b: Count) -> Count {
    Count { packets: a.packets.wrapping_add(b.packets), bytes: a.bytes.wrapping_add(b.bytes) }
}
