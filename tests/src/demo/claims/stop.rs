//! The daemon goes without a trace.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::demo::ms;
use crate::demo::page::Page;
use crate::demo::scene::Scene;
use crate::net::xdp;

/// Shows the status, as this is the last moment for it, and ends the daemon.
pub(super) fn sigterm_detaches(scene: &mut Scene, page: &Page) -> Result<String> {
    page.line("but first, what `lb-userspace status` says now:");
    page.quote(&scene.command(&["status"])?);
    let start = Instant::now();
    scene.take_daemon()?.stop()?;
    let took = start.elapsed();
    for link in &scene.house.interfaces {
        let left = xdp::attached(&scene.house.balancer, link)?;
        ensure!(left.is_none(), "{link} still has a program");
    }
    Ok(format!("exit code 0 after {}, {} interfaces are free", ms(took), scene.house.interfaces.len()))
}
