//! One end of an exchange that is a stream: bodies between `h2` and [`carry`](crate::l7::carry), each with its deadline.

use super::stock::{Entry, Stock};
use crate::l7::carry::{Piece, Source};
use crate::l7::http1::Refusal;
use crate::l7::pace::{Mark, Pace, Wait};
use crate::l7::respond::Failure;
use crate::l7::textual::Blame;
use bytes::{Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// A wait that may last too long. It costs nothing until it begins.
#[derive(Debug, Default)]
pub(super) struct Pause(Option<Pin<Box<Sleep>>>);

impl Pause {
    /// Ready when this time is over since the wait began, which it does with the first call; that call's time counts.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, patience: Duration) -> Poll<()> {
        self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience))).as_mut().poll(cx)
    }

    /// What was waited for has come.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }
}

/// Waits for one direction of a stream.
#[derive(Debug)]
struct Waiting {
    pace: Pace,
    pause: Pause,
}

impl Waiting {
    fn new(wait: Wait, passed: u64) -> Self {
        Self { pace: Pace::new(wait, passed), pause: Pause::default() }
    }

    /// Ready when the wait, which begins with the first call, has lasted for too long.
    fn poll(&mut self, cx: &mut Context<'_>, mark: Mark) -> Poll<()> {
        self.pause.poll(cx, self.pace.begin(mark).unwrap_or_default())
    }

    fn end(&mut self, mark: Mark) {
        if self.pace.end(|| mark.now) {
            self.pause.end();
        }
    }
}

/// The body that comes by a stream.
#[derive(Debug)]
pub(super) struct Incoming {
    /// Dropped before the stream.
    _entry: Option<Entry>,
    stream: RecvStream,
    /// Pieces that came while nobody had room for them.
    gathered: BytesMut,
    waiting: Waiting,
    blame: Blame,
}

impl Incoming {
    pub(super) fn new(
        mut stream: RecvStream,
        stock: &Rc<Stock>,
        (wait, passed): (Wait, u64),
        blame: Blame,
    ) -> Self {
        let entry = stock.enter(&mut stream);
        let (gathered, waiting) = (BytesMut::new(), Waiting::new(wait, passed));
        Self { _entry: entry, stream, gathered, waiting, blame }
    }

    /// How long the next pieces may take.
    pub(super) fn wait_for(&mut self, wait: Wait) {
        self.waiting.pace.change(wait);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.gathered.is_empty() && self.stream.is_end_stream()
    }

    /// What the wait for the next piece has lasted so far shall not count.
    pub(super) fn wait_anew(&mut self) {
        self.waiting.pace.begin_anew();
        self.waiting.pause.end();
    }

    pub(super) fn release(&mut self, bytes: usize) {
        // It fails where more is released than came, which is no peer's doing.
        let _ = self.stream.flow_control().release_capacity(bytes);
    }

    /// Takes what has come out of `h2`, which ends a connection, with whatever else goes by it, where too many small frames wait.
    /// The window that the peer was given bounds how much that is. What else has come shows when the next piece is asked for.
    pub(super) fn gather(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(Ok(data))) = self.stream.poll_data(cx) {
            self.gathered.extend_from_slice(&data);
        }
    }

    /// `mark`: where the bodies are that count for its rate.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>, mark: Mark) -> Poll<Result<Piece, Failure>> {
        let Poll::Ready(piece) = self.poll_next(cx) else {
            return self.waiting.poll(cx, mark).map(|()| Err(self.blame.slow_sender));
        };
        self.waiting.end(mark);
        Poll::Ready(piece.map_err(|error| self.blame(&error)))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, h2::Error>> {
        if !self.gathered.is_empty() {
            return Poll::Ready(Ok(Piece::Data(std::mem::take(&mut self.gathered).freeze())));
        }
        if let Some(data) = ready!(self.stream.poll_data(cx)).transpose()? {
            return Poll::Ready(Ok(Piece::Data(data)));
        }
        let trailers = ready!(self.stream.poll_trailers(cx))?;
        Poll::Ready(Ok(trailers.map_or(Piece::End, Piece::Trailers)))
    }

    /// What `h2` itself finds wrong with a stream that was accepted is the length of its body.
    fn blame(&self, error: &h2::Error) -> Failure {
        if error.is_library() && error.is_reset() {
            (self.blame.malformed)(Refusal::LengthDisagrees)
        } else {
            self.blame.ended
        }
    }
}

/// Of whoever is waited for without a rate.
impl Source for Incoming {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Failure>> {
        Self::poll_piece(self, cx, Mark::default())
    }

    fn has_ended(&self) -> bool {
        Self::has_ended(self)
    }

    fn release(&mut self, bytes: usize) {
        Self::release(self, bytes);
    }

    fn gather(&mut self, cx: &mut Context<'_>) {
        Self::gather(self, cx);
    }

    fn wait_anew(&mut self) {
        Self::wait_anew(self);
    }
}

/// The body that goes by a stream.
#[derive(Debug)]
pub(super) struct Outgoing {
    stream: SendStream<Bytes>,
    stock: Rc<Stock>,
    waiting: Waiting,
    blame: Blame,
}

impl Outgoing {
    pub(super) fn new(
        stream: SendStream<Bytes>,
        stock: &Rc<Stock>,
        (wait, passed): (Wait, u64),
        blame: Blame,
    ) -> Self {
        Self { stream, stock: Rc::clone(stock), waiting: Waiting::new(wait, passed), blame }
    }

    /// Ready when the peer wants no more of the stream, or is gone.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_reset(cx).map(|_| ())
    }

    /// How long room for the next pieces may take.
    pub(super) fn wait_for(&mut self, wait: Wait) {
        self.waiting.pace.change(wait);
    }

    pub(super) fn reset(&mut self, reason: h2::Reason) {
        self.stream.send_reset(reason);
    }

    /// `mark`: where the bodies are that count for its rate.
    pub(super) fn poll_room(
        &mut self,
        cx: &mut Context<'_>,
        wanted: usize,
        mark: Mark,
    ) -> Poll<Result<usize, Failure>> {
        self.stream.reserve_capacity(wanted);
        loop {
            if self.stream.capacity() > 0 {
                self.waiting.end(mark);
                return Poll::Ready(Ok(self.stream.capacity()));
            }
            match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => return Poll::Ready(Err(self.blame.ended)),
                Poll::Pending => {
                    return self.waiting.poll(cx, mark).map(|()| Err(self.blame.slow_reader));
                }
            }
        }
    }

    pub(super) fn put(&mut self, data: Bytes, is_last: bool) -> Result<(), Failure> {
        self.stock.queue(data.len());
        self.stream.send_data(data, is_last).map_err(|_| self.blame.ended)
    }

    pub(super) fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Failure> {
        let ended = match trailers {
            Some(trailers) => self.stream.send_trailers(trailers),
            None => self.stream.send_data(Bytes::new(), true),
        };
        ended.map_err(|_| self.blame.ended)
    }
}
