//! The life of a connection and of each exchange on it, from the first byte to the last.

use super::answer::{self, Answer, Towards};
use super::ask::{self, Ask, Asker, Verdict};
use super::buffer::Buffer;
use super::failure::Failure;
use super::http1::{Framing, Refusal, Version};
use super::pool::Upstream;
use super::pump::{Broken, Patience, Pump};
use super::reply::{self, Reply};
use super::rewrite::Peer;
use super::settings::{Listener, ListenerId};
use super::transport::{Stream, Watch};
use super::wire::Wire;
use super::worker::Worker;
use socket2::Socket;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
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
    address: IpAddr,
    /// The port that it connected to.
    port: u16,
    /// What backends are told of it.
    peer: Peer,
    id: ListenerId,
    /// The listener, as it was set at the last request.
    listener: Arc<Listener>,
    requests: u32,
    worker: Rc<Worker<W>>,
}

/// A connection as it comes from a listening socket.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub socket: Rc<Socket>,
    /// Who connected.
    pub from: SocketAddr,
    /// The port that it connected to.
    pub to: u16,
    /// The listener's number.
    pub id: ListenerId,
    /// The listener.
    pub listener: Arc<Listener>,
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
    pub fn new(accepted: Accepted, worker: &Rc<Worker<W>>) -> io::Result<Self> {
        let Accepted { socket, from, to, id, listener } = accepted;
        let timer = worker.clock.watch(Rc::clone(&socket));
        let wire = Wire::plain(Stream::accepted(socket)?, timer);
        let trusted = &worker.site().snapshot.settings.proxy.trusted;
        Ok(Self {
            wire,
            input: Buffer::default(),
            address: from.ip(),
            port: to,
            peer: Peer::new(from.ip(), to, false, trusted),
            id,
            listener,
            requests: 0,
            worker: Rc::clone(worker),
        })
    }

    /// Serves the connection until it ends.
    pub async fn serve(mut self) {
        if self.greet().await.is_err() {
            return;
        }
        let left = loop {
            match self.exchange().await {
                Left::Open => {}
                left => break left,
            }
        };
        self.close(left).await;
    }

    /// What comes before the first request: the TLS handshake, if the listener speaks TLS.
    async fn greet(&mut self) -> io::Result<()> {
        let Some(tls) = self.worker.site().snapshot.tls.accept(self.id) else { return Ok(()) };
        self.wire.timer.set(self.listener.config.deadlines.handshake);
        self.wire.start_tls(tls.map_err(io::Error::other)?, &mut self.input).await?;
        self.wire.timer.clear();
        let trusted = &self.worker.site().snapshot.settings.proxy.trusted;
        self.peer = Peer::new(self.address, self.port, true, trusted);
        Ok(())
    }

    /// One request and its answer.
    async fn exchange(&mut self) -> Left {
        match self.read_request().await {
            Ok(Some(Verdict::Forward(ask))) => self.forward(ask).await,
            Ok(Some(Verdict::Reply(reply))) => self.tell(reply).await,
            Ok(None) => Left::Done,
            Err(failure) => self.tell(reply::refusal(failure)).await,
        }
    }

    /// Waits for the head of a request and decides what becomes of it. `None`: the client is done.
    async fn read_request(&mut self) -> Result<Option<Verdict<W>>, Failure> {
        if self.input.is_empty() && !self.wait_for_request().await {
            return Ok(None);
        }
        self.requests += 1;
        let mut is_waiting = false;
        loop {
            if let Some((len, verdict)) = self.understand()? {
                self.input.consume(len);
                if is_waiting {
                    self.wire.timer.clear();
                }
                return Ok(Some(verdict));
            }
            if !std::mem::replace(&mut is_waiting, true) {
                self.wire.timer.set_reading(self.listener.config.deadlines.head);
            }
            if !matches!(self.wire.fill(&mut self.input).await, Ok(1..)) {
                let is_late = self.wire.timer.has_expired();
                return if is_late { Err(Failure::SlowClient) } else { Ok(None) };
            }
        }
    }

    /// Waits for the first byte of a request. Whether one came.
    async fn wait_for_request(&mut self) -> bool {
        self.wire.timer.set_reading(self.listener.config.deadlines.idle);
        let has_come = matches!(self.wire.fill(&mut self.input).await, Ok(1..));
        self.wire.timer.clear();
        has_come
    }

    /// Reads a request with the settings of now.
    fn understand(&mut self) -> Result<Option<(usize, Verdict<W>)>, Failure> {
        let site = self.worker.site();
        let current = site.listener(self.id);
        if let Some(current) = current.filter(|current| !Arc::ptr_eq(current, &self.listener)) {
            self.listener = Arc::clone(current);
        }
        let most = self.listener.config.limits.requests;
        let asker = Asker {
            listener: &self.listener,
            client: self.address,
            peer: &self.peer,
            https: self.wire.tls().is_some(),
            keeps: current.is_some() && !self.worker.is_draining() && (most == 0 || self.requests < most),
            random: self.worker.draw(),
        };
        ask::read(&site, &asker, self.input.bytes())
    }

    /// Has a backend answer, or says why none does.
    async fn forward(&mut self, mut ask: Ask<W>) -> Left {
        match self.ask_backends(&mut ask).await {
            Ok((begun, upstream)) => self.answer(begun, upstream, &ask).await,
            Err(failure) => self.tell(reply::failure(failure, &ask.facts)).await,
        }
    }

    /// Asks a backend, and another if the first did not even get the request.
    async fn ask_backends(&mut self, ask: &mut Ask<W>) -> Result<(Begun, Upstream<W>), Failure> {
        let mut retries = ask.upstreams.service.config.retries.count;
        loop {
            let lost = match self.reach(ask).await {
                Ok(mut upstream) => match self.ask(ask, &mut upstream).await {
                    Ok(begun) => return Ok((begun, upstream)),
                    Err(lost) => lost,
                },
                Err(failure) => Lost { failure, head: Some(std::mem::take(&mut ask.head)) },
            };
            match lost {
                Lost { failure, head: Some(head) } if retries > 0 && failure != Failure::NoBackend => {
                    ask.head = head;
                    retries -= 1;
                }
                Lost { failure, .. } => return Err(failure),
            }
        }
    }

    /// A connection to a backend.
    async fn reach(&self, ask: &Ask<W>) -> Result<Upstream<W>, Failure> {
        let backend = ask.upstreams.choose().ok_or(Failure::NoBackend)?;
        let must_live = !ask.facts.is_idempotent || ask.facts.framing != Framing::NONE;
        if let Some(upstream) = backend.take(must_live) {
            return Ok(upstream);
        }
        let (site, within) = (self.worker.site(), ask.upstreams.service.config.deadlines.connect);
        let tls = site.snapshot.tls.client(ask.upstreams.id);
        backend.connect(&self.worker.clock, within, tls).await
    }

    /// Sends the request, and waits for the answer's head while the body may still be on its way.
    async fn ask(&mut self, ask: &mut Ask<W>, upstream: &mut Upstream<W>) -> Result<Begun, Lost> {
        let deadlines = &ask.upstreams.service.config.deadlines;
        let patience = Patience { read: self.listener.config.deadlines.body, write: deadlines.idle };
        let head = std::mem::take(&mut ask.head);
        let framing = ask.facts.framing;
        let limit = ask.route.body_limit.unwrap_or(u64::MAX);
        let mut asking = Asking {
            pump: Pump::new(head, framing, framing, patience).at_most(limit),
            is_over: false,
            first_byte: ask.route.deadlines.first_byte.unwrap_or(deadlines.first_byte),
        };
        loop {
            match poll_fn(|cx| asking.poll_answer(cx, self, upstream, ask)).await {
                Ok(answer) if !answer.is_interim() => return Ok(Begun { answer, asking }),
                Ok(interim) if ask.facts.version == Version::V11 => {
                    // If the client is gone, its answer will find out.
                    let _ = self.wire.write_all(&interim.head).await;
                }
                Ok(_) => {}
                Err(failure) => return Err(asking.lost(failure, upstream, ask)),
            }
        }
    }

    /// Sends the answer on, and the rest of the request meanwhile.
    async fn answer(&mut self, begun: Begun, mut upstream: Upstream<W>, ask: &Ask<W>) -> Left {
        let Begun { answer, mut asking } = begun;
        self.worker.counters.count(answer.status);
        let service = &ask.upstreams.service.config;
        let idle = ask.route.deadlines.idle.unwrap_or(service.deadlines.idle);
        let patience = Patience { read: idle, write: self.listener.config.deadlines.send };
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
            upstream.keep(&service.pool);
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

    /// Answers by ourselves.
    async fn tell(&mut self, reply: Reply) -> Left {
        self.worker.counters.count(reply.status);
        self.wire.timer.set(self.listener.config.deadlines.send);
        let told = self.wire.write_all(&reply.bytes).await;
        self.wire.timer.clear();
        match told {
            Err(_) => Left::Done,
            Ok(()) if reply.keeps => Left::Open,
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
    ) -> Poll<Result<Answer, Failure>> {
        self.poll_send(cx, client, upstream)?;
        let towards = Towards { https: client.wire.tls().is_some(), hsts: client.listener.hsts.as_deref() };
        loop {
            if let Some((len, answer)) = answer::read(upstream.input.bytes(), ask, towards)? {
                upstream.input.consume(len);
                upstream.wire.timer.clear();
                return Poll::Ready(Ok(answer));
            }
            if upstream.input.len() > ANSWER_HEAD {
                return Poll::Ready(Err(Failure::BadAnswer(Refusal::FieldsTooLarge)));
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
            && ask.facts.framing == Framing::NONE;
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
