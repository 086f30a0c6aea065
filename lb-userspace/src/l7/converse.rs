//! An exchange between two ends of which one at least does not speak HTTP/1.1. What the ends have to be able to do is here;
//! what they are is in [`near`](super::near), [`far`](super::far) and [`http2`](super::http2).

use super::answer::Told;
use super::ask::{Ask, Rendered};
use super::carry::{Carry, Cut, Sink, Source};
use super::deadline::Clock;
use super::going::Going;
use super::message::Fields;
use super::respond::Failure;
use super::settings::Route;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;

/// The end that asks.
pub(super) trait Near<W>: Source + Sink {
    /// The head of an answer, as this end is sent it.
    type Head;

    /// Writes the head of an answer.
    fn render<F: Fields + ?Sized>(&self, told: &Told<'_, F>, ask: &Ask<W>) -> Self::Head;

    /// Ready when nobody waits for the answer any more.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Sends a head that another follows.
    async fn tell_interim(&mut self, head: Self::Head) -> Result<(), Failure>;

    /// Sends the head of the answer. `is_whole`: there is no body.
    fn begin(&mut self, head: Self::Head, is_whole: bool) -> Result<(), Failure>;
}

/// The end that answers.
pub(super) trait Far<W>: Source + Sink {
    /// From now on the head of the answer is due within this time.
    fn await_head(&mut self, within: Duration);

    /// Waits for the next head of the answer.
    fn poll_head<N: Near<W>>(
        &mut self,
        cx: &mut Context<'_>,
        near: &N,
        ask: &Ask<W>,
    ) -> Poll<Result<Begin<N::Head>, Failure>>;
}

/// The beginning of an answer.
#[derive(Debug)]
pub(super) struct Begin<H> {
    /// Its status, as the backend said it.
    pub(super) status: u16,
    /// Whether it has no body.
    pub(super) is_whole: bool,
    /// Its head.
    pub(super) head: H,
}

impl<H> Begin<H> {
    const fn is_interim(&self) -> bool {
        matches!(self.status, 100..=199) && self.status != 101
    }
}

/// The body of a request on its way.
#[derive(Debug)]
pub(super) struct Sending {
    carry: Carry,
    /// Whether the head is all there is so far: what follows is for the other protocol.
    is_upgrade: bool,
    going: Going,
}

impl Sending {
    /// The body of this request.
    pub(super) fn new<W>(ask: &Ask<W>) -> Self {
        Self {
            carry: Carry::new(ask.route.body_limit.unwrap_or(u64::MAX)),
            is_upgrade: ask.facts.upgrade && (matches!(ask.head, Rendered::Text(_)) || ask.is_tunnel()),
            going: Going::new(ask),
        }
    }

    /// Whether all of it went.
    pub(super) const fn was_sent(&self) -> bool {
        self.going.is_over() && self.carry.has_ended()
    }

    /// How far it has gone.
    pub(super) const fn going(&self) -> &Going {
        &self.going
    }

    /// Sends what can be sent. Whether the last of it has gone just now. A backend that takes no more may have answered already.
    fn send<W, N: Near<W>, F: Far<W>>(
        &mut self,
        cx: &mut Context<'_>,
        near: &mut N,
        far: &mut F,
        route: &Route,
    ) -> Result<bool, Failure> {
        if self.going.is_over() {
            return Ok(false);
        }
        let sent = if self.is_upgrade {
            far.poll_flush(cx).map_err(Cut::Receiver)
        } else {
            self.carry.poll(cx, near, far, &|name| route.request.passes_behind(name))
        };
        let Poll::Ready(sent) = sent else { return Ok(false) };
        self.going.end();
        match sent {
            Ok(()) | Err(Cut::Receiver(Failure::BackendBroke | Failure::SlowBackend)) => Ok(true),
            Err(Cut::Receiver(failure) | Cut::Sender(failure)) => Err(failure),
        }
    }

    fn await_answer<W>(&self, far: &mut impl Far<W>) {
        if let Some(within) = self.going.answer_due() {
            far.await_head(within);
        }
    }
}

/// Sends the request's body, and waits for the answer's head meanwhile.
pub(super) async fn ask<W, N: Near<W>, F: Far<W>>(
    near: &mut N,
    far: &mut F,
    ask: &Ask<W>,
    sending: &mut Sending,
) -> Result<Begin<N::Head>, Failure> {
    loop {
        let begin = poll_fn(|cx| {
            if near.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Failure::ClientEnded));
            }
            if sending.send(cx, near, far, &ask.route)? {
                sending.await_answer(far);
            }
            far.poll_head(cx, near, ask)
        });
        let begin = begin.await?;
        if !begin.is_interim() {
            return Ok(begin);
        }
        sending.going.promise()?;
        sending.await_answer(far);
        near.tell_interim(begin.head).await?;
    }
}

/// Sends the answer's body on, and the rest of the request meanwhile.
pub(super) async fn answer<W, N: Near<W>, F: Far<W>>(
    near: &mut N,
    far: &mut F,
    ask: &Ask<W>,
    sending: &mut Sending,
) -> Result<(), Cut> {
    let mut carry = Carry::new(u64::MAX);
    poll_fn(|cx| {
        if near.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Cut::Receiver(Failure::ClientEnded)));
        }
        // A backend that waits for the rest of a request that does not come would never end its answer.
        sending.send(cx, near, far, &ask.route).map_err(Cut::Receiver)?;
        carry.poll(cx, far, near, &|name| ask.route.response.passes_behind(name))
    })
    .await
}

/// Passes on what both ends say, whatever it is, until both have ended.
pub(super) async fn tunnel<W, N: Near<W>, F: Far<W>>(near: &mut N, far: &mut F) -> Result<(), Cut> {
    let (mut down, mut up) = (Carry::new(u64::MAX), Carry::new(u64::MAX));
    let mut open = (true, true);
    poll_fn(|cx| {
        // Twice at most, for others wait as well.
        for is_anew in [false, true] {
            if near.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Cut::Receiver(Failure::ClientEnded)));
            }
            let before = (down.came(), up.came());
            if open.0 && down.poll(cx, far, near, &|_| true)?.is_ready() {
                open.0 = false;
            }
            if open.1 && up.poll(cx, near, far, &|_| true)?.is_ready() {
                open.1 = false;
            }
            if open == (false, false) {
                return Poll::Ready(Ok(()));
            }
            if is_anew || before == (down.came(), up.came()) {
                break;
            }
            // A side that only listens is not silent.
            far.wait_anew();
            near.wait_anew();
        }
        Poll::Pending
    })
    .await
}

/// What comes of `work` if it is done before the exchange has to be over. It stays where it is: a future that is handed on is
/// held twice by the one that it was handed to.
pub(super) async fn in_time<T>(
    end: Option<u32>,
    clock: &Clock,
    work: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    match end {
        None => Some(work.await),
        Some(tick) => timeout(clock.until(tick), work).await.ok(),
    }
}
