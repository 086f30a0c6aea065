//! The rules of the backends of one service.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::super::bounds::{DEFAULT_SERVER_ID_BYTES, DEFAULT_WEIGHT};
use super::super::finding::{Finding, Report};
use super::super::found::Found;
use super::super::model::{Backend, Forward, Protocol, Select};
use super::super::raw;
use super::duplicates;

pub(super) fn check(service: &raw::Service, report: &mut Report) {
    check_any(service, report);
    check_names(service, report);
    check_addrs(service, report);
    check_families(service, report);
    check_ports(service, report);
    check_port_of_many(service, report);
    check_probed_port(service, report);
    check_server_ids(service, report);
    check_not_all_drained(service, report);
}

/// The backends, unless one is missing a part or unfit.
pub(super) fn build(service: &raw::Service) -> Option<Vec<Backend>> {
    service.backends().map(backend).collect()
}

fn backend(raw: &raw::Backend) -> Option<Backend> {
    Some(Backend {
        name: raw.name.given()?.clone(),
        addr: *raw.addr.given()?,
        server_id: raw.server_id.clone().map(|(_, id)| Some(id)).or(None)?,
        weight: raw.weight.or(DEFAULT_WEIGHT)?,
        drain: raw.drain.or(false)?,
    })
}

pub(super) fn addrs(service: &raw::Service) -> impl Iterator<Item = (Range<usize>, SocketAddr)> {
    service.backends().filter_map(|backend| backend.addr.spanned()).map(|(span, addr)| (span, *addr))
}

/// Where the backends listen: on the VIP's port where none is written and there is but one.
fn endpoints(service: &raw::Service) -> impl Iterator<Item = (Range<usize>, SocketAddr)> {
    let only_port = service.vip.given().filter(|vip| vip.port == vip.last_port).map_or(0, |vip| vip.port);
    addrs(service).map(move |(span, addr)| match addr.port() {
        0 => (span, SocketAddr::new(addr.ip(), only_port)),
        _ => (span, addr),
    })
}

fn check_any(service: &raw::Service, report: &mut Report) {
    let none = match &service.backends {
        Found::Absent => true,
        Found::Unfit => false,
        Found::Given { value, .. } => value.is_empty(),
    };
    if service.forward.given() == Some(&Forward::Local) {
        check_none(service, report);
    } else if none {
        report.add(
            Finding::shape(service.span.clone(), format!("{} has no backend", service.title()))
                .label("expected at least one `[[service.backend]]` below")
                .help(
                    "add a backend; to take the service away, remove or comment out its whole `[[service]]`",
                ),
        );
    }
}

/// What ends on this host has no backends.
fn check_none(service: &raw::Service, report: &mut Report) {
    if let Some(backend) = service.backends().next() {
        report.add(
            Finding::value(backend.span.clone(), format!("{} is `local` and has a backend", service.title()))
                .label("expected none: its packets go to this host's own stack")
                .help("remove the backends, or choose another `forward`"),
        );
    }
}

fn check_names(service: &raw::Service, report: &mut Report) {
    let names = service.backends().filter_map(|backend| backend.name.spanned());
    duplicates(names.map(|(span, name)| (span, name.as_str())), |name, first, second| {
        report.add(
            Finding::value(second, format!("two backends of {} are called \"{name}\"", service.title()))
                .label("expected another name")
                .also(first, "first used here")
                .help("rename one of them"),
        );
    });
}

fn check_addrs(service: &raw::Service, report: &mut Report) {
    duplicates(endpoints(service), |addr, first, second| {
        let addr = if addr.port() == 0 { addr.ip().to_string() } else { addr.to_string() };
        report.add(
            Finding::value(second, format!("two backends of {} have the address {addr}", service.title()))
                .label("expected another address or port")
                .also(first, "first used here")
                .help("keep one of them; for a greater share raise its `weight`"),
        );
    });
}

/// Backends are of the VIP's family, unless packets travel to them in an outer header.
fn check_families(service: &raw::Service, report: &mut Report) {
    let Some((at, vip)) = service.vip.spanned() else { return };
    if service.forward.given().is_some_and(|forward| forward.encapsulates()) {
        return;
    }
    for (span, addr) in addrs(service).filter(|(_, addr)| addr.is_ipv6() != vip.addr.is_ipv6()) {
        report.add(
            Finding::value(span, format!("{} mixes two address families", service.title()))
                .label(format!("expected {} like the VIP, this is {}", family(vip.addr), family(addr.ip())))
                .also(at.clone(), format!("the VIP is {}", family(vip.addr)))
                .help("packets of one family reach the other only in an outer header: use `forward = \"dsr-ipip\"` or \
                       `\"dsr-gue\"`, or a backend of the VIP's family"),
        );
    }
}

fn family(addr: IpAddr) -> &'static str {
    if addr.is_ipv6() { "IPv6" } else { "IPv4" }
}

/// A packet that is not rewritten keeps its port: the backend must listen on the one the client asked for.
fn check_ports(service: &raw::Service, report: &mut Report) {
    let Some(forward) = service.forward.given().filter(|forward| forward.keeps_destination()) else { return };
    let Some((at, vip)) = service.vip.spanned() else { return };
    let is_kept = |port: u16| port == 0 || (vip.port == port && vip.last_port == port);
    for (span, addr) in addrs(service).filter(|(_, addr)| !is_kept(addr.port())) {
        report.add(
            Finding::value(
                span,
                format!("`forward = \"{forward}\"` cannot change the port to {}", addr.port()),
            )
            .label("expected the VIP's own port, or none")
            .also(at.clone(), "the VIP")
            .help(format!("write `addr = \"{}\"`, or use `forward = \"nat\"`", addr.ip())),
        );
    }
}

/// The way back of `dnat` without records is found by the backend's port, which is therefore of one of the VIP's: its own, where
/// there are many.
fn check_port_of_many(service: &raw::Service, report: &mut Report) {
    let Some((at, vip)) = service.vip.spanned().filter(|(_, vip)| vip.port != vip.last_port) else { return };
    if service.forward.given() != Some(&Forward::Dnat) || service.knows_answers_by_record() {
        return;
    }
    for (span, addr) in addrs(service).filter(|(_, addr)| addr.port() != 0) {
        report.add(
            Finding::value(span, "`forward = \"dnat\"` cannot lead many ports to one")
                .label("expected no port: an answer from this one does not tell which was asked")
                .also(at.clone(), format!("{vip} has many ports"))
                .help(format!(
                    "write `addr = \"{}\"`, where clients get the port that they ask for, or `tracking = \"always\"`, by which answers are known",
                    addr.ip()
                )),
        );
    }
}

/// Without a port of its own, a backend can be probed only where the check says where. A check of a UDP service must say
/// so in any case, which is looked at elsewhere.
fn check_probed_port(service: &raw::Service, report: &mut Report) {
    let needs_port = match &service.health {
        Found::Unfit | Found::Given { value: raw::Health::None, .. } => false,
        Found::Given { value: raw::Health::Check(check), .. } => matches!(check.port, Found::Absent),
        Found::Absent => true,
    };
    let one_port = service.vip.given().is_some_and(|vip| vip.port == vip.last_port);
    if !needs_port || one_port || service.protocol.or(Protocol::Tcp) != Some(Protocol::Tcp) {
        return;
    }
    if let Some((span, addr)) = addrs(service).find(|(_, addr)| addr.port() == 0) {
        report.add(
            Finding::value(span, format!("nothing says on which port {} is to be probed", addr.ip()))
                .label("expected a health check with a port")
                .help("write `health = { tcp = true, port = 8081 }`, or `health = \"none\"`"),
        );
    }
}

/// Every server of a QUIC service has an identifier of the service's length, and no other.
fn check_server_ids(service: &raw::Service, report: &mut Report) {
    match &service.select {
        Found::Unfit => {}
        Found::Given { value: Select::Quic, .. } => {
            service.backends().for_each(|backend| check_server_id(backend, &service.server_id_bytes, report));
            check_server_ids_differ(service, report);
        }
        Found::Given { .. } | Found::Absent => {
            service.backends().for_each(|backend| check_no_server_id(backend, report));
        }
    }
}

fn check_server_id(backend: &raw::Backend, bytes: &Found<u8>, report: &mut Report) {
    match (&backend.server_id, bytes.or(DEFAULT_SERVER_ID_BYTES)) {
        (Found::Absent, _) => report.add(
            Finding::shape(backend.span.clone(), "a backend of a QUIC service lacks `server_id`")
                .label("expected what the server calls itself in connection identifiers")
                .help("add `server_id = \"0a0b\"` as the server is configured"),
        ),
        (Found::Given { span, value: (length, _) }, Some(wanted)) if *length != wanted => {
            let finding =
                Finding::value(span.clone(), format!("a server identifier of {}", in_bytes(*length)))
                    .label(format!("expected {}", in_bytes(wanted)))
                    .help("write as many bytes as `server_id_bytes` says, which is 2 unless it is given");
            report.add(match bytes.spanned() {
                Some((at, _)) => finding.also(at, "the length"),
                None => finding,
            });
        }
        _ => {}
    }
}

fn in_bytes(count: u8) -> String {
    if count == 1 { "1 byte".to_owned() } else { format!("{count} bytes") }
}

fn check_no_server_id(backend: &raw::Backend, report: &mut Report) {
    if let Some((span, _)) = backend.server_id.spanned() {
        report.add(
            Finding::value(span, "`server_id` has no meaning here")
                .label("expected only with `select = \"quic\"`")
                .help("remove `server_id`, or write `select = \"quic\"`"),
        );
    }
}

fn check_server_ids_differ(service: &raw::Service, report: &mut Report) {
    duplicates(service.backends().filter_map(|backend| backend.server_id.spanned()), |_, first, second| {
        report.add(
            Finding::value(
                second,
                format!("two backends of {} have this server identifier", service.title()),
            )
            .label("expected another one")
            .also(first, "first used here")
            .help("give each server an identifier of its own"),
        );
    });
}

fn check_not_all_drained(service: &raw::Service, report: &mut Report) {
    let mut backends = service.backends().peekable();
    if backends.peek().is_some() && backends.all(|backend| backend.drain.given() == Some(&true)) {
        report.add(
            Finding::warning(
                service.span.clone(),
                format!("every backend of {} is draining", service.title()),
            )
            .label("new connections find no backend")
            .help(
                "remove `drain = true` from one of them, or ignore this while the service is being emptied",
            ),
        );
    }
}
