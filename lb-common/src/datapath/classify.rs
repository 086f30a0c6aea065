//! Whose packet is it?

use super::Tables;
use super::family::Family;
use core::hint::cold_path;

use crate::abi::{Contents, FlowKey, Forward, PrefixKey, Service, ServiceFlags, ServiceKey, limits};

/// The service that a packet of this flow is for.
#[inline(always)]
pub(super) fn service<'a, A: Family, T: Tables>(tables: &'a T, key: &FlowKey<A>) -> Option<&'a Service> {
    found(tables, key).filter(|entry| !matches!(entry.forward(), Forward::Host | Forward::Endpoint))
}

/// The endpoint that a packet of this flow comes from, if replies are translated for it.
#[inline(always)]
pub(super) fn endpoint<'a, A: Family, T: Tables>(tables: &'a T, key: &FlowKey<A>) -> Option<&'a Service> {
    if !tables.contents().has(Contents::ENDPOINTS) {
        return None;
    }
    // What an endpoint sends to us, as it answers probes, is not for a client.
    if is_own(tables, key.destination) {
        return None;
    }
    found(tables, &key.reversed()).filter(|entry| entry.forward() == Forward::Endpoint)
}

/// The entry for a flow's destination: of its very address and port, else of the first range that contains the port.
#[inline(always)]
fn found<'a, A: Family, T: Tables>(tables: &'a T, key: &FlowKey<A>) -> Option<&'a Service> {
    let exactly = ServiceKey::of(key.destination, key.ports.destination(), key.protocol());
    exact(tables, &exactly).or_else(|| ranged(tables, key))
}

/// The entry with this key: linear probing from the key's first place to a vacant entry.
#[inline(always)]
pub(super) fn exact<'a, T: Tables>(tables: &'a T, key: &ServiceKey) -> Option<&'a Service> {
    let first = key.first_place();
    for step in 0..limits::SERVICE_PROBES {
        let entry = tables.service_at((first + step) & (limits::SERVICE_TABLE - 1))?;
        if entry.answers_to(key) {
            return Some(entry);
        }
        if entry.is_vacant() {
            return None;
        }
        cold_path();
    }
    None
}

#[inline(always)]
fn ranged<'a, A: Family, T: Tables>(tables: &'a T, key: &FlowKey<A>) -> Option<&'a Service> {
    if !tables.contents().has(Contents::RANGES) {
        return None;
    }
    let host = host(tables, key.destination)?;
    for step in 0..limits::RANGE_PROBES {
        if step >= u32::from(host.ranges) {
            return None;
        }
        let range = tables.range_at(host.first_range.wrapping_add(step))?;
        if range.contains(key.ports.destination(), key.protocol()) {
            return tables.service_at(range.place);
        }
    }
    None
}

/// What is known of an address: its own entry, else that of the longest prefix it is in.
#[inline(always)]
pub(super) fn host<A: Family, T: Tables>(tables: &T, address: A) -> Option<&Service> {
    let known = exact(tables, &ServiceKey::host(address));
    if known.is_some() || !tables.contents().has(Contents::PREFIXES) {
        return known;
    }
    tables.service_at(tables.prefix(&PrefixKey::whole(address))?)
}

/// Whether backends reply to this address.
#[inline(always)]
pub(super) fn is_own<A: Family>(tables: &impl Tables, address: A) -> bool {
    exact(tables, &ServiceKey::host(address)).is_some_and(|host| host.flags().has(ServiceFlags::OWN))
}
