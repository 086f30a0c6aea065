//! Probes that go the way requests go. The backends are another daemon's listeners, which take no other way.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Claim;
use super::scene::{PLAIN, Scene};
use crate::daemon::{Daemon, Mode};

pub(super) const CLAIMS: &[Claim] = &[
    ("backends_that_are_spoken_to_in_layers_are_probed_in_them", layered),
    ("a_certificate_that_is_not_believed_is_told_until_its_authority_is_renewed", disbelieved),
];

/// Where the backends speak TLS.
const SECURE: &str = "127.0.0.1:9443";
/// Where they speak it behind a PROXY header.
const BOTH: &str = "127.0.0.1:9444";
/// Where a PROXY header comes first, and no TLS.
const PROXIED: &str = "127.0.0.1:9081";

const NAME: &str = "one.example.org";

/// Makes a certificate of an authority that the scene has.
fn certify(scene: &Scene) -> Result<(String, String)> {
    let path = |name: &str| scene.files.path().join(name).display().to_string();
    let (cert, key, ca, ca_key) =
        (path("far.crt"), path("far.key"), path("one.example.org.crt"), path("one.example.org.key"));
    let kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let names = format!("subjectAltName=DNS:{NAME}");
    let subject = ["-subj", "/CN=far", "-addext", "basicConstraints=critical,CA:FALSE", "-addext", &names];
    let files = ["-CA", &ca, "-CAkey", &ca_key, "-keyout", &key, "-out", &cert];
    scene.run("openssl", &[&kind[..], &subject, &files].concat())?;
    Ok((cert, key))
}

/// Starts the backends.
fn start_far(scene: &Scene) -> Result<Daemon> {
    let (cert, key) = certify(scene)?;
    let tls =
        format!("http2 = true\ntls = {{ certificates = [{{ cert = \"{cert}\", key = \"{key}\" }}] }}\n");
    let proxied = "proxy_protocol = [\"127.0.0.0/8\"]\n";
    let listener = |name: &str, address: &str, more: &str| {
        format!("[[listener]]\nname = \"{name}\"\naddresses = [\"{address}\"]\n{more}")
    };
    let text = [
        "[proxy]\nworkers = 1\n".to_owned(),
        listener("secure", SECURE, &tls),
        listener("both", BOTH, &format!("{tls}{proxied}")),
        listener("proxied", PROXIED, proxied),
        "[[route]]\nname = \"page\"\nrespond = { status = 200, body = \"far\" }\n".to_owned(),
    ];
    let mut far = Daemon::launch(&scene.namespace, &[], Mode::Auto, &text.concat())?;
    far.wait_until_ready()?;
    Ok(far)
}

/// A service whose only backend is there, asked often.
fn service(name: &str, address: &str, more: &str) -> String {
    format!(
        "[[service]]\nname = \"{name}\"\nkind = \"http\"\n{more}\
         health = {{ http = \"/healthz\", interval = \"200ms\", timeout = \"150ms\", rise = 1, fall = 1 }}\n\
         [[service.backend]]\nname = \"far\"\naddr = \"{address}\"\n\
         [[route]]\nname = \"{name}\"\npath = {{ exact = \"/{name}\" }}\nservice = \"{name}\"\n"
    )
}

/// What the status says of a service's only backend.
fn backend(scene: &Scene, name: &str) -> Result<Value> {
    let mut status = scene.daemon.status()?;
    let services = status["front"]["services"].as_array_mut().context("no services")?;
    let found = services.iter_mut().find(|service| service["name"] == name).context("no such service")?;
    Ok(found["backends"][0].take())
}

fn is(scene: &Scene, name: &str, state: &str) -> bool {
    backend(scene, name).is_ok_and(|backend| backend["state"] == state)
}

fn layered(scene: &mut Scene) -> Result<()> {
    let far = start_far(scene)?;
    let ca = scene.certificate(NAME).display().to_string();
    let tls = format!("tls = {{ ca = \"{ca}\", sni = \"{NAME}\" }}\n");
    let services = [
        ("tls", SECURE, tls.clone()),
        ("h2", SECURE, format!("{tls}http2 = true\n")),
        ("v1", PROXIED, "proxy_protocol = \"v1\"\n".to_owned()),
        ("v2", PROXIED, "proxy_protocol = \"v2\"\n".to_owned()),
        ("all", BOTH, format!("{tls}http2 = true\nproxy_protocol = \"v2\"\n")),
    ];
    let more: String = services.iter().map(|(name, address, more)| service(name, address, more)).collect();
    scene.daemon.reload_text(&scene.config(&more))?;
    for (name, ..) in &services {
        scene.wait_for(&format!("{name} is up"), |scene| is(scene, name, "up"))?;
        let answer = scene.curl(&[&format!("http://{PLAIN}/{name}")])?;
        ensure!(answer == "far", "{name}: {answer}");
    }
    let passed = |scene: &Scene| anyhow::Ok(backend(scene, "all")?["health"]["successes"].as_u64());
    scene.wait_for("a few probes", |scene| passed(scene).is_ok_and(|count| count > Some(3)))?;
    let before = passed(scene)?;
    scene.daemon.reload_text(&scene.config(&more))?;
    ensure!(passed(scene)? >= before, "a reload that changes nothing began the check anew");
    far.stop()
}

fn disbelieved(scene: &mut Scene) -> Result<()> {
    let far = start_far(scene)?;
    let ca = scene.files.path().join("ca.crt");
    fs::copy(scene.certificate("star.example.net"), &ca)?;
    let tls = format!("tls = {{ ca = \"{}\", sni = \"{NAME}\" }}\n", ca.display());
    scene.daemon.reload_text(&scene.config(&service("far", SECURE, &tls)))?;
    scene.wait_for("it is down", |scene| is(scene, "far", "down"))?;
    let told = backend(scene, "far")?;
    let health = &told["health"];
    ensure!(health["error"].as_str().is_some_and(|why| why.starts_with("TLS: unknown issuer")), "{told:#}");
    ensure!(health["check"] == "http /healthz" && health["last_probe_ms_ago"].is_u64(), "{told:#}");
    ensure!(health["changed_ms_ago"].is_u64() && health["failures"].as_u64() > Some(0), "{told:#}");
    let page = scene.daemon.table()?;
    ensure!(page.contains("last probe: TLS: unknown issuer"), "{page}");
    fs::copy(scene.certificate(NAME), &ca)?;
    scene.wait_for("it is up by the renewed authority", |scene| is(scene, "far", "up"))?;
    far.stop()
}
