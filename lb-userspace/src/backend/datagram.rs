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
    /// `None` on IPv6 sockets, where the route chooses.
    own: Option<libc::in_pktinfo>,
}

/// Has the kernel tell the destination of each datagram. Source: ip(7), `IP_PKTINFO`.
pub(super) fn tell_destination(socket: &std::net::UdpSocket) -> io::Result<()> {
    if socket.local_addr()?.is_ipv6() {
        return Ok(());
    }
    Ok(setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?)
}

/// Waits for a datagram; its length and ends.
pub(super) async fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, Ends)> {
    socket.async_io(Interest::READABLE, || receive_now(socket, buffer)).await
}

fn receive_now(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, Ends)> {
    let mut parts = [IoSliceMut::new(buffer)];
    let mut space = nix::cmsg_space!(libc::in_pktinfo);
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
    let peer = message.address.ok_or(io::ErrorKind::InvalidData)?;
    let own = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(info),
        _ => None,
    });
    Ok((message.bytes, Ends { peer, own }))
}

/// Sends an answer from where the question was sent to.
pub(super) async fn answer(socket: &UdpSocket, bytes: &[u8], ends: &Ends) -> io::Result<usize> {
    socket.async_io(Interest::WRITABLE, || answer_now(socket, bytes, ends)).await
}

fn answer_now(socket: &UdpSocket, bytes: &[u8], ends: &Ends) -> io::Result<usize> {
    let source = ends.own.map(|own| libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: own.ipi_addr, ..own });
    let control: Vec<ControlMessage<'_>> = source.iter().map(ControlMessage::Ipv4PacketInfo).collect();
    let parts = [IoSlice::new(bytes)];
    Ok(sendmsg(socket.as_raw_fd(), &parts, &control, MsgFlags::MSG_DONTWAIT, Some(&ends.peer))?)
}
