//! What the guard is to do, of the whole balancer and of each service.

use std::path::PathBuf;

use super::bounds::DEFAULT_PREFIXES;

/// What the guard has in common for all services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// File of prefixes that are never denied or blocked.
    pub allow: Option<PathBuf>,
    /// File of prefixes that are denied.
    pub deny: Option<PathBuf>,
    /// Whether addresses that are not to be met on the Internet are martians. Default false.
    pub bogons: bool,
    /// Prefixes there is room for.
    pub prefixes: u32,
}

impl Default for Guard {
    fn default() -> Self {
        Self { allow: None, deny: None, bogons: false, prefixes: DEFAULT_PREFIXES }
    }
}

/// What the guard does for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the configuration's")]
pub struct ServiceGuard {
    /// Whether denied sources are stopped.
    pub lists: bool,
    /// Whether sources that nobody can have are stopped.
    pub martians: bool,
    /// Whether sources that are a VIP are stopped.
    pub land: bool,
    /// Whether control bits and ports that no sender means are stopped.
    pub malformed: bool,
    /// Whether blocked sources are stopped.
    pub blocks: bool,
    /// Packets a second of one source; 0 is any number.
    pub source_packets: u32,
    /// New flows a second of one source.
    pub source_flows: u32,
    /// New flows a second of all.
    pub service_flows: u32,
    /// Whether SYNs above that are answered with cookies; only for TCP to this host.
    pub syn_cookies: bool,
    /// Bits of an IPv4 address that are one source.
    pub source_v4: u8,
    /// Bits of an IPv6 address.
    pub source_v6: u8,
}

impl ServiceGuard {
    /// Where a guard is asked for and no more said: what needs no number is on.
    pub const DEFAULT: Self =
        Self { lists: true, martians: true, land: true, malformed: true, blocks: true, ..Self::OFF };
    /// Nothing.
    pub const OFF: Self = Self {
        lists: false,
        martians: false,
        land: false,
        malformed: false,
        blocks: false,
        source_packets: 0,
        source_flows: 0,
        service_flows: 0,
        syn_cookies: false,
        source_v4: 32,
        source_v6: 64,
    };
}
