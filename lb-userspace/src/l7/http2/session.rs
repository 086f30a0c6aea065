//! A client's connection: its streams, each an exchange of its own, and what holds for all of them.
//!
//! One task drives the connection and all its exchanges: what several of them send goes out together, and with the connection
//! they all end.

use super::driver::Driver;
use super::head::{Head, complete, facts_of_refused};
use super::io::{Handle, Io};
use super::stock::Stock;
use super::stream;
use crate::l7::account::{Account, AsSent, Who};
use crate::l7::ask::{self, Asker, Verdict};
use crate::l7::attempt::Ends;
use crate::l7::client::{self, Client, Linger};
use crate::l7::message::Request;
use crate::l7::pace::Mark;
use crate::l7::reply;
use crate::l7::respond::Failure;
use crate::l7::rewrite::Peer;
use crate::l7::settings::{Listener, ListenerId};
use crate::l7::site::Site;
use crate::l7::tls::server_name;
use crate::l7::transport::Watch;
use crate::l7::worker::Worker;
use bytes::Bytes;
use h2::server::{Builder, Connection};
use http::request::Parts;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

/// What a client begins with. Source: RFC 9113, section 3.4.
pub(in crate::l7) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Streams at a time. Browsers are content with a hundred.
pub(super) const STREAMS: u32 = 128;
/// Bytes of one request's body that are not passed on yet: what a round trip of 50 ms carries at 40 Mbit/s.
pub(super) const STREAM_WINDOW: u32 = 256 << 10;
/// Bytes of all requests' bodies that may be on their way to us at once. What has come and waits is let in beside them: see
/// [`Driver`].
pub(super) const WINDOW: u32 = 1 << 20;
/// Bytes of one answer that the client has not taken yet.
const SEND_BUFFER: usize = 64 << 10;
/// Streams that a connection may make us reset for what is wrong with them, in all.
const WRONG_STREAMS: usize = 100;
/// What all streams of a connection share.
#[derive(Debug)]
pub(super) struct Session<W> {
    pub(super) worker: Rc<Worker<W>>,
    pub(super) ends: Ends,
    pub(super) https: bool,
    pub(super) io: Rc<RefCell<Io<W>>>,
    pub(super) stock: Rc<Stock>,
    /// Bytes of bodies that have come and gone. All streams count together, for they share what the client can take and send.
    pub(super) passed: Cell<(u64, u64)>,
    peer: Peer,
    /// The name that was asked for in the handshake of TLS.
    name: Option<Box<str>>,
    id: ListenerId,
    /// The listener, as it was set at the last request.
    pub(super) listener: RefCell<Arc<Listener>>,
    /// The listener, as it was set when the connection began.
    greeted_by: Arc<Listener>,
    requests: Cell<u32>,
}

/// Serves a client that speaks HTTP/2, to its end.
pub(in crate::l7) async fn serve<W: Watch>(client: Client<W>) {
    let Client { wire, input, address, peer, id, listener, worker, .. } = client;
    let (https, ends) = (wire.tls().is_some(), Ends { client: address, here: wire.local_addr() });
    let name = wire.tls().and_then(server_name).map(Into::into);
    wire.timer.set(listener.config.deadlines.handshake);
    let io = Io::new(wire, input, PREFACE.len(), listener.config.deadlines.send);
    let io = Rc::new(RefCell::new(io));
    if let Ok(connection) = shake_hands(&io, &listener).await {
        let greeted_by = Arc::clone(&listener);
        let (listener, requests, stock) = (RefCell::new(listener), Cell::new(0), Rc::new(Stock::new()));
        let io = Rc::clone(&io);
        let session = Session {
            worker,
            ends,
            https,
            io,
            stock,
            passed: Cell::default(),
            peer,
            name,
            id,
            listener,
            greeted_by,
            requests,
        };
        let session = Rc::new(session);
        let mut driver = Driver::new(connection, Rc::clone(&session));
        let begin = |request, respond| stream::serve(Rc::clone(&session), request, respond);
        poll_fn(|cx| driver.poll(cx, begin)).await;
    }
    if let Some(io) = Rc::into_inner(io) {
        let io = io.into_inner();
        client::close(io.wire, io.input, Some(Linger::BRIEFLY)).await;
    }
}

async fn shake_hands<W: Watch>(
    io: &Rc<RefCell<Io<W>>>,
    listener: &Listener,
) -> Result<Connection<Handle<W>, Bytes>, h2::Error> {
    let mut handshake = Builder::new()
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(listener.config.limits.head)
        .max_local_error_reset_streams(Some(WRONG_STREAMS))
        .enable_connect_protocol()
        .handshake(Handle(Rc::clone(io)));
    let shaken = poll_fn(|cx| {
        let shaken = Pin::new(&mut handshake).poll(cx);
        // If the client is gone, reading tells.
        let _ = io.borrow_mut().poll_send(cx);
        shaken
    });
    let shaken = shaken.await;
    io.borrow().wire.timer.clear();
    shaken
}

impl<W: Watch> Session<W> {
    /// Reads a request with the settings of now, and says what becomes of it.
    pub(super) fn decide(
        &self,
        parts: &mut Parts,
        has_ended: bool,
        account: &mut Account,
    ) -> (Arc<Listener>, Verdict<W>) {
        account.begin();
        let site = self.worker.site();
        if let Some(current) = site.listener(self.id) {
            self.listener.replace(Arc::clone(current));
        }
        let listener = Arc::clone(&self.listener.borrow());
        let date = self.worker.date();
        let (io, client, peer) = (self.io.borrow(), self.ends.client, &self.peer);
        account.arrive(&listener, Who { client, peer, tls: io.wire.tls() });
        drop(io);
        let asker = Asker {
            listener: &listener,
            client: self.ends.client,
            peer: &self.peer,
            https: self.https,
            keeps: true,
            random: self.worker.draw(),
            date: &date,
        };
        complete(parts, self.worker.draw());
        let verdict = match Head::understand(parts, has_ended, &ask::limits(&listener.config.limits)) {
            Ok(head) => {
                let (question, facts) = (head.question(parts, self.https, self.ends.client), head.facts());
                account.read(&asked(&question.request, parts), peer, asker.random);
                let verdict = self.check_host(&site, head.authority.host());
                let verdict = verdict.and_then(|()| ask::decide(&site, &asker, account, (&question, &facts)));
                verdict.map_err(|failure| (failure, facts))
            }
            Err(failure) => Err((failure, facts_of_refused(parts))),
        };
        let verdict = verdict.unwrap_or_else(|(failure, facts): (Failure, _)| {
            account.failed(failure);
            Verdict::Reply(reply::failure(failure, &facts, &date))
        });
        (listener, verdict)
    }

    /// A client puts hosts together on a connection whose certificate is for all of them; one that it is not for has another. Who
    /// did not ask for a name has not been promised any. Source: RFC 9110, section 15.5.20.
    fn check_host(&self, site: &Site<W>, host: &str) -> Result<(), Failure> {
        let is_misdirected = |name: &str| site.snapshot.tls.is_misdirected(self.id, name, host);
        if self.name.as_deref().is_some_and(is_misdirected) { Err(Failure::Misdirected) } else { Ok(()) }
    }

    /// Where the bodies that come are, and where those that go.
    pub(super) fn marks(&self) -> (Mark, Mark) {
        let (now, (came, went)) = (self.worker.clock.now(), self.passed.get());
        (Mark { passed: came, now }, Mark { passed: went, now })
    }

    /// Whether the client has asked for too much of nothing, and whether it has to go for want of memory.
    pub(super) fn ended(&self) -> (bool, bool) {
        let io = self.io.borrow();
        (io.meter.is_spent(), io.is_shed())
    }

    /// Counts a request. Whether it was one too many.
    pub(super) fn count_request(&self) -> bool {
        self.requests.set(self.requests.get() + 1);
        let most = self.listener.borrow().config.limits.requests;
        most > 0 && self.requests.get() >= most
    }

    /// Whether no more requests are to come.
    pub(super) fn is_over(&self) -> bool {
        let most = self.listener.borrow().config.limits.requests;
        self.worker.is_draining()
            || !self.worker.site().listener(self.id).is_some_and(|now| now.greets_like(&self.greeted_by))
            || (most > 0 && self.requests.get() >= most)
    }
}

/// A request as the log tells of it.
fn asked<'a>(request: &'a Request<'_, http::HeaderMap>, parts: &'a Parts) -> AsSent<'a, http::HeaderMap> {
    AsSent {
        method: request.method,
        host: request.host(),
        path: parts.uri.path(),
        query: request.query,
        protocol: "HTTP/2.0",
        fields: request.fields,
    }
}
