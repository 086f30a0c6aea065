//! The pass program that peers of a veth need, and the question what is attached to a link.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rtnetlink::LinkUnspec;
use rtnetlink::packet_route::link::{LinkAttribute, LinkXdp};

use super::{describe, link_index, netlink, tc};
use crate::netns::Namespace;

/// `r0 = XDP_PASS; exit`, in the encoding of linux/bpf.h.
const PASS: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
/// `r0 = XDP_DROP; exit`.
const DROP: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 1, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
/// `if a frame's type is IPv4 { XDP_DROP } else { XDP_PASS }`.
const DROP_IPV4: [[u8; 8]; 9] = [
    [0x61, 0x12, 0, 0, 0, 0, 0, 0],  // r2 = packet
    [0x61, 0x13, 4, 0, 0, 0, 0, 0],  // r3 = its end
    [0xb7, 0, 0, 0, 2, 0, 0, 0],     // r0 = XDP_PASS
    [0xbf, 0x24, 0, 0, 0, 0, 0, 0],  // r4 = r2
    [0x07, 4, 0, 0, 14, 0, 0, 0],    // r4 += 14
    [0x2d, 0x34, 3, 0, 0, 0, 0, 0],  // if r4 > r3 goto exit
    [0x69, 0x24, 12, 0, 0, 0, 0, 0], // r4 = the type
    [0x55, 4, 1, 0, 0x08, 0, 0, 0],  // if r4 != IPv4, as it lies in memory, goto exit
    [0xb7, 0, 0, 0, 1, 0, 0, 0],     // r0 = XDP_DROP
];
const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_TYPE_XDP: u32 = 6;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// How a program is attached to a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attached {
    /// In the driver.
    Native,
    /// In the stack, on socket buffers.
    Generic,
    /// At TC, by a link.
    Tc,
    /// At TC, by a filter.
    Clsact,
}

impl Attached {
    /// The word for it in the status.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tc => "tc",
            Self::Clsact => "clsact",
        }
    }
}

/// Attaches a program that passes everything, natively, until the link goes.
///
/// A veth sends `XDP_TX` and redirected frames only to a peer that has a program of its own; else they are lost silently.
pub fn attach_pass(namespace: &Namespace, link: &str) -> Result<()> {
    let program = load(&PASS).context("loading the pass program")?;
    replace(namespace, link, program.as_raw_fd())
}

/// Attaches a program that drops everything, natively, until the link goes.
pub fn attach_drop(namespace: &Namespace, link: &str) -> Result<()> {
    let program = load(&DROP).context("loading the drop program")?;
    replace(namespace, link, program.as_raw_fd())
}

/// Attaches a program that drops IPv4 and passes all else, so that the link can still be found, natively, until the link goes.
pub fn attach_drop_ipv4(namespace: &Namespace, link: &str) -> Result<()> {
    let program = load(&[&DROP_IPV4[..], &[EXIT]].concat()).context("loading the drop program")?;
    replace(namespace, link, program.as_raw_fd())
}

/// Attaches a program that sends everything out by another link, natively, until the link goes.
pub fn attach_redirect(namespace: &Namespace, link: &str, to: &str) -> Result<()> {
    let [a, b, c, d] = namespace.run(|| link_index(to))?.to_le_bytes();
    // `r1 = link; r2 = 0; r0 = bpf_redirect(r1, r2); exit`.
    let code = [[0xb7, 1, 0, 0, a, b, c, d], [0xb7, 2, 0, 0, 0, 0, 0, 0], [0x85, 0, 0, 0, 23, 0, 0, 0], EXIT];
    let program = load(&code).context("loading the redirect program")?;
    replace(namespace, link, program.as_raw_fd())
}

/// Takes the pass program away, to make room for another.
pub fn detach_pass(namespace: &Namespace, link: &str) -> Result<()> {
    replace(namespace, link, -1)
}

/// Attaches the program behind `descriptor`, or none for -1.
fn replace(namespace: &Namespace, link: &str, descriptor: RawFd) -> Result<()> {
    let xdp = LinkAttribute::Xdp(vec![LinkXdp::Fd(descriptor), LinkXdp::Flags(XDP_FLAGS_DRV_MODE)]);
    let change = LinkUnspec::new_with_name(link).append_extra_attribute(xdp).build();
    namespace
        .run(|| netlink(async |handle| Ok(handle.link().set(change).execute().await?)))
        .with_context(|| format!("pass program on {link} in {}", namespace.name()))
}

/// How a program is attached to `link`, if one is, for XDP or at TC.
pub fn attached(namespace: &Namespace, link: &str) -> Result<Option<Attached>> {
    match attached_for_xdp(namespace, link)? {
        Some(attached) => Ok(Some(attached)),
        None => tc::attached(namespace, link),
    }
}

fn attached_for_xdp(namespace: &Namespace, link: &str) -> Result<Option<Attached>> {
    let message = namespace.run(|| netlink(async |handle| describe(&handle, link).await))?;
    let xdp = message.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::Xdp(facts) => Some(facts),
        _ => None,
    });
    Ok(xdp.unwrap_or_default().iter().find_map(mode))
}

fn mode(fact: &LinkXdp) -> Option<Attached> {
    match fact {
        LinkXdp::DrvProgId(_) => Some(Attached::Native),
        LinkXdp::SkbProgId(_) => Some(Attached::Generic),
        _ => None,
    }
}

/// The first fields of `union bpf_attr` for `BPF_PROG_LOAD`; the kernel takes the rest as zero.
#[repr(C)]
struct Load {
    kind: u32,
    instructions: u32,
    code: u64,
    licence: u64,
}

/// Attempts at a load: the verifier breaks one off with EAGAIN when a signal waits for the thread.
const LOAD_ATTEMPTS: usize = 10;

/// Loads a program for XDP, in the encoding of linux/bpf.h.
pub(crate) fn load(code: &[[u8; 8]]) -> io::Result<OwnedFd> {
    for _ in 1..LOAD_ATTEMPTS {
        match try_to_load(code) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(1));
            }
            result => return result,
        }
    }
    try_to_load(code)
}

#[expect(unsafe_code, reason = "a few instructions do not earn an ELF object, and aya loads nothing else")]
fn try_to_load(code: &[[u8; 8]]) -> io::Result<OwnedFd> {
    let load = Load {
        kind: BPF_PROG_TYPE_XDP,
        instructions: u32::try_from(code.len()).map_err(io::Error::other)?,
        code: code.as_ptr().addr() as u64,
        licence: c"GPL".as_ptr().addr() as u64,
    };
    // SAFETY: the kernel reads `load` and what it points to; all outlive the call.
    let program = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const load, size_of::<Load>()) };
    if program < 0 {
        return Err(io::Error::last_os_error());
    }
    let descriptor = libc::c_int::try_from(program).map_err(io::Error::other)?;
    // SAFETY: the kernel just gave us this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
