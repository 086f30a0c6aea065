//! What a link does for the stack, by the `ethtool` ioctl.
//!
//! A veth with checksum offload leaves checksums partial, and an XDP program that rewrites such a packet sends a bad one;
//! with segmentation offload it hands over packets that no wire could carry. Real network cards do neither towards XDP.
//! Source: linux/ethtool.h.

use std::io;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::netns::Namespace;

/// A switch of `ethtool -K`.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub enum Offload {
    /// `tx`: the sender leaves the checksum to the device.
    TransmitChecksum = 0x17,
    /// `tso`: the sender leaves TCP segmentation to the device.
    TcpSegmentation = 0x1f,
    /// `gso`: the stack segments as late as it can.
    GenericSegmentation = 0x24,
    /// `gro`: the receiver merges segments. On veth it also starts NAPI, without which redirected frames are lost.
    GenericReceive = 0x2c,
}

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

impl Namespace {
    /// Switches one offload of the link `name`.
    ///
    /// What the link cannot do at all counts as off: a veth whose peer has a program loses its segmentation offloads.
    pub fn offload(&self, name: &str, offload: Offload, on: bool) -> Result<()> {
        let switched = self.run(|| Ok(set(name, Value { command: offload as u32, data: u32::from(on) })))?;
        match switched {
            Err(refused) if !on && refused.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
            other => other.with_context(|| format!("{offload:?} {on} on {name} in {}", self.name())),
        }
    }
}

#[expect(unsafe_code, reason = "SIOCETHTOOL has no safe wrapper")]
fn set(name: &str, mut value: Value) -> io::Result<()> {
    let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: `ifreq` is plain bytes, of which all zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero: a longer name is cut, and the kernel then says that it knows no such link.
    let room = request.ifr_name.len() - 1;
    for (slot, byte) in request.ifr_name.iter_mut().take(room).zip(name.bytes()) {
        *slot = libc::c_char::from_ne_bytes([byte]);
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the kernel reads `request` and reads and writes the `Value` it points to; both outlive the call.
    let answer = unsafe { libc::ioctl(any.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
