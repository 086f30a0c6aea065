//! Sentences about HTTP/1.1. Requests that try to slip by are in the suites' smuggling corpus; here are the rules one by one.

mod chunks;
mod heads;
mod paths;
mod responses;
mod written;

use super::*;

const LIMITS: Limits = Limits::DEFAULT;

/// What a head is refused for, if it is read at all.
fn refusal(head: &[u8]) -> Option<Refusal> {
    Head::parse(head, &mut room(), &LIMITS).err()
}

/// A head with this line and these fields.
fn head(line: &str, fields: &[&str]) -> Vec<u8> {
    let lines: Vec<&str> = [line].iter().chain(fields).copied().collect();
    (lines.join("\r\n") + "\r\n\r\n").into_bytes()
}

#[test]
fn names_of_refusals_are_metric_labels_and_their_own() {
    let mut names: Vec<&str> = Refusal::ALL.iter().map(|refusal| refusal.name()).collect();
    assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Refusal::ALL.len());
}
