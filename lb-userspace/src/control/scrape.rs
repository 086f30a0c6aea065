//! Where Prometheus reads metrics: `GET /metrics` and `GET /healthz`, one request a connection, each within a time and a length.
//!
//! It hands requests to the daemon's queue, as the control socket does, and decides nothing. A scraper that is slow, or one that
//! comes in hundreds, is sent away and costs nobody anything.

use super::server::{Answer, Asked};
use super::{Request, Response};
use crate::l7::http1::{Head, Limits, room};
use crate::observe::page;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

/// How long a scrape may take, from its first byte to its last.
const PATIENCE: Duration = Duration::from_secs(10);
/// Scrapes at a time. There is one of them as a rule.
const MOST: usize = 8;
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
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let queue = queue.clone();
            tokio::task::spawn_local(async move {
                // Who is slow or goes away is not told.
                let _ = timeout(PATIENCE, converse(stream, &queue)).await;
                drop(place);
            });
        }
    }
}

async fn converse(mut stream: TcpStream, queue: &mpsc::UnboundedSender<Asked>) -> io::Result<()> {
    let asked = read(&mut stream).await?;
    let answer = match asked {
        Target::Metrics => metrics(queue).await,
        Target::Health => written("200 OK", "text/plain", "ok\n"),
        Target::Unknown => written("404 Not Found", "text/plain", "metrics are at /metrics\n"),
        Target::NotGet => written("405 Method Not Allowed", "text/plain", "only GET\n"),
        Target::Nonsense => written("400 Bad Request", "text/plain", "not a request\n"),
    };
    stream.write_all(answer.as_bytes()).await?;
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

async fn read(stream: &mut TcpStream) -> io::Result<Target> {
    let mut head = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(Target::Nonsense);
        }
        if let Some(target) = parse(&head) {
            return Ok(target);
        }
    }
}

/// `None`: there is more to come.
fn parse(bytes: &[u8]) -> Option<Target> {
    let mut room = room();
    let limits = Limits { head: LONGEST, ..Limits::DEFAULT };
    match Head::parse(bytes, &mut room, &limits) {
        Ok(None) => None,
        Err(_) => Some(Target::Nonsense),
        Ok(Some(head)) if head.method != "GET" => Some(Target::NotGet),
        Ok(Some(head)) => Some(match head.path().as_deref() {
            Ok("/metrics") => Target::Metrics,
            Ok("/healthz") => Target::Health,
            _ => Target::Unknown,
        }),
    }
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
    fn only_a_get_of_what_there_is_is_answered() {
        let rows = [
            ("GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n", Some(Target::Metrics)),
            ("GET /metrics?x=1 HTTP/1.0\r\n\r\n", Some(Target::Metrics)),
            ("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", Some(Target::Health)),
            ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", Some(Target::Unknown)),
            ("POST /metrics HTTP/1.1\r\nHost: h\r\n\r\n", Some(Target::NotGet)),
            ("\u{16}\u{3}\u{1}", Some(Target::Nonsense)),
            ("GET /met", None),
        ];
        for (bytes, expected) in rows {
            assert_eq!(parse(bytes.as_bytes()), expected, "{bytes:?}");
        }
        assert_eq!(parse(&[b"GET /", &[b'a'; 9000][..]].concat()), Some(Target::Nonsense), "endless");
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

    #[test]
    fn a_scrape_is_answered_whole_while_slow_ones_wait() {
        let answer = with(|address| {
            let slow: Vec<_> = (1..MOST).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
            let answer = ask(address, "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
            drop(slow);
            answer
        });
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\npage"), "{answer}");
    }

    #[test]
    fn more_scrapes_than_there_are_places_for_are_sent_away() {
        let answer = with(|address| {
            let slow: Vec<_> = (0..MOST).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
            let answer = ask(address, "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
            drop(slow);
            answer
        });
        assert_eq!(answer, "");
    }
}
