//! The question what is attached to a link at TC.

use std::io;

use anyhow::{Context, Result};
use futures_util::TryStreamExt;

use super::xdp::Attached;
use super::{index, netlink};
use crate::netns::Namespace;

const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_TCX_INGRESS: u32 = 46;

/// The part of `union bpf_attr` for `BPF_PROG_QUERY`. Source: linux/bpf.h.
#[repr(C)]
#[derive(Default)]
struct Query {
    interface: u32,
    attach_type: u32,
    flags: u32,
    attach_flags: u32,
    programs: u64,
    count: u32,
    padding: u32,
    program_flags: u64,
    links: u64,
    link_flags: u64,
    revision: u64,
}

/// How a program is attached to what comes in by `link`, if one is.
pub fn attached(namespace: &Namespace, link: &str) -> Result<Option<Attached>> {
    namespace.run(|| {
        let interface = netlink(async |handle| index(&handle, link).await)?;
        if links(interface).context("asking for TCX links")? > 0 {
            return Ok(Some(Attached::Tc));
        }
        Ok((filters(interface)? > 0).then_some(Attached::Clsact))
    })
}

fn filters(interface: u32) -> Result<usize> {
    netlink(async |handle| {
        let found = handle.traffic_filter(i32::try_from(interface)?).get().ingress().execute();
        // Without a queueing discipline for it there is no ingress to ask for.
        Ok(found.try_collect::<Vec<_>>().await.map_or(0, |filters| filters.len()))
    })
}

#[expect(unsafe_code, reason = "the kernel's interface is a structure read by length")]
fn links(interface: u32) -> io::Result<u32> {
    let mut query = Query { interface, attach_type: BPF_TCX_INGRESS, ..Query::default() };
    // SAFETY: the kernel reads and writes `query`, which outlives the call, and no list is asked for.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut query, size_of::<Query>()) };
    match (answer, io::Error::last_os_error()) {
        (0, _) => Ok(query.count),
        // Linux before 6.6 knows no such links.
        (_, error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(0),
        (_, error) => Err(error),
    }
}
