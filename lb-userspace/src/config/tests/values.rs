//! Values that cannot be what their key takes.

use super::row::{alone, check, first, in_service, instead, last, row};

#[test]
fn a_name_or_word_that_is_none_is_refused_with_the_words_there_are() {
    check([
        row("a name of other letters", instead(&[(r#"name = "web""#, r#"name = "web server""#)]))
            .at("2:8")
            .says(r#"`name` cannot be "web server""#)
            .marks("expected text of 1 to 63 letters A-Z a-z, digits, `_`, `.` and `-`")
            .helps(r#"as in `name = "web"`"#),
        row("an empty name", instead(&[(r#"name = "web""#, r#"name = """#)]))
            .at("2:8")
            .says(r#"`name` cannot be """#)
            .marks("expected text of 1 to 63 letters A-Z a-z, digits, `_`, `.` and `-`")
            .helps(r#"as in `name = "web"`"#),
        row(
            "a name of more than 63 letters",
            instead(&[(
                r#"name = "web""#,
                r#"name = "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww""#,
            )]),
        )
        .at("2:8")
        .says(r#"`name` cannot be "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww…""#)
        .marks("expected text of 1 to 63 letters A-Z a-z, digits, `_`, `.` and `-`")
        .helps(r#"as in `name = "web"`"#),
        row("a name that is a number", instead(&[(r#"name = "web""#, "name = 7")]))
            .at("2:8")
            .says("`name` cannot be 7")
            .marks("expected text of 1 to 63 letters A-Z a-z, digits, `_`, `.` and `-`")
            .helps(r#"as in `name = "web"`"#),
        row("an unknown protocol", in_service(r#"protocol = "sctp""#))
            .at("5:12")
            .says(r#"`protocol` cannot be "sctp""#)
            .marks(r#"expected "tcp" or "udp""#)
            .helps(r#"as in `protocol = "udp"`"#),
        row("a protocol in capitals", in_service(r#"protocol = "TCP""#))
            .at("5:12")
            .says(r#"`protocol` cannot be "TCP""#)
            .marks(r#"expected "tcp" or "udp""#)
            .helps(r#"did you mean "tcp"?"#),
        row("an unknown forward", instead(&[(r#"forward = "nat""#, r#"forward = "dsr""#)]))
            .at("4:11")
            .says(r#"`forward` cannot be "dsr""#)
            .marks(r#"expected "nat", "dnat", "dsr-l2", "dsr-ipip", "dsr-gue" or "local""#)
            .helps(r#"did you mean "dsr-l2"?"#),
        row("tracking that is a flag", in_service("tracking = true"))
            .at("5:12")
            .says("`tracking` cannot be true")
            .marks(r#"expected "auto", "always" or "never""#)
            .helps(r#"as in `tracking = "auto"`"#),
    ]);
}

#[test]
fn an_address_nobody_can_be_reached_at_is_refused() {
    check([
        row(
            "an address without a port",
            instead(&[(r#"vip = "203.0.113.10:80""#, r#"vip = "203.0.113.10""#)]),
        )
        .at("3:7")
        .says(r#"`vip` cannot be "203.0.113.10""#)
        .marks(r#"expected text "ADDRESS:PORT", where a prefix, a range of ports or `*` may stand, too"#)
        .helps(r#"add the port, as in "203.0.113.10:80""#),
        row(
            "an IPv6 address without brackets and port",
            instead(&[(r#"vip = "203.0.113.10:80""#, r#"vip = "2001:db8::1""#)]),
        )
        .at("3:7")
        .says(r#"`vip` cannot be "2001:db8::1""#)
        .marks(r#"expected text "ADDRESS:PORT", where a prefix, a range of ports or `*` may stand, too"#)
        .helps(r#"add the port, as in "[2001:db8::1]:80""#),
        row(
            "a host name",
            alone(
                r#"
[[service.backend]]
name = "web1"
addr = "web1.example.org:8080""#,
            ),
        )
        .at("8:8")
        .says(r#"`addr` cannot be "web1.example.org:8080""#)
        .marks(r#"expected text "ADDRESS:PORT" or "ADDRESS""#)
        .helps("host names are not looked up: write the IP address"),
        row(
            "an address out of range",
            instead(&[(r#"vip = "203.0.113.10:80""#, r#"vip = "203.0.113.300:80""#)]),
        )
        .at("3:7")
        .says(r#"`vip` cannot be "203.0.113.300:80""#)
        .marks(r#"expected text "ADDRESS:PORT", where a prefix, a range of ports or `*` may stand, too"#)
        .helps(r#"as in `vip = "203.0.113.10:80"`"#),
        row(
            "a port out of range",
            instead(&[(r#"vip = "203.0.113.10:80""#, r#"vip = "203.0.113.10:80000""#)]),
        )
        .at("3:7")
        .says(r#"`vip` cannot be "203.0.113.10:80000""#)
        .marks("expected a port from 1 to 65535, a range, or `*`")
        .helps(r#"as in `vip = "203.0.113.10:80"`"#),
        row("port 0", instead(&[(r#"vip = "203.0.113.10:80""#, r#"vip = "203.0.113.10:0""#)]))
            .at("3:7")
            .says(r#"`vip` cannot be "203.0.113.10:0""#)
            .marks("expected a port from 1 to 65535, a range, or `*`")
            .helps(r#"as in `vip = "203.0.113.10:80"`"#),
        row("the unspecified address", instead(&[(r#"vip = "203.0.113.10:80""#, r#"vip = "0.0.0.0:80""#)]))
            .at("3:7")
            .says(r#"`vip` cannot be "0.0.0.0:80""#)
            .marks("expected a unicast address, 0.0.0.0 is the unspecified address")
            .helps("name one address that packets can be sent to over the network"),
        row("a multicast VIP", instead(&[(r#"vip = "203.0.113.10:80""#, r#"vip = "224.0.0.1:80""#)]))
            .at("3:7")
            .says(r#"`vip` cannot be "224.0.0.1:80""#)
            .marks("expected a unicast address, 224.0.0.1 is a multicast address")
            .helps("name one address that packets can be sent to over the network"),
        row("a loopback VIP", instead(&[(r#"vip = "203.0.113.10:80""#, r#"vip = "127.0.0.1:80""#)]))
            .at("3:7")
            .says(r#"`vip` cannot be "127.0.0.1:80""#)
            .marks("expected a unicast address, 127.0.0.1 is a loopback address")
            .helps("name one address that packets can be sent to over the network"),
        row(
            "the broadcast address",
            instead(&[(r#"vip = "203.0.113.10:80""#, r#"vip = "255.255.255.255:80""#)]),
        )
        .at("3:7")
        .says(r#"`vip` cannot be "255.255.255.255:80""#)
        .marks("expected a unicast address, 255.255.255.255 is the broadcast address")
        .helps("name one address that packets can be sent to over the network"),
        row(
            "a loopback backend",
            alone(
                r#"
[[service.backend]]
name = "web1"
addr = "127.0.0.1:8080""#,
            ),
        )
        .at("8:8")
        .says(r#"`addr` cannot be "127.0.0.1:8080""#)
        .marks("expected a unicast address, 127.0.0.1 is a loopback address")
        .helps("name one address that packets can be sent to over the network"),
    ]);
}

#[test]
fn a_weight_or_flag_of_another_type_or_size_is_refused() {
    check([
        row("weight 0 is draining by another name", last("weight = 0"))
            .at("9:10")
            .says("`weight` cannot be 0")
            .marks("expected an integer from 1 to 1000")
            .helps("for a backend that gets no new flows write `drain = true`"),
        row("a weight above the greatest", last("weight = 1001"))
            .at("9:10")
            .says("`weight` cannot be 1001")
            .marks("expected an integer from 1 to 1000")
            .helps("as in `weight = 1`"),
        row("a negative weight", last("weight = -1"))
            .at("9:10")
            .says("`weight` cannot be -1")
            .marks("expected an integer from 1 to 1000")
            .helps("as in `weight = 1`"),
        row("a weight in quotes", last(r#"weight = "3""#))
            .at("9:10")
            .says(r#"`weight` cannot be "3""#)
            .marks("expected an integer from 1 to 1000")
            .helps("as in `weight = 1`"),
        row("a fractional weight", last("weight = 1.5"))
            .at("9:10")
            .says("`weight` cannot be 1.5")
            .marks("expected an integer from 1 to 1000")
            .helps("as in `weight = 1`"),
        row("a drain that is a word", last(r#"drain = "yes""#))
            .at("9:9")
            .says(r#"`drain` cannot be "yes""#)
            .marks("expected true or false")
            .helps("as in `drain = true`"),
    ]);
}

#[test]
fn durations_sizes_and_ports_are_held_to_their_bounds() {
    check([
        row("a duration without a unit", in_service("idle = 300"))
            .at("5:8")
            .says("`idle` cannot be 300")
            .marks(r#"expected a duration from "1s" to "24h" (ms, s, m or h)"#)
            .helps(r#"as in `idle = "5m"`"#),
        row("a duration in words", in_service(r#"idle = "5 minutes""#))
            .at("5:8")
            .says(r#"`idle` cannot be "5 minutes""#)
            .marks(r#"expected a duration from "1s" to "24h" (ms, s, m or h)"#)
            .helps(r#"as in `idle = "5m"`"#),
        row("a duration out of range", in_service(r#"idle = "100ms""#))
            .at("5:8")
            .says(r#"`idle` cannot be "100ms""#)
            .marks(r#"expected a duration from "1s" to "24h" (ms, s, m or h)"#)
            .helps(r#"as in `idle = "5m"`"#),
        row(
            "flows below the fewest",
            last(
                r"[limits]
flows = 1023",
            ),
        )
        .at("10:9")
        .says("`flows` cannot be 1023")
        .marks(r#"expected a number from 1024 to 16777216, or a size such as "256k" or "1M""#)
        .helps(r#"as in `flows = "256k"`"#),
        row(
            "flows above the most",
            last(
                r#"[limits]
flows = "17M""#,
            ),
        )
        .at("10:9")
        .says(r#"`flows` cannot be "17M""#)
        .marks(r#"expected a number from 1024 to 16777216, or a size such as "256k" or "1M""#)
        .helps(r#"as in `flows = "256k"`"#),
        row(
            "flows in an unknown unit",
            last(
                r#"[limits]
flows = "1G""#,
            ),
        )
        .at("10:9")
        .says(r#"`flows` cannot be "1G""#)
        .marks(r#"expected a number from 1024 to 16777216, or a size such as "256k" or "1M""#)
        .helps(r#"as in `flows = "256k"`"#),
        row(
            "NAT ports below 1024",
            last(
                r#"[nat]
ports = "80-65535""#,
            ),
        )
        .at("10:9")
        .says(r#"`ports` cannot be "80-65535""#)
        .marks(r#"expected "auto", or a range "FIRST-LAST" within 1024-65535"#)
        .helps(r#"as in `ports = "20000-60000"`"#),
        row(
            "NAT ports backwards",
            last(
                r#"[nat]
ports = "60000-20000""#,
            ),
        )
        .at("10:9")
        .says(r#"`ports` cannot be "60000-20000""#)
        .marks(r#"expected "auto", or a range "FIRST-LAST" within 1024-65535"#)
        .helps(r#"as in `ports = "20000-60000"`"#),
    ]);
}

#[test]
fn a_value_of_another_type_is_refused_wherever_it_stands() {
    check([
        row("a seed that is not hexadecimal", first(r#"seed = "web""#))
            .at("1:8")
            .says(r#"`seed` cannot be "web""#)
            .marks(r#"expected an integer of 64 bits, or hexadecimal text such as "0x5eed""#)
            .helps(r#"as in `seed = "0x5eed"`"#),
        row("a negative seed", first("seed = -1"))
            .at("1:8")
            .says("`seed` cannot be -1")
            .marks(r#"expected an integer of 64 bits, or hexadecimal text such as "0x5eed""#)
            .helps(r#"as in `seed = "0x5eed"`"#),
        row("a flag that is a number", first("log_packets = 1"))
            .at("1:15")
            .says("`log_packets` cannot be 1")
            .marks("expected true or false")
            .helps("as in `log_packets = true`"),
        row("a date", in_service("idle = 2024-01-01"))
            .at("5:8")
            .says("`idle` cannot be the date 2024-01-01")
            .marks(r#"expected a duration from "1s" to "24h" (ms, s, m or h)"#)
            .helps(r#"as in `idle = "5m"`"#),
        row("an array", last("weight = [1, 2]"))
            .at("9:10")
            .says("`weight` cannot be an array")
            .marks("expected an integer from 1 to 1000")
            .helps("as in `weight = 1`"),
        row("a list of backends of another type", alone(r#"backend = "web1""#))
            .at("5:11")
            .says(r#"`backend` cannot be "web1""#)
            .marks("expected tables, each with the header `[[service.backend]]`")
            .helps("as in `[[service.backend]]`"),
        row("a backend that is no table", alone("backend = [1]"))
            .at("5:12")
            .says("`backend` cannot be 1")
            .marks("expected tables, each with the header `[[service.backend]]`")
            .helps("as in `[[service.backend]]`"),
    ]);
}
