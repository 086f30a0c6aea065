//! A client's connection: what comes before the first request, one request after the other, and the end.

use super::account::{Account, Who, tls_name};
use super::ask::{self, Ask, Asker, Verdict};
use super::buffer::Buffer;
use super::census::Permit;
use super::deadline::later;
use super::http1::Limits;
use super::http2;
use super::pool::Upstream;
use super::proxy_protocol::{self, Proxied};
use super::reply::{self, Reply};
use super::respond::Failure;
use super::rewrite::Peer;
use super::settings::{Listener, ListenerId};
use super::tally::WorkerCounts;
use super::tls::client_cert;
use super::transport::{Stream, Watch};
use super::wire::Wire;
use super::worker::{Worker, count};
use rustls::{Connection, HandshakeKind};
use socket2::Socket;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::coop::consume_budget;
use tokio::time::timeout;

/// How a client that still sends is listened to after its connection was ended: if it were closed at once, what was sent last could
/// be lost on the way (RFC 9112, section 9.6).
#[derive(Clone, Copy, Debug)]
pub(super) struct Linger {
    /// How long it may say nothing.
    pub(super) silence: Duration,
    /// How long it is listened to.
    whole: Duration,
    /// For how many bytes.
    pub(super) bytes: usize,
}

impl Linger {
    /// To one that is turned away.
    pub(super) const BRIEFLY: Self =
        Self { silence: Duration::from_secs(1), whole: Duration::from_secs(1), bytes: 256 << 10 };

    /// To one whose request was answered before all of it had come: most clients read no answer before they have sent theirs. The
    /// times are those of `nginx` (`lingering_timeout`, `lingering_time`).
    const PATIENTLY: Self =
        Self { silence: Duration::from_secs(5), whole: Duration::from_secs(30), bytes: usize::MAX };
}

/// Bytes that end a line.
const LINE_END: usize = 2;

/// A client's connection.
#[derive(Debug)]
pub struct Client<W> {
    pub(super) wire: Wire<W>,
    pub(super) input: Buffer,
    /// Who it is: the socket's other end, or whom a PROXY header names.
    pub(super) address: SocketAddr,
    /// What backends are told of it.
    pub(super) peer: Peer,
    pub(super) id: ListenerId,
    /// The listener, as it was set at the last request.
    pub(super) listener: Arc<Listener>,
    /// The listener, as it was set when the connection began.
    greeted_by: Arc<Listener>,
    requests: u32,
    /// What the exchange under way has done.
    pub(super) account: Account,
    /// The tick at which the request under way began.
    began: u32,
    pub(super) worker: Rc<Worker<W>>,
    /// A connection to a backend that is this client's alone, for the backend knows by it who that is.
    pub(super) own: Option<Box<Upstream<W>>>,
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
    /// What it is counted by.
    pub permit: Rc<Permit>,
}

/// How an exchange has left the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Ready for the next request.
    Open,
    /// To be closed; the client has nothing more to say.
    Done,
    /// To be closed while the client may still be sending.
    Talking,
}

impl<W: Watch> Client<W> {
    /// Serves a connection from its first byte to its last. What happens once, or for a moment, has its room on the heap: here it
    /// would be held by every connection that waits.
    pub async fn serve(accepted: Accepted, worker: Rc<Worker<W>>) {
        // One that fails here was ended by the client, who need not be told.
        let Ok(mut client) = Box::pin(Self::welcome(accepted, worker)).await else { return };
        if client.speaks_http2().await {
            return Box::pin(http2::serve(client)).await;
        }
        let left = loop {
            match client.turn().await {
                // Who has sent many requests at once, which need not be waited for, lets others have their turn.
                Left::Open => consume_budget().await,
                left => break left,
            }
        };
        Box::pin(client.close(left)).await;
    }

    /// What comes before the first request: the PROXY header, if one is due, and the TLS handshake, if TLS is spoken.
    async fn welcome(accepted: Accepted, worker: Rc<Worker<W>>) -> io::Result<Self> {
        let Accepted { socket, from, mut to, id, listener, permit } = accepted;
        let counts = &worker.counters.tally;
        let timer = worker.clock.watch(Rc::clone(&socket));
        let mut wire = Wire::plain(Stream::accepted(socket)?, timer);
        let (mut input, mut address) = (Buffer::default(), from);
        wire.timer.set(listener.config.deadlines.handshake);
        if listener.config.proxy_protocol.iter().any(|network| network.covers(from.ip()))
            && let Proxied::Client { client, server } = read_proxy_header(&mut wire, &mut input)
                .await
                .inspect_err(|_| counts.proxy_header_failures.add(1))?
        {
            (address, to) = (client, server.port());
            if !permit.bear(client.ip(), listener.config.limits.connections_per_address) {
                count(&worker.counters.refused);
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
        }
        let site = worker.site();
        if let Some(tls) = site.snapshot.tls.accept(id) {
            if let Err(error) = wire.start_tls(tls.map_err(io::Error::other)?, &mut input).await {
                counts.handshake_failures.add(1);
                close(wire, input, None).await;
                return Err(error);
            }
            wire.tls().into_iter().for_each(|tls| count_handshake(counts, tls));
        }
        wire.timer.clear();
        let trusted = &site.snapshot.settings.proxy.trusted;
        let peer = Peer::new(address.ip(), to, wire.tls().is_some(), trusted);
        let peer = identify(peer, &wire, &listener);
        let account = Account::new(Rc::clone(&worker.books));
        let greeted_by = Arc::clone(&listener);
        Ok(Self {
            wire,
            input,
            address,
            peer,
            id,
            listener,
            greeted_by,
            requests: 0,
            account,
            began: 0,
            worker,
            own: None,
        })
    }

    /// Whether the client speaks HTTP/2: as agreed by TLS, or without it by how it begins (RFC 9113, section 3.3).
    async fn speaks_http2(&mut self) -> bool {
        if let Some(tls) = self.wire.tls() {
            return tls.alpn_protocol() == Some(b"h2");
        }
        let (idle, head) = (self.listener.config.deadlines.idle, self.listener.config.deadlines.head);
        self.wire.timer.set_idle(idle);
        while self.listener.config.http2 && http2::PREFACE.starts_with(self.input.bytes()) {
            if self.input.len() == http2::PREFACE.len() {
                break;
            }
            let is_first = self.input.is_empty();
            if !matches!(self.wire.fill(&mut self.input).await, Ok(1..)) {
                return false;
            }
            if is_first {
                self.wire.timer.set_reading(head);
            }
        }
        self.wire.timer.clear_reading();
        self.listener.config.http2 && self.input.bytes().starts_with(http2::PREFACE)
    }

    /// One request and its answer.
    async fn turn(&mut self) -> Left {
        let left = match self.next_verdict().await {
            Some(Verdict::Forward(ask)) => Box::pin(self.forward(ask)).await,
            Some(Verdict::Reply(reply)) => Box::pin(self.tell(reply)).await,
            None => Left::Done,
        };
        self.account.close();
        left
    }

    /// What becomes of the next request, if one comes: whatever is wrong with it is answered, too.
    async fn next_verdict(&mut self) -> Option<Verdict<W>> {
        match self.read_request().await {
            Ok(Some(Verdict::Forward(ask))) if self.worker.gauge.is_spent() => {
                count(&self.worker.counters.shed);
                self.account.failed(Failure::Shed);
                Some(Verdict::Reply(reply::failure(Failure::Shed, &ask.facts, &self.worker.date())))
            }
            Ok(verdict) => verdict,
            Err(failure) => {
                self.account.failed(failure);
                Some(Verdict::Reply(reply::refusal(failure, &self.worker.date())))
            }
        }
    }

    /// Waits for the head of a request and decides what becomes of it. `None`: the client is done.
    async fn read_request(&mut self) -> Result<Option<Verdict<W>>, Failure> {
        if self.input.is_empty() && !self.wait_for_request().await {
            return Ok(None);
        }
        self.requests += 1;
        self.account.begin();
        self.began = self.worker.clock.now();
        let (mut is_waiting, mut known) = (false, 0);
        loop {
            if may_tell_more(self.input.bytes(), known, &ask::limits(&self.listener.config.limits))
                && let Some((len, verdict)) = self.understand()?
            {
                self.input.consume(len);
                if is_waiting {
                    self.wire.timer.clear_reading();
                }
                return Ok(Some(verdict));
            }
            if !std::mem::replace(&mut is_waiting, true) {
                self.wire.timer.set_reading(self.listener.config.deadlines.head);
            }
            known = self.input.len();
            if !matches!(self.wire.fill(&mut self.input).await, Ok(1..)) {
                let is_late = self.wire.timer.has_expired();
                if !is_late {
                    self.account.forget();
                }
                return if is_late { Err(Failure::SlowClient) } else { Ok(None) };
            }
        }
    }

    /// Waits for the first byte of a request. Whether one came.
    async fn wait_for_request(&mut self) -> bool {
        self.wire.timer.set_idle(self.listener.config.deadlines.idle);
        let has_come = matches!(self.wire.fill(&mut self.input).await, Ok(1..));
        self.wire.timer.clear_reading();
        has_come
    }

    /// Reads a request with the settings of now.
    fn understand(&mut self) -> Result<Option<(usize, Verdict<W>)>, Failure> {
        let site = self.worker.site();
        let current = site.listener(self.id);
        if let Some(current) = current.filter(|current| !Arc::ptr_eq(current, &self.listener)) {
            self.listener = Arc::clone(current);
        }
        let who = Who { client: self.address, peer: &self.peer, tls: self.wire.tls() };
        self.account.arrive(&self.listener, who);
        let most = self.listener.config.limits.requests;
        let is_welcome = current.is_some_and(|current| current.greets_like(&self.greeted_by));
        let asker = Asker {
            listener: &self.listener,
            client: self.address,
            peer: &self.peer,
            https: self.wire.tls().is_some(),
            keeps: is_welcome && !self.worker.is_draining() && (most == 0 || self.requests < most),
            random: self.worker.draw(),
            date: &self.worker.date(),
        };
        ask::read(&site, &asker, &mut self.account, self.input.bytes())
    }

    /// The tick at which an exchange has to be over, by its route or by the listener.
    pub(super) fn end_of(&self, ask: &Ask<W>) -> Option<u32> {
        let within = ask.route.deadlines.request.or(self.listener.config.deadlines.request)?;
        Some(later(self.began, within))
    }

    /// Answers by ourselves.
    pub(super) async fn tell(&mut self, reply: Reply) -> Left {
        let site = self.worker.site();
        let server = site.snapshot.settings.proxy.server.as_deref().map(str::as_bytes);
        let hsts = self.listener.hsts.as_deref();
        let reply = reply.with([("server", server), ("strict-transport-security", hsts)]);
        self.worker.counters.count(reply.status);
        self.account.told(reply.status);
        self.wire.timer.set(self.listener.config.deadlines.send);
        let told = self.wire.write_all(&reply.text()).await;
        match &told {
            Ok(()) => self.account.carried(0, reply.body_len()),
            Err(_) if self.wire.timer.has_expired() => self.account.failed(Failure::SlowReader),
            Err(_) => self.account.failed(Failure::ClientEnded),
        }
        self.wire.timer.clear();
        match told {
            Err(_) => Left::Done,
            Ok(()) if reply.keeps => Left::Open,
            Ok(()) => Left::Talking,
        }
    }

    /// Sends a head that another follows. A client that does not take it in time, or is gone, is not waited for.
    pub(super) async fn tell_interim(&mut self, head: &[u8]) -> Result<(), Failure> {
        match timeout(self.listener.config.deadlines.send, self.wire.write_all(head)).await {
            Ok(told) => told.map_err(|_| Failure::ClientEnded),
            Err(_) => Err(Failure::SlowReader),
        }
    }

    async fn close(self, left: Left) {
        let linger = if self.worker.is_draining() { Linger::BRIEFLY } else { Linger::PATIENTLY };
        close(self.wire, self.input, (left == Left::Talking).then_some(linger)).await;
    }
}

/// Ends a connection, such that what was sent last arrives, be it the alert to a client that broke TLS's rules.
pub(super) async fn close<W: Watch>(mut wire: Wire<W>, mut input: Buffer, linger: Option<Linger>) {
    wire.timer.set(Linger::BRIEFLY.silence);
    // A client that is gone need not be told.
    let _ = poll_fn(|cx| wire.poll_finish(cx)).await;
    let Some(linger) = linger.or(wire.is_refused().then_some(Linger::BRIEFLY)) else { return };
    wire.timer.end_at(Some(wire.timer.clock().due(linger.whole)));
    let mut heard = 0;
    while heard < linger.bytes {
        wire.timer.set(linger.silence);
        match wire.pass_over(&mut input).await {
            Ok(0) | Err(_) => break,
            Ok(more) => heard += more,
        }
    }
}

/// Whether bytes behind those that are `known` can make a difference to a head: a line ends among them, or is longer than it may be,
/// or the head is. One that comes byte by byte would else be read from its beginning for each.
fn may_tell_more(bytes: &[u8], known: usize, limits: &Limits) -> bool {
    let becomes_long = (known..bytes.len()).contains(&(limits.line + LINE_END));
    let ends_line = || bytes.get(known..).is_some_and(|news| news.contains(&b'\n'));
    known == 0 || becomes_long || bytes.len() > limits.head || ends_line()
}

fn count_handshake(counts: &WorkerCounts, tls: &Connection) {
    let [older, newer] = &counts.handshakes;
    if tls_name(tls) == "TLSv1.3" {
        newer.add(1);
    } else {
        older.add(1);
    }
    counts.resumed.add((tls.handshake_kind() == Some(HandshakeKind::Resumed)).into());
}

async fn read_proxy_header<W: Watch>(wire: &mut Wire<W>, input: &mut Buffer) -> io::Result<Proxied> {
    loop {
        let read = proxy_protocol::parse(input.bytes());
        if let Some((proxied, len)) =
            read.map_err(|refusal| io::Error::new(io::ErrorKind::InvalidData, refusal))?
        {
            input.consume(len);
            return Ok(proxied);
        }
        if wire.fill(input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// What the client's certificate tells, if the listener asks for one and it has shown one.
fn identify<W: Watch>(peer: Peer, wire: &Wire<W>, listener: &Listener) -> Peer {
    let asked = listener.config.tls.as_ref().and_then(|tls| tls.client.as_ref());
    match asked.zip(wire.tls().and_then(client_cert)) {
        Some((asked, value)) => peer.with_certificate(&asked.field, &value),
        None => peer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_again_where_a_line_ends_or_is_too_long() {
        let limits = Limits { line: 20, head: 40, ..Limits::DEFAULT };
        let mut head = b"GET /a HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
        head.resize(45, b'x');
        let read: Vec<_> =
            (1..=head.len()).filter(|&len| may_tell_more(&head[..len], len - 1, &limits)).collect();
        // The first byte, the ends of two lines, the longest line but one byte, and what is beyond the whole.
        assert_eq!(read, [1, 17, 23, 26, 41, 42, 43, 44, 45]);
        assert!(may_tell_more(&head[..20], 5, &limits), "an end of a line among others");
        assert!(!may_tell_more(&head[..15], 5, &limits), "no end of a line among others");
    }
}
