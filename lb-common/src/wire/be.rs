//! Integers that lie in network byte order.

use core::fmt;

macro_rules! big_endian {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[repr(transparent)]
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct $name(pub(crate) $int);

        impl $name {
            /// Zero, the same in every byte order.
            pub const ZERO: Self = Self(0);

            /// Puts a number of this machine into network order.
            #[inline(always)]
            #[must_use]
            pub const fn new(value: $int) -> Self {
                Self(value.to_be())
            }

            /// The number in this machine's order.
            #[inline(always)]
            #[must_use]
            pub const fn get(self) -> $int {
                <$int>::from_be(self.0)
            }

            /// The bits as they lie in memory, for hashing and checksums, where order does not matter.
            #[inline(always)]
            #[must_use]
            pub const fn raw(self) -> $int {
                self.0
            }

            /// A value from bits as they lie in memory.
            #[inline(always)]
            #[must_use]
            pub const fn from_raw(raw: $int) -> Self {
                Self(raw)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.get().fmt(f)
            }
        }
    };
}

big_endian!(
    /// A 16-bit integer in network byte order.
    U16be,
    u16
);
big_endian!(
    /// A 32-bit integer in network byte order.
    U32be,
    u32
);

plain!(u8, 1);
plain!(u32, 4);
plain!(u64, 8);
plain!(U16be, 2);
plain!([U32be; 2], 8);
plain!(U32be, 4);

impl U32be {
    /// The two words that eight bytes hold.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "two halves")]
    pub const fn both(bytes: u64) -> (Self, Self) {
        // Little-endian, as all machines are that the kernel programs are built for: the first half lies below.
        (Self(bytes as u32), Self((bytes >> 32) as u32))
    }
}

impl From<[u8; 4]> for U32be {
    fn from(octets: [u8; 4]) -> Self {
        Self(u32::from_ne_bytes(octets))
    }
}

impl From<U32be> for [u8; 4] {
    fn from(value: U32be) -> Self {
        value.0.to_ne_bytes()
    }
}
