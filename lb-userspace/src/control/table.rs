//! The status as people read it.
//!
//! One line a backend where the terminal is wide enough, and three where it is not.

mod front;
mod text;

use super::{
    BackendStatus, FloodGuardStatus, GuardStatus, HealthStatus, InterfaceStatus, ReasonStatus, ReloadStatus,
    ServiceStatus, Status,
};
use front::front;
use std::fmt::Write as _;
use text::{bytes, columns, duration, grouped, wrapped};

/// Indentation of what belongs to the line above.
const INDENT: usize = 2;

/// The whole status as text for a terminal of this width.
#[must_use]
pub fn render(status: &Status, width: usize) -> String {
    let mut text = wrapped(&head(status), width, INDENT);
    if let Some(told) = refusal(&status.reloads) {
        text.push_str(&wrapped(&told, width, INDENT));
    }
    let has_flows = !status.interfaces.is_empty() || status.front.is_none();
    if has_flows {
        text.push_str(&wrapped(&head_of_flows(status), width, INDENT));
    }
    for refusal in status.interfaces.iter().flat_map(refusals) {
        text.push_str(&wrapped(&refusal, width, INDENT));
    }
    if let Some(told) = status.guard.as_ref().map(guard) {
        text.push_str(&wrapped(&told, width, INDENT));
    }
    for told in status.front.iter().flat_map(front) {
        text.push_str(&wrapped(&told, width, INDENT));
    }
    for service in &status.services {
        text.push('\n');
        text.push_str(&wrapped(&service_head(service), width, INDENT));
        if let Some(why) = &service.unrouted {
            text.push_str(&wrapped(&format!("  not addresses of this host: {why}"), width, 2 * INDENT));
        }
        text.push_str(&backends(service, width));
    }
    if has_flows {
        text.push('\n');
        for verdict in ["forward", "drop", "pass"] {
            text.push_str(&wrapped(&reasons(status, verdict), width, 9));
        }
    }
    text
}

/// A line on a reload that changed nothing, until one is taken.
fn refusal(reloads: &ReloadStatus) -> Option<String> {
    let (reason, ago) = reloads.refusal.as_ref().zip(reloads.refused_seconds_ago)?;
    Some(format!(
        "the last reload was refused {} ago, and what was before serves on: {reason}",
        duration(ago)
    ))
}

fn head(status: &Status) -> String {
    format!(
        "lb-userspace {}, up {}, generation {}, config {}",
        status.version,
        duration(status.uptime_seconds),
        status.generation,
        status.config,
    )
}

/// Why an interface is not attached to in a better mode, or at all.
fn refusals(port: &InterfaceStatus) -> impl Iterator<Item = String> {
    let unattached = port.unattached.iter().map(|reason| format!("{}: not balanced, {reason}", port.name));
    port.refused
        .iter()
        .map(|step| format!("{}: not {}, {}", port.name, step.mode, step.reason))
        .chain(unattached)
}

fn head_of_flows(status: &Status) -> String {
    let interfaces: Vec<_> =
        status.interfaces.iter().map(|port| format!("{} ({})", port.name, port.mode)).collect();
    format!(
        "interfaces {}, {} flows recorded, {}{}",
        interfaces.join(", "),
        grouped(status.flows),
        status.transport,
        flood_guard(&status.flood_guard)
    )
}

/// What there is to tell of the guard, if it is on.
fn flood_guard(guard: &FloodGuardStatus) -> String {
    let bound = grouped(guard.new_flows.into());
    match (guard.new_flows, guard.closed) {
        (0, _) => String::new(),
        (_, false) => format!(", flood guard open ({bound} new flows a second)"),
        (_, true) => format!(", flood guard CLOSED (more than {bound} new flows a second)"),
    }
}

fn guard(guard: &GuardStatus) -> String {
    let (prefixes, blocks) = (grouped(guard.prefixes as u64), grouped(guard.blocks as u64));
    format!("guard on, {prefixes} prefixes known, {blocks} addresses blocked")
}

fn service_head(service: &ServiceStatus) -> String {
    let ServiceStatus { name, vip, protocol, forward, select, tracking, .. } = service;
    let (Some(select), Some(tracking)) = (select, tracking) else {
        return format!("{name}  {vip}/{protocol}  {forward}, {}", landing(service));
    };
    let moving = match service.moving_slots {
        0 => String::new(),
        slots => format!(", {} moving", grouped(slots.into())),
    };
    let slots = grouped(service.slots.into());
    format!("{name}  {vip}/{protocol}  {forward}, {select}, tracking {tracking}, {slots} slots{moving}")
}

/// Where a local service ends.
fn landing(service: &ServiceStatus) -> String {
    match &service.listener {
        None => "left to whoever listens on it".to_owned(),
        Some(listener) if listener.open => format!("lands on {}: {}", listener.address, listener.state),
        Some(listener) => format!("reaches nobody at {}: {}", listener.address, listener.state),
    }
}

/// The backends in one line each, or where that is too wide, in three.
fn backends(service: &ServiceStatus, width: usize) -> String {
    let wide = columns(&rows(service, |backend| {
        [identity(backend), traffic_cells(backend), vec![evidence(backend)]].concat()
    }));
    if wide.lines().all(|line| line.chars().count() <= width) {
        return wide;
    }
    let narrow = columns(&rows(service, identity));
    let mut lines = narrow.lines();
    let mut text = lines.next().map_or(String::new(), |headings| format!("{headings}\n"));
    for (line, backend) in lines.zip(&service.backends) {
        let below = |words: &str| wrapped(&format!("    {words}"), width, 2 * INDENT);
        let _ = write!(text, "{line}\n{}{}", below(&traffic_words(backend)), below(&evidence(backend)));
    }
    text
}

/// Headings of what a backend is and does, in the order of the cells.
const HEADINGS: [&str; 11] = [
    "backend",
    "address",
    "weight",
    "state",
    "slots",
    "live",
    "packets",
    "bytes",
    "replies",
    "new flows",
    "last probe",
];
/// Place of the live connections, which only some services count.
const LIVE: usize = 5;

/// The headings, and a row for each backend, both as far as there are cells.
fn rows(service: &ServiceStatus, cells: impl Fn(&BackendStatus) -> Vec<String>) -> Vec<Vec<String>> {
    let Some(first) = service.backends.first() else { return Vec::new() };
    let headings = HEADINGS.iter().enumerate().filter(|(at, _)| *at != LIVE || first.connections.is_some());
    let headings: Vec<_> = headings.map(|(_, heading)| (*heading).to_owned()).collect();
    let mut rows = vec![headings];
    rows.extend(service.backends.iter().map(&cells));
    let count = rows.last().map_or(0, Vec::len);
    rows[0].truncate(count);
    rows
}

fn identity(backend: &BackendStatus) -> Vec<String> {
    let cells = [
        backend.name.clone(),
        backend.addr.clone(),
        backend.weight.to_string(),
        backend.state.clone(),
        grouped(backend.slots.into()),
    ];
    cells.into_iter().chain(backend.connections.map(grouped)).collect()
}

fn traffic_cells(backend: &BackendStatus) -> Vec<String> {
    let traffic = &backend.traffic;
    let [packets, replies, flows] = [traffic.packets, traffic.reply_packets, traffic.new_flows].map(grouped);
    vec![packets, bytes(traffic.bytes), replies, flows]
}

/// The same in words.
fn traffic_words(backend: &BackendStatus) -> String {
    let traffic = &backend.traffic;
    let [packets, replies, flows] = [traffic.packets, traffic.reply_packets, traffic.new_flows].map(grouped);
    format!("{packets} packets, {}, {replies} replies, {flows} new flows", bytes(traffic.bytes))
}

/// One line on why a backend is in its state.
fn evidence(backend: &BackendStatus) -> String {
    let health = &backend.health;
    let unreachable = match (&backend.next_hop, &backend.next_hop_error) {
        (Some(_), _) => String::new(),
        (None, Some(why)) => format!("; next hop not known: {why}"),
        (None, None) => "; next hop not known".to_owned(),
    };
    last_probe(health) + &unreachable
}

/// What the last probe met.
fn last_probe(health: &HealthStatus) -> String {
    match (&health.error, health.last_probe_ms_ago, health.latency_us) {
        (Some(error), Some(ago), _) => format!("{error}, {ago} ms ago"),
        (None, Some(ago), Some(latency @ ..10_000)) => format!("ok in {latency} µs, {ago} ms ago"),
        (None, Some(ago), Some(latency)) => format!("ok in {} ms, {ago} ms ago", latency / 1000),
        _ if health.check == "none" => "not checked".to_owned(),
        _ => "none yet".to_owned(),
    }
}

/// The counters of a verdict in one sentence.
fn reasons(status: &Status, verdict: &str) -> String {
    let of_verdict = |reason: &&ReasonStatus| reason.verdict == verdict && reason.packets > 0;
    let reasons = status.reasons.iter().filter(of_verdict);
    let words: Vec<_> =
        reasons.map(|reason| format!("{} {}", reason.reason, grouped(reason.packets))).collect();
    let words = if words.is_empty() { "none".to_owned() } else { words.join(", ") };
    format!("{:8} {words}", format!("{verdict}:"))
}

#[cfg(test)]
mod tests {
    use super::super::{ListenerStatus, RefusedMode, Traffic};
    use super::*;

    fn up() -> BackendStatus {
        BackendStatus {
            name: "web1".into(),
            addr: "10.0.0.11:8080".into(),
            weight: 3,
            state: "up".into(),
            slots: 12_295,
            traffic: Traffic { packets: 1_234_567, bytes: 5 << 20, new_flows: 40, ..Traffic::default() },
            next_hop: Some("02:00:00:00:00:0b via eth1".into()),
            health: HealthStatus {
                check: "tcp".into(),
                last_probe_ms_ago: Some(300),
                latency_us: Some(85),
                successes: 9,
                ..HealthStatus::default()
            },
            ..BackendStatus::default()
        }
    }

    fn down() -> BackendStatus {
        BackendStatus {
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
        }
    }

    fn web(backends: Vec<BackendStatus>) -> ServiceStatus {
        ServiceStatus {
            name: "web".into(),
            vip: "203.0.113.0/24:8000-8099".into(),
            protocol: "tcp".into(),
            forward: "dsr-ipip".into(),
            select: Some("maglev".into()),
            tracking: Some("auto".into()),
            slots: 16_384,
            moving_slots: 1200,
            backends,
            ..ServiceStatus::default()
        }
    }

    fn local(listener: Option<ListenerStatus>) -> ServiceStatus {
        ServiceStatus { listener, select: None, tracking: None, forward: "local".into(), ..web(Vec::new()) }
    }

    fn status(services: Vec<ServiceStatus>) -> Status {
        let reason = |reason: &str, packets| ReasonStatus {
            reason: reason.into(),
            verdict: "drop".into(),
            packets,
            bytes: 1,
        };
        Status {
            version: "0.1.0".into(),
            uptime_seconds: 192.0,
            generation: 7,
            config: "/etc/lb/lb.toml".into(),
            transport: "io_uring".into(),
            interfaces: vec![InterfaceStatus {
                name: "eth0".into(),
                index: 2,
                mode: "native".into(),
                ..InterfaceStatus::default()
            }],
            services,
            reasons: vec![reason("no_backend", 12), reason("time_to_live", 0), reason("malformed", 1234)],
            ..Status::default()
        }
    }

    #[test]
    fn a_wide_terminal_has_a_line_for_each_backend() {
        let healthy = BackendStatus { name: "web2".into(), ..up() };
        let expected = "\
lb-userspace 0.1.0, up 3m12s, generation 7, config /etc/lb/lb.toml
interfaces eth0 (native), 0 flows recorded, io_uring

web  203.0.113.0/24:8000-8099/tcp  dsr-ipip, maglev, tracking auto, 16,384 slots, 1,200 moving
  backend  address         weight  state   slots    packets    bytes  replies  new flows  last probe
  web1     10.0.0.11:8080       3  up     12,295  1,234,567  5.0 MiB        0         40  ok in 85 µs, 300 ms ago
  web2     10.0.0.11:8080       3  up     12,295  1,234,567  5.0 MiB        0         40  ok in 85 µs, 300 ms ago

forward: none
drop:    no_backend 12, malformed 1,234
pass:    none
";
        assert_eq!(render(&status(vec![web(vec![up(), healthy])]), 120), expected);
    }

    #[test]
    fn a_narrow_terminal_has_three() {
        let expected = "\
lb-userspace 0.1.0, up 3m12s, generation 7, config /etc/lb/lb.toml
interfaces eth0 (native), 0 flows recorded, io_uring

web  203.0.113.0/24:8000-8099/tcp  dsr-ipip, maglev, tracking auto, 16,384
  slots, 1,200 moving
  backend  address         weight  state   slots
  web1     10.0.0.11:8080       3  up     12,295
    1,234,567 packets, 5.0 MiB, 0 replies, 40 new flows
    ok in 85 µs, 300 ms ago
  web2     10.0.0.12:8080       0  down        0
    0 packets, 0 B, 0 replies, 0 new flows
    refused, 12 ms ago; next hop not known: 10.0.0.12 does not answer on `eth1`

forward: none
drop:    no_backend 12, malformed 1,234
pass:    none
";
        assert_eq!(render(&status(vec![web(vec![up(), down()])]), 80), expected);
    }

    #[test]
    fn live_connections_are_told_where_they_decide() {
        let backend = BackendStatus { connections: Some(1017), ..up() };
        let text = render(&status(vec![web(vec![backend]), web(vec![up()])]), 130);
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with("  ")).collect();
        assert!(lines[0].contains("slots   live    packets") && lines[1].contains("12,295  1,017"), "{text}");
        assert!(lines[2].contains("slots    packets"), "{text}");
    }

    #[test]
    fn a_local_service_tells_where_it_lands_or_why_nowhere() {
        let line = |listener: Option<(bool, &str)>| {
            let listener = listener.map(|(open, state)| ListenerStatus {
                address: "127.0.0.1:8080".into(),
                open,
                state: state.into(),
            });
            let text = render(&status(vec![local(listener)]), 120);
            text.lines().nth(3).map(str::to_owned).unwrap_or_default()
        };
        let vip = "web  203.0.113.0/24:8000-8099/tcp  local, ";
        assert_eq!(line(None), format!("{vip}left to whoever listens on it"));
        assert_eq!(line(Some((true, "nginx (812)"))), format!("{vip}lands on 127.0.0.1:8080: nginx (812)"));
        let nobody = line(Some((false, "nobody listens there")));
        assert_eq!(nobody, format!("{vip}reaches nobody at 127.0.0.1:8080: nobody listens there"));
    }

    #[test]
    fn addresses_that_are_not_the_host_s_are_told_with_the_reason() {
        let service = ServiceStatus { unrouted: Some("no permission".into()), ..local(None) };
        let text = render(&status(vec![service]), 120);
        assert!(text.contains("\n  not addresses of this host: no permission\n"), "{text}");
    }

    #[test]
    fn a_mode_that_was_refused_is_told_with_the_reason() {
        let mut status = status(Vec::new());
        let refused = RefusedMode { mode: "native".into(), reason: "its driver has none".into() };
        status.interfaces[0].refused.push(refused);
        assert_eq!(render(&status, 120).lines().nth(2), Some("eth0: not native, its driver has none"));
    }

    #[test]
    fn an_interface_that_is_back_in_vain_is_told_with_the_reason() {
        let mut status = status(Vec::new());
        status.interfaces[0].unattached = Some("somebody else has it".into());
        assert_eq!(render(&status, 120).lines().nth(2), Some("eth0: not balanced, somebody else has it"));
    }

    #[test]
    fn the_flood_guard_is_told_of_where_it_is_on() {
        let line = |new_flows, closed| {
            let flood_guard = FloodGuardStatus { new_flows, closed, held_back: 7 };
            let text = render(&Status { flood_guard, ..status(Vec::new()) }, 120);
            text.lines().nth(1).map(|line| line.replace("interfaces eth0 (native), 0 flows recorded, ", ""))
        };
        assert_eq!(line(0, false).as_deref(), Some("io_uring"));
        assert_eq!(
            line(5000, false).as_deref(),
            Some("io_uring, flood guard open (5,000 new flows a second)")
        );
        assert_eq!(
            line(5000, true).as_deref(),
            Some("io_uring, flood guard CLOSED (more than 5,000 new flows a second)")
        );
    }

    #[test]
    fn what_is_printed_as_json_reads_back_the_same() {
        let listener = ListenerStatus { address: "127.0.0.1:80".into(), open: true, state: String::new() };
        let status = status(vec![web(vec![up(), down()]), local(Some(listener))]);
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
    }

    #[test]
    fn the_json_has_the_words_of_the_configuration() {
        let json = serde_json::to_value(status(vec![web(vec![up()])])).unwrap();
        let service = &json["services"][0];
        for key in ["name", "vip", "protocol", "forward", "select", "tracking", "listener"] {
            assert!(service.get(key).is_some(), "{key} of {service:#}");
        }
        for key in ["name", "addr", "weight"] {
            assert!(service["backends"][0].get(key).is_some(), "{key} of {service:#}");
        }
        assert_eq!(json["flood_guard"]["new_flows"], 0);
    }

    #[test]
    fn a_guard_is_told_of_where_there_is_one() {
        let guard = Some(GuardStatus { prefixes: 100_009, blocks: 2 });
        let told = render(&Status { guard, ..Status::default() }, 80);
        assert!(told.contains("\nguard on, 100,009 prefixes known, 2 addresses blocked\n"), "{told}");
        assert!(!render(&Status::default(), 80).contains("guard"));
    }
}
