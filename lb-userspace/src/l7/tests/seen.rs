//! What is counted and logged of exchanges, however they end.

use super::lab::{Lab, backend, logged_over_both, mirror, over_both, to};
use crate::config::proxy::{AccessLog, LogFormat, LogTarget, Proxy};
use crate::l7::log::Log;
use std::net::SocketAddr;
use std::path::Path;

const GET: &str = "GET /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n";

/// Everything to this backend, logged to this file as JSON.
fn logged(backend: SocketAddr, path: &Path, sample: u32) -> Proxy {
    let mut proxy = to(backend);
    let format = LogFormat::Json;
    let log = AccessLog { to: LogTarget::File(path.to_owned()), format, sample, all_errors: true };
    proxy.listeners[0].access_log = Some(log);
    proxy
}

/// The lines that a case has logged, as objects.
fn lines_of(
    start: &dyn Fn(Proxy) -> (Lab, Log),
    proxy: Proxy,
    path: &Path,
    case: impl Fn(&Lab),
) -> Vec<serde_json::Value> {
    let (lab, log) = start(proxy);
    case(&lab);
    drop(lab);
    log.finish(std::time::Duration::from_secs(20));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    std::fs::remove_file(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs a case over each transport with a file to log to.
fn with_log(backend: SocketAddr, sample: u32, case: impl Fn(&Lab), check: impl Fn(Vec<serde_json::Value>)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    logged_over_both(|start| check(lines_of(start, logged(backend, &path, sample), &path, &case)));
}

#[test]
fn an_exchange_is_logged_with_all_that_is_known_of_it() {
    let case = |lab: &Lab| {
        let mut client = lab.connect();
        client.ask("POST /a?b=c HTTP/1.1\r\nHost: Example.org:80\r\nUser-Agent: me\r\nContent-Length: 5\r\n\r\nhello");
    };
    with_log(mirror(), 1, case, |lines| {
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        for (key, expected) in [
            ("client", "127.0.0.1"),
            ("listener", "front"),
            ("protocol", "HTTP/1.1"),
            ("method", "POST"),
            ("host", "example.org"),
            ("path", "/a"),
            ("query", "b=c"),
            ("route", "*"),
            ("service", "web"),
            ("backend", "web1"),
            ("user_agent", "me"),
        ] {
            assert_eq!(line[key], expected, "{key} in {line}");
        }
        assert_eq!(
            (&line["status"], &line["bytes_in"], &line["retries"]),
            (&200.into(), &5.into(), &0.into())
        );
        assert!(line["bytes_out"].as_u64() > Some(5) && line.get("failure").is_none(), "{line}");
        assert!(line["duration"].as_f64() >= line["upstream_time"].as_f64(), "{line}");
        assert_eq!(line["request_id"].as_str().map(str::len), Some(32));
    });
}

#[test]
fn requests_that_fail_are_logged_with_the_reason() {
    let ended = backend(|mut client| drop(client.head()));
    let case = |lab: &Lab| {
        lab.connect().ask(GET);
        lab.connect().ask("GET / HTTP/1.1\r\n\r\n");
        lab.connect().ask("GET / HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n");
        lab.connect().ask("CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n");
    };
    with_log(ended, 1, case, |lines| {
        let told: Vec<_> =
            lines.iter().map(|line| (line["status"].as_u64(), line["failure"].as_str())).collect();
        assert_eq!(told.len(), 4, "{lines:?}");
        assert_eq!(told[0], (Some(502), Some("backend_ended")));
        assert!(
            told[1..3].iter().all(|(status, failure)| *status == Some(400) && failure.is_some()),
            "{told:?}"
        );
        assert_eq!(told[3], (Some(501), Some("connect")));
    });
}

#[test]
fn an_answer_that_breaks_off_is_logged_with_whose_fault_it_is() {
    let broken = backend(|mut client| {
        client.head();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    });
    let case = |lab: &Lab| {
        let mut client = lab.connect();
        client.send(GET);
        client.rest();
    };
    with_log(broken, 1, case, |lines| {
        assert_eq!(lines.len(), 1);
        assert_eq!((&lines[0]["status"], &lines[0]["failure"]), (&200.into(), &"backend_broke".into()));
        assert_eq!(lines[0]["bytes_out"], 3);
    });
}

#[test]
fn of_a_sampled_log_all_errors_stay() {
    let backend = backend(|mut client| {
        while let Some(request) = client.receive() {
            let status = if request.head.contains("/bad") { 500 } else { 200 };
            client.send(&format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    let case = |lab: &Lab| {
        let mut client = lab.connect();
        for n in 0..20 {
            let path = if n % 4 == 3 { "/bad" } else { "/good" };
            client.ask(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        }
    };
    with_log(backend, 5, case, |lines| {
        let of = |status: u64| lines.iter().filter(|line| line["status"] == status).count();
        assert_eq!((of(500), of(200)), (5, 3), "{lines:?}");
    });
}

#[test]
fn a_forged_field_makes_no_line() {
    let case = |lab: &Lab| {
        lab.connect().ask("GET /\"\\ HTTP/1.1\r\nHost: h\r\nUser-Agent: x\",\"status\":200}\t{\r\n\r\n");
        lab.connect().ask(GET);
    };
    with_log(mirror(), 1, case, |lines| assert_eq!(lines.len(), 2));
}

#[test]
fn every_request_is_counted_once_under_its_route_and_class() {
    over_both(|start| {
        let lab = start(to(mirror()));
        let mut client = lab.connect();
        for _ in 0..7 {
            client.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
        }
        lab.connect().ask("GET / HTTP/1.1\r\n\r\n");
        lab.connect().finish();
        let tally = |route: &str| lab.settings.tallies.route("front", route).of(0);
        while tally("*").answers.get()[1] < 7 || tally("").answers.get()[3] < 1 {
            std::thread::yield_now();
        }
        assert_eq!((tally("*").answers.get(), tally("").answers.get()), ([0, 7, 0, 0, 0], [0, 0, 0, 1, 0]));
        assert_eq!(tally("*").received.get(), 21);
        let service = lab.settings.services.by_name("web").unwrap();
        let backend = service.tallies[0].1.of(0);
        assert_eq!(backend.answers.get(), [0, 7, 0, 0, 0]);
        assert_eq!((backend.connects.get(), backend.reuses.get(), backend.failures.get()), (1, 6, 0));
        let failed: u64 = lab.counters.tally.failures.each().map(|(_, count)| count).sum();
        assert_eq!(failed, 1);
    });
}

#[test]
fn a_client_that_goes_before_its_answer_is_counted_as_499() {
    over_both(|start| {
        let silent = backend(|mut client| {
            client.head();
            client.rest();
        });
        let lab = start(to(silent));
        let mut client = lab.connect();
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
        drop(client);
        let tally = lab.settings.tallies.route("front", "*").of(0);
        while tally.answers.get()[3] < 1 {
            std::thread::yield_now();
        }
        let gone = lab.counters.tally.failures.each().find(|(label, _)| *label == "client_ended");
        assert_eq!(gone, Some(("client_ended", 1)));
    });
}
