//! Hyper as the second reader of the same bytes.

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future as _;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};

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
    // It ends when all is said, and takes whatever is written.
    let io = TokioIo::new(tokio::io::join(bytes, tokio::io::sink()));
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
