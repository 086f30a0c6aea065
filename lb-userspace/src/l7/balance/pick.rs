//! The ways to pick a backend.

use std::time::Duration;

use super::backend::{Backend, BackendId, WHOLE};
use super::{Balancer, Choice, Wish, sticky};
use crate::config::proxy::Balance;

/// How much cheaper the second of two backends must be to be taken in place of the first.
///
/// The first is drawn by weight, so while backends are alike, each gets exactly its share; Finagle, which takes the cheaper
/// whatever the difference, has no weights. Half as much again is more than latencies differ by chance.
const WORTH: f64 = 1.5;

impl Balancer {
    /// Where a request goes that comes now. `random` are bits that nothing else was decided by. A backend that is full is passed
    /// over, also by those that a cookie or a hash leads to it: better another than to wait.
    pub fn pick(&mut self, wish: &Wish<'_>, random: u64, now: Duration) -> Choice {
        if self.queue.is_empty() { self.choose(wish, random, now) } else { self.choose_behind(wish, now) }
    }

    /// The same while others wait: what they could have is not a newcomer's.
    fn choose_behind(&self, wish: &Wish<'_>, now: Duration) -> Choice {
        let bound = self.bound(wish, now).and_then(|id| Some((id, self.backends.get(id.index())?)));
        match bound {
            Some((id, backend)) if backend.is_drained() => Choice::Backend(id),
            _ => self.full_or_none(now),
        }
    }

    /// Where a request goes whose turn it is.
    pub(super) fn choose(&mut self, wish: &Wish<'_>, random: u64, now: Duration) -> Choice {
        if let Some(bound) = self.bound(wish, now) {
            return Choice::Backend(bound);
        }
        let picked = self.pick_free(wish, random, now).or_else(|| match wish.not {
            // Better the one that failed than none at all.
            Some(_) => self.pick_free(&Wish { not: None, ..*wish }, random, now),
            None => None,
        });
        match picked.and_then(id) {
            Some(backend) => Choice::Backend(backend),
            None => self.full_or_none(now),
        }
    }

    /// Why a request goes nowhere.
    fn full_or_none(&self, now: Duration) -> Choice {
        if self.backends.iter().any(|backend| backend.is_open(now)) { Choice::Full } else { Choice::None }
    }

    /// Whether a request could go to another backend than this one.
    #[must_use]
    pub fn has_other(&self, than: BackendId, now: Duration) -> bool {
        let wish = Wish { not: Some(than), ..Wish::default() };
        self.candidates(&wish, now).next().is_some()
    }

    /// The backend that a connection of the client's own, or a cookie, binds the request to, if that serves and has room.
    #[must_use]
    pub fn bound(&self, wish: &Wish<'_>, now: Duration) -> Option<BackendId> {
        let bound = wish.own.or_else(|| self.named(wish.cookie))?;
        let backend = self.backends.get(bound.index())?;
        let serves = backend.serves(now) && backend.has_room(self.most);
        (serves && wish.not != Some(bound)).then_some(bound)
    }

    /// The backend that a cookie names.
    fn named(&self, cookie: Option<&[u8]>) -> Option<BackendId> {
        self.sticky.as_ref()?;
        let value = cookie?;
        let is_named = |backend: &Backend| !backend.is_gone() && sticky::is_tag(&backend.tag, value);
        self.backends.iter().position(is_named).and_then(id)
    }

    fn pick_free(&mut self, wish: &Wish<'_>, random: u64, now: Duration) -> Option<usize> {
        match self.balance {
            Balance::P2c => {
                let mut shares = std::mem::take(&mut self.shares);
                self.share_out(wish, now, &mut shares);
                let picked = self.draw_two(&mut shares, random, now);
                self.shares = shares;
                picked
            }
            Balance::RoundRobin => self.take_turn(wish, now),
            Balance::LeastConnections => self.least_loaded(wish, random, now),
            Balance::IpHash | Balance::Hash(_) => {
                self.hashed.owners(wish.key).find(|at| self.candidate(*at, wish, now).is_some())
            }
        }
    }

    fn candidate(&self, at: usize, wish: &Wish<'_>, now: Duration) -> Option<&Backend> {
        let backend = self.backends.get(at)?;
        (backend.is_open(now) && backend.has_room(self.most) && wish.not.is_none_or(|not| not.index() != at))
            .then_some(backend)
    }

    fn candidates<'a>(
        &'a self,
        wish: &'a Wish<'_>,
        now: Duration,
    ) -> impl Iterator<Item = (usize, &'a Backend)> {
        (0..self.backends.len()).filter_map(move |at| Some((at, self.candidate(at, wish, now)?)))
    }

    /// The share of each backend in what is drawn.
    fn share_out(&self, wish: &Wish<'_>, now: Duration, shares: &mut Vec<u64>) {
        let share =
            |at| self.candidate(at, wish, now).map_or(0, |backend| backend.share(self.slow_start, now));
        shares.clear();
        shares.extend((0..self.backends.len()).map(share));
    }

    /// One drawn by its share, or a second one if that is much cheaper.
    fn draw_two(&self, shares: &mut [u64], random: u64, now: Duration) -> Option<usize> {
        let first = draw(shares, random & 0xffff_ffff)?;
        shares[first] = 0;
        let Some(second) = draw(shares, random >> 32) else { return Some(first) };
        let (one, other) =
            (self.cost(first, now), self.cost(second, now) / self.part(second, shares[second]));
        // Of one that costs nothing nothing is known yet: it is tried when it is drawn first.
        let cheaper = other > 0.0 && other * WORTH < one;
        Some(if cheaper { second } else { first })
    }

    fn cost(&self, at: usize, now: Duration) -> f64 {
        let Some(backend) = self.backends.get(at) else { return f64::INFINITY };
        backend.latency.cost(f64::from(backend.active) / f64::from(backend.whole_weight()), now)
    }

    /// The part of its weight that a backend of this share has while it starts slowly. As a second choice it is the dearer for it,
    /// or it would get more than its part.
    #[allow(clippy::cast_precision_loss, reason = "weights in parts are far below 2^53")]
    fn part(&self, at: usize, share: u64) -> f64 {
        let Some(backend) = self.backends.get(at) else { return 1.0 };
        share as f64 / (u64::from(backend.whole_weight()) * WHOLE) as f64
    }

    /// Source: nginx's smooth weighted round robin: all gain their weight, the richest pays the sum.
    fn take_turn(&mut self, wish: &Wish<'_>, now: Duration) -> Option<usize> {
        let (slow_start, most) = (self.slow_start, self.most);
        let (mut sum, mut richest): (i64, Option<(i64, usize)>) = (0, None);
        for (at, backend) in self.backends.iter_mut().enumerate() {
            let is_wanted = wish.not.is_none_or(|not| not.index() != at);
            if is_wanted && backend.is_open(now) && backend.has_room(most) {
                let share = i64::try_from(backend.share(slow_start, now)).unwrap_or(i64::MAX);
                sum += share;
                backend.credit += share;
                if richest.is_none_or(|(credit, _)| backend.credit > credit) {
                    richest = Some((backend.credit, at));
                }
            }
        }
        let (_, at) = richest?;
        self.backends[at].credit -= sum;
        Some(at)
    }

    /// The one with the fewest exchanges for its weight; of equals, one drawn at random.
    fn least_loaded(&self, wish: &Wish<'_>, random: u64, now: Duration) -> Option<usize> {
        let load = |backend: &Backend| {
            // One more exchange than there are, so that an idle backend of weight 3 goes before one of weight 1.
            let exchanges = u64::from(backend.active) + 1;
            exchanges * WHOLE * 1000 * WHOLE / backend.share(self.slow_start, now).max(1)
        };
        let least = self.candidates(wish, now).map(|(_, backend)| load(backend)).min()?;
        let equals = || self.candidates(wish, now).filter(|(_, backend)| load(backend) == least);
        let drawn = usize::try_from((u128::from(random) * equals().count() as u128) >> 64).unwrap_or(0);
        equals().nth(drawn).map(|(at, _)| at)
    }
}

/// One by its share of their sum, by 32 random bits.
fn draw(shares: &[u64], random: u64) -> Option<usize> {
    let sum: u64 = shares.iter().sum();
    let mut drawn = u64::try_from((u128::from(random) * u128::from(sum)) >> 32).unwrap_or(0);
    shares.iter().position(|share| {
        let within = drawn < *share;
        drawn = drawn.saturating_sub(*share);
        within
    })
}

fn id(at: usize) -> Option<BackendId> {
    u32::try_from(at).ok().map(BackendId)
}
