//! A set of field names that tells quickly that a name is not in it.

/// Longer names share a length.
const LONGEST: usize = 40;

/// Field names and what is to be done with each.
///
/// `_` counts as `-`: programs that take fields for environment variables (CGI) cannot tell `X_Forwarded_For` from
/// `X-Forwarded-For`, so a name that means something must not come in the other's clothes.
#[derive(Debug)]
pub(super) struct Names<V> {
    /// By length: a bit for the first letter of each name of that length.
    letters: [u32; LONGEST + 1],
    /// By length: where the names of that length begin in `entries`.
    starts: [u16; LONGEST + 2],
    /// Sorted by length; names in lower case.
    entries: Box<[(Box<str>, V)]>,
}

impl<V: Copy> Names<V> {
    /// The first of two entries of one name counts.
    pub(super) fn new<'a>(names: impl IntoIterator<Item = (&'a str, V)>) -> Self {
        let mut entries: Vec<(Box<str>, V)> = Vec::new();
        for (name, value) in names {
            if !entries.iter().any(|(known, _)| is_same(known, name)) {
                entries.push((name.to_ascii_lowercase().into(), value));
            }
        }
        entries.sort_by_key(|(name, _)| class(name));
        let mut names = Self { letters: [0; _], starts: [0; _], entries: entries.into() };
        for (name, _) in &names.entries {
            names.letters[class(name)] |= letter(name);
            names.starts[class(name) + 1] += 1;
        }
        for length in 1..names.starts.len() {
            names.starts[length] += names.starts[length - 1];
        }
        names
    }

    /// What is to be done with a field of this name; `None` is nothing.
    pub(super) fn find(&self, name: &str) -> Option<V> {
        let class = class(name);
        if self.letters[class] & letter(name) == 0 {
            return None;
        }
        let of_length = usize::from(self.starts[class])..usize::from(self.starts[class + 1]);
        let mut entries = self.entries.get(of_length)?.iter();
        entries.find(|(known, _)| is_same(known, name)).map(|(_, value)| *value)
    }
}

fn class(name: &str) -> usize {
    name.len().min(LONGEST)
}

/// A bit for the first letter, the same in either case.
fn letter(name: &str) -> u32 {
    name.bytes().next().map_or(0, |first| 1 << (spelt(first) & 0x1f))
}

/// A letter as all ways to write it are taken.
const fn spelt(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }
}

/// Whether two names are the same, whatever their case, `_` being `-`.
fn is_same(known: &str, name: &str) -> bool {
    let (known, name) = (known.as_bytes(), name.as_bytes());
    known.len() == name.len() && (is_same_by_words(known, name) || is_same_by_letters(known, name))
}

/// The same, where nobody writes `_`.
fn is_same_by_words(known: &[u8], name: &[u8]) -> bool {
    match known.len() {
        8.. => is_same_by::<8>(known, name),
        4.. => is_same_by::<4>(known, name),
        _ => known.eq_ignore_ascii_case(name),
    }
}

/// So many letters at a time, the last ones perhaps a second time.
fn is_same_by<const LENGTH: usize>(known: &[u8], name: &[u8]) -> bool {
    // Makes letters small. What else it changes is in no token, but for `^` and `_`, which no letter becomes equal to.
    let small = |letters: &[u8; LENGTH]| letters.map(|letter| letter | 0x20);
    let ends = known.last_chunk().zip(name.last_chunk());
    let mut words = known.as_chunks().0.iter().zip(name.as_chunks().0);
    ends.is_some_and(|(known, name)| small(known) == small(name))
        && words.all(|(known, name)| small(known) == small(name))
}

fn is_same_by_letters(known: &[u8], name: &[u8]) -> bool {
    name.contains(&b'_') && known.iter().zip(name).all(|(known, name)| spelt(*known) == spelt(*name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_found_whatever_its_case_and_however_its_words_are_joined() {
        let names = Names::new([("x-forwarded-for", 1), ("te", 2), ("x-forwarded-for", 3)]);
        for name in ["X-Forwarded-For", "x_forwarded_for", "X-FORWARDED_FOR"] {
            assert_eq!(names.find(name), Some(1), "{name}");
        }
        assert_eq!((names.find("TE"), names.find("to"), names.find("")), (Some(2), None, None));
    }

    #[test]
    fn long_names_are_told_apart() {
        let long = "a-name-of-more-than-forty-letters-as-some-have";
        let names = Names::new([(long, 1), ("host", 2)]);
        assert_eq!(names.find(long), Some(1));
        assert_eq!(names.find(&long.replace("some", "none")), None);
    }

    proptest! {
        #[test]
        fn a_name_is_in_the_set_if_and_only_if_it_was_put_there(
            known in proptest::collection::vec("[ab-]{1,3}|[ab-]{9,10}", 0..40),
            name in "[abAB_-]{0,3}|[abAB_-]{9,10}",
        ) {
            let names = Names::new(known.iter().map(|name| (name.as_str(), ())));
            prop_assert_eq!(names.find(&name).is_some(), known.iter().any(|known| is_same(known, &name)));
        }
    }
}
