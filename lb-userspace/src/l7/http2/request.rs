//! Heads of requests to backends that are spoken to by HTTP/2. Pure.

use super::head::List;
use super::websocket;
use crate::config::proxy::Service;
use crate::l7::ask::{Asker, Question, rewritten};
use crate::l7::http1::{Framing, Refusal};
use crate::l7::message::{FieldSink as _, Fields};
use crate::l7::respond::Failure;
use crate::l7::rewrite::{Named, RequestContext};
use crate::l7::settings::Route;
use http::uri::Scheme;
use http::{Method, Request, Uri, Version};

/// Fields that tell a backend of its client, mostly.
const TOLD: usize = 8;

/// A request as a backend is sent it, and whether it may log in the whole connection.
pub(in crate::l7) fn request<F: Fields + ?Sized>(
    asker: &Asker<'_>,
    question: &Question<'_, F>,
    framing: Framing,
    route: &Route,
    service: &Service,
) -> Result<(Request<()>, bool), Failure> {
    let (wanted, mut scratch) = (&question.request, String::new());
    let mut list = List::with_room_for(wanted.fields.each().count() + TOLD);
    let context = RequestContext {
        peer: asker.peer,
        host: None,
        random: asker.random,
        // What HTTP/1.1 calls an upgrade HTTP/2 has for WebSockets alone; a client is free to be answered without.
        upgrade: None,
        named: Named::by(wanted.fields, question.names_fields),
        http2: true,
    };
    let is_private = route.request.apply(wanted, &context, &mut scratch, &mut list);
    if question.expects_continue {
        list.put("expect", b"100-continue");
    }
    match framing {
        Framing::Length(length) if length > 0 || wanted.fields.first("content-length").is_some() => {
            list.put_length(length);
        }
        _ => {}
    }
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = Method::from_bytes(wanted.method.as_bytes()).map_err(|_| Refusal::Method)?;
    *request.headers_mut() = list.0;
    *request.uri_mut() = uri(question, route, service)?;
    if framing == Framing::NONE && websocket::is_asked_for(wanted.method, question.upgrade) {
        websocket::extend(&mut request);
    }
    Ok((request, is_private))
}

fn uri<F: ?Sized>(question: &Question<'_, F>, route: &Route, service: &Service) -> Result<Uri, Refusal> {
    let wanted = &question.request;
    let mut authority = String::new();
    match route.host.as_deref().or(service.host.as_deref()) {
        Some(host) => authority.push_str(host),
        None if wanted.host().is_empty() => authority.push_str(&service.name),
        None => authority.push_str(wanted.authority.text()),
    }
    let mut scratch = String::new();
    let mut target = rewritten(wanted.path, route, &mut scratch).to_owned();
    if let Some(query) = wanted.query {
        target.push('?');
        target.push_str(query);
    }
    let scheme = if service.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(target);
    uri.build().map_err(|_| Refusal::Target)
}
