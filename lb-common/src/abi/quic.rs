//! Servers of QUIC services, by the identifier they put into connection identifiers.

use super::Service;
use crate::wire::U32be;

/// A server identifier of a service. Source: draft-ietf-quic-load-balancers, section 3: the identifier follows the
/// first byte of the connection identifier; here it is not encrypted.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QuicServer {
    /// The identifier's bytes, zeros behind them.
    id: [U32be; 2],
    service: u16,
    bytes: u16,
}

plain!(QuicServer, 12);

impl QuicServer {
    /// Where the identifier begins in a connection identifier, behind configuration and length.
    pub const OFFSET: usize = 1;

    /// The server that eight bytes of a connection identifier name, of which the service's first so many count.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a number of eight bits")]
    pub const fn named(service: &Service, [high, low]: [U32be; 2]) -> Self {
        let bytes = service.server_id_bytes as u32;
        let id = [keep(high, bytes), keep(low, bytes.saturating_sub(4))];
        Self { id, service: service.id, bytes: bytes as u16 }
    }

    /// The key in the map: three words.
    #[inline(always)]
    #[must_use]
    pub const fn to_words(self) -> [u32; 3] {
        [self.id[0].raw(), self.id[1].raw(), self.service as u32 | (self.bytes as u32) << 16]
    }
}

/// The first `bytes` bytes of a word.
#[inline(always)]
const fn keep(word: U32be, bytes: u32) -> U32be {
    match bytes {
        0 => U32be::ZERO,
        1..4 => U32be::new(word.get() & u32::MAX << (32 - 8 * bytes)),
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_service_s_first_bytes_count() {
        let words = |a: u32, b: u32| [U32be::new(a), U32be::new(b)];
        let of = |bytes| {
            let mut service = Service::VACANT;
            (service.server_id_bytes, service.id) = (bytes, 7);
            service
        };
        let named = |bytes, a, b| QuicServer::named(&of(bytes), words(a, b));
        assert_eq!(named(2, 0x0a0b_1111, 1), named(2, 0x0a0b_2222, 2));
        assert_ne!(named(2, 0x0a0b_1111, 1), named(2, 0x0a0c_1111, 1));
        assert_eq!(named(6, 1, 0x0a0b_1111), named(6, 1, 0x0a0b_2222));
        assert_ne!(named(8, 1, 0x0a0b_1111), named(8, 1, 0x0a0b_2222));
    }
}
