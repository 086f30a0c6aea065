//! Whole Ethernet frames, sent and received past the stack: for tags that no device here would put on.
//!
//! Source: packet(7); `linux/if_packet.h` for the auxiliary data.

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use rtnetlink::packet_route::link::LinkAttribute;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use super::{describe, index, netlink, option};
use crate::netns::Namespace;

/// A link-layer address.
pub type LinkAddress = [u8; 6];

/// Bytes of the two addresses in front of a frame's type.
const ADDRESSES: usize = 12;
/// Longer than any frame here.
const ROOM: usize = 4096;
/// How long one look for a frame takes at most.
const LOOK: Duration = Duration::from_millis(50);

/// A socket that sends and sees every frame of one link.
#[derive(Debug)]
pub struct Tap(Socket);

impl Namespace {
    /// Opens a tap on a link.
    pub fn tap(&self, link: &str) -> Result<Tap> {
        self.run(|| {
            let number = netlink(async |handle| index(&handle, link).await)?;
            Ok(Tap::open(number)?)
        })
        .with_context(|| format!("a tap on {link} in {}", self.name()))
    }

    /// The link-layer address of a link.
    pub fn link_address(&self, link: &str) -> Result<LinkAddress> {
        let message = self.run(|| netlink(async |handle| describe(&handle, link).await))?;
        let told = message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(bytes) => LinkAddress::try_from(bytes.as_slice()).ok(),
            _ => None,
        });
        told.with_context(|| format!("the address of {link} in {}", self.name()))
    }

    /// Packets that a link has received.
    pub fn received(&self, link: &str) -> Result<u64> {
        let message = self.run(|| netlink(async |handle| describe(&handle, link).await))?;
        let told = message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Stats64(counted) => Some(counted.rx_packets),
            _ => None,
        });
        told.with_context(|| format!("what {link} in {} has received", self.name()))
    }
}

impl Tap {
    fn open(link: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(EVERY_PROTOCOL))))?;
        socket.bind(&whole_link(link))?;
        socket.set_read_timeout(Some(LOOK))?;
        option::set(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
        Ok(Self(socket))
    }

    /// Sends a frame as it is.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        self.0.send(frame).context("sending a frame").map(drop)
    }

    /// The first frame that `wanted` wants, as it was on the wire.
    pub fn receive(&self, patience: Duration, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            match self.next()? {
                Some(frame) if wanted(&frame) => return Ok(frame),
                _ => {}
            }
        }
        bail!("no such frame came within {patience:?}")
    }

    fn next(&self) -> Result<Option<Vec<u8>>> {
        let mut frame = vec![0; ROOM];
        let mut parts = [IoSliceMut::new(&mut frame)];
        let mut space = nix::cmsg_space!(Auxiliary);
        let received = recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty());
        let (length, tag) = match received {
            Ok(message) => (message.bytes, message.cmsgs()?.find_map(|control| tag_in(&control))),
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            Err(errno) => return Err(errno).context("receiving a frame"),
        };
        frame.truncate(length);
        if let Some(tag) = tag {
            frame.splice(ADDRESSES..ADDRESSES, tag);
        }
        Ok(Some(frame))
    }
}

/// `ETH_P_ALL` as the kernel wants it. Source: `linux/if_ether.h`.
const EVERY_PROTOCOL: u16 = 3_u16.to_be();
/// `AF_PACKET`, as wide as an address has it.
const PACKET_FAMILY: u16 = 17;

/// `struct tpacket_auxdata`: what the stack takes off a frame before we see it.
#[repr(C)]
struct Auxiliary {
    status: u32,
    lengths: [u32; 2],
    offsets: [u16; 2],
    control: u16,
    kind: u16,
}

/// Bytes of `struct sockaddr_ll`.
const LINK_ADDRESS_BYTES: libc::socklen_t = 20;
const VLAN_VALID: u32 = 1 << 4;

/// The bytes of the tag that was taken off, if one was.
fn tag_in(control: &ControlMessageOwned) -> Option<[u8; 4]> {
    let ControlMessageOwned::Unknown(unknown) = control else { return None };
    let word = |at: usize| Some(u16::from_ne_bytes(unknown.data_bytes.get(at..at + 2)?.try_into().ok()?));
    let status = u32::from_ne_bytes(unknown.data_bytes.get(..4)?.try_into().ok()?);
    let (control, kind) = (word(16)?.to_be_bytes(), word(18)?.to_be_bytes());
    (status & VLAN_VALID != 0).then_some([kind[0], kind[1], control[0], control[1]])
}

#[expect(unsafe_code, reason = "a link's address as a socket's has no safe constructor")]
fn whole_link(link: u32) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is one of the types that an address's storage is made for, and zero is valid for each field.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = PACKET_FAMILY;
    address.sll_protocol = EVERY_PROTOCOL;
    address.sll_ifindex = link.cast_signed();
    // SAFETY: the storage holds an address of that family, which has so many bytes.
    unsafe { SockAddr::new(storage, LINK_ADDRESS_BYTES) }
}
