//! What lives on: through the death of a backend, a reload, and the end of the daemon.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::Claim;
use super::scene::{BACKENDS, METRICS, PLAIN, SECURE, Scene};
use crate::daemon::{Daemon, Mode};

pub(super) const CLAIMS: &[Claim] = &[
    ("a_backend_killed_between_two_requests_costs_the_client_nothing", killed_backend),
    ("a_backend_that_is_down_gets_no_request_and_one_that_is_back_does", down_and_back),
    ("a_reload_keeps_connections_and_serves_what_is_new", reload),
    ("a_reload_that_cannot_be_served_changes_nothing", bad_reload),
    ("a_file_that_was_emptied_ends_nothing_that_is_served", emptied),
    ("sigterm_lets_an_answer_under_way_end", sigterm),
    ("the_status_tells_of_listeners_and_answers", status),
    ("a_second_daemon_on_the_same_addresses_is_refused", second_daemon),
    ("a_reload_may_put_an_address_beside_one_for_all", beside_all),
    ("services_of_layer_4_without_an_interface_are_refused_by_name", needs_interface),
];

/// A connection that is kept, and asked again and again.
pub(super) struct Kept(BufReader<TcpStream>);

impl Kept {
    pub(super) fn connect(scene: &Scene) -> Result<Self> {
        let stream = scene.namespace.run(|| Ok(TcpStream::connect(PLAIN)?))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Head and body of the answer to a GET.
    pub(super) fn get(&mut self, path: &str) -> Result<String> {
        self.0.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes())?;
        self.receive()
    }

    fn receive(&mut self) -> Result<String> {
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\n") {
            ensure!(self.0.read_line(&mut answer)? > 0, "the connection ended after {answer:?}");
        }
        let length =
            answer.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no length")?;
        let mut body = vec![0; length.parse()?];
        self.0.read_exact(&mut body)?;
        Ok(answer + &String::from_utf8_lossy(&body))
    }
}

fn killed_backend(scene: &mut Scene) -> Result<()> {
    let mut kept = Kept::connect(scene)?;
    for _ in 0..10 {
        ensure!(kept.get("/")?.starts_with("HTTP/1.1 200 "));
    }
    scene.backends.remove(0).kill()?;
    for number in 0..50 {
        let answer = kept.get("/")?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "request {number}: {answer}");
    }
    Ok(())
}

fn down_and_back(scene: &mut Scene) -> Result<()> {
    for backend in scene.backends.drain(..) {
        backend.kill()?;
    }
    let code = |scene: &Scene| {
        scene
            .curl(&["-o", "/dev/null", "-w", "%{http_code}", &format!("http://{PLAIN}/")])
            .unwrap_or_default()
    };
    scene.wait_for("503 without backends", |scene| code(scene) == "503")?;
    let back = scene.start_backend(2, BACKENDS[1])?;
    scene.backends.push(back);
    scene.wait_for("200 with one again", |scene| code(scene) == "200")
}

fn reload(scene: &mut Scene) -> Result<()> {
    let mut kept = Kept::connect(scene)?;
    kept.get("/")?;
    let more = "[[listener]]\nname = \"new\"\naddresses = [\"127.0.0.1:8090\"]\nservice = \"web\"\n\
                [[route]]\nname = \"hello\"\npath = { exact = \"/hello\" }\n\
                respond = { status = 200, body = \"hi there\" }\n";
    scene.daemon.reload_text(&scene.config(more))?;
    scene.wait_for("the new listener", |scene| scene.curl(&["http://127.0.0.1:8090/"]).is_ok())?;
    ensure!(kept.get("/hello")?.ends_with("hi there"), "the old connection does not see the new route");
    scene.daemon.reload_text(&scene.config(""))?;
    scene
        .wait_for("the end of the new listener", |scene| scene.curl(&["http://127.0.0.1:8090/"]).is_err())?;
    ensure!(kept.get("/")?.contains("name=web"), "the old connection ended");
    Ok(())
}

fn bad_reload(scene: &mut Scene) -> Result<()> {
    let more = "[[listener]]\nname = \"new\"\naddresses = [\"127.0.0.1:8091\"]\nservice = \"web\"\n\
                tls = { certificates = [{ cert = \"/no/such/file\", key = \"/no/such/key\" }] }\n";
    let refused = scene.daemon.reload_text(&scene.config(more)).err().context("it was taken")?;
    ensure!(format!("{refused:#}").contains("/no/such/file"), "{refused:#}");
    ensure!(scene.get(&["/"])?.contains("name=web"));
    Ok(())
}

fn emptied(scene: &mut Scene) -> Result<()> {
    let mut kept = Kept::connect(scene)?;
    for text in ["", "# [[listener]]\n", "[proxy]\nworkers = 2\n"] {
        let refused = scene.daemon.reload_text(text).err().with_context(|| format!("{text:?} was taken"))?;
        let said = format!("{refused:#}");
        ensure!(said.contains("has neither a [[listener]] nor a [[service]]"), "{said}");
        ensure!(
            said.contains("lb-userspace drain") && said.contains("the old configuration serves on"),
            "{said}"
        );
        ensure!(kept.get("/")?.contains("name=web"), "what was served is not");
    }
    scene.daemon.reload_text(&scene.config(""))
}

fn sigterm(scene: &mut Scene) -> Result<()> {
    let mut slow = Kept::connect(scene)?;
    slow.0.get_mut().write_all(b"GET /bytes/200000?rate=100000 HTTP/1.1\r\nHost: h\r\n\r\n")?;
    let idle = Kept::connect(scene)?;
    thread::sleep(Duration::from_millis(300));
    scene.daemon.signal(Signal::SIGTERM)?;
    scene.wait_for("no more connections", |scene| scene.get(&["/"]).is_err())?;
    ensure!(slow.receive()?.starts_with("HTTP/1.1 200 "));
    drop((slow, idle));
    let ended = scene.daemon.wait(Duration::from_secs(10))?;
    ensure!(ended.success(), "{ended}: {}", scene.daemon.log());
    Ok(())
}

fn status(scene: &mut Scene) -> Result<()> {
    scene.get(&["/", "/", "/none"])?;
    let status = scene.daemon.status()?;
    let front = &status["front"];
    ensure!(front["io"] == scene.io.word() && front["workers"] == 2, "{front:#}");
    ensure!(front["answers"][1].as_u64() >= Some(2) && front["answers"][3].as_u64() >= Some(1), "{front:#}");
    let page = scene.daemon.table()?;
    ensure!(page.contains(&format!("listener secure  https on {SECURE}")), "{page}");
    ensure!(page.contains("(up, weight 1)"), "{page}");
    Ok(())
}

/// `SO_REUSEPORT` would have the two share the clients, half of whom would be answered by other rules.
fn second_daemon(scene: &mut Scene) -> Result<()> {
    let alike = scene.config("").replace(&format!("[metrics]\naddress = \"{METRICS}\"\n"), "");
    let mut second = Daemon::launch(&scene.namespace, &[], Mode::Auto, &alike)?;
    let refused = second.wait_until_ready().err().context("it serves")?;
    let said = format!("{refused:#}{}", second.log());
    ensure!(said.contains("plain") && said.contains(PLAIN) && said.contains("in use"), "{said}");
    ensure!(scene.get(&["/"])?.contains("name=web"));
    Ok(())
}

fn beside_all(scene: &mut Scene) -> Result<()> {
    let listener = |name: &str, address: &str| {
        format!("[[listener]]\nname = \"{name}\"\naddresses = [\"{address}\"]\nservice = \"web\"\n")
    };
    let (all, one) = (listener("all", "0.0.0.0:8090"), listener("one", "127.0.0.1:8090"));
    // Taken away and back at once, too.
    for more in [all.clone(), all.clone() + &one, one.clone(), String::new(), one.clone(), String::new(), all]
    {
        scene.daemon.reload_text(&scene.config(&more))?;
    }
    scene.wait_for("the new listener", |scene| scene.curl(&["http://127.0.0.1:8090/"]).is_ok())
}

fn needs_interface(scene: &mut Scene) -> Result<()> {
    let more = "[[service]]\nname = \"packets\"\nvip = \"203.0.113.9:80\"\nforward = \"nat\"\n\
                [[service.backend]]\nname = \"a\"\naddr = \"10.0.0.1:80\"\n";
    let refused = scene.daemon.reload_text(&scene.config(more)).err().context("it was taken")?;
    ensure!(format!("{refused:#}").contains("--iface"), "{refused:#}");
    Ok(())
}
