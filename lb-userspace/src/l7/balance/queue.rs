//! Requests that wait for a backend: first come, first served.
//!
//! A place is given, not fetched: whatever makes room has [`Balancer::admit`] pick a backend for who has waited longest, begin the
//! exchange in its name and call it. So there is never room that somebody waits for, and nobody who comes later can take it away;
//! a newcomer goes behind those who wait. What gives room without anybody's doing is time alone, which brings back a backend
//! that was left out; who waits, waits for that as well ([`Balancer::next_return`]).
//!
//! One queue a service is enough. `HAProxy` has one a server besides, for it has requests wait for the server that they are bound to;
//! here a cookie's backend and a hash's owner that are full are passed over for another (see [`Balancer::pick`]), so all who wait
//! would take any. But for one case: what drains has room for those alone who are bound to it. They do not wait behind others,
//! who would have nothing of that room.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::backend::{Backend, BackendId};
use super::{Balancer, Choice, Wish};

/// Those who wait, the first in front.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// As many as may wait.
    pub(super) length: u32,
    waiting: VecDeque<Waiting>,
}

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    key: u64,
    cookie: Option<Box<[u8]>>,
    not: Option<BackendId>,
    own: Option<BackendId>,
    seat: Rc<Seat>,
}

impl Waiting {
    fn wish(&self) -> Wish<'_> {
        Wish { key: self.key, cookie: self.cookie.as_deref(), not: self.not, own: self.own }
    }
}

/// Where who waits is called.
#[derive(Debug, Default)]
pub struct Seat {
    call: Cell<Option<Choice>>,
    waker: RefCell<Option<Waker>>,
}

impl Seat {
    /// Waits to be called: to a backend with which an exchange has begun, away because none serves, or, by [`Choice::Full`], to
    /// ask anew how long it may take until one returns.
    pub fn poll_call(&self, cx: &Context<'_>) -> Poll<Choice> {
        if let Some(call) = self.take_call() {
            return Poll::Ready(call);
        }
        self.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// A call that was not heard yet.
    pub fn take_call(&self) -> Option<Choice> {
        self.call.take()
    }

    fn call(&self, choice: Choice) {
        self.call.set(Some(choice));
        // What is woken runs later.
        self.waker.take().into_iter().for_each(Waker::wake);
    }
}

impl Queue {
    /// Whether nobody waits.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Has all ask anew how long it may take until a backend returns.
    pub(super) fn rouse(&self) {
        self.waiting.iter().for_each(|next| next.seat.call(Choice::Full));
    }
}

impl Balancer {
    /// Puts a request behind those who wait. It is called through what is returned, and has to [`Balancer::leave`] if it does not
    /// wait to be. `None`: as many wait already as may.
    pub fn wait(&mut self, wish: &Wish<'_>) -> Option<Rc<Seat>> {
        let queue = &mut self.queue;
        if queue.waiting.len() >= usize::try_from(queue.length).unwrap_or(usize::MAX) {
            return None;
        }
        let seat = Rc::<Seat>::default();
        let Wish { key, cookie, not, own } = *wish;
        let cookie = cookie.map(Into::into);
        queue.waiting.push_back(Waiting { key, cookie, not, own, seat: Rc::clone(&seat) });
        Some(seat)
    }

    /// Takes a request out that waits no more, if it was not called. A call that it has not heard is for the caller to answer.
    pub fn leave(&mut self, seat: &Rc<Seat>) {
        let waiting = &mut self.queue.waiting;
        // Those whose time is up are in front.
        if let Some(at) = waiting.iter().position(|next| Rc::ptr_eq(&next.seat, seat)) {
            waiting.remove(at);
        }
    }

    /// The service is in no configuration any more: no backend of it is asked again, and whoever waits is told so.
    pub fn close(&mut self) {
        self.backends.iter_mut().for_each(Backend::leave);
        self.queue.waiting.drain(..).for_each(|next| next.seat.call(Choice::None));
    }

    /// Whether anybody waits.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Calls those who wait to backends that have room, one after the other, and sends them away if no backend serves. To be asked
    /// whenever there may be more room than there was. `draw` gives random bits.
    pub fn admit(&mut self, mut draw: impl FnMut() -> u64, now: Duration) {
        let mut waiting = std::mem::take(&mut self.queue.waiting);
        let mut at = 0;
        while let Some(next) = waiting.get(at) {
            match self.choose(&next.wish(), draw(), now) {
                // Who comes behind would get no other answer.
                Choice::Full if !self.has_room_for_bound(now) => break,
                Choice::Full => at += 1,
                choice => {
                    if let Choice::Backend(id) = choice {
                        self.begin(id);
                    }
                    waiting.remove(at).into_iter().for_each(|next| next.seat.call(choice));
                }
            }
        }
        self.queue.waiting = waiting;
    }

    /// Whether a backend has room for those who are bound to it, and for nobody else.
    fn has_room_for_bound(&self, now: Duration) -> bool {
        self.backends.iter().any(|backend| backend.is_for_bound(self.most, now))
    }

    /// When the next backend returns that is left out for a while: then there is room though nothing has happened.
    #[must_use]
    pub fn next_return(&self, now: Duration) -> Option<Duration> {
        let left_out = self.backends.iter().filter(|backend| backend.is_up() && !backend.serves(now));
        left_out.map(|backend| backend.outlier.until()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulation::backends;
    use super::super::tests::{at, cookie, down, set_up, sticky};
    use super::super::{Outcome, Signer};
    use super::*;
    use crate::config::proxy::{self, Outliers, Service};

    const WISH: Wish<'static> = Wish { key: 0, cookie: None, not: None, own: None };

    /// A balancer whose backends are full, one exchange each, and the service that it is of.
    fn full(service: Service) -> (Balancer, Service) {
        let service = Service { max_connections: 1, ..service };
        let mut balancer = Balancer::new(&service, 1, &Signer::new(b"secret"), 1, at(0));
        while let Choice::Backend(id) = balancer.pick(&WISH, 7, at(1)) {
            balancer.begin(id);
        }
        (balancer, service)
    }

    fn wait(balancer: &mut Balancer, number: usize) -> Vec<Rc<Seat>> {
        (0..number).map(|_| balancer.wait(&WISH).unwrap()).collect()
    }

    fn end(balancer: &mut Balancer, backend: u32) {
        balancer.end(BackendId(backend), Outcome::Abandoned, at(1));
        balancer.admit(|| 7, at(1));
    }

    fn calls(seats: &[Rc<Seat>]) -> Vec<Option<Choice>> {
        seats.iter().map(|seat| seat.take_call()).collect()
    }

    const fn to(backend: u32) -> Choice {
        Choice::Backend(BackendId(backend))
    }

    #[test]
    fn who_came_first_is_called_first() {
        let (mut balancer, _) = full(backends(&[1]));
        let seats = wait(&mut balancer, 10);
        for next in 0..10 {
            end(&mut balancer, 0);
            let called: Vec<usize> = (0..10).filter(|at| seats[*at].take_call() == Some(to(0))).collect();
            assert_eq!(called, [next]);
        }
        assert!(!balancer.is_awaited());
    }

    #[test]
    fn a_call_wakes_who_waits() {
        let (mut balancer, _) = full(backends(&[1]));
        let seat = balancer.wait(&WISH).unwrap();
        let woken = std::sync::Arc::new(Woken::default());
        let waker = Waker::from(std::sync::Arc::clone(&woken));
        assert!(seat.poll_call(&Context::from_waker(&waker)).is_pending());
        end(&mut balancer, 0);
        assert!(woken.0.load(std::sync::atomic::Ordering::Relaxed));
        assert_eq!(seat.poll_call(&Context::from_waker(&waker)), Poll::Ready(to(0)));
    }

    #[derive(Default)]
    struct Woken(std::sync::atomic::AtomicBool);

    impl std::task::Wake for Woken {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }

    #[test]
    fn who_leaves_from_the_middle_leaves_the_others_in_their_order() {
        let (mut balancer, _) = full(backends(&[1]));
        let mut seats = wait(&mut balancer, 3);
        balancer.leave(&seats.remove(1));
        end(&mut balancer, 0);
        assert_eq!(calls(&seats), [Some(to(0)), None]);
        // Who was called and went ends the exchange that was begun for it.
        end(&mut balancer, 0);
        assert_eq!(calls(&seats), [None, Some(to(0))]);
    }

    #[test]
    fn a_newcomer_goes_behind_those_who_wait() {
        let (mut balancer, _) = full(backends(&[1, 1]));
        let seats = wait(&mut balancer, 1);
        // There is room before anybody has been called.
        balancer.end(BackendId(1), Outcome::Abandoned, at(1));
        assert_eq!(balancer.pick(&WISH, 7, at(1)), Choice::Full);
        balancer.admit(|| 7, at(1));
        assert_eq!(calls(&seats), [Some(to(1))]);
        end(&mut balancer, 0);
        assert_eq!(balancer.pick(&WISH, 7, at(1)), to(0), "nobody waits any more");
    }

    #[test]
    fn as_many_wait_as_the_queue_is_long() {
        let queue = proxy::Queue { length: 2, ..proxy::Queue::DEFAULT };
        let (mut balancer, _) = full(Service { queue, ..backends(&[1]) });
        let seats = wait(&mut balancer, 2);
        assert!(balancer.wait(&WISH).is_none());
        balancer.leave(&seats[0]);
        assert!(balancer.wait(&WISH).is_some());
    }

    #[test]
    fn a_configuration_that_makes_room_calls_as_many_as_it_has_room_for() {
        let (mut balancer, service) = full(backends(&[1]));
        let seats = wait(&mut balancer, 3);
        let roomier = Service { max_connections: 3, ..service };
        balancer.follow(&roomier, 1, &Signer::new(b"secret"), 1, at(1));
        balancer.admit(|| 7, at(1));
        assert_eq!(calls(&seats), [Some(to(0)), Some(to(0)), None]);
    }

    #[test]
    fn a_backend_that_comes_up_calls_and_none_left_sends_all_away() {
        let (mut balancer, _) = full(backends(&[1, 1]));
        let seats = wait(&mut balancer, 3);
        down(&mut balancer, 1);
        end(&mut balancer, 1);
        assert_eq!(calls(&seats), [None; 3]);
        set_up(&mut balancer, 1, true, at(1));
        balancer.admit(|| 7, at(1));
        assert_eq!(calls(&seats), [Some(to(1)), None, None]);
        (0..2).for_each(|backend| down(&mut balancer, backend));
        balancer.admit(|| 7, at(1));
        assert_eq!(calls(&seats), [None, Some(Choice::None), Some(Choice::None)]);
    }

    #[test]
    fn a_service_that_goes_sends_all_away() {
        let (mut balancer, _) = full(backends(&[1]));
        let seats = wait(&mut balancer, 2);
        balancer.close();
        assert_eq!(calls(&seats), [Some(Choice::None); 2]);
        end(&mut balancer, 0);
        assert_eq!(balancer.pick(&WISH, 7, at(1)), Choice::None, "whatever room there is");
    }

    #[test]
    fn who_waits_is_told_that_time_will_make_room() {
        let (mut balancer, _) = full(Service { outliers: Some(Outliers::DEFAULT), ..backends(&[1, 1]) });
        let seats = wait(&mut balancer, 2);
        assert_eq!(balancer.next_return(at(1)), None);
        for _ in 0..Outliers::DEFAULT.failures {
            balancer.end(BackendId(1), Outcome::Failed, at(1));
        }
        balancer.admit(|| 7, at(1));
        assert_eq!(calls(&seats), [Some(Choice::Full); 2], "to look at the time");
        let back = balancer.next_return(at(1)).unwrap();
        assert_eq!(back, at(1) + Outliers::DEFAULT.eject);
        assert_eq!(balancer.pick(&WISH, 7, back), Choice::Full, "it is for who waits");
        balancer.admit(|| 7, back);
        assert_eq!(calls(&seats), [Some(to(1)), None]);
        assert_eq!(balancer.next_return(back), None);
    }

    #[test]
    fn what_drains_has_room_for_those_alone_who_are_bound_to_it() {
        let (mut balancer, mut service) = full(sticky());
        let value = cookie(&balancer, BackendId(1));
        let value = value.strip_prefix("lb=").unwrap().split(';').next().unwrap();
        let bound = Wish { cookie: Some(value.as_bytes()), ..WISH };
        service.backends[1].drain = true;
        balancer.follow(&service, 1, &Signer::new(b"secret"), 1, at(1));
        let mut seats = wait(&mut balancer, 2);
        seats.push(balancer.wait(&bound).unwrap());
        end(&mut balancer, 1);
        assert_eq!(calls(&seats), [None, None, Some(to(1))]);
        balancer.end(BackendId(1), Outcome::Abandoned, at(1));
        assert_eq!(balancer.pick(&bound, 7, at(1)), to(1), "nobody who waits could have it");
        assert_eq!(balancer.pick(&WISH, 7, at(1)), Choice::Full);
        end(&mut balancer, 0);
        assert_eq!(calls(&seats[..2]), [Some(to(0)), None]);
    }
}
