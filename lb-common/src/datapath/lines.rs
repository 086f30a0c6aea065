//! The flow table: lines that are found by the hash of a key, and the rules by which CPUs share them.
//!
//! A key's search begins at its *home* and goes on at [`PROBES`] - 1 more places, as far apart as that home alone has them. The
//! home's word says at which of them keys of its own lie, so a search reads hardly a line in vain, and one that became vacant
//! hides none behind it.
//!
//! - A line is taken by setting a bit that was clear: one CPU alone sees that. Its key is written before the word shows it,
//!   its record before the word says that it is live.
//! - Whoever adds a key locks its home meanwhile, so that no key is added twice; a home that stays locked for long refuses, as
//!   one without room does. It does not stay locked for ever: a program runs to its end once it has begun, and between the lock
//!   and its end there is nothing that could end it.
//! - A flow is taken out by clearing a bit. Its line stays as it is until the daemon has come by twice, which takes half a second
//!   and more: whoever found it live is done by then, and holds no record that became another flow's.
//!
//! On processors that read out of order a reader might still see a line's word before what it shows; x86-64 is none.

use super::Refused;
use crate::abi::{FlowKey, Ip, Line, LineWord};
use core::hint::black_box;

/// Places that a key may have, its home among them: of a table that is half full one key in 65,000 finds none, of
/// one that is three quarters full one in a hundred.
pub const PROBES: u32 = 16;

/// Looks at a lock, a pause between two of them. Others hold it for as long as it takes to write a key: a microsecond, if they have
/// to wait for cache lines.
const LOCK_ATTEMPTS: u32 = 256;

/// The golden ratio of 2³², odd.
const GOLDEN: u32 = 0x9e37_79b9;

/// Memory with a power of two of lines.
pub trait Lines<A: Ip> {
    /// The last line's number, as a mask.
    fn mask(&self) -> u32;
    /// A line, by a number up to the mask.
    fn line(&self, number: u32) -> Option<&Line<A>>;
    /// Lets some twenty nanoseconds pass.
    fn pause(&self) {
        core::hint::spin_loop();
    }
}

/// A home: the number of its line, and what its word said.
#[derive(Clone, Copy)]
struct Home {
    number: u32,
    word: LineWord,
}

impl Home {
    /// The number of the line at a place.
    #[inline(always)]
    fn at(self, place: u32, mask: u32) -> u32 {
        // Or the compiler keeps the step.
        place_of(black_box(self.number), place, mask)
    }

    /// Whether a key of this home may be at a place.
    #[inline(always)]
    const fn may_be_at(self, place: u32) -> bool {
        place == 0 || self.word.has(LineWord::stray(place))
    }
}

#[inline(always)]
const fn place_of(home: u32, place: u32, mask: u32) -> u32 {
    home.wrapping_add(place.wrapping_mul(step_of(home))) & mask
}

/// From one place of a home to its next: odd, so that no line is twice among them.
#[inline(always)]
const fn step_of(home: u32) -> u32 {
    home.wrapping_mul(GOLDEN) | 1
}

/// The live line of a key.
#[inline(always)]
pub fn find<'a, A: Ip>(lines: &'a impl Lines<A>, key: &FlowKey<A>, hash: u32) -> Option<&'a Line<A>> {
    let number = hash & lines.mask();
    let line = lines.line(number)?;
    let word = line.word();
    if word.is_live(LineWord::of(key)) && line.has_addresses(key) {
        return Some(line);
    }
    if !word.strays() {
        return None;
    }
    find_stray(lines, key, Home { number, word })
}

#[cold]
#[inline(always)]
fn find_stray<'a, A: Ip>(lines: &'a impl Lines<A>, key: &FlowKey<A>, home: Home) -> Option<&'a Line<A>> {
    for place in 1..PROBES {
        if home.word.has(LineWord::stray(place)) {
            let line = lines.line(home.at(place, lines.mask()))?;
            if line.word().is_live(LineWord::of(key)) && line.has_addresses(key) {
                return Some(line);
            }
        }
    }
    None
}

/// The number of a key's live line.
#[inline(always)]
pub fn find_number<A: Ip>(lines: &impl Lines<A>, key: &FlowKey<A>, hash: u32) -> Option<u32> {
    let mut number = hash & lines.mask();
    let step = step_of(number);
    let mut places = lines.line(number)?.word().places();
    for _ in 0..PROBES {
        // Or the compiler keeps all that it knows of all places.
        places = black_box(places);
        if places & 1 == 1 {
            let line = lines.line(number)?;
            if line.word().is_live(LineWord::of(key)) && line.has_addresses(key) {
                return Some(number);
            }
        }
        places >>= 1;
        number = number.wrapping_add(step) & lines.mask();
    }
    None
}

/// Finds a line for a key that has none, and writes the key; gives its number. The record is to be written, and the line
/// then to be published.
#[inline(always)]
pub fn reserve<A: Ip>(lines: &impl Lines<A>, key: &FlowKey<A>, hash: u32) -> Result<u32, Refused> {
    let number = hash & lines.mask();
    let Some(word) = lock(lines, number) else { return Err(Refused::Full) };
    let reserved = reserve_locked(lines, key, Home { number, word });
    // Looked up again: there is no room on the stack to keep it (see lb-ebpf/FINDINGS.md).
    let Some(home) = lines.line(number) else { return Err(Refused::Full) };
    home.clear(LineWord::LOCK);
    reserved
}

#[inline(always)]
fn lock<A: Ip>(lines: &impl Lines<A>, number: u32) -> Option<LineWord> {
    let home = lines.line(number)?;
    for _ in 0..LOCK_ATTEMPTS {
        // Looked at first: an attempt to change the line takes it away from who holds it.
        if !home.word().has(LineWord::LOCK) {
            let word = home.set(LineWord::LOCK);
            if !word.has(LineWord::LOCK) {
                return Some(word);
            }
        }
        lines.pause();
    }
    None
}

#[inline(always)]
fn reserve_locked<A: Ip>(lines: &impl Lines<A>, key: &FlowKey<A>, home: Home) -> Result<u32, Refused> {
    match revive(lines, key, home) {
        Some(revived) => revived,
        None => take(lines, key, home),
    }
}

/// Gives a key the dead line back that it had, if there is one.
#[inline(always)]
fn revive<A: Ip>(lines: &impl Lines<A>, key: &FlowKey<A>, home: Home) -> Option<Result<u32, Refused>> {
    for place in 0..PROBES {
        // Or the compiler keeps all that it knows of all places, and of the key.
        let (place, key) = (black_box(place), black_box(key));
        if home.may_be_at(place) {
            let number = home.at(place, lines.mask());
            let line = lines.line(number)?;
            let word = line.word();
            if word.is_keyed(LineWord::of(key)) && line.has_addresses(key) {
                return Some(revive_line(line, word).map(|()| number));
            }
        }
    }
    None
}

#[inline(always)]
fn revive_line<A: Ip>(line: &Line<A>, word: LineWord) -> Result<(), Refused> {
    if !word.is_dead() {
        return Err(Refused::Exists);
    }
    let revived = LineWord(word.0 & !LineWord::RETIRED | LineWord::RESERVED);
    // Whoever changed the word meanwhile may only have added a key of its own there. But were another line taken instead, the
    // key would have two, and this one might be revived later.
    if line.exchange(word, revived) { Ok(()) } else { Err(Refused::Full) }
}

/// Takes a line that is nobody's for a key.
#[inline(always)]
fn take<A: Ip>(lines: &impl Lines<A>, key: &FlowKey<A>, home: Home) -> Result<u32, Refused> {
    let place = take_any(lines, home).ok_or(Refused::Full)?;
    let number = home.at(place, lines.mask());
    let line = lines.line(number).ok_or(Refused::Full)?;
    line.write_addresses(key);
    line.set(LineWord::of(key).0 | LineWord::RESERVED);
    if place > 0 {
        lines.line(home.number).ok_or(Refused::Full)?.set(LineWord::stray(place));
    }
    Ok(number)
}

#[inline(always)]
fn take_any<A: Ip>(lines: &impl Lines<A>, home: Home) -> Option<u32> {
    for place in 0..PROBES {
        let place = black_box(place);
        let line = lines.line(home.at(place, lines.mask()))?;
        if !line.word().has(LineWord::TAKEN) && !line.set(LineWord::TAKEN).has(LineWord::TAKEN) {
            return Some(place);
        }
    }
    None
}

/// Takes the flow of a line that was found out of the table.
#[inline(always)]
pub fn take_out<A: Ip>(line: &Line<A>) {
    line.clear(LineWord::LIVE);
}

/// Takes a flow out of the table, if it is there.
pub fn remove<A: Ip>(lines: &impl Lines<A>, key: &FlowKey<A>, hash: u32) {
    if let Some(line) = find(lines, key, hash) {
        take_out(line);
    }
}

/// Gives a dead line back if it was dead already at the last visit, and else notes that it is. For one visitor at a time.
pub fn reclaim<A: Ip>(lines: &impl Lines<A>, number: u32, hash: impl Fn(&FlowKey<A>) -> u32) {
    let Some(line) = lines.line(number) else { return };
    let word = line.word();
    if !word.is_dead() {
        return;
    }
    if !word.has(LineWord::RETIRED) {
        // Whoever revived it meanwhile is right.
        line.exchange(word, LineWord(word.0 | LineWord::RETIRED));
        return;
    }
    let home = hash(&line.key(word)) & lines.mask();
    if line.exchange(word, word.without_key()) {
        let places = 1..PROBES.min(lines.mask() + 1);
        let place = places.into_iter().find(|place| place_of(home, *place, lines.mask()) == number);
        if let (Some(place), Some(home)) = (place.filter(|_| home != number), lines.line(home)) {
            home.clear(LineWord::stray(place));
        }
        line.clear(LineWord::TAKEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{BackendId, Flow, FlowKind, Hop, Ticks};
    use crate::wire::{Ports, U16be, U32be};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A table in ordinary memory.
    struct Table(Vec<Line<U32be>>);

    impl Lines<U32be> for Table {
        fn mask(&self) -> u32 {
            u32::try_from(self.0.len()).unwrap() - 1
        }

        fn line(&self, number: u32) -> Option<&Line<U32be>> {
            self.0.get(number as usize)
        }
    }

    impl Table {
        fn new(lines: usize) -> Self {
            Self((0..lines).map(|_| Line::vacant()).collect())
        }

        /// As the packet path adds a record.
        fn insert(&self, n: u32, tag: u32, hash: impl Fn(&FlowKey<U32be>) -> u32) -> Result<(), Refused> {
            let key = key(n);
            let line = self.line(reserve(self, &key, hash(&key))?).unwrap();
            write(line, record(n, tag));
            line.publish();
            Ok(())
        }

        fn tag(&self, n: u32, hash: impl Fn(&FlowKey<U32be>) -> u32) -> Option<Flow<U32be>> {
            find(self, &key(n), hash(&key(n))).map(read)
        }

        fn reclaim(&self, hash: impl Fn(&FlowKey<U32be>) -> u32) {
            (0..=self.mask()).for_each(|number| reclaim(self, number, &hash));
        }

        fn is_taken(&self, home: u32, place: u32) -> bool {
            let line = self.line(place_of(home & self.mask(), place, self.mask())).unwrap();
            line.word().has(LineWord::TAKEN)
        }
    }

    #[allow(unsafe_code, reason = "records are shared")]
    fn write(line: &Line<U32be>, flow: Flow<U32be>) {
        // SAFETY: the line's own record.
        unsafe { line.flow().write_volatile(flow) };
    }

    #[allow(unsafe_code, reason = "records are shared")]
    fn read(line: &Line<U32be>) -> Flow<U32be> {
        // SAFETY: the line's own record.
        unsafe { line.flow().read_volatile() }
    }

    fn key(n: u32) -> FlowKey<U32be> {
        FlowKey::new(
            U32be::new(n),
            U32be::new(7),
            Ports::new(U16be::new(1), U16be::new(2)),
            6 + (n % 2) as u8 * 11,
        )
    }

    /// A record of which every part tells whose it is.
    fn record(n: u32, tag: u32) -> Flow<U32be> {
        let (arriving, leaving) = (key(n), key(tag));
        let who = (BackendId::from_bits((tag % 1000) as u16), Hop::default());
        Flow::translation(FlowKind::Forward, &arriving, &leaving, who, Ticks(tag))
    }

    fn spread(key: &FlowKey<U32be>) -> u32 {
        key.hash(1)
    }

    /// A hash that sends all keys to two homes that share some of their places.
    fn crowded(key: &FlowKey<U32be>) -> u32 {
        key.source.get() % 2 * 3
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Insert(u32),
        Remove(u32),
        Reclaim,
    }

    fn step() -> impl Strategy<Value = Step> {
        let n = 0..60u32;
        prop_oneof![4 => n.clone().prop_map(Step::Insert), 2 => n.prop_map(Step::Remove), 1 => Just(Step::Reclaim)]
    }

    /// Does the same to a table and to a map; they must answer alike, but that the table may refuse for want of a place.
    fn same_as_a_map(lines: usize, steps: &[Step], hash: impl Fn(&FlowKey<U32be>) -> u32 + Copy) {
        let (table, mut model) = (Table::new(lines), BTreeMap::new());
        for (tag, step) in (1000..).zip(steps) {
            match *step {
                Step::Insert(n) => match table.insert(n, tag, hash) {
                    Ok(()) => assert_eq!(model.insert(n, tag), None),
                    Err(Refused::Exists) => assert!(model.contains_key(&n)),
                    Err(_) => {
                        assert!((0..PROBES).all(|place| table.is_taken(hash(&key(n)), place)), "{n}");
                        assert!(!model.contains_key(&n));
                    }
                },
                Step::Remove(n) => {
                    remove(&table, &key(n), hash(&key(n)));
                    model.remove(&n);
                }
                Step::Reclaim => table.reclaim(hash),
            }
            for n in 0..60 {
                let expected = model.get(&n).map(|tag| record(n, *tag));
                assert_eq!(table.tag(n, hash), expected, "{n} after {step:?}");
            }
        }
        (0..60).for_each(|n| remove(&table, &key(n), hash(&key(n))));
        (0..2).for_each(|_| table.reclaim(hash));
        assert!(table.0.iter().all(|line| line.word() == LineWord(0)), "nothing is left behind");
    }

    proptest! {
        #[test]
        fn the_table_answers_as_a_map_does(
            lines in 0u32..8,
            steps in proptest::collection::vec(step(), 1..120),
        ) {
            same_as_a_map(1 << lines, &steps, spread);
            same_as_a_map(1 << lines, &steps, crowded);
        }

        #[test]
        fn a_home_has_sixteen_places(home in 0u32..1 << 20) {
            let mut places: Vec<_> = (0..PROBES).map(|place| place_of(home, place, (1 << 20) - 1)).collect();
            prop_assert_eq!(places[0], home);
            places.sort_unstable();
            places.dedup();
            prop_assert_eq!(places.len(), PROBES as usize);
        }
    }

    #[test]
    fn three_quarters_full_one_flow_in_a_hundred_is_refused() {
        let table = Table::new(1 << 16);
        let fill =
            |flows: std::ops::Range<u32>| flows.filter(|n| table.insert(*n, 0, spread).is_err()).count();
        assert!(fill(0..1 << 15) <= 3);
        assert!(fill(1 << 15..45_000) < 200);
        let refused = fill(45_000..50_000);
        assert!((10..150).contains(&refused), "{refused} of 5,000");
    }

    #[test]
    fn a_line_that_is_reserved_is_found_by_nobody_and_taken_by_nobody() {
        let table = Table::new(64);
        let hash = spread(&key(1));
        let number = reserve(&table, &key(1), hash).unwrap();
        assert!(find(&table, &key(1), hash).is_none());
        assert_eq!(reserve(&table, &key(1), hash), Err(Refused::Exists));
        table.line(number).unwrap().publish();
        assert!(find(&table, &key(1), hash).is_some());
        assert_eq!(reserve(&table, &key(1), hash), Err(Refused::Exists));
    }

    #[test]
    fn a_home_that_stays_locked_refuses_and_no_other_does() {
        let table = Table::new(64);
        let other = (2..100).find(|n| spread(&key(*n)) % 64 != spread(&key(1)) % 64).unwrap();
        table.line(spread(&key(1)) % 64).unwrap().set(LineWord::LOCK);
        assert_eq!(table.insert(1, 0, spread), Err(Refused::Full));
        assert_eq!(table.insert(other, 0, spread), Ok(()));
    }

    #[test]
    fn a_dead_line_is_kept_for_two_visits_and_revived_by_its_own_key_alone() {
        let table = Table::new(1);
        table.insert(1, 5, spread).unwrap();
        remove(&table, &key(1), spread(&key(1)));
        assert_eq!(table.insert(2, 6, spread), Err(Refused::Full));
        table.reclaim(spread);
        assert_eq!(table.insert(2, 6, spread), Err(Refused::Full));
        assert_eq!(table.insert(1, 7, spread), Ok(()));
        remove(&table, &key(1), spread(&key(1)));
        (0..2).for_each(|_| table.reclaim(spread));
        assert_eq!(table.insert(2, 8, spread), Ok(()));
    }

    #[test]
    fn a_dead_line_that_changed_meanwhile_refuses_its_key() {
        let table = Table::new(1);
        table.insert(1, 5, spread).unwrap();
        remove(&table, &key(1), spread(&key(1)));
        let line = table.line(0).unwrap();
        let before = line.word();
        table.reclaim(spread);
        assert_eq!(revive_line(line, before), Err(Refused::Full));
        assert_eq!(revive_line(line, line.word()), Ok(()));
    }

    /// Threads add the same few keys over and over while another takes them out and gives lines back.
    #[test]
    fn of_many_who_add_a_key_at_once_one_does() {
        const THREADS: u32 = 4;
        const KEYS: u32 = 24;
        const ROUNDS: u32 = 300;
        let table = Table::new(32);
        let added: Vec<AtomicU32> = (0..KEYS).map(|_| AtomicU32::new(0)).collect();
        let barrier = std::sync::Barrier::new(THREADS as usize);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (table, added, barrier) = (&table, &added, &barrier);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        barrier.wait();
                        for n in (0..KEYS).map(|n| (n + thread) % KEYS) {
                            if table.insert(n, round * THREADS + thread, crowded).is_ok() {
                                added[n as usize].fetch_add(1, Ordering::Relaxed);
                            }
                            if let Some(flow) = table.tag(n, crowded) {
                                assert_eq!(flow, record(n, flow.last_seen.0), "a torn record");
                                assert_eq!(flow.last_seen.0 / THREADS, round, "a record of another round");
                            }
                        }
                        if barrier.wait().is_leader() {
                            empty(table, added);
                        }
                    }
                });
            }
        });
    }

    /// Threads add keys and take them out while another gives lines back, all as fast as they can.
    #[test]
    fn no_key_has_two_lines_whatever_goes_on() {
        const KEYS: u32 = 12;
        let (table, done) = (Table::new(16), AtomicU32::new(0));
        let live = |n: u32| {
            let is_of = |line: &&Line<U32be>| {
                line.word().is_live(LineWord::of(&key(n))) && line.has_addresses(&key(n))
            };
            table.0.iter().filter(is_of).count()
        };
        for round in 0..50 {
            done.store(0, Ordering::Relaxed);
            std::thread::scope(|scope| {
                for thread in 0..3 {
                    let (table, done) = (&table, &done);
                    scope.spawn(move || {
                        for n in 0..1000 {
                            let n = (n * (2 * thread + 1) + round) % KEYS;
                            if table.insert(n, n, crowded).is_err() {
                                remove(table, &key(n), crowded(&key(n)));
                            }
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                    });
                }
                while done.load(Ordering::Relaxed) < 3 {
                    table.reclaim(crowded);
                }
            });
            (0..KEYS).for_each(|n| assert!(live(n) <= 1, "key {n} has {} lines", live(n)));
        }
    }

    /// Every key was added once, or not at all; afterwards there is none.
    fn empty(table: &Table, added: &[AtomicU32]) {
        for (n, added) in (0..).zip(added) {
            let added = added.swap(0, Ordering::Relaxed);
            assert!(added <= 1, "key {n} was added {added} times");
            assert_eq!(table.tag(n, crowded).is_some(), added == 1);
            remove(table, &key(n), crowded(&key(n)));
        }
        (0..2).for_each(|_| table.reclaim(crowded));
        assert!(table.0.iter().all(|line| line.word() == LineWord(0)), "nothing is left behind");
    }
}
