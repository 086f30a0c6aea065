//! Good configurations, and what they mean.

use std::time::Duration;

use super::row::{GOOD, first, in_service, instead, last};
use crate::config::{
    Backend, Capture, Check, CheckKind, Config, Forward, Limits, Loaded, NatPorts, Protocol, Select, Service,
    ServiceGuard, StatusRange, Tracking, Vip, parse,
};

fn load(text: &str) -> Loaded {
    parse("lb.toml", text).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"))
}

/// The only service of a text that has no warnings.
fn service(text: &str) -> Service {
    let Loaded { mut config, warnings } = load(text);
    assert_eq!(warnings, []);
    assert_eq!(config.services.len(), 1);
    config.services.remove(0)
}

fn check(health: &str) -> Check {
    service(&in_service(&format!("health = {health}"))).health.expect("a check was asked for")
}

fn warned(text: &str) -> Vec<(usize, String)> {
    load(text).warnings.into_iter().map(|warning| (warning.place.line, warning.message)).collect()
}

#[test]
fn an_empty_file_is_the_default_configuration() {
    let Loaded { config, warnings } = load("");
    assert_eq!(config, Config::default());
    assert_eq!(warnings, []);
}

#[test]
fn a_service_needs_four_keys_and_gets_the_defaults_for_the_rest() {
    let expected = Service {
        name: "web".to_owned(),
        vip: Vip::new([203, 0, 113, 10].into(), 80, Protocol::Tcp),
        forward: Forward::Nat,
        select: Select::Maglev,
        gue_port: 6080,
        server_id_bytes: 2,
        listener: None,
        tracking: Tracking::Auto,
        guard: ServiceGuard::OFF,
        idle: Duration::from_mins(5),
        health: Some(Check::default()),
        backends: vec![Backend {
            name: "web1".to_owned(),
            addr: ([10, 0, 0, 11], 8080).into(),
            server_id: None,
            weight: 1,
            drain: false,
        }],
        line: 1,
    };
    assert_eq!(service(GOOD), expected);
}

#[test]
fn a_service_knows_its_line() {
    let text = first("# a comment\nseed = 1\n");
    assert_eq!(load(&text).config.services[0].line, 4);
}

#[test]
fn every_key_of_a_service_is_taken_over() {
    let text = r#"
        [[service]]
        name = "dns"
        vip = "203.0.113.53:53"
        protocol = "udp"
        forward = "dsr-ipip"
        tracking = "never"
        idle = "30s"
        health = "none"
        backend = [{ name = "dns1", addr = "10.0.0.21:53", weight = 1000, drain = false }]
    "#;
    let service = service(text);
    assert_eq!(service.vip.to_string(), "203.0.113.53:53/udp");
    assert_eq!((service.forward, service.tracking), (Forward::DsrIpip, Tracking::Never));
    assert_eq!(service.idle, Duration::from_secs(30));
    assert_eq!(service.health, None);
    assert_eq!(service.backends[0].weight, 1000);
}

#[test]
fn every_key_of_a_check_is_taken_over() {
    let expected = Check {
        kind: CheckKind::Http {
            path: "/healthz?deep=1".to_owned(),
            status: StatusRange { first: 200, last: 299 },
            host: Some("www.example.org".to_owned()),
        },
        port: Some(8081),
        interval: Duration::from_millis(250),
        timeout: Duration::from_millis(250),
        rise: 3,
        fall: 1,
        jitter: 0,
    };
    let health = r#"{ http = "/healthz?deep=1", status = "200-299", host = "www.example.org", port = 8081,
        interval = "250ms", timeout = "250ms", rise = 3, fall = 1, jitter = "0%" }"#;
    assert_eq!(check(health), expected);
}

#[test]
fn a_short_interval_shortens_the_default_timeout() {
    let check = check(r#"{ tcp = true, interval = "100ms" }"#);
    assert_eq!(check.timeout, Duration::from_millis(100));
}

#[test]
fn a_check_may_be_a_section_of_its_own() {
    let text = last("[service.health]\nhttp = \"/\"\nstatus = 204");
    let Some(Check { kind: CheckKind::Http { status, .. }, .. }) = service(&text).health else {
        panic!("an HTTP check was asked for")
    };
    assert!(status.contains(204) && !status.contains(200));
}

#[test]
fn the_sections_and_top_level_keys_are_taken_over() {
    let text =
        "seed = \"0x5eed\"\nlog_packets = true\n[nat]\nports = \"20000-60000\"\n[limits]\nflows = \"1M\"\n";
    let config = load(text).config;
    assert_eq!(config.seed, 0x5eed);
    assert!(config.log_packets);
    assert_eq!(config.nat.ports, NatPorts::Range(20_000..=60_000));
    assert_eq!(config.limits, Limits { flows: 1_048_576, ..Limits::default() });
}

#[test]
fn a_capture_s_buffer_is_a_power_of_two() {
    let capture = load("[capture]\nenabled = true\nring = \"5k\"\nsnap = 64\n").config.capture;
    assert_eq!(capture, Capture { enabled: true, ring: 8192, snap: 64, ..Capture::default() });
}

#[test]
fn a_seed_may_use_all_64_bits() {
    for text in ["seed = 0xffff_ffff_ffff_ffff", "seed = \"ffffffffffffffff\"", "seed = 18446744073709551615"]
    {
        assert_eq!(load(text).config.seed, u64::MAX, "{text}");
    }
}

#[test]
fn bounds_are_within() {
    for lines in
        ["idle = \"1s\"", "idle = \"24h\"", "health = { tcp = true, interval = \"1h\", timeout = \"1h\" }"]
    {
        service(&in_service(lines));
    }
    let name = "n".repeat(63);
    assert_eq!(service(&instead(&[("name = \"web\"", &format!("name = \"{name}\""))])).name, name);
    assert_eq!(load("limits.flows = 16777216").config.limits.flows, 16_777_216);
    assert_eq!(load("nat.ports = \"1024-65535\"").config.nat.ports, NatPorts::Range(1024..=65535));
}

#[test]
fn tcp_and_udp_may_share_an_address_and_services_may_share_backends() {
    let text = last(
        "[[service]]\nname = \"web-quic\"\nvip = \"203.0.113.10:80\"\nprotocol = \"udp\"\nforward = \"nat\"\n\
         health = \"none\"\n[[service.backend]]\nname = \"web1\"\naddr = \"10.0.0.11:8080\"",
    );
    let Loaded { config, warnings } = load(&text);
    assert_eq!(config.services.len(), 2);
    assert_eq!(warnings, []);
}

#[test]
fn udp_has_no_check_by_default_and_a_warning_says_so() {
    let text = in_service("protocol = \"udp\"");
    assert_eq!(load(&text).config.services[0].health, None);
    assert_eq!(warned(&text), [(1, "service \"web\" has no health check".to_owned())]);
    assert_eq!(warned(&in_service("protocol = \"udp\"\nhealth = \"none\"")), []);
}

#[test]
fn udp_may_be_checked_by_tcp_on_a_port_of_its_own() {
    let service = service(&in_service("protocol = \"udp\"\nhealth = { tcp = true, port = 8081 }"));
    assert_eq!(service.health, Some(Check { port: Some(8081), ..Check::default() }));
}

#[test]
fn draining_every_backend_is_allowed_with_a_warning() {
    assert_eq!(
        warned(&last("drain = true")),
        [(1, "every backend of service \"web\" is draining".to_owned())]
    );
    assert_eq!(warned(&last("drain = true\n[[service.backend]]\nname = \"b\"\naddr = \"10.0.0.12:80\"")), []);
}

#[test]
fn a_warning_is_drawn_like_a_mistake() {
    let warning = load(&last("drain = true")).warnings.remove(0).to_string();
    assert!(
        warning.starts_with("warning: every backend of service \"web\" is draining\n --> lb.toml:1:1\n"),
        "{warning}"
    );
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_are_no_mistake() {
    assert_eq!(service(&format!("\u{feff}{}", GOOD.replace('\n', "\r\n"))), service(GOOD));
}

#[test]
fn a_vip_shows_its_protocol_where_it_is_not_tcp() {
    let vip = |protocol| Vip::new([203, 0, 113, 10].into(), 80, protocol);
    assert_eq!(vip(Protocol::Tcp).to_string(), "203.0.113.10:80");
    assert_eq!(vip(Protocol::Udp).to_string(), "203.0.113.10:80/udp");
    let six = Vip::new("2001:db8::1".parse().unwrap(), 80, Protocol::Tcp);
    assert_eq!(six.to_string(), "[2001:db8::1]:80");
}
