//! What the guard may be told.

use super::super::bounds::{MAX_PREFIXES, MAX_RATE, MIN_PREFIXES};
use super::super::keys::{Form, Key, Presence, Section, Unit, Value};

const LISTS_KEY: Key = Key {
    name: "lists",
    value: Value::Flag,
    presence: Presence::Default("true"),
    example: "lists = false",
    meaning: "Stops sources that the deny list names, under the reason `denied`. Of several prefixes that a source is in, the longest decides; allow wins over deny where both name the same.",
    why: "Whoever writes a list wants it to hold.",
};

const MARTIANS_KEY: Key = Key {
    name: "martians",
    value: Value::Flag,
    presence: Presence::Default("true"),
    example: "martians = false",
    meaning: "Stops sources that no other host can have (`martian`): `0.0.0.0/8`, `127.0.0.0/8`, multicast and `240.0.0.0/4`, and of IPv6 the unspecified, loopback, IPv4-mapped and multicast addresses; with `bogons` more.",
    why: "Nobody could be answered there.",
};

const LAND_KEY: Key = Key {
    name: "land",
    value: Value::Flag,
    presence: Presence::Default("true"),
    example: "land = false",
    meaning: "Stops sources that are the packet's own destination or the address of a VIP (`land`).",
    why: "Only a forged packet has such a source.",
};

const MALFORMED_KEY: Key = Key {
    name: "malformed",
    value: Value::Flag,
    presence: Presence::Default("true"),
    example: "malformed = false",
    meaning: "Stops TCP control bits that no sender means (`bad_flags`: none at all, SYN, FIN and RST in any two, FIN, PSH or URG without ACK, reserved bits) and source port 0 (`port_zero`). Lengths that contradict each other are dropped without a guard, too.",
    why: "They come from scanners.",
};

const BLOCKS_KEY: Key = Key {
    name: "blocks",
    value: Value::Flag,
    presence: Presence::Default("true"),
    example: "blocks = false",
    meaning: "Stops sources that are blocked for a time by `lb-userspace block` (`blocked`).",
    why: "Whoever blocks an address means all services.",
};

const SOURCE_PACKETS_KEY: Key = Key {
    name: "source_packets",
    value: Value::Number(Unit::Size, 0..=MAX_RATE),
    presence: Presence::Default("0"),
    example: "source_packets = \"1k\"",
    meaning: "Packets of one source in a second, and as many at once after a pause; those above are dropped under `source_rate`. Each service counts by itself. 0 is no bound.",
    why: "Only the operator knows what a client needs.",
};

const SOURCE_FLOWS_KEY: Key = Key {
    name: "source_flows",
    value: Value::Number(Unit::Size, 0..=MAX_RATE),
    presence: Presence::Default("0"),
    example: "source_flows = \"1k\"",
    meaning: "TCP connections that one source may ask for in a second; the SYNs above are dropped under `source_new_flows`. Datagrams do not say whether they begin something: bound them by `source_packets`. 0 is no bound.",
    why: "As above.",
};

const SERVICE_FLOWS_KEY: Key = Key {
    name: "service_flows",
    value: Value::Number(Unit::Size, 0..=MAX_RATE),
    presence: Presence::Default("0"),
    example: "service_flows = \"1k\"",
    meaning: "TCP connections that all sources together may ask for in a second; the SYNs above are dropped under `service_new_flows`. 0 is no bound.",
    why: "As above.",
};

const SYN_COOKIES_KEY: Key = Key {
    name: "syn_cookies",
    value: Value::Flag,
    presence: Presence::Default("false"),
    example: "syn_cookies = true",
    meaning: "Answers the SYNs above `service_flows` with SYN cookies (`syn_cookie`) instead of dropping them, and while there are such, drops what acknowledges none and is of no connection (`syn_cookie_bad`). Real clients connect during a flood, and the listener sees completed handshakes only. Only for TCP with `forward = \"local\"`, by XDP (at TC they are dropped), on Linux 6.0 or newer. Needs `sysctl -w net.ipv4.tcp_syncookies=2`, without which the listener would not take the handshakes; the daemon does not start until that is set. Such connections have neither window scaling nor selective acknowledgements. The first service that has it takes a restart.",
    why: "It asks for a setting of the whole host.",
};

const SOURCE_V4_KEY: Key = Key {
    name: "source_v4",
    value: Value::Number(Unit::Plain, 1..=32),
    presence: Presence::Default("32"),
    example: "source_v4 = 24",
    meaning: "Bits of an IPv4 address that are one source to the rates.",
    why: "One address is one client, or one network behind a translation.",
};

const SOURCE_V6_KEY: Key = Key {
    name: "source_v6",
    value: Value::Number(Unit::Plain, 1..=128),
    presence: Presence::Default("64"),
    example: "source_v6 = 64",
    meaning: "Bits of an IPv6 address that are one source to the rates.",
    why: "The network of one customer; its addresses are for anyone in it to choose.",
};

/// The guard.
pub(in crate::config) static GUARD: Section = Section {
    title: "[guard]",
    meaning: "The guard stands in front of services and drops what no client should send, each kind under a reason of its own \
              that `status` counts. It is loaded if this section is there, or any service has a `guard`; without, nothing of it \
              runs. Read at start, that there is one. Packets that are for no service are not looked at. The keys from `lists` on hold for all services that do \
              not say otherwise.",
    keys: &[
        Key {
            name: "deny",
            value: Value::Text(Form::File),
            presence: Presence::Optional("nobody is denied"),
            example: "deny = \"/etc/lb/deny.list\"",
            meaning: "File of prefixes or addresses whose packets are dropped, one a line, with comments behind `#` or `;`. Every \
                      reload reads it anew and puts it in force as a whole; if a line is wrong, nothing changes.",
            why: "",
        },
        Key {
            name: "allow",
            value: Value::Text(Form::File),
            presence: Presence::Optional("nobody is exempt"),
            example: "allow = \"/etc/lb/allow.list\"",
            meaning: "File of the same form: prefixes that are neither denied nor blocked nor taken for martians. Rates and the \
                      checks of a packet's form hold for them, too.",
            why: "An allowed address is as easily forged as any other.",
        },
        Key {
            name: "bogons",
            value: Value::Flag,
            presence: Presence::Default("false"),
            example: "bogons = true",
            meaning: "Takes private, shared, link-local, documentation and benchmarking addresses (RFC 6890) for martians, too.",
            why: "Clients of a balancer inside a network have such addresses.",
        },
        Key {
            name: "prefixes",
            value: Value::Number(Unit::Size, MIN_PREFIXES..=MAX_PREFIXES),
            presence: Presence::Default("262144"),
            example: "prefixes = \"256k\"",
            meaning: "Prefixes that there is room for, twice: a new list is written beside the old one. A new number takes effect at the next start.",
            why: "Room for the large public lists, in some 75 MiB that are reserved at start.",
        },
        LISTS_KEY,
        MARTIANS_KEY,
        LAND_KEY,
        MALFORMED_KEY,
        BLOCKS_KEY,
        SOURCE_PACKETS_KEY,
        SOURCE_FLOWS_KEY,
        SERVICE_FLOWS_KEY,
        SOURCE_V4_KEY,
        SOURCE_V6_KEY,
    ],
};

/// A service's part of it.
pub(in crate::config) static SERVICE_GUARD: Section = Section {
    title: "guard = { … }",
    meaning: "What the guard does for a service, inside the braces of its `guard`. What is not said here is as `[guard]` says.",
    keys: &[
        LISTS_KEY,
        MARTIANS_KEY,
        LAND_KEY,
        MALFORMED_KEY,
        BLOCKS_KEY,
        SOURCE_PACKETS_KEY,
        SOURCE_FLOWS_KEY,
        SERVICE_FLOWS_KEY,
        SYN_COOKIES_KEY,
        SOURCE_V4_KEY,
        SOURCE_V6_KEY,
    ],
};
