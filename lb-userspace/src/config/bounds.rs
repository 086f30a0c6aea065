//! Every bound and default of the configuration, in one place.
//!
//! The reference prints the bounds from the key definitions that use them, and a test holds the printed defaults against
//! these.

use lb_common::abi::limits;
use std::time::Duration;

/// Most services of one configuration: each has a slot table in the kernel, whose memory is reserved for this many.
pub const MAX_SERVICES: usize = limits::SERVICES as usize;
/// Most backends of one configuration, over all services. The kernel holds some records more, for those that were
/// removed and still have flows.
pub const MAX_BACKENDS: usize = limits::BACKENDS as usize - 96;

/// Longest name of a service or backend: a DNS label, so that a name fits every place that shows it.
pub(super) const MAX_NAME: usize = 63;
/// Greatest weight of a backend. A slot table is too coarse to tell finer shares than a thousandth apart.
pub const MAX_WEIGHT: u64 = 1000;
pub(super) const DEFAULT_WEIGHT: u16 = 1;

pub(super) const MIN_IDLE_MS: u64 = 1_000;
pub(super) const MAX_IDLE_MS: u64 = 24 * 3_600_000;
/// Outlives the pauses of ordinary requests and of keep-alive connections, and forgets clients that vanished.
pub(super) const DEFAULT_IDLE: Duration = Duration::from_mins(5);

pub(super) const MIN_INTERVAL_MS: u64 = 10;
pub(super) const MAX_INTERVAL_MS: u64 = 3_600_000;
/// One probe a second is nothing to a backend, and finds a dead one within about two seconds.
pub(super) const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
pub(super) const MIN_TIMEOUT_MS: u64 = 1;
/// Long for a healthy backend of the same site, and short enough to be over before the next probe.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_millis(500);
pub(super) const MAX_STREAK: u64 = 100;
/// Two in a row: one lost probe is no verdict.
pub(super) const DEFAULT_RISE: u32 = 2;
pub(super) const DEFAULT_FALL: u32 = 2;
/// More would make the interval meaningless.
pub(super) const MAX_JITTER: u64 = 50;
/// Enough to spread the probes of many balancers and backends over the interval.
pub(super) const DEFAULT_JITTER: u8 = 10;
/// Longest path of a health check: what a probe's request buffer holds with room for the rest.
pub(super) const MAX_PATH: usize = 1024;
/// Longest host name. Source: RFC 1035, section 2.3.4.
pub(super) const MAX_HOST: usize = 253;
pub(super) const MIN_STATUS: u16 = 200;
pub(super) const MAX_STATUS: u16 = 599;
pub(super) const DEFAULT_STATUS: u16 = 200;

/// First port that needs no privilege; those below belong to services. Source: RFC 6335, section 6.
pub(super) const MIN_NAT_PORT: u16 = 1024;

pub(super) const MIN_FLOWS: u64 = 1024;
pub(super) const MAX_FLOWS: u64 = 16_777_216;
pub(super) const DEFAULT_FLOWS: u32 = 262_144;

/// Port ranges that the packet path looks at for one packet.
pub(super) const MAX_RANGES: usize = limits::RANGE_PROBES as usize;

pub(super) const MIN_PREFIXES: u64 = 1024;
pub(super) const MAX_PREFIXES: u64 = 4_194_304;
pub(super) const DEFAULT_PREFIXES: u32 = limits::LIST_PREFIXES;
/// More than a network card receives in a second.
pub(super) const MAX_RATE: u64 = 100_000_000;

pub(super) const MIN_FRAGMENTS: u64 = 64;
pub(super) const MAX_FRAGMENTS: u64 = 1_048_576;
/// Enough for a thousand fragmented datagrams a second, each remembered for a dozen seconds.
pub(super) const DEFAULT_FRAGMENTS: u32 = limits::FRAGMENTS;
pub(super) const MAX_NEW_FLOWS: u64 = 1_000_000_000;

pub(super) const MIN_CAPTURE_RING: u64 = 4096;
pub(super) const MAX_CAPTURE_RING: u64 = 64 << 20;
/// A second's worth of packets at the rate and length below, several times over.
pub(super) const DEFAULT_CAPTURE_RING: u32 = 1 << 20;
/// What the daemon hands on beside its work; above it, packets wait for the reader and are lost anyway.
pub(super) const MAX_CAPTURE_RATE: u64 = 100_000;
/// More than a person reads, and nothing to a machine.
pub(super) const DEFAULT_CAPTURE_RATE: u32 = 1_000;
/// An Ethernet, an IPv4 and a TCP header, and some.
pub(super) const MIN_CAPTURE_SNAP: u64 = 64;
pub(super) const MAX_CAPTURE_SNAP: u64 = limits::CAPTURE_SNAP as u64;
/// All headers, also with an outer one, and the first words of what they carry.
pub(super) const DEFAULT_CAPTURE_SNAP: u32 = 256;

/// The port that most implementations take GUE on. Source: draft-ietf-intarea-gue, section 8.1.
pub(super) const DEFAULT_GUE_PORT: u16 = 6080;
/// Server identifiers that a connection identifier has room for beside what else it holds.
pub(super) const MAX_SERVER_ID_BYTES: u64 = 8;
pub(super) const DEFAULT_SERVER_ID_BYTES: u8 = 2;

/// The seed of the selection hash when none is given: the text `lb-seed1`, so that hosts agree without being told.
pub const DEFAULT_SEED: u64 = 0x6c62_2d73_6565_6431;
