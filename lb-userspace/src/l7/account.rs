//! What an exchange did, from its request's first byte to its answer's last: noted on its way by whoever knows, and closed in
//! one place, where it is counted and logged.
//!
//! An account belongs to whatever carries one exchange after the other: a connection of HTTP/1.1, a stream of HTTP/2. It is
//! begun for each exchange and closed at its end; one that is dropped open, for its connection went, is closed by that.
//!
//! Counts go to cells of this worker's own (see [`super::tally`]). What only the log needs is noted only where there is a log.

use super::http1::{Head, Version};
use super::log::{Closing, Desk, Field, Note, Plan};
use super::message::Fields;
use super::pump::Broken;
use super::respond::Failure;
use super::rewrite::Peer;
use super::settings::{Listener, Route};
use super::tally::{PerWorker, RouteCounts, RouteTally};
use super::worker::Counters;
use rustls::{Connection, ProtocolVersion};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where a worker's accounts go.
#[derive(Debug)]
pub struct Books {
    /// What the worker has done.
    pub counters: Arc<Counters>,
    /// Its part of the log.
    pub desk: Desk,
}

/// An exchange's account.
#[derive(Debug)]
pub struct Account {
    books: Rc<Books>,
    /// Where the exchange counts unless a route takes it.
    listener: Counted,
    route: Counted,
    is_open: bool,
    is_routed: bool,
    plan: Option<Arc<Plan>>,
    note: Option<Box<Note>>,
    began: Instant,
    did: Did,
}

/// What is known of an exchange by and by.
#[derive(Clone, Copy, Debug, Default)]
struct Did {
    status: u16,
    retries: u16,
    received: u64,
    sent: u64,
    upstream: Option<Duration>,
    failure: Option<Failure>,
}

/// This worker's cells of the tally that was used last: as a rule it is the next one, too.
#[derive(Debug, Default)]
struct Counted(Option<(RouteTally, Arc<RouteCounts>)>);

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// The client.
    pub client: SocketAddr,
    /// The same, as backends are told.
    pub peer: &'a Peer,
    /// TLS, where it is spoken.
    pub tls: Option<&'a Connection>,
}

/// A request's line and fields, whichever codec read them, as they were sent.
#[derive(Debug)]
pub struct AsSent<'a, F: ?Sized> {
    /// The method.
    pub method: &'a str,
    /// The host, in lower case.
    pub host: &'a str,
    /// The path.
    pub path: &'a str,
    /// What stands behind `?`.
    pub query: Option<&'a str>,
    /// Such as `HTTP/1.1`.
    pub protocol: &'static str,
    /// The fields.
    pub fields: &'a F,
}

impl<'a, 'b> AsSent<'a, [httparse::Header<'b>]> {
    /// What a head of HTTP/1 asks.
    #[must_use]
    pub fn by(head: &'a Head<'b, 'a>) -> Self {
        Self {
            method: head.method,
            host: head.authority.host(),
            path: head.path_as_sent(),
            query: head.query,
            protocol: if head.version == Version::V10 { "HTTP/1.0" } else { "HTTP/1.1" },
            fields: head.fields,
        }
    }
}

impl Account {
    /// An account for one exchange after the other.
    #[must_use]
    pub fn new(books: Rc<Books>) -> Self {
        Self {
            books,
            listener: Counted::default(),
            route: Counted::default(),
            is_open: false,
            is_routed: false,
            plan: None,
            note: None,
            began: Instant::now(),
            did: Did::default(),
        }
    }

    /// The first byte of a request has come.
    pub fn begin(&mut self) {
        self.close();
        (self.is_open, self.is_routed, self.began, self.did) = (true, false, Instant::now(), Did::default());
    }

    /// Whom the request is from and for. To be called for each before it is read.
    pub fn arrive(&mut self, listener: &Listener, who: Who<'_>) {
        self.listener.follow(&listener.unrouted, self.books.counters.number);
        if self.plan.as_ref().map(Arc::as_ptr) != listener.log.as_ref().map(Arc::as_ptr) {
            self.plan.clone_from(&listener.log);
        }
        if self.plan.is_some() {
            let note = self.note.get_or_insert_with(|| self.books.desk.blank());
            note.arrive(&listener.config.name, who);
        }
    }

    /// The request's line and fields, and the bits that were drawn for its identifier.
    pub fn read<F: Fields + ?Sized>(&mut self, asked: &AsSent<'_, F>, peer: &Peer, random: u128) {
        if let (Some(note), Some(plan)) = (&mut self.note, &self.plan) {
            note.read(asked, plan, peer, random);
        }
    }

    /// The route that takes it.
    pub fn routed(&mut self, route: &Route) {
        self.route.follow(&route.tally, self.books.counters.number);
        self.is_routed = true;
        if !route.log {
            self.books.desk.give_back(self.note.take());
        }
        self.put(Field::Route, route.name.as_bytes());
    }

    /// The service and the backend whose turn it is.
    pub fn turned(&mut self, service: &str, backend: impl FnOnce(&mut Note)) {
        if let Some(note) = &mut self.note {
            note.put(Field::Service, service.as_bytes());
            backend(note);
        }
    }

    fn put(&mut self, field: Field, value: &[u8]) {
        if let Some(note) = &mut self.note {
            note.put(field, value);
        }
    }

    /// It is sent again, to another backend.
    pub const fn retried(&mut self) {
        self.did.retries += 1;
    }

    /// The backend has begun to answer after this time.
    pub const fn answered(&mut self, upstream: Duration) {
        self.did.upstream = Some(upstream);
    }

    /// The status that the client is told.
    pub const fn told(&mut self, status: u16) {
        self.did.status = status;
    }

    /// Why it does not come to its end as it should. The first reason stays.
    pub fn failed(&mut self, failure: Failure) {
        self.did.failure.get_or_insert(failure);
    }

    /// Bytes of bodies that have come from the client and gone to it.
    pub const fn carried(&mut self, received: u64, sent: u64) {
        (self.did.received, self.did.sent) = (received, sent);
    }

    /// Ends the exchange: counts it, and hands its line to the log. Nothing happens to what is closed already.
    pub fn close(&mut self) {
        if !std::mem::take(&mut self.is_open) {
            return;
        }
        let time = self.began.elapsed();
        if self.did.status == 0 {
            // Nothing was told, for there was nobody to tell.
            self.did.status = self.did.failure.map_or(Failure::ClientEnded, |failure| failure).status();
        }
        self.count(time);
        if let (Some(note), Some(plan)) = (self.note.take(), &self.plan) {
            let Did { status, retries, received, sent, upstream, failure } = self.did;
            let failure = failure.map(Failure::label);
            let closing = Closing { note: &note, status, retries, received, sent, time, upstream, failure };
            self.books.desk.enter(plan, &closing, &self.books.counters.tally);
            self.books.desk.give_back(Some(note));
        }
    }

    /// Ends it without a trace: the client began to ask and thought better of it.
    pub fn forget(&mut self) {
        self.is_open = false;
    }

    fn count(&self, time: Duration) {
        if let Some(failure) = self.did.failure {
            self.books.counters.tally.failures.add(failure);
        }
        let counted = if self.is_routed { &self.route } else { &self.listener };
        let Some((_, counts)) = &counted.0 else { return };
        counts.answers.add(self.did.status);
        counts.times.add(time);
        counts.received.add(self.did.received);
        counts.sent.add(self.did.sent);
        counts.retries.add(self.did.retries.into());
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.close();
        self.books.desk.give_back(self.note.take());
    }
}

impl Counted {
    fn follow(&mut self, tally: &RouteTally, worker: usize) {
        if self.0.as_ref().is_none_or(|(last, _)| !Arc::ptr_eq(last, tally)) {
            self.0 = Some((Arc::clone(tally), PerWorker::of(tally, worker)));
        }
    }
}

/// Why an answer broke off, by who was too slow or went away.
#[must_use]
pub const fn blame(broken: &Broken, (client_is_late, backend_is_late): (bool, bool)) -> Failure {
    match broken {
        Broken::Receiver(_) if client_is_late => Failure::SlowReader,
        Broken::Receiver(_) => Failure::ClientEnded,
        Broken::Sender(_) if backend_is_late => Failure::SlowBackend,
        Broken::Sender(_) => Failure::BackendBroke,
        Broken::Framing(refusal) => Failure::BadAnswer(*refusal),
        Broken::TooLong => Failure::BodyTooLong,
    }
}

/// The version of TLS by its usual name.
#[must_use]
pub fn tls_name(connection: &Connection) -> &'static str {
    match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLS",
    }
}
