//! From the driver down to TC, without a packet that meets neither program.
//!
//! An interface has one XDP program, native or generic, but any number at TC behind it: so what runs at TC can be there before what
//! ran natively stops.

use super::{AttachedMode, Attachment, Held, Step};
use crate::kernel::{AttachError, LoadError, Program, Programs};
use aya::programs::links::FdLink;
use aya::programs::xdp::XdpLink;

/// TC, on any kernel.
const AT_TC: [AttachedMode; 2] = [AttachedMode::Tc, AttachedMode::Clsact];

impl Programs {
    /// Loads a program's counterpart for TC, with all that it leaves packets to.
    pub fn prepare_at_tc(&mut self, program: Program) -> Result<(), LoadError> {
        self.load_classifier(program).map(drop)
    }

    /// Has a program run at TC where it runs natively; `reason` says why. If it cannot at one of the interfaces, none is touched.
    ///
    /// What the native program lets pass meanwhile is judged twice.
    pub fn lower(
        &mut self,
        program: Program,
        attachments: &mut [&mut Attachment],
        reason: &str,
    ) -> Result<(), AttachError> {
        let interfaces = attachments.iter().map(|attachment| &attachment.interface);
        let at_tc: Vec<Attachment> = interfaces
            .map(|interface| self.attach_by_ladder(program, interface, &AT_TC))
            .collect::<Result<_, _>>()?;
        for (attachment, at_tc) in attachments.iter_mut().zip(at_tc) {
            let native = std::mem::replace(*attachment, at_tc);
            attachment.steps.insert(0, Step { mode: native.mode, reason: reason.to_owned() });
            attachment.passing = self.let_pass(native.held);
        }
        Ok(())
    }

    /// Puts in the place of a native program one that lets everything pass, since many a driver begins its queues anew where there is
    /// none any more. What cannot be replaced is detached.
    fn let_pass(&mut self, held: Held) -> Option<FdLink> {
        let Held::Link(link) = held else { return None };
        let pass = self.load(Program::Pass).ok()?;
        let id = pass.attach_to_link(XdpLink::try_from(link).ok()?).ok()?;
        FdLink::try_from(pass.take_link(id).ok()?).ok()
    }
}
