//! VIPs that cannot be, and VIPs that cannot stand together.

use crate::config::{Loaded, Mistakes, parse};

use super::row::{both, check, row, vip};

#[test]
fn a_vip_is_refused_with_the_way_to_write_it() {
    check([
        row("an IPv4 prefix longer than an address", vip("203.0.113.0/33:80"))
            .at("3:7")
            .says(r#"`vip` cannot be "203.0.113.0/33:80""#)
            .marks("expected a length of at most 32 bits")
            .helps(r#"as in `vip = "203.0.113.10:80"`"#),
        row("an IPv6 prefix longer than an address", vip("[2001:db8::/129]:80"))
            .at("3:7")
            .says(r#"`vip` cannot be "[2001:db8::/129]:80""#)
            .marks("expected a length of at most 128 bits")
            .helps(r#"as in `vip = "203.0.113.10:80"`"#),
        row("a length beyond all", vip("203.0.113.0/1000:80"))
            .at("3:7")
            .says(r#"`vip` cannot be "203.0.113.0/1000:80""#)
            .marks("expected a length of at most 32 bits")
            .helps(r#"as in `vip = "203.0.113.10:80"`"#),
        row("a prefix with host bits set", vip("203.0.113.10/24:80"))
            .at("3:7")
            .says(r#"`vip` cannot be "203.0.113.10/24:80""#)
            .marks("expected the first address of a prefix of 24 bits")
            .helps("write `203.0.113.0/24`, or `203.0.113.10` without a length for one address"),
        row("an IPv6 prefix with host bits set", vip("[2001:db8::1/64]:80"))
            .at("3:7")
            .says(r#"`vip` cannot be "[2001:db8::1/64]:80""#)
            .marks("expected the first address of a prefix of 64 bits")
            .helps("write `2001:db8::/64`, or `2001:db8::1` without a length for one address"),
        row("a prefix without a port", vip("203.0.113.0/24"))
            .at("3:7")
            .says(r#"`vip` cannot be "203.0.113.0/24""#)
            .marks(r#"expected text "ADDRESS:PORT", where a prefix, a range of ports or `*` may stand, too"#)
            .helps(r#"add the port, as in "203.0.113.0/24:80""#),
        row("an IPv6 prefix without brackets", vip("2001:db8::/64:443"))
            .at("3:7")
            .says(r#"`vip` cannot be "2001:db8::/64:443""#)
            .marks(r#"expected text "ADDRESS:PORT", where a prefix, a range of ports or `*` may stand, too"#)
            .helps(r#"write "[2001:db8::/64]:443""#),
        row("brackets that leave the length out", vip("[2001:db8::]/64:443"))
            .at("3:7")
            .says(r#"`vip` cannot be "[2001:db8::]/64:443""#)
            .marks(r#"expected text "ADDRESS:PORT", where a prefix, a range of ports or `*` may stand, too"#)
            .helps(r#"write "[2001:db8::/64]:443""#),
        row("brackets around IPv4", vip("[203.0.113.10]:80"))
            .at("3:7")
            .says(r#"`vip` cannot be "[203.0.113.10]:80""#)
            .marks(r#"expected text "ADDRESS:PORT", where a prefix, a range of ports or `*` may stand, too"#)
            .helps(r#"write "203.0.113.10:80""#),
        row("a prefix of every address", vip("0.0.0.0/0:80"))
            .at("3:7")
            .says(r#"`vip` cannot be "0.0.0.0/0:80""#)
            .marks("expected a unicast address, 0.0.0.0 is the unspecified address")
            .helps("name one address that packets can be sent to over the network"),
        row("any address at all", vip("*:80"))
            .at("3:7")
            .says(r#"`vip` cannot be "*:80""#)
            .marks(r#"expected text "ADDRESS:PORT", where a prefix, a range of ports or `*` may stand, too"#)
            .helps(r#"as in `vip = "203.0.113.10:80"`"#),
        row("a multicast prefix", vip("224.0.0.0/4:80"))
            .at("3:7")
            .says(r#"`vip` cannot be "224.0.0.0/4:80""#)
            .marks("expected a unicast address, 224.0.0.0 is a multicast address")
            .helps("name one address that packets can be sent to over the network"),
        row("an IPv6 multicast address", vip("[ff02::1]:80"))
            .at("3:7")
            .says(r#"`vip` cannot be "[ff02::1]:80""#)
            .marks("expected a unicast address, ff02::1 is a multicast address")
            .helps("name one address that packets can be sent to over the network"),
    ]);
}

#[test]
fn ports_are_one_a_range_or_all() {
    check([
        row("a range without an end", vip("203.0.113.10:8000-"))
            .at("3:7")
            .says(r#"`vip` cannot be "203.0.113.10:8000-""#)
            .marks("expected a port from 1 to 65535, a range, or `*`")
            .helps(r#"as in `vip = "203.0.113.10:80"`"#),
        row("a range without a beginning", vip("203.0.113.10:-8099"))
            .at("3:7")
            .says(r#"`vip` cannot be "203.0.113.10:-8099""#)
            .marks("expected a port from 1 to 65535, a range, or `*`")
            .helps(r#"as in `vip = "203.0.113.10:80"`"#),
        row("a reversed range", vip("203.0.113.10:8099-8000"))
            .at("3:7")
            .says(r#"`vip` cannot be "203.0.113.10:8099-8000""#)
            .marks("expected a port from 1 to 65535, a range, or `*`")
            .helps("write the lower port first: `8000-8099`"),
        row("a range from port 0", vip("203.0.113.10:0-99"))
            .at("3:7")
            .says(r#"`vip` cannot be "203.0.113.10:0-99""#)
            .marks("expected a port from 1 to 65535, a range, or `*`")
            .helps(r#"as in `vip = "203.0.113.10:80"`"#),
        row("a range from port 0, reversed", vip("203.0.113.10:99-0"))
            .at("3:7")
            .says(r#"`vip` cannot be "203.0.113.10:99-0""#)
            .marks("expected a port from 1 to 65535, a range, or `*`")
            .helps(r#"as in `vip = "203.0.113.10:80"`"#),
        row("a range beyond the last port", vip("203.0.113.10:65000-65536"))
            .at("3:7")
            .says(r#"`vip` cannot be "203.0.113.10:65000-65536""#)
            .marks("expected a port from 1 to 65535, a range, or `*`")
            .helps(r#"as in `vip = "203.0.113.10:80"`"#),
        row("a list of ports", vip("203.0.113.10:80,443"))
            .at("3:7")
            .says(r#"`vip` cannot be "203.0.113.10:80,443""#)
            .marks("expected a port from 1 to 65535, a range, or `*`")
            .helps("write a service for each of them, or one with a range or `*`"),
        row("no port behind the colon", vip("203.0.113.10:"))
            .at("3:7")
            .says(r#"`vip` cannot be "203.0.113.10:""#)
            .marks("expected a port from 1 to 65535, a range, or `*`")
            .helps(r#"as in `vip = "203.0.113.10:80"`"#),
        row("a protocol behind the port", vip("203.0.113.53:53/udp"))
            .at("3:7")
            .says(r#"`vip` cannot be "203.0.113.53:53/udp""#)
            .marks("expected a port from 1 to 65535, a range, or `*`")
            .helps(r#"the protocol is a key of its own: `protocol = "udp"`"#),
    ]);
}

#[test]
fn one_destination_has_one_service() {
    check([
        row("a range of one port is that port", both("203.0.113.10:80", "203.0.113.10:80-80"))
            .at("7:7")
            .says("two services have the VIP 203.0.113.10:80")
            .marks("expected another address, port or protocol")
            .also("3:7", "first used here")
            .helps("put the backends of both under one service, or change one VIP"),
        row("two services of one range", both("203.0.113.10:8000-8099", "203.0.113.10:8000-8099"))
            .at("7:7")
            .says("two services have the VIP 203.0.113.10:8000-8099")
            .marks("expected another address, port or protocol")
            .also("3:7", "first used here")
            .helps("put the backends of both under one service, or change one VIP"),
        row("all ports, written twice", both("203.0.113.10:*", "203.0.113.10:1-65535"))
            .at("7:7")
            .says("two services have the VIP 203.0.113.10:*")
            .marks("expected another address, port or protocol")
            .also("3:7", "first used here")
            .helps("put the backends of both under one service, or change one VIP"),
        row("two services of one prefix", both("203.0.113.0/24:80", "203.0.113.0/24:80"))
            .at("7:7")
            .says("two services have the VIP 203.0.113.0/24:80")
            .marks("expected another address, port or protocol")
            .also("3:7", "first used here")
            .helps("put the backends of both under one service, or change one VIP"),
        row("an address of its whole length", both("203.0.113.10/32:80", "203.0.113.10:80"))
            .at("7:7")
            .says("two services have the VIP 203.0.113.10:80")
            .marks("expected another address, port or protocol")
            .also("3:7", "first used here")
            .helps("put the backends of both under one service, or change one VIP"),
        row("two services of one IPv6 prefix", both("[2001:db8::/64]:*", "[2001:db8::/64]:*"))
            .at("7:7")
            .says("two services have the VIP [2001:db8::/64]:*")
            .marks("expected another address, port or protocol")
            .also("3:7", "first used here")
            .helps("put the backends of both under one service, or change one VIP"),
        row("ranges that meet in one port", both("203.0.113.10:8000-8099", "203.0.113.10:8099-8199"))
            .at("7:7")
            .says("the ports of 203.0.113.10:8099-8199 are in part those of 203.0.113.10:8000-8099")
            .marks("expected other ports, or all of them as `*`")
            .also("3:7", "the other service")
            .helps("let the ranges not meet; a single port goes before a range, and a range before `*`"),
        row("a range inside another", both("[2001:db8::/64]:8000-8099", "[2001:db8::/64]:8010-8019"))
            .at("7:7")
            .says("the ports of [2001:db8::/64]:8010-8019 are in part those of [2001:db8::/64]:8000-8099")
            .marks("expected other ports, or all of them as `*`")
            .also("3:7", "the other service")
            .helps("let the ranges not meet; a single port goes before a range, and a range before `*`"),
    ]);
}

#[test]
fn more_ranges_than_one_packet_is_looked_up_in_are_refused_once() {
    let around = "203.0.113.0/24:80";
    let ranges = (1..=16).map(|n| format!("203.0.113.10:{n}000-{n}099"));
    let vips: Vec<_> = std::iter::once(around.to_owned()).chain(ranges).collect();
    assert!(load(&vips[..16]).is_ok(), "sixteen are allowed");
    let mistakes = load(&vips).unwrap_err();
    let said: Vec<_> =
        mistakes.iter().map(|mistake| (mistake.place.line, mistake.message.as_str())).collect();
    assert_eq!(said, [(7, "17 services meet on 203.0.113.10")]);
}

#[test]
fn the_more_special_may_stand_before_the_more_general() {
    let vips = [
        "203.0.113.10:80",
        "203.0.113.10:80-89",
        "203.0.113.10:90-99",
        "203.0.113.10:*",
        "203.0.113.0/24:80",
        "203.0.113.0/24:80-89",
        "203.0.113.0/24:*",
        "203.0.0.0/16:80",
        "203.0.0.0/16:*",
        "[2001:db8::1]:80",
        "[2001:db8::]:*",
        "[2001:db8::/64]:*",
        "[2001:db8::/32]:80-65535",
    ];
    for order in [vips.to_vec(), vips.iter().rev().copied().collect()] {
        let loaded = load(&order).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let read: Vec<_> = loaded.config.services.iter().map(|service| service.vip.to_string()).collect();
        assert_eq!(read, order, "a VIP is shown as it is written");
    }
}

fn load(vips: &[impl AsRef<str>]) -> Result<Loaded, Mistakes> {
    let service = |(number, vip): (usize, &_)| {
        let vip: &str = AsRef::as_ref(vip);
        format!("[[service]]\nname = \"s{number}\"\nvip = \"{vip}\"\nforward = \"local\"\n")
    };
    let text: String = vips.iter().enumerate().map(service).collect();
    parse("lb.toml", &text)
}
