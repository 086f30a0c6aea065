//! What the programs in the kernel are loaded with: ports, outer headers, sizes of tables, captures.

use super::super::bounds::{
    MAX_CAPTURE_RATE, MAX_CAPTURE_RING, MAX_CAPTURE_SNAP, MAX_FLOWS, MAX_FRAGMENTS, MAX_NEW_FLOWS,
    MIN_CAPTURE_RING, MIN_CAPTURE_SNAP, MIN_FLOWS, MIN_FRAGMENTS,
};
use super::super::keys::{Form, Key, Presence, Section, Unit, Value};

/// Full NAT.
pub(in crate::config) static NAT: Section = Section {
    title: "[nat]",
    meaning: "How services with `forward = \"nat\"` use the balancer's own address. Read at start.",
    keys: &[Key {
        name: "ports",
        value: Value::Text(Form::Ports),
        presence: Presence::Default("\"auto\""),
        example: "ports = \"20000-60000\"",
        meaning: "Source ports the balancer's own address uses towards backends. The host's own connections must not use \
                  them: an answer to one of these ports is taken for a backend's. `auto` is all of 1024–65535 outside the \
                  host's `net.ipv4.ip_local_port_range`, or, where that leaves fewer than 20,000, all of 1024–64511 with \
                  a warning.",
        why: "`auto` cannot collide with connections the host opens itself. Name a range where other programs listen on \
              ports above 1023.",
    }],
};

/// Outer headers.
pub(in crate::config) static ENCAP: Section = Section {
    title: "[encap]",
    meaning: "Outer headers of services that encapsulate. Read at start.",
    keys: &[
        Key {
            name: "spread",
            value: Value::Flag,
            presence: Presence::Default("true"),
            example: "spread = false",
            meaning: "Draws outer sources from the prefixes below by the flow's hash. Without it the balancer's own address is \
                      the source of all, and a backend's network card puts all into one receive queue.",
            why: "Queues that share the work are worth a source that nobody can answer. Turn it off where a firewall or \
                  reverse-path filter between drops such sources, or where the way to backends has links too narrow for outer headers: \
                  what a router says of that comes to the balancer's own address, and is told the client.",
        },
        Key {
            name: "source_v4",
            value: Value::Text(Form::Prefix),
            presence: Presence::Default("\"172.16.0.0/16\""),
            example: "source_v4 = \"172.16.0.0/16\"",
            meaning: "Sources of outer IPv4 headers.",
            why: "The prefix that Katran uses, too.",
        },
        Key {
            name: "source_v6",
            value: Value::Text(Form::Prefix),
            presence: Presence::Default("\"100::/64\""),
            example: "source_v6 = \"100::/64\"",
            meaning: "Sources of outer IPv6 headers. The last 32 bits at most are drawn.",
            why: "The discard-only prefix (RFC 6666), which leads nowhere.",
        },
    ],
};

/// Table sizes.
pub(in crate::config) static TABLES: Section = Section {
    title: "[limits]",
    meaning: "Sizes of the kernel's tables. Read at start; a reload does not resize a table.",
    keys: &[
        Key {
            name: "flows",
            value: Value::Number(Unit::Size, MIN_FLOWS..=MAX_FLOWS),
            presence: Presence::Default("262144"),
            example: "flows = \"256k\"",
            meaning: "Entries of the flow table of each family, rounded up to a power of two; k is \
                      1,024 and M is 1,048,576. The memory is taken at start, 64 bytes an entry for \
                      IPv4 and 128 for IPv6, and counts among the daemon's own, which maps it. An \
                      entry has sixteen places: of a table that is half full one new flow in 65,000 \
                      finds none and is treated as if it were full, of one that is three quarters full \
                      one in a hundred.",
            why: "Room for a quarter of a million tracked flows in 48 MiB.",
        },
        Key {
            name: "fragments",
            value: Value::Number(Unit::Size, MIN_FRAGMENTS..=MAX_FRAGMENTS),
            presence: Presence::Default("16384"),
            example: "fragments = \"16k\"",
            meaning: "Datagrams in fragments whose ports are remembered for the fragments that have none. The oldest gives way.",
            why: "A thousand such datagrams a second for a dozen seconds, in a megabyte and a half.",
        },
        Key {
            name: "new_flows",
            value: Value::Number(Unit::Size, 0..=MAX_NEW_FLOWS),
            presence: Presence::Default("0"),
            example: "new_flows = \"100k\"",
            meaning: "Flood guard: entries added to the flow table in a second, shared out evenly over the CPUs, above which \
                      there are no more. Flows that need none go on as before, others of `dsr` services go to their slot's \
                      settled owner, and new ones of `nat` are dropped. 0 is no bound.",
            why: "Only the operator knows what is a flood and what is a good day.",
        },
    ],
};

/// Captures of packets.
pub(in crate::config) static CAPTURE: Section = Section {
    title: "[capture]",
    meaning: "Captures of packets with what became of them, by `lb-userspace capture`. Read at start.",
    keys: &[
        Key {
            name: "enabled",
            value: Value::Flag,
            presence: Presence::Default("false"),
            example: "enabled = true",
            meaning: "Allows captures. Without it the programs are loaded without a trace of them.",
            why: "Off, because even while nobody captures, every packet has to look whether somebody does.",
        },
        Key {
            name: "rate",
            value: Value::Number(Unit::Plain, 1..=MAX_CAPTURE_RATE),
            presence: Presence::Default("1000"),
            example: "rate = 1000",
            meaning: "Packets captured in a second at most, shared out evenly over the CPUs. Those beyond are counted and not \
                      captured; they go their way all the same.",
            why: "More than a person reads, and too few to slow a balancer down, whatever a filter asks for.",
        },
        Key {
            name: "snap",
            value: Value::Number(Unit::Plain, MIN_CAPTURE_SNAP..=MAX_CAPTURE_SNAP),
            presence: Presence::Default("256"),
            example: "snap = 256",
            meaning: "Bytes of a packet that are kept.",
            why: "All headers, an outer one included, and little of what clients say to servers.",
        },
        Key {
            name: "ring",
            value: Value::Number(Unit::Size, MIN_CAPTURE_RING..=MAX_CAPTURE_RING),
            presence: Presence::Default("1048576"),
            example: "ring = \"1M\"",
            meaning: "Bytes of the buffer in which packets wait for the daemon, rounded up to a power of two.",
            why: "Several seconds' worth at the default rate, should the daemon be busy.",
        },
    ],
};
