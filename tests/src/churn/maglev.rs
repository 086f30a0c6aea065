//! Plain Maglev: the table is all there is.

use super::pool::{Pool, address};
use super::{Packet, Way};
use anyhow::Result;
use lb_userspace::maglev::{Member, Size, build};
use std::net::SocketAddr;

/// The table, the same on every balancer.
#[derive(Default)]
pub(super) struct Maglev {
    owners: Vec<SocketAddr>,
}

impl Maglev {
    /// The owner of a flow's slot.
    pub(super) fn owner(&self, flow: u32) -> Option<SocketAddr> {
        let hash = (u64::from(flow) + 1).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32;
        let slot = (hash * self.owners.len() as u64) >> 32;
        self.owners.get(usize::try_from(slot).unwrap_or(0)).copied()
    }
}

impl Way for Maglev {
    fn change(&mut self, pool: &Pool, _: u32) -> Result<()> {
        let takes = pool.members.iter().filter(|(_, member)| member.takes_new_flows());
        let members: Vec<_> =
            takes.map(|(host, member)| Member { address: address(*host), weight: member.weight }).collect();
        let size = Size::for_weights(members.iter().map(|member| member.weight));
        let owners = build(&members, size, 0x5eed);
        self.owners = owners.into_iter().map(|owner| members[usize::from(owner)].address).collect();
        Ok(())
    }

    fn pass(&mut self, _: u32) {}

    fn lose(&mut self, _: usize) {}

    fn regain(&mut self, _: usize, _: &Pool, _: u32) -> Result<()> {
        Ok(())
    }

    fn send(&mut self, _: usize, packet: Packet, _: u32) -> Option<SocketAddr> {
        self.owner(packet.flow)
    }

    fn entries(&self) -> usize {
        0
    }

    fn recorded(&self) -> Option<u64> {
        None
    }
}
