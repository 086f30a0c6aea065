//! What is safe without anybody's doing: certificates that are renewed, bounds, and what our own answers say.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::Claim;
use super::life::Kept;
use super::scene::{PLAIN, Scene, certify};
use super::tls::s_client;

pub(super) const CLAIMS: &[Claim] = &[
    ("a_renewed_certificate_is_shown_without_a_reload", renewed),
    ("a_certificate_without_its_key_leaves_the_former_in_use", unusable),
    ("a_staple_is_shown_and_renewed_with_its_file", stapled),
    ("the_status_tells_when_certificates_end_and_check_warns_of_it", ends),
    ("a_listener_lets_in_as_many_as_it_may", bounded),
    ("clients_do_not_take_the_last_descriptors", last_descriptors),
    ("a_reload_takes_in_another_secret_and_tells_what_waits_for_a_start", secret_and_rest),
    ("our_own_answers_ask_for_tls_in_future_where_they_are_sent_by_it", own_answers),
];

/// The name that is asked for.
const NAME: &str = "one.example.org";

/// What openssl is shown for the name.
fn shown(scene: &Scene, what: &str) -> bool {
    s_client(scene, &["-servername", NAME, "-status"]).is_ok_and(|said| said.contains(what))
}

fn renewed(scene: &mut Scene) -> Result<()> {
    let mut kept = Kept::connect(scene)?;
    kept.get("/")?;
    certify(scene.files.path(), NAME, "ec", "renewed")?;
    scene.wait_for("the new certificate", |scene| shown(scene, "O = renewed"))?;
    ensure!(kept.get("/")?.contains("name=web"), "a connection was lost");
    Ok(())
}

fn unusable(scene: &mut Scene) -> Result<()> {
    let key = scene.files.path().join(format!("{NAME}.key"));
    let other = scene.files.path().join("star.example.net.key");
    fs::copy(other, key)?;
    scene.daemon.wait_for_log("stays in use")?;
    ensure!(shown(scene, "O = ec"), "the former is not shown");
    ensure!(unusable_told(scene)? == 1, "`status` does not tell of it");
    certify(scene.files.path(), NAME, "ec", "mended")?;
    scene.wait_for("the mended pair", |scene| shown(scene, "O = mended"))?;
    ensure!(unusable_told(scene)? == 0, "`status` tells of what was mended");
    Ok(())
}

/// Of how many of TLS's files `status` says that they cannot be used.
fn unusable_told(scene: &Scene) -> Result<usize> {
    let status = scene.daemon.status()?;
    Ok(status["front"]["tls_unusable"].as_array().context("no word of files")?.len())
}

/// Has openssl write an OCSP response of this serial number's certificate, valid for so many days.
fn staple(scene: &Scene, days: &str) -> Result<()> {
    let script = format!(
        "cd {} && serial=$(openssl x509 -in {NAME}.crt -noout -serial | cut -d= -f2) && \
         printf 'V\\t491231235959Z\\t\\t%s\\tunknown\\t/CN={NAME}\\n' $serial > index && \
         openssl ocsp -issuer {NAME}.crt -cert {NAME}.crt -no_nonce -reqout request >/dev/null 2>&1; \
         openssl ocsp -index index -rsigner {NAME}.crt -rkey {NAME}.key -CA {NAME}.crt -reqin request \
         -respout staple.new -ndays {days} >/dev/null 2>&1; mv staple.new staple",
        scene.files.path().display()
    );
    scene.run("sh", &["-c", &script]).map(|_| ())
}

fn stapled(scene: &mut Scene) -> Result<()> {
    staple(scene, "1")?;
    let path = |end: &str| scene.files.path().join(end).display().to_string();
    let text = scene.config("").replacen(
        &format!("key = \"{}\"", path(&format!("{NAME}.key"))),
        &format!("key = \"{}\", ocsp = \"{}\"", path(&format!("{NAME}.key")), path("staple")),
        1,
    );
    scene.daemon.reload_text(&text)?;
    scene.wait_for("the staple", |scene| shown(scene, "OCSP Response Status: successful"))?;
    let next = |scene: &Scene| {
        let said = s_client(scene, &["-servername", NAME, "-status"]).unwrap_or_default();
        said.lines().find(|line| line.contains("Next Update")).map(str::to_owned)
    };
    let before = next(scene);
    ensure!(before.is_some(), "no next update is told");
    staple(scene, "9")?;
    scene.wait_for("the new staple", |scene| next(scene).is_some_and(|now| Some(now) != before))
}

fn ends(scene: &mut Scene) -> Result<()> {
    let status = scene.daemon.status()?;
    let listeners = status["front"]["listeners"].as_array().cloned().unwrap_or_default();
    let certificates: Vec<_> =
        listeners.iter().filter_map(|listener| listener["certificates"].as_array()).flatten().collect();
    let file = scene.certificate(NAME).display().to_string();
    let told = certificates.iter().find(|certificate| certificate["file"] == file.as_str());
    let end = scene.run(
        "sh",
        &["-c", &format!("date -d \"$(openssl x509 -in {file} -noout -enddate | cut -d= -f2)\" +%s")],
    )?;
    let told = told.and_then(|certificate| certificate["expires"].as_i64());
    ensure!(told.map(|told| told.to_string()).as_deref() == Some(end.trim()), "{told:?}, openssl says {end}");
    let config = scene.daemon.config_path().display().to_string();
    let said = scene.attempt(&crate::daemon::binary().display().to_string(), &["check", &config])?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    ensure!(said.contains("is valid for "), "{said}");
    scene.daemon.wait_for_log("is valid for ").map(drop)
}

fn bounded(scene: &mut Scene) -> Result<()> {
    let limits = "service = \"web\"\nlimits = { connections = 3, connections_per_address = 2 }\n";
    let text = scene.config("").replacen("service = \"web\"\n", limits, 1);
    scene.daemon.reload_text(&text)?;
    scene.wait_for("nobody but us", |scene| {
        scene.daemon.status().is_ok_and(|status| status["front"]["open"] == 0)
    })?;
    let mut kept = [Kept::connect(scene)?, Kept::connect(scene)?];
    for client in &mut kept {
        client.get("/")?;
    }
    ensure!(Kept::connect(scene)?.get("/").is_err(), "a third connection was served");
    ensure!(kept[0].get("/")?.contains("name=web"), "one that was open is not served");
    drop(kept);
    scene.wait_for("room again", |scene| scene.get(&["/"]).is_ok())?;
    let status = scene.daemon.status()?;
    ensure!(status["front"]["shedding"]["refused"].as_u64() >= Some(1), "{status:#}");
    Ok(())
}

/// Idle clients, more than there are descriptors for.
fn last_descriptors(scene: &mut Scene) -> Result<()> {
    let id = scene.daemon.id().to_string();
    let taken = fs::read_dir(format!("/proc/{id}/fd"))?.count();
    scene.run("prlimit", &["--pid", &id, &format!("--nofile={}", taken + 60)])?;
    // A worker looks at it now and then.
    thread::sleep(Duration::from_millis(500));
    let address: SocketAddr = PLAIN.parse()?;
    let idle: Result<Vec<_>> =
        (0..200).map(|_| scene.namespace.run(|| Ok(TcpStream::connect(address)?))).collect();
    let idle = idle?;
    scene.wait_for("a client has room, and its request a backend", |scene| scene.get(&["/"]).is_ok())?;
    let status = scene.daemon.status()?;
    ensure!(status["front"]["shedding"]["refused"].as_u64() >= Some(1), "{status:#}");
    drop(idle);
    Ok(())
}

fn secret_and_rest(scene: &mut Scene) -> Result<()> {
    let file = scene.files.path().join("secret").display().to_string();
    let with = |lines: &str| scene.config("").replacen("[proxy]\n", &format!("[proxy]\n{lines}\n"), 1);
    let named = with(&format!("secret = \"{file}\""));
    fs::write(&file, "guess")?;
    let said = scene.daemon.reload_text(&named).err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(said.contains("has 5 bytes") && said.contains("openssl rand"), "{said}");
    fs::write(&file, [7; 32])?;
    scene.daemon.reload_text(&named)?;
    scene.daemon.reload_text(&scene.config("").replacen("workers = 2\n", "workers = 7\n", 1))?;
    scene.daemon.wait_for_log("`workers` takes effect at the next start").map(drop)
}

fn own_answers(scene: &mut Scene) -> Result<()> {
    let more = "[[route]]\nname = \"hello\"\npath = { exact = \"/hello\" }\nrespond = { body = \"hi\" }\n\
                response = { set = [{ name = \"x-by\", value = \"route\" }] }\n\
                [[listener]]\nname = \"moved\"\naddresses = [\"127.0.0.1:8092\"]\nredirect_to_https = 8443\n";
    let text = scene.config(more).replacen(
        "service = \"web\"\ntls",
        "service = \"web\"\nhsts = { max_age = \"1h\" }\ntls",
        1,
    );
    let text = text.replacen("[proxy]\n", "[proxy]\nserver = \"front\"\n", 1);
    scene.daemon.reload_text(&text)?;
    let heads = |url: &str| {
        let resolve = format!("{NAME}:8443:127.0.0.1");
        let said = scene.curl(&["-k", "-D", "-", "-o", "/dev/null", "--resolve", &resolve, url]);
        said.map(|said| said.to_ascii_lowercase())
    };
    for path in ["/hello", "/", "/%"] {
        let said = heads(&format!("https://{NAME}:8443{path}"))?;
        ensure!(said.contains("strict-transport-security: max-age=3600\r\n"), "{path}: {said}");
        ensure!(said.matches("server: front\r\n").count() == 1, "{path}: {said}");
    }
    ensure!(
        heads(&format!("https://{NAME}:8443/hello"))?.contains("x-by: route\r\n"),
        "the route's edits are lost"
    );
    ensure!(!heads(&format!("http://{PLAIN}/hello"))?.contains("strict-transport"), "HSTS without TLS");
    let moved = heads("http://127.0.0.1:8092/a?b")?;
    ensure!(moved.contains("location: https://127.0.0.1:8443/a?b\r\n") && moved.contains(" 308 "), "{moved}");
    Ok(())
}
