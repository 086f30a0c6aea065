//! The HTTP question by HTTP/2: one request on a connection of its own, of whose answer only the status is looked at.

use futures_util::future::{Either, select};
use http::header::{ACCEPT, USER_AGENT};
use http::{Method, Request, Uri, Version};
use std::pin::pin;

use super::ProbeError;
use super::http::{Question, SENDER};
use super::stream::Polled;

/// A longer head is not the answer of a health page, as by HTTP/1.1.
const MAX_HEAD_BYTES: u32 = 8 * 1024;

/// Asks, and passes if the status is a wanted one.
pub(super) async fn ask(
    question: &Question,
    scheme: &'static str,
    stream: Box<dyn Polled>,
) -> Result<(), ProbeError> {
    let request = request(question, scheme)?;
    let mut settings = h2::client::Builder::new();
    settings.enable_push(false).max_header_list_size(MAX_HEAD_BYTES);
    let (send, connection) = settings.handshake::<_, bytes::Bytes>(stream).await?;
    let answer = async {
        let (answer, _) = send.ready().await?.send_request(request, true)?;
        Ok::<_, h2::Error>(answer.await?.status().as_u16())
    };
    let got = match select(pin!(answer), pin!(connection)).await {
        Either::Left((answer, _)) => answer?,
        // It ended with the answer, or has told the answer's side why there is none.
        Either::Right((_, answer)) => answer.await?,
    };
    question.judge(got)
}

fn request(question: &Question, scheme: &'static str) -> Result<Request<()>, ProbeError> {
    let uri =
        Uri::builder().scheme(scheme).authority(question.host()).path_and_query(question.path()).build();
    let request = uri.and_then(|uri| {
        let request = Request::builder().method(Method::GET).uri(uri).version(Version::HTTP_2);
        request.header(USER_AGENT, SENDER).header(ACCEPT, "*/*").body(())
    });
    request.map_err(|error| {
        let (host, path) = (question.host(), question.path());
        ProbeError::Http2(format!("\"{path}\" at \"{host}\" cannot be asked for: {error}"))
    })
}
