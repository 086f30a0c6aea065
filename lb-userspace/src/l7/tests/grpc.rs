//! gRPC by `tonic`, which others use it by: its client asks its server through the worker.
//!
//! Source: "gRPC over HTTP2" (grpc/doc/PROTOCOL-HTTP2.md).

use super::lab::{Lab, free_address, over_both};
use super::speak::{backend_of_connections, pattern, run, until};
use super::upstream::through;
use bytes::{Buf as _, BufMut as _, Bytes};
use futures_util::{Stream, StreamExt as _, stream};
use http::uri::PathAndQuery;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::metadata::{AsciiMetadataKey, MetadataValue};
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status, client, server};
use tower::service_fn;

/// Messages that are nothing but bytes.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// A server of one method a kind of call; sets the flag when a call of `Hang` is given up.
fn backend(given_up: &Arc<AtomicBool>) -> SocketAddr {
    let given_up = Arc::clone(given_up);
    let serve = service_fn(move |request| {
        let given_up = Arc::clone(&given_up);
        async { Ok::<_, Infallible>(answer(request, given_up).await) }
    });
    backend_of_connections(move |_, connection| {
        let connections = stream::iter([Ok::<_, Infallible>(connection)]);
        let served = Server::builder().serve_with_incoming(serve.clone(), connections);
        async { served.await.unwrap() }
    })
}

async fn answer(request: http::Request<Body>, given_up: Arc<AtomicBool>) -> http::Response<Body> {
    let mut grpc = server::Grpc::new(Raw);
    match request.uri().path() {
        "/test.Test/Echo" => grpc.unary(service_fn(echo), request).await,
        "/test.Test/Count" => grpc.server_streaming(service_fn(count), request).await,
        "/test.Test/Collect" => grpc.client_streaming(service_fn(collect), request).await,
        "/test.Test/Converse" => grpc.streaming(service_fn(converse), request).await,
        "/test.Test/Hang" => {
            let hang = service_fn(|_: Request<Bytes>| {
                let given_up = GivenUp(Arc::clone(&given_up));
                async move {
                    std::future::pending::<()>().await;
                    drop(given_up);
                    Ok(Response::new(Bytes::new()))
                }
            });
            grpc.unary(hang, request).await
        }
        _ => Status::unimplemented("no such method").into_http(),
    }
}

/// Tells by its drop.
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Gives message and metadata back; the message `refuse` is refused with details.
async fn echo(request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    if request.get_ref() == "refuse" {
        let mut status = Status::with_details(Code::FailedPrecondition, "ça va: 100 %", "why".into());
        status.metadata_mut().insert("x-reason", "told".parse().unwrap());
        return Err(status);
    }
    let (metadata, _, message) = request.into_parts();
    let mut response = Response::new(message);
    for name in ["x-word", "grpc-timeout", "te", "content-type"] {
        if let Some(value) = metadata.get(name) {
            let got = AsciiMetadataKey::from_bytes(format!("x-got-{name}").as_bytes()).unwrap();
            response.metadata_mut().insert(got, value.clone());
        }
    }
    if let Some(value) = metadata.get_bin("x-bytes-bin") {
        response.metadata_mut().insert_bin("x-got-bytes-bin", value.clone());
    }
    Ok(response)
}

/// As many messages as the request has bytes, and an error behind them if that is odd.
async fn count(
    request: Request<Bytes>,
) -> Result<Response<impl Stream<Item = Result<Bytes, Status>>>, Status> {
    let all = request.get_ref().len();
    let messages = (0..all).map(|n| Ok(Bytes::from(format!("message {n}"))));
    let last = (all % 2 == 1).then(|| Err(Status::data_loss("odd")));
    Ok(Response::new(stream::iter(messages.chain(last))))
}

/// How many messages there were and how many bytes in them.
async fn collect(request: Request<Streaming<Bytes>>) -> Result<Response<Bytes>, Status> {
    let (mut messages, mut total, mut bytes) = (request.into_inner(), 0, 0);
    while let Some(message) = messages.message().await? {
        (total, bytes) = (total + 1, bytes + message.len());
    }
    Ok(Response::new(Bytes::from(format!("{total} of {bytes}"))))
}

/// Each message back as it comes.
async fn converse(
    request: Request<Streaming<Bytes>>,
) -> Result<Response<impl Stream<Item = Result<Bytes, Status>>>, Status> {
    Ok(Response::new(request.into_inner()))
}

async fn connect(lab: &Lab) -> client::Grpc<Channel> {
    let endpoint = Channel::from_shared(format!("http://{}", lab.address)).unwrap();
    let mut client = client::Grpc::new(endpoint.connect().await.unwrap());
    client.ready().await.unwrap();
    client
}

fn method(name: &str) -> PathAndQuery {
    format!("/test.Test/{name}").parse().unwrap()
}

/// Runs a case with a client of a worker over each transport.
fn through_both(case: &impl AsyncFn(client::Grpc<Channel>, &AtomicBool)) {
    let given_up = Arc::new(AtomicBool::new(false));
    let backend = backend(&given_up);
    over_both(|start| {
        let lab = start(through(backend));
        given_up.store(false, Ordering::Relaxed);
        run(async { case(connect(&lab).await, &given_up).await });
    });
}

#[test]
fn a_call_is_answered_whatever_the_size_of_its_messages() {
    through_both(&async |mut client, _| {
        for size in [0, 1, 16_384, 100_000, 3_000_000] {
            let message = Bytes::from(pattern(size));
            client.ready().await.unwrap();
            let answer = client.unary(Request::new(message.clone()), method("Echo"), Raw).await.unwrap();
            assert!(answer.get_ref() == &message, "of {size} bytes");
        }
    });
}

#[test]
fn metadata_pass_both_ways() {
    through_both(&async |mut client, _| {
        let mut request = Request::new(Bytes::new());
        request.metadata_mut().insert("x-word", "said".parse().unwrap());
        request.metadata_mut().insert_bin("x-bytes-bin", MetadataValue::from_bytes(&[0, 1, 0xff]));
        request.set_timeout(Duration::from_secs(20));
        let answer = client.unary(request, method("Echo"), Raw).await.unwrap();
        let got = |name| answer.metadata().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(got("x-got-x-word"), Some("said"));
        assert_eq!(got("x-got-te"), Some("trailers"));
        assert_eq!(got("x-got-content-type"), Some("application/grpc"));
        assert_eq!(got("x-got-grpc-timeout"), Some("20000000u"));
        let bytes = answer.metadata().get_bin("x-got-bytes-bin").unwrap();
        assert_eq!(bytes.to_bytes().unwrap().as_ref(), [0, 1, 0xff]);
    });
}

#[test]
fn a_refusal_is_told_with_its_message_and_details() {
    through_both(&async |mut client, _| {
        let request = Request::new(Bytes::from_static(b"refuse"));
        let status = client.unary(request, method("Echo"), Raw).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "ça va: 100 %"));
        assert_eq!(status.details(), b"why");
        assert_eq!(status.metadata().get("x-reason").unwrap(), "told");
        client.ready().await.unwrap();
        let status = client.unary(Request::new(Bytes::new()), method("Unheard"), Raw).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unimplemented, "no such method"));
    });
}

#[test]
fn a_server_streams_and_its_end_says_how_it_went() {
    through_both(&async |mut client, _| {
        for all in [0, 1, 1000, 1001] {
            client.ready().await.unwrap();
            let request = Request::new(Bytes::from(vec![0; all]));
            let mut messages =
                client.server_streaming(request, method("Count"), Raw).await.unwrap().into_inner();
            for n in 0..all {
                assert_eq!(messages.message().await.unwrap().unwrap(), format!("message {n}"));
            }
            match messages.message().await {
                Ok(end) => assert!(end.is_none() && all % 2 == 0, "{all}: {end:?}"),
                Err(status) => assert!(status.code() == Code::DataLoss && all % 2 == 1, "{all}: {status}"),
            }
        }
    });
}

#[test]
fn a_client_streams() {
    through_both(&async |mut client, _| {
        let messages = stream::iter((0..2000).map(|_| Bytes::from(vec![7; 1000])));
        let answer = client.client_streaming(Request::new(messages), method("Collect"), Raw).await.unwrap();
        assert_eq!(answer.get_ref(), "2000 of 2000000");
    });
}

#[test]
fn both_stream_in_turn_and_calls_do_not_wait_for_one_another() {
    through_both(&async |client, _| {
        let conversations = (0..20).map(|_| {
            let mut client = client.clone();
            async move {
                let (say, said) = tokio::sync::mpsc::unbounded_channel();
                let said = stream::unfold(said, async |mut said| Some((said.recv().await?, said)));
                client.ready().await.unwrap();
                let request = Request::new(Box::pin(said));
                let answer = client.streaming(request, method("Converse"), Raw).await.unwrap();
                let mut back = answer.into_inner();
                for n in 0..50 {
                    let message = Bytes::from(format!("message {n}"));
                    say.send(message.clone()).unwrap();
                    assert_eq!(back.message().await.unwrap().unwrap(), message);
                }
                drop(say);
                assert_eq!(back.message().await.unwrap(), None);
            }
        });
        stream::iter(conversations).buffer_unordered(20).collect::<Vec<_>>().await;
    });
}

#[test]
fn a_call_that_its_client_gives_up_is_given_up_by_its_server() {
    through_both(&async |mut client, given_up| {
        let call = client.unary::<Bytes, Bytes, _>(Request::new(Bytes::new()), method("Hang"), Raw);
        assert!(tokio::time::timeout(Duration::from_millis(200), call).await.is_err());
        until(given_up).await;
    });
}

#[test]
fn a_server_that_is_not_there_is_unavailable() {
    over_both(|start| {
        let lab = start(through(free_address()));
        run(async {
            let mut client = connect(&lab).await;
            let status = client.unary(Request::new(Bytes::new()), method("Echo"), Raw).await.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::Unavailable, "502 Bad Gateway"));
        });
    });
}

#[test]
fn a_call_without_a_route_is_unimplemented() {
    over_both(|start| {
        let mut proxy = through(free_address());
        proxy.listeners[0].service = None;
        let lab = start(proxy);
        run(async {
            let mut client = connect(&lab).await;
            let status = client.unary(Request::new(Bytes::new()), method("Echo"), Raw).await.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::Unimplemented, "404 Not Found"));
        });
    });
}
