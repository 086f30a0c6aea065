//! QUIC, as far as a router of connections looks into it. Source: RFC 8999, sections 5.1 and 5.2 (what no version
//! changes); RFC 9000, section 17.2 (types of long headers).

/// Bits of the first byte that tell a long header from a short one.
const LONG: u8 = 0x80;
/// Types of long headers that a client sends under an identifier of its own choice: Initial and 0-RTT.
const CHOSEN_BY_CLIENT: u8 = 2;

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

/// Who chose the identifier in a packet with this first byte.
#[inline(always)]
#[must_use]
pub const fn identifier(first: u8) -> Identifier {
    if first & LONG == 0 {
        return Identifier::Server { offset: 1 };
    }
    if (first >> 4 & 3) < CHOSEN_BY_CLIENT {
        return Identifier::Client;
    }
    // Version and length of the identifier lie between.
    Identifier::Server { offset: 6 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_initial_and_early_data_packets_carry_the_client_s_own_identifier() {
        let chosen = [0xc0, 0xd0, 0xe0, 0xf0, 0x40].map(identifier);
        let long = Identifier::Server { offset: 6 };
        assert_eq!(
            chosen,
            [Identifier::Client, Identifier::Client, long, long, Identifier::Server { offset: 1 }]
        );
    }
}
