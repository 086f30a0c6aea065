//! The near end that is a client's connection by HTTP/1.1, whose backend speaks another protocol.

use super::answer::{self, Answer, Told, Towards};
use super::ask::{Ask, Facts};
use super::attempt::{self, Lost};
use super::carry::{Cut, Piece, Sink, Source};
use super::client::{Client, Left};
use super::converse::{self, Begin, Near, Sending};
use super::http1::{Framing, Version};
use super::http2::{Place, Remote};
use super::message::Fields;
use super::pace::Wait;
use super::pump::Patience;
use super::respond::Failure;
use super::textual::{Blame, Bodies};
use super::transport::Watch;
use super::turn::Gone;
use bytes::Bytes;
use http::HeaderMap;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// A request whose answer has begun.
#[derive(Debug)]
pub(super) struct Begun {
    begin: Begin<Answer>,
    far: Remote,
    sending: Sending,
    bodies: Bodies,
}

impl Begun {
    /// Whether another backend may be asked in place of this answer.
    pub(super) fn may_ask_another(&self, facts: &Facts) -> bool {
        self.sending.going().may_ask_another(self.begin.status, facts)
    }

    /// How far the request had gone when the answer began.
    pub(super) const fn gone(&self) -> Gone {
        self.sending.going().gone()
    }

    /// The status of the answer.
    pub(super) const fn status(&self) -> u16 {
        self.begin.status
    }
}

/// A client's connection for the time of one exchange.
#[derive(Debug)]
struct ClientEnd<'c, W> {
    client: &'c mut Client<W>,
    bodies: &'c mut Bodies,
    knows_interim: bool,
    /// Whether the connection is ended by the end of what goes to the client.
    is_tunnel: bool,
}

/// Asks a backend that speaks HTTP/2.
pub(super) async fn ask<W: Watch>(client: &mut Client<W>, ask: &Ask<W>, place: Place) -> Result<Begun, Lost> {
    let deadlines = &client.listener.config.deadlines;
    let patience = Patience { read: Wait::for_body(deadlines), write: Wait::for_reader(deadlines) };
    let mut bodies = Bodies::new(ask.facts.framing, Framing::NONE, patience, Blame::CLIENT);
    let (mut far, mut sending) = (Remote::new(place, ask)?, Sending::new(ask));
    let knows_interim = ask.facts.version == Version::V11;
    let mut near = ClientEnd { client, bodies: &mut bodies, knows_interim, is_tunnel: false };
    let worker = Rc::clone(&near.client.worker);
    let begin = {
        let begin = pin!(converse::ask(&mut near, &mut far, ask, &mut sending));
        converse::in_time(ask.end, &worker.clock, begin).await
    };
    let begin = begin.unwrap_or(Err(Failure::Deadline)).map_err(|failure| far.lost(failure, &ask.facts))?;
    Ok(Begun { begin, far, sending, bodies })
}

/// Sends the answer on.
pub(super) async fn answer<W: Watch>(client: &mut Client<W>, begun: Begun, ask: &mut Ask<W>) -> Left {
    let Begun { begin, mut far, mut sending, mut bodies } = begun;
    client.worker.counters.count(begin.status);
    client.account.told(begin.status);
    if begin.status == 101 {
        // On the heap, so that no other exchange holds room for it.
        return Box::pin(tunnel(client, (begin.head, far, bodies), ask)).await;
    }
    let (keeps, to) = (begin.head.keeps_client, begin.head.to);
    let mut near = ClientEnd { client, bodies: &mut bodies, knows_interim: false, is_tunnel: false };
    let answered = match near.begin(begin.head, begin.is_whole) {
        Ok(()) => {
            let worker = Rc::clone(&near.client.worker);
            let answered = pin!(converse::answer(&mut near, &mut far, ask, &mut sending));
            let answered = converse::in_time(ask.end, &worker.clock, answered).await;
            answered.unwrap_or(Err(Cut::Sender(Failure::Deadline)))
        }
        Err(failure) => Err(Cut::Receiver(failure)),
    };
    if let Err(Cut::Sender(failure) | Cut::Receiver(failure)) = answered {
        // A client that got nothing at all would take it for a connection that had ended before, and ask again.
        let _ = poll_fn(|cx| bodies.poll_flush(cx, &mut client.wire)).await;
        client.wire.end_within(to);
        client.account.failed(failure);
    }
    let (received, sent) = bodies.passed();
    client.account.carried(received, sent);
    // Bodies are recorded where both ends speak HTTP/1.1.
    attempt::send_copy(client, ask, || None);
    match answered {
        Err(_) => Left::Done,
        Ok(()) if sending.was_sent() && keeps => Left::Open,
        Ok(()) => Left::Talking,
    }
}

/// Passes on what both ends say after the backend has agreed to speak another protocol.
async fn tunnel<W: Watch>(
    client: &mut Client<W>,
    (head, mut far, mut bodies): (Answer, Remote, Bodies),
    ask: &Ask<W>,
) -> Left {
    let idle = ask.route.deadlines.idle.unwrap_or(ask.upstreams.service.config.deadlines.idle);
    bodies.wait_for(idle.into());
    bodies.receive_as(Framing::UntilClose);
    bodies.send_as(Framing::UntilClose);
    bodies.put_head(&head.head);
    let mut near = ClientEnd { client, bodies: &mut bodies, knows_interim: false, is_tunnel: true };
    // However it ended, both sides are told by the end of their connections.
    if converse::tunnel(&mut near, &mut far).await.is_err() {
        client.wire.cut_short();
    }
    let (received, sent) = bodies.passed();
    client.account.carried(received, sent);
    Left::Done
}

impl<W: Watch> Near<W> for ClientEnd<'_, W> {
    type Head = Answer;

    fn render<F: Fields + ?Sized>(&self, told: &Told<'_, F>, ask: &Ask<W>) -> Answer {
        let https = self.client.wire.tls().is_some();
        let (hsts, date) = (self.client.listener.hsts.as_deref(), self.client.worker.date());
        let towards = Towards { https, hsts, date: &date };
        answer::text(told, true, ask, towards)
    }

    /// It shows when the connection is read or written.
    fn poll_gone(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    async fn tell_interim(&mut self, head: Answer) -> Result<(), Failure> {
        if self.knows_interim { self.client.tell_interim(&head.head).await } else { Ok(()) }
    }

    fn begin(&mut self, head: Answer, _is_whole: bool) -> Result<(), Failure> {
        self.bodies.send_as(head.to);
        self.bodies.put_head(&head.head);
        Ok(())
    }
}

impl<W: Watch> Source for ClientEnd<'_, W> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Failure>> {
        self.bodies.poll_piece(cx, &mut self.client.wire, &mut self.client.input)
    }

    fn has_ended(&self) -> bool {
        self.bodies.has_ended()
    }

    /// TCP does that by itself, as what was read is passed on.
    fn release(&mut self, _bytes: usize) {}

    fn wait_anew(&mut self) {
        self.bodies.wait_anew();
    }
}

impl<W: Watch> Sink for ClientEnd<'_, W> {
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Failure>> {
        self.bodies.poll_room(cx, &mut self.client.wire).map_ok(|()| wanted)
    }

    fn put(&mut self, data: Bytes, is_last: bool) -> Result<(), Failure> {
        self.bodies.put(data, is_last)
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Failure> {
        self.bodies.end(trailers)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let wire = &mut self.client.wire;
        ready!(self.bodies.poll_flush(cx, wire))?;
        if self.is_tunnel && self.bodies.is_over() {
            return wire.poll_finish(cx).map_err(|_| Failure::ClientEnded);
        }
        Poll::Ready(Ok(()))
    }
}
