//! "Did you mean": the nearest of some words.

/// Longer words are no typing mistakes, and comparing them takes long.
const LONGEST: usize = 64;

/// The candidate `word` was probably meant to be: one it abbreviates or is abbreviated by, else the one with the fewest
/// mistyped letters, if those are few.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = spelt(word);
    if word.len() > LONGEST {
        return None;
    }
    let tolerance = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance_or_zero(&word, &spelt(candidate)), candidate))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A word without what people do not look at: keys have `_` where values have `-`.
fn spelt(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

fn distance_or_zero(word: &str, candidate: &str) -> usize {
    if abbreviates(word, candidate) || abbreviates(candidate, word) { 0 } else { distance(word, candidate) }
}

/// Whether `short` is the beginning of `long`; two letters are too few to tell.
fn abbreviates(short: &str, long: &str) -> bool {
    short.len() >= 3 && long.starts_with(short)
}

/// Letters to insert, remove, replace or swap with their neighbour to make `b` of `a`.
/// Source: optimal string alignment, Damerau 1964.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            let swap = if swapped { rows[i - 2][j - 2] + 1 } else { usize::MAX };
            row.push(replaced.min(swap).min(rows[i - 1][j] + 1).min(row[j - 1] + 1));
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 6] = ["name", "addr", "weight", "drain", "protocol", "log_packets"];

    #[test]
    fn mistyped_letters_are_forgiven() {
        assert_eq!(nearest("wieght", KEYS), Some("weight"));
        assert_eq!(nearest("nmae", KEYS), Some("name"));
        assert_eq!(nearest("Name", KEYS), Some("name"));
        assert_eq!(nearest("log-packets", KEYS), Some("log_packets"));
        assert_eq!(nearest("dsr_gue", ["dsr-l2", "dsr-gue"]), Some("dsr-gue"));
    }

    #[test]
    fn abbreviations_and_plurals_are_understood() {
        assert_eq!(nearest("address", KEYS), Some("addr"));
        assert_eq!(nearest("proto", KEYS), Some("protocol"));
        assert_eq!(nearest("weights", KEYS), Some("weight"));
    }

    #[test]
    fn a_strange_word_suggests_nothing() {
        assert_eq!(nearest("certificate", KEYS), None);
        assert_eq!(nearest("x", KEYS), None);
        assert_eq!(nearest("", KEYS), None);
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "acb"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
