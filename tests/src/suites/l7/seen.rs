//! What can be seen of requests and ordered of backends: the access log, metrics, `explain`, drains and weights.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::Claim;
use super::scene::{METRICS, PLAIN, SECURE, Scene};

pub(super) const CLAIMS: &[Claim] = &[
    ("a_line_of_the_log_tells_what_curl_did", lines),
    ("nothing_that_curl_sends_forges_a_line", forged),
    ("a_log_rotated_under_load_loses_no_line", rotated),
    ("metrics_scraped_meanwhile_come_to_what_was_sent", metrics),
    ("silent_clients_do_not_keep_metrics_and_health_from_who_asks", silent_scrapes),
    ("metrics_follow_a_reload_to_another_address", metrics_elsewhere),
    ("what_is_explained_is_what_happens", explained),
    ("a_drained_backend_gets_only_clients_that_are_bound_to_it", drained),
    ("a_weight_that_is_ordered_moves_shares_and_survives_a_reload", weighed),
];

/// Where requests are logged.
const LOGGED: &str = "127.0.0.1:8085";
/// Where a path decides which backend answers.
const HASHED: &str = "127.0.0.1:8086";

/// Adds a listener that logs to a file.
fn log(scene: &Scene, format: &str) -> Result<PathBuf> {
    let path = scene.files.path().join("access.log");
    let more = format!(
        "[[listener]]\nname = \"logged\"\naddresses = [\"{LOGGED}\"]\nservice = \"web\"\n\
         access_log = {{ to = \"{}\", format = {format} }}\n",
        path.display()
    );
    scene.daemon.reload_text(&scene.config(&more))?;
    scene.wait_for("the listener that logs", |scene| {
        scene.curl(&[&format!("http://{LOGGED}/first")]).is_ok()
    })?;
    Ok(path)
}

/// The lines of a log once there are so many, that of the first request first: each worker hands on its own.
fn read(scene: &Scene, path: &Path, count: usize) -> Result<Vec<String>> {
    let lines =
        || fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    scene.wait_for("the lines of the log", |_| lines().len() >= count)?;
    let mut lines = lines();
    lines.sort_by_key(|line| !line.contains("/first"));
    Ok(lines)
}

fn lines(scene: &mut Scene) -> Result<()> {
    let path = log(scene, "\"json\"")?;
    let url = format!("http://{LOGGED}/echo?x=1");
    scene.curl(&["-A", "me", "--data-binary", "hello", &url])?;
    let lines = read(scene, &path, 2)?;
    let line: Value = serde_json::from_str(&lines[1])?;
    for (key, expected) in [
        ("client", "127.0.0.1"),
        ("listener", "logged"),
        ("method", "POST"),
        ("host", "127.0.0.1"),
        ("path", "/echo"),
        ("query", "x=1"),
        ("protocol", "HTTP/1.1"),
        ("service", "web"),
        ("user_agent", "me"),
    ] {
        ensure!(line[key] == expected, "{key}: {line:#}");
    }
    ensure!(line["status"] == 200 && line["bytes_in"] == 5 && line["bytes_out"] == 5, "{line:#}");
    ensure!(line["backend"].as_str().is_some_and(|name| name.starts_with("web")), "{line:#}");
    Ok(())
}

fn forged(scene: &mut Scene) -> Result<()> {
    let path = log(scene, "\"text\"")?;
    let evil = "x\" 200 1 \"-\" \"-\"\\";
    scene.curl(&["-A", evil, &format!("http://{LOGGED}/a")])?;
    let lines = read(scene, &path, 2)?;
    ensure!(lines.len() == 2 && lines[1].matches('"').count() == 6, "{lines:?}");
    ensure!(lines[1].contains("\"GET /a HTTP/1.1\" ") && lines[1].contains("x\\x22 200"), "{lines:?}");
    Ok(())
}

fn rotated(scene: &mut Scene) -> Result<()> {
    const REQUESTS: usize = 3000;
    let path = log(scene, "'{path} {status}'")?;
    let old = path.with_extension("log.1");
    let count = |path: &Path| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().filter(|line| line.starts_with("/bytes/") && line.ends_with(" 200")).count()
    };
    let mut kept = Kept::connect(scene)?;
    for number in 0..REQUESTS {
        kept.get(&format!("/bytes/{}", number % 10))?;
        if number == REQUESTS / 3 {
            scene.wait_for("the first lines", |_| count(&path) > 0)?;
            fs::rename(&path, &old)?;
        }
        if number == REQUESTS / 2 {
            scene.daemon.signal(Signal::SIGUSR1)?;
        }
    }
    scene.wait_for("all lines in both files", |_| count(&old) + count(&path) == REQUESTS)?;
    // What is in a worker's hands when its file is opened anew goes into the new one.
    ensure!(count(&path) > 0 && count(&old) > 0, "{} and {}", count(&old), count(&path));
    Ok(())
}

/// A connection to the listener that logs.
struct Kept(BufReader<TcpStream>);

impl Kept {
    fn connect(scene: &Scene) -> Result<Self> {
        let stream = scene.namespace.run(|| Ok(TcpStream::connect(LOGGED)?))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self(BufReader::new(stream)))
    }

    fn get(&mut self, path: &str) -> Result<()> {
        self.0.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes())?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            ensure!(self.0.read_line(&mut line)? > 0, "the connection ended");
            if let Some(told) = line.strip_prefix("content-length: ") {
                length = told.trim_end().parse()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        self.0.read_exact(&mut vec![0; length])?;
        Ok(())
    }
}

/// All samples of a page.
fn scrape(scene: &Scene) -> Result<HashMap<String, f64>> {
    let page = scene.curl(&["-f", &format!("http://{METRICS}/metrics")])?;
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').context("no sample")?;
            Ok((name.to_owned(), value.parse()?))
        })
        .collect()
}

fn metrics(scene: &mut Scene) -> Result<()> {
    let before = scrape(scene)?;
    for round in 0..10 {
        scene.get(&["/", "/bytes/100", "/none"])?;
        scene.run("curl", &["-sSk", "-o", "/dev/null", &format!("https://{SECURE}/")])?;
        if round % 3 == 0 {
            scrape(scene)?;
        }
    }
    let rows = [
        ("lb_http_requests_total{listener=\"plain\",route=\"*\",class=\"2xx\"}", 20.0),
        ("lb_http_requests_total{listener=\"plain\",route=\"*\",class=\"4xx\"}", 10.0),
        ("lb_http_requests_total{listener=\"secure\",route=\"*\",class=\"2xx\"}", 10.0),
        ("lb_http_request_duration_seconds_count{listener=\"plain\",route=\"*\"}", 30.0),
        ("lb_tls_handshakes_total{version=\"1.3\"}", 10.0),
    ];
    let grown = |scene: &Scene, name: &str| {
        let now = scrape(scene).unwrap_or_default();
        now.get(name).copied().unwrap_or_default() - before.get(name).copied().unwrap_or_default()
    };
    for (name, expected) in rows {
        let is_there = |scene: &Scene| (grown(scene, name) - expected).abs() < 0.5;
        scene.wait_for(name, is_there).with_context(|| format!("grown by {}", grown(scene, name)))?;
    }
    let of = |name: &str| {
        grown(
            scene,
            &format!("lb_http_backend_responses_total{{service=\"web\",backend=\"{name}\",class=\"2xx\"}}"),
        )
    };
    ensure!((of("web1") + of("web2") - 30.0).abs() < 0.5, "{} and {}", of("web1"), of("web2"));
    let expiry =
        scrape(scene)?.into_iter().find(|(name, _)| name.contains("expiry") && name.contains("star"));
    ensure!(expiry.is_some_and(|(_, expiry)| expiry > 1.7e9), "no expiry of a certificate");
    ensure!(scene.curl(&[&format!("http://{METRICS}/healthz")])? == "ok\n");
    Ok(())
}

fn silent_scrapes(scene: &mut Scene) -> Result<()> {
    let hold = || (0..32).map(|_| Ok(TcpStream::connect(METRICS)?)).collect::<Result<Vec<_>>>();
    let silent = scene.namespace.run(hold)?;
    for path in ["healthz", "metrics"] {
        scene.curl(&["-f", "--max-time", "1", "-o", "/dev/null", &format!("http://{METRICS}/{path}")])?;
    }
    drop(silent);
    Ok(())
}

fn metrics_elsewhere(scene: &mut Scene) -> Result<()> {
    const ELSEWHERE: &str = "127.0.0.1:9191";
    scene.daemon.reload_text(&scene.config("").replace(METRICS, ELSEWHERE))?;
    let page = scene.curl(&["-f", &format!("http://{ELSEWHERE}/metrics")])?;
    ensure!(page.contains("\nlb_http_shed_total 0\n"), "{page}");
    ensure!(!scene.is_open(METRICS), "the old address is served as well");
    // An address that somebody has is refused, and the one in force stays.
    let taken = scene.config("").replace(METRICS, PLAIN);
    ensure!(scene.daemon.reload_text(&taken).is_err(), "a listener's address was taken");
    scene.curl(&["-f", "-o", "/dev/null", &format!("http://{ELSEWHERE}/healthz")])?;
    Ok(())
}

/// What `explain --json` says of a request.
fn explain(scene: &Scene, arguments: &[&str]) -> Result<Value> {
    let said = scene.daemon.attempt(&[&["explain", "--json"], arguments].concat())?;
    ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let mut told: Value = serde_json::from_slice(&said.stdout)?;
    Ok(told["http"].take())
}

fn explained(scene: &mut Scene) -> Result<()> {
    let mut more = format!(
        "[[listener]]\nname = \"hashed\"\naddresses = [\"{HASHED}\"]\nservice = \"hashed\"\n\
         [[route]]\nname = \"gone\"\nlisteners = \"hashed\"\npath = {{ exact = \"/gone\" }}\nrespond = {{ status = 410 }}\n\
         [[service]]\nname = \"hashed\"\nkind = \"http\"\nbalance = \"hash\"\nhash_on = \"query:p\"\nhealth = \"none\"\n"
    );
    for (number, address) in (1..).zip(super::scene::BACKENDS) {
        // Writing to a String cannot fail.
        _ = writeln!(more, "[[service.backend]]\nname = \"web{number}\"\naddr = \"{address}\"");
    }
    scene.daemon.reload_text(&scene.config(&more))?;
    scene.wait_for("the new listener", |scene| scene.curl(&[&format!("http://{HASHED}/")]).is_ok())?;
    let mut seen = std::collections::HashSet::new();
    for number in 0..8 {
        let url = format!("http://{HASHED}/?p={number}");
        let told = explain(scene, &[&url])?;
        let backend = told["services"][0]["backend"].as_str().context("none is certain")?.to_owned();
        let body = scene.curl(&[&url])?;
        ensure!(body.contains(&format!("name={backend} ")), "{backend} was told, and {body}");
        seen.insert(backend);
    }
    ensure!(seen.len() == 2, "one backend has all paths");
    let gone = explain(scene, &[&format!("http://{HASHED}/gone")])?;
    let code = scene.curl(&["-o", "/dev/null", "-w", "%{http_code}", &format!("http://{HASHED}/gone")])?;
    ensure!(gone["route"] == "gone" && gone["status"] == 410 && code == "410", "{code} and {gone:#}");
    for host in ["one.example.org", "a.example.net"] {
        let told = explain(scene, &[&format!("https://{host}:8443/")])?;
        let file = told["certificate"]["file"].as_str().context("no certificate")?;
        let shown = format!(
            "openssl s_client -connect {SECURE} -servername {host} </dev/null 2>/dev/null | openssl x509"
        );
        let shown = scene.run("sh", &["-c", &shown])?;
        ensure!(fs::read_to_string(file)?.contains(shown.trim()), "{host}: {file} was told");
    }
    let nobody = explain(scene, &["http://h:81/"])?;
    ensure!(
        nobody["listener"].is_null()
            && nobody["outcome"].as_str().is_some_and(|said| said.contains("nobody listens"))
    );
    Ok(())
}

/// How many of 40 requests each backend answers.
fn shares(scene: &Scene, more: &[&str]) -> Result<(usize, usize)> {
    let url = format!("http://{PLAIN}/");
    let urls = [&*url; 40];
    let said = scene.curl(&[more, &urls].concat())?;
    Ok((said.matches("name=web1 ").count(), said.matches("name=web2 ").count()))
}

fn order(scene: &Scene, arguments: &[&str]) -> Result<String> {
    let said = scene.daemon.attempt(arguments)?;
    ensure!(said.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said.stderr));
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}

fn drained(scene: &mut Scene) -> Result<()> {
    let text =
        scene.config("").replacen("kind = \"http\"\n", "kind = \"http\"\nsticky = { cookie = \"lb\" }\n", 1);
    scene.daemon.reload_text(&text)?;
    let jar = scene.files.path().join("jar").display().to_string();
    let to_first = |scene: &Scene| {
        let _ = fs::remove_file(&jar);
        scene.curl(&["-c", &jar, &format!("http://{PLAIN}/")]).is_ok_and(|said| said.contains("name=web1 "))
            && fs::read_to_string(&jar).is_ok_and(|jar| jar.contains("lb"))
    };
    scene.wait_for("a cookie of the first backend", to_first)?;
    order(scene, &["drain", "web/web1"])?;
    scene.wait_for("no more requests", |scene| shares(scene, &[]).is_ok_and(|shares| shares == (0, 40)))?;
    ensure!(shares(scene, &["-b", &jar])? == (40, 0), "whom a cookie binds is sent away");
    let status = scene.daemon.status()?;
    ensure!(status["front"]["services"][0]["backends"][0]["drain"] == true, "{status:#}");
    ensure!(order(scene, &["drain", "web/web1"])?.contains("already"), "told anew");
    order(scene, &["undrain", "web/web1"])?;
    scene.wait_for("requests again", |scene| shares(scene, &[]).is_ok_and(|(first, _)| first >= 18))
}

fn weighed(scene: &mut Scene) -> Result<()> {
    let is_three_to_one =
        |scene: &Scene| shares(scene, &[]).is_ok_and(|(first, _)| (28..=32).contains(&first));
    order(scene, &["weight", "web/web1", "3"])?;
    scene.wait_for("three to one", is_three_to_one)?;
    scene.daemon.reload_text(&scene.config(""))?;
    ensure!(is_three_to_one(scene), "the reload forgot the weight: {:?}", shares(scene, &[])?);
    order(scene, &["weight", "web/web1", "--undo"])?;
    scene
        .wait_for("one to one", |scene| shares(scene, &[]).is_ok_and(|(first, _)| (18..=22).contains(&first)))
}
