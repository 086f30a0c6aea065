//! What `explain` tells, and how people read it.

use super::{FrontBackendStatus, FrontCertificateStatus};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Which way a request or a packet goes, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Explanation {
    /// Of a request.
    Http(Box<HttpExplanation>),
    /// Of packets.
    Packets(Box<PacketExplanation>),
}

/// Which way a request goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HttpExplanation {
    /// The listener that it comes to; none where nobody listens.
    pub listener: Option<String>,
    /// The certificate that the client is shown.
    pub certificate: Option<FrontCertificateStatus>,
    /// The route that takes it; `*` for the listener's own service.
    pub route: Option<String>,
    /// Routes for its host that do not, and why.
    pub passed: Vec<(String, String)>,
    /// How many routes are for other hosts.
    pub routes_of_other_hosts: usize,
    /// What is done, in a sentence.
    pub outcome: String,
    /// The status that the client is told, where no backend is asked.
    pub status: Option<u16>,
    /// The services that may be asked.
    pub services: Vec<WayExplanation>,
}

/// A service that may be asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WayExplanation {
    /// Its name.
    pub service: String,
    /// How it balances.
    pub balance: String,
    /// What a backend is sent, without body.
    pub request: String,
    /// The backend, where it is certain.
    pub backend: Option<String>,
    /// Why that one, or why none is certain.
    pub why: String,
    /// Its backends.
    pub backends: Vec<FrontBackendStatus>,
}

/// Which way packets go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PacketExplanation {
    /// The service; none where packets pass untouched.
    pub service: Option<String>,
    /// How its packets reach backends.
    pub forward: Option<String>,
    /// How new flows are spread.
    pub select: Option<String>,
    /// The slot of the client's flows, from 0, if a client was named.
    pub slot: Option<u32>,
    /// The backend that flows get which begin now.
    pub backend: Option<String>,
    /// The backend that flows have which began before a change that is not settled yet.
    pub settled: Option<String>,
    /// What is done, in a sentence.
    pub outcome: String,
    /// Every backend, its state and how many of the slots it owns.
    pub backends: Vec<(String, String, u32)>,
}

/// An explanation as text.
#[must_use]
pub fn render(explanation: &Explanation) -> String {
    match explanation {
        Explanation::Http(told) => render_http(told),
        Explanation::Packets(told) => render_packets(told),
    }
}

fn render_http(told: &HttpExplanation) -> String {
    let mut text = String::new();
    let mut line = |label: &str, words: &str| _ = writeln!(text, "{label:<12} {words}");
    line("listener", told.listener.as_deref().unwrap_or("nobody listens there"));
    if let Some(certificate) = &told.certificate {
        line("certificate", &certificate.file);
    }
    if let Some(route) = &told.route {
        line("route", if route == "*" { "none takes it: the listener's own service" } else { route });
    }
    for (route, why) in &told.passed {
        line("", &format!("not {route}: {why}"));
    }
    if told.routes_of_other_hosts > 0 {
        line("", &format!("{} more are for other hosts", told.routes_of_other_hosts));
    }
    line("outcome", &told.outcome);
    told.services.iter().for_each(|way| render_way(way, &mut text));
    text
}

fn render_way(way: &WayExplanation, text: &mut String) {
    _ = writeln!(text, "{:<12} {}, {}", "service", way.service, way.balance);
    _ = writeln!(text, "{:<12} {}", "backend", way.backend.as_deref().unwrap_or("not certain"));
    _ = writeln!(text, "{:<12} {}", "", way.why);
    for backend in &way.backends {
        let latency =
            backend.latency_us.map_or("latency unknown".to_owned(), |micros| format!("latency {micros} us"));
        let score = backend.score.map_or(String::new(), |score| format!(", score {score:.6}"));
        let drain = if backend.drain { ", draining" } else { "" };
        let out = if backend.left_out > 0 { ", left out" } else { "" };
        _ = writeln!(
            text,
            "{:<12} {} {}: {}{drain}{out}, weight {}, {} active, {latency}{score}",
            "", backend.name, backend.address, backend.state, backend.weight, backend.active
        );
    }
    _ = writeln!(text, "{:<12}", "is sent");
    way.request.trim_end().lines().for_each(|line| _ = writeln!(text, "    {line}"));
}

fn render_packets(told: &PacketExplanation) -> String {
    let mut text = String::new();
    let mut line = |label: &str, words: &str| _ = writeln!(text, "{label:<12} {words}");
    line("service", told.service.as_deref().unwrap_or("none"));
    if let (Some(forward), Some(select)) = (&told.forward, &told.select) {
        line("", &format!("{forward}, {select}"));
    }
    if let Some(slot) = told.slot {
        line("slot", &slot.to_string());
    }
    if let Some(backend) = &told.backend {
        line("backend", backend);
    }
    if let Some(settled) = &told.settled {
        line("", &format!("flows from before the last change have {settled}"));
    }
    line("outcome", &told.outcome);
    for (name, state, slots) in &told.backends {
        line("", &format!("{name}: {state}, {slots} slots"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_told_line_by_line() {
        let backend = FrontBackendStatus {
            name: "web1".into(),
            address: "10.0.0.1:80".into(),
            state: "up".into(),
            weight: 2,
            score: Some(0.5),
            ..FrontBackendStatus::default()
        };
        let told = HttpExplanation {
            listener: Some("main".into()),
            route: Some("api".into()),
            passed: vec![("other".into(), "its path asks for something else".into())],
            outcome: "a backend is asked".into(),
            services: vec![WayExplanation {
                service: "web".into(),
                balance: "p2c".into(),
                request: "GET / HTTP/1.1\r\nhost: h\r\n\r\n".into(),
                backend: Some("web1".into()),
                why: "no other serves".into(),
                backends: vec![backend],
            }],
            ..HttpExplanation::default()
        };
        let text = render(&Explanation::Http(Box::new(told)));
        for line in [
            "listener     main",
            "route        api",
            "             not other: its path asks for something else",
            "backend      web1",
            "             web1 10.0.0.1:80: up, weight 2, 0 active, latency unknown, score 0.500000",
            "    host: h",
        ] {
            assert!(text.lines().any(|other| other == line), "{line:?} is not in\n{text}");
        }
    }
}
