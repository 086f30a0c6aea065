//! The rules by which a slot changes hands, and the slots of one service.
//!
//! Source: the idea of Beamer (NSDI 2018) and JET (`CoNEXT` 2020); the rules are ours, see "Stateless while nothing
//! changes" in ARCHITECTURE.md.

use std::collections::BTreeMap;
use std::time::Instant;

use lb_common::abi::{BackendId, Slot};

/// How flows find their backend while slots move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handover {
    /// Flows have a record, or the operator asked for none: a slot changes hands at once.
    Immediate,
    /// A slot that moves is tracked until the flows that were there before are over.
    Tracked,
}

/// A slot given to `wanted`. `keeps` says whether the settled backend may keep its flows.
///
/// - The settled backend stays the owner of flows without a record, unless it is dead: then its flows could only time
///   out, and the new owner gets them at once.
/// - A tracked slot stays tracked, because records may name any backend it had in between. Only [`settle`] ends it.
/// - A slot that nobody had, or that a dead backend had alone, has no flows to keep: it is not tracked.
const fn hand_over(slot: Slot, wanted: BackendId, keeps: bool) -> Slot {
    let settled = if keeps { slot.settled() } else { wanted };
    if slot.is_tracked() || settled.get() != wanted.get() {
        Slot::tracking(wanted, settled)
    } else {
        Slot::settled_on(wanted)
    }
}

/// A slot after a look at its flows. `quiet`: no packet has taken the settled path for the idle time. `strays`: there
/// are records that name another backend than the current one.
const fn settle(slot: Slot, quiet: bool, strays: bool) -> Slot {
    let settled = if quiet { slot.current() } else { slot.settled() };
    if !slot.is_tracked() || (settled.get() == slot.current().get() && !strays) {
        Slot::settled_on(slot.current())
    } else {
        Slot::tracking(slot.current(), settled)
    }
}

/// The slots of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlotTable {
    words: Vec<Slot>,
    /// Since when each tracked slot has its current backend.
    moved: BTreeMap<u32, Instant>,
}

impl SlotTable {
    /// Slots that nobody has had yet.
    pub(super) fn vacant(slots: u32) -> Self {
        Self { words: vec![Slot::settled_on(BackendId::NONE); slots as usize], moved: BTreeMap::new() }
    }

    /// The slot words.
    pub(super) fn words(&self) -> &[Slot] {
        &self.words
    }

    /// How many slots are tracked.
    pub(super) fn tracked(&self) -> usize {
        self.moved.len()
    }

    /// The same state in a table of `slots`, at least as many: each slot becomes several that cover the same hashes.
    /// What was observed of the old slots says nothing about the new ones, so all tracked ones count as just moved.
    pub(super) fn stretched(&self, slots: u32, now: Instant) -> Self {
        let factor = slots as usize / self.words.len();
        let words: Vec<Slot> =
            self.words.iter().flat_map(|word| std::iter::repeat_n(*word, factor)).collect();
        let moved = (0..).zip(&words).filter(|(_, word)| word.is_tracked()).map(|(index, _)| (index, now));
        Self { moved: moved.collect(), words }
    }

    /// The table with every slot given to its owner; `owners` may be shorter by a whole factor.
    pub(super) fn handed_over(
        &self,
        owners: &[BackendId],
        handover: Handover,
        keeps: impl Fn(BackendId) -> bool,
        now: Instant,
    ) -> Self {
        let factor = self.words.len() / owners.len().max(1);
        let wanted = |index: usize| owners.get(index / factor.max(1)).copied().unwrap_or(BackendId::NONE);
        let next = |(index, slot): (usize, &Slot)| match handover {
            Handover::Immediate => Slot::settled_on(wanted(index)),
            // Most slots stay where they are, and nobody need be asked about them.
            Handover::Tracked if *slot == Slot::settled_on(wanted(index)) => *slot,
            Handover::Tracked => hand_over(*slot, wanted(index), keeps(slot.settled())),
        };
        let words: Vec<Slot> = self.words.iter().enumerate().map(next).collect();
        Self { moved: self.moved_after(&words, now), words }
    }

    /// When the tracked slots of `words`, this table's next state, got their current backend.
    fn moved_after(&self, words: &[Slot], now: Instant) -> BTreeMap<u32, Instant> {
        let pairs = (0..).zip(self.words.iter().zip(words));
        let since = |(index, (old, new)): (u32, (&Slot, &Slot))| {
            let before = self.moved.get(&index).filter(|_| old.current() == new.current()).copied();
            new.is_tracked().then(|| (index, before.unwrap_or(now)))
        };
        pairs.filter_map(since).collect()
    }

    /// The table after a look at its tracked slots, and what changed; `look` tells of a slot and the moment it was
    /// moved whether it is quiet and whether it has strays, or `None` where nothing is known.
    pub(super) fn settled(&self, look: impl Fn(u32, Instant) -> Option<(bool, bool)>) -> Self {
        let mut next = self.clone();
        for (index, since) in &self.moved {
            let Some((quiet, strays)) = look(*index, *since) else { continue };
            let word = &mut next.words[*index as usize];
            *word = settle(*word, quiet, strays);
            if !word.is_tracked() {
                next.moved.remove(index);
            }
        }
        next
    }

    /// Whether any slot names this backend.
    pub(super) fn names(&self, backend: BackendId) -> bool {
        self.words.iter().any(|word| word.current() == backend || word.settled() == backend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NONE: BackendId = BackendId::NONE;
    const A: BackendId = BackendId::from_bits(1);
    const B: BackendId = BackendId::from_bits(2);
    const C: BackendId = BackendId::from_bits(3);

    const fn on(backend: BackendId) -> Slot {
        Slot::settled_on(backend)
    }

    const fn moving(current: BackendId, settled: BackendId) -> Slot {
        Slot::tracking(current, settled)
    }

    /// Every kind of slot × wanted backend × whether the settled backend keeps its flows.
    #[test]
    fn a_slot_changes_hands_by_this_table() {
        let table = [
            // A slot that does not track: its backend is the settled one.
            (on(A), A, true, on(A), "nothing changes"),
            (on(A), A, false, on(A), "nobody better is there"),
            (on(A), B, true, moving(B, A), "old flows stay with A"),
            (on(A), B, false, on(B), "A is dead: there is nothing to keep"),
            (on(A), NONE, true, moving(NONE, A), "A drains alone: old flows stay, new ones find nobody"),
            (on(A), NONE, false, on(NONE), "all are dead"),
            (on(NONE), A, false, on(A), "a new slot has no flows"),
            (on(NONE), NONE, false, on(NONE), "nobody there, nobody comes"),
            // B got it, A had it before.
            (moving(B, A), B, true, moving(B, A), "nothing changes"),
            (
                moving(B, A),
                B,
                false,
                moving(B, B),
                "A died: its flows go to B, records may still name others",
            ),
            (moving(B, A), A, true, moving(A, A), "back to A, but B's flows have records"),
            (moving(B, A), A, false, moving(A, A), "back to A as it comes up"),
            (moving(B, A), C, true, moving(C, A), "on to C, A's flows are still there"),
            (moving(B, A), C, false, moving(C, C), "on to C, A died"),
            (moving(B, A), NONE, true, moving(NONE, A), "nobody for new flows"),
            (moving(B, A), NONE, false, moving(NONE, NONE), "nobody at all"),
            // A has it again, B's flows are recorded.
            (moving(A, A), A, true, moving(A, A), "only an observation ends it"),
            (moving(A, A), A, false, moving(A, A), "only an observation ends it"),
            (moving(A, A), B, true, moving(B, A), "back and forth"),
            (moving(A, A), B, false, moving(B, B), "A died, B's records are still good"),
            (moving(A, A), NONE, true, moving(NONE, A), "A drains alone"),
            (moving(A, A), NONE, false, moving(NONE, NONE), "all are dead"),
            // Nobody has it for new flows.
            (moving(NONE, A), NONE, true, moving(NONE, A), "nothing changes"),
            (moving(NONE, A), NONE, false, moving(NONE, NONE), "the last one died"),
            (moving(NONE, A), A, true, moving(A, A), "A is back"),
            (moving(NONE, A), B, true, moving(B, A), "somebody comes up"),
            (moving(NONE, A), B, false, moving(B, B), "somebody comes up for a dead A"),
            (moving(NONE, NONE), A, false, moving(A, A), "records may name others"),
            (moving(NONE, NONE), NONE, false, moving(NONE, NONE), "records may name others"),
        ];
        for (before, wanted, keeps, after, why) in table {
            assert_eq!(
                hand_over(before, wanted, keeps),
                after,
                "{why}: {before:?} to {wanted:?}, keeps: {keeps}"
            );
        }
    }

    #[test]
    fn a_slot_settles_by_this_table() {
        let table = [
            (on(A), false, false, on(A), "it is settled"),
            (on(A), true, true, on(A), "strays of a slot that does not track are nobody's business"),
            (moving(B, A), false, false, moving(B, A), "A's flows are still there"),
            (moving(B, A), false, true, moving(B, A), "so are C's"),
            (moving(B, A), true, true, moving(B, B), "A's flows are over, C's are not"),
            (moving(B, A), true, false, on(B), "all is over"),
            (moving(A, A), false, true, moving(A, A), "B's records still live"),
            (moving(A, A), true, true, moving(A, A), "B's records still live"),
            (moving(A, A), false, false, on(A), "B's flows are over; A's need no record"),
            (moving(NONE, A), true, false, on(NONE), "drained to the end"),
        ];
        for (before, quiet, strays, after, why) in table {
            assert_eq!(settle(before, quiet, strays), after, "{why}: {before:?}");
        }
    }

    #[test]
    fn a_stretched_table_gives_every_hash_the_state_it_had() {
        let now = Instant::now();
        let table = SlotTable::vacant(4).handed_over(&[A, A, B, B], Handover::Tracked, |id| id != NONE, now);
        let table = table.handed_over(&[A, B, B, B], Handover::Tracked, |id| id != NONE, now);
        let later = now + Duration::from_secs(1);
        let wide = table.stretched(16, later);
        let expected = [on(A), moving(B, A), on(B), on(B)];
        assert!((0..16).all(|index| wide.words()[index] == expected[index / 4]));
        assert_eq!(wide.moved, (4..8).map(|index| (index, later)).collect());
    }

    #[test]
    fn a_short_list_of_owners_covers_a_longer_table() {
        let table = SlotTable::vacant(8).handed_over(&[A, B], Handover::Immediate, |_| true, Instant::now());
        assert_eq!(table.words(), [on(A), on(A), on(A), on(A), on(B), on(B), on(B), on(B)]);
    }

    #[test]
    fn a_slot_counts_its_time_from_the_last_move() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let step = |table: SlotTable, owner, seconds| {
            table.handed_over(&[owner], Handover::Tracked, |id| id != NONE, at(seconds))
        };
        let table = step(step(step(SlotTable::vacant(1), A, 0), B, 1), B, 2);
        assert_eq!(table.moved, [(0, at(1))].into());
        let table = step(table, A, 3);
        assert_eq!(table.moved, [(0, at(3))].into());
    }
}
