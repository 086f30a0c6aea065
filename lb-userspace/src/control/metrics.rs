//! The status as Prometheus reads it. All labels are names of the configuration or words of ours, so their number is bounded by
//! the operator's file.

mod front;

use super::{BackendStatus, ServiceStatus, Status};
use crate::observe::page::Page;

/// The whole status as a page of metrics.
#[must_use]
pub fn render(status: &Status) -> String {
    let mut page = Page::default();
    daemon(status, &mut page);
    if !status.interfaces.is_empty() {
        packets(status, &mut page);
        services(status, &mut page);
    }
    if let Some(told) = &status.front {
        front::render(told, &mut page);
    }
    page.finish()
}

fn daemon(status: &Status, page: &mut Page) {
    page.gauge("lb_build_info", "The daemon's version; always 1.");
    page.sample(&[("version", &status.version)], 1);
    page.gauge("lb_uptime_seconds", "Time since the daemon started.");
    page.sample(&[], status.uptime_seconds);
    page.gauge("lb_generation", "Number of the plan in force.");
    page.sample(&[], status.generation);
    page.counter("lb_reloads_total", "Reloads of the configuration, by whether it came into force.");
    page.sample(&[("outcome", "taken")], status.reloads.taken);
    page.sample(&[("outcome", "refused")], status.reloads.refused);
    page.gauge("lb_last_reload_taken", "Whether the last reload came into force; 1 before the first.");
    page.sample(&[], u8::from(status.reloads.refusal.is_none()));
}

fn packets(status: &Status, page: &mut Page) {
    page.gauge("lb_interface_balanced", "Whether what comes by an interface is balanced.");
    for interface in &status.interfaces {
        page.sample(&[("interface", &interface.name)], u8::from(interface.mode != "absent"));
    }
    let reasons =
        || status.reasons.iter().map(|one| ([("verdict", &*one.verdict), ("reason", &*one.reason)], one));
    page.counter("lb_l4_packets_total", "Packets by what became of them and why.");
    reasons().for_each(|(labels, reason)| page.sample(&labels, reason.packets));
    page.counter("lb_l4_bytes_total", "Their bytes, from the Ethernet header on, before rewriting.");
    reasons().for_each(|(labels, reason)| page.sample(&labels, reason.bytes));
    page.gauge("lb_l4_flows", "Flows recorded.");
    page.sample(&[], status.flows);
    page.counter("lb_l4_flows_held_back_total", "Packets that found no room for a record.");
    page.sample(&[], status.flood_guard.held_back);
    if let Some(guard) = &status.guard {
        page.gauge("lb_guard_prefixes", "Prefixes that the guard knows.");
        page.sample(&[], guard.prefixes);
        page.gauge("lb_guard_blocks", "Addresses that are blocked for a time.");
        page.sample(&[], guard.blocks);
    }
}

/// A number of each backend, where there is one.
type Of = fn(&BackendStatus) -> Option<u64>;

/// What is told of each backend of layer 4: whether it only grows, its name, its help, and the number.
const BACKENDS: [(bool, &str, &str, Of); 13] = [
    (false, "lb_l4_backend_up", "Whether its checks say that it serves.", |one| {
        Some(matches!(one.state.as_str(), "up" | "draining").into())
    }),
    (false, "lb_l4_backend_draining", "Whether it gets no new flows.", |one| {
        Some((one.state == "draining").into())
    }),
    (false, "lb_l4_backend_weight", "Its weight.", |one| Some(one.weight.into())),
    (false, "lb_l4_backend_slots", "Slots that it owns: its share of new flows.", |one| {
        Some(one.slots.into())
    }),
    (false, "lb_l4_backend_connections", "Live connections, where they are counted.", |one| one.connections),
    (true, "lb_l4_backend_packets_total", "Packets to it.", |one| Some(one.traffic.packets)),
    (true, "lb_l4_backend_bytes_total", "Bytes to it.", |one| Some(one.traffic.bytes)),
    (true, "lb_l4_backend_flows_total", "Flows begun.", |one| Some(one.traffic.new_flows)),
    (true, "lb_l4_backend_reply_packets_total", "Packets from it.", |one| Some(one.traffic.reply_packets)),
    (true, "lb_l4_backend_reply_bytes_total", "Bytes from it.", |one| Some(one.traffic.reply_bytes)),
    (true, "lb_l4_backend_probes_succeeded_total", "Health checks passed.", |one| Some(one.health.successes)),
    (true, "lb_l4_backend_probes_failed_total", "Health checks failed.", |one| Some(one.health.failures)),
    (true, "lb_l4_backend_transitions_total", "Changes of health.", |one| Some(one.health.transitions)),
];

fn services(status: &Status, page: &mut Page) {
    page.gauge("lb_l4_service_moving_slots", "Slots that moved and still track the flows from before.");
    for service in &status.services {
        page.sample(&[("service", &service.name)], service.moving_slots);
    }
    for (grows, name, help, of) in BACKENDS {
        if grows {
            page.counter(name, help);
        } else {
            page.gauge(name, help);
        }
        for (service, backend) in status.services.iter().flat_map(backends) {
            if let Some(value) = of(backend) {
                page.sample(&[("service", service), ("backend", &backend.name)], value);
            }
        }
    }
}

fn backends(service: &ServiceStatus) -> impl Iterator<Item = (&str, &BackendStatus)> {
    service.backends.iter().map(|backend| (&*service.name, backend))
}

#[cfg(test)]
mod tests;
