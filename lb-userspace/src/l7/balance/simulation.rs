//! Balancers under load: requests come, take as long as their backend takes, and end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::tests::{at, set_up};
use super::{BackendId, Balancer, Choice, Outcome, Signer, Wish};
use crate::config::parse;
use crate::config::proxy::{Balance, Service};

/// A service with backends of these weights, `b0` on.
pub(super) fn backends(weights: &[u16]) -> Service {
    let backend = |(at, weight): (usize, &u16)| {
        format!("[[service.backend]]\nname = \"b{at}\"\naddr = \"10.0.0.{}:80\"\nweight = {weight}\n", at + 1)
    };
    let backends: String = weights.iter().enumerate().map(backend).collect();
    let text = format!("[[service]]\nname = \"web\"\nkind = \"http\"\noutliers = \"none\"\n{backends}");
    parse("simulation", &text).unwrap().config.proxy.services.remove(0)
}

/// A balancer, what it has under way, and a source of randomness that is the same each time.
pub(super) struct World {
    balancer: Balancer,
    ends: BinaryHeap<Reverse<(Duration, u32, Duration)>>,
    random: u64,
}

/// A request every millisecond.
const PACE: Duration = Duration::from_millis(1);

impl World {
    pub(super) const fn of(balancer: Balancer) -> Self {
        Self { balancer, ends: BinaryHeap::new(), random: 42 }
    }

    fn new(service: &Service) -> Self {
        Self::of(Balancer::new(service, 1, &Signer::new(b""), 1, Duration::ZERO))
    }

    /// Source: Vigna, splitmix64.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn end_until(&mut self, now: Duration) {
        while let Some(Reverse((end, backend, latency))) =
            self.ends.peek().copied().filter(|Reverse(end)| end.0 <= now)
        {
            self.ends.pop();
            self.balancer.end(BackendId(backend), Outcome::Answered { latency: Some(latency) }, end);
        }
    }

    /// The share of each backend of so many requests from `start` on, each taking what its backend takes, and up to half of that more
    /// or less.
    pub(super) fn shares(
        &mut self,
        start: Duration,
        requests: u32,
        takes: impl Fn(usize) -> Duration,
    ) -> Vec<f64> {
        let mut counts = vec![0u32; self.balancer.backends.len()];
        for number in 0..requests {
            let now = start + PACE * number;
            self.end_until(now);
            let (random, key) = (self.random(), self.random());
            let Choice::Backend(id) = self.balancer.pick(&Wish { key, ..Wish::default() }, random, now)
            else {
                panic!("every backend is up");
            };
            self.balancer.begin(id);
            counts[id.index()] += 1;
            let spread = self.random() % 1000;
            let latency = takes(id.index()).mul_f64(0.5 + f64::from(u32::try_from(spread).unwrap()) / 1000.0);
            self.ends.push(Reverse((now + latency, id.0, latency)));
        }
        counts.into_iter().map(|count| f64::from(count) / f64::from(requests)).collect()
    }
}

fn alike(_: usize) -> Duration {
    Duration::from_millis(4)
}

#[track_caller]
fn assert_near(shares: &[f64], expected: &[f64], within: f64) {
    for (share, expected) in shares.iter().zip(expected) {
        assert!((share - expected).abs() <= within, "{shares:?} is not {expected:?} within {within}");
    }
}

#[test]
fn turns_are_in_proportion_to_weights_to_the_request() {
    let mut world = World::new(&Service { balance: Balance::RoundRobin, ..backends(&[5, 3, 1, 1]) });
    assert_near(&world.shares(at(0), 1000, alike), &[0.5, 0.3, 0.1, 0.1], 0.000_001);
}

#[test]
fn hashes_are_in_proportion_to_weights_within_a_hundredth() {
    let mut world = World::new(&Service { balance: Balance::IpHash, ..backends(&[5, 3, 1, 1]) });
    assert_near(&world.shares(at(0), 50_000, alike), &[0.5, 0.3, 0.1, 0.1], 0.01);
}

#[test]
fn draws_are_in_proportion_to_weights_while_backends_are_alike() {
    let mut world = World::new(&backends(&[1; 4]));
    assert_near(&world.shares(at(0), 50_000, alike), &[0.25; 4], 0.01);
    let mut world = World::new(&backends(&[5, 3, 1, 1]));
    assert_near(&world.shares(at(0), 50_000, alike), &[0.5, 0.3, 0.1, 0.1], 0.05);
}

#[test]
fn fewest_exchanges_are_in_proportion_to_weights_under_load() {
    let mut world = World::new(&Service { balance: Balance::LeastConnections, ..backends(&[3, 1]) });
    let slow = |_| Duration::from_millis(100);
    assert_near(&world.shares(at(0), 20_000, slow), &[0.75, 0.25], 0.01);
}

#[test]
fn a_slow_backend_gets_less() {
    let slow = |backend| Duration::from_millis(if backend == 0 { 50 } else { 5 });
    for balance in [Balance::P2c, Balance::LeastConnections] {
        let mut world = World::new(&Service { balance: balance.clone(), ..backends(&[1; 4]) });
        let shares = world.shares(at(0), 20_000, slow);
        assert!(
            shares[0] < 0.12 && shares[0] > 0.000_2,
            "{balance:?}: less, but it is not forgotten: {shares:?}"
        );
    }
}

#[test]
fn a_backend_that_recovers_gets_its_share_back() {
    let mut world = World::new(&backends(&[1; 4]));
    world.shares(at(0), 10_000, |backend| Duration::from_millis(if backend == 0 { 500 } else { 5 }));
    world.shares(at(10), 60_000, alike);
    assert_near(&world.shares(at(70), 20_000, alike), &[0.25; 4], 0.02);
}

#[test]
fn a_backend_that_comes_up_gets_its_share_little_by_little() {
    for balance in [Balance::RoundRobin, Balance::P2c] {
        let mut world = World::new(&Service { balance, slow_start: at(10), ..backends(&[1, 1]) });
        set_up(&mut world.balancer, 0, false, at(0));
        world.shares(at(0), 1000, alike);
        set_up(&mut world.balancer, 0, true, at(10));
        let first = world.shares(at(10), 1000, alike)[0];
        let middle = world.shares(at(15), 1000, alike)[0];
        let last = world.shares(at(20), 10_000, alike)[0];
        assert!(first > 0.05 && first < 0.15, "{first}");
        assert!(middle > 0.25 && middle < 0.42, "{middle}");
        assert!((last - 0.5).abs() < 0.03, "{last}");
    }
}
