//! Attaching programs to interfaces: natively where the driver can, generically else, at TC where neither goes.
//!
//! By a link wherever the kernel has them (5.9 and later for XDP, 6.6 for TC): a link goes with the process that holds it,
//! so that a dead daemon leaves nothing behind.

mod lower;

use super::occupant::Occupant;
use super::{AttachError, Link, Program, Programs, classifier, remedy};
use aya::programs::links::{FdLink, Link as _};
use aya::programs::tc::{SchedClassifierLink, TcError};
use aya::programs::xdp::{XdpError, XdpLink};
use aya::programs::{ProgramError, Xdp, XdpMode};
use aya::util::KernelVersion;
use std::{fmt, io};

/// Where a program may run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// In the driver if it can, else generically, else at TC.
    #[default]
    Auto,
    /// In the driver, before the kernel makes a packet buffer: several times faster.
    Native,
    /// After the kernel made a packet buffer: works on every interface.
    Generic,
    /// At TC, after the kernel put packets of a connection together.
    Tc,
    /// At TC by a filter instead of a link, as on kernels before 6.6.
    Clsact,
}

impl Mode {
    /// Whether it is TC and nothing else.
    #[must_use]
    pub const fn is_tc(self) -> bool {
        matches!(self, Self::Tc | Self::Clsact)
    }

    /// What is tried, in this order.
    #[must_use]
    pub const fn ladder(self) -> &'static [AttachedMode] {
        use AttachedMode::{Clsact, Generic, Native, Tc};
        match self {
            Self::Auto => &[Native, Generic, Tc, Clsact],
            Self::Native => &[Native],
            Self::Generic => &[Generic],
            Self::Tc => &[Tc, Clsact],
            Self::Clsact => &[Clsact],
        }
    }
}

/// Where a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachedMode {
    /// In the driver.
    Native,
    /// After the kernel made a packet buffer.
    Generic,
    /// At TC, held by a link.
    Tc,
    /// At TC, held by a filter.
    Clsact,
}

impl AttachedMode {
    /// Its word in status output and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tc => "tc",
            Self::Clsact => "clsact",
        }
    }

    /// Whether there is but one place, which somebody else's program may have.
    const fn is_xdp(self) -> bool {
        matches!(self, Self::Native | Self::Generic)
    }
}

impl fmt::Display for AttachedMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A mode that was tried, and why it was not to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The mode.
    pub mode: AttachedMode,
    /// Why the kernel refused, and what would mend it.
    pub reason: String,
}

/// A program on an interface. Dropping it detaches the program.
#[derive(Debug)]
pub struct Attachment {
    /// The interface.
    pub interface: Link,
    /// Where the program runs.
    pub mode: AttachedMode,
    /// The modes that were tried before.
    pub steps: Vec<Step>,
    /// What the operator should know, if anything.
    pub warning: Option<&'static str>,
    held: Held,
    /// What lets everything pass natively, where the program was native before.
    passing: Option<FdLink>,
}

/// What keeps the program attached.
#[derive(Debug)]
enum Held {
    /// A link, which the kernel takes away with the process.
    Link(FdLink),
    /// The interface itself, on kernels without links; only we can take it away.
    Interface(XdpLink),
    /// A filter; the same.
    Filter(SchedClassifierLink),
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
            Held::Filter(link) => link.detach(),
        };
        drop(self.passing);
        result.map_err(|error| explain(&self.interface, self.mode, error))
    }

    /// Whether the program goes with the process even if the process is killed.
    #[must_use]
    pub const fn is_held_by_link(&self) -> bool {
        matches!(self.held, Held::Link(_))
    }
}

impl Programs {
    /// Attaches a program to an interface, in the first mode of the ladder that the kernel grants. What a killed daemon left
    /// there goes.
    pub fn attach(
        &mut self,
        program: Program,
        interface: &Link,
        ladder: &[AttachedMode],
    ) -> Result<Attachment, AttachError> {
        interface.require_frames()?;
        let has_left = classifier::has_left(program.tc_names(), interface)?;
        let attached = self.attach_by_ladder(program, interface, ladder)?;
        // Packets that this program lets pass would meet the other. In that mode it was replaced already.
        if has_left && attached.mode != AttachedMode::Clsact {
            classifier::remove_left(program.tc_names(), &interface.name)?;
        }
        Ok(attached)
    }

    fn attach_by_ladder(
        &mut self,
        program: Program,
        interface: &Link,
        ladder: &[AttachedMode],
    ) -> Result<Attachment, AttachError> {
        let mut steps = Vec::new();
        let (last, before) = ladder.split_last().unwrap_or((&AttachedMode::Clsact, &[]));
        for mode in before {
            match self.attach_in(program, interface, *mode) {
                Err(AttachError::Refused { mode, reason, source, .. }) => {
                    steps.push(Step { mode, reason: format!("{reason} ({source})") });
                }
                attached => return attached.map(|attached| Attachment { steps, ..attached }),
            }
        }
        self.attach_in(program, interface, *last).map(|attached| Attachment { steps, ..attached })
    }

    /// Attaches a program in this very mode.
    fn attach_in(
        &mut self,
        program: Program,
        interface: &Link,
        mode: AttachedMode,
    ) -> Result<Attachment, AttachError> {
        let held = match mode {
            AttachedMode::Native => hold(self.load(program)?, interface, XdpMode::Driver),
            AttachedMode::Generic => hold(self.load(program)?, interface, XdpMode::Skb),
            AttachedMode::Tc => {
                classifier::hold_by_link(self.load_classifier(program)?, &interface.name).map(Held::Link)
            }
            AttachedMode::Clsact => {
                let loaded = self.load_classifier(program)?;
                classifier::hold_by_filter(loaded, program.tc_names(), &interface.name).map(Held::Filter)
            }
        };
        let held = held.map_err(|error| explain(interface, mode, error))?;
        let needs_far_end = program.sends() && interface.is_veth && mode == AttachedMode::Native;
        let warning = needs_far_end.then_some(VETH_WARNING);
        Ok(Attachment { interface: interface.clone(), mode, steps: Vec::new(), warning, held, passing: None })
    }
}

fn hold(program: &mut Xdp, interface: &Link, mode: XdpMode) -> Result<Held, ProgramError> {
    let id = program.attach_to_if_index(interface.index, mode)?;
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
        Some(libc::EBUSY | libc::EEXIST) if mode.is_xdp() => occupied(interface),
        errno => AttachError::Refused {
            interface: interface.name.clone(),
            mode,
            reason: remedy::describe(interface, mode, errno, said),
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
        ProgramError::TcError(TcError::NetlinkError(error)) => {
            let source = error
                .raw_os_error()
                .map_or_else(|| io::Error::other("netlink"), io::Error::from_raw_os_error);
            (source, Some(error.to_string()))
        }
        error => (io::Error::other(error), None),
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
        assert!(refused(libc::EPERM, AttachedMode::Generic).contains("CAP_NET_ADMIN"));
    }

    #[test]
    fn a_taken_interface_is_no_refusal_to_fall_back_from() {
        assert!(refused(libc::EBUSY, AttachedMode::Native).contains("already runs an XDP program"));
        assert!(refused(libc::EEXIST, AttachedMode::Native).contains("already runs an XDP program"));
    }
    #[test]
    fn the_ladder_goes_down_to_what_every_kernel_has() {
        assert_eq!(Mode::Auto.ladder().first(), Some(&AttachedMode::Native));
        assert_eq!(Mode::Auto.ladder().last(), Some(&AttachedMode::Clsact));
        assert_eq!(Mode::Generic.ladder(), [AttachedMode::Generic]);
    }

    #[test]
    fn another_program_at_tc_is_a_neighbour_and_no_occupant() {
        assert!(refused(libc::EEXIST, AttachedMode::Clsact).contains("`eth0` in clsact mode"));
    }
}
