//! What is allowed, but hardly meant.

use super::{instead, service, with};
use crate::config::parse;

fn warnings(text: &str) -> Vec<(usize, String)> {
    let loaded = parse("test", text).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"));
    loaded.warnings.into_iter().map(|warning| (warning.place.line, warning.message)).collect()
}

#[test]
fn a_service_that_nobody_leads_to() {
    let two = with(
        "[[service]]\nname = \"old\"\nkind = \"http\"\n[[service.backend]]\nname = \"a\"\naddr = \"10.0.0.2:80\"",
    );
    assert_eq!(warnings(&two), [(14, "no listener and no route leads to service \"old\"".into())]);
}

#[test]
fn a_mirror_leads_to_its_service() {
    let shadow = "[[service]]\nname = \"s\"\nkind = \"http\"\n[[service.backend]]\nname = \"a\"\naddr = \"10.0.0.2:80\"\n";
    let route = "[[route]]\nname = \"r\"\nservice = \"web\"\nmirror = \"s\"";
    assert_eq!(warnings(&with(&format!("{shadow}{route}"))), []);
}

#[test]
fn a_listener_that_leads_nowhere() {
    let text = instead("service = \"web\"\n", "")
        + "[[listener]]\nname = \"b\"\naddresses = \"0.0.0.0:81\"\nservice = \"web\"\n";
    assert_eq!(warnings(&text), [(1, "listener \"main\" leads nowhere".into())]);
}

#[test]
fn routes_without_a_listener() {
    let text = "[[route]]\nname = \"r\"\nrespond = {}\n";
    assert_eq!(warnings(text), [(1, "there are routes, but no listener".into())]);
}

#[test]
fn backends_that_all_drain() {
    let text = service("").replace("addr = \"10.0.0.1:8080\"", "addr = \"10.0.0.1:8080\"\ndrain = true");
    assert_eq!(warnings(&text), [(6, "all backends of service \"web\" are draining".into())]);
}
