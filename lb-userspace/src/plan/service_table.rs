//! The service table as it lies in the map, and how to change it under the eyes of the packet path.
//!
//! Open addressing with linear probing, as [`lb_common::abi::Service`] says. Among keys that want the same places the
//! one further from its first place goes first (Source: Celis, "Robin Hood Hashing", 1986): that keeps the longest
//! search short, and entries of one run sorted, so that one key's coming and going shifts its neighbours by one place.
//!
//! **Invariant**: a search ends at a vacant entry, and runs while we write. So an entry is written to its new place
//! before its old place is written over, and only the end of a run becomes vacant: after every single write, every key
//! that was there before and is there afterwards can be found.

use lb_common::abi::{Service, ServiceKey, limits};

/// One entry to write: its place and what belongs there.
pub(super) type EntryWrite = (u32, Service);

/// Refusal: the key, or one that would have to make room for it, would be too far from its first place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crowded;

/// The whole table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceTable(Vec<Service>);

impl ServiceTable {
    /// A table with nothing in it.
    pub(super) fn vacant() -> Self {
        Self(vec![Service::VACANT; limits::SERVICE_TABLE as usize])
    }

    /// All entries by place, vacant ones too.
    pub(super) fn entries(&self) -> &[Service] {
        &self.0
    }

    /// The entry with this key.
    pub(super) fn entry(&self, key: &ServiceKey) -> Option<&Service> {
        self.place_of(key).map(|place| self.at(place))
    }

    /// Puts an entry in, in the place of the one with its key if there is one.
    pub(super) fn insert(&mut self, entry: Service) -> Result<Vec<EntryWrite>, Crowded> {
        if let Some(place) = self.place_of(&entry.key) {
            return Ok(vec![self.write(place, entry)]);
        }
        let place = self.place_for(&entry.key)?;
        let end = self.run_end(place)?;
        let mut writes: Vec<EntryWrite> =
            places_back(end, place).map(|(to, from)| self.write(to, *self.at(from))).collect();
        writes.push(self.write(place, entry));
        Ok(writes)
    }

    /// Takes the entry with this key out, if it is there.
    pub(super) fn remove(&mut self, key: &ServiceKey) -> Vec<EntryWrite> {
        let Some(mut place) = self.place_of(key) else { return Vec::new() };
        let mut writes = Vec::new();
        while self.distance(next(place)).is_some_and(|distance| distance > 0) {
            writes.push(self.write(place, *self.at(next(place))));
            place = next(place);
        }
        writes.push(self.write(place, Service::VACANT));
        writes
    }

    /// Where the entry with this key is.
    fn place_of(&self, key: &ServiceKey) -> Option<u32> {
        places_from(key.first_place())
            .take_while(|place| !self.at(*place).is_vacant())
            .find(|place| self.at(*place).answers_to(key))
    }

    /// The place for a new key: the first that is vacant or whose owner is closer to home.
    fn place_for(&self, key: &ServiceKey) -> Result<u32, Crowded> {
        (0..)
            .zip(places_from(key.first_place()))
            .find(|(distance, place)| self.distance(*place).is_none_or(|owner| owner < *distance))
            .map(|(_, place)| place)
            .ok_or(Crowded)
    }

    /// The vacant place that ends the run through `place`, if everything before it can move one place on.
    fn run_end(&self, place: u32) -> Result<u32, Crowded> {
        for end in (place..place + limits::SERVICE_TABLE).map(around) {
            match self.distance(end) {
                None => return Ok(end),
                Some(distance) if distance + 1 < limits::SERVICE_PROBES => {}
                Some(_) => break,
            }
        }
        Err(Crowded)
    }

    /// How far the entry at this place is from its first place; `None` if the place is vacant.
    fn distance(&self, place: u32) -> Option<u32> {
        let entry = self.at(place);
        (!entry.is_vacant()).then(|| around(place.wrapping_sub(entry.key.first_place())))
    }

    fn at(&self, place: u32) -> &Service {
        &self.0[place as usize]
    }

    fn write(&mut self, place: u32, entry: Service) -> EntryWrite {
        self.0[place as usize] = entry;
        (place, entry)
    }
}

/// A place of the table, which is a ring.
const fn around(place: u32) -> u32 {
    place & (limits::SERVICE_TABLE - 1)
}

const fn next(place: u32) -> u32 {
    around(place + 1)
}

/// The places that are searched for a key.
fn places_from(first: u32) -> impl Iterator<Item = u32> {
    (first..first + limits::SERVICE_PROBES).map(around)
}

/// From the end of a run back to `first`: each place with the one before it.
fn places_back(end: u32, first: u32) -> impl Iterator<Item = (u32, u32)> {
    (0..around(end.wrapping_sub(first)))
        .map(move |n| (around(end.wrapping_sub(n)), around(end.wrapping_sub(n + 1))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::abi::{Forward, ServiceFlags};
    use lb_common::wire::{U16be, U32be, protocol};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn entry(n: u32, id: u16) -> Service {
        let port = U16be::new(u16::try_from(80 + n % 7).unwrap());
        let key = ServiceKey::v4(U32be::new(0xcb00_7100 + n / 7), port, protocol::TCP);
        Service::new(key, Forward::Nat, id, 0, 4096, ServiceFlags::default())
    }

    /// Keys that want one of a few neighbouring places across the ring's seam, so that runs are long and wrap.
    fn rivals() -> Vec<Service> {
        let near = |entry: &Service| around(entry.key.first_place() + 2) < 5;
        (0..40_000).map(|n| entry(n, 1)).filter(near).take(24).collect()
    }

    /// The search as the packet path does it.
    fn find(table: &[Service], key: &ServiceKey) -> Option<Service> {
        for place in places_from(key.first_place()) {
            let entry = table[place as usize];
            if entry.is_vacant() {
                return None;
            }
            if entry.answers_to(key) {
                return Some(entry);
            }
        }
        None
    }

    proptest! {
        #[test]
        fn every_key_can_be_found_after_every_single_write(
            steps in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), 1u16..5), 1..200)
        ) {
            let rivals = rivals();
            let mut table = ServiceTable::vacant();
            let mut map = table.entries().to_vec();
            let mut present: BTreeMap<usize, Service> = BTreeMap::new();
            for (index, remove, id) in steps {
                let index = index.index(rivals.len());
                let mut changed = rivals[index];
                changed.id = id;
                let others: Vec<Service> =
                    present.iter().filter(|(n, _)| **n != index).map(|(_, entry)| *entry).collect();
                let had = present.get(&index).copied();
                let before = table.clone();
                let writes = if remove {
                    present.remove(&index);
                    table.remove(&changed.key)
                } else if let Ok(writes) = table.insert(changed) {
                    present.insert(index, changed);
                    writes
                } else {
                    prop_assert_eq!(&table, &before, "a refusal changes nothing");
                    continue;
                };
                for (place, entry) in writes {
                    map[place as usize] = entry;
                    for other in &others {
                        prop_assert_eq!(find(&map, &other.key), Some(*other));
                    }
                    if let (Some(_), false) = (had, remove) {
                        prop_assert!(find(&map, &changed.key).is_some(), "a changed key is never lost");
                    }
                }
                prop_assert_eq!(find(&map, &changed.key), (!remove).then_some(changed));
                prop_assert_eq!(&map[..], table.entries());
                let live = map.iter().filter(|entry| !entry.is_vacant()).count();
                prop_assert_eq!(live, present.len(), "no copies are left behind");
            }
        }
    }

    #[test]
    fn as_many_services_as_are_allowed_fit() {
        for start in (0..50u32).map(|n| n * 100_000) {
            let mut table = ServiceTable::vacant();
            for n in 0..limits::SERVICES {
                assert!(table.insert(entry(start + n, 1)).is_ok(), "service {n} of {start}");
            }
        }
    }

    #[test]
    fn a_crowded_place_refuses_and_changes_nothing() {
        let mut table = ServiceTable::vacant();
        let rivals: Vec<Service> = (0..2_000_000)
            .map(|n| entry(n, 1))
            .filter(|entry| entry.key.first_place() == 7)
            .take(9)
            .collect();
        let (last, first) = rivals.split_last().unwrap();
        assert!(first.iter().all(|entry| table.insert(*entry).is_ok()));
        let before = table.clone();
        assert_eq!(table.insert(*last), Err(Crowded));
        assert_eq!(table, before);
    }

    #[test]
    fn changing_an_entry_writes_its_own_place_only() {
        let mut table = ServiceTable::vacant();
        let place = table.insert(entry(1, 1)).unwrap()[0].0;
        assert_eq!(table.insert(entry(1, 2)), Ok(vec![(place, entry(1, 2))]));
        assert_eq!(table.remove(&entry(2, 1).key), vec![]);
        assert_eq!(table.remove(&entry(1, 1).key), vec![(place, Service::VACANT)]);
    }
}
