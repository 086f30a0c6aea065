//! The documents the code carries: the reference, the example, the embedded default.

use std::fmt::Write;
use std::path::Path;

use super::row::{GOOD, in_service, last};
use crate::config::keys::{Key, Presence};
use crate::config::{Config, DEFAULT, EXAMPLE, parse, reference, sections};

/// Set it to any value to write the reference instead of comparing it.
const REWRITE: &str = "LB_REWRITE_REFERENCE";

#[test]
fn config_md_is_the_reference_of_the_key_definitions() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("CONFIG.md");
    if std::env::var_os(REWRITE).is_some() {
        std::fs::write(&path, reference()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == reference(),
        "CONFIG.md is out of date: run `{REWRITE}=1 cargo test -p lb-userspace --lib config` and commit it"
    );
}

#[test]
fn the_embedded_default_has_no_services_and_no_warnings() {
    let loaded = parse("default", DEFAULT).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.warnings, []);
}

/// What the comment of the embedded default tells to uncomment must work.
#[test]
fn the_commented_service_of_the_embedded_default_is_valid() {
    let comment: Vec<&str> = DEFAULT.lines().filter_map(|line| line.strip_prefix("# ")).collect();
    let start = comment.iter().position(|line| line.starts_with("[[service]]")).unwrap();
    let end = comment.iter().position(|line| line.starts_with("Every key")).unwrap();
    let loaded = parse("default", &comment[start..end].join("\n")).unwrap();
    assert_eq!(loaded.config.services[0].backends.len(), 2);
    assert_eq!(loaded.warnings, []);
}

#[test]
fn the_example_of_the_reference_is_valid() {
    let loaded = parse("example", EXAMPLE).unwrap();
    let names: Vec<_> = loaded.config.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["web", "dns"]);
    assert_eq!(loaded.warnings, []);
}

fn defaults(keys: &[Key]) -> Vec<(&str, &str)> {
    let default = |key: &Key| match key.presence {
        Presence::Default(value) => Some((key.name, value)),
        _ => None,
    };
    keys.iter().filter_map(default).collect()
}

fn lines(keys: &[Key]) -> String {
    defaults(keys).into_iter().fold(String::new(), |mut lines, (name, value)| {
        writeln!(lines, "{name} = {value}").unwrap();
        lines
    })
}

/// A default in the reference is TOML; writing it down must change nothing.
#[test]
fn the_defaults_of_the_reference_are_those_of_the_code() {
    // These two are refused where they mean nothing.
    let of_one_mode = |line: &&str| !line.starts_with("gue_port") && !line.starts_with("server_id_bytes");
    let all = lines(sections::SERVICE.keys);
    let service: Vec<_> = all.lines().filter(of_one_mode).collect();
    let spelled = format!(
        "{}{}\n{}[nat]\n{}[encap]\n{}[limits]\n{}[capture]\n{}",
        lines(sections::FILE.keys),
        in_service(&service.join("\n")),
        lines(sections::BACKEND.keys),
        lines(sections::NAT.keys),
        lines(sections::ENCAP.keys),
        lines(sections::LIMITS.keys),
        lines(sections::CAPTURE.keys),
    );
    let mut spelled = parse("spelled", &spelled).unwrap().config;
    let silent = parse("silent", GOOD).unwrap().config;
    spelled.services[0].line = silent.services[0].line;
    assert_eq!(spelled, silent);
}

#[test]
fn the_defaults_of_a_check_are_those_of_the_code() {
    let check = |lines: &str| parse("check", &last(lines)).unwrap().config.services.remove(0).health;
    let spelled = check(&format!("[service.health]\nhttp = \"/\"\n{}", lines(sections::HEALTH.keys)));
    assert_eq!(spelled, check("[service.health]\nhttp = \"/\""));
}

#[test]
fn every_example_of_a_key_sets_that_key() {
    for key in sections::ALL.iter().flat_map(|section| section.keys) {
        let parsed = key.example.parse::<toml::Table>();
        let leaf = key.example.trim_matches(['[', ']']).rsplit('.').next().unwrap_or_default().to_owned();
        let set = parsed.unwrap_or_else(|error| panic!("`{}`: {error}", key.example)).contains_key(key.name);
        assert!(set || leaf == key.name, "`{}` does not set `{}`", key.example, key.name);
    }
}

#[test]
fn the_reference_names_every_key() {
    let reference = reference();
    for key in sections::ALL.iter().flat_map(|section| section.keys) {
        assert!(reference.contains(&format!("\n### `{}`\n", key.name)), "{}", key.name);
        assert!(key.meaning.ends_with('.'), "the meaning of `{}` is no sentence", key.name);
        assert!(key.why.is_empty() || key.why.ends_with('.'), "the reason of `{}` is no sentence", key.name);
    }
}
