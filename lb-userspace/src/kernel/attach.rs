//! Attaching programs to interfaces, natively where the driver can, generically else.
//!
//! By a link wherever the kernel has them (5.9 and later): a link goes with the process that holds it, so that a dead
//! daemon leaves nothing behind.

use super::occupant::Occupant;
use super::{AttachError, Link, Program, Programs};
use aya::programs::links::{FdLink, Link as _};
use aya::programs::xdp::{XdpError, XdpLink};
use aya::programs::{ProgramError, Xdp, XdpMode};
use aya::util::KernelVersion;
use std::{fmt, io};

/// Where a program may run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// In the driver if it can, else generically.
    #[default]
    Auto,
    /// In the driver, before the kernel makes a packet buffer: several times faster.
    Native,
    /// After the kernel made a packet buffer: works on every interface.
    Generic,
}

/// Where a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachedMode {
    /// In the driver.
    Native,
    /// After the kernel made a packet buffer.
    Generic,
}

impl AttachedMode {
    /// Its word in status output and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    const fn flag(self) -> XdpMode {
        match self {
            Self::Native => XdpMode::Driver,
            Self::Generic => XdpMode::Skb,
        }
    }
}

impl fmt::Display for AttachedMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A program on an interface. Dropping it detaches the program.
#[derive(Debug)]
pub struct Attachment {
    /// The interface.
    pub interface: Link,
    /// Where the program runs.
    pub mode: AttachedMode,
    /// Why it does not run natively, where that was tried first.
    pub fallback: Option<String>,
    /// What the operator should know, if anything.
    pub warning: Option<&'static str>,
    held: Held,
}

/// What keeps the program attached.
#[derive(Debug)]
enum Held {
    /// A link, which the kernel takes away with the process.
    Link(FdLink),
    /// The interface itself, on kernels without links; only we can take it away.
    Interface(XdpLink),
}

/// Said when a veth is used natively, because frames are then lost without any error being counted.
const VETH_WARNING: &str = "native XDP on a veth hands frames to the other end only if that end has an XDP program \
    or GRO on (`ethtool -K PEER gro on`), and needs checksum offload off on the end hosts (`ethtool -K DEV tx off`); \
    without control of the other end, use --mode generic";

impl Attachment {
    /// Detaches the program now.
    pub fn detach(self) -> Result<(), AttachError> {
        let result = match self.held {
            Held::Link(link) => link.detach(),
            Held::Interface(link) => link.detach(),
        };
        result.map_err(|error| explain(&self.interface, self.mode, error))
    }

    /// Whether the program goes with the process even if the process is killed.
    #[must_use]
    pub const fn is_held_by_link(&self) -> bool {
        matches!(self.held, Held::Link(_))
    }
}

impl Programs {
    /// Attaches a program to an interface.
    pub fn attach(
        &mut self,
        program: Program,
        interface: &Link,
        mode: Mode,
    ) -> Result<Attachment, AttachError> {
        let loaded = self.load(program)?;
        let attached = match mode {
            Mode::Native => attach(loaded, interface, AttachedMode::Native),
            Mode::Generic => attach(loaded, interface, AttachedMode::Generic),
            Mode::Auto => attach_somehow(loaded, interface),
        }?;
        let sends = matches!(program, Program::Balance | Program::Guard);
        let needs_far_end = sends && interface.is_veth && attached.mode == AttachedMode::Native;
        Ok(Attachment { warning: needs_far_end.then_some(VETH_WARNING), ..attached })
    }
}

/// Native, else generic; but an interface that is taken is taken in either mode.
fn attach_somehow(program: &mut Xdp, interface: &Link) -> Result<Attachment, AttachError> {
    match attach(program, interface, AttachedMode::Native) {
        Err(AttachError::Refused { reason, source, .. }) => {
            let attachment = attach(program, interface, AttachedMode::Generic)?;
            Ok(Attachment { fallback: Some(format!("{reason} ({source})")), ..attachment })
        }
        attached => attached,
    }
}

fn attach(program: &mut Xdp, interface: &Link, mode: AttachedMode) -> Result<Attachment, AttachError> {
    let held = hold(program, interface, mode).map_err(|error| explain(interface, mode, error))?;
    Ok(Attachment { interface: interface.clone(), mode, fallback: None, warning: None, held })
}

fn hold(program: &mut Xdp, interface: &Link, mode: AttachedMode) -> Result<Held, ProgramError> {
    let id = program.attach_to_if_index(interface.index, mode.flag())?;
    let link = program.take_link(id)?;
    // aya falls back to netlink where the kernel has no links; which it was shows only in the conversion, which
    // consumes the link.
    if has_xdp_links() {
        let link = FdLink::try_from(link).map_err(|error| ProgramError::IOError(io::Error::other(error)))?;
        return Ok(Held::Link(link));
    }
    Ok(Held::Interface(link))
}

fn explain(interface: &Link, mode: AttachedMode, error: ProgramError) -> AttachError {
    let (source, said) = take_apart(error);
    match source.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => occupied(interface),
        errno => AttachError::Refused {
            interface: interface.name.clone(),
            mode,
            reason: said.unwrap_or_else(|| describe_errno(interface, mode, errno)),
            source,
        },
    }
}

/// The program may have come after the interface was looked at, so look again.
fn occupied(interface: &Link) -> AttachError {
    let program = Link::find(&interface.name).map_or(interface.xdp_program, |link| link.xdp_program);
    AttachError::Occupied {
        interface: interface.name.clone(),
        occupant: Occupant::find(&interface.name, program),
    }
}

/// The errno, and what the kernel said in words, which only netlink carries.
fn take_apart(error: ProgramError) -> (io::Error, Option<String>) {
    match error {
        ProgramError::SyscallError(error) => (error.io_error, None),
        ProgramError::XdpError(XdpError::NetlinkError(error)) => {
            let source = error
                .raw_os_error()
                .map_or_else(|| io::Error::other("netlink"), io::Error::from_raw_os_error);
            (source, Some(error.to_string()))
        }
        error => (io::Error::other(error), None),
    }
}

/// What an errno of an attachment means, and what to try.
fn describe_errno(interface: &Link, mode: AttachedMode, errno: Option<i32>) -> String {
    match (errno, mode) {
        (Some(libc::EPERM), _) => "not permitted; run as root or grant CAP_NET_ADMIN and CAP_BPF".into(),
        (Some(libc::ENODEV), _) => "the interface is gone".into(),
        (Some(libc::EOPNOTSUPP), AttachedMode::Native) => {
            "its driver has no native XDP; use --mode auto or generic".into()
        }
        (Some(libc::ERANGE | libc::EINVAL), AttachedMode::Native) => format!(
            "its driver does not take XDP with its settings, often for an MTU (now {}) beyond one buffer; lower the \
             MTU (on a veth, also the other end's), or use --mode generic",
            interface.mtu
        ),
        (Some(libc::ENOMEM | libc::ENOSPC), AttachedMode::Native) => {
            "its driver lacks memory or queues for XDP; lower the number of channels (`ethtool -L`), or use \
             --mode generic"
                .into()
        }
        _ => "the kernel gave no reason; `dmesg` may".into(),
    }
}

/// Links for XDP came with Linux 5.9.
fn has_xdp_links() -> bool {
    KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(5, 9, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        Link { name: "eth0".into(), mtu: 9000, ..Link::default() }
    }

    fn refused(errno: i32, mode: AttachedMode) -> String {
        let error =
            aya::sys::SyscallError { call: "bpf_link_create", io_error: io::Error::from_raw_os_error(errno) };
        explain(&link(), mode, ProgramError::SyscallError(error)).to_string()
    }

    #[test]
    fn a_refusal_names_interface_mode_and_what_to_try() {
        let said = refused(libc::EOPNOTSUPP, AttachedMode::Native);
        assert!(said.contains("`eth0` in native mode") && said.contains("--mode auto"), "{said}");
        assert!(refused(libc::ERANGE, AttachedMode::Native).contains("9000"));
        assert!(refused(libc::EPERM, AttachedMode::Generic).contains("CAP_NET_ADMIN"));
    }

    #[test]
    fn a_taken_interface_is_no_refusal_to_fall_back_from() {
        assert!(refused(libc::EBUSY, AttachedMode::Native).contains("already runs an XDP program"));
        assert!(refused(libc::EEXIST, AttachedMode::Native).contains("already runs an XDP program"));
    }
}
