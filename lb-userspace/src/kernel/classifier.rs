//! The programs for TC: running them once, and holding them on an interface.
//!
//! By a TCX link where the kernel has them (6.6 and later): it goes with the process that holds it. Else by a filter at the
//! `clsact` queueing discipline, which stays when the daemon is killed and is replaced at the next start.

use super::object::refused;
use super::programs::LARGEST_TEST_PACKET;
use super::{LoadError, Program, Programs, bpf};
use aya::programs::links::FdLink;
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcError, qdisc_add_clsact, qdisc_detach_program,
};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType};
use std::io;
use std::os::fd::AsFd as _;

/// Where the filter stands among others: the first that `tc` gives out to those that ask for none, so that an operator can
/// place filters before it.
const PRIORITY: u16 = 49_152;

impl Programs {
    /// Runs a program's counterpart for TC once over a packet; gives its result and the packet afterwards. With `is_summed`
    /// the kernel knows the sum over all bytes, and fails the run with `EBADMSG` if that is wrong afterwards.
    pub fn run_classifier(
        &mut self,
        program: Program,
        packet: &[u8],
        is_summed: bool,
    ) -> Result<(u32, Vec<u8>), LoadError> {
        let loaded = self.load_classifier(program)?;
        let descriptor = loaded.fd().map_err(|error| refused("name a program", error))?.as_fd();
        let mut output = vec![0; LARGEST_TEST_PACKET];
        let ran = bpf::run_once(descriptor, packet, &mut output, is_summed)
            .map_err(|error| refused("run a program once", error))?;
        output.truncate(ran.length);
        Ok((ran.code, output))
    }
}

/// Attaches to what comes in by an interface, by a link.
pub(super) fn hold_by_link(program: &mut SchedClassifier, interface: &str) -> Result<FdLink, ProgramError> {
    let order = TcAttachOptions::TcxOrder(LinkOrder::default());
    let id = program.attach_with_options(interface, TcAttachType::Ingress, order)?;
    let link = program.take_link(id)?;
    FdLink::try_from(link).map_err(|error| ProgramError::IOError(io::Error::other(error)))
}

/// The same by a filter, in the place of one that a killed daemon left.
pub(super) fn hold_by_filter(
    program: &mut SchedClassifier,
    names: &[&str],
    interface: &str,
) -> Result<SchedClassifierLink, ProgramError> {
    match qdisc_add_clsact(interface) {
        // It is there; whoever put it there, filters of several masters live in it.
        Ok(()) | Err(TcError::AlreadyAttached) => {}
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => {}
        Err(error) => return Err(error.into()),
    }
    for name in names {
        // Nothing was left, as a rule.
        let _ = qdisc_detach_program(interface, TcAttachType::Ingress, name);
    }
    let options = NlOptions { priority: PRIORITY, ..NlOptions::default() };
    let id =
        program.attach_with_options(interface, TcAttachType::Ingress, TcAttachOptions::Netlink(options))?;
    program.take_link(id)
}
