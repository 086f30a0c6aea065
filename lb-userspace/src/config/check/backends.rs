//! The rules of the backends of one service.

use std::net::SocketAddr;
use std::ops::Range;

use super::super::bounds::DEFAULT_WEIGHT;
use super::super::finding::{Finding, Report};
use super::super::found::Found;
use super::super::model::{Backend, Forward};
use super::super::raw;
use super::{IPV4_ONLY, duplicates};

pub(super) fn check(service: &raw::Service, report: &mut Report) {
    check_any(service, report);
    check_names(service, report);
    check_addrs(service, report);
    check_families(service, report);
    check_ports(service, report);
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
        weight: raw.weight.or(DEFAULT_WEIGHT)?,
        drain: raw.drain.or(false)?,
    })
}

fn addrs(service: &raw::Service) -> impl Iterator<Item = (Range<usize>, SocketAddr)> {
    service.backends().filter_map(|backend| backend.addr.spanned()).map(|(span, addr)| (span, *addr))
}

fn check_any(service: &raw::Service, report: &mut Report) {
    let none = match &service.backends {
        Found::Absent => true,
        Found::Unfit => false,
        Found::Given { value, .. } => value.is_empty(),
    };
    if none {
        report.add(
            Finding::shape(service.span.clone(), format!("{} has no backend", service.title()))
                .label("expected at least one `[[service.backend]]` below")
                .help(
                    "add a backend; to take the service away, remove or comment out its whole `[[service]]`",
                ),
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
    duplicates(addrs(service), |addr, first, second| {
        report.add(
            Finding::value(second, format!("two backends of {} have the address {addr}", service.title()))
                .label("expected another address or port")
                .also(first, "first used here")
                .help("keep one of them; for a greater share raise its `weight`"),
        );
    });
}

/// Backends are of the VIP's family, and that is IPv4. Where the VIP is IPv6 itself, it has been reported, and backends
/// of its family need not be.
fn check_families(service: &raw::Service, report: &mut Report) {
    let vip = service.vip.spanned();
    for (span, addr) in addrs(service) {
        match &vip {
            Some((_, vip)) if vip.is_ipv6() == addr.is_ipv6() => {}
            Some((at, vip)) => report.add(two_families(service, span, addr, at.clone(), **vip)),
            None if addr.is_ipv6() => report.add(ipv6(span, addr)),
            None => {}
        }
    }
}

fn two_families(
    service: &raw::Service,
    span: Range<usize>,
    addr: SocketAddr,
    vip_span: Range<usize>,
    vip: SocketAddr,
) -> Finding {
    Finding::value(span, format!("{} mixes two address families", service.title()))
        .label(format!("expected {} like the VIP, this is {}", family(vip), family(addr)))
        .also(vip_span, format!("the VIP is {}", family(vip)))
        .help(IPV4_ONLY)
}

fn ipv6(span: Range<usize>, addr: SocketAddr) -> Finding {
    let message = format!("the backend's address {addr} is an IPv6 address");
    Finding::value(span, message).label("expected an IPv4 address").help(IPV4_ONLY)
}

fn family(addr: SocketAddr) -> &'static str {
    if addr.is_ipv6() { "IPv6" } else { "IPv4" }
}

/// A packet in an outer header keeps its port: the backend must listen on the one the client asked for.
fn check_ports(service: &raw::Service, report: &mut Report) {
    let Some(Forward::DsrIpip) = service.forward.given() else { return };
    let Some((at, vip)) = service.vip.spanned() else { return };
    for (span, addr) in addrs(service).filter(|(_, addr)| addr.port() != vip.port()) {
        report.add(
            Finding::value(
                span,
                format!("`forward = \"dsr-ipip\"` cannot change the port to {}", addr.port()),
            )
            .label(format!("expected the VIP's port {}", vip.port()))
            .also(at.clone(), "the VIP")
            .help(format!(
                "write `addr = \"{}\"`, or use `forward = \"nat\"`",
                SocketAddr::new(addr.ip(), vip.port())
            )),
        );
    }
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
