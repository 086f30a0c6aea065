//! Keys that are unknown, missing, or no table where a table should be.

use super::row::{alone, check, first, in_service, instead, last, row};

#[test]
fn a_wrong_key_is_refused_with_its_remedy() {
    check([
        row("a mistyped key suggests the right one", last("wieght = 3"))
            .at("9:1")
            .says("unknown key `wieght` in `[[service.backend]]`")
            .marks("expected one of `name`, `addr`, `server_id`, `weight`, `drain`")
            .helps("did you mean `weight`?"),
        row(
            "a key written out is not missing as well",
            instead(&[(r#"addr = "10.0.0.11:8080""#, r#"address = "10.0.0.11:8080""#)]),
        )
            .at("8:1")
            .says("unknown key `address` in `[[service.backend]]`")
            .marks("expected one of `name`, `addr`, `server_id`, `weight`, `drain`")
            .helps("did you mean `addr`?"),
        row("a key of another section is sent home", last(r#"idle = "1m""#))
            .at("9:1")
            .says("unknown key `idle` in `[[service.backend]]`")
            .marks("expected one of `name`, `addr`, `server_id`, `weight`, `drain`")
            .helps("`idle` belongs in `[[service]]`: in TOML a key belongs to the last header above it"),
        row("a key of a check is sent into the braces", in_service("rise = 3"))
            .at("5:1")
            .says("unknown key `rise` in `[[service]]`")
            .marks("expected one of `name`, `kind`, `vip`, `protocol`, `forward`, `select`, `gue_port`, `server_id_bytes`, `listener`, `tracking`, `idle`, `health`, `guard`, `backend`")
            .helps("`rise` belongs in `health = { … }`"),
        row("a strange key lists the known ones", first("quux = 80"))
            .at("1:1")
            .says("unknown key `quux` at the top level")
            .marks("expected one of `service`, `proxy`, `listener`, `route`, `metrics`, `nat`, `encap`, `guard`, `limits`, `capture`, `seed`, `ping`, `log_packets`")
            .helps("remove it: a setting without effect would mislead whoever reads the file"),
        row("a strange section is an unknown key", last(r#"[sites]
cert = "x""#))
            .at("9:2")
            .says("unknown key `sites` at the top level")
            .marks("expected one of `service`, `proxy`, `listener`, `route`, `metrics`, `nat`, `encap`, `guard`, `limits`, `capture`, `seed`, `ping`, `log_packets`")
            .helps("remove it: a setting without effect would mislead whoever reads the file"),
        row("a missing service key names the service", instead(&[(r#"forward = "nat""#, "")]))
            .at("1:1")
            .says(r#"`[[service]]` "web" lacks the key `forward`"#)
            .marks(r#"expected `forward`: "nat", "dnat", "dsr-l2", "dsr-ipip", "dsr-gue" or "local""#)
            .helps(r#"add `forward = "nat"`"#),
        row("a missing name has no name to show", instead(&[(r#"name = "web""#, "")]))
            .at("1:1")
            .says("`[[service]]` lacks the key `name`")
            .marks("expected `name`: text of 1 to 63 letters A-Z a-z, digits, `_`, `.` and `-`")
            .helps(r#"add `name = "web"`"#),
        row("a missing backend key points at its header", alone(r#"
[[service.backend]]
name = "web1""#))
            .at("6:1")
            .says(r#"`[[service.backend]]` "web1" lacks the key `addr`"#)
            .marks(r#"expected `addr`: text "ADDRESS:PORT" or "ADDRESS""#)
            .helps(r#"add `addr = "10.0.0.11:8080"`"#),
        row("a service with one bracket is told about the second", r#"[service]
name = "web"
"#.to_owned())
            .at("1:1")
            .says("`service` cannot be a table")
            .marks("expected tables, each with the header `[[service]]`")
            .helps("write the header with two brackets: `[[service]]`"),
        row("a backend with one bracket is told about the second", alone(r#"
[service.backend]
name = "web1"
addr = "10.0.0.11:8080""#))
            .at("6:1")
            .says("`backend` cannot be a table")
            .marks("expected tables, each with the header `[[service.backend]]`")
            .helps("write the header with two brackets: `[[service.backend]]`"),
        row("a section that is no table", first(r#"nat = "auto""#))
            .at("1:7")
            .says(r#"`nat` cannot be "auto""#)
            .marks("expected the table `[nat]`")
            .helps("as in `[nat]`"),
        row("a key of a section is checked", last(r#"[nat]
port = "auto""#))
            .at("10:1")
            .says("unknown key `port` in `[nat]`")
            .marks("expected one of `ports`")
            .helps("did you mean `ports`?"),
        row("a top-level key below a header is sent up", last("seed = 1"))
            .at("9:1")
            .says("unknown key `seed` in `[[service.backend]]`")
            .marks("expected one of `name`, `addr`, `server_id`, `weight`, `drain`")
            .helps("`seed` belongs at the top level: in TOML a key belongs to the last header above it"),
    ]);
}
