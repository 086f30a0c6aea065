//! Modes, selectors and tracking that exclude each other, and keys of other modes.

use super::row::{check, named, row, service, translated};
use crate::config::parse;

const VIP: &str = "203.0.113.10:80";
/// One backend without further keys.
const ONE: &[&str] = &["\"10.0.0.11:80\""];

#[test]
fn what_a_flow_needs_a_record_for_is_tracked() {
    check([
        row(
            "round-robin of dnat that records nothing",
            service(VIP, r#"forward = "dnat"; select = "round-robin"; tracking = "never""#, ONE),
        )
        .at("5:10")
        .says(r#"`select = "round-robin"` does not go with `tracking = "never"`"#)
        .marks("expected a selector by hash, or another `tracking`")
        .also("6:12", "nothing but a record tells the backend of such a flow")
        .helps("remove `tracking`, or select by hash as `maglev` does"),
        row(
            "round-robin of dsr-ipip that records nothing",
            service(VIP, r#"forward = "dsr-ipip"; select = "round-robin"; tracking = "never""#, ONE),
        )
        .at("5:10")
        .says(r#"`select = "round-robin"` does not go with `tracking = "never"`"#)
        .marks("expected a selector by hash, or another `tracking`")
        .also("6:12", "nothing but a record tells the backend of such a flow")
        .helps("remove `tracking`, or select by hash as `maglev` does"),
        row(
            "least-connections of dsr-l2 that records nothing",
            service(VIP, r#"forward = "dsr-l2"; select = "least-connections"; tracking = "never""#, ONE),
        )
        .at("5:10")
        .says(r#"`select = "least-connections"` does not go with `tracking = "never"`"#)
        .marks("expected a selector by hash, or another `tracking`")
        .also("6:12", "nothing but a record tells the backend of such a flow")
        .helps("remove `tracking`, or select by hash as `maglev` does"),
        row(
            "least-connections of dsr-gue that records nothing",
            service(VIP, r#"forward = "dsr-gue"; select = "least-connections"; tracking = "never""#, ONE),
        )
        .at("5:10")
        .says(r#"`select = "least-connections"` does not go with `tracking = "never"`"#)
        .marks("expected a selector by hash, or another `tracking`")
        .also("6:12", "nothing but a record tells the backend of such a flow")
        .helps("remove `tracking`, or select by hash as `maglev` does"),
    ]);
}

#[test]
fn a_selector_is_one_that_the_service_can_have() {
    check([
row("a selector that is not known", service(VIP, r#"forward = "nat"; select = "random""#, ONE))
.at("5:10")
.says(r#"`select` cannot be "random""#)
.marks(r#"expected "maglev", "source-hash", "source-hash/24", "round-robin", "least-connections" or "quic""#)
.helps(r#"as in `select = "source-hash"`"#),
row("a mistyped selector", service(VIP, r#"forward = "nat"; select = "least_connection""#, ONE))
.at("5:10")
.says(r#"`select` cannot be "least_connection""#)
.marks(r#"expected "maglev", "source-hash", "source-hash/24", "round-robin", "least-connections" or "quic""#)
.helps(r#"did you mean "least-connections"?"#),
row("a selector that is a flag", service(VIP, r#"forward = "nat"; select = true"#, ONE))
.at("5:10")
.says("`select` cannot be true")
.marks(r#"expected "maglev", "source-hash", "source-hash/24", "round-robin", "least-connections" or "quic""#)
.helps(r#"as in `select = "source-hash"`"#),
row("more bits of a client's address than it has", service(VIP, r#"forward = "nat"; select = "source-hash/33""#, ONE))
.at("5:10")
.says("an address of the VIP's family has no 33 bits")
.marks("expected at most 32")
.helps(r#"write `select = "source-hash"` for the whole address"#),
row("no bits of a client's address", service(VIP, r#"forward = "nat"; select = "source-hash/0""#, ONE))
.at("5:10")
.says(r#"`select` cannot be "source-hash/0""#)
.marks(r#"expected "maglev", "source-hash", "source-hash/24", "round-robin", "least-connections" or "quic""#)
.helps(r#"did you mean "source-hash"?"#),
row("more bits than any address has", service(VIP, r#"forward = "nat"; select = "source-hash/129""#, ONE))
.at("5:10")
.says(r#"`select` cannot be "source-hash/129""#)
.marks(r#"expected "maglev", "source-hash", "source-hash/24", "round-robin", "least-connections" or "quic""#)
.helps(r#"did you mean "source-hash"?"#),
row("QUIC over TCP", service(VIP, r#"forward = "dsr-ipip"; select = "quic""#, &[r#""10.0.0.11:80"; server_id = "0a0b""#]))
.at("5:10")
.says("QUIC is no protocol over TCP")
.marks(r#"expected a service with `protocol = "udp"`"#)
.helps(r#"write `protocol = "udp"`"#),
row("QUIC by nat", service(VIP, r#"forward = "nat"; select = "quic"; protocol = "udp"; health = "none""#, &[r#""10.0.0.11:80"; server_id = "0a0b""#]))
.at("5:10")
.says(r#"`select = "quic"` needs a mode that can send any backend any packet"#)
.marks("expected `dsr-l2`, `dsr-ipip` or `dsr-gue`")
.helps("use one of these modes, or another `select`"),
row("QUIC by dnat", service(VIP, r#"forward = "dnat"; select = "quic"; protocol = "udp"; health = "none""#, &[r#""10.0.0.11:80"; server_id = "0a0b""#]))
.at("5:10")
.says(r#"`select = "quic"` needs a mode that can send any backend any packet"#)
.marks("expected `dsr-l2`, `dsr-ipip` or `dsr-gue`")
.helps("use one of these modes, or another `select`"),
    ]);
}

#[test]
fn a_key_of_another_mode_is_refused() {
    check([
        row("select without backends", service(VIP, r#"forward = "local"; select = "maglev""#, &[]))
            .at("5:10")
            .says("`select` has no meaning here")
            .marks("expected only with a `forward` that has backends")
            .helps("remove `select`, or write a `forward` that has backends"),
        row("tracking without backends", service(VIP, r#"forward = "local"; tracking = "auto""#, &[]))
            .at("5:12")
            .says("`tracking` has no meaning here")
            .marks("expected only with a `forward` that has backends")
            .helps("remove `tracking`, or write a `forward` that has backends"),
        row("idle without backends", service(VIP, r#"forward = "local"; idle = "1m""#, &[]))
            .at("5:8")
            .says("`idle` has no meaning here")
            .marks("expected only with a `forward` that has backends")
            .helps("remove `idle`, or write a `forward` that has backends"),
        row("health without backends", service(VIP, r#"forward = "local"; health = "none""#, &[]))
            .at("5:10")
            .says("`health` has no meaning here")
            .marks("expected only with a `forward` that has backends")
            .helps("remove `health`, or write a `forward` that has backends"),
        row("a backend of a local service", service(VIP, r#"forward = "local""#, ONE))
            .at("6:1")
            .says(r#"service "web" is `local` and has a backend"#)
            .marks("expected none: its packets go to this host's own stack")
            .helps("remove the backends, or choose another `forward`"),
        row("a GUE port of another mode", service(VIP, r#"forward = "dsr-ipip"; gue_port = 6080"#, ONE))
            .at("5:12")
            .says("`gue_port` has no meaning here")
            .marks(r#"expected only with `forward = "dsr-gue"`"#)
            .helps(r#"remove `gue_port`, or write `forward = "dsr-gue"`"#),
        row(
            "a listener of another mode",
            service(VIP, r#"forward = "nat"; listener = "127.0.0.1:8080""#, ONE),
        )
        .at("5:12")
        .says("`listener` has no meaning here")
        .marks(r#"expected only with `forward = "local"`"#)
        .helps(r#"remove `listener`, or write `forward = "local"`"#),
        row(
            "a length of identifiers that nobody has",
            service(VIP, r#"forward = "dsr-ipip"; server_id_bytes = 2"#, ONE),
        )
        .at("5:19")
        .says("`server_id_bytes` has no meaning here")
        .marks(r#"expected only with `select = "quic"`"#)
        .helps(r#"remove `server_id_bytes`, or write `select = "quic"`"#),
    ]);
}

#[test]
fn a_gue_port_is_a_port() {
    check([
        row("GUE port 0", service(VIP, r#"forward = "dsr-gue"; gue_port = 0"#, ONE))
            .at("5:12")
            .says("`gue_port` cannot be 0")
            .marks("expected an integer from 1 to 65535")
            .helps("as in `gue_port = 6080`"),
        row("a GUE port beyond the last", service(VIP, r#"forward = "dsr-gue"; gue_port = 65536"#, ONE))
            .at("5:12")
            .says("`gue_port` cannot be 65536")
            .marks("expected an integer from 1 to 65535")
            .helps("as in `gue_port = 6080`"),
        row("a GUE port in quotes", service(VIP, r#"forward = "dsr-gue"; gue_port = "6080""#, ONE))
            .at("5:12")
            .says(r#"`gue_port` cannot be "6080""#)
            .marks("expected an integer from 1 to 65535")
            .helps("as in `gue_port = 6080`"),
    ]);
}

#[test]
fn a_listener_is_one_socket() {
    check([
        row("a listener without a port", service(VIP, r#"forward = "local"; listener = "127.0.0.1""#, &[]))
            .at("5:12")
            .says(r#"`listener` cannot be "127.0.0.1""#)
            .marks(r#"expected text "ADDRESS:PORT""#)
            .helps(r#"add the port, as in "127.0.0.1:80""#),
        row("a listener at port 0", service(VIP, r#"forward = "local"; listener = "127.0.0.1:0""#, &[]))
            .at("5:12")
            .says(r#"`listener` cannot be "127.0.0.1:0""#)
            .marks("expected a port from 1 to 65535")
            .helps(r#"as in `listener = "127.0.0.1:8080"`"#),
        row("a listener by its name", service(VIP, r#"forward = "local"; listener = "localhost:8080""#, &[]))
            .at("5:12")
            .says(r#"`listener` cannot be "localhost:8080""#)
            .marks(r#"expected text "ADDRESS:PORT""#)
            .helps("host names are not looked up: write the IP address"),
        row(
            "a listener without brackets",
            service(VIP, r#"forward = "local"; listener = "fe80:0:1:2:3:4:5:6:8080""#, &[]),
        )
        .at("5:12")
        .says(r#"`listener` cannot be "fe80:0:1:2:3:4:5:6:8080""#)
        .marks(r#"expected text "ADDRESS:PORT""#)
        .helps(r#"write "[fe80:0:1:2:3:4:5:6]:8080""#),
        row(
            "a listener beyond the last port",
            service(VIP, r#"forward = "local"; listener = "127.0.0.1:80800""#, &[]),
        )
        .at("5:12")
        .says(r#"`listener` cannot be "127.0.0.1:80800""#)
        .marks("expected a port from 1 to 65535")
        .helps(r#"as in `listener = "127.0.0.1:8080"`"#),
        row(
            "a listener on a range",
            service(VIP, r#"forward = "local"; listener = "127.0.0.1:8000-8099""#, &[]),
        )
        .at("5:12")
        .says(r#"`listener` cannot be "127.0.0.1:8000-8099""#)
        .marks("expected a port from 1 to 65535")
        .helps(r#"as in `listener = "127.0.0.1:8080"`"#),
        row("a listener on a prefix", service(VIP, r#"forward = "local"; listener = "127.0.0.0/8:80""#, &[]))
            .at("5:12")
            .says(r#"`listener` cannot be "127.0.0.0/8:80""#)
            .marks(r#"expected text "ADDRESS:PORT""#)
            .helps(r#"as in `listener = "127.0.0.1:8080"`"#),
        row("a listener that is a port", service(VIP, r#"forward = "local"; listener = 8080"#, &[]))
            .at("5:12")
            .says("`listener` cannot be 8080")
            .marks(r#"expected text "ADDRESS:PORT""#)
            .helps(r#"as in `listener = "127.0.0.1:8080"`"#),
    ]);
}

#[test]
fn dnat_serves_one_address_and_keeps_many_ports() {
    check([
        row("dnat of a prefix", service("203.0.113.0/24:80", r#"forward = "dnat""#, ONE))
            .at("3:7")
            .says(r#"`forward = "dnat"` cannot serve the prefix 203.0.113.0/24:80"#)
            .marks("expected one address: an answer does not tell which of them was asked")
            .helps(
                r#"write `tracking = "always"`, by which answers are known, or a service for each address, with servers or ports of its own"#,
            ),
        row("dnat of a range to one port", service("203.0.113.10:8000-8099", r#"forward = "dnat""#, ONE))
            .at("8:8")
            .says(r#"`forward = "dnat"` cannot lead many ports to one"#)
            .marks("expected no port: an answer from this one does not tell which was asked")
            .also("3:7", "203.0.113.10:8000-8099 has many ports")
            .helps(
                r#"write `addr = "10.0.0.11"`, where clients get the port that they ask for, or `tracking = "always"`, by which answers are known"#,
            ),
        row("dnat of every port to one", service("[2001:db8::1]:*", r#"forward = "dnat""#, &[r#""[fd00::1]:80""#]))
            .at("8:8")
            .says(r#"`forward = "dnat"` cannot lead many ports to one"#)
            .marks("expected no port: an answer from this one does not tell which was asked")
            .also("3:7", "[2001:db8::1]:* has many ports")
            .helps(
                r#"write `addr = "fd00::1"`, where clients get the port that they ask for, or `tracking = "always"`, by which answers are known"#,
            ),
    ]);
}

#[test]
fn dnat_has_one_vip_for_each_endpoint() {
    let shared = |sentence, one, other, message| {
        row(sentence, translated(one, other))
            .at("18:8")
            .says(message)
            .marks("expected ports of this service alone, by which its answers are known")
            .also("9:8", r#"service "web" leads there"#)
            .helps(
                r#"write `tracking = "always"` in both, by which answers are known, or let the server listen on other ports for one of them"#,
            )
    };
    check([
        shared(
            "one endpoint of two services",
            ("203.0.113.10:80", "10.0.0.11:8080"),
            ("203.0.113.11:80", "10.0.0.11:8080"),
            r#"service "web" and service "other" both lead to 10.0.0.11:8080 by `dnat`"#,
        ),
        shared(
            "one endpoint, once by the VIP's port",
            ("203.0.113.10:80", "10.0.0.11"),
            ("203.0.113.11:8080", "10.0.0.11:80"),
            r#"service "web" and service "other" both lead to 10.0.0.11:80 by `dnat`"#,
        ),
        shared(
            "ranges that meet on one server",
            ("203.0.113.10:8000-8099", "10.0.0.11"),
            ("203.0.113.11:8050-8150", "10.0.0.11"),
            r#"service "web" and service "other" both lead to 10.0.0.11:8050-8099 by `dnat`"#,
        ),
        shared(
            "a port within all ports of one server",
            ("[2001:db8::1]:*", "fd00::1"),
            ("[2001:db8::2]:80", "[fd00::1]:8080"),
            r#"service "web" and service "other" both lead to [fd00::1]:8080 by `dnat`"#,
        ),
    ]);
}

#[test]
fn dnat_services_may_share_a_server_but_not_its_ports() {
    for (one, other) in [
        (("203.0.113.10:8000-8099", "10.0.0.11"), ("203.0.113.11:8100-8199", "10.0.0.11")),
        (("203.0.113.10:*", "10.0.0.11"), ("203.0.113.11:*", "10.0.0.12")),
        (("203.0.113.10:1-79", "10.0.0.11"), ("203.0.113.11:443", "10.0.0.11:80")),
        (("[2001:db8::1]:80", "[fd00::1]:8080"), ("[2001:db8::2]:8081-65535", "fd00::1")),
    ] {
        let read = parse("lb.toml", &translated(one, other));
        assert!(read.is_ok(), "{one:?} beside {other:?}: {}", read.unwrap_err());
    }
    let by_udp = translated(("203.0.113.10:*", "10.0.0.11"), ("203.0.113.11:*", "10.0.0.11"));
    assert!(parse("lb.toml", &by_udp.replacen("health", "protocol = \"udp\"\nhealth", 1)).is_ok());
}

#[test]
fn dnat_that_records_every_flow_may_lead_anything_anywhere() {
    let recorded = |text: String| text.replace("\"dnat\"", "\"dnat\"\ntracking = \"always\"");
    let prefix =
        named("web", "203.0.113.0/24:*", r#"forward = "dnat"; health = "none""#, &[r#""10.0.0.11:80""#]);
    let shared = translated(("203.0.113.10:80", "10.0.0.11:8080"), ("203.0.113.11:80", "10.0.0.11:8080"));
    for text in [&prefix, &shared] {
        let read = parse("lb.toml", &recorded(text.clone()));
        assert!(read.is_ok(), "{}", read.unwrap_err());
        assert!(parse("lb.toml", text).is_err());
    }
    // Of two that lead to one server, the one without records would take all its answers.
    let one = shared.replacen("\"dnat\"", "\"dnat\"\ntracking = \"always\"", 1);
    assert!(parse("lb.toml", &one).is_err());
}

#[test]
fn more_ranges_of_a_server_than_one_answer_is_looked_up_in_are_refused_once() {
    let service = |n: u16| {
        let vip = format!("203.0.113.{n}:{n}000-{n}099");
        named(&format!("s{n}"), &vip, r#"forward = "dnat"; health = "none""#, &[r#""10.0.0.11""#])
    };
    let text = |count| (1..=count).map(service).collect::<String>();
    assert!(parse("lb.toml", &text(16)).is_ok(), "sixteen are allowed");
    let mistakes = parse("lb.toml", &text(17)).unwrap_err();
    let said: Vec<_> = mistakes.iter().map(|mistake| mistake.message.as_str()).collect();
    assert_eq!(said, ["more than 16 `dnat` services lead to ranges of 10.0.0.11"]);
}
