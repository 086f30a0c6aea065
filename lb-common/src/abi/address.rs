//! An IP address of either family in one shape.

use crate::wire::U32be;

/// An IPv6 address, or an IPv4 address in the first word with zeros behind it. The family is told elsewhere, because
/// every record knows it anyway.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Address(pub [U32be; 4]);

plain!(Address, 16);

impl Address {
    /// All zero.
    pub const UNSPECIFIED: Self = Self([U32be::ZERO; 4]);

    /// An IPv4 address.
    #[inline(always)]
    #[must_use]
    pub const fn v4(address: U32be) -> Self {
        Self([address, U32be::ZERO, U32be::ZERO, U32be::ZERO])
    }

    /// The IPv4 address, if the record's family is IPv4.
    #[inline(always)]
    #[must_use]
    pub const fn as_v4(self) -> U32be {
        self.0[0]
    }
}
