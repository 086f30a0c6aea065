//! A client's stream as a backend reads it that speaks HTTP/1.1: by the very code that exchanges go by, but for the connections.
//! For those who want to know what is written without a backend to ask.

use super::end::Incoming;
use super::head::Head;
use super::stock::Stock;
use crate::l7::ask::{Asker, limits, render};
use crate::l7::carry::{Carry, Cut, Sink};
use crate::l7::pump::Patience;
use crate::l7::respond::Failure;
use crate::l7::rewrite::{Peer, RequestEdits};
use crate::l7::settings::{Listener, Settings};
use crate::l7::textual::{Blame, Bodies};
use bytes::Bytes;
use h2::RecvStream;
use http::request::Parts;
use http::{HeaderMap, Request};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long bodies are waited for; nobody comes back that late to look.
const PATIENCE: Duration = Duration::from_hours(1);

/// A request on its way.
#[derive(Debug)]
pub struct Downgrade {
    body: Incoming,
    carry: Carry,
    text: Text,
    edits: Arc<RequestEdits>,
}

/// What is written.
#[derive(Debug)]
struct Text {
    bodies: Bodies,
    written: Vec<u8>,
}

impl Downgrade {
    /// Understands a request of a client of this listener, for a service that any route leads to. `random`: bits drawn for it.
    pub fn new(
        (settings, listener): (&Settings, &Listener),
        client: SocketAddr,
        request: Request<RecvStream>,
        random: u128,
    ) -> Result<Self, Failure> {
        let (mut parts, body) = request.into_parts();
        super::head::complete(&mut parts, random);
        let head = Head::understand(&parts, body.is_end_stream(), &limits(&listener.config.limits))?;
        let peer = Peer::new(client.ip(), client.port(), false, &settings.proxy.trusted);
        let (written, edits) = write(
            listener,
            &head,
            (&parts, client),
            &Asker { listener, client, peer: &peer, https: false, keeps: true, random, date: "" },
        )?;
        let patience = Patience { read: PATIENCE.into(), write: PATIENCE.into() };
        let bodies = Bodies::new(crate::l7::http1::Framing::NONE, head.framing, patience, Blame::BACKEND);
        let body = Incoming::new(body, &Rc::new(Stock::new()), (PATIENCE.into(), 0), Blame::CLIENT);
        Ok(Self { body, carry: Carry::new(u64::MAX), text: Text { bodies, written }, edits })
    }

    /// Writes what has come of the body. Ready with its end, or why there is none.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let carried =
            self.carry.poll(cx, &mut self.body, &mut self.text, &|name| self.edits.passes_behind(name));
        carried.map_err(|(Cut::Sender(failure) | Cut::Receiver(failure))| failure)
    }

    /// What was written so far.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text.written
    }
}

fn write(
    listener: &Listener,
    head: &Head<'_>,
    (parts, client): (&Parts, SocketAddr),
    asker: &Asker<'_>,
) -> Result<(Vec<u8>, Arc<RequestEdits>), Failure> {
    let question = head.question(parts, false, client);
    let route = listener.route(&question.request).ok_or(Failure::NoRoute)?;
    let (head, _) = render(asker, &question, head.framing, route, None);
    Ok((head, Arc::clone(&route.request)))
}

impl Text {
    fn take(&mut self) {
        self.written.extend(self.bodies.take());
    }
}

impl Sink for Text {
    fn poll_room(&mut self, _cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Failure>> {
        self.take();
        Poll::Ready(Ok(wanted))
    }

    fn put(&mut self, data: Bytes, is_last: bool) -> Result<(), Failure> {
        self.bodies.put(data, is_last)
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Failure> {
        self.bodies.end(trailers)
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.take();
        Poll::Ready(Ok(()))
    }
}
