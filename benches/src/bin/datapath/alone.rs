//! Programs that run alone, once a call: at TC no wrapper can put a packet back, for the kernel notes that a buffer was
//! encapsulated and has no way to forget it.
//!
//! The reading of the clock is in each figure, and so are caches that the call has cooled, so a figure means something only
//! beside the floor of its kind.

use crate::floors::{OUTER, Programs, XDP_PASS, XDP_TX};
use crate::house::SETTLED_VIP;
use crate::measure::{Case, Kind};
use crate::paths::{ACK, to};
use crate::wrapper::{Expected, PACKET, Tally};
use anyhow::{Context, Result};
use lb_common::datapath::Reason;
use lb_userspace::kernel::{Datapath, Program, Ran, Trial};

/// TC codes. Source: `include/uapi/linux/pkt_cls.h`.
const TC_UNSPEC: u32 = u32::MAX;
const TC_REDIRECT: u32 = 7;

/// Calls of a sample: enough for a mean of whole nanoseconds to have a decimal.
const CALLS: u32 = 4_000;

/// How many floors there are.
pub(crate) const FLOORS: usize = 2;

/// A program and the packet that it gets each time.
pub(crate) struct Alone {
    trial: Trial,
    packet: Vec<u8>,
    expected: Expected,
    tally: Tally,
}

impl Alone {
    fn new(trial: Trial, action: u32, growth: i32) -> Self {
        Self {
            trial,
            packet: to(SETTLED_VIP, ACK),
            expected: Expected { action, growth },
            tally: Tally::NOTHING,
        }
    }

    /// Nanoseconds a packet, in the mean.
    pub(crate) fn run(&mut self) -> Result<f64> {
        let mut output = [0; 2 * PACKET];
        let mut took = 0.0;
        for _ in 0..CALLS {
            let ran = self.trial.run(&self.packet, &mut output)?;
            self.tally.add(came_of(&ran, self.packet.len()), 1, self.expected);
            took += ran.took.as_secs_f64();
        }
        Ok(took * 1e9 / f64::from(CALLS))
    }

    /// What came of the packets so far.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }
}

fn came_of(ran: &Ran, before: usize) -> Expected {
    let growth = ran.length.cast_signed() - before.cast_signed();
    Expected { action: ran.code, growth: i32::try_from(growth).unwrap_or(i32::MAX) }
}

/// The floors: programs of both kinds that pass.
pub(crate) fn floors(programs: &mut Programs) -> Result<[Case; FLOORS]> {
    let xdp = Alone::new(programs.trial("floor_pass")?, XDP_PASS, 0);
    let tc = Alone::new(programs.trial_at_tc("floor_pass_tc")?, TC_UNSPEC, 0);
    Ok([Case::new("alone.xdp", Kind::Floor, xdp), Case::new("alone.tc", Kind::Floor, tc)])
}

/// The paths: the same packet by XDP and by TC.
pub(crate) fn paths(datapath: &mut Datapath) -> Result<[Case; 2]> {
    let path = |name, floor, alone| Case::new(name, Kind::Path { floor, reason: Reason::Settled }, alone);
    let xdp = datapath.programs.trial(Program::Balance).context("the balancer for XDP")?;
    let tc = datapath.programs.trial_at_tc(Program::Balance).context("the balancer for TC")?;
    Ok([
        path("xdp.dsr-ipip.v4.tcp.settled", "alone.xdp", Alone::new(xdp, XDP_TX, OUTER)),
        path("tc.dsr-ipip.v4.tcp.settled", "alone.tc", Alone::new(tc, TC_REDIRECT, OUTER)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_packet_that_got_shorter_grew_by_less_than_nothing() {
        let ran = Ran { code: 7, length: 44, took: Duration::ZERO };
        assert_eq!(came_of(&ran, 64), Expected { action: 7, growth: -20 });
    }
}
