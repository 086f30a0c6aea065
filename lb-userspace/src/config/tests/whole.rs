//! One file with many mistakes.

use crate::config::parse;

const MANY: &str = r#"sed = 1

[[service]]
name = "web"
vip = "203.0.113.10"
forward = "nat"
tracking = "never"

[[service.backend]]
name = "web 1"
addr = "10.0.0.11:8080"
weight = 0

[[service.backend]]
addr = "10.0.0.11:8080"

[[service]]
name = "web"
protocol = "sctp"
health = { interval = "1 second", timeout = "5s" }
"#;

#[test]
fn every_mistake_is_reported_at_once_in_the_order_of_the_file() {
    let mistakes = parse("/etc/lb/lb.toml", MANY).expect_err("it is full of mistakes");
    let said: Vec<_> =
        mistakes.iter().map(|mistake| (mistake.place.line, mistake.message.as_str())).collect();
    assert_eq!(
        said,
        [
            (1, "unknown key `sed` at the top level"),
            (5, "`vip` cannot be \"203.0.113.10\""),
            (7, "`tracking = \"never\"` does not go with `forward = \"nat\"`"),
            (10, "`name` cannot be \"web 1\""),
            (12, "`weight` cannot be 0"),
            (14, "`[[service.backend]]` lacks the key `name`"),
            (15, "two backends of service \"web\" have the address 10.0.0.11:8080"),
            (17, "`[[service]]` \"web\" lacks the key `vip`"),
            (17, "`[[service]]` \"web\" lacks the key `forward`"),
            (17, "service \"web\" has no backend"),
            (18, "two services are called \"web\""),
            (19, "`protocol` cannot be \"sctp\""),
            (20, "the health check has neither `http` nor `tcp`"),
            (20, "`interval` cannot be \"1 second\""),
        ]
    );
}

#[test]
fn the_whole_message_reads_like_a_compilers() {
    let mistakes = parse("lb.toml", "[limits]\nflow = 1\nflows = 12\n").expect_err("two mistakes");
    let expected = r#"error: unknown key `flow` in `[limits]`
 --> lb.toml:2:1
  |
2 | flow = 1
  | ^^^^ expected one of `flows`, `fragments`, `new_flows`
  = help: did you mean `flows`?

error: `flows` cannot be 12
 --> lb.toml:3:9
  |
3 | flows = 12
  |         ^^ expected a number from 1024 to 16777216, or a size such as "256k" or "1M"
  = help: as in `flows = "256k"`

lb.toml: 2 mistakes"#;
    assert_eq!(mistakes.to_string(), expected);
}

#[test]
fn broken_toml_does_not_hide_the_wrong_values_of_other_lines() {
    let text = "[[service]]\nname = web\nvip = \"203.0.113.10:0\"\nforward = \"nat\"\nunknown = 1\n";
    let mistakes = parse("lb.toml", text).expect_err("a broken line and a wrong value");
    let said: Vec<_> =
        mistakes.iter().map(|mistake| (mistake.place.line, mistake.message.as_str())).collect();
    assert_eq!(said, [(2, "text must be quoted"), (3, "`vip` cannot be \"203.0.113.10:0\"")]);
}

#[test]
fn mistakes_serialise_for_programs() {
    let mistakes = parse("lb.toml", "seed = true\n").expect_err("a wrong type");
    let json = serde_json::to_value(&mistakes).unwrap();
    assert_eq!(
        json,
        serde_json::json!([{
            "severity": "error", "file": "lb.toml", "line": 1, "column": 8, "width": 4, "source": "seed = true",
            "message": "`seed` cannot be true",
            "label": "expected an integer of 64 bits, or hexadecimal text such as \"0x5eed\"",
            "related": [], "help": "as in `seed = \"0x5eed\"`",
        }])
    );
}

#[test]
fn more_services_than_the_tables_hold_are_refused_once() {
    let service = |i: usize| {
        format!(
            "[[service]]\nname = \"s{i}\"\nvip = \"203.0.113.10:{}\"\nforward = \"nat\"\n\
             [[service.backend]]\nname = \"b\"\naddr = \"10.0.0.11:80\"\n",
            i + 1
        )
    };
    let text: String = (0..1026).map(service).collect();
    let mistakes = parse("lb.toml", &text).expect_err("two services too many");
    let said: Vec<_> =
        mistakes.iter().map(|mistake| (mistake.place.line, mistake.message.as_str())).collect();
    assert_eq!(said, [(1024 * 7 + 1, "1026 services are more than the kernel's tables hold")]);
}

#[test]
fn more_backends_than_the_tables_hold_are_refused_once() {
    let backend = |i: usize| {
        format!("[[service.backend]]\nname = \"b{i}\"\naddr = \"10.0.{}.{}:80\"\n", i / 250, i % 250 + 1)
    };
    let head = "[[service]]\nname = \"web\"\nvip = \"203.0.113.10:80\"\nforward = \"nat\"\n";
    let text: String = std::iter::once(head.to_owned()).chain((0..4003).map(backend)).collect();
    let mistakes = parse("lb.toml", &text).expect_err("three backends too many");
    let said: Vec<_> =
        mistakes.iter().map(|mistake| (mistake.place.line, mistake.message.as_str())).collect();
    assert_eq!(said, [(4 + 4000 * 3 + 1, "4003 backends are more than the kernel's tables hold")]);
}
