//! Deadlines of a worker's connections, as cheap as a few stores: they are kept in one table that is looked through every
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

/// A worker's clock and the deadlines of all its connections.
#[derive(Debug, Default)]
pub struct Clock {
    now: Cell<u32>,
    table: RefCell<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// The first tick at which the connection in the same place is late with anything.
    due: Vec<u32>,
    watched: Vec<Option<Watched>>,
    free: Vec<u32>,
}

/// A connection's deadlines. Each is set and cleared by whoever waits for it, and none knows of the others.
#[derive(Debug)]
struct Watched {
    socket: Rc<Socket>,
    dues: [u32; 4],
    /// What the peer sends is waited for, and nothing of it has come yet: the connection can be ended without loss.
    is_idle: bool,
    /// Whether it was ever late with anything.
    is_late: bool,
}

/// What of a connection a deadline is for.
#[derive(Clone, Copy, Debug)]
enum What {
    /// What the peer sends.
    Reading,
    /// That the peer takes what it is sent. If it does not, nothing of that is kept for it: else the kernel would go on for as long
    /// as it takes a little.
    Sending,
    /// The whole of it, for the moment.
    Whole,
    /// The whole of it, whatever else is waited for.
    End,
}

impl Watched {
    const fn new(socket: Rc<Socket>) -> Self {
        Self { socket, dues: [NEVER; 4], is_idle: false, is_late: false }
    }

    const fn due(&mut self, what: What) -> &mut u32 {
        let [reading, sending, whole, end] = &mut self.dues;
        match what {
            What::Reading => reading,
            What::Sending => sending,
            What::Whole => whole,
            What::End => end,
        }
    }

    fn first(&self) -> u32 {
        let [reading, sending, whole, end] = self.dues;
        reading.min(sending).min(whole.min(end))
    }

    /// The tick by which a request has to come that is waited for.
    fn idle_until(&self) -> Option<u32> {
        let [reading, ..] = self.dues;
        (self.is_idle && reading != NEVER).then_some(reading)
    }

    /// Ends what is late by now. What was late with reading alone can still be told so, by a deadline of its own.
    fn end(&mut self, now: u32) {
        self.is_late = true;
        let [_, sending, whole, end] = self.dues.map(|due| due <= now);
        // Both fail where the connection has ended by itself.
        if sending {
            let _ = self.socket.set_linger(Some(Duration::ZERO));
        }
        let how = if sending || whole || end { Shutdown::Both } else { Shutdown::Read };
        let _ = self.socket.shutdown(how);
        self.dues.iter_mut().filter(|due| **due <= now).for_each(|due| *due = NEVER);
    }
}

/// One connection's deadlines.
#[derive(Debug)]
pub struct Timer {
    clock: Rc<Clock>,
    place: u32,
    /// When the connection ends whatever else is set.
    end: Cell<u32>,
}

impl Clock {
    /// Deadlines for a socket, due never so far.
    pub fn watch(self: &Rc<Self>, socket: Rc<Socket>) -> Timer {
        let place = self.table.borrow_mut().insert(Watched::new(socket));
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
        let Table { due, watched, .. } = &mut *self.table.borrow_mut();
        let late = due.iter_mut().zip(watched).filter(|(due, _)| **due <= now);
        for (due, watched) in late {
            *due = watched.as_mut().map_or(NEVER, |watched| {
                watched.end(now);
                watched.first()
            });
        }
    }

    /// Has the connections expire with the next tick that wait for a request.
    pub fn expire_idle(&self) {
        self.expire_longest_idle(usize::MAX);
    }

    /// The same for so many of them: those that have waited longest. How many there were.
    pub fn expire_longest_idle(&self, count: usize) -> usize {
        let mut table = self.table.borrow_mut();
        let until = |watched: &Option<Watched>| watched.as_ref().and_then(Watched::idle_until);
        let places = (0u32..).zip(&table.watched);
        let mut idle: Vec<_> = places.filter_map(|(place, watched)| Some((until(watched)?, place))).collect();
        if count < idle.len() {
            idle.select_nth_unstable(count);
        }
        idle.truncate(count);
        for &(_, place) in &idle {
            table.set(place, What::Reading, 0);
        }
        idle.len()
    }

    /// Has everything expire with the next tick, for an end that cannot wait.
    pub fn expire_all(&self) {
        let mut table = self.table.borrow_mut();
        let places = 0..u32::try_from(table.watched.len()).unwrap_or(NEVER);
        places.for_each(|place| table.set(place, What::End, 0));
    }
}

impl Table {
    fn insert(&mut self, watched: Watched) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.due.push(NEVER);
            self.watched.push(None);
            // More connections than this have no descriptors.
            u32::try_from(self.due.len() - 1).unwrap_or(NEVER)
        });
        if let Some(entry) = self.watched.get_mut(index(place)) {
            *entry = Some(watched);
        }
        place
    }

    /// Of a place in use.
    fn watched(&mut self, place: u32) -> Option<&mut Watched> {
        self.watched.get_mut(index(place))?.as_mut()
    }

    fn set(&mut self, place: u32, what: What, tick: u32) {
        let Some(watched) = self.watched(place) else { return };
        *watched.due(what) = tick;
        let first = watched.first();
        if let Some(due) = self.due.get_mut(index(place)) {
            *due = first;
        }
    }

    fn remove(&mut self, place: u32) -> Option<Watched> {
        if let Some(due) = self.due.get_mut(index(place)) {
            *due = NEVER;
        }
        self.free.push(place);
        self.watched.get_mut(index(place))?.take()
    }
}

impl Timer {
    /// Ends the connection after this time from now, if that is not cleared before.
    pub fn set(&self, after: Duration) {
        self.put(What::Whole, self.clock.due(after));
    }

    /// Takes back what [`set`](Self::set) has set.
    pub fn clear(&self) {
        self.put(What::Whole, NEVER);
    }

    /// Ends the connection with a peer that does not take what it is sent: nothing of that is kept for it.
    pub fn set_sending(&self, after: Duration) {
        self.put(What::Sending, self.clock.due(after));
    }

    /// The peer has taken something.
    pub fn clear_sending(&self) {
        self.put(What::Sending, NEVER);
    }

    /// Ends only what the peer sends, so that it can still be told what it was late with.
    pub fn set_reading(&self, after: Duration) {
        self.read_by(after, false);
    }

    /// The same, while nothing of what is waited for has come.
    pub fn set_idle(&self, after: Duration) {
        self.read_by(after, true);
    }

    /// What was waited for has come.
    pub fn clear_reading(&self) {
        self.put(What::Reading, NEVER);
    }

    fn read_by(&self, after: Duration, is_idle: bool) {
        let mut table = self.clock.table.borrow_mut();
        if let Some(watched) = table.watched(self.place) {
            watched.is_idle = is_idle;
        }
        table.set(self.place, What::Reading, self.clock.due(after));
    }

    fn put(&self, what: What, tick: u32) {
        self.clock.table.borrow_mut().set(self.place, what, tick);
    }

    /// Ends the connection at this tick at the latest, whatever is set; `None` takes that back.
    pub fn end_at(&self, tick: Option<u32>) {
        self.end.set(tick.unwrap_or(NEVER));
        self.put(What::End, self.end.get());
    }

    /// Whether the time has come that [`end_at`](Self::end_at) has set.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.end.get() <= self.clock.now()
    }

    /// Whether the connection, or what its peer sends, was ended for being late.
    #[must_use]
    pub fn has_expired(&self) -> bool {
        self.clock.table.borrow_mut().watched(self.place).is_some_and(|watched| watched.is_late)
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
    tick.saturating_add(ticks(after)).min(NEVER - 1)
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
    fn a_deadline_is_cleared_by_whoever_set_it_alone() {
        for late in [Timer::set, Timer::set_sending, Timer::set_reading] {
            let (clock, timer, _far) = watched();
            late(&timer, TICK);
            for (set, clear) in [
                (Timer::set as fn(&Timer, Duration), Timer::clear as fn(&Timer)),
                (Timer::set_sending, Timer::clear_sending),
                (Timer::set_reading, Timer::clear_reading),
            ] {
                if !std::ptr::fn_addr_eq(set, late as fn(&Timer, Duration)) {
                    set(&timer, TICK * 100);
                    clear(&timer);
                }
            }
            (0..2).for_each(|_| clock.tick());
            assert!(timer.has_expired());
        }
    }

    #[test]
    fn who_was_late_with_reading_has_a_deadline_for_what_it_is_told() {
        let (clock, timer, mut far) = watched();
        timer.set_reading(Duration::ZERO);
        clock.tick();
        assert!(timer.has_expired());
        far.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(far.read(&mut [0]).is_err(), "the other direction is open");
        timer.set_sending(Duration::ZERO);
        clock.tick();
        assert_eq!(far.read(&mut [0]).unwrap(), 0);
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
                let socket = timer.clock.table.borrow().watched[0].as_ref().unwrap().socket.clone();
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
