//! The object's programs: loaded when they are first wanted, and put where others leave packets to them.

use super::error::parse_verifier_log;
use super::facts::Facts;
use super::object::{open, refused};
use super::{LoadError, Program, Settings, cookies, error, rights};
use aya::Ebpf;
use aya::maps::ProgramArray;
use aya::programs::{self, ProgramError, ProgramFd, SchedClassifier, TestRun as _, TestRunOptions, Xdp};
use lb_common::abi::{Stage, StageSet};
use std::io;

/// Room for the packet of a test run, before and after: the largest frame without jumbo frames, with room to grow.
pub(super) const LARGEST_TEST_PACKET: usize = 4096;

/// The object's programs. Each is loaded when it is first wanted.
#[derive(Debug)]
pub struct Programs {
    object: Ebpf,
    /// What balancer and guard leave packets to.
    stages: StageSet,
    /// Those of them that are in their places, by [`Hook`].
    placed: [StageSet; 2],
}

/// Where a program is attached; each place has programs of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    Xdp = 0,
    Tc = 1,
}

impl Hook {
    const ALL: [Self; 2] = [Self::Xdp, Self::Tc];

    /// The map by which its programs leave packets to others.
    const fn map(self) -> &'static str {
        match self {
            Self::Xdp => "STAGES",
            Self::Tc => "TC_STAGES",
        }
    }

    /// The name of a program there.
    fn program(self, program: Program) -> Result<&'static str, LoadError> {
        match self {
            Self::Xdp => Ok(program.name()),
            Self::Tc => {
                let missing = LoadError::Incomplete { what: "TC program for", name: program.name() };
                program.tc_name().ok_or(missing)
            }
        }
    }
}

impl Programs {
    /// None is loaded yet. Where the balancer or the guard is, packets go on to these stages.
    pub(super) const fn new(object: Ebpf, stages: StageSet) -> Self {
        Self { object, stages, placed: [StageSet::NONE; 2] }
    }

    /// The programs without tables to speak of, for those that need none: [`Program::Decap`] and [`Program::Pass`].
    pub fn without_tables(gue_port: u16) -> Result<Self, LoadError> {
        let settings = Settings { gue_port, ..Settings::default() };
        Ok(Self::new(open(&settings, 1, Some(1))?, StageSet::NONE))
    }

    /// Whether packets can go on to all of these.
    #[must_use]
    pub const fn have(&self, stages: StageSet) -> bool {
        stages.without(self.stages).is_empty()
    }

    /// Has packets go on to these, too, wherever they already go on to others. After an error they may go on to some.
    pub fn add(&mut self, stages: StageSet) -> Result<(), LoadError> {
        for hook in Hook::ALL {
            if !self.placed[hook as usize].is_empty() {
                self.place(hook, stages)?;
            }
        }
        self.stages = self.stages.with(stages);
        Ok(())
    }

    /// Loads what is to be attached there; with the balancer or the guard what that leaves packets to.
    pub(super) fn prepare(
        &mut self,
        hook: Hook,
        program: Program,
    ) -> Result<&mut programs::Program, LoadError> {
        if matches!(program, Program::Balance | Program::Guard) {
            self.place(hook, self.stages)?;
        }
        self.load_one(hook.program(program)?)
    }

    /// Loads what sends SYN cookies, where the kernel can make them.
    pub(super) fn load_cookies(&mut self) -> Result<(), LoadError> {
        cookies::ask_for()?;
        self.place(Hook::Xdp, StageSet::of(&Stage::COOKIES)).map_err(cookies::explain)
    }

    /// Loads what other programs leave packets to, and puts it where it is found. The kernel empties that map when nobody
    /// holds it any more, so it stays with the object.
    fn place(&mut self, hook: Hook, stages: StageSet) -> Result<(), LoadError> {
        let missing = stages.without(self.placed[hook as usize]);
        let named = |stage| Ok((stage, hook.program(Program::Stage(stage))?));
        let missing_programs = missing.iter().map(named).collect::<Result<Vec<_>, LoadError>>()?;
        self.load_together(&missing_programs)?;
        for (stage, name) in missing_programs {
            let handle = self.load_one(name)?.fd().and_then(|fd| Ok(fd.try_clone()?));
            self.put(hook, stage, &handle.map_err(|error| refused("name a program", error))?)?;
        }
        self.placed[hook as usize] = self.placed[hook as usize].with(missing);
        Ok(())
    }

    /// Loads programs side by side, for the verifier takes a second for some.
    fn load_together(&mut self, wanted: &[(Stage, &'static str)]) -> Result<(), LoadError> {
        let is_wanted = |name: &str| wanted.iter().any(|(_, wanted)| *wanted == name);
        let programs = self.object.programs_mut().filter(|(name, _)| is_wanted(name));
        std::thread::scope(|scope| {
            let loads: Vec<_> =
                programs.map(|(name, program)| scope.spawn(move || load(name, program))).collect();
            loads
                .into_iter()
                .try_for_each(|load| load.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    fn put(&mut self, hook: Hook, stage: Stage, program: &ProgramFd) -> Result<(), LoadError> {
        const OPERATION: &str = "put a program into a map of stages";
        let missing = LoadError::Incomplete { what: "map", name: hook.map() };
        let map = self.object.map_mut(hook.map()).ok_or(missing)?;
        let mut stages = ProgramArray::try_from(map).map_err(|error| refused(OPERATION, error))?;
        stages.set(stage as u32, program, 0).map_err(|error| refused(OPERATION, error))
    }

    /// What the kernel says of a program.
    pub fn facts(&mut self, program: Program) -> Result<Facts, LoadError> {
        Facts::of(program.name(), self.load(program)?)
    }

    /// Runs a program once over a packet, as the kernel's own tests do; gives its result and the packet afterwards.
    pub fn run(&mut self, program: Program, packet: &[u8]) -> Result<(u32, Vec<u8>), LoadError> {
        let loaded = self.load(program)?;
        let mut output = vec![0; LARGEST_TEST_PACKET];
        let options = TestRunOptions {
            data_in: Some(packet),
            data_out: Some(output.as_mut_slice()),
            ..TestRunOptions::default()
        };
        let result = loaded.test_run(options).map_err(|error| refused("run a program once", error))?;
        output.truncate(result.data_size_out as usize);
        Ok((result.return_value, output))
    }

    /// A handle of a program, which keeps it loaded.
    pub(super) fn handle(&mut self, program: Program) -> Result<ProgramFd, LoadError> {
        let loaded = self.load(program)?.fd().map_err(|error| refused("name a program", error))?;
        loaded.try_clone().map_err(|error| refused("name a program", error))
    }

    /// The descriptor of a program, for a measuring program to tail-call it.
    pub fn descriptor(&mut self, program: Program) -> Result<&ProgramFd, LoadError> {
        let loaded: &Xdp = self.load(program)?;
        loaded.fd().map_err(|error| refused("name a program", error))
    }

    /// A program for XDP, by itself.
    pub(super) fn load(&mut self, program: Program) -> Result<&mut Xdp, LoadError> {
        let name = program.name();
        let missing = |_| LoadError::Incomplete { what: "program", name };
        self.load_one(name)?.try_into().map_err(missing)
    }

    /// Its counterpart for TC, and with the balancer or the guard all that they leave packets to.
    pub(super) fn load_classifier(&mut self, program: Program) -> Result<&mut SchedClassifier, LoadError> {
        let missing = |_| LoadError::Incomplete { what: "TC program for", name: program.name() };
        self.prepare(Hook::Tc, program)?.try_into().map_err(missing)
    }

    fn load_one(&mut self, name: &'static str) -> Result<&mut programs::Program, LoadError> {
        let missing = LoadError::Incomplete { what: "program", name };
        let found = self.object.program_mut(name).ok_or(missing)?;
        load(name, found)?;
        Ok(found)
    }

    /// All there is in the object.
    pub(super) const fn object(&mut self) -> &mut Ebpf {
        &mut self.object
    }
}

/// Loads a program, unless it is loaded.
fn load(name: &str, program: &mut programs::Program) -> Result<(), LoadError> {
    let loaded = load_uninterrupted(|| match program {
        programs::Program::Xdp(program) => program.load(),
        programs::Program::SchedClassifier(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    });
    match loaded {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(()),
        Err(error) => Err(explain_program(name, error)),
    }
}

/// Attempts at a load that the verifier breaks off because something waits for this thread. libbpf makes as many.
const LOAD_ATTEMPTS: usize = 5;

/// Loads a program, again if the verifier broke off: it does so with EAGAIN when a signal waits for the thread, and the
/// work of a closed ring counts as one.
pub(super) fn load_uninterrupted(
    mut load: impl FnMut() -> Result<(), ProgramError>,
) -> Result<(), ProgramError> {
    for _ in 1..LOAD_ATTEMPTS {
        match load() {
            Err(ProgramError::LoadError { io_error, .. }) if io_error.kind() == io::ErrorKind::WouldBlock => {
            }
            result => return result,
        }
    }
    load()
}

pub(super) fn explain_program(program: &str, error: ProgramError) -> LoadError {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            explain_refusal(program, io_error, &verifier_log.to_string(), &rights::missing())
        }
        error => refused(format!("load program `{program}`"), error),
    }
}

/// Without the right to load programs the verifier is not even asked, so its log is empty. Without those to compute with
/// pointers, which are `CAP_PERFMON`'s, it refuses what it would take else, and blames the program.
fn explain_refusal(program: &str, source: io::Error, log: &str, missing: &[&'static str]) -> LoadError {
    let is_unasked = log.is_empty() && source.raw_os_error() == Some(libc::EPERM);
    let is_refused = matches!(source.raw_os_error(), Some(libc::EPERM | libc::EACCES)) && !missing.is_empty();
    if is_unasked || is_refused {
        return LoadError::Permission { missing: missing.to_vec(), source };
    }
    if let Some(short) = error::short_of_descriptors(&source) {
        return short;
    }
    let line = parse_verifier_log(log).to_owned();
    LoadError::Verifier { program: program.to_owned(), kernel: error::kernel_release(), line, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use io::Error;

    #[test]
    fn a_refused_program_gives_the_verifiers_reason_unless_rights_are_missing() {
        let explain = |errno, log, missing: &[&'static str]| {
            explain_refusal("lb_balance", Error::from_raw_os_error(errno), log, missing)
        };
        assert!(matches!(explain(libc::EPERM, "", &[]), LoadError::Permission { .. }));
        let log = "R1 invalid mem access\nprocessed 3 insns";
        let refused = explain(libc::EACCES, log, &[]).to_string();
        assert!(refused.contains("`lb_balance`: R1 invalid mem access"), "{refused}");
        let lacking = explain(libc::EACCES, log, &["CAP_PERFMON"]).to_string();
        assert!(lacking.contains("not permitted without CAP_PERFMON: run as root"), "{lacking}");
    }
}
