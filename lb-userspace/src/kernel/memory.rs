//! A map's values in the daemon's memory.
#![allow(unsafe_code, reason = "memory that the kernel programs write, too")]

use super::LoadError;
use super::object::refused;
use aya::maps::{Map, MapData};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::ptr::NonNull;

/// The values of an array map, which programs read and write at the same time.
pub(super) struct Memory<T> {
    first: NonNull<T>,
    count: usize,
    _map: MapData,
}

impl<T> std::fmt::Debug for Memory<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("count", &self.count).finish_non_exhaustive()
    }
}

// SAFETY: the memory is nobody's but this value's in this process, and of a type that may be shared.
unsafe impl<T: Sync> Send for Memory<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Memory<T> {}

impl<T: Sync> Memory<T> {
    /// The first `count` values of an array map with the flag `BPF_F_MMAPABLE`.
    pub(super) fn take(object: &mut aya::Ebpf, name: &'static str, count: u32) -> Result<Self, LoadError> {
        let missing = LoadError::Incomplete { what: "map", name };
        let Some(Map::Array(map)) = object.take_map(name) else { return Err(missing) };
        let count = count as usize;
        let first = map_values(&map, count * size_of::<T>())
            .map_err(|error| refused(format!("map `{name}` into memory"), error))?;
        Ok(Self { first: first.cast(), count, _map: map })
    }

    /// The values.
    pub(super) const fn values(&self) -> &[T] {
        // SAFETY: as many values as were mapped, on pages, for as long as this lives; what else may change them is what
        // the type is made for.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }

    /// Writes zeros to all values.
    pub(super) const fn clear(&mut self) {
        // SAFETY: as above; zeros are a value, as the kernel has them at first.
        unsafe { self.first.as_ptr().write_bytes(0, self.count) };
    }
}

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        // SAFETY: the very memory that was mapped, which nobody borrows any more. It cannot fail for such.
        unsafe { libc::munmap(self.first.as_ptr().cast(), self.count * size_of::<T>()) };
    }
}

fn map_values(map: &MapData, length: usize) -> io::Result<NonNull<libc::c_void>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let descriptor = map.fd().as_fd().as_raw_fd();
    // SAFETY: new memory, at a place that the kernel chooses.
    let memory =
        unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, descriptor, 0) };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(memory).ok_or_else(|| io::Error::other("no memory"))
}
