//! Who answered how often, and whether that fits the weights.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

/// Answers by backend.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<String, u32>);

impl<S: Into<String>> FromIterator<S> for Tally {
    fn from_iter<I: IntoIterator<Item = S>>(answers: I) -> Self {
        let mut tally = Self::default();
        for backend in answers {
            *tally.0.entry(backend.into()).or_default() += 1;
        }
        tally
    }
}

impl Tally {
    /// How often `backend` answered.
    #[must_use]
    pub fn of(&self, backend: &str) -> u32 {
        self.0.get(backend).copied().unwrap_or_default()
    }

    /// Checks the shares against `weights` by a chi-square test that is wrong once in ten thousand runs.
    pub fn fits(&self, weights: &[(String, u16)]) -> Result<()> {
        let strangers: Vec<_> =
            self.0.keys().filter(|name| weights.iter().all(|(known, _)| known != *name)).collect();
        ensure!(strangers.is_empty(), "answers of {strangers:?}, which have no weight");
        let bound = CRITICAL.get(weights.len().saturating_sub(2)).copied().unwrap_or(0.0);
        let distance = self.distance(weights);
        ensure!(
            distance <= bound,
            "{self:?} does not fit {weights:?}: chi-square {distance:.1} over {bound}"
        );
        Ok(())
    }

    fn distance(&self, weights: &[(String, u16)]) -> f64 {
        let total: u32 = self.0.values().sum();
        let sum: u32 = weights.iter().map(|(_, weight)| u32::from(*weight)).sum();
        let part = |(name, weight): &(String, u16)| {
            let expected = f64::from(total) * f64::from(*weight) / f64::from(sum);
            (f64::from(self.of(name)) - expected).powi(2) / expected
        };
        weights.iter().map(part).sum()
    }
}

/// Critical values of chi-square at 0.0001 for two to five backends.
/// Source: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4, and the distribution itself for this level.
const CRITICAL: [f64; 4] = [15.14, 18.42, 21.11, 23.51];

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(counts: &[(&str, usize)]) -> Tally {
        counts.iter().flat_map(|(name, count)| std::iter::repeat_n(*name, *count)).collect()
    }

    fn weights() -> Vec<(String, u16)> {
        vec![("web1".into(), 3), ("web2".into(), 2), ("web3".into(), 1)]
    }

    #[test]
    fn chance_is_forgiven() {
        tally(&[("web1", 312), ("web2", 190), ("web3", 98)]).fits(&weights()).unwrap();
    }

    #[test]
    fn ignored_weights_are_seen() {
        assert!(tally(&[("web1", 200), ("web2", 200), ("web3", 200)]).fits(&weights()).is_err());
    }

    #[test]
    fn a_stranger_is_seen() {
        assert!(tally(&[("web1", 3), ("web2", 2), ("web3", 1), ("web9", 1)]).fits(&weights()).is_err());
    }
}
