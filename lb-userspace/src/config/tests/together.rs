//! Values that cannot stand together.

use super::row::{HEAD, alone, check, in_service, instead, last, row};

#[test]
fn names_and_addresses_are_used_once() {
    check([
        row(
            "two services of one name",
            last(
                r#"[[service]]
name = "web"
vip = "203.0.113.11:80"
forward = "nat"
[[service.backend]]
name = "web1"
addr = "10.0.0.11:8080""#,
            ),
        )
        .at("10:8")
        .says(r#"two services are called "web""#)
        .marks("expected another name")
        .also("2:8", "first used here")
        .helps("rename one of them"),
        row(
            "two services of one VIP",
            last(
                r#"[[service]]
name = "api"
vip = "203.0.113.10:80"
forward = "nat"
[[service.backend]]
name = "web1"
addr = "10.0.0.11:8080""#,
            ),
        )
        .at("11:7")
        .says("two services have the VIP 203.0.113.10:80")
        .marks("expected another address, port or protocol")
        .also("3:7", "first used here")
        .helps("put the backends of both under one service, or change one VIP"),
        row(
            "two backends of one name",
            last(
                r#"[[service.backend]]
name = "web1"
addr = "10.0.0.12:8080""#,
            ),
        )
        .at("10:8")
        .says(r#"two backends of service "web" are called "web1""#)
        .marks("expected another name")
        .also("7:8", "first used here")
        .helps("rename one of them"),
        row(
            "two backends of one address",
            last(
                r#"[[service.backend]]
name = "web2"
addr = "10.0.0.11:8080""#,
            ),
        )
        .at("11:8")
        .says(r#"two backends of service "web" have the address 10.0.0.11:8080"#)
        .marks("expected another address or port")
        .also("8:8", "first used here")
        .helps("keep one of them; for a greater share raise its `weight`"),
        row(
            "a backend that is a VIP of another service",
            last(
                r#"[[service]]
name = "api"
vip = "203.0.113.11:80"
forward = "nat"
[[service.backend]]
name = "web1"
addr = "203.0.113.10:8080""#,
            ),
        )
        .at("15:8")
        .says("the backend's address 203.0.113.10 is a VIP")
        .marks("expected the address of a server")
        .also("3:7", "the VIP")
        .helps("a VIP is the balancer's: packets would go round in circles; write the backend's own address"),
    ]);
}

#[test]
fn families_and_modes_that_exclude_each_other_are_refused_with_both_places() {
    check([
        row(
            "an IPv6 backend of an IPv4 VIP",
            alone(
                r#"
[[service.backend]]
name = "web1"
addr = "[2001:db8::2]:80""#,
            ),
        )
        .at("8:8")
        .says(r#"service "web" mixes two address families"#)
        .marks("expected IPv4 like the VIP, this is IPv6")
        .also("3:7", "the VIP is IPv4")
        .helps(
            "packets of one family reach the other only in an outer header: use `forward = \"dsr-ipip\"` or \
             `\"dsr-gue\"`, or a backend of the VIP's family",
        ),
        row("no backend", HEAD.to_owned())
            .at("1:1")
            .says(r#"service "web" has no backend"#)
            .marks("expected at least one `[[service.backend]]` below")
            .helps("add a backend; to take the service away, remove or comment out its whole `[[service]]`"),
        row("an empty list of backends", alone("backend = []"))
            .at("1:1")
            .says(r#"service "web" has no backend"#)
            .marks("expected at least one `[[service.backend]]` below")
            .helps("add a backend; to take the service away, remove or comment out its whole `[[service]]`"),
        row(
            "another port behind an outer header",
            instead(&[(r#"forward = "nat""#, r#"forward = "dsr-ipip""#)]),
        )
        .at("8:8")
        .says(r#"`forward = "dsr-ipip"` cannot change the port to 8080"#)
        .marks("expected the VIP's own port, or none")
        .also("3:7", "the VIP")
        .helps(r#"write `addr = "10.0.0.11"`, or use `forward = "nat"`"#),
        row("full NAT without records", in_service(r#"tracking = "never""#))
            .at("5:12")
            .says(r#"`tracking = "never"` does not go with `forward = "nat"`"#)
            .marks(r#"expected "auto" or "always""#)
            .also("4:11", "full NAT finds the client of an answer in the flow's record")
            .helps(r#"remove `tracking`, or use `forward = "dsr-ipip"`"#),
    ]);
}
