//! The order of backends that are taken in turn.

/// One round of weighted round robin: each index as often as its weight says, and spread as evenly as can be.
///
/// Source: the smooth weighted round robin of nginx (commit 52327e0627f4, 2012): everybody gains their weight, the
/// richest goes, and pays the sum of all weights.
pub(super) fn round(weights: &[u16]) -> Vec<usize> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let weights: Vec<i64> = weights.iter().map(|weight| i64::from(weight / divisor)).collect();
    let sum: i64 = weights.iter().sum();
    let mut credit = vec![0i64; weights.len()];
    (0..sum).filter_map(|_| next(&weights, &mut credit, sum)).collect()
}

fn next(weights: &[i64], credit: &mut [i64], sum: i64) -> Option<usize> {
    credit.iter_mut().zip(weights).for_each(|(credit, weight)| *credit += weight);
    let (index, richest) =
        credit.iter_mut().enumerate().max_by_key(|(index, credit)| (**credit, usize::MAX - index))?;
    *richest -= sum;
    Some(index)
}

const fn gcd(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_heavy_backend_s_turns_lie_apart() {
        assert_eq!(round(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(round(&[20, 10]), [0, 1, 0]);
        assert_eq!(round(&[]), Vec::<usize>::new());
    }

    proptest! {
        #[test]
        fn each_goes_as_often_as_its_weight_says(weights in prop::collection::vec(1u16..40, 1..12)) {
            let divisor = weights.iter().copied().fold(0, gcd);
            let round = round(&weights);
            for (index, weight) in weights.iter().enumerate() {
                let turns = round.iter().filter(|turn| **turn == index).count();
                prop_assert_eq!(turns, usize::from(weight / divisor));
            }
        }
    }
}
