//! The floors, measured under the same wrapper in the same rounds.

use crate::measure::{Case, Kind};
use crate::paths::{ACK, plain_packet};
use crate::wrapper::{BenchObject, Expected, Wrapper, Wrapping, program};
use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::programs::SchedClassifier;
use lb_userspace::kernel::Trial;

/// XDP codes. Source: include/uapi/linux/bpf.h.
pub(crate) const XDP_DROP: u32 = 1;
/// On to the stack.
pub(crate) const XDP_PASS: u32 = 2;
/// Back out of the arrival interface.
pub(crate) const XDP_TX: u32 = 3;
/// Out of the interface named by `bpf_redirect`.
pub(crate) const XDP_REDIRECT: u32 = 4;

/// Bytes of an outer header.
pub(crate) const OUTER: i32 = 20;
/// Bytes of an outer header of IPv6.
pub(crate) const OUTER_V6: i32 = 40;
/// Flows that the walking wrapper goes through: a million.
pub(crate) const MILLION: u64 = 1 << 20;

/// A floor: a program that does the least, and how it is wrapped.
pub(crate) struct Floor {
    /// Its name in the report.
    pub(crate) name: &'static str,
    program: &'static str,
    wrapping: Wrapping,
    expected: Expected,
}

const fn floor(
    name: &'static str,
    program: &'static str,
    wrapping: Wrapping,
    action: u32,
    growth: i32,
) -> Floor {
    Floor { name, program, wrapping, expected: Expected { action, growth } }
}

/// All floors.
pub(crate) const FLOORS: [Floor; 7] = [
    floor("drop", "floor_drop", Wrapping::Link, XDP_DROP, 0),
    floor("pass", "floor_pass", Wrapping::Link, XDP_PASS, 0),
    floor("tx", "floor_tx", Wrapping::Link, XDP_TX, 0),
    floor("encap", "floor_encap", Wrapping::Link, XDP_TX, OUTER),
    floor("encap.walk", "floor_encap", Wrapping::Flows(MILLION), XDP_TX, OUTER),
    floor("tx.headers", "floor_tx", Wrapping::Headers, XDP_TX, 0),
    floor("rewrite", "floor_rewrite", Wrapping::Headers, XDP_TX, 0),
];

/// The floor programs, loaded once.
pub(crate) struct Programs(Ebpf);

impl Programs {
    pub(crate) fn load(bench: &BenchObject) -> Result<Self> {
        bench.load().map(Self)
    }

    /// A floor, to be run alone.
    pub(crate) fn trial(&mut self, name: &str) -> Result<Trial> {
        let target = program(&mut self.0, name)?;
        if target.fd().is_err() {
            target.load()?;
        }
        Ok(Trial::new(target.fd()?.try_clone()?))
    }

    /// The same for one at TC.
    pub(crate) fn trial_at_tc(&mut self, name: &str) -> Result<Trial> {
        let found = self.0.program_mut(name).with_context(|| format!("no program {name}"))?;
        let target: &mut SchedClassifier = found.try_into()?;
        target.load()?;
        Ok(Trial::new(target.fd()?.try_clone()?))
    }

    /// A floor, ready to be measured.
    pub(crate) fn case(&mut self, bench: &BenchObject, floor: &Floor) -> Result<Case> {
        let target = program(&mut self.0, floor.program)?;
        if target.fd().is_err() {
            target.load()?;
        }
        let packet = plain_packet(ACK);
        let wrapper = Wrapper::new(bench, target.fd()?, packet, floor.wrapping, floor.expected)?;
        Ok(Case::new(floor.name, Kind::Floor, wrapper))
    }
}
