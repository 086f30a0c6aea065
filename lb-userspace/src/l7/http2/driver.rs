//! Drives a client's connection with all its exchanges, and decides when it ends: for its age, for what it made us do, for want
//! of memory, or because we go.

use super::io::Handle;
use super::session::{STREAM_WINDOW, STREAMS, Session, WINDOW};
use crate::l7::deadline::TICK;
use crate::l7::transport::Watch;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, Sleep};

/// How long a client may take to answer that it has heard that we go.
const GOODBYE: Duration = Duration::from_secs(1);

/// A connection and its exchanges.
pub(super) struct Driver<W, F> {
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
    leaving: Leaving,
    is_refused: bool,
    /// The window of the connection, in bytes.
    window: u32,
}

/// How far a connection is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    No,
    /// The client was told that we go; exchanges are under way.
    Told,
    /// Nothing is left but the client's word that it has heard it.
    Parting,
}

impl<W: Watch, F: Future<Output = ()>> Driver<W, F> {
    pub(super) fn new(connection: Connection<Handle<W>, Bytes>, session: Rc<Session<W>>) -> Self {
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
            leaving: Leaving::No,
            is_refused: false,
            window: WINDOW,
        }
    }

    /// Ready when the connection has ended.
    pub(super) fn poll(
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
        let mut io = self.session.io.borrow_mut();
        // If the client is gone, reading tells.
        let _ = io.poll_send(cx);
        io.wait_idly(self.patience());
        self.session.stock.settle(&io);
        drop(io);
        self.widen();
        Poll::Pending
    }

    /// Lets bodies come beside those that wait for their backends, as long as there is memory for them: a backend that takes
    /// nothing holds up the streams that go to it, and no others.
    fn widen(&mut self) {
        let Session { worker, stock, .. } = &*self.session;
        // In steps of a stream's window, so that usual bodies cause none.
        let full = u32::try_from(stock.waiting()).unwrap_or(u32::MAX) / STREAM_WINDOW;
        let full = if full > 0 && worker.gauge.excess().is_some() { 0 } else { full.min(STREAMS) };
        let window = WINDOW + full * STREAM_WINDOW;
        if window != self.window {
            self.window = window;
            self.connection.set_target_window_size(window);
        }
    }

    /// Ends what has become too much, and what is done.
    fn judge(&mut self, cx: &Context<'_>) {
        let (is_spent, is_shed) = self.session.ended();
        let is_shed = is_shed && self.exchanges.is_empty();
        if (is_spent || is_shed) && !std::mem::replace(&mut self.is_refused, true) {
            self.connection.abrupt_shutdown(if is_spent {
                Reason::ENHANCE_YOUR_CALM
            } else {
                Reason::NO_ERROR
            });
            cx.waker().wake_by_ref();
        }
        if std::mem::take(&mut self.is_news) && self.session.is_over() {
            self.leave(cx);
        }
        let timer = &self.session.io.borrow().wire.timer;
        match (self.leaving, self.exchanges.is_empty()) {
            (Leaving::Told, true) => {
                self.leaving = Leaving::Parting;
                timer.set(GOODBYE);
            }
            // A request that was on its way.
            (Leaving::Parting, false) => {
                self.leaving = Leaving::Told;
                timer.clear();
            }
            _ => {}
        }
    }

    /// How long the connection may go on waiting for a request, if that is what it does. Before that is over it is left in peace,
    /// so this decides only who goes first for want of memory.
    fn patience(&self) -> Option<Duration> {
        let is_idle = self.exchanges.is_empty() && self.leaving == Leaving::No && !self.is_refused;
        is_idle.then(|| self.session.listener.borrow().config.deadlines.idle + 2 * GOODBYE)
    }

    /// Takes no more requests than those that are on their way.
    fn leave(&mut self, cx: &Context<'_>) {
        if self.leaving == Leaving::No {
            self.leaving = Leaving::Told;
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
