//! What the table promises, held to it.

use std::collections::HashMap;
use std::time::Instant;

use proptest::prelude::*;

use super::*;

const SEED: u64 = 0x5eed;

fn address(n: u32) -> SocketAddr {
    SocketAddr::new(std::net::Ipv4Addr::from(0x0a00_0000 + n / 3).into(), 8000 + (n % 3) as u16)
}

fn weighted(weights: &[u16]) -> Vec<Member> {
    (1..).zip(weights).map(|(n, weight)| Member { address: address(n), weight: *weight }).collect()
}

fn equal(count: usize) -> Vec<Member> {
    weighted(&vec![1; count])
}

/// The owner of every slot by its address, so that tables of different members can be compared.
fn owners(members: &[Member], size: Size) -> Vec<SocketAddr> {
    build(members, size, SEED).into_iter().map(|index| members[usize::from(index)].address).collect()
}

fn counts(table: &[SocketAddr]) -> HashMap<SocketAddr, u32> {
    table.iter().fold(HashMap::new(), |mut counts, owner| {
        *counts.entry(*owner).or_default() += 1;
        counts
    })
}

/// How many slots moved, relative to how many had to because their owner's count fell.
fn movement(before: &[SocketAddr], after: &[SocketAddr]) -> f64 {
    let (had, has) = (counts(before), counts(after));
    let needed: u32 = had.iter().map(|(owner, n)| n.saturating_sub(*has.get(owner).unwrap_or(&0))).sum();
    let moved: u32 = before.iter().zip(after).map(|(a, b)| u32::from(a != b)).sum();
    f64::from(moved) / f64::from(needed)
}

/// Bounds measured over removing, adding and doubling one of `n` equal backends, with a margin of a tenth: table
/// size, `n`, and slots moved relative to those that had to.
const MOVEMENT: [(Size, usize, f64); 8] = [
    (Size::SMALL, 2, 1.01),
    (Size::SMALL, 10, 1.25),
    (Size::SMALL, 20, 1.6),
    (Size::MEDIUM, 40, 1.6),
    (Size::MEDIUM, 80, 2.3),
    (Size::LARGE, 100, 1.7),
    (Size::LARGE, 160, 2.3),
    (Size::LARGE, 327, 4.5),
];

fn assert_movement(before: &[Member], after: &[Member], size: Size, bound: f64) {
    let moved = movement(&owners(before, size), &owners(after, size));
    println!("{} slots, {} to {} backends: {moved:.2}", size.slots(), before.len(), after.len());
    assert!(moved <= bound, "{moved} > {bound}");
}

#[test]
fn removing_or_adding_a_backend_moves_few_slots_that_need_not() {
    for (size, count, bound) in MOVEMENT {
        let all = equal(count);
        let (_, rest) = all.split_first().unwrap();
        assert_movement(&all, rest, size, bound);
        assert_movement(rest, &all, size, bound);
    }
}

#[test]
fn doubling_a_weight_moves_few_slots_that_need_not() {
    for (size, count, bound) in MOVEMENT {
        let all = equal(count);
        let mut heavier = all.clone();
        heavier[0].weight = 2;
        assert_movement(&all, &heavier, size, bound);
    }
}

#[test]
fn without_a_weight_there_is_no_table() {
    assert!(build(&[], Size::SMALL, SEED).is_empty());
    assert!(build(&weighted(&[0, 0]), Size::SMALL, SEED).is_empty());
}

#[test]
fn a_member_without_weight_changes_nothing() {
    let with = weighted(&[3, 0, 2]);
    let without: Vec<Member> = with.iter().copied().filter(|member| member.weight > 0).collect();
    assert_eq!(owners(&with, Size::SMALL), owners(&without, Size::SMALL));
}

#[test]
fn the_lightest_of_very_different_weights_gets_its_share() {
    let members = weighted(&[1000, 1, 999]);
    let counts = counts(&owners(&members, Size::LARGE));
    assert_eq!(members.iter().map(|member| counts[&member.address]).collect::<Vec<_>>(), [32768, 33, 32735]);
}

/// A changed table would move every flow of a fleet at an upgrade.
#[test]
fn the_table_never_changes_between_versions() {
    let table = build(&weighted(&[1, 2, 3]), Size::SMALL, SEED);
    assert_eq!(table[..16], [1, 1, 1, 1, 2, 2, 1, 2, 2, 2, 1, 0, 2, 1, 2, 0]);
}

#[test]
fn seeds_give_different_tables() {
    let members = equal(2);
    let same = build(&members, Size::SMALL, 1)
        .iter()
        .zip(build(&members, Size::SMALL, 2))
        .filter(|(a, b)| **a == *b)
        .count();
    assert!((1900..2200).contains(&same), "{same} of 4096 slots agree by chance");
}

/// The promise is 10 ms in a release build; a debug build on a busy machine gets a hundred times that.
#[test]
fn the_largest_table_is_built_in_milliseconds() {
    let start = Instant::now();
    let _ = build(&equal(100), Size::LARGE, SEED);
    println!("65,536 slots, 100 backends: {:?}", start.elapsed());
    assert!(start.elapsed().as_millis() < 1000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_share_is_its_weight_to_the_slot(weights in prop::collection::vec(0u16..=1000, 1..30)) {
        let members = weighted(&weights);
        let table = owners(&members, Size::SMALL);
        let sum: u32 = weights.iter().copied().map(u32::from).sum();
        prop_assert_eq!(table.len(), if sum == 0 { 0 } else { 4096 });
        for (member, has) in members.iter().map(|member| (member, counts(&table).get(&member.address).copied())) {
            let exact = 4096.0 * f64::from(member.weight) / f64::from(sum.max(1));
            prop_assert!((f64::from(has.unwrap_or(0)) - exact).abs() < 1.0);
        }
    }

    #[test]
    fn at_the_chosen_size_every_share_is_within_one_percent(weights in prop::collection::vec(1u16..=20, 1..60)) {
        let members = weighted(&weights);
        let size = Size::for_weights(weights.iter().copied());
        let counts = counts(&owners(&members, size));
        let sum: f64 = weights.iter().copied().map(f64::from).sum();
        for member in members {
            let exact = f64::from(size.slots()) * f64::from(member.weight) / sum;
            prop_assert!((f64::from(counts[&member.address]) / exact - 1.0).abs() < 0.01);
        }
    }

    #[test]
    fn the_order_of_the_members_does_not_matter(weights in prop::collection::vec(1u16..=1000, 1..20), swaps in any::<[prop::sample::Index; 4]>()) {
        let members = weighted(&weights);
        let mut shuffled = members.clone();
        for swap in swaps {
            shuffled.swap(0, swap.index(members.len()));
        }
        prop_assert_eq!(owners(&members, Size::SMALL), owners(&shuffled, Size::SMALL));
    }
}

/// The game by its rules, as slow as they are.
fn play(members: &[Member], size: Size) -> Vec<u16> {
    let mut players = players(members, size, SEED);
    let numbered = || (0..).zip(&players);
    let mut turns: Vec<_> = numbered().flat_map(|(number, player)| player.turns(number)).collect();
    turns.sort();
    let mut owners = vec![FREE; size.slots() as usize];
    for turn in turns {
        players[usize::from(turn.player)].take_slot(&mut owners);
    }
    owners
}

#[test]
fn the_table_is_that_of_the_game() {
    proptest!(ProptestConfig::with_cases(30), |(weights in prop::collection::vec(0u16.., 1..60))| {
        let members = weighted(&weights);
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        prop_assert!(build(&members, Size::SMALL, SEED) == play(&members, Size::SMALL), "{weights:?}");
    });
}
