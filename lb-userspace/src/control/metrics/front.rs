//! Metrics of layer 7.

use super::super::{
    FrontBackendStatus, FrontRouteStatus, FrontServiceStatus, FrontSheddingStatus, FrontStatus, TimesStatus,
};
use crate::observe::page::{Label, Page};
use std::time::Duration;

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

pub(super) fn render(front: &FrontStatus, page: &mut Page) {
    connections(front, page);
    shedding(&front.shedding, page);
    tls(front, page);
    routes(&front.routes, page);
    backends(&front.services, page);
    page.counter("lb_http_failures_total", "Exchanges that failed, by why: the words of the access log.");
    for (reason, count) in &front.failures {
        page.sample(&[("reason", reason)], count);
    }
    page.counter("lb_access_log_lines_total", "Lines handed to the access log.");
    page.sample(&[], front.log_lines.0);
    page.counter(
        "lb_access_log_lines_lost_total",
        "Lines lost, for the disk did not keep up or refused them.",
    );
    page.sample(&[], front.log_lines.1);
}

fn connections(front: &FrontStatus, page: &mut Page) {
    page.gauge("lb_http_workers", "Worker threads.");
    page.sample(&[], front.workers);
    page.gauge("lb_http_connections", "Connections of clients open now.");
    page.sample(&[], front.open);
    page.counter("lb_http_connections_accepted_total", "Connections of clients accepted.");
    page.sample(&[], front.accepted);
    page.counter(
        "lb_proxy_header_failures_total",
        "Connections that lacked the PROXY header they had to begin with.",
    );
    page.sample(&[], front.proxy_header_failures);
}

fn shedding(shedding: &FrontSheddingStatus, page: &mut Page) {
    page.gauge("lb_http_memory_bytes", "What connections and exchanges hold.");
    page.sample(&[], shedding.memory);
    page.gauge("lb_http_memory_limit_bytes", "What they may hold.");
    page.sample(&[], shedding.memory_limit);
    page.counter(
        "lb_http_shed_total",
        "Connections and requests turned away, and waiting connections closed, for want of memory.",
    );
    page.sample(&[], shedding.shed);
    page.counter("lb_http_connections_refused_total", "Connections above the bounds of their listener.");
    page.sample(&[], shedding.refused);
    page.counter("lb_http_copies_total", "Copies of requests for a second service, by whether it answered.");
    page.sample(&[("outcome", "answered")], shedding.copied);
    page.sample(&[("outcome", "lost")], shedding.uncopied);
}

fn tls(front: &FrontStatus, page: &mut Page) {
    page.counter("lb_tls_handshakes_total", "TLS handshakes with clients, by version.");
    for (version, count) in &front.handshakes {
        page.sample(&[("version", version)], count);
    }
    page.counter("lb_tls_resumptions_total", "Those of them that resumed a session.");
    page.sample(&[], front.resumed);
    page.counter("lb_tls_handshake_failures_total", "Connections that ended before TLS was agreed on.");
    page.sample(&[], front.handshake_failures);
    page.gauge(
        "lb_tls_unusable_files",
        "Listeners' and services' renewed files that cannot be used; what was read before is.",
    );
    page.sample(&[], front.tls_unusable.len());
    page.gauge("lb_tls_certificate_expiry_timestamp_seconds", "When a certificate expires, since 1970.");
    for listener in &front.listeners {
        for certificate in &listener.certificates {
            page.sample(&[("listener", &listener.name), ("file", &certificate.file)], certificate.expires);
        }
    }
}

fn routes(routes: &[FrontRouteStatus], page: &mut Page) {
    let labelled = || routes.iter().map(|one| ([("listener", &*one.listener), ("route", &*one.route)], one));
    page.counter(
        "lb_http_requests_total",
        "Requests answered, by class of status; route * is a listener's own service, none what no route took.",
    );
    labelled().for_each(|(labels, route)| classes(&labels, route.answers, page));
    page.histogram("lb_http_request_duration_seconds", "From a request's first byte to its answer's last.");
    labelled().for_each(|(labels, route)| times(&labels, &route.times, page));
    page.counter("lb_http_request_body_bytes_total", "Bytes of requests' bodies.");
    labelled().for_each(|(labels, route)| page.sample(&labels, route.received));
    page.counter("lb_http_response_body_bytes_total", "Bytes of answers' bodies.");
    labelled().for_each(|(labels, route)| page.sample(&labels, route.sent));
    page.counter("lb_http_retries_total", "Requests that were sent again, to another backend.");
    labelled().for_each(|(labels, route)| page.sample(&labels, route.retries));
}

fn classes(labels: &[Label<'_>; 2], answers: [u64; 5], page: &mut Page) {
    for (class, count) in CLASSES.into_iter().zip(answers) {
        page.sample(&[labels[0], labels[1], ("class", class)], count);
    }
}

fn times(labels: &[Label<'_>], times: &TimesStatus, page: &mut Page) {
    let seconds = |micros| Duration::from_micros(micros).as_secs_f64();
    let classes: Vec<_> = times.up_to_us.iter().map(|(bound, count)| (seconds(*bound), *count)).collect();
    page.spread(labels, &classes, times.count, seconds(times.sum_us));
}

/// A number of each backend.
type Of = fn(&FrontBackendStatus) -> u64;

/// What is told of each backend: whether it only grows, its name, its help, and the number.
const BACKENDS: [(bool, &str, &str, Of); 13] = [
    (false, "lb_http_backend_up", "Whether its checks say that it serves.", |one| (one.state == "up").into()),
    (false, "lb_http_backend_draining", "Whether it gets no new requests.", |one| one.drain.into()),
    (false, "lb_http_backend_weight", "Its weight.", |one| one.weight.into()),
    (false, "lb_http_backend_active_requests", "Requests that it has now.", |one| one.active.into()),
    (false, "lb_http_backend_idle_connections", "Connections to it that wait.", |one| one.idle as u64),
    (false, "lb_http_backend_ejected", "Workers that leave it out as an outlier now.", |one| {
        one.left_out as u64
    }),
    (true, "lb_http_backend_failures_total", "Requests that it did not answer.", |one| one.failures),
    (true, "lb_http_backend_connects_total", "Connections made to it.", |one| one.connects),
    (true, "lb_http_backend_reuses_total", "Requests that went by a kept connection.", |one| one.reuses),
    (true, "lb_http_backend_ejections_total", "How often a worker left it out as an outlier.", |one| {
        one.ejections
    }),
    (true, "lb_http_backend_probes_succeeded_total", "Health checks passed.", |one| one.health.successes),
    (true, "lb_http_backend_probes_failed_total", "Health checks failed.", |one| one.health.failures),
    (true, "lb_http_backend_transitions_total", "Changes of health.", |one| one.health.transitions),
];

fn backends(services: &[FrontServiceStatus], page: &mut Page) {
    let all = || services.iter().flat_map(|service| service.backends.iter().map(|one| (&*service.name, one)));
    let labelled = || all().map(|(service, one)| ([("service", service), ("backend", &*one.name)], one));
    for (grows, name, help, of) in BACKENDS {
        if grows {
            page.counter(name, help);
        } else {
            page.gauge(name, help);
        }
        labelled().for_each(|(labels, backend)| page.sample(&labels, of(backend)));
    }
    page.counter("lb_http_backend_responses_total", "Its answers, by class of status.");
    labelled().for_each(|(labels, backend)| classes(&labels, backend.answers, page));
    page.histogram("lb_http_backend_response_seconds", "Until it began to answer.");
    labelled().for_each(|(labels, backend)| times(&labels, &backend.times, page));
}
