//! Hyper as the second reader of the same bytes.

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A request whose body came to its end.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) body: String,
}

/// The requests that hyper's server finds in a connection's bytes.
pub(crate) fn understand(bytes: &[u8]) -> Vec<Request> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: hyper::Request<Incoming>| note(request, Rc::clone(&seen)));
    let io = Script(bytes.to_vec(), 0);
    let mut connection = pin!(Builder::new().half_close(true).serve_connection(io, service));
    let mut cx = Context::from_waker(Waker::noop());
    // Nothing in here waits for anything outside, so that each poll gets further; one that does not ends it.
    for _ in 0..=bytes.len() {
        if connection.as_mut().poll(&mut cx).is_ready() {
            break;
        }
    }
    seen.take()
}

async fn note(
    request: hyper::Request<Incoming>,
    seen: Rc<RefCell<Vec<Request>>>,
) -> Result<hyper::Response<Empty<Bytes>>, Infallible> {
    let method = request.method().to_string();
    if let Ok(body) = request.into_body().collect().await {
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        seen.borrow_mut().push(Request { method, body });
    }
    Ok(hyper::Response::new(Empty::new()))
}

/// A connection that says this, then ends, and takes whatever is written.
struct Script(Vec<u8>, usize);

impl Read for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut room: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Self(bytes, at) = &mut *self;
        let rest = &bytes[*at..];
        let now = rest.len().min(room.remaining());
        room.put_slice(&rest[..now]);
        *at += now;
        Poll::Ready(Ok(()))
    }
}

impl Write for Script {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
