//! Listening sockets: one for each worker and address, between which the kernel spreads the connections.

use super::{Moved, Watch};
use socket2::{Domain, Protocol, Socket, Type};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

/// Room for the connections of a burst; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Opens a listening socket. With `SO_REUSEPORT`, so that each worker has its own and a new set of workers can begin
/// while the old one ends; of one family only, so that `[::]` and `0.0.0.0` stand side by side.
pub fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = unbound(address)?;
    socket.set_reuse_port(true)?;
    // Accepted connections inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Whether nobody listens there: [`bind`] would share an address with whoever shares his, another of these programs too.
pub fn check_free(address: SocketAddr) -> io::Result<()> {
    unbound(address)?.bind(&address.into())
}

/// A socket that what is left of former connections does not keep from the address.
fn unbound(address: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// Takes in the connections of a listening socket.
#[derive(Debug)]
pub struct Acceptor<W> {
    watch: W,
}

impl<W: Watch> Acceptor<W> {
    /// Watches a listening socket.
    pub fn new(socket: Rc<Socket>) -> io::Result<Self> {
        Ok(Self { watch: W::new(socket)? })
    }

    /// Waits for a connection. A socket shut down gives an error and nothing more.
    pub async fn accept(&mut self) -> io::Result<(Rc<Socket>, SocketAddr)> {
        let mut accepted = None;
        poll_fn(|cx| {
            self.watch.poll_read(cx, |socket| {
                accepted = Some(socket.accept()?);
                Ok(Moved { count: 1, is_last: false })
            })
        })
        .await?;
        let (socket, peer) = accepted.ok_or(io::ErrorKind::NotConnected)?;
        let peer = peer.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok((Rc::new(socket), peer))
    }
}
