//! TLS, as curl and openssl speak it.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::Claim;
use super::scene::{SECURE, Scene};

pub(super) const CLAIMS: &[Claim] = &[
    ("tls_1_3_is_spoken", version_1_3),
    ("tls_1_2_is_spoken", version_1_2),
    ("tls_1_1_is_not_spoken", version_1_1),
    ("a_client_is_shown_the_certificate_of_the_name_it_asks_for", by_name),
    ("a_client_that_knows_no_curves_is_shown_the_rsa_certificate_of_the_same_name", by_algorithm),
    ("a_client_with_no_signature_in_common_is_told_that_the_handshake_failed", nothing_in_common),
    ("a_client_that_does_not_speak_tls_hears_the_alert_whatever_it_still_sends", not_tls),
    ("an_answer_that_is_cut_short_is_not_told_to_be_whole", cut_short),
    ("the_listener_chooses_among_the_ciphers_of_its_clients", cipher),
    ("http_1_1_is_agreed_on", agreed),
    ("a_client_that_speaks_http_1_0_alone_is_answered", older),
    ("a_session_is_resumed_by_its_ticket", resumed),
    ("a_ticket_is_not_good_where_a_certificate_is_asked_for", ticket_elsewhere),
    ("a_large_download_arrives_whole", download),
    ("an_upload_comes_back_byte_for_byte", upload),
];

/// What curl gives for a path by this name, having verified that certificate.
fn to(scene: &Scene, host: &str, certificate: &str, path: &str, more: &[&str]) -> Result<String> {
    let ca = scene.certificate(certificate).display().to_string();
    let (resolve, url) = (format!("{host}:8443:127.0.0.1"), format!("https://{host}:8443{path}"));
    scene.curl(&[&["--cacert", &ca, "--resolve", &resolve, &url], more].concat())
}

fn version_1_3(scene: &mut Scene) -> Result<()> {
    speaks(scene, &["--tlsv1.3"])
}

fn version_1_2(scene: &mut Scene) -> Result<()> {
    speaks(scene, &["--tls-max", "1.2"])
}

fn speaks(scene: &Scene, version: &[&str]) -> Result<()> {
    let body = to(scene, "one.example.org", "one.example.org", "/", version)?;
    ensure!(body.contains("name=web"), "{body}");
    Ok(())
}

fn version_1_1(scene: &mut Scene) -> Result<()> {
    let said = s_client(scene, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"])?;
    ensure!(!said.contains("Cipher is ECDHE"), "{said}");
    Ok(())
}

/// What `openssl s_client` says of a connection.
pub(super) fn s_client(scene: &Scene, arguments: &[&str]) -> Result<String> {
    let common = format!("echo | openssl s_client -connect {SECURE} {} 2>&1", arguments.join(" "));
    let said = scene.attempt("sh", &["-c", &common])?;
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}

fn by_name(scene: &mut Scene) -> Result<()> {
    let rows = [
        ("one.example.org", "CN = one.example.org"),
        ("a.example.net", "CN = *.example.net"),
        ("b.example.net", "CN = *.example.net"),
        // Asked for none of them, the first is shown.
        ("a.b.example.net", "CN = one.example.org"),
        ("other.example.org", "CN = one.example.org"),
    ];
    for (name, subject) in rows {
        let said = s_client(scene, &["-servername", name])?;
        ensure!(said.contains(&format!("subject={subject}")), "{name} was shown: {said}");
    }
    to(scene, "any.example.net", "star.example.net", "/", &[])?;
    Ok(())
}

fn by_algorithm(scene: &mut Scene) -> Result<()> {
    for (algorithms, organisation) in
        [("ECDSA+SHA256:RSA-PSS+SHA256", "O = ec"), ("RSA-PSS+SHA256", "O = rsa")]
    {
        let said = s_client(scene, &["-servername", "one.example.org", "-sigalgs", algorithms])?;
        ensure!(said.contains(organisation), "{algorithms} was shown: {said}");
    }
    Ok(())
}

fn nothing_in_common(scene: &mut Scene) -> Result<()> {
    for offer in [&["-tls1_2", "-cipher", "AES128-SHA"][..], &["-tls1_3", "-sigalgs", "ed25519"]] {
        let said = s_client(scene, offer)?;
        ensure!(said.contains("alert handshake failure"), "{offer:?}: {said}");
    }
    Ok(())
}

/// A connection that is closed with something unread is reset, and what was sent last may be lost with it.
fn not_tls(scene: &mut Scene) -> Result<()> {
    let request = format!("POST / HTTP/1.1\r\nHost: h\r\n\r\n{}", "a".repeat(200_000));
    let said = scene.talk(SECURE, &request)?;
    // A record of the kind `alert`, two bytes long, the first of which says `fatal` (RFC 8446, sections 5.1 and 6).
    ensure!(said.starts_with("\x15\x03\x03\0\x02\x02"), "{said:?}");
    Ok(())
}

/// The end of a connection is that of an answer only where it is said (RFC 9112, section 9.8).
fn cut_short(scene: &mut Scene) -> Result<()> {
    let ask = |path: &str| {
        let request = format!("printf 'GET {path} HTTP/1.1\\r\\nHost: h\\r\\nConnection: close\\r\\n\\r\\n'");
        format!("{request} | openssl s_client -quiet -ign_eof -connect {SECURE} 2>&1 | tr -d '\\000'")
    };
    let whole = scene.attempt("sh", &["-c", &ask("/bytes/1000")])?;
    let is_cut = |said: &std::process::Output| {
        [&said.stdout, &said.stderr]
            .into_iter()
            .any(|text| String::from_utf8_lossy(text).contains("unexpected eof"))
    };
    ensure!(!is_cut(&whole), "{whole:?}");
    let backends = std::mem::take(&mut scene.backends);
    let scene = &*scene;
    let said = thread::scope(|scope| {
        let asking = scope.spawn(|| scene.attempt("sh", &["-c", &ask("/bytes/5000000?rate=100000")]));
        thread::sleep(Duration::from_secs(1));
        backends.into_iter().try_for_each(|backend| backend.kill().map(drop))?;
        asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    ensure!(is_cut(&said), "{} bytes, and then a proper end", said.stdout.len());
    Ok(())
}

fn cipher(scene: &mut Scene) -> Result<()> {
    for order in
        ["TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"]
    {
        let said = s_client(scene, &["-tls1_3", "-ciphersuites", order])?;
        ensure!(said.contains("Cipher is TLS_AES_128_GCM_SHA256"), "{order}: {said}");
    }
    Ok(())
}

fn agreed(scene: &mut Scene) -> Result<()> {
    let said = s_client(scene, &["-alpn", "http/1.1"])?;
    ensure!(said.contains("ALPN protocol: http/1.1"), "{said}");
    Ok(())
}

fn older(scene: &mut Scene) -> Result<()> {
    let said = s_client(scene, &["-alpn", "http/1.0"])?;
    ensure!(said.contains("ALPN protocol: http/1.0"), "{said}");
    let said = scene.curl(&["-k", "--http1.0", &format!("https://{SECURE}/")])?;
    ensure!(said.contains("name=web"), "{said}");
    Ok(())
}

fn resumed(scene: &mut Scene) -> Result<()> {
    let session = scene.files.path().join("session").display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        // The ticket of TLS 1.3 comes behind the handshake: something is read first.
        let ask = format!(
            "printf 'GET / HTTP/1.1\\r\\nHost: h\\r\\nConnection: close\\r\\n\\r\\n' | \
             openssl s_client -connect {SECURE} {version} -ign_eof"
        );
        scene.run("sh", &["-c", &format!("{ask} -sess_out {session} 2>&1")])?;
        let said = scene.run("sh", &["-c", &format!("{ask} -sess_in {session} 2>&1")])?;
        ensure!(said.contains("Reused, TLS"), "{version}: {said}");
    }
    Ok(())
}

/// Where clients have to show a certificate.
const ASKING: &str = "127.0.0.1:8444";

/// A session is resumed without a question for certificates, so what it was granted for must hold where it is resumed.
fn ticket_elsewhere(scene: &mut Scene) -> Result<()> {
    let path = |name: &str| scene.files.path().join(name).display().to_string();
    let (cert, key) = (path("one.example.org.crt"), path("one.example.org.key"));
    let (client, client_key, session) = (path("client.crt"), path("client.key"), path("session"));
    let kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let subject = ["-subj", "/CN=client", "-addext", "basicConstraints=critical,CA:FALSE"];
    let files = ["-CA", &cert, "-CAkey", &key, "-keyout", &client_key, "-out", &client];
    scene.run("openssl", &[&kind[..], &subject, &files].concat())?;
    let listener = format!(
        "[[listener]]\nname = \"asking\"\naddresses = [\"{ASKING}\"]\nservice = \"web\"\n\
         tls = {{ certificates = [{{ cert = \"{cert}\", key = \"{key}\" }}], client = {{ ca = \"{cert}\" }} }}\n"
    );
    scene.daemon.reload_text(&scene.config(&listener))?;
    scene.wait_for("the listener is there", |scene| scene.is_open(ASKING))?;
    let named = format!("-cert {client} -key {client_key}");
    for version in ["-tls1_2", "-tls1_3"] {
        let ask = |address: &str, more: &str| {
            let request = "printf 'GET / HTTP/1.1\\r\\nHost: h\\r\\nConnection: close\\r\\n\\r\\n'";
            let command =
                format!("{request} | openssl s_client -connect {address} {version} -ign_eof {more} 2>&1");
            let said = scene.attempt("sh", &["-c", &command])?;
            anyhow::Ok(String::from_utf8_lossy(&said.stdout).into_owned())
        };
        ask(SECURE, &format!("-sess_out {session}"))?;
        let said = ask(ASKING, &format!("-sess_in {session}"))?;
        ensure!(!said.contains("Reused, TLS") && !said.contains("HTTP/1.1 200"), "{version}: {said}");
        let said = ask(ASKING, &format!("{named} -sess_out {session}"))?;
        ensure!(said.contains("HTTP/1.1 200"), "{version}, with a certificate: {said}");
        let said = ask(ASKING, &format!("-sess_in {session}"))?;
        ensure!(said.contains("Reused, TLS") && said.contains("HTTP/1.1 200"), "{version}, resumed: {said}");
    }
    Ok(())
}

fn download(scene: &mut Scene) -> Result<()> {
    let measured = ["-o", "/dev/null", "-w", "%{size_download}"];
    let size = to(scene, "one.example.org", "one.example.org", "/bytes/20000000", &measured)?;
    ensure!(size == "20000000", "{size} bytes");
    Ok(())
}

fn upload(scene: &mut Scene) -> Result<()> {
    let body = "0123456789".repeat(5000);
    let back = to(scene, "one.example.org", "one.example.org", "/echo", &["--data-binary", &body])?;
    ensure!(back == body, "{} bytes came back", back.len());
    Ok(())
}
