//! QUIC, as far as a router of connections looks into it. Source: RFC 8999, sections 5.1 and 5.2 (what no version
//! changes); RFC 9000, section 17.2 (types of long headers); RFC 9369, section 3.2 (those of version 2).

use super::U32be;

/// Bits of the first byte that tell a long header from a short one.
const LONG: u8 = 0x80;
/// Types of long headers that a client sends under an identifier of its own choice, Initial and 0-RTT, are this one and the next.
const INITIAL: u8 = 0;
/// The same of version 2, which gave all types other numbers.
const INITIAL_OF_2: u8 = 1;
/// Version 2.
const VERSION_2: U32be = U32be::new(0x6b33_43cf);
/// Where the version lies behind the first byte of a long header.
pub const VERSION: usize = 1;

/// Where a packet's destination connection identifier begins, counted from the QUIC header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identifier {
    /// A server chose it, so it may say which.
    Server {
        /// Offset of its first byte.
        offset: usize,
    },
    /// The client made it up for its first packets.
    Client,
}

/// Who chose the identifier in a packet with this first byte and this version.
#[inline(always)]
#[must_use]
pub const fn identifier(first: u8, version: U32be) -> Identifier {
    if first & LONG == 0 {
        return Identifier::Server { offset: 1 };
    }
    let initial = if version.raw() == VERSION_2.raw() { INITIAL_OF_2 } else { INITIAL };
    if (first >> 4 & 3).wrapping_sub(initial) < 2 {
        return Identifier::Client;
    }
    // Version and length of the identifier lie between.
    Identifier::Server { offset: 6 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Identifier = Identifier::Server { offset: 1 };
    const LONG: Identifier = Identifier::Server { offset: 6 };

    fn of_version(version: u32) -> [Identifier; 5] {
        [0xc0, 0xd0, 0xe0, 0xf0, 0x40].map(|first| identifier(first, U32be::new(version)))
    }

    #[test]
    fn only_initial_and_early_data_packets_carry_the_client_s_own_identifier() {
        assert_eq!(of_version(1), [Identifier::Client, Identifier::Client, LONG, LONG, SHORT]);
    }

    #[test]
    fn version_2_gave_them_other_numbers() {
        assert_eq!(of_version(0x6b33_43cf), [LONG, Identifier::Client, Identifier::Client, LONG, SHORT]);
    }
}
