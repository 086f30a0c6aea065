//! Tells of the flood guard: when it began to hold new flows back, and when it no longer did.

use crate::control::FloodGuardStatus;
use crate::kernel::Tables;
use lb_common::datapath::Reason;

/// What was seen of floods of new flows.
#[derive(Debug, Default)]
pub(super) struct Flood {
    /// Packets that it stood in the way of, so far.
    held_back: u64,
    /// Their number when it began to.
    began_at: Option<u64>,
}

/// What changed since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Began,
    Ended { packets: u64 },
}

impl Flood {
    /// Looks whether it holds flows back now.
    pub(super) fn look(&mut self, tables: &Tables) {
        let counts = tables.reasons();
        let of = |reason: Reason| counts.get(reason as usize).map_or(0, |count| count.packets);
        match self.note(of(Reason::GuardUnrecorded) + of(Reason::GuardRefused)) {
            Some(Change::Began) => tracing::warn!(
                "flood guard: more flows begin in a second than `limits.new_flows` allows; new ones are not recorded \
                 until that ends"
            ),
            Some(Change::Ended { packets }) => {
                tracing::warn!(packets, "flood guard: over; so many packets found no room for a record");
            }
            None => {}
        }
    }

    /// How it stands, given its bound.
    pub(super) const fn status(&self, new_flows: u32) -> FloodGuardStatus {
        FloodGuardStatus { new_flows, closed: self.began_at.is_some(), held_back: self.held_back }
    }

    fn note(&mut self, held_back: u64) -> Option<Change> {
        let before = std::mem::replace(&mut self.held_back, held_back);
        match (held_back > before, self.began_at) {
            (true, None) => {
                self.began_at = Some(before);
                Some(Change::Began)
            }
            (false, Some(began_at)) => {
                self.began_at = None;
                Some(Change::Ended { packets: held_back - began_at })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_of_once_when_it_begins_and_once_when_it_ends() {
        let mut flood = Flood::default();
        let told: Vec<_> =
            [0, 5, 9, 9, 9, 12, 12].into_iter().map(|held_back| flood.note(held_back)).collect();
        let (began, ended) = (Some(Change::Began), |packets| Some(Change::Ended { packets }));
        assert_eq!(told, [None, began, None, ended(9), None, began, ended(3)]);
    }

    #[test]
    fn the_status_tells_of_a_flood_as_long_as_it_lasts() {
        let mut flood = Flood::default();
        let mut closed = |held_back| {
            flood.note(held_back);
            let status = flood.status(100);
            (status.closed, status.held_back)
        };
        assert_eq!([0, 5, 9, 9].map(&mut closed), [(false, 0), (true, 5), (true, 9), (false, 9)]);
    }
}
