//! Weighted Maglev hashing: which backend owns which slot.
//!
//! Source: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4.
//! Backends take turns; in its turn each takes the slot it prefers most among those still free. What a backend prefers
//! depends on its own address and the seed alone, so two tables that differ by one backend are nearly the same, and
//! every host of a fleet builds the same table.
//!
//! Two differences from the paper: turns are in proportion to weights and stop at an exact quota, and tables are powers
//! of two ([`Size`] says why).
//!
//! Pure: the same members and seed give the same table, in whatever order the members come.

mod permutation;
mod size;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::net::SocketAddr;

use permutation::{Permutation, identity};
pub use size::Size;

/// A backend that takes part in the selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// Its identity, unique among the members: nothing else says which slots it prefers.
    pub address: SocketAddr,
    /// Its share in relation to the others'; with 0 it gets no slot.
    pub weight: u16,
}

/// A slot that nobody owns yet.
const FREE: u16 = u16::MAX;

/// Builds the table: for every slot the index of its owner in `members`. Empty if no member has a weight.
///
/// Every member gets its exact share, rounded to whole slots by the largest remainder. Takes about
/// `slots × ln(slots) ÷ 2` steps: two milliseconds or so for the largest size. At most 65,535 members.
#[must_use]
pub fn build(members: &[Member], size: Size, seed: u64) -> Vec<u16> {
    let mut players = players(members, size, seed);
    if players.is_empty() {
        return Vec::new();
    }
    let turns = turns(&players);
    let (turns, last_turns) = turns.split_at(turns.len() - size.slots().isqrt() as usize);
    let mut owners = vec![FREE; size.slots() as usize];
    for turn in turns {
        players[usize::from(turn.player)].take_slot(&mut owners);
    }
    let mut free: Vec<u32> =
        (0..).zip(&owners).filter(|(_, owner)| **owner == FREE).map(|(slot, _)| slot).collect();
    for turn in last_turns {
        players[usize::from(turn.player)].take_one_of(&mut free, &mut owners);
    }
    owners
}

/// A member at the game.
struct Player {
    member: u16,
    identity: u64,
    weight: u16,
    /// How many slots it shall have in the end.
    quota: u32,
    preferences: Permutation,
    /// How far it has gone down its preferences.
    place: u32,
}

impl Player {
    fn new(member: u16, Member { address, weight }: Member, size: Size, seed: u64) -> Self {
        let identity = identity(address, seed);
        let preferences = Permutation::new(identity, size.slots());
        Self { member, identity, weight, quota: 0, preferences, place: 0 }
    }

    /// The player's turns, if it has this number.
    fn turns(&self, player: u16) -> impl Iterator<Item = Turn> {
        (0..self.quota).map(move |n| Turn { time: self.time(n), player })
    }

    /// When its turn with this number is.
    ///
    /// The pace comes from the weight rather than from the quota, whose rounding depends on who else plays: a player's
    /// turns lie at the same times with or without the others.
    fn time(&self, turn: u32) -> u64 {
        ((2 * u64::from(turn) + 1) << 32) / u64::from(self.weight)
    }

    /// Takes the best slot that is left: the first of its preferences that is free. There is one in every turn, for there are as
    /// many turns as slots.
    fn take_slot(&mut self, owners: &mut [u16]) {
        loop {
            let slot = self.preferences.slot(self.place) as usize;
            self.place += 1;
            if owners[slot] == FREE {
                owners[slot] = self.member;
                return;
            }
        }
    }

    /// The same where so few are left that it is quicker to ask each for its place among the preferences.
    fn take_one_of(&self, free: &mut Vec<u32>, owners: &mut [u16]) {
        let best = (0..free.len()).min_by_key(|at| self.preferences.place(free[*at]));
        if let Some(at) = best {
            owners[free.swap_remove(at) as usize] = self.member;
        }
    }
}

/// The members that have a weight, in an order that does not depend on the order they came in.
fn players(members: &[Member], size: Size, seed: u64) -> Vec<Player> {
    let mut players: Vec<Player> = (0..FREE)
        .zip(members)
        .filter(|(_, member)| member.weight > 0)
        .map(|(index, member)| Player::new(index, *member, size, seed))
        .collect();
    players.sort_unstable_by_key(|player| player.identity);
    deal_quotas(&mut players, size);
    players
}

/// Deals the slots out by weight; those left over by rounding down go to the largest remainders.
fn deal_quotas(players: &mut [Player], size: Size) {
    let sum: u64 = players.iter().map(|player| u64::from(player.weight)).sum();
    let mut left = size.slots();
    let mut remainders = Vec::with_capacity(players.len());
    for (index, player) in players.iter_mut().enumerate() {
        let share = u64::from(size.slots()) * u64::from(player.weight);
        player.quota = u32::try_from(share / sum).unwrap_or(size.slots());
        left -= player.quota;
        remainders.push((Reverse(share % sum), index));
    }
    remainders.sort_unstable();
    remainders.into_iter().take(left as usize).for_each(|(_, index)| players[index].quota += 1);
}

/// The right to take one slot.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    time: u64,
    player: u16,
}

/// Turns that a span of time has about.
const TURNS_OF_A_SPAN: u64 = 4;

/// All turns in order: each player's spread evenly, at a pace in proportion to its weight.
///
/// They lie evenly in time. So they are dealt out to spans of time, of which each gets a few, and sorted within those: sorted
/// all at once they take as long as the whole game.
fn turns(players: &[Player]) -> Vec<Turn> {
    let each = || (0..FREE).zip(players).flat_map(|(number, player)| player.turns(number));
    let all: u32 = players.iter().map(|player| player.quota).sum();
    let end = players.iter().map(|player| player.time(player.quota)).max().unwrap_or_default();
    let bits = (end / u64::from(all.max(1)) * TURNS_OF_A_SPAN).max(1).ilog2();
    #[allow(clippy::cast_possible_truncation, reason = "there are fewer spans than turns, or two")]
    let span = |time: u64| (time >> bits) as usize;

    let mut begins = vec![0u32; span(end) + 2];
    each().for_each(|turn| begins[span(turn.time) + 1] += 1);
    for next in 1..begins.len() {
        begins[next] += begins[next - 1];
    }
    let mut turns = vec![Turn::default(); all as usize];
    let mut places = begins.clone();
    for turn in each() {
        let place = &mut places[span(turn.time)];
        turns[*place as usize] = turn;
        *place += 1;
    }
    begins.windows(2).for_each(|span| turns[span[0] as usize..span[1] as usize].sort_unstable());
    turns
}
