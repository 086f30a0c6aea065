//! The floor: no proxy can do less. It hands bytes from a client's connection to a backend's and back and reads none of them: four
//! calls a request, one `epoll_wait` for many of them. It has no deadlines, no limits and no pool, and trusts that what it sends
//! finds room.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::proxies::{BACKENDS, HTTP};

/// More than an answer takes.
const ROOM: usize = 16 << 10;
const EVENTS: usize = 512;
/// What the listener's events carry: no descriptor has this number.
const LISTENER: u64 = u64::MAX;

/// Connections by their descriptors' numbers, each with the number of its other end's.
type Connections = HashMap<u64, (TcpStream, u64)>;

/// Relays until it is killed.
pub(crate) fn run() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, HTTP)).context("the floor cannot listen")?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut connections = Connections::new();
    let (mut events, mut room) = ([EpollEvent::empty(); EVENTS], [0; ROOM]);
    loop {
        let ready = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..ready] {
            match event.data() {
                LISTENER => while accept(&listener, &epoll, &mut connections)? {},
                number => hand_on(number, &mut connections, &mut room),
            }
        }
    }
}

/// Takes a client, with a backend's connection of its own. Whether there was one.
fn accept(listener: &TcpListener, epoll: &Epoll, connections: &mut Connections) -> Result<bool> {
    let client = match listener.accept() {
        Ok((client, _)) => client,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
        Err(error) => return Err(error).context("the floor cannot accept"),
    };
    let backend: SocketAddr = BACKENDS[connections.len() / 2 % BACKENDS.len()].parse()?;
    let backend = TcpStream::connect(backend).context("the floor's backend is gone")?;
    let [ours, theirs] = [number(&client)?, number(&backend)?];
    for (stream, number, other) in [(client, ours, theirs), (backend, theirs, ours)] {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, number))?;
        connections.insert(number, (stream, other));
    }
    Ok(true)
}

fn number(stream: &TcpStream) -> Result<u64> {
    Ok(stream.as_raw_fd().try_into()?)
}

/// One read and one write. Who has ended takes the other end along.
fn hand_on(number: u64, connections: &mut Connections, room: &mut [u8]) {
    let Some((from, other)) = connections.get(&number) else { return };
    let other = *other;
    let Some((to, _)) = connections.get(&other) else { return };
    if let Err(error) = relay(from, to, room)
        && error.kind() != ErrorKind::WouldBlock
    {
        connections.remove(&number);
        connections.remove(&other);
    }
}

fn relay(mut from: &TcpStream, mut to: &TcpStream, room: &mut [u8]) -> io::Result<()> {
    match from.read(room)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        length => to.write_all(&room[..length]),
    }
}
