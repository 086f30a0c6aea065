//! What the packet path looks things up in.

use super::{Reason, Steered};
use crate::abi::{
    Backend, BackendId, Contents, Flow, FlowKey, Fragment, FragmentKey, Hop, Ip, Load, PortRange, PrefixKey,
    QuicServer, Service, Slot, Ticks,
};
use crate::wire::{U16be, U32be, ipv6};
use core::ops::DerefMut;

/// Where and when a packet arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Interface it came by.
    pub ifindex: u32,
    /// The kernel's clock.
    pub now: Ticks,
}

/// Why a record was not inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is one with this key.
    Exists,
    /// No room, or others were in the way for too long.
    Full,
    /// More flows began in this second than may be recorded.
    Guarded,
}

/// Looks at a record that another CPU is writing, with a pause behind each: a microsecond.
const LOOKS: u32 = 32;

/// Flow records of one address family.
pub trait FlowTable<A> {
    /// A record to look at and note in. Let go of it before another is asked for or inserted.
    type Record<'a>: DerefMut<Target = Flow<A>>
    where
        Self: 'a,
        A: 'a;

    /// A record that nobody finds yet.
    type Reserved<'a>: DerefMut<Target = Flow<A>>
    where
        Self: 'a,
        A: 'a;

    /// The record with this key, if there is one.
    fn flow(&self, key: &FlowKey<A>) -> Option<Self::Record<'_>>;
    /// The record with this key, whose [`FlowKey::hash`] is known.
    #[inline(always)]
    fn flow_hashed(&self, key: &FlowKey<A>, _hash: u32) -> Option<Self::Record<'_>> {
        self.flow(key)
    }
    /// The record with a key that was refused because it exists. Another CPU may be writing it still, which takes a
    /// microsecond at most.
    #[inline(always)]
    fn published(&self, key: &FlowKey<A>) -> Option<Self::Record<'_>> {
        for _ in 0..LOOKS {
            if let Some(record) = self.flow(key) {
                return Some(record);
            }
            self.pause();
        }
        None
    }
    /// Lets some twenty nanoseconds pass.
    #[inline(always)]
    fn pause(&self) {
        core::hint::spin_loop();
    }
    /// Adds a record, if as many may be added in this second; never replaces one, which is what makes port allocation free
    /// of collisions. It is to be written, then to be published.
    fn reserve(&self, key: &FlowKey<A>, now: Ticks) -> Result<Self::Reserved<'_>, Refused>;
    /// Lets a record be found that was reserved and is written.
    fn publish(&self, reserved: Self::Reserved<'_>);
    /// Takes a record away, if it is there.
    fn remove(&self, key: &FlowKey<A>);
    /// How the kernel would send a packet of this flow and of so many bytes on, from the IP header on, that came from elsewhere.
    fn route(&self, key: &FlowKey<A>, bytes: u32, arrival: Arrival) -> Route;
}

/// How the kernel would send a packet on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To this next hop.
    By(Hop),
    /// Not as long as it is: the way takes so many bytes.
    TooNarrow(u32),
    /// By more than a next hop that is known, by an interface that the program cannot send to, or no further than this host.
    Kernel,
}

/// The tables of the packet path. Records are changed in place by several CPUs at once, so all take `&self`.
pub trait Tables: FlowTable<U32be> + FlowTable<ipv6::Address> {
    /// Seed of the flow hash.
    fn seed(&self) -> u64;
    /// Ports of the balancer's own addresses that NAT may use.
    fn ports(&self) -> PortPool;
    /// Bits of an outer source that are taken from the flow's hash: of an IPv4 address, or of an IPv6 address's last word.
    fn spread(&self, v6: bool) -> U32be;
    /// Ticks in a second.
    fn second(&self) -> u32;
    /// Bytes of an IP packet that every interface takes.
    fn common_mtu(&self) -> u32;
    /// Bytes of an IP packet that an interface takes.
    fn mtu(&self, ifindex: u32) -> u32;
    /// Whether one more sender may be told of its packet in this second (RFC 4443, section 2.4 (f)).
    fn may_send_error(&self, now: Ticks) -> bool;
    /// What there is in the tables below.
    fn contents(&self) -> Contents;
    /// Entry of the service table at a place.
    fn service_at(&self, place: u32) -> Option<&Service>;
    /// A port range.
    fn range_at(&self, index: u32) -> Option<&PortRange>;
    /// Place of the entry for the longest prefix that an address is in.
    fn prefix(&self, address: &PrefixKey) -> Option<u32>;
    /// A slot word.
    fn slot(&self, index: u32) -> Option<Slot>;
    /// Notes that an older flow used the slot's settled owner.
    fn note_settled_use(&self, index: u32, now: Ticks);
    /// A service's next turn, below `turns`.
    fn turn(&self, service: u16, turns: u32) -> u32;
    /// The backend of a QUIC service with this server identifier.
    fn quic_server(&self, server: &QuicServer) -> Option<BackendId>;
    /// A backend record.
    fn backend(&self, id: BackendId) -> Option<&Backend>;
    /// How much a backend has to do.
    fn load(&self, id: BackendId) -> Option<Load>;
    /// Notes that a flow was recorded for a backend.
    fn note_opened(&self, id: BackendId);
    /// What the first fragment of a datagram told.
    fn fragment(&self, key: &FragmentKey) -> Option<Fragment>;
    /// Keeps what the first fragment of a datagram tells.
    fn remember_fragment(&self, key: &FragmentKey, first: &Fragment);
    /// Counts a packet under its reason.
    fn count(&self, reason: Reason, bytes: u32);
    /// Counts a packet that was steered under its reason and its backend.
    fn count_steered(&self, steered: &Steered, bytes: u32);
}

/// The tables with the flow records of one family.
pub trait TablesFor<A: Ip>: Tables + FlowTable<A> {}

impl<A: Ip, T: Tables + FlowTable<A>> TablesFor<A> for T {}

/// The ports NAT may use: two ranges, the lower one first, so that the host's own ephemeral ports can lie between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortPool {
    first: u16,
    first_count: u16,
    second: u16,
    second_count: u16,
}

impl PortPool {
    /// Ranges of `count` ports from `first` on; a range may be empty.
    #[inline(always)]
    #[must_use]
    pub const fn new([first, first_count, second, second_count]: [u16; 4]) -> Self {
        Self { first, first_count, second, second_count }
    }

    /// As it is handed to the kernel programs.
    #[must_use]
    pub const fn to_words(self) -> [u16; 4] {
        [self.first, self.first_count, self.second, self.second_count]
    }

    /// The port a hash picks.
    #[inline(always)]
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the product's upper half is below the number of ports"
    )]
    pub const fn pick(self, hash: u32) -> U16be {
        let ports = self.first_count as u64 + self.second_count as u64;
        let index = ((hash as u64 * ports) >> 32) as u16;
        if index < self.first_count {
            U16be::new(self.first.wrapping_add(index))
        } else {
            U16be::new(self.second.wrapping_add(index - self.first_count))
        }
    }

    /// Whether NAT may have picked this port. Those that clients connect to mostly lie below all of them.
    #[inline(always)]
    #[must_use]
    pub const fn contains(self, port: U16be) -> bool {
        let port = port.get();
        if port < self.first {
            return false;
        }
        port.wrapping_sub(self.first) < self.first_count || port.wrapping_sub(self.second) < self.second_count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_pool_picks_only_what_it_contains(hash in any::<u32>()) {
            let pool = PortPool::new([1024, 31_744, 61_000, 4_536]);
            prop_assert!(pool.contains(pool.pick(hash)));
        }
    }

    #[test]
    fn a_pool_picks_its_very_first_and_last_port_and_contains_no_other() {
        let pool = PortPool::new([1024, 2, 65_535, 1]);
        assert_eq!((pool.pick(0).get(), pool.pick(u32::MAX).get()), (1024, 65_535));
        let contained = (0..=u16::MAX).filter(|port| pool.contains(U16be::new(*port))).count();
        assert_eq!(contained, 3);
    }
}
