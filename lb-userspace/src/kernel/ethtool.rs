//! Settings of network cards that stand in the way of XDP.
//!
//! Source: include/uapi/linux/ethtool.h; the same that `ethtool -k` and `ethtool -l` ask for.
#![allow(unsafe_code, reason = "the kernel's interface is an ioctl with a pointer in it")]

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

const GET_FLAGS: u32 = 0x25;
const FLAG_LRO: u32 = 1 << 15;
const GET_CHANNELS: u32 = 0x3c;

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// `struct ethtool_channels`: the most there can be, then those there are.
#[repr(C)]
#[derive(Default)]
struct AllChannels {
    command: u32,
    most: [u32; 4],
    now: [u32; 4],
}

/// Where receiving, sending, other and combined channels stand in it.
const COMBINED: usize = 3;

/// Queues that both receive and send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Channels {
    /// In use.
    pub(super) combined: u32,
    /// As many as the card has.
    pub(super) most_combined: u32,
}

/// Whether the card puts packets of a connection together.
pub(super) fn has_lro(interface: &str) -> io::Result<bool> {
    let mut value = Value { command: GET_FLAGS, data: 0 };
    ask(interface, &mut value)?;
    Ok(value.data & FLAG_LRO != 0)
}

/// The queues of a card that has any to choose.
pub(super) fn channels(interface: &str) -> io::Result<Channels> {
    let mut channels = AllChannels { command: GET_CHANNELS, ..AllChannels::default() };
    ask(interface, &mut channels)?;
    Ok(Channels { combined: channels.now[COMBINED], most_combined: channels.most[COMBINED] })
}

/// Asks a driver; the question begins with its number and has room for the answer.
fn ask<T>(interface: &str, question: &mut T) -> io::Result<()> {
    let socket: OwnedFd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: plain numbers and a pointer, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if interface.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(question).cast();
    // SAFETY: the name ends with a zero, and the question lives through the call with the length its number says.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_puts_nothing_together() {
        assert!(!has_lro("lo").unwrap());
    }

    #[test]
    fn a_name_that_no_interface_can_have_is_refused() {
        assert!(has_lro("a_name_of_sixteen").is_err());
    }
}
