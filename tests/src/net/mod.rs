//! What a namespace is furnished with: links, addresses and routes by netlink, offloads by ioctl, XDP by both.
//!
//! No `ip` and no `ethtool` binary is needed.

mod fou;
pub mod link;
pub mod offload;
pub mod option;
pub mod tap;
pub mod tc;
pub mod tunnel;
pub mod xdp;

use anyhow::{Context, Result};
use rtnetlink::Handle;
use rtnetlink::packet_route::link::LinkMessage;
use tokio::runtime::Builder;

use futures_util::TryStreamExt;

/// Runs `task` with a netlink connection of the calling thread's namespace.
fn netlink<T>(task: impl AsyncFnOnce(Handle) -> Result<T>) -> Result<T> {
    let runtime = Builder::new_current_thread().enable_io().build().context("runtime for netlink")?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().context("netlink socket")?;
        tokio::spawn(connection);
        task(handle).await
    })
}

/// What the kernel says about the link called `name`.
async fn describe(handle: &Handle, name: &str) -> Result<LinkMessage> {
    let mut answers = handle.link().get().match_name(name.to_owned()).execute();
    answers
        .try_next()
        .await
        .with_context(|| format!("link {name}"))?
        .with_context(|| format!("no link {name}"))
}

/// The index of the link called `name`.
async fn index(handle: &Handle, name: &str) -> Result<u32> {
    Ok(describe(handle, name).await?.header.index)
}

/// The index of a link of the calling thread's namespace.
pub(crate) fn link_index(name: &str) -> Result<u32> {
    netlink(async |handle| index(&handle, name).await)
}
