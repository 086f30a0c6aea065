//! Verdicts and reasons: every packet ends in exactly one.
//!
//! One list yields the enum, the counter's index, the metric label and the text for people.

use crate::abi::BackendId;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on to this host's own stack, untouched.
    Pass,
    /// It was rewritten and leaves by an interface.
    Forward,
    /// It ends here.
    Drop,
}

impl Verdict {
    /// The word used in status and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Forward => "forward",
            Self::Drop => "drop",
        }
    }
}

macro_rules! reasons {
    ($($name:ident, $label:literal, $verdict:ident, $text:literal;)*) => {
        /// Why a packet got its verdict. The number is the counter's index.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $(#[doc = $text] $name,)*
        }

        impl Reason {
            /// All reasons in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word used in status, metrics and logs.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// The verdict this reason belongs to.
            #[inline(always)]
            #[must_use]
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$name => Verdict::$verdict,)* }
            }

            /// A sentence for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    NotIpv4, "not_ipv4", Pass, "Neither IPv4 nor a VLAN with IPv4 in it.";
    NotUnicast, "not_unicast", Pass, "Sent to a link-layer group.";
    BadIpv4, "bad_ipv4", Pass, "Not a well-formed IPv4 header; nobody can tell whose it is.";
    NoPorts, "no_ports", Pass, "Too short to hold ports.";
    OtherProtocol, "other_protocol", Pass, "Neither TCP, UDP nor an ICMP error.";
    LaterFragment, "later_fragment", Pass, "A fragment without ports.";
    NotAVip, "not_a_vip", Pass, "Neither for a service nor a reply of a backend.";
    IcmpNotOurs, "icmp_not_ours", Pass, "An ICMP message about a packet that was not ours.";

    IpipSettled, "ipip_settled", Forward, "Encapsulated to the slot's owner; nothing had to be remembered.";
    IpipRecorded, "ipip_recorded", Forward, "Encapsulated to the backend the flow's record names.";
    IpipOpened, "ipip_opened", Forward, "Encapsulated to the slot's current owner, and the new flow recorded.";
    IpipOlder, "ipip_older", Forward, "The slot moved; a flow older than the move stays with its settled owner.";
    IpipUnrecorded, "ipip_unrecorded", Forward, "The flow table is full; sent to the settled owner, where later packets will go.";
    NatForward, "nat_forward", Forward, "Translated towards the backend.";
    NatOpened, "nat_opened", Forward, "First packet of a flow: a port was allocated and the packet translated.";
    NatReply, "nat_reply", Forward, "A backend's reply, translated back to the client.";
    FragmentationNeeded, "fragmentation_needed", Forward, "With the outer header it did not fit the interface; its sender was told the size that does.";
    IcmpForward, "icmp_forward", Forward, "An ICMP error about a service's packet, sent on to the backend that owns the flow.";
    IcmpReply, "icmp_reply", Forward, "An ICMP error from a backend's side, translated back to the client.";

    Malformed, "malformed", Drop, "For a service, but its lengths contradict each other.";
    Fragmented, "fragmented", Drop, "For a service, but a fragment.";
    TimeToLive, "time_to_live", Drop, "No hop left to forward it.";
    NoBackend, "no_backend", Drop, "No backend of the service can take it.";
    Unresolved, "unresolved", Drop, "The backend's next hop is not known yet.";
    NoFlow, "no_flow", Drop, "Belongs to a translated connection that is not known.";
    TableFull, "table_full", Drop, "The flow table is full.";
    PortsTaken, "ports_taken", Drop, "No free port towards the backend was found.";
    TooBig, "too_big", Drop, "With the outer header it does not fit the interface, and its sender cannot be told.";
    NoHeadroom, "no_headroom", Drop, "The driver leaves no room for the outer header.";
    Inconsistent, "inconsistent", Drop, "Our own tables contradict each other: a defect of lb.";

    NotEncapsulated, "not_encapsulated", Pass, "Not IPv4 in IPv4; left to the stack (decap only).";
    Decapsulated, "decapsulated", Pass, "The outer header was taken off, and the rest went to the stack (decap only).";
}

/// Which way a forwarded packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Towards a backend.
    ToBackend,
    /// Back to a client.
    ToClient,
}

/// A packet that was steered: rewritten, and ready to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steered {
    /// Why.
    pub reason: Reason,
    /// Interface to leave by.
    pub ifindex: u32,
    /// The backend it goes to or comes from.
    pub backend: BackendId,
    /// Which way.
    pub direction: Direction,
    /// Whether it began a flow.
    pub opened: bool,
}

/// The end of a packet's way: steered, or stopped for a reason.
pub type Outcome = Result<Steered, Reason>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_s_number_is_its_place_in_the_list() {
        for (place, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, place);
        }
    }

    #[test]
    fn labels_are_distinct_and_fit_the_counter_map() {
        let mut labels: std::vec::Vec<_> = Reason::ALL.iter().map(|r| r.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Reason::ALL.len());
        assert!(labels.len() <= crate::abi::limits::REASONS as usize);
    }
}
