//! What cannot be planned. All of it is the operator's to mend: the configuration asks for more than the tables hold.

use lb_common::abi::limits;

use super::BackendKey;

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The slot map has no gap that is large enough.
    #[error(
        "service `{service}` needs {needed} slots in a row, and of {} in all only {free} are free; use fewer backends a \
         service, or weights that differ less",
        limits::SLOTS
    )]
    SlotsFull {
        /// The service's name.
        service: String,
        /// Slots it needs.
        needed: u32,
        /// Slots that are free, in however many pieces.
        free: u32,
    },
    /// All numbers of services are in use.
    #[error(
        "there is no room for service `{service}`: {} are the most, those that were removed but still have flows included; \
         try again when flows of those are over, or change fewer services at a time",
        limits::SERVICE_NUMBERS - 1
    )]
    NumbersFull {
        /// The name of the first service that has no room.
        service: String,
    },
    /// All identifiers are in use.
    #[error(
        "there is no room for backend {} of {}: {} are the most, those that were removed but still have flows included",
        backend.addr, backend.service, limits::BACKENDS - 1
    )]
    BackendsFull {
        /// The first backend that has no room.
        backend: BackendKey,
    },
    /// Too many keys want the same few places.
    #[error(
        "there is no room for {name} in the service table: more than {} entries want the same places; another port or \
         address will do",
        limits::SERVICE_PROBES
    )]
    ServiceTableCrowded {
        /// The VIP, or the balancer's own address.
        name: String,
    },
}
