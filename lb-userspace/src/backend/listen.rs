//! The listeners: bound first, all of them, then served.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::connection::serve_http;
use super::echo::{ERROR_PAUSE, serve_tcp, serve_udp};
use super::route::Identity;
use super::{Error, Options};

/// Room for the connections of a burst; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// A backend with all its addresses bound.
#[derive(Debug)]
pub struct Backend {
    identity: Arc<Identity>,
    http: Vec<TcpListener>,
    tcp: Vec<TcpListener>,
    udp: Vec<UdpSocket>,
}

impl Backend {
    /// Binds every address, or none. Must be called inside a tokio runtime.
    pub fn bind(options: Options) -> Result<Self, Error> {
        let Options { name, http, tcp, udp } = options;
        if http.is_empty() && tcp.is_empty() && udp.is_empty() {
            return Err(Error::NothingToServe);
        }
        Ok(Self {
            identity: Arc::new(Identity { name, failing: AtomicBool::new(false) }),
            http: bind_all("http", &http, listen_tcp)?,
            tcp: bind_all("tcp", &tcp, listen_tcp)?,
            udp: bind_all("udp", &udp, bind_udp)?,
        })
    }

    /// The name it answers with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    /// What it listens on, each with `http`, `tcp` or `udp`; port 0 is resolved.
    pub fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let http = self.http.iter().map(|listener| ("http", listener.local_addr()));
        let tcp = self.tcp.iter().map(|listener| ("tcp", listener.local_addr()));
        let udp = self.udp.iter().map(|socket| ("udp", socket.local_addr()));
        http.chain(tcp).chain(udp).filter_map(|(protocol, address)| Some((protocol, address.ok()?)))
    }

    /// Serves for ever; dropping the future ends all listeners.
    pub async fn serve(self) {
        let mut tasks = JoinSet::new();
        for listener in self.http {
            let identity = Arc::clone(&self.identity);
            tasks.spawn(accept_each(listener, move |stream| serve_http(stream, Arc::clone(&identity))));
        }
        for listener in self.tcp {
            tasks.spawn(accept_each(listener, serve_tcp));
        }
        for socket in self.udp {
            tasks.spawn(serve_udp(socket, self.identity.name.clone()));
        }
        while tasks.join_next().await.is_some() {}
    }
}

fn bind_all<S>(
    protocol: &'static str,
    addresses: &[SocketAddr],
    bind: fn(SocketAddr) -> io::Result<S>,
) -> Result<Vec<S>, Error> {
    let bind_one = |&address| bind(address).map_err(|source| Error::Listen { protocol, address, source });
    addresses.iter().map(bind_one).collect()
}

/// With `SO_REUSEADDR`, for a backend that was killed is to come back at once, whatever lingers in `TIME_WAIT`.
fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(address, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(address, Type::DGRAM, Protocol::UDP)?;
    socket.bind(&address.into())?;
    let socket = socket.into();
    super::datagram::tell_destination(&socket)?;
    UdpSocket::from_std(socket)
}

/// A socket of one family only, so that `[::]` and `0.0.0.0` can both be served, and an IPv4 peer is never told as an IPv6
/// one.
fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Gives every connection a task. A lack of descriptors passes, so an error is waited out.
async fn accept_each<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Only a matter of speed, and only fails on a connection that is dead already.
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream));
            }
            Err(_) => sleep(ERROR_PAUSE).await,
        }
    }
}
