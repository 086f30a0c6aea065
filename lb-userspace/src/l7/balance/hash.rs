//! Backends by the hash of a part of the request, on the same table as layer 4: a change of backends moves few clients, and every
//! worker and host agrees.

use std::net::IpAddr;

use super::backend::Backend;
use crate::config::proxy::{Balance, HashOn};
use crate::l7::message::{Fields, Request};
use crate::l7::route::{all_cookies, query_value};
use crate::maglev::{self, Member, Size};

/// Which backend owns which slot; empty where the service does not balance by hash.
#[derive(Debug, Default)]
pub(super) struct Hashed {
    /// The place of each slot's owner among the backends.
    owners: Vec<u16>,
}

impl Hashed {
    pub(super) fn build(balance: &Balance, backends: &[Backend], seed: u64) -> Self {
        if !matches!(balance, Balance::IpHash | Balance::Hash(_)) {
            return Self::default();
        }
        // One that drains or is gone keeps its place with no weight, so that the others keep their numbers.
        let weight = |backend: &Backend| {
            if backend.is_gone() || backend.is_drained() { 0 } else { backend.whole_weight() }
        };
        let member = |backend: &Backend| Member { address: backend.addr, weight: weight(backend) };
        let members: Vec<Member> = backends.iter().map(member).collect();
        Self {
            owners: maglev::build(
                &members,
                Size::for_weights(members.iter().map(|member| member.weight)),
                seed,
            ),
        }
    }

    /// The owners of a key's slot and of those behind it: who comes next where the first cannot.
    pub(super) fn owners(&self, key: u64) -> impl Iterator<Item = usize> {
        let slots = self.owners.len();
        let first = usize::try_from((u128::from(key) * slots as u128) >> 64).unwrap_or(0);
        let (before, behind) = self.owners.split_at(first.min(slots));
        behind.iter().chain(before).map(|owner| usize::from(*owner))
    }
}

/// The hash that a request is balanced by; 0 where its service does not balance by hash.
pub fn key_of<F: Fields + ?Sized>(balance: &Balance, request: &Request<'_, F>) -> u64 {
    let by_client = || hash(address(request.client.ip()));
    let by = |part: Option<&[u8]>| part.map_or_else(by_client, |part| hash(part.iter().copied()));
    match balance {
        Balance::P2c | Balance::RoundRobin | Balance::LeastConnections => 0,
        Balance::IpHash => by_client(),
        Balance::Hash(HashOn::Path) => by(Some(request.path.as_bytes())),
        Balance::Hash(HashOn::Host) => by(Some(request.host().as_bytes())),
        Balance::Hash(HashOn::Header(name)) => by(request.fields.first(name)),
        Balance::Hash(HashOn::Cookie(name)) => by(all_cookies(request.fields, name).next()),
        Balance::Hash(HashOn::Query(name)) => by(query_value(request.query, name).map(str::as_bytes)),
    }
}

/// An address's bytes, IPv4 in IPv6's form, so that one length serves both.
fn address(addr: IpAddr) -> impl Iterator<Item = u8> {
    let bytes = match addr.to_canonical() {
        IpAddr::V4(addr) => addr.to_ipv6_mapped().octets(),
        IpAddr::V6(addr) => addr.octets(),
    };
    bytes.into_iter()
}

/// The same on every host. Source: FNV-1a, and the finaliser of `MurmurHash3`, as FNV leaves the high bits poor.
fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    let fnv = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}
