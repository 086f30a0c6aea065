//! The page against the rules of Prometheus's own linter.

use super::*;
use crate::control::{
    FrontBackendStatus, FrontCertificateStatus, FrontListenerStatus, FrontRouteStatus, FrontServiceStatus,
    FrontSheddingStatus, FrontStatus, HealthStatus, InterfaceStatus, ReasonStatus, ReloadStatus, TimesStatus,
};
use std::collections::{HashMap, HashSet};

fn times() -> TimesStatus {
    TimesStatus { up_to_us: vec![(1000, 2), (2_500_000, 1)], count: 4, sum_us: 3_000_000 }
}

/// A status with something in each place.
fn status() -> Status {
    let health = HealthStatus { successes: 21, failures: 22, transitions: 23, ..Default::default() };
    let backend = FrontBackendStatus {
        name: "web1".into(),
        state: "up".into(),
        health,
        times: times(),
        ..Default::default()
    };
    let front = FrontStatus {
        workers: 2,
        listeners: vec![FrontListenerStatus {
            name: "main".into(),
            certificates: vec![FrontCertificateStatus { file: "/c.pem".into(), expires: 7 }],
            ..Default::default()
        }],
        services: vec![FrontServiceStatus { name: "web".into(), backends: vec![backend] }],
        routes: vec![FrontRouteStatus {
            listener: "main".into(),
            route: "*".into(),
            answers: [0, 3, 0, 1, 0],
            times: times(),
            ..Default::default()
        }],
        shedding: FrontSheddingStatus {
            memory: 4096,
            memory_limit: 8192,
            refused: 11,
            shed: 12,
            copied: 13,
            uncopied: 14,
        },
        failures: [("no_route".to_owned(), 1)].into(),
        handshakes: [("1.3".to_owned(), 5)].into(),
        tls_unusable: vec!["no key".into()],
        ..Default::default()
    };
    Status {
        version: "1".into(),
        interfaces: vec![InterfaceStatus::default()],
        services: vec![ServiceStatus {
            name: "dns".into(),
            backends: vec![BackendStatus { name: "a".into(), connections: Some(9), ..Default::default() }],
            ..Default::default()
        }],
        reasons: vec![ReasonStatus {
            reason: "ok".into(),
            verdict: "forward".into(),
            packets: 3,
            bytes: 180,
        }],
        front: Some(front),
        ..Status::default()
    }
}

/// Source: the checks of `promtool check metrics` (`client_golang`, `prometheus/testutil/promlint`).
#[test]
fn names_types_and_helps_are_as_the_linter_wants_them() {
    let page = render(&status());
    let mut types: HashMap<&str, &str> = HashMap::new();
    let mut helped = HashSet::new();
    for line in page.lines() {
        match line.split_once(' ').unwrap() {
            ("#", rest) if rest.starts_with("HELP ") => {
                let (name, help) = rest["HELP ".len()..].split_once(' ').unwrap();
                assert!(helped.insert(name) && help.ends_with('.'), "{line}");
            }
            ("#", rest) => {
                let (name, kind) = rest["TYPE ".len()..].split_once(' ').unwrap();
                assert!(types.insert(name, kind).is_none() && helped.contains(name), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(
                    name.starts_with("lb_")
                        && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
                );
                assert!(!name.contains("_ms") && !name.contains("micro"), "base units: {line}");
            }
            (sample, value) => {
                let name = sample.split('{').next().unwrap();
                let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                let kind = types.get(name).or_else(|| types.get(base.unwrap_or(name)));
                assert!(kind.is_some(), "a sample without its family before it: {line}");
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
    }
}

#[test]
fn every_series_comes_once() {
    let page = render(&status());
    let series: Vec<_> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit_once(' ').unwrap().0)
        .collect();
    assert_eq!(series.iter().collect::<HashSet<_>>().len(), series.len());
}

#[test]
fn numbers_stand_where_they_belong() {
    let page = render(&status());
    for line in [
        "lb_l4_packets_total{verdict=\"forward\",reason=\"ok\"} 3",
        "lb_l4_backend_connections{service=\"dns\",backend=\"a\"} 9",
        "lb_http_requests_total{listener=\"main\",route=\"*\",class=\"2xx\"} 3",
        "lb_http_request_duration_seconds_bucket{listener=\"main\",route=\"*\",le=\"0.001\"} 2",
        "lb_http_request_duration_seconds_bucket{listener=\"main\",route=\"*\",le=\"2.5\"} 3",
        "lb_http_request_duration_seconds_sum{listener=\"main\",route=\"*\"} 3",
        "lb_http_backend_up{service=\"web\",backend=\"web1\"} 1",
        "lb_http_backend_probes_succeeded_total{service=\"web\",backend=\"web1\"} 21",
        "lb_http_backend_probes_failed_total{service=\"web\",backend=\"web1\"} 22",
        "lb_http_backend_transitions_total{service=\"web\",backend=\"web1\"} 23",
        "lb_http_memory_bytes 4096",
        "lb_http_memory_limit_bytes 8192",
        "lb_http_connections_refused_total 11",
        "lb_http_shed_total 12",
        "lb_http_copies_total{outcome=\"answered\"} 13",
        "lb_http_copies_total{outcome=\"lost\"} 14",
        "lb_http_failures_total{reason=\"no_route\"} 1",
        "lb_tls_unusable_files 1",
        "lb_tls_certificate_expiry_timestamp_seconds{listener=\"main\",file=\"/c.pem\"} 7",
    ] {
        assert!(page.lines().any(|other| other == line), "{line} is not in\n{page}");
    }
}

#[test]
fn a_backend_counts_as_up_when_its_checks_have_said_so() {
    let mut status = status();
    for (state, up, draining) in [("up", 1, 0), ("draining", 1, 1), ("unknown", 0, 0), ("down", 0, 0)] {
        status.services[0].backends[0].state = state.into();
        let page = render(&status);
        let labels = "{service=\"dns\",backend=\"a\"}";
        assert!(page.contains(&format!("lb_l4_backend_up{labels} {up}\n")), "{state}: {page}");
        assert!(page.contains(&format!("lb_l4_backend_draining{labels} {draining}\n")), "{state}: {page}");
    }
}

#[test]
fn a_refused_reload_and_a_lost_interface_can_be_alerted_on() {
    let mut status = status();
    status.reloads = ReloadStatus { taken: 2, refused: 1, ..ReloadStatus::default() };
    status.interfaces = [("eth0", "native"), ("eth1", "absent")]
        .map(|(name, mode)| InterfaceStatus { name: name.into(), mode: mode.into(), ..Default::default() })
        .into();
    let page = render(&status);
    for line in [
        "lb_reloads_total{outcome=\"taken\"} 2",
        "lb_reloads_total{outcome=\"refused\"} 1",
        "lb_last_reload_taken 1",
        "lb_interface_balanced{interface=\"eth0\"} 1",
        "lb_interface_balanced{interface=\"eth1\"} 0",
    ] {
        assert!(page.lines().any(|other| other == line), "{line}: {page}");
    }
    status.reloads.refusal = Some("why".into());
    assert!(render(&status).contains("lb_last_reload_taken 0\n"));
}
