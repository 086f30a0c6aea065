//! The embedded kernel object: its maps, its parts, and what is loaded of it first.

use super::error::{kernel_release, short_of_descriptors};
use super::programs::Hook;
use super::{Capture, LoadError, Program, Programs, Settings, Tables};
use aya::maps::MapError;
use aya::{Ebpf, EbpfError, EbpfLoader, VerifierLogLevel};
use aya_log::EbpfLogger;
use lb_common::abi::{Stage, StageSet, limits};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The object that `lb-ebpf` builds to; `cargo xtask build` makes it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("LB_EBPF_OBJECT"));

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
    pub async fn load_aside(settings: Settings, stages: StageSet) -> Result<Self, LoadError> {
        let (done, loaded) = tokio::sync::oneshot::channel();
        // Whoever asked may have gone.
        let thread = std::thread::spawn(move || done.send(Self::load(&settings, stages)).is_ok());
        if let Ok(loaded) = loaded.await {
            return loaded;
        }
        Err(refused("load the programs", io::Error::other(format!("{:?}", thread.join()))))
    }

    /// Creates the maps and loads the balancer or the guard, the stages that services take, and the clock; nothing is attached
    /// yet.
    pub fn load(settings: &Settings, stages: StageSet) -> Result<Self, LoadError> {
        let (first, guarded): (_, &[Stage]) = match settings.guard {
            Some(_) => (Program::Guard, &Stage::GUARDED),
            None => (Program::Balance, &[]),
        };
        let stages = stages.with(StageSet::of(guarded)).with(StageSet::of(&Stage::ANY_TIME));
        let mut programs = Programs::new(open(settings, settings.flows, None)?, stages);
        let hook = if settings.at_tc { Hook::Tc } else { Hook::Xdp };
        programs.prepare(hook, first)?;
        if hook == Hook::Xdp && settings.sends_cookies() {
            programs.load_cookies()?;
        }
        let (clock, writer) = (programs.handle(Program::Clock)?, programs.handle(Program::Write)?);
        let guard_writer = programs.handle(Program::Write)?;
        let log = settings.log_packets.then(|| PacketLog::open(programs.object())).transpose()?;
        let capture = settings.capture.map(|_| Capture::take(programs.object())).transpose()?;
        let tables = Tables::take(
            programs.object(),
            clock,
            [writer, guard_writer],
            (flow_lines(settings.flows), settings.seed),
        )?;
        Ok(Self { programs, tables, log, capture })
    }
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

/// Asks the kernel what it can do, as loading does. The first answer is kept for good, and the kernel refuses a trial
/// program where a signal waits for the thread; so ask before there are rings, whose end counts as one.
pub fn probe_features() {
    aya::features();
}

fn explain(error: EbpfError) -> LoadError {
    if let Some(short) = short_of_descriptors(&error) {
        return short;
    }
    match error {
        EbpfError::MapError(MapError::CreateError { name, io_error }) => explain_map(name, io_error),
        // Every kernel that can run the programs has global data; aya asks once and believes a refusal for good.
        EbpfError::RelocationError(_) if !aya::features().bpf_global_data() => LoadError::Starved,
        error => LoadError::Object(error),
    }
}

fn explain_map(name: String, error: io::Error) -> LoadError {
    match error.raw_os_error() {
        Some(libc::EPERM) => LoadError::permission(error),
        // Of a global, whose name begins with a dot, it is the length of its one value that is too much for the kernel.
        Some(libc::E2BIG) if name.starts_with('.') => refused(format!("create map `{name}`"), error),
        Some(libc::ENOMEM | libc::E2BIG) => LoadError::Memory { map: name, source: error },
        _ => refused(format!("create map `{name}`"), error),
    }
}

pub(super) fn refused(
    operation: impl Into<String>,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> LoadError {
    let source = source.into();
    short_of_descriptors(&*source).unwrap_or_else(|| LoadError::Refused {
        operation: operation.into(),
        kernel: kernel_release(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use io::Error;

    #[test]
    fn a_refused_map_is_blamed_on_rights_memory_or_the_kernel() {
        let explain = |errno| explain_map("FLOWS".into(), Error::from_raw_os_error(errno));
        assert!(matches!(explain(libc::EPERM), LoadError::Permission { .. }));
        assert!(matches!(explain(libc::ENOMEM), LoadError::Memory { .. }));
        assert!(matches!(explain(libc::EINVAL), LoadError::Refused { .. }));
        assert!(matches!(explain(libc::E2BIG), LoadError::Memory { .. }));
        assert!(matches!(explain(libc::EMFILE), LoadError::Descriptors { .. }));
    }

    #[test]
    fn a_kernel_that_takes_no_large_globals_is_told_to_be_too_old() {
        let refused = explain_map(".bss.slots".into(), Error::from_raw_os_error(libc::E2BIG)).to_string();
        assert!(refused.contains("create map `.bss.slots`; Linux 6.0 or newer"), "{refused}");
    }
}
