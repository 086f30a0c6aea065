//! Tables that the kernel programs address directly, as global data.
//!
//! The kernel knows such a table as an array map of one value, and takes that as a whole only. So words are written to
//! their places by a program that is run for it; see [`lb_common::abi::Order`].

use super::TableError;
use super::bpf;
use super::maps::refused;
use aya::programs::ProgramFd;
use lb_common::abi::{Order, Outline, Table, limits};
use lb_common::wire::Plain;
use std::io;
use std::os::fd::AsFd as _;

/// The program that writes to these tables.
pub(super) struct Writer(ProgramFd);

impl Writer {
    /// Writes by this program.
    pub(super) const fn new(program: ProgramFd) -> Self {
        Self(program)
    }

    /// Writes values to their places, one after the other: all, or nothing if there is no such place.
    pub(super) fn write<T: Plain>(&self, table: Table, values: &[(u32, T)]) -> Result<(), TableError> {
        if let Some((index, _)) = values.iter().find(|(index, _)| *index >= length(table)) {
            let error = io::Error::new(io::ErrorKind::InvalidInput, format!("there is no place {index}"));
            return Err(refused("write to", name(table))(error));
        }
        let orders: Vec<_> = values.iter().flat_map(|(index, value)| orders(table, *index, value)).collect();
        self.send(table, &orders)
    }

    /// Writes zeros to these places.
    pub(super) fn clear<T: Plain + Default>(
        &self,
        table: Table,
        places: impl IntoIterator<Item = u32>,
    ) -> Result<(), TableError> {
        let zeros: Vec<_> = places.into_iter().map(|place| (place, T::default())).collect();
        self.write(table, &zeros)
    }

    fn send(&self, table: Table, orders: &[Order]) -> Result<(), TableError> {
        let failed = refused("write to", name(table));
        for orders in orders.chunks(Order::MOST) {
            let followed = bpf::run_over(self.0.as_fd(), &packet(table, orders)).map_err(&failed)?;
            if followed as usize != orders.len() {
                let error = format!("{followed} of {} words were written", orders.len());
                return Err(failed(io::Error::other(error)));
            }
        }
        Ok(())
    }
}

/// The orders that write a value to its place. A packet may come between any two of them: a service, whose key stands first,
/// is written from its end, so that it is not found before it is whole, and where its slots lie before how many they are, so that
/// one that outgrows them does not count on into its neighbour's; a backend, whose flags stand nearly last, from its beginning.
fn orders<T: Plain>(table: Table, index: u32, value: &T) -> Vec<Order> {
    let words = words(value);
    let first = index * u32::try_from(words.len()).unwrap_or(0);
    let mut orders: Vec<_> = (first..).zip(words).map(|(place, word)| Order { place, word }).collect();
    if table == Table::Services {
        orders.reverse();
    }
    orders
}

/// A value as the words that it is made of.
#[allow(unsafe_code, reason = "the bytes of a value, which `Plain` promises to be nothing but bytes")]
fn words<T: Plain>(value: &T) -> Vec<u32> {
    const { assert!(size_of::<T>().is_multiple_of(size_of::<u32>()), "words are what is written") };
    // SAFETY: as many bytes as the value has, none of them padding by the promise of `Plain`.
    let bytes = unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of::<T>()) };
    let (words, _) = bytes.as_chunks();
    words.iter().copied().map(u32::from_ne_bytes).collect()
}

/// What the program is run over.
fn packet(table: Table, orders: &[Order]) -> Vec<u8> {
    let mut packet = vec![0; Order::HEADER];
    packet[..4].copy_from_slice(&(table as u32).to_ne_bytes());
    for Order { place, word } in orders {
        packet.extend_from_slice(&place.to_ne_bytes());
        packet.extend_from_slice(&word.to_ne_bytes());
    }
    packet
}

const fn name(table: Table) -> &'static str {
    match table {
        Table::Services => "SERVICES",
        Table::Backends => "BACKENDS",
        Table::Slots => "SLOTS",
        Table::Contents => "CONTENTS",
        Table::GuardRules => "GUARD_RULES",
        Table::GuardState => "GUARD_STATE",
        Table::GuardOutline => "GUARD_OUTLINE",
        Table::CommonMtu => "COMMON_MTU",
        Table::Reachable => "REACHABLE",
    }
}

/// Values in a table.
const fn length(table: Table) -> u32 {
    match table {
        Table::Services => limits::SERVICE_ENTRIES,
        Table::Backends => limits::BACKENDS,
        Table::Slots => limits::SLOTS,
        Table::Contents | Table::GuardState | Table::CommonMtu => 1,
        Table::Reachable => limits::REACHABLE,
        Table::GuardRules => limits::GUARD_RULES,
        Table::GuardOutline => Outline::WORDS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::abi::{Forward, Service, ServiceFlags, ServiceKey, Slot};
    use lb_common::wire::{Buffer, Packet as _, U16be, U32be, protocol};

    #[test]
    fn a_service_is_not_found_before_it_is_whole() {
        let key = ServiceKey::v4(U32be::new(0xcb00_710a), U16be::new(80), protocol::TCP);
        let service = Service::new(key, Forward::DsrIpip, 1, 4096, 4096, ServiceFlags(0));
        let orders = orders(Table::Services, 3, &service);
        let key_words = 48..53;
        assert_eq!(orders.len(), 16);
        assert!(orders[..11].iter().all(|order| !key_words.contains(&order.place)));
        assert!(orders[11..].iter().all(|order| key_words.contains(&order.place)));
    }

    #[test]
    fn a_service_that_outgrows_its_slots_leads_to_no_others_at_any_time() {
        let key = ServiceKey::v4(U32be::new(0xcb00_710a), U16be::new(80), protocol::TCP);
        let of = |first, slots| Service::new(key, Forward::DsrIpip, 1, first, slots, ServiceFlags(0));
        let (old, new) = (of(4096, 4096), of(16_384, 8192));
        let mut seen = words(&old);
        for Order { place, word } in orders(Table::Services, 0, &new) {
            seen[place as usize] = word;
            let bytes: Vec<u8> = seen.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let service: Service = Buffer::new(&bytes).read(0).unwrap();
            for hash in [0, 1 << 19, 1 << 31, u32::MAX] {
                let index = service.slot_index(hash);
                assert!([old.slot_index(hash), new.slot_index(hash)].contains(&index), "{hash:#x}: {index}");
            }
            let turns = service.first_slot()..service.first_slot() + service.slots;
            let is_within = |whole: &Service| {
                turns.start >= whole.first_slot() && turns.end <= whole.first_slot() + whole.slots
            };
            assert!(is_within(&old) || is_within(&new), "{turns:?}");
        }
        assert_eq!(seen, words(&new));
    }

    #[test]
    fn a_slot_is_one_word_at_its_place() {
        let slot = Slot::settled_on(lb_common::abi::BackendId::from_bits(7));
        assert_eq!(orders(Table::Slots, 9, &slot), [Order { place: 9, word: slot.bits() }]);
    }
}
