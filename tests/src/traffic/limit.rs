//! What a UDP socket knows of the longest packet that its path takes. Source: ip(7), `IP_MTU_DISCOVER` and `IP_MTU`;
//! ipv6(7) for the same of IPv6.

use std::net::UdpSocket;

use anyhow::{Context, Result};

use crate::family::Family;
use crate::net::option;

/// Never to fragment, and to refuse what is longer than the path is known to take.
pub fn discover(socket: &UdpSocket) -> Result<()> {
    let (level, option, value) = match family(socket)? {
        Family::V4 => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO),
        Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO),
    };
    option::set(socket, level, option, value).context("asking for path-MTU discovery")
}

/// Bytes of the longest packet that the path is known to take.
pub fn known(socket: &UdpSocket) -> Result<usize> {
    let (level, option) = match family(socket)? {
        Family::V4 => (libc::IPPROTO_IP, libc::IP_MTU),
        Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_MTU),
    };
    let bytes = option::get(socket, level, option).context("asking for the path's MTU")?;
    Ok(usize::try_from(bytes)?)
}

fn family(socket: &UdpSocket) -> Result<Family> {
    Ok(Family::of(socket.local_addr()?.ip()))
}
