//! How much the maps hold, with the reason for each number.

/// Entries of the service table, a power of two. About a quarter full at most ([`SERVICES`] and the balancer's
/// own addresses), so that probing stays short: 256 KiB in all.
pub const SERVICE_TABLE: u32 = 4096;
/// Entries behind the hashed part, which port ranges and prefixes lead to: services by range, and hosts that are
/// prefixes.
pub const RANGED: u32 = 2048;
/// Entries in all.
pub const SERVICE_ENTRIES: u32 = SERVICE_TABLE + RANGED;
/// Port ranges of all hosts, twice what may be in use, so that a new list can be written beside the one it replaces.
pub const RANGES: u32 = 16_384;
/// Port ranges looked at for one packet.
pub const RANGE_PROBES: u32 = 16;
/// Prefixes with services.
pub const PREFIXES: u32 = 1024;
/// Datagrams in fragments that are remembered unless the configuration says otherwise: about a mebibyte and a half. The
/// oldest gives way.
pub const FRAGMENTS: u32 = 16_384;
/// Server identifiers of all QUIC services.
pub const QUIC_SERVERS: u32 = 4096;
/// Extension headers walked over before a packet is left alone; RFC 8200 lists six kinds.
pub const IPV6_EXTENSIONS: u32 = 8;
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
