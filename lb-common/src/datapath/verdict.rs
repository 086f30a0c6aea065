//! Verdicts and reasons: every packet ends in exactly one.
//!
//! One list yields the enum, the counter's index, the metric label and the text for people.

use crate::abi::BackendId;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on to this host's own stack: as it came, unless its reason says what was changed.
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
    NotIp, "not_ip", Pass, "Neither IPv4 nor IPv6, nor a VLAN with one of them in it.";
    NotUnicast, "not_unicast", Pass, "Sent to a link-layer group, or from one or from no address at all, to which nothing can be answered.";
    BadIp, "bad_ip", Pass, "Not a well-formed IP header; nobody can tell whose it is.";
    NoPorts, "no_ports", Pass, "Too short to hold ports.";
    OtherProtocol, "other_protocol", Pass, "Neither TCP, UDP nor ICMP.";
    LaterFragment, "later_fragment", Pass, "A fragment without ports, of a datagram that is none of a service's.";
    NotAVip, "not_a_vip", Pass, "Neither for a service nor a reply of a backend.";
    IcmpNotOurs, "icmp_not_ours", Pass, "An ICMP message that is neither about a packet of ours nor an echo request to a VIP.";
    Local, "local", Pass, "For a service that this host serves itself.";
    TagBeside, "tag_beside", Pass, "Its VLAN tag was taken out of the frame before TC; left to the VLAN's own interface.";
    DnatRouted, "dnat_routed", Pass, "A backend's reply, or an ICMP error from its side, translated back, and left to the kernel to route; it drops IPv4 from a VIP that is its own address, unless `accept_local` is set.";
    StageGone, "stage_gone", Pass, "The program that goes on with it is gone, or was not loaded: the daemon was killed, or it is a defect of lb.";

    Settled, "settled", Forward, "Sent to the slot's owner; nothing had to be remembered.";
    Recorded, "recorded", Forward, "Sent to the backend the flow's record names.";
    Opened, "opened", Forward, "Sent to a backend that takes new flows, and the flow recorded.";
    Older, "older", Forward, "The slot moved; a flow older than the move stays with its settled owner.";
    Unrecorded, "unrecorded", Forward, "The flow table is full; sent to the settled owner, where later packets will go.";
    GuardUnrecorded, "guard_unrecorded", Forward, "More flows began in this second than may be recorded; sent to the settled owner.";
    QuicServer, "quic_server", Forward, "Sent to the server that the QUIC connection identifier names.";
    NatForward, "nat_forward", Forward, "Translated towards the backend.";
    NatOpened, "nat_opened", Forward, "First packet of a flow: a port was allocated and the packet translated.";
    NatReply, "nat_reply", Forward, "A backend's reply, translated back to the client.";
    DnatReply, "dnat_reply", Forward, "A backend's reply, given the VIP as its source, and sent to the client.";
    FragmentationNeeded, "fragmentation_needed", Forward, "It did not fit the way; its sender was told the size that does.";
    Unserved, "unserved", Forward, "No backend of the service can take it; its sender was told that nobody is at the port.";
    HopsUsedUp, "hops_used_up", Forward, "No hop left to forward it; its sender was told.";
    Reset, "reset", Forward, "Belongs to a translated connection that is not known; its sender was told that it is over.";
    SynCookie, "syn_cookie", Forward, "A SYN of a flood, answered with a cookie in the listener's place.";
    Ping, "ping", Forward, "An echo request to a VIP, answered.";
    IcmpForward, "icmp_forward", Forward, "An ICMP error about a service's packet, sent on to the backend that owns the flow.";
    IcmpReply, "icmp_reply", Forward, "An ICMP error from a backend's side, translated back to the client.";

    Malformed, "malformed", Drop, "For a service, but its lengths contradict each other.";
    FragmentUnknown, "fragment_unknown", Drop, "A fragment for a VIP that came before its datagram's first one, or long after it.";
    TimeToLive, "time_to_live", Drop, "No hop left to forward it, and its sender cannot be told.";
    NoBackend, "no_backend", Drop, "No backend of the service can take it, and its sender cannot be told.";
    Unresolved, "unresolved", Drop, "The backend's next hop is not known yet.";
    NoFlow, "no_flow", Drop, "Belongs to a translated connection that is not known, or whose answers would not be; its sender is not told.";
    TableFull, "table_full", Drop, "The flow table is full.";
    GuardRefused, "guard_refused", Drop, "More flows began in this second than may be recorded, and this one needs a record.";
    PortsTaken, "ports_taken", Drop, "No free port towards the backend was found.";
    TooBig, "too_big", Drop, "It does not fit the way, and its sender cannot be told.";
    NoHeadroom, "no_headroom", Drop, "The driver leaves no room for the outer header.";
    Inconsistent, "inconsistent", Drop, "Our own tables contradict each other: a defect of lb.";

    Denied, "denied", Drop, "From a source that a list denies.";
    Blocked, "blocked", Drop, "From a source that is blocked for a time.";
    Martian, "martian", Drop, "From an address that nobody can have.";
    Land, "land", Drop, "From an address that is its own destination, or a VIP.";
    BadFlags, "bad_flags", Drop, "TCP control bits that no sender means.";
    PortZero, "port_zero", Drop, "From port 0, which nobody can answer.";
    SourceRate, "source_rate", Drop, "Its source sends more packets than it may.";
    SourceNewFlows, "source_new_flows", Drop, "Its source begins more flows than it may.";
    ServiceNewFlows, "service_new_flows", Drop, "More flows of its service begin than may.";
    SynCookieBad, "syn_cookie_bad", Drop, "Of no connection, and acknowledges no cookie, while its service is flooded.";

    NotEncapsulated, "not_encapsulated", Pass, "No IP packet in an outer header; left to the stack (decap only).";
    CongestionUnheard, "congestion_unheard", Drop, "Congestion is marked on its outer header, and its sender does not heed such marks (decap only).";
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
// See `parse::Segment` for the alignment.
#[repr(align(32))]
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
