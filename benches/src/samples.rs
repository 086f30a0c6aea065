//! Samples of the same thing at different times.

/// Samples in the order they were taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds one.
    pub fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The middle one, or the mean of the two in the middle; not a number if there is none.
    #[must_use]
    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        let middle = sorted.len() / 2;
        let pair = [sorted.get(middle.wrapping_sub(1)), sorted.get(middle)];
        match pair {
            [Some(below), Some(above)] if sorted.len().is_multiple_of(2) => f64::midpoint(*below, *above),
            [_, Some(only)] => *only,
            _ => f64::NAN,
        }
    }

    /// The least and the greatest.
    #[must_use]
    pub fn spread(&self) -> [f64; 2] {
        let sorted = self.sorted();
        [sorted.first().copied().unwrap_or(f64::NAN), sorted.last().copied().unwrap_or(f64::NAN)]
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_whatever_the_order() {
        assert!((Samples::from_iter([9.0, 1.0, 5.0]).median() - 5.0).abs() < f64::EPSILON);
        assert!((Samples::from_iter([9.0, 1.0, 5.0, 7.0]).median() - 6.0).abs() < f64::EPSILON);
        assert!(Samples::default().median().is_nan());
    }

    #[test]
    fn the_spread_is_the_least_and_the_greatest() {
        let spread = Samples::from_iter([9.0, 1.0, 5.0]).spread();
        assert!((spread[0] - 1.0).abs() < f64::EPSILON && (spread[1] - 9.0).abs() < f64::EPSILON);
    }
}
