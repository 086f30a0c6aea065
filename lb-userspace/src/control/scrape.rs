//! Where Prometheus reads metrics: `GET /metrics` and `GET /healthz`, or HEAD, one request a connection, each within a time and a length.
//!
//! It hands requests to the daemon's queue, as the control socket does, and decides nothing. A scraper that is slow, or one that
//! comes in hundreds, costs nobody anything: where all places are taken, who says nothing makes room for who has come.

use super::server::{Answer, Asked};
use super::{Request, Response};
use crate::l7::http1::{Head, Limits, room};
use crate::observe::page;
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{sleep, timeout};

/// How long a request's head may take to come.
const HEAD: Duration = Duration::from_secs(2);
/// How long an answer may take, from the head's end to its own last byte.
const PATIENCE: Duration = Duration::from_secs(10);
/// Scrapes at a time. There is one of them as a rule.
const MOST: usize = 8;
/// How long a connection has to say something, before it may be ended for another that has come.
const MOMENT: Duration = Duration::from_millis(10);
/// How long a client may take nothing of its answer and keep a place that another wants.
const STUCK: Duration = Duration::from_secs(1);
/// Longest head of a request.
const LONGEST: usize = 8192;
/// Until connections are accepted again after the system refused.
const RETRY: Duration = Duration::from_millis(100);

/// Binds the address.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves scrapes until dropped.
pub async fn serve(listener: TcpListener, queue: mpsc::UnboundedSender<Asked>) {
    let mut places = Places::default();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(RETRY).await;
            continue;
        };
        if places.has_room().await {
            places.take(stream, queue.clone());
        }
    }
}

/// The connections that are served: at most [`MOST`].
#[derive(Default)]
struct Places(Vec<Place>);

/// A connection that is served.
struct Place {
    stands: Rc<Standing>,
    task: AbortHandle,
}

/// How far a connection has come.
struct Standing {
    step: Cell<Step>,
    /// When its client last said something, or took something of its answer.
    moved: Cell<Instant>,
}

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The client, to say what it wants.
    Head,
    /// The daemon.
    Page,
    /// The client, to take it.
    Answer,
}

impl Places {
    /// Whether there is a place for another connection, if need be that of one whose client keeps it waiting. There is none while all
    /// are being answered.
    async fn has_room(&mut self) -> bool {
        self.forget_ended();
        if self.0.len() == MOST
            && let Some(idlest) = self.idlest().and_then(|at| self.0.get(at))
        {
            sleep(MOMENT.saturating_sub(idlest.stands.moved.get().elapsed())).await;
            self.forget_ended();
        }
        self.0.len() < MOST || self.end_idlest()
    }

    fn forget_ended(&mut self) {
        self.0.retain(|place| !place.task.is_finished());
    }

    /// The connection whose head has been awaited for longest, else one whose answer is stuck.
    fn idlest(&self) -> Option<usize> {
        let now = Instant::now();
        let idle = self.0.iter().enumerate().filter(|(_, place)| place.stands.is_idle(now));
        let idlest =
            idle.min_by_key(|(_, place)| (place.stands.step.get() != Step::Head, place.stands.moved.get()));
        idlest.map(|(at, _)| at)
    }

    fn end_idlest(&mut self) -> bool {
        let Some(at) = self.idlest() else { return false };
        self.0.swap_remove(at).task.abort();
        true
    }

    fn take(&mut self, stream: TcpStream, queue: mpsc::UnboundedSender<Asked>) {
        let stands = Rc::new(Standing { step: Cell::new(Step::Head), moved: Cell::new(Instant::now()) });
        // Who is slow or goes away is not told.
        let task = spawn_local(converse(stream, queue, Rc::clone(&stands))).abort_handle();
        self.0.push(Place { stands, task });
    }
}

impl Standing {
    fn begin(&self, step: Step) {
        self.step.set(step);
        self.moved.set(Instant::now());
    }

    fn is_idle(&self, now: Instant) -> bool {
        match self.step.get() {
            Step::Head => true,
            Step::Page => false,
            Step::Answer => now.saturating_duration_since(self.moved.get()) >= STUCK,
        }
    }
}

async fn converse(
    mut stream: TcpStream,
    queue: mpsc::UnboundedSender<Asked>,
    stands: Rc<Standing>,
) -> io::Result<()> {
    let asked = timeout(HEAD, read(&mut stream, &stands)).await??;
    stands.begin(Step::Page);
    timeout(PATIENCE, answer(stream, asked, &queue, &stands)).await?
}

async fn answer(
    mut stream: TcpStream,
    (asked, part): (Target, Part),
    queue: &mpsc::UnboundedSender<Asked>,
    stands: &Standing,
) -> io::Result<()> {
    let answer = match asked {
        Target::Metrics => metrics(queue).await,
        Target::Health => written("200 OK", "text/plain", "ok\n"),
        Target::Unknown => written("404 Not Found", "text/plain", "metrics are at /metrics\n"),
        Target::NotGet => written("405 Method Not Allowed\r\nAllow: GET, HEAD", "text/plain", "only GET\n"),
        Target::Nonsense => written("400 Bad Request", "text/plain", "not a request\n"),
    };
    let mut rest = part.of(&answer).as_bytes();
    while !rest.is_empty() {
        stands.begin(Step::Answer);
        let taken = stream.write(rest).await?;
        rest = rest.get(taken..).unwrap_or_default();
    }
    stream.shutdown().await
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Metrics,
    Health,
    Unknown,
    NotGet,
    Nonsense,
}

/// What of the answer the client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Head,
}

impl Part {
    fn of(self, answer: &str) -> &str {
        match (self, answer.find("\r\n\r\n")) {
            (Self::Head, Some(end)) => answer.get(..end + 4).unwrap_or(answer),
            _ => answer,
        }
    }
}

async fn read(stream: &mut TcpStream, stands: &Standing) -> io::Result<(Target, Part)> {
    let mut head = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok((Target::Nonsense, Part::Whole));
        }
        stands.moved.set(Instant::now());
        if let Some(target) = parse(&head) {
            return Ok(target);
        }
    }
}

/// `None`: there is more to come.
fn parse(bytes: &[u8]) -> Option<(Target, Part)> {
    let mut room = room();
    let limits = Limits { head: LONGEST, ..Limits::DEFAULT };
    let head = match Head::parse(bytes, &mut room, &limits) {
        Ok(head) => head?,
        Err(_) => return Some((Target::Nonsense, Part::Whole)),
    };
    let part = match head.method {
        "GET" => Part::Whole,
        "HEAD" => Part::Head,
        _ => return Some((Target::NotGet, Part::Whole)),
    };
    let target = match head.path().as_deref() {
        Ok("/metrics") => Target::Metrics,
        Ok("/healthz") => Target::Health,
        _ => Target::Unknown,
    };
    Some((target, part))
}

/// Asks the daemon.
async fn metrics(queue: &mpsc::UnboundedSender<Asked>) -> String {
    let (sender, receiver) = oneshot::channel();
    // Fails only while the daemon stops, and then the receiver does, too.
    let _ = queue.send((Request::Metrics, sender));
    match receiver.await {
        Ok(Answer::One(Response::Metrics { text })) => written("200 OK", page::CONTENT_TYPE, &text),
        _ => written("503 Service Unavailable", "text/plain", "the daemon cannot tell now\n"),
    }
}

fn written(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn only_who_asks_for_what_there_is_is_answered() {
        let rows = [
            ("GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n", Some((Target::Metrics, Part::Whole))),
            ("GET /metrics?x=1 HTTP/1.0\r\n\r\n", Some((Target::Metrics, Part::Whole))),
            ("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", Some((Target::Health, Part::Whole))),
            ("HEAD /healthz HTTP/1.1\r\nHost: h\r\n\r\n", Some((Target::Health, Part::Head))),
            ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", Some((Target::Unknown, Part::Whole))),
            ("POST /metrics HTTP/1.1\r\nHost: h\r\n\r\n", Some((Target::NotGet, Part::Whole))),
            ("\u{16}\u{3}\u{1}", Some((Target::Nonsense, Part::Whole))),
            ("GET /met", None),
        ];
        for (bytes, expected) in rows {
            assert_eq!(parse(bytes.as_bytes()), expected, "{bytes:?}");
        }
        assert_eq!(
            parse(&[b"GET /", &[b'a'; 9000][..]].concat()),
            Some((Target::Nonsense, Part::Whole)),
            "endless"
        );
    }

    #[test]
    fn who_asks_for_the_head_gets_no_more() {
        let page = written("200 OK", "text/plain", "ok\n");
        assert_eq!(Part::Whole.of(&page), page);
        let head = Part::Head.of(&page);
        assert!(
            head.ends_with("Connection: close\r\n\r\n") && head.contains("Content-Length: 3\r\n"),
            "{head}"
        );
    }

    /// Serves pages that say `page`, and has `client` speak with it on another thread.
    fn with<T: Send + 'static>(client: impl FnOnce(SocketAddr) -> T + Send + 'static) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async {
            let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let (queue, mut asked) = mpsc::unbounded_channel::<Asked>();
            tokio::task::spawn_local(serve(listener, queue));
            tokio::task::spawn_local(async move {
                while let Some((_, answer)) = asked.recv().await {
                    let _ = answer.send(Response::Metrics { text: "page".to_owned() }.into());
                }
            });
            tokio::task::spawn_blocking(move || client(address)).await.unwrap()
        })
    }

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    /// Connections that say no more than this.
    fn holders(address: SocketAddr, count: usize, said: &str) -> Vec<std::net::TcpStream> {
        let hold = |_| {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.write_all(said.as_bytes()).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream
        };
        (0..count).map(hold).collect()
    }

    const ASKING: &str = "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n";

    #[test]
    fn a_scrape_is_answered_whole_while_slow_ones_wait() {
        let answer = with(|address| {
            let slow = holders(address, MOST - 1, "");
            let answer = ask(address, ASKING);
            drop(slow);
            answer
        });
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\npage"), "{answer}");
    }

    #[test]
    fn who_says_nothing_makes_room_for_who_asks() {
        for said in ["", "GET /met"] {
            let (answers, took) = with(move |address| {
                let slow = holders(address, 3 * MOST, said);
                let start = Instant::now();
                let answers =
                    [ASKING, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"].map(|one| ask(address, one));
                drop(slow);
                (answers, start.elapsed())
            });
            assert!(answers[0].ends_with("\r\n\r\npage") && answers[1].ends_with("ok\n"), "{answers:?}");
            assert!(took < HEAD, "{took:?}");
        }
    }

    #[test]
    fn the_one_that_has_been_silent_for_longest_makes_room() {
        let ended = with(|address| {
            let mut slow = holders(address, MOST, "GET /");
            std::thread::sleep(MOMENT * 5);
            // All but the third say a little more.
            let others = slow.iter_mut().enumerate().filter(|(at, _)| *at != 2);
            others.for_each(|(_, stream)| stream.write_all(b"m").unwrap());
            std::thread::sleep(MOMENT * 5);
            ask(address, ASKING);
            let is_ended = |mut stream: std::net::TcpStream| {
                stream.set_read_timeout(Some(MOMENT)).unwrap();
                stream.read(&mut [0; 1]).is_ok_and(|count| count == 0)
            };
            slow.into_iter().map(is_ended).collect::<Vec<_>>()
        });
        assert_eq!(ended, (0..MOST).map(|at| at == 2).collect::<Vec<_>>());
    }

    #[test]
    fn a_head_that_does_not_come_is_not_waited_for() {
        let took = with(|address| {
            let start = Instant::now();
            let mut silent = holders(address, 1, "GET /metrics").remove(0);
            let _ = silent.read(&mut [0; 1]);
            start.elapsed()
        });
        assert!((HEAD..HEAD * 2).contains(&took), "{took:?}");
    }

    #[test]
    fn an_answer_under_way_is_not_ended_for_another() {
        let now = Instant::now();
        let standing = |step, moved| Standing { step: Cell::new(step), moved: Cell::new(moved) };
        let long_ago = now.checked_sub(STUCK * 2).unwrap();
        let rows = [
            (Step::Head, now, true),
            (Step::Page, long_ago, false),
            (Step::Answer, now, false),
            (Step::Answer, long_ago, true),
        ];
        for (at, (step, moved, expected)) in rows.into_iter().enumerate() {
            assert_eq!(standing(step, moved).is_idle(now), expected, "row {at}");
        }
    }
}
