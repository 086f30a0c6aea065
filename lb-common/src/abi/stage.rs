//! The programs that a packet may go on to.

use super::Forward;

/// A program's place in the map of stages.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// TCP and UDP over IPv4.
    TransportV4 = 0,
    /// Those of services that translate both addresses.
    NatV4 = 1,
    /// Those of them that begin a flow.
    NatFirstV4 = 2,
    /// Those of services that translate the destination.
    DnatV4 = 3,
    /// ICMP over IPv4.
    ControlV4 = 4,
    /// TCP and UDP over IPv6.
    TransportV6 = 5,
    /// Those of services that translate both addresses.
    NatV6 = 6,
    /// Those of them that begin a flow.
    NatFirstV6 = 7,
    /// Those of services that translate the destination.
    DnatV6 = 8,
    /// ICMP over IPv6.
    ControlV6 = 9,
    /// Tells userspace of a drop that means trouble of ours.
    Announce = 10,
    /// The balancer, for what the guard lets go on.
    Balance = 11,
    /// The guard, for IPv4 packets that are not plain.
    GuardV4 = 12,
    /// The same for IPv6.
    GuardV6 = 13,
    /// Hands a packet to whoever captures, now that it is finished.
    Capture = 14,
    /// Answers SYNs of a flood with cookies, and checks what comes back, over IPv4.
    CookieV4 = 15,
    /// The same over IPv6.
    CookieV6 = 16,
    /// ICMP over IPv4 that may be about an outer header.
    RelayV4 = 17,
    /// The same over IPv6.
    RelayV6 = 18,
}

/// A set of stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageSet(u32);

impl StageSet {
    /// No stage.
    pub const NONE: Self = Self(0);

    /// These.
    #[must_use]
    pub const fn of(stages: &[Stage]) -> Self {
        let (mut set, mut next) = (Self::NONE, 0);
        while next < stages.len() {
            set.0 |= 1 << stages[next] as u32;
            next += 1;
        }
        set
    }

    /// Those of either.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that the other has not.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Stage> {
        let all = Stage::ALL.into_iter().chain(Stage::GUARDED).chain(Stage::COOKIES);
        all.filter(move |stage| self.0 >> *stage as u32 & 1 == 1)
    }
}

/// The stages of a family.
#[derive(Clone, Copy, Debug)]
pub struct Stages {
    /// TCP and UDP.
    pub transport: Stage,
    /// Those of services that translate both addresses.
    pub nat: Stage,
    /// Those of them that begin a flow.
    pub nat_first: Stage,
    /// Those of services that translate the destination.
    pub dnat: Stage,
    /// ICMP.
    pub control: Stage,
    /// ICMP that may be about an outer header.
    pub relay: Stage,
}

impl Stages {
    /// Those of IPv4.
    pub const V4: Self = Self {
        transport: Stage::TransportV4,
        nat: Stage::NatV4,
        nat_first: Stage::NatFirstV4,
        dnat: Stage::DnatV4,
        control: Stage::ControlV4,
        relay: Stage::RelayV4,
    };

    /// Those of IPv6.
    pub const V6: Self = Self {
        transport: Stage::TransportV6,
        nat: Stage::NatV6,
        nat_first: Stage::NatFirstV6,
        dnat: Stage::DnatV6,
        control: Stage::ControlV6,
        relay: Stage::RelayV6,
    };

    /// What packets of a service that forwards so go on to, and answers.
    #[must_use]
    pub const fn of_service(self, forward: Forward) -> StageSet {
        self.common().with(match forward {
            Forward::Nat => StageSet::of(&[self.nat, self.nat_first]),
            Forward::Dnat | Forward::Endpoint => StageSet::of(&[self.dnat]),
            Forward::DsrL2 | Forward::DsrIpip | Forward::DsrGue | Forward::Local | Forward::Host => {
                StageSet::NONE
            }
        })
    }

    /// What routers' messages go on to about outer headers.
    #[must_use]
    pub const fn of_outer_headers(self) -> StageSet {
        self.common().with(StageSet::of(&[self.relay]))
    }

    /// What any packet may go on to.
    #[must_use]
    pub const fn common(self) -> StageSet {
        StageSet::of(&[self.transport, self.control])
    }
}

impl Stage {
    /// How many places there are.
    pub const PLACES: usize = Self::ALL.len() + Self::GUARDED.len() + Self::COOKIES.len();

    /// Those that the balancer leaves packets to whatever the services.
    pub const ANY_TIME: [Self; 2] = [Self::Announce, Self::Capture];

    /// Those that the guard leaves packets to.
    pub const GUARDED: [Self; 3] = [Self::Balance, Self::GuardV4, Self::GuardV6];

    /// Those that the guard leaves packets to where it sends cookies, which it does for XDP alone.
    pub const COOKIES: [Self; 2] = [Self::CookieV4, Self::CookieV6];

    /// Those that the balancer leaves packets to, in the order of their places.
    pub const ALL: [Self; 14] = [
        Self::TransportV4,
        Self::NatV4,
        Self::NatFirstV4,
        Self::DnatV4,
        Self::ControlV4,
        Self::TransportV6,
        Self::NatV6,
        Self::NatFirstV6,
        Self::DnatV6,
        Self::ControlV6,
        Self::RelayV4,
        Self::RelayV6,
        Self::Announce,
        Self::Capture,
    ];

    /// The name of its program for XDP.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::TransportV4 => "lb_transport4",
            Self::NatV4 => "lb_nat4",
            Self::NatFirstV4 => "lb_nat_first4",
            Self::DnatV4 => "lb_dnat4",
            Self::ControlV4 => "lb_control4",
            Self::TransportV6 => "lb_transport6",
            Self::NatV6 => "lb_nat6",
            Self::NatFirstV6 => "lb_nat_first6",
            Self::DnatV6 => "lb_dnat6",
            Self::ControlV6 => "lb_control6",
            Self::Announce => "lb_announce",
            Self::Balance => "lb_balance",
            Self::GuardV4 => "lb_guard4",
            Self::GuardV6 => "lb_guard6",
            Self::Capture => "lb_capture",
            Self::CookieV4 => "lb_cookie4",
            Self::CookieV6 => "lb_cookie6",
            Self::RelayV4 => "lb_relay4",
            Self::RelayV6 => "lb_relay6",
        }
    }

    /// The name of its program for TC, if it has one.
    #[must_use]
    pub const fn tc_program(self) -> Option<&'static str> {
        Some(match self {
            Self::TransportV4 => "lbtc_transport4",
            Self::NatV4 => "lbtc_nat4",
            Self::NatFirstV4 => "lbtc_nat_first4",
            Self::DnatV4 => "lbtc_dnat4",
            Self::ControlV4 => "lbtc_control4",
            Self::TransportV6 => "lbtc_transport6",
            Self::NatV6 => "lbtc_nat6",
            Self::NatFirstV6 => "lbtc_nat_first6",
            Self::DnatV6 => "lbtc_dnat6",
            Self::ControlV6 => "lbtc_control6",
            Self::Announce => "lbtc_announce",
            Self::Balance => "lbtc_balance",
            Self::GuardV4 => "lbtc_guard4",
            Self::GuardV6 => "lbtc_guard6",
            Self::Capture => "lbtc_capture",
            Self::RelayV4 => "lbtc_relay4",
            Self::RelayV6 => "lbtc_relay6",
            Self::CookieV4 | Self::CookieV6 => return None,
        })
    }
}
