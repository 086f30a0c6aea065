//! The programs for TC: running them once, and holding them on an interface.
//!
//! By a TCX link where the kernel has them (6.6 and later): it goes with the process that holds it. Else by a filter at the
//! `clsact` queueing discipline, which stays when the daemon is killed, and which the next start takes away, whatever its mode.

use super::dump::dump;
use super::object::refused;
use super::programs::LARGEST_TEST_PACKET;
use super::{AttachError, Link, LoadError, Program, Programs, bpf, occupant};
use aya::programs::links::FdLink;
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcError, qdisc_add_clsact, qdisc_detach_program,
};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption};
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

/// A filter's parent: what comes in, at `clsact`.
/// Source: Linux, `include/uapi/linux/pkt_sched.h`, `TC_H_CLSACT` and `TC_H_MIN_INGRESS`.
const INGRESS: TcHandle = TcHandle { major: 0xffff, minor: 0xfff2 };

/// Whether an interface has filters of these names that nobody holds any more. It is not ours to take where a process does.
pub(super) fn has_left(names: &[&str], interface: &Link) -> Result<bool, AttachError> {
    // There are filters of many kinds, and one that cannot be read spoils the list. What is ours is then found by its name.
    let Ok(found) = filters(interface) else { return Ok(true) };
    let ours: Vec<u32> = found.iter().filter_map(|filter| program_of(names, filter)).collect();
    let own = std::process::id();
    let holder = ours.iter().find_map(|program| occupant::find_holder("prog_id", *program));
    match holder.filter(|(process, _)| *process != own) {
        Some((process, name)) => {
            Err(AttachError::Balanced { interface: interface.name.clone(), process, name })
        }
        None => Ok(!ours.is_empty()),
    }
}

/// Takes away the filters of these names, which a killed daemon left.
pub(super) fn remove_left(names: &[&str], interface: &str) -> Result<(), AttachError> {
    for name in names {
        match qdisc_detach_program(interface, TcAttachType::Ingress, name) {
            Ok(()) => tracing::warn!(%interface, "removed the filter `{name}` that a killed daemon had left"),
            Err(TcError::IoError(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(AttachError::Left { interface: interface.to_owned(), source }),
        }
    }
    Ok(())
}

/// The filters on what comes in by an interface.
fn filters(interface: &Link) -> io::Result<Vec<TcMessage>> {
    let mut question = TcMessage::default();
    question.header.index = interface.index.cast_signed();
    question.header.parent = INGRESS;
    let filter = |answer| match answer {
        RouteNetlinkMessage::NewTrafficFilter(filter) => Some(filter),
        _ => None,
    };
    Ok(dump(RouteNetlinkMessage::GetTrafficFilter(question))?.into_iter().filter_map(filter).collect())
}

/// The number of the program that a filter of one of these names runs.
fn program_of(names: &[&str], filter: &TcMessage) -> Option<u32> {
    let options = filter.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    })?;
    let (mut is_ours, mut program) = (false, None);
    for option in options {
        match option {
            TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => is_ours = names.contains(&name.as_str()),
            TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => program = Some(*id),
            _ => {}
        }
    }
    program.filter(|_| is_ours)
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
