//! How much the maps hold, with the reason for each number.

/// Entries of the service table, a power of two. About a quarter full at most ([`SERVICES`] and the balancer's
/// own addresses), so that probing stays short: 256 KiB in all.
pub const SERVICE_TABLE: u32 = 4096;
/// Services in one configuration.
pub const SERVICES: u32 = 1024;
/// Entries looked at for one key at most. Userspace refuses a table that would need more.
pub const SERVICE_PROBES: u32 = 8;
/// Backend records, identifier 0 left out. A slot word could name 32,767; this many keep the per-CPU counters at
/// 256 KiB a CPU.
pub const BACKENDS: u32 = 4096;
/// Slot words of all services: 16 MiB, sixty-four services of the largest size.
pub const SLOTS: u32 = 1 << 22;
/// Flow records unless the configuration says otherwise: about 30 MiB, a record each direction of a NAT flow.
pub const FLOWS: u32 = 1 << 18;
/// Ports tried for a new NAT flow. With half of a backend's ports in use, one new flow in 65,000 finds none.
pub const PORT_PROBES: u32 = 16;
/// Entries of the counter map of reasons; more than there are, so that a reason can be added without a new layout.
pub const REASONS: u32 = 64;
