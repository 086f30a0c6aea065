//! What the kernel's verifier and compiler say of each program.

use anyhow::{Context, Result, bail};
use aya::programs::ProgramError;
use aya::{EbpfLoader, VerifierLogLevel};
use lb_userspace::kernel::{Program, Programs};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use std::fs;
use std::path::Path;

/// The facts of a program.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProgramFacts {
    name: &'static str,
    /// Instructions looked at over all paths.
    pub(crate) verified_instructions: Option<u32>,
    /// Bytes of stack, those of its functions added along the deepest chain of calls.
    pub(crate) stack_depth: u32,
    /// Bytes of machine code.
    pub(crate) jitted_bytes: u32,
}

impl ProgramFacts {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }
}

/// The facts of all programs of the balancer's object.
pub(crate) fn facts(programs: &mut Programs) -> Result<Vec<ProgramFacts>> {
    Program::ALL.into_iter().map(|program| describe(programs, program)).collect()
}

fn describe(programs: &mut Programs, program: Program) -> Result<ProgramFacts> {
    let facts = programs.facts(program)?;
    let log = log(program.name())?;
    let stack_depth = parse_stack_depth(&log).with_context(|| {
        format!("the verifier does not tell the stack depth of {}:\n{log}", program.name())
    })?;
    Ok(ProgramFacts {
        name: facts.name,
        verified_instructions: facts.verified_instructions,
        stack_depth,
        jitted_bytes: facts.jited_bytes,
    })
}

/// The verifier's log of a program that it accepts. `aya` gives the log only of a failure, so the load is made to fail
/// after the verifier's work, at its very last step: there is no descriptor left to give.
fn log(name: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target").join("bpf/lb-ebpf");
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut object = EbpfLoader::new().verifier_log_level(VerifierLogLevel::STATS).load(&bytes)?;
    let program = crate::wrapper::program(&mut object, name)?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard)?;
    let refused = program.load();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
    match refused {
        Err(ProgramError::LoadError { verifier_log, .. }) => Ok(verifier_log.to_string()),
        other => bail!("a load without a descriptor left ended otherwise than refused: {other:?}"),
    }
}

/// The line "stack depth 96+32": one number a function.
fn parse_stack_depth(log: &str) -> Option<u32> {
    let depths = log.lines().find_map(|line| line.strip_prefix("stack depth "))?;
    depths.split_whitespace().next()?.split('+').map(|depth| depth.parse::<u32>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_depths_of_all_functions_are_added() {
        let log = "verification time 12 usec\nstack depth 96+32\nprocessed 77 insns (limit 1000000)\n";
        assert_eq!(parse_stack_depth(log), Some(128));
        assert_eq!(parse_stack_depth("processed 77 insns"), None);
    }
}
