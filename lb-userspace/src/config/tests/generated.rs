//! Random configurations of every kind, printed here by a printer of our own: each is accepted and means what it says.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::config::{
    Backend, Capture, Check, CheckKind, Config, Encap, Forward, Limits, Nat, NatPorts, Protocol, Select,
    Service, ServiceGuard, StatusRange, Tracking, Vip, parse,
};

/// Whether a VIP is an address, and its ports.
type Form = (bool, (u16, u16));

/// The services of one address and the prefix around it: all of these may stand together, the special ones first.
const FORMS: [Form; 6] = [
    (true, (80, 80)),
    (true, (8000, 8099)),
    (true, (1, u16::MAX)),
    (false, (80, 80)),
    (false, (8000, 8099)),
    (false, (1, u16::MAX)),
];

/// What is drawn for a service; not all of it goes with all the rest.
#[derive(Clone, Debug)]
struct Draw {
    protocol: Protocol,
    forward: Forward,
    select: Select,
    tracking: Tracking,
    numbers: (u16, u8, u64),
    listener: Option<SocketAddr>,
    check: Option<Check>,
    backends: Vec<(bool, u16, u16, bool)>,
}

fn draw() -> impl Strategy<Value = Draw> {
    let forward = select(
        &[Forward::Nat, Forward::Dnat, Forward::DsrL2, Forward::DsrIpip, Forward::DsrGue, Forward::Local][..],
    );
    let selector = prop_oneof![
        Just(Select::Maglev),
        (1u8..=32).prop_map(|bits| Select::SourceHash { bits }),
        Just(Select::SourceHash { bits: 128 }),
        Just(Select::RoundRobin),
        Just(Select::LeastConnections),
        Just(Select::Quic),
    ];
    let tracking = select(&[Tracking::Auto, Tracking::Always, Tracking::Never][..]);
    let listener = option::of((1u16..).prop_map(|port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)));
    let backend = (any::<bool>(), 1u16.., 1u16..=1000, any::<bool>());
    (
        select(&[Protocol::Tcp, Protocol::Udp][..]),
        (forward, selector, tracking),
        (1u16.., 1u8..=8, 1u64..=86_400),
        listener,
        option::of(check()),
        vec(backend, 1..4),
    )
        .prop_map(|(protocol, (forward, select, tracking), numbers, listener, check, backends)| Draw {
            protocol,
            forward,
            select,
            tracking,
            numbers,
            listener,
            check,
            backends,
        })
}

fn check() -> impl Strategy<Value = Check> {
    let status = (200u16..=599, 0u16..100)
        .prop_map(|(first, more)| StatusRange { first, last: (first + more).min(599) });
    let http = ("/[!-&(-~]{0,20}", status, option::of("[a-z.]{1,20}"))
        .prop_map(|(path, status, host)| CheckKind::Http { path, status, host });
    let times = (10u64..=3_600_000).prop_flat_map(|interval| (Just(interval), 1..=interval));
    (prop_oneof![Just(CheckKind::Tcp), http], 1u16.., times, 1u32..=100, 1u32..=100, 0u8..=50).prop_map(
        |(kind, port, (interval, timeout), rise, fall, jitter)| Check {
            kind,
            port: Some(port),
            interval: Duration::from_millis(interval),
            timeout: Duration::from_millis(timeout),
            rise,
            fall,
            jitter,
        },
    )
}

/// A service of what was drawn, as far as it may be: what does not go with the mode takes its default.
fn service(number: u8, vip: Vip, draw: Draw) -> Service {
    let Draw { forward, numbers: (gue_port, server_id_bytes, idle), .. } = draw;
    let needs_record = forward == Forward::Dnat && !vip.is_exact();
    let is_quic = draw.select == Select::Quic;
    let may_be_quic = forward.keeps_destination() && vip.protocol == Protocol::Udp;
    let select = if is_quic && !may_be_quic { Select::Maglev } else { draw.select };
    let may_be_never = forward != Forward::Nat && !select.needs_records() && !needs_record;
    let tracking = if may_be_never { draw.tracking } else { Tracking::Always };
    let local = forward == Forward::Local;
    let quic = select == Select::Quic;
    let bytes = if quic { server_id_bytes } else { 2 };
    let backends = (1..).zip(draw.backends).map(|(index, drawn)| {
        let server_id = quic.then_some([index, 0, 0, 0, 0, 0, 0, 0]);
        backend((number, index), &vip, forward, server_id, drawn)
    });
    Service {
        name: format!("service-{number}"),
        forward,
        select: if local { Select::Maglev } else { select },
        gue_port: if forward == Forward::DsrGue { gue_port } else { 6080 },
        server_id_bytes: bytes,
        listener: draw.listener.filter(|_| local),
        tracking: if local { Tracking::Auto } else { tracking },
        idle: if local { Duration::from_mins(5) } else { Duration::from_secs(idle) },
        health: draw.check.filter(|_| !local),
        guard: ServiceGuard::OFF,
        backends: if local { Vec::new() } else { backends.collect() },
        line: 0,
        vip,
    }
}

fn backend(
    (service, index): (u8, u8),
    vip: &Vip,
    forward: Forward,
    server_id: Option<[u8; 8]>,
    (is_v6, port, weight, drain): (bool, u16, u16, bool),
) -> Backend {
    let is_v6 = if forward.encapsulates() { is_v6 } else { vip.addr.is_ipv6() };
    let port = match port {
        _ if forward.keeps_destination() && vip.port != vip.last_port => 0,
        port if port.is_multiple_of(3) => 0,
        _ if forward.keeps_destination() => vip.port,
        port => port,
    };
    let ip: IpAddr = if is_v6 {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, service.into(), index.into()).into()
    } else {
        Ipv4Addr::new(10, 0, service, index).into()
    };
    Backend { name: format!("backend_{index}"), addr: SocketAddr::new(ip, port), server_id, weight, drain }
}

/// Some of the [`FORMS`] on a site of its own.
fn site(site: u8) -> impl Strategy<Value = Vec<Service>> {
    (subsequence(&FORMS[..], 0..=4), any::<bool>(), vec(draw(), FORMS.len())).prop_map(
        move |(forms, is_v6, draws)| {
            let service = |(form, (index, draw)): (Form, (u8, Draw))| {
                let vip = Vip { protocol: draw.protocol, ..vip(site, is_v6, form) };
                service(site * 8 + index, vip, draw)
            };
            forms.into_iter().zip((0..).zip(draws)).map(service).collect()
        },
    )
}

fn vip(site: u8, is_v6: bool, (is_address, (port, last_port)): Form) -> Vip {
    let host = u8::from(is_address);
    let (addr, bits): (IpAddr, u8) = if is_v6 {
        let bits = if is_address { 128 } else { 64 };
        (Ipv6Addr::new(0x2001, 0xdb8, 0, site.into(), 0, 0, 0, host.into()).into(), bits)
    } else {
        (Ipv4Addr::new(203, 0, site, host).into(), if is_address { 32 } else { 24 })
    };
    Vip { addr, bits, port, last_port, protocol: Protocol::Tcp }
}

fn config() -> impl Strategy<Value = Config> {
    let ports = option::of((1024u16..).prop_flat_map(|first| (Just(first), first..)))
        .prop_map(|range| range.map_or(NatPorts::Auto, |(first, last)| NatPorts::Range(first..=last)));
    let encap = (any::<bool>(), 1u8..=32, 1u8..=128).prop_map(|(spread, v4, v6)| Encap {
        spread,
        source_v4: (Ipv4Addr::new(128, 0, 0, 0), v4),
        source_v6: (Ipv6Addr::new(0x8000, 0, 0, 0, 0, 0, 0, 0), v6),
    });
    let limits = (1024u32..=16_777_216, 64u32..=1_048_576, 0u32..=1_000_000_000)
        .prop_map(|(flows, fragments, new_flows)| Limits { flows, fragments, new_flows });
    let sites = (site(1), site(2), site(3));
    (sites, ports, encap, limits, capture(), any::<(u64, bool, bool)>()).prop_map(
        |((one, two, three), ports, encap, limits, capture, (seed, ping, log_packets))| Config {
            metrics: None,
            services: [one, two, three].concat(),
            nat: Nat { ports },
            limits,
            seed,
            ping,
            encap,
            guard: None,
            host_guard: ServiceGuard::OFF,
            capture,
            proxy: crate::config::proxy::Proxy::default(),
            log_packets,
        },
    )
}

fn capture() -> impl Strategy<Value = Capture> {
    (any::<bool>(), 1u32..=100_000, 64u32..=2047, 12u32..=26)
        .prop_map(|(enabled, rate, snap, bits)| Capture { enabled, rate, snap, ring: 1 << bits })
}

/// A configuration as an operator would write it who leaves nothing out.
fn print(config: &Config) -> String {
    let Config { nat, limits, encap, capture, .. } = config;
    let ports = match &nat.ports {
        NatPorts::Auto => "auto".to_owned(),
        NatPorts::Range(range) => format!("{}-{}", range.start(), range.end()),
    };
    let ((v4, v4_bits), (v6, v6_bits)) = (encap.source_v4, encap.source_v6);
    let mut text = format!(
        "seed = \"{:#x}\"\nping = {}\nlog_packets = {}\n[nat]\nports = \"{ports}\"\n[limits]\nflows = {}\n\
         fragments = {}\nnew_flows = {}\n[encap]\nspread = {}\nsource_v4 = \"{v4}/{v4_bits}\"\n\
         source_v6 = \"{v6}/{v6_bits}\"\n[capture]\nenabled = {}\nrate = {}\nsnap = {}\nring = {}\n",
        config.seed,
        config.ping,
        config.log_packets,
        limits.flows,
        limits.fragments,
        limits.new_flows,
        encap.spread,
        capture.enabled,
        capture.rate,
        capture.snap,
        capture.ring,
    );
    config.services.iter().for_each(|service| text.push_str(&print_service(service)));
    text
}

fn print_service(service: &Service) -> String {
    let Service { name, vip, forward, select, tracking, .. } = service;
    let vip_text = Vip { protocol: Protocol::Tcp, ..*vip }.to_string();
    let mut text = format!(
        "[[service]]\nname = \"{name}\"\nvip = \"{vip_text}\"\nprotocol = \"{}\"\nforward = \"{forward}\"\n",
        vip.protocol
    );
    let mut line = |line: String| writeln!(text, "{line}").unwrap();
    match service.listener {
        _ if *forward != Forward::Local => {
            let health = service.health.as_ref().map_or("\"none\"".to_owned(), print_check);
            let idle = service.idle.as_secs();
            line(format!(
                "select = \"{select}\"\ntracking = \"{tracking}\"\nidle = \"{idle}s\"\nhealth = {health}"
            ));
        }
        Some(listener) => line(format!("listener = \"{listener}\"")),
        None => {}
    }
    if *forward == Forward::DsrGue {
        line(format!("gue_port = {}", service.gue_port));
    }
    if *select == Select::Quic {
        line(format!("server_id_bytes = {}", service.server_id_bytes));
    }
    service.backends.iter().for_each(|backend| line(print_backend(backend, service.server_id_bytes)));
    text
}

fn print_check(check: &Check) -> String {
    let kind = match &check.kind {
        CheckKind::Tcp => "tcp = true".to_owned(),
        CheckKind::Http { path, status, host } => {
            let host = host.as_ref().map_or(String::new(), |host| format!(", host = \"{host}\""));
            format!("http = '''{path}''', status = \"{}-{}\"{host}", status.first, status.last)
        }
    };
    let port = check.port.map_or(String::new(), |port| format!(", port = {port}"));
    let (interval, timeout) = (check.interval.as_millis(), check.timeout.as_millis());
    format!(
        "{{ {kind}{port}, interval = \"{interval}ms\", timeout = \"{timeout}ms\", rise = {}, fall = {}, jitter = \"{}%\" }}",
        check.rise, check.fall, check.jitter
    )
}

fn print_backend(backend: &Backend, bytes: u8) -> String {
    let Backend { name, addr, weight, drain, .. } = backend;
    let addr = if addr.port() == 0 { addr.ip().to_string() } else { addr.to_string() };
    let id = backend.server_id.map_or(String::new(), |id| {
        let digits = format!("{:016x}", u64::from_be_bytes(id));
        let digits = &digits[..2 * usize::from(bytes)];
        format!("\nserver_id = \"{digits}\"")
    });
    format!(
        "[[service.backend]]\nname = \"{name}\"\naddr = \"{addr}\"\nweight = {weight}\ndrain = {drain}{id}"
    )
}

proptest! {
    #[test]
    fn a_configuration_means_what_it_says(config in config()) {
        let text = print(&config);
        let mut read = parse("generated", &text).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}")).config;
        read.services.iter_mut().for_each(|service| service.line = 0);
        prop_assert_eq!(read, config);
    }
}
