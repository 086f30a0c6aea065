//! The interfaces the balancer is attached to, kept attached: one that is deleted and made again gets its program back.

use super::level::Attacher;
use super::loader::Loader;
use super::{Error, announce};
use crate::control::{InterfaceStatus, RefusedMode};
use crate::kernel::{self, AttachError, AttachedMode, Attachment, Link, Mode, Program};

/// The interfaces the operator named, in that order.
#[derive(Debug)]
pub(super) struct Interfaces {
    attacher: Attacher,
    ports: Vec<Port>,
}

#[derive(Debug)]
struct Port {
    name: String,
    state: State,
}

#[derive(Debug)]
enum State {
    Attached(Attachment),
    /// Not there, or not willing; with the last reason that was logged, so that each is logged once.
    Absent(Option<String>),
}

/// What a port has to do when the interfaces of the host have changed.
#[derive(Debug, PartialEq, Eq)]
enum Step<'a> {
    Stay,
    Lose,
    Wait,
    Regain(&'a Link),
}

impl Interfaces {
    /// None is attached yet.
    pub(super) fn new(loader: Loader, (program, mode): (Program, Mode), links: &[Link]) -> Self {
        let port = |link: &Link| Port { name: link.name.clone(), state: State::Absent(None) };
        Self { attacher: Attacher::new(loader, program, mode), ports: links.iter().map(port).collect() }
    }

    /// Attaches the balancer to all of them, or says why it cannot be.
    pub(super) fn attach(&mut self) -> Result<(), Error> {
        let links =
            self.ports.iter().map(|port| Link::find(&port.name)).collect::<Result<Vec<_>, AttachError>>()?;
        for (port, attachment) in self.ports.iter_mut().zip(self.attacher.attach_all(&links)?) {
            announce(&attachment);
            port.state = State::Attached(attachment);
        }
        Ok(())
    }

    /// Follows a change of the host's interfaces. One that is gone is waited for.
    pub(super) fn follow(&mut self, links: &[Link]) {
        for port in &mut self.ports {
            match step(&port.name, port.index(), links) {
                Step::Lose => port.lose(),
                Step::Wait => port.state = State::Absent(None),
                Step::Stay | Step::Regain(_) => {}
            }
        }
        for index in 0..self.ports.len() {
            let (before, rest) = self.ports.split_at_mut(index);
            let Some((port, after)) = rest.split_first_mut() else { return };
            if let Step::Regain(link) = step(&port.name, port.index(), links) {
                let mut others: Vec<_> =
                    before.iter_mut().chain(after).filter_map(Port::attachment).collect();
                port.regain(self.attacher.attach_beside(link, &mut others));
            }
        }
    }

    /// Whether one that is back waited for something, and need not any more.
    pub(super) fn can_go_on(&self) -> bool {
        self.attacher.can_go_on()
    }

    /// Those that are native now, by index.
    pub(super) fn native(&self) -> Vec<u32> {
        let is_native = |port: &&Port| port.mode() == Some(AttachedMode::Native);
        self.ports.iter().filter(is_native).filter_map(Port::index).collect()
    }

    /// Whether an interface of this name was named.
    pub(super) fn has(&self, name: &str) -> bool {
        self.ports.iter().any(|port| port.name == name)
    }

    /// The names of those that are back, and whose packets meet no program.
    pub(super) fn bare(&self) -> Vec<String> {
        let is_bare = |port: &&Port| matches!(port.state, State::Absent(Some(_)));
        self.ports.iter().filter(is_bare).map(|port| port.name.clone()).collect()
    }

    /// The names that were given.
    pub(super) fn names(&self) -> Vec<String> {
        self.ports.iter().map(|port| port.name.clone()).collect()
    }

    /// As the status tells it.
    pub(super) fn status(&self) -> Vec<InterfaceStatus> {
        self.ports.iter().map(Port::status).collect()
    }

    /// Detaches from all of them; the first that cannot be detached is the answer, after the others.
    pub(super) fn detach(self) -> Result<(), Error> {
        self.ports.into_iter().map(Port::detach).fold(Ok(()), Result::and)
    }
}

impl Port {
    const fn index(&self) -> Option<u32> {
        match &self.state {
            State::Attached(attachment) => Some(attachment.interface.index),
            State::Absent(_) => None,
        }
    }

    const fn attachment(&mut self) -> Option<&mut Attachment> {
        match &mut self.state {
            State::Attached(attachment) => Some(attachment),
            State::Absent(_) => None,
        }
    }

    const fn mode(&self) -> Option<AttachedMode> {
        match &self.state {
            State::Attached(attachment) => Some(attachment.mode),
            State::Absent(_) => None,
        }
    }

    fn lose(&mut self) {
        let interface = &self.name;
        tracing::error!(%interface, "the interface is gone; its traffic is balanced again when one of that name is back");
        self.state = State::Absent(None);
    }

    fn regain(&mut self, attached: Result<Attachment, String>) {
        match attached {
            Ok(attachment) => {
                announce(&attachment);
                self.state = State::Attached(attachment);
            }
            Err(reason) => self.complain(&reason),
        }
    }

    fn complain(&mut self, reason: &str) {
        let State::Absent(told) = &mut self.state else { return };
        if told.as_deref() != Some(reason) {
            tracing::error!(interface = %self.name, "the interface is back and its traffic is not balanced: {reason}");
            *told = Some(reason.to_owned());
        }
    }

    fn status(&self) -> InterfaceStatus {
        let name = self.name.clone();
        match &self.state {
            State::Attached(Attachment { interface, mode, steps, .. }) => InterfaceStatus {
                name,
                index: interface.index,
                mode: mode.to_string(),
                refused: steps.iter().map(told).collect(),
                unattached: None,
            },
            State::Absent(told) => InterfaceStatus {
                name,
                mode: "absent".into(),
                unattached: told.clone(),
                ..InterfaceStatus::default()
            },
        }
    }

    fn detach(self) -> Result<(), Error> {
        if let State::Attached(attachment) = self.state {
            attachment.detach()?;
            tracing::info!(interface = %self.name, "detached");
        }
        Ok(())
    }
}

fn told(step: &kernel::Step) -> RefusedMode {
    RefusedMode { mode: step.mode.to_string(), reason: step.reason.clone() }
}

/// By index, because a program stays with an interface that is renamed.
fn step<'a>(name: &str, attached_to: Option<u32>, links: &'a [Link]) -> Step<'a> {
    match attached_to {
        Some(index) if links.iter().any(|link| link.index == index) => Step::Stay,
        Some(_) => Step::Lose,
        None => links.iter().find(|link| link.name == name).map_or(Step::Wait, Step::Regain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str) -> Link {
        Link { index, name: name.into(), ..Link::default() }
    }

    #[test]
    fn an_interface_made_again_is_lost_first_and_regained_then() {
        let again = [link(1, "lo"), link(9, "eth0")];
        assert_eq!(step("eth0", Some(2), &again), Step::Lose);
        assert_eq!(step("eth0", None, &again), Step::Regain(&again[1]));
        assert_eq!(step("eth0", Some(9), &again), Step::Stay);
    }

    #[test]
    fn a_renamed_interface_keeps_its_program() {
        assert_eq!(step("eth0", Some(2), &[link(2, "uplink")]), Step::Stay);
    }

    #[test]
    fn an_interface_that_is_not_back_is_waited_for() {
        assert_eq!(step("eth0", None, &[link(1, "lo")]), Step::Wait);
    }
}
