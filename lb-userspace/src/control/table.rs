//! The status as people read it.

use super::{BackendStatus, GuardStatus, ReasonStatus, ServiceStatus, Status};
use std::fmt::Write as _;

/// The whole status as text.
#[must_use]
pub fn render(status: &Status) -> String {
    let mut text = head(status);
    for service in &status.services {
        text.push('\n');
        text.push_str(&service_head(service));
        text.push_str(&columns(&backend_rows(service)));
    }
    text.push_str(&reasons(status));
    text
}

fn head(status: &Status) -> String {
    let interfaces: Vec<_> =
        status.interfaces.iter().map(|port| format!("{} ({})", port.name, port.mode)).collect();
    format!(
        "lb-userspace {}, up {}, generation {}, config {}\ninterfaces {}, {} flows recorded, {}\n{}",
        status.version,
        duration(status.uptime_seconds),
        status.generation,
        status.config,
        interfaces.join(", "),
        grouped(status.flows),
        status.transport,
        status.guard.as_ref().map(guard).unwrap_or_default(),
    )
}

fn guard(guard: &GuardStatus) -> String {
    let (prefixes, blocks) = (grouped(guard.prefixes as u64), grouped(guard.blocks as u64));
    format!("guard on, {prefixes} prefixes known, {blocks} addresses blocked\n")
}

fn service_head(service: &ServiceStatus) -> String {
    let moving = match service.moving_slots {
        0 => String::new(),
        slots => format!(", {slots} moving"),
    };
    format!(
        "{}  {}/{}  {}  {} slots{moving}\n",
        service.name, service.vip, service.protocol, service.forward, service.slots
    )
}

const HEADINGS: [&str; 10] = [
    "backend",
    "address",
    "weight",
    "state",
    "slots",
    "packets",
    "bytes",
    "replies",
    "new flows",
    "last probe",
];

fn backend_rows(service: &ServiceStatus) -> Vec<Vec<String>> {
    let headings = HEADINGS.map(str::to_owned).to_vec();
    std::iter::once(headings).chain(service.backends.iter().map(backend_row)).collect()
}

fn backend_row(backend: &BackendStatus) -> Vec<String> {
    let traffic = &backend.traffic;
    vec![
        backend.name.clone(),
        backend.addr.clone(),
        backend.weight.to_string(),
        backend.state.clone(),
        grouped(backend.slots.into()),
        grouped(traffic.packets),
        bytes(traffic.bytes),
        grouped(traffic.reply_packets),
        grouped(traffic.new_flows),
        evidence(backend),
    ]
}

/// One line on why a backend is in its state.
fn evidence(backend: &BackendStatus) -> String {
    let health = &backend.health;
    let unreachable = match (&backend.next_hop, &backend.next_hop_error) {
        (Some(_), _) => String::new(),
        (None, Some(why)) => format!("; next hop not known: {why}"),
        (None, None) => "; next hop not known".to_owned(),
    };
    let probe = match (&health.error, health.last_probe_ms_ago, health.latency_us) {
        (Some(error), Some(ago), _) => format!("{error}, {ago} ms ago"),
        (None, Some(ago), Some(latency)) => format!("ok in {latency} µs, {ago} ms ago"),
        _ if health.check == "none" => "not checked".to_owned(),
        _ => "none yet".to_owned(),
    };
    probe + &unreachable
}

fn reasons(status: &Status) -> String {
    let mut text = String::new();
    for verdict in ["forward", "drop", "pass"] {
        let of_verdict = |reason: &&ReasonStatus| reason.verdict == verdict && reason.packets > 0;
        let words: Vec<_> = status
            .reasons
            .iter()
            .filter(of_verdict)
            .map(|reason| format!("{} {}", reason.reason, grouped(reason.packets)))
            .collect();
        let words = if words.is_empty() { "none".to_owned() } else { words.join(", ") };
        let _ = write!(text, "\n{:8} {words}", format!("{verdict}:"));
    }
    text + "\n"
}

/// Rows in aligned columns: words to the left, numbers to the right.
fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.first().map_or(0, Vec::len);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let numeric = |column: usize| {
        rows.get(1)
            .and_then(|row| row.get(column))
            .is_some_and(|cell| cell.starts_with(|first: char| first.is_ascii_digit()) && !cell.contains(':'))
    };
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if numeric(column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "  {}", line.trim_end());
    }
    text
}

/// A number in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the largest unit that leaves at least one.
#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
fn bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < units.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let decimals = usize::from(unit > 0);
    format!("{amount:.decimals$} {}", units.get(unit).unwrap_or(&"B"))
}

/// A span as people write it.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole seconds since start")]
fn duration(seconds: f64) -> String {
    let whole = seconds as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds:.1}s"),
        (0, 0, _) => format!("{minutes}m{}s", whole % 60),
        (0, _, _) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HealthStatus, InterfaceStatus, Traffic};
    use super::*;

    fn status() -> Status {
        let backend = BackendStatus {
            name: "web1".into(),
            addr: "10.0.0.11:8080".into(),
            weight: 3,
            state: "up".into(),
            slots: 12_295,
            traffic: Traffic { packets: 1_234_567, bytes: 5 << 20, new_flows: 40, ..Traffic::default() },
            next_hop: Some("02:00:00:00:00:0b via eth1".into()),
            next_hop_error: None,
            health: HealthStatus {
                check: "tcp".into(),
                last_probe_ms_ago: Some(300),
                latency_us: Some(85),
                successes: 9,
                ..HealthStatus::default()
            },
        };
        let down = BackendStatus {
            name: "web2".into(),
            state: "down".into(),
            addr: "10.0.0.12:8080".into(),
            next_hop_error: Some("10.0.0.12 does not answer on `eth1`".into()),
            health: HealthStatus {
                last_probe_ms_ago: Some(12),
                error: Some("refused".into()),
                ..HealthStatus::default()
            },
            ..BackendStatus::default()
        };
        Status {
            version: "0.1.0".into(),
            uptime_seconds: 192.0,
            interfaces: vec![InterfaceStatus { name: "eth0".into(), index: 2, mode: "native".into() }],
            services: vec![ServiceStatus {
                name: "web".into(),
                backends: vec![backend, down],
                ..ServiceStatus::default()
            }],
            reasons: vec![ReasonStatus {
                reason: "no_backend".into(),
                verdict: "drop".into(),
                packets: 12,
                bytes: 1,
            }],
            ..Status::default()
        }
    }

    #[test]
    fn the_table_tells_who_serves_and_why_one_does_not() {
        let text = render(&status());
        assert!(text.contains("up 3m12s") && text.contains("eth0 (native)"), "{text}");
        assert!(text.contains("1,234,567  5.0 MiB"), "{text}");
        assert!(text.contains("ok in 85 µs, 300 ms ago"), "{text}");
        assert!(text.contains("refused, 12 ms ago; next hop not known: 10.0.0.12 does not answer"), "{text}");
        assert!(text.contains("drop:    no_backend 12"), "{text}");
    }

    #[test]
    fn what_is_printed_as_json_reads_back_the_same() {
        let json = serde_json::to_string(&status()).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status());
    }

    #[test]
    fn numbers_are_grouped_and_bytes_scaled() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1023, 1024, 3 << 30].map(bytes), ["0 B", "1023 B", "1.0 KiB", "3.0 GiB"]);
        assert_eq!([3.21, 65.0, 3700.0, 90_000.0].map(duration), ["3.2s", "1m5s", "1h1m", "1d1h"]);
    }

    #[test]
    fn a_guard_is_told_of_where_there_is_one() {
        let guard = Some(GuardStatus { prefixes: 100_009, blocks: 2 });
        let told = head(&Status { guard, ..Status::default() });
        assert!(told.ends_with("guard on, 100,009 prefixes known, 2 addresses blocked\n"), "{told}");
        assert!(!head(&Status::default()).contains("guard"));
    }
}
