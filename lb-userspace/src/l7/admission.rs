//! Whether a connection is let in: by the bounds of its listener, and by what memory is left.
//!
//! It is decided when the connection is accepted, before anything is read from it or spoken on it. One too many is closed
//! at once. One that memory has no room for is told so where that costs next to nothing: on a plain listener, by 503 and
//! `Retry-After`; on one that speaks TLS it is closed, for a handshake is what there is no room for.

use super::buffer::Buffer;
use super::census::Permit;
use super::client::LINGER;
use super::reply;
use super::respond::Failure;
use super::settings::Listener;
use super::transport::{Stream, Watch};
use super::wire::Wire;
use super::worker::{Worker, count};
use socket2::Socket;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use tokio::task::spawn_local;

/// Counts a connection in, or says why it may not be.
pub(super) fn admit<W: Watch>(
    worker: &Worker<W>,
    listener: &Listener,
    from: IpAddr,
) -> Result<Permit, Failure> {
    if worker.gauge.is_short() {
        return Err(Failure::Shed);
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

async fn tell<W: Watch>(socket: Rc<Socket>, worker: &Worker<W>, why: Failure) -> io::Result<()> {
    let timer = worker.clock.watch(Rc::clone(&socket));
    let mut wire = Wire::plain(Stream::<W>::accepted(socket)?, timer);
    wire.timer.set(LINGER.0);
    wire.write_all(&reply::refusal(why, &worker.date()).text()).await?;
    poll_fn(|cx| wire.poll_finish(cx)).await?;
    let (mut input, mut heard) = (Buffer::default(), 0);
    while heard < LINGER.1 {
        match wire.fill(&mut input).await? {
            0 => break,
            more => heard += more,
        }
        input.consume(input.len());
    }
    Ok(())
}
