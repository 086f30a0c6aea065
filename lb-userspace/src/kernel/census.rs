//! Every program of the object, loaded for no other reason than to hear what this kernel's verifier says of it.
//!
//! The daemon loads what it attaches and stops at the first refusal; here all are tried, so that one look at a kernel
//! tells everything that is wrong there.

use super::object::open;
use super::programs::{explain_program, load_uninterrupted};
use super::{LoadError, Settings};
use aya::programs::{Program, ProgramError};
use std::time::{Duration, Instant};

/// What the kernel says of a program.
#[derive(Debug)]
pub struct Verified {
    /// The program's name in the object.
    pub name: String,
    /// Instructions the verifier looked at, over all paths, where the kernel tells; else why it was refused.
    pub verdict: Result<Option<u32>, LoadError>,
    /// How long the kernel took for it, compiling included.
    pub took: Duration,
}

/// Loads every program of the object, without tables to speak of, in the order of their names.
pub fn verify_all(settings: &Settings) -> Result<Vec<Verified>, LoadError> {
    let mut object = open(settings, 1, Some(1))?;
    let mut verified: Vec<_> = object.programs_mut().map(|(name, program)| verify(name, program)).collect();
    verified.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(verified)
}

fn verify(name: &str, program: &mut Program) -> Verified {
    let start = Instant::now();
    let loaded = load_uninterrupted(|| load(program));
    let took = start.elapsed();
    let told = loaded.and_then(|()| Ok(program.info()?.verified_instruction_count()));
    Verified { name: name.to_owned(), verdict: told.map_err(|error| explain_program(name, error)), took }
}

/// A kind that is not among these is one that the daemon could not load either.
fn load(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        Program::SkLookup(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}
