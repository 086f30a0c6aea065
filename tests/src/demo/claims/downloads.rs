//! Content comes through unharmed, many connections at a time.

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use anyhow::{Result, ensure};
use lb_userspace::backend::body_chunk;

use crate::demo::ms;
use crate::demo::page::Page;
use crate::demo::scene::{Scene, WEB};
use crate::traffic::http::Connection;

const CLIENTS: usize = 50;
const BYTES: usize = 256 * 1024;

pub(super) fn arrive_whole(scene: &mut Scene, page: &Page) -> Result<String> {
    page.line(&format!("{CLIENTS} connections open at once, each fetches 256 KiB and compares every byte"));
    let start = Instant::now();
    scene.house.client.run(in_parallel)?;
    Ok(format!("{CLIENTS} of {CLIENTS} whole, in {}", ms(start.elapsed())))
}

fn in_parallel() -> Result<()> {
    let (all_connected, expected) = (&Barrier::new(CLIENTS), &content(BYTES));
    thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| download(all_connected, expected))).collect();
        clients
            .into_iter()
            .try_for_each(|client| client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn download(all_connected: &Barrier, expected: &[u8]) -> Result<()> {
    let connection = Connection::open(WEB.vip);
    // Also after a failure: the others wait for everybody.
    all_connected.wait();
    let reply = connection?.get(&path(expected.len()))?;
    ensure!(reply.body == expected, "{} sent other bytes", reply.head.backend);
    Ok(())
}

/// Where backends serve `bytes` bytes.
pub(super) fn path(bytes: usize) -> String {
    format!("/bytes/{bytes}")
}

/// What they serve there.
pub(super) fn content(bytes: usize) -> Vec<u8> {
    let mut body = vec![0; bytes];
    body_chunk(0, &mut body);
    body
}
