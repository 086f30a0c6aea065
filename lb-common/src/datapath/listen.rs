//! Which listener a destination belongs to. Asked once a connection, and once a datagram, by the stack's own search for
//! a socket; the packet path itself does not come here.

use crate::abi::{Ip, ListenerId, Listening, PrefixKey};
use crate::wire::U16be;

/// What listeners are looked up in.
pub trait ListenTable {
    /// What the longest prefix around an address listens on.
    fn listening(&self, address: &PrefixKey) -> Option<&Listening>;
}

/// The listener of a destination, if one was named for it.
#[inline(always)]
#[must_use]
pub fn find_listener<A: Ip>(
    table: &impl ListenTable,
    (address, port): (A, U16be),
    protocol: u8,
) -> Option<ListenerId> {
    table.listening(&PrefixKey::whole(address))?.find(protocol, port)
}

#[cfg(feature = "host")]
impl<S: std::hash::BuildHasher> ListenTable for std::collections::HashMap<PrefixKey, Listening, S> {
    fn listening(&self, address: &PrefixKey) -> Option<&Listening> {
        let longest = PrefixKey::FAMILY_BITS..=address.bits;
        longest.rev().find_map(|bits| self.get(&address.shortened(bits)))
    }
}

#[cfg(all(test, feature = "host"))]
mod tests {
    use super::*;
    use crate::abi::ListenPorts;
    use crate::wire::{U32be, ipv6, protocol};
    use std::collections::HashMap;

    fn all_ports(listener: u16) -> Listening {
        let ports = ListenPorts::new((0, u16::MAX), protocol::TCP, ListenerId::from_bits(listener));
        Listening::new(&[ports]).unwrap()
    }

    fn find<A: Ip>(table: &HashMap<PrefixKey, Listening>, address: A) -> Option<u16> {
        find_listener(table, (address, U16be::new(80)), protocol::TCP).map(ListenerId::get)
    }

    #[test]
    fn the_longest_prefix_of_the_destinations_family_decides() {
        let v4 = |address: [u8; 4]| U32be::from(address);
        let net = v4([203, 0, 113, 0]);
        let table = HashMap::from([
            (PrefixKey::new(net, 24), all_ports(1)),
            (PrefixKey::new(v4([203, 0, 113, 9]), 32), all_ports(2)),
            (PrefixKey::new(ipv6::Address::from([0; 16]), 0), all_ports(3)),
        ]);
        assert_eq!(find(&table, v4([203, 0, 113, 9])), Some(2));
        assert_eq!(find(&table, v4([203, 0, 113, 10])), Some(1));
        assert_eq!(find(&table, v4([203, 0, 114, 9])), None);
        assert_eq!(find(&table, ipv6::Address::from([0xfd; 16])), Some(3));
    }
}
