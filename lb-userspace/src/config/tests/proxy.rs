//! Layer 7: what good configurations mean, and the mistakes in bad ones.

mod accepted;
mod refused;
mod warned;

/// A listener that leads to a service of one backend: every row spoils or adds to it. Lines 1 to 4, 6 to 8, 10 to 12.
pub(super) const SITE: &str = r#"[[listener]]
name = "main"
addresses = ["0.0.0.0:80"]
service = "web"

[[service]]
name = "web"
kind = "http"

[[service.backend]]
name = "a"
addr = "10.0.0.1:8080"
"#;

/// [`SITE`] with lines after everything else, from line 13 on.
pub(super) fn with(lines: &str) -> String {
    format!("{SITE}{lines}\n")
}

/// [`SITE`] with one piece replaced.
pub(super) fn instead(from: &str, to: &str) -> String {
    assert!(SITE.contains(from), "no {from:?} to replace");
    SITE.replacen(from, to, 1)
}

/// [`SITE`] with lines in its listener, from line 5 on.
pub(super) fn listener(lines: &str) -> String {
    instead("service = \"web\"\n", &format!("service = \"web\"\n{lines}\n"))
}

/// [`SITE`] with lines in its service, from line 9 on.
pub(super) fn service(lines: &str) -> String {
    instead("kind = \"http\"\n", &format!("kind = \"http\"\n{lines}\n"))
}

/// [`SITE`] with a route; its keys are parted by semicolons. Its header is line 13.
pub(super) fn route(keys: &str) -> String {
    with(&format!("[[route]]\nname = \"r\"\n{}", keys.replace("; ", "\n")))
}
