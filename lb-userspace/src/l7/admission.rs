//! Whether a connection is let in: by the bounds of its listener, and by what memory and which descriptors are left.
//!
//! It is decided when the connection is accepted, before anything is read from it or spoken on it. One too many is closed
//! at once. One that memory has no room for is told so where that costs next to nothing: on a plain listener, by 503 and
//! `Retry-After`; on one that speaks TLS it is closed, for a handshake is what there is no room for.

use super::buffer::Buffer;
use super::census::Permit;
use super::client::Linger;
use super::reply;
use super::respond::Failure;
use super::settings::Listener;
use super::transport::{Stream, Watch};
use super::wire::Wire;
use super::worker::{Worker, count};
use nix::sys::resource::{Resource, getrlimit};
use socket2::Socket;
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::rc::Rc;
use tokio::task::spawn_local;

/// Descriptors at most that clients do not get: requests need connections to backends, and the operator the control socket.
const RESERVE: u64 = 1024;

/// The number from which on a descriptor is not a client's, where a process may have so many: a quarter stays, or [`RESERVE`].
/// The system gives the lowest number that is free, so a high one says that most are taken.
pub(super) fn first_reserved(limit: u64) -> u64 {
    limit - (limit / 4).min(RESERVE)
}

/// Counts a connection in, or says why it may not be.
pub(super) fn admit<W: Watch>(
    worker: &Worker<W>,
    listener: &Listener,
    (socket, from): (&Socket, IpAddr),
) -> Result<Permit, Failure> {
    if worker.gauge.is_short() {
        return Err(Failure::Shed);
    }
    if !worker.descriptors.has_room(socket) {
        return Err(Failure::TooManyConnections);
    }
    let limits = &listener.config.limits;
    let permit = listener.tally.enter(limits.connections).ok_or(Failure::TooManyConnections)?;
    // Whom a balancer in front speaks for is known when its PROXY header is.
    let is_named = listener.config.proxy_protocol.iter().any(|network| network.covers(from));
    if !is_named && !permit.bear(from, limits.connections_per_address) {
        return Err(Failure::TooManyConnections);
    }
    Ok(permit)
}

/// Lets go of a connection that was not let in.
pub(super) fn turn_away<W: Watch>(
    worker: &Rc<Worker<W>>,
    listener: &Listener,
    socket: Rc<Socket>,
    why: Failure,
) {
    let is_shed = why == Failure::Shed;
    count(if is_shed { &worker.counters.shed } else { &worker.counters.refused });
    // When all is spent, not even a few words are left.
    if is_shed && listener.config.tls.is_none() && !worker.gauge.is_spent() {
        let worker = Rc::clone(worker);
        // Who does not wait for the answer need not be told.
        spawn_local(async move { drop(tell(socket, &worker, why).await) });
    }
}

/// What a worker knows of the process's descriptors.
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    reserved: Cell<u64>,
    was_short: Cell<bool>,
}

impl Descriptors {
    /// As they are now.
    pub(super) fn looked_at() -> Self {
        let descriptors = Self::default();
        descriptors.look();
        descriptors
    }

    /// Asks how many there may be, which an operator can change at any time.
    pub(super) fn look(&self) {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(limit, _)| limit);
        self.reserved.set(first_reserved(limit));
    }

    fn has_room(&self, socket: &Socket) -> bool {
        let has_room = u64::try_from(socket.as_raw_fd()).is_ok_and(|number| number < self.reserved.get());
        if !has_room {
            self.was_short.set(true);
        }
        has_room
    }

    /// Whether somebody was turned away for want of one since the last time.
    pub(super) fn was_short(&self) -> bool {
        self.was_short.take()
    }
}

async fn tell<W: Watch>(socket: Rc<Socket>, worker: &Worker<W>, why: Failure) -> io::Result<()> {
    let timer = worker.clock.watch(Rc::clone(&socket));
    let mut wire = Wire::plain(Stream::<W>::accepted(socket)?, timer);
    wire.timer.set(Linger::BRIEFLY.silence);
    wire.write_all(&reply::refusal(why, &worker.date()).text()).await?;
    poll_fn(|cx| wire.poll_finish(cx)).await?;
    let (mut input, mut heard) = (Buffer::default(), 0);
    while heard < Linger::BRIEFLY.bytes {
        match wire.fill(&mut input).await? {
            0 => break,
            more => heard += more,
        }
        input.consume(input.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_not_for_clients_and_never_all() {
        let clients = [0, 1, 4, 64, 1024, 4096, 1 << 20, u64::MAX].map(first_reserved);
        assert_eq!(clients, [0, 1, 3, 48, 768, 3072, (1 << 20) - 1024, u64::MAX - 1024]);
    }
}
