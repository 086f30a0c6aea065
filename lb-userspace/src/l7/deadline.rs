//! Deadlines of a worker's connections, as cheap as a store: they are kept in one table that is looked through every
//! tick, and a connection that is late has its socket shut down, which ends whatever waits for it.
//!
//! Shutting down, in place of giving up a wait, leaves no operation behind and is the same for all transports. Whoever
//! sees a connection end asks [`Timer::has_expired`] whether it was that.

use super::pace::Mark;
use socket2::Socket;
use std::cell::{Cell, RefCell};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

/// How exact deadlines are. They are seconds; a tenth more does not matter.
pub const TICK: Duration = Duration::from_millis(100);

/// Due never: nothing is waited for.
const NEVER: u32 = u32::MAX;
/// Was due.
const EXPIRED: u32 = u32::MAX - 1;

/// A worker's clock and the deadlines of all its connections.
#[derive(Debug, Default)]
pub struct Clock {
    now: Cell<u32>,
    table: RefCell<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// Ticks at which the sockets of the same places are late.
    due: Vec<u32>,
    sockets: Vec<Option<(Rc<Socket>, What)>>,
    free: Vec<u32>,
}

/// What of a connection a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// The whole of it.
    All,
    /// The whole of it, with what the peer has not taken yet: else the kernel would go on for as long as it takes a little.
    Sending,
    /// What the peer sends.
    Reading,
    /// The same, and nothing of it has come yet: the connection can be ended without loss.
    Idle,
}

impl What {
    const fn ends(self) -> Shutdown {
        match self {
            Self::All | Self::Sending => Shutdown::Both,
            Self::Reading | Self::Idle => Shutdown::Read,
        }
    }
}

/// One connection's deadline.
#[derive(Debug)]
pub struct Timer {
    clock: Rc<Clock>,
    place: u32,
    /// When the connection ends whatever else is set.
    end: Cell<u32>,
}

impl Clock {
    /// A deadline for a socket, due never so far.
    pub fn watch(self: &Rc<Self>, socket: Rc<Socket>) -> Timer {
        let place = self.table.borrow_mut().insert((socket, What::All));
        Timer { clock: Rc::clone(self), place, end: Cell::new(NEVER) }
    }

    /// Ticks since the worker began.
    #[must_use]
    pub const fn now(&self) -> u32 {
        self.now.get()
    }

    /// Time since the worker began, to the tick: for what does not matter to the tenth of a second, as it asks nobody.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        TICK * self.now()
    }

    /// The tick at which so much time has passed from now.
    #[must_use]
    pub fn due(&self, after: Duration) -> u32 {
        later(self.now(), after)
    }

    /// Time from now to a tick.
    #[must_use]
    pub fn until(&self, tick: u32) -> Duration {
        TICK * tick.saturating_sub(self.now())
    }

    /// Lets a tick pass, and ends what is late.
    pub fn tick(&self) {
        let now = self.now.get() + 1;
        self.now.set(now);
        let Table { due, sockets, .. } = &mut *self.table.borrow_mut();
        let late = due.iter_mut().zip(sockets).filter(|(due, _)| **due <= now);
        for (due, socket) in late {
            *due = EXPIRED;
            if let Some((socket, what)) = socket {
                // Both fail where the connection has ended by itself.
                if *what == What::Sending {
                    let _ = socket.set_linger(Some(Duration::ZERO));
                }
                let _ = socket.shutdown(what.ends());
            }
        }
    }

    /// Has the connections expire with the next tick that wait for a request.
    pub fn expire_idle(&self) {
        let Table { due, sockets, .. } = &mut *self.table.borrow_mut();
        let is_idle = |socket: &Option<(Rc<Socket>, What)>| matches!(socket, Some((_, What::Idle)));
        let idle = due.iter_mut().zip(sockets).filter(|(due, socket)| **due < EXPIRED && is_idle(socket));
        idle.for_each(|(due, _)| *due = 0);
    }

    /// The same for so many of them: those that have waited longest. How many there were.
    pub fn expire_longest_idle(&self, count: usize) -> usize {
        let Table { due, sockets, .. } = &mut *self.table.borrow_mut();
        let is_idle =
            |at: usize, due: u32| due < EXPIRED && matches!(sockets.get(at), Some(Some((_, What::Idle))));
        let mut idle: Vec<_> = due
            .iter()
            .enumerate()
            .filter(|(at, due)| is_idle(*at, **due))
            .map(|(at, due)| (*due, at))
            .collect();
        if count < idle.len() {
            idle.select_nth_unstable(count);
        }
        idle.truncate(count);
        for &(_, at) in &idle {
            if let Some(due) = due.get_mut(at) {
                *due = 0;
            }
        }
        idle.len()
    }

    /// Has everything that waits to read or write expire with the next tick, for an end that cannot wait.
    pub fn expire_all(&self) {
        self.table.borrow_mut().due.iter_mut().filter(|due| **due != EXPIRED).for_each(|due| *due = 0);
    }
}

impl Table {
    fn insert(&mut self, watched: (Rc<Socket>, What)) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.due.push(NEVER);
            self.sockets.push(None);
            // More connections than this have no descriptors.
            u32::try_from(self.due.len() - 1).unwrap_or(NEVER)
        });
        self.set(place, NEVER);
        if let Some(entry) = self.sockets.get_mut(index(place)) {
            *entry = Some(watched);
        }
        place
    }

    fn set(&mut self, place: u32, due: u32) {
        if let Some(entry) = self.due.get_mut(index(place)) {
            *entry = due;
        }
    }

    /// Sets what has not been late yet.
    fn set_open(&mut self, place: u32, due: u32, what: What) {
        let place = index(place);
        if let (Some(entry), Some(Some(socket))) = (self.due.get_mut(place), self.sockets.get_mut(place))
            && *entry != EXPIRED
        {
            *entry = due;
            socket.1 = what;
        }
    }

    fn remove(&mut self, place: u32) -> Option<(Rc<Socket>, What)> {
        self.set(place, NEVER);
        self.free.push(place);
        self.sockets.get_mut(index(place))?.take()
    }
}

impl Timer {
    /// Ends the connection after this time from now, whatever was set before. One that was late stays so.
    pub fn set(&self, after: Duration) {
        self.put(after, What::All);
    }

    /// The same for a peer that does not take what it is sent: nothing of that is kept for it.
    pub fn set_sending(&self, after: Duration) {
        self.put(after, What::Sending);
    }

    /// Ends only what the peer sends, so that it can still be told what it was late with.
    pub fn set_reading(&self, after: Duration) {
        self.put(after, What::Reading);
    }

    /// The same, while nothing of what is waited for has come.
    pub fn set_idle(&self, after: Duration) {
        self.put(after, What::Idle);
    }

    fn put(&self, after: Duration, what: What) {
        let (due, end) = (self.clock.due(after), self.end.get());
        let (due, what) = if end < due { (end, What::All) } else { (due, what) };
        self.clock.table.borrow_mut().set_open(self.place, due, what);
    }

    /// Ends the connection at this tick at the latest, whatever is set; `None` takes that back.
    pub fn end_at(&self, tick: Option<u32>) {
        self.end.set(tick.unwrap_or(NEVER));
        self.clear();
    }

    /// Whether the time has come that [`end_at`](Self::end_at) has set.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.end.get() <= self.clock.now()
    }

    /// Lets the connection wait as long as it likes. One that was late stays so.
    pub fn clear(&self) {
        self.clock.table.borrow_mut().set_open(self.place, self.end.get(), What::All);
    }

    /// Whether the connection was ended for being late.
    #[must_use]
    pub fn has_expired(&self) -> bool {
        self.clock.table.borrow().due.get(index(self.place)) == Some(&EXPIRED)
    }

    /// Where a body is of which so many bytes have passed.
    #[must_use]
    pub fn mark(&self, passed: u64) -> Mark {
        Mark { passed, now: self.clock.now() }
    }

    /// The worker's clock.
    #[must_use]
    pub const fn clock(&self) -> &Rc<Clock> {
        &self.clock
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // The socket may close with it; not while the table is borrowed.
        let watched = self.clock.table.borrow_mut().remove(self.place);
        drop(watched);
    }
}

/// The tick by which so much time has passed since another.
#[must_use]
pub fn later(tick: u32, after: Duration) -> u32 {
    tick.saturating_add(ticks(after)).min(EXPIRED - 1)
}

/// At least as many ticks as the time has, for one of them has begun already.
fn ticks(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(NEVER).saturating_add(1)
}

fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};

    /// Two ends of a connection, one of them watched.
    fn watched() -> (Rc<Clock>, Timer, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let far = listener.accept().unwrap().0;
        let clock = Rc::new(Clock::default());
        let timer = clock.watch(Rc::new(near.into()));
        (clock, timer, far)
    }

    #[test]
    fn a_connection_is_ended_when_it_is_late_and_not_before() {
        let (clock, timer, mut far) = watched();
        timer.set(TICK);
        clock.tick();
        assert!(!timer.has_expired());
        clock.tick();
        assert!(timer.has_expired());
        assert_eq!(far.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_deadline_that_is_set_again_counts_from_then() {
        let (clock, timer, _far) = watched();
        for _ in 0..5 {
            timer.set(TICK);
            clock.tick();
        }
        timer.clear();
        (0..5).for_each(|_| clock.tick());
        assert!(!timer.has_expired());
    }

    #[test]
    fn only_a_connection_that_waits_for_a_request_can_be_ended_for_being_idle() {
        let (clock, timer, _far) = watched();
        timer.set_reading(TICK * 10);
        clock.expire_idle();
        clock.tick();
        assert!(!timer.has_expired());
        timer.set_idle(TICK * 10);
        clock.expire_idle();
        clock.tick();
        assert!(timer.has_expired());
    }

    #[test]
    fn an_end_that_was_set_holds_whatever_is_set_besides() {
        let (clock, timer, _far) = watched();
        timer.end_at(Some(clock.due(TICK)));
        timer.set(TICK * 100);
        timer.clear();
        timer.set_idle(TICK * 100);
        clock.tick();
        assert!(!timer.has_expired() && !timer.is_over());
        clock.tick();
        assert!(timer.has_expired() && timer.is_over());
    }

    #[test]
    fn an_end_that_is_taken_back_does_not_come() {
        let (clock, timer, _far) = watched();
        timer.end_at(Some(clock.due(TICK)));
        timer.end_at(None);
        (0..5).for_each(|_| clock.tick());
        assert!(!timer.has_expired() && !timer.is_over());
    }

    #[test]
    fn of_those_that_wait_for_a_request_the_longest_waiting_go_first() {
        let clock = Rc::new(Clock::default());
        let sockets: Vec<_> = (0..4).map(|_| watched()).collect();
        let timers: Vec<_> = sockets
            .iter()
            .map(|(_, timer, _)| {
                let socket = timer.clock.table.borrow().sockets[0].as_ref().unwrap().0.clone();
                clock.watch(socket)
            })
            .collect();
        timers[0].set_reading(TICK);
        for (timer, after) in timers.iter().zip(1..).skip(1) {
            timer.set_idle(TICK * 100 * after);
        }
        clock.expire_longest_idle(2);
        clock.tick();
        let expired: Vec<_> = timers.iter().map(Timer::has_expired).collect();
        assert_eq!(expired, [false, true, true, false]);
        clock.expire_longest_idle(100);
        clock.tick();
        assert!(timers[3].has_expired());
    }

    #[test]
    fn what_was_late_stays_late() {
        let (clock, timer, _far) = watched();
        timer.set(Duration::ZERO);
        clock.tick();
        timer.set(TICK);
        timer.clear();
        assert!(timer.has_expired());
    }

    #[test]
    fn a_place_is_used_again_with_nothing_left_in_it() {
        let (clock, timer, _far) = watched();
        timer.set(Duration::ZERO);
        clock.tick();
        drop(timer);
        let (_, _, socket) = watched();
        let next = clock.watch(Rc::new(socket.into()));
        assert!(!next.has_expired());
        assert_eq!(clock.table.borrow().due.len(), 1);
    }
}
