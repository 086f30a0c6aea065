//! The programs for TC: loading them when they are first wanted, running them once, and holding them on an interface.
//!
//! By a TCX link where the kernel has them (6.6 and later): it goes with the process that holds it. Else by a filter at the
//! `clsact` queueing discipline, which stays when the daemon is killed and is replaced at the next start.

use super::object::{explain_program, load_uninterrupted, refused};
use super::{LoadError, Program, Programs, bpf};
use aya::programs::links::FdLink;
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcError, qdisc_add_clsact, qdisc_detach_program,
};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType};
use lb_common::abi::Stage;
use std::io;
use std::os::fd::AsFd as _;

/// Room for a packet after a test run.
const LARGEST_TEST_PACKET: usize = 4096;
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
        let (result, length) = bpf::run_classifier(descriptor, packet, &mut output, is_summed)
            .map_err(|error| refused("run a program once", error))?;
        output.truncate(length);
        Ok((result, output))
    }

    /// Loads a program's counterpart for TC, and with the balancer or the guard all that they leave packets to.
    pub(super) fn load_classifier(&mut self, program: Program) -> Result<&mut SchedClassifier, LoadError> {
        if matches!(program, Program::Balance | Program::Guard) {
            Stage::ALL.into_iter().try_for_each(|stage| self.load_stage(stage))?;
        }
        if program == Program::Guard {
            Stage::GUARDED.into_iter().try_for_each(|stage| self.load_stage(stage))?;
        }
        self.load_one(program)
    }

    fn load_stage(&mut self, stage: Stage) -> Result<(), LoadError> {
        let loaded = self.load_one(Program::Stage(stage))?.fd();
        let handle = loaded.and_then(|fd| Ok(fd.try_clone()?));
        self.put_stage("TC_STAGES", stage, &handle.map_err(|error| refused("name a program", error))?)
    }

    fn load_one(&mut self, program: Program) -> Result<&mut SchedClassifier, LoadError> {
        let missing = || LoadError::Incomplete { what: "TC program for", name: program.name() };
        let name = program.tc_name().ok_or_else(missing)?;
        let found = self.object().program_mut(name).ok_or_else(missing)?;
        let found: &mut SchedClassifier = found.try_into().map_err(|_| missing())?;
        match load_uninterrupted(|| found.load()) {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(found),
            Err(error) => Err(explain_program(name, error)),
        }
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
