//! What a peer may make us do for nothing, as a budget over time.

/// Tokens that may be spent at once. Browsers that leave a page cancel dozens of requests in one go.
const BURST: u32 = 1000;
/// Tokens that come back with each tick of a tenth of a second.
const REFILL: u32 = 20;
/// Bytes of ours that earn a token: who downloads has to acknowledge it.
const EARNING: usize = 1 << 10;

/// A budget. Its clock is the worker's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    tokens: u32,
    at: u32,
}

impl Allowance {
    /// A full one.
    pub(super) const fn new(now: u32) -> Self {
        Self { tokens: BURST, at: now }
    }

    /// Takes so many tokens. Whether they were there.
    pub(super) fn spend(&mut self, tokens: u32, now: u32) -> bool {
        self.add(now.saturating_sub(self.at).saturating_mul(REFILL));
        self.at = now;
        let left = self.tokens.checked_sub(tokens);
        self.tokens = left.unwrap_or(0);
        left.is_some()
    }

    /// So many bytes were sent to the peer.
    pub(super) fn earn(&mut self, bytes: usize) {
        self.add(u32::try_from(bytes.div_ceil(EARNING)).unwrap_or(u32::MAX));
    }

    fn add(&mut self, tokens: u32) {
        self.tokens = self.tokens.saturating_add(tokens).min(BURST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pieces at this price can be had.
    fn affordable(budget: &mut Allowance, price: u32, now: u32) -> u32 {
        (0..10 * BURST).take_while(|_| budget.spend(price, now)).count().try_into().unwrap()
    }

    #[test]
    fn a_burst_is_let_pass_and_what_follows_has_to_wait() {
        let mut budget = Allowance::new(7);
        assert_eq!(affordable(&mut budget, 4, 7), BURST / 4);
        assert_eq!(affordable(&mut budget, 4, 8), REFILL / 4);
        assert_eq!(affordable(&mut budget, 4, 10_000), BURST / 4, "no more than a burst is saved up");
    }

    #[test]
    fn who_is_sent_much_may_say_more() {
        let mut budget = Allowance::new(0);
        affordable(&mut budget, 1, 0);
        budget.earn(10 * EARNING);
        assert_eq!(affordable(&mut budget, 1, 0), 10);
    }
}
