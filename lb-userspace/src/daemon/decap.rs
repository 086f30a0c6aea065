//! `lb-userspace decap`: the backend's side of direct server return.

use super::interfaces::Interfaces;
use super::loader::Loader;
use super::reloads::Reloads;
use super::{Error, Signals, Told, block_on, find_links};
use crate::health::Transport;
use crate::kernel::{Link, Mode, Program, Programs, Resolver};
use tokio::sync::mpsc;

/// Attaches the program to the interfaces, and keeps it there, until SIGTERM or SIGINT; then detaches it.
pub fn run(interfaces: &[String], mode: Mode, gue_port: u16) -> Result<(), Error> {
    block_on(Transport::Epoll, serve(interfaces, mode, gue_port))?
}

async fn serve(interfaces: &[String], mode: Mode, gue_port: u16) -> Result<(), Error> {
    let mut signals = Signals::listen().map_err(Error::Signals)?;
    let links = find_links(interfaces)?;
    // Nobody asks for a reload.
    let (queue, _) = mpsc::unbounded_channel();
    let loader = Loader::new(Programs::without_tables(gue_port)?, queue, Reloads::default());
    let mut attached = Interfaces::new(loader, (Program::Decap, mode), &links);
    let mut network = Resolver::start()?;
    attached.attach()?;
    tracing::info!(
        gue_port,
        "ready: IP in IP and IP in UDP are unwrapped; the VIPs must be addresses of this host, for example on `lo`"
    );
    loop {
        tokio::select! {
            biased;
            told = signals.next() => match told {
                Told::Stop => break,
                // There is nothing to read again.
                Told::Reload | Told::Reopen => {}
            },
            Ok(()) = network.links.changed() => {
                let links: Vec<Link> = network.links.borrow_and_update().values().cloned().collect();
                attached.follow(&links);
            }
        }
    }
    attached.detach()
}
