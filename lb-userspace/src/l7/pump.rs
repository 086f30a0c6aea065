//! One direction of an exchange: a head, then a body, from one connection to the other, as fast as the slower takes it.
//!
//! What was read lies in one buffer until it is written, and no more is read before; so memory does not grow with the
//! body, and a slow reader slows its writer down.

use super::buffer::Buffer;
use super::carry::Passes;
use super::framed::Part;
use super::http1::{Framing, MOST_TRAILERS, Refusal, trailers};
use super::inlet::Inlet;
use super::mirror::Tape;
use super::outlet::Outlet;
use super::pace::Wait;
use super::transport::Watch;
use super::wire::Wire;
use httparse::EMPTY_HEADER;
use std::io;
use std::task::{Context, Poll, ready};

/// A trailer section without fields.
const NO_TRAILERS: &[u8] = b"\r\n";

/// Why a body did not come through.
#[derive(Debug)]
pub enum Broken {
    /// Its sender ended, or failed, before it.
    Sender(Option<io::Error>),
    /// Its sender frames it wrongly.
    Framing(Refusal),
    /// It is longer than allowed.
    TooLong,
    /// Its receiver failed.
    Receiver(io::Error),
}

/// How long each side may let the other wait.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the next bytes of the body.
    pub read: Wait,
    /// For room to write them.
    pub write: Wait,
}

/// A head and a body under way.
#[derive(Debug)]
pub struct Pump {
    inlet: Inlet,
    outlet: Outlet,
    /// Bytes of the buffer to write next.
    data: usize,
    chunks: bool,
    /// Bytes of body that may still come.
    limit: u64,
    tape: Option<Tape>,
}

impl Pump {
    /// A head as it shall be written, and how the body behind it is framed where it comes from and where it goes.
    #[must_use]
    pub fn new(head: Vec<u8>, from: Framing, to: Framing, patience: Patience) -> Self {
        Self {
            inlet: Inlet::new(from, patience.read),
            outlet: Outlet::new(head, patience.write),
            data: 0,
            chunks: matches!(to, Framing::Chunked),
            limit: u64::MAX,
            tape: None,
        }
    }

    /// Lets no more than so many bytes of body through.
    #[must_use]
    pub const fn at_most(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Records the body as it passes.
    #[must_use]
    pub fn recording(mut self) -> Self {
        self.tape = Some(Tape::default());
        self
    }

    /// What was recorded.
    #[must_use]
    pub const fn tape(&self) -> Option<&Tape> {
        self.tape.as_ref()
    }

    /// Whether the end of the body was read, if not yet written.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.inlet.has_ended()
    }

    /// Whether all of the head and the body was written.
    #[must_use]
    pub const fn is_through(&self) -> bool {
        self.has_ended() && self.data == 0 && self.outlet.is_empty(0)
    }

    /// Bytes of body that have been written, those of a piece under way included.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.outlet.passed(self.data)
    }

    /// What the wait for the next bytes has lasted so far shall not count.
    pub const fn wait_anew(&mut self) {
        self.inlet.wait_anew();
    }

    /// The head again, to send it elsewhere, if there was no body behind it.
    #[must_use]
    pub fn into_head(self) -> Vec<u8> {
        self.outlet.into_head()
    }

    /// Moves bytes until all have gone, or one side has to be waited for.
    pub fn poll<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        (from, input): (&mut Wire<W>, &mut Buffer),
        to: &mut Wire<W>,
        passes: Passes<'_>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            if self.data == 0 && !self.has_ended() {
                self.stage(input, passes)?;
            }
            if !self.outlet.is_empty(self.data) {
                ready!(self.poll_write(cx, input, to)).map_err(Broken::Receiver)?;
            } else if self.has_ended() {
                return self.outlet.poll_flush(cx, to).map_err(Broken::Receiver);
            } else {
                ready!(self.poll_read(cx, from, input, to))?;
            }
        }
    }

    /// Finds what of the buffer can be written next.
    fn stage(&mut self, input: &mut Buffer, passes: Passes<'_>) -> Result<(), Broken> {
        match self.inlet.next(input).map_err(Broken::Framing)? {
            Part::More => {}
            Part::Data(count) => {
                self.put(count)?;
                if let Some(tape) = &mut self.tape {
                    tape.record(input.bytes().get(..count).unwrap_or_default());
                }
            }
            Part::End(section) if section == NO_TRAILERS => self.end(),
            Part::End(section) => self.end_with(&section, passes),
        }
        Ok(())
    }

    /// Has bytes of the buffer written next.
    fn put(&mut self, count: usize) -> Result<(), Broken> {
        self.limit = self.limit.checked_sub(count as u64).ok_or(Broken::TooLong)?;
        self.data = count;
        if self.chunks && count > 0 {
            self.outlet.begin_chunk(count);
        }
        Ok(())
    }

    /// The body has ended; a chunked one tells so.
    fn end(&mut self) {
        if self.chunks {
            self.outlet.end_chunks();
        }
    }

    /// The same, with the fields of this section that may stand there. It was read before, or it would not be known to have ended.
    #[cold]
    fn end_with(&mut self, section: &[u8], passes: Passes<'_>) {
        if self.chunks {
            let mut room = [EMPTY_HEADER; MOST_TRAILERS];
            let fields = trailers(section, &mut room).unwrap_or_default().iter();
            let passing = fields.filter(|field| passes(field.name));
            self.outlet.end_chunks_with(passing.map(|field| (field.name, field.value)));
        }
    }

    fn poll_write<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Buffer,
        to: &mut Wire<W>,
    ) -> Poll<io::Result<()>> {
        ready!(self.outlet.poll_write(cx, input.slice(self.data), to))?;
        input.consume(self.data);
        self.data = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_read<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Wire<W>,
        input: &mut Buffer,
        to: &mut Wire<W>,
    ) -> Poll<Result<(), Broken>> {
        let Poll::Ready(filled) = self.inlet.poll_fill(cx, from, input) else {
            // What TLS has not got rid of must not wait for the next bytes.
            let _ = to.poll_flush(cx).map_err(Broken::Receiver)?;
            return Poll::Pending;
        };
        filled.map_err(Broken::Sender)?;
        if self.has_ended() {
            self.end();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::deadline::Clock;
    use crate::l7::transport::{Epoll, Ring, Stream};
    use std::future::poll_fn;
    use std::net::{TcpListener, TcpStream};
    use std::rc::Rc;
    use std::time::Duration;

    /// One end of a connection, and the other one.
    fn wire<W: Watch>(clock: &Rc<Clock>) -> (Wire<W>, socket2::Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = Rc::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap().into());
        let timer = clock.watch(Rc::clone(&near));
        (Wire::plain(Stream::accepted(near).unwrap(), timer), listener.accept().unwrap().0.into())
    }

    /// What stays in the client's buffer would be taken for the next request (RFC 9112, section 6.3).
    #[test]
    fn a_body_whose_last_piece_was_not_taken_has_not_gone() {
        async fn case<W: Watch>() {
            let clock = Rc::default();
            let ((mut client, _), (mut backend, gone)) = (wire::<W>(&clock), wire::<W>(&clock));
            gone.set_linger(Some(Duration::ZERO)).unwrap();
            drop(gone);
            let (body, wait) = (Framing::Length(4), Duration::MAX.into());
            let mut pump = Pump::new(b"head".to_vec(), body, body, Patience { read: wait, write: wait });
            let mut input = Buffer::default();
            input.extend(b"body");
            let sent = poll_fn(|cx| pump.poll(cx, (&mut client, &mut input), &mut backend, &|_| true)).await;
            assert!(matches!(sent, Err(Broken::Receiver(_))) && pump.has_ended() && !pump.is_through());
        }
        Epoll::run(case::<Epoll>()).unwrap();
        Ring::run(case::<Ring>()).unwrap();
    }
}
