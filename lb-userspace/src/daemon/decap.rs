//! `lb-userspace decap`: the backend's side of direct server return.

use super::Error;
use crate::kernel::{Link, Mode, Program, Programs};
use nix::sys::signal::{SigSet, Signal};

/// Attaches the program to the interfaces and waits for SIGTERM or SIGINT; then detaches it.
pub fn run(interfaces: &[String], mode: Mode, gue_port: u16) -> Result<(), Error> {
    let stop: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    stop.thread_block().map_err(|errno| Error::Signals(errno.into()))?;
    let mut programs = Programs::without_tables(gue_port)?;
    let mut attached = Vec::new();
    for name in interfaces {
        let attachment = programs.attach(Program::Decap, &Link::find(name)?, mode.ladder())?;
        super::announce(&attachment);
        attached.push(attachment);
    }
    tracing::info!(
        gue_port,
        "ready: IP in IP and IP in UDP are unwrapped; the VIPs must be addresses of this host, for example on `lo`"
    );
    stop.wait().map_err(|errno| Error::Signals(errno.into()))?;
    for attachment in attached {
        attachment.detach()?;
    }
    Ok(())
}
