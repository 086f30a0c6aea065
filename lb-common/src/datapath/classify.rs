//! Whose packet is it?

use super::Tables;
use crate::abi::{Forward, Service, ServiceKey, limits};
use crate::wire::U32be;

/// The entry with this key: linear probing from the key's first place to a vacant entry.
#[inline(always)]
pub(super) fn service<'a, T: Tables>(tables: &'a T, key: &ServiceKey) -> Option<&'a Service> {
    let first = key.first_place();
    for step in 0..limits::SERVICE_PROBES {
        let entry = tables.service_at((first + step) & (limits::SERVICE_TABLE - 1))?;
        if key.matches(&entry.key) {
            return Some(entry);
        }
        if entry.is_vacant() {
            return None;
        }
    }
    None
}

/// Whether backends reply to this address.
#[inline(always)]
pub(super) fn is_own(tables: &impl Tables, address: U32be) -> bool {
    service(tables, &ServiceKey::own_v4(address)).is_some_and(|entry| entry.forward() == Forward::Own)
}
