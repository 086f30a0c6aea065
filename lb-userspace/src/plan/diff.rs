//! What differs between two keyed tables: the one diff of the project.

use std::collections::BTreeMap;

/// One difference, by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change<'a, K, V> {
    /// Only the new table has the key.
    Added(&'a K, &'a V),
    /// Both have the key; this is the new value.
    Changed(&'a K, &'a V),
    /// Only the old table has the key; this was its value.
    Removed(&'a K, &'a V),
}

/// The differences from `old` to `new`: additions and changes in the order of the keys, then removals.
pub(super) fn diff<'a, K: Ord, V: PartialEq>(
    old: &'a BTreeMap<K, V>,
    new: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = Change<'a, K, V>> {
    let written = new.iter().filter_map(|(key, value)| match old.get(key) {
        None => Some(Change::Added(key, value)),
        Some(before) if before != value => Some(Change::Changed(key, value)),
        Some(_) => None,
    });
    let removed = old.iter().filter(|(key, _)| !new.contains_key(key));
    written.chain(removed.map(|(key, value)| Change::Removed(key, value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn removals_come_last() {
        let (old, new) = ([(1, 'a'), (2, 'b'), (3, 'c')].into(), [(2, 'x'), (3, 'c'), (4, 'd')].into());
        let changes: Vec<_> = diff(&old, &new).collect();
        assert_eq!(changes, [Change::Changed(&2, &'x'), Change::Added(&4, &'d'), Change::Removed(&1, &'a')]);
    }

    proptest! {
        #[test]
        fn applying_the_differences_makes_the_new_table(
            old in prop::collection::btree_map(0u8..20, 0u8..3, 0..20),
            new in prop::collection::btree_map(0u8..20, 0u8..3, 0..20),
        ) {
            let mut table = old.clone();
            for change in diff(&old, &new) {
                match change {
                    Change::Added(key, value) => prop_assert_eq!(table.insert(*key, *value), None),
                    Change::Changed(key, value) => prop_assert_ne!(table.insert(*key, *value), Some(*value)),
                    Change::Removed(key, value) => prop_assert_eq!(table.remove(key), Some(*value)),
                }
            }
            prop_assert_eq!(table, new);
        }
    }
}
