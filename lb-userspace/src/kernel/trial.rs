//! Running loaded programs over packets again and again, once a call, to measure them.

use super::bpf::{self, Ran};
use super::object::refused;
use super::{LoadError, Program, Programs};
use aya::programs::ProgramFd;
use std::io;
use std::os::fd::AsFd as _;

/// A loaded program to be run over packets.
#[derive(Debug)]
pub struct Trial(ProgramFd);

impl Trial {
    /// Of an XDP or a TC program.
    #[must_use]
    pub const fn new(program: ProgramFd) -> Self {
        Self(program)
    }

    /// Runs it once; the packet's bytes afterwards are put into `output`.
    pub fn run(&self, packet: &[u8], output: &mut [u8]) -> io::Result<Ran> {
        bpf::run_once(self.0.as_fd(), packet, output, false)
    }
}

impl Programs {
    /// An XDP program to be run.
    pub fn trial(&mut self, program: Program) -> Result<Trial, LoadError> {
        self.handle(program).map(Trial::new)
    }

    /// Its counterpart for TC, with all that it leaves packets to.
    pub fn trial_at_tc(&mut self, program: Program) -> Result<Trial, LoadError> {
        let handle = self.load_classifier(program)?.fd().and_then(|fd| Ok(fd.try_clone()?));
        handle.map(Trial::new).map_err(|error| refused("name a program", error))
    }
}
