//! The backends, as the operator and the health checks leave them.

use crate::packets::random::Random;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

/// A backend by its number.
pub(super) type Host = u8;

/// What happens to a backend.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Add(Host),
    Remove(Host),
    Drain(Host),
    Undrain(Host),
    Down(Host),
    Up(Host),
    Weigh(Host, u16),
}

/// A configured backend.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) weight: u16,
    pub(super) up: bool,
    pub(super) drained: bool,
}

impl Member {
    pub(super) const fn takes_new_flows(self) -> bool {
        self.up && !self.drained
    }
}

/// All backends there are.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) members: BTreeMap<Host, Member>,
}

impl Pool {
    pub(super) fn new(backends: u8, random: &mut Random) -> Self {
        let member = |_| Member { weight: 1 + random.word(3), up: true, drained: false };
        let weights: Vec<_> = (1..=backends).map(member).collect();
        Self { members: (1..).zip(weights).collect() }
    }

    pub(super) fn change(&mut self, change: Change) {
        let at = |host: Host| self.members.get(&host).copied();
        let (host, next) = match change {
            Change::Add(host) => (host, Some(Member { weight: 2, up: true, drained: false })),
            Change::Remove(host) => (host, None),
            Change::Drain(host) => (host, at(host).map(|member| Member { drained: true, ..member })),
            Change::Undrain(host) => (host, at(host).map(|member| Member { drained: false, ..member })),
            Change::Down(host) => (host, at(host).map(|member| Member { up: false, ..member })),
            Change::Up(host) => (host, at(host).map(|member| Member { up: true, ..member })),
            Change::Weigh(host, weight) => (host, at(host).map(|member| Member { weight, ..member })),
        };
        self.members.remove(&host);
        self.members.extend(next.map(|member| (host, member)));
    }

    /// Whether a backend's flows can only end. One that was removed is alive, and finishes what it has.
    pub(super) fn is_dead(&self, backend: SocketAddr) -> bool {
        self.members.iter().any(|(host, member)| address(*host) == backend && !member.up)
    }
}

/// Where a backend listens.
pub(super) fn address(host: Host) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(10, 0, 0, host).into(), 80)
}
