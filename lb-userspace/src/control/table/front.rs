//! Layer 7 in the status as people read it.

use super::super::{
    FrontBackendStatus, FrontCertificateStatus, FrontListenerStatus, FrontSheddingStatus, FrontStatus,
};
use super::last_probe;
use super::text::{bytes, duration, grouped};
use crate::l7::http1::civil;
use std::time::Duration;

const DAY: u64 = 24 * 3600;

/// What there is to tell of layer 7, a line each.
pub(super) fn front(front: &FrontStatus) -> Vec<String> {
    let head = format!(
        "proxy: {} workers by {}, {} connections open of {} accepted",
        front.workers,
        front.io,
        grouped(front.open),
        grouped(front.accepted)
    );
    let answers = (1..).zip(front.answers).map(|(class, count)| format!("{class}xx {}", grouped(count)));
    let answers = format!("answers: {}", answers.collect::<Vec<_>>().join(", "));
    let listeners = front.listeners.iter().flat_map(|listener| {
        [front_listener(listener)].into_iter().chain(listener.certificates.iter().map(certificate))
    });
    let services = front.services.iter().flat_map(|service| {
        let head = format!("service {}", service.name);
        [head].into_iter().chain(service.backends.iter().flat_map(|one| [front_backend(one), evidence(one)]))
    });
    let routes = front.routes.iter().map(|route| {
        let name = match &*route.route {
            "" => "no route".to_owned(),
            "*" => "its own service".to_owned(),
            name => format!("route {name}"),
        };
        let mean = route.times.mean_us().unwrap_or(0);
        let (millis, micros) = (mean / 1000, mean % 1000);
        format!(
            "listener {}, {name}  {}, {millis}.{micros:03} ms on average",
            route.listener,
            classes(route.answers)
        )
    });
    let heads = [head, answers, shedding(&front.shedding)].into_iter().chain(access_log(front.log_lines));
    let unusable = front.tls_unusable.iter().map(|why| format!("{why}; what was read before is in use"));
    heads.chain(unusable).chain(listeners).chain(routes).chain(services).collect()
}

fn front_listener(listener: &FrontListenerStatus) -> String {
    let spoken = if listener.tls { "https" } else { "http" };
    let open = grouped(listener.open.into());
    format!("listener {}  {spoken} on {}, {open} open", listener.name, listener.addresses.join(", "))
}

fn certificate(certificate: &FrontCertificateStatus) -> String {
    let FrontCertificateStatus { file, expires } = certificate;
    // None ends before 1970 that could be read.
    let (year, month, day) = civil(u64::try_from(*expires).unwrap_or(0) / DAY);
    format!("  certificate {file}, valid until {year:04}-{:02}-{day:02}", month + 1)
}

fn shedding(shedding: &FrontSheddingStatus) -> String {
    let FrontSheddingStatus { memory, memory_limit, refused, shed, .. } = *shedding;
    format!(
        "memory: {} of {}, {} shed for want of it, {} connections refused",
        bytes(memory),
        bytes(memory_limit),
        grouped(shed),
        grouped(refused)
    )
}

/// What became of the access log's lines, if there were any.
fn access_log((handed, lost): (u64, u64)) -> Option<String> {
    let told = || format!("access log: {} lines, {} lost", grouped(handed), grouped(lost));
    (handed > 0 || lost > 0).then(told)
}

fn front_backend(backend: &FrontBackendStatus) -> String {
    let FrontBackendStatus { name, address, weight, state, drain, active, idle, connects, reuses, .. } =
        backend;
    let draining = if *drain { ", draining" } else { "" };
    let out = if backend.left_out > 0 { ", left out" } else { "" };
    let latency = backend.latency_us.or_else(|| backend.times.mean_us());
    let latency = latency
        .map_or(String::new(), |micros| format!(", {}.{:03} ms of late", micros / 1000, micros % 1000));
    format!(
        "  {name} {address} ({state}, weight {weight}{draining}{out})  {}, {} failed, {} active{latency}, {} connections idle, \
         {} made, {} requests by kept ones",
        classes(backend.answers),
        grouped(backend.failures),
        grouped((*active).into()),
        grouped(*idle as u64),
        grouped(*connects),
        grouped(*reuses),
    )
}

/// A line on why a backend is in its state, and since when.
fn evidence(backend: &FrontBackendStatus) -> String {
    let FrontBackendStatus { state, health, .. } = backend;
    let since = health.changed_ms_ago.map(|ms| {
        let held = duration(Duration::from_millis(ms).as_secs_f64());
        format!(", {state} for {held}")
    });
    format!("    last probe: {}{}", last_probe(health), since.unwrap_or_default())
}

/// Answers by class, those that there were.
fn classes(answers: [u64; 5]) -> String {
    let counted = (1..).zip(answers).filter(|(_, count)| *count > 0);
    let told: Vec<_> = counted.map(|(class, count)| format!("{class}xx {}", grouped(count))).collect();
    if told.is_empty() { "no answers".to_owned() } else { told.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::super::super::{FrontServiceStatus, HealthStatus};
    use super::*;

    fn told_of(state: &str, health: HealthStatus) -> String {
        let backend = FrontBackendStatus { state: state.into(), health, ..FrontBackendStatus::default() };
        let service = FrontServiceStatus { name: "web".into(), backends: vec![backend] };
        let told = front(&FrontStatus { services: vec![service], ..FrontStatus::default() });
        told.last().unwrap().clone()
    }

    #[test]
    fn why_a_backend_is_down_stands_below_it() {
        let down = HealthStatus {
            changed_ms_ago: Some(192_000),
            last_probe_ms_ago: Some(12),
            error: Some("TLS: certificate expired".into()),
            ..HealthStatus::default()
        };
        assert_eq!(
            told_of("down", down),
            "    last probe: TLS: certificate expired, 12 ms ago, down for 3m12s"
        );
        let unchecked = HealthStatus { check: "none".into(), ..HealthStatus::default() };
        assert_eq!(told_of("up", unchecked), "    last probe: not checked");
    }

    #[test]
    fn what_of_the_log_is_lost_and_what_of_tls_cannot_be_used_is_told() {
        let told = |log_lines, tls_unusable| {
            front(&FrontStatus { tls_unusable, log_lines, ..FrontStatus::default() })
        };
        let why = "listener \"main\" cannot speak TLS as configured: no key in /etc/lb/www.key".to_owned();
        let lines = told((1_200, 3), vec![why.clone()]);
        assert!(lines.contains(&"access log: 1,200 lines, 3 lost".to_owned()), "{lines:?}");
        assert!(lines.contains(&format!("{why}; what was read before is in use")), "{lines:?}");
        let lines = told((0, 0), Vec::new());
        assert!(!lines.iter().any(|line| line.contains("log") || line.contains("in use")), "{lines:?}");
    }

    #[test]
    fn a_listener_s_certificates_are_told_with_their_last_day() {
        let certificate = FrontCertificateStatus { file: "/etc/lb/www.pem".into(), expires: 1_709_208_000 };
        let listener = FrontListenerStatus {
            name: "https".into(),
            addresses: vec!["0.0.0.0:443".into()],
            tls: true,
            open: 1017,
            certificates: vec![certificate],
        };
        let told = front(&FrontStatus { listeners: vec![listener], ..FrontStatus::default() });
        assert!(told.contains(&"listener https  https on 0.0.0.0:443, 1,017 open".to_owned()), "{told:?}");
        assert_eq!(told.last().unwrap(), "  certificate /etc/lb/www.pem, valid until 2024-02-29");
    }
}
