//! The guard's keys: what they say together, and the mistakes in them.

use super::row::{GOOD, check, first, in_service, last, row};
use crate::config::{Config, ServiceGuard, parse};

fn accepted(text: &str) -> Config {
    parse("test", text).unwrap().config
}

fn of_the_service(text: &str) -> ServiceGuard {
    accepted(text).services[0].guard
}

#[test]
fn without_a_word_of_it_there_is_no_guard() {
    let config = accepted(GOOD);
    assert!(!config.is_guarded() && config.guard.is_none());
    assert_eq!(config.services[0].guard, ServiceGuard::OFF);
}

#[test]
fn a_section_guards_all_services_and_a_service_may_differ() {
    let section = "[guard]\nland = false\nsource_flows = 100";
    let all = ServiceGuard { land: false, source_flows: 100, ..ServiceGuard::DEFAULT };
    assert_eq!(of_the_service(&last(section)), all);
    assert_eq!(accepted(&last(section)).host_guard, all);
    let own = format!("{}\n{section}", in_service("guard = { source_flows = 5, land = true }"));
    assert_eq!(of_the_service(&own), ServiceGuard { source_flows: 5, ..ServiceGuard::DEFAULT });
    let none = format!("{}\n{section}", in_service("guard = \"none\""));
    assert_eq!(of_the_service(&none), ServiceGuard::OFF);
    assert!(accepted(&none).is_guarded(), "another service may come");
}

#[test]
fn a_service_may_have_a_guard_alone() {
    let config = accepted(&in_service("guard = {}"));
    assert_eq!((config.services[0].guard, config.host_guard), (ServiceGuard::DEFAULT, ServiceGuard::OFF));
    assert!(config.is_guarded());
}

/// A service of this host's own with such a guard.
fn of_this_host(guard: &str) -> String {
    let service = "[[service]]\nname = \"web\"\nvip = \"203.0.113.10:80\"\nforward = \"local\"";
    format!("{service}\nguard = {{ {guard} }}\n")
}

#[test]
fn a_service_of_this_host_may_have_cookies() {
    assert!(of_the_service(&of_this_host("service_flows = 10, syn_cookies = true")).syn_cookies);
    assert!(!of_the_service(&of_this_host("service_flows = 10")).syn_cookies);
    let bounded = format!("{}[guard]\nservice_flows = 10", of_this_host("syn_cookies = true"));
    assert!(of_the_service(&bounded).syn_cookies);
}

#[test]
fn cookies_are_for_connections_to_this_host_above_a_bound() {
    let udp = of_this_host("service_flows = 1, syn_cookies = true")
        .replace("forward", "protocol = \"udp\"\nforward");
    let elsewhere = |text| {
        row("cookies that nobody could take", text)
            .says("`syn_cookies` has no meaning here")
            .marks("expected only with `protocol = \"tcp\"` and `forward = \"local\"`")
            .helps("remove `syn_cookies`; a backend's own listener sends cookies when its queue is full")
    };
    check([
        elsewhere(in_service("guard = { service_flows = 1, syn_cookies = true }")).at("5:44"),
        elsewhere(udp).at("6:44"),
        row("cookies above no bound", of_this_host("syn_cookies = true"))
            .at("5:25")
            .says("`syn_cookies` without a bound of new flows")
            .marks("expected `service_flows` beside it")
            .helps("add `service_flows = \"10k\"`: SYNs above it are answered with cookies"),
        row("cookies of all services", last("[guard]\nsyn_cookies = true"))
            .at("10:1")
            .says("unknown key `syn_cookies` in `[guard]`")
            .marks("expected one of `deny`, `allow`, `bogons`, `prefixes`, `lists`, `martians`, `land`, `malformed`, `blocks`, `source_packets`, `source_flows`, `service_flows`, `source_v4`, `source_v6`")
            .helps("`syn_cookies` belongs in `guard = { … }`"),
    ]);
}

#[test]
fn lists_are_named_by_their_whole_paths() {
    let guard = accepted(&last("[guard]\ndeny = \"/etc/lb/deny\"\nprefixes = \"1M\"")).guard.unwrap();
    assert_eq!(
        (guard.deny.unwrap().to_str(), guard.allow, guard.prefixes),
        (Some("/etc/lb/deny"), None, 1 << 20)
    );
}

#[test]
fn mistakes_are_refused_with_their_remedy() {
    check([
        row("a list without a whole path", last("[guard]\ndeny = \"deny.list\""))
            .at("10:8")
            .says(r#"`deny` cannot be "deny.list""#)
            .marks("expected the whole path of a file, starting with `/`")
            .helps(r#"as in `deny = "/etc/lb/deny.list"`"#),
        row("a list that is a flag", last("[guard]\nallow = true"))
            .at("10:9")
            .says("`allow` cannot be true")
            .marks("expected the whole path of a file, starting with `/`")
            .helps(r#"as in `allow = "/etc/lb/allow.list"`"#),
        row("a switch that is a word", in_service("guard = { land = \"off\" }"))
            .at("5:18")
            .says(r#"`land` cannot be "off""#)
            .marks("expected true or false")
            .helps("as in `land = false`"),
        row("bogons that are a number", last("[guard]\nbogons = 1"))
            .at("10:10")
            .says("`bogons` cannot be 1")
            .marks("expected true or false")
            .helps("as in `bogons = true`"),
        row("a rate below nothing", last("[guard]\nsource_packets = -1"))
            .at("10:18")
            .says("`source_packets` cannot be -1")
            .marks("expected a number from 0 to 100000000, or a size such as \"256k\" or \"1M\"")
            .helps(r#"as in `source_packets = "1k"`"#),
        row("more bits than an address has", in_service("guard = { source_v4 = 33 }"))
            .at("5:23")
            .says("`source_v4` cannot be 33")
            .marks("expected an integer from 1 to 32")
            .helps("as in `source_v4 = 24`"),
        row("room for too few prefixes", last("[guard]\nprefixes = 10"))
            .at("10:12")
            .says("`prefixes` cannot be 10")
            .marks("expected a number from 1024 to 4194304, or a size such as \"256k\" or \"1M\"")
            .helps(r#"as in `prefixes = "256k"`"#),
        row("a guard that is another word", in_service("guard = \"off\""))
            .at("5:9")
            .says(r#"`guard` cannot be "off""#)
            .marks("expected a table in braces, or \"none\"")
            .helps("as in `guard = { source_flows = 100 }`"),
        row("a guard of all that is a word", first("guard = \"none\""))
            .at("1:9")
            .says(r#"`guard` cannot be "none""#)
            .marks("expected the table `[guard]`")
            .helps("as in `[guard]`"),
        row("a list of one service alone", in_service("guard = { deny = \"/etc/lb/deny\" }"))
            .at("5:11")
            .says("unknown key `deny` in `guard = { … }`")
            .marks("expected one of `lists`, `martians`, `land`, `malformed`, `blocks`, `source_packets`, `source_flows`, `service_flows`, `syn_cookies`, `source_v4`, `source_v6`")
            .helps("`deny` belongs in `[guard]`: in TOML a key belongs to the last header above it"),
    ]);
}
