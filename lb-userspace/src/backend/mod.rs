//! A tiny backend for trying things out: it says who it is, over HTTP, TCP and UDP.
//!
//! It exists so that a demo and a test need no other server. It tells which backend answered and which addresses it
//! saw, can be told to fail its health page, and serves bytes whose content a client can check. It is no server for
//! real work: it has no access control and keeps idle connections for as long as the client likes.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | `name=<name> peer=<address> local=<address>` |
//! | `GET /healthz` | 200 `ok`, or 503 `failing` |
//! | `POST /healthz/fail`, `POST /healthz/ok` | make the health page fail, and pass again |
//! | `GET /bytes/N[?rate=R]` | N bytes of [`body_chunk`], at R bytes a second |
//! | `POST /echo` | the request's body |
//!
//! Every HTTP answer carries the name in `x-backend`. The TCP port sends back what it gets; the UDP port answers with
//! the name, a space and the datagram.

mod body;
mod connection;
mod datagram;
mod echo;
mod listen;
mod request;
mod route;
#[cfg(test)]
mod tests;
mod throttle;

use std::io::Write;
use std::net::SocketAddr;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use body::body_chunk;
pub use listen::Backend;

/// Arguments of `backend`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The name it gives in every answer
    #[arg(long, value_parser = parse_name)]
    pub name: String,
    /// Serve HTTP on this address and port; may be given several times
    #[arg(long, value_name = "ADDR:PORT")]
    pub http: Vec<SocketAddr>,
    /// Echo TCP on this address and port; may be given several times
    #[arg(long, value_name = "ADDR:PORT")]
    pub tcp: Vec<SocketAddr>,
    /// Answer UDP on this address and port; may be given several times. Where the host has several addresses, name
    /// one: an answer from the any-address leaves by whichever the route picks
    #[arg(long, value_name = "ADDR:PORT")]
    pub udp: Vec<SocketAddr>,
}

/// Why a backend could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator named no address.
    #[error("nothing to serve: give at least one of --http, --tcp and --udp")]
    NothingToServe,
    /// An address could not be had.
    #[error("cannot listen for {protocol} on {address}")]
    Listen {
        /// `http`, `tcp` or `udp`.
        protocol: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The runtime or its signal handlers could not be set up.
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
}

/// The name goes into a header and into lines split at spaces.
fn parse_name(name: &str) -> Result<String, String> {
    let fits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        Ok(name.to_owned())
    } else {
        Err("a name is made of visible ASCII characters, without spaces".into())
    }
}

/// Serves until SIGTERM or SIGINT, on a runtime of its own. Prints a line for every address once all are bound.
pub fn run(options: Options) -> Result<(), Error> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    runtime.block_on(serve_until_told(options))
}

/// Signals are listened for before the lines are printed: whoever waits for them may send one at once.
async fn serve_until_told(options: Options) -> Result<(), Error> {
    let mut terminate = listen_for(SignalKind::terminate())?;
    let mut interrupt = listen_for(SignalKind::interrupt())?;
    let backend = Backend::bind(options)?;
    announce(&backend);
    tokio::select! {
        () = backend.serve() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn listen_for(kind: SignalKind) -> Result<Signal, Error> {
    signal(kind).map_err(Error::Runtime)
}

/// A closed standard output is no reason to stop serving.
fn announce(backend: &Backend) {
    let mut out = std::io::stdout().lock();
    for (protocol, address) in backend.addresses() {
        let _ = writeln!(out, "backend {}: {protocol} on {address}", backend.name());
    }
    let _ = out.flush();
}
