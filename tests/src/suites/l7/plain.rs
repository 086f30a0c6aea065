//! HTTP/1.1 without TLS.

use std::fs;

use anyhow::{Result, ensure};

use super::Claim;
use super::scene::{PLAIN, PROXIED, Scene};

/// More than all buffers on the way hold.
const LARGE: usize = 32 << 20;

pub(super) const CLAIMS: &[Claim] = &[
    ("a_get_is_answered_by_each_backend_in_turn", each_in_turn),
    ("a_connection_is_kept_for_the_next_request", connection_is_kept),
    ("requests_sent_at_once_are_answered_in_order", pipelined),
    ("the_answer_to_head_has_no_body", head_has_no_body),
    ("an_upload_with_a_length_comes_back_byte_for_byte", upload_with_length),
    ("an_upload_in_chunks_comes_back_byte_for_byte", upload_in_chunks),
    ("a_large_download_arrives_whole", download),
    ("a_client_that_waits_for_100_is_told_to_go_on", continues),
    ("what_could_be_smuggled_is_refused_and_the_connection_ends", smuggled),
    ("a_head_that_does_not_end_is_answered_408", slow_head),
    ("a_proxy_header_of_version_1_is_read", proxy_v1),
    ("a_proxy_header_of_version_2_is_read", proxy_v2),
    ("a_connection_without_its_proxy_header_is_ended", proxy_missing),
];

fn each_in_turn(scene: &mut Scene) -> Result<()> {
    let bodies = scene.get(&["/"; 40])?;
    for name in ["name=web1 ", "name=web2 "] {
        // Two workers take turns of their own.
        let count = bodies.matches(name).count();
        ensure!((18..=22).contains(&count), "{count} of 40 by {name}: {bodies}");
    }
    Ok(())
}

fn connection_is_kept(scene: &mut Scene) -> Result<()> {
    let url = format!("http://{PLAIN}/");
    let connects =
        scene.curl(&["-o", "/dev/null", "-o", "/dev/null", "-w", "%{num_connects} ", &url, &url])?;
    ensure!(connects == "1 0 ", "connections made: {connects}");
    Ok(())
}

fn pipelined(scene: &mut Scene) -> Result<()> {
    let lengths = [1, 22, 333, 4444];
    let request = |length| format!("GET /bytes/{length} HTTP/1.1\r\nHost: h\r\n\r\n");
    let all = lengths.map(request).concat();
    let answers = scene.talk(PLAIN, all + "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")?;
    let told = answers.lines().filter_map(|line| line.strip_prefix("content-length: "));
    let told: Vec<usize> = told.filter_map(|length| length.parse().ok()).take(4).collect();
    ensure!(told == lengths, "lengths {told:?}");
    Ok(())
}

fn head_has_no_body(scene: &mut Scene) -> Result<()> {
    let head = scene.curl(&["-I", &format!("http://{PLAIN}/bytes/1000")])?;
    ensure!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-length: 1000"), "{head}");
    Ok(())
}

fn upload_with_length(scene: &mut Scene) -> Result<()> {
    upload(scene, &[])
}

fn upload_in_chunks(scene: &mut Scene) -> Result<()> {
    upload(scene, &["-H", "Transfer-Encoding: chunked"])
}

/// The backend's echo gives back what it was sent, as it comes.
fn upload(scene: &Scene, more: &[&str]) -> Result<()> {
    let (sent, back) = (scene.files.path().join("sent"), scene.files.path().join("back"));
    let bytes: Vec<u8> = (0..ECHOED).map(|n| (n * 7 % 253).to_le_bytes()[0]).collect();
    fs::write(&sent, &bytes)?;
    let (data, back_path) = (format!("@{}", sent.display()), back.display().to_string());
    let url = format!("http://{PLAIN}/echo");
    scene.curl(&[more, &["-f", "--data-binary", &data, "-o", &back_path, &url]].concat())?;
    ensure!(fs::read(&back)? == bytes, "what came back is not what was sent");
    Ok(())
}

/// What the backend's echo takes.
const ECHOED: usize = 60_000;

fn download(scene: &mut Scene) -> Result<()> {
    let straight = scene.curl(&[
        "-o",
        "/dev/null",
        "-w",
        "%{size_download}",
        &format!("http://{PLAIN}/bytes/{LARGE}"),
    ])?;
    ensure!(straight == LARGE.to_string(), "{straight} bytes");
    let path = |name: &str| scene.files.path().join(name).display().to_string();
    let (through, direct) = (path("through"), path("direct"));
    scene.curl(&["-o", &through, &format!("http://{PLAIN}/bytes/1000000")])?;
    scene.curl(&["-o", &direct, &format!("http://{}/bytes/1000000", super::scene::BACKENDS[0])])?;
    ensure!(fs::read(through)? == fs::read(direct)?, "the bytes differ");
    Ok(())
}

fn continues(scene: &mut Scene) -> Result<()> {
    let url = format!("http://{PLAIN}/echo");
    let wait = ["-H", "Expect: 100-continue", "--expect100-timeout", "10", "--data-binary", "hello", &url];
    let body = scene.curl(&wait)?;
    ensure!(body.starts_with("hello"), "{body}");
    Ok(())
}

fn smuggled(scene: &mut Scene) -> Result<()> {
    let requests = [
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\nHost: h\n\n",
        "GET / HTTP/1.1\r\nHost: h\r\n folded: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
    ];
    for request in requests {
        let answer = scene.talk(PLAIN, request)?;
        let status = answer.get(..12).unwrap_or_default();
        let refused = ["HTTP/1.1 400", "HTTP/1.1 501"].contains(&status);
        ensure!(refused && answer.contains("connection: close\r\n"), "{request:?} gave {answer}");
        ensure!(answer.matches("HTTP/1.1 ").count() == 1, "{request:?} was answered twice: {answer}");
    }
    Ok(())
}

fn slow_head(scene: &mut Scene) -> Result<()> {
    let answer = scene.talk(PLAIN, "GET / HTTP/1.1\r\nHost:")?;
    ensure!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    Ok(())
}

fn proxy_v1(scene: &mut Scene) -> Result<()> {
    let header = "PROXY TCP4 192.0.2.7 192.0.2.1 5555 80\r\n";
    let body =
        scene.talk(PROXIED, format!("{header}GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"))?;
    ensure!(body.starts_with("HTTP/1.1 200 ") && body.contains("name=web"), "{body}");
    Ok(())
}

fn proxy_v2(scene: &mut Scene) -> Result<()> {
    // Version 2, PROXY, TCP over IPv4, 12 bytes: two addresses and two ports.
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    bytes.extend_from_slice(&[127, 2, 3, 4, 127, 0, 0, 1, 0x15, 0xb3, 0, 80]);
    bytes.extend_from_slice(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let body = scene.talk(PROXIED, &bytes)?;
    ensure!(body.starts_with("HTTP/1.1 200 ") && body.contains("name=web"), "{body}");
    Ok(())
}

fn proxy_missing(scene: &mut Scene) -> Result<()> {
    let answer = scene.talk(PROXIED, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")?;
    ensure!(answer.is_empty(), "{answer}");
    Ok(())
}
