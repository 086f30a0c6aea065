//! Datagrams with both their ends known, so that an answer leaves with the address it was asked at. A socket bound to
//! all addresses would let the route choose, and a client of a VIP would not know the answer.

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsRawFd as _;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Who sent a datagram, and the address it was sent to.
pub(super) struct Ends {
    peer: SockaddrStorage,
    /// Where the kernel did not tell, the route chooses.
    own: Option<Own>,
}

/// The address that a datagram was sent to.
enum Own {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

impl Own {
    /// The interface is left to the route: the answer may go another way than the question came.
    fn told_by(control: &ControlMessageOwned) -> Option<Self> {
        match *control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                Some(Self::V4(libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: info.ipi_addr, ..info }))
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                Some(Self::V6(libc::in6_pktinfo { ipi6_ifindex: 0, ..info }))
            }
            _ => None,
        }
    }

    fn as_control(&self) -> ControlMessage<'_> {
        match self {
            Self::V4(info) => ControlMessage::Ipv4PacketInfo(info),
            Self::V6(info) => ControlMessage::Ipv6PacketInfo(info),
        }
    }
}

/// Has the kernel tell the destination of each datagram. Source: ip(7), `IP_PKTINFO`; RFC 3542, section 6.
pub(super) fn tell_destination(socket: &std::net::UdpSocket) -> io::Result<()> {
    if socket.local_addr()?.is_ipv6() {
        return Ok(setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?);
    }
    Ok(setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?)
}

/// Waits for a datagram; its length and ends.
pub(super) async fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, Ends)> {
    socket.async_io(Interest::READABLE, || receive_now(socket, buffer)).await
}

fn receive_now(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, Ends)> {
    let mut parts = [IoSliceMut::new(buffer)];
    let mut space = nix::cmsg_space!(libc::in6_pktinfo);
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
    let peer = message.address.ok_or(io::ErrorKind::InvalidData)?;
    let own = message.cmsgs()?.find_map(|control| Own::told_by(&control));
    Ok((message.bytes, Ends { peer, own }))
}

/// Sends an answer from where the question was sent to.
pub(super) async fn answer(socket: &UdpSocket, bytes: &[u8], ends: &Ends) -> io::Result<usize> {
    socket.async_io(Interest::WRITABLE, || answer_now(socket, bytes, ends)).await
}

fn answer_now(socket: &UdpSocket, bytes: &[u8], ends: &Ends) -> io::Result<usize> {
    let control: Vec<ControlMessage<'_>> = ends.own.iter().map(Own::as_control).collect();
    let parts = [IoSlice::new(bytes)];
    Ok(sendmsg(socket.as_raw_fd(), &parts, &control, MsgFlags::MSG_DONTWAIT, Some(&ends.peer))?)
}
