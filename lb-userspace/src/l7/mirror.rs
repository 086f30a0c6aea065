//! Copies of requests for a second service, whose answers nobody sees.
//!
//! A copy goes its own way on a task of its own, so nothing of the client's exchange waits for it or hears of it. A request
//! without a body is copied when it comes; one with a body when the first service has answered it, from what was
//! recorded as it passed. What cannot be copied at little cost is not: bodies longer than [`LONGEST`] or of HTTP/2, upgrades, what
//! goes to a service that speaks HTTP/2, more copies under way than [`MOST`], and anything while memory is tight.

use super::answer::{self, Towards};
use super::ask::{Ask, Rendered};
use super::http1::{CHUNK_END, Chunk, Chunked, Framing, chunk_line};
use super::memory;
use super::pool::{Age, Upstream, Way};
use super::respond::Failure;
use super::transport::Watch;
use super::turn::{Gone, Turn};
use super::worker::{Worker, count};
use std::rc::Rc;
use tokio::task::spawn_local;

/// Bytes of a body that are copied: forms and calls of interfaces, not uploads.
pub(super) const LONGEST: usize = 64 << 10;
/// Copies under way in each worker. A second service that hangs holds no more than these.
pub(super) const MOST: u32 = 256;

/// A body as it passes.
#[derive(Debug, Default)]
pub struct Tape {
    bytes: Vec<u8>,
    is_over: bool,
}

impl Tape {
    /// Notes the next piece. A body that grows too long is forgotten.
    pub fn record(&mut self, piece: &[u8]) {
        self.is_over |= self.bytes.len() + piece.len() > LONGEST;
        if self.is_over {
            self.clear();
        } else {
            memory::take(piece.len());
            self.bytes.extend_from_slice(piece);
        }
    }

    /// All of it, framed as the head says, if it was not too long.
    #[must_use]
    pub fn framed(&self, framing: Framing) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        match framing {
            _ if self.is_over => return None,
            Framing::Chunked if self.bytes.is_empty() => body.extend_from_slice(b"0\r\n\r\n"),
            Framing::Chunked => {
                chunk_line(&mut body, self.bytes.len());
                body.extend_from_slice(&self.bytes);
                body.extend_from_slice(CHUNK_END);
                body.extend_from_slice(b"0\r\n\r\n");
            }
            _ => body.extend_from_slice(&self.bytes),
        }
        Some(body)
    }

    fn clear(&mut self) {
        memory::give_back(self.bytes.len());
        self.bytes = Vec::new();
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Sends a copy, which has this body and, if the service wants one, this PROXY header. `None` for a body that was not
/// recorded whole.
pub(super) fn send<W: Watch>(
    worker: &Rc<Worker<W>>,
    mut copy: Box<Ask<W>>,
    body: Option<Vec<u8>>,
    header: Option<Vec<u8>>,
) {
    let under_way = worker.copies.get();
    let Some(body) = body.filter(|_| under_way < MOST && worker.gauge.excess().is_none()) else {
        return count(&worker.counters.uncopied);
    };
    let Rendered::Text(head) = &mut copy.head else { return count(&worker.counters.uncopied) };
    head.extend_from_slice(&body);
    worker.copies.set(under_way + 1);
    let worker = Rc::clone(worker);
    spawn_local(async move {
        let outcome = carry(&worker, &copy, header).await;
        count(if outcome.is_ok() { &worker.counters.copied } else { &worker.counters.uncopied });
        worker.copies.set(worker.copies.get().saturating_sub(1));
    });
}

async fn carry<W: Watch>(
    worker: &Rc<Worker<W>>,
    copy: &Ask<W>,
    header: Option<Vec<u8>>,
) -> Result<(), Failure> {
    let mut turn = Turn::take(worker, copy, None).await?;
    let answered = exchange(worker, copy, &turn, header).await;
    match answered {
        Ok(status) => _ = turn.note_answer(status, Gone::AtOnce),
        Err(failure) => turn.note_failure(failure),
    }
    answered.map(|_| ())
}

/// Asks, and hears the answer out within the time that the service has for its first byte and then for a pause.
async fn exchange<W: Watch>(
    worker: &Rc<Worker<W>>,
    copy: &Ask<W>,
    turn: &Turn<W>,
    header: Option<Vec<u8>>,
) -> Result<u16, Failure> {
    let config = &copy.upstreams.service.config;
    let mut upstream = reach(worker, copy, turn, header).await?;
    let patience = config.deadlines.first_byte + config.deadlines.idle;
    upstream.wire.timer.end_at(Some(worker.clock.due(patience)));
    upstream.wire.write_all(copy.head.text()).await.map_err(|_| Failure::BackendEnded)?;
    let (status, body, keeps) = loop {
        let towards = Towards { https: false, hsts: None, date: "" };
        match answer::read(upstream.input.bytes(), copy, towards)? {
            Some((len, answer)) => {
                upstream.input.consume(len);
                if !answer.is_interim() {
                    break (answer.status, answer.from, answer.keeps_upstream && !answer.is_private);
                }
            }
            None => more(&mut upstream).await?,
        }
    };
    hear_out(&mut upstream, body).await?;
    if keeps && config.proxy_protocol.is_none() && body != Framing::UntilClose {
        upstream.keep(&config.pool);
    }
    Ok(status)
}

async fn reach<W: Watch>(
    worker: &Rc<Worker<W>>,
    copy: &Ask<W>,
    turn: &Turn<W>,
    header: Option<Vec<u8>>,
) -> Result<Upstream<W>, Failure> {
    let pool = &turn.pool;
    let config = &copy.upstreams.service.config;
    if config.proxy_protocol.is_none()
        && let Some(kept) = pool.take(true, config.pool.lifetime)
    {
        return Ok(kept.private(copy.is_private));
    }
    let tls = copy.upstreams.tls();
    let way = Way {
        clock: &worker.clock,
        within: config.deadlines.connect,
        age: Age::new(worker.clock.now(), worker.draw_half()),
        header,
        tls: tls.as_ref(),
        is_alone: true,
    };
    Ok(pool.connect(&way).await?.private(copy.is_private))
}

async fn more<W: Watch>(upstream: &mut Upstream<W>) -> Result<(), Failure> {
    match upstream.wire.fill(&mut upstream.input).await {
        Ok(1..) => Ok(()),
        _ if upstream.wire.timer.has_expired() => Err(Failure::SlowBackend),
        _ => Err(Failure::BackendEnded),
    }
}

/// Reads a body to its end and forgets it.
async fn hear_out<W: Watch>(upstream: &mut Upstream<W>, body: Framing) -> Result<(), Failure> {
    match body {
        // The connection ends with it, and that it may do at once.
        Framing::UntilClose => Ok(()),
        Framing::Chunked => hear_chunks(upstream).await,
        Framing::Length(mut left) => loop {
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(upstream.input.len());
            upstream.input.consume(now);
            left -= now as u64;
            if left == 0 {
                return Ok(());
            }
            more(upstream).await?;
        },
    }
}

async fn hear_chunks<W: Watch>(upstream: &mut Upstream<W>) -> Result<(), Failure> {
    let mut chunked = Chunked::default();
    loop {
        match chunked.next(upstream.input.bytes()).map_err(Failure::BadAnswer)? {
            Chunk::Partial => more(upstream).await?,
            Chunk::Frame(count) | Chunk::Data(count) => upstream.input.consume(count),
            Chunk::End(count) => {
                upstream.input.consume(count);
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taped(pieces: &[&[u8]]) -> Tape {
        let mut tape = Tape::default();
        for piece in pieces {
            tape.record(piece);
        }
        tape
    }

    #[test]
    fn a_body_is_framed_as_its_head_says() {
        let tape = taped(&[b"hello", b", world"]);
        assert_eq!(tape.framed(Framing::Length(12)).unwrap(), b"hello, world");
        assert_eq!(tape.framed(Framing::Chunked).unwrap(), b"c\r\nhello, world\r\n0\r\n\r\n");
        assert_eq!(taped(&[]).framed(Framing::Chunked).unwrap(), b"0\r\n\r\n");
    }

    #[test]
    fn a_body_that_is_too_long_is_forgotten_for_good() {
        let tape = taped(&[&vec![0; LONGEST], b"x", b"y"]);
        assert!(tape.framed(Framing::Chunked).is_none() && tape.bytes.is_empty());
    }
}
