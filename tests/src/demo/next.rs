//! What to try oneself, while everything stays.

use std::thread;

use anyhow::Result;

use super::page::Page;
use super::scene::{DIRECT, Scene, WEB};
use crate::daemon::binary;
use crate::interrupt;
use crate::netns::Namespace;
use crate::skip::Need;

/// Starts the daemon again, says what to try, and waits for the signal that ends the process with the claims' exit code.
pub(super) fn stay(scene: &mut Scene, page: &Page, passed: bool) -> Result<()> {
    scene.start_daemon()?;
    interrupt::expect(u8::from(!passed));
    page.heading("Everything is running again. To try it, as root in another terminal:");
    for (purpose, command) in commands(scene)? {
        page.plain(&format!("\n   # {purpose}\n   {command}"));
    }
    page.heading("Ctrl-C stops it and removes everything.");
    loop {
        thread::park();
    }
}

fn commands(scene: &Scene) -> Result<Vec<(&'static str, String)>> {
    let daemon = scene.daemon()?;
    let (program, client) = (binary().display().to_string(), inside(&scene.house.client));
    let control = format!("--control {}", daemon.control_path().display());
    let web1 = scene.house.backends.first().map(|host| host.addresses.v4.to_string()).unwrap_or_default();
    Ok(vec![
        ("ask the service, again and again: each connection picks a backend", fetch(&client, WEB.url)),
        ("the same through dsr-ipip: the backend sees the client's own address", fetch(&client, DIRECT.url)),
        ("services, backends, health, packets", format!("{program} status {control}")),
        ("no new connections for web2; --undo ends it", format!("{program} drain web/web2 {control}")),
        (
            "make web1 fail its health check; /healthz/ok mends it",
            post(&client, &format!("http://{web1}:8080/healthz/fail")),
        ),
        (
            "change weights, add a service, make a mistake",
            format!("${{EDITOR:-vi}} {}; {program} reload {control}", daemon.config_path().display()),
        ),
    ])
}

/// What runs a command inside `namespace`.
fn inside(namespace: &Namespace) -> String {
    if Need::Command("ip").lacking().is_none() {
        format!("ip netns exec {}", namespace.name())
    } else {
        format!("nsenter --net=/run/netns/{}", namespace.name())
    }
}

fn fetch(client: &str, url: &str) -> String {
    format!("{client} {}", if has_curl() { format!("curl -s {url}") } else { with_bash("GET", url) })
}

fn post(client: &str, url: &str) -> String {
    format!("{client} {}", if has_curl() { format!("curl -sX POST {url}") } else { with_bash("POST", url) })
}

fn has_curl() -> bool {
    Need::Command("curl").lacking().is_none()
}

/// What a bash can do where curl is not installed.
fn with_bash(method: &str, url: &str) -> String {
    let url = url.trim_start_matches("http://");
    let (host, path) = url.split_once('/').unwrap_or((url, ""));
    let (address, port) = host.split_once(':').unwrap_or((host, "80"));
    format!(
        "bash -c 'exec 3<>/dev/tcp/{address}/{port}; \
         printf \"{method} /{path} HTTP/1.1\\r\\nhost: {host}\\r\\nconnection: close\\r\\n\\r\\n\" >&3; cat <&3'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bash_knows_the_port_that_a_url_leaves_out() {
        let command = with_bash("GET", WEB.url);
        assert!(command.contains("/dev/tcp/203.0.113.10/80;"), "{command}");
        assert!(with_bash("GET", DIRECT.url).contains("/dev/tcp/203.0.113.10/8080;"));
        assert!(command.contains("GET / HTTP/1.1\\r\\nhost: 203.0.113.10\\r\\n"), "{command}");
    }
}
