//! The far end that is a stream of a backend's connection.

use super::end::{Incoming, Outgoing, Pause};
use super::head::check_names;
use super::shared::Place;
use super::websocket;
use crate::l7::answer::Told;
use crate::l7::ask::{Ask, Facts, Rendered};
use crate::l7::attempt::Lost;
use crate::l7::carry::{Piece, Sink, Source};
use crate::l7::converse::{Begin, Far, Near};
use crate::l7::http1::{Framing, Refusal, parse_length};
use crate::l7::pace::Mark;
use crate::l7::respond::Failure;
use crate::l7::textual::Blame;
use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, StatusCode};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// A stream to a backend.
#[derive(Debug)]
pub(in crate::l7) struct Remote {
    answer: ResponseFuture,
    outgoing: Outgoing,
    /// There once the answer's head has come, unless that is all of it.
    incoming: Option<Incoming>,
    /// Whether the request was whole with its head.
    is_whole: bool,
    pause: Pause,
    within: Option<Duration>,
    patience: Duration,
    /// Whether the backend said that it has not looked at the request.
    is_untouched: bool,
    /// Whether the backend ended the stream alone: its connection lives.
    was_reset: bool,
    place: Place,
}

impl Remote {
    /// Sends the head of a request.
    pub(in crate::l7) fn new<W>(mut place: Place, ask: &Ask<W>) -> Result<Self, Lost> {
        let Rendered::Fields(request) = &ask.head else {
            return Err(Lost { failure: Failure::Internal, may_repeat: false, was_kept: false });
        };
        let deadlines = &ask.upstreams.service.config.deadlines;
        let is_whole = ask.facts.framing == Framing::NONE && !ask.is_tunnel();
        let sent = place.send.send_request((**request).clone(), is_whole);
        // A fresh connection that ended at once was not asked either.
        let was_kept = place.is_reused();
        let (answer, stream) =
            sent.map_err(|_| Lost { failure: Failure::BackendEnded, may_repeat: true, was_kept })?;
        Ok(Self {
            answer,
            outgoing: Outgoing::new(stream, place.stock(), (deadlines.idle.into(), 0), Blame::BACKEND),
            incoming: None,
            is_whole,
            pause: Pause::default(),
            within: None,
            patience: ask.route.deadlines.idle.unwrap_or(deadlines.idle),
            is_untouched: false,
            was_reset: false,
            place,
        })
    }

    /// A request may be sent again if the backend has not looked at it, or ended without a word and it does no harm twice;
    /// and if no part of its body is gone.
    pub(in crate::l7) fn lost(&self, failure: Failure, facts: &Facts) -> Lost {
        let is_safe = self.is_untouched || facts.is_repeatable();
        let may_repeat = failure == Failure::BackendEnded && self.is_whole && is_safe;
        let was_kept = self.place.is_reused() && (self.is_untouched || !self.was_reset);
        Lost { failure, may_repeat, was_kept }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<RecvStream>, Failure>> {
        let Poll::Ready(answer) = Pin::new(&mut self.answer).poll(cx) else {
            let Some(within) = self.within else { return Poll::Pending };
            ready!(self.pause.poll(cx, within));
            self.place.note_late();
            return Poll::Ready(Err(Failure::SlowBackend));
        };
        Poll::Ready(answer.map_err(|error| {
            self.was_reset = error.is_reset();
            self.is_untouched =
                error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM));
            if error.is_library() { Failure::BadAnswer(Refusal::Status) } else { Failure::BackendEnded }
        }))
    }

    fn begin<W, N: Near<W>>(
        &mut self,
        answer: Response<RecvStream>,
        near: &N,
        ask: &Ask<W>,
    ) -> Result<Begin<N::Head>, Failure> {
        let (mut head, body) = answer.into_parts();
        check_names(&head.headers).map_err(Failure::BadAnswer)?;
        if let (true, true, Rendered::Fields(request)) =
            (ask.is_tunnel(), head.status.is_success(), &ask.head)
        {
            websocket::put_accept(request, &mut head.headers);
            return Ok(self.begin_tunnel(&head.headers, body, near, ask));
        }
        let status = head.status.as_u16();
        let is_head = ask.facts.is_head();
        let is_whole = is_head || matches!(status, 204 | 304) || body.is_end_stream();
        let (framing, length_elsewhere) = frame(&head.headers, status, is_whole, is_head)?;
        let told = Told {
            status,
            fields: &head.headers,
            framing,
            length_elsewhere,
            upgrade: None,
            names_fields: false,
            text: b"",
        };
        let begin = Begin { status, is_whole, head: near.render(&told, ask) };
        if !begin.is_whole {
            self.receive(body);
        }
        Ok(begin)
    }

    /// The backend agrees to speak another protocol, which HTTP/1.1 has a status for.
    fn begin_tunnel<W, N: Near<W>>(
        &mut self,
        fields: &HeaderMap,
        body: RecvStream,
        near: &N,
        ask: &Ask<W>,
    ) -> Begin<N::Head> {
        let told = Told {
            status: 101,
            fields,
            framing: Framing::NONE,
            length_elsewhere: None,
            upgrade: Some(b"websocket"),
            names_fields: false,
            text: b"",
        };
        self.receive(body);
        Begin { status: 101, is_whole: false, head: near.render(&told, ask) }
    }

    fn receive(&mut self, body: RecvStream) {
        let wait = (self.patience.into(), 0);
        self.incoming = Some(Incoming::new(body, self.place.stock(), wait, Blame::BACKEND));
    }
}

/// Where an answer's body ends, and the length that one would have that is not sent. Without a body by its status, there is none
/// even if the stream goes on: by HTTP/1.1 it would be taken for the next answer.
fn frame(
    fields: &HeaderMap,
    status: u16,
    is_whole: bool,
    is_head: bool,
) -> Result<(Framing, Option<u64>), Failure> {
    let told = fields.get(CONTENT_LENGTH).map(|value| parse_length(value.as_bytes())).transpose();
    let told = told.map_err(Failure::BadAnswer)?;
    Ok(match told {
        length if status == 304 || is_head && status != 204 => (Framing::NONE, length),
        _ if is_whole => (Framing::NONE, None),
        Some(length) => (Framing::Length(length), None),
        None => (Framing::Chunked, None),
    })
}

impl<W> Far<W> for Remote {
    fn await_head(&mut self, within: Duration) {
        self.within = Some(within);
        self.pause.end();
    }

    fn poll_head<N: Near<W>>(
        &mut self,
        cx: &mut Context<'_>,
        near: &N,
        ask: &Ask<W>,
    ) -> Poll<Result<Begin<N::Head>, Failure>> {
        if let Poll::Ready(Some(Ok(interim))) = self.answer.poll_informational(cx) {
            let (head, ()) = interim.into_parts();
            // HTTP/2 has it not (RFC 9113, section 8.6): what the client then said would be taken for another protocol's.
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Poll::Ready(Err(Failure::BadAnswer(Refusal::SwitchUnasked)));
            }
            let told = Told {
                status: head.status.as_u16(),
                fields: &head.headers,
                framing: Framing::NONE,
                length_elsewhere: None,
                upgrade: None,
                names_fields: false,
                text: b"",
            };
            let begin = Begin { status: told.status, is_whole: true, head: near.render(&told, ask) };
            return Poll::Ready(Ok(begin));
        }
        let answer = ready!(self.poll_answer(cx))?;
        self.pause.end();
        Poll::Ready(self.begin(answer, near, ask))
    }
}

impl Source for Remote {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Failure>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(Ok(Piece::End)) };
        incoming.poll_piece(cx, Mark::default())
    }

    fn has_ended(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::has_ended)
    }

    fn release(&mut self, bytes: usize) {
        self.incoming.iter_mut().for_each(|incoming| incoming.release(bytes));
    }

    fn gather(&mut self, cx: &mut Context<'_>) {
        self.incoming.iter_mut().for_each(|incoming| incoming.gather(cx));
    }

    fn wait_anew(&mut self) {
        self.incoming.iter_mut().for_each(Incoming::wait_anew);
    }
}

impl Sink for Remote {
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Failure>> {
        self.outgoing.poll_room(cx, wanted, Mark::default())
    }

    fn put(&mut self, data: Bytes, is_last: bool) -> Result<(), Failure> {
        self.outgoing.put(data, is_last)
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Failure> {
        if self.is_whole { Ok(()) } else { self.outgoing.end(trailers) }
    }

    /// What `h2` took it sends by itself.
    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }
}
