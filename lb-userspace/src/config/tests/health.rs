//! Health checks that cannot be.

use super::row::{check, in_service, row};

#[test]
fn a_check_must_be_of_one_kind_with_the_keys_of_that_kind() {
    check([
        row("health that is another word", in_service(r#"health = "off""#))
            .at("5:10")
            .says(r#"`health` cannot be "off""#)
            .marks(r#"expected a table in braces, or "none""#)
            .helps(r#"as in `health = { http = "/healthz" }`"#),
        row("health that is the word tcp", in_service(r#"health = "tcp""#))
            .at("5:10")
            .says(r#"`health` cannot be "tcp""#)
            .marks(r#"expected a table in braces, or "none""#)
            .helps("write `health = { tcp = true }`"),
        row("health that is a path", in_service(r#"health = "/healthz""#))
            .at("5:10")
            .says(r#"`health` cannot be "/healthz""#)
            .marks(r#"expected a table in braces, or "none""#)
            .helps(r#"write `health = { http = "/healthz" }`"#),
        row("a check of no kind", in_service(r#"health = { interval = "1s" }"#))
            .at("5:10")
            .says("the health check has neither `http` nor `tcp`")
            .marks("expected one of them")
            .helps(r#"add `tcp = true`, or a path as in `http = "/healthz"`"#),
        row("a check of both kinds", in_service(r#"health = { http = "/", tcp = true }"#))
            .at("5:30")
            .says("the health check has both `http` and `tcp`")
            .marks("expected one of them")
            .also("5:19", "the other")
            .helps("remove `tcp`: an HTTP check needs a connection anyway"),
        row("a check that says no", in_service("health = { tcp = false }"))
            .at("5:18")
            .says("`tcp = false` asks for nothing")
            .marks("expected `tcp = true`, or no `tcp`")
            .helps(r#"remove it; for no health check at all write `health = "none"`"#),
        row("a status without http", in_service("health = { tcp = true, status = 200 }"))
            .at("5:33")
            .says("`status` has no meaning in a `tcp` check")
            .marks("expected only with `http`")
            .helps(r#"remove `status`, or replace `tcp` by a path as in `http = "/healthz"`"#),
        row("a host without http", in_service(r#"health = { tcp = true, host = "a" }"#))
            .at("5:31")
            .says("`host` has no meaning in a `tcp` check")
            .marks("expected only with `http`")
            .helps(r#"remove `host`, or replace `tcp` by a path as in `http = "/healthz"`"#),
    ]);
}

#[test]
fn what_a_probe_sends_and_expects_must_be_http() {
    check([
        row("a path without its slash", in_service(r#"health = { http = "healthz" }"#))
            .at("5:19")
            .says(r#"`http` cannot be "healthz""#)
            .marks("expected text starting with `/`, printable ASCII without spaces")
            .helps(r#"as in `http = "/healthz"`"#),
        row("a path with a space", in_service(r#"health = { http = "/a b" }"#))
            .at("5:19")
            .says(r#"`http` cannot be "/a b""#)
            .marks("expected text starting with `/`, printable ASCII without spaces")
            .helps(r#"as in `http = "/healthz"`"#),
        row("a path that would end the request line", in_service(r#"health = { http = "/\r\nX: y" }"#))
            .at("5:19")
            .says(r#"`http` cannot be "/\r\nX: y""#)
            .marks("expected text starting with `/`, printable ASCII without spaces")
            .helps(r#"as in `http = "/healthz"`"#),
        row("a host that would start a header", in_service(r#"health = { http = "/", host = "a\r\nX: y" }"#))
            .at("5:31")
            .says(r#"`host` cannot be "a\r\nX: y""#)
            .marks("expected a host name, printable ASCII without spaces")
            .helps(r#"as in `host = "www.example.org"`"#),
        row("a status that is none", in_service(r#"health = { http = "/", status = 99 }"#))
            .at("5:33")
            .says("`status` cannot be 99")
            .marks(r#"expected an integer from 200 to 599, or a range "FIRST-LAST" of them"#)
            .helps(r#"as in `status = "200-299"`"#),
        row("a range of statuses backwards", in_service(r#"health = { http = "/", status = "299-200" }"#))
            .at("5:33")
            .says(r#"`status` cannot be "299-200""#)
            .marks(r#"expected an integer from 200 to 599, or a range "FIRST-LAST" of them"#)
            .helps(r#"as in `status = "200-299"`"#),
    ]);
}

#[test]
fn the_numbers_of_a_check_are_held_to_their_bounds() {
    check([
        row("an interval below the shortest", in_service(r#"health = { tcp = true, interval = "9ms" }"#))
            .at("5:35")
            .says(r#"`interval` cannot be "9ms""#)
            .marks(r#"expected a duration from "10ms" to "1h" (ms, s, m or h)"#)
            .helps(r#"as in `interval = "1s"`"#),
        row("an interval above the longest", in_service(r#"health = { tcp = true, interval = "2h" }"#))
            .at("5:35")
            .says(r#"`interval` cannot be "2h""#)
            .marks(r#"expected a duration from "10ms" to "1h" (ms, s, m or h)"#)
            .helps(r#"as in `interval = "1s"`"#),
        row("a timeout longer than the interval", in_service(r#"health = { tcp = true, interval = "200ms", timeout = "1s" }"#))
            .at("5:54")
            .says("`timeout` is longer than `interval`, 200ms")
            .marks(r#"expected at most "200ms""#).also("5:35", "the interval")
            .helps(r#"shorten it, or write `interval = "1s"`"#),
        row("a timeout longer than the default interval", in_service(r#"health = { tcp = true, timeout = "2s" }"#))
            .at("5:34")
            .says("`timeout` is longer than `interval`, 1s")
            .marks(r#"expected at most "1s""#)
            .helps(r#"shorten it, or write `interval = "2s"`"#),
        row("a rise of 0", in_service("health = { tcp = true, rise = 0 }"))
            .at("5:31")
            .says("`rise` cannot be 0")
            .marks("expected an integer from 1 to 100")
            .helps("as in `rise = 2`"),
        row("a fall above the greatest", in_service("health = { tcp = true, fall = 101 }"))
            .at("5:31")
            .says("`fall` cannot be 101")
            .marks("expected an integer from 1 to 100")
            .helps("as in `fall = 2`"),
        row("jitter without its sign", in_service("health = { tcp = true, jitter = 10 }"))
            .at("5:33")
            .says("`jitter` cannot be 10")
            .marks(r#"expected a share from "0%" to "50%""#)
            .helps(r#"as in `jitter = "10%"`"#),
        row("jitter above the greatest", in_service(r#"health = { tcp = true, jitter = "51%" }"#))
            .at("5:33")
            .says(r#"`jitter` cannot be "51%""#)
            .marks(r#"expected a share from "0%" to "50%""#)
            .helps(r#"as in `jitter = "10%"`"#),
        row("port 0 to probe", in_service("health = { tcp = true, port = 0 }"))
            .at("5:31")
            .says("`port` cannot be 0")
            .marks("expected an integer from 1 to 65535")
            .helps("as in `port = 8081`"),
        row("a mistyped key of a check", in_service(r#"health = { tcp = true, intervall = "1s" }"#))
            .at("5:24")
            .says("unknown key `intervall` in `health = { … }`")
            .marks("expected one of `http`, `status`, `host`, `tcp`, `port`, `interval`, `timeout`, `rise`, `fall`, `jitter`")
            .helps("did you mean `interval`?"),
        row("a check of a UDP service on its own port", in_service(r#"protocol = "udp"
health = { tcp = true }"#))
            .at("6:10")
            .says("a TCP or HTTP check of a UDP service needs a port of its own")
            .marks("expected the key `port`")
            .helps("name a TCP port of the backends that tells their health, as in `health = { tcp = true, port = 8081 }`"),
    ]);
}
