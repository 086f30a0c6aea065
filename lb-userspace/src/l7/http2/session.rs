//! A client's connection: its streams, each an exchange of its own, and what holds for all of them.
//!
//! One task drives the connection and all its exchanges: what several of them send goes out together, and with the connection
//! they all end.

use super::head::{Head, facts_of_refused, join_cookies};
use super::io::{Handle, Io};
use super::stream;
use crate::l7::account::{Account, Asked, Asking};
use crate::l7::ask::{self, Asker, Question, Verdict};
use crate::l7::attempt::Ends;
use crate::l7::client::{self, Client, Left};
use crate::l7::deadline::TICK;
use crate::l7::message::Request;
use crate::l7::reply;
use crate::l7::respond::Failure;
use crate::l7::rewrite::Peer;
use crate::l7::settings::{Listener, ListenerId};
use crate::l7::tls::base64;
use crate::l7::transport::Watch;
use crate::l7::worker::Worker;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use h2::ext::Protocol;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::HeaderValue;
use http::request::Parts;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, Sleep};

/// What a client begins with. Source: RFC 9113, section 3.4.
pub(in crate::l7) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Streams at a time. Browsers are content with a hundred.
const STREAMS: u32 = 128;
/// Bytes of one request's body that are not passed on yet: what a round trip of 50 ms carries at 40 Mbit/s.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same of all streams together.
const WINDOW: u32 = 1 << 20;
/// Bytes of one answer that the client has not taken yet.
const SEND_BUFFER: usize = 64 << 10;
/// Streams that a connection may make us reset for what is wrong with them, in all.
const WRONG_STREAMS: usize = 100;
/// How long a client may take to answer that it has heard that we go.
const GOODBYE: Duration = Duration::from_secs(1);

/// What all streams of a connection share.
#[derive(Debug)]
pub(super) struct Session<W> {
    pub(super) worker: Rc<Worker<W>>,
    pub(super) ends: Ends,
    pub(super) https: bool,
    io: Rc<RefCell<Io<W>>>,
    peer: Peer,
    id: ListenerId,
    /// The listener, as it was set at the last request.
    listener: RefCell<Arc<Listener>>,
    requests: Cell<u32>,
}

/// Serves a client that speaks HTTP/2, to its end.
pub(in crate::l7) async fn serve<W: Watch>(client: Client<W>) {
    let Client { wire, input, address, peer, id, listener, worker, .. } = client;
    let (https, ends) = (wire.tls().is_some(), Ends { client: address, here: wire.local_addr() });
    wire.timer.set(listener.config.deadlines.handshake);
    let io = Io::new(wire, input, PREFACE.len(), listener.config.deadlines.send);
    let io = Rc::new(RefCell::new(io));
    if let Ok(connection) = shake_hands(&io, &listener).await {
        let (listener, requests) = (RefCell::new(listener), Cell::new(0));
        let io = Rc::clone(&io);
        let session = Rc::new(Session { worker, ends, https, io, peer, id, listener, requests });
        let mut driver = Driver::new(connection, Rc::clone(&session));
        let begin = |request, respond| stream::serve(Rc::clone(&session), request, respond);
        poll_fn(|cx| driver.poll(cx, begin)).await;
    }
    if let Some(io) = Rc::into_inner(io) {
        let io = io.into_inner();
        client::close(io.wire, io.input, Left::Talking).await;
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
        account.arrive(&listener, Asking { client, peer, tls: io.wire.tls() });
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
        join_cookies(&mut parts.headers);
        add_websocket_key(parts, self.worker.draw());
        let verdict = match Head::understand(parts, has_ended, listener.config.limits.fields) {
            Ok(head) => {
                let (question, facts) = (self.question(&head, parts), head.facts());
                account.read(&asked(&question.request, parts), peer, asker.random);
                ask::decide(&site, &asker, account, (&question, &facts)).map_err(|failure| (failure, facts))
            }
            Err(failure) => Err((failure, facts_of_refused(parts))),
        };
        let verdict = verdict.unwrap_or_else(|(failure, facts): (Failure, _)| {
            account.failed(failure);
            Verdict::Reply(reply::failure(failure, &facts, &date))
        });
        (listener, verdict)
    }

    fn question<'a>(&self, head: &'a Head<'_>, parts: &'a Parts) -> Question<'a, http::HeaderMap> {
        Question {
            request: Request {
                method: head.method,
                https: self.https,
                authority: &head.authority,
                path: &head.path,
                query: head.query,
                fields: &parts.headers,
                client: self.ends.client,
            },
            upgrade: head.protocol,
            expects_continue: head.expects_continue,
            text: b"",
        }
    }

    /// Counts a request. Whether it was one too many.
    fn count_request(&self) -> bool {
        self.requests.set(self.requests.get() + 1);
        let most = self.listener.borrow().config.limits.requests;
        most > 0 && self.requests.get() >= most
    }

    /// Whether no more requests are to come.
    fn is_over(&self) -> bool {
        let most = self.listener.borrow().config.limits.requests;
        self.worker.is_draining()
            || self.worker.site().listener(self.id).is_none()
            || (most > 0 && self.requests.get() >= most)
    }
}

/// A request as the log tells of it.
fn asked<'a>(request: &'a Request<'_, http::HeaderMap>, parts: &'a Parts) -> Asked<'a, http::HeaderMap> {
    Asked {
        method: request.method,
        host: request.host(),
        path: parts.uri.path(),
        query: request.query,
        protocol: "HTTP/2.0",
        fields: request.fields,
    }
}

/// HTTP/1.1 has a key where HTTP/2 has none. Source: RFC 8441, section 5; RFC 6455, section 4.1.
fn add_websocket_key(parts: &mut Parts, random: u128) {
    if parts.extensions.get::<Protocol>().is_some()
        && let Ok(key) = HeaderValue::from_bytes(&base64(&random.to_be_bytes()))
    {
        parts.headers.insert("sec-websocket-key", key);
    }
}

/// Drives a connection and its exchanges.
struct Driver<W, F> {
    connection: Connection<Handle<W>, Bytes>,
    session: Rc<Session<W>>,
    exchanges: FuturesUnordered<F>,
    changed: Pin<Box<OwnedNotified>>,
    /// When to look next whether the connection has been idle for too long.
    look: Pin<Box<Sleep>>,
    /// When the last exchange ended.
    idle_since: u32,
    /// Whether what is served may have changed.
    is_news: bool,
    is_leaving: bool,
    is_refused: bool,
}

impl<W: Watch, F: Future<Output = ()>> Driver<W, F> {
    fn new(connection: Connection<Handle<W>, Bytes>, session: Rc<Session<W>>) -> Self {
        let changed = Box::pin(Arc::clone(&session.worker.changed).notified_owned());
        let idle_since = session.worker.clock.now();
        let look = Box::pin(tokio::time::sleep(session.listener.borrow().config.deadlines.idle));
        let exchanges = FuturesUnordered::new();
        Self {
            connection,
            session,
            exchanges,
            changed,
            look,
            idle_since,
            is_news: true,
            is_leaving: false,
            is_refused: false,
        }
    }

    /// Ready when the connection has ended.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        begin: impl Fn(http::Request<RecvStream>, SendResponse<Bytes>) -> F,
    ) -> Poll<()> {
        self.look_around(cx);
        while let Poll::Ready(accepted) = self.connection.poll_accept(cx) {
            let Some(Ok((request, respond))) = accepted else { return Poll::Ready(()) };
            self.exchanges.push(begin(request, respond));
            self.is_news |= self.session.count_request();
        }
        while let Poll::Ready(Some(())) = self.exchanges.poll_next_unpin(cx) {
            self.idle_since = self.session.worker.clock.now();
        }
        self.judge(cx);
        // If the client is gone, reading tells.
        let _ = self.session.io.borrow_mut().poll_send(cx);
        Poll::Pending
    }

    /// Ends what has become too much, and what is done.
    fn judge(&mut self, cx: &Context<'_>) {
        if self.session.io.borrow().meter.is_spent() && !std::mem::replace(&mut self.is_refused, true) {
            self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            cx.waker().wake_by_ref();
        }
        if std::mem::take(&mut self.is_news) && self.session.is_over() {
            self.leave(cx);
        }
        if self.is_leaving && self.exchanges.is_empty() {
            self.session.io.borrow().wire.timer.set(GOODBYE);
        }
    }

    /// Takes no more requests than those that are on their way.
    fn leave(&mut self, cx: &Context<'_>) {
        if !std::mem::replace(&mut self.is_leaving, true) {
            self.connection.graceful_shutdown();
            cx.waker().wake_by_ref();
        }
    }

    /// Takes notice of reloads, and of time that passes.
    fn look_around(&mut self, cx: &mut Context<'_>) {
        while self.changed.as_mut().poll(cx).is_ready() {
            self.is_news = true;
            self.changed.set(Arc::clone(&self.session.worker.changed).notified_owned());
        }
        while self.look.as_mut().poll(cx).is_ready() {
            let patience = self.session.listener.borrow().config.deadlines.idle;
            let ticks = self.session.worker.clock.now().saturating_sub(self.idle_since);
            let idle = if self.exchanges.is_empty() { TICK * ticks } else { Duration::ZERO };
            if idle >= patience {
                self.leave(cx);
            }
            let left = patience.saturating_sub(idle).max(GOODBYE);
            self.look.as_mut().reset(Instant::now() + left);
        }
    }
}
