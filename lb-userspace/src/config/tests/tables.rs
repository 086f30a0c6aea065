//! Outer headers, limits and the keys of the top level.

use super::row::{check, first, row, section};

#[test]
fn sources_of_outer_headers_are_a_prefix_of_their_family() {
    check([
        row("a spread that is a word", section(r#"[encap]; spread = "yes""#))
            .at("10:10")
            .says(r#"`spread` cannot be "yes""#)
            .marks("expected true or false")
            .helps("as in `spread = false`"),
        row("an IPv6 source for IPv4", section(r#"[encap]; source_v4 = "fd00::/64""#))
            .at("10:13")
            .says(r#"`source_v4` cannot be "fd00::/64""#)
            .marks("expected an IPv4 prefix")
            .helps(r#"as in `source_v4 = "172.16.0.0/16"`"#),
        row("an IPv4 source for IPv6", section(r#"[encap]; source_v6 = "172.16.0.0/16""#))
            .at("10:13")
            .says(r#"`source_v6` cannot be "172.16.0.0/16""#)
            .marks("expected an IPv6 prefix")
            .helps(r#"as in `source_v6 = "100::/64"`"#),
        row("a source with host bits set", section(r#"[encap]; source_v4 = "172.16.0.1/16""#))
            .at("10:13")
            .says(r#"`source_v4` cannot be "172.16.0.1/16""#)
            .marks("expected the first address of a prefix of 16 bits")
            .helps("write `172.16.0.0/16`, or `172.16.0.1` without a length for one address"),
        row("a source longer than an address", section(r#"[encap]; source_v6 = "100::/129""#))
            .at("10:13")
            .says(r#"`source_v6` cannot be "100::/129""#)
            .marks("expected a length of at most 128 bits")
            .helps(r#"as in `source_v6 = "100::/64"`"#),
        row("a source that is no prefix", section(r#"[encap]; source_v4 = "172.16/16""#))
            .at("10:13")
            .says(r#"`source_v4` cannot be "172.16/16""#)
            .marks(r#"expected text "ADDRESS/LENGTH""#)
            .helps(r#"as in `source_v4 = "172.16.0.0/16"`"#),
        row("a source with a port", section(r#"[encap]; source_v4 = "172.16.0.0/16:80""#))
            .at("10:13")
            .says(r#"`source_v4` cannot be "172.16.0.0/16:80""#)
            .marks(r#"expected text "ADDRESS/LENGTH""#)
            .helps(r#"as in `source_v4 = "172.16.0.0/16"`"#),
        row("a source that is a number", section("[encap]; source_v6 = 64"))
            .at("10:13")
            .says("`source_v6` cannot be 64")
            .marks(r#"expected text "ADDRESS/LENGTH""#)
            .helps(r#"as in `source_v6 = "100::/64"`"#),
        row("a source that nobody may have", section(r#"[encap]; source_v4 = "0.0.0.0/0""#))
            .at("10:13")
            .says(r#"`source_v4` cannot be "0.0.0.0/0""#)
            .marks("expected a unicast address, 0.0.0.0 is the unspecified address")
            .helps("name one address that packets can be sent to over the network"),
        row("a multicast source", section(r#"[encap]; source_v6 = "ff00::/8""#))
            .at("10:13")
            .says(r#"`source_v6` cannot be "ff00::/8""#)
            .marks("expected a unicast address, ff00:: is a multicast address")
            .helps("name one address that packets can be sent to over the network"),
        row("an unknown key", section(r#"[encap]; source = "172.16.0.0/16""#))
            .at("10:1")
            .says("unknown key `source` in `[encap]`")
            .marks("expected one of `spread`, `source_v4`, `source_v6`")
            .helps("did you mean `source_v4`?"),
        row("two brackets", section("[[encap]]; spread = true"))
            .at("9:1")
            .says("`encap` cannot be an array")
            .marks("expected the table `[encap]`")
            .helps("as in `[encap]`"),
    ]);
}

#[test]
fn limits_are_held_to_their_bounds() {
    check([
        row("too few fragments", section("[limits]; fragments = 63"))
            .at("10:13")
            .says("`fragments` cannot be 63")
            .marks(r#"expected a number from 64 to 1048576, or a size such as "256k" or "1M""#)
            .helps(r#"as in `fragments = "16k"`"#),
        row("too many fragments", section(r#"[limits]; fragments = "2M""#))
            .at("10:13")
            .says(r#"`fragments` cannot be "2M""#)
            .marks(r#"expected a number from 64 to 1048576, or a size such as "256k" or "1M""#)
            .helps(r#"as in `fragments = "16k"`"#),
        row("fewer new flows than none", section("[limits]; new_flows = -1"))
            .at("10:13")
            .says("`new_flows` cannot be -1")
            .marks(r#"expected a number from 0 to 1000000000, or a size such as "256k" or "1M""#)
            .helps(r#"as in `new_flows = "100k"`"#),
        row("new flows beyond counting", section("[limits]; new_flows = 1000000001"))
            .at("10:13")
            .says("`new_flows` cannot be 1000000001")
            .marks(r#"expected a number from 0 to 1000000000, or a size such as "256k" or "1M""#)
            .helps(r#"as in `new_flows = "100k"`"#),
        row("new flows and a unit of time", section(r#"[limits]; new_flows = "100k/s""#))
            .at("10:13")
            .says(r#"`new_flows` cannot be "100k/s""#)
            .marks(r#"expected a number from 0 to 1000000000, or a size such as "256k" or "1M""#)
            .helps(r#"as in `new_flows = "100k"`"#),
        row("an unknown limit", section("[limits]; services = 10"))
            .at("10:1")
            .says("unknown key `services` in `[limits]`")
            .marks("expected one of `flows`, `fragments`, `new_flows`")
            .helps("remove it: a setting without effect would mislead whoever reads the file"),
    ]);
}

#[test]
fn ping_is_a_flag() {
    check([
        row("ping that is a word", first(r#"ping = "yes""#))
            .at("1:8")
            .says(r#"`ping` cannot be "yes""#)
            .marks("expected true or false")
            .helps("as in `ping = false`"),
        row("ping that is a table", first("ping = { reply = true }"))
            .at("1:8")
            .says("`ping` cannot be a table")
            .marks("expected true or false")
            .helps("as in `ping = false`"),
    ]);
}
