//! The wrapper program of `lb-ebpf/src/bench`, one loaded copy for each program under test.

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, MapData, ProgramArray};
use aya::programs::{ProgramFd, TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use std::fs;
use std::path::Path;

/// Bytes of the shortest packet: headers of 54 bytes, and a little payload.
pub(crate) const PACKET: usize = 64;
/// Bytes of Ethernet, IPv4 and TCP header.
const HEADERS: usize = 54;
/// The headers as the wrapper's map holds them.
const HEADER_WORDS: usize = 7;
/// Packets a run, as the wrapper program has it.
pub(crate) const PACKETS_A_RUN: u32 = 10;
const ETHERNET: usize = 14;
const SOURCE: std::ops::Range<usize> = 26..30;
/// The golden ratio of 2³²: odd, so that all flows are met, and none soon after its neighbour.
const SCATTER: u32 = 0x9e37_79b1;

/// How the wrapper puts the packet back before each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrapping {
    /// The Ethernet header: for programs that change nothing else, or put bytes in front.
    Link,
    /// All headers: for programs that translate addresses.
    Headers,
    /// The Ethernet header and another source address each time, this many (a power of two) in turn.
    Flows(u64),
    /// The same in no order to speak of. A kernel map lays records out as they come, and a walk in that order finds
    /// the next one in the cache, which no traffic does.
    Scattered(u64),
}

impl Wrapping {
    fn restores_all(self) -> u8 {
        u8::from(self == Self::Headers)
    }

    fn flow_mask(self) -> u32 {
        match self {
            Self::Flows(flows) | Self::Scattered(flows) => {
                u32::try_from(flows.saturating_sub(1)).unwrap_or(u32::MAX)
            }
            Self::Link | Self::Headers => 0,
        }
    }

    fn flow_stride(self) -> u32 {
        if matches!(self, Self::Scattered(_)) { SCATTER } else { 1 }
    }

    /// Bytes in front that are written afresh before each run.
    fn restored(self) -> usize {
        if self == Self::Headers { HEADERS } else { ETHERNET }
    }
}

/// What must become of each packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// The XDP code.
    pub(crate) action: u32,
    /// Bytes by which the packet grows.
    pub(crate) growth: i32,
}

impl Expected {
    /// What a place of the wrapper's tally counts: three bits of code, seven of growth from -64 on.
    fn at(place: u32) -> Self {
        let growth = i32::try_from(place & 0x7f).unwrap_or(0) - 64;
        Self { action: place >> 7, growth }
    }
}

/// The object of `lb-ebpf-bench`.
pub(crate) struct BenchObject(Vec<u8>);

impl BenchObject {
    /// Reads it from where `cargo xtask build` puts it.
    pub(crate) fn read() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this crate has no workspace")?;
        let path = root.join("target/bpf/lb-ebpf-bench");
        let missing = || format!("cannot read {}; `cargo xtask build` makes it", path.display());
        fs::read(&path).map(Self).with_context(missing)
    }

    /// A copy with its settings left alone: for the floors in it.
    pub(crate) fn load(&self) -> Result<Ebpf> {
        EbpfLoader::new().load(&self.0).context("the bench's own programs")
    }
}

/// A loaded wrapper with its program under test and its packet.
pub(crate) struct Wrapper {
    object: Ebpf,
    packet: Vec<u8>,
    wrapping: Wrapping,
    expected: Expected,
    /// Keeps the program under test in the wrapper's reach: the kernel empties the map when its last handle goes.
    _target: ProgramArray<MapData>,
}

impl Wrapper {
    /// Wraps a program, and runs it once to see that nothing but what is put back was changed.
    pub(crate) fn new(
        bench: &BenchObject,
        target: &ProgramFd,
        packet: Vec<u8>,
        wrapping: Wrapping,
        expected: Expected,
    ) -> Result<Self> {
        ensure!(packet.len() >= PACKET, "the packet has {} bytes, fewer than {PACKET}", packet.len());
        let mut object = EbpfLoader::new()
            .override_global("RESTORE_ALL", &wrapping.restores_all(), true)
            .override_global("FLOW_MASK", &wrapping.flow_mask(), true)
            .override_global("FLOW_STRIDE", &wrapping.flow_stride(), true)
            .load(&bench.0)
            .context("the wrapper")?;
        let mut headers =
            Array::<_, [u64; HEADER_WORDS]>::try_from(object.map_mut("HEADER").context("no map HEADER")?)?;
        headers.set(0, words(&packet), 0)?;
        let mut slot = ProgramArray::try_from(object.take_map("TARGET").context("no map TARGET")?)?;
        slot.set(0, target, 0)?;
        program(&mut object, "wrapper")?.load().context("the wrapper")?;
        let mut wrapper = Self { object, packet, wrapping, expected, _target: slot };
        wrapper.check()?;
        wrapper.forget()?;
        Ok(wrapper)
    }

    /// Nanoseconds a packet over `repeat` runs, as the kernel measured them.
    pub(crate) fn run(&mut self, repeat: u32) -> Result<f64> {
        let options = TestRunOptions { data_in: Some(&self.packet), repeat, ..TestRunOptions::default() };
        let result = program(&mut self.object, "wrapper")?.test_run(options)?;
        // The kernel gives the mean of a run in whole nanoseconds, rounded down.
        Ok((result.duration.as_secs_f64() * 1e9 + 0.5) / f64::from(PACKETS_A_RUN))
    }

    /// Walks through all flows once, and a few of them again.
    pub(crate) fn walk_once(&mut self) -> Result<()> {
        self.run(self.wrapping.flow_mask() / PACKETS_A_RUN + 1)?;
        Ok(())
    }

    /// What came of the packets so far.
    pub(crate) fn tally(&self) -> Result<Tally> {
        let map = Array::<_, u64>::try_from(self.object.map("TALLY").context("no map TALLY")?)?;
        let mut tally = Tally::NOTHING;
        for (place, count) in (0u32..).zip(map.iter()) {
            tally.add(Expected::at(place), count?, self.expected);
        }
        Ok(tally)
    }

    /// Begins the tally at nothing.
    fn forget(&mut self) -> Result<()> {
        let mut map = Array::<_, u64>::try_from(self.object.map_mut("TALLY").context("no map TALLY")?)?;
        (0..map.len()).try_for_each(|place| map.set(place, 0, 0)).context("the tally")
    }

    fn check(&mut self) -> Result<()> {
        let mut after = [0u8; 2 * PACKET];
        let options = TestRunOptions {
            data_in: Some(&self.packet),
            data_out: Some(&mut after),
            ..TestRunOptions::default()
        };
        program(&mut self.object, "wrapper")?.test_run(options)?;
        let kept = |bytes: &[u8]| {
            let mut bytes = bytes.get(..PACKET).unwrap_or_default().to_vec();
            if self.wrapping.flow_mask() != 0 {
                bytes.splice(SOURCE, [0; 4]);
            }
            bytes.split_off(self.wrapping.restored())
        };
        ensure!(
            kept(&self.packet) == kept(&after),
            "the program changes bytes that the wrapper does not put back"
        );
        Ok(())
    }
}

/// What came of a wrapper's packets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally {
    pub(crate) packets: u64,
    pub(crate) expected: u64,
    /// What came of others.
    pub(crate) oddity: Option<Expected>,
}

impl Tally {
    /// No packets.
    pub(crate) const NOTHING: Self = Self { packets: 0, expected: 0, oddity: None };

    /// Counts packets that something became of.
    pub(crate) fn add(&mut self, what: Expected, count: u64, expected: Expected) {
        self.packets += count;
        if what == expected {
            self.expected += count;
        } else if count > 0 {
            self.oddity = Some(what);
        }
    }
}

/// A program of an object by name.
pub(crate) fn program<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let found = object.program_mut(name).with_context(|| format!("no program {name}"))?;
    Ok(found.try_into()?)
}

fn words(packet: &[u8]) -> [u64; HEADER_WORDS] {
    let mut words = [0; HEADER_WORDS];
    for (word, bytes) in words.iter_mut().zip(packet.chunks_exact(8)) {
        *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_of_a_packet_is_the_lowest_of_the_first_word() {
        let packet: Vec<u8> = (1..=64).collect();
        let words = words(&packet);
        assert_eq!((words[0], words[6]), (0x0807_0605_0403_0201, 0x3837_3635_3433_3231));
    }

    #[test]
    fn a_walk_through_flows_is_a_mask_of_their_number() {
        assert_eq!(Wrapping::Flows(1 << 20).flow_mask(), 0x000f_ffff);
        assert_eq!(Wrapping::Flows(1 << 32).flow_mask(), u32::MAX);
        assert_eq!(Wrapping::Scattered(1 << 20).flow_mask(), 0x000f_ffff);
        assert_eq!(Wrapping::Link.flow_mask(), 0);
        assert_eq!(SCATTER % 2, 1, "or some flows are never met");
    }

    #[test]
    fn a_place_of_the_tally_tells_code_and_growth() {
        assert_eq!(Expected::at(0x1d4), Expected { action: 3, growth: 20 });
        assert_eq!(Expected::at(44), Expected { action: 0, growth: -20 });
    }

    #[test]
    fn whatever_is_not_expected_is_an_oddity() {
        let [wanted, other] = [Expected::at(0x1d4), Expected::at(0x140)];
        let mut tally = Tally::NOTHING;
        tally.add(wanted, 9, wanted);
        tally.add(other, 0, wanted);
        assert_eq!((tally.packets, tally.expected, tally.oddity), (9, 9, None));
        tally.add(other, 1, wanted);
        assert_eq!((tally.packets, tally.expected, tally.oddity), (10, 9, Some(other)));
    }
}
