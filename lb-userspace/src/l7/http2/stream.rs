//! A stream of a client's connection: one request and its answer.

use super::end::{Incoming, Outgoing};
use super::head::List;
use super::session::Session;
use crate::l7::account::Account;
use crate::l7::answer::{self, Told, Towards};
use crate::l7::ask::{Ask, Verdict};
use crate::l7::attempt::{self, Caller, Ends, Lost, Reached};
use crate::l7::carry::{Cut, Piece, Sink, Source};
use crate::l7::converse::{self, Begin, Near, Sending};
use crate::l7::deadline::later;
use crate::l7::far::Backend;
use crate::l7::http1::{Framing, Refusal};
use crate::l7::memory::{EXCHANGE, Held};
use crate::l7::message::{FieldSink as _, Fields};
use crate::l7::pace::Wait;
use crate::l7::reply::{self, Reply};
use crate::l7::respond::Failure;
use crate::l7::rewrite::{ResponseContext, takes_a_connection};
use crate::l7::settings::Listener;
use crate::l7::textual::Blame;
use crate::l7::transport::Watch;
use crate::l7::turn::Gone;
use crate::l7::worker::{Worker, count};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, Request, Response};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A stream.
#[derive(Debug)]
struct Stream<W> {
    session: Rc<Session<W>>,
    /// The listener, as it was set when the request came.
    listener: Arc<Listener>,
    incoming: Incoming,
    respond: SendResponse<Bytes>,
    /// There once the answer's head was sent.
    outgoing: Option<Outgoing>,
    /// The tick at which the request came.
    began: u32,
    account: Account,
    /// Bytes of bodies that have come and gone.
    passed: (u64, u64),
    _held: Held,
}

/// However it ends.
impl<W> Drop for Stream<W> {
    fn drop(&mut self) {
        self.account.carried(self.passed.0, self.passed.1);
    }
}

/// A request whose answer has begun.
#[derive(Debug)]
struct Begun<W> {
    begin: Begin<Response<()>>,
    far: Backend<W>,
    sending: Sending,
}

/// Serves one request. If this is dropped, the stream is cancelled, and the exchange with the backend ends.
pub(super) async fn serve<W: Watch>(
    session: Rc<Session<W>>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let (mut parts, body) = request.into_parts();
    let mut account = Account::new(Rc::clone(&session.worker.books));
    let (listener, verdict) = session.decide(&mut parts, body.is_end_stream(), &mut account);
    drop(parts);
    let wait = (Wait::for_body(&listener.config.deadlines), session.passed.get().0);
    let incoming = Incoming::new(body, &session.stock, wait, Blame::CLIENT);
    let (began, worker) = (session.worker.clock.now(), Rc::clone(&session.worker));
    let held = Held::new(EXCHANGE);
    let (outgoing, passed) = (None, (0, 0));
    let mut stream =
        Stream { session, listener, incoming, respond, outgoing, began, account, passed, _held: held };
    match verdict {
        Verdict::Forward(ask) if worker.gauge.is_spent() => {
            count(&worker.counters.shed);
            stream.account.failed(Failure::Shed);
            stream.tell(reply::failure(Failure::Shed, &ask.facts, &worker.date())).await;
        }
        Verdict::Forward(ask) => stream.forward(ask).await,
        Verdict::Reply(reply) => stream.tell(reply).await,
    }
}

impl<W: Watch> Stream<W> {
    /// Has a backend answer, or says why none does.
    async fn forward(&mut self, mut ask: Box<Ask<W>>) {
        let worker = Rc::clone(&self.session.worker);
        let within = ask.route.deadlines.request.or(self.listener.config.deadlines.request);
        ask.end = within.map(|within| later(self.began, within));
        let is_whole = ask.facts.framing == Framing::NONE;
        if ask.upstreams.service.config.http2 && ask.facts.framing == Framing::Chunked {
            // Of a stream that may pause, as gRPC's do, nobody knows what it owes.
            self.incoming.wait_for(self.listener.config.deadlines.body.into());
        }
        attempt::send_copy(self, &mut ask, || is_whole.then(Vec::new));
        let end = ask.end;
        let begun = {
            let begun = pin!(attempt::ask_backends(self, &mut ask));
            converse::in_time(end, &worker.clock, begun).await
        };
        match begun.unwrap_or(Err(Failure::Deadline)) {
            Ok((begun, _turn)) => self.answer(begun, &ask).await,
            Err(failure) if failure.is_told() => {
                self.account.failed(failure);
                let reply = reply::failure(failure, &ask.facts, &self.session.worker.date());
                self.tell(reply).await;
            }
            Err(failure) => {
                self.account.failed(failure);
                // By which clients ask again as they have to (RFC 9113, section 7).
                let by_http1 = failure == Failure::NeedsHttp1;
                self.reset(if by_http1 { Reason::HTTP_1_1_REQUIRED } else { Reason::CANCEL });
            }
        }
    }

    async fn answer(&mut self, begun: Begun<W>, ask: &Ask<W>) {
        let Begun { begin: Begin { status, is_whole, head }, mut far, mut sending } = begun;
        self.session.worker.counters.count(status);
        self.account.told(status);
        if status == 101 {
            return Box::pin(self.tunnel(head, far, ask)).await;
        }
        let answered = match self.begin(head, is_whole) {
            Ok(()) if is_whole => Ok(()),
            Ok(()) => {
                let worker = Rc::clone(&self.session.worker);
                let answered = pin!(converse::answer(self, &mut far, ask, &mut sending));
                let answered = converse::in_time(ask.end, &worker.clock, answered).await;
                answered.unwrap_or(Err(Cut::Sender(Failure::Deadline)))
            }
            Err(failure) => Err(Cut::Receiver(failure)),
        };
        match answered {
            Ok(()) if sending.was_sent() => far.keep(ask),
            Ok(()) => {}
            Err(cut) => self.cut(cut),
        }
    }

    /// Passes on what both ends say after an extended CONNECT (RFC 8441).
    async fn tunnel(&mut self, head: Response<()>, mut far: Backend<W>, ask: &Ask<W>) {
        let deadlines = &ask.upstreams.service.config.deadlines;
        let idle = ask.route.deadlines.idle.unwrap_or(deadlines.idle);
        far.become_tunnel();
        self.incoming.wait_for(idle.into());
        if self.begin(head, false).is_ok() {
            self.outgoing.iter_mut().for_each(|outgoing| outgoing.wait_for(idle.into()));
            if let Err(Cut::Sender(failure) | Cut::Receiver(failure)) = converse::tunnel(self, &mut far).await
            {
                self.account.failed(failure);
                // What TCP says by a reset (RFC 8441, section 5).
                self.reset(Reason::CANCEL);
            }
        }
    }

    /// Ends what has begun and cannot come to its end.
    fn cut(&mut self, cut: Cut) {
        let (Cut::Sender(failure) | Cut::Receiver(failure)) = cut;
        self.account.failed(failure);
        match cut {
            Cut::Sender(_) => self.reset(Reason::INTERNAL_ERROR),
            Cut::Receiver(_) => self.reset(Reason::CANCEL),
        }
    }

    fn reset(&mut self, reason: Reason) {
        match &mut self.outgoing {
            Some(outgoing) => outgoing.reset(reason),
            None => self.respond.send_reset(reason),
        }
    }

    /// So many bytes of bodies have come and gone.
    fn pass(&mut self, came: u64, went: u64) {
        let (all, own) = (self.session.passed.get(), self.passed);
        self.session.passed.set((all.0 + came, all.1 + went));
        self.passed = (own.0 + came, own.1 + went);
    }

    /// Answers by ourselves.
    async fn tell(&mut self, reply: Reply) {
        let site = self.session.worker.site();
        let server = site.snapshot.settings.proxy.server.as_deref().map(str::as_bytes);
        let hsts = self.listener.hsts.as_deref();
        let reply = reply.with([("server", server), ("strict-transport-security", hsts)]);
        self.session.worker.counters.count(reply.status);
        self.account.told(reply.status);
        let mut list = List::with_room_for(reply.fields.iter().count() + 1);
        reply.fields.iter().for_each(|(name, value)| list.put(name, value));
        if let Some(body) = &reply.body {
            list.put_length(body.len() as u64);
        }
        let mut body = Bytes::from(reply.body.filter(|_| !reply.is_head).unwrap_or_default());
        if self.begin(list.answer(reply.status), body.is_empty()).is_err() {
            return;
        }
        while !body.is_empty() {
            let room = poll_fn(|cx| self.poll_room(cx, body.len())).await;
            let room = match room {
                Ok(room) => room,
                Err(failure) => return self.cut(Cut::Receiver(failure)),
            };
            let piece = body.split_to(room.min(body.len()));
            if self.put(piece, body.is_empty()).is_err() {
                return;
            }
        }
    }
}

impl<W: Watch> Caller<W> for Stream<W> {
    type Begun = Begun<W>;

    fn worker(&self) -> &Rc<Worker<W>> {
        &self.session.worker
    }

    fn account(&mut self) -> &mut Account {
        &mut self.account
    }

    fn is_https(&self) -> bool {
        self.session.https
    }

    fn ends(&self) -> Ends {
        self.session.ends
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Near::poll_gone(self, cx)
    }

    fn gone(begun: &Begun<W>) -> Gone {
        begun.sending.going().gone()
    }

    fn may_ask_another(begun: &Begun<W>, ask: &Ask<W>) -> bool {
        begun.sending.going().may_ask_another(begun.begin.status, &ask.facts)
    }

    /// The head has stayed where it was; the connection ends with the answer.
    fn let_go(_begun: Begun<W>, _ask: &mut Ask<W>) {}

    async fn ask(&mut self, ask: &mut Ask<W>, reached: Reached<W>) -> Result<(u16, Begun<W>), Lost> {
        let (mut far, mut sending) = (Backend::new(reached, ask)?, Sending::new(ask));
        let begin = converse::ask(self, &mut far, ask, &mut sending).await;
        let begin = begin.and_then(|begin| check_login(check_upgrade(begin, ask)?, ask));
        let begin = begin.map_err(|failure| far.lost(failure, ask))?;
        Ok((begin.status, Begun { begin, far, sending }))
    }
}

/// A tunnel begins with 101 or not at all: another success would be taken for one.
fn check_upgrade<W, H>(begin: Begin<H>, ask: &Ask<W>) -> Result<Begin<H>, Failure> {
    if ask.facts.upgrade && matches!(begin.status, 200..=299) {
        return Err(Failure::BadAnswer(Refusal::Status));
    }
    Ok(begin)
}

/// A login that takes a connection fails by HTTP/2, and does not by HTTP/1.1, where the backend is spoken to in that.
fn check_login<W>(begin: Begin<Response<()>>, ask: &Ask<W>) -> Result<Begin<Response<()>>, Failure> {
    let service = &ask.upstreams.service.config;
    if begin.status != 401 || service.http2 || service.proxy_protocol.is_some() {
        return Ok(begin);
    }
    let challenges = begin.head.headers().get_all(WWW_AUTHENTICATE).iter();
    if takes_a_connection(challenges.map(HeaderValue::as_bytes)) {
        Err(Failure::NeedsHttp1)
    } else {
        Ok(begin)
    }
}

impl<W: Watch> Near<W> for Stream<W> {
    type Head = Response<()>;

    fn render<F: Fields + ?Sized>(&self, told: &Told<'_, F>, ask: &Ask<W>) -> Response<()> {
        let date = self.session.worker.date();
        let towards = Towards { https: self.session.https, hsts: self.listener.hsts.as_deref(), date: &date };
        let mut list = List::with_room_for(told.fields.each().count());
        let context = ResponseContext { upgrade: None, ..answer::context(told, ask, towards) };
        ask.route.response.apply(told.fields, &context, &mut list);
        list.put_told_length(told, ask.facts.is_head());
        list.answer(if told.status == 101 { 200 } else { told.status })
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.outgoing {
            Some(outgoing) => outgoing.poll_gone(cx),
            None => self.respond.poll_reset(cx).map(|_| ()),
        }
    }

    async fn tell_interim(&mut self, head: Response<()>) -> Result<(), Failure> {
        self.respond.send_informational(head).map_err(|_| Failure::ClientEnded)
    }

    fn begin(&mut self, head: Response<()>, is_whole: bool) -> Result<(), Failure> {
        let stream = self.respond.send_response(head, is_whole).map_err(|_| Failure::ClientEnded)?;
        let wait = (Wait::for_reader(&self.listener.config.deadlines), self.session.passed.get().1);
        self.outgoing = Some(Outgoing::new(stream, &self.session.stock, wait, Blame::CLIENT));
        Ok(())
    }
}

impl<W: Watch> Source for Stream<W> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Failure>> {
        let piece = self.incoming.poll_piece(cx, self.session.marks().0);
        if let Poll::Ready(Ok(Piece::Data(data))) = &piece {
            self.pass(data.len() as u64, 0);
        }
        piece
    }

    fn has_ended(&self) -> bool {
        self.incoming.has_ended()
    }

    fn release(&mut self, bytes: usize) {
        self.incoming.release(bytes);
    }

    fn gather(&mut self, cx: &mut Context<'_>) {
        self.incoming.gather(cx);
    }

    fn wait_anew(&mut self) {
        self.incoming.wait_anew();
    }
}

/// Bodies follow heads: what is sent before the head was sent has nowhere to go.
impl<W: Watch> Sink for Stream<W> {
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Failure>> {
        let Some(outgoing) = &mut self.outgoing else { return Poll::Ready(Err(Failure::Internal)) };
        outgoing.poll_room(cx, wanted, self.session.marks().1)
    }

    fn put(&mut self, data: Bytes, is_last: bool) -> Result<(), Failure> {
        self.pass(0, data.len() as u64);
        self.outgoing.as_mut().ok_or(Failure::Internal)?.put(data, is_last)
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Failure> {
        self.outgoing.as_mut().ok_or(Failure::Internal)?.end(trailers)
    }

    /// What `h2` took it sends by itself.
    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }
}
