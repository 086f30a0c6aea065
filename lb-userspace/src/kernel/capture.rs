//! Captured packets: the filter that the kernel programs go by, and the ring buffer that they fill.

use super::maps::{Raw, failed, refused, take};
use super::{LoadError, TableError};
use aya::Ebpf;
use aya::maps::{Array, MapData, PerCpuArray, RingBuf};
use lb_common::abi::{CaptureCount, CaptureFilter, CaptureRecord};
use lb_common::wire::{Buffer, Packet as _};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(super) const CAPTURED: &str = "CAPTURED";
const FILTER: &str = "CAPTURE_FILTER";
const COUNTS: &str = "CAPTURE_COUNTS";

/// How captures are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureSettings {
    /// Packets that each CPU may capture in a second.
    pub rate: u32,
    /// Bytes of the ring buffer: a power of two, a page at least.
    pub ring: u32,
}

/// The maps of captures. One capture at a time.
pub struct Capture {
    filter: Array<MapData, Raw<CaptureFilter>>,
    counts: PerCpuArray<MapData, Raw<CaptureCount>>,
    ring: RingBuf<MapData>,
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture").finish_non_exhaustive()
    }
}

impl Capture {
    pub(super) fn take(object: &mut Ebpf) -> Result<Self, LoadError> {
        Ok(Self {
            filter: take(object, FILTER)?,
            counts: take(object, COUNTS)?,
            ring: take(object, CAPTURED)?,
        })
    }

    /// Has the programs capture what a filter asks for, until what is returned is dropped.
    pub fn begin(&mut self, filter: &CaptureFilter) -> Result<Running<'_>, TableError> {
        // What the last capture left behind.
        while self.ring.next().is_some() {}
        let before = self.counted()?;
        let readable = self.readable().map_err(refused("wait for", CAPTURED))?;
        self.write(filter)?;
        Ok(Running { capture: self, readable, before })
    }

    /// The ring buffer's descriptor, to be waited for.
    fn readable(&self) -> io::Result<AsyncFd<OwnedFd>> {
        let ring = self.ring.as_fd().try_clone_to_owned()?;
        #[allow(unsafe_code, reason = "the one way to wait for a descriptor of no type that tokio knows")]
        // SAFETY: an owned descriptor stays open and the same until it is dropped.
        unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }.map_err(Into::into)
    }

    fn write(&mut self, filter: &CaptureFilter) -> Result<(), TableError> {
        self.filter.set(0, Raw(*filter), 0).map_err(failed("write to", FILTER))
    }

    /// Packets wanted and missed so far, by all CPUs.
    fn counted(&self) -> Result<(u64, u64), TableError> {
        let counts = self.counts.get(&0, 0).map_err(failed("read", COUNTS))?;
        Ok(counts
            .iter()
            .fold((0, 0), |(wanted, missed), Raw(count)| (wanted + count.wanted, missed + count.missed)))
    }
}

/// A capture in progress. Dropped, it ends: the programs capture nothing more.
#[derive(Debug)]
pub struct Running<'a> {
    capture: &'a mut Capture,
    readable: AsyncFd<OwnedFd>,
    before: (u64, u64),
}

impl Running<'_> {
    /// Waits until there may be packets.
    pub async fn wait(&self) -> io::Result<()> {
        self.readable.readable().await?.clear_ready();
        Ok(())
    }

    /// The next packet and its bytes, if there is one.
    pub fn take_next(&mut self) -> Option<(CaptureRecord, Vec<u8>)> {
        split(&self.capture.ring.next()?)
    }

    /// Packets that the filter asked for since it began, and those of them that were not captured.
    pub fn counted(&self) -> Result<(u64, u64), TableError> {
        let (wanted, missed) = self.capture.counted()?;
        Ok((wanted - self.before.0, missed - self.before.1))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.capture.write(&CaptureFilter::NOTHING) {
            tracing::error!(%error, "a capture cannot be ended; packets are captured for nobody until the next one");
        }
    }
}

/// A record, and the bytes behind it.
fn split(item: &[u8]) -> Option<(CaptureRecord, Vec<u8>)> {
    let record: CaptureRecord = Buffer::new(item).read(0)?;
    let bytes = item.get(size_of::<CaptureRecord>()..)?;
    Some((record, bytes.get(..record.kept as usize)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::abi::BackendId;

    #[test]
    fn an_item_is_a_record_and_as_many_bytes_as_it_says() {
        let mut item = [0; 36];
        item[..8].copy_from_slice(&7u64.to_ne_bytes());
        item[20..24].copy_from_slice(&3u32.to_ne_bytes());
        item[24..27].copy_from_slice(&[5, 0, 9]);
        item[32..].copy_from_slice(b"abc!");
        let (record, bytes) = split(&item).unwrap();
        assert_eq!((record.at_ns, record.backend, record.reason), (7, BackendId::from_bits(5), 9));
        assert_eq!(bytes, b"abc");
        assert!(split(&item[..34]).is_none() && split(&item[..20]).is_none());
    }
}
