//! How much the maps hold, with the reason for each number.

/// Entries of the service table, a power of two. About a quarter full at most ([`SERVICES`] and the balancer's
/// own addresses), so that probing stays short: 256 KiB in all.
pub const SERVICE_TABLE: u32 = 4096;
/// Entries behind the hashed part, which port ranges and prefixes lead to: services by range, and hosts that are
/// prefixes.
pub const RANGED: u32 = 2 * SERVICE_NUMBERS;
/// Places for what is found by a service's number. Numbers begin with 1, and nobody has number 0. They are twice as many as there
/// may be services, less that one, since a service that is gone keeps its number as long as it has flows.
pub const SERVICE_NUMBERS: u32 = 2048;
/// Entries in all.
pub const SERVICE_ENTRIES: u32 = SERVICE_TABLE + RANGED;
/// Port ranges of all hosts: two lists for each service number and, for the addresses of backends, for each record, so
/// that a new one can be written beside the one it replaces. Three mebibytes.
pub const RANGES: u32 = (SERVICE_NUMBERS + BACKENDS) * 2 * RANGE_PROBES;
/// Port ranges looked at for one packet.
pub const RANGE_PROBES: u32 = 16;
/// Prefixes with services.
pub const PREFIXES: u32 = 1024;
/// Datagrams in fragments that are remembered unless the configuration says otherwise: about a mebibyte and a half. The
/// oldest gives way.
pub const FRAGMENTS: u32 = 16_384;
/// Interfaces that native programs know of as theirs, where the kernel names one to send to; to a further one the kernel sends
/// itself. More than any host was seen to balance on, and few enough to look through; a power of two.
pub const REACHABLE: u32 = 32;
/// ICMP errors and resets that each CPU sends in a second at most: more than honest senders make necessary, and fewer than
/// an address that others send in the name of would suffer from.
pub const ERRORS_PER_SECOND: u32 = 10_000;
/// Server identifiers of all QUIC services.
pub const QUIC_SERVERS: u32 = 4096;
/// Extension headers walked over before a packet is left alone; RFC 8200 lists six kinds.
pub const IPV6_EXTENSIONS: u32 = 8;
/// Services in one configuration.
pub const SERVICES: u32 = 1024;
/// Sockets that services may land on: one a service.
pub const LISTENERS: u32 = SERVICES;
/// Addresses and prefixes that are listened on, twice what may be in use: new ones are written before old ones go.
pub const LISTENING: u32 = 2 * SERVICES;
/// Entries looked at for one key at most. Userspace refuses a table that would need more.
pub const SERVICE_PROBES: u32 = 8;
/// Backend records, identifier 0 left out. A slot word could name 32,767; this many keep the per-CPU counters at
/// 256 KiB a CPU.
pub const BACKENDS: u32 = 4096;
/// Slot words of all services: 16 MiB, sixty-four services of the largest size.
pub const SLOTS: u32 = 1 << 22;
/// Flow records of each family unless the configuration says otherwise, one for each direction of a NAT flow: 16 MiB for IPv4
/// and 32 MiB for IPv6.
pub const FLOWS: u32 = 1 << 18;
/// Ports tried for a new NAT flow. With half of a backend's ports in use, one new flow in 65,000 finds none.
pub const PORT_PROBES: u32 = 16;
/// Entries of the counter map of reasons; more than there are, so that a reason can be added without a new layout.
pub const REASONS: u32 = 64;
/// Rules of the guard: one for each service number, and one for what goes to a VIP but to no port; a power of two.
pub const GUARD_RULES: u32 = 2 * SERVICE_NUMBERS;
/// The place of that last rule.
pub const GUARD_HOSTS: u32 = SERVICE_NUMBERS;
/// The place of a rule that is never written, behind that: of what is no service.
pub const GUARD_NONE: u16 = 2049;
const _: () = assert!(GUARD_NONE as u32 == GUARD_HOSTS + 1 && GUARD_HOSTS + 1 < GUARD_RULES);
/// Lines of four sources each whose packets the guard counts: 4 MiB.
pub const BUCKET_LINES: u32 = 1 << 16;
/// Addresses that may be blocked at a time.
pub const BLOCKS: u32 = 16_384;
/// Prefixes of the guard's lists unless the configuration says otherwise.
pub const LIST_PREFIXES: u32 = 1 << 18;
/// Bytes that a capture may keep of one packet: all of what fits an Ethernet frame, and its outer headers.
pub const CAPTURE_SNAP: u32 = 2047;
