//! A body on its way from one end of an exchange to the other, where the two do not both speak HTTP/1.1 (that is
//! [`pump`](super::pump)'s). Pieces pass as they come; no more is taken than the receiver has room for, and what was not
//! passed on is not acknowledged to its sender, so that memory does not grow with the body.

use super::respond::Failure;
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use std::task::{Context, Poll, ready};

/// Whether a field of this name may stand behind a body.
pub(super) type Passes<'a> = &'a dyn Fn(&str) -> bool;

/// What comes next of a body.
#[derive(Debug)]
pub(super) enum Piece {
    /// Some of its data.
    Data(Bytes),
    /// Its end, with fields behind it.
    Trailers(HeaderMap),
    /// Its end.
    End,
}

/// Where a body comes from.
pub(super) trait Source {
    /// Waits for the next piece.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Failure>>;

    /// Whether nothing follows the piece that came last, not even trailers.
    fn has_ended(&self) -> bool;

    /// So many bytes were passed on: as many more may come.
    fn release(&mut self, bytes: usize);

    /// The receiver has no room: what has come may have to wait for long.
    fn gather(&mut self, _cx: &mut Context<'_>) {}

    /// What the wait for the next piece has lasted so far shall not count.
    fn wait_anew(&mut self);
}

/// Where a body goes.
pub(super) trait Sink {
    /// Waits for room, for so many bytes if it can be had.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Failure>>;

    /// Takes a piece that there is room for, the last one perhaps.
    fn put(&mut self, data: Bytes, is_last: bool) -> Result<(), Failure>;

    /// Ends the body.
    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Failure>;

    /// Waits until nothing of what was taken depends on us.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>>;
}

/// Why a body did not come through, by who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Who sends it.
    Sender(Failure),
    /// Who receives it.
    Receiver(Failure),
}

/// A body on its way.
#[derive(Debug)]
pub(super) struct Carry {
    held: Bytes,
    has_ended: bool,
    /// Bytes that may come.
    limit: u64,
    came: u64,
}

impl Carry {
    /// A body of at most so many bytes, from its beginning.
    pub(super) const fn new(limit: u64) -> Self {
        Self { held: Bytes::new(), has_ended: false, limit, came: 0 }
    }

    /// Bytes that have come.
    pub(super) const fn came(&self) -> u64 {
        self.came
    }

    /// Whether its end was passed on.
    pub(super) const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Passes pieces on until the end has gone, or one side has to be waited for.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl Source,
        to: &mut impl Sink,
        passes: Passes<'_>,
    ) -> Poll<Result<(), Cut>> {
        loop {
            if !self.held.is_empty() {
                let Poll::Ready(outcome) = self.poll_pass(cx, from, to) else {
                    from.gather(cx);
                    return Poll::Pending;
                };
                outcome.map_err(Cut::Receiver)?;
            } else if self.has_ended {
                return to.poll_flush(cx).map_err(Cut::Receiver);
            } else {
                let Poll::Ready(piece) = from.poll_piece(cx) else {
                    // What is there must not wait for what is not.
                    let _ = to.poll_flush(cx).map_err(Cut::Receiver)?;
                    return Poll::Pending;
                };
                self.take(piece.map_err(Cut::Sender)?, from.has_ended(), to, passes)?;
            }
        }
    }

    fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl Source,
        to: &mut impl Sink,
    ) -> Poll<Result<(), Failure>> {
        let room = ready!(to.poll_room(cx, self.held.len()))?;
        let piece = self.held.split_to(room.min(self.held.len()));
        let count = piece.len();
        self.has_ended = self.held.is_empty() && from.has_ended();
        to.put(piece, self.has_ended)?;
        from.release(count);
        Poll::Ready(Ok(()))
    }

    fn take(
        &mut self,
        piece: Piece,
        is_last: bool,
        to: &mut impl Sink,
        passes: Passes<'_>,
    ) -> Result<(), Cut> {
        let trailers = match piece {
            Piece::Data(data) if !data.is_empty() || !is_last => {
                self.came += data.len() as u64;
                if self.came > self.limit {
                    return Err(Cut::Sender(Failure::BodyTooLong));
                }
                self.held = data;
                return Ok(());
            }
            Piece::Trailers(trailers) => passing(trailers, passes),
            Piece::Data(_) | Piece::End => None,
        };
        self.has_ended = true;
        to.end(trailers).map_err(Cut::Receiver)
    }
}

/// The fields that may stand behind the body, if there are any.
fn passing(mut trailers: HeaderMap, passes: Passes<'_>) -> Option<HeaderMap> {
    let unwanted: Vec<HeaderName> = trailers.keys().filter(|name| !passes(name.as_str())).cloned().collect();
    for name in unwanted {
        trailers.remove(name);
    }
    (!trailers.is_empty()).then_some(trailers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A sender of these pieces, and what it was told of.
    struct Script(VecDeque<Piece>, usize);

    impl Source for Script {
        fn poll_piece(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Piece, Failure>> {
            self.0.pop_front().map_or(Poll::Pending, |piece| Poll::Ready(Ok(piece)))
        }

        fn has_ended(&self) -> bool {
            self.0.is_empty()
        }

        fn release(&mut self, bytes: usize) {
            self.1 += bytes;
        }

        fn wait_anew(&mut self) {}
    }

    /// A receiver with so much room at a time, and what it has taken.
    struct Narrow(usize, Vec<String>);

    impl Sink for Narrow {
        fn poll_room(&mut self, _cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Failure>> {
            if self.0 == 0 { Poll::Pending } else { Poll::Ready(Ok(wanted.min(self.0))) }
        }

        fn put(&mut self, data: Bytes, is_last: bool) -> Result<(), Failure> {
            self.1.push(format!("{}{}", String::from_utf8_lossy(&data), if is_last { "." } else { "" }));
            Ok(())
        }

        fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Failure> {
            self.1.push(format!("end, {} trailers", trailers.map_or(0, |trailers| trailers.len())));
            Ok(())
        }

        fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
            Poll::Ready(Ok(()))
        }
    }

    fn data(text: &'static str) -> Piece {
        Piece::Data(Bytes::from_static(text.as_bytes()))
    }

    /// What becomes of these pieces: the outcome, what was taken, and how much was released.
    fn carry(pieces: Vec<Piece>, room: usize, limit: u64) -> (Poll<Result<(), Cut>>, Vec<String>, usize) {
        let (mut from, mut to) = (Script(pieces.into(), 0), Narrow(room, Vec::new()));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let outcome = Carry::new(limit).poll(&mut cx, &mut from, &mut to, &|name| name != "secret");
        (outcome, to.1, from.1)
    }

    #[test]
    fn pieces_are_cut_to_the_room_there_is_and_the_last_one_says_so() {
        let (outcome, taken, released) = carry(vec![data("hello"), data("you")], 3, 8);
        assert_eq!(outcome, Poll::Ready(Ok(())));
        assert_eq!((taken.join("|").as_str(), released), ("hel|lo|you.", 8));
    }

    #[test]
    fn nothing_is_released_that_was_not_passed_on() {
        let (outcome, taken, released) = carry(vec![data("hello")], 0, 8);
        assert_eq!((outcome, taken.len(), released), (Poll::Pending, 0, 0));
    }

    #[test]
    fn trailers_and_empty_ends_end_the_body() {
        let mut fields = HeaderMap::new();
        fields.insert("grpc-status", "0".parse().unwrap());
        fields.insert("secret", "1".parse().unwrap());
        let (_, taken, _) = carry(vec![data("a"), Piece::Trailers(fields)], 9, 9);
        assert_eq!(taken, ["a", "end, 1 trailers"]);
        let (_, taken, _) = carry(vec![data("")], 9, 9);
        assert_eq!(taken, ["end, 0 trailers"]);
    }

    #[test]
    fn a_body_that_is_too_long_is_its_sender_s_fault() {
        let (outcome, taken, _) = carry(vec![data("hello")], 9, 4);
        assert_eq!((outcome, taken.len()), (Poll::Ready(Err(Cut::Sender(Failure::BodyTooLong))), 0));
    }
}
