//! The maps: services, slots and backends written, counters summed up, flows read and deleted.
//!
//! Only the planner's apply writes here, and only the kernel programs write flows and counters; userspace deletes
//! flows that are over. Slots go by the thousand in one system call.

use super::bpf::{self, Position};
use super::counted::Counted;
use super::direct::Writer;
use super::guard::GuardMaps;
use super::records::FlowRecords;
use super::{LoadError, TableError};
use aya::maps::lpm_trie::{Key as Bits, LpmTrie};
use aya::maps::{Array, HashMap, IterableMap, Map, MapData, MapError, PerCpuArray, PerCpuValues};
use aya::programs::ProgramFd;
use aya::{Ebpf, Pod};
use lb_common::abi::{
    Backend, BackendCount, BackendId, Contents, Count, Fragment, FragmentKey, InsertRate, Load, PortRange,
    PrefixKey, QuicServer, Service, Slot, Table, Ticks, limits,
};
use lb_common::wire::{Plain, U32be, ethernet, ipv6};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

const RANGES: &str = "RANGES";
const PREFIXES: &str = "PREFIXES";
const LOADS: &str = "LOADS";
const QUIC_SERVERS: &str = "QUIC_SERVERS";
const TURNS: &str = "TURNS";
const INSERT_RATE: &str = "INSERT_RATE";
const SLOT_USE: &str = "SLOT_USE";
pub(super) const FLOWS: &str = "FLOWS";
pub(super) const FLOWS_V6: &str = "FLOWS_V6";
pub(super) const FRAGMENTS: &str = "FRAGMENTS";

/// The map worth shrinking where it is not used.
pub(super) const LARGE: &str = SLOT_USE;

/// Places that a test has written to: the only ones of these large tables that need be emptied after it.
#[derive(Debug, Default)]
pub struct Written {
    /// Places of services.
    pub services: BTreeSet<u32>,
    /// Numbers of services, which take turns by them.
    pub numbers: BTreeSet<u32>,
    /// Backends.
    pub backends: BTreeSet<BackendId>,
}

/// A value of the kernel border as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Raw<T: Plain>(pub(super) T);

#[allow(unsafe_code, reason = "aya's marker says what ours says")]
// SAFETY: transparent over a `Plain` type, which has no padding and takes any bit pattern.
unsafe impl<T: Plain> Pod for Raw<T> {}

/// Handles of all maps, and the kernel's clock.
pub struct Tables {
    writer: Writer,
    slot_use: Array<MapData, Raw<Ticks>>,
    ranges: Array<MapData, Raw<PortRange>>,
    prefixes: LpmTrie<MapData, [u8; 20], u32>,
    loads: Array<MapData, Raw<Load>>,
    quic_servers: HashMap<MapData, [u32; 3], Raw<BackendId>>,
    fragments: HashMap<MapData, Raw<FragmentKey>, Raw<Fragment>>,
    turns: PerCpuArray<MapData, u32>,
    insert_rate: PerCpuArray<MapData, Raw<InsertRate>>,
    /// The flow records of IPv4.
    pub flows: FlowRecords<U32be>,
    /// The flow records of IPv6.
    pub flows_v6: FlowRecords<ipv6::Address>,
    counted: Counted,
    /// The guard's.
    pub guard: GuardMaps,
    clock: ProgramFd,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").finish_non_exhaustive()
    }
}

impl Tables {
    pub(super) fn take(
        object: &mut Ebpf,
        clock: ProgramFd,
        [writer, guard_writer]: [ProgramFd; 2],
        flows: (u32, u64),
    ) -> Result<Self, LoadError> {
        Ok(Self {
            writer: Writer::new(writer),
            slot_use: take(object, SLOT_USE)?,
            ranges: take(object, RANGES)?,
            prefixes: take(object, PREFIXES)?,
            loads: take(object, LOADS)?,
            quic_servers: take(object, QUIC_SERVERS)?,
            fragments: take(object, FRAGMENTS)?,
            turns: take(object, TURNS)?,
            insert_rate: take(object, INSERT_RATE)?,
            flows: FlowRecords::take(object, FLOWS, flows)?,
            flows_v6: FlowRecords::take(object, FLOWS_V6, flows)?,
            counted: Counted::take(object)?,
            guard: GuardMaps::take(object, Writer::new(guard_writer))?,
            clock,
        })
    }

    /// Writes an entry of the service table.
    pub fn write_service(&mut self, index: u32, service: &Service) -> Result<(), TableError> {
        self.write_services(&[(index, *service)])
    }

    /// Writes entries of the service table.
    pub fn write_services(&mut self, services: &[(u32, Service)]) -> Result<(), TableError> {
        self.writer.write(Table::Services, services)
    }

    /// Writes a backend's record.
    pub fn write_backend(&mut self, id: BackendId, backend: &Backend) -> Result<(), TableError> {
        self.write_backends(&[(id, *backend)])
    }

    /// Writes backends' records.
    pub fn write_backends(&mut self, backends: &[(BackendId, Backend)]) -> Result<(), TableError> {
        let records: Vec<_> = backends.iter().map(|(id, backend)| (id.get().into(), *backend)).collect();
        self.writer.write(Table::Backends, &records)
    }

    /// Writes a port range.
    pub fn write_range(&mut self, index: u32, range: &PortRange) -> Result<(), TableError> {
        self.ranges.set(index, Raw(*range), 0).map_err(failed("write to", RANGES))
    }

    /// Says where the entry of a prefix is; nowhere takes the prefix away.
    pub fn write_prefix(&mut self, prefix: &PrefixKey, place: Option<u32>) -> Result<(), TableError> {
        let mut bytes = [0; 20];
        let (family, address) = bytes.split_at_mut(4);
        family.copy_from_slice(&prefix.family);
        address.copy_from_slice(&prefix.address.to_bytes());
        let key = Bits::new(prefix.bits, bytes);
        let written = match place {
            Some(place) => self.prefixes.insert(&key, place, 0),
            None => self.prefixes.remove(&key),
        };
        unless_missing(written).map_err(failed("write to", PREFIXES))
    }

    /// Says what there is in the tables.
    pub fn write_contents(&mut self, contents: Contents) -> Result<(), TableError> {
        self.writer.write(Table::Contents, &[(0, contents)])
    }

    /// Says how many bytes of an IP packet every interface takes. What comes back from backends and is longer is compared with the
    /// interface that it leaves by, which takes a call of the kernel's; so is everything until this is said.
    pub fn write_common_mtu(&mut self, bytes: u32) -> Result<(), TableError> {
        self.writer.write(Table::CommonMtu, &[(0, bytes)])
    }

    /// Says which interfaces a reply may be sent out by, where the kernel is asked for the way: what leads elsewhere is left to the
    /// kernel. None means any. Those above [`limits::REACHABLE`] are left out.
    pub fn write_reachable(&mut self, interfaces: &[u32]) -> Result<(), TableError> {
        let places = interfaces.iter().copied().chain(std::iter::repeat(0));
        self.writer.write(Table::Reachable, &(0..limits::REACHABLE).zip(places).collect::<Vec<_>>())
    }

    /// Says how much a backend has to do.
    pub fn write_load(&mut self, id: BackendId, load: Load) -> Result<(), TableError> {
        self.loads.set(id.get().into(), Raw(load), 0).map_err(failed("write to", LOADS))
    }

    /// How much a backend has to do.
    pub fn load(&self, id: BackendId) -> Result<Load, TableError> {
        let Raw(load) = self.loads.get(&id.get().into(), 0).map_err(failed("read", LOADS))?;
        Ok(load)
    }

    /// Says which backend a server identifier stands for; none takes it away.
    pub fn write_quic_server(
        &mut self,
        server: QuicServer,
        backend: Option<BackendId>,
    ) -> Result<(), TableError> {
        let written = match backend {
            Some(id) => self.quic_servers.insert(server.to_words(), Raw(id), 0),
            None => self.quic_servers.remove(&server.to_words()),
        };
        unless_missing(written).map_err(failed("write to", QUIC_SERVERS))
    }

    /// Writes one slot.
    pub fn write_slot(&mut self, index: u32, slot: Slot) -> Result<(), TableError> {
        self.write_slots(&[(index, slot)])
    }

    /// Writes slots in the order given. Each word changes at once; the whole does not.
    pub fn write_slots(&mut self, slots: &[(u32, Slot)]) -> Result<(), TableError> {
        self.writer.write(Table::Slots, slots)
    }

    /// When a packet last took the settled path of each slot from `first` on; zero means never.
    pub fn slot_use(&self, first: u32, count: u32) -> Result<Vec<Ticks>, TableError> {
        read_range(&self.slot_use, first, count).map_err(refused("read", SLOT_USE))
    }

    /// Counters by reason, in the order of the reasons, over all CPUs.
    #[must_use]
    pub fn reasons(&self) -> Vec<Count> {
        self.counted.reasons()
    }

    /// A backend's counters over all CPUs.
    #[must_use]
    pub fn backend_count(&self, id: BackendId) -> BackendCount {
        self.counted.backend(id)
    }

    /// Sets a backend's counters to zero, for an identifier given to another backend.
    pub fn clear_backend_count(&mut self, id: BackendId) {
        self.counted.clear(id);
    }

    /// Empties all tables, of the slots the first so many, of services and backends those that were `written`; for tests, to which
    /// loading the programs is what takes long.
    pub fn reset(&mut self, slots: u32, written: &Written) -> Result<(), TableError> {
        let backends = written.backends.iter().map(|id| u32::from(id.get()));
        self.writer.clear::<Service>(Table::Services, written.services.iter().copied())?;
        self.writer.clear::<Backend>(Table::Backends, backends)?;
        self.writer.clear::<Slot>(Table::Slots, 0..slots)?;
        zero(&self.loads, limits::BACKENDS).map_err(refused("write to", LOADS))?;
        zero(&self.slot_use, slots).map_err(refused("write to", SLOT_USE))?;
        self.write_contents(Contents::default())?;
        empty(&mut self.fragments).map_err(failed("delete from", FRAGMENTS))?;
        empty(&mut self.quic_servers).map_err(failed("delete from", QUIC_SERVERS))?;
        let prefixes: Vec<_> = self.prefixes.keys().collect();
        for key in prefixes {
            let key = key.map_err(failed("read", PREFIXES))?;
            unless_missing(self.prefixes.remove(&key)).map_err(failed("delete from", PREFIXES))?;
        }
        self.guard.reset()?;
        self.flows.empty();
        self.flows_v6.empty();
        self.counted.empty();
        // Hosts have numbers above, and take no turns.
        let numbers = written.numbers.range(..limits::SERVICE_NUMBERS).copied();
        empty_counts(&mut self.turns, numbers).map_err(failed("write to", TURNS))?;
        empty_counts(&mut self.insert_rate, [0]).map_err(failed("write to", INSERT_RATE))
    }

    /// Now, on the clock of the flow records.
    pub fn now(&self) -> Result<Ticks, TableError> {
        bpf::run_over(self.clock.as_fd(), &[0; ethernet::LENGTH])
            .map(Ticks)
            .map_err(refused("run", "lb_clock"))
    }
}

/// Length of a tick: the kernel's coarse clock moves once a tick.
pub fn tick() -> io::Result<Duration> {
    let resolution = nix::time::clock_getres(nix::time::ClockId::CLOCK_MONOTONIC_COARSE)?;
    Ok(resolution.into())
}

fn read_range<T: Plain + Default>(
    map: &Array<MapData, Raw<T>>,
    first: u32,
    count: u32,
) -> io::Result<Vec<T>> {
    let count = count.min(map.len().saturating_sub(first)) as usize;
    if count == 0 {
        return Ok(Vec::new());
    }
    let (mut indices, mut values) = (vec![0u32; count], vec![Raw(T::default()); count]);
    let (found, _) = bpf::lookup(descriptor(map), Position::before(first), &mut indices, &mut values)?;
    Ok(values.into_iter().take(found).map(|Raw(value)| value).collect())
}

pub(super) fn take<M: TryFrom<Map, Error = MapError>>(
    object: &mut Ebpf,
    name: &'static str,
) -> Result<M, LoadError> {
    let missing = LoadError::Incomplete { what: "map", name };
    let Some(map) = object.take_map(name) else { return Err(missing) };
    M::try_from(map).map_err(|_| missing)
}

fn descriptor<K: Pod, V>(map: &impl IterableMap<K, V>) -> BorrowedFd<'_> {
    map.map().fd().as_fd()
}

/// Writes zeros to the first so many values.
pub(super) fn zero<T: Plain + Default>(map: &Array<MapData, Raw<T>>, count: u32) -> io::Result<()> {
    let (indices, values): (Vec<u32>, Vec<Raw<T>>) =
        (0..count).map(|index| (index, Raw(T::default()))).unzip();
    bpf::update(descriptor(map), &indices, &values)
}

fn empty<K: Pod, V: Pod>(map: &mut HashMap<MapData, K, V>) -> Result<(), MapError> {
    let keys: Vec<_> = map.keys().collect::<Result<_, _>>()?;
    keys.iter().try_for_each(|key| unless_missing(map.remove(key)))
}

fn empty_counts<T: Pod + Default>(
    map: &mut PerCpuArray<MapData, T>,
    places: impl IntoIterator<Item = u32>,
) -> Result<(), MapError> {
    let cpus = aya::util::nr_cpus().map_err(|(_, error)| MapError::IoError(error))?;
    let zeros = || PerCpuValues::try_from(vec![T::default(); cpus]).map_err(MapError::IoError);
    places.into_iter().try_for_each(|index| map.set(index, zeros()?, 0))
}

/// To take away what is gone already is as good.
fn unless_missing(result: Result<(), MapError>) -> Result<(), MapError> {
    result.or_else(|error| if is_missing(&error) { Ok(()) } else { Err(error) })
}

pub(super) fn is_missing(error: &MapError) -> bool {
    match error {
        MapError::KeyNotFound => true,
        MapError::SyscallError(error) => error.io_error.raw_os_error() == Some(libc::ENOENT),
        _ => false,
    }
}

pub(super) fn refused(operation: &'static str, map: &'static str) -> impl Fn(io::Error) -> TableError {
    move |source| TableError { operation, map, source }
}

pub(super) fn failed(operation: &'static str, map: &'static str) -> impl Fn(MapError) -> TableError {
    move |error| {
        let source = match error {
            MapError::SyscallError(error) => error.io_error,
            MapError::IoError(error) => error,
            error => io::Error::other(error),
        };
        TableError { operation, map, source }
    }
}
