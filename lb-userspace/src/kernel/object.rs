//! The embedded kernel object: loading it, and what the kernel says of each program.

use super::cookies;
use super::error::{kernel_release, parse_verifier_log};
use super::{Capture, LoadError, Program, Settings, Tables, bpf};
use aya::maps::{MapError, ProgramArray};
use aya::programs::{ProgramError, ProgramFd, TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader, VerifierLogLevel};
use aya_log::EbpfLogger;
use lb_common::abi::{Stage, limits};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The object that `lb-ebpf` builds to; `cargo xtask build` makes it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("LB_EBPF_OBJECT"));

/// Room for the packet of a test run, before and after: the largest frame without jumbo frames, with room to grow.
const LARGEST_TEST_PACKET: usize = 4096;

/// The loaded object. The parts are the caller's to distribute; the maps live as long as a program or a table does.
#[derive(Debug)]
pub struct Datapath {
    /// The programs, to be attached.
    pub programs: Programs,
    /// The maps.
    pub tables: Tables,
    /// The packet log, if the settings ask for one.
    pub log: Option<PacketLog>,
    /// What captures need, if the settings allow them.
    pub capture: Option<Capture>,
}

impl Datapath {
    /// Does so in a thread of its own: the verifier takes a second or so, in which a signal should be heard. It also breaks
    /// off when a signal waits for its thread, and that one has none to wait for.
    pub async fn load_aside(settings: Settings) -> Result<Self, LoadError> {
        let (done, loaded) = tokio::sync::oneshot::channel();
        // Whoever asked may have gone.
        let thread = std::thread::spawn(move || done.send(Self::load(&settings)).is_ok());
        if let Ok(loaded) = loaded.await {
            return loaded;
        }
        Err(refused("load the programs", io::Error::other(format!("{:?}", thread.join()))))
    }

    /// Creates the maps and loads the balancer and the clock; nothing is attached yet.
    pub fn load(settings: &Settings) -> Result<Self, LoadError> {
        let mut programs = Programs(open(settings, settings.flows, None)?);
        let first = if settings.guard.is_some() { Program::Guard } else { Program::Balance };
        if settings.at_tc {
            programs.load_classifier(first)?;
        } else {
            programs.load_all(first)?;
            if settings.sends_cookies() {
                programs.load_cookies()?;
            }
        }
        let (clock, writer) = (programs.handle(Program::Clock)?, programs.handle(Program::Write)?);
        let guard_writer = programs.handle(Program::Write)?;
        let log = settings.log_packets.then(|| PacketLog::open(&mut programs.0)).transpose()?;
        let capture = settings.capture.map(|_| Capture::take(&mut programs.0)).transpose()?;
        let tables = Tables::take(
            &mut programs.0,
            clock,
            [writer, guard_writer],
            (flow_lines(settings.flows), settings.seed),
        )?;
        Ok(Self { programs, tables, log, capture })
    }
}

/// The object's programs. Each is loaded when it is first wanted.
#[derive(Debug)]
pub struct Programs(Ebpf);

impl Programs {
    /// The programs without tables to speak of, for those that need none: [`Program::Decap`] and [`Program::Pass`].
    pub fn without_tables(gue_port: u16) -> Result<Self, LoadError> {
        open(&Settings { gue_port, ..Settings::default() }, 1, Some(1)).map(Self)
    }

    /// Loads the balancer or the guard, and all that they leave packets to.
    fn load_all(&mut self, first: Program) -> Result<(), LoadError> {
        self.load(first)?;
        self.load_stages(&Stage::ALL)?;
        if first == Program::Guard { self.load_stages(&Stage::GUARDED) } else { Ok(()) }
    }

    /// Loads what other programs leave packets to, and puts it where it is found. The kernel empties that map when nobody
    /// holds it any more, so it stays with the object.
    fn load_stages(&mut self, stages: &[Stage]) -> Result<(), LoadError> {
        stages.iter().try_for_each(|stage| {
            let program = self.handle(Program::Stage(*stage))?;
            self.put_stage("STAGES", *stage, &program)
        })
    }

    /// Loads what sends SYN cookies, where the kernel can make them.
    fn load_cookies(&mut self) -> Result<(), LoadError> {
        cookies::ask_for()?;
        self.load_stages(&Stage::COOKIES).map_err(cookies::explain)
    }

    /// Puts a program into a map of stages.
    pub(super) fn put_stage(
        &mut self,
        map: &'static str,
        stage: Stage,
        program: &ProgramFd,
    ) -> Result<(), LoadError> {
        const OPERATION: &str = "put a program into a map of stages";
        let map = self.0.map_mut(map).ok_or(LoadError::Incomplete { what: "map", name: map })?;
        let mut stages = ProgramArray::try_from(map).map_err(|error| refused(OPERATION, error))?;
        stages.set(stage as u32, program, 0).map_err(|error| refused(OPERATION, error))
    }

    /// What the kernel says of a program.
    pub fn facts(&mut self, program: Program) -> Result<Facts, LoadError> {
        const OPERATION: &str = "describe a program";
        let loaded = self.load(program)?;
        let info = loaded.info().map_err(|error| refused(OPERATION, error))?;
        let descriptor = loaded.fd().map_err(|error| refused(OPERATION, error))?.as_fd();
        let instructions = bpf::instructions(descriptor).map_err(|error| refused(OPERATION, error))?;
        Ok(Facts {
            name: program.name(),
            verified_instructions: info.verified_instruction_count(),
            stack_bytes: measure_stack(&instructions),
            translated_bytes: info.size_translated(),
            jited_bytes: info.size_jitted(),
        })
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

    pub(super) fn load(&mut self, program: Program) -> Result<&mut Xdp, LoadError> {
        let name = program.name();
        let missing = || LoadError::Incomplete { what: "program", name };
        let found: &mut Xdp =
            self.0.program_mut(name).ok_or_else(missing)?.try_into().map_err(|_| missing())?;
        match load_uninterrupted(|| found.load()) {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(found),
            Err(error) => Err(explain_program(name, error)),
        }
    }

    /// All there is in the object.
    pub(super) const fn object(&mut self) -> &mut Ebpf {
        &mut self.0
    }
}

/// What the kernel says of a loaded program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub name: &'static str,
    /// Instructions the verifier looked at, over all paths; kernels before 5.16 do not tell.
    pub verified_instructions: Option<u32>,
    /// The deepest place on the stack that any of its functions names, of the 512 there are.
    pub stack_bytes: u16,
    /// Size after the verifier's rewriting.
    pub translated_bytes: Option<u32>,
    /// Size of the machine code; 0 if the kernel interprets.
    pub jited_bytes: u32,
}

/// The deepest offset from the frame pointer that an instruction names: as base of a load or a store, or added to a
/// copy of it. The kernel itself tells the depth only in the log of a load, which aya does not hand out.
///
/// Source: RFC 9669, sections 3 to 5.
fn measure_stack(instructions: &[[u8; 8]]) -> u16 {
    const FRAME_POINTER: u8 = 10;
    const MOVE: u8 = 0xbf;
    const ADD_CONSTANT: u8 = 0x07;
    let mut copies = 0u16;
    let mut deepest = 0i32;
    for [code, registers, low, high, constant @ ..] in instructions {
        let (target, source) = (registers & 15, registers >> 4);
        let offset = i32::from(i16::from_le_bytes([*low, *high]));
        let is_copy = copies >> target & 1 == 1;
        deepest = deepest.min(match code & 7 {
            1 if source == FRAME_POINTER => offset,
            2 | 3 if target == FRAME_POINTER => offset,
            7 if *code == ADD_CONSTANT && is_copy => i32::from_le_bytes(*constant),
            _ => 0,
        });
        // Loads and arithmetic (classes 0, 1, 4 and 7) give their target a new value.
        match code & 7 {
            7 if *code == MOVE && source == FRAME_POINTER => copies |= 1 << target,
            0 | 1 | 4 | 7 => copies &= !(1 << target),
            _ => {}
        }
    }
    u16::try_from(deepest.unsigned_abs()).unwrap_or(u16::MAX)
}

/// The records that programs write with `aya-log`, handed to the daemon's logger.
pub struct PacketLog {
    records: OwnedFd,
    flush: Box<dyn FnMut() + Send>,
}

impl std::fmt::Debug for PacketLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PacketLog").finish_non_exhaustive()
    }
}

impl PacketLog {
    fn open(object: &mut Ebpf) -> Result<Self, LoadError> {
        let failed = |error| refused("open the packet log", error);
        let mut logger = EbpfLogger::init(object).map_err(|error| refused("open the packet log", error))?;
        let records = logger.as_fd().try_clone_to_owned().map_err(failed)?;
        Ok(Self { records, flush: Box::new(move || logger.flush()) })
    }

    /// Hands records on as they come; ends only if they cannot be waited for.
    pub async fn run(self) -> io::Result<()> {
        let Self { records, mut flush } = self;
        #[allow(unsafe_code, reason = "the one way to wait for a descriptor of no type that tokio knows")]
        // SAFETY: an owned descriptor stays open and the same until it is dropped.
        let records = unsafe { AsyncFd::register_with_interest(records, Interest::READABLE) }?;
        loop {
            let mut ready = records.readable().await?;
            flush();
            ready.clear_ready();
        }
    }
}

/// Parses the object and creates its maps; `entries` overrides the size of the large ones.
pub(super) fn open(settings: &Settings, flows: u32, entries: Option<u32>) -> Result<Ebpf, LoadError> {
    let redirect = u8::from(settings.tx_by_redirect);
    let log_level = if settings.log_packets { aya_log::Level::Trace as u8 } else { 0 };
    let second = ticks_in_a_second().map_err(|error| refused("read the length of its tick", error))?;
    let loud = u8::from(settings.log_packets);
    let keys = settings.guard.map_or([1; 4], |guard| guard.keys.map(|key| key | 1));
    // Nothing where there is no guard.
    let cookies = u8::from(settings.sends_cookies());
    let guarded = |entries| settings.guard.map_or(1, |_| entries);
    let capture_rate = settings.capture.map_or(0, |capture| capture.rate);
    let lines = flow_lines(flows);
    let mask = lines - 1;
    let mut loader = EbpfLoader::new();
    loader
        .verifier_log_level(VerifierLogLevel::DEBUG | VerifierLogLevel::STATS)
        .override_global("SEED", &settings.seed, true)
        .override_global("PORTS", &settings.ports, true)
        .override_global("TX_BY_REDIRECT", &redirect, true)
        .override_global("SPREAD_V4", &settings.spread[0], true)
        .override_global("SPREAD_V6", &settings.spread[1], true)
        .override_global("SECOND", &second, true)
        .override_global("NEW_FLOWS", &settings.new_flows, true)
        .override_global("GUARD_KEY_0", &keys[0], true)
        .override_global("GUARD_KEY_1", &keys[1], true)
        .override_global("GUARD_KEY_2", &keys[2], true)
        .override_global("GUARD_KEY_3", &keys[3], true)
        .override_global("SENDS_COOKIES", &cookies, true)
        .map_max_entries(super::guard::LISTS, settings.guard.map_or(1, |guard| 2 * guard.nodes))
        .map_max_entries(super::guard::BUCKETS, guarded(limits::BUCKET_LINES))
        .map_max_entries(super::guard::BLOCKS, guarded(limits::BLOCKS))
        .override_global("GUE_PORT", &settings.gue_port, true)
        .override_global("LOUD", &loud, true)
        .override_global("CAPTURE_RATE", &capture_rate, true)
        .override_global(aya_log::LEVEL, &log_level, false)
        .override_global("FLOW_MASK", &mask, true)
        .map_max_entries(super::counted::COUNTERS, super::counted::cpus()?)
        .map_max_entries(super::maps::FLOWS, lines)
        .map_max_entries(super::maps::FLOWS_V6, lines)
        .map_max_entries(super::maps::FRAGMENTS, entries.unwrap_or(settings.fragments));
    entries.map(|entries| loader.map_max_entries(super::maps::LARGE, entries));
    settings.capture.map(|capture| loader.map_max_entries(super::capture::CAPTURED, capture.ring));
    loader.load(OBJECT).map_err(explain)
}

/// Lines of a flow table for so many records: their numbers are masked.
const fn flow_lines(flows: u32) -> u32 {
    flows.next_power_of_two()
}

/// How often the kernel's clock of the programs moves in a second.
fn ticks_in_a_second() -> io::Result<u32> {
    let tick = super::maps::tick()?.as_nanos().max(1);
    Ok(u32::try_from(1_000_000_000 / tick).unwrap_or(u32::MAX))
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

/// Asks the kernel what it can do, as loading does. The first answer is kept for good, and the kernel refuses a trial
/// program where a signal waits for the thread; so ask before there are rings, whose end counts as one.
pub fn probe_features() {
    aya::features();
}

fn explain(error: EbpfError) -> LoadError {
    match error {
        EbpfError::MapError(MapError::CreateError { name, io_error }) => explain_map(name, io_error),
        // Every kernel that can run the programs has global data; aya asks once and believes a refusal for good.
        EbpfError::RelocationError(_) if !aya::features().bpf_global_data() => LoadError::Starved,
        error => LoadError::Object(error),
    }
}

fn explain_map(name: String, error: io::Error) -> LoadError {
    match error.raw_os_error() {
        Some(libc::EPERM) => LoadError::Permission(error),
        // Of a global, whose name begins with a dot, it is the length of its one value that is too much for the kernel.
        Some(libc::E2BIG) if name.starts_with('.') => refused(format!("create map `{name}`"), error),
        Some(libc::ENOMEM | libc::E2BIG) => LoadError::Memory { map: name, source: error },
        _ => refused(format!("create map `{name}`"), error),
    }
}

pub(super) fn explain_program(program: &str, error: ProgramError) -> LoadError {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            explain_refusal(program, io_error, &verifier_log.to_string())
        }
        error => refused(format!("load program `{program}`"), error),
    }
}

/// Without rights the verifier is not even asked, so its log is empty.
fn explain_refusal(program: &str, source: io::Error, log: &str) -> LoadError {
    if log.is_empty() && source.raw_os_error() == Some(libc::EPERM) {
        return LoadError::Permission(source);
    }
    let line = parse_verifier_log(log).to_owned();
    LoadError::Verifier { program: program.to_owned(), kernel: kernel_release(), line, source }
}

pub(super) fn refused(
    operation: impl Into<String>,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> LoadError {
    LoadError::Refused { operation: operation.into(), kernel: kernel_release(), source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use io::Error;

    #[test]
    fn a_refused_map_is_blamed_on_rights_memory_or_the_kernel() {
        let explain = |errno| explain_map("FLOWS".into(), Error::from_raw_os_error(errno));
        assert!(matches!(explain(libc::EPERM), LoadError::Permission(_)));
        assert!(matches!(explain(libc::ENOMEM), LoadError::Memory { .. }));
        assert!(matches!(explain(libc::EINVAL), LoadError::Refused { .. }));
        assert!(matches!(explain(libc::E2BIG), LoadError::Memory { .. }));
    }

    #[test]
    fn a_kernel_that_takes_no_large_globals_is_told_to_be_too_old() {
        let refused = explain_map(".bss.slots".into(), Error::from_raw_os_error(libc::E2BIG)).to_string();
        assert!(refused.contains("create map `.bss.slots`; Linux 6.0 or newer"), "{refused}");
    }

    #[test]
    fn the_stack_is_as_deep_as_the_deepest_place_named() {
        let store = [0x7b, 0x1a, 0xf0, 0xff, 0, 0, 0, 0]; // *(u64 *)(r10 - 16) = r1
        let load = [0x79, 0xa1, 0xe8, 0xff, 0, 0, 0, 0]; // r1 = *(u64 *)(r10 - 24)
        let copy = [0xbf, 0xa2, 0, 0, 0, 0, 0, 0]; // r2 = r10
        let add = [0x07, 0x02, 0, 0, 0xd0, 0xff, 0xff, 0xff]; // r2 += -48
        let elsewhere = [0x7b, 0x16, 0x00, 0xff, 0, 0, 0, 0]; // *(u64 *)(r6 - 256) = r1
        assert_eq!(measure_stack(&[elsewhere, add]), 0);
        assert_eq!(measure_stack(&[store, elsewhere]), 16);
        assert_eq!(measure_stack(&[load, store]), 24);
        assert_eq!(measure_stack(&[copy, store, add]), 48);
        let other = [0xb7, 0x02, 0, 0, 1, 0, 0, 0]; // r2 = 1
        assert_eq!(measure_stack(&[copy, other, add]), 0);
    }

    #[test]
    fn a_refused_program_gives_the_verifiers_reason_unless_rights_are_missing() {
        let explain = |errno, log| explain_refusal("lb_balance", Error::from_raw_os_error(errno), log);
        assert!(matches!(explain(libc::EPERM, ""), LoadError::Permission(_)));
        let refused = explain(libc::EACCES, "R1 invalid mem access\nprocessed 3 insns").to_string();
        assert!(refused.contains("`lb_balance`: R1 invalid mem access"), "{refused}");
    }
}
