//! What the daemon is compiled for: what this bench measures, and what clients and configurations have besides.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::proxies::{HTTP, HTTPS, Proxy, fuller};
use crate::scene::Scene;
use crate::work::Work;

/// What each load is given.
const PIECE: Duration = Duration::from_secs(1);
/// What the bench measures of CPU time.
const WORKS: [Work; 6] =
    [Work::Http1K, Work::Https1K, Work::Https2, Work::Http100K, Work::Https100K, Work::Handshake];

/// What a browser sends.
const BROWSER: [&str; 9] = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Cookie: session=5f2b1c9e0a7d4c3e; theme=dark; consent=yes",
    "Referer: https://www.example.org/catalogue?page=2",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Priority: u=0, i",
];

/// The script by which wrk sends a form.
const POST: &str = "wrk.method = 'POST'\nwrk.body = string.rep('x', 2000)\n";

/// Has both transports do all of it.
pub(crate) fn run(scene: &Scene) -> Result<()> {
    fs::write(scene.folder().join("post.lua"), POST)?;
    fs::write(scene.folder().join("form"), "x".repeat(2_000))?;
    for proxy in [Proxy::Uring, Proxy::Epoll] {
        let bare = proxy.command(scene.folder(), scene.daemon())?;
        scene.while_it_runs(bare, proxy.ports(), |_| {
            WORKS.iter().try_for_each(|work| scene.load(*work, PIECE).map(drop))?;
            scene.load(Work::Fixed, PIECE).map(drop)
        })?;
        let config = scene.folder().join("fuller");
        fs::write(&config, fuller(proxy.transport(), scene.folder()))?;
        let mut command = Command::new(scene.daemon());
        command.arg("--config").arg(&config).arg("--control").arg(scene.folder().join("control"));
        command.current_dir(scene.folder());
        scene.while_it_runs(command, proxy.ports(), |_| be_used(scene))?;
    }
    Ok(())
}

/// Browsers, calls of an interface and forms, by both versions, with TLS and without.
fn be_used(scene: &Scene) -> Result<()> {
    let file = |name: &str| scene.folder().join(name).display().to_string();
    let (form, post) = (file("form"), file("post.lua"));
    let browser: Vec<_> = BROWSER.iter().flat_map(|field| ["-H", field]).collect();
    let call =
        ["-H", "Host: api.example.org", "-H", "Authorization: Bearer 5f2b1c9e0a7d4c3e", "-H", "X-Debug: 1"];
    let seconds = PIECE.as_secs();
    for front in [format!("http://127.0.0.1:{HTTP}"), format!("https://127.0.0.1:{HTTPS}")] {
        let to = |path: &str| format!("{front}{path}");
        scene.wrk(64, seconds, &browser, &to("/1k"))?;
        scene.wrk(64, seconds, &browser, &to("/pieces"))?;
        scene.wrk(64, seconds, &call, &to("/api/1k"))?;
        scene.wrk(64, seconds, &["-s", &post], &to("/1k"))?;
        scene.wrk(16, seconds, &browser, &to("/100k"))?;
    }
    scene.h2load(seconds, &browser, "/1k")?;
    scene.h2load(seconds, &browser, "/pieces")?;
    scene.h2load(seconds, &["-H", ":authority: api.example.org", "-H", "x-debug: 1"], "/api/1k")?;
    scene.h2load(seconds, &["-d", &form], "/1k")?;
    scene.h2load(seconds, &[], "/100k").map(drop)
}
