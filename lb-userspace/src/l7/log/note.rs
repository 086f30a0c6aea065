//! What a line tells of a request, copied while the request is at hand.

use super::{Field, Plan};
use crate::l7::account::{AsSent, Who, tls_name};
use crate::l7::message::Fields;
use crate::l7::rewrite::{Peer, request_id};
use std::net::SocketAddr;

/// Longer values are cut: a line is for people and their tools, not for keeping what clients make up.
const LONGEST: usize = 2048;

/// Pieces of a request. Used again for the next one, so that its memory is.
#[derive(Debug)]
pub struct Note {
    text: Vec<u8>,
    fields: [Span; Field::COUNT],
    headers: Vec<Span>,
    pub(super) client: SocketAddr,
}

/// A piece of the text; an empty one is as good as none.
type Span = (u32, u32);

impl Default for Note {
    fn default() -> Self {
        let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
        Self { text: Vec::new(), fields: [(0, 0); Field::COUNT], headers: Vec::new(), client: nobody }
    }
}

impl Note {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.headers.clear();
        self.fields = [(0, 0); Field::COUNT];
    }

    /// Who asks, and of which listener. Forgets all else.
    pub fn arrive(&mut self, listener: &str, who: Who<'_>) {
        self.clear();
        self.client = who.client;
        self.put(Field::Client, who.peer.address().as_bytes());
        self.put(Field::Listener, listener.as_bytes());
        if let Some(tls) = who.tls {
            self.put(Field::Tls, tls_name(tls).as_bytes());
            if let rustls::Connection::Server(server) = tls {
                self.put(Field::Sni, server.server_name().unwrap_or_default().as_bytes());
            }
        }
    }

    /// What is asked.
    pub fn read<F: Fields + ?Sized>(
        &mut self,
        asked: &AsSent<'_, F>,
        plan: &Plan,
        peer: &Peer,
        random: u128,
    ) {
        self.put(Field::Method, asked.method.as_bytes());
        self.put(Field::Host, asked.host.as_bytes());
        self.put(Field::Path, asked.path.as_bytes());
        self.put(Field::Query, asked.query.unwrap_or_default().as_bytes());
        self.put(Field::Protocol, asked.protocol.as_bytes());
        match asked.fields.first("x-request-id").filter(|id| peer.is_trusted() && !id.is_empty()) {
            Some(kept) => self.put(Field::RequestId, kept),
            None => self.put(Field::RequestId, request_id(random).as_flattened()),
        }
        for name in plan.headers() {
            let span = self.keep(asked.fields.first(name).unwrap_or_default());
            self.headers.push(span);
        }
    }

    /// Notes a value. The last one counts.
    pub fn put(&mut self, field: Field, value: &[u8]) {
        let span = self.keep(value);
        if let Some(place) = self.fields.get_mut(field as usize) {
            *place = span;
        }
    }

    fn keep(&mut self, value: &[u8]) -> Span {
        let kept = value.get(..LONGEST).unwrap_or(value);
        let begin = self.text.len();
        self.text.extend_from_slice(kept);
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        (place(begin), place(self.text.len()))
    }

    /// A value; an empty one if there is none.
    pub(super) fn field(&self, field: Field) -> &[u8] {
        self.fields.get(field as usize).map_or(&[], |span| self.piece(*span))
    }

    /// The value of a field of the request, by its place among those that the plan names.
    pub(super) fn header(&self, at: usize) -> &[u8] {
        self.headers.get(at).map_or(&[], |span| self.piece(*span))
    }

    fn piece(&self, (begin, end): Span) -> &[u8] {
        let place = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        self.text.get(place(begin)..place(end)).unwrap_or_default()
    }
}
