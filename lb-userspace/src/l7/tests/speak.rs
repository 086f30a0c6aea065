//! HTTP/2 as clients, and backends, speak it.

use super::lab::Lab;
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response, Version};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Longer than anything here takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// More than all windows and buffers on the way hold.
pub(super) const LARGE: usize = 8 << 20;

/// Small frames wait here for as long as they have to: it is not these ends that are tested.
const FRAMES: usize = usize::MAX;

/// A client's connection.
pub(super) struct Client(pub(super) SendRequest<Bytes>);

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: Response<()>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.head.headers().get(name).map(|value| value.to_str().unwrap())
    }
}

pub(super) fn get(path: &str) -> Request<()> {
    Request::get(format!("http://example.org{path}")).version(Version::HTTP_2).body(()).unwrap()
}

pub(super) fn post(path: &str) -> Request<()> {
    let mut request = get(path);
    *request.method_mut() = Method::POST;
    request
}

impl Client {
    pub(super) async fn connect(lab: &Lab) -> Self {
        let stream = TcpStream::connect(lab.address).await.unwrap();
        let mut builder = h2::client::Builder::new();
        let (send, connection) = builder.data_frame_budget(FRAMES).handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Self(send)
    }

    pub(super) async fn begin(
        &mut self,
        request: Request<()>,
        is_whole: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        self.0 = self.0.clone().ready().await.unwrap();
        self.0.send_request(request, is_whole).unwrap()
    }

    /// Waits until the connection takes no more requests.
    pub(super) async fn await_goodbye(&mut self) {
        while self.0.clone().ready().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(super) async fn ask(&mut self, request: Request<()>) -> Answer {
        let (answer, _) = self.begin(request, true).await;
        receive(answer).await.unwrap()
    }
}

pub(super) async fn receive(answer: ResponseFuture) -> Result<Answer, h2::Error> {
    let (head, mut stream) = answer.await?.into_parts();
    let body = read(&mut stream).await?;
    let trailers = stream.trailers().await?;
    Ok(Answer { head: Response::from_parts(head, ()), body, trailers })
}

pub(super) async fn read(stream: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    Ok(body)
}

pub(super) async fn write(
    stream: &mut SendStream<Bytes>,
    bytes: &[u8],
    is_last: bool,
) -> Result<(), h2::Error> {
    let mut left = Bytes::copy_from_slice(bytes);
    while !left.is_empty() {
        stream.reserve_capacity(left.len());
        let Some(room) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return Err(h2::Reason::STREAM_CLOSED.into());
        };
        let room = room?;
        let piece = left.split_to(room.min(left.len()));
        stream.send_data(piece, is_last && left.is_empty())?;
    }
    Ok(())
}

/// Runs a client.
pub(super) fn run<T>(client: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, client).await.expect("in time") })
}

/// Waits for something to have happened.
pub(super) async fn until(happened: &AtomicBool) {
    while !happened.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Bytes of which none is at the same place in two pieces of a power of two.
pub(super) fn pattern(length: usize) -> Vec<u8> {
    (0..253).map(|n: u32| u8::try_from(n * 7 % 253).unwrap()).cycle().take(length).collect()
}

/// What a backend is asked, and how it answers.
pub(super) type Exchange = (Request<RecvStream>, h2::server::SendResponse<Bytes>);

/// A backend that has each request served by `serve`, which is told how many connections and requests came before.
pub(super) fn backend_by_http2<F>(
    serve: impl Fn(usize, usize, Exchange) -> F + Send + Sync + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let serve = Arc::new(serve);
    backend_of_connections(move |connection, stream| {
        let serve = Arc::clone(&serve);
        async move {
            let mut builder = h2::server::Builder::new();
            let mut streams = builder.data_frame_budget(FRAMES).handshake(stream).await.unwrap();
            let mut requests = 0;
            while let Some(Ok(exchange)) = streams.accept().await {
                tokio::spawn(serve(connection, requests, exchange));
                requests += 1;
            }
        }
    })
}

/// A backend that has each connection served by `serve`, which is told how many came before.
pub(super) fn backend_of_connections<F>(serve: impl Fn(usize, TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(connection, stream));
            }
        });
    });
    address
}

/// Sends a whole answer.
pub(super) fn say(respond: &mut h2::server::SendResponse<Bytes>, body: impl Into<Bytes>) {
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(body.into(), true).unwrap();
}
