//! The life of a connection and of each exchange on it, from the first byte to the last.

use super::answer::{self, Answer};
use super::ask::{self, Ask, Asker};
use super::buffer::Buffer;
use super::failure::{Failure, response};
use super::http1::Framing;
use super::pool::Upstream;
use super::pump::{Broken, Patience, Pump};
use super::site::{Door, Place};
use super::transport::{Stream, Watch};
use super::wire::Wire;
use super::worker::Worker;
use socket2::Socket;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// How long, and for how many bytes, a client that still sends is listened to after its connection was ended: if it were
/// closed at once, what was sent last could be lost on the way.
const LINGER: (Duration, usize) = (Duration::from_secs(1), 256 << 10);
/// Most bytes of a backend's head.
const ANSWER_HEAD: usize = 64 << 10;

/// A client's connection.
#[derive(Debug)]
pub struct Client<W> {
    wire: Wire<W>,
    input: Buffer,
    peer: SocketAddr,
    place: Rc<Place<W>>,
    worker: Rc<Worker<W>>,
}

/// How an exchange has left the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// Ready for the next request.
    Open,
    /// To be closed; the client has nothing more to say.
    Done,
    /// To be closed while the client may still be sending.
    Talking,
}

impl<W: Watch> Client<W> {
    /// A connection that was just accepted.
    pub fn new(socket: Rc<Socket>, peer: SocketAddr, place: &Rc<Place<W>>, worker: &Rc<Worker<W>>) -> io::Result<Self> {
        let timer = worker.clock.watch(Rc::clone(&socket));
        let wire = Wire::plain(Stream::accepted(socket)?, timer);
        Ok(Self { wire, input: Buffer::default(), peer, place: Rc::clone(place), worker: Rc::clone(worker) })
    }

    /// Serves the connection until it ends.
    pub async fn serve(mut self) {
        let left = loop {
            match self.exchange().await {
                Left::Open => {}
                left => break left,
            }
        };
        self.close(left).await;
    }

    /// One request and its answer.
    async fn exchange(&mut self) -> Left {
        let door = self.place.door();
        let ask = match self.read_request(&door).await {
            Ok(Some(ask)) => ask,
            Ok(None) => return Left::Done,
            Err(failure) => return self.tell(failure, false, false).await,
        };
        let facts = ask.facts;
        match self.forward(ask, &door).await {
            Ok(left) => left,
            Err(failure) => self.tell(failure, facts.is_head, facts.keep_alive).await,
        }
    }

    /// Waits for the head of a request and decides where it goes. `None`: the client is done.
    async fn read_request(&mut self, door: &Door<W>) -> Result<Option<Ask<W>>, Failure> {
        let deadlines = &door.listener.deadlines;
        if self.input.is_empty() {
            self.wire.timer.set_reading(deadlines.idle);
            if !matches!(self.wire.fill(&mut self.input).await, Ok(1..)) {
                return Ok(None);
            }
            self.wire.timer.clear();
        }
        let asker = Asker { client: self.peer, https: self.wire.tls().is_some(), drawn: self.worker.draw() };
        let mut is_waiting = false;
        loop {
            if let Some((len, ask)) = ask::read(door, &asker, self.input.bytes())? {
                self.input.consume(len);
                if is_waiting {
                    self.wire.timer.clear();
                }
                return Ok(Some(ask));
            }
            if !std::mem::replace(&mut is_waiting, true) {
                self.wire.timer.set_reading(deadlines.head);
            }
            if !matches!(self.wire.fill(&mut self.input).await, Ok(1..)) {
                let is_late = self.wire.timer.has_expired();
                return if is_late { Err(Failure::SlowClient) } else { Ok(None) };
            }
        }
    }

    /// Has a backend answer, another if one could not even be asked.
    async fn forward(&mut self, mut ask: Ask<W>, door: &Door<W>) -> Result<Left, Failure> {
        let mut retries = ask.service.config.retries.count;
        loop {
            let outcome = match self.reach(&ask).await {
                Ok(mut upstream) => {
                    let outcome = self.ask(&mut ask, &mut upstream, door).await;
                    match outcome {
                        Ok(answer) => return Ok(self.answer(answer, upstream, &ask, door).await),
                        Err(Lost { failure, head: Some(head) }) => {
                            ask.head = head;
                            Err(failure)
                        }
                        Err(lost) => return Err(lost.failure),
                    }
                }
                Err(failure) => Err(failure),
            };
            match (outcome, retries) {
                (Err(Failure::NoBackend), _) | (_, 0) => return outcome,
                _ => retries -= 1,
            }
        }
    }

    /// A connection to a backend that may be asked.
    async fn reach(&self, ask: &Ask<W>) -> Result<Upstream<W>, Failure> {
        let backend = ask.service.choose().ok_or(Failure::NoBackend)?;
        let must_live = !ask.facts.is_idempotent || ask.framing != Framing::NONE;
        match backend.take(must_live) {
            Some(upstream) => Ok(upstream),
            None => backend.connect(&self.worker.clock, ask.service.config.deadlines.connect).await,
        }
    }

    /// Sends the request, and waits for the answer's head while the body may still be on its way.
    async fn ask(&mut self, ask: &mut Ask<W>, upstream: &mut Upstream<W>, door: &Door<W>) -> Result<Begun, Lost> {
        let patience =
            Patience { read: door.listener.deadlines.body, write: ask.service.config.deadlines.idle };
        let limit = ask.way.route.as_ref().and_then(|route| route.body_limit).unwrap_or(u64::MAX);
        let head = std::mem::take(&mut ask.head);
        let mut asking = Asking {
            pump: Pump::new(head, ask.framing, ask.framing, patience).at_most(limit),
            is_over: false,
            first_byte: ask.service.config.deadlines.first_byte,
        };
        let keeps = ask.facts.keep_alive && !self.worker.is_draining();
        loop {
            let outcome = poll_fn(|cx| asking.poll_answer(cx, self, upstream, ask, keeps)).await;
            let answer = match outcome {
                Ok(answer) => answer,
                Err(failure) => return Err(asking.lost(failure, upstream, ask)),
            };
            match answer.status {
                100..=199 if answer.status != 101 => {
                    if ask.facts.version >= super::http1::Version::V11 {
                        // If the client is gone, the answer will find out.
                        let _ = self.wire.write_all(&answer.head).await;
                    }
                }
                _ => return Ok(Begun { answer, asking }),
            }
        }
    }

    /// Sends the answer on, and the rest of the request meanwhile.
    async fn answer(&mut self, begun: Begun, mut upstream: Upstream<W>, ask: &Ask<W>, door: &Door<W>) -> Left {
        let Begun { answer, mut asking } = begun;
        self.worker.counters.count(answer.status);
        let patience =
            Patience { read: ask.service.config.deadlines.idle, write: door.listener.deadlines.send };
        if answer.status == 101 {
            return self.tunnel(answer.head, upstream, patience).await;
        }
        let mut pump = Pump::new(answer.head, answer.from, answer.to, patience);
        let answered = poll_fn(|cx| {
            // What becomes of the request does not matter to a client that has its answer.
            let _ = asking.poll_send(cx, self, &mut upstream);
            pump.poll(cx, (&mut upstream.wire, &mut upstream.input), &mut self.wire)
        })
        .await;
        let was_sent = asking.is_over && asking.pump.has_ended();
        if answered.is_ok() && was_sent && answer.keeps_upstream {
            upstream.keep(&ask.service.config.pool);
        }
        match answered {
            Err(_) => Left::Done,
            Ok(()) if !was_sent => Left::Talking,
            Ok(()) if answer.keeps_client => Left::Open,
            Ok(()) => Left::Talking,
        }
    }

    /// Passes on what both sides say, whatever it is, until both have ended.
    async fn tunnel(&mut self, head: Vec<u8>, mut upstream: Upstream<W>, patience: Patience) -> Left {
        let patience = Patience { read: patience.read, write: patience.read };
        let mut down = Pump::new(head, Framing::UntilClose, Framing::UntilClose, patience);
        let mut up = Pump::new(Vec::new(), Framing::UntilClose, Framing::UntilClose, patience);
        let mut open = (true, true);
        poll_fn(|cx| {
            let Upstream { wire, input, .. } = &mut upstream;
            if open.0 && poll_half(cx, &mut down, (wire, input), &mut self.wire)?.is_ready() {
                open.0 = false;
            }
            if open.1 && poll_half(cx, &mut up, (&mut self.wire, &mut self.input), wire)?.is_ready() {
                open.1 = false;
            }
            if open == (false, false) { Poll::Ready(Ok::<(), Broken>(())) } else { Poll::Pending }
        })
        .await
        .map_or(Left::Done, |()| Left::Done)
    }

    /// Tells the client of a failure.
    async fn tell(&mut self, failure: Failure, is_head: bool, keeps: bool) -> Left {
        self.worker.counters.count(failure.status());
        let keeps = keeps && failure.keeps() && !self.worker.is_draining();
        self.wire.timer.set(LINGER.0);
        let told = self.wire.write_all(&response(failure, is_head, keeps)).await;
        self.wire.timer.clear();
        match told {
            Err(_) => Left::Done,
            Ok(()) if keeps => Left::Open,
            Ok(()) => Left::Talking,
        }
    }

    /// Ends the connection, such that what was sent last arrives.
    async fn close(mut self, left: Left) {
        self.wire.timer.set(LINGER.0);
        // A client that is gone need not be told.
        let _ = poll_fn(|cx| self.wire.poll_finish(cx)).await;
        let mut heard = 0;
        while left == Left::Talking && heard < LINGER.1 {
            self.input.consume(self.input.len());
            match self.wire.fill(&mut self.input).await {
                Ok(0) | Err(_) => break,
                Ok(more) => heard += more,
            }
        }
    }
}

/// A request on its way to a backend.
#[derive(Debug)]
struct Asking {
    pump: Pump,
    /// Whether nothing more is sent.
    is_over: bool,
    first_byte: Duration,
}

/// A request whose answer has begun.
#[derive(Debug)]
struct Begun {
    answer: Answer,
    asking: Asking,
}

/// A request that got no answer, and its head if it can safely be sent again.
#[derive(Debug)]
struct Lost {
    failure: Failure,
    head: Option<Vec<u8>>,
}

impl Asking {
    fn poll_answer<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client<W>,
        upstream: &mut Upstream<W>,
        ask: &Ask<W>,
        keeps: bool,
    ) -> Poll<Result<Answer, Failure>> {
        self.poll_send(cx, client, upstream)?;
        loop {
            if let Some((len, answer)) = answer::read(upstream.input.bytes(), &ask.facts, keeps)? {
                upstream.input.consume(len);
                upstream.wire.timer.clear();
                return Poll::Ready(Ok(answer));
            }
            if upstream.input.len() > ANSWER_HEAD {
                return Poll::Ready(Err(Failure::BadAnswer(super::http1::Refusal::FieldsTooLarge)));
            }
            if !matches!(ready!(upstream.wire.poll_fill(cx, &mut upstream.input)), Ok(1..)) {
                let is_late = upstream.wire.timer.has_expired();
                return Poll::Ready(Err(if is_late { Failure::SlowBackend } else { Failure::BackendEnded }));
            }
        }
    }

    /// Sends as much of the request as can be sent. A backend that takes no more may have answered already.
    fn poll_send<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client<W>,
        upstream: &mut Upstream<W>,
    ) -> Result<(), Failure> {
        if self.is_over {
            return Ok(());
        }
        let from = (&mut client.wire, &mut client.input);
        let Poll::Ready(sent) = self.pump.poll(cx, from, &mut upstream.wire) else { return Ok(()) };
        self.is_over = true;
        upstream.wire.timer.set(self.first_byte);
        match sent {
            Ok(()) | Err(Broken::Receiver(_)) => Ok(()),
            Err(Broken::Sender(_)) => Err(Failure::SlowClient),
            Err(Broken::Framing(refusal)) => Err(Failure::Refused(refusal)),
            Err(Broken::TooLong) => Err(Failure::BodyTooLong),
        }
    }

    /// A request may be sent again if its connection was an old one that ended without a word, and it does no harm twice.
    fn lost<W: Watch>(self, failure: Failure, upstream: &Upstream<W>, ask: &Ask<W>) -> Lost {
        let is_safe = failure == Failure::BackendEnded
            && upstream.is_reused()
            && upstream.input.is_empty()
            && ask.facts.is_idempotent
            && ask.framing == Framing::NONE;
        Lost { failure, head: is_safe.then(|| self.pump.into_head()) }
    }
}

/// One half of a tunnel, and its end.
fn poll_half<W: Watch>(
    cx: &mut Context<'_>,
    pump: &mut Pump,
    from: (&mut Wire<W>, &mut Buffer),
    to: &mut Wire<W>,
) -> Poll<Result<(), Broken>> {
    ready!(pump.poll(cx, from, to))?;
    to.poll_finish(cx).map_err(Broken::Receiver)
}
