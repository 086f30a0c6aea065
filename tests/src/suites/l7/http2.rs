//! HTTP/2, by clients that are not ours.

use std::fs;

use anyhow::{Result, ensure};

use super::Claim;
use super::scene::{SECURE, Scene};
use crate::daemon::{Daemon, Mode};

/// Where HTTP/2 is spoken without TLS.
const CLEAR: &str = "127.0.0.1:8082";
/// Where another daemon is the backend.
const FAR: &str = "127.0.0.1:9085";
/// More than all windows and buffers on the way hold.
const LARGE: usize = 8 << 20;

pub(super) const CLAIMS: &[Claim] = &[
    ("it_is_agreed_upon_by_tls_unless_the_client_speaks_http_1_1_alone", by_alpn),
    ("it_is_spoken_by_prior_knowledge_where_the_listener_says_so", by_prior_knowledge),
    ("bodies_come_back_byte_for_byte", bodies),
    ("many_streams_share_a_connection", streams),
    ("a_stream_outlives_a_reload", reload),
    ("a_host_that_another_certificate_is_for_is_misdirected", misdirected),
    ("a_client_that_has_to_log_a_connection_in_comes_anew_by_http_1_1", login),
];

/// What curl is told so that it believes in the name that the certificate is for.
const NAMED: [&str; 3] = ["-k", "--resolve", "one.example.org:8443:127.0.0.1"];
const URL: &str = "https://one.example.org:8443";

fn by_alpn(scene: &mut Scene) -> Result<()> {
    for (wish, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let url = format!("{URL}/");
        let told = scene.curl(
            &[&NAMED[..], &[wish, "-o", "/dev/null", "-w", "%{http_version} %{http_code}", &url]].concat(),
        )?;
        ensure!(told == format!("{version} 200"), "{wish} to {SECURE}: {told}");
    }
    Ok(())
}

/// A listener for it, with something more said of it.
fn listener(more: &str) -> String {
    let named = "[[listener]]\nname = \"clear\"\nservice = \"web\"\nhttp2 = true\n";
    format!("{named}addresses = [\"{CLEAR}\"]\n{more}")
}

/// Has the daemon listen.
fn listen(scene: &mut Scene) -> Result<()> {
    scene.daemon.reload_text(&scene.config(&listener("")))?;
    scene.wait_for("the listener is there", |scene| {
        scene.curl(&["-o", "/dev/null", &format!("http://{CLEAR}/")]).is_ok()
    })
}

fn by_prior_knowledge(scene: &mut Scene) -> Result<()> {
    listen(scene)?;
    let url = format!("http://{CLEAR}/");
    for (wish, version) in [("--http2-prior-knowledge", "2"), ("--http1.1", "1.1")] {
        let told = scene.curl(&[wish, "-o", "/dev/null", "-w", "%{http_version} %{http_code}", &url])?;
        ensure!(told == format!("{version} 200"), "{wish}: {told}");
    }
    Ok(())
}

fn bodies(scene: &mut Scene) -> Result<()> {
    let (sent, back) = (scene.files.path().join("sent"), scene.files.path().join("back"));
    let bytes: Vec<u8> = (0..LARGE).map(|n| (n * 7 % 253).to_le_bytes()[0]).collect();
    fs::write(&sent, &bytes)?;
    let (data, back_path, url) =
        (format!("@{}", sent.display()), back.display().to_string(), format!("{URL}/echo"));
    let upload = ["--http2", "-f", "--data-binary", &data, "-o", &back_path, &url];
    scene.curl(&[&NAMED[..], &upload].concat())?;
    ensure!(fs::read(&back)? == bytes, "what came back is not what was sent");
    Ok(())
}

fn streams(scene: &mut Scene) -> Result<()> {
    let url = format!("{URL}/bytes/[1000-1039]");
    let told = scene.curl(
        &[
            &NAMED[..],
            &[
                "--http2",
                "--parallel",
                "--parallel-max",
                "20",
                "-o",
                "/dev/null",
                "-w",
                "%{num_connects} %{size_download}\n",
                &url,
            ],
        ]
        .concat(),
    )?;
    let connects: usize = told.lines().filter_map(|line| line.split(' ').next()?.parse::<usize>().ok()).sum();
    let mut sizes: Vec<usize> =
        told.lines().filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect();
    sizes.sort_unstable();
    ensure!(sizes == (1000..1040).collect::<Vec<_>>(), "{told}");
    ensure!(connects < 5, "{connects} connections for 40 requests");
    Ok(())
}

fn reload(scene: &mut Scene) -> Result<()> {
    listen(scene)?;
    let url = format!("http://{CLEAR}/bytes/1500?rate=1000");
    std::thread::scope(|scope| {
        let patient = scope.spawn(|| {
            scene.curl(&[
                "--http2-prior-knowledge",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code} %{size_download}",
                &url,
            ])
        });
        std::thread::sleep(std::time::Duration::from_millis(300));
        scene.daemon.reload_text(&scene.config(&listener("limits = { fields = 99 }\n")))?;
        let told = patient.join().map_err(|_| anyhow::anyhow!("curl's thread"))??;
        ensure!(told == "200 1500", "{told}");
        Ok(())
    })
}

fn misdirected(scene: &mut Scene) -> Result<()> {
    let url = format!("{URL}/");
    let rows = [
        // The host, as a client says it that was shown the certificate of `one.example.org`.
        ("one.example.org", "--http2", "200"),
        ("one.example.org:8443", "--http2", "200"),
        ("a.example.net", "--http2", "421"),
        // No certificate is for these, so there is no better connection.
        ("other.example.org", "--http2", "200"),
        ("127.0.0.1", "--http2", "200"),
        // Who speaks HTTP/1.1 puts no hosts together.
        ("a.example.net", "--http1.1", "200"),
    ];
    for (host, wish, status) in rows {
        let field = format!("Host: {host}");
        let asked = [wish, "-o", "/dev/null", "-w", "%{http_code}", "-H", &field, &url];
        let told = scene.curl(&[&NAMED[..], &asked].concat())?;
        ensure!(told == status, "{wish} for {host}: {told}");
    }
    Ok(())
}

/// The backend is another daemon, which answers by itself.
fn login(scene: &mut Scene) -> Result<()> {
    let rows = [("ntlm", "NTLM", "1.1 401"), ("negotiate", "Negotiate", "2 401")];
    let asking = rows.map(|(name, scheme, _)| {
        format!(
            "[[route]]\nname = \"{name}\"\npath = {{ exact = \"/{name}\" }}\nrespond = {{ status = 401 }}\n\
             response = {{ add = [{{ name = \"www-authenticate\", value = \"{scheme}\" }}] }}\n"
        )
    });
    let listener = format!("[[listener]]\nname = \"far\"\naddresses = [\"{FAR}\"]\n");
    let mut far = Daemon::launch(&scene.namespace, &[], Mode::Auto, &(listener + &asking.concat()))?;
    far.wait_until_ready()?;
    let service = format!(
        "[[service]]\nname = \"far\"\nkind = \"http\"\n[[service.backend]]\nname = \"far\"\naddr = \"{FAR}\"\n\
         [[route]]\nname = \"far\"\npath = {{ regex = \"/ntlm|/negotiate\" }}\nservice = \"far\"\n"
    );
    scene.daemon.reload_text(&scene.config(&service))?;
    for (name, _, expected) in rows {
        let url = format!("{URL}/{name}");
        let asked = ["--http2", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", &url];
        let told = scene.curl(&[&NAMED[..], &asked].concat())?;
        ensure!(told == expected, "{name}: {told}");
    }
    Ok(())
}
